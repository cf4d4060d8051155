//! Watches: cursors over history.
//!
//! A hub serves the watchers of one core. It is pure: it is told what each batch did and is asked what
//! a watcher has next. A watcher is in one of two states, and the cursor is the watcher's own: it only
//! moves forward, whatever happens to the state underneath (etcd issue 15271).
//!
//! ```text
//!               start lies in the past
//!    watch() ──────────────────────────► Behind ◄──────────────┐ the queue grew past its bound,
//!       │                                  │  reads history    │ or a snapshot was installed
//!       │ start = now, or the future       │  from its cursor  │
//!       │                                  ▼ has read it all   │
//!       └──────────────────────────────► Live ─────────────────┘
//!                                          events are queued as they happen
//! ```
//!
//! What holds, on every watch (the six promises of etcd's documentation, and tests in `tests/hub.rs`):
//! events are *ordered* by revision, *unique*, *gapless*, *atomic* (all events of a revision come
//! together), *resumable* (a new watch from the last revision + 1 goes on exactly there) and
//! *bookmarkable* (`synced_to` = r means that all events up to r have been given out).
//!
//! A slow watcher costs itself alone: its queue is bounded in bytes, and beyond it the watcher reads
//! history again, at its own pace. When what comes next is compacted away meanwhile it is told so,
//! never left with a silent gap.
//!
//! What the hub deliberately does not do: encode, fragment, or know of streams and clients.

mod intervals;

use crate::range::{KeyRange, RangeEnd};
use crate::root::{Event, RootId};
use crate::state::State;
use base::{Mark, Mutant, Mutants, Revision, limits};
use bytes::Bytes;
use intervals::Intervals;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// One watcher of one hub. Never used again by that hub.
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

impl WatchSpec {
    /// Watches everything that happens to `range` from `start` on.
    pub fn new(root: RootId, range: KeyRange, start: Revision) -> WatchSpec {
        WatchSpec {
            root,
            range,
            start,
            no_put: false,
            no_delete: false,
        }
    }

    fn wants(&self, event: &Event) -> bool {
        if event.record.is_tombstone() {
            !self.no_delete
        } else {
            !self.no_put
        }
    }
}

/// What a watcher has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Polled {
    /// Events in order: at least one, whole revisions only. There may be more: poll again.
    Events(Vec<Arc<Event>>),
    /// Nothing now. All events up to and including `synced_to` have been given out; 0 for a watch
    /// that begins in the future. When it lies below the state's revision the watcher is still reading
    /// history and is among the ready ones again.
    Idle {
        /// Up to where.
        synced_to: Revision,
    },
    /// What comes next is compacted away. The watch is over: the hub has forgotten it.
    Compacted {
        /// The oldest revision that can still be watched.
        at: Revision,
    },
}

/// Versions that one poll looks at while it reads history, so that a narrow watch of a long history
/// does not hold up its core: some milliseconds.
const SCAN_VERSIONS_MAX: usize = 10_000;

struct Watcher {
    spec: WatchSpec,
    /// The cursor: everything below has been given out. Only rises.
    next: Revision,
    mode: Mode,
}

enum Mode {
    /// Reads history from `next` on.
    Behind,
    /// Everything from `next` on that has been published and is wanted is in the queue.
    Live {
        queue: VecDeque<Arc<Event>>,
        queued_bytes: u64,
    },
}

impl Mode {
    fn live() -> Mode {
        Mode::Live {
            queue: VecDeque::new(),
            queued_bytes: 0,
        }
    }
}

/// Who watches what in one root.
#[derive(Default)]
struct Index {
    single: BTreeMap<Bytes, Vec<WatcherId>>,
    ranges: Intervals<WatcherId>,
}

/// The watchers of one core. See the module's documentation.
pub struct Hub {
    watchers: BTreeMap<WatcherId, Watcher>,
    indexes: BTreeMap<RootId, Index>,
    /// Who may have something new.
    ready: BTreeSet<WatcherId>,
    last_id: u64,
    /// The newest revision that the hub has been told of.
    published: Revision,
    queue_bytes_max: u64,
    /// Events given out so far.
    n_given: u64,
    mutants: Mutants,
}

