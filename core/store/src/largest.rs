//! The largest live value of a root, found in bounded steps: what a person asks who wonders where the memory
//! went.
//!
//! Nothing is kept up to date for it, since a put must not pay for a question that is asked once a day. The
//! scan walks the live keys, so it costs what a read of everything costs; in steps it holds nobody up.

use crate::range::KeyRange;
use crate::root::RootId;
use crate::state::State;
use bytes::Bytes;

/// A scan for the largest live value of one root. See the module's documentation.
#[derive(Clone, Debug)]
pub struct LargestValue {
    root: RootId,
    /// Keys that have not been looked at.
    rest: KeyRange,
    key: Bytes,
    value_bytes: u64,
}

impl LargestValue {
    /// A scan of `root` that has not begun.
    pub fn of(root: RootId) -> LargestValue {
        LargestValue {
            root,
            rest: KeyRange::all(),
            key: Bytes::new(),
            value_bytes: 0,
        }
    }

    /// Looks at `keys_max` live keys more (one at the least) and returns whether any are left. With the same `state` at each
    /// step the result is exact; with a newer one each key counts as it was when it was passed.
    pub fn step(&mut self, state: &State, keys_max: usize) -> bool {
        let view = state.root(self.root);
        let mut rows = match view.range(&self.rest, None) {
            Ok(rows) => rows,
            Err(_) => unreachable!("the present can always be read"),
        };
        let mut last = None;
        for record in rows.by_ref().take(keys_max.max(1)) {
            let value_bytes = record.value().len() as u64;
            if value_bytes > self.value_bytes {
                self.value_bytes = value_bytes;
                self.key = Bytes::copy_from_slice(record.key());
            }
            last = Some(record.key());
        }
        let is_more = rows.next().is_some();
        if let Some(last) = last {
            self.rest = self.rest.after(last);
        }
        is_more
    }

    /// Bytes of the largest value that was found so far; 0 when there is none or all are empty.
    pub fn value_bytes(&self) -> u64 {
        self.value_bytes
    }

    /// The first key with such a value; empty when there is none.
    pub fn key(&self) -> &Bytes {
        &self.key
    }
}
