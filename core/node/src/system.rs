//! Commands that belong to no protocol: membership, lease expiry, digests.
//!
//! They travel in the log as commands of [`SYSTEM`], beside those of the fronts, and take no part in
//! any front's rules. Each is one byte of kind and fixed fields, little endian; strings and lists carry
//! a length. Bytes that do not parse are refused, never trusted: a command may have come from a
//! follower's forwarded batch.
//!
//! What a follower may forward is narrower than what a leader may propose: see
//! [`SystemCommand::may_be_forwarded`]. Lease expiry, digests and raised versions are only ever a leader's own word, so
//! that an ex-leader cannot make its successor revoke.

use base::{Index, LeaseId, MemberId};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use clock::HybridTime;
use store::command::DialectId;

/// The dialect of these commands.
pub const SYSTEM: DialectId = DialectId(0);

/// Bytes of one URL or name in a member's record.
pub const MEMBER_TEXT_BYTES_MAX: usize = 1024;

/// URLs of one kind in a member's record.
pub const MEMBER_URLS_MAX: usize = 16;

/// A wish to change who belongs to the cluster, or what is known of a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MemberChange {
    /// A new member joins, voting or learning.
    Add {
        /// Its id, computed by whoever asks (etcd derives it from the URLs and the time).
        member: MemberId,
        /// Where other members reach it.
        peer_urls: Vec<String>,
        /// Whether it only learns.
        is_learner: bool,
    },
    /// A learner becomes a voter. The leader refuses unless its log has nearly caught up.
    Promote {
        /// Which.
        member: MemberId,
    },
    /// A member leaves.
    Remove {
        /// Which.
        member: MemberId,
    },
    /// A member's peer URLs change.
    Update {
        /// Which.
        member: MemberId,
        /// The new ones.
        peer_urls: Vec<String>,
    },
    /// A member tells its name and where clients reach it, once after each start.
    Publish {
        /// Which.
        member: MemberId,
        /// Its name.
        name: String,
        /// Where clients reach it.
        client_urls: Vec<String>,
    },
}

impl MemberChange {
    /// Whether this changes who gets the log, and so goes through a configuration change.
    pub fn is_configuration(&self) -> bool {
        match self {
            MemberChange::Add { .. }
            | MemberChange::Promote { .. }
            | MemberChange::Remove { .. } => true,
            MemberChange::Update { .. } | MemberChange::Publish { .. } => false,
        }
    }

    /// Whether its texts and lists fit in a member's record; the encoding would cut them.
    pub fn fits(&self) -> bool {
        let (name, urls) = match self {
            MemberChange::Add { peer_urls, .. } | MemberChange::Update { peer_urls, .. } => {
                ("", &peer_urls[..])
            }
            MemberChange::Publish {
                name, client_urls, ..
            } => (&name[..], &client_urls[..]),
            MemberChange::Promote { .. } | MemberChange::Remove { .. } => ("", &[][..]),
        };
        let is_short = |text: &str| text.len() <= MEMBER_TEXT_BYTES_MAX;
        is_short(name) && urls.len() <= MEMBER_URLS_MAX && urls.iter().all(|url| is_short(url))
    }

    /// The member that it is about.
    pub fn member(&self) -> MemberId {
        match self {
            MemberChange::Add { member, .. }
            | MemberChange::Promote { member }
            | MemberChange::Remove { member }
            | MemberChange::Update { member, .. }
            | MemberChange::Publish { member, .. } => *member,
        }
    }
}

/// Why a membership change did not happen: a replicated result, the `status` of its outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[repr(u16)]
pub enum SystemRefusal {
    /// No member has that id.
    #[error("member not found")]
    MemberNotFound = 1,
    /// A member with that id exists.
    #[error("member ID already exist")]
    MemberExists = 2,
    /// A member with one of those URLs exists.
    #[error("Peer URLs already exists")]
    PeerUrlExists = 3,
    /// There are as many learners as allowed.
    #[error("too many learner members in cluster")]
    TooManyLearners = 4,
    /// Only a learner can be promoted.
    #[error("can only promote a learner member")]
    NotLearner = 5,
    /// The learner's log has not caught up.
    #[error("can only promote a learner member which is in sync with leader")]
    LearnerNotReady = 6,
    /// The change would leave less than a majority of started members.
    #[error("re-configuration failed due to not enough started members")]
    NotEnoughStarted = 7,
    /// Another change is under way, or a member does not answer.
    #[error("unhealthy cluster")]
    Unhealthy = 8,
    /// The command's bytes are not a command.
    #[error("malformed command")]
    Malformed = 9,
    /// No dialect with that number is registered.
    #[error("unknown dialect")]
    UnknownDialect = 10,
    /// The change would exceed `limits::MEMBERS_MAX`.
    #[error("too many members")]
    TooManyMembers = 11,
}

