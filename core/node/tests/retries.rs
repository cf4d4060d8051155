//! A session's write that is asked again takes effect once.

mod support;

use base::{LeaseId, limits};
use bytes::Bytes;
use node::{RetryRefusal, Tag};
use std::time::Duration;
use store::RootId;
use store::command::Identity;
use support::{World, id};

const SECOND: Duration = Duration::from_secs(1);

/// A cluster with a leader and session 7, which lives for ten seconds.
fn world() -> (World, u64) {
    let mut world = World::new(3);
    let leader = world.elect();
    world.propose(leader, "+7:10");
    (world, leader)
}

/// The revision and status that `words` has as number `sequence` of session 7, asked at `n`.
fn once(world: &mut World, n: u64, sequence: u64, words: &str) -> (u64, u16) {
    let tag = world.propose_once(n, 7, sequence, words);
    told(world, n, tag)
}

fn told(world: &World, n: u64, tag: Tag) -> (u64, u16) {
    let (revision, status) = world.outcome(n, tag).expect("it is answered");
    (revision.0, status)
}

fn version(world: &mut World, n: u64, key: &str) -> u64 {
    let state = world.node(n).state().clone();
    let record = state.root(RootId(0)).get(key.as_bytes(), None);
    record.expect("the present").map_or(0, |it| it.version())
}

#[test]
fn the_same_number_has_the_same_outcome_wherever_it_is_asked() {
    let (mut world, _) = world();
    for sequence in 1..=3 {
        let first = once(&mut world, 1, sequence, "a=1");
        // Somebody else goes on meanwhile.
        world.propose(2, "b=1");
        for n in 1..=3 {
            assert_eq!(once(&mut world, n, sequence, "a=1"), first, "at {n}");
        }
        assert_eq!(version(&mut world, 1, "a"), sequence, "written once each");
    }
    world.run(SECOND);
    world.assert_equal();
}

#[test]
fn a_refusal_is_an_outcome_too() {
    let (mut world, _) = world();
    let first = once(&mut world, 1, 1, "?");
    world.propose(1, "a=1");
    assert_eq!(once(&mut world, 2, 1, "?"), first);
}

#[test]
fn an_echo_of_the_past_and_a_number_used_twice_are_refused() {
    let (mut world, _) = world();
    once(&mut world, 1, 4, "a=4");
    let (_, reused) = once(&mut world, 1, 4, "a=5");
    assert_eq!(reused, RetryRefusal::NumberReused as u16);
    once(&mut world, 1, 9, "a=9");
    let (_, echo) = once(&mut world, 2, 4, "a=4");
    assert_eq!(echo, RetryRefusal::Superseded as u16);
    assert_eq!(world.value(1, "a").as_deref(), Some("9"));
    assert_eq!(version(&mut world, 1, "a"), 2);
}

#[test]
fn another_user_neither_hears_what_a_session_did_nor_uses_its_numbers_up() {
    let (mut world, _) = world();
    world.run(3 * SECOND);
    let mut ask = |name: &'static str, sequence: u64| {
        let name = Bytes::from_static(name.as_bytes());
        let who = Identity::User { name, revision: 1 };
        let numbered = Some((LeaseId(7), sequence));
        let request = Bytes::from_static(b"a=1");
        let node = world.node(1);
        let tag = node.propose_as(support::WORDS, request, numbered, Some(who));
        let tag = tag.expect("admitted");
        world.settle();
        told(&world, 1, tag)
    };
    let first = ask("ann", 1);
    let anothers = RetryRefusal::AnothersSession as u16;
    for sequence in [1, 2, u64::MAX] {
        assert_eq!(ask("eve", sequence).1, anothers);
    }
    assert_eq!(ask("ann", 1), first);
    assert_eq!(ask("ann", 2).1, 0, "her numbers are hers");
    world.assert_equal();
}

#[test]
fn what_a_session_did_is_forgotten_with_its_lease() {
    let (mut world, leader) = world();
    once(&mut world, 1, 1, "a=1");
    // Nobody renews it: the leader lets it expire.
    world.run(12 * SECOND);
    let state = world.node(leader).state().clone();
    assert!(state.lease(LeaseId(7)).is_none());
    assert_eq!(state.records(node::retries::SESSIONS).count(), 0);
    let (_, over) = once(&mut world, 1, 1, "a=1");
    assert_eq!(over, RetryRefusal::SessionOver as u16);
    assert_eq!(version(&mut world, 1, "a"), 1, "and nothing was done");
}

#[test]
fn a_session_may_end_itself() {
    let (mut world, _) = world();
    let (_, status) = once(&mut world, 1, 1, "*7");
    assert_eq!(status, 0);
    let (_, over) = once(&mut world, 1, 1, "*7");
    assert_eq!(over, RetryRefusal::SessionOver as u16);
    world.run(SECOND);
    world.assert_equal();
}

#[test]
fn an_answer_too_large_to_keep_is_told_to_have_been() {
    let (mut world, _) = world();
    for (sequence, bytes, expected) in [
        (1, limits::RETRY_ANSWER_BYTES_MAX, 0),
        (
            2,
            limits::RETRY_ANSWER_BYTES_MAX + 1,
            RetryRefusal::AnswerNotKept as u16,
        ),
    ] {
        let words = format!("!{bytes}");
        assert_eq!(once(&mut world, 1, sequence, &words).1, 0);
        assert_eq!(once(&mut world, 2, sequence, &words).1, expected, "{bytes}");
    }
}

#[test]
fn the_memory_survives_restarts_checkpoints_and_received_states() {
    let (mut world, _) = world();
    let first = once(&mut world, 1, 1, "a=1");
    world.cut.insert(id(3));
    // Enough entries for checkpoints, and for a state to be sent to the one that was away.
    for n in 0..300 {
        world.propose(1, &format!("b={n}"));
    }
    world.restart(id(2));
    world.cut.remove(&id(3));
    world.run(2 * SECOND);
    world.assert_equal();
    for n in 1..=3 {
        assert_eq!(once(&mut world, n, 1, "a=1"), first, "at {n}");
    }
    assert_eq!(version(&mut world, 3, "a"), 1);
}

#[test]
fn a_write_whose_answer_was_lost_with_its_leader_is_not_done_again_by_the_next() {
    let (mut world, leader) = world();
    let others: Vec<u64> = (1..=3).filter(|n| *n != leader).collect();
    // Decided by the leader and one other, and then the leader is away with its answer.
    let lost = world.propose_once(leader, 7, 1, "a=1");
    let first = told(&world, leader, lost);
    world.cut.insert(id(leader));
    let next = world.elect();
    assert_ne!(next, leader);
    for n in others {
        assert_eq!(once(&mut world, n, 1, "a=1"), first, "at {n}");
    }
    assert_eq!(version(&mut world, next, "a"), 1);
}
