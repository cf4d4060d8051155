//! The observer is observed: what breaks a rule is named, and what does not is not.

use base::{
    Entry, EntryKind, HardState, Index, LogPosition, MemberId, Membership, Message, MessageKind,
    Mutants, Term,
};
use consensus::{Config, Engine, Restored};
use spec::{Observer, SpecRaft};

/// A cluster of one that leads: its engine is all that the observer needs to see.
fn alone(member: u64) -> SpecRaft {
    let member = MemberId(member);
    let config = Config {
        member,
        seed: 1,
        election_ticks: 10,
        heartbeat_ticks: 1,
        mutants: Mutants::none(),
    };
    let restored = Restored::genesis(Membership::of_voters(vec![member]));
    let mut engine = SpecRaft::new(config, restored).expect("a fresh cluster starts");
    engine.campaign().expect("a voter may campaign");
    engine
}

/// One of three, which has asked the others.
fn of_three() -> SpecRaft {
    let config = Config {
        member: MemberId(1),
        seed: 1,
        election_ticks: 10,
        heartbeat_ticks: 1,
        mutants: Mutants::none(),
    };
    let voters = (1..=3).map(MemberId).collect();
    let restored = Restored::genesis(Membership::of_voters(voters));
    let mut engine = SpecRaft::new(config, restored).expect("a fresh cluster starts");
    engine.campaign().expect("a voter may campaign");
    engine
}

/// Drives `engine` until it has nothing to do, and shows every step. Returns the claims that broke.
fn drive(observer: &mut Observer, engine: &mut SpecRaft, syncs: bool) -> Vec<&'static str> {
    let member = engine.status().member;
    let mut claims = Vec::new();
    while let Some(ready) = engine.ready() {
        claims.extend(observer.writes(member, engine, &ready.entries));
        if syncs {
            observer.synced(member, ready.hard_state, None, &ready.entries);
        }
        engine.persisted(ready.number);
        let sent = ready.send_now.iter().chain(&ready.send_after_persist);
        claims.extend(observer.stepped(member, engine, sent));
    }
    claims.into_iter().map(|broken| broken.claim).collect()
}

fn says(observer: &mut Observer, engine: &SpecRaft, message: &Message) -> Vec<&'static str> {
    let member = engine.status().member;
    let broken = observer.stepped(member, engine, [message]);
    broken.into_iter().map(|broken| broken.claim).collect()
}

/// Its disk has the vote for `candidate` in `term`.
fn write_vote(observer: &mut Observer, candidate: u64, term: u64) {
    let state = HardState {
        term: Term(term),
        vote: MemberId(candidate),
        commit: Index(0),
    };
    observer.synced(MemberId(1), Some(state), None, &[]);
}

#[test]
fn a_leader_without_a_majority_of_votes_is_named() {
    let (mut observer, mut engine) = (Observer::default(), of_three());
    observer.started(MemberId(1), &engine, true);
    drive(&mut observer, &mut engine, true);
    let mut vote = Message::new(MessageKind::VoteResponse, MemberId(2), MemberId(1), Term(2));
    for kind in [MessageKind::PreVoteResponse, MessageKind::VoteResponse] {
        vote.kind = kind;
        engine.step(vote.clone()).expect("it is a message");
        let claims = drive(&mut observer, &mut engine, true);
        let expected: &[&str] = match kind {
            MessageKind::VoteResponse => &["elected_by_a_majority"],
            _ => &[],
        };
        assert_eq!(claims, expected, "member 2 was never seen to vote");
    }
}

#[test]
fn a_member_that_keeps_the_rules_breaks_none() {
    let (mut observer, mut engine) = (Observer::default(), alone(1));
    assert!(observer.started(MemberId(1), &engine, true).is_none());
    assert_eq!(drive(&mut observer, &mut engine, true), [""; 0]);
    engine.propose("put a 1".into()).expect("it leads");
    assert_eq!(drive(&mut observer, &mut engine, true), [""; 0]);
    assert_eq!(engine.status().commit, Index(3));
    assert!(observer.n_steps() > 2);
}

#[test]
fn what_is_decided_without_a_sync_is_named() {
    let (mut observer, mut engine) = (Observer::default(), alone(1));
    observer.started(MemberId(1), &engine, true);
    let claims = drive(&mut observer, &mut engine, false);
    assert_eq!(claims, ["decided_is_durable"]);
}

#[test]
fn two_leaders_of_one_term_are_named() {
    let mut observer = Observer::default();
    let (mut one, mut two) = (alone(1), alone(2));
    assert_eq!(drive(&mut observer, &mut one, true), [""; 0]);
    let beat = Message::new(MessageKind::Heartbeat, MemberId(2), MemberId(3), Term(2));
    observer.started(MemberId(2), &two, true);
    drive(&mut Observer::default(), &mut two, true);
    assert_eq!(
        says(
            &mut observer,
            &one,
            &Message {
                from: MemberId(1),
                ..beat.clone()
            }
        ),
        [""; 0]
    );
    let claims = says(&mut observer, &two, &beat);
    assert!(claims.contains(&"election_safety"), "{claims:?}");
}

