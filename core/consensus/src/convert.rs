//! Our values to the engine's and back. Only representation changes here; nothing is parsed, and the
//! engine's own wire format is never used.

use crate::engine::Role;
use base::{
    Change, Entry, EntryKind, HardState, Index, LogPosition, MemberId, Membership, Message,
    MessageKind, SnapshotMeta, Term,
};
use raft::StateRole;
use raft::eraftpb;
use raft::eraftpb::MessageType;

/// A place in the log.
pub(crate) fn position(term: u64, index: u64) -> LogPosition {
    LogPosition {
        term: Term(term),
        index: Index(index),
    }
}

pub(crate) fn role(state: StateRole) -> Role {
    match state {
        StateRole::Follower => Role::Follower,
        StateRole::PreCandidate => Role::PreCandidate,
        StateRole::Candidate => Role::Candidate,
        StateRole::Leader => Role::Leader,
    }
}

pub(crate) fn entry_to_engine(entry: &Entry) -> eraftpb::Entry {
    let mut out = eraftpb::Entry {
        term: entry.position.term.0,
        index: entry.position.index.0,
        data: entry.data.clone(),
        context: entry.context.clone(),
        ..eraftpb::Entry::default()
    };
    if entry.kind == EntryKind::Change {
        out.set_entry_type(eraftpb::EntryType::EntryConfChangeV2);
    }
    out
}

pub(crate) fn entry_from_engine(entry: eraftpb::Entry) -> Entry {
    let kind = match entry.get_entry_type() {
        eraftpb::EntryType::EntryNormal => EntryKind::Normal,
        _ => EntryKind::Change,
    };
    Entry {
        position: position(entry.term, entry.index),
        kind,
        data: entry.data,
        context: entry.context,
    }
}

pub(crate) fn hard_state_to_engine(hard_state: &HardState) -> eraftpb::HardState {
    eraftpb::HardState {
        term: hard_state.term.0,
        vote: hard_state.vote.0,
        commit: hard_state.commit.0,
        ..eraftpb::HardState::default()
    }
}

fn raw(members: &[MemberId]) -> Vec<u64> {
    members.iter().map(|member| member.0).collect()
}

fn members(raw: &[u64]) -> Vec<MemberId> {
    let mut members: Vec<MemberId> = raw.iter().copied().map(MemberId).collect();
    members.sort_unstable();
    members
}

pub(crate) fn membership_to_engine(membership: &Membership) -> eraftpb::ConfState {
    eraftpb::ConfState {
        voters: raw(&membership.voters),
        voters_outgoing: raw(&membership.voters_outgoing),
        learners: raw(&membership.learners),
        learners_next: raw(&membership.learners_next),
        auto_leave: membership.auto_leave,
        ..eraftpb::ConfState::default()
    }
}

/// The engine keeps members in the order of a hash table; ours are ascending.
pub(crate) fn membership_from_engine(state: &eraftpb::ConfState) -> Membership {
    Membership {
        voters: members(&state.voters),
        voters_outgoing: members(&state.voters_outgoing),
        learners: members(&state.learners),
        learners_next: members(&state.learners_next),
        auto_leave: state.auto_leave,
    }
}

/// Several steps become a joint change that is left by itself; no step means "leave".
pub(crate) fn change_to_engine(changes: &[Change]) -> eraftpb::ConfChangeV2 {
    let mut out = eraftpb::ConfChangeV2::default();
    for change in changes {
        let (kind, member) = match change {
            Change::AddVoter(member) => (eraftpb::ConfChangeType::AddNode, member),
            Change::AddLearner(member) => (eraftpb::ConfChangeType::AddLearnerNode, member),
            Change::Remove(member) => (eraftpb::ConfChangeType::RemoveNode, member),
        };
        let mut single = eraftpb::ConfChangeSingle::default();
        single.set_change_type(kind);
        single.node_id = member.0;
        out.mut_changes().push(single);
    }
    out
}

pub(crate) fn snapshot_to_engine(meta: &SnapshotMeta) -> eraftpb::Snapshot {
    let mut out = eraftpb::Snapshot::default();
    out.mut_metadata().index = meta.position.index.0;
    out.mut_metadata().term = meta.position.term.0;
    out.mut_metadata()
        .set_conf_state(membership_to_engine(&meta.membership));
    out
}

pub(crate) fn snapshot_from_engine(snapshot: &eraftpb::Snapshot) -> SnapshotMeta {
    let meta = snapshot.get_metadata();
    SnapshotMeta {
        position: position(meta.term, meta.index),
        membership: membership_from_engine(meta.get_conf_state()),
    }
}

const KINDS: [(MessageKind, MessageType); 10] = [
    (MessageKind::Append, MessageType::MsgAppend),
    (MessageKind::AppendResponse, MessageType::MsgAppendResponse),
    (MessageKind::Heartbeat, MessageType::MsgHeartbeat),
    (
        MessageKind::HeartbeatResponse,
        MessageType::MsgHeartbeatResponse,
    ),
    (MessageKind::Vote, MessageType::MsgRequestVote),
    (
        MessageKind::VoteResponse,
        MessageType::MsgRequestVoteResponse,
    ),
    (MessageKind::PreVote, MessageType::MsgRequestPreVote),
    (
        MessageKind::PreVoteResponse,
        MessageType::MsgRequestPreVoteResponse,
    ),
    (MessageKind::Snapshot, MessageType::MsgSnapshot),
    (MessageKind::TimeoutNow, MessageType::MsgTimeoutNow),
];

pub(crate) fn message_to_engine(message: Message) -> eraftpb::Message {
    let mut out = eraftpb::Message::default();
    let kind = KINDS.iter().find(|(ours, _)| *ours == message.kind);
    out.set_msg_type(kind.expect("every kind of ours is in the table").1);
    out.to = message.to.0;
    out.from = message.from.0;
    out.term = message.term.0;
    out.log_term = message.position.term.0;
    out.index = message.position.index.0;
    let entries: Vec<eraftpb::Entry> = message.entries.iter().map(entry_to_engine).collect();
    out.set_entries(entries.into());
    out.commit = message.commit.0;
    out.commit_term = message.commit_term.0;
    out.reject = message.reject;
    out.reject_hint = message.reject_hint.0;
    out.context = message.context;
    out.priority = message.priority;
    if let Some(meta) = &message.snapshot {
        out.set_snapshot(snapshot_to_engine(meta));
    }
    out
}

/// Nothing for the kinds that do not travel: the engine makes them only when it is asked to forward
/// something, and it never is.
pub(crate) fn message_from_engine(mut message: eraftpb::Message) -> Option<Message> {
    let (kind, _) = KINDS
        .iter()
        .find(|(_, theirs)| *theirs == message.get_msg_type())?;
    let snapshot =
        (*kind == MessageKind::Snapshot).then(|| snapshot_from_engine(message.get_snapshot()));
    let entries = message.take_entries();
    Some(Message {
        kind: *kind,
        to: MemberId(message.to),
        from: MemberId(message.from),
        term: Term(message.term),
        position: position(message.log_term, message.index),
        entries: entries.into_iter().map(entry_from_engine).collect(),
        commit: Index(message.commit),
        commit_term: Term(message.commit_term),
        reject: message.reject,
        reject_hint: Index(message.reject_hint),
        context: message.context,
        priority: message.priority,
        snapshot,
    })
}
