//! Watches: cursors over history. (First version: every watcher reads history.)

use crate::range::KeyRange;
use crate::root::{Event, RootId};
use crate::state::State;
use base::{Mutant, Mutants, Revision};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One watcher of one hub.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WatcherId(pub u64);

/// What to watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchSpec {
    /// Whose keys.
    pub root: RootId,
    /// Which keys.
    pub range: KeyRange,
    /// The first revision of interest; 0 means "from now on". May lie in the future.
    pub start: Revision,
    /// Leave out puts.
    pub no_put: bool,
    /// Leave out deletes.
    pub no_delete: bool,
}

/// What a watcher has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Polled {
    /// Events in order; whole revisions only. There may be more.
    Events(Vec<Arc<Event>>),
    /// Nothing now. All events up to and including `synced_to` have been given out; 0 for a watch that
    /// begins in the future.
    Idle {
        /// Up to where.
        synced_to: Revision,
    },
    /// What comes next is compacted away: the watch is over (the hub has forgotten it).
    Compacted {
        /// The oldest revision that can still be watched.
        at: Revision,
    },
}

struct Watcher {
    spec: WatchSpec,
    /// The next revision to give out.
    next: Revision,
}

/// The watchers of one core.
#[derive(Default)]
pub struct Hub {
    watchers: BTreeMap<WatcherId, Watcher>,
    ready: BTreeSet<WatcherId>,
    last_id: u64,
    mutants: Mutants,
}

impl Hub {
    /// A hub without watchers.
    pub fn new(mutants: Mutants) -> Hub {
        Hub {
            mutants,
            ..Hub::default()
        }
    }

    /// Begins a watch.
    pub fn watch(&mut self, spec: WatchSpec, state: &State) -> WatcherId {
        self.last_id += 1;
        let id = WatcherId(self.last_id);
        let next = if spec.start == Revision(0) {
            state.revision().next()
        } else {
            spec.start
        };
        self.ready.insert(id);
        self.watchers.insert(id, Watcher { spec, next });
        id
    }

    /// Ends a watch; false when there is none.
    pub fn cancel(&mut self, id: WatcherId) -> bool {
        self.ready.remove(&id);
        self.watchers.remove(&id).is_some()
    }

    /// Takes note of what a batch did. `state` is the state right after it.
    pub fn publish(&mut self, _state: &State, events: &[(RootId, Event)]) {
        for (id, watcher) in &self.watchers {
            let spec = &watcher.spec;
            let hit = |(root, event): &(RootId, Event)| {
                *root == spec.root && spec.range.contains(event.record.key())
            };
            if events.iter().any(hit) {
                self.ready.insert(*id);
            }
        }
    }

    /// A snapshot was installed: `state` did not come of the one before by publishing.
    pub fn restored(&mut self, _state: &State) {
        self.ready.extend(self.watchers.keys());
    }

    /// Takes the watchers that may have something new.
    pub fn ready(&mut self) -> Vec<WatcherId> {
        std::mem::take(&mut self.ready).into_iter().collect()
    }

    /// Takes events of `id`, about `budget_bytes` of them and at least one revision.
    pub fn poll(&mut self, id: WatcherId, state: &State, budget_bytes: u64) -> Polled {
        let Some(watcher) = self.watchers.get_mut(&id) else {
            return Polled::Idle {
                synced_to: Revision(0),
            };
        };
        if watcher.next > state.revision() {
            let future = watcher.next > state.revision().next();
            let synced_to = if future {
                Revision(0)
            } else {
                state.revision()
            };
            return Polled::Idle { synced_to };
        }
        let root = state.root(watcher.spec.root);
        let Ok(history) = root.events(watcher.next) else {
            self.cancel(id);
            return Polled::Compacted {
                at: root.compacted(),
            };
        };
        if self.mutants.has(Mutant::WatchGapWhenSlow) && watcher.next < state.revision() {
            watcher.next = state.revision();
        }
        let mut events: Vec<Arc<Event>> = Vec::new();
        let mut bytes = 0;
        for event in history {
            let new_revision = events
                .last()
                .is_none_or(|e| e.revision() < event.revision());
            if bytes >= budget_bytes && new_revision && !events.is_empty() {
                watcher.next = event.revision();
                self.ready.insert(id);
                return Polled::Events(events);
            }
            let spec = &watcher.spec;
            let filtered = if event.record.is_tombstone() {
                spec.no_delete
            } else {
                spec.no_put
            };
            if !filtered && spec.range.contains(event.record.key()) {
                bytes += event.size();
                events.push(Arc::new(event));
            }
        }
        watcher.next = state.revision().next();
        if events.is_empty() {
            return Polled::Idle {
                synced_to: state.revision(),
            };
        }
        Polled::Events(events)
    }
}
