//! Intervals of keys, and sets of them.
//!
//! One reading of `key` and `range_end` for everybody: the range that a request reads, the one that a watch watches and
//! the one that a permission grants come from the same function (`record::key_range`). So a watch "from the key on" is
//! never authorised as if it were of the key alone (GHSA-xg4h-6gfc-h4m8).

use crate::record;
use bytes::Bytes;
use store::{KeyRange, RangeEnd};

/// Keys from `start` on and before `end`, never none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Interval {
    start: Bytes,
    /// Nothing: there is no end.
    end: Option<Bytes>,
}

impl Interval {
    /// The keys that `key` and `range_end` of a request mean. A range that ends before it begins has no keys; it counts as
    /// its first, so that nobody asks for it who may not ask about that one.
    pub fn of(key: &[u8], end: &[u8]) -> Interval {
        Interval::of_range(&record::key_range_of(key, end))
    }

    /// As [`Interval::of`], of a range.
    pub fn of_range(range: &KeyRange) -> Interval {
        let start = range.start.clone();
        match &range.end {
            RangeEnd::Unbounded => Interval { start, end: None },
            RangeEnd::Before(end) if *end > start => Interval {
                start,
                end: Some(end.clone()),
            },
            RangeEnd::Before(_) | RangeEnd::Single => Interval::single(start),
        }
    }

    /// One key.
    pub fn single(key: Bytes) -> Interval {
        let end = [&key[..], &[0]].concat();
        Interval {
            start: key,
            end: Some(end.into()),
        }
    }

    /// Whether all of `other` is in here.
    pub fn covers(&self, other: &Interval) -> bool {
        let reaches = match (&self.end, &other.end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(end), Some(other)) => other <= end,
        };
        self.start <= other.start && reaches
    }

    /// Whether `next`, which does not begin before this one, begins in it or where it ends.
    fn joins(&self, next: &Interval) -> bool {
        self.end.as_ref().is_none_or(|end| next.start <= *end)
    }
}

/// Intervals that neither overlap nor touch, ascending.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Intervals(Vec<Interval>);

impl Intervals {
    /// The union of `intervals`.
    pub fn union(mut intervals: Vec<Interval>) -> Intervals {
        intervals.sort_unstable();
        let mut merged: Vec<Interval> = Vec::with_capacity(intervals.len());
        for next in intervals {
            match merged.last_mut() {
                Some(last) if last.joins(&next) => {
                    // No end is the largest.
                    let is_longer = match (&last.end, &next.end) {
                        (None, _) => false,
                        (Some(_), None) => true,
                        (Some(end), Some(next)) => next > end,
                    };
                    if is_longer {
                        last.end = next.end;
                    }
                }
                _ => merged.push(next),
            }
        }
        Intervals(merged)
    }

    /// Whether all of `wanted` is in here.
    pub fn cover(&self, wanted: &Interval) -> bool {
        let after = self.0.partition_point(|it| it.start <= wanted.start);
        after
            .checked_sub(1)
            .is_some_and(|at| self.0[at].covers(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn union(of: &[(&str, &str)]) -> Intervals {
        let interval = |(key, end): &(&str, &str)| Interval::of(key.as_bytes(), end.as_bytes());
        Intervals::union(of.iter().map(interval).collect())
    }

    #[test]
    fn neighbours_join_and_gaps_stay() {
        let set = union(&[("c", "e"), ("a", "c"), ("e", ""), ("f", "g"), ("b", "d")]);
        for (key, end, is_in) in [
            ("a", "e", true),
            ("a", "e\0", true),
            // `e` itself is in, what begins with it is not.
            ("a", "e\0\0", false),
            ("a", "f", false),
            ("e", "", true),
            ("e1", "", false),
            ("f", "g", true),
            ("f", "\0", false),
            ("g", "", false),
        ] {
            let wanted = Interval::of(key.as_bytes(), end.as_bytes());
            assert_eq!(set.cover(&wanted), is_in, "{key:?} {end:?}");
        }
        let open = union(&[("m", "\0"), ("x", "z"), ("k", "m")]);
        assert!(open.cover(&Interval::of(b"k", b"\0")));
        assert!(!open.cover(&Interval::of(b"j", b"\0")));
    }

    #[test]
    fn a_range_without_keys_counts_as_its_first() {
        let set = union(&[("b", "")]);
        assert!(set.cover(&Interval::of(b"b", b"a")) && set.cover(&Interval::of(b"b", b"b")));
        assert!(!set.cover(&Interval::of(b"c", b"a")));
    }
}
