//! What the leader believes, sends and decides.

mod support;

use base::{Change, Index, LogPosition, MessageKind, Term};
use quorate_consensus::{Engine, Refused, Replication};
use support::{World, id};

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition {
        term: Term(term),
        index: Index(index),
    }
}

fn led_by_n1(n: u64) -> World {
    let mut world = World::new(&(1..=n).collect::<Vec<_>>(), &[], 1);
    world.campaign(id(1)).expect("a fresh member may");
    world.settle();
    assert_eq!(world.leader(), Some(id(1)));
    world
}

/// Raft §5.4.2: entry 3 of term 2 reaches a majority by the hand of the leader of term 4, and is not
/// decided before an entry of term 4 is.
#[test]
fn an_old_entry_on_a_majority_is_not_decided() {
    let mut world = led_by_n1(5);
    for other in [3, 4, 5] {
        world.cut(id(1), id(other));
    }
    world.propose(id(1), "old").expect("n1 leads");
    world.settle();
    world.heal();
    // n1 leads again, in a term in which nobody has had anything from it.
    world.raft_mut(id(1)).step_down();
    world.drain(id(1));
    for other in [2, 3, 4, 5] {
        // Not in the mood to stand in anybody's way, and not in theirs to campaign.
        (0..101).for_each(|_| world.tick(id(other)));
    }
    world.campaign(id(1)).expect("all is durable");
    while world.leader().is_none() {
        world.flush_all();
        let message = world.wire.pop_front().expect("the votes are on their way");
        world.deliver(message);
    }
    world.flush_all();
    assert_eq!(world.raft(id(1)).status().last, at(3, 4));
    // Its appends carry both entries; here the network knows how to carry only the old one.
    while let Some(mut message) = world.wire.pop_front() {
        if message.kind == MessageKind::Append {
            message
                .entries
                .retain(|entry| entry.position.term < Term(3));
        }
        world.deliver(message);
        world.flush_all();
    }
    // On a majority, and not decided.
    let matched = |peer: &quorate_consensus::PeerProgress| peer.matched >= Index(3);
    let raft = world.raft(id(1));
    assert!(raft.peers().iter().filter(|peer| matched(peer)).count() >= 3);
    assert_eq!(raft.status().commit, Index(2));
    world.run(30);
    assert_eq!(world.raft(id(1)).status().commit, Index(4));
    assert_eq!(world.violations, [] as [&str; 0]);
}

/// Fixed in the engine after 0.7.0: a late refusal took the next index below what is known to match,
/// and the leader sent what the member has, or a whole snapshot.
#[test]
fn a_late_refusal_does_not_take_back_what_is_known() {
    let mut world = led_by_n1(3);
    for command in ["a", "b", "c", "d"] {
        world.propose(id(1), command).expect("n1 leads");
    }
    world.settle();
    // A lost message makes the leader look for the place again.
    world.raft_mut(id(1)).report_unreachable(id(2));
    world.drain(id(1));
    let last = world.raft(id(1)).status().last;
    for rejected in 0..=last.index.0 {
        for hint in 0..=last.index.0 {
            for hint_term in 0..=2 {
                let mut refusal =
                    base::Message::new(MessageKind::AppendResponse, id(2), id(1), last.term);
                refusal.reject = true;
                refusal.position = at(hint_term, rejected);
                refusal.reject_hint = Index(hint);
                let _ = world.step(refusal);
                let peer = world.raft(id(1)).peers()[1];
                assert!(
                    peer.next > peer.matched,
                    "after {rejected}, {hint}: {peer:?}"
                );
                assert_eq!(peer.matched, last.index);
            }
        }
    }
    let is_snapshot = |message: &base::Message| message.kind == MessageKind::Snapshot;
    assert!(!world.wire.iter().any(is_snapshot));
}

