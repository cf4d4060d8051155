//! What members say to each other.
//!
//! [`Message`] is Raft's own traffic; [`PeerMessage`] adds what Quorate says beside it: proposals and
//! reads that landed on a follower, lease renewals, promises to a leader that answers reads on its own, what
//! wall clocks say, and the plea of a member whose log is damaged.
//! How they look as bytes is `wire`'s job; that each is allowed and bounded is checked by `consensus`
//! before the engine sees it.

use crate::{Entry, Index, LeaseId, LogPosition, MemberId, SnapshotMeta, Term};
use bytes::Bytes;
use std::time::Duration;

/// The kinds of Raft message that travel between members. The engine knows more kinds; those are its
/// private business and are refused when they come from outside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum MessageKind {
    /// Entries for a follower (Raft: AppendEntries).
    Append,
    /// A follower's answer to [`MessageKind::Append`].
    AppendResponse,
    /// "I am the leader": also carries how far this follower may commit.
    Heartbeat,
    /// A follower's answer to [`MessageKind::Heartbeat`].
    HeartbeatResponse,
    /// A candidate asks for a vote (Raft: RequestVote).
    Vote,
    /// The answer to [`MessageKind::Vote`].
    VoteResponse,
    /// A member asks whether it would win before it disturbs anybody (Raft thesis §9.6).
    PreVote,
    /// The answer to [`MessageKind::PreVote`].
    PreVoteResponse,
    /// The receiver must load a state; the state itself travels on a connection of its own.
    Snapshot,
    /// The leader asks its successor to campaign at once (Raft thesis §3.10).
    TimeoutNow,
}

/// A message of Raft. Which fields mean something depends on the kind, as in the engine; all others
/// are zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// What is said.
    pub kind: MessageKind,
    /// To whom.
    pub to: MemberId,
    /// By whom.
    pub from: MemberId,
    /// The sender's term (0 only where the engine allows it).
    pub term: Term,
    /// The identity of the entry before `entries`, or of the sender's last entry.
    pub position: LogPosition,
    /// Entries to append.
    pub entries: Vec<Entry>,
    /// How far the sender knows the log to be committed.
    pub commit: Index,
    /// The term of the entry at `commit` (votes only).
    pub commit_term: Term,
    /// Whether the answer is a refusal.
    pub reject: bool,
    /// With a refusal: where the sender's log ends, to walk back faster.
    pub reject_hint: Index,
    /// Opaque to the receiver and sent back: joins heartbeats to a round of ReadIndex.
    pub context: Bytes,
    /// Tie-breaker among candidates (the engine's).
    pub priority: i64,
    /// With [`MessageKind::Snapshot`]: what the snapshot stands for.
    pub snapshot: Option<SnapshotMeta>,
}

impl Message {
    /// A message of `kind` with all else zero.
    pub fn new(kind: MessageKind, from: MemberId, to: MemberId, term: Term) -> Message {
        Message {
            kind,
            to,
            from,
            term,
            position: LogPosition::default(),
            entries: Vec::new(),
            commit: Index(0),
            commit_term: Term(0),
            reject: false,
            reject_hint: Index(0),
            context: Bytes::new(),
            priority: 0,
            snapshot: None,
        }
    }
}

/// Anything that one member says to another over the ordinary connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerMessage {
    /// Raft's own traffic.
    Raft(Box<Message>),
    /// Commands that landed on a follower, encoded as one `store::command::Batch`, for the leader to
    /// propose. There is no answer: the follower sees its commands applied, or its clients time out.
    Forward {
        /// The encoded commands.
        batch: Bytes,
    },
    /// "Up to where must I have applied, to answer reads that began before now?" (ReadIndex, Raft
    /// thesis §6.4). A fresh number for each attempt: a repeated one could be answered by an old round.
    ReadIndexRequest {
        /// The asker's number for this attempt.
        attempt: u64,
    },
    /// The leader's answer to [`PeerMessage::ReadIndexRequest`].
    ReadIndexReply {
        /// The asker's number.
        attempt: u64,
        /// The index to have applied.
        index: Index,
    },
    /// A lease's owner is alive, says a follower to the leader, which keeps the deadlines.
    LeaseRenewRequest {
        /// The asker's number for this request.
        ticket: u64,
        /// Which lease.
        lease: LeaseId,
    },
    /// How long does a lease have left? Only the leader knows.
    LeaseRemainingRequest {
        /// The asker's number for this request.
        ticket: u64,
        /// Which lease.
        lease: LeaseId,
    },
    /// The leader's answer to both lease requests.
    LeaseReply {
        /// The asker's number.
        ticket: u64,
        /// Milliseconds left, or nothing when there is no such lease.
        remaining_ms: Option<u64>,
        /// The leader does not know (it has just lost or not yet confirmed its office): ask again.
        retry: bool,
        /// The answerer's term: who holds a lease learns when another leader counts for it.
        epoch: Term,
    },
    /// "My log is damaged behind this place: send again from there." A leader that believes the sender
    /// to have more lowers its belief.
    Recovering {
        /// The last entry that the sender still has intact.
        intact: LogPosition,
    },
    /// The state that the receiver asked for cannot be streamed now, or was refused; the leader's
    /// engine may try again.
    SnapshotOutcome {
        /// Whether the receiver installed it.
        installed: bool,
    },
    /// "You were removed from the cluster, and I shall know it after a crash, too." The answer to a member that
    /// asks, and to Raft traffic of a removed one: it may never hear of it otherwise, since nobody sends it the
    /// log any more.
    Removed,
    /// "I was removed from the cluster. Do you know?" Asked until a majority of those that stay has answered
    /// [`PeerMessage::Removed`].
    Leaving,
    /// "Will you elect nobody else for a while?" A leader that answers reads on its own asks every voter with each
    /// heartbeat (Raft dissertation §6.4.1, but promised in words).
    PromiseRequest {
        /// The leader's number for this round, fresh over all of its lives.
        round: u64,
        /// The leader's term.
        term: Term,
    },
    /// "I neither campaign nor vote for so long, from when I was asked and by my clock."
    PromiseReply {
        /// The leader's number.
        round: u64,
        /// For how long.
        promised: Duration,
    },
    /// "What does your wall clock say?"
    ClockRequest {
        /// When it was asked, on the asker's monotonic clock: comes back, and means nothing to others.
        asked: u64,
    },
    /// The answer to [`PeerMessage::ClockRequest`].
    ClockReply {
        /// The asker's number.
        asked: u64,
        /// The answerer's wall clock, milliseconds since 1970.
        wall_ms: u64,
    },
    /// "I know the meaning of commands up to this apply version." Told to the leader while the cluster's version is
    /// lower, so that it knows when all members know the next. Only said to whoever speaks peer protocol 3.
    Knows {
        /// The newest one.
        apply_version: u16,
    },
    /// "I lead no more, and have not proposed these commands of yours." From peer protocol 3 on.
    Bounce {
        /// The encoded commands, as they were forwarded.
        batch: Bytes,
    },
}
