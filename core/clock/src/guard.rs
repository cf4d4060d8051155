//! The guard band of a lease: how much earlier its holder must stop than its grantor lets go.
//!
//! Holder and grantor count the same lease on two clocks, and no two clocks run equally fast. If both
//! counted the full time, a holder whose clock is slow would act on a lease that its grantor has given to
//! somebody else. So the holder stops early, by the guard band ε:
//!
//! ```text
//!             sent                                        stops      lease
//!   holder    ──┼───────────── acts ────────────────────────┼─── ε ────┼──►  its own clock
//!                ╲ renewal
//!   grantor   ────┼── promises ──────────────────────────────────────────┼──►  its own clock
//!              received                                              lets go
//! ```
//!
//! Two things make it safe, and both are needed:
//!
//! * the holder counts **from when it sent** what the grantor acknowledged, never from when the answer
//!   came: the grantor's time began in between, and nobody knows when;
//! * with rates between 1/(1+ρ) and 1+ρ of true time, a promise of D lasts at least D/(1+ρ) of true time, and
//!   a slow holder's clock shows only 1/(1+ρ) of that. So the holder may count **D/(1+ρ)²**. One factor is
//!   not enough: the grantor may be fast *and* the holder slow (Gray and Cheriton, "Leases", SOSP 1989, §5,
//!   name both; the formula with both factors is ours, and a test runs it against all pairs of rates).
//!
//! The same arithmetic serves a leader that answers reads on its own (the grantors are the followers that
//! promised not to elect another, Raft dissertation §6.4.1) and a client that holds a lock.
//!
//! What it does not do: nothing here stops a holder that is paused between looking at its clock and
//! acting. It must look again after the work and before the answer, and where that is impossible (a write
//! that is under way to a resource) only a token that the resource checks helps.
//!
//! What is deliberately absent: reading a clock. Instants are readings in whole nanoseconds, rounded down;
//! a coarser clock needs its granularity taken off the lease first.

use crate::interval::{UnixNanos, nanos};
use base::Instant;
use std::fmt;
use std::time::Duration;

/// The largest drift bound: 100,000 ppm, that is ρ = 0.1. A bound above this is a slip of the pen.
///
/// What to state depends on the time daemon more than on the quartz, because a daemon *slews*: it makes the
/// clock run faster or slower, the monotonic one too. ntpd keeps to 500 ppm; chrony may go to its
/// `maxslewrate`, which is 83,333 ppm unless it is configured.
pub const DRIFT_PPM_MAX: u32 = 100_000;

const MILLION: u128 = 1_000_000;

/// A promise about clocks, ρ: for each second of true time a clock counts at least 1/(1+ρ) and at most
/// 1+ρ seconds. Somebody must state it; there is no default, because a guess would be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DriftBound {
    ppm: u32,
}

impl DriftBound {
    /// ρ in millionths; nothing above [`DRIFT_PPM_MAX`].
    pub fn from_ppm(ppm: u32) -> Option<DriftBound> {
        (ppm <= DRIFT_PPM_MAX).then_some(DriftBound { ppm })
    }

    /// ρ in millionths.
    pub fn ppm(self) -> u32 {
        self.ppm
    }
}

/// For how long, by its own clock, a holder may act on a lease of `lease`: ⌊(lease − 1 ns)/(1+ρ)²⌋. The
/// nanosecond is for two readings that are both rounded down.
pub fn usable(lease: Duration, drift: DriftBound) -> Duration {
    let factor = MILLION + u128::from(drift.ppm);
    // At most 2⁶⁴ · 10¹² < 2¹⁰⁴: nothing overflows.
    let usable = u128::from(nanos(lease).saturating_sub(1)) * MILLION * MILLION / (factor * factor);
    // Not longer than the lease, which has fitted.
    Duration::from_nanos(u64::try_from(usable).unwrap_or(u64::MAX))
}

