//! Whole members, told as short stories.

mod support;

use base::LeaseId;
use node::{
    LeaseAnswer, MemberChange, NodeConfig, Refused, SWEEP_REST, StopReason, SystemRefusal, Ticket,
};
use std::time::Duration;
use support::{World, assert_granted, genesis, id};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn three_members_elect_a_leader_well_under_a_second() {
    let mut world = World::new(3);
    let start = world.now;
    world.elect();
    assert!(
        world.now.since(start) < Duration::from_millis(600),
        "{}",
        world.now
    );
}

#[test]
fn a_put_is_answered_where_it_was_asked_and_found_everywhere() {
    let mut world = World::new(3);
    let leader = world.elect();
    for n in 1..=3 {
        let tag = world.propose(n, &format!("k{n}=v{n}"));
        let (revision, status) = world.outcome(n, tag).expect("answered at once");
        assert_eq!((revision.0, status), (n + 1, 0));
    }
    world.run(SECOND);
    for n in 1..=3 {
        assert_eq!(world.value(n, "k2").as_deref(), Some("v2"));
    }
    world.assert_equal();
    assert_eq!(world.elect(), leader, "nothing has disturbed the leader");
}

#[test]
fn a_refusal_burns_no_revision() {
    let mut world = World::new(3);
    let leader = world.elect();
    let refused = world.propose(leader, "?");
    assert_eq!(
        world.outcome(leader, refused).map(|(r, s)| (r.0, s)),
        Some((1, 1))
    );
    let put = world.propose(leader, "a=1");
    assert_eq!(
        world.outcome(leader, put).map(|(r, s)| (r.0, s)),
        Some((2, 0))
    );
}

#[test]
fn a_lone_member_acknowledges_only_what_is_durable() {
    let mut world = World::new(1);
    world.elect();
    world.slow_disks.insert(id(1));
    let tag = world.propose(1, "a=1");
    assert_eq!(
        world.outcome(1, tag),
        None,
        "its own vote counts after its own sync"
    );
    world.finish_disks();
    assert_eq!(world.outcome(1, tag).map(|(r, _)| r.0), Some(2));
}

#[test]
fn a_majority_of_other_disks_is_enough_to_commit_but_not_to_apply_here() {
    let mut world = World::new(3);
    let leader = world.elect();
    world.slow_disks.insert(id(leader));
    let tag = world.propose(leader, "a=1");
    assert_eq!(world.outcome(leader, tag), None);
    world.finish_disks();
    assert!(world.outcome(leader, tag).is_some());
}

#[test]
fn a_read_on_any_member_sees_every_write_acknowledged_before_it() {
    let mut world = World::new(3);
    let leader = world.elect();
    for n in 1..=3 {
        world.propose(leader, &format!("x={n}"));
        world.node(n).read(Ticket(n)).expect("admitted");
        world.settle();
        let reads = std::mem::take(&mut world.said.get_mut(&id(n)).expect("listed").reads);
        assert_granted(&reads, n);
        assert_eq!(world.value(n, "x"), Some(n.to_string()));
    }
}

#[test]
fn a_leader_cut_off_serves_no_linearizable_read_and_acknowledges_nothing() {
    let mut world = World::new(3);
    let old = world.elect();
    world.propose(old, "x=old");
    world.cut.insert(id(old));
    let lost = world.propose(old, "x=lost");
    world.node(old).read(Ticket(1)).expect("admitted");
    let new = world.elect();
    assert_ne!(old, new);
    let kept = world.propose(new, "x=new");
    world.run(5 * SECOND);
    assert!(world.outcome(new, kept).is_some());
    assert_eq!(world.outcome(old, lost), None);
    assert_eq!(world.said[&id(old)].reads, []);
    world.cut.clear();
    world.run(3 * SECOND);
    assert_eq!(
        world.outcome(old, lost),
        None,
        "it never took effect, and nobody said it did"
    );
    for n in 1..=3 {
        assert_eq!(world.value(n, "x").as_deref(), Some("new"));
    }
    // The read that waited is answered by the new leader's round, with the new value to see.
    assert_granted(&world.said[&id(old)].reads, 1);
    world.assert_equal();
}

#[test]
fn a_leader_whose_disk_hangs_is_replaced() {
    let mut world = World::new(3);
    let stuck = world.elect();
    world.slow_disks.insert(id(stuck));
    world.propose(stuck, "a=1");
    world.run(4 * SECOND);
    let leaders: Vec<u64> = world
        .nodes
        .values()
        .filter(|n| n.is_leader())
        .map(|n| n.status().member.0)
        .collect();
    assert!(
        leaders.iter().any(|leader| *leader != stuck),
        "still led by the one that hangs"
    );
    world.slow_disks.clear();
    world.finish_disks();
    world.run(2 * SECOND);
    world.assert_equal();
}

