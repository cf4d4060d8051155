//! What is counted into: plain numbers, added to where something happens and read when somebody asks.
//!
//! An addition is one atomic instruction without order, and no lock, no allocation and no look-up by label: the
//! hot path may have a dozen of them. Whoever reads sees each number alone, not all of them at one instant.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that only rises.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(crate) fn inc(&self) {
        self.add(1);
    }

    /// So many more.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The sum.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that rises and falls.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    /// It is this now.
    pub(crate) fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// It is so much more now, or less.
    pub(crate) fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// What it is.
    pub(crate) fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// The upper bounds of a histogram's buckets, in its unit. Bounds, numbers and units are etcd's: queries name them.
#[derive(Debug)]
pub(crate) struct Buckets {
    bounds: Bounds,
    /// Nanoseconds in one unit.
    unit: u64,
}

#[derive(Debug)]
enum Bounds {
    /// Each is twice the one before.
    Doubling { first: f64, n: usize },
    /// Any, ascending.
    Listed(&'static [f64]),
}

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// Syncs and other short works of a disk: 1 ms to 8.192 s.
pub(crate) const DISK: Buckets = Buckets::of(0.001, 14, SECOND);
/// Round trips between members: 0.1 ms to 3.2768 s.
pub(crate) const NETWORK: Buckets = Buckets::of(0.0001, 16, SECOND);
/// Work of the machine that applies: 0.1 ms to 52.4288 s.
pub(crate) const APPLY: Buckets = Buckets::of(0.0001, 20, SECOND);
/// Hashes of everything: 10 ms to 163.84 s.
pub(crate) const HASH: Buckets = Buckets::of(0.01, 15, SECOND);
/// Snapshots for clients: 10 ms to 655.36 s.
pub(crate) const SNAPSHOT: Buckets = Buckets::of(0.01, 17, SECOND);
/// Defragmentations: 0.1 s to 409.6 s.
pub(crate) const DEFRAGMENT: Buckets = Buckets::of(0.1, 13, SECOND);
/// Received states: 0.1 s to 51.2 s.
pub(crate) const RECEIVE: Buckets = Buckets::of(0.1, 10, SECOND);
/// Compactions, from the command to the last version swept: 100 ms to 819,200 ms.
pub(crate) const COMPACT: Buckets = Buckets::of(100.0, 14, MILLISECOND);
/// Whole requests: 1 ms to 8.192 s.
pub(crate) const REQUEST: Buckets = Buckets::of(0.001, 14, SECOND);
/// Times to live: 1 s to 8,388,608 s.
pub(crate) const TTL: Buckets = Buckets::of(1.0, 24, SECOND);

impl Buckets {
    const fn of(first: f64, n: usize, unit: u64) -> Buckets {
        Buckets {
            bounds: Bounds::Doubling { first, n },
            unit,
        }
    }

    /// Buckets by their bounds in seconds, ascending.
    pub(crate) const fn listed(bounds: &'static [f64]) -> Buckets {
        Buckets {
            bounds: Bounds::Listed(bounds),
            unit: SECOND,
        }
    }

    fn len(&self) -> usize {
        match self.bounds {
            Bounds::Doubling { n, .. } => n,
            Bounds::Listed(bounds) => bounds.len(),
        }
    }

    /// The bounds.
    pub(crate) fn bounds(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.len()).map(|at| match self.bounds {
            // Doubling is exact, so this is what doubling step by step gives.
            Bounds::Doubling { first, .. } => first * (1_u64 << at) as f64,
            Bounds::Listed(bounds) => bounds[at],
        })
    }

    fn ns(&self, bound: f64) -> u64 {
        (bound * self.unit as f64).round() as u64
    }

    /// The bucket of a value; the number of bounds for what is above all.
    fn bucket_of(&self, ns: u64) -> usize {
        match self.bounds {
            Bounds::Doubling { first, n } => {
                let firsts = ns.div_ceil(self.ns(first)).max(1);
                // The least k with firsts <= 2^k.
                let doublings = u64::BITS - (firsts - 1).leading_zeros();
                (doublings as usize).min(n)
            }
            Bounds::Listed(bounds) => {
                let above = bounds.iter().position(|bound| ns <= self.ns(*bound));
                above.unwrap_or(bounds.len())
            }
        }
    }
}

