//! What must hold under attack.
//!
//! - The member lives.
//! - No honest request fails, newcomers' neither.
//! - The honest p99 at most doubles; below [`QUICK`] it may do as it likes, because this machine is small and shared, and
//!   a p99 of 3 ms doubles when somebody else compiles.
//! - One attacker takes at most the bytes that the attack's table states, beyond [`NOISE_BYTES`] in all.
//! - Within [`RECOVERY`] after the attack the memory is back but for [`NOISE_BYTES`], and the descriptors are.

use super::Waits;
use super::attack::Attack;
use super::gauge::Gauge;
use super::honest::Met;
use std::time::Duration;

/// A p99 below this is good whatever it was before.
pub(super) const QUICK: Duration = Duration::from_millis(20);

/// Bytes by which a process grows and shrinks by itself: what its allocator keeps, and the log and the history that the
/// honest requests write.
pub(super) const NOISE_BYTES: u64 = 24 << 20;

/// Descriptors that come and go by themselves: honest newcomers, files of the log.
const NOISE_DESCRIPTORS: u64 = 48;

/// In this time memory and descriptors are back: longer than the longest timeout that an attacker can wait for.
pub(super) const RECOVERY: Duration = Duration::from_secs(40);

/// Heads the lines of the table.
pub(super) const HEAD: &str = "attack           attackers  acts/s   RSS MiB before/peak/after   bytes/attacker (bound)   p50/p99 ms quiet -> attacked   newcomer ms   accepted/refused   fds  threads  back after  verdict";

/// One attack and what came of it.
pub(super) struct Trial<'a> {
    pub(super) attack: &'a Attack,
    pub(super) quiet: Met,
    pub(super) attacked: Met,
    pub(super) before: Gauge,
    pub(super) peak: Gauge,
    pub(super) after: Gauge,
    pub(super) recovery: Duration,
    pub(super) is_alive: bool,
    /// Connections accepted, connections refused or ended, acts.
    pub(super) counts: [u64; 3],
}

/// Whether a member holds what it held before, more or less.
pub(super) fn is_back(before: Gauge, now: Gauge) -> bool {
    now.resident_bytes <= before.resident_bytes + NOISE_BYTES
        && now.n_descriptors <= before.n_descriptors + NOISE_DESCRIPTORS
}

impl Trial<'_> {
    fn grown_bytes(&self) -> u64 {
        self.peak
            .resident_bytes
            .saturating_sub(self.before.resident_bytes)
    }

    fn bytes_per_attacker(&self) -> u64 {
        self.grown_bytes() / u64::from(self.attack.n_attackers)
    }

    /// What did not hold.
    pub(super) fn harm(&self, waits: Waits) -> Vec<String> {
        let mut harm = Vec::new();
        if !self.is_alive {
            harm.push("the member died".to_owned());
        }
        for met in [&self.quiet, &self.attacked] {
            if let Some(first) = met.failed.first() {
                let n = met.failed.len();
                harm.push(format!("{n} honest requests failed; the first: {first}"));
            }
        }
        let (quiet, attacked) = (self.quiet.percentile(99), self.attacked.percentile(99));
        if waits == Waits::Judge && attacked > QUICK && attacked > 2 * quiet {
            harm.push(format!(
                "the honest p99 went from {quiet:?} to {attacked:?}"
            ));
        }
        let allowed = self.attack.bytes_max * u64::from(self.attack.n_attackers) + NOISE_BYTES;
        if self.grown_bytes() > allowed {
            let (one, bound) = (self.bytes_per_attacker(), self.attack.bytes_max);
            harm.push(format!(
                "an attacker took {one} bytes, and {bound} are allowed"
            ));
        }
        if self.is_alive && !is_back(self.before, self.after) {
            harm.push(format!("{RECOVERY:?} later it still holds it"));
        }
        harm
    }

    /// One line of the table.
    pub(super) fn line(&self, harm: &[String]) -> String {
        let mib = |gauge: Gauge| gauge.resident_bytes >> 20;
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
        let waits = |met: &Met| format!("{}/{}", ms(met.percentile(50)), ms(met.percentile(99)));
        let [accepted, refused, acts] = self.counts;
        format!(
            "{:<16} {:>9} {:>7}   {:>24}   {:>22}   {:>28}   {:>11}   {:>16} {:>5} {:>6}   {:>8}s   {}",
            self.attack.name,
            self.attack.n_attackers,
            self.attack.per_second,
            format!(
                "{}/{}/{}",
                mib(self.before),
                mib(self.peak),
                mib(self.after)
            ),
            format!("{} ({})", self.bytes_per_attacker(), self.attack.bytes_max),
            format!("{} -> {}", waits(&self.quiet), waits(&self.attacked)),
            ms(self.attacked.slowest_newcomer()),
            format!("{accepted}/{refused}"),
            self.peak.n_descriptors,
            self.peak.n_threads,
            format!("{:.1}", self.recovery.as_secs_f64()),
            match harm.is_empty() {
                true => format!("held ({acts} acts)"),
                false => format!("HARM: {}", harm.join("; ")),
            }
        )
    }
}
