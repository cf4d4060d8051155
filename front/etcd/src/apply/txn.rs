//! Transactions: choose the path, check it, then write.
//!
//! ```text
//!   1  compare   every comparison on the way, those of transactions inside too, against the state
//!                before the transaction: this chooses one branch per transaction, the *path*
//!   2  check     every operation on the path in its turn, against the same state
//!   3  execute   in order; an operation sees what those before it wrote
//! ```
//!
//! Nothing is written before 3, and nothing in 3 can fail, so a refusal leaves nothing behind.

use super::alarms::Forbidden;
use super::{check_put, delete_range, put};
use crate::budget::Budget;
use crate::check;
use crate::compare;
use crate::header;
use crate::pb;
use crate::range;
use crate::record;
use crate::request::{OpView, RangeView, TxnView};
use crate::status::Refusal;
use base::Revision;
use store::{RootView, WriteTxn};

/// Fields of `TxnResponse` and the operations in `ResponseOp`.
pub(crate) const SUCCEEDED: u32 = 2;
pub(crate) const RESPONSES: u32 = 3;
pub(crate) const RANGE: u32 = 1;
const PUT: u32 = 2;
const DELETE_RANGE: u32 = 3;
const TXN: u32 = 4;

/// From this version on a transaction reads within [`Budget::TXN`].
const BOUNDED_VERSION: u16 = 4;

/// Records that a transaction may read without being measured first: its operations are about as many, and each of them has
/// at most the bytes of a request.
const ROWS_UNMEASURED_MAX: u64 = 128;

pub(super) fn decide(
    txn: &mut WriteTxn<'_>,
    message: &[u8],
    forbidden: Forbidden,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let view = TxnView::read(message)?;
    check::shape(&view, usize::MAX)?;
    if has_put(&view) {
        forbidden.check_space()?;
    }
    let mut budget = match txn.state().apply_version() >= BOUNDED_VERSION {
        true => Budget::TXN,
        false => Budget::ENDLESS,
    };
    let mut path = Vec::with_capacity(1);
    choose(txn.view(), &view, &mut path, &mut budget)?;
    check_path(txn, &view, &mut path.iter())?;
    check_reads(txn.view(), &view, &path, budget)?;
    execute(txn, &view, &mut path.iter(), out)
}

/// Any put, on any branch, however deep. etcd's own estimate forgets transactions inside.
pub(super) fn has_put(view: &TxnView<'_>) -> bool {
    view.ops().any(|op| match op {
        OpView::Put(_) => true,
        OpView::Txn(inner) => has_put(inner),
        _ => false,
    })
}

pub(crate) fn branch<'v, 'a>(view: &'v TxnView<'a>, succeeded: bool) -> &'v [OpView<'a>] {
    if succeeded {
        &view.success
    } else {
        &view.failure
    }
}

/// Appends which branch each transaction takes, in the order in which they are met.
fn choose(
    root: RootView<'_>,
    view: &TxnView<'_>,
    path: &mut Vec<bool>,
    budget: &mut Budget,
) -> Result<(), Refusal> {
    let succeeded = compare::all_hold(root, view, budget)?;
    path.push(succeeded);
    for op in branch(view, succeeded) {
        if let OpView::Txn(inner) = op {
            choose(root, inner, path, budget)?;
        }
    }
    Ok(())
}

type Path<'p> = std::slice::Iter<'p, bool>;

/// The branch that `choose` chose for the transaction met now.
fn take(path: &mut Path<'_>) -> bool {
    path.next().copied().unwrap_or(false)
}

