//! Every seed that ever found something, for ever: what it was stands in `docs/testing.md`.

use base::Mutants;
use quorate_sim::plan::Walls;
use quorate_sim::{Fault, Plan, run_plan};
use std::time::Duration;

/// Nobody aimed, was curious or asked again when these were found.
fn as_found(seed: u64) -> Plan {
    Plan {
        aimed: false,
        curious: false,
        once: false,
        // Nor did anybody come by the native front, and no bound on clocks was stated.
        natives: None,
        drift_ppm: None,
        walls: Walls::Apart,
        long_pauses: false,
        ..Plan::draw(seed)
    }
}

fn passes(seed: u64) {
    // The worlds as they were drawn when they were found: without an application.
    let plan = Plan {
        workload: None,
        ..as_found(seed)
    };
    let report = run_plan(plan, Mutants::none(), false);
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
fn seed_2811_deletes_a_leased_key_in_a_transaction_that_nobody_knows_of() {
    for seed in [2811, 6893, 8065, 8259] {
        passes(seed);
    }
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
fn seed_20_rolls_onto_a_spare_that_a_killed_process_left() {
    let report = run_plan(as_found(20), Mutants::none(), false);
    assert!(report.violations.is_empty(), "{}", report.violations[0]);
}

#[test]
fn seed_1990_shrinks_seven_members_to_one() {
    passes(1990);
}

#[test]
fn seed_2223_shrinks_two_members_to_one() {
    passes(2223);
    // What is drawn has changed since. In these worlds a member that leaves at once, as it did then, is caught today.
    for (seed, fault) in [(65, Fault::Weather), (116, Fault::Kill)] {
        let plan = Plan {
            n_members: 3,
            faults: vec![Fault::Membership, fault],
            workload: None,
            trouble: Duration::from_secs(12),
            calm: Duration::from_millis(100),
            ..as_found(seed)
        };
        let report = run_plan(plan, Mutants::none(), false);
        assert!(report.violations.is_empty(), "{}", report.violations[0]);
    }
}

#[test]
fn seed_129_removes_a_long_segment_that_the_watermark_names() {
    let plan = Plan::draw(129);
    let report = run_plan(plan, Mutants::none(), false);
    assert!(report.violations.is_empty(), "{}", report.violations[0]);
}
