//! How fresh reads are: what one asks for, and what the answer says it gave.

use api::{SessionToken, proto};
use std::fmt;
use std::time::Duration;

/// How fresh a read must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Consistency {
    /// As if there were one copy: every write that was acknowledged before the read began is in it.
    #[default]
    Linearizable,
    /// The same promise, kept by the leader alone while clocks run within the bound that the cluster was told.
    Lease,
    /// At most so much behind, in whole milliseconds.
    Bounded(Duration),
    /// Not before what this client has seen: it reads what it wrote and never goes back. A client that has seen nothing
    /// yet reads sequentially.
    Session,
    /// Not before what this token has seen.
    SessionOf(SessionToken),
    /// The asked member's state, now.
    Sequential,
}

/// The level that a read was given.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Level {
    /// The answer does not say.
    Unspecified,
    /// See [`Consistency::Linearizable`].
    Linearizable,
    /// See [`Consistency::Lease`].
    Lease,
    /// See [`Consistency::Bounded`].
    Bounded,
    /// See [`Consistency::Session`].
    Session,
    /// See [`Consistency::Sequential`].
    Sequential,
}

/// How a level was reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum How {
    /// The answer does not say.
    Unspecified,
    /// A majority was asked for this read.
    Quorum,
    /// The leader's lease: nobody was asked for this read.
    Lease,
    /// The member's own state: nobody was asked for this read.
    Local,
    /// It went through the log.
    Log,
}

/// What every answer says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Freshness {
    /// The level that was given.
    pub level: Level,
    /// How it was reached.
    pub how: How,
    /// By how much the state can be behind; nothing when nobody knows.
    pub staleness: Option<Duration>,
    /// The revision of the state that the answer is made of; for writes, the revision that they took.
    pub revision: u64,
    /// The hybrid time of that state, RFC 3339 with a counter; empty when it is not known.
    pub time: String,
    /// Carry it to the next read, anywhere: [`Consistency::SessionOf`] then sees at least this.
    pub token: Option<SessionToken>,
    /// The term of the member that answered.
    pub term: u64,
    /// The member that answered.
    pub member: base::MemberId,
}

impl Consistency {
    /// As the messages say it, for a client that has seen `token`.
    pub(crate) fn message(self, token: Option<SessionToken>) -> proto::Consistency {
        let level = |level: proto::Level| proto::Consistency {
            level: level.into(),
            ..proto::Consistency::default()
        };
        match self {
            Consistency::Linearizable => level(proto::Level::Linearizable),
            Consistency::Lease => level(proto::Level::Lease),
            Consistency::Bounded(bound) => proto::Consistency {
                bound_ms: u64::try_from(bound.as_millis()).unwrap_or(u64::MAX),
                ..level(proto::Level::Bounded)
            },
            Consistency::Session => match token {
                Some(token) => Consistency::SessionOf(token).message(None),
                None => level(proto::Level::Sequential),
            },
            Consistency::SessionOf(token) => proto::Consistency {
                session: token.to_string(),
                ..level(proto::Level::Session)
            },
            Consistency::Sequential => level(proto::Level::Sequential),
        }
    }
}

impl Freshness {
    pub(crate) fn of(header: proto::Header) -> Freshness {
        Freshness {
            level: match header.level() {
                proto::Level::Unspecified => Level::Unspecified,
                proto::Level::Linearizable => Level::Linearizable,
                proto::Level::Lease => Level::Lease,
                proto::Level::Bounded => Level::Bounded,
                proto::Level::Session => Level::Session,
                proto::Level::Sequential => Level::Sequential,
            },
            how: match header.how() {
                proto::How::Unspecified => How::Unspecified,
                proto::How::Quorum => How::Quorum,
                proto::How::Lease => How::Lease,
                proto::How::Local => How::Local,
                proto::How::Log => How::Log,
            },
            staleness: header.staleness_ms.map(Duration::from_millis),
            revision: header.revision,
            token: header.session.parse().ok(),
            term: header.term,
            member: base::MemberId(header.member),
            time: header.time,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Unspecified => "unspecified",
            Level::Linearizable => "linearizable",
            Level::Lease => "lease",
            Level::Bounded => "bounded",
            Level::Session => "session",
            Level::Sequential => "sequential",
        })
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            How::Unspecified => "unspecified",
            How::Quorum => "quorum",
            How::Lease => "lease",
            How::Local => "local",
            How::Log => "log",
        })
    }
}

impl fmt::Display for Freshness {
    /// `linearizable by quorum at revision 12`, and how far behind it can be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} by {} at revision {}",
            self.level, self.how, self.revision
        )?;
        match self.staleness {
            Some(behind) => write!(f, ", at most {} ms behind", behind.as_millis()),
            None => Ok(()),
        }
    }
}
