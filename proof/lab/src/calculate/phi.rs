//! How surprising a silence is, beside what a fixed timeout says.

use super::Answer;
use crate::algorithms::phi_accrual::{Detector, PHI_ENOUGH};
use clap::Args;
use serde_json::json;

/// Gaps that are taken at most.
pub const GAPS_MAX: usize = 10_000;

/// Compute φ from the gaps between heartbeats and the silence since the last.
#[derive(Args, Debug)]
#[command(before_help = "\
Examples:
  quorate lab calc phi --gaps 100,98,103,101,99 --since 130
  quorate lab calc phi --gaps 100,250,60,180,90 --since 310 --fixed-timeout 300")]
pub struct Arguments {
    /// The gaps between heartbeats, in ms, joined by commas.
    #[arg(long, value_name = "MS,…", value_delimiter = ',', required = true)]
    gaps: Vec<f64>,
    /// How long ago the last heartbeat was, in ms.
    #[arg(long, value_name = "MS")]
    since: f64,
    /// The fixed timeout to stand beside it, in ms.
    #[arg(long, value_name = "MS", default_value_t = 300.0)]
    fixed_timeout: f64,
    /// No deviation below this is believed, in ms.
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    deviation_min: f64,
}

impl Arguments {
    pub(super) fn answer(&self) -> Result<Answer, String> {
        if self.gaps.len() > GAPS_MAX {
            return Err(format!("{} gaps: {GAPS_MAX} are taken", self.gaps.len()));
        }
        let named = [
            ("--since", self.since),
            ("--fixed-timeout", self.fixed_timeout),
            ("--deviation-min", self.deviation_min),
        ];
        let gaps = self.gaps.iter().map(|gap| ("a gap", *gap));
        for (name, value) in gaps.chain(named) {
            // Above a year the squares of gaps lose their digits.
            if !(0.0..=31_557_600_000.0).contains(&value) {
                return Err(format!("{name} is {value}: it is in ms, from 0 to a year"));
            }
        }
        Ok(of(
            &self.gaps,
            self.since,
            self.fixed_timeout,
            self.deviation_min,
        ))
    }
}

/// φ after a silence of `since`, beside a fixed `timeout`. Milliseconds.
pub fn of(gaps: &[f64], since: f64, timeout: f64, deviation_min: f64) -> Answer {
    let mut detector = Detector::new(None, deviation_min);
    for gap in gaps {
        detector.hear(*gap);
    }
    let (mean, deviation, phi) = (detector.mean(), detector.deviation(), detector.phi(since));
    // A silence below the mean surprises nobody: φ is never less than nothing.
    let phi = phi.max(0.0);
    let limit = detector.limit();
    let says = |is_dead| if is_dead { "dead" } else { "alive" };
    let is_dead = since >= limit && since > mean;
    let is_late = since >= timeout;
    let surprise = match phi.is_finite() {
        true => format!("{phi:.2}"),
        false => "without bound: all gaps were alike, so no silence was ever longer".to_string(),
    };
    let text = format!(
        "{} gaps: {mean:.1} ms on average, deviation {deviation:.1} ms\n\
         a silence of {since:.1} ms: φ is {surprise}\n\
         {:<22}{}, at φ = {PHI_ENOUGH:.0}: after {limit:.1} ms, wrong once in 10⁸ if gaps stay as they were\n\
         {:<22}{}, at {timeout:.1} ms, whatever the gaps are\n",
        gaps.len(),
        "φ says",
        says(is_dead),
        "a fixed timeout says",
        says(is_late),
    );
    Answer {
        text,
        json: json!({
            "mean": mean,
            "deviation": deviation,
            "since": since,
            // JSON has no infinity: null.
            "phi": phi,
            "limit": limit,
            "isDead": is_dead,
            "timeout": timeout,
            "isLate": is_late,
        }),
    }
}
