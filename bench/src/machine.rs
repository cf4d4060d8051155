//! The machine itself: how long it stood still, and what its host took from it.
//!
//! A virtual machine that has used up its share is stopped for tens of milliseconds, and every process in it
//! with it. A thread of the highest ordinary priority that only sleeps sees such halts, so that they are not
//! taken for the server's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SLEEP: Duration = Duration::from_millis(1);

/// What is late by more counts as a halt.
const HALT: Duration = Duration::from_millis(5);

/// The thread; it ends when this is dropped.
pub(crate) struct Machine {
    worst_us: Arc<AtomicU64>,
    sum_us: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    ticks: std::cell::Cell<(u64, u64)>,
}

/// What happened since the last look.
pub(crate) struct Halts {
    /// The longest time for which a thread that should have run did not, in microseconds.
    pub(crate) worst_us: u64,
    /// All such times of more than five milliseconds together.
    pub(crate) sum_us: u64,
    /// The share of the machine's time that its host gave to others (`steal`).
    pub(crate) stolen: f64,
}

impl Machine {
    pub(crate) fn watch() -> Machine {
        let (worst_us, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let sum_us = Arc::new(AtomicU64::new(0));
        let (worst, sum, stopped) = (worst_us.clone(), sum_us.clone(), stop.clone());
        std::thread::spawn(move || {
            // Only root may; without it, halts by busy neighbours in this machine are seen as well.
            let _ = rustix::process::setpriority_process(None, -20);
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                std::thread::sleep(SLEEP);
                let late = began.elapsed().saturating_sub(SLEEP);
                worst.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
                if late > HALT {
                    sum.fetch_add(late.as_micros() as u64, Ordering::Relaxed);
                }
            }
        });
        Machine {
            worst_us,
            sum_us,
            stop,
            ticks: std::cell::Cell::new(stolen_and_all()),
        }
    }

    /// What happened since the last call.
    pub(crate) fn take(&self) -> Halts {
        let now = stolen_and_all();
        let before = self.ticks.replace(now);
        let all = now.1.saturating_sub(before.1).max(1);
        Halts {
            worst_us: self.worst_us.swap(0, Ordering::Relaxed),
            sum_us: self.sum_us.swap(0, Ordering::Relaxed),
            stolen: now.0.saturating_sub(before.0) as f64 / all as f64,
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
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