#[test]
fn a_member_that_fell_behind_catches_up_by_a_snapshot() {
    let mut world = World::new(3);
    let leader = world.elect();
    let behind = if leader == 3 { 2 } else { 3 };
    world.cut.insert(id(behind));
    // More than the leader keeps in memory.
    let value = "v".repeat(200_000);
    for n in 0..200 {
        world.propose(leader, &format!("k{}={value}", n % 7));
    }
    world.run(SECOND);
    world.cut.clear();
    world.run(3 * SECOND);
    assert!(
        world.snapshots_sent > 0,
        "the tail of the log should not have sufficed"
    );
    let tag = world.propose(behind, "after=1");
    assert!(world.outcome(behind, tag).is_some());
    world.run(SECOND);
    world.assert_equal();
}

#[test]
fn a_lease_dies_without_renewal_and_lives_with_it() {
    let mut world = World::new(3);
    let leader = world.elect();
    let follower = if leader == 1 { 2 } else { 1 };
    world.propose(leader, "+5:2");
    world.propose(leader, "+6:2");
    world.propose(leader, "dies=1@5");
    world.propose(leader, "lives=1@6");
    for n in 0..8 {
        world
            .node(follower)
            .lease_renew(Ticket(n), LeaseId(6))
            .expect("admitted");
        world.run(SECOND / 2);
    }
    let epoch = world.node(leader).status().term;
    let answers = &world.said[&id(follower)].leases;
    assert_eq!(answers.len(), 8);
    assert!(answers.iter().all(|(_, a)| *a
        == LeaseAnswer::Alive {
            remaining_ms: 2000,
            epoch
        }));
    assert_eq!(world.value(follower, "dies"), None);
    assert_eq!(world.value(follower, "lives").as_deref(), Some("1"));
    world
        .node(follower)
        .lease_renew(Ticket(99), LeaseId(5))
        .expect("admitted");
    world.settle();
    assert_eq!(
        world.said[&id(follower)].leases[8],
        (Ticket(99), LeaseAnswer::Gone)
    );
    world.assert_equal();
}

#[test]
fn a_new_leader_gives_every_lease_its_full_time_again() {
    let mut world = World::new(3);
    let old = world.elect();
    world.propose(old, "+5:3");
    world.propose(old, "k=1@5");
    world.run(2 * SECOND + SECOND / 2);
    world.cut.insert(id(old));
    let new = world.elect();
    world.run(2 * SECOND);
    assert_eq!(
        world.value(new, "k").as_deref(),
        Some("1"),
        "expired before its time"
    );
    world.run(2 * SECOND);
    assert_eq!(world.value(new, "k"), None);
}

#[test]
fn leadership_is_handed_over_on_request() {
    let mut world = World::new(3);
    let old = world.elect();
    let next = if old == 3 { 1 } else { 3 };
    assert_eq!(
        world.node(next).transfer_leader(id(old)),
        Err(Refused::NotLeader)
    );
    assert_eq!(
        world.node(old).transfer_leader(id(9)),
        Err(Refused::BadTransferee)
    );
    world.node(old).transfer_leader(id(next)).expect("it leads");
    assert_eq!(world.elect(), next);
    let tag = world.propose(old, "a=1");
    assert!(world.outcome(old, tag).is_some());
}

#[test]
fn a_learner_joins_is_promoted_and_another_member_leaves() {
    let mut world = World::new(3);
    let leader = world.elect();
    world.propose(leader, "a=1");
    let urls = || vec!["http://n4:2380".to_string()];
    let add = MemberChange::Add {
        member: id(4),
        peer_urls: urls(),
        is_learner: true,
    };
    // Asked of a follower, decided by the leader.
    let asked = if leader == 1 { 2 } else { 1 };
    let tag = world.change(asked, add.clone());
    world.run(SECOND);
    assert_eq!(world.outcome(asked, tag).map(|(_, status)| status), Some(0));
    let again = world.change(asked, add);
    world.run(SECOND / 10);
    let status = world.outcome(asked, again).map(|(_, status)| status);
    assert_eq!(status, Some(SystemRefusal::MemberExists as u16));
    // It has not started yet, so it cannot be promoted.
    let early = world.change(asked, MemberChange::Promote { member: id(4) });
    world.run(SECOND / 10);
    let status = world.outcome(asked, early).map(|(_, status)| status);
    assert_eq!(status, Some(SystemRefusal::LearnerNotReady as u16));
    world.join(id(4));
    world.run(2 * SECOND);
    assert_eq!(world.value(4, "a").as_deref(), Some("1"));
    assert!(world.node(4).status().is_learner);
    let promote = world.change(asked, MemberChange::Promote { member: id(4) });
    world.run(SECOND);
    assert_eq!(
        world.outcome(asked, promote).map(|(_, status)| status),
        Some(0)
    );
    assert!(!world.node(4).status().is_learner);
    let gone = (1..=3)
        .find(|n| *n != leader && *n != asked)
        .expect("three members");
    let remove = world.change(asked, MemberChange::Remove { member: id(gone) });
    world.run(3 * SECOND);
    assert_eq!(
        world.outcome(asked, remove).map(|(_, status)| status),
        Some(0)
    );
    assert_eq!(world.stopped.get(&id(gone)), Some(&StopReason::Removed));
    world.nodes.remove(&id(gone));
    world.run(SECOND);
    world.assert_equal();
    assert_eq!(world.node(4).state().members().len(), 3);
}

