#![doc = include_str!("story.md")]

mod exhibit;

use std::collections::VecDeque;
use std::f64::consts::PI;

/// A failure detector that says how surprised it is.
pub struct PhiAccrual;

/// From here on a silence is taken for a death.
pub const PHI_ENOUGH: f64 = 8.0;
/// So many deviations above the mean φ is 8: the quantile of 1 - 10⁻⁸ of the normal distribution.
pub const DEVIATIONS_AT_8: f64 = 5.612_001_244_174_965;

/// Remembers the gaps between heartbeats.
#[derive(Clone, Debug)]
pub struct Detector {
    /// How many gaps are remembered; `None`: all.
    window: Option<usize>,
    /// No deviation below this is believed. Milliseconds.
    deviation_min: f64,
    gaps: VecDeque<f64>,
    sum: f64,
    squares: f64,
}

impl Detector {
    /// One that has heard nothing yet.
    pub fn new(window: Option<usize>, deviation_min: f64) -> Detector {
        Detector {
            window,
            deviation_min,
            gaps: VecDeque::new(),
            sum: 0.0,
            squares: 0.0,
        }
    }

    /// A heartbeat came so long after the one before it. Milliseconds.
    pub fn hear(&mut self, gap: f64) {
        self.gaps.push_back(gap);
        self.sum += gap;
        self.squares += gap * gap;
        if self.window.is_some_and(|window| self.gaps.len() > window)
            && let Some(forgotten) = self.gaps.pop_front()
        {
            self.sum -= forgotten;
            self.squares -= forgotten * forgotten;
        }
    }

    /// How many gaps it remembers.
    pub fn n_gaps(&self) -> usize {
        self.gaps.len()
    }

    /// The mean of the gaps. Milliseconds; 0 when there is none.
    pub fn mean(&self) -> f64 {
        self.sum / self.gaps.len().max(1) as f64
    }

    /// Their deviation, and never less than its floor. Milliseconds.
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let variance = self.squares / self.gaps.len().max(1) as f64 - mean * mean;
        // What rounding leaves of nothing is nothing.
        let deviation = if variance > 1e-6 {
            variance.sqrt()
        } else {
            0.0
        };
        deviation.max(self.deviation_min)
    }

    /// How surprising a silence of so many milliseconds is. Without deviation any delay is infinitely so.
    pub fn phi(&self, silence: f64) -> f64 {
        let (late, deviation) = (silence - self.mean(), self.deviation());
        if deviation > 0.0 {
            phi_at(late / deviation)
        } else if late > 0.0 {
            f64::INFINITY
        } else {
            0.0
        }
    }

    /// After what silence it takes the other for dead. Milliseconds.
    pub fn limit(&self) -> f64 {
        self.mean() + DEVIATIONS_AT_8 * self.deviation()
    }
}

/// φ of a silence so many deviations above the mean.
pub fn phi_at(deviations: f64) -> f64 {
    -ln_tail(deviations) / std::f64::consts::LN_10
}

/// The natural logarithm of the probability that a normal variable is more than so many deviations above its mean.
pub fn ln_tail(deviations: f64) -> f64 {
    let z = deviations;
    if z < -3.0 {
        return (-ln_tail(-z).exp()).ln_1p();
    }
    let ln_density = -z * z / 2.0 - (2.0 * PI).ln() / 2.0;
    if z < 3.0 {
        // Marsaglia, "Evaluating the normal distribution" (2004): z + z³/3 + z⁵/(3·5) + …
        let (mut term, mut sum) = (z, z);
        for odd in 1..60 {
            term *= z * z / f64::from(2 * odd + 1);
            sum += term;
        }
        return (0.5 - ln_density.exp() * sum).ln();
    }
    // Laplace's continued fraction: 1/(z + 1/(z + 2/(z + 3/(z + …)))).
    let below = (1..80).rev().fold(z, |below, at| z + f64::from(at) / below);
    ln_density - below.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_tables() {
        for (z, tail) in [
            (-4.0, 0.999_968_328_758_166_9),
            (-1.0, 0.841_344_746_068_542_9),
            (0.0, 0.5),
            (1.0, 0.158_655_253_931_457_05),
            (2.0, 0.022_750_131_948_179_2),
            (3.0, 0.001_349_898_031_630_094_5),
            (4.0, 3.167_124_183_311_992e-5),
            (DEVIATIONS_AT_8, 1e-8),
        ] {
            let computed = ln_tail(z).exp();
            assert!(
                (computed / tail - 1.0).abs() < 1e-9,
                "{z}: {computed} and not {tail}"
            );
        }
    }

    #[test]
    fn a_silence_of_the_limit_is_just_enough() {
        let mut detector = Detector::new(Some(4), 10.0);
        for gap in [5.0, 90.0, 110.0, 100.0, 130.0] {
            detector.hear(gap);
        }
        assert_eq!(detector.n_gaps(), 4);
        assert!((detector.phi(detector.limit()) - PHI_ENOUGH).abs() < 1e-9);
    }
}