impl SystemRefusal {
    const ALL: [SystemRefusal; 11] = [
        SystemRefusal::MemberNotFound,
        SystemRefusal::MemberExists,
        SystemRefusal::PeerUrlExists,
        SystemRefusal::TooManyLearners,
        SystemRefusal::NotLearner,
        SystemRefusal::LearnerNotReady,
        SystemRefusal::NotEnoughStarted,
        SystemRefusal::Unhealthy,
        SystemRefusal::Malformed,
        SystemRefusal::UnknownDialect,
        SystemRefusal::TooManyMembers,
    ];

    /// The refusal with this status, if there is one.
    pub fn from_status(status: u16) -> Option<SystemRefusal> {
        SystemRefusal::ALL
            .into_iter()
            .find(|refusal| *refusal as u16 == status)
    }
}

/// One command of [`SYSTEM`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SystemCommand {
    /// Changes membership or a member's record.
    Member(MemberChange),
    /// Revokes leases whose time is over, unless they were granted anew since.
    Expire(Vec<(LeaseId, HybridTime)>),
    /// The leader's digest at an index that it has applied: whoever has another one has diverged.
    Digest {
        /// Where.
        index: Index,
        /// What the leader has.
        digest: u64,
    },
    /// Tells a forwarded change's origin that the leader refused it.
    Refuse(SystemRefusal),
    /// From here on at least this apply version decides: all members know it. Travels in a batch of that version, so
    /// that a member that does not know it stops there.
    Raise(u16),
}

impl SystemCommand {
    /// Whether a leader takes this from a follower.
    pub fn may_be_forwarded(&self) -> bool {
        matches!(self, SystemCommand::Member(_))
    }

    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        match self {
            SystemCommand::Member(MemberChange::Add {
                member,
                peer_urls,
                is_learner,
            }) => {
                out.put_u8(1);
                out.put_u64_le(member.0);
                out.put_u8(u8::from(*is_learner));
                put_texts(&mut out, peer_urls);
            }
            SystemCommand::Member(MemberChange::Promote { member }) => {
                out.put_u8(2);
                out.put_u64_le(member.0);
            }
            SystemCommand::Member(MemberChange::Remove { member }) => {
                out.put_u8(3);
                out.put_u64_le(member.0);
            }
            SystemCommand::Member(MemberChange::Update { member, peer_urls }) => {
                out.put_u8(4);
                out.put_u64_le(member.0);
                put_texts(&mut out, peer_urls);
            }
            SystemCommand::Member(MemberChange::Publish {
                member,
                name,
                client_urls,
            }) => {
                out.put_u8(5);
                out.put_u64_le(member.0);
                put_text(&mut out, name);
                put_texts(&mut out, client_urls);
            }
            SystemCommand::Expire(leases) => {
                out.put_u8(6);
                out.put_u32_le(leases.len() as u32);
                for (lease, granted) in leases {
                    out.put_i64_le(lease.0);
                    out.put_u64_le(granted.0);
                }
            }
            SystemCommand::Digest { index, digest } => {
                out.put_u8(7);
                out.put_u64_le(index.0);
                out.put_u64_le(*digest);
            }
            SystemCommand::Refuse(refusal) => {
                out.put_u8(8);
                out.put_u16_le(*refusal as u16);
            }
            SystemCommand::Raise(apply_version) => {
                out.put_u8(9);
                out.put_u16_le(*apply_version);
            }
        }
        out.freeze()
    }

    /// From bytes; nothing when they are not exactly one command.
    pub fn decode(mut bytes: &[u8]) -> Option<SystemCommand> {
        let bytes = &mut bytes;
        let command = match take_u8(bytes)? {
            1 => SystemCommand::Member(MemberChange::Add {
                member: MemberId(take_u64(bytes)?),
                is_learner: take_u8(bytes)? != 0,
                peer_urls: take_texts(bytes)?,
            }),
            2 => SystemCommand::Member(MemberChange::Promote {
                member: MemberId(take_u64(bytes)?),
            }),
            3 => SystemCommand::Member(MemberChange::Remove {
                member: MemberId(take_u64(bytes)?),
            }),
            4 => SystemCommand::Member(MemberChange::Update {
                member: MemberId(take_u64(bytes)?),
                peer_urls: take_texts(bytes)?,
            }),
            5 => SystemCommand::Member(MemberChange::Publish {
                member: MemberId(take_u64(bytes)?),
                name: take_text(bytes)?,
                client_urls: take_texts(bytes)?,
            }),
            6 => {
                let n = take_u32(bytes)? as usize;
                if bytes.len() != n.checked_mul(16)? {
                    return None;
                }
                let lease = |bytes: &mut &[u8]| {
                    Some((
                        LeaseId(take_u64(bytes)? as i64),
                        HybridTime(take_u64(bytes)?),
                    ))
                };
                SystemCommand::Expire((0..n).map(|_| lease(bytes)).collect::<Option<_>>()?)
            }
            7 => SystemCommand::Digest {
                index: Index(take_u64(bytes)?),
                digest: take_u64(bytes)?,
            },
            8 => SystemCommand::Refuse(SystemRefusal::from_status(take_u16(bytes)?)?),
            9 => SystemCommand::Raise(take_u16(bytes)?),
            _ => return None,
        };
        bytes.is_empty().then_some(command)
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    let text = &text.as_bytes()[..text.len().min(MEMBER_TEXT_BYTES_MAX)];
    out.put_u16_le(text.len() as u16);
    out.put_slice(text);
}

