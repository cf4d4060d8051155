//! Hybrid logical time: the stamp of every entry.
//!
//! A hybrid time (Kulkarni, Demirbas et al., "Logical Physical Clocks", 2014) is a wall-clock reading
//! in milliseconds with a counter beside it. It never goes backwards, it keeps causality as a Lamport
//! clock does, and it stays close to physical time. The leader stamps each entry; because a new leader
//! first applies every entry of its predecessors, stamps are monotone across leaders too.
//!
//! What is deliberately absent: reading a clock. The caller brings the wall time as a number.

use std::fmt;

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
}
