//! Interval time: what a wall clock says, with its error; never one number pretending to be exact.
//!
//! ```text
//!             earliest      wall       latest
//!   ─────────────┼───────────┼───────────┼─────────► true time
//!                └── error ──┴── error ──┘            the true time is somewhere in here
//! ```
//!
//! This is Spanner's TrueTime (Corbett et al., "Spanner: Google's Globally-Distributed Database", OSDI
//! 2012, §3): an [`Interval`] around the reading of a wall clock and a bound of its error. What it buys is
//! *commit-wait* (§4.1.2): stamp a transaction with `latest` at or after its start, and make nothing of it
//! visible until [`commit_wait`] is zero. Then the stamp is in the past for everybody, and whatever starts
//! after that gets a later stamp, at any node, without a message between them.
//!
//! **All of it stands or falls with the error bound.** A bound that lies puts the true time outside, and
//! then stamps contradict the order in which things happened; a test shows it. So a bound comes from
//! something that measures it (the kernel's own, kept by a time daemon), and several readings are compared
//! by [`agree`] before one is believed.
//!
//! What is deliberately absent: reading a clock, and waiting. Invariant of [`Interval`]: `earliest` is
//! not after `latest`.

use std::fmt;
use std::time::Duration;

/// A wall-clock time: nanoseconds since 1970 in UTC, without leap seconds; it ends in the year 2554.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// This time and `by`; the end of time when that is past it.
    pub fn plus(self, by: Duration) -> UnixNanos {
        UnixNanos(self.0.saturating_add(nanos(by)))
    }

    /// This time less `by`; 1970 when that is before it.
    pub fn minus(self, by: Duration) -> UnixNanos {
        UnixNanos(self.0.saturating_sub(nanos(by)))
    }

    /// The time from `earlier` to here; zero when `earlier` is later.
    pub fn since(self, earlier: UnixNanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in nanoseconds; one of more than 584 years counts as that.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A time that is known up to an error: not before `earliest`, not after `latest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interval {
    earliest: UnixNanos,
    latest: UnixNanos,
}

impl Interval {
    /// What is known when a wall clock says `wall` and is off by at most `error` either way.
    pub fn around(wall: UnixNanos, error: Duration) -> Interval {
        Interval {
            earliest: wall.minus(error),
            latest: wall.plus(error),
        }
    }

    /// From `earliest` to `latest`, both included; nothing when they are in the wrong order.
    pub fn between(earliest: UnixNanos, latest: UnixNanos) -> Option<Interval> {
        (earliest <= latest).then_some(Interval { earliest, latest })
    }

    /// The true time is not before this.
    pub fn earliest(self) -> UnixNanos {
        self.earliest
    }

    /// The true time is not after this. Taken at the start of a transaction, it is its stamp.
    pub fn latest(self) -> UnixNanos {
        self.latest
    }

    /// From `earliest` to `latest`: twice the error.
    pub fn width(self) -> Duration {
        self.latest.since(self.earliest)
    }

    /// Whether `time` may be the true time.
    pub fn contains(self, time: UnixNanos) -> bool {
        self.earliest <= time && time <= self.latest
    }

    /// Whether the one true time is before the other, whatever the errors are. When neither is surely
    /// before the other, they overlap and nobody can say.
    pub fn is_surely_before(self, other: Interval) -> bool {
        self.latest < other.earliest
    }

    /// Whether some time may be the true time of both.
    pub fn overlaps(self, other: Interval) -> bool {
        !self.is_surely_before(other) && !other.is_surely_before(self)
    }
}

/// How long to wait until `stamp` is surely in the past: zero when `now` is past it already, that is when
/// `now.earliest() > stamp` (Spanner §4.1.2, TT.after).
///
/// After the wait **ask again with a new reading**: the clock that measured the wait may be fast, and the
/// error may have grown. Only zero is permission.
pub fn commit_wait(now: Interval, stamp: UnixNanos) -> Duration {
    if now.earliest > stamp {
        return Duration::ZERO;
    }
    stamp.since(now.earliest) + Duration::from_nanos(1)
}

/// What a majority of readings agrees on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Contains the true time, as long as a majority of the readings does.
    pub interval: Interval,
    /// The readings, by place, that do not touch it: falsetickers. Each is surely wrong, under the same
    /// condition; a wrong one that touches it cannot be told.
    pub falsetickers: Vec<usize>,
}

/// Joins readings of one moment from several clocks, some of which may be wrong; nothing when no majority
/// of them (more than half) has any time in common.
///
/// The result reaches from the first to the last point that a majority contains: Marzullo's function
/// M with f = the largest minority (Marzullo and Owicki, "Maintaining the Time in a Distributed System",
/// 1983). It is *not* the well-known variant that takes the point with the most readings: liars that
/// stand together with some honest readings win that vote, and the true time is then outside.
pub fn agree(readings: &[Interval]) -> Option<Agreement> {
    let majority = readings.len() / 2 + 1;
    // Where readings begin and end, in order. Both ends belong to a reading, so at one point all that
    // begin come before any that ends.
    let mut edges: Vec<(UnixNanos, Edge)> = Vec::with_capacity(2 * readings.len());
    for reading in readings {
        edges.push((reading.earliest, Edge::Begin));
        edges.push((reading.latest, Edge::End));
    }
    edges.sort();
    let (mut n_open, mut first, mut last) = (0, None, None);
    for (at, edge) in edges {
        match edge {
            Edge::Begin => {
                n_open += 1;
                if n_open == majority && first.is_none() {
                    first = Some(at);
                }
            }
            Edge::End => {
                if n_open == majority {
                    last = Some(at);
                }
                n_open -= 1;
            }
        }
    }
    let interval = Interval::between(first?, last?)?;
    let wrong = readings.iter().enumerate();
    let wrong = wrong.filter(|(_, reading)| !reading.overlaps(interval));
    Some(Agreement {
        interval,
        falsetickers: wrong.map(|(place, _)| place).collect(),
    })
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    Begin,
    End,
}

impl fmt::Display for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09} s",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

impl fmt::Debug for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} .. {}", self.earliest, self.latest)
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
