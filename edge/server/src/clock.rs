//! The clocks of a member, read here and nowhere else.
//!
//! Elections and leases run on the kernel's boot-time clock: it never steps, and it goes on in suspend, so
//! a resumed machine does not take its leases for fresh. The wall clock only stamps entries, so that
//! people can ask what was true at five past three.
//!
//! The wall clock with the kernel's own bound of its error is an [`Interval`]. The bound is what a time daemon
//! (ntpd, chrony, systemd-timesyncd) told the kernel, and the kernel lets it grow by 500 µs a second until
//! the daemon speaks again; after 16 s of error it calls the clock unsynchronised. Where no daemon ever spoke, as in
//! many containers and test machines, there is no bound and so no interval: no guess is made. It is as honest as
//! the daemon is: a server of time that lies moves both.

use base::Instant;
use clock::{Interval, UnixNanos};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// At this error the kernel itself gives a clock up (`NTP_PHASE_LIMIT` in its `timex.h`).
const ERROR_MAX: Duration = Duration::from_secs(16);

/// The kernel adds to its bound once a second, so it is too small by up to that (`MAXFREQ`, 500 ppm).
const ERROR_GROWTH: Duration = Duration::from_micros(500);

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

/// The wall clock.
pub fn wall() -> UnixNanos {
    let time = clock_gettime(ClockId::Realtime);
    UnixNanos((time.tv_sec.max(0) as u64) * 1_000_000_000 + time.tv_nsec as u64)
}

/// By how much the wall clock may be wrong, as the kernel estimates it; nothing while it is not
/// synchronised, or when the kernel does not say. Only reads.
pub fn error_bound() -> Option<Duration> {
    KernelTime::read().error_bound()
}

/// The wall clock with its error; nothing when there is no bound of it.
///
/// The bound is read first. Between the two readings the clock may drift, and the bound has room for
/// a second of that; a member that is stopped there for longer gets an old bound and a true reading. Who
/// sets the clock takes its synchronisation away, which the *next* call sees.
pub fn wall_interval() -> Option<Interval> {
    let error = error_bound()?;
    Some(Interval::around(wall(), error))
}

/// What the kernel says about its wall clock: the part of `adjtimex(2)` that is used here.
#[derive(Clone, Copy, Debug)]
struct KernelTime {
    /// The answer of the call: -1, or the state of the clock.
    state: i32,
    /// Flags, `STA_…`.
    status: i32,
    /// The largest error, in microseconds.
    error_max_us: i64,
}

impl KernelTime {
    /// Asks the kernel. No privilege is needed, because nothing is changed.
    fn read() -> KernelTime {
        // SAFETY: `timex` is a struct of integers, for which all zeros is a value. `adjtimex` writes
        // only to the struct that it is given, which lives here. Zero `modes` means: change nothing. rustix has
        // no safe form of this call.
        let (state, timex) = unsafe {
            let mut timex: libc::timex = std::mem::zeroed();
            let state = libc::adjtimex(&mut timex);
            (state, timex)
        };
        KernelTime {
            state,
            status: timex.status,
            #[allow(clippy::useless_conversion, reason = "32 bits on some machines")]
            error_max_us: i64::from(timex.maxerror),
        }
    }

    fn error_bound(self) -> Option<Duration> {
        let is_synchronised = self.state >= 0
            && self.state != libc::TIME_ERROR
            && self.status & (libc::STA_UNSYNC | libc::STA_CLOCKERR) == 0;
        // Negative is nonsense, not a small error.
        let error = Duration::from_micros(u64::try_from(self.error_max_us).ok()?);
        (is_synchronised && error < ERROR_MAX).then(|| error + ERROR_GROWTH)
    }
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
        assert!((wall().0 / 1_000_000).abs_diff(wall_ms()) < 60_000);
    }

    /// A synchronised clock that is off by at most 1,234 µs.
    const GOOD: KernelTime = KernelTime {
        state: libc::TIME_OK,
        status: libc::STA_PLL | libc::STA_NANO,
        error_max_us: 1234,
    };

    #[test]
    fn a_synchronised_clock_has_a_bound_and_no_other_has() {
        assert_eq!(GOOD.error_bound(), Some(Duration::from_micros(1734)));
        // A leap second that is announced is no doubt about the clock.
        let leap = KernelTime {
            state: libc::TIME_INS,
            ..GOOD
        };
        assert_eq!(leap.error_bound(), GOOD.error_bound());
        for bad in [
            KernelTime { state: -1, ..GOOD },
            KernelTime {
                state: libc::TIME_ERROR,
                ..GOOD
            },
            KernelTime {
                status: GOOD.status | libc::STA_UNSYNC,
                ..GOOD
            },
            KernelTime {
                status: GOOD.status | libc::STA_CLOCKERR,
                ..GOOD
            },
            KernelTime {
                error_max_us: -1,
                ..GOOD
            },
            KernelTime {
                error_max_us: 16_000_000,
                ..GOOD
            },
            KernelTime {
                error_max_us: i64::MAX,
                ..GOOD
            },
        ] {
            assert_eq!(bad.error_bound(), None, "{bad:?}");
        }
    }

    #[test]
    fn the_kernel_answers_and_what_it_says_is_sane() {
        let kernel = KernelTime::read();
        assert!(kernel.state >= 0, "reading needs no privilege: {kernel:?}");
        assert!(kernel.error_max_us >= 0, "{kernel:?}");
        let is_unsynchronised = kernel.status & libc::STA_UNSYNC != 0;
        if is_unsynchronised {
            assert_eq!(kernel.error_bound(), None, "{kernel:?}");
        }
        if let Some(interval) = wall_interval() {
            assert!(interval.width() >= 2 * ERROR_GROWTH);
            assert!(interval.width() < 2 * (ERROR_MAX + ERROR_GROWTH));
        }
    }
}
