//! No bytes from outside stop a member: any messages, in any role, in any order, are refused or
//! handled.

mod support;

use base::{
    Entry, EntryKind, Index, LogPosition, MemberId, Membership, Message, MessageKind, Mutants,
    SnapshotMeta, Term,
};
use bytes::Bytes;
use proptest::prelude::*;
use quorate_consensus::{Config, Engine, Raft, Refused, Restored, Role, gate};
use std::collections::VecDeque;
use support::{World, id};

/// Numbers around those that mean something, and the largest.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => 0u64..12,
        1 => Just(gate::POSITION_MAX),
        1 => Just(gate::POSITION_MAX + 1),
        1 => Just(u64::MAX - 1),
        1 => Just(u64::MAX),
    ]
}

fn member() -> impl Strategy<Value = MemberId> {
    prop_oneof![20 => 1u64..5, 1 => Just(0), 1 => Just(99)].prop_map(MemberId)
}

fn position() -> impl Strategy<Value = LogPosition> {
    (number(), number()).prop_map(|(term, index)| LogPosition {
        term: Term(term),
        index: Index(index),
    })
}

fn change_bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just(Bytes::new()),
        Just(Bytes::from_static(&[1, 1, 1, 4, 0, 0, 0, 0, 0, 0, 0])),
        Just(Bytes::from_static(&[1, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0])),
        Just(Bytes::from_static(&[
            1, 2, 3, 2, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0
        ])),
        proptest::collection::vec(any::<u8>(), 0..30).prop_map(Bytes::from),
    ]
}

/// Entries that mostly follow `after`, and sometimes nothing.
fn entries() -> impl Strategy<Value = Vec<(u64, u64, bool, Bytes)>> {
    let entry = (0u64..20, 0u64..3, any::<bool>(), change_bytes());
    proptest::collection::vec(entry, 0..5)
}

fn members() -> impl Strategy<Value = Vec<MemberId>> {
    proptest::collection::vec(member(), 0..4)
}

fn membership() -> impl Strategy<Value = Membership> {
    let lists = (members(), members(), members(), members(), any::<bool>());
    prop_oneof![
        lists.prop_map(
            |(voters, voters_outgoing, learners, learners_next, auto_leave)| {
                Membership {
                    voters,
                    voters_outgoing,
                    learners,
                    learners_next,
                    auto_leave,
                }
            }
        ),
        Just(Membership::of_voters(vec![id(1), id(2), id(3)])),
        Just(Membership::of_voters(vec![id(2), id(3)])),
    ]
}

const KINDS: [MessageKind; 10] = [
    MessageKind::Append,
    MessageKind::AppendResponse,
    MessageKind::Heartbeat,
    MessageKind::HeartbeatResponse,
    MessageKind::Vote,
    MessageKind::VoteResponse,
    MessageKind::PreVote,
    MessageKind::PreVoteResponse,
    MessageKind::Snapshot,
    MessageKind::TimeoutNow,
];

