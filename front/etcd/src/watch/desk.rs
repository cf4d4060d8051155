//! A core's watch streams together with the hub that feeds them.
//!
//! The driver tells the desk what was applied and which streams can take more; the desk knows which
//! stream has something. It is all plain calls: nothing here waits.

use super::event::EventCache;
use super::stream::WatchStream;
use crate::header::HeaderParts;
use crate::status::Status;
use base::{Instant, Mutants, Revision};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::hub::{Hub, WatcherId};
use store::{Event, RootId, State};

/// One stream of one desk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u64);

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

    /// A client has sent a `WatchRequest`; answers what to send at once. `state` must be the last one that
    /// was published.
    ///
    /// # Errors
    /// The stream must be ended with this status.
    pub fn handle(
        &mut self,
        id: StreamId,
        request: &Bytes,
        state: &State,
    ) -> Result<Vec<Bytes>, Status> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(Vec::new());
        };
        let handled = stream.handle(request, state, &mut self.hub)?;
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
        self.hub.publish(state, events);
        self.wake();
    }

    /// The state was replaced by a snapshot.
    pub fn restored(&mut self, state: &State) {
        self.published = state.revision();
        self.cache.clear();
        self.hub.restored(state);
        self.wake();
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

    /// Time passes: what streams with quiet watches have to send. Call it every second or so.
    pub fn tick(&mut self, now: Instant, state: &State) -> Vec<(StreamId, Vec<Bytes>)> {
        let mut out = Vec::new();
        let mut ended = Vec::new();
        for (id, stream) in &mut self.streams {
            let due = stream.next_tick();
            if due.is_some_and(|due| now < due) {
                continue;
            }
            let sent = stream.tick(now, state, &mut self.hub, &mut self.cache, &mut ended);
            if stream.is_ready() {
                self.ready.insert(*id);
            }
            if !sent.is_empty() {
                out.push((*id, sent));
            }
        }
        for watcher in ended {
            self.owners.remove(&watcher);
        }
        self.wake();
        out
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
