//! What members say to each other, as bytes: one tag, then the fields in their order.
//!
//! A message's `from` is the frame's sender; a frame in which they differ is refused, so nobody speaks
//! for somebody else.

use crate::frame::encode_with;
use crate::take::Take;
use crate::{Origin, WireError};
use base::limits::{APPEND_ENTRIES_MAX, ENTRY_BYTES_MAX, MEMBERS_MAX};
use base::{
    Entry, EntryKind, Index, LeaseId, LogPosition, MemberId, Membership, Message, MessageKind,
    PeerMessage, SnapshotMeta, Term,
};
use bytes::{BufMut, Bytes, BytesMut};
use std::time::Duration;

/// Bytes of an entry besides its data and context.
const ENTRY_HEADER_BYTES: usize = 8 + 8 + 1 + 4 + 4;

const KINDS: [(u8, MessageKind); 10] = [
    (1, MessageKind::Append),
    (2, MessageKind::AppendResponse),
    (3, MessageKind::Heartbeat),
    (4, MessageKind::HeartbeatResponse),
    (5, MessageKind::Vote),
    (6, MessageKind::VoteResponse),
    (7, MessageKind::PreVote),
    (8, MessageKind::PreVoteResponse),
    (9, MessageKind::Snapshot),
    (10, MessageKind::TimeoutNow),
];

/// The oldest protocol that has this message. Whoever speaks an older one closes the connection when it comes, so
/// it is not sent there.
pub fn protocol_of(message: &PeerMessage) -> u16 {
    match message {
        PeerMessage::Knows { .. } | PeerMessage::Bounce { .. } => 3,
        _ => 2,
    }
}

/// Writes `message` as one frame of `origin` to the end of `out`.
pub fn encode_message(origin: Origin, message: &PeerMessage, out: &mut BytesMut) {
    encode_with(origin, 3, out, |out| encode_body(message, out));
}

pub(crate) fn encode_body(message: &PeerMessage, out: &mut BytesMut) {
    match message {
        PeerMessage::Raft(raft) => {
            out.put_u8(1);
            encode_raft(raft, out);
        }
        PeerMessage::Forward { batch } => {
            out.put_u8(2);
            put_bytes(batch, out);
        }
        PeerMessage::ReadIndexRequest { attempt } => {
            out.put_u8(3);
            out.put_u64_le(*attempt);
        }
        PeerMessage::ReadIndexReply { attempt, index } => {
            out.put_u8(4);
            out.put_u64_le(*attempt);
            out.put_u64_le(index.0);
        }
        PeerMessage::LeaseRenewRequest { ticket, lease } => {
            out.put_u8(5);
            out.put_u64_le(*ticket);
            out.put_i64_le(lease.0);
        }
        PeerMessage::LeaseRemainingRequest { ticket, lease } => {
            out.put_u8(6);
            out.put_u64_le(*ticket);
            out.put_i64_le(lease.0);
        }
        PeerMessage::LeaseReply {
            ticket,
            remaining_ms,
            retry,
            epoch,
        } => {
            out.put_u8(7);
            out.put_u64_le(*ticket);
            out.put_u64_le(epoch.0);
            out.put_u8(u8::from(*retry));
            out.put_u8(u8::from(remaining_ms.is_some()));
            out.put_u64_le(remaining_ms.unwrap_or(0));
        }
        PeerMessage::Recovering { intact } => {
            out.put_u8(8);
            put_position(*intact, out);
        }
        PeerMessage::SnapshotOutcome { installed } => {
            out.put_u8(9);
            out.put_u8(u8::from(*installed));
        }
        PeerMessage::Removed => out.put_u8(10),
        PeerMessage::Leaving => out.put_u8(11),
        PeerMessage::PromiseRequest { round, term } => {
            out.put_u8(12);
            out.put_u64_le(*round);
            out.put_u64_le(term.0);
        }
        PeerMessage::PromiseReply { round, promised } => {
            out.put_u8(13);
            out.put_u64_le(*round);
            out.put_u64_le(u64::try_from(promised.as_nanos()).unwrap_or(u64::MAX));
        }
        PeerMessage::ClockRequest { asked } => {
            out.put_u8(14);
            out.put_u64_le(*asked);
        }
        PeerMessage::ClockReply { asked, wall_ms } => {
            out.put_u8(15);
            out.put_u64_le(*asked);
            out.put_u64_le(*wall_ms);
        }
        PeerMessage::Knows { apply_version } => {
            out.put_u8(16);
            out.put_u16_le(*apply_version);
        }
        PeerMessage::Bounce { batch } => {
            out.put_u8(17);
            put_bytes(batch, out);
        }
    }
}

