//! What a process takes of its machine, as the kernel counts it.

use std::time::Duration;

/// Between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// Pages of memory on every machine that we support.
const PAGE_BYTES: u64 = 4096;

/// What a process holds now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauge {
    /// Resident memory.
    pub(super) resident_bytes: u64,
    /// Threads.
    pub(super) n_threads: u64,
    /// Descriptors.
    pub(super) n_descriptors: u64,
}

impl Gauge {
    /// Looks; nothing if there is no such process.
    pub(super) fn of(pid: u32) -> Option<Gauge> {
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        // proc(5): size, resident, …, in pages.
        let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
        let count = |what| {
            Some(
                std::fs::read_dir(format!("/proc/{pid}/{what}"))
                    .ok()?
                    .count(),
            )
        };
        Some(Gauge {
            resident_bytes: pages * PAGE_BYTES,
            n_threads: count("task")? as u64,
            n_descriptors: count("fd")? as u64,
        })
    }

    /// The larger of each.
    pub(super) fn max(self, other: Gauge) -> Gauge {
        Gauge {
            resident_bytes: self.resident_bytes.max(other.resident_bytes),
            n_threads: self.n_threads.max(other.n_threads),
            n_descriptors: self.n_descriptors.max(other.n_descriptors),
        }
    }
}