/// What waits for one watcher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Revisions that it was not given yet, whether or not it wants anything of them.
    pub revisions: u64,
    /// Whether it reads history.
    pub is_behind: bool,
    /// Events in its queue; what it reads from history is not known before.
    pub events: u64,
    /// Bytes of those.
    pub bytes: u64,
}

impl Default for Hub {
    fn default() -> Self {
        Hub::new(Mutants::none())
    }
}

impl Hub {
    /// A hub without watchers.
    pub fn new(mutants: Mutants) -> Hub {
        Hub {
            watchers: BTreeMap::new(),
            indexes: BTreeMap::new(),
            ready: BTreeSet::new(),
            last_id: 0,
            published: Revision(0),
            queue_bytes_max: limits::WATCH_QUEUE_BYTES_MAX as u64,
            n_given: 0,
            mutants,
        }
    }

    /// Bounds each watcher's queue to `bytes` instead of [`limits::WATCH_QUEUE_BYTES_MAX`].
    pub fn bound_queues(&mut self, bytes: u64) {
        self.queue_bytes_max = bytes;
    }

    /// How many watchers there are.
    pub fn n_watchers(&self) -> usize {
        self.watchers.len()
    }

    /// How many watchers read history instead of being told.
    pub fn n_behind(&self) -> usize {
        let behind = |watcher: &&Watcher| matches!(watcher.mode, Mode::Behind);
        self.watchers.values().filter(behind).count()
    }

    /// How many events were given out so far.
    pub fn n_given(&self) -> u64 {
        self.n_given
    }

