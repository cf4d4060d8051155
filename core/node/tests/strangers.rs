//! What others may say to a member: two snapshots at once, states that are not what they are announced
//! as, pleas that cannot be true, and anything at all from somebody who is not a member.

mod support;

use base::{
    Index, LeaseId, LogPosition, MemberId, Membership, Message, MessageKind, PeerMessage,
    SnapshotMeta, Term,
};
use node::{MemberChange, Ticket};
use std::time::Duration;
use store::Store;
use support::{World, genesis, id};

const SECOND: Duration = Duration::from_secs(1);

fn announce(from: u64, to: u64, term: u64, meta: &SnapshotMeta) -> PeerMessage {
    let mut message = Message::new(MessageKind::Snapshot, id(from), id(to), Term(term));
    message.snapshot = Some(meta.clone());
    PeerMessage::Raft(Box::new(message))
}

fn meta_at(index: u64, voters: &[u64]) -> SnapshotMeta {
    SnapshotMeta {
        position: LogPosition {
            term: Term(2),
            index: Index(index),
        },
        membership: Membership {
            voters: voters.iter().copied().map(MemberId).collect(),
            ..Membership::default()
        },
    }
}

/// A state that stands where `meta` says.
fn state_of(meta: &SnapshotMeta) -> store::State {
    let mut store = Store::new(genesis(3));
    store.set_membership(meta.membership.clone());
    store.set_applied(meta.position);
    store.publish()
}

#[test]
fn two_snapshots_at_once_do_no_harm() {
    for (first, second) in [(100, 90), (90, 100), (100, 100)] {
        let mut world = World::new(3);
        let now = world.now;
        for (index, from) in [(first, 2), (second, 3)] {
            let meta = meta_at(index, &[1, 2, 3]);
            world
                .node(1)
                .receive(id(from), announce(from, 1, from + 5, &meta), now);
            world
                .node(1)
                .snapshot_received(id(from), meta.clone(), state_of(&meta));
        }
        world.node(1).take_effects(now, 1000);
        world.node(1).take_effects(now, 1000);
        assert_eq!(world.node(1).state().applied().index.0, first.max(second));
    }
}

#[test]
fn a_snapshot_that_is_not_what_it_is_announced_as_is_not_installed() {
    let mut world = World::new(3);
    let now = world.now;
    let meta = meta_at(100, &[1, 2, 3]);
    world.node(1).receive(id(2), announce(2, 1, 5, &meta), now);
    let other = state_of(&meta_at(90, &[1, 2, 3]));
    world.node(1).snapshot_received(id(2), meta, other);
    // The same members in another order are the same members.
    let effects = world.node(1).take_effects(now, 1000);
    assert!(!effects.restored);
    let unsorted = meta_at(100, &[3, 1, 2]);
    world
        .node(1)
        .receive(id(2), announce(2, 1, 5, &unsorted), now);
    world
        .node(1)
        .snapshot_received(id(2), unsorted.clone(), state_of(&unsorted));
    world.node(1).take_effects(now, 1000);
    assert_eq!(world.node(1).state().applied().index.0, 100);
}

#[test]
fn a_plea_beyond_the_log_is_not_believed() {
    let mut world = World::new(3);
    let leader = world.elect();
    let add = MemberChange::Add {
        member: id(4),
        peer_urls: vec!["http://n4:2380".to_string()],
        is_learner: true,
    };
    world.change(leader, add);
    world.run(SECOND);
    for (term, index) in [(0, u64::MAX), (0, 1 << 40), (3, 7), (u64::MAX, u64::MAX)] {
        for from in 1..=5 {
            let plea = PeerMessage::Recovering {
                intact: LogPosition {
                    term: Term(term),
                    index: Index(index),
                },
            };
            let now = world.now;
            world.node(leader).receive(id(from), plea, now);
            world.settle();
        }
    }
    world.run(SECOND);
    let tag = world.propose(leader, "a=1");
    assert!(world.outcome(leader, tag).is_some());
}

#[test]
fn strangers_are_not_served() {
    let mut world = World::new(3);
    let leader = world.elect();
    let now = world.now;
    for n in 0..200_000 {
        let from = id(100 + n % 3);
        let node = world.node(leader);
        node.receive(from, PeerMessage::ReadIndexRequest { attempt: n }, now);
        let lease = LeaseId(1);
        node.receive(
            from,
            PeerMessage::LeaseRenewRequest { ticket: n, lease },
            now,
        );
    }
    assert_eq!(world.node(leader).read(Ticket(1)), Ok(()));
    let sent = world.node(leader).take_effects(now, 1000).send;
    assert!(sent.iter().all(|(to, _)| to.0 <= 3), "answered a stranger");
}