pub(crate) fn decode_body(take: &mut Take) -> Result<PeerMessage, WireError> {
    Ok(match take.u8()? {
        1 => PeerMessage::Raft(Box::new(decode_raft(take)?)),
        2 => PeerMessage::Forward {
            batch: take_bytes(take)?,
        },
        3 => PeerMessage::ReadIndexRequest {
            attempt: take.u64()?,
        },
        4 => PeerMessage::ReadIndexReply {
            attempt: take.u64()?,
            index: Index(take.u64()?),
        },
        5 => PeerMessage::LeaseRenewRequest {
            ticket: take.u64()?,
            lease: take_lease(take)?,
        },
        6 => PeerMessage::LeaseRemainingRequest {
            ticket: take.u64()?,
            lease: take_lease(take)?,
        },
        7 => {
            let ticket = take.u64()?;
            let epoch = Term(take.u64()?);
            let retry = take.flag()?;
            let is_known = take.flag()?;
            let remaining_ms = take.u64()?;
            if !is_known && remaining_ms != 0 {
                return Err(WireError::Malformed("time left of no lease"));
            }
            PeerMessage::LeaseReply {
                ticket,
                remaining_ms: is_known.then_some(remaining_ms),
                retry,
                epoch,
            }
        }
        8 => PeerMessage::Recovering {
            intact: take_position(take)?,
        },
        9 => PeerMessage::SnapshotOutcome {
            installed: take.flag()?,
        },
        10 => PeerMessage::Removed,
        11 => PeerMessage::Leaving,
        12 => PeerMessage::PromiseRequest {
            round: take.u64()?,
            term: Term(take.u64()?),
        },
        13 => PeerMessage::PromiseReply {
            round: take.u64()?,
            promised: Duration::from_nanos(take.u64()?),
        },
        14 => PeerMessage::ClockRequest { asked: take.u64()? },
        15 => PeerMessage::ClockReply {
            asked: take.u64()?,
            wall_ms: take.u64()?,
        },
        16 => PeerMessage::Knows {
            apply_version: take.u16()?,
        },
        17 => PeerMessage::Bounce {
            batch: take_bytes(take)?,
        },
        _ => return Err(WireError::Malformed("a message of an unknown kind")),
    })
}

fn encode_raft(message: &Message, out: &mut BytesMut) {
    let kind = KINDS.iter().find(|(_, kind)| *kind == message.kind);
    out.put_u8(kind.expect("every kind is in the table").0);
    out.put_u8(u8::from(message.reject));
    out.put_u8(u8::from(message.snapshot.is_some()));
    out.put_u64_le(message.to.0);
    out.put_u64_le(message.from.0);
    out.put_u64_le(message.term.0);
    put_position(message.position, out);
    out.put_u64_le(message.commit.0);
    out.put_u64_le(message.commit_term.0);
    out.put_u64_le(message.reject_hint.0);
    out.put_i64_le(message.priority);
    put_bytes(&message.context, out);
    out.put_u32_le(message.entries.len() as u32);
    let bytes: usize = message.entries.iter().map(Entry::size).sum();
    out.reserve(bytes);
    for entry in &message.entries {
        put_position(entry.position, out);
        out.put_u8(match entry.kind {
            EntryKind::Normal => 1,
            EntryKind::Change => 2,
        });
        put_bytes(&entry.data, out);
        put_bytes(&entry.context, out);
    }
    if let Some(meta) = &message.snapshot {
        encode_meta(meta, out);
    }
}

