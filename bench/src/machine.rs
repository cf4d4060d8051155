//! The machine itself: how long its processors and its disk stood still, and what its host took from it.
//!
//! A virtual machine that has used up its share is stopped for tens of milliseconds, often one processor at a
//! time, and whatever was running or queued there with it. A thread of the highest ordinary priority on each
//! processor, which only sleeps, sees such halts, so that they are not taken for the server's. A disk that many
//! machines share stands still as well: one more thread syncs a sector of a file of its own, and what is slow for
//! it is slow for everybody who syncs.

use crate::Failure;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const SLEEP: Duration = Duration::from_millis(1);

/// What is late by more counts as a halt.
const HALT: Duration = Duration::from_millis(3);

/// A sector is synced so often.
const SYNC_EVERY: Duration = Duration::from_millis(5);

/// What the bare sync writes.
const SECTOR: [u8; 512] = [1; 512];

/// The threads; they end when this is dropped.
pub(crate) struct Machine {
    halts: Arc<Mutex<Vec<Halt>>>,
    slowest_sync_us: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    ticks: Cell<(u64, u64)>,
}

/// One processor did not run from `began` to `ended`.
#[derive(Clone, Copy, Debug)]
struct Halt {
    began: Instant,
    ended: Instant,
}

/// What happened since the last look.
pub(crate) struct Halts {
    /// In the order in which they began; those of two processors may overlap.
    halts: Vec<Halt>,
    /// The longest time that one sector of a file of nobody else's took to be synced.
    pub(crate) slowest_sync: Duration,
    /// The share of the machine's time that its host gave to others (`steal`).
    pub(crate) stolen: f64,
}

impl Machine {
    /// Watches the processors, and the disk of the folder `disk`.
    pub(crate) fn watch(disk: &Path) -> Result<Machine, Failure> {
        let halts = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let ours = sched_getaffinity(None).unwrap_or_default();
        for cpu in (0..CpuSet::MAX_CPU).filter(|&cpu| ours.is_set(cpu)) {
            let (halts, stop) = (halts.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut only = CpuSet::new();
                only.set(cpu);
                let _ = sched_setaffinity(None, &only);
                // Only root may; without it, halts by busy neighbours in this machine are seen as well.
                let _ = rustix::process::setpriority_process(None, -20);
                while !stop.load(Ordering::Relaxed) {
                    let due = Instant::now() + SLEEP;
                    std::thread::sleep(SLEEP);
                    let ended = Instant::now();
                    if ended.saturating_duration_since(due) > HALT {
                        let mut halts = halts.lock().unwrap_or_else(PoisonError::into_inner);
                        halts.push(Halt { began: due, ended });
                    }
                }
            });
        }
        let slowest_sync_us = Arc::new(AtomicU64::new(0));
        let (slowest, stopped) = (slowest_sync_us.clone(), stop.clone());
        let file = tempfile_in(disk)?;
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                // A disk that fails is found by the servers.
                let _ = file
                    .write_all_at(&SECTOR, 0)
                    .and_then(|()| file.sync_data());
                slowest.fetch_max(began.elapsed().as_micros() as u64, Ordering::Relaxed);
                std::thread::sleep(SYNC_EVERY);
            }
        });
        Ok(Machine {
            halts,
            slowest_sync_us,
            stop,
            ticks: Cell::new(stolen_and_all()),
        })
    }

    /// What happened since the last call.
    pub(crate) fn take(&self) -> Halts {
        let now = stolen_and_all();
        let before = self.ticks.replace(now);
        let all = now.1.saturating_sub(before.1).max(1);
        let mut halts = self.halts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut halts = std::mem::take(&mut *halts);
        halts.sort_by_key(|halt| halt.began);
        Halts {
            halts,
            slowest_sync: Duration::from_micros(self.slowest_sync_us.swap(0, Ordering::Relaxed)),
            stolen: now.0.saturating_sub(before.0) as f64 / all as f64,
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Halts {
    /// The longest halt of one processor.
    pub(crate) fn worst(&self) -> Duration {
        let lengths = self.halts.iter().map(|halt| halt.ended - halt.began);
        lengths.max().unwrap_or_default()
    }

    /// How much of the time from `from` to `to` at least one processor stood still.
    pub(crate) fn within(&self, from: Instant, to: Instant) -> Duration {
        let (mut sum, mut counted_to) = (Duration::ZERO, from);
        for halt in &self.halts {
            let (began, ended) = (halt.began.max(counted_to), halt.ended.min(to));
            if began < ended {
                sum += ended - began;
                counted_to = ended;
            }
        }
        sum
    }
}

/// A file without a name.
fn tempfile_in(folder: &Path) -> std::io::Result<File> {
    let path = folder.join(format!("bare-sync-{}", std::process::id()));
    let file = File::create(&path)?;
    std::fs::remove_file(path)?;
    file.write_all_at(&SECTOR, 0)?;
    file.sync_all()?;
    Ok(file)
}

/// Ticks of the whole machine: stolen ones, and all. See `proc_stat(5)`.
fn stolen_and_all() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guests are in `user` already.
    (
        ticks.get(7).copied().unwrap_or(0),
        ticks.iter().take(8).sum(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_when_two_processors_stood_still_counts_once() {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let halt = |from, to| Halt {
            began: at(from),
            ended: at(to),
        };
        let halts = Halts {
            halts: vec![halt(10, 40), halt(20, 30), halt(35, 50), halt(70, 80)],
            slowest_sync: Duration::ZERO,
            stolen: 0.0,
        };
        let within = |from, to| halts.within(at(from), at(to)).as_millis();
        assert_eq!(within(0, 100), 50, "10 to 50, 70 to 80");
        assert_eq!(within(25, 75), 30, "25 to 50, 70 to 75");
        assert_eq!(within(50, 70), 0);
        assert_eq!(halts.worst(), Duration::from_millis(30));
    }
}