/// How often a value fell into which bucket.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: &'static Buckets,
    /// One for each bound, and one above all.
    counts: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

impl Histogram {
    /// An empty one.
    pub(crate) fn new(buckets: &'static Buckets) -> Histogram {
        Histogram {
            buckets,
            counts: (0..=buckets.len()).map(|_| AtomicU64::new(0)).collect(),
            sum_ns: AtomicU64::new(0),
        }
    }

    /// Something took so long.
    pub(crate) fn observe(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[self.buckets.bucket_of(ns)].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(ns, Relaxed);
    }

    /// How many values there were.
    pub(crate) fn n(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Their sum, in the unit.
    pub(crate) fn sum(&self) -> f64 {
        self.sum_ns.load(Relaxed) as f64 / self.buckets.unit as f64
    }

    /// Bounds, and how many values were not above them.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.counts.iter().scan(0, |sum, count| {
            *sum += count.load(Relaxed);
            Some(*sum)
        });
        self.buckets.bounds().zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::new(&DISK);
        for us in [
            0, 1, 1000, 1001, 2000, 5000, 8_192_000, 8_192_001, 99_000_000,
        ] {
            histogram.observe(Duration::from_micros(us));
        }
        let counts: Vec<(String, u64)> = histogram
            .cumulative()
            .map(|(bound, n)| (bound.to_string(), n))
            .collect();
        let at = |bound: &str| counts.iter().find(|(b, _)| b == bound).map(|(_, n)| *n);
        assert_eq!(at("0.001"), Some(3));
        assert_eq!(at("0.002"), Some(5));
        assert_eq!(at("0.004"), Some(5));
        assert_eq!(at("0.008"), Some(6));
        assert_eq!(at("8.192"), Some(7));
        assert_eq!(histogram.n(), 9);
        assert!((histogram.sum() - 115.393_002).abs() < 1e-9);
    }

    /// A naive search over the bounds is the judge.
    #[test]
    fn the_quick_way_to_a_bucket_is_the_slow_one() {
        for buckets in [&DISK, &NETWORK, &APPLY, &HASH, &COMPACT, &TTL, &DEFRAGMENT] {
            for ns in (0..60).flat_map(|shift| [(1_u64 << shift) - 1, 1 << shift, (3 << shift) / 2])
            {
                let naive = buckets
                    .bounds()
                    .position(|bound| ns as f64 <= (bound * buckets.unit as f64).round());
                assert_eq!(
                    buckets.bucket_of(ns),
                    naive.unwrap_or(buckets.len()),
                    "{ns} {buckets:?}"
                );
            }
        }
    }

    #[test]
    fn bounds_are_written_as_etcd_writes_them() {
        let text = |buckets: &Buckets| {
            let bounds: Vec<String> = buckets.bounds().map(|bound| bound.to_string()).collect();
            bounds.join(" ")
        };
        assert_eq!(
            text(&NETWORK),
            "0.0001 0.0002 0.0004 0.0008 0.0016 0.0032 0.0064 0.0128 0.0256 0.0512 0.1024 0.2048 0.4096 0.8192 \
             1.6384 3.2768"
        );
        assert_eq!(
            text(&DISK),
            "0.001 0.002 0.004 0.008 0.016 0.032 0.064 0.128 0.256 0.512 1.024 2.048 4.096 8.192"
        );
        assert!(text(&APPLY).ends_with("13.1072 26.2144 52.4288"));
        assert!(text(&SNAPSHOT).ends_with("163.84 327.68 655.36"));
        assert!(
            text(&DEFRAGMENT).starts_with("0.1 0.2 0.4 0.8 1.6")
                && text(&DEFRAGMENT).ends_with(" 409.6")
        );
    }
}
