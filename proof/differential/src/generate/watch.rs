//! Messages on a few watch streams.

use super::{extreme, one_of, range, small};
use crate::marks::{COMPACTED, NOW};
use crate::operation::{Ask, Operation};
use crate::proto::etcdserverpb as pb;
use base::Rng;
use pb::watch_request::RequestUnion;
use prost::Message;

/// How many streams there are.
const STREAMS: u64 = 4;

/// One thing done to a stream.
pub(super) fn operation(rng: &mut Rng) -> Operation {
    let stream = rng.below(STREAMS) as u8;
    let union = match rng.below(100) {
        0..50 => RequestUnion::CreateRequest(create(rng)),
        50..85 => RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: id(rng) }),
        85..91 => return Operation::Progress { stream },
        91..93 => return Operation::CloseWatch { stream },
        _ => return super::kv::operation(rng),
    };
    let message = pb::WatchRequest {
        request_union: Some(union),
    };
    Operation::Watch {
        stream,
        caller: None,
        message: message.encode_to_vec(),
    }
}

/// Values so large that the past of a moment does not fit into one message, and watches of it with fragments and
/// without.
pub(super) fn large(rng: &mut Rng) -> Vec<Operation> {
    let put = |key: &[u8], letter| pb::PutRequest {
        key: key.to_vec(),
        value: vec![letter; 400_000],
        ..Default::default()
    };
    let n = 4 + rng.below(4);
    let mut block: Vec<Operation> = (0..n)
        .map(|at| {
            let key = one_of(rng, &[b"a".as_slice(), b"b", b"c"]);
            Operation::Ask(Ask::new("KV/Put", &put(key, b'0' + at as u8)))
        })
        .collect();
    // With the versions before these are more than one message may carry.
    for letter in [b'x', b'y'] {
        let op = |key: &[u8]| pb::RequestOp {
            request: Some(pb::request_op::Request::RequestPut(put(key, letter))),
        };
        let txn = pb::TxnRequest {
            success: [b"a", b"b", b"c"].map(|key| op(key)).to_vec(),
            ..Default::default()
        };
        block.push(Operation::Ask(Ask::new("KV/Txn", &txn)));
    }
    for fragment in [true, false] {
        let create = pb::WatchCreateRequest {
            key: b"a".to_vec(),
            range_end: b"d".to_vec(),
            start_revision: NOW - small(rng, n),
            prev_kv: !rng.one_in(4),
            fragment,
            ..Default::default()
        };
        let message = pb::WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        block.push(Operation::Watch {
            stream: rng.below(STREAMS) as u8,
            caller: None,
            message: message.encode_to_vec(),
        });
    }
    block.push(Operation::Settle);
    // What so large is does not stay.
    for key in [b"a", b"b", b"c"] {
        let delete = pb::DeleteRangeRequest {
            key: key.to_vec(),
            ..Default::default()
        };
        block.push(Operation::Ask(Ask::new("KV/DeleteRange", &delete)));
    }
    block
}

fn id(rng: &mut Rng) -> i64 {
    match rng.below(20) {
        0 => extreme(rng),
        1..4 => 1000 + small(rng, 3),
        _ => small(rng, 8),
    }
}

fn create(rng: &mut Rng) -> pb::WatchCreateRequest {
    let (key, range_end) = range(rng);
    let filters = match rng.below(6) {
        0 => vec![0],
        1 => vec![1],
        2 if rng.one_in(4) => vec![1, 0, 1, 77],
        _ => Vec::new(),
    };
    pb::WatchCreateRequest {
        key,
        range_end,
        start_revision: match rng.below(40) {
            0..24 => 0,
            24..32 => NOW - small(rng, 20),
            32 => NOW + 1,
            33 => NOW + 1 + small(rng, 20),
            34..38 => COMPACTED + small(rng, 4) - 1,
            38 => one_of(rng, &[-1, i64::MIN, i64::MAX]),
            _ => 1,
        },
        progress_notify: rng.one_in(4),
        filters,
        prev_kv: rng.one_in(3),
        watch_id: match rng.below(5) {
            0 => id(rng),
            _ => 0,
        },
        fragment: rng.one_in(4),
    }
}
