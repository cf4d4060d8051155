//! The gate: which messages of other members may reach the engine.
//!
//! The engine was written for peers that are right. It stops the process on a heartbeat that commits
//! past the log, counts on entries without gaps, adds one to numbers that may be the largest, and
//! takes an answer for an acknowledgement of entries that were never sent. A damaged peer, an old
//! backup or a stranger on the port can send all of that. So every field of every kind is checked here
//! against what a correct member can send, and what fails is a [`Refused`], never a panic.
//!
//! The gate is a pure function of the message and of where the engine stands; it changes nothing.

use crate::change;
use crate::engine::{Refused, Role};
use base::limits::{APPEND_ENTRIES_MAX, ENTRY_BYTES_MAX, NUMBER_MAX};
use base::{EntryKind, Index, LogPosition, Mark, MemberId, Message, MessageKind, Term};

/// The highest term and index that are believed.
pub const POSITION_MAX: u64 = NUMBER_MAX;

/// Bytes of a context, which travels to the receiver and back: a read round's is 16.
pub const CONTEXT_BYTES_MAX: usize = 64;

/// What a vote request carries when the leader itself asked its sender to campaign.
pub const TRANSFER_CONTEXT: &[u8] = raft::CAMPAIGN_TRANSFER;

/// Where the receiver stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Who it is.
    pub member: MemberId,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader that it follows, or nobody.
    pub leader: MemberId,
    /// The end of its log.
    pub last: LogPosition,
    /// The last entry that it knows to be decided.
    pub commit: LogPosition,
    /// Whether it has no state at all, not even the cluster's first: it waits for a snapshot.
    pub is_blank: bool,
    /// Whether the sender is in its membership.
    pub is_from_member: bool,
    /// Whether its own entries and its vote are durable, so that an answer to a vote request can
    /// exist at all.
    pub is_settled: bool,
}

/// Passes `message` or says why not.
///
/// # Errors
/// [`Refused::Invalid`], [`Refused::NotMember`], [`Refused::Stale`] or [`Refused::LogShort`].
pub fn check(message: &Message, at: &Standing) -> Result<(), Refused> {
    let invalid = |reason| {
        Err(Refused::Invalid {
            kind: message.kind,
            reason,
        })
    };
    if let Err(reason) = check_fields(message, at) {
        return invalid(reason);
    }
    let is_current = message.term == at.term;
    match message.kind {
        MessageKind::Append | MessageKind::Heartbeat | MessageKind::Snapshot => {
            // One leader per term (Raft §5.2).
            if is_current && !at.leader.is_none() && at.leader != message.from {
                return invalid("a second leader in one term");
            }
        }
        MessageKind::AppendResponse
        | MessageKind::HeartbeatResponse
        | MessageKind::VoteResponse
        | MessageKind::PreVoteResponse => {
            if !at.is_from_member {
                Mark::NotMember.reach();
                return Err(Refused::NotMember(message.from));
            }
        }
        MessageKind::Vote | MessageKind::PreVote | MessageKind::TimeoutNow => {}
    }
    match message.kind {
        // Changes of membership applied to nothing would make a cluster of its own out of it.
        MessageKind::Append
            if at.is_blank && message.position.index == Index(0) && !message.entries.is_empty() =>
        {
            invalid("entries for a member without a state")
        }
        MessageKind::Append => check_entries(message).or_else(invalid),
        MessageKind::Snapshot => {
            // The engine compares only indexes: it would put the state in the decided entry's place.
            let at_commit = message.snapshot.as_ref().map(|meta| meta.position);
            let at_commit = at_commit.filter(|position| position.index == at.commit.index);
            if at_commit.is_some_and(|position| position.term != at.commit.term) {
                return invalid("a state that contradicts what is decided");
            }
            check_snapshot(message).or_else(invalid)
        }
        MessageKind::Heartbeat => {
            if message.term >= at.term && message.commit > at.last.index {
                return Err(Refused::LogShort {
                    commit: message.commit,
                    last: at.last,
                });
            }
            Ok(())
        }
        MessageKind::AppendResponse => {
            if is_current && !message.reject && message.position.index > at.last.index {
                return invalid("acknowledges what was never sent");
            }
            Ok(())
        }
        // Leadership is won on the answers to requests that went out after vote and entries were
        // durable; an answer that comes before is nobody's.
        MessageKind::VoteResponse => {
            if at.role == Role::Candidate && !message.reject && is_current && !at.is_settled {
                return Err(Refused::Stale(message.kind));
            }
            Ok(())
        }
        MessageKind::PreVoteResponse => {
            if !message.reject && message.term.0 != at.term.0 + 1 {
                return Err(Refused::Stale(message.kind));
            }
            Ok(())
        }
        MessageKind::TimeoutNow => {
            let is_leader = is_current && at.leader == message.from && at.role == Role::Follower;
            if !is_leader {
                return Err(Refused::Stale(message.kind));
            }
            Ok(())
        }
        MessageKind::Vote | MessageKind::PreVote | MessageKind::HeartbeatResponse => Ok(()),
    }
}

