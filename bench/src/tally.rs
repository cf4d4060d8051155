//! What was measured: latencies, errors, the generator's own CPU time.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Collects while a load runs. All tasks share one, on one thread.
pub(crate) struct Tally {
    latencies_us: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
    began: Instant,
    own_cpu: Duration,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally {
            // Three digits, from 1 µs; it grows by itself to the worst value.
            latencies_us: Histogram::new(3).expect("3 digits are allowed"),
            errors: 0,
            first_error: None,
            began: Instant::now(),
            own_cpu: own_cpu(),
        }
    }

    pub(crate) fn done(&mut self, took: Duration) {
        // `record`, since `saturating_record` would cut at what the histogram holds now instead of growing.
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latencies_us
            .record(us)
            .expect("it grows to hold any value");
    }

    pub(crate) fn failed(&mut self, why: &dyn std::fmt::Display) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| why.to_string());
    }

    pub(crate) fn done_so_far(&self) -> u64 {
        self.latencies_us.len()
    }

    pub(crate) fn summary(&self) -> Summary {
        let elapsed = self.began.elapsed();
        let operations = self.latencies_us.len();
        let at = |quantile| self.latencies_us.value_at_quantile(quantile);
        Summary {
            operations,
            errors: self.errors,
            first_error: self.first_error.clone(),
            seconds: elapsed.as_secs_f64(),
            per_second: operations as f64 / elapsed.as_secs_f64(),
            mean_us: self.latencies_us.mean(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.latencies_us.max(),
            generator_cpu_us_per_operation: per(own_cpu() - self.own_cpu, operations),
        }
    }
}

/// What a load came to. Latencies are in microseconds, as its client saw them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) operations: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) mean_us: f64,
    pub(crate) p50_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) max_us: u64,
    pub(crate) generator_cpu_us_per_operation: f64,
}

/// Microseconds of `total` for each of `n`.
pub(crate) fn per(total: Duration, n: u64) -> f64 {
    total.as_secs_f64() * 1e6 / (n.max(1) as f64)
}

/// CPU time of this process so far.
fn own_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_operation_is_not_cut_short() {
        let mut tally = Tally::new();
        for ms in [1, 2, 30_000] {
            tally.done(Duration::from_millis(ms));
        }
        let summary = tally.summary();
        assert!(
            summary.max_us.abs_diff(30_000_000) < 30_000,
            "{} µs",
            summary.max_us
        );
        assert_eq!(summary.p50_us / 10, 200);
    }
}
