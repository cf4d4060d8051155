//! Every seed that ever found something, for ever: what it was stands in `docs/testing.md`.

use base::Mutants;
use quorate_sim::{Plan, run_plan};

fn passes(seed: u64) {
    let report = run_plan(Plan::draw(seed), Mutants::none(), false);
    assert!(
        report.violations.is_empty(),
        "seed {seed}: {}",
        report.violations[0]
    );
    assert!(report.n_operations > 0, "seed {seed} asked nothing");
}

#[test]
fn seed_9_recovers_with_an_unknown_watermark() {
    passes(9);
}

#[test]
fn seed_3888_has_a_spare_that_came_too_late() {
    passes(3888);
}

#[test]
fn seed_5764_recovers_beside_a_spare_that_was_being_made() {
    passes(5764);
}

#[test]
fn seed_2223_shrinks_two_members_to_one() {
    passes(2223);
}
