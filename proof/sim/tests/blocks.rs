//! Stale blocks and misdirected writes on one member of several: noticed, repaired, and nothing wrong.

#![allow(clippy::unwrap_used)]

use base::Mutants;
use quorate_sim::{Corruption, Fault, Plan, run_plan};
use std::time::Duration;

/// The world of `seed` with nothing but blocks of one member's disk that are wrong, often.
fn world(seed: u64) -> Plan {
    Plan {
        n_members: 3,
        faults: vec![Fault::Corruption],
        corruption: Corruption::Blocks,
        trouble: Duration::from_secs(4),
        calm: Duration::from_millis(500),
        ..Plan::draw(seed)
    }
}

#[test]
fn members_with_wrong_blocks_are_mended_by_the_others() {
    let (mut n_stale, mut n_misdirected, mut n_recoveries) = (0, 0, 0);
    for seed in 0..6 {
        let report = run_plan(world(seed), Mutants::none(), true);
        assert!(
            report.violations.is_empty(),
            "seed {seed}: {:?}",
            report.violations
        );
        let n_with = |what: &str| {
            report
                .lines
                .iter()
                .filter(|line| line.contains(what))
                .count()
        };
        n_stale += n_with("stale: ");
        n_misdirected += n_with("misdirected: ");
        n_recoveries += n_with("recovers: ");
    }
    assert!(
        n_stale >= 8 && n_misdirected >= 8 && n_recoveries >= 5,
        "{n_stale} stale, {n_misdirected} misdirected, {n_recoveries} starts with a damaged log"
    );
}
