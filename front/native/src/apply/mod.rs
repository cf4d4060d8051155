//! The apply half: decides requests from the log, on every member alike.
//!
//! **Validate, then write.** Each request is decided completely before its first write, so a refusal leaves nothing
//! behind and takes no revision. Nothing here knows a clock, a configuration or which member it runs on; limits that
//! are configured were checked by the session half, before the request entered the log. Bytes that make no sense are a
//! refusal, never a panic.
//!
//! What comes out is the API's answer without its header and without times: the member that answers puts them in. A
//! refusal carries what is to be said about it ([`crate::Refused`]).
//!
//! ```text
//!   kv.rs      puts, deletes, leases, compaction
//!   txn.rs     transactions
//!   lines.rs   places in lines
//! ```

mod kv;
mod lines;
pub(crate) mod txn;

pub(crate) use lines::check_enter;

use crate::refusal::{Refusal, Refused};
use crate::request::Request;
use prost::Message;
use store::command::{DialectId, Identity};
use store::{Dialect, Outcome, RootId, Stamp, State, WriteTxn};

/// Bytes of what was there before that one answer tells. Members must agree on it: it is no configuration.
pub(crate) const RESULT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Rows of a range in a transaction that says no limit.
pub(crate) const RESULT_ROWS_MAX: u32 = 10_000;

/// From this apply version on the history of lines can be forgotten.
pub(crate) const COMPACT_LINES_VERSION: u16 = 4;

/// The largest time to live of a lease, in seconds: that of etcd, since leases are shared.
pub(crate) const LEASE_TTL_MAX_S: u64 = 9_000_000_000;

/// The rules of keys and leases as a dialect of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeyDialect;

/// The rules of locks, semaphores, elections and barriers as a dialect of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LineDialect;

impl Dialect for KeyDialect {
    fn id(&self) -> DialectId {
        crate::KEYS
    }

    fn root(&self) -> RootId {
        crate::KEYS_ROOT
    }

    fn apply(&self, txn: &mut WriteTxn<'_>, request: &[u8], _: &Stamp) -> Outcome {
        outcome(decode(request).and_then(|request| match request {
            Request::Put(request) => kv::put(txn, &request).map(|it| it.encode_to_vec()),
            Request::Delete(request) => kv::delete(txn, &request).map(|it| it.encode_to_vec()),
            Request::Txn(request) => txn::decide(txn, &request).map(|it| it.encode_to_vec()),
            Request::Compact(request) => kv::compact(txn, &request).map(|it| it.encode_to_vec()),
            Request::Grant(request) => kv::grant(txn, &request).map(|it| it.encode_to_vec()),
            Request::Revoke(request) => kv::revoke(txn, &request).map(|it| it.encode_to_vec()),
            Request::Touch(_) => Ok(Vec::new()),
            Request::Enter(_)
            | Request::Leave(_)
            | Request::Proclaim(_)
            | Request::CompactLines(_) => Err(Refusal::Malformed.into()),
        }))
    }

    /// Everybody may: whoever has users wraps these rules.
    fn admit(&self, _: &State, _: Option<&Identity>, _: &[u8]) -> Result<(), Outcome> {
        Ok(())
    }
}

impl Dialect for LineDialect {
    fn id(&self) -> DialectId {
        crate::LINES
    }

    fn root(&self) -> RootId {
        crate::LINES_ROOT
    }

    fn apply(&self, txn: &mut WriteTxn<'_>, request: &[u8], _: &Stamp) -> Outcome {
        outcome(decode(request).and_then(|request| match request {
            Request::Enter(request) => lines::enter(txn, &request).map(|it| it.encode_to_vec()),
            Request::Leave(request) => lines::leave(txn, &request).map(|it| it.encode_to_vec()),
            Request::Proclaim(request) => {
                lines::proclaim(txn, request).map(|it| it.encode_to_vec())
            }
            // A former build knows no such request, and refuses it with this word.
            Request::CompactLines(request)
                if txn.state().apply_version() >= COMPACT_LINES_VERSION =>
            {
                kv::compact(txn, &request).map(|it| it.encode_to_vec())
            }
            _ => Err(Refusal::Malformed.into()),
        }))
    }

    /// Everybody may: whoever has users wraps these rules.
    fn admit(&self, _: &State, _: Option<&Identity>, _: &[u8]) -> Result<(), Outcome> {
        Ok(())
    }
}

fn decode(request: &[u8]) -> Result<Request, Refused> {
    Ok(Request::decode(request)?)
}

fn outcome(decided: Result<Vec<u8>, Refused>) -> Outcome {
    match decided {
        Ok(body) => Outcome::done(body),
        Err(refused) => refused.outcome(),
    }
}