fn decode_raft(take: &mut Take) -> Result<Message, WireError> {
    let code = take.u8()?;
    let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == code) else {
        return Err(WireError::Malformed("a Raft message of an unknown kind"));
    };
    let reject = take.flag()?;
    let has_snapshot = take.flag()?;
    let to = MemberId(take.u64()?);
    let from = MemberId(take.u64()?);
    let term = Term(take.u64()?);
    let position = take_position(take)?;
    let commit = Index(take.u64()?);
    let commit_term = Term(take.u64()?);
    let reject_hint = Index(take.u64()?);
    let priority = take.u64()? as i64;
    let context = take_bytes(take)?;
    let n_entries = take.u32()? as usize;
    if n_entries > APPEND_ENTRIES_MAX {
        return Err(WireError::Malformed("too many entries"));
    }
    let mut entries = Vec::with_capacity(take.check_count(n_entries, ENTRY_HEADER_BYTES)?);
    for _ in 0..n_entries {
        entries.push(Entry {
            position: take_position(take)?,
            kind: match take.u8()? {
                1 => EntryKind::Normal,
                2 => EntryKind::Change,
                _ => return Err(WireError::Malformed("an entry of an unknown kind")),
            },
            data: take_bytes(take)?,
            context: take_bytes(take)?,
        });
    }
    let snapshot = match has_snapshot {
        true => Some(decode_meta(take)?),
        false => None,
    };
    Ok(Message {
        kind: *kind,
        to,
        from,
        term,
        position,
        entries,
        commit,
        commit_term,
        reject,
        reject_hint,
        context,
        priority,
        snapshot,
    })
}

pub(crate) fn encode_meta(meta: &SnapshotMeta, out: &mut BytesMut) {
    put_position(meta.position, out);
    let Membership {
        voters,
        voters_outgoing,
        learners,
        learners_next,
        auto_leave,
    } = &meta.membership;
    for list in [voters, voters_outgoing, learners, learners_next] {
        out.put_u16_le(list.len() as u16);
        for member in list {
            out.put_u64_le(member.0);
        }
    }
    out.put_u8(u8::from(*auto_leave));
}

pub(crate) fn decode_meta(take: &mut Take) -> Result<SnapshotMeta, WireError> {
    let position = take_position(take)?;
    let mut lists = [const { Vec::new() }; 4];
    for list in &mut lists {
        let n = usize::from(take.u16()?);
        if n > MEMBERS_MAX {
            return Err(WireError::Malformed("too many members"));
        }
        *list = Vec::with_capacity(take.check_count(n, 8)?);
        for _ in 0..n {
            list.push(MemberId(take.u64()?));
        }
    }
    let [voters, voters_outgoing, learners, learners_next] = lists;
    Ok(SnapshotMeta {
        position,
        membership: Membership {
            voters,
            voters_outgoing,
            learners,
            learners_next,
            auto_leave: take.flag()?,
        },
    })
}

fn put_position(position: LogPosition, out: &mut BytesMut) {
    out.put_u64_le(position.term.0);
    out.put_u64_le(position.index.0);
}

fn take_position(take: &mut Take) -> Result<LogPosition, WireError> {
    Ok(LogPosition {
        term: Term(take.u64()?),
        index: Index(take.u64()?),
    })
}

fn take_lease(take: &mut Take) -> Result<LeaseId, WireError> {
    Ok(LeaseId(take.u64()? as i64))
}

fn put_bytes(bytes: &Bytes, out: &mut BytesMut) {
    out.put_u32_le(bytes.len() as u32);
    out.put_slice(bytes);
}

fn take_bytes(take: &mut Take) -> Result<Bytes, WireError> {
    let n = take.u32()? as usize;
    if n > ENTRY_BYTES_MAX {
        return Err(WireError::Malformed("a part that is too large"));
    }
    take.bytes(n)
}
