//! Signs of a member's health: how slow its disk was, whether its clock was set, how old the last backup is.
//!
//! All of it is of this member and this life; nothing is replicated and nothing is decided by it but lease reads, which
//! need to hear of a clock that was set.

use base::Instant;
use clock::UnixNanos;
use clock::guard::{Jump, JumpDetector};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// How far back "lately" reaches, in two halves.
const HALF: Duration = Duration::from_secs(30);

/// The two clocks are read one after the other, and the thread may be put aside in between: less is no jump.
const JUMP_MIN: Duration = Duration::from_millis(200);

/// For so long the largest value is not looked for again.
const LARGEST_KEPT: Duration = Duration::from_secs(10);

/// For so long a jump is told.
const JUMP_TOLD: Duration = Duration::from_secs(60);

/// The largest of what came within the last [`HALF`] to twice that.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    began: Option<Instant>,
    present: Duration,
    before: Duration,
}

impl Worst {
    fn turn(&mut self, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let passed = now.since(began);
        if passed < HALF {
            return;
        }
        self.before = match passed < 2 * HALF {
            true => self.present,
            false => Duration::ZERO,
        };
        self.present = Duration::ZERO;
        self.began = Some(now);
    }

    fn take(&mut self, value: Duration, now: Instant) {
        self.turn(now);
        self.present = self.present.max(value);
    }

    fn worst(&mut self, now: Instant) -> Duration {
        self.turn(now);
        self.present.max(self.before)
    }
}

/// See the module's documentation.
pub(crate) struct Vitals {
    syncs: Cell<Worst>,
    jumps: RefCell<JumpDetector>,
    jumped: Cell<Option<Instant>>,
    backed_up: Cell<Option<Instant>>,
    largest: Cell<Option<(Instant, u64)>>,
}

impl Default for Vitals {
    fn default() -> Vitals {
        Vitals {
            syncs: Cell::default(),
            jumps: RefCell::new(JumpDetector::new(JUMP_MIN)),
            jumped: Cell::new(None),
            backed_up: Cell::new(None),
            largest: Cell::new(None),
        }
    }
}

impl Vitals {
    /// A record took so long to become durable.
    pub(crate) fn synced(&self, took: Duration, now: Instant) {
        let mut syncs = self.syncs.get();
        syncs.take(took, now);
        self.syncs.set(syncs);
    }

    /// The slowest sync lately.
    pub(crate) fn sync_worst(&self, now: Instant) -> Duration {
        let mut syncs = self.syncs.get();
        let worst = syncs.worst(now);
        self.syncs.set(syncs);
        worst
    }

    /// Looks at both clocks; says when the wall clock was set since the last look.
    pub(crate) fn clocks(&self, now: Instant, wall: UnixNanos) -> Option<Jump> {
        let jump = self.jumps.borrow_mut().observe(now, wall)?;
        self.jumped.set(Some(now));
        Some(jump)
    }

    /// Whether the wall clock was set lately.
    pub(crate) fn has_jumped(&self, now: Instant) -> bool {
        self.jumped
            .get()
            .is_some_and(|at| now.since(at) < JUMP_TOLD)
    }

    /// Bytes of the largest value, if it was looked for lately.
    pub(crate) fn largest_value(&self, now: Instant) -> Option<u64> {
        let (found, bytes) = self.largest.get()?;
        (now.since(found) < LARGEST_KEPT).then_some(bytes)
    }

    /// It was looked for, from `began` on.
    pub(crate) fn found_largest_value(&self, bytes: u64, began: Instant) {
        self.largest.set(Some((began, bytes)));
    }

    /// A client has taken a whole snapshot.
    pub(crate) fn backed_up(&self, now: Instant) {
        self.backed_up.set(Some(now));
    }

    /// How long ago a client took one; nothing when none did in this life.
    pub(crate) fn backup_age(&self, now: Instant) -> Option<Duration> {
        self.backed_up.get().map(|at| now.since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant(s * 1_000_000_000)
    }

    #[test]
    fn the_worst_is_forgotten_after_a_while_and_not_before() {
        let vitals = Vitals::default();
        let ms = Duration::from_millis;
        vitals.synced(ms(80), at(1));
        vitals.synced(ms(3), at(25));
        assert_eq!(vitals.sync_worst(at(30)), ms(80));
        vitals.synced(ms(2), at(32));
        assert_eq!(vitals.sync_worst(at(60)), ms(80));
        assert_eq!(vitals.sync_worst(at(63)), ms(2));
        assert_eq!(vitals.sync_worst(at(500)), ms(0));
    }

    #[test]
    fn a_clock_that_was_set_is_told_for_a_minute() {
        let vitals = Vitals::default();
        let wall = |s: u64| UnixNanos(1_800_000_000_000_000_000 + s * 1_000_000_000);
        assert_eq!(vitals.clocks(at(1), wall(1)), None);
        assert_eq!(vitals.clocks(at(2), wall(2)), None);
        assert!(!vitals.has_jumped(at(2)));
        let back = Jump::Backwards(Duration::from_secs(3));
        assert_eq!(vitals.clocks(at(3), wall(0)), Some(back));
        assert!(vitals.has_jumped(at(62)) && !vitals.has_jumped(at(63)));
        assert_eq!(vitals.clocks(at(4), wall(1)), None);
    }

    #[test]
    fn the_largest_value_is_looked_for_now_and_then() {
        let vitals = Vitals::default();
        assert_eq!(vitals.largest_value(at(1)), None);
        vitals.found_largest_value(7, at(1));
        assert_eq!(vitals.largest_value(at(10)), Some(7));
        assert_eq!(vitals.largest_value(at(11)), None);
    }

    #[test]
    fn a_backup_has_an_age() {
        let vitals = Vitals::default();
        assert_eq!(vitals.backup_age(at(9)), None);
        vitals.backed_up(at(10));
        assert_eq!(vitals.backup_age(at(15)), Some(Duration::from_secs(5)));
    }
}
