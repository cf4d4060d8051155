//! What the other members' wall clocks say, as seen from here.
//!
//! Once a second a member asks all others for their wall clock. The answer was given somewhere between the
//! question and its arrival, so it is taken for the middle, with half the round trip as its error (Cristian's
//! method). It is kept against this member's *monotonic* clock: so it stays true when the own wall clock is set.
//!
//! One leader's wildly wrong clock would drag hybrid time along for ever, since stamps never fall. So a leader
//! compares its clock with the median of the voters' and does not stamp later than a bound beyond it
//! ([`Clocks::latest_stamp_ms`]). One clock against one proves nothing: the median of two is the later.
//!
//! What is deliberately absent: setting a clock, and any use of these numbers for leases, which count on
//! monotonic clocks alone.

use base::{Instant, MemberId, Membership};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the others are asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// An older reading than this says nothing about now.
const READING_AGE_MAX: Duration = Duration::from_secs(30);

/// How another member's wall clock differs from ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockOffset {
    /// By how many milliseconds it is ahead of ours; negative when it is behind.
    pub ahead_ms: i64,
    /// The true difference is this far from it at most, either way.
    pub error: Duration,
    /// When it was measured, on our monotonic clock.
    pub measured: Instant,
}

/// What a member's wall clock said at an instant of our monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Reading {
    wall_ms: u64,
    at: Instant,
    error: Duration,
}

impl Reading {
    fn at(&self, now: Instant) -> u64 {
        self.wall_ms
            .saturating_add(now.since(self.at).as_millis() as u64)
    }
}

/// The wall clocks of all members.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    own: Option<Reading>,
    asked: Option<Instant>,
    others: BTreeMap<MemberId, Reading>,
}

impl Clocks {
    /// Our own wall clock says `wall_ms` at `now`.
    pub(crate) fn read_own(&mut self, now: Instant, wall_ms: u64) {
        self.own = Some(Reading {
            wall_ms,
            at: now,
            error: Duration::ZERO,
        });
    }

    /// What our own wall clock says about `now`.
    pub(crate) fn own_ms(&self, now: Instant) -> Option<u64> {
        self.own.map(|own| own.at(now))
    }

    /// Whether it is time to ask, and with which number.
    pub(crate) fn ask(&mut self, now: Instant) -> Option<u64> {
        let is_due = self.asked.is_none_or(|asked| now.since(asked) >= ASK_EVERY);
        is_due.then(|| {
            self.asked = Some(now);
            now.0
        })
    }

    /// `member` answers the question `asked`. Only the newest question has an answer: an older one's would have
    /// a larger error than what is known already.
    pub(crate) fn answered(&mut self, member: MemberId, asked: u64, wall_ms: u64, now: Instant) {
        let Some(sent) = self.asked.filter(|sent| sent.0 == asked) else {
            return;
        };
        let half = now.since(sent) / 2;
        let reading = Reading {
            wall_ms: wall_ms.saturating_add(half.as_millis() as u64),
            at: now,
            // Wall clocks come in whole milliseconds.
            error: half + Duration::from_millis(1),
        };
        self.others.insert(member, reading);
    }

    /// Forgets whoever is no member.
    pub(crate) fn keep(&mut self, is_member: impl Fn(MemberId) -> bool) {
        self.others.retain(|member, _| is_member(*member));
    }

    /// How the others' clocks differ from ours, as of the newest answer of each.
    pub(crate) fn offsets(&self, now: Instant) -> BTreeMap<MemberId, ClockOffset> {
        let Some(own) = self.own_ms(now) else {
            return BTreeMap::new();
        };
        let offset = |reading: &Reading| ClockOffset {
            ahead_ms: (i128::from(reading.at(now)) - i128::from(own))
                .clamp(i64::MIN.into(), i64::MAX.into()) as i64,
            error: reading.error,
            measured: reading.at,
        };
        let others = self.others.iter();
        others.map(|(member, it)| (*member, offset(it))).collect()
    }

    /// The latest wall time that a leader may stamp with: the median of the voters' clocks, each taken
    /// for as late as it may be, and `ahead_max`. Nothing while fewer than half of the others are known.
    pub(crate) fn latest_stamp_ms(
        &self,
        own: MemberId,
        own_ms: u64,
        membership: &Membership,
        now: Instant,
        ahead_max: Duration,
    ) -> Option<u64> {
        let mut readings = vec![own_ms];
        for voter in membership.voters.iter().filter(|voter| **voter != own) {
            if let Some(reading) = self.others.get(voter)
                && now.since(reading.at) <= READING_AGE_MAX
            {
                let latest = reading.at(now);
                readings.push(latest.saturating_add(reading.error.as_millis() as u64));
            }
        }
        if readings.len() <= membership.voters.len() / 2 {
            return None;
        }
        readings.sort_unstable();
        let median = readings[readings.len() / 2];
        Some(median.saturating_add(ahead_max.as_millis() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    fn three() -> Membership {
        Membership::of_voters((1..=3).map(MemberId).collect())
    }

    fn latest(clocks: &Clocks, own_ms: u64, now: Instant) -> Option<u64> {
        let bound = Duration::from_secs(10);
        clocks.latest_stamp_ms(MemberId(1), own_ms, &three(), now, bound)
    }

    #[test]
    fn an_answer_is_taken_for_the_middle_of_its_round_trip() {
        let mut clocks = Clocks::default();
        clocks.read_own(at(1000), 50_000);
        let asked = clocks.ask(at(1000)).expect("due");
        assert_eq!(clocks.ask(at(1500)), None);
        clocks.answered(MemberId(2), asked, 49_000, at(1040));
        let offset = clocks.offsets(at(1100))[&MemberId(2)];
        assert_eq!(offset.ahead_ms, -1020);
        assert_eq!(offset.error, Duration::from_millis(21));
        // Set back by an hour: the others did not move.
        clocks.read_own(at(1200), 10_000);
        assert_eq!(clocks.offsets(at(1200))[&MemberId(2)].ahead_ms, 39_180);
        // Nobody answers a question that was not asked, or is an old one.
        assert!(clocks.ask(at(2000)).is_some());
        clocks.answered(MemberId(2), asked, 7, at(2001));
        clocks.answered(MemberId(3), 12, 7, at(2001));
        assert_eq!(clocks.offsets(at(2001)).len(), 1);
        clocks.keep(|member| member == MemberId(3));
        assert!(clocks.offsets(at(2001)).is_empty());
    }

    #[test]
    fn only_most_of_the_clocks_can_say_that_one_is_wrong() {
        let mut clocks = Clocks::default();
        assert_eq!(latest(&clocks, 90_000, at(0)), None, "nobody is known");
        let asked = clocks.ask(at(0)).expect("due");
        clocks.answered(MemberId(2), asked, 1000, at(0));
        let one_against_one = latest(&clocks, 90_000, at(0));
        assert_eq!(one_against_one, Some(100_000));
        clocks.answered(MemberId(3), asked, 2000, at(0));
        assert_eq!(latest(&clocks, 90_000, at(0)), Some(12_001));
        assert_eq!(latest(&clocks, 500, at(0)), Some(11_001));
        assert_eq!(latest(&clocks, 90_000, at(5000)), Some(17_001));
        // What was heard long ago says nothing.
        assert_eq!(latest(&clocks, 90_000, at(30_001)), None);
    }
}
