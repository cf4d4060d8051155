//! Answers: one value each, written as protobuf or as JSON.

use crate::plan::Encoding;
use crate::times;
use api::{SessionToken, proto};
use base::{ClusterId, MemberId, Revision, Term};
use bytes::Bytes;
use prost::Message;
use serde::Serialize;
use std::time::Duration;
use store::State;

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderParts {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member that answers.
    pub member: MemberId,
    /// The term that it knows.
    pub term: Term,
}

/// How fresh an answer is, and how that was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Freshness {
    /// The level that was given.
    pub level: proto::Level,
    /// How.
    pub how: proto::How,
    /// By how much the state can be behind; nothing when nobody knows.
    pub staleness: Option<Duration>,
}

impl Freshness {
    /// Of what went through the log.
    pub const LOG: Freshness = Freshness {
        level: proto::Level::Linearizable,
        how: proto::How::Log,
        staleness: None,
    };

    /// Of a stream: this member's own state, as it changes.
    pub const LOCAL: Freshness = Freshness {
        level: proto::Level::Sequential,
        how: proto::How::Local,
        staleness: None,
    };
}

/// The header of an answer that is made of `state` as it was at `revision`. Its session token says that `revision` was
/// seen.
pub fn header(
    parts: &HeaderParts,
    fresh: &Freshness,
    state: &State,
    revision: Revision,
) -> proto::Header {
    // A state is of its own time; a write is of the time at which it was written.
    let is_present = revision == state.revision() && fresh.how != proto::How::Log;
    let time = match is_present {
        true => Some(state.time()),
        false => times::time_of(state, revision),
    };
    let staleness = fresh.staleness.map(|it| it.as_millis());
    proto::Header {
        cluster: parts.cluster.0,
        member: parts.member.0,
        term: parts.term.0,
        revision: revision.0,
        time: time.map_or_else(String::new, |time| time.to_rfc3339()),
        level: fresh.level.into(),
        how: fresh.how.into(),
        staleness_ms: staleness.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
        session: SessionToken::new(parts.cluster, revision).to_string(),
    }
}

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident($message:ident),)*) => {
        /// An answer, or a message of a stream.
        #[derive(Clone, PartialEq, Debug)]
        pub enum Reply { $($(#[$doc])* $name(Box<proto::$message>),)* }

        impl Reply {
            /// The bytes that the client gets.
            pub fn encode(&self, encoding: Encoding) -> Bytes {
                match self { $(Reply::$name(message) => encode(&**message, encoding),)* }
            }
        }

        $(impl From<proto::$message> for Reply {
            fn from(message: proto::$message) -> Reply {
                Reply::$name(Box::new(message))
            }
        })*
    };
}

replies! {
    /// One key.
    Get(GetResponse),
    /// Keys in a range.
    Range(RangeResponse),
    /// A key was written.
    Put(PutResponse),
    /// Keys were deleted.
    Delete(DeleteResponse),
    /// What a transaction did.
    Txn(TxnResponse),
    /// History is compacted.
    Compact(CompactResponse),
    /// What happened to keys.
    Watch(WatchResponse),
    /// A lease is granted.
    Grant(GrantResponse),
    /// A lease lives on.
    Renew(RenewResponse),
    /// A lease is over.
    Revoke(RevokeResponse),
    /// How long a lease has left.
    LookLease(LookLeaseResponse),
    /// All leases.
    ListLeases(ListLeasesResponse),
    /// A place was taken.
    Enter(EnterResponse),
    /// Whether a place holds.
    Await(AwaitResponse),
    /// A place that holds.
    Acquire(AcquireResponse),
    /// A place was given up.
    Leave(LeaveResponse),
    /// A leader said something else.
    Proclaim(ProclaimResponse),
    /// Who stands in a line.
    LookQueue(LookQueueResponse),
    /// The tokens hold.
    Check(CheckResponse),
    /// Who holds now.
    Observe(ObserveResponse),
    /// What a member says about itself; the server makes it.
    Status(StatusResponse),
    /// The time; the server makes it.
    Now(NowResponse),
}

/// A message as bytes.
pub(crate) fn encode<M: Message + Serialize>(message: &M, encoding: Encoding) -> Bytes {
    match encoding {
        Encoding::Proto => message.encode_to_vec().into(),
        Encoding::Json => serde_json::to_vec(message)
            .expect("every message has its JSON")
            .into(),
    }
}
