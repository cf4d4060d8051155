//! What may be said before it is durable, and what a member that forgot may do.

mod support;

use base::{
    Entry, EntryKind, HardState, Index, LogPosition, MemberId, Membership, Message, MessageKind,
    Mutants, Term,
};
use bytes::Bytes;
use quorate_consensus::{Config, Engine, Raft, Ready, Refused, Restored, Role};
use support::{World, id};

fn config(member: u64) -> Config {
    Config {
        member: id(member),
        seed: 1,
        election_ticks: 100,
        heartbeat_ticks: 10,
        mutants: Mutants::none(),
    }
}

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition {
        term: Term(term),
        index: Index(index),
    }
}

fn entry(term: u64, index: u64) -> Entry {
    Entry {
        position: at(term, index),
        kind: EntryKind::Normal,
        data: Bytes::new(),
        context: Bytes::new(),
    }
}

fn of_three(member: u64) -> Raft {
    let membership = Membership::of_voters(vec![id(1), id(2), id(3)]);
    Raft::new(config(member), Restored::genesis(membership)).expect("a genesis")
}

/// All Readys that come now, as one; nothing is written.
fn take(raft: &mut Raft) -> Ready {
    let mut all = Ready::default();
    while let Some(ready) = raft.ready() {
        all.number = ready.number;
        all.hard_state = ready.hard_state.or(all.hard_state);
        all.entries.extend(ready.entries);
        all.snapshot = ready.snapshot.or(all.snapshot);
        all.send_now.extend(ready.send_now);
        all.send_after_persist.extend(ready.send_after_persist);
        all.committed.extend(ready.committed);
        all.must_sync |= ready.must_sync;
    }
    all
}

fn kinds(messages: &[Message]) -> Vec<MessageKind> {
    messages.iter().map(|message| message.kind).collect()
}

/// n1 as a follower of n2 in term 2, with everything durable.
fn follower() -> Raft {
    let mut raft = of_three(1);
    let mut append = Message::new(MessageKind::Append, id(2), id(1), Term(2));
    append.position = at(1, 1);
    append.entries = vec![entry(2, 2)];
    raft.step(append).expect("an append that fits");
    let ready = take(&mut raft);
    raft.persisted(ready.number);
    take(&mut raft);
    raft
}

#[test]
fn a_vote_waits_for_the_disk() {
    let mut raft = of_three(1);
    let mut vote = Message::new(MessageKind::Vote, id(2), id(1), Term(2));
    vote.position = at(1, 1);
    raft.step(vote).expect("a request");
    let ready = take(&mut raft);
    assert_eq!(ready.send_now, []);
    assert_eq!(
        kinds(&ready.send_after_persist),
        [MessageKind::VoteResponse]
    );
    let hard_state = ready.hard_state.expect("a vote is written");
    assert_eq!((hard_state.term, hard_state.vote), (Term(2), id(2)));
    assert!(ready.must_sync);
}

#[test]
fn an_acknowledgement_waits_for_the_disk_and_a_heartbeats_answer_does_not() {
    let mut raft = follower();
    let mut append = Message::new(MessageKind::Append, id(2), id(1), Term(2));
    append.position = at(2, 2);
    append.entries = vec![entry(2, 3)];
    raft.step(append).expect("an append that fits");
    let mut heartbeat = Message::new(MessageKind::Heartbeat, id(2), id(1), Term(2));
    heartbeat.context = Bytes::from_static(b"a read round");
    raft.step(heartbeat.clone()).expect("a heartbeat");
    let ready = take(&mut raft);
    assert_eq!(kinds(&ready.send_now), [MessageKind::HeartbeatResponse]);
    assert_eq!(ready.send_now[0].context, heartbeat.context);
    assert_eq!(
        kinds(&ready.send_after_persist),
        [MessageKind::AppendResponse]
    );

    // An answer that has nothing for the disk itself waits for what is under way.
    let mut append = Message::new(MessageKind::Append, id(2), id(1), Term(2));
    append.position = at(2, 3);
    raft.step(append).expect("an empty append");
    let later = take(&mut raft);
    assert!(!later.must_sync);
    assert_eq!(later.number, ready.number);
    assert_eq!(
        kinds(&later.send_after_persist),
        [MessageKind::AppendResponse]
    );
}

#[test]
fn a_heartbeats_answer_waits_for_the_term() {
    let mut raft = of_three(1);
    let heartbeat = Message::new(MessageKind::Heartbeat, id(2), id(1), Term(5));
    raft.step(heartbeat).expect("a heartbeat");
    let ready = take(&mut raft);
    assert_eq!(ready.send_now, []);
    assert_eq!(
        kinds(&ready.send_after_persist),
        [MessageKind::HeartbeatResponse]
    );
}

