//! Rolling upgrades: the apply version rises when all members know the next one, and not before.

mod support;

use base::{Entry, EntryKind, HardState, Index, Instant, LogPosition, PeerMessage, Term};
use bytes::Bytes;
use clock::HybridTime;
use node::system::{SYSTEM, SystemCommand};
use node::{
    APPLY_VERSION, APPLY_VERSION_FIRST, Boot, Health, MemberChange, Node, NodeConfig, StopReason,
};
use std::time::Duration;
use store::command::{Batch, Command};
use store::{State, Store};
use support::{WORDS, Words, World, config, genesis, id};

const SECOND: Duration = Duration::from_secs(1);
const FORMER: u16 = APPLY_VERSION_FIRST;

/// A cluster of `members` whose members in `former` are of a former build.
fn mixed(members: u64, former: &[u64]) -> World {
    let mut world = World::new(members);
    for n in former {
        world.former.insert(id(*n), FORMER);
        world.restart(id(*n));
    }
    world
}

fn upgrade(world: &mut World, n: u64) {
    world.former.remove(&id(n));
    world.restart(id(n));
}

fn versions(world: &World) -> Vec<u16> {
    let nodes = world.nodes.values();
    nodes.map(|node| node.status().apply_version).collect()
}

#[test]
fn a_cluster_of_one_build_raises_the_version_at_once() {
    let mut world = World::new(3);
    world.elect();
    world.run(3 * SECOND);
    assert_eq!(versions(&world), [APPLY_VERSION; 3]);
    world.assert_equal();
    let mut alone = World::new(1);
    alone.elect();
    alone.run(SECOND);
    assert_eq!(versions(&alone), [APPLY_VERSION]);
}

#[test]
fn nothing_rises_while_one_member_is_of_a_former_build() {
    for old in 1..=3 {
        let mut world = mixed(3, &[old]);
        let leader = world.elect();
        world.propose(leader, "a=1");
        world.run(10 * SECOND);
        assert_eq!(versions(&world), [FORMER; 3], "member {old} is old");
        upgrade(&mut world, old);
        world.elect();
        world.run(5 * SECOND);
        assert_eq!(versions(&world), [APPLY_VERSION; 3]);
        assert_eq!(world.value(old, "a").as_deref(), Some("1"));
        world.assert_equal();
        assert!(world.stopped.is_empty(), "{:?}", world.stopped);
    }
}

#[test]
fn members_are_upgraded_one_by_one_and_the_last_one_opens_the_gate() {
    let mut world = mixed(3, &[1, 2, 3]);
    for n in 1..=3 {
        let leader = world.elect();
        world.propose(leader, &format!("k{n}=1"));
        world.run(2 * SECOND);
        assert_eq!(versions(&world), [FORMER; 3], "before member {n}");
        upgrade(&mut world, n);
    }
    world.elect();
    world.run(5 * SECOND);
    assert_eq!(versions(&world), [APPLY_VERSION; 3]);
    for n in 1..=3 {
        assert_eq!(world.value(n, "k3").as_deref(), Some("1"));
    }
    world.assert_equal();
}

#[test]
fn a_learner_of_a_former_build_holds_the_version_down_too() {
    let mut world = mixed(3, &[1]);
    let leader = world.elect();
    world.former.insert(id(4), FORMER);
    let add = MemberChange::Add {
        member: id(4),
        peer_urls: vec!["http://n4:2380".to_string()],
        is_learner: true,
    };
    let added = world.change(leader, add);
    assert_eq!(world.outcome(leader, added).map(|(_, s)| s), Some(0));
    world.join(id(4));
    upgrade(&mut world, 1);
    world.elect();
    world.run(10 * SECOND);
    assert_eq!(versions(&world), [FORMER; 4]);
    upgrade(&mut world, 4);
    world.run(5 * SECOND);
    assert_eq!(versions(&world), [APPLY_VERSION; 4]);
}

#[test]
fn a_member_that_is_away_is_waited_for() {
    let mut world = mixed(3, &[3]);
    let leader = world.elect();
    assert_ne!(leader, 0);
    world.cut.insert(id(3));
    world.elect();
    world.run(10 * SECOND);
    assert_eq!(versions(&world)[..2], [FORMER; 2]);
    upgrade(&mut world, 3);
    world.cut.clear();
    world.elect();
    world.run(5 * SECOND);
    assert_eq!(versions(&world), [APPLY_VERSION; 3]);
}

#[test]
fn what_a_member_said_before_it_went_is_not_believed_for_long() {
    let mut world = mixed(3, &[1, 2]);
    // Member 3 is new, and told whoever leads; then it comes back as a former build, and the others are upgraded.
    world.elect();
    world.run(2 * SECOND);
    world.former.insert(id(3), FORMER);
    world.restart(id(3));
    world.run(6 * SECOND);
    upgrade(&mut world, 1);
    upgrade(&mut world, 2);
    world.elect();
    world.run(10 * SECOND);
    assert_eq!(versions(&world), [FORMER; 3]);
    assert!(world.stopped.is_empty(), "{:?}", world.stopped);
}