fn message() -> impl Strategy<Value = Message> {
    let head = (
        proptest::sample::select(KINDS.to_vec()),
        member(),
        prop_oneof![12 => Just(1u64), 1 => 0u64..4],
        number(),
        position(),
    );
    let body = (
        entries(),
        number(),
        number(),
        any::<bool>(),
        number(),
        prop_oneof![
            6 => Just(Bytes::new()),
            1 => Just(Bytes::from_static(gate::TRANSFER_CONTEXT)),
            2 => proptest::collection::vec(any::<u8>(), 0..90).prop_map(Bytes::from),
        ],
    );
    let rest = (
        proptest::option::weighted(0.2, (position(), membership())),
        any::<bool>(),
        prop_oneof![8 => Just(0i64), 1 => any::<i64>()],
    );
    (head, body, rest).prop_map(|(head, body, rest)| {
        let (kind, from, to, term, position) = head;
        let (entries, commit, commit_term, reject, reject_hint, context) = body;
        let (snapshot, is_orderly, priority) = rest;
        let mut message = Message::new(kind, from, MemberId(to), Term(term));
        message.position = position;
        message.commit = Index(commit);
        message.commit_term = Term(commit_term);
        message.reject = reject;
        message.reject_hint = Index(reject_hint);
        message.priority = priority;
        // An orderly message has only what its kind uses, so that it gets past the first checks.
        let has = |kinds: &[MessageKind]| !is_orderly || kinds.contains(&kind);
        if has(&[MessageKind::Append]) {
            let mut last = position;
            for (index, term, is_change, data) in entries {
                let index = if is_orderly {
                    last.index.0.wrapping_add(1)
                } else {
                    index
                };
                last = LogPosition {
                    term: Term(last.term.0.wrapping_add(term % 2)),
                    index: Index(index),
                };
                message.entries.push(Entry {
                    position: last,
                    kind: if is_change {
                        EntryKind::Change
                    } else {
                        EntryKind::Normal
                    },
                    data,
                    context: Bytes::new(),
                });
            }
        }
        if has(&[
            MessageKind::Heartbeat,
            MessageKind::HeartbeatResponse,
            MessageKind::Vote,
        ]) {
            message.context = context;
        }
        let snapshot = snapshot.map(|(position, membership)| SnapshotMeta {
            position,
            membership,
        });
        if is_orderly && kind == MessageKind::Snapshot {
            message.snapshot = snapshot.or(Some(SnapshotMeta {
                position,
                membership: Membership::of_voters(vec![id(1), id(2), id(3)]),
            }));
        } else if !is_orderly {
            message.snapshot = snapshot;
        }
        message
    })
}

/// What happens to the member besides messages.
#[derive(Clone, Debug)]
enum Input {
    Step(Box<Message>),
    Ticks(usize),
    Propose,
    Read,
    Persist,
    Compact,
    ResetProgress(MemberId, LogPosition),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        20 => message().prop_map(|message| Input::Step(Box::new(message))),
        2 => (1usize..150).prop_map(Input::Ticks),
        1 => Just(Input::Propose),
        1 => Just(Input::Read),
        4 => Just(Input::Persist),
        1 => Just(Input::Compact),
        1 => (member(), position()).prop_map(|(member, at)| Input::ResetProgress(member, at)),
    ]
}

/// Brings n1 of three into a role.
fn standing(role: usize) -> Raft {
    let mut world = World::new(&[1, 2, 3], &[], 5);
    world.campaign(id(1)).expect("a fresh member may campaign");
    world.settle();
    for command in ["a", "b", "c"] {
        world.propose(id(1), command).expect("n1 leads");
    }
    world.settle();
    match role {
        // A leader.
        0 => {}
        // A follower of n2.
        1 => {
            world.raft_mut(id(1)).transfer(id(2)).expect("n1 leads");
            world.drain(id(1));
            world.settle();
            assert_eq!(world.raft(id(1)).status().leader, id(2));
        }
        // A leader with entries that nobody has.
        2 => {
            world.isolate(id(1));
            world.propose(id(1), "alone").expect("n1 leads");
            world.settle();
        }
        // A member that asks in vain, for a vote or whether it should.
        3 | 4 => {
            world.isolate(id(1));
            world.raft_mut(id(1)).step_down();
            world.campaign(id(1)).expect("it may ask");
            world.settle();
            if role == 4 {
                let mut yes = Message::new(MessageKind::PreVoteResponse, id(2), id(1), Term(3));
                yes.term = Term(world.raft(id(1)).status().term.0 + 1);
                world.step(yes).expect("an answer");
                assert_eq!(world.raft(id(1)).status().role, Role::Candidate);
            }
        }
        // A recovering one.
        5 => {
            world.crash(id(1));
            let disk = &mut world.members.get_mut(&id(1)).expect("it exists").disk;
            disk.entries.truncate(2);
            disk.recovering = Some(LogPosition {
                term: Term(2),
                index: Index(5),
            });
            world.restart(id(1));
        }
        // One that knows nothing yet.
        _ => {
            let config = Config {
                member: id(1),
                seed: 5,
                election_ticks: 100,
                heartbeat_ticks: 10,
                mutants: Mutants::none(),
            };
            return Raft::new(config, Restored::joining()).expect("an empty log is a log");
        }
    }
    let member = world.members.get_mut(&id(1)).expect("it exists");
    member.raft.take().expect("it runs")
}

