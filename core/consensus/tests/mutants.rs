//! Planted bugs: each one is caught, so the tests that stay green mean something.

mod support;

use base::{Mutant, Mutants};
use quorate_consensus::{Engine, Refused};
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::chaos::Chaos;
use support::{World, id};

fn plant(world: &mut World, member: u64, mutants: Mutants) {
    world
        .members
        .get_mut(&id(member))
        .expect("it exists")
        .mutants = mutants;
    world.crash(id(member));
    world.restart(id(member));
}

/// n2 gives its vote to n1, loses power before the vote is on its disk, and is asked again by n3.
fn two_elections(mutants: Mutants) -> Vec<String> {
    let mut world = World::new(&[1, 2, 3], &[], 1);
    plant(&mut world, 2, mutants);
    world.cut(id(1), id(3));
    world
        .members
        .get_mut(&id(2))
        .expect("it exists")
        .is_disk_held = true;
    world.campaign(id(1)).expect("a fresh member may");
    world.settle();
    world.crash(id(2));
    world.isolate(id(1));
    world.restart(id(2));
    world.campaign(id(3)).expect("a fresh member may");
    world.settle();
    assert_eq!(world.raft(id(3)).status().leader, id(3));
    world.violations
}

#[test]
fn an_unsynced_vote_is_caught() {
    assert_eq!(two_elections(Mutants::none()), [] as [&str; 0]);
    let violations = two_elections(Mutants::only(Mutant::VoteNotSynced));
    assert_eq!(violations, ["term 2 has leaders n1 and n3"]);
}

/// n1 does not know yet that the others go on without it, and is asked for a read.
fn read_of_the_past(mutants: Mutants) -> (Result<u64, Refused>, Vec<String>) {
    let mut world = World::new(&[1, 2, 3], &[], 1);
    plant(&mut world, 1, mutants);
    world.campaign(id(1)).expect("a fresh member may");
    world.settle();
    world.isolate(id(1));
    world.run(130);
    let leader = world.leader().expect("n2 and n3 go on");
    world.propose(leader, "new").expect("it leads");
    world.settle();
    let outcome = world.read(id(1));
    world.settle();
    (outcome, world.violations)
}

#[test]
fn a_stale_read_is_caught() {
    let (outcome, violations) = read_of_the_past(Mutants::none());
    assert_eq!((outcome, violations), (Ok(1), vec![]));
    let (_, violations) = read_of_the_past(Mutants::only(Mutant::StaleReadIndex));
    assert_eq!(violations, ["read 1 sees 2 although 4 was decided"]);
}

/// Runs seeds until the planted bug shows: as a violation that the world sees, or as an engine that
/// stops because nothing fits any more.
fn is_caught(mutant: Mutant) -> bool {
    (0..400).any(|seed| {
        let mut chaos = Chaos::new(3, seed, Some(mutant));
        let outcome = catch_unwind(AssertUnwindSafe(|| chaos.run(6000)));
        outcome.is_err() || !chaos.world.violations.is_empty()
    })
}

#[test]
fn an_early_acknowledgement_is_caught() {
    assert!(is_caught(Mutant::FollowerAcksEarly));
}

#[test]
fn an_amnesiac_that_votes_is_caught() {
    assert!(is_caught(Mutant::AmnesiacVotes));
}
