//! A change of membership as bytes in the log, and whether a membership makes sense.
//!
//! The engine's own encoding is protobuf, whose parser can be driven into the ground by nested input
//! (RUSTSEC-2024-0437); this one is flat. All numbers are little endian.
//!
//! ```text
//!   empty                           leave the joint configuration
//!   ┌───────────┬────────┬──────────────────────────────┐
//!   │ version 1 │ n_steps│ n_steps × (kind u8, member u64)│   kind: 1 voter, 2 learner, 3 remove
//!   └───────────┴────────┴──────────────────────────────┘
//! ```

use base::limits::MEMBERS_MAX;
use base::{Change, MemberId, Membership};
use bytes::{BufMut, Bytes, BytesMut};

const VERSION: u8 = 1;

/// The bytes of a change. `changes` must not be empty: an empty change means "leave".
pub fn encode(changes: &[Change]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(2 + 9 * changes.len());
    bytes.put_u8(VERSION);
    bytes.put_u8(changes.len() as u8);
    for change in changes {
        let (kind, member) = match change {
            Change::AddVoter(member) => (1, member),
            Change::AddLearner(member) => (2, member),
            Change::Remove(member) => (3, member),
        };
        bytes.put_u8(kind);
        bytes.put_u64_le(member.0);
    }
    bytes.freeze()
}

/// The change that `bytes` stand for; an empty list is the leaving of a joint configuration.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(bytes: &[u8]) -> Result<Vec<Change>, &'static str> {
    let (header, mut rest) = match bytes {
        [] => return Ok(Vec::new()),
        [version, n_steps, rest @ ..] => ((*version, usize::from(*n_steps)), rest),
        _ => return Err("change is cut short"),
    };
    if header.0 != VERSION {
        return Err("change of an unknown version");
    }
    if header.1 == 0 || header.1 > MEMBERS_MAX || rest.len() != 9 * header.1 {
        return Err("change with a wrong number of steps");
    }
    let mut changes = Vec::with_capacity(header.1);
    while let Some((step, tail)) = rest.split_first_chunk::<9>() {
        let [kind, member @ ..] = *step;
        let member = MemberId(u64::from_le_bytes(member));
        if member.is_none() {
            return Err("change of nobody");
        }
        changes.push(match kind {
            1 => Change::AddVoter(member),
            2 => Change::AddLearner(member),
            3 => Change::Remove(member),
            _ => return Err("change of an unknown kind"),
        });
        rest = tail;
    }
    Ok(changes)
}

/// Whether `membership` is one that an engine can live in: what is checked of every membership that
/// comes from outside.
///
/// # Errors
/// What is wrong with it.
pub fn validate(membership: &Membership) -> Result<(), &'static str> {
    let Membership {
        voters,
        voters_outgoing,
        learners,
        learners_next,
        auto_leave,
    } = membership;
    for list in [voters, voters_outgoing, learners, learners_next] {
        if list.len() > MEMBERS_MAX {
            return Err("too many members");
        }
        if list.iter().any(|member| member.is_none()) {
            return Err("nobody is a member");
        }
        let mut sorted = list.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a member twice");
        }
    }
    if voters.is_empty() {
        return Err("nobody votes");
    }
    if membership.everyone().len() > MEMBERS_MAX {
        return Err("too many members");
    }
    let is_joint = !voters_outgoing.is_empty();
    if !is_joint && (*auto_leave || !learners_next.is_empty()) {
        return Err("joint parts without a joint membership");
    }
    let votes = |member: &MemberId| voters.contains(member) || voters_outgoing.contains(member);
    if learners.iter().any(votes) || learners.iter().any(|member| learners_next.contains(member)) {
        return Err("a learner in two places");
    }
    let waits = |member: &MemberId| voters_outgoing.contains(member) && !voters.contains(member);
    if !learners_next.iter().all(waits) {
        return Err("a future learner that does not leave the voters");
    }
    Ok(())
}
