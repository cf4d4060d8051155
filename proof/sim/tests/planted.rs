//! The simulator can fail: planted bugs are caught, and the same seeds pass without them.

use base::Mutant;
use quorate_sim::mutants::{Fate, hunt};

#[test]
fn planted_bugs_are_caught_within_a_few_seeds() {
    for mutant in [
        Mutant::AcknowledgeBeforeSync,
        Mutant::RevisionBurntByFailure,
    ] {
        let fate = hunt(mutant, 20);
        assert!(
            matches!(fate, Fate::Caught { .. }),
            "{}: {fate:?}",
            mutant.name()
        );
    }
}
