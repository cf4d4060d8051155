//! Hybrid logical time: the stamp of every entry, and the clock that gives such stamps.
//!
//! A hybrid time (Kulkarni, Demirbas et al., "Logical Physical Clocks", OPODIS 2014) is a wall-clock
//! reading in milliseconds with a counter beside it. It never goes backwards, it keeps causality as a
//! Lamport clock does, and it stays close to physical time. The leader stamps each entry; because a new
//! leader first applies every entry of its predecessors, stamps are monotone across leaders too.
//!
//! ```text
//!   wall clock of a   1000        1001                  of b   400 (slow)
//!   stamps of a       1000.0      1001.0 ── message ──► of b   1001.1    1001.2
//! ```
//!
//! Invariants of [`HybridClock`], for any behaviour of the wall clocks:
//!
//! 1. each stamp is later than every stamp that the clock gave or took before (Theorem 1);
//! 2. a stamp is not before the wall clock that it was given at (Theorem 2);
//! 3. the physical part of a stamp is the largest wall clock that the clock is *aware of*: its own, or
//!    one that reached it by messages (Theorem 3). So when all wall clocks are within ε of each other,
//!    a stamp is at most ε ahead of the clock that it was given at (Corollary 1);
//! 4. whatever others say, a stamp is ahead of the highest *own* wall clock by at most `ahead_max` (or
//!    it follows the stamp that the clock was started after): a message further ahead than that is
//!    refused. The paper has no such rule; without it one wildly wrong peer drags everybody's time along.
//!
//! The one exception of 3 and 4: after 65,536 stamps of one millisecond the counter carries into the
//! next one, because order is worth more than a millisecond.
//!
//! What is deliberately absent: reading a clock (the caller brings the wall time as a number), and any
//! doubt of the *own* wall clock, which is [`crate::guard::JumpDetector`]'s work.

use base::invariant;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A hybrid time in 64 bits: 48 bits of milliseconds since 1970, 16 bits of counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HybridTime(pub u64);

impl HybridTime {
    /// The time with this physical part (milliseconds since 1970) and counter.
    pub fn new(physical_ms: u64, logical: u16) -> HybridTime {
        HybridTime((physical_ms.min((1 << 48) - 1) << 16) | u64::from(logical))
    }

    /// The physical part, milliseconds since 1970.
    pub fn physical_ms(self) -> u64 {
        self.0 >> 16
    }

    /// The counter among stamps of one millisecond.
    pub fn logical(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The smallest stamp that is later than this one and not before `wall_ms`: what a leader gives to
    /// its next entry. A full counter carries into the next millisecond, so order is never lost.
    pub fn next(self, wall_ms: u64) -> HybridTime {
        HybridTime(self.0.saturating_add(1).max(HybridTime::new(wall_ms, 0).0))
    }
}

impl fmt::Display for HybridTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.physical_ms(), self.logical())
    }
}

impl fmt::Debug for HybridTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HybridTime({self})")
    }
}

/// A clock that gives hybrid times to the events of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HybridClock {
    ahead_max_ms: u64,
    last: HybridTime,
    /// The latest stamp that what came from outside permits: the highest own wall reading and
    /// `ahead_max_ms` beyond it, or the stamp that the clock was started after.
    ceiling: HybridTime,
    /// Stamps given since `last` was set by something outside: by so much the counter alone has moved it.
    n_counted: u64,
}

/// A stamp from elsewhere is further ahead of our wall clock than we believe possible.
///
/// Either the sender's clock is wrong or ours is: a person must look. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFarAhead {
    /// The stamp that was refused.
    pub remote: HybridTime,
    /// Our wall clock, milliseconds since 1970.
    pub wall_ms: u64,
    /// How far ahead a stamp may be, in milliseconds.
    pub ahead_max_ms: u64,
}

impl HybridClock {
    /// A clock that has given no stamp yet. It refuses stamps that are more than `ahead_max` (whole
    /// milliseconds count) ahead of its own wall clock: choose the sum of the largest error that two
    /// working wall clocks may have, and some slack.
    pub fn new(ahead_max: Duration) -> HybridClock {
        HybridClock::starting_after(HybridTime::default(), ahead_max)
    }

    /// A clock that goes on after `last`: the last stamp before a restart, or the last one in a log
    /// that others have decided already and that therefore cannot be refused any more.
    pub fn starting_after(last: HybridTime, ahead_max: Duration) -> HybridClock {
        HybridClock {
            ahead_max_ms: u64::try_from(ahead_max.as_millis()).unwrap_or(u64::MAX),
            last,
            ceiling: last,
            n_counted: 0,
        }
    }

    /// The last stamp that was given.
    pub fn last(&self) -> HybridTime {
        self.last
    }

    /// The stamp of an event here (also of the sending of a message) at `wall_ms`, the own wall clock
    /// in milliseconds since 1970: later than every stamp before, and not before `wall_ms`.
    ///
    /// The order ends with the 48 bits, in the year 10889.
    pub fn now(&mut self, wall_ms: u64) -> HybridTime {
        self.step(HybridTime::default(), wall_ms)
    }

