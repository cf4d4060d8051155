//! What a process used: CPU time of all its threads, user and system, and resident memory.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Linux counts in ticks of 1/100 s for user space, on every machine that we support.
const TICK: Duration = Duration::from_millis(10);
const PAGE_BYTES: u64 = 4096;

/// What one or several processes used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time, user and system, in steps of 10 ms.
    pub cpu: Duration,
    /// Resident memory now, in bytes.
    pub resident_bytes: u64,
}

impl Add for Usage {
    type Output = Usage;
    fn add(self, other: Usage) -> Usage {
        Usage {
            cpu: self.cpu + other.cpu,
            resident_bytes: self.resident_bytes + other.resident_bytes,
        }
    }
}

impl Sub for Usage {
    type Output = Usage;
    /// CPU since `earlier`; memory as it is now.
    fn sub(self, earlier: Usage) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            resident_bytes: self.resident_bytes,
        }
    }
}

/// Reads `/proc/PID/stat`; `None` if there is no such process.
pub fn usage(pid: u32) -> Option<Usage> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The second field is the program's name in parentheses and may hold blanks, so count after its end.
fn parse(stat: &str) -> Option<Usage> {
    let rest = stat.rsplit_once(") ")?.1;
    // `rest` begins with field 3 of proc(5): utime is 14, stime 15, rss 24.
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = number(14)? + number(15)?;
    Some(Usage {
        cpu: TICK * u32::try_from(ticks).ok()?,
        resident_bytes: number(24)? * PAGE_BYTES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 9 0 5 1000 25 0";
        let used = parse(stat).expect("a full line");
        assert_eq!(used.cpu, Duration::from_secs(2));
        assert_eq!(used.resident_bytes, 25 * PAGE_BYTES);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(usage(std::process::id()).expect("we run").resident_bytes > 100_000);
    }

    #[test]
    fn a_process_that_is_not_there_uses_nothing() {
        assert!(usage(u32::MAX).is_none());
    }
}