/// Otherwise two followers with dead disks keep a leader in office that can decide nothing.
#[test]
fn a_follower_whose_disk_hangs_falls_silent() {
    let mut raft = follower();
    let mut append = Message::new(MessageKind::Append, id(2), id(1), Term(2));
    append.position = at(2, 2);
    append.entries = vec![entry(2, 3)];
    raft.step(append).expect("an append that fits");
    take(&mut raft);
    for n_ticks in 0..300 {
        raft.tick();
        assert_eq!(raft.status().oldest_unpersisted_ticks, n_ticks + 1);
        let heartbeat = Message::new(MessageKind::Heartbeat, id(2), id(1), Term(2));
        raft.step(heartbeat).expect("a heartbeat");
        let ready = take(&mut raft);
        let is_answered = !ready.send_now.is_empty();
        assert_eq!(is_answered, n_ticks + 1 < 100, "after {n_ticks} ticks");
    }
    raft.persisted(99);
    assert_eq!(raft.status().oldest_unpersisted_ticks, 0);
}

#[test]
fn a_leader_sends_while_it_writes_and_steps_down_when_told_to() {
    let mut world = World::new(&[1, 2, 3], &[], 1);
    world.campaign(id(1)).expect("a fresh member may");
    world.settle();
    let member = world.members.get_mut(&id(1)).expect("it exists");
    let mut raft = member.raft.take().expect("it runs");
    raft.propose(Bytes::from_static(b"x")).expect("n1 leads");
    let ready = take(&mut raft);
    assert_eq!(kinds(&ready.send_now), [MessageKind::Append; 2]);
    assert_eq!((ready.entries.len(), ready.must_sync), (1, true));
    (0..50).for_each(|_| raft.tick());
    assert_eq!(raft.status().oldest_unpersisted_ticks, 50);
    raft.step_down();
    assert_eq!(raft.status().role, Role::Follower);
    // With its own entries not durable it does not campaign, however long it waits.
    (0..1000).for_each(|_| raft.tick());
    assert_eq!(raft.status().role, Role::Follower);
    assert_eq!(raft.campaign(), Err(Refused::NotSettled));
    let ready = take(&mut raft);
    raft.persisted(ready.number);
    raft.tick();
    assert_eq!(raft.status().role, Role::PreCandidate);
}

/// A lone voter wins without asking anybody. Its learners must not hear of a term that it could forget:
/// it would begin the same term again, with other entries.
#[test]
fn a_lone_leader_is_silent_until_its_term_is_durable() {
    let mut membership = Membership::of_voters(vec![id(1)]);
    membership.learners = vec![id(2)];
    let mut raft = Raft::new(config(1), Restored::genesis(membership)).expect("a genesis");
    raft.campaign().expect("a lone voter may");
    let ready = take(&mut raft);
    assert_eq!(raft.status().role, Role::Leader);
    assert_eq!(ready.send_now, []);
    assert_eq!(kinds(&ready.send_after_persist), [MessageKind::Append]);
    assert_eq!(ready.committed, []);
    raft.persisted(ready.number);
    let ready = take(&mut raft);
    assert_eq!(ready.committed.len(), 1);
}

#[test]
fn a_commit_alone_is_not_written() {
    let mut raft = follower();
    let mut heartbeat = Message::new(MessageKind::Heartbeat, id(2), id(1), Term(2));
    heartbeat.commit = Index(2);
    raft.step(heartbeat).expect("a heartbeat");
    let ready = take(&mut raft);
    assert_eq!(ready.committed.len(), 1);
    assert_eq!((ready.must_sync, ready.hard_state), (false, None));
    // It travels with the next entries.
    let mut append = Message::new(MessageKind::Append, id(2), id(1), Term(2));
    append.position = at(2, 2);
    append.entries = vec![entry(2, 3)];
    raft.step(append).expect("an append that fits");
    let ready = take(&mut raft);
    assert_eq!(
        ready.hard_state.map(|hard_state| hard_state.commit),
        Some(Index(2))
    );
}

#[test]
fn a_role_is_told_once_and_with_its_term() {
    let mut raft = of_three(1);
    assert_eq!(raft.ready(), None);
    raft.campaign().expect("a fresh member may");
    let ready = raft.ready().expect("it asks");
    assert_eq!(
        ready.role.map(|now| (now.role, now.term)),
        Some((Role::PreCandidate, Term(1)))
    );
    raft.persisted(ready.number);
    assert_eq!(raft.ready(), None);
}

fn recovering(watermark: LogPosition) -> Raft {
    let membership = Membership::of_voters(vec![id(1), id(2), id(3)]);
    let mut restored = Restored::genesis(membership);
    restored.hard_state.term = Term(2);
    restored.recovering = Some(watermark);
    Raft::new(config(1), restored).expect("a log that lost its end")
}

