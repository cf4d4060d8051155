//! What goes wrong, told as short stories: hung disks, stale queues, lost offices, versions from the
//! future. What others may do to a member is in `strangers.rs` and `hostile.rs`.

mod support;

use base::{
    Entry, EntryKind, HardState, Index, Instant, LeaseId, LogPosition, PeerMessage, SnapshotMeta,
    Term,
};
use bytes::Bytes;
use clock::HybridTime;
use node::system::{SYSTEM, SystemCommand};
use node::{
    Boot, Effects, Health, LeaseAnswer, MemberChange, Node, NodeConfig, StopReason, SystemRefusal,
    Ticket,
};
use std::time::Duration;
use store::Store;
use store::command::{Batch, Command};
use support::{WORDS, Words, World, config, genesis, id};

const SECOND: Duration = Duration::from_secs(1);

fn command(origin: u64, tag: u64, words: &[u8]) -> Command {
    Command {
        dialect: WORDS,
        origin: id(origin),
        tag,
        client: None,
        identity: None,
        request: Bytes::copy_from_slice(words),
    }
}

fn batch(commands: Vec<Command>) -> Batch {
    Batch {
        apply_version: 1,
        time: HybridTime::new(1000, 0),
        commands,
    }
}

fn forward(commands: Vec<Command>) -> PeerMessage {
    PeerMessage::Forward {
        batch: batch(commands).encode(),
    }
}

fn normal(index: u64, data: Bytes) -> Entry {
    Entry {
        position: LogPosition {
            term: Term(2),
            index: Index(index),
        },
        kind: EntryKind::Normal,
        data,
        context: Bytes::new(),
    }
}

/// A lone member that starts with `entries`, all of them committed.
fn lone(entries: Vec<Entry>) -> Node {
    let boot = Boot {
        hard_state: HardState {
            term: Term(2),
            vote: id(1),
            commit: Index(1 + entries.len() as u64),
        },
        entries,
        state: Store::new(genesis(1)).publish(),
        health: Health::Intact,
    };
    Node::new(config(id(1)), boot, vec![Box::new(Words)], Instant(0)).expect("the engine starts")
}

fn step(node: &mut Node) -> Effects {
    node.take_effects(Instant(0), 1000)
}

fn follower_of(leader: u64) -> u64 {
    if leader == 1 { 2 } else { 1 }
}

// ---- apply --------------------------------------------------------------------------------------

#[test]
fn a_long_backlog_is_applied_in_bounded_steps() {
    let entries = (0..20).map(|n| {
        let words = |m| command(1, n * 1000 + m, b"a=1");
        normal(n + 2, batch((0..1000).map(words).collect()).encode())
    });
    let mut node = lone(entries.collect());
    let mut rounds = 0;
    loop {
        let before = node.status().applied.index.0;
        let effects = step(&mut node);
        let applied = node.status().applied.index.0 - before;
        assert!(
            applied <= 6,
            "{applied} entries of 1,000 commands in one call"
        );
        rounds += 1;
        if !effects.more {
            break;
        }
    }
    assert_eq!(node.status().applied.index, Index(21));
    assert!(rounds >= 4, "{rounds}");
}

#[test]
fn an_entry_from_a_newer_version_stops_before_it_is_applied() {
    let newer = Batch {
        apply_version: node::APPLY_VERSION + 1,
        ..batch(vec![command(1, 1, b"b=1")])
    };
    let mut node = lone(vec![
        normal(2, batch(vec![command(1, 1, b"a=1")]).encode()),
        normal(3, newer.encode()),
        normal(4, batch(vec![command(1, 2, b"c=1")]).encode()),
    ]);
    let effects = step(&mut node);
    let needs = node::APPLY_VERSION + 1;
    assert_eq!(effects.stop, Some(StopReason::TooOld { needs }));
    assert_eq!(
        node.state().applied().index,
        Index(2),
        "a newer build must find the entry again"
    );
    assert!(effects.checkpoint.is_none());
}