    /// The stamp of the receipt, at the own wall clock `wall_ms`, of a message that was sent at
    /// `remote`: later than `remote` and than every stamp before.
    ///
    /// # Errors
    ///
    /// [`TooFarAhead`] when `remote` is more than `ahead_max` ahead of `wall_ms`; then nothing changes.
    pub fn receive(&mut self, remote: HybridTime, wall_ms: u64) -> Result<HybridTime, TooFarAhead> {
        if remote.physical_ms() > wall_ms.saturating_add(self.ahead_max_ms) {
            return Err(TooFarAhead {
                remote,
                wall_ms,
                ahead_max_ms: self.ahead_max_ms,
            });
        }
        Ok(self.step(remote, wall_ms))
    }

    /// How far the last stamp is ahead of the wall clock; zero when it is not. While no wall clock was
    /// set back, this is at most what the wall clocks differ by (Corollary 1).
    pub fn ahead_of(&self, wall_ms: u64) -> Duration {
        Duration::from_millis(self.last.physical_ms().saturating_sub(wall_ms))
    }

    /// Checks that the clock is no further from physical time than it states (invariant 4).
    pub fn check(&self) {
        invariant!(
            self.last.0 <= self.ceiling.0.saturating_add(self.n_counted),
            "hybrid time {} is past {} by more than the {} stamps that were counted",
            self.last,
            self.ceiling,
            self.n_counted
        );
    }

    /// The paper's rules for sending and for receiving in one (its algorithm for node j): the maximum of all three
    /// decides, and the counter rises unless the wall clock alone is the maximum.
    fn step(&mut self, remote: HybridTime, wall_ms: u64) -> HybridTime {
        let permitted = HybridTime::new(wall_ms.saturating_add(self.ahead_max_ms), u16::MAX);
        self.ceiling = self.ceiling.max(permitted);
        let is_counted = self.last >= remote && self.last >= HybridTime::new(wall_ms, 0);
        self.n_counted = if is_counted { self.n_counted + 1 } else { 1 };
        self.last = self.last.max(remote).next(wall_ms);
        self.last
    }
}

impl fmt::Display for TooFarAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stamp {} is {} ms ahead of our wall clock, the limit is {} ms",
            self.remote,
            self.remote.physical_ms().saturating_sub(self.wall_ms),
            self.ahead_max_ms
        )
    }
}

impl Error for TooFarAhead {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_rise_though_the_wall_clock_falls() {
        let mut last = HybridTime::default();
        for wall_ms in [1000, 1000, 999, 5, 2000, 0] {
            let next = last.next(wall_ms);
            assert!(next > last && next.physical_ms() >= wall_ms);
            last = next;
        }
        assert_eq!(last.to_string(), "2000.1");
    }

    #[test]
    fn a_full_counter_carries_into_the_next_millisecond() {
        let full = HybridTime::new(7, u16::MAX);
        assert_eq!(full.next(7), HybridTime::new(8, 0));
    }

    #[test]
    fn slow_nodes_count_until_their_wall_clock_leads_again() {
        // A node at 10 is heard by nodes at 1, 2 and 3, one after another: the counter stands in for time.
        let ahead_max = Duration::from_millis(10);
        let mut heard = HybridClock::new(ahead_max).now(10);
        for (wall_ms, expected) in [(1, (10, 1)), (2, (10, 2)), (3, (10, 3))] {
            let mut clock = HybridClock::new(ahead_max);
            clock.now(wall_ms);
            heard = clock.receive(heard, wall_ms).expect("within 10 ms");
            assert_eq!((heard.physical_ms(), heard.logical()), expected);
            assert_eq!(clock.ahead_of(wall_ms), Duration::from_millis(10 - wall_ms));
        }
        // Once the wall clock leads again, the counter is gone.
        let mut clock = HybridClock::starting_after(heard, ahead_max);
        assert_eq!(clock.now(11), HybridTime::new(11, 0));
    }

    #[test]
    fn the_limit_itself_is_taken_and_one_more_is_refused() {
        let mut clock = HybridClock::new(Duration::from_millis(500));
        clock.now(1000);
        let before = clock.clone();
        let refused = clock.receive(HybridTime::new(1501, 0), 1000);
        assert_eq!(
            refused.map_err(|refusal| refusal.to_string()),
            Err("stamp 1501.0 is 501 ms ahead of our wall clock, the limit is 500 ms".into())
        );
        assert_eq!(clock, before);
        let taken = clock.receive(HybridTime::new(1500, 9), 1000);
        assert_eq!(taken, Ok(HybridTime::new(1500, 10)));
        clock.check();
    }

    #[test]
    fn a_counter_that_carries_is_the_only_way_past_the_limit() {
        let mut clock = HybridClock::new(Duration::ZERO);
        for _ in 0..200_000 {
            clock.now(1000);
            clock.check();
        }
        assert_eq!(
            clock.last(),
            HybridTime::new(1003, 3391),
            "200,000 = 3 · 65,536 + 3,392"
        );
    }
}
