//! Each level of consistency: what it promises, what it costs, and the anomaly that it permits, seen.

mod support;

use base::{Index, Instant, LeaseId, Mutants, PeerMessage, Revision};
use clock::guard::{self, DriftBound};
use node::{
    How, LeaseAnswer, MemberChange, NoLease, NodeConfig, ReadFailed, ReadGrant, ReadLevel, ReadNow,
    Refused, Ticket,
};
use std::time::Duration;
use support::{Clock, World, id};

const SECOND: Duration = Duration::from_secs(1);
const DAY_MS: i64 = 86_400_000;

fn drift(ppm: u32) -> DriftBound {
    DriftBound::from_ppm(ppm).expect("within the range")
}

fn leased(members: u64) -> World {
    World::with_leases(members, drift(500), Mutants::none())
}

fn ask(world: &mut World, n: u64, ticket: u64, level: ReadLevel) -> ReadNow {
    let now = world.instant(id(n));
    let read = world.node(n).read_at(Ticket(ticket), level, now);
    read.expect("admitted")
}

fn granted(read: ReadNow) -> ReadGrant {
    match read {
        ReadNow::Granted(grant) => grant,
        other => panic!("not granted: {other:?}"),
    }
}

fn refused(read: ReadNow) -> NoLease {
    match read {
        ReadNow::Failed(ReadFailed::NoLease(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// Asks for a lease read and says why there is none.
fn lease(world: &mut World, n: u64) -> Result<ReadGrant, NoLease> {
    match ask(world, n, 1, ReadLevel::Lease) {
        ReadNow::Granted(grant) => Ok(grant),
        other => Err(refused(other)),
    }
}

fn answered(world: &mut World, n: u64) -> Vec<(Ticket, Result<ReadGrant, ReadFailed>)> {
    std::mem::take(&mut world.said.get_mut(&id(n)).expect("listed").reads)
}

fn follower_of(leader: u64) -> u64 {
    leader % 3 + 1
}

// ---- sequential, session, bounded ------------------------------------------------------------------

#[test]
fn a_sequential_read_shows_what_is_old_and_says_so() {
    let mut world = World::new(3);
    let leader = world.elect();
    let away = follower_of(leader);
    world.propose(leader, "x=old");
    world.run(SECOND);
    world.cut.insert(id(away));
    world.propose(leader, "x=new");
    world.run(SECOND);
    let grant = granted(ask(&mut world, away, 1, ReadLevel::Sequential));
    assert_eq!(world.value(away, "x").as_deref(), Some("old"), "permitted");
    assert_eq!((grant.how, grant.valid_until), (How::Local, None));
    assert_eq!(grant.fresh_as_of, None, "it never asked");
    let now = world.instant(id(away));
    assert!(world.node(away).lease_holds(&grant, now));
}

#[test]
fn a_session_read_waits_for_what_the_session_has_seen() {
    let mut world = World::new(3);
    let leader = world.elect();
    let behind = follower_of(leader);
    world.run(SECOND);
    world.cut.insert(id(behind));
    let tag = world.propose(leader, "x=1");
    let (revision, _) = world.outcome(leader, tag).expect("applied");
    // What the session has not seen may be missing; nothing is asked.
    let before = ReadLevel::Session(Revision(revision.0 - 1));
    assert_eq!(granted(ask(&mut world, behind, 1, before)).how, How::Local);
    assert_eq!(
        world.value(behind, "x"),
        None,
        "permitted: not this session's write"
    );
    // What it has seen is waited for.
    let seen = ReadLevel::Session(revision);
    assert_eq!(ask(&mut world, behind, 2, seen), ReadNow::Waits);
    assert_eq!(ask(&mut world, behind, 3, seen), ReadNow::Waits);
    world.node(behind).forget_read(Ticket(3));
    world.run(SECOND);
    assert_eq!(answered(&mut world, behind), []);
    world.cut.clear();
    world.run(2 * SECOND);
    let reads = answered(&mut world, behind);
    let [(Ticket(2), Ok(grant))] = reads[..] else {
        panic!("{reads:?}");
    };
    assert_eq!(grant.how, How::Local);
    assert_eq!(world.value(behind, "x").as_deref(), Some("1"));
    assert_eq!(granted(ask(&mut world, behind, 4, seen)).how, How::Local);
}

#[test]
fn a_bounded_read_is_local_within_its_bound_and_asks_beyond_it() {
    let mut world = World::new(3);
    let leader = world.elect();
    let n = follower_of(leader);
    let bound = Duration::from_millis(500);
    world.propose(leader, "x=1");
    // Nothing is known yet: it asks. The state is as fresh as the question.
    assert_eq!(
        ask(&mut world, n, 1, ReadLevel::Bounded(bound)),
        ReadNow::Waits
    );
    let asked = world.instant(id(n));
    world.settle();
    let reads = answered(&mut world, n);
    let [(Ticket(1), Ok(first))] = reads[..] else {
        panic!("{reads:?}");
    };
    assert_eq!((first.how, first.fresh_as_of), (How::Quorum, Some(asked)));
    // Within the bound nobody is asked, and a newer write may be missing.
    world.held.insert(id(n));
    world.propose(leader, "x=2");
    world.run(Duration::from_millis(500));
    let second = granted(ask(&mut world, n, 2, ReadLevel::Bounded(bound)));
    assert_eq!((second.how, second.fresh_as_of), (How::Local, Some(asked)));
    assert_eq!(
        world.value(n, "x").as_deref(),
        Some("1"),
        "permitted: written within the bound"
    );
    // A moment later it is too old.
    world.run(NodeConfig::TICK);
    assert_eq!(
        ask(&mut world, n, 3, ReadLevel::Bounded(bound)),
        ReadNow::Waits
    );
    world.run(SECOND / 2);
    assert_eq!(
        answered(&mut world, n),
        [],
        "nobody answers a member that hears nothing"
    );
    world.held.clear();
    world.mail.clear();
    world.run(3 * SECOND);
    let reads = answered(&mut world, n);
    assert!(
        matches!(reads[..], [(Ticket(3), Ok(grant))] if grant.how == How::Quorum),
        "{reads:?}"
    );
    assert_eq!(world.value(n, "x").as_deref(), Some("2"));
}

#[test]
fn freshness_counts_from_the_question_and_only_once_it_is_applied() {
    let mut world = World::new(3);
    let leader = world.elect();
    let n = follower_of(leader);
    world.run(SECOND);
    world.node(n).read(Ticket(1)).expect("admitted");
    let asked = world.instant(id(n));
    world.held.insert(id(n));
    world.settle();
    world.run(Duration::from_millis(400));
    world.held.clear();
    for (from, to, message) in std::mem::take(&mut world.mail) {
        if matches!(message, PeerMessage::ReadIndexReply { .. }) {
            let now = world.instant(to);
            world.node(to.0).receive(from, message, now);
        }
    }
    world.settle();
    let grant = granted(ask(&mut world, n, 2, ReadLevel::Sequential));
    assert_eq!(grant.fresh_as_of, Some(asked), "the answer took 400 ms");
    // An index that is not applied here yet says nothing about this state.
    world.node(n).read(Ticket(3)).expect("admitted");
    world.held.insert(id(n));
    world.settle();
    world.held.clear();
    let now = world.instant(id(n));
    let mut replies = 0;
    for (from, to, message) in std::mem::take(&mut world.mail) {
        if let PeerMessage::ReadIndexReply { attempt, .. } = message {
            let index = Index(1_000_000);
            let reply = PeerMessage::ReadIndexReply { attempt, index };
            world.node(to.0).receive(from, reply, now);
            replies += 1;
        }
    }
    assert_eq!(replies, 1);
    world.settle();
    let grant = granted(ask(&mut world, n, 4, ReadLevel::Sequential));
    assert_eq!(grant.fresh_as_of, Some(asked));
}

#[test]
fn reads_that_nobody_waits_for_make_room() {
    let mut world = World::new(3);
    let max = base::limits::READS_WAITING_MAX as u64;
    let now = world.now;
    let (future, node) = (ReadLevel::Session(Revision(1 << 40)), world.node(1));
    for ticket in 0..max {
        let level = if ticket % 2 == 0 {
            future
        } else {
            ReadLevel::Linearizable
        };
        assert_eq!(node.read_at(Ticket(ticket), level, now), Ok(ReadNow::Waits));
    }
    let one_more = |node: &mut node::Node, level| node.read_at(Ticket(max), level, now);
    assert_eq!(one_more(node, ReadLevel::Linearizable), Err(Refused::Busy));
    assert_eq!(one_more(node, future), Err(Refused::Busy));
    assert_eq!(node.read(Ticket(max)), Err(Refused::Busy));
    assert!(
        one_more(node, ReadLevel::Sequential).is_ok(),
        "it waits for nothing"
    );
    (0..max).for_each(|ticket| node.forget_read(Ticket(ticket)));
    assert_eq!(one_more(node, future), Ok(ReadNow::Waits));
    world.elect();
    assert_eq!(answered(&mut world, 1), []);
}

// ---- lease reads: given and refused -----------------------------------------------------------------

#[test]
fn a_healthy_leader_answers_alone_and_only_the_leader() {
    let mut world = leased(3);
    let leader = world.elect();
    world.propose(leader, "x=0");
    let (mut alone, mut all) = (0, 0);
    for n in 0..400 {
        world.propose(leader, &format!("x={n}"));
        let now = world.instant(id(leader));
        let grant = lease(&mut world, leader);
        all += 1;
        if let Ok(grant) = grant {
            assert_eq!(world.value(leader, "x"), Some(n.to_string()));
            assert!(world.node(leader).lease_holds(&grant, now));
            assert_eq!((grant.how, grant.fresh_as_of), (How::Lease, Some(now)));
            let left = grant.valid_until.expect("a lease has an end").since(now);
            assert!(left <= config_promise(), "{left:?}");
            alone += 1;
        }
        world.run(NodeConfig::TICK);
    }
    assert_eq!(alone, all, "no round was needed");
    for n in 1..=3 {
        if n != leader {
            assert_eq!(lease(&mut world, n), Err(NoLease::NotLeader));
        }
    }
}

fn config_promise() -> Duration {
    support::config(id(1)).promise()
}

#[test]
fn without_a_bound_there_is_no_lease_and_no_promise() {
    let mut world = World::new(3);
    let leader = world.elect();
    assert_eq!(lease(&mut world, leader), Err(NoLease::NoBound));
    // One member of three was told nothing: the others are a majority. Two are not.
    let mut world = leased(3);
    let leader = world.elect();
    let others: Vec<u64> = (1..=3).filter(|n| *n != leader).collect();
    world.read_lease = None;
    world.restart(id(others[0]));
    world.run(2 * SECOND);
    assert!(lease(&mut world, leader).is_ok());
    world.restart(id(others[1]));
    world.run(2 * SECOND);
    assert_eq!(lease(&mut world, leader), Err(NoLease::Expired));
}

#[test]
fn a_new_leader_has_no_lease_before_a_majority_promised() {
    let mut world = leased(3);
    let old = world.elect();
    world.cut.insert(id(old));
    let new = loop {
        world.run(NodeConfig::TICK);
        let leads = (1..=3).find(|n| *n != old && world.node(*n).is_leader());
        if let Some(new) = leads {
            break new;
        }
    };
    let first = lease(&mut world, new);
    assert_eq!(first, Err(NoLease::NotYet));
    world.run(SECOND / 5);
    assert!(lease(&mut world, new).is_ok());
}

#[test]
fn a_lease_read_waits_for_what_was_decided_when_it_came() {
    let mut world = leased(3);
    let leader = world.elect();
    world.propose(leader, "x=1");
    // The others have it durably, so it is decided; the leader may not apply it before its own disk has it.
    world.slow_disks.insert(id(leader));
    world.propose(leader, "x=2");
    let asked = world.instant(id(leader));
    assert_eq!(ask(&mut world, leader, 7, ReadLevel::Lease), ReadNow::Waits);
    world.run(Duration::from_millis(50));
    assert_eq!(answered(&mut world, leader), []);
    world.slow_disks.clear();
    world.finish_disks();
    let reads = answered(&mut world, leader);
    let [(Ticket(7), Ok(grant))] = reads[..] else {
        panic!("{reads:?}");
    };
    assert_eq!((grant.how, grant.fresh_as_of), (How::Lease, Some(asked)));
    assert_eq!(world.value(leader, "x").as_deref(), Some("2"));
}

#[test]
fn a_lease_read_that_waits_is_refused_when_the_office_is_lost() {
    let mut world = leased(3);
    let leader = world.elect();
    world.slow_disks.insert(id(leader));
    world.propose(leader, "x=2");
    assert_eq!(ask(&mut world, leader, 7, ReadLevel::Lease), ReadNow::Waits);
    let grant = world.node(leader).status();
    // A leader whose disk hangs is replaced; it has no lease long before.
    world.run(2 * SECOND);
    assert!(world.node(leader).status().term >= grant.term);
    world.run(5 * SECOND);
    let reads = answered(&mut world, leader);
    let failed = Err(ReadFailed::NoLease(NoLease::NotLeader));
    assert_eq!(reads, [(Ticket(7), failed)]);
}

#[test]
fn a_leader_whose_disk_hangs_has_no_lease() {
    let mut world = leased(3);
    let leader = world.elect();
    let grant = lease(&mut world, leader).expect("a healthy leader");
    world.slow_disks.insert(id(leader));
    world.propose(leader, "x=2");
    // Nobody hears it, so nobody deposes it.
    world.cut.extend([1, 2, 3].map(id));
    world.run(Duration::from_millis(1100));
    let now = world.instant(id(leader));
    assert!(!world.node(leader).lease_holds(&grant, now));
    assert!(matches!(
        lease(&mut world, leader),
        Err(NoLease::Expired | NoLease::NotLeader)
    ));
}

#[test]
fn a_jump_of_the_wall_clock_ends_all_trust_for_a_minute() {
    let mut world = leased(3);
    let leader = world.elect();
    let grant = lease(&mut world, leader).expect("a healthy leader");
    let now = world.instant(id(leader));
    world.node(leader).clock_jumped(now);
    assert_eq!(lease(&mut world, leader), Err(NoLease::ClockJumped));
    assert!(!world.node(leader).lease_holds(&grant, now));
    world.run(59 * SECOND);
    assert_eq!(lease(&mut world, leader), Err(NoLease::ClockJumped));
    world.run(2 * SECOND);
    assert!(lease(&mut world, leader).is_ok());
    // Two of three do not trust their clocks: they promise nothing.
    for n in (1..=3).filter(|n| *n != leader) {
        let now = world.instant(id(n));
        world.node(n).clock_jumped(now);
    }
    world.run(SECOND);
    assert_eq!(lease(&mut world, leader), Err(NoLease::Expired));
    world.run(61 * SECOND);
    assert!(lease(&mut world, leader).is_ok());
}

// ---- lease reads: never two leaders -----------------------------------------------------------------

/// A leader with one rate is cut off from followers with another, and asks itself at every tick whether it may
/// answer alone. Returns whether it ever did while another leader was in office, and its lease's true length.
fn cut_off(leader_rate: u64, follower_rate: u64, ppm: u32, mutants: Mutants) -> (bool, Duration) {
    let mut world = World::with_leases(3, drift(ppm), mutants);
    let old = world.elect();
    // Clocks are set apart where nobody counts on them: all start anew, and the same member comes to lead.
    let mut world = World::with_leases(3, drift(ppm), mutants);
    for n in 1..=3 {
        let rate = if n == old { leader_rate } else { follower_rate };
        world.clocks.insert(id(n), Clock::of_rate(rate));
    }
    let mut leader = world.elect();
    if leader != old {
        world
            .node(leader)
            .transfer_leader(id(old))
            .expect("it votes");
        world.settle();
        world.run(SECOND);
        leader = world.elect();
    }
    assert_eq!(leader, old);
    world.run(SECOND);
    world.propose(old, "x=old");
    assert!(lease(&mut world, old).is_ok());
    world.cut.insert(id(old));
    let (since, mut last) = (world.now, world.now);
    let mut is_broken = false;
    for _ in 0..400 {
        world.run(NodeConfig::TICK);
        let is_led = (1..=3).any(|n| n != old && world.node(n).is_leader());
        if lease(&mut world, old).is_ok() {
            is_broken |= is_led;
            last = world.now;
        }
    }
    assert!((1..=3).any(|n| n != old && world.node(n).is_leader()));
    (is_broken, last.since(since))
}

#[test]
fn an_old_leader_stops_before_another_can_be_elected_whatever_the_clocks() {
    let (slow, fast) = (909_091, 1_100_000);
    let mut lengths = Vec::new();
    for (leader, follower) in [
        (slow, fast),
        (fast, slow),
        (slow, slow),
        (fast, fast),
        (1_000_000, 1_000_000),
    ] {
        let (is_broken, length) = cut_off(leader, follower, 100_000, Mutants::none());
        assert!(!is_broken, "rates {leader} and {follower}");
        lengths.push(length);
    }
    // A slow leader's lease lasts longer in true time, and never as long as a fast follower's promise.
    assert!(lengths[0] > lengths[1]);
    assert!(
        lengths[0] <= Duration::from_micros(980_000 * 10 / 11),
        "{lengths:?}"
    );
    assert!(lengths[4] >= guard::usable(config_promise(), drift(100_000)) - SECOND / 5);
}

/// What the level permits: whoever states a bound on drift that clocks do not keep gets old answers from an old leader.
#[test]
fn a_bound_on_drift_that_is_a_lie_lets_an_old_leader_answer() {
    let (is_broken, _) = cut_off(909_091, 1_100_000, 100, Mutants::none());
    assert!(
        is_broken,
        "the clocks are a fifth apart, and 100 ppm were stated"
    );
}

#[cfg(feature = "mutants")]
#[test]
fn a_lease_without_its_guard_band_is_seen() {
    let mutants = Mutants::only(base::Mutant::LeaseWithoutGuardBand);
    let (is_broken, _) = cut_off(909_091, 1_100_000, 100_000, mutants);
    assert!(is_broken);
}

#[test]
fn a_leader_that_hands_over_has_no_lease_for_the_rest_of_its_term() {
    let mut world = leased(3);
    let old = world.elect();
    let to = follower_of(old);
    let grant = lease(&mut world, old).expect("a healthy leader");
    // The successor hears nothing, so the transfer comes to nothing.
    world.held.insert(id(to));
    world.node(old).transfer_leader(id(to)).expect("it votes");
    let now = world.instant(id(old));
    assert!(
        !world.node(old).lease_holds(&grant, now),
        "before anything has left"
    );
    assert_eq!(lease(&mut world, old), Err(NoLease::HandingOver));
    let term = world.node(old).status().term;
    world.run(SECOND / 2);
    world.mail.retain(|(_, _, message)| {
        matches!(message, PeerMessage::Raft(m) if m.kind == base::MessageKind::TimeoutNow)
    });
    assert_eq!(world.mail.len(), 1);
    let late = world.mail.pop().expect("one");
    world.held.clear();
    world.run(5 * SECOND);
    assert!(world.node(old).is_leader());
    assert_eq!(world.node(old).status().term, term);
    assert_eq!(lease(&mut world, old), Err(NoLease::HandingOver));
    // The request arrives at last, and passes every promise.
    let (from, _, message) = late;
    let now = world.instant(id(to));
    world.node(to).receive(from, message, now);
    world.settle();
    world.run(NodeConfig::TICK);
    assert!(
        world.node(to).is_leader(),
        "at once, not after the promises"
    );
    world.run(SECOND / 2);
    assert!(lease(&mut world, to).is_ok());
    assert!(!world.node(old).lease_holds(&grant, now));
}

#[test]
fn a_grant_of_a_former_office_does_not_hold_in_the_next() {
    let mut world = leased(3);
    let leader = world.elect();
    let grant = lease(&mut world, leader).expect("a healthy leader");
    let other = follower_of(leader);
    world
        .node(leader)
        .transfer_leader(id(other))
        .expect("it votes");
    world.run(SECOND);
    world
        .node(other)
        .transfer_leader(id(leader))
        .expect("it votes");
    world.run(SECOND);
    assert!(lease(&mut world, leader).is_ok());
    let now = world.instant(id(leader));
    assert!(!world.node(leader).lease_holds(&grant, now));
}

/// Restarts the only promiser while the leader is cut off with the third member still away, and says whether
/// another leader came while the old one had its lease.
fn restarted(mutants: Mutants) -> bool {
    let mut world = World::with_leases(3, drift(500), mutants);
    let old = world.elect();
    let (promiser, third) = (follower_of(old), follower_of(follower_of(old)));
    // The third has heard nothing for long, so it would campaign at once.
    world.cut.insert(id(third));
    world.run(3 * SECOND);
    assert!(lease(&mut world, old).is_ok());
    world.cut.clear();
    world.cut.insert(id(old));
    world.restart(id(promiser));
    let mut is_broken = false;
    for _ in 0..300 {
        world.run(NodeConfig::TICK);
        let is_led = world.node(promiser).is_leader() || world.node(third).is_leader();
        is_broken |= is_led && lease(&mut world, old).is_ok();
    }
    assert!(world.node(promiser).is_leader() || world.node(third).is_leader());
    is_broken
}

#[test]
fn a_restart_does_not_forget_a_promise() {
    assert!(!restarted(Mutants::none()));
}

#[cfg(feature = "mutants")]
#[test]
fn a_promise_that_a_restart_forgets_is_seen() {
    assert!(restarted(Mutants::only(
        base::Mutant::PromiseForgottenAtRestart
    )));
}

/// How long it takes until somebody leads after all members have started.
fn first_election(members: u64, mutants: Mutants) -> Duration {
    let mut world = World::with_leases(members, drift(500), mutants);
    let since = world.now;
    while !(1..=members).any(|n| world.node(n).is_leader()) {
        world.run(NodeConfig::TICK);
    }
    world.now.since(since)
}

#[test]
fn who_starts_neither_votes_nor_campaigns_for_as_long_as_it_may_have_promised() {
    let took = first_election(3, Mutants::none());
    assert!(took >= config_promise(), "{took:?}");
    assert!(took < config_promise() + SECOND, "{took:?}");
    // Whoever votes alone asks nobody, and is bound all the same.
    let took = first_election(1, Mutants::none());
    assert!(
        took >= config_promise() && took < config_promise() + SECOND / 5,
        "{took:?}"
    );
}

#[cfg(feature = "mutants")]
#[test]
fn a_promise_that_does_not_bind_oneself_is_seen() {
    use base::Mutant;
    let lone = first_election(1, Mutants::only(Mutant::PromiseDoesNotBindOneself));
    assert!(lone < config_promise(), "{lone:?}");
    let three = first_election(3, Mutants::only(Mutant::PromiseForgottenAtRestart));
    assert!(three < config_promise(), "{three:?}");
}

#[test]
fn promises_do_not_lengthen_the_time_without_a_leader() {
    let without_leader = |mut world: World| {
        let old = world.elect();
        world.run(3 * SECOND);
        world.cut.insert(id(old));
        let since = world.now;
        world.elect();
        world.now.since(since)
    };
    let (with, without) = (without_leader(leased(3)), without_leader(World::new(3)));
    // The jitter of a slot differs from term to term.
    assert!(
        with <= without + Duration::from_millis(50),
        "{with:?}, {without:?}"
    );
}

#[test]
fn a_removed_voters_promise_counts_nothing() {
    let mut world = leased(3);
    let leader = world.elect();
    let others: Vec<u64> = (1..=3).filter(|n| *n != leader).collect();
    // Only one of the others is heard, and that one is removed.
    world.cut.insert(id(others[1]));
    world.run(SECOND);
    assert!(lease(&mut world, leader).is_ok());
    let remove = MemberChange::Remove {
        member: id(others[0]),
    };
    world.change(leader, remove);
    let membership = world.node(leader).state().membership().clone();
    assert!(!membership.is_voter(id(others[0])), "{membership:?}");
    assert_eq!(
        lease(&mut world, leader),
        Err(NoLease::Expired),
        "of the two that vote, one promised long ago"
    );
    world.cut.clear();
    world.run(2 * SECOND);
    assert!(lease(&mut world, leader).is_ok());
}

#[test]
fn a_lone_member_answers_alone() {
    let mut world = leased(1);
    let leader = world.elect();
    world.propose(leader, "x=1");
    assert!(lease(&mut world, leader).is_ok());
}

// ---- epochs and wall clocks ---------------------------------------------------------------------------

#[test]
fn a_keep_alive_names_the_term_of_the_leader_that_counts() {
    let mut world = World::new(3);
    let leader = world.elect();
    let asks = follower_of(leader);
    world.propose(leader, "+5:60");
    for n in [leader, asks] {
        world
            .node(n)
            .lease_renew(Ticket(1), LeaseId(5))
            .expect("admitted");
    }
    world.settle();
    let epoch = world.node(leader).status().term;
    let alive = (
        Ticket(1),
        LeaseAnswer::Alive {
            remaining_ms: 60_000,
            epoch,
        },
    );
    assert_eq!(world.said[&id(leader)].leases, [alive]);
    assert_eq!(world.said[&id(asks)].leases, [alive]);
    world
        .node(leader)
        .transfer_leader(id(asks))
        .expect("it votes");
    world.run(SECOND);
    world
        .node(leader)
        .lease_renew(Ticket(2), LeaseId(5))
        .expect("admitted");
    world.settle();
    let (_, answer) = world.said[&id(leader)].leases[1];
    assert!(matches!(answer, LeaseAnswer::Alive { epoch: later, .. } if later > epoch));
}

/// Whether a lease of two seconds outlives a leader that stood still for ten.
fn outlives_a_stall(mutants: Mutants) -> bool {
    let mut world = World::with_leases(1, drift(0), mutants);
    world.elect();
    world.propose(1, "+5:2");
    world.run(SECOND);
    world.now += 10 * SECOND;
    world.run(SECOND / 5);
    world
        .node(1)
        .lease_renew(Ticket(1), LeaseId(5))
        .expect("admitted");
    world.settle();
    matches!(
        world.said[&id(1)].leases[..],
        [(_, LeaseAnswer::Alive { .. })]
    )
}

#[test]
fn a_leader_that_stood_still_expires_nothing_in_bulk() {
    assert!(outlives_a_stall(Mutants::none()));
}

#[cfg(feature = "mutants")]
#[test]
fn an_expiry_in_bulk_is_seen() {
    assert!(!outlives_a_stall(Mutants::only(
        base::Mutant::ExpiryInBulkAfterStall
    )));
}

#[test]
fn members_know_each_others_wall_clocks() {
    let mut world = World::new(3);
    world.elect();
    for (n, ahead) in [(1, 0), (2, 5000), (3, -1000)] {
        let clock = Clock {
            wall_ahead_ms: ahead,
            ..Clock::of_rate(1_000_000)
        };
        world.clocks.insert(id(n), clock);
    }
    world.run(2 * SECOND);
    let offsets = world.node(1).clock_offsets();
    assert_eq!(offsets.len(), 2);
    assert!((offsets[&id(2)].ahead_ms - 5000).abs() <= 10, "{offsets:?}");
    assert!((offsets[&id(3)].ahead_ms + 1000).abs() <= 10, "{offsets:?}");
    let seen = world.node(3).clock_offsets()[&id(2)];
    assert!((seen.ahead_ms - 6000).abs() <= 10, "{seen:?}");
}

/// The newest stamp, in milliseconds beyond the true time, when the leader's wall clock is wrong by `ahead_ms`.
fn stamped_ahead_ms(ahead_ms: i64, mutants: Mutants) -> i64 {
    let mut world = World::with_leases(3, drift(500), mutants);
    let leader = world.elect();
    let clock = Clock {
        wall_ahead_ms: ahead_ms,
        ..Clock::of_rate(1_000_000)
    };
    for n in 1..=3 {
        world.clocks.insert(id(n), Clock::of_rate(1_000_000));
    }
    world.run(2 * SECOND);
    world.clocks.insert(id(leader), clock);
    world.run(2 * SECOND);
    for n in 0..100 {
        let before = world.node(leader).state().time();
        world.propose(leader, &format!("x={n}"));
        assert!(world.node(leader).state().time() > before, "stamps rise");
    }
    let stamp = world.node(leader).state().time().physical_ms() as i64;
    stamp - world.wall_ms(id(99)) as i64
}

#[test]
fn a_leader_with_a_wildly_wrong_clock_does_not_drag_time_along() {
    assert_eq!(stamped_ahead_ms(0, Mutants::none()), 0);
    assert_eq!(
        stamped_ahead_ms(9_000, Mutants::none()),
        9_000,
        "within the bound"
    );
    let bound = NodeConfig::CLOCK_AHEAD_MAX.as_millis() as i64;
    let ahead = stamped_ahead_ms(DAY_MS, Mutants::none());
    assert!((bound..bound + 50).contains(&ahead), "{ahead}");
}

#[cfg(feature = "mutants")]
#[test]
fn a_stamp_of_a_wrong_clock_is_seen() {
    let mutants = Mutants::only(base::Mutant::StampOfWrongClock);
    assert_eq!(stamped_ahead_ms(DAY_MS, mutants), DAY_MS);
}

#[test]
fn a_reading_of_the_clock_that_is_older_than_another_changes_nothing() {
    let mut world = leased(3);
    let leader = world.elect();
    let grant = lease(&mut world, leader).expect("a healthy leader");
    world.cut.insert(id(leader));
    world.run(SECOND);
    assert!(!world.node(leader).lease_holds(&grant, Instant(0)));
    let read = world
        .node(leader)
        .read_at(Ticket(9), ReadLevel::Lease, Instant(0));
    assert!(matches!(
        refused(read.expect("admitted")),
        NoLease::Expired | NoLease::NotLeader
    ));
}
