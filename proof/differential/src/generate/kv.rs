//! Ranges, puts, deletes, compactions.

use super::{choice, extreme, key, lease, range, revision, small, value};
use crate::marks::{COMPACTED, NOW};
use crate::operation::{Ask, Body, Operation};
use crate::proto::etcdserverpb as pb;
use base::Rng;
use prost::Message;

/// One request to the `KV` service.
pub(super) fn operation(rng: &mut Rng) -> Operation {
    Operation::Ask(match rng.below(100) {
        0..40 => Ask::new("KV/Range", &range_request(rng)),
        40..75 => Ask::new("KV/Put", &put(rng)),
        75..92 => Ask::new("KV/DeleteRange", &delete(rng)),
        92..95 => Ask::new("KV/Compact", &compact(rng)),
        _ => Ask::new("KV/Range", &everything()),
    })
}

pub(super) fn range_request(rng: &mut Rng) -> pb::RangeRequest {
    let (key, range_end) = range(rng);
    let mut request = pb::RangeRequest {
        key,
        range_end,
        revision: revision(rng),
        serializable: rng.one_in(3),
        keys_only: rng.one_in(8),
        count_only: rng.one_in(10),
        ..Default::default()
    };
    if rng.one_in(3) {
        request.limit = match rng.below(12) {
            0 => extreme(rng),
            1 => -1,
            _ => small(rng, 5),
        };
    }
    if rng.one_in(3) {
        request.sort_order = choice(rng, 3);
        request.sort_target = choice(rng, 5);
    }
    if rng.one_in(5) {
        request.min_mod_revision = revision(rng);
        request.max_mod_revision = revision(rng);
    }
    if rng.one_in(5) {
        request.min_create_revision = revision(rng);
        request.max_create_revision = revision(rng);
    }
    request
}

/// A range that is answered in parts.
pub(super) fn stream(rng: &mut Rng) -> Operation {
    Operation::RangeStream {
        caller: None,
        message: range_request(rng).encode_to_vec(),
    }
}

pub(super) fn everything() -> pb::RangeRequest {
    pb::RangeRequest {
        key: vec![0],
        range_end: vec![0],
        ..Default::default()
    }
}

pub(super) fn put(rng: &mut Rng) -> pb::PutRequest {
    let (ignore_value, ignore_lease) = (rng.one_in(10), rng.one_in(10));
    pb::PutRequest {
        key: key(rng),
        value: if ignore_value && !rng.one_in(6) {
            Vec::new()
        } else {
            value(rng)
        },
        lease: if rng.one_in(4) { lease::any(rng) } else { 0 },
        prev_kv: rng.one_in(3),
        ignore_value,
        ignore_lease,
    }
}

pub(super) fn delete(rng: &mut Rng) -> pb::DeleteRangeRequest {
    // A world that is always empty shows little.
    let (key, range_end) = match rng.one_in(4) {
        true => range(rng),
        false => (key(rng), Vec::new()),
    };
    pb::DeleteRangeRequest {
        key,
        range_end,
        prev_kv: rng.one_in(3),
    }
}

fn compact(rng: &mut Rng) -> pb::CompactionRequest {
    pb::CompactionRequest {
        revision: match rng.below(20) {
            0 => extreme(rng),
            1 => 0,
            2 => NOW + small(rng, 3),
            3..6 => COMPACTED + small(rng, 3) - 1,
            _ => NOW - small(rng, 40),
        },
        physical: rng.one_in(2),
    }
}

/// Keys hang on leases whose number the client chose.
pub(super) fn leave_named_leases(operation: &mut Operation) {
    let ask = match operation {
        Operation::Ask(ask) => ask,
        Operation::Locks(contest) | Operation::Election(contest) => {
            contest.leaseless = false;
            return;
        }
        _ => return,
    };
    let (Body::Template(bytes) | Body::Raw(bytes)) = &mut ask.body;
    match ask.method {
        "KV/Put" => {
            if let Ok(mut request) = pb::PutRequest::decode(bytes.as_slice())
                && request.lease >= lease::NAMED
            {
                request.lease = lease::CHOSEN;
                *bytes = request.encode_to_vec();
            }
        }
        "KV/Txn" => {
            if let Ok(mut request) = pb::TxnRequest::decode(bytes.as_slice())
                && txn_leaves_named(&mut request)
            {
                *bytes = request.encode_to_vec();
            }
        }
        _ => {}
    }
}

fn txn_leaves_named(txn: &mut pb::TxnRequest) -> bool {
    use pb::request_op::Request;
    let mut has_changed = false;
    for operation in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut operation.request {
            Some(Request::RequestPut(put)) if put.lease >= lease::NAMED => {
                put.lease = lease::CHOSEN;
                has_changed = true;
            }
            Some(Request::RequestTxn(nested)) => has_changed |= txn_leaves_named(nested),
            _ => {}
        }
    }
    has_changed
}

/// A range of the member's own state becomes one of everybody's.
pub(super) fn make_linearizable(operation: &mut Operation) {
    let Operation::Ask(ask) = operation else {
        return;
    };
    match (ask.method, &mut ask.body) {
        ("KV/Range", Body::Template(bytes)) => {
            if let Ok(mut request) = pb::RangeRequest::decode(bytes.as_slice()) {
                request.serializable = false;
                *bytes = request.encode_to_vec();
            }
        }
        ("KV/Txn", Body::Template(bytes)) => {
            if let Ok(mut request) = pb::TxnRequest::decode(bytes.as_slice()) {
                txn_linearizable(&mut request);
                *bytes = request.encode_to_vec();
            }
        }
        _ => {}
    }
}

fn txn_linearizable(txn: &mut pb::TxnRequest) {
    use pb::request_op::Request;
    for operation in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut operation.request {
            Some(Request::RequestRange(range)) => range.serializable = false,
            Some(Request::RequestTxn(nested)) => txn_linearizable(nested),
            _ => {}
        }
    }
}
