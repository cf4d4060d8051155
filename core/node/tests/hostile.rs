//! Messages from peers that are broken, hostile or strangers: nothing that they say may stop a member.
//!
//! A member that leads may be believed (that is what Raft is); so an entry that makes no sense may stop
//! the member in an orderly way, but never panic, and never when it comes from anybody else.

mod support;

use base::{
    Entry, EntryKind, Index, LeaseId, LogPosition, MemberId, Membership, Message, MessageKind,
    PeerMessage, SnapshotMeta, Term,
};
use bytes::Bytes;
use clock::HybridTime;
use node::system::{SYSTEM, SystemCommand};
use node::{MemberChange, NodeConfig, SystemRefusal};
use proptest::prelude::*;
use std::time::Duration;
use store::Store;
use store::command::{Batch, Command, DialectId};
use support::{World, genesis, id};

/// Numbers near the ones that are in use, and the ends of the range.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0..12u64,
        1 => Just(u64::MAX),
        1 => Just(1 << 62),
        1 => any::<u64>(),
    ]
}

fn member() -> impl Strategy<Value = MemberId> {
    (1..6u64).prop_map(MemberId)
}

fn position() -> impl Strategy<Value = LogPosition> {
    (number(), number()).prop_map(|(term, index)| LogPosition {
        term: Term(term),
        index: Index(index),
    })
}

fn system() -> impl Strategy<Value = Bytes> {
    let urls = || vec!["http://n1:2380".to_string()];
    prop_oneof![
        member().prop_map(|member| SystemCommand::Member(MemberChange::Remove { member })),
        member().prop_map(|member| SystemCommand::Member(MemberChange::Promote { member })),
        (member(), any::<bool>()).prop_map(move |(member, is_learner)| {
            SystemCommand::Member(MemberChange::Add {
                member,
                peer_urls: urls(),
                is_learner,
            })
        }),
        (number(), number()).prop_map(|(lease, granted)| SystemCommand::Expire(vec![(
            LeaseId(lease as i64),
            HybridTime(granted)
        )])),
        (number(), any::<u64>()).prop_map(|(index, digest)| SystemCommand::Digest {
            index: Index(index),
            digest,
        }),
        Just(SystemCommand::Refuse(SystemRefusal::Unhealthy)),
    ]
    .prop_map(|command| command.encode())
}

fn command() -> impl Strategy<Value = Command> {
    let request = prop_oneof![
        system(),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from),
        Just(Bytes::from_static(b"a=1")),
    ];
    let dialect = prop_oneof![Just(SYSTEM), Just(support::WORDS), Just(DialectId(99))];
    (dialect, member(), number(), request).prop_map(|(dialect, origin, tag, request)| Command {
        dialect,
        origin,
        tag,
        client: None,
        identity: None,
        request,
    })
}

fn batch() -> impl Strategy<Value = Bytes> {
    let well_formed = (0..3u16, number(), prop::collection::vec(command(), 0..4)).prop_map(
        |(apply_version, time, commands)| {
            Batch {
                apply_version,
                time: HybridTime(time),
                commands,
            }
            .encode()
        },
    );
    prop_oneof![
        4 => well_formed,
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from),
    ]
}

fn membership() -> impl Strategy<Value = Membership> {
    let members = || prop::collection::vec((0..6u64).prop_map(MemberId), 0..4);
    (members(), members(), members(), members(), any::<bool>()).prop_map(
        |(voters, voters_outgoing, learners, learners_next, auto_leave)| Membership {
            voters,
            voters_outgoing: if auto_leave {
                voters_outgoing
            } else {
                Vec::new()
            },
            learners,
            learners_next: if auto_leave {
                learners_next
            } else {
                Vec::new()
            },
            auto_leave,
        },
    )
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    (
        position(),
        prop::collection::vec((any::<bool>(), batch()), 0..4),
    )
        .prop_map(|(at, data)| {
            let entry = |(n, (is_change, data)): (usize, (bool, Bytes))| Entry {
                position: LogPosition {
                    term: at.term,
                    index: Index(at.index.0.wrapping_add(n as u64 + 1)),
                },
                kind: if is_change {
                    EntryKind::Change
                } else {
                    EntryKind::Normal
                },
                data,
                context: Bytes::new(),
            };
            data.into_iter().enumerate().map(entry).collect()
        })
}

