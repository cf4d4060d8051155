//! Who the members are: unversioned records of [`Table`] 1, one for each member, and of
//! table 2, one for each that was removed.
//!
//! The *membership* (who votes) is decided by the log and lives in `State::membership`; these records
//! say what people and clients want to know about each member. Both are replicated, and nothing else
//! is consulted for either.

use crate::codec::{DecodeError, Reader, put_slice};
use crate::state::{State, Table};
use crate::txn::WriteTxn;
use base::{MemberId, Membership, limits};
use bytes::Bytes;

/// The table of member records.
pub const MEMBERS: Table = Table(1);

/// The table of ids that were members once, with empty records.
pub const REMOVED: Table = Table(2);

/// One member, as people and clients see it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Its name; empty until it has started and told.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// Whether it only listens.
    pub is_learner: bool,
}

const FORMAT_VERSION: u8 = 1;

impl Member {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT_VERSION, u8::from(self.is_learner)];
        put_slice(&mut out, self.name.as_bytes());
        for urls in [&self.peer_urls, &self.client_urls] {
            out.extend_from_slice(&(urls.len() as u32).to_le_bytes());
            for url in urls {
                put_slice(&mut out, url.as_bytes());
            }
        }
        out
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Member, DecodeError> {
        let id = key
            .try_into()
            .map_err(|_| DecodeError::OutOfBounds("a member's id"))?;
        let mut reader = Reader::new(value, "a member");
        let found = reader.u8()?;
        if found != FORMAT_VERSION {
            return Err(DecodeError::Version {
                found: found.into(),
                known: FORMAT_VERSION.into(),
            });
        }
        let member = Member {
            id: MemberId(u64::from_be_bytes(id)),
            is_learner: reader.flag()?,
            name: reader.text()?,
            peer_urls: decode_urls(&mut reader)?,
            client_urls: decode_urls(&mut reader)?,
        };
        reader.finish()?;
        Ok(member)
    }
}

fn decode_urls(reader: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    let n = reader.u32()? as usize;
    let mut urls = Vec::with_capacity(n.min(reader.left() / 4));
    for _ in 0..n {
        urls.push(reader.text()?);
    }
    Ok(urls)
}

impl State {
    /// All members, ascending by id.
    pub fn members(&self) -> Vec<Member> {
        self.records(MEMBERS)
            .filter_map(|(key, value)| Member::decode(&key, &value).ok())
            .collect()
    }

    /// Whether `id` was a member and has been removed. Its id is never used again: it would come back
    /// with the votes of its former life.
    pub fn was_removed(&self, id: MemberId) -> bool {
        self.record(REMOVED, &id.0.to_be_bytes()).is_some()
    }

    /// One member.
    pub fn member(&self, id: MemberId) -> Option<Member> {
        let key = id.0.to_be_bytes();
        Member::decode(&key, &self.record(MEMBERS, &key)?).ok()
    }
}

impl WriteTxn<'_> {
    /// Adds a member or changes what is known of it.
    pub fn member_put(&mut self, member: &Member) {
        let key = member.id.0.to_be_bytes();
        self.record_put(MEMBERS, &key, member.encode().into());
    }

    /// Forgets a member, but for the fact that it was removed; false when it was not known.
    pub fn member_remove(&mut self, id: MemberId) -> bool {
        let key = id.0.to_be_bytes();
        let known = self.record_delete(MEMBERS, &key).is_some();
        if known {
            self.record_put(REMOVED, &key, Bytes::new());
        }
        known
    }
}

pub(crate) fn encode_membership(membership: &Membership, out: &mut Vec<u8>) {
    out.push(u8::from(membership.auto_leave));
    for members in [
        &membership.voters,
        &membership.voters_outgoing,
        &membership.learners,
        &membership.learners_next,
    ] {
        out.extend_from_slice(&(members.len() as u32).to_le_bytes());
        for member in members {
            out.extend_from_slice(&member.0.to_le_bytes());
        }
    }
}

pub(crate) fn decode_membership(reader: &mut Reader<'_>) -> Result<Membership, DecodeError> {
    let mut membership = Membership {
        auto_leave: reader.flag()?,
        ..Membership::default()
    };
    for members in [
        &mut membership.voters,
        &mut membership.voters_outgoing,
        &mut membership.learners,
        &mut membership.learners_next,
    ] {
        let n = reader.u32()? as usize;
        if n > limits::MEMBERS_MAX {
            return Err(DecodeError::OutOfBounds("the number of members"));
        }
        for _ in 0..n {
            members.push(MemberId(reader.u64()?));
        }
    }
    Ok(membership)
}
