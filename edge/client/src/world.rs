//! What comes from the operating system: a clock that counts while the machine sleeps, and chance.
//!
//! Everything that decides whether a lock is still held reads [`now`]. Timers of the runtime count on a clock that stands
//! still during suspend, so they only say when to look again.

use base::Instant;
use rustix::time::{ClockId, clock_gettime};
use std::hash::{BuildHasher as _, RandomState};

/// Now, on a clock that never goes back and counts suspended time.
pub(crate) fn now() -> Instant {
    // Elsewhere the monotonic clock is the one that counts through sleep.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = clock_gettime(CLOCK);
    Instant(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// 64 bits that no other process draws.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    let drawn = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match drawn == Ok(bytes.len()) {
        true => u64::from_le_bytes(bytes),
        // A kernel without the call: the standard library's keys are drawn from the system as well.
        false => RandomState::new().hash_one(now().0),
    }
}
