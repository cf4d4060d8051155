//! What clients ask, as etcd's bytes, and what they are answered, read back.
//!
//! Requests go through etcd's own front as a real client's do: encoded by prost, planned by
//! `etcd::Session`, answered in bytes. So the front's parsing and encoding are judged too.

use base::{LeaseId, Revision};
use bytes::Bytes;
use checker::{Answer, Compare, End, Key, Level, Relation, Request, Row, Span, Target};
use etcd::Method;
use etcd::proto::etcdserverpb as pb;
use etcd::proto::mvccpb;
use prost::Message;

/// The method and the bytes of a request. Renewals have none: they are a stream of their own.
pub fn encode(request: &Request) -> Option<(Method, Bytes)> {
    Some(match request {
        Request::Range { .. } => (Method::Range, bytes(&range(request)?)),
        Request::Put { .. } => (Method::Put, bytes(&put(request)?)),
        Request::Delete { .. } => (Method::DeleteRange, bytes(&delete(request)?)),
        Request::Txn {
            compares,
            then,
            otherwise,
        } => {
            let ops = |requests: &[Request]| requests.iter().filter_map(op).collect();
            let message = pb::TxnRequest {
                compare: compares.iter().map(compare).collect(),
                success: ops(then),
                failure: ops(otherwise),
            };
            (Method::Txn, bytes(&message))
        }
        Request::Compact { revision } => {
            let message = pb::CompactionRequest {
                revision: revision.0 as i64,
                ..Default::default()
            };
            (Method::Compact, bytes(&message))
        }
        Request::Grant { lease, ttl } => {
            let ttl = (*ttl / 1_000_000_000) as i64;
            (
                Method::LeaseGrant,
                bytes(&pb::LeaseGrantRequest { ttl, id: lease.0 }),
            )
        }
        Request::Revoke { lease } => (
            Method::LeaseRevoke,
            bytes(&pb::LeaseRevokeRequest { id: lease.0 }),
        ),
        Request::Renew { .. } => return None,
    })
}

fn bytes(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

fn op(request: &Request) -> Option<pb::RequestOp> {
    use pb::request_op::Request as Op;
    let request = match request {
        Request::Range { .. } => Op::RequestRange(range(request)?),
        Request::Put { .. } => Op::RequestPut(put(request)?),
        Request::Delete { .. } => Op::RequestDeleteRange(delete(request)?),
        _ => return None,
    };
    Some(pb::RequestOp {
        request: Some(request),
    })
}

/// etcd's interval: an empty end is one key, a zero byte is "no end".
pub fn interval(span: &Span) -> (Bytes, Bytes) {
    // The empty key is not a key; "from the first" begins at the zero byte.
    let first = if span.first.is_empty() {
        vec![0]
    } else {
        span.first.clone()
    };
    let end = match &span.end {
        End::Single => Vec::new(),
        End::Before(end) => end.clone(),
        End::Unbounded => vec![0],
    };
    (first.into(), end.into())
}

fn range(request: &Request) -> Option<pb::RangeRequest> {
    let Request::Range { span, at, level } = request else {
        return None;
    };
    let (key, range_end) = interval(span);
    Some(pb::RangeRequest {
        key,
        range_end,
        revision: at.map_or(0, |at| at.0 as i64),
        serializable: *level == Level::Serializable,
        ..Default::default()
    })
}

fn put(request: &Request) -> Option<pb::PutRequest> {
    let Request::Put { key, value, lease } = request else {
        return None;
    };
    Some(pb::PutRequest {
        key: key.clone().into(),
        value: value.clone().into(),
        lease: lease.0,
        prev_kv: true,
        ..Default::default()
    })
}

fn delete(request: &Request) -> Option<pb::DeleteRangeRequest> {
    let Request::Delete { span } = request else {
        return None;
    };
    let (key, range_end) = interval(span);
    Some(pb::DeleteRangeRequest {
        key,
        range_end,
        prev_kv: true,
    })
}

fn compare(compare: &Compare) -> pb::Compare {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion};
    let (target, union) = match &compare.target {
        Target::Value(value) => (
            CompareTarget::Value,
            TargetUnion::Value(value.clone().into()),
        ),
        Target::Modified(r) => (CompareTarget::Mod, TargetUnion::ModRevision(r.0 as i64)),
        Target::Create(r) => (
            CompareTarget::Create,
            TargetUnion::CreateRevision(r.0 as i64),
        ),
        Target::Version(n) => (CompareTarget::Version, TargetUnion::Version(*n as i64)),
    };
    let result = match compare.relation {
        Relation::Equal => CompareResult::Equal,
        Relation::NotEqual => CompareResult::NotEqual,
        Relation::Greater => CompareResult::Greater,
        Relation::Less => CompareResult::Less,
    };
    pb::Compare {
        result: result as i32,
        target: target as i32,
        key: compare.key.clone().into(),
        target_union: Some(union),
        ..Default::default()
    }
}

