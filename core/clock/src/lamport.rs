//! Lamport's logical clock: one number per event, no physical time at all.
//!
//! ```text
//!   a   1 ──── 2 ─────────────────────── 3
//!               ╲ message (2)
//!   b   1 ────── 3 ──── 4                     2 at a happened before 4 at b, and 2 < 4
//!   c   1 ─────────────────── 2               3 at b and 2 at c: 2 < 3, yet neither knew of the other
//! ```
//!
//! The law (Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", 1978, the clock
//! condition): when event e happened before event f, then L(e) < L(f). **Not the converse**: L(e) < L(f)
//! says only that f did not happen before e. Whoever must tell "before" from "concurrent" needs
//! [`crate::vector`]; whoever wants to know *when* needs [`crate::hybrid`].
//!
//! Equal counts are ordered by node, so that all events have one total order that keeps causality (the
//! paper's ⇒). Which of two concurrent events comes first in it means nothing.
//!
//! Invariant: the count of a clock never falls, and is at least every count that it received.

use base::MemberId;
use std::error::Error;
use std::fmt;

/// The largest count that is believed of others. A thousand million events a second reach it in 292
/// years; a message that claims more is broken, and taking it would leave no room to count on.
pub const COUNT_MAX: u64 = 1 << 63;

/// The logical time of one event: the count first, then the node, which decides ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LamportTime {
    /// How long the longest chain of events was that led here, as far as the node knew; starts at 1.
    pub count: u64,
    /// Where the event was.
    pub node: MemberId,
}

/// The clock of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LamportClock {
    node: MemberId,
    count: u64,
}

/// A message claims a count above [`COUNT_MAX`]. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountTooLarge {
    /// What it claims.
    pub count: u64,
}

impl LamportClock {
    /// The clock of `node`, which has seen nothing yet. A node that restarts must go on from its last
    /// time ([`LamportClock::receive`] it), or it gives the same time twice.
    pub fn new(node: MemberId) -> LamportClock {
        LamportClock { node, count: 0 }
    }

    /// The time of an event here, also of the sending of a message.
    pub fn tick(&mut self) -> LamportTime {
        // Others move the count to at most COUNT_MAX; the other half of the numbers is for our own events.
        self.count = self.count.saturating_add(1);
        LamportTime {
            count: self.count,
            node: self.node,
        }
    }

    /// The time of the receipt of a message that was sent at `remote`.
    ///
    /// # Errors
    ///
    /// [`CountTooLarge`] when no honest node can have counted so far; then nothing changes.
    pub fn receive(&mut self, remote: LamportTime) -> Result<LamportTime, CountTooLarge> {
        if remote.count > COUNT_MAX {
            return Err(CountTooLarge {
                count: remote.count,
            });
        }
        self.count = self.count.max(remote.count);
        Ok(self.tick())
    }
}

impl fmt::Display for LamportTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.count, self.node)
    }
}

impl fmt::Display for CountTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count {} is above {COUNT_MAX}", self.count)
    }
}

impl Error for CountTooLarge {}