/// Appends `entries` to n1 by the hand of n2, and lets it write.
fn append(raft: &mut Raft, term: u64, after: LogPosition, entries: Vec<Entry>) {
    let mut append = Message::new(MessageKind::Append, id(2), id(1), Term(term));
    append.position = after;
    append.entries = entries;
    raft.step(append).expect("an append that fits");
    let before = raft.status().recovering;
    let ready = take(raft);
    if ready.must_sync {
        assert_eq!(
            raft.status().recovering,
            before,
            "nothing counts before it is durable"
        );
    }
    raft.persisted(ready.number);
    take(raft);
}

#[test]
fn a_recovering_member_passes_its_watermark_by_index() {
    let mut raft = recovering(at(2, 4));
    append(&mut raft, 2, at(1, 1), vec![entry(2, 2), entry(2, 3)]);
    assert_eq!(raft.status().recovering, Some(at(2, 4)));
    assert_eq!(raft.campaign(), Err(Refused::Recovering(at(2, 4))));
    append(&mut raft, 2, at(2, 3), vec![entry(2, 4)]);
    assert_eq!(raft.status().recovering, None);
    assert_eq!(raft.campaign(), Ok(()));
}

/// What it had acknowledged was never decided, and the later leader's log is shorter.
#[test]
fn a_recovering_member_passes_its_watermark_by_a_later_term() {
    let mut raft = recovering(at(2, 9));
    append(&mut raft, 3, at(1, 1), vec![entry(2, 2)]);
    assert_eq!(raft.status().recovering, Some(at(2, 9)));
    append(&mut raft, 3, at(2, 2), vec![entry(3, 3)]);
    assert_eq!(raft.status().recovering, None);
}

#[test]
fn a_leader_from_before_the_watermark_is_not_followed() {
    let mut raft = recovering(at(5, 3));
    assert_eq!(raft.status().term, Term(5), "it has been in term 5");
    let mut old = Message::new(MessageKind::Append, id(2), id(1), Term(2));
    old.position = at(1, 1);
    old.entries = vec![entry(2, 2), entry(2, 3)];
    raft.step(old).expect("an old leader's append");
    let ready = take(&mut raft);
    assert_eq!(ready.entries, []);
    assert_eq!(raft.status().recovering, Some(at(5, 3)));
    // It may have voted in term 5, and never votes there again.
    let hard_state = ready.hard_state.expect("the term is written");
    assert_eq!((hard_state.term, hard_state.vote), (Term(5), id(1)));
}

#[test]
fn a_recovering_member_gives_no_vote() {
    let mut raft = recovering(at(2, 4));
    for kind in [MessageKind::Vote, MessageKind::PreVote] {
        let mut request = Message::new(kind, id(3), id(1), Term(3));
        request.position = at(2, 9);
        assert_eq!(raft.step(request), Err(Refused::Recovering(at(2, 4))));
    }
    assert_eq!(raft.ready(), None);
    (0..500).for_each(|_| raft.tick());
    assert_eq!(raft.status().role, Role::Follower);
}

#[test]
fn a_restored_log_must_make_sense() {
    let genesis = || Restored::genesis(Membership::of_voters(vec![id(1)]));
    let refused = |restored| match Raft::new(config(1), restored) {
        Ok(_) => panic!("it started"),
        Err(reason) => reason.0,
    };
    let mut gap = genesis();
    gap.entries = vec![entry(1, 3)];
    assert_eq!(refused(gap), "entry 3@1 follows 1@1");
    let mut falling = genesis();
    falling.entries = vec![entry(2, 2), entry(1, 3)];
    assert_eq!(refused(falling), "entry 3@1 follows 2@2");
    let mut ahead = genesis();
    ahead.applied = Index(2);
    assert_eq!(refused(ahead), "applied 2 is not in 1@1..=1@1");
    let mut twice = genesis();
    twice.membership.learners = vec![id(1)];
    assert_eq!(refused(twice), "a learner in two places");
    let nobody = Config {
        member: MemberId::NONE,
        ..config(1)
    };
    assert!(Raft::new(nobody, genesis()).is_err());
    let impatient = Config {
        election_ticks: 10,
        ..config(1)
    };
    assert!(Raft::new(impatient, genesis()).is_err());
}

/// The commit index on disk is a hint that may lag behind what is applied, or lead what is left.
#[test]
fn a_commit_hint_is_fitted_to_the_log() {
    let restored = |commit| Restored {
        hard_state: HardState {
            term: Term(2),
            vote: MemberId::NONE,
            commit: Index(commit),
        },
        entries: vec![entry(2, 2), entry(2, 3)],
        applied: Index(2),
        ..Restored::genesis(Membership::of_voters(vec![id(1), id(2)]))
    };
    for (commit, expected) in [(0, 2), (3, 3), (9, 3)] {
        let raft = Raft::new(config(1), restored(commit)).expect("a log");
        assert_eq!(raft.status().commit, Index(expected));
        raft.check();
    }
}
