//! Every level is different: what a weaker one permits is seen, and what it forbids is not.

use base::Mutants;
use checker::fresh::Anomalies;
use checker::line::Kind;
use quorate_sim::plan::{Natives, Rates};
use quorate_sim::{Consensus, Fault, Plan, run_plan};
use std::time::Duration;

/// A world in which hardly anybody but readers is at work, on members that lose sight of each other.
fn world(seed: u64, faults: &[Fault]) -> Plan {
    Plan {
        n_members: 5,
        consensus: Consensus::Shipped,
        faults: faults.to_vec(),
        trouble: Duration::from_secs(12),
        calm: Duration::from_millis(500),
        heartbeat: Duration::from_millis(100),
        election: Duration::from_secs(1),
        n_clients: 1,
        n_watchers: 0,
        patience: Duration::from_millis(400),
        think: Duration::from_millis(20),
        workload: None,
        aimed: false,
        once: false,
        curious: false,
        clock_error_permille: 0,
        drift_ppm: Some(50_000),
        rates: Rates::Extreme,
        natives: Some(Natives {
            lines: vec![(Kind::Election, 0, false)],
            n_contenders: 2,
            n_readers: 4,
            ttl_s: 2,
            hasty: false,
        }),
        ..Plan::draw(seed)
    }
}

/// What was seen in `worlds` until it is enough, without a violation.
fn seen(worlds: impl Iterator<Item = Plan>, is_enough: fn(&Anomalies) -> bool) -> Anomalies {
    let mut sum = Anomalies::default();
    for (n, plan) in worlds.enumerate() {
        let seed = plan.seed;
        let report = run_plan(plan, Mutants::none(), false);
        let broken = report.violations.first();
        assert!(broken.is_none(), "seed {seed}: {}", report.violations[0]);
        sum.join(&report.anomalies);
        if is_enough(&sum) {
            println!("after {} worlds: {sum:?}", n + 1);
            return sum;
        }
    }
    panic!("not seen: {sum:?}");
}

#[test]
fn each_weaker_level_shows_what_it_permits() {
    let worlds = (0..20).map(|seed| world(seed, &[Fault::Split]));
    let sum = seen(worlds, |sum| {
        sum.sequential_stale > 0 && sum.bounded_stale > 0 && sum.session_stale > 0
    });
    assert_eq!(sum.lease_stale, 0, "clocks keep their bound");
    assert!(sum.lease_reads > 100);
}

// That a read by the lease is old when the stated bound on clocks was a lie is shown where clocks are all that is wrong:
// `a_bound_on_drift_that_is_a_lie_lets_an_old_leader_answer` in `core/node/tests/levels.rs`.
