//! When each revision happened: runs of revisions that share a hybrid time.
//!
//! All transactions of a batch have its stamp, so one entry for each batch that took a revision tells the
//! time of every revision, and both ascend:
//!
//! ```text
//!   first revision   1     2           5     6               the present
//!   hybrid time      0     1000.0      1000.1 1007.0
//!                    ├─────┼───────────┼─────┼──────────────►
//!   revision_at      …     4 ◄─ 1000.0 5     newest ◄─ 1007.0 and everything up to the state's own time
//! ```
//!
//! **Why a read "as of" a time agrees for ever.** A time is answered only when it is not after the state's own
//! ([`State::time`](crate::State::time)), and every batch that is applied later has a later stamp. So the newest
//! revision at that time can never change again, at any member: what the members have applied they have in
//! common, and who has applied less refuses the time as future.
//!
//! Times are forgotten with the history that they are asked for: a compaction of the *last* root that still
//! had an older revision lets go of what lies before the newest compacted revision of all roots. Since a
//! root may never be compacted while others write, there are at most
//! [`limits::REVISION_TIMES_MAX`] runs besides; the oldest goes first. Both rules depend on replicated state
//! only. As with versions, forgetting is logical at once, and memory is freed by `sweep`.
//!
//! Appends happen once for each batch, between two publications, so the newest few runs lie in one small
//! block whose copy costs next to nothing; the tree is touched once for each block.
//!
//! Invariants ([`Times::check`]): revisions and times ascend strictly; there is at least one run, and the last
//! one is in the block; the first known revision is the first of its run.

use crate::tree::{Builder, Cursor, Plain, Tree, Weighted};
use base::{Revision, invariant, limits};
use clock::HybridTime;
use std::sync::Arc;

/// Bytes that a run takes, with the tree's slack.
const RUN_BYTES: u64 = 24;
/// Runs in the block of the newest: 256 bytes are copied in the time that an allocation takes.
const NEWEST_MAX: usize = 16;

/// Why a time cannot be read. Every member that can answer gives the same answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AsOfError {
    /// The time lies before the oldest that is known: its history was compacted, or there were too many
    /// revisions since.
    #[error(
        "{} is forgotten, the oldest time that can be read is {}",
        .requested.to_rfc3339(),
        .oldest.to_rfc3339()
    )]
    Forgotten {
        /// What was asked for.
        requested: HybridTime,
        /// The oldest time that can be read.
        oldest: HybridTime,
    },
    /// The time is after that of the last applied batch: more may still be written at it.
    #[error(
        "{} is in the future, the newest time that can be read is {}",
        .requested.to_rfc3339(),
        .current.to_rfc3339()
    )]
    Future {
        /// What was asked for.
        requested: HybridTime,
        /// The newest time that can be read here.
        current: HybridTime,
    },
}

/// Revisions from `first` up to the next run have this time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Run {
    pub(crate) first: Revision,
    pub(crate) time: HybridTime,
}

/// The times of all revisions that are not forgotten. See the module's documentation.
#[derive(Clone)]
pub(crate) struct Times {
    /// The first revision of each run but those of the block.
    older: Tree<Plain<Revision>, HybridTime>,
    newest: Arc<Newest>,
    /// The oldest revision whose time is known.
    known_from: Revision,
    /// Runs that are known, in the tree and in the block.
    n_runs: u64,
    /// Runs in the tree that are forgotten and not yet removed. Private to this member.
    n_hidden: u64,
}

/// The newest runs, never none.
#[derive(Clone, Default)]
struct Newest {
    len: usize,
    runs: [Run; NEWEST_MAX],
}

impl Newest {
    fn runs(&self) -> &[Run] {
        &self.runs[..self.len]
    }

    fn last(&self) -> Run {
        self.runs[self.len - 1]
    }

    fn push(&mut self, run: Run) {
        self.runs[self.len] = run;
        self.len += 1;
    }
}

impl Weighted for HybridTime {
    fn weight(&self) -> u64 {
        1
    }
}

impl Times {
    /// Nothing is known before `first`, which has this time, as has what follows it.
    pub(crate) fn since(first: Revision, time: HybridTime) -> Times {
        let mut newest = Newest::default();
        newest.push(Run { first, time });
        Times {
            older: Tree::new(),
            newest: Arc::new(newest),
            known_from: first,
            n_runs: 1,
            n_hidden: 0,
        }
    }