/// Reads an answer to `request`: the header's revision and what it says. An error is a bug of the front.
pub fn decode(request: &Request, body: &[u8]) -> Result<(Revision, Answer), String> {
    let malformed = |error: prost::DecodeError| format!("malformed answer to {request}: {error}");
    let (header, answer) = match request {
        Request::Range { .. } => {
            let message = pb::RangeResponse::decode(body).map_err(malformed)?;
            (message.header, rows_of(message)?)
        }
        Request::Put { .. } => {
            let message = pb::PutResponse::decode(body).map_err(malformed)?;
            (
                message.header,
                Answer::Put {
                    previous: Some(message.prev_kv.map(row)),
                },
            )
        }
        Request::Delete { .. } => {
            let message = pb::DeleteRangeResponse::decode(body).map_err(malformed)?;
            (message.header, deleted(message))
        }
        Request::Txn { .. } => {
            let message = pb::TxnResponse::decode(body).map_err(malformed)?;
            let answers: Result<Vec<Answer>, String> =
                message.responses.into_iter().map(response_op).collect();
            (
                message.header,
                Answer::Txn {
                    succeeded: message.succeeded,
                    answers: answers?,
                },
            )
        }
        Request::Compact { .. } => (
            pb::CompactionResponse::decode(body)
                .map_err(malformed)?
                .header,
            Answer::Done,
        ),
        Request::Grant { lease, ttl } => {
            let message = pb::LeaseGrantResponse::decode(body).map_err(malformed)?;
            if message.id != lease.0 || message.ttl as u64 != *ttl / 1_000_000_000 {
                return Err(format!(
                    "{request} was answered with another lease: {message:?}"
                ));
            }
            (message.header, Answer::Done)
        }
        Request::Revoke { .. } => (
            pb::LeaseRevokeResponse::decode(body)
                .map_err(malformed)?
                .header,
            Answer::Done,
        ),
        Request::Renew { .. } => return Err("renewals have no unary answer".to_owned()),
    };
    let revision = header.map_or(0, |header| header.revision);
    if revision <= 0 {
        return Err(format!("an answer to {request} without a revision"));
    }
    Ok((Revision(revision as u64), answer))
}

fn rows_of(message: pb::RangeResponse) -> Result<Answer, String> {
    if message.count as usize != message.kvs.len() || message.more {
        let n = message.kvs.len();
        return Err(format!(
            "{n} rows, count {}, more {}",
            message.count, message.more
        ));
    }
    Ok(Answer::Rows(message.kvs.into_iter().map(row).collect()))
}

fn deleted(message: pb::DeleteRangeResponse) -> Answer {
    let previous = message.prev_kvs.into_iter().map(row).collect();
    Answer::Deleted {
        count: message.deleted as u64,
        previous: Some(previous),
    }
}

fn response_op(op: pb::ResponseOp) -> Result<Answer, String> {
    use pb::response_op::Response;
    match op.response {
        Some(Response::ResponseRange(message)) => rows_of(message),
        Some(Response::ResponsePut(message)) => Ok(Answer::Put {
            previous: Some(message.prev_kv.map(row)),
        }),
        Some(Response::ResponseDeleteRange(message)) => Ok(deleted(message)),
        other => Err(format!("unexpected answer inside a transaction: {other:?}")),
    }
}

/// A row as the judges know it.
pub fn row(kv: mvccpb::KeyValue) -> Row {
    Row {
        key: Key::from(kv.key),
        value: kv.value.into(),
        create: Revision(kv.create_revision as u64),
        modified: Revision(kv.mod_revision as u64),
        version: kv.version as u64,
        lease: LeaseId(kv.lease),
    }
}

/// A stored version as the judges know it.
pub fn row_of_record(record: &store::Record) -> Row {
    if record.is_tombstone() {
        return checker::witness::tombstone(record.key(), record.mod_revision());
    }
    Row {
        key: record.key().to_vec(),
        value: record.value().to_vec(),
        create: record.create_revision(),
        modified: record.mod_revision(),
        version: record.version(),
        lease: record.lease(),
    }
}
