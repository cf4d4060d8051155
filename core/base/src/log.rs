//! What members agree on: entries, the state that outlives a restart, and the membership.
//!
//! These are plain values. Who decides them is `consensus`, who keeps them on disk is `storage`, what
//! they mean is `store::command`.

use crate::{Index, LogPosition, MemberId, Term};
use bytes::Bytes;

/// What an entry carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A batch of commands (`store::command::Batch`), or nothing: a new leader's first entry is empty.
    Normal,
    /// A change of membership; `data` is the engine's own encoding of it.
    Change,
}

/// One entry of the replicated log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The entry's identity.
    pub position: LogPosition,
    /// What `data` is.
    pub kind: EntryKind,
    /// For [`EntryKind::Normal`]: the batch. For [`EntryKind::Change`]: the engine's change.
    pub data: Bytes,
    /// For [`EntryKind::Change`]: the batch that goes with it. Empty otherwise.
    pub context: Bytes,
}

impl Entry {
    /// Bytes that this entry takes in memory and, nearly, in the log.
    pub fn size(&self) -> usize {
        64 + self.data.len() + self.context.len()
    }
}

/// What Raft must find again after a restart (Raft figure 2, "persistent state").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HardState {
    /// The highest term seen.
    pub term: Term,
    /// Who got this member's vote in that term, or nobody.
    pub vote: MemberId,
    /// An index known to be committed. Only a hint: it may lag.
    pub commit: Index,
}

/// Who votes and who listens. During a joint change (Raft §6) both `voters` and `voters_outgoing`
/// must agree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// Members that vote, in ascending order.
    pub voters: Vec<MemberId>,
    /// During a joint change: the voters of the configuration that is being left. Empty otherwise.
    pub voters_outgoing: Vec<MemberId>,
    /// Members that receive the log and do not vote.
    pub learners: Vec<MemberId>,
    /// Members that become learners when the joint change is left.
    pub learners_next: Vec<MemberId>,
    /// Whether the joint change is left without another request.
    pub auto_leave: bool,
}

impl Membership {
    /// A plain membership of `voters`.
    pub fn of_voters(mut voters: Vec<MemberId>) -> Membership {
        voters.sort_unstable();
        Membership {
            voters,
            ..Membership::default()
        }
    }

    /// Everybody who gets the log, each once, in ascending order.
    pub fn everyone(&self) -> Vec<MemberId> {
        let mut all = [
            &self.voters[..],
            &self.voters_outgoing[..],
            &self.learners[..],
            &self.learners_next[..],
        ]
        .concat();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether `member` gets the log.
    pub fn contains(&self, member: MemberId) -> bool {
        self.everyone().contains(&member)
    }

    /// Whether `member` votes, in either half of a joint configuration.
    pub fn is_voter(&self, member: MemberId) -> bool {
        self.voters.contains(&member) || self.voters_outgoing.contains(&member)
    }
}

/// One step of a change of membership. A change of several steps goes through a joint configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Becomes (or stays) a voter; this also promotes a learner.
    AddVoter(MemberId),
    /// Becomes a learner.
    AddLearner(MemberId),
    /// Leaves.
    Remove(MemberId),
}

/// What a snapshot stands for: all entries up to and including `position`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SnapshotMeta {
    /// The last entry that the snapshot contains.
    pub position: LogPosition,
    /// The membership as of that entry.
    pub membership: Membership,
}