/// The guard band ε: by how much the holder stops before the lease ends on its own clock.
pub fn guard_band(lease: Duration, drift: DriftBound) -> Duration {
    lease.saturating_sub(usable(lease, drift))
}

/// Until when a leader may answer reads on its own: strictly before the instant that this returns.
///
/// `sent` is when it *sent* the heartbeats that a majority has acknowledged, on its own monotonic clock
/// (for acknowledgements of different heartbeats: the one that the majority's slowest member answered).
/// `lease` is for how long each of them promised, on its own clock and from the receipt, to elect nobody else.
///
/// Nothing when the drift bound is unknown or the guard band eats the whole lease: then the leader must
/// ask a majority (ReadIndex).
pub fn holds_until(sent: Instant, lease: Duration, drift: Option<DriftBound>) -> Option<Instant> {
    holder_stops_at(sent, lease, Duration::ZERO, drift)
}

/// When the holder of a client's lease must have begun its last act: strictly before the instant that this
/// returns, when each act takes at most `act_max` by the holder's clock.
///
/// `sent` is when it sent the last renewal that was acknowledged (or the grant), on its own monotonic
/// clock; `lease` is the time to live that the grantor counts from the receipt.
///
/// Nothing when the drift bound is unknown or no time is left: then the lease is a hint, and only a token
/// that the resource checks is safe.
pub fn holder_stops_at(
    sent: Instant,
    lease: Duration,
    act_max: Duration,
    drift: Option<DriftBound>,
) -> Option<Instant> {
    let usable = usable(lease, drift?).checked_sub(act_max)?;
    (!usable.is_zero()).then(|| sent + usable)
}

/// When a grantor may let go of a lease that it granted or renewed at `received`, both on its own
/// monotonic clock: at that instant or later, never earlier. `received` must not be a reading from before the
/// message came.
pub fn grantor_lets_go_at(received: Instant, lease: Duration) -> Instant {
    received + lease
}

/// Compares the wall clock with the monotonic one and notices when the wall clock was set.
///
/// It sees what happened *between two pairs*: feed it often. A wall clock that is slewed (made a little
/// faster or slower, as time daemons do) stays under the bound and is not a jump; nor are many small jumps.
/// The two clocks of a pair are read one after the other, so a pause between them looks like a jump: the
/// bound must be larger than such pauses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JumpDetector {
    bound: Duration,
    last: Option<(Instant, UnixNanos)>,
}

/// The wall clock was set, by so much more than the monotonic clock explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// Into the future.
    Forwards(Duration),
    /// Into the past.
    Backwards(Duration),
}

impl JumpDetector {
    /// A detector of jumps of more than `bound`.
    pub fn new(bound: Duration) -> JumpDetector {
        JumpDetector { bound, last: None }
    }

    /// Takes a pair of readings; says whether the wall clock jumped since the pair before. The first pair
    /// is only remembered.
    pub fn observe(&mut self, monotonic: Instant, wall: UnixNanos) -> Option<Jump> {
        let (then, wall_then) = self.last.replace((monotonic, wall))?;
        let passed = i128::from(monotonic.0) - i128::from(then.0);
        let shown = i128::from(wall.0) - i128::from(wall_then.0);
        let by = shown - passed;
        // Two differences of 64 bits may need 65.
        let size = Duration::from_nanos(u64::try_from(by.unsigned_abs()).unwrap_or(u64::MAX));
        if size <= self.bound {
            return None;
        }
        Some(if by > 0 {
            Jump::Forwards(size)
        } else {
            Jump::Backwards(size)
        })
    }
}

impl fmt::Display for DriftBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ppm", self.ppm)
    }
}

impl fmt::Display for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, direction) = match self {
            Jump::Forwards(by) => (by, "forwards"),
            Jump::Backwards(by) => (by, "backwards"),
        };
        write!(
            f,
            "the wall clock jumped {direction} by {} ms",
            by.as_millis()
        )
    }
}