/// What holds for every kind, and which fields a kind may use.
fn check_fields(message: &Message, at: &Standing) -> Result<(), &'static str> {
    use MessageKind as Kind;
    if message.to != at.member {
        return Err("for somebody else");
    }
    if message.from.is_none() || message.from == at.member {
        return Err("from nobody else");
    }
    // The engine takes a message without a term for one of its own.
    if message.term == Term(0) {
        return Err("no term");
    }
    let numbers = [
        message.term.0,
        message.position.term.0,
        message.position.index.0,
        message.commit.0,
        message.commit_term.0,
        message.reject_hint.0,
    ];
    if numbers.iter().any(|number| *number > POSITION_MAX) {
        return Err("a number beyond belief");
    }
    // Members of ours have none. With one, a member of term 0 would refuse, and the engine stops on an
    // answer without a term.
    if message.priority != 0 {
        return Err("a priority");
    }
    // Past its log's end the engine reads "term 0", which a claimed term of 0 would match.
    let claims_position = !matches!(message.kind, Kind::AppendResponse);
    if claims_position && (message.position.term == Term(0)) != (message.position.index == Index(0))
    {
        return Err("a position that cannot be");
    }
    let is_term_known = !matches!(message.kind, Kind::AppendResponse | Kind::PreVoteResponse);
    if is_term_known && message.position.term > message.term {
        return Err("a position from the future");
    }
    if message.kind != Kind::Append && !message.entries.is_empty() {
        return Err("entries where none belong");
    }
    if message.snapshot.is_some() != (message.kind == Kind::Snapshot) {
        return Err("a snapshot missing, or where none belongs");
    }
    let is_context_allowed = match message.kind {
        Kind::Heartbeat | Kind::HeartbeatResponse => message.context.len() <= CONTEXT_BYTES_MAX,
        Kind::Vote => message.context.is_empty() || message.context == TRANSFER_CONTEXT,
        _ => message.context.is_empty(),
    };
    if !is_context_allowed {
        return Err("a context that means nothing");
    }
    Ok(())
}

/// Entries follow each other without a gap, in terms that never fall and are not ahead of the sender.
fn check_entries(message: &Message) -> Result<(), &'static str> {
    if message.entries.len() > APPEND_ENTRIES_MAX {
        return Err("too many entries");
    }
    let mut before = message.position;
    for entry in &message.entries {
        if entry.position.index != before.index.next() {
            return Err("a gap between entries");
        }
        if entry.position.term < before.term || entry.position.term == Term(0) {
            return Err("terms that fall");
        }
        if entry.position.term > message.term {
            return Err("an entry from the future");
        }
        if entry.data.len() + entry.context.len() > ENTRY_BYTES_MAX {
            return Err("an entry that is too large");
        }
        match entry.kind {
            EntryKind::Normal if !entry.context.is_empty() => {
                return Err("a context on an ordinary entry");
            }
            EntryKind::Normal => {}
            EntryKind::Change => {
                change::decode(&entry.data)?;
            }
        }
        before = entry.position;
    }
    Ok(())
}

fn check_snapshot(message: &Message) -> Result<(), &'static str> {
    let Some(meta) = &message.snapshot else {
        return Err("no snapshot");
    };
    let LogPosition { term, index } = meta.position;
    if index == Index(0) || index.0 > POSITION_MAX || term == Term(0) || term > message.term {
        return Err("a snapshot of a position that cannot be");
    }
    change::validate(&meta.membership)
}
