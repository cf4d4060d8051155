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
//! Whoever does not lead pauses. A compaction that fails is tried again after a tenth of the interval.

use base::{Instant, Revision};
use clock::HybridTime;
use std::time::Duration;
use store::{AsOfError, State};

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

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    /// Compact up to here.
    pub revision: Revision,
}

/// Decides when to compact.
#[derive(Debug)]
pub struct Compactor {
    retention: Retention,
    /// The last compaction that came about, or the start.
    succeeded: Instant,
    tried: Option<Instant>,
    last: Revision,
}

impl Compactor {
    /// Begins at `now`.
    pub fn new(retention: Retention, now: Instant) -> Compactor {
        Compactor {
            retention,
            succeeded: now,
            tried: None,
            last: Revision(0),
        }
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

    /// What to compact now, if anything. `wall_ms` is what the leader's clock says.
    pub fn due(&mut self, now: Instant, wall_ms: u64, state: &State) -> Option<Due> {
        let is_early = now.since(self.succeeded) < self.interval();
        let waits = self
            .tried
            .is_some_and(|tried| now.since(tried) < self.retry());
        if is_early || waits {
            return None;
        }
        let revision = self.target(wall_ms, state)?;
        let compacted = state.root(crate::ROOT).compacted();
        if revision <= compacted.max(self.last) {
            return None;
        }
        self.tried = Some(now);
        Some(Due { revision })
    }

    fn target(&self, wall_ms: u64, state: &State) -> Option<Revision> {
        match self.retention {
            Retention::Revisions(kept) => state.revision().0.checked_sub(kept).map(Revision),
            Retention::Period(period) => {
                let then = wall_ms.checked_sub(period.as_millis() as u64)?;
                match state.revision_at(HybridTime::new(then, u16::MAX)) {
                    Ok(revision) => Some(revision),
                    // Nothing was written since.
                    Err(AsOfError::Future { .. }) => Some(state.revision()),
                    Err(AsOfError::Forgotten { .. }) => None,
                }
            }
        }
    }

    /// Compacted, or found compacted.
    pub fn done(&mut self, revision: Revision, now: Instant) {
        self.succeeded = now;
        self.tried = None;
        self.last = revision;
    }
}
