//! A core's watch streams together with the hub that feeds them.
//!
//! The driver tells the desk what was applied and which streams can take more; the desk knows which
//! stream has something. It is all plain calls: nothing here waits.

use super::event::EventCache;
use super::stream::WatchStream;
use crate::auth::{self, Caller, Interval, Rights, Verb};
use crate::header::HeaderParts;
use crate::status::{Refusal, Status};
use base::{Instant, Mutant, Mutants, Revision};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::command::Identity;
use store::hub::{Hub, WatcherId};
use store::{Event, KeyRange, RootId, State};

/// One stream of one desk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u64);

/// Watches that [`WatchDesk::vitals`] looks at: some milliseconds of work.
const WATCHES_LOOKED_AT_MAX: usize = 100_000;

/// How the watches of a desk are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WatchVitals {
    /// Watches that read history.
    pub n_behind: usize,
    /// Events that wait in queues.
    pub events_waiting: u64,
    /// Events given to streams so far.
    pub events_given: u64,
    /// The streams that are furthest behind, the furthest first.
    pub lagging: Vec<Lagging>,
}

/// A stream that is behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lagging {
    /// Which.
    pub stream: StreamId,
    /// By how many revisions its slowest watch is.
    pub revisions: u64,
    /// Bytes of events that wait in the queues of its watches.
    pub bytes: u64,
}

/// A core's streams. See the module's documentation.
pub struct WatchDesk {
    hub: Hub,
    cache: EventCache,
    streams: BTreeMap<StreamId, WatchStream>,
    owners: BTreeMap<WatcherId, StreamId>,
    /// Streams that may have something to send.
    ready: BTreeSet<StreamId>,
    last_stream: u64,
    header: HeaderParts,
    request_bytes_max: usize,
    progress_interval: Duration,
    /// Up to where this desk was told.
    published: Revision,
    /// Whether authentication is enabled, and the revision of the users and roles by which the watches are permitted.
    authorised: (bool, u64),
    mutants: Mutants,
}

impl WatchDesk {
    /// A desk without streams.
    pub fn new(header: HeaderParts, request_bytes_max: usize, mutants: Mutants) -> WatchDesk {
        WatchDesk {
            hub: Hub::new(mutants),
            cache: EventCache::new(),
            streams: BTreeMap::new(),
            owners: BTreeMap::new(),
            ready: BTreeSet::new(),
            last_stream: 0,
            header,
            request_bytes_max,
            progress_interval: super::stream::PROGRESS_INTERVAL,
            published: Revision(0),
            authorised: (false, 0),
            mutants,
        }
    }

    /// See [`WatchStream::set_progress_interval`]; for streams opened from now on.
    pub fn set_progress_interval(&mut self, interval: Duration) {
        self.progress_interval = interval;
    }

    /// See [`Hub::bound_queues`].
    pub fn bound_queues(&mut self, bytes: u64) {
        self.hub.bound_queues(bytes);
    }

    /// What headers say from now on: the term changes.
    pub fn set_header(&mut self, header: HeaderParts) {
        self.header = header;
        for stream in self.streams.values_mut() {
            stream.set_header(header);
        }
    }

    /// A client has opened a stream.
    pub fn open(&mut self) -> StreamId {
        self.last_stream += 1;
        let id = StreamId(self.last_stream);
        let mut stream = WatchStream::new(self.header, self.request_bytes_max);
        // Spread the ticks of many streams over a tenth of the interval, without chance.
        let share = self.progress_interval / 10 * (self.last_stream % 16) as u32 / 16;
        stream.set_progress_interval(self.progress_interval + share);
        self.streams.insert(id, stream);
        id
    }

    /// A stream has ended, by whoever's wish.
    pub fn close(&mut self, id: StreamId) {
        if let Some(mut stream) = self.streams.remove(&id) {
            for watcher in stream.watchers() {
                self.owners.remove(&watcher);
            }
            stream.close(&mut self.hub);
        }
        self.ready.remove(&id);
    }

    /// [`WatchDesk::handle_as`], where nobody has said who they are.
    ///
    /// # Errors
    /// As [`WatchDesk::handle_as`].
    pub fn handle(
        &mut self,
        id: StreamId,
        request: &Bytes,
        state: &State,
    ) -> Result<Vec<Bytes>, Status> {
        self.handle_as(id, request, state, &Ok(None))
    }