#[test]
fn an_entry_that_nobody_can_read_stops_the_member_and_does_not_crash_it() {
    let mut node = lone(vec![normal(2, Bytes::from_static(b"no batch at all"))]);
    let effects = step(&mut node);
    assert!(effects.stop.is_some());
    assert_eq!(node.state().applied().index, Index(1));
}

#[test]
fn a_diverged_member_says_nothing_more() {
    let digest = SystemCommand::Digest {
        index: Index(2),
        digest: 1,
    };
    let digest = Command {
        dialect: SYSTEM,
        request: digest.encode(),
        ..command(1, 3, b"")
    };
    let mut node = lone(vec![
        normal(2, batch(vec![command(1, 1, b"a=1")]).encode()),
        normal(3, batch(vec![digest]).encode()),
    ]);
    let effects = step(&mut node);
    assert!(matches!(effects.stop, Some(StopReason::Diverged { .. })));
    assert!(
        effects
            .published
            .is_none_or(|state| state.applied().index == Index(1))
    );
    assert!(effects.events.is_empty() && effects.checkpoint.is_none() && !effects.more);
}

#[test]
fn stamps_rise_across_leaders_though_their_clocks_differ() {
    let mut world = World::new(3);
    let old = world.elect();
    world.propose(old, "a=1");
    // A digest is the last thing that this leader stamps, by a clock that is far ahead.
    let now = world.now;
    for _ in 0..400 {
        let node = world.node(old);
        node.tick(now, 10_000_000);
        node.take_effects(now, 10_000_000);
    }
    world.now = now;
    world.settle();
    let ahead = Batch {
        time: HybridTime::new(5_000_000, 0),
        ..batch(vec![Command {
            dialect: SYSTEM,
            request: SystemCommand::Refuse(SystemRefusal::Unhealthy).encode(),
            ..command(1, 1, b"")
        }])
    };
    let mut node = lone(vec![normal(2, ahead.encode())]);
    step(&mut node);
    assert_eq!(node.state().time(), HybridTime::new(5_000_000, 0));
}

#[test]
fn an_idle_cluster_writes_nothing() {
    let mut world = World::new(3);
    let leader = world.elect();
    world.propose(leader, "a=1");
    world.run(3 * SECOND);
    let before = world.node(leader).status().applied;
    world.run(10 * SECOND);
    assert_eq!(world.node(leader).status().applied, before);
}

// ---- disks --------------------------------------------------------------------------------------

#[test]
fn a_leader_whose_disk_hangs_is_replaced_under_load_too() {
    let mut world = World::new(3);
    let stuck = world.elect();
    world.slow_disks.insert(id(stuck));
    for n in 0..400 {
        world.propose(stuck, &format!("k{n}=1"));
        world.run(NodeConfig::TICK);
    }
    let leads = |node: &&Node| node.is_leader() && node.status().member != id(stuck);
    assert!(
        world.nodes.values().any(|node| leads(&node)),
        "its appends have kept the others quiet"
    );
}

#[test]
fn a_follower_whose_disk_hangs_does_not_prop_up_its_leader() {
    let mut world = World::new(3);
    let leader = world.elect();
    let stuck = follower_of(leader);
    let other = (1..=3)
        .find(|n| *n != stuck && *n != leader)
        .expect("three");
    world.slow_disks.insert(id(stuck));
    world.propose(leader, "a=1");
    world.cut.insert(id(other));
    for _ in 0..500 {
        // Ticks come a little late, as they do.
        world.now += Duration::from_millis(2);
        world.run(NodeConfig::TICK);
    }
    assert!(
        !world.node(leader).is_leader(),
        "it leads a majority of which one member cannot write"
    );
}

#[test]
fn a_hung_disk_expires_no_lease() {
    let mut world = World::new(1);
    world.elect();
    world.propose(1, "+5:2");
    world.propose(1, "k=1@5");
    world.slow_disks.insert(id(1));
    world.propose(1, "a=1");
    for n in 0..10 {
        world
            .node(1)
            .lease_renew(Ticket(n), LeaseId(5))
            .expect("admitted");
        world.run(SECOND / 2);
    }
    world.slow_disks.clear();
    world.finish_disks();
    world.run(SECOND);
    assert_eq!(
        world.value(1, "k").as_deref(),
        Some("1"),
        "its owner could not renew while the disk hung"
    );
}