#[test]
fn a_plea_lowers_the_leaders_belief_and_the_log_is_repaired() {
    let mut world = led_by_n1(3);
    for command in ["a", "b", "c"] {
        world.propose(id(1), command).expect("n1 leads");
    }
    world.settle();
    assert_eq!(world.raft(id(1)).peers()[1].matched, Index(5));

    // Somebody else's entry at that place: nothing is known.
    world.raft_mut(id(1)).reset_progress(id(2), at(9, 4));
    let peer = world.raft(id(1)).peers()[1];
    assert_eq!((peer.matched, peer.state), (Index(0), Replication::Probing));
    world.drain(id(1));
    world.settle();
    assert_eq!(world.raft(id(1)).peers()[1].matched, Index(5));

    // The same entry: known up to there.
    world.raft_mut(id(1)).reset_progress(id(2), at(2, 3));
    let peer = world.raft(id(1)).peers()[1];
    assert_eq!((peer.matched, peer.next), (Index(3), Index(4)));
    world.drain(id(1));
    world.settle();
    assert_eq!(world.raft(id(1)).peers()[1].matched, Index(5));

    // More than it is believed to have changes nothing.
    world.raft_mut(id(1)).reset_progress(id(2), at(2, 5));
    assert_eq!(world.raft(id(1)).peers()[1].state, Replication::Streaming);
}

#[test]
fn a_snapshot_from_before_a_member_was_added_is_not_sent_to_it() {
    let mut world = led_by_n1(3);
    world.propose(id(1), "a").expect("n1 leads");
    world.settle();
    world.compact(id(1), 2);
    world.join(id(4));
    let genesis = world.genesis.clone();
    world
        .change(id(1), vec![Change::AddLearner(id(4))])
        .expect("one change");
    world.settle();
    world.run(30);
    assert_eq!(
        world.member(id(4)).machine.at,
        world.member(id(1)).machine.at
    );
    assert_ne!(world.member(id(4)).disk.checkpoint.membership, genesis);
}

#[test]
fn nothing_is_compacted_that_no_snapshot_covers() {
    let mut world = led_by_n1(3);
    for command in ["a", "b", "c"] {
        world.propose(id(1), command).expect("n1 leads");
    }
    world.settle();
    let first = world.raft(id(1)).status().first;
    assert_eq!(world.raft_mut(id(1)).compact(Index(4)), first);
    let bytes = world.raft(id(1)).status().log_bytes;
    world.compact(id(1), 99);
    let status = world.raft(id(1)).status();
    assert_eq!(status.first, Index(6));
    assert!(bytes > 0 && status.log_bytes == 0);
}

#[test]
fn a_leader_bounds_what_is_not_decided() {
    let mut world = led_by_n1(3);
    world.isolate(id(1));
    let large = "x".repeat(4 << 20);
    let mut n_taken = 0;
    let refused = loop {
        match world.propose(id(1), &large) {
            Ok(_) => n_taken += 1,
            Err(refused) => break refused,
        }
        world.wire.clear();
    };
    assert_eq!(refused, Refused::Busy);
    assert_eq!(n_taken, 16, "64 MiB");
    let huge = "x".repeat(base::limits::ENTRY_BYTES_MAX + 1);
    let bytes = huge.len();
    assert_eq!(
        world.propose(id(1), &huge),
        Err(Refused::TooLarge { bytes })
    );
}

#[test]
fn a_commit_travels_with_the_next_append_and_alone_when_there_is_none() {
    let mut world = led_by_n1(3);
    world.run(1);
    world.show_messages = true;
    world.events.clear();
    let count = |world: &World, what: &str| {
        world
            .events
            .iter()
            .filter(|event| event.contains(what))
            .count()
    };
    // Ten writes, one after the other, each proposed in the moment that the last one is decided.
    for n in 0..10 {
        world.propose(id(1), &format!("c{n}")).expect("n1 leads");
        while world.raft(id(1)).status().commit < Index(3 + n) {
            world.flush_all();
            let message = world.wire.pop_front().expect("acknowledgements come");
            world.deliver(message);
        }
    }
    assert_eq!(count(&world, "n1 → n2 Append"), 10, "{:#?}", world.events);
    // Then silence: one more, so that nobody waits for the next heartbeat.
    world.settle();
    assert_eq!(count(&world, "n1 → n2 Append"), 11);
    for member in [1, 2, 3] {
        assert_eq!(world.raft(id(member)).status().commit, Index(12));
    }
}

#[test]
fn a_read_round_is_answered_once_and_by_its_own_acknowledgements() {
    let mut world = led_by_n1(3);
    world.run(1);
    world.cut(id(1), id(3));
    for _ in 0..5 {
        world.read(id(1)).expect("n1 leads");
    }
    world.settle();
    world.run(20);
    let answers = world
        .events
        .iter()
        .filter(|event| event.contains(" read "))
        .count();
    assert_eq!(answers, 5);
    assert_eq!(world.violations, [] as [&str; 0]);
}
