//! Staleness: how often a read misses the last write, by N, W and R.
//!
//! Bailis and others, "Probabilistically bounded staleness for practical partial quorums" (2012). A write goes to all N
//! replicas and is acknowledged when W have answered. Some time after that a read goes to all N, and takes the newest
//! of the first R answers. It is stale when the write is in none of them. Four delays, all exponential: the write
//! on its way (5 ms on average: it goes to disk), its acknowledgement, the read, and its answer (1 ms each).
//!
//! With W + R > N every R answers come from a replica that had acknowledged: never stale. With W + R ≤ N, if the write
//! went no further than its W replicas, a read would miss it with probability C(N-W, R) / C(N, R) (§3.1). It does go
//! further, so what is measured is less, and the less the later the read.

use super::{columns, rate, uniform};
use base::Rng;

/// Mean delays, in milliseconds.
const WRITE_MS: f64 = 5.0;
const OTHER_MS: f64 = 1.0;
/// So long after the acknowledgement the read begins, in milliseconds.
pub const AFTER_MS: [f64; 4] = [0.0, 1.0, 5.0, 20.0];
/// Reads for each cell.
pub const READS: u64 = 20_000;

/// One row.
pub struct Stale {
    /// Replicas, acknowledgements, answers.
    pub quorum: (usize, usize, usize),
    /// Stale reads of [`READS`], for each of [`AFTER_MS`].
    pub stale: [u64; 4],
    /// If the write went no further.
    pub expected: f64,
}

/// The usual configurations: N, W, R.
pub fn measure() -> Vec<Stale> {
    let all = [
        (3, 1, 1),
        (3, 1, 2),
        (3, 2, 1),
        (3, 1, 3),
        (3, 2, 2),
        (3, 3, 1),
        (5, 1, 1),
        (5, 2, 2),
        (5, 3, 2),
        (5, 2, 4),
        (5, 3, 3),
        (5, 4, 2),
    ];
    let one = |(at, (n, w, r)): (usize, (usize, usize, usize))| {
        let mut rng = Rng::new(at as u64);
        let stale = AFTER_MS.map(|after| {
            (0..READS)
                .filter(|_| is_stale(n, w, r, after, &mut rng))
                .count() as u64
        });
        let miss = |k: usize| (n - w).saturating_sub(k) as f64 / (n - k) as f64;
        Stale {
            quorum: (n, w, r),
            stale,
            expected: (0..r).map(miss).product(),
        }
    };
    all.into_iter().enumerate().map(one).collect()
}

/// One write, and one read after it.
fn is_stale(n: usize, w: usize, r: usize, after: f64, rng: &mut Rng) -> bool {
    let written: Vec<f64> = (0..n).map(|_| exponential(WRITE_MS, rng)).collect();
    let mut acknowledged: Vec<f64> = written
        .iter()
        .map(|at| at + exponential(OTHER_MS, rng))
        .collect();
    acknowledged.sort_by(f64::total_cmp);
    let begin = acknowledged[w - 1] + after;
    let mut answers: Vec<(f64, bool)> = written
        .iter()
        .map(|written| {
            let asked = begin + exponential(OTHER_MS, rng);
            (asked + exponential(OTHER_MS, rng), *written <= asked)
        })
        .collect();
    answers.sort_by(|a, b| a.0.total_cmp(&b.0));
    !answers[..r].iter().any(|(_, has_it)| *has_it)
}

fn exponential(mean: f64, rng: &mut Rng) -> f64 {
    -mean * uniform(rng).ln()
}

/// The table.
pub fn table(rows: &[Stale]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|one| {
            let (n, w, r) = one.quorum;
            let is_strong = if w + r > n { "yes" } else { "no" };
            let mut row = vec![format!("{n}/{w}/{r}"), is_strong.to_string()];
            row.extend(one.stale.map(|stale| rate(stale as f64 / READS as f64)));
            row.push(rate(one.expected));
            row
        })
        .collect();
    let title = format!(
        "staleness: reads that miss the last write, of {READS} each, so long after its acknowledgement"
    );
    let heads = [
        "N/W/R",
        "W + R > N",
        "0 ms",
        "1 ms",
        "5 ms",
        "20 ms",
        "no further",
    ];
    columns(&title, &heads, &rows)
}
