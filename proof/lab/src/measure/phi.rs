//! φ and its mistakes: a suspicion of φ is wrong with probability 10^-φ, on the distribution that is assumed.
//!
//! Hayashibara and others, "The φ accrual failure detector" (2004). Gaps are drawn from a normal distribution.
//! Mistakes up to φ = 4 are counted. Once in 10⁸ cannot be counted in a second: there the drawing is moved to where
//! mistakes are made, and each is weighed by how much rarer it is than it was drawn ("importance sampling"). The last
//! column is the detector of the exhibit, which has to estimate mean and deviation from its last 100 gaps: it errs
//! a little more often, for its deviation is sometimes too small.

use super::{columns, rate, uniform};
use crate::algorithms::phi_accrual::{Detector, phi_at};
use base::Rng;
use std::f64::consts::PI;

/// Gaps that are counted.
const COUNTED: u64 = 2_000_000;
/// Gaps that are weighed.
const WEIGHED: u64 = 200_000;
/// Mean and deviation of the gaps, in milliseconds.
const GAPS: (f64, f64) = (1000.0, 100.0);

/// One row.
pub struct Mistakes {
    /// The suspicion.
    pub phi: f64,
    /// So many deviations above the mean.
    pub deviations: f64,
    /// 10^-φ.
    pub expected: f64,
    /// Counted, of those that are frequent enough to be.
    pub counted: Option<f64>,
    /// Weighed.
    pub weighed: f64,
    /// Counted, of a detector that learns.
    pub learnt: Option<f64>,
}

/// φ from 1 to 10.
pub fn measure() -> Vec<Mistakes> {
    let phis = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0];
    let deviations = phis.map(quantile);
    let mut counts = [0u64; 7];
    let mut learnt = [0u64; 7];
    let mut rng = Rng::new(8);
    let mut detector = Detector::new(Some(100), 1.0);
    for at in 0..COUNTED + 100 {
        let z = normal(&mut rng);
        let gap = GAPS.0 + GAPS.1 * z;
        if at >= 100 {
            let believed = (gap - detector.mean()) / detector.deviation();
            for (row, limit) in deviations.iter().enumerate() {
                counts[row] += u64::from(z > *limit);
                learnt[row] += u64::from(believed > *limit);
            }
        }
        detector.hear(gap);
    }
    let row = |(at, phi): (usize, f64)| {
        let is_counted = phi <= 4.0;
        let part = |count: u64| is_counted.then_some(count as f64 / COUNTED as f64);
        Mistakes {
            phi,
            deviations: deviations[at],
            expected: 10f64.powf(-phi),
            counted: part(counts[at]),
            weighed: weighed(deviations[at], at as u64),
            learnt: part(learnt[at]),
        }
    };
    phis.into_iter().enumerate().map(row).collect()
}

/// How many deviations above the mean φ is this much.
fn quantile(phi: f64) -> f64 {
    let (mut low, mut high) = (-1.0, 40.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if phi_at(middle) < phi {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The probability of more than so many deviations, drawn around just there: x from N(limit, 1), with the weight
/// density of N(0, 1) over density of N(limit, 1) = exp(limit²/2 - limit·x).
fn weighed(limit: f64, seed: u64) -> f64 {
    let mut rng = Rng::new(seed);
    let sum: f64 = (0..WEIGHED)
        .map(|_| limit + normal(&mut rng))
        .filter(|x| *x > limit)
        .map(|x| (limit * limit / 2.0 - limit * x).exp())
        .sum();
    sum / WEIGHED as f64
}

/// Box and Muller (1958).
fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * uniform(rng).ln()).sqrt() * (2.0 * PI * uniform(rng)).cos()
}

/// The table.
pub fn table(rows: &[Mistakes]) -> String {
    let cell = |part: Option<f64>| part.map_or("-".into(), rate);
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|one| {
            vec![
                format!("{}", one.phi),
                format!("{:.3}", one.deviations),
                format!("{:.0}", GAPS.0 + GAPS.1 * one.deviations),
                format!("1e-{}", one.phi),
                cell(one.counted),
                rate(one.weighed),
                cell(one.learnt),
            ]
        })
        .collect();
    let title = format!(
        "phi: gaps longer than φ allows, of normal ones ({} ms, deviation {} ms)",
        GAPS.0, GAPS.1
    );
    let heads = [
        "φ",
        "deviations",
        "ms",
        "assumed",
        "counted of 2e6",
        "weighed",
        "window of 100",
    ];
    columns(&title, &heads, &rows)
}
