//! One order of all operations: what is known of it, what follows, and whether it contradicts itself.
//!
//! ```text
//!   w, w' write one register; r reads w.        w' before r    ⇒  w' before w     it was overwritten
//!                                               w before w'    ⇒  r before w'     it was not yet overwritten
//! ```
//!
//! Both rules are applied until nothing new follows. They never condemn a history that has an order. One that has none
//! is found when the writes of each register are ordered by time, as those of one writer at a time are; where writes
//! overlap, a contradiction may stay unseen. (Gibbons and Korach, 1997: in general the question is NP-complete.)

use super::{Access, Sources};

/// What is known to be before what, closed under transitivity once [`Order::settle`] has run.
pub(crate) struct Order {
    n: usize,
    /// Bit `b` of row `a`: `a` is before `b`.
    rows: Vec<Vec<u64>>,
}

impl Order {
    pub(crate) fn new(n: usize) -> Order {
        let rows = vec![vec![0; n.div_ceil(64)]; n];
        Order { n, rows }
    }

    /// `first` is before `second`.
    pub(crate) fn put(&mut self, first: usize, second: usize) {
        self.rows[first][second / 64] |= 1 << (second % 64);
    }

    pub(crate) fn has(&self, first: usize, second: usize) -> bool {
        self.rows[first][second / 64] >> (second % 64) & 1 == 1
    }

    /// Warshall's closure.
    pub(crate) fn close(&mut self) {
        for middle in 0..self.n {
            let row = self.rows[middle].clone();
            for first in 0..self.n {
                if self.has(first, middle) {
                    for (word, more) in self.rows[first].iter_mut().zip(&row) {
                        *word |= more;
                    }
                }
            }
        }
    }

    /// Draws all conclusions.
    pub(crate) fn settle(&mut self, history: &[Access], sources: &Sources) {
        loop {
            self.close();
            let mut concluded = Vec::new();
            for (read, source) in sources {
                for (at, access) in history.iter().enumerate() {
                    let other = access.is_write() && access.key == history[*read].key;
                    if !other || Some(at) == *source {
                        continue;
                    }
                    // What was there before the first write is older than every write.
                    let is_newer = source.is_none_or(|source| self.has(source, at));
                    if is_newer && !self.has(*read, at) {
                        concluded.push((*read, at));
                    }
                    if let Some(source) = *source
                        && self.has(at, *read)
                        && !self.has(at, source)
                    {
                        concluded.push((at, source));
                    }
                }
            }
            if concluded.is_empty() {
                return;
            }
            for (first, second) in concluded {
                self.put(first, second);
            }
        }
    }

    /// Operations of which each would have to be before the other, if there are any.
    pub(crate) fn contradiction(&self) -> Option<Vec<usize>> {
        let first = (0..self.n).find(|at| self.has(*at, *at))?;
        let with = |at: &usize| self.has(first, *at) && self.has(*at, first);
        Some((0..self.n).filter(with).collect())
    }
}