/// Carries out what the member asks for, with a disk that may lag.
fn carry_out(raft: &mut Raft, writes: &mut VecDeque<(u64, Index)>) {
    while let Some(ready) = raft.ready() {
        let mut at = ready
            .snapshot
            .as_ref()
            .map_or(Index(0), |meta| meta.position.index);
        for entry in &ready.committed {
            if entry.kind == EntryKind::Change {
                let _ = raft.apply_change(entry);
            }
            at = entry.position.index;
        }
        writes.push_back((ready.number, at));
        if ready.snapshot.is_none() && at > Index(0) {
            raft.applied(at);
        }
    }
    raft.check();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_message_stops_a_member(
        role in 0usize..7,
        inputs in proptest::collection::vec(input(), 1..60),
    ) {
        let mut raft = standing(role);
        let mut writes = VecDeque::new();
        carry_out(&mut raft, &mut writes);
        for input in inputs {
            match input {
                Input::Step(mut message) => {
                    // Half of them in the member's own term: others are hardly looked at.
                    let own = raft.status().term;
                    if message.term.0 % 2 == 0 && message.term.0 < gate::POSITION_MAX {
                        message.term = Term(own.0 + message.term.0 / 10);
                    }
                    let _ = raft.step(*message);
                }
                Input::Ticks(n) => (0..n).for_each(|_| raft.tick()),
                Input::Propose => drop(raft.propose(Bytes::from_static(b"x"))),
                Input::Read => drop(raft.read_index(7)),
                Input::Persist => {
                    if let Some((number, at)) = writes.pop_front() {
                        raft.persisted(number);
                        raft.applied(at);
                    }
                }
                Input::Compact => {
                    let status = raft.status();
                    let membership = raft.membership().clone();
                    if status.applied > Index(0) && membership != Membership::default() {
                        raft.snapshot_provided(SnapshotMeta {
                            position: LogPosition { term: Term(1), index: status.applied },
                            membership,
                        });
                        raft.compact(status.applied);
                    }
                }
                Input::ResetProgress(member, at) => raft.reset_progress(member, at),
            }
            carry_out(&mut raft, &mut writes);
        }
    }
}

fn refusal(raft: &mut Raft, message: Message) -> &'static str {
    match raft.step(message) {
        Err(Refused::Invalid { reason, .. }) => reason,
        Err(Refused::Stale(_)) => "stale",
        Err(Refused::NotMember(_)) => "not a member",
        Err(Refused::LogShort { .. }) => "log short",
        Err(Refused::Recovering(_)) => "recovering",
        other => panic!("{other:?}"),
    }
}

fn entry(term: u64, index: u64) -> Entry {
    Entry {
        position: LogPosition {
            term: Term(term),
            index: Index(index),
        },
        kind: EntryKind::Normal,
        data: Bytes::new(),
        context: Bytes::new(),
    }
}