fn put_texts(out: &mut BytesMut, texts: &[String]) {
    let texts = &texts[..texts.len().min(MEMBER_URLS_MAX)];
    out.put_u8(texts.len() as u8);
    for text in texts {
        put_text(out, text);
    }
}

fn take_u8(bytes: &mut &[u8]) -> Option<u8> {
    bytes.try_get_u8().ok()
}

fn take_u16(bytes: &mut &[u8]) -> Option<u16> {
    bytes.try_get_u16_le().ok()
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    bytes.try_get_u32_le().ok()
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    bytes.try_get_u64_le().ok()
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::from(take_u16(bytes)?);
    if length > MEMBER_TEXT_BYTES_MAX {
        return None;
    }
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

fn take_texts(bytes: &mut &[u8]) -> Option<Vec<String>> {
    let n = usize::from(take_u8(bytes)?);
    if n > MEMBER_URLS_MAX {
        return None;
    }
    (0..n).map(|_| take_text(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<SystemCommand> {
        let urls = vec![
            "http://127.0.0.1:2380".to_string(),
            "http://[::1]:2380".to_string(),
        ];
        let member = MemberId(0x8e9e_05c5_2164_694d);
        vec![
            SystemCommand::Member(MemberChange::Add {
                member,
                peer_urls: urls.clone(),
                is_learner: true,
            }),
            SystemCommand::Member(MemberChange::Promote { member }),
            SystemCommand::Member(MemberChange::Remove { member }),
            SystemCommand::Member(MemberChange::Update {
                member,
                peer_urls: urls.clone(),
            }),
            SystemCommand::Member(MemberChange::Publish {
                member,
                name: "n1".to_string(),
                client_urls: urls,
            }),
            SystemCommand::Expire(vec![
                (LeaseId(7), HybridTime(9)),
                (LeaseId(8), HybridTime(1)),
            ]),
            SystemCommand::Digest {
                index: Index(5),
                digest: 6,
            },
            SystemCommand::Refuse(SystemRefusal::LearnerNotReady),
            SystemCommand::Raise(3),
        ]
    }

    #[test]
    fn commands_come_back_as_they_went() {
        for command in samples() {
            assert_eq!(SystemCommand::decode(&command.encode()), Some(command));
        }
    }

    #[test]
    fn cut_or_lengthened_commands_are_refused() {
        for command in samples() {
            let bytes = command.encode();
            for end in 0..bytes.len() {
                assert_eq!(
                    SystemCommand::decode(&bytes[..end]),
                    None,
                    "{command:?} cut at {end}"
                );
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(SystemCommand::decode(&longer), None);
        }
    }

    #[test]
    fn every_refusal_has_a_status_of_its_own() {
        for refusal in SystemRefusal::ALL {
            assert_eq!(SystemRefusal::from_status(refusal as u16), Some(refusal));
        }
    }
}
