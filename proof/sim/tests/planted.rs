//! The simulator can fail: planted bugs are caught, and the same worlds pass without them.
//!
//! `sim mutants` hunts each bug in the worlds that seeds draw. Here the worlds are made for the bug, so
//! that few are enough.

use base::{Mutant, Mutants};
use quorate_sim::plan::Mix;
use quorate_sim::{Fault, Plan, Workload, run_plan};
use std::time::Duration;

/// A small busy world with these faults.
fn world(seed: u64, faults: &[Fault]) -> Plan {
    Plan {
        n_members: 3,
        faults: faults.to_vec(),
        trouble: Duration::from_secs(10),
        calm: Duration::from_millis(500),
        n_clients: 6,
        n_keys: 1,
        think: Duration::from_millis(5),
        patience: Duration::from_millis(400),
        mix: Mix {
            put: 3,
            get: 6,
            get_serializable: 0,
            range: 0,
            delete: 1,
            swap: 2,
            txn: 0,
            lease: 0,
        },
        workload: None,
        natives: None,
        ..Plan::draw(seed)
    }
}

/// How many of 30 such worlds it takes to catch `mutant`.
fn hunt(mutant: Mutant, faults: &[Fault]) -> u64 {
    hunt_in(mutant, |seed| world(seed, faults), |_| true)
}

/// How many of 30 worlds it takes until a claim that counts catches `mutant`.
fn hunt_in(mutant: Mutant, world: impl Fn(u64) -> Plan, counts: impl Fn(&str) -> bool) -> u64 {
    for seed in 0..30 {
        let caught = run_plan(world(seed), Mutants::only(mutant), false);
        let mut violations = caught.violations.iter();
        if let Some(violation) = violations.find(|violation| counts(violation.claim)) {
            let clean = run_plan(world(seed), Mutants::none(), false);
            assert!(
                clean.violations.is_empty(),
                "seed {seed}: {}",
                clean.violations[0]
            );
            println!(
                "{} after {} worlds: {}",
                mutant.name(),
                seed + 1,
                violation.claim
            );
            return seed + 1;
        }
    }
    panic!("{} escaped", mutant.name());
}

#[test]
fn an_acknowledgement_before_the_sync_loses_a_write_in_a_blackout() {
    hunt(Mutant::AcknowledgeBeforeSync, &[Fault::Blackout]);
}

#[test]
fn a_read_without_a_majority_is_stale_after_a_pause() {
    hunt(Mutant::StaleReadIndex, &[Fault::Pause]);
}

#[test]
fn a_read_before_apply_is_stale() {
    hunt(Mutant::ReadBeforeApply, &[Fault::Kill]);
}

#[test]
fn a_refusal_that_takes_a_revision_on_one_member_makes_members_differ() {
    hunt(Mutant::RevisionBurntByFailure, &[Fault::Kill]);
}

/// A world in which an application, and hardly anybody else, works.
fn world_of(name: &str, seed: u64, fault: Fault) -> Plan {
    Plan {
        n_clients: 1,
        workload: Workload::named(name, seed),
        compaction: Some(Duration::from_millis(300)),
        ..world(seed, &[fault])
    }
}

#[test]
fn a_read_before_apply_misses_a_payment() {
    let world = |seed| world_of("tellers", seed, Fault::Kill);
    let counts = |claim: &str| ["what_was_paid_is_gone", "what_was_opened_stays"].contains(&claim);
    hunt_in(Mutant::ReadBeforeApply, world, counts);
}

#[test]
fn a_compaction_that_takes_the_living_loses_accounts() {
    let world = |seed| world_of("bank", seed, Fault::Kill);
    let counts = |claim: &str| claim == "no_account_is_lost";
    hunt_in(Mutant::CompactionTakesTheLiving, world, counts);
}

#[test]
fn a_compaction_that_takes_the_living_breaks_the_cycle() {
    let world = |seed| world_of("cycle", seed, Fault::Kill);
    let counts = |claim: &str| claim == "a_cycle_stays_a_cycle";
    hunt_in(Mutant::CompactionTakesTheLiving, world, counts);
}

#[test]
fn a_compaction_that_takes_the_living_forgets_who_had_won() {
    let world = |seed| world_of("sign-up", seed, Fault::Kill);
    let counts =
        |claim: &str| ["one_of_two_sign_ups_wins", "who_won_is_signed_up"].contains(&claim);
    hunt_in(Mutant::CompactionTakesTheLiving, world, counts);
}

/// Members of a former build are upgraded one by one, under every fault that the seed draws.
#[test]
fn a_version_that_is_raised_too_early_stops_members_that_were_not_asked() {
    let counts = |claim: &str| claim == "no_member_meets_what_it_does_not_know";
    hunt_in(Mutant::RaisesTooEarly, Plan::upgrade, counts);
}

#[test]
fn members_that_are_upgraded_one_by_one_go_on_to_the_next_version() {
    let mut n_raised = 0;
    for seed in 0..12 {
        let report = run_plan(Plan::upgrade(seed), Mutants::none(), false);
        assert!(
            report.violations.is_empty(),
            "seed {seed}: {}",
            report.violations[0]
        );
        n_raised += u64::from(report.marks.contains_key(&base::Mark::VersionRaised));
    }
    assert!(n_raised >= 8, "raised in {n_raised} of 12 worlds");
}
