//! The `if` of a transaction: comparisons, all against the state before the transaction.
//!
//! etcd's rules, exactly: with a range the comparison must hold for every key in it; when there is no key
//! at all, a comparison of the *value* is false for every operator and any other is against zero. An
//! operator that does not exist holds; a target that does not exist compares as equal.

use crate::budget::Budget;
use crate::record;
use crate::request::{CompareView, Operand, TxnView};
use crate::status::Refusal;
use std::cmp::Ordering;
use store::{Record, RootView};

/// Whether all comparisons of `txn` hold, not looking at transactions inside.
///
/// # Errors
/// They read more than is left of `budget`.
pub(crate) fn all_hold(
    view: RootView<'_>,
    txn: &TxnView<'_>,
    budget: &mut Budget,
) -> Result<bool, Refusal> {
    for compare in &txn.compare {
        if !holds(view, compare, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds(
    view: RootView<'_>,
    compare: &CompareView<'_>,
    budget: &mut Budget,
) -> Result<bool, Refusal> {
    if compare.end.is_empty() {
        budget.take(1, 0)?;
        return Ok(match view.get(compare.key, None) {
            Ok(record) => holds_for(compare, record.as_ref()),
            Err(_) => false,
        });
    }
    let range = record::key_range_of(compare.key, compare.end);
    let Ok(records) = view.range(&range, None) else {
        return Ok(false);
    };
    let mut is_empty = true;
    for record in records {
        is_empty = false;
        budget.take(1, 0)?;
        if !holds_for(compare, Some(record)) {
            return Ok(false);
        }
    }
    Ok(!is_empty || holds_for(compare, None))
}

fn holds_for(compare: &CompareView<'_>, record: Option<&Record>) -> bool {
    let number = |of: fn(&Record) -> u64| record.map_or(0, of) as i64;
    let operand = compare.operand;
    let ordering = match compare.target {
        0 => {
            let wanted = if let Operand::Version(n) = operand {
                n
            } else {
                0
            };
            number(Record::version).cmp(&wanted)
        }
        1 => {
            let wanted = if let Operand::Create(n) = operand {
                n
            } else {
                0
            };
            number(|record| record.create_revision().0).cmp(&wanted)
        }
        2 => {
            let wanted = if let Operand::Mod(n) = operand { n } else { 0 };
            number(|record| record.mod_revision().0).cmp(&wanted)
        }
        3 => {
            // A missing value is not an empty one.
            let Some(record) = record else { return false };
            let wanted: &[u8] = if let Operand::Value(value) = operand {
                value
            } else {
                &[]
            };
            record.value().cmp(wanted)
        }
        4 => {
            let wanted = if let Operand::Lease(n) = operand {
                n
            } else {
                0
            };
            number(|record| record.lease().0 as u64).cmp(&wanted)
        }
        _ => Ordering::Equal,
    };
    match compare.result {
        0 => ordering == Ordering::Equal,
        1 => ordering == Ordering::Greater,
        2 => ordering == Ordering::Less,
        3 => ordering != Ordering::Equal,
        _ => true,
    }
}