    /// What waits for watchers, for those for which something does, among the first `watchers_max`: a look at all of
    /// very many would take too long.
    pub fn waiting(&self, watchers_max: usize) -> impl Iterator<Item = (WatcherId, Waiting)> + '_ {
        let looked_at = self.watchers.iter().take(watchers_max);
        looked_at.filter_map(|(id, watcher)| {
            let since = |next: Revision| (self.published.0 + 1).saturating_sub(next.0);
            let waiting = match &watcher.mode {
                Mode::Behind => Waiting {
                    revisions: since(watcher.next),
                    is_behind: true,
                    events: 0,
                    bytes: 0,
                },
                Mode::Live {
                    queue,
                    queued_bytes,
                } => Waiting {
                    revisions: since(queue.front()?.revision()),
                    is_behind: false,
                    events: queue.len() as u64,
                    bytes: *queued_bytes,
                },
            };
            Some((*id, waiting))
        })
    }

    /// Begins a watch. A start below the compacted revision shows at the first poll.
    pub fn watch(&mut self, spec: WatchSpec, state: &State) -> WatcherId {
        self.last_id += 1;
        let id = WatcherId(self.last_id);
        let next = match spec.start {
            Revision(0) => state.revision().next(),
            start => start,
        };
        if self.watchers.is_empty() {
            // Whatever happened before has nobody to be told.
            self.published = self.published.max(state.revision());
        }
        let told = self.published.max(state.revision());
        let mode = if next > told {
            Mode::live()
        } else {
            self.ready.insert(id);
            Mode::Behind
        };
        let index = self.indexes.entry(spec.root).or_default();
        match &spec.range.end {
            RangeEnd::Single => {
                let watchers = index.single.entry(spec.range.start.clone());
                watchers.or_default().push(id);
            }
            _ => index.ranges.insert(&spec.range, id),
        }
        self.watchers.insert(id, Watcher { spec, next, mode });
        id
    }

    /// Ends a watch; false when there is none.
    pub fn cancel(&mut self, id: WatcherId) -> bool {
        let Some(watcher) = self.watchers.remove(&id) else {
            return false;
        };
        self.ready.remove(&id);
        let range = &watcher.spec.range;
        if let Some(index) = self.indexes.get_mut(&watcher.spec.root) {
            match &range.end {
                RangeEnd::Single => {
                    if let Some(watchers) = index.single.get_mut(&range.start) {
                        watchers.retain(|other| *other != id);
                        if watchers.is_empty() {
                            index.single.remove(&range.start);
                        }
                    }
                }
                _ => index.ranges.remove(range, id),
            }
        }
        true
    }

    /// Takes note of what a batch did, in order. `state` is the state right after it. Call it for
    /// every batch, before anybody is answered.
    pub fn publish(&mut self, state: &State, events: &[(RootId, Event)]) {
        let mut hit = Vec::new();
        for (root, event) in events {
            let Some(index) = self.indexes.get(root) else {
                continue;
            };
            let key = event.record.key();
            hit.extend(index.single.get(key).into_iter().flatten().copied());
            index.ranges.containing(key, &mut |id| hit.push(id));
            if !hit.is_empty() {
                let event = Arc::new(event.clone());
                for id in hit.drain(..) {
                    self.tell(id, &event);
                }
            }
        }
        self.published = self.published.max(state.revision());
    }

    fn tell(&mut self, id: WatcherId, event: &Arc<Event>) {
        let Some(watcher) = self.watchers.get_mut(&id) else {
            return;
        };
        let Mode::Live {
            queue,
            queued_bytes,
        } = &mut watcher.mode
        else {
            // Finds it in history.
            return;
        };
        if event.revision() < watcher.next || !watcher.spec.wants(event) {
            return;
        }
        *queued_bytes += event.size();
        if *queued_bytes > self.queue_bytes_max && !queue.is_empty() {
            if self.mutants.has(Mutant::WatchGapWhenSlow) {
                watcher.next = event.revision().next();
                watcher.mode = Mode::live();
                return;
            }
            // It goes on where its queue began, not where it was last asked: a watcher that had
            // nothing to be told for long may have an old cursor, below what is compacted.
            watcher.next = queue.front().map_or(watcher.next, |first| first.revision());
            Mark::WatcherBehind.reach();
            watcher.mode = Mode::Behind;
        } else {
            queue.push_back(event.clone());
            if self.mutants.has(Mutant::WatchRepeatsEvent) {
                queue.push_back(event.clone());
            }
        }
        self.ready.insert(id);
    }

    /// A snapshot was installed: `state` did not come of the one before by publishing. Cursors stay;
    /// what happened in between is read from the new history.
    pub fn restored(&mut self, state: &State) {
        let before = std::mem::replace(&mut self.published, state.revision());
        for (id, watcher) in &mut self.watchers {
            if let Mode::Live { queue, .. } = &watcher.mode {
                let told = queue
                    .front()
                    .map_or(before.next(), |first| first.revision());
                watcher.next = watcher.next.max(told);
            }
            if self.mutants.has(Mutant::WatchBackInTime) {
                watcher.next = watcher.next.min(Revision(watcher.next.0 / 2 + 1));
            }
            if watcher.next <= self.published {
                Mark::WatcherRestored.reach();
                watcher.mode = Mode::Behind;
                self.ready.insert(*id);
            } else {
                watcher.mode = Mode::live();
            }
        }
    }

    /// Up to where a watcher has been given everything, if nothing waits for it; nothing otherwise, and nothing is
    /// taken: for whoever wants to tell progress.
    pub fn synced_to(&self, id: WatcherId) -> Option<Revision> {
        let watcher = self.watchers.get(&id)?;
        let is_in_future = watcher.next > self.published.next();
        match &watcher.mode {
            Mode::Live { queue, .. } if queue.is_empty() && !is_in_future => Some(self.published),
            _ => None,
        }
    }

    /// Takes the watchers that may have something new, ascending by id.
    pub fn ready(&mut self) -> Vec<WatcherId> {
        std::mem::take(&mut self.ready).into_iter().collect()
    }

    /// Whether [`Hub::ready`] would return any.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes what `id` has: about `budget_bytes` of events, at least one revision of them. `state` is
    /// the state that was published last. While there is more the watcher stays among the ready ones.
    /// A watcher that does not exist is idle for ever.
    pub fn poll(&mut self, id: WatcherId, state: &State, budget_bytes: u64) -> Polled {
        self.ready.remove(&id);
        let Some(watcher) = self.watchers.get_mut(&id) else {
            return Polled::Idle {
                synced_to: Revision(0),
            };
        };
        let polled = match &mut watcher.mode {
            Mode::Live { .. } => watcher.take_queued(self.published, budget_bytes),
            Mode::Behind => watcher.read_history(self.published, state, budget_bytes),
        };
        if let Polled::Events(events) = &polled {
            self.n_given += events.len() as u64;
        }
        let has_more = match &watcher.mode {
            Mode::Live { queue, .. } => !queue.is_empty(),
            Mode::Behind => true,
        };
        if matches!(polled, Polled::Compacted { .. }) {
            self.cancel(id);
        } else if has_more {
            self.ready.insert(id);
        }
        polled
    }
}

