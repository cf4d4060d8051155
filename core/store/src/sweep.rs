//! The physical half of compaction: removing, in bounded steps, what nobody can see any more.
//!
//! A version below the compacted revision is hidden once the version that came after it lies *at or below*
//! that revision; a tombstone below the compacted revision is hidden itself. So the sweep walks the
//! versions that were *written since the last sweep* and do not lie above the compacted revision, and
//! removes what each one replaced: its cost is that of what happened, not of what is stored.
//!
//! What happened exactly at the compacted revision stays: a watch may still be opened there, and must see
//! it, deletes too. What it replaced goes, as in etcd: whoever deletes much and compacts at the revision of
//! that delete wants the room. So an event at the compacted revision has no "before"
//! ([`RootView::previous`](crate::RootView::previous)). The next sweep begins at that revision and finds
//! its tombstones.
//!
//! No read can tell how far a sweep has got (R3): reads below the compacted revision are refused, and
//! all others see the same.

use crate::record::Place;
use crate::root::RootId;
use crate::store::Store;
use base::{Mutant, Revision};

/// Where the sweep of one root stands. Private to this member and not kept: starting again is harmless.
#[derive(Default)]
pub(crate) struct Progress(Option<Pass>);

struct Pass {
    root: RootId,
    /// What is hidden at this compaction is removed.
    to: Revision,
    /// The ordinal of the next version to look at.
    next: u64,
}

impl Store {
    /// Removes what compaction hid, looking at `budget_steps` versions and times at most. Returns whether more
    /// is left to do.
    pub fn sweep(&mut self, budget_steps: usize) -> bool {
        for _ in 0..budget_steps {
            if self.state.times.is_sweeping() {
                self.state.times.sweep_one();
                continue;
            }
            if self.sweep.0.is_none() {
                self.sweep.0 = self.next_pass();
            }
            let Some(pass) = &mut self.sweep.0 else {
                return false;
            };
            let root = self.state.root_mut(pass.root);
            let to = pass.to;
            let version = root.history.iter_from(pass.next).next();
            let version = version.map(|(ordinal, record)| (ordinal, record.clone()));
            let Some((ordinal, record)) = version.filter(|(_, r)| r.mod_revision() <= to) else {
                root.swept = to;
                self.sweep.0 = None;
                continue;
            };
            pass.next = ordinal + 1;
            let replaced = record.links().previous;
            let below = record.mod_revision() < to;
            if !replaced.is_none() && replaced.revision < to {
                root.forget(replaced.ordinal);
                self.n_swept += 1;
            }
            let takes = record.is_tombstone() || self.mutants.has(Mutant::CompactionTakesTheLiving);
            if takes && (below || self.mutants.has(Mutant::TombstoneLost)) {
                let slot = root.keys.get(record.key());
                if slot.is_some_and(|slot| slot.ordinal() == ordinal) {
                    root.forget_key(record.key());
                }
                root.forget(ordinal);
                self.n_swept += 1;
            }
        }
        self.is_sweeping()
    }

    /// Whether compaction has hidden something that [`Store::sweep`] has not looked at yet.
    pub fn is_sweeping(&self) -> bool {
        self.sweep.0.is_some() || self.state.times.is_sweeping() || self.next_pass().is_some()
    }

    /// How many versions the sweep has removed in this life of the store.
    pub fn versions_swept(&self) -> u64 {
        self.n_swept
    }

    fn next_pass(&self) -> Option<Pass> {
        let root = self
            .state
            .roots
            .iter()
            .find(|root| root.swept < root.compacted)?;
        Some(Pass {
            root: root.id,
            to: root.compacted,
            next: root.history.seek(Place::start_of(root.swept)),
        })
    }
}