#[test]
fn a_second_vote_and_an_early_acknowledgement_are_named() {
    let (mut observer, mut engine) = (Observer::default(), alone(1));
    observer.started(MemberId(1), &engine, true);
    drive(&mut observer, &mut engine, true);
    let vote = |to| {
        Message::new(
            MessageKind::VoteResponse,
            MemberId(1),
            MemberId(to),
            Term(2),
        )
    };
    assert_eq!(says(&mut observer, &engine, &vote(7)), [""; 0]);
    assert_eq!(
        says(&mut observer, &engine, &vote(7)),
        [""; 0],
        "the same again"
    );
    assert_eq!(says(&mut observer, &engine, &vote(8)), ["one_vote_a_term"]);
    let later = |term| Message {
        term: Term(term),
        ..vote(7)
    };
    assert_eq!(
        says(&mut observer, &engine, &later(5)),
        ["votes_are_durable"]
    );
    write_vote(&mut observer, 7, 6);
    for term in [4, 6] {
        assert_eq!(
            says(&mut observer, &engine, &later(term)),
            [""; 0],
            "{term}"
        );
    }

    let last = engine.status().last;
    let mut answer = Message::new(
        MessageKind::AppendResponse,
        MemberId(1),
        MemberId(2),
        last.term,
    );
    answer.position.index = last.index;
    assert_eq!(
        says(&mut observer, &engine, &answer),
        [""; 0],
        "it is on the disk"
    );
    engine.propose("put a 1".into()).expect("it leads");
    answer.position.index = last.index.next();
    assert_eq!(
        says(&mut observer, &engine, &answer),
        ["acknowledged_is_durable"]
    );
}

#[test]
fn one_entry_with_two_contents_is_named() {
    let mut observer = Observer::default();
    let (mut one, mut two) = (alone(1), alone(2));
    drive(&mut observer, &mut one, true);
    one.propose("put a 1".into()).expect("it leads");
    drive(&mut observer, &mut one, true);
    // Another cluster's log, shown as if it were of this one.
    drive(&mut Observer::default(), &mut two, true);
    two.propose("put a 2".into()).expect("it leads");
    let claims = drive(&mut observer, &mut two, true);
    assert!(claims.contains(&"log_matching"), "{claims:?}");
    let at = LogPosition {
        term: Term(2),
        index: Index(3),
    };
    assert_eq!(two.term_at(at.index), Some(at.term));
}

#[test]
fn a_voter_that_has_forgotten_what_was_decided_is_named() {
    let (mut observer, mut engine) = (Observer::default(), alone(1));
    observer.started(MemberId(1), &engine, true);
    drive(&mut observer, &mut engine, true);
    let position = engine.status().last;
    let ballots = [MessageKind::Vote, MessageKind::VoteResponse].map(|kind| Message {
        position,
        ..Message::new(kind, MemberId(1), MemberId(1), Term(9))
    });
    write_vote(&mut observer, 1, 9);
    for ballot in &ballots {
        assert_eq!(says(&mut observer, &engine, ballot), [""; 0]);
    }
    // Its next life begins with an empty log.
    let empty = alone(1);
    observer.started(MemberId(1), &empty, true);
    for ballot in &ballots {
        let claims = says(&mut observer, &empty, ballot);
        assert!(claims.contains(&"voters_remember"), "{claims:?}");
    }
}

#[test]
fn a_candidate_that_votes_for_somebody_else_is_named() {
    let (mut observer, engine) = (Observer::default(), alone(1));
    write_vote(&mut observer, 2, 9);
    let own = Message::new(MessageKind::Vote, MemberId(1), MemberId(2), Term(9));
    assert_eq!(says(&mut observer, &engine, &own), [""; 0]);
    let other = Message::new(MessageKind::VoteResponse, MemberId(1), MemberId(2), Term(9));
    assert_eq!(says(&mut observer, &engine, &other), ["one_vote_a_term"]);
}

#[test]
fn a_second_change_while_one_is_under_way_is_named() {
    let (mut observer, mut engine) = (Observer::default(), alone(1));
    observer.started(MemberId(1), &engine, true);
    drive(&mut observer, &mut engine, true);
    let mut change = || Entry {
        position: engine.propose("a change".into()).expect("it leads"),
        kind: EntryKind::Change,
        data: "a change".into(),
        context: Default::default(),
    };
    let (one, two) = (change(), change());
    let names = |broken: Vec<spec::observe::Broken>| -> Vec<&str> {
        broken.into_iter().map(|broken| broken.claim).collect()
    };
    assert_eq!(
        names(observer.writes(MemberId(1), &engine, &[one])),
        [""; 0]
    );
    assert_eq!(
        names(observer.writes(MemberId(1), &engine, &[two])),
        ["one_change_at_a_time"]
    );
}