    /// Notes that `revision`, the newest, has this time. Only the first one of a batch counts.
    #[inline]
    pub(crate) fn note(&mut self, revision: Revision, time: HybridTime) {
        if time > self.newest.last().time {
            self.push(Run {
                first: revision,
                time,
            });
        }
    }

    fn push(&mut self, run: Run) {
        invariant!(
            run.first > self.newest.last().first,
            "revision {} gets a time after {}",
            run.first,
            self.newest.last().first
        );
        let newest = Arc::make_mut(&mut self.newest);
        if newest.len == NEWEST_MAX {
            let known = newest
                .runs()
                .iter()
                .filter(|run| run.first >= self.known_from);
            for run in known {
                self.older.insert(&run.first, run.time);
            }
            newest.len = 0;
        }
        newest.push(run);
        self.n_runs += 1;
        if self.n_runs > limits::REVISION_TIMES_MAX {
            let mut runs = self.runs_after(self.known_from);
            let second = runs.next().map_or(run.first, |run| run.first);
            self.know_from(second);
        }
    }

    /// Forgets what lies before the run of `revision`.
    pub(crate) fn forget_before(&mut self, revision: Revision) {
        if let Some(run) = self.run_of(revision) {
            self.know_from(run.first);
        }
    }

    /// `first` begins a run.
    fn know_from(&mut self, first: Revision) {
        if first > self.known_from {
            self.known_from = first;
            self.n_hidden = self.older.weight_before(&first);
            let newest = self.newest.runs().iter();
            let n_newest = newest.filter(|run| run.first >= first).count() as u64;
            self.n_runs = self.older.weight() - self.n_hidden + n_newest;
        }
    }

    /// Whether forgotten runs wait to be removed.
    pub(crate) fn is_sweeping(&self) -> bool {
        self.n_hidden > 0
    }

    /// Removes one forgotten run, if any waits.
    pub(crate) fn sweep_one(&mut self) {
        if self.n_hidden > 0 {
            let oldest = self.older.cursor().next().map(|(first, _)| *first);
            if let Some(first) = oldest {
                self.older.remove(&first);
            }
            self.n_hidden -= 1;
        }
    }

    /// The run that `revision` is part of, unless it is forgotten. The last one has no end.
    fn run_of(&self, revision: Revision) -> Option<Run> {
        if revision < self.known_from {
            return None;
        }
        let newest = self.newest.runs();
        let at = newest.partition_point(|run| run.first <= revision);
        if at > 0 {
            return Some(newest[at - 1]);
        }
        let mut cursor = self.older.cursor_at(&revision.next());
        let (first, time) = cursor.previous()?;
        Some(Run {
            first: *first,
            time: *time,
        })
    }

    /// The time of `revision`, unless it is forgotten.
    pub(crate) fn time_of(&self, revision: Revision) -> Option<HybridTime> {
        self.run_of(revision).map(|run| run.time)
    }

    /// The oldest time that is known.
    pub(crate) fn oldest(&self) -> HybridTime {
        self.time_of(self.known_from).unwrap_or_default()
    }

    /// The newest revision, `newest` at most, whose time is not after `time`; none when `time` is before
    /// the oldest that is known.
    pub(crate) fn revision_at(&self, time: HybridTime, newest: Revision) -> Option<Revision> {
        if time >= self.newest.last().time {
            return Some(newest);
        }
        // Times ascend with revisions, so the border is found by halving.
        let is_past = |revision: u64| {
            let at = self.time_of(Revision(revision));
            at.is_some_and(|at| at <= time)
        };
        let (mut past, mut later) = (self.known_from.0, self.newest.last().first.0);
        if !is_past(past) {
            return None;
        }
        while past + 1 < later {
            let middle = past + (later - past) / 2;
            if is_past(middle) {
                past = middle;
            } else {
                later = middle;
            }
        }
        Some(Revision(past))
    }

