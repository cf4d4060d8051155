//! What a request must not say, checked before it is proposed: etcd's `v3rpc` checks, in its order.
//!
//! These need no state. What needs state (does the lease exist, is the revision there) is decided by
//! the apply half, and by the readers.

use crate::request::{DeleteView, OpView, PutView, RangeView, TxnView};
use crate::status::Refusal;
use std::collections::{BTreeMap, BTreeSet};

/// A range: a key, and a sort that exists.
pub(crate) fn range(view: &RangeView<'_>) -> Result<(), Refusal> {
    if view.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    let options = &view.options;
    if !(0..=2).contains(&options.sort_order) || !(0..=4).contains(&options.sort_target) {
        return Err(Refusal::InvalidSortOption);
    }
    Ok(())
}

/// A put: a key, and nothing that it says to ignore.
pub(crate) fn put(view: &PutView<'_>) -> Result<(), Refusal> {
    if view.key.is_empty() {
        Err(Refusal::EmptyKey)
    } else if view.ignore_value && !view.value.is_empty() {
        Err(Refusal::ValueProvided)
    } else if view.ignore_lease && view.lease != 0 {
        Err(Refusal::LeaseProvided)
    } else {
        Ok(())
    }
}

/// A delete: a key.
pub(crate) fn delete(view: &DeleteView<'_>) -> Result<(), Refusal> {
    if view.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    Ok(())
}

/// A transaction: few enough operations, each right in itself, and no key put twice on one path.
pub(crate) fn txn(view: &TxnView<'_>, ops_max: usize) -> Result<(), Refusal> {
    shape(view, ops_max)?;
    duplicates(&view.success)?;
    duplicates(&view.failure)?;
    Ok(())
}

/// As [`txn`], without looking for keys that are put twice.
pub(crate) fn shape(view: &TxnView<'_>, ops_max: usize) -> Result<(), Refusal> {
    let n_ops = view
        .compare
        .len()
        .max(view.success.len())
        .max(view.failure.len());
    // What this level takes is not there for the levels below.
    let Some(rest) = ops_max.checked_sub(n_ops) else {
        return Err(Refusal::TooManyOps);
    };
    if view.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Refusal::EmptyKey);
    }
    for op in view.ops() {
        match op {
            OpView::Range(inner) => range(inner)?,
            OpView::Put(inner) => put(inner)?,
            OpView::DeleteRange(inner) => delete(inner)?,
            OpView::Txn(inner) => shape(inner, rest)?,
            OpView::Empty => return Err(Refusal::KeyNotFound),
        }
    }
    Ok(())
}

/// What some operations write: the keys they put and the ranges they delete.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Spans<'a>,
}

impl<'a> Writes<'a> {
    fn put(&mut self, key: &'a [u8]) -> Result<(), Refusal> {
        if self.deletes.contain(key) || !self.puts.insert(key) {
            return Err(Refusal::DuplicateKey);
        }
        Ok(())
    }
}

/// Refuses two puts of one key on one path, and a put of a key that is deleted on the same path. The two
/// branches of a transaction inside are alternatives, so both may put one key.
///
/// The order in which etcd gathers shows: this level's deletes, then the transactions inside from left
/// to right, then this level's puts. So a delete inside a later transaction does not clash with a
/// put inside an earlier one, and both take effect in their order (verified on 3.4.23).
fn duplicates<'a>(ops: &[OpView<'a>]) -> Result<Writes<'a>, Refusal> {
    let mut writes = Writes::default();
    for op in ops {
        if let OpView::DeleteRange(delete) = op {
            writes.deletes.insert(delete.key, delete.end);
        }
    }
    for op in ops {
        let OpView::Txn(txn) = op else { continue };
        let success = duplicates(&txn.success)?;
        let failure = duplicates(&txn.failure)?;
        for key in &success.puts {
            writes.put(key)?;
        }
        for key in &failure.puts {
            let twice = !writes.puts.insert(key) && !success.puts.contains(key);
            if twice || writes.deletes.contain(key) {
                return Err(Refusal::DuplicateKey);
            }
        }
        writes.deletes.extend(success.deletes);
        writes.deletes.extend(failure.deletes);
    }
    for op in ops {
        if let OpView::Put(put) = op {
            writes.put(put.key)?;
        }
    }
    Ok(writes)
}

/// A set of keys as single keys and as ranges that neither overlap nor touch. Logarithmic, because a
/// small request can hold tens of thousands of operations: levels multiply what siblings add.
#[derive(Default)]
struct Spans<'a> {
    keys: BTreeSet<&'a [u8]>,
    /// Start → end, both as in `start <= key < end`.
    ranges: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Spans<'a> {
    /// Adds what a delete from `key` to `end` touches. As in etcd (verified on 3.4.23), a delete "from
    /// the key on" (`end` is one zero byte) is not seen by this check: a put beside it is allowed, and
    /// both take effect in their order.
    fn insert(&mut self, key: &'a [u8], end: &'a [u8]) {
        if end.is_empty() {
            self.keys.insert(key);
        } else if key < end {
            self.merge(key, end);
        }
    }

    fn merge(&mut self, mut start: &'a [u8], mut end: &'a [u8]) {
        // Swallow every range that begins at or before our end and does not stop before our start.
        while let Some((&other_start, &other_end)) = self.ranges.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.ranges.remove(other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.ranges.insert(start, end);
    }

    fn contain(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
            || self
                .ranges
                .range(..=key)
                .next_back()
                .is_some_and(|(_, end)| key < *end)
    }

    fn extend(&mut self, other: Spans<'a>) {
        if self.keys.is_empty() {
            self.keys = other.keys;
        } else {
            self.keys.extend(other.keys);
        }
        for (start, end) in other.ranges {
            self.merge(start, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(b'a'..=b'h', 1..3)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn spans_hold_what_was_inserted_and_nothing_between(
            inserted in prop::collection::vec((key(), prop::option::of(key())), 0..12),
            cut in 0usize..12,
            asked in prop::collection::vec(key(), 20),
        ) {
            let inserted: Vec<(Vec<u8>, Vec<u8>)> =
                inserted.into_iter().map(|(key, end)| (key, end.unwrap_or_default())).collect();
            // Some one by one, the others as a set of their own.
            let (mut spans, mut others) = (Spans::default(), Spans::default());
            for (at, (key, end)) in inserted.iter().enumerate() {
                let part = if at < cut { &mut spans } else { &mut others };
                part.insert(key, end);
            }
            spans.extend(others);
            for key in &asked {
                let expected = inserted.iter().any(|(start, end)| {
                    if end.is_empty() { key == start } else { start <= key && key < end }
                });
                prop_assert_eq!(spans.contain(key), expected, "{:?} in {:?}", key, inserted);
            }
            let apart = spans.ranges.iter().zip(spans.ranges.iter().skip(1));
            prop_assert!(apart.into_iter().all(|((_, end), (start, _))| end < start));
        }
    }
}