/// Every operation in its turn: the first that cannot be is the reason that is told (tried on 3.6.16; 3.4 looks
/// at all puts before the ranges).
fn check_path(txn: &WriteTxn<'_>, view: &TxnView<'_>, path: &mut Path<'_>) -> Result<(), Refusal> {
    for op in branch(view, take(path)) {
        match op {
            OpView::Put(put) => check_put(txn, put)?,
            OpView::Range(range) => check_range(txn.view(), range.options.revision)?,
            OpView::Txn(inner) => check_path(txn, inner, path)?,
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a transaction whose ranges would read more than `budget` has. They are measured by reading, before anything is
/// written, unless the index says that they are few. What the transaction writes itself and reads again is not seen here;
/// that is bounded by what it has.
fn check_reads(
    root: RootView<'_>,
    view: &TxnView<'_>,
    path: &[bool],
    mut budget: Budget,
) -> Result<(), Refusal> {
    if budget == Budget::ENDLESS {
        return Ok(());
    }
    let mut n_rows = 0u64;
    each_range(view, &mut path.iter(), &mut |range| {
        n_rows = n_rows.saturating_add(rows_at_most(root, range)?);
        Ok(())
    })?;
    if n_rows <= ROWS_UNMEASURED_MAX {
        return Ok(());
    }
    each_range(view, &mut path.iter(), &mut |range| {
        range::spend(&mut budget, root, range.key, range.end, &range.options)
    })
}

/// Calls `each` with every range on the path.
fn each_range<'a>(
    view: &TxnView<'a>,
    path: &mut Path<'_>,
    each: &mut impl FnMut(&RangeView<'a>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    for op in branch(view, take(path)) {
        match op {
            OpView::Range(range) => each(range)?,
            OpView::Txn(inner) => each_range(inner, path, each)?,
            _ => {}
        }
    }
    Ok(())
}

/// Records that a range reads, as far as the index alone can say.
fn rows_at_most(root: RootView<'_>, range: &RangeView<'_>) -> Result<u64, Refusal> {
    let keys = record::key_range_of(range.key, range.end);
    if range.end.is_empty() || keys.is_empty() {
        return Ok(1);
    }
    if range.options.revision > 0 {
        // The past is counted by looking at it.
        return Ok(u64::MAX);
    }
    Ok(root.count(&keys, None)?)
}

/// Inside a transaction a negative revision is a compacted one, whereas outside it means the present. While
/// nothing was ever compacted, etcd's counter is at −1, so −1 passes (verified on 3.4.23).
pub(crate) fn check_range(root: RootView<'_>, revision: i64) -> Result<(), Refusal> {
    let compacted = root.compacted();
    if revision == 0 || (revision == -1 && compacted == Revision(0)) {
        return Ok(());
    }
    let revision = Revision(u64::try_from(revision).map_err(|_| Refusal::Compacted)?);
    root.readable(Some(revision))?;
    Ok(())
}

fn execute(
    txn: &mut WriteTxn<'_>,
    view: &TxnView<'_>,
    path: &mut Path<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let succeeded = take(path);
    pb::uint(out, SUCCEEDED, u64::from(succeeded));
    for op in branch(view, succeeded) {
        let response = pb::open(out, RESPONSES);
        match op {
            OpView::Range(range) => write_range(txn.view(), range, out)?,
            OpView::Put(view) => {
                let mut answer = Vec::new();
                put(txn, view, &mut answer);
                // Behind the put: now the transaction's revision is taken.
                let body = pb::open(out, PUT);
                header::write_inner(out, txn.revision());
                out.extend_from_slice(&answer);
                pb::close(out, body);
            }
            OpView::DeleteRange(view) => {
                let mut answer = Vec::new();
                delete_range(txn, view, &mut answer);
                let body = pb::open(out, DELETE_RANGE);
                header::write_inner(out, txn.revision());
                out.extend_from_slice(&answer);
                pb::close(out, body);
            }
            OpView::Txn(inner) => {
                let body = pb::open(out, TXN);
                header::write_empty(out);
                execute(txn, inner, path, out)?;
                pb::close(out, body);
            }
            // `check::shape` refused it.
            OpView::Empty => {}
        }
        pb::close(out, response);
    }
    Ok(())
}

fn write_range(
    root: RootView<'_>,
    range: &RangeView<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let body = pb::open(out, RANGE);
    header::write_inner(out, root.revision());
    range::write_body(out, root, range.key, range.end, &range.options)?;
    pb::close(out, body);
    Ok(())
}