fn raft(from: MemberId, to: MemberId) -> impl Strategy<Value = Message> {
    use MessageKind as Kind;
    let kind = prop::sample::select(vec![
        Kind::Append,
        Kind::AppendResponse,
        Kind::Heartbeat,
        Kind::HeartbeatResponse,
        Kind::Vote,
        Kind::VoteResponse,
        Kind::PreVote,
        Kind::PreVoteResponse,
        Kind::Snapshot,
        Kind::TimeoutNow,
    ]);
    let snapshot = prop::option::of((position(), membership()).prop_map(
        |(position, membership)| SnapshotMeta {
            position,
            membership,
        },
    ));
    (
        (kind, number(), position(), entries(), number(), number()),
        (
            any::<bool>(),
            number(),
            snapshot,
            prop::collection::vec(any::<u8>(), 0..17),
        ),
    )
        .prop_map(
            move |((kind, term, position, entries, commit, commit_term), rest)| {
                let (reject, reject_hint, snapshot, context) = rest;
                let mut message = Message::new(kind, from, to, Term(term));
                message.position = position;
                if kind == MessageKind::Append {
                    message.entries = entries;
                    if let Some(first) = message.entries.first() {
                        message.position.index = Index(first.position.index.0.wrapping_sub(1));
                    }
                }
                message.commit = Index(commit);
                message.commit_term = Term(commit_term);
                message.reject = reject;
                message.reject_hint = Index(reject_hint);
                if kind == MessageKind::Snapshot {
                    message.snapshot = snapshot;
                }
                if matches!(kind, Kind::Heartbeat | Kind::HeartbeatResponse) {
                    message.context = context.into();
                }
                message
            },
        )
}

fn peer_message(from: MemberId, to: MemberId) -> impl Strategy<Value = PeerMessage> {
    let lease = || number().prop_map(|lease| LeaseId(lease as i64));
    prop_oneof![
        6 => raft(from, to).prop_map(|message| PeerMessage::Raft(Box::new(message))),
        2 => batch().prop_map(|batch| PeerMessage::Forward { batch }),
        1 => number().prop_map(|attempt| PeerMessage::ReadIndexRequest { attempt }),
        1 => (number(), number()).prop_map(|(attempt, index)| PeerMessage::ReadIndexReply {
            attempt: (1u64 << 32).wrapping_add(attempt),
            index: Index(index),
        }),
        1 => (number(), lease())
            .prop_map(|(ticket, lease)| PeerMessage::LeaseRenewRequest { ticket, lease }),
        1 => (number(), lease())
            .prop_map(|(ticket, lease)| PeerMessage::LeaseRemainingRequest { ticket, lease }),
        1 => (number(), prop::option::of(number()), any::<bool>(), number()).prop_map(
            |(ticket, remaining_ms, retry, epoch)| PeerMessage::LeaseReply {
                ticket: (1u64 << 32).wrapping_add(ticket),
                remaining_ms,
                retry,
                epoch: Term(epoch),
            }
        ),
        1 => (number(), number())
            .prop_map(|(round, term)| PeerMessage::PromiseRequest { round, term: Term(term) }),
        1 => (number(), number()).prop_map(|(round, promised)| PeerMessage::PromiseReply {
            round: (1u64 << 32).wrapping_add(round),
            promised: Duration::from_nanos(promised),
        }),
        1 => number().prop_map(|asked| PeerMessage::ClockRequest { asked }),
        1 => (number(), number())
            .prop_map(|(asked, wall_ms)| PeerMessage::ClockReply { asked, wall_ms }),
        1 => any::<u16>().prop_map(|apply_version| PeerMessage::Knows { apply_version }),
        1 => batch().prop_map(|batch| PeerMessage::Bounce { batch }),
        1 => position().prop_map(|intact| PeerMessage::Recovering { intact }),
        1 => any::<bool>().prop_map(|installed| PeerMessage::SnapshotOutcome { installed }),
        1 => Just(PeerMessage::Leaving),
    ]
}

/// What happens to one member.
#[derive(Clone, Debug)]
enum Deed {
    Message(MemberId, PeerMessage),
    Snapshot(MemberId, SnapshotMeta),
    SnapshotSent(MemberId, bool),
    Ticks(u8),
    Propose,
    Read,
    Renew,
    Settle,
}

