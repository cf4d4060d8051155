//! What goes out of a member: values that somebody else carries out.

use crate::levels::{NoLease, ReadGrant};
use crate::system::SystemRefusal;
use base::{
    Entry, HardState, Index, LeaseId, LogPosition, MemberId, Membership, PeerMessage, Revision,
    SnapshotMeta, Term,
};
use store::{Event, Outcome, RootId, State};

/// Names one command that this member proposed for a client: unique over all lives of the member.
/// The upper 32 bits are the incarnation, the lower a counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(pub u64);

/// Names one read or lease question. The caller chooses it; it comes back with the answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Why a request was not taken. Certain: nothing has happened and nothing will.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// A queue is full, or apply lags by more than `limits::APPLY_LAG_MAX` entries.
    #[error("too many requests")]
    Busy,
    /// The request alone is larger than an entry may be.
    #[error("request is too large")]
    TooLarge,
    /// Only the leader can do this.
    #[error("not leader")]
    NotLeader,
    /// The target of a leader transfer does not vote, or is unknown.
    #[error("bad leader transferee")]
    BadTransferee,
    /// This member has left the cluster or is quarantined.
    #[error("the member has stopped")]
    Stopped,
}

/// Why there is no outcome. The command may or may not take effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dropped {
    /// A snapshot took this member past the entry: the outcome is in the state, but not known here.
    PassedBySnapshot,
}

/// Why a read could not be made certain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadFailed {
    /// This member has left the cluster or is quarantined.
    #[error("the member has stopped")]
    Stopped,
    /// A lease read, and there is no lease.
    #[error("no read lease: {0}")]
    NoLease(NoLease),
}

/// The result of a command, on the member that its client asked.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Which command.
    pub tag: Tag,
    /// The store's revision right after it.
    pub revision: Revision,
    /// What the dialect said, or why nobody knows.
    pub outcome: Result<Outcome, Dropped>,
}

/// The answer to a lease question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseAnswer {
    /// The lease lives for so many milliseconds more, by the leader's clock.
    Alive {
        /// Milliseconds.
        remaining_ms: u64,
        /// The term of the leader that says so.
        epoch: Term,
    },
    /// There is no such lease, or its time is over.
    Gone,
    /// This member has left the cluster or is quarantined.
    Stopped,
}

/// Something for the log. Written and synced as one unit, then `Node::persisted(number)`.
#[derive(Clone)]
pub struct Persist {
    /// What to call back with. Numbers rise.
    pub number: u64,
    /// The state that must be found again, if it changed.
    pub hard_state: Option<HardState>,
    /// Entries to append; where they overlap what is there, they replace it and all that follows.
    pub entries: Vec<Entry>,
    /// A state received from the leader: it must be a durable checkpoint before the log starts anew
    /// after it.
    pub snapshot: Option<(SnapshotMeta, State)>,
    /// Whether anything here must be durable before it is called back. Always true for now: records
    /// that only move the commit index are not written at all.
    pub must_sync: bool,
}

/// A state to stream to a member that is too far behind. The message that announces it goes out with
/// the ordinary messages.
#[derive(Clone)]
pub struct SnapshotSend {
    /// To whom.
    pub to: MemberId,
    /// What it stands for.
    pub meta: SnapshotMeta,
    /// The held root.
    pub state: State,
}

/// Why this member must not go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StopReason {
    /// It was removed from the cluster. Its data directory is of no more use.
    Removed,
    /// Its state differs from the leader's at the same index: it must be emptied and added anew.
    Diverged {
        /// Where the digests differ.
        index: Index,
        /// The leader's digest.
        theirs: u64,
        /// This member's digest.
        ours: u64,
    },
    /// Its keys are not those of most members: the driver compared them. It must be emptied and added anew.
    Corrupt,
    /// The log holds a command that this version does not know.
    TooOld {
        /// The version that it needs.
        needs: u16,
    },
}

/// Who leads, and what changed about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leadership {
    /// The term.
    pub term: Term,
    /// Its leader, or nobody yet.
    pub leader: MemberId,
    /// Whether that is this member.
    pub is_self: bool,
}

/// Everything that one call of `Node::take_effects` wants from the world, in the order in which the
/// fields stand here.
#[derive(Default)]
pub struct Effects {
    /// To be sent at once.
    pub send: Vec<(MemberId, PeerMessage)>,
    /// To be streamed on connections of their own.
    pub send_snapshots: Vec<SnapshotSend>,
    /// To be written and synced; at most one is under way at a time.
    pub persist: Option<Persist>,
    /// What happened in the store, for the watch hub, in order.
    pub events: Vec<(RootId, Event)>,
    /// The whole state was replaced by a snapshot: the hub must re-read (`Hub::restored`).
    pub restored: bool,
    /// The new readable root, after `events`.
    pub published: Option<State>,
    /// Outcomes of commands that this member proposed, after `published`.
    pub answers: Vec<Answer>,
    /// Reads that may now look at the published root.
    pub reads: Vec<(Ticket, Result<ReadGrant, ReadFailed>)>,
    /// Lease answers.
    pub leases: Vec<(Ticket, LeaseAnswer)>,
    /// Write the published root to disk as a checkpoint, then call `Node::checkpointed`.
    pub checkpoint: Option<(SnapshotMeta, State)>,
    /// Leadership changed.
    pub leadership: Option<Leadership>,
    /// The membership changed.
    pub membership: Option<Membership>,
    /// This member must not go on.
    pub stop: Option<StopReason>,
    /// There is more to do: call again soon, after having looked at sockets.
    pub more: bool,
}

/// What a member says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// This member.
    pub member: MemberId,
    /// The leader, or nobody.
    pub leader: MemberId,
    /// Whether this member leads.
    pub is_leader: bool,
    /// Whether it only learns.
    pub is_learner: bool,
    /// Whether its log is damaged and it waits for the others.
    pub is_recovering: bool,
    /// The current term.
    pub term: Term,
    /// The last entry of the log in memory.
    pub last: LogPosition,
    /// Committed up to here.
    pub commit: Index,
    /// Applied up to here.
    pub applied: LogPosition,
    /// The rolling digest at `applied`.
    pub digest: u64,
    /// The version of the rules that decide, as far as is applied here.
    pub apply_version: u16,
    /// Why it stopped, if it did.
    pub stopped: Option<StopReason>,
}

/// The result of a membership change that the leader refused, as the client's own member sees it.
pub type ChangeResult = Result<(), SystemRefusal>;

/// The answer to a lease question that has no number of its own.
pub type LeaseQuestion = (Ticket, LeaseId);
