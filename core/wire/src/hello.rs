//! The handshake: who is there, and in which version we speak.
//!
//! ```text
//!   opener  ── Hello { versions 2..=3, from n1, to n2, "messages" } ──►  listener
//!           ◄── HelloReply: welcome { version } or refused { why } ────
//!           ── messages, or one snapshot … ────────────────────────────►
//! ```
//!
//! Cluster and sender stand in the frame's header. The opener also says whom it means, so that an
//! address that was given to another member is noticed at once.

use crate::take::Take;
use crate::{Origin, WireError};
use base::MemberId;
use bytes::{BufMut, BytesMut};
use std::fmt;
use std::ops::RangeInclusive;

/// The oldest protocol that this build speaks. Version 1, whose lease answers had no epoch and which knew no
/// promises, was never released.
pub const VERSION_MIN: u16 = 2;

/// The newest protocol that this build speaks.
pub const VERSION_MAX: u16 = 3;

/// The protocol whose speakers say which apply versions they know. From apply version 3 on a cluster takes no member
/// that does not speak it.
pub const VERSION_OF_KNOWS: u16 = 3;

/// Bytes of a member's name in a `Hello`.
pub const NAME_BYTES_MAX: usize = 256;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Messages, in both directions.
    Messages,
    /// One snapshot, from the opener.
    Snapshot,
}

/// The first word of whoever opened the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The oldest protocol that the opener speaks.
    pub version_min: u16,
    /// The newest one.
    pub version_max: u16,
    /// What the connection is for.
    pub purpose: Purpose,
    /// Whom the opener means to reach, or nobody when it only knows the address.
    pub to: MemberId,
    /// The opener's name, for logs; at most [`NAME_BYTES_MAX`] bytes.
    pub name: String,
}

/// The answer to a [`Hello`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HelloReply {
    /// Come in.
    Welcome {
        /// The protocol that both speak from now on.
        version: u16,
    },
    /// Stay out; the listener closes.
    Refused(HelloRefusal),
}

/// Why a connection is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HelloRefusal {
    /// The opener belongs to another cluster.
    WrongCluster,
    /// The listener is somebody else than the opener means.
    WrongMember,
    /// No protocol that both speak.
    WrongVersion,
    /// The listener knows that the opener was removed.
    Removed,
    /// The listener has no room for another connection.
    Busy,
}

impl fmt::Display for HelloRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HelloRefusal::WrongCluster => "it belongs to another cluster",
            HelloRefusal::WrongMember => "another member lives at this address",
            HelloRefusal::WrongVersion => "no protocol version in common",
            HelloRefusal::Removed => "this member was removed from the cluster",
            HelloRefusal::Busy => "it has no room for another connection",
        })
    }
}

impl Hello {
    /// A `Hello` of this build.
    pub fn new(purpose: Purpose, to: MemberId, name: &str) -> Hello {
        let mut end = name.len().min(NAME_BYTES_MAX);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            purpose,
            to,
            name: name[..end].to_owned(),
        }
    }

    /// What the listener `own` answers to this `Hello` of `origin`, as far as the two can tell.
    pub fn answer(&self, origin: Origin, own: Origin) -> HelloReply {
        self.answer_within(origin, own, VERSION_MIN..=VERSION_MAX)
    }

    /// The same of a listener that speaks only some of the protocols that this build knows.
    pub fn answer_within(
        &self,
        origin: Origin,
        own: Origin,
        spoken: RangeInclusive<u16>,
    ) -> HelloReply {
        let version = self.version_max.min(*spoken.end());
        if origin.cluster != own.cluster {
            HelloReply::Refused(HelloRefusal::WrongCluster)
        } else if origin.member == own.member || !(self.to.is_none() || self.to == own.member) {
            HelloReply::Refused(HelloRefusal::WrongMember)
        } else if version < self.version_min || version < *spoken.start() {
            HelloReply::Refused(HelloRefusal::WrongVersion)
        } else {
            HelloReply::Welcome { version }
        }
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u16_le(self.version_min);
        out.put_u16_le(self.version_max);
        out.put_u8(match self.purpose {
            Purpose::Messages => 1,
            Purpose::Snapshot => 2,
        });
        out.put_u64_le(self.to.0);
        out.put_u16_le(self.name.len() as u16);
        out.put_slice(self.name.as_bytes());
    }

    pub(crate) fn decode(take: &mut Take) -> Result<Hello, WireError> {
        Ok(Hello {
            version_min: take.u16()?,
            version_max: take.u16()?,
            purpose: match take.u8()? {
                1 => Purpose::Messages,
                2 => Purpose::Snapshot,
                _ => return Err(WireError::Malformed("an unknown purpose")),
            },
            to: MemberId(take.u64()?),
            name: take.text(NAME_BYTES_MAX)?,
        })
    }
}

impl HelloReply {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        let (code, version) = match self {
            HelloReply::Welcome { version } => (0, *version),
            HelloReply::Refused(HelloRefusal::WrongCluster) => (1, 0),
            HelloReply::Refused(HelloRefusal::WrongMember) => (2, 0),
            HelloReply::Refused(HelloRefusal::WrongVersion) => (3, 0),
            HelloReply::Refused(HelloRefusal::Removed) => (4, 0),
            HelloReply::Refused(HelloRefusal::Busy) => (5, 0),
        };
        out.put_u8(code);
        out.put_u16_le(version);
    }

    pub(crate) fn decode(take: &mut Take) -> Result<HelloReply, WireError> {
        let code = take.u8()?;
        let version = take.u16()?;
        Ok(match code {
            0 => HelloReply::Welcome { version },
            1 => HelloReply::Refused(HelloRefusal::WrongCluster),
            2 => HelloReply::Refused(HelloRefusal::WrongMember),
            3 => HelloReply::Refused(HelloRefusal::WrongVersion),
            4 => HelloReply::Refused(HelloRefusal::Removed),
            5 => HelloReply::Refused(HelloRefusal::Busy),
            _ => return Err(WireError::Malformed("an unknown answer")),
        })
    }
}
