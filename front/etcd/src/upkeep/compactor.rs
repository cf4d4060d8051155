//! Automatic compaction: when, and up to which revision. etcd's rules.
//!
//! ```text
//!   periodic, 10 h kept     every hour      compact to the revision of ten hours ago
//!   periodic, 30 min kept   every 30 min    compact to the revision of half an hour ago
//!   by revision, N kept     every 5 min     compact to the newest revision minus N
//! ```
//!
//! etcd samples the newest revision a few times an hour and remembers the samples, so a new leader knows nothing of
//! before. Here every revision has its time in the state, on all members alike: whoever leads knows at once what was
//! there ten hours ago. The first compaction comes one interval after the member's start all the same.
//!
//! There are two things that those times cannot say, and for both each member takes samples as etcd does, by a clock
//! that only goes forward:
//!
//! ```text
//!   the state says                                what is done
//!   ───────────────────────────────────────────   ─────────────────────────────────────────────────────────
//!   the beginning of the period is known           compact to the revision of then
//!   it is forgotten: so many batches were          compact to the newest sample that is as old as the period
//!   written since (`limits::REVISION_TIMES_MAX`)
//!   it is in the future, so nothing was            everything, if this member has seen nothing written for
//!   written since                                  a period; else the clock is wrong, and the samples decide
//! ```
//!
//! Whoever does not lead pauses. A compaction that fails is tried again after a tenth of the interval.

use base::{Instant, Revision};
use clock::HybridTime;
use std::collections::VecDeque;
use std::time::Duration;
use store::{AsOfError, RootId, State};

/// How much history is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retention {
    /// What is younger than this.
    Period(Duration),
    /// So many revisions.
    Revisions(u64),
}

/// A longer retention is looked after once in this time …
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// … and retention by revisions once in this.
const INTERVAL_OF_REVISIONS: Duration = Duration::from_secs(300);

/// So many samples reach through a period at most, however long it is.
const SAMPLES_MAX: u32 = 1000;

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    /// Compact up to here.
    pub revision: Revision,
    /// How it is known that this is old enough.
    pub by: By,
}

/// How a revision's age is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// The replicated state says it, or there is a number of revisions to be kept.
    State,
    /// The state does not reach back so far, or the clock contradicts it: this member saw it itself.
    Samples,
}

/// Decides when to compact one root.
///
/// Invariants: the samples ascend in time and revision, and all but the first are younger than the period.
#[derive(Debug)]
pub struct Compactor {
    root: RootId,
    retention: Retention,
    /// The last compaction that came about, or the start.
    succeeded: Instant,
    tried: Option<Instant>,
    last: Revision,
    /// What the newest revision was, now and then.
    samples: VecDeque<(Instant, Revision)>,
    /// The newest revision, and when this member saw it first.
    newest: Option<(Instant, Revision)>,
}

impl Compactor {
    /// Of the keys under `root`; begins at `now`.
    pub fn new(root: RootId, retention: Retention, now: Instant) -> Compactor {
        Compactor {
            root,
            retention,
            succeeded: now,
            tried: None,
            last: Revision(0),
            samples: VecDeque::new(),
            newest: None,
        }
    }

    /// Whose keys.
    pub fn root(&self) -> RootId {
        self.root
    }

    /// What is kept.
    pub fn retention(&self) -> Retention {
        self.retention
    }

    /// The time between two compactions.
    pub fn interval(&self) -> Duration {
        match self.retention {
            Retention::Period(period) => period.min(INTERVAL_MAX),
            Retention::Revisions(_) => INTERVAL_OF_REVISIONS,
        }
    }

    /// The time after which one that failed is tried again, etcd's tenth.
    pub fn retry(&self) -> Duration {
        self.interval() / 10
    }

    /// Takes note of the newest revision. To be called often, by whoever does not lead as well.
    pub fn note(&mut self, now: Instant, state: &State) {
        let Retention::Period(period) = self.retention else {
            return;
        };
        let revision = state.revision();
        if self.newest.is_none_or(|(_, newest)| newest != revision) {
            self.newest = Some((now, revision));
        }
        let pause = (self.interval() / 10).max(period / SAMPLES_MAX);
        let last = self.samples.back();
        if last.is_none_or(|(last, _)| now.since(*last) >= pause) {
            self.samples.push_back((now, revision));
        }
        // The newest of those that are as old as the period stays.
        while self
            .samples
            .get(1)
            .is_some_and(|(at, _)| now.since(*at) >= period)
        {
            self.samples.pop_front();
        }
    }

    /// What to compact now, if anything. `wall_ms` is what the leader stamps entries with.
    pub fn due(&mut self, now: Instant, wall_ms: u64, state: &State) -> Option<Due> {
        let is_early = now.since(self.succeeded) < self.interval();
        let waits = self
            .tried
            .is_some_and(|tried| now.since(tried) < self.retry());
        if is_early || waits {
            return None;
        }
        let due = self.target(now, wall_ms, state)?;
        let compacted = state.root(self.root).compacted();
        if due.revision <= compacted.max(self.last) {
            return None;
        }
        self.tried = Some(now);
        Some(due)
    }

    fn target(&self, now: Instant, wall_ms: u64, state: &State) -> Option<Due> {
        let known = |revision| {
            let by = By::State;
            Some(Due { revision, by })
        };
        match self.retention {
            Retention::Revisions(kept) => known(Revision(state.revision().0.checked_sub(kept)?)),
            Retention::Period(period) => {
                let then = wall_ms.checked_sub(period.as_millis() as u64)?;
                let is_idle = self
                    .newest
                    .is_some_and(|(since, _)| now.since(since) >= period);
                match state.revision_at(HybridTime::new(then, u16::MAX)) {
                    Ok(revision) => known(revision),
                    Err(AsOfError::Future { .. }) if is_idle => known(state.revision()),
                    Err(AsOfError::Future { .. } | AsOfError::Forgotten { .. }) => {
                        self.sampled(now, period)
                    }
                }
            }
        }
    }

    /// The newest revision of which this member has seen itself that it is older than the period.
    fn sampled(&self, now: Instant, period: Duration) -> Option<Due> {
        let old = |(at, _): &&(Instant, Revision)| now.since(*at) >= period;
        let (_, revision) = *self.samples.iter().take_while(old).last()?;
        let by = By::Samples;
        Some(Due { revision, by })
    }

    /// Compacted, or found compacted.
    pub fn done(&mut self, revision: Revision, now: Instant) {
        self.succeeded = now;
        self.tried = None;
        self.last = revision;
    }
}
