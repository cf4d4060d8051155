//! How often a majority is up, when each member is up by itself with some probability.
//!
//! Members fail together too: one rack, one version, one operator. What is computed here is the best that independence
//! can give.

use super::Answer;
use base::quorum;
use clap::Args;
use serde_json::json;
use std::fmt::Write as _;

/// Members that are counted at most.
pub const MEMBERS_MAX: u32 = 99;

const SECONDS_A_YEAR: f64 = 365.25 * 86_400.0;

/// Compute how often a majority is up.
#[derive(Args, Debug)]
#[command(before_help = "\
Examples:
  quorate lab calc availability                          sizes 1 to 9, each member up 99 % of the time
  quorate lab calc availability --up 0.999 --members 5   one size")]
pub struct Arguments {
    /// The probability that one member is up, from 0 to 1.
    #[arg(long, value_name = "P", default_value_t = 0.99)]
    up: f64,
    /// This size only.
    #[arg(long, value_name = "N")]
    members: Option<u32>,
}

/// The probability that fewer than a majority of `members` are up, when each is up with probability `up`.
///
/// The sum of the improbable terms itself: as one minus the rest nothing would be left of it.
pub fn no_majority(members: u32, up: f64) -> f64 {
    let mut chosen = 1.0;
    let mut sum = 0.0;
    for k in 0..quorum::majority(members) {
        // chosen = members over k
        let n = members - k;
        sum += chosen * up.powf(f64::from(k)) * (1.0 - up).powf(f64::from(n));
        chosen *= f64::from(n) / f64::from(k + 1);
    }
    sum
}

impl Arguments {
    pub(super) fn answer(&self) -> Result<Answer, String> {
        let up = self.up;
        if !(0.0..=1.0).contains(&up) {
            return Err(format!(
                "the probability is {up}: it is 0 to 1 (0.99 is up 99 % of the time)"
            ));
        }
        let sizes = match self.members {
            None => 1..=9,
            Some(n) if (1..=MEMBERS_MAX).contains(&n) => n..=n,
            Some(n) => {
                return Err(format!(
                    "N is {n}: a cluster has 1 to {MEMBERS_MAX} members here"
                ));
            }
        };
        let mut text = format!(
            "each member is up {:.4} % of the time, and no two fail together\n\nmembers  majority up           down in a year\n",
            up * 100.0
        );
        let mut rows = Vec::new();
        for members in sizes {
            let down = no_majority(members, up);
            let _ = writeln!(
                text,
                "{members:<9}{:<22}{}",
                percent(down),
                span(down * SECONDS_A_YEAR)
            );
            rows.push(json!({
                "members": members,
                "majority": quorum::majority(members),
                "unavailable": down,
                "downSecondsAYear": down * SECONDS_A_YEAR,
            }));
        }
        text += "\nAn even size is worse than the odd one below it: it needs one more, and tolerates no more.\n";
        Ok(Answer {
            text,
            json: json!({ "up": up, "sizes": rows }),
        })
    }
}

/// `99.999999 %`, with two digits past the nines.
fn percent(down: f64) -> String {
    let digits = match down {
        down if down <= 0.0 => 0,
        down => (-(down * 100.0).log10()).ceil().clamp(0.0, 12.0) as usize + 1,
    };
    format!("{:.digits$} %", (1.0 - down) * 100.0)
}

fn span(seconds: f64) -> String {
    match seconds {
        s if s >= 86_400.0 => format!("{:.1} days", s / 86_400.0),
        s if s >= 3_600.0 => format!("{:.1} hours", s / 3_600.0),
        s if s >= 60.0 => format!("{:.1} minutes", s / 60.0),
        s if s >= 1.0 => format!("{s:.1} seconds"),
        s => format!("{:.3} ms", s * 1000.0),
    }
}
