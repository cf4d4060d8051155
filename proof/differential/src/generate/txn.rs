//! Transactions: every comparison, both branches, nested, doubled, too many, empty.

use super::{choice, kv, lease, range, revision, small, value};
use crate::operation::{Ask, Operation};
use crate::proto::etcdserverpb as pb;
use base::Rng;
use pb::compare::TargetUnion;
use pb::request_op::Request;

/// etcd's limit of operations in a transaction.
const OPERATIONS_MAX: usize = 128;
const DEPTH_MAX: u32 = 3;

/// One transaction.
pub(super) fn operation(rng: &mut Rng) -> Operation {
    Operation::Ask(Ask::new("KV/Txn", &survivable(txn(rng, 0))))
}

/// A put that keeps what a delete of the same transaction has taken ends etcd 3.6.16 ("unexpected error during txn
/// with writes"): where there is a delete, nothing is kept.
fn survivable(mut txn: pb::TxnRequest) -> pb::TxnRequest {
    if has_delete(&txn) {
        keep_nothing(&mut txn);
    }
    txn
}

fn has_delete(txn: &pb::TxnRequest) -> bool {
    txn.success
        .iter()
        .chain(&txn.failure)
        .any(|op| match &op.request {
            Some(Request::RequestDeleteRange(_)) => true,
            Some(Request::RequestTxn(nested)) => has_delete(nested),
            _ => false,
        })
}

fn keep_nothing(txn: &mut pb::TxnRequest) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Request::RequestPut(put)) => (put.ignore_value, put.ignore_lease) = (false, false),
            Some(Request::RequestTxn(nested)) => keep_nothing(nested),
            _ => {}
        }
    }
}

/// One transaction with none inside: while there is no space, etcd lets puts in nested ones through and ours does
/// not, and then the two would hold different keys.
pub(super) fn flat(rng: &mut Rng) -> Operation {
    Operation::Ask(Ask::new("KV/Txn", &survivable(txn(rng, DEPTH_MAX))))
}

fn txn(rng: &mut Rng, depth: u32) -> pb::TxnRequest {
    if rng.one_in(300) {
        return too_long(rng);
    }
    let n = |rng: &mut Rng, end: u64| 0..rng.below(end);
    pb::TxnRequest {
        compare: n(rng, 4).map(|_| compare(rng)).collect(),
        success: n(rng, 4).map(|_| step(rng, depth)).collect(),
        failure: n(rng, 4).map(|_| step(rng, depth)).collect(),
    }
}

/// Around the limit, at one level or over two.
fn too_long(rng: &mut Rng) -> pb::TxnRequest {
    let n = OPERATIONS_MAX - 1 + rng.below(3) as usize;
    let ranges = |n: usize, rng: &mut Rng| -> Vec<pb::RequestOp> {
        (0..n)
            .map(|_| op(Request::RequestRange(kv::range_request(rng))))
            .collect()
    };
    match rng.below(3) {
        0 => pb::TxnRequest {
            success: ranges(n, rng),
            ..Default::default()
        },
        1 => pb::TxnRequest {
            compare: (0..n).map(|_| compare(rng)).collect(),
            ..Default::default()
        },
        _ => {
            let nested = pb::TxnRequest {
                failure: ranges(n - 3, rng),
                ..Default::default()
            };
            let mut success = ranges(2, rng);
            success.push(op(Request::RequestTxn(nested)));
            pb::TxnRequest {
                success,
                ..Default::default()
            }
        }
    }
}

fn op(request: Request) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(request),
    }
}

fn step(rng: &mut Rng, depth: u32) -> pb::RequestOp {
    match rng.below(100) {
        0 => pb::RequestOp { request: None },
        1..36 => {
            let mut range = kv::range_request(rng);
            // A revision that cannot be read refuses the whole transaction: not too often.
            if !rng.one_in(4) {
                range.revision = 0;
            }
            op(Request::RequestRange(range))
        }
        36..70 => op(Request::RequestPut(kv::put(rng))),
        70..86 => op(Request::RequestDeleteRange(kv::delete(rng))),
        _ if depth < DEPTH_MAX => op(Request::RequestTxn(txn(rng, depth + 1))),
        _ => op(Request::RequestPut(kv::put(rng))),
    }
}

fn compare(rng: &mut Rng) -> pb::Compare {
    let (key, range_end) = match rng.one_in(3) {
        true => range(rng),
        false => (super::key(rng), Vec::new()),
    };
    let target = choice(rng, 5);
    // The field is mostly that of the target, rarely another or none.
    let union = match rng.below(40) {
        0 => None,
        1 => Some(TargetUnion::Value(value(rng))),
        2 => Some(TargetUnion::Version(small(rng, 3))),
        _ => Some(match target {
            0 => TargetUnion::Version(small(rng, 4) - i64::from(rng.one_in(20))),
            1 => TargetUnion::CreateRevision(revision(rng)),
            2 => TargetUnion::ModRevision(revision(rng)),
            3 => TargetUnion::Value(value(rng)),
            _ => TargetUnion::Lease(lease::any(rng)),
        }),
    };
    let mut result = choice(rng, 4);
    // Which of two numbers that a server chose is the greater one is chance: only whether they are the same.
    if let Some(TargetUnion::Lease(lease::NAMED..)) = union
        && matches!(result, 1 | 2)
    {
        result = if result == 1 { 0 } else { 3 };
    }
    pb::Compare {
        result,
        target,
        key,
        target_union: union,
        range_end,
    }
}