#[test]
fn a_checkpoint_that_failed_is_asked_for_again() {
    let mut world = World::new(1);
    world.elect();
    let mut asked = 0;
    for n in 0..60 {
        let words = Bytes::from(format!("k{n}=1"));
        world.node(1).propose(WORDS, words).expect("admitted");
        for _ in 0..4 {
            let now = world.now;
            let effects = world.node(1).take_effects(now, 1000);
            if let Some(persist) = effects.persist {
                world.node(1).persisted(persist.number);
            }
            if effects.checkpoint.is_some() {
                asked += 1;
                world.node(1).checkpoint_failed();
            }
        }
    }
    assert_eq!(asked, 1, "not at once");
    for _ in 0..3000 {
        world.now += NodeConfig::TICK;
        let now = world.now;
        world.node(1).tick(now, 1000);
        asked += usize::from(world.node(1).take_effects(now, 1000).checkpoint.is_some());
    }
    assert_eq!(asked, 2);
}

/// The checkpoints that a lone member asks for while it puts `n` values of `bytes`.
fn checkpoints_for(world: &mut World, n: usize, bytes: usize) -> usize {
    let mut asked = 0;
    for i in 0..n {
        let words = Bytes::from(format!("k{bytes}-{i}={}", "v".repeat(bytes)));
        world.node(1).propose(WORDS, words).expect("admitted");
        for _ in 0..4 {
            let now = world.now;
            let effects = world.node(1).take_effects(now, 1000);
            if let Some(persist) = effects.persist {
                world.node(1).persisted(persist.number);
            }
            if let Some((meta, _)) = effects.checkpoint {
                asked += 1;
                world.node(1).checkpointed(&meta);
            }
        }
    }
    asked
}

#[test]
fn a_large_state_is_not_written_for_a_few_small_entries() {
    let mut world = World::new(1);
    world.elect();
    let count = config(id(1)).snapshot_count as usize;
    assert!(checkpoints_for(&mut world, 2 * count, 10_000) >= 1);
    assert_eq!(checkpoints_for(&mut world, 3 * count, 1), 0);
    let eighth = 2 * count / 8 + 1;
    assert!(checkpoints_for(&mut world, eighth, 10_000) >= 1);
}

#[test]
fn a_checkpoint_can_be_asked_for_and_comes_after_the_sweep() {
    let mut world = World::new(1);
    world.elect();
    assert_eq!(checkpoints_for(&mut world, 3, 10), 0);
    assert!(world.node(1).checkpoint_now());
    assert!(world.node(1).checkpoint_is_wanted());
    let now = world.now;
    let effects = world.node(1).take_effects(now, 1000);
    let (meta, state) = effects.checkpoint.expect("asked for");
    assert_eq!(meta.position, state.applied());
    assert!(!world.node(1).checkpoint_is_wanted());

    // While it is under way there is another, wanted more than the pause after a failure.
    assert_eq!(checkpoints_for(&mut world, 1, 10), 0);
    assert!(world.node(1).checkpoint_now());
    world.node(1).checkpoint_failed();
    let effects = world.node(1).take_effects(now, 1000);
    let (meta, _) = effects.checkpoint.expect("asked for");
    world.node(1).checkpointed(&meta);
    assert!(!world.node(1).checkpoint_now(), "the newest has everything");
}

#[test]
fn on_a_tight_disk_every_change_is_followed_by_a_checkpoint() {
    let mut world = World::new(1);
    world.elect();
    assert_eq!(checkpoints_for(&mut world, 1, 10), 0);
    world.node(1).disk_is_tight(true);
    assert_eq!(checkpoints_for(&mut world, 5, 10), 1, "and then a pause");
    world.now += 3 * SECOND;
    let now = world.now;
    let effects = world.node(1).take_effects(now, 4000);
    let (meta, _) = effects.checkpoint.expect("of the others");
    world.node(1).checkpointed(&meta);
    world.now += 3 * SECOND;
    let now = world.now;
    assert!(
        world.node(1).take_effects(now, 7000).checkpoint.is_none(),
        "nothing new"
    );
    world.node(1).disk_is_tight(false);
    assert_eq!(checkpoints_for(&mut world, 5, 10), 0);
}

