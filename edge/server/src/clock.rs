//! The two clocks of a member, read here and nowhere else.
//!
//! Elections and leases run on the kernel's boot-time clock: it never steps, and it goes on in suspend, so
//! a resumed machine does not take its leases for fresh. The wall clock only stamps entries, so that
//! people can ask what was true at five past three.

use base::Instant;
use rustix::time::{ClockId, clock_gettime};

/// The boot-time clock.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    Instant((time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64)
}

/// The wall clock, in milliseconds since 1970.
pub fn wall_ms() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    (time.tv_sec.max(0) as u64) * 1000 + time.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_run_forward_and_agree_with_the_standard_library() {
        let (first, second) = (now(), now());
        assert!(second >= first && first > Instant(0));
        let std_ms = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_millis() as u64;
        assert!(std_ms.abs_diff(wall_ms()) < 60_000);
    }
}