    /// The known runs that begin after `revision`, in order.
    pub(crate) fn runs_after(&self, revision: Revision) -> Runs<'_> {
        let first = revision.next().max(self.known_from);
        let newest = self.newest.runs();
        let at = newest.partition_point(|run| run.first < first);
        Runs {
            older: self.older.cursor_at(&first),
            newest: &newest[at..],
        }
    }

    /// Bytes that the known runs take, by account.
    pub(crate) fn bytes(&self) -> u64 {
        self.n_runs * RUN_BYTES
    }

    /// Stops the member when an invariant does not hold. `revision` and `time` are the state's.
    pub(crate) fn check(&self, revision: Revision, time: HybridTime) {
        self.older.check();
        let mut last: Option<Run> = None;
        let mut n_runs = 0;
        for run in self.runs_after(Revision(0)) {
            if let Some(last) = last {
                invariant!(last.first < run.first, "revisions ascend at {}", run.first);
                invariant!(last.time < run.time, "times ascend at {}", run.first);
            }
            last = Some(run);
            n_runs += 1;
        }
        invariant!(n_runs == self.n_runs, "times are counted");
        invariant!(last == Some(self.newest.last()), "the last run is near");
        invariant!(
            self.newest.last().first <= revision && self.newest.last().time <= time,
            "no revision is from the future"
        );
        let hidden = self.older.weight_before(&self.known_from);
        invariant!(hidden == self.n_hidden, "forgotten times are counted");
        let first = self.run_of(self.known_from).map(|run| run.first);
        invariant!(first == Some(self.known_from), "a run is known as a whole");
    }
}

/// Runs in order. See [`Times::runs_after`].
pub(crate) struct Runs<'a> {
    older: Cursor<'a, Plain<Revision>, HybridTime>,
    newest: &'a [Run],
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        if let Some((first, time)) = self.older.next() {
            return Some(Run {
                first: *first,
                time: *time,
            });
        }
        let (run, rest) = self.newest.split_first()?;
        self.newest = rest;
        Some(*run)
    }
}

/// Times that are being read from a stream.
#[derive(Default)]
pub(crate) struct Loading {
    older: Builder<Plain<Revision>, HybridTime>,
    known_from: Revision,
    last: Option<Run>,
    n_older: u64,
}

impl Loading {
    /// Adds a run; returns false, and adds nothing, when it is not above all before it, or one too many.
    #[must_use]
    pub(crate) fn push(&mut self, run: Run) -> bool {
        match self.last {
            None => {
                self.known_from = run.first;
            }
            Some(last) => {
                let ascends = last.first < run.first && last.time < run.time;
                if !ascends
                    || self.n_older + 1 >= limits::REVISION_TIMES_MAX
                    || !self.older.push(&last.first, last.time)
                {
                    return false;
                }
                self.n_older += 1;
            }
        }
        self.last = Some(run);
        true
    }

    /// The times, if any came.
    pub(crate) fn finish(self) -> Option<Times> {
        let last = self.last?;
        Some(Times {
            older: self.older.finish(),
            known_from: self.known_from,
            n_runs: self.n_older + 1,
            ..Times::since(last.first, last.time)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One root that nobody compacts must not fill the memory with times.
    #[test]
    fn no_more_times_are_kept_than_the_limit_says_and_the_oldest_go() {
        let mut times = Times::since(Revision(1), HybridTime::default());
        let surplus = 100;
        for n in 2..=limits::REVISION_TIMES_MAX + surplus {
            times.note(Revision(n), HybridTime(n));
        }
        let newest = Revision(limits::REVISION_TIMES_MAX + surplus);
        times.check(newest, HybridTime(newest.0));
        assert_eq!(times.n_runs, limits::REVISION_TIMES_MAX);
        assert_eq!(times.time_of(Revision(surplus)), None);
        let oldest = Revision(surplus + 1);
        assert_eq!(times.time_of(oldest), Some(HybridTime(oldest.0)));
        assert_eq!(times.oldest(), HybridTime(oldest.0));
        for time in [oldest.0, oldest.0 + 1, 1 << 20, newest.0 - 17, newest.0] {
            let found = times.revision_at(HybridTime(time), newest);
            assert_eq!(found, Some(Revision(time)));
        }
        assert_eq!(times.revision_at(HybridTime(surplus), newest), None);
        let mut n_swept = 0;
        while times.is_sweeping() {
            times.sweep_one();
            n_swept += 1;
        }
        assert_eq!(n_swept, surplus);
        times.check(newest, HybridTime(newest.0));
    }
}