    /// A client has sent a `WatchRequest`; answers what to send at once. `state` must be the last one that
    /// was published, `caller` is who the client is.
    ///
    /// # Errors
    /// The stream must be ended with this status.
    pub fn handle_as(
        &mut self,
        id: StreamId,
        request: &Bytes,
        state: &State,
        caller: &Caller,
    ) -> Result<Vec<Bytes>, Status> {
        // Before the first watch nobody had to be asked.
        self.authorise(state);
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(Vec::new());
        };
        let handled = stream.handle(request, state, &mut self.hub, caller)?;
        if let Some(watcher) = handled.started {
            self.owners.insert(watcher, id);
        }
        if let Some(watcher) = handled.ended {
            self.owners.remove(&watcher);
        }
        if stream.is_ready() {
            self.ready.insert(id);
        }
        self.wake();
        Ok(handled.responses)
    }

    /// A batch was applied: `state` is the state right after it. Before any answer goes out.
    pub fn publish(&mut self, state: &State, events: &[(RootId, Event)]) {
        base::invariant!(
            state.revision() >= self.published,
            "published {} after {}",
            state.revision(),
            self.published
        );
        self.published = state.revision();
        self.authorise(state);
        self.hub.publish(state, events);
        self.wake();
    }

    /// The state was replaced by a snapshot.
    pub fn restored(&mut self, state: &State) {
        self.published = state.revision();
        self.cache.clear();
        self.authorise(state);
        self.hub.restored(state);
        self.wake();
    }

    /// Ends the watches that may no longer read, if users or roles have changed since it was last asked. Call it with
    /// every state that is published, also where no key has changed, and before anything is sent of it.
    pub fn authorise(&mut self, state: &State) {
        let now = (auth::is_enabled(state), auth::revision(state));
        if std::mem::replace(&mut self.authorised, now) == now || !now.0 {
            return;
        }
        if self.mutants.has(Mutant::WatchNotReauthorised) {
            return;
        }
        // Many watches are of few users.
        let mut rights: BTreeMap<Bytes, Option<Rights>> = BTreeMap::new();
        let mut may = |identity: Option<&Identity>, range: &KeyRange| match identity {
            None => Err(Refusal::UserEmpty),
            Some(Identity::Member) => Ok(()),
            Some(Identity::User { name, .. }) => {
                let rights = rights
                    .entry(name.clone())
                    .or_insert_with(|| Rights::of(state, name));
                let interval = Interval::of_range(range);
                match rights {
                    Some(rights) if rights.allow(&interval, Verb::Read) => Ok(()),
                    _ => Err(Refusal::PermissionDenied),
                }
            }
        };
        let mut ended = Vec::new();
        for (id, stream) in &mut self.streams {
            stream.authorise(state, &mut self.hub, &mut may, &mut ended);
            if stream.is_ready() {
                self.ready.insert(*id);
            }
        }
        for watcher in ended {
            self.owners.remove(&watcher);
        }
    }

    fn wake(&mut self) {
        for watcher in self.hub.ready() {
            let Some(id) = self.owners.get(&watcher) else {
                continue;
            };
            if let Some(stream) = self.streams.get_mut(id) {
                stream.wake(watcher);
                self.ready.insert(*id);
            }
        }
    }

    /// Takes the streams that may have something to send. A stream that cannot take more now is asked again
    /// by the driver when it can: see [`WatchDesk::is_ready`].
    pub fn ready(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.ready).into_iter().collect()
    }

    /// Whether a stream may have something to send.
    pub fn is_ready(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(WatchStream::is_ready)
    }

    /// What a stream has to send now, about `budget_bytes` of it; call it when the client takes more.
    pub fn poll(&mut self, id: StreamId, state: &State, budget_bytes: usize) -> Vec<Bytes> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Vec::new();
        };
        let mut ended = Vec::new();
        let hub = &mut self.hub;
        let out = stream.poll(state, hub, &mut self.cache, budget_bytes, &mut ended);
        for watcher in ended {
            self.owners.remove(&watcher);
        }
        if stream.is_ready() {
            self.ready.insert(id);
        }
        // The hub marks what it could not give in full.
        self.wake();
        out
    }

    /// Time passes: how far quiet watches are, for those streams that are to be told. It is never events, and may be
    /// left unsaid where the client takes nothing. Call it every second or so.
    pub fn tick(&mut self, now: Instant) -> Vec<(StreamId, Vec<Bytes>)> {
        let mut out = Vec::new();
        for (id, stream) in &mut self.streams {
            let due = stream.next_tick();
            if due.is_some_and(|due| now < due) {
                continue;
            }
            let sent = stream.tick(now, &self.hub);
            if !sent.is_empty() {
                out.push((*id, sent));
            }
        }
        out
    }

    /// How the watches are: for whoever watches over the member. The `top` streams that are furthest behind are named.
    pub fn vitals(&self, top: usize) -> WatchVitals {
        let mut vitals = WatchVitals {
            events_given: self.hub.n_given(),
            ..WatchVitals::default()
        };
        let mut lagging: BTreeMap<StreamId, Lagging> = BTreeMap::new();
        for (watcher, waiting) in self.hub.waiting(WATCHES_LOOKED_AT_MAX) {
            vitals.n_behind += usize::from(waiting.is_behind);
            vitals.events_waiting += waiting.events;
            let Some(stream) = self.owners.get(&watcher) else {
                continue;
            };
            let lag = lagging.entry(*stream).or_insert(Lagging {
                stream: *stream,
                revisions: 0,
                bytes: 0,
            });
            lag.revisions = lag.revisions.max(waiting.revisions);
            lag.bytes += waiting.bytes;
        }
        vitals.lagging = lagging.into_values().collect();
        vitals
            .lagging
            .sort_by_key(|lag| std::cmp::Reverse((lag.revisions, lag.bytes)));
        vitals.lagging.truncate(top);
        vitals
    }

    /// Whether a stream has any watch left.
    pub fn has_watches(&self, id: StreamId) -> bool {
        let stream = self.streams.get(&id);
        stream.is_some_and(|stream| stream.watchers().next().is_some())
    }

    /// How many streams are open.
    pub fn n_streams(&self) -> usize {
        self.streams.len()
    }

    /// How many watches there are.
    pub fn n_watches(&self) -> usize {
        self.owners.len()
    }
}