#[test]
fn the_log_is_kept_until_an_installed_snapshot_is_durable() {
    let mut world = World::new(3);
    let leader = world.elect();
    let behind = follower_of(leader);
    for n in 0..10 {
        world.propose(leader, &format!("k{n}=1"));
    }
    let old = SnapshotMeta {
        position: world.node(behind).state().applied(),
        membership: world.node(behind).state().membership().clone(),
    };
    world.cut.insert(id(behind));
    let value = "v".repeat(200_000);
    for n in 0..200 {
        world.propose(leader, &format!("k{}={value}", n % 7));
    }
    world.cut.clear();
    world.slow_disks.insert(id(behind));
    let sent = world.snapshots_sent;
    world.run(3 * SECOND);
    assert!(world.snapshots_sent > sent);
    let installed = world.node(behind).state().applied().index;
    assert!(
        installed > old.position.index,
        "readable before it is durable"
    );
    let floor = world.node(behind).checkpointed(&old);
    assert!(
        floor <= old.position.index,
        "{floor} is covered by nothing that is durable"
    );
    world.slow_disks.clear();
    world.finish_disks();
    world.run(SECOND);
    world.assert_equal();
}

// ---- leases -------------------------------------------------------------------------------------

#[test]
fn an_expiry_that_waits_in_the_queue_dies_with_the_office() {
    let mut world = World::new(3);
    let leader = world.elect();
    let down = follower_of(leader);
    world.cut.insert(id(down));
    let other = (1..=3).find(|n| *n != down && *n != leader).expect("three");
    world.propose(leader, "+5:2");
    world.propose(leader, "k=1@5");
    world.run(SECOND + SECOND / 2);
    // Cut off with a proposal under way: the expiry has to wait for its turn and never gets it.
    world.cut.insert(id(other));
    world.propose(leader, "a=1");
    world.run(3 * SECOND);
    assert!(!world.node(leader).is_leader());
    world.cut.remove(&id(other));
    assert_eq!(world.elect(), leader, "only its log is long enough");
    world.run(SECOND);
    assert_eq!(
        world.value(leader, "k").as_deref(),
        Some("1"),
        "the new office owes every lease its full time"
    );
    world.run(2 * SECOND);
    assert_eq!(world.value(leader, "k"), None);
}

#[test]
fn a_lease_answer_is_taken_from_the_leader_only_and_only_in_this_life() {
    let mut world = World::new(3);
    let leader = world.elect();
    let asks = follower_of(leader);
    let other = (1..=3).find(|n| *n != asks && *n != leader).expect("three");
    world.propose(leader, "+5:60");
    // The leader's answer to a former life is under way.
    world
        .node(asks)
        .lease_renew(Ticket(1), LeaseId(5))
        .expect("admitted");
    world.held.insert(id(asks));
    world.settle();
    let is_reply = |m: &PeerMessage| matches!(m, PeerMessage::LeaseReply { .. });
    let mail = std::mem::take(&mut world.mail);
    let (from, _, old) = mail
        .into_iter()
        .find(|(_, _, message)| is_reply(message))
        .expect("answered");
    world.held.clear();
    world.restart(id(asks));
    world.run(2 * SECOND);
    world.cut.insert(id(leader));
    world
        .node(asks)
        .lease_renew(Ticket(1), LeaseId(77))
        .expect("admitted");
    let now = world.now;
    world.node(asks).receive(from, old, now);
    for ticket in 0..5 {
        let forged = PeerMessage::LeaseReply {
            ticket,
            remaining_ms: Some(1),
            retry: false,
            epoch: Term(1),
        };
        world.node(asks).receive(id(other), forged.clone(), now);
        world.node(asks).receive(id(99), forged, now);
    }
    world.settle();
    assert_eq!(world.said[&id(asks)].leases, []);
    world.cut.clear();
    world.run(3 * SECOND);
    assert_eq!(
        world.said[&id(asks)].leases,
        [(Ticket(1), LeaseAnswer::Gone)]
    );
}

