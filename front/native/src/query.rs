//! What can be answered from a state alone.

use crate::fault::Fault;
use crate::keys::{Values, key_value, timed};
use crate::queue::{QueueName, Taken};
use crate::reply::{Freshness, HeaderParts, Reply, header};
use crate::request::Request;
use crate::{KEYS_ROOT, LINES_ROOT, apply, fence, times};
use api::proto;
use base::Revision;
use bytes::{BufMut, Bytes, BytesMut};
use clock::HybridTime;
use store::{KeyRange, State};

/// As of when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// The present.
    Now,
    /// As it was at this revision.
    Revision(Revision),
    /// As it was at this time.
    Time(HybridTime),
}

/// A question.
#[derive(Clone, PartialEq, Debug)]
pub enum Query {
    /// One key.
    Get {
        /// Which.
        key: Bytes,
        /// As of when.
        at: At,
    },
    /// Keys in a range.
    Range(RangeQuery),
    /// A transaction that only reads.
    Txn(Box<proto::TxnRequest>),
    /// All leases.
    Leases,
    /// Who stands in a line.
    Line(QueueName),
    /// Whether tokens hold.
    Check(Vec<proto::Fence>),
}

impl Query {
    /// The time that is asked about, when `state` does not reach it yet: more may still be written before it. Whoever puts
    /// [`touch_request`] into the log and asks again gets an answer, if the time is over.
    pub fn is_ahead_of(&self, state: &State) -> Option<HybridTime> {
        let (Query::Get { at, .. } | Query::Range(RangeQuery { at, .. })) = self else {
            return None;
        };
        match at {
            At::Time(time) if *time > state.time() => Some(*time),
            _ => None,
        }
    }
}

/// A request for the log, to [`crate::KEYS`], that changes nothing. Where nobody writes no time passes, and reads as of
/// a time wait for it to pass.
pub fn touch_request() -> Bytes {
    Request::Touch(proto::NowRequest {}).encode()
}

/// A question about a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeQuery {
    /// Which keys.
    pub range: KeyRange,
    /// As of when.
    pub at: At,
    /// At most so many keys; at least 1.
    pub rows_max: u32,
    /// No more keys behind so many bytes.
    pub bytes_max: u64,
    /// From the last to the first.
    pub descending: bool,
    /// Without values.
    pub keys_only: bool,
    /// How many there are, and none of them.
    pub count_only: bool,
}

/// Answers a question from `state`.
///
/// # Errors
/// The revision is compacted or in the future, there is no state of that time, or a token does not hold.
pub fn answer(
    state: &State,
    query: &Query,
    parts: &HeaderParts,
    fresh: &Freshness,
) -> Result<Reply, Fault> {
    let head = |revision| Some(header(parts, fresh, state, revision));
    let now = state.revision();
    match query {
        Query::Get { key, at } => {
            let at = resolve(state, *at)?;
            let found = state.root(KEYS_ROOT).get(key, at)?;
            let kv = found.map(|record| timed(state, key_value(&record, Values::Keep)));
            let header = head(at.unwrap_or(now));
            Ok(proto::GetResponse { header, kv }.into())
        }
        Query::Range(query) => {
            let at = resolve(state, query.at)?;
            let header = head(at.unwrap_or(now));
            Ok(proto::RangeResponse {
                header,
                ..range(state, query, at)?
            }
            .into())
        }
        Query::Txn(request) => {
            let mut answer = apply::txn::read(state, request)?;
            answer.header = head(now);
            time_results(state, &mut answer);
            Ok(answer.into())
        }
        Query::Leases => {
            let line = |lease: store::Lease| proto::LeaseLine {
                lease: lease.id.0,
                ttl_s: lease.ttl_s.max(0) as u64,
                granted: lease.granted.to_rfc3339(),
            };
            Ok(proto::ListLeasesResponse {
                header: head(now),
                leases: state.leases().map(line).collect(),
            }
            .into())
        }
        Query::Line(queue) => {
            let root = state.root(LINES_ROOT);
            let newest = queue.newest_holder(root);
            let places = queue.places(root);
            Ok(proto::LookQueueResponse {
                header: head(now),
                standings: places
                    .map(|taken| {
                        let is_held = taken.token <= newest;
                        standing(state, taken, is_held)
                    })
                    .collect(),
            }
            .into())
        }
        Query::Check(fences) => {
            fence::check_all(state, fences)?;
            Ok(proto::CheckResponse { header: head(now) }.into())
        }
    }
}

/// The revision that is meant; nothing for the present.
fn resolve(state: &State, at: At) -> Result<Option<Revision>, Fault> {
    match at {
        At::Now => Ok(None),
        At::Revision(revision) => Ok(Some(revision)),
        At::Time(time) => times::revision_at(state, time).map(Some),
    }
}

fn range(
    state: &State,
    query: &RangeQuery,
    at: Option<Revision>,
) -> Result<proto::RangeResponse, Fault> {
    let root = state.root(KEYS_ROOT);
    let mut answer = proto::RangeResponse {
        count: root.count(&query.range, at)?,
        ..proto::RangeResponse::default()
    };
    if query.count_only {
        return Ok(answer);
    }
    let values = match query.keys_only {
        true => Values::Drop,
        false => Values::Keep,
    };
    let found = match query.descending {
        true => root.range_descending(&query.range, at)?,
        false => root.range(&query.range, at)?,
    };
    let mut bytes = 0;
    for record in found {
        let is_full = answer.kvs.len() >= query.rows_max as usize || bytes >= query.bytes_max;
        if is_full && let Some(last) = answer.kvs.last() {
            answer.more = true;
            answer.next = match query.descending {
                // The end of the next range, which is excluded.
                true => last.key.clone(),
                false => behind(&last.key),
            };
            break;
        }
        bytes += match values {
            Values::Keep => record.size(),
            Values::Drop => record.key().len() as u64,
        };
        answer.kvs.push(timed(state, key_value(record, values)));
    }
    Ok(answer)
}

/// The first key above `key`.
fn behind(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.put_u8(0);
    next.freeze()
}

/// A place as clients see it.
pub(crate) fn standing(state: &State, taken: Taken, is_held: bool) -> proto::Standing {
    proto::Standing {
        token: taken.token.0,
        is_held,
        lease: taken.lease.0,
        since: times::text_of(state, taken.token),
        ..taken.place
    }
}

/// Puts the times into what a transaction told.
pub(crate) fn time_results(state: &State, answer: &mut proto::TxnResponse) {
    for kv in answer.results.iter_mut().flat_map(|it| &mut it.kvs) {
        *kv = timed(state, std::mem::take(kv));
    }
}
