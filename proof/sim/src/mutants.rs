//! Planted bugs: how many seeds does it take to catch each?

use crate::run::run;
use base::{Mutant, Mutants};

/// What became of one planted bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Caught by this many seeds, by this claim.
    Caught {
        /// Seeds run, the guilty one included.
        n_seeds: u64,
        /// The first broken promise.
        claim: &'static str,
    },
    /// It changed runs and nobody noticed.
    Escaped,
    /// No run was any different: no crate has planted it.
    NotPlanted,
}

/// Runs seeds from 0 on until `mutant` is caught, `n_seeds` at most. A seed that fails without it, too,
/// catches nothing.
pub fn hunt(mutant: Mutant, n_seeds: u64) -> Fate {
    let planted = Mutants::only(mutant);
    let mut hashes = Vec::new();
    for seed in 0..n_seeds {
        let report = run(seed, planted, false);
        if let Some(violation) = report.violations.first()
            && run(seed, Mutants::none(), false).violations.is_empty()
        {
            return Fate::Caught {
                n_seeds: seed + 1,
                claim: violation.claim,
            };
        }
        hashes.push(report.hash);
    }
    let same = hashes
        .iter()
        .zip(0..)
        .all(|(hash, seed)| run(seed, Mutants::none(), false).hash == *hash);
    if same {
        Fate::NotPlanted
    } else {
        Fate::Escaped
    }
}

/// The bug with this name.
pub fn named(name: &str) -> Option<Mutant> {
    Mutant::ALL
        .iter()
        .copied()
        .find(|mutant| mutant.name() == name)
}