// ---- forwarding ---------------------------------------------------------------------------------

#[test]
fn a_command_too_large_for_an_entry_does_not_block_the_leader() {
    let mut world = World::new(3);
    let leader = world.elect();
    let from = follower_of(leader);
    let big = vec![b'x'; 9 * 1024 * 1024];
    let now = world.now;
    world
        .node(leader)
        .receive(id(from), forward(vec![command(from, 1, &big)]), now);
    world.settle();
    let tag = world.propose(leader, "a=1");
    world.run(SECOND);
    assert!(world.outcome(leader, tag).is_some());
}

#[test]
fn a_forwarded_command_takes_effect_once_though_the_leader_restarts() {
    let mut world = World::new(3);
    let leader = world.elect();
    let from = follower_of(leader);
    let message = forward(vec![command(from, 7 << 32, b"a=1")]);
    let now = world.now;
    world.node(leader).receive(id(from), message.clone(), now);
    world.node(leader).receive(id(from), message.clone(), now);
    world.settle();
    world.run(SECOND);
    assert_eq!(world.node(leader).state().revision().0, 2);
    world.restart(id(leader));
    world.elect();
    for n in 1..=3 {
        let now = world.now;
        world.node(n).receive(id(from), message.clone(), now);
        world.settle();
    }
    world.run(SECOND);
    assert_eq!(world.node(leader).state().revision().0, 2);
}

#[test]
fn what_its_client_gave_up_before_it_left_is_not_proposed_any_more() {
    let mut world = World::new(3);
    let tag = world.propose(1, "late=1");
    let kept = world.propose(1, "kept=1");
    world.node(1).forget(tag);
    world.elect();
    world.run(SECOND);
    assert_eq!(world.value(1, "late"), None);
    assert!(world.outcome(1, kept).is_some());
}

// ---- members ------------------------------------------------------------------------------------

#[test]
fn a_change_waits_for_a_transfer_of_the_office_to_end() {
    let mut world = World::new(3);
    let leader = world.elect();
    let to = follower_of(leader);
    world.cut.insert(id(to));
    world
        .node(leader)
        .transfer_leader(id(to))
        .expect("it votes");
    let add = MemberChange::Add {
        member: id(4),
        peer_urls: vec!["http://n4:2380".to_string()],
        is_learner: true,
    };
    let tag = world.change(leader, add);
    world.run(3 * SECOND);
    assert_eq!(
        world.outcome(leader, tag).map(|(_, status)| status),
        Some(0)
    );
}

#[test]
fn a_removed_member_that_starts_again_stops() {
    let mut world = World::new(3);
    let leader = world.elect();
    let gone = follower_of(leader);
    let tag = world.change(leader, MemberChange::Remove { member: id(gone) });
    world.run(3 * SECOND);
    assert!(world.outcome(leader, tag).is_some());
    let state = world.node(gone).state().clone();
    let disk = world.disks.get_mut(&id(gone)).expect("listed");
    disk.entries.clear();
    disk.state = state;
    world.stopped.clear();
    world.restart(id(gone));
    world.run(3 * SECOND);
    assert_eq!(world.stopped.get(&id(gone)), Some(&StopReason::Removed));
}

#[test]
fn two_members_cannot_have_one_url() {
    let mut world = World::new(3);
    let leader = world.elect();
    let update = MemberChange::Update {
        member: id(1),
        peer_urls: vec!["http://n2:2380".to_string()],
    };
    let tag = world.change(leader, update);
    let status = world.outcome(leader, tag).map(|(_, status)| status);
    assert_eq!(status, Some(SystemRefusal::PeerUrlExists as u16));
}