/// n1 follows n2 in term 3; its log is 2@2 … 5@2 6@3, all committed.
#[test]
fn each_check_of_the_gate_refuses() {
    let mut raft = standing(1);
    assert_eq!(raft.status().last, entry(3, 6).position);
    let good = Message::new(MessageKind::Append, id(2), id(1), Term(3));
    let with = |change: &dyn Fn(&mut Message)| {
        let mut message = good.clone();
        message.position = entry(3, 6).position;
        change(&mut message);
        message
    };
    let cases: Vec<(&str, Message)> = vec![
        ("for somebody else", with(&|m| m.to = id(3))),
        ("from nobody else", with(&|m| m.from = id(1))),
        ("from nobody else", with(&|m| m.from = MemberId::NONE)),
        ("no term", with(&|m| m.term = Term(0))),
        ("a number beyond belief", with(&|m| m.term = Term(u64::MAX))),
        (
            "a number beyond belief",
            with(&|m| m.commit = Index(u64::MAX)),
        ),
        ("a priority", with(&|m| m.priority = -1)),
        (
            "a position that cannot be",
            with(&|m| m.position.term = Term(0)),
        ),
        (
            "a position from the future",
            with(&|m| m.position.term = Term(4)),
        ),
        ("a second leader in one term", with(&|m| m.from = id(3))),
        (
            "a gap between entries",
            with(&|m| m.entries = vec![entry(3, 8)]),
        ),
        (
            "a gap between entries",
            with(&|m| m.entries = vec![entry(3, 7), entry(3, 9)]),
        ),
        ("terms that fall", with(&|m| m.entries = vec![entry(2, 7)])),
        (
            "an entry from the future",
            with(&|m| m.entries = vec![entry(4, 7)]),
        ),
        (
            "a context on an ordinary entry",
            with(&|m| {
                m.entries = vec![entry(3, 7)];
                m.entries[0].context = Bytes::from_static(b"?");
            }),
        ),
        (
            "change of an unknown version",
            with(&|m| {
                m.entries = vec![entry(3, 7)];
                m.entries[0].kind = EntryKind::Change;
                m.entries[0].data = Bytes::from_static(b"hello");
            }),
        ),
        (
            "entries where none belong",
            with(&|m| {
                m.kind = MessageKind::Heartbeat;
                m.entries = vec![entry(3, 7)];
            }),
        ),
        (
            "a context that means nothing",
            with(&|m| m.context = Bytes::from_static(b"?")),
        ),
        (
            "log short",
            with(&|m| {
                m.kind = MessageKind::Heartbeat;
                m.position = LogPosition::default();
                m.commit = Index(7);
            }),
        ),
        (
            "not a member",
            with(&|m| {
                m.kind = MessageKind::AppendResponse;
                m.from = id(9);
            }),
        ),
        (
            "a snapshot missing, or where none belongs",
            with(&|m| m.kind = MessageKind::Snapshot),
        ),
        (
            "stale",
            with(&|m| {
                m.kind = MessageKind::TimeoutNow;
                m.from = id(3);
            }),
        ),
        ("stale", with(&|m| m.kind = MessageKind::PreVoteResponse)),
    ];
    for (expected, message) in cases {
        assert_eq!(refusal(&mut raft, message.clone()), expected, "{message:?}");
    }
    // All that happened: the heartbeat beyond the log made it a recovering member.
    assert_eq!(
        raft.status().recovering,
        Some(LogPosition {
            term: Term(3),
            index: Index(7)
        })
    );
    let mut vote = Message::new(MessageKind::Vote, id(3), id(1), Term(4));
    vote.position = entry(3, 9).position;
    assert_eq!(refusal(&mut raft, vote), "recovering");
}

#[test]
fn a_leader_does_not_believe_in_entries_that_it_never_sent() {
    let mut raft = standing(0);
    let mut answer = Message::new(MessageKind::AppendResponse, id(2), id(1), Term(2));
    answer.position.index = Index(99);
    assert_eq!(
        refusal(&mut raft, answer),
        "acknowledges what was never sent"
    );
}

/// A leader whose log begins at nothing (an old backup, another cluster's) has entries for a member
/// that has nothing. Taking "n1 becomes a voter" from it, n1 would be alone in its membership.
#[test]
fn a_member_without_a_state_takes_no_entries() {
    let mut raft = standing(6);
    let mut append = Message::new(MessageKind::Append, id(2), id(1), Term(3));
    append.entries = vec![entry(1, 1)];
    assert_eq!(
        refusal(&mut raft, append),
        "entries for a member without a state"
    );
}

#[test]
fn a_snapshot_that_contradicts_what_is_decided_is_refused() {
    let mut raft = standing(0);
    let status = raft.status();
    let mut snapshot = Message::new(MessageKind::Snapshot, id(2), id(1), Term(status.term.0 + 1));
    let decided = raft.term_at(status.commit).expect("it is here");
    snapshot.snapshot = Some(SnapshotMeta {
        position: LogPosition {
            term: Term(decided.0 + 1),
            index: status.commit,
        },
        membership: Membership::of_voters(vec![id(1), id(2), id(3)]),
    });
    assert_eq!(
        refusal(&mut raft, snapshot),
        "a state that contradicts what is decided"
    );
}

#[test]
fn a_snapshot_with_a_membership_that_cannot_be_is_refused() {
    let mut raft = standing(1);
    let mut snapshot = Message::new(MessageKind::Snapshot, id(2), id(1), Term(3));
    let mut meta = SnapshotMeta {
        position: entry(3, 9).position,
        membership: Membership::of_voters(vec![id(1), id(2)]),
    };
    meta.membership.learners = vec![id(2)];
    snapshot.snapshot = Some(meta);
    assert_eq!(refusal(&mut raft, snapshot), "a learner in two places");
}