impl Watcher {
    /// Gives out whole revisions from the queue.
    fn take_queued(&mut self, published: Revision, budget_bytes: u64) -> Polled {
        let Mode::Live {
            queue,
            queued_bytes,
        } = &mut self.mode
        else {
            return self.idle(published);
        };
        let mut events: Vec<Arc<Event>> = Vec::new();
        let mut bytes = 0;
        while let Some(event) = queue.front() {
            let begun = events
                .last()
                .is_some_and(|e| e.revision() == event.revision());
            if bytes >= budget_bytes && !events.is_empty() && !begun {
                break;
            }
            bytes += event.size();
            events.extend(queue.pop_front());
        }
        *queued_bytes -= bytes;
        let drained = queue.is_empty();
        self.give_out(events, drained.then_some(published), published)
    }

    /// Gives out whole revisions from history, and goes live at its end.
    fn read_history(&mut self, published: Revision, state: &State, budget_bytes: u64) -> Polled {
        let root = state.root(self.spec.root);
        let mut history = match root.events(self.next) {
            Ok(history) => history,
            Err(_) => {
                Mark::WatcherCompacted.reach();
                return Polled::Compacted {
                    at: root.compacted(),
                };
            }
        };
        let mut events: Vec<Arc<Event>> = Vec::new();
        let (mut bytes, mut n_seen, mut last_seen) = (0, 0, Revision(0));
        while let Some(record) = history.next_record() {
            let revision = record.mod_revision();
            let enough = n_seen >= SCAN_VERSIONS_MAX || (bytes >= budget_bytes && bytes > 0);
            if enough && revision > last_seen {
                let before = revision.previous();
                return self.give_out(events, Some(before), published);
            }
            n_seen += 1;
            last_seen = revision;
            if self.spec.range.contains(record.key()) {
                let event = Event {
                    record: record.clone(),
                    previous: root.previous(record),
                };
                if self.spec.wants(&event) {
                    bytes += event.size();
                    events.push(Arc::new(event));
                }
            }
        }
        // A state older than what was published is not the end of history.
        if state.revision() >= published {
            self.mode = Mode::live();
        }
        self.give_out(events, Some(state.revision()), published)
    }

    /// Moves the cursor behind `events`, or behind `read_to` when everything up to there was looked at.
    fn give_out(
        &mut self,
        events: Vec<Arc<Event>>,
        read_to: Option<Revision>,
        published: Revision,
    ) -> Polled {
        base::invariant!(
            events
                .first()
                .is_none_or(|event| event.revision() >= self.next),
            "a watch never goes back"
        );
        let given = events.last().map(|event| event.revision());
        if let Some(done) = given.max(read_to) {
            self.next = self.next.max(done.next());
        }
        if events.is_empty() {
            self.idle(published)
        } else {
            Polled::Events(events)
        }
    }

    fn idle(&self, published: Revision) -> Polled {
        let future = self.next > published.next();
        let synced_to = if future {
            Revision(0)
        } else {
            self.next.previous()
        };
        Polled::Idle { synced_to }
    }
}