#[test]
fn a_stranger_and_a_follower_are_not_asked_what_they_know() {
    let mut world = mixed(3, &[3]);
    let leader = world.elect();
    let now = world.now;
    for from in [9, 77] {
        let knows = PeerMessage::Knows { apply_version: 9 };
        world.node(leader).receive(id(from), knows, now);
    }
    world.run(2 * SECOND);
    assert_eq!(versions(&world), [FORMER; 3]);
}

#[test]
fn a_member_of_a_former_build_takes_no_state_that_it_does_not_know() {
    let mut world = World::new(3);
    let leader = world.elect();
    world.run(SECOND);
    assert_eq!(versions(&world), [APPLY_VERSION; 3]);
    // More than the leader keeps in memory.
    let value = "v".repeat(200_000);
    for n in 0..200 {
        world.propose(leader, &format!("k{}={value}", n % 7));
    }
    world.change(
        leader,
        MemberChange::Add {
            member: id(4),
            peer_urls: vec!["http://n4:2380".to_string()],
            is_learner: true,
        },
    );
    // It starts with nothing, so that a state is sent to it instead of the log's beginning.
    world.former.insert(id(4), FORMER);
    world.join(id(4));
    world.run(2 * SECOND);
    assert!(world.snapshots_sent > 0);
    let needs = APPLY_VERSION;
    assert_eq!(
        world.stopped.get(&id(4)),
        Some(&StopReason::TooOld { needs })
    );
    assert_eq!(world.value(4, "k1"), None, "nothing of it is shown");
    assert_eq!(world.disks[&id(4)].state.applied().index, Index(0));
}

/// The planted bug: most members know the next version, and the leader does not wait for the rest.
#[cfg(feature = "mutants")]
#[test]
fn a_leader_that_raises_too_early_stops_the_member_that_was_not_asked() {
    let mut world = mixed(3, &[3]);
    world.mutants = base::Mutants::only(base::Mutant::RaisesTooEarly);
    for n in 1..=3 {
        world.restart(id(n));
    }
    world.elect();
    world.run(10 * SECOND);
    // One step at a time.
    let needs = FORMER + 1;
    assert_eq!(
        world.stopped.get(&id(3)),
        Some(&StopReason::TooOld { needs })
    );
}

// ---- the log's order decides --------------------------------------------------------------------

fn entry(index: u64, apply_version: u16, commands: Vec<Command>) -> Entry {
    let batch = Batch {
        apply_version,
        time: HybridTime::new(1000 + index, 0),
        commands,
    };
    Entry {
        position: LogPosition {
            term: Term(2),
            index: Index(index),
        },
        kind: EntryKind::Normal,
        data: batch.encode(),
        context: Bytes::new(),
    }
}

fn command(dialect: store::command::DialectId, request: Bytes) -> Command {
    Command {
        dialect,
        origin: id(1),
        tag: 1,
        client: None,
        identity: None,
        request,
    }
}

fn lone(apply_version_max: u16, state: State, entries: Vec<Entry>) -> Node {
    let boot = Boot {
        hard_state: HardState {
            term: Term(2),
            vote: id(1),
            commit: Index(state.applied().index.0 + entries.len() as u64),
        },
        entries,
        state,
        health: Health::Intact,
    };
    let config = NodeConfig {
        apply_version_max,
        ..config(id(1))
    };
    Node::new(config, boot, vec![Box::new(Words)], Instant(0)).expect("the engine starts")
}

#[test]
fn what_comes_behind_the_raise_is_decided_by_it_whatever_its_stamp() {
    let raise = command(SYSTEM, SystemCommand::Raise(APPLY_VERSION).encode());
    let put = || command(WORDS, Bytes::from_static(b"a=1"));
    let entries = vec![
        entry(2, FORMER, vec![put()]),
        entry(3, APPLY_VERSION, vec![raise]),
        entry(4, FORMER, vec![put()]),
    ];
    let state = Store::new(genesis(1)).publish();
    let mut node = lone(APPLY_VERSION, state.clone(), entries.clone());
    let effects = node.take_effects(Instant(0), 1000);
    assert_eq!(effects.stop, None);
    assert_eq!(node.state().applied().index, Index(4));
    assert_eq!(node.apply_version(), APPLY_VERSION);

    // A former build stops before the raise …
    let mut former = lone(FORMER, state, entries.clone());
    let effects = former.take_effects(Instant(0), 1000);
    let needs = APPLY_VERSION;
    assert_eq!(effects.stop, Some(StopReason::TooOld { needs }));
    assert_eq!(former.state().applied().index, Index(2));

    // … and does not go on from a state behind it either, whatever the entries' stamps.
    let raised = node.state().clone();
    let behind = vec![entry(5, FORMER, vec![put()])];
    let mut former = lone(FORMER, raised, behind);
    let effects = former.take_effects(Instant(0), 1000);
    assert_eq!(effects.stop, Some(StopReason::TooOld { needs }));
}

#[test]
fn a_raise_in_a_batch_of_a_lower_version_is_refused_alike_by_all() {
    let raise = command(SYSTEM, SystemCommand::Raise(APPLY_VERSION).encode());
    let state = Store::new(genesis(1)).publish();
    let mut node = lone(APPLY_VERSION, state, vec![entry(2, FORMER, vec![raise])]);
    node.take_effects(Instant(0), 1000);
    assert_eq!(node.apply_version(), FORMER);
}
