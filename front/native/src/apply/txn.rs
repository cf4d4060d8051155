//! Transactions: fences, then the question, then one of two lists of operations.
//!
//! ```text
//!   1  shape      both lists, whichever will be taken: so what is refused does not depend on the state
//!   2  fences     a token that does not hold refuses the whole
//!   3  question   the conditions choose the list
//!   4  check      its puts, and what its previous values weigh, against the state before
//!   5  execute    in order; a range sees what those before it wrote
//! ```
//!
//! Nothing is written before 5, and nothing in 5 can fail. A list writes each key at most once, as in etcd, so what an
//! operation finds before it is what was there before the transaction, and a watch sees one event for each key.

use super::kv::{bytes_in, check_put};
use super::{RESULT_BYTES_MAX, RESULT_ROWS_MAX};
use crate::keys::{Values, key_value, range_of};
use crate::refusal::{Refusal, Refused};
use crate::{condition, fence};
use api::proto::{
    KeyValue, Operation, OperationResult, PutOperation, RangeOperation, TxnRequest, TxnResponse,
};
use base::LeaseId;
use bytes::Bytes;
use std::collections::BTreeSet;
use store::{KeyRange, RangeEnd, RootView, State, WriteTxn};

/// One operation, read.
enum Op<'a> {
    Put(&'a PutOperation),
    Delete(KeyRange, bool),
    Range(KeyRange, &'a RangeOperation),
}

fn op_of(operation: &Operation) -> Result<Op<'_>, Refusal> {
    match (&operation.put, &operation.delete, &operation.range) {
        (Some(put), None, None) => Ok(Op::Put(put)),
        (None, Some(delete), None) => {
            Ok(Op::Delete(range_of(delete.keys.as_ref())?, delete.previous))
        }
        (None, None, Some(range)) => Ok(Op::Range(range_of(range.keys.as_ref())?, range)),
        _ => Err(Refusal::BadOperation),
    }
}

/// Whether a transaction makes sense, whatever the state.
///
/// # Errors
/// Keys, conditions, fences or operations make no sense, or a list writes a key twice.
pub(crate) fn check_shape(request: &TxnRequest) -> Result<(), Refusal> {
    let write = request.write.as_ref();
    condition::check_shape(write.map_or(&[], |write| &write.conditions))?;
    fence::check_shape(write.map_or(&[], |write| &write.fences))?;
    check_list(&request.then)?;
    check_list(&request.otherwise)
}

fn check_list(operations: &[Operation]) -> Result<(), Refusal> {
    let mut put: BTreeSet<&Bytes> = BTreeSet::new();
    let mut deleted = Vec::new();
    for operation in operations {
        match op_of(operation)? {
            Op::Put(operation) if operation.key.is_empty() => return Err(Refusal::BadKeys),
            Op::Put(operation) if !put.insert(&operation.key) => {
                return Err(Refusal::WrittenTwice);
            }
            Op::Delete(range, _) => deleted.push(range),
            Op::Put(_) | Op::Range(..) => {}
        }
    }
    let hits = |range: &KeyRange| match &range.end {
        RangeEnd::Single => put.contains(&range.start),
        _ => put
            .range::<&Bytes, _>(&range.start..)
            .next()
            .is_some_and(|key| range.contains(key)),
    };
    match deleted.iter().any(hits) {
        true => Err(Refusal::WrittenTwice),
        false => Ok(()),
    }
}

/// Whether it only reads: then it need not go through the log.
pub(crate) fn is_read_only(request: &TxnRequest) -> bool {
    let mut operations = request.then.iter().chain(&request.otherwise);
    operations.all(|it| it.put.is_none() && it.delete.is_none())
}

/// Answers a transaction that only reads.
pub(crate) fn read(state: &State, request: &TxnRequest) -> Result<TxnResponse, Refused> {
    let root = state.root(crate::KEYS_ROOT);
    check_shape(request)?;
    let (succeeded, operations) = choose(state, root, request)?;
    let mut budget = RESULT_BYTES_MAX;
    let mut results = Vec::with_capacity(operations.len());
    for operation in operations {
        if let Op::Range(range, operation) = op_of(operation)? {
            results.push(read_range(root, &range, operation, &mut budget));
        }
    }
    Ok(TxnResponse {
        header: None,
        succeeded,
        results,
    })
}

fn choose<'r>(
    state: &State,
    root: RootView<'_>,
    request: &'r TxnRequest,
) -> Result<(bool, &'r [Operation]), Refused> {
    let Some(write) = &request.write else {
        return Ok((true, &request.then));
    };
    fence::check_all(state, &write.fences)?;
    Ok(match condition::check(root, &write.conditions) {
        Ok(()) => (true, &request.then),
        Err(_) => (false, &request.otherwise),
    })
}

pub(super) fn decide(txn: &mut WriteTxn<'_>, request: &TxnRequest) -> Result<TxnResponse, Refused> {
    check_shape(request)?;
    let (succeeded, operations) = choose(txn.state(), txn.view(), request)?;
    let ops: Vec<Op<'_>> = operations.iter().map(op_of).collect::<Result<_, _>>()?;
    let mut budget = RESULT_BYTES_MAX;
    for op in &ops {
        if let Op::Put(put) = op {
            check_put(txn, &put.key, put.lease)?;
        }
        let told = match op {
            Op::Put(put) if put.previous => txn.get(&put.key).map_or(0, |record| record.size()),
            Op::Delete(range, true) => bytes_in(txn, range, budget),
            _ => 0,
        };
        budget = budget.checked_sub(told).ok_or(Refusal::PreviousTooLarge)?;
    }
    let results = ops.iter().map(|op| execute(txn, op, &mut budget)).collect();
    Ok(TxnResponse {
        header: None,
        succeeded,
        results,
    })
}

fn execute(txn: &mut WriteTxn<'_>, op: &Op<'_>, budget: &mut u64) -> OperationResult {
    match op {
        Op::Put(put) => {
            let was = txn.put(&put.key, &put.value, LeaseId(put.lease));
            let was = was.filter(|_| put.previous);
            let kvs = was.iter().map(|it| key_value(it, Values::Keep)).collect();
            OperationResult { kvs, count: 1 }
        }
        Op::Delete(range, previous) => {
            let deleted = txn.delete(range);
            let count = deleted.len() as u64;
            let mut kvs: Vec<KeyValue> = Vec::new();
            if *previous {
                kvs.extend(deleted.iter().map(|it| key_value(it, Values::Keep)));
            }
            OperationResult { kvs, count }
        }
        Op::Range(range, operation) => read_range(txn.view(), range, operation, budget),
    }
}

/// Ends early when the answer has grown to its bound: `count` tells that there is more.
fn read_range(
    root: RootView<'_>,
    range: &KeyRange,
    operation: &RangeOperation,
    budget: &mut u64,
) -> OperationResult {
    let limit = match operation.limit {
        0 => RESULT_ROWS_MAX,
        limit => limit.min(RESULT_ROWS_MAX),
    };
    let found = match operation.descending {
        true => root.range_descending(range, None),
        false => root.range(range, None),
    };
    let mut kvs = Vec::new();
    for record in found.into_iter().flatten().take(limit as usize) {
        let Some(left) = budget.checked_sub(record.size()) else {
            break;
        };
        *budget = left;
        kvs.push(key_value(record, Values::Keep));
    }
    OperationResult {
        kvs,
        count: root.count(range, None).unwrap_or(0),
    }
}