fn deed(victim: MemberId, from: impl Strategy<Value = MemberId>) -> impl Strategy<Value = Deed> {
    let message = from.prop_flat_map(move |from| {
        peer_message(from, victim).prop_map(move |message| Deed::Message(from, message))
    });
    prop_oneof![
        12 => message,
        1 => (member(), position(), membership()).prop_map(|(from, position, membership)| {
            Deed::Snapshot(from, SnapshotMeta { position, membership })
        }),
        1 => (member(), any::<bool>()).prop_map(|(to, sent)| Deed::SnapshotSent(to, sent)),
        1 => (1..150u8).prop_map(Deed::Ticks),
        1 => Just(Deed::Propose),
        1 => Just(Deed::Read),
        1 => Just(Deed::Renew),
        3 => Just(Deed::Settle),
    ]
}

/// Does it to member 1 alone: nobody else hears what it says.
fn suffer(world: &mut World, deeds: Vec<Deed>) {
    for other in 2..=5 {
        world.cut.insert(id(other));
    }
    for deed in deeds {
        let now = world.now;
        let node = world.node(1);
        match deed {
            Deed::Message(from, message) => node.receive(from, message, now),
            Deed::Snapshot(from, meta) => {
                let mut store = Store::new(genesis(3));
                store.set_membership(meta.membership.clone());
                if meta.position.index > Index(1) {
                    store.set_applied(meta.position);
                }
                node.snapshot_received(from, meta, store.publish());
            }
            Deed::SnapshotSent(to, sent) => node.snapshot_sent(to, sent),
            Deed::Ticks(n) => world.run(NodeConfig::TICK * u32::from(n)),
            Deed::Propose => drop(node.propose(support::WORDS, Bytes::from_static(b"b=2"))),
            Deed::Read => drop(node.read(node::Ticket(1))),
            Deed::Renew => drop(node.lease_renew(node::Ticket(2), LeaseId(3))),
            Deed::Settle => world.settle(),
        }
        world.node(1).check();
    }
    world.settle();
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_follower_survives_whatever_it_is_told(
        deeds in prop::collection::vec(deed(id(1), (2..6u64).prop_map(MemberId)), 1..60)
    ) {
        let mut world = World::new(3);
        suffer(&mut world, deeds);
    }

    #[test]
    fn a_leader_survives_whatever_it_is_told(
        deeds in prop::collection::vec(deed(id(1), (2..6u64).prop_map(MemberId)), 1..60)
    ) {
        let mut world = World::new(3);
        let leader = world.elect();
        if leader != 1 {
            world.node(leader).transfer_leader(id(1)).expect("it leads");
            world.run(Duration::from_secs(1));
        }
        prop_assert!(world.node(1).is_leader());
        suffer(&mut world, deeds);
    }

    #[test]
    fn a_lone_leader_survives_whatever_it_is_told(
        deeds in prop::collection::vec(deed(id(1), (2..6u64).prop_map(MemberId)), 1..60)
    ) {
        let mut world = World::new(1);
        world.elect();
        suffer(&mut world, deeds);
    }

    #[test]
    fn a_member_that_joins_survives_whatever_it_is_told(
        deeds in prop::collection::vec(deed(id(1), (2..6u64).prop_map(MemberId)), 1..60)
    ) {
        let mut world = World::new(0);
        world.join(id(1));
        suffer(&mut world, deeds);
    }

    /// Strangers have no say beside Raft's own traffic, whose gate is tested in consensus.
    #[test]
    fn strangers_move_nothing(
        messages in prop::collection::vec((100..103u64).prop_map(MemberId).prop_flat_map(|from| {
            peer_message(from, id(1)).prop_map(move |message| (from, message))
        }), 1..60)
    ) {
        let mut world = World::new(1);
        world.elect();
        let before = world.node(1).status();
        for (from, message) in messages {
            if !matches!(message, PeerMessage::Raft(_)) {
                let now = world.now;
                world.node(1).receive(from, message, now);
            }
        }
        let now = world.now;
        let effects = world.node(1).take_effects(now, 1000);
        prop_assert!(effects.send.is_empty() && effects.leases.is_empty());
        prop_assert_eq!(world.node(1).status(), before);
    }
}