#[cfg(feature = "mutants")]
#[test]
fn two_members_that_are_added_at_once_both_come() {
    let mut world = World::new(3);
    // The member puts a second change to the engine while the first is under way, which it else holds back itself.
    world.mutants = base::Mutants::only(base::Mutant::SpecTwoChanges);
    (1..=3).for_each(|n| world.restart(id(n)));
    let leader = world.elect();
    let add = |n: u64, is_learner| MemberChange::Add {
        member: id(n),
        peer_urls: vec![format!("http://n{n}:2380")],
        is_learner,
    };
    let node = world.node(leader);
    let tags = [
        node.change_members(add(4, true)).expect("admitted"),
        node.change_members(add(5, false)).expect("admitted"),
    ];
    world.run(SECOND);
    for tag in tags {
        let status = world.outcome(leader, tag).map(|(_, status)| status);
        assert_eq!(status, Some(0), "the second waits for the first");
    }
    assert_eq!(world.node(leader).state().members().len(), 5);
}

#[test]
fn a_leader_that_removes_itself_hands_over_first() {
    let mut world = World::new(3);
    let leader = world.elect();
    let tag = world.change(leader, MemberChange::Remove { member: id(leader) });
    world.run(3 * SECOND);
    assert_eq!(
        world.outcome(leader, tag).map(|(_, status)| status),
        Some(0)
    );
    assert_eq!(world.stopped.get(&id(leader)), Some(&StopReason::Removed));
    world.nodes.remove(&id(leader));
    let new = world.elect();
    let tag = world.propose(new, "a=1");
    assert!(world.outcome(new, tag).is_some());
}

#[test]
fn a_member_whose_state_differs_is_quarantined() {
    let mut world = World::new(3);
    let leader = world.elect();
    world.propose(leader, "a=1");
    let wrong = if leader == 2 { 3 } else { 2 };
    // A member that comes back with another history of the same length.
    let mut other = genesis(3);
    other.members[0].name = "not n1".to_string();
    world.add(id(wrong), other);
    world.run(3 * SECOND);
    world.propose(leader, "b=1");
    world.run(3 * SECOND);
    assert!(
        matches!(
            world.stopped.get(&id(wrong)),
            Some(StopReason::Diverged { .. })
        ),
        "{:?}",
        world.stopped
    );
    assert_eq!(world.stopped.len(), 1, "and only that one");
}

#[test]
fn a_member_that_was_cut_off_when_it_was_removed_is_told_later() {
    let mut world = World::new(3);
    let leader = world.elect();
    let gone = if leader == 3 { 2 } else { 3 };
    world.cut.insert(id(gone));
    let tag = world.change(leader, MemberChange::Remove { member: id(gone) });
    world.run(2 * SECOND);
    assert_eq!(
        world.outcome(leader, tag).map(|(_, status)| status),
        Some(0)
    );
    assert_eq!(world.stopped.get(&id(gone)), None, "nobody could tell it");
    world.cut.clear();
    world.run(5 * SECOND);
    assert_eq!(world.stopped.get(&id(gone)), Some(&StopReason::Removed));
    let urls = vec!["http://elsewhere:2380".to_string()];
    let back = MemberChange::Add {
        member: id(gone),
        peer_urls: urls,
        is_learner: false,
    };
    let tag = world.change(leader, back);
    world.run(SECOND);
    let status = world.outcome(leader, tag).map(|(_, status)| status);
    assert_eq!(
        status,
        Some(SystemRefusal::MemberExists as u16),
        "an id is used once"
    );
}

/// A member of its own that has a thousand versions to sweep away.
fn with_a_thousand_versions() -> World {
    let mut world = World::new(1);
    world.elect();
    for n in 0..1000 {
        world.propose(1, &format!("a={n}"));
    }
    world.propose(1, "~");
    world.settle();
    world
}

