//! Who must stop when: the guard band of a lease.

use super::Answer;
use base::Instant;
use clap::Args;
use clock::guard::{self, DRIFT_PPM_MAX, DriftBound};
use serde_json::json;
use std::time::Duration;

/// A lease that is longer is a slip of the pen.
const TTL_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Compute when the holder of a lease must stop, and when its grantor may let go.
#[derive(Args, Debug)]
#[command(before_help = "\
Examples:
  quorate lab calc lease --ttl 10s --drift-ppm 200
  quorate lab calc lease --ttl 10s --drift-ppm 200 --clock-error 5ms --pause 250ms")]
pub struct Arguments {
    /// For how long the lease is granted: 10s, 500ms.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// By how much a clock may run too fast or too slow, in millionths.
    #[arg(long, value_name = "PPM")]
    drift_ppm: u32,
    /// How coarse the holder's clock is, or how wrong it may be read.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "0ms")]
    clock_error: Duration,
    /// The longest that the holder may stand still between its look at the clock and the end of what it does.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "0ms")]
    pause: Duration,
}

/// What a lease allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Band {
    /// By how much the holder stops early because of the clocks' rates and errors.
    pub guard_band: Duration,
    /// Until when it may begin something, from when it sent its renewal, by its own clock. Nothing: never.
    pub holder_begins_until: Option<Duration>,
    /// From when the grantor may let go, from when it received the renewal, by its own clock.
    pub grantor_lets_go: Duration,
}

/// What a lease of `ttl` allows.
pub fn of(ttl: Duration, drift: DriftBound, clock_error: Duration, pause: Duration) -> Band {
    let zero = Instant(0);
    let sure = ttl.saturating_sub(clock_error);
    let stops = guard::holder_stops_at(zero, sure, pause, Some(drift));
    let lets_go = guard::grantor_lets_go_at(zero, ttl);
    Band {
        guard_band: ttl.saturating_sub(guard::usable(sure, drift)),
        holder_begins_until: stops.map(|at| Duration::from_nanos(at.0)),
        grantor_lets_go: Duration::from_nanos(lets_go.0),
    }
}

impl Arguments {
    pub(super) fn answer(&self) -> Result<Answer, String> {
        let drift = DriftBound::from_ppm(self.drift_ppm).ok_or_else(|| {
            format!(
                "a drift of {} ppm: it is 0 to {DRIFT_PPM_MAX} (a clock that wrong is broken)",
                self.drift_ppm
            )
        })?;
        for (name, value) in [
            ("--ttl", self.ttl),
            ("--clock-error", self.clock_error),
            ("--pause", self.pause),
        ] {
            if value > TTL_MAX {
                return Err(format!("{name} is {}: it is a year at most", ms(value)));
            }
        }
        if self.ttl.is_zero() {
            return Err("--ttl is 0: such a lease is over when it is granted".into());
        }
        Ok(answer(self.ttl, drift, self.clock_error, self.pause))
    }
}

/// What a lease of `ttl` allows, in words and for programs.
pub fn answer(ttl: Duration, drift: DriftBound, clock_error: Duration, pause: Duration) -> Answer {
    let band = of(ttl, drift, clock_error, pause);
    let holder = match band.holder_begins_until {
        Some(until) => format!(
            "must begin its last act before {} from when it SENT its renewal, by its own steady clock",
            ms(until)
        ),
        None => {
            "may never act on it: no time is left. The lease is a hint, and only a token that the \
                     resource checks is safe"
                .to_string()
        }
    };
    let text = format!(
        "lease of {}, clocks wrong by {drift} at most, read with an error of {}, pauses of {} at most\n\n\
             guard band   {}\n\
             holder       {holder}\n\
             grantor      may give it to another {} after it RECEIVED the renewal, by its own steady clock\n\n\
             A pause that is longer than stated breaks this, and so does a clock: then a token that the resource checks is \
             the second defence.\n",
        ms(ttl),
        ms(clock_error),
        ms(pause),
        ms(band.guard_band),
        ms(band.grantor_lets_go),
    );
    Answer {
        text,
        json: json!({
            "ttlNs": nanos(ttl),
            "driftPpm": drift.ppm(),
            "clockErrorNs": nanos(clock_error),
            "pauseNs": nanos(pause),
            "guardBandNs": nanos(band.guard_band),
            "holderBeginsUntilNs": band.holder_begins_until.map(nanos),
            "grantorLetsGoNs": nanos(band.grantor_lets_go),
        }),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}