#[test]
fn compaction_sweeps_a_little_and_rests() {
    let mut world = with_a_thousand_versions();
    // However often it is asked, there is no time for more.
    for _ in 0..100 {
        world.settle();
    }
    assert!(world.node(1).is_sweeping(), "all at once");
    // The first piece was long due when there was nothing to sweep.
    world.now += 10 * SWEEP_REST;
    let mut pieces = 0;
    while world.node(1).is_sweeping() {
        world.settle();
        world.now += SWEEP_REST;
        pieces += 1;
    }
    assert_eq!(pieces, 8, "1000 versions and their times, 256 at a time");
}

#[test]
fn compaction_puts_off_what_comes_late() {
    let mut world = with_a_thousand_versions();
    world.now += 10 * SWEEP_REST;
    let mut looks = 0;
    while world.node(1).is_sweeping() {
        world.settle();
        // The core belongs to somebody else: each look is late by four rests.
        world.now += 5 * SWEEP_REST;
        looks += 1;
    }
    assert_eq!(looks, 15, "a piece, and then at every other look");
}

/// Delivers what was held back for `n`.
fn release(world: &mut World, n: u64) {
    world.held.remove(&id(n));
    let now = world.now;
    for (from, to, message) in std::mem::take(&mut world.mail) {
        assert_eq!(to, id(n));
        world.node(n).receive(from, message, now);
    }
    world.settle();
}

#[test]
fn a_write_that_meets_a_leader_just_gone_goes_to_the_next_one() {
    let (mut world, next, third, tags) = with_two_that_came_back();
    world.run(SECOND);
    for tag in &tags {
        let (_, status) = world.outcome(third, *tag).expect("answered");
        assert_eq!(status, 0);
    }
    assert_eq!(world.value(next, "k1").as_deref(), Some("1"));
    assert_eq!(world.nodes[&id(next)].state().revision().0, 3, "each once");
    world.assert_equal();
}

/// Writes of `third` have just come back to it: it believed that somebody still leads who had handed the office over.
fn with_two_that_came_back() -> (World, u64, u64, Vec<node::Tag>) {
    let mut world = World::new(3);
    let first = world.elect();
    let (next, third) = match first {
        1 => (2, 3),
        2 => (3, 1),
        _ => (1, 2),
    };
    world.run(SECOND);
    world.held.insert(id(third));
    world
        .node(first)
        .transfer_leader(id(next))
        .expect("a voter");
    world.settle();
    let tags: Vec<_> = (0..2)
        .map(|n| world.propose(third, &format!("k{n}=1")))
        .collect();
    release(&mut world, third);
    assert_eq!(world.nodes[&id(third)].leader(), id(next));
    (world, next, third, tags)
}

#[test]
fn what_is_proposed_after_a_write_came_back_does_not_overtake_it() {
    let (mut world, next, third, mut tags) = with_two_that_came_back();
    // It knows the new leader by now, so this one goes out at once, and the two only with the next tick.
    tags.push(world.propose(third, "k2=1"));
    assert!(world.outcome(third, tags[2]).is_some());
    world.run(SECOND);
    for tag in &tags {
        let (_, status) = world.outcome(third, *tag).expect("answered");
        assert_eq!(status, 0);
    }
    assert_eq!(world.nodes[&id(next)].state().revision().0, 4, "each once");
    world.assert_equal();
}

#[test]
fn a_write_that_came_back_and_is_given_up_goes_nowhere() {
    let (mut world, next, third, tags) = with_two_that_came_back();
    world.node(third).forget(tags[0]);
    world.run(SECOND);
    assert_eq!(world.value(next, "k0"), None);
    assert_eq!(world.value(next, "k1").as_deref(), Some("1"));
    assert_eq!(world.outcome(third, tags[0]), None);
    // Given up under way: its outcome is for nobody, and nothing of it is kept (`Node::check` looks).
    let (mut world, next, third, tags) = with_two_that_came_back();
    world.held.insert(id(third));
    world.run(NodeConfig::TICK);
    world.node(third).forget(tags[0]);
    release(&mut world, third);
    world.run(SECOND);
    assert_eq!(world.value(next, "k0").as_deref(), Some("1"));
    assert_eq!(world.outcome(third, tags[0]), None);
    assert!(world.outcome(third, tags[1]).is_some());
}

#[test]
fn a_leader_that_starts_again_gives_nothing_back() {
    let mut world = World::new(3);
    let first = world.elect();
    let third = follower(first);
    world.run(SECOND);
    world.held.insert(id(third));
    world.restart(id(first));
    world.settle();
    // It may have proposed the write in its former life, for all it knows.
    let tag = world.propose(third, "a=1");
    let came_back = |(_, _, message): &(_, _, base::PeerMessage)| {
        matches!(message, base::PeerMessage::Bounce { .. })
    };
    assert!(!world.mail.iter().any(came_back));
    release(&mut world, third);
    world.run(3 * SECOND);
    assert_eq!(world.outcome(third, tag), None, "nobody knows");
}

fn follower(leader: u64) -> u64 {
    if leader == 1 { 2 } else { 1 }
}
