//! Watches: one for each stream, each a cursor over history (`store::hub`).
//!
//! ```text
//!   open ─► the first message: from where on ─► events, whole revisions ─► … ─► progress, when it is quiet ─► …
//! ```
//!
//! What the hub promises holds here: events are ordered, unique, gapless, atomic by revision, and a watch that is
//! opened again at `synced_revision + 1` goes on exactly there. A slow client costs itself alone: its queue is bounded,
//! and beyond that it reads history; when that is compacted away meanwhile it is told so, never left with a gap.
//!
//! Deliberately absent: waiting, and knowing how much a client can take. The driver polls a stream when it can.

use crate::KEYS_ROOT;
use crate::fault::Fault;
use crate::keys::{Values, key_value, timed};
use crate::refusal::{Refusal, Refused};
use crate::reply::{Freshness, HeaderParts, Reply, header};
use api::proto;
use base::{Instant, Mutants, Revision};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::hub::{Hub, Polled, WatchSpec, WatcherId};
use store::{Event, RootId, State};

/// A watch that is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchPlan {
    /// Which keys, from when on, and what of it.
    pub spec: WatchSpec,
    /// Tell what was there before, too.
    pub previous: bool,
    /// Tell now and then up to where nothing was missed.
    pub progress: bool,
}

/// One stream of one desk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u64);

/// What a stream has to send.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Streamed {
    /// In this order.
    pub replies: Vec<Reply>,
    /// Then it is over, with this.
    pub end: Option<Fault>,
}

/// A core's watches. See the module's documentation.
pub struct WatchDesk {
    hub: Hub,
    streams: BTreeMap<StreamId, Stream>,
    owners: BTreeMap<WatcherId, StreamId>,
    /// Streams that may have something to send.
    ready: BTreeSet<StreamId>,
    last_stream: u64,
    parts: HeaderParts,
    progress_interval: Duration,
    streams_max: usize,
}

struct Stream {
    watcher: WatcherId,
    previous: bool,
    progress: bool,
    /// Something was sent since the last tick that was due.
    is_busy: bool,
    progress_due: Option<Instant>,
}

/// Bytes of events in one message, about.
const MESSAGE_BYTES: u64 = 64 * 1024;

impl WatchDesk {
    /// A desk with at most `streams_max` watches; those that want it hear of progress every `progress_interval`.
    pub fn new(
        parts: HeaderParts,
        streams_max: usize,
        progress_interval: Duration,
        mutants: Mutants,
    ) -> WatchDesk {
        WatchDesk {
            hub: Hub::new(mutants),
            streams: BTreeMap::new(),
            owners: BTreeMap::new(),
            ready: BTreeSet::new(),
            last_stream: 0,
            parts,
            progress_interval,
            streams_max,
        }
    }

    /// See [`Hub::bound_queues`].
    pub fn bound_queues(&mut self, bytes: u64) {
        self.hub.bound_queues(bytes);
    }

    /// What headers say from now on: the term changes.
    pub fn set_header(&mut self, parts: HeaderParts) {
        self.parts = parts;
    }

    /// Opens a watch, and its first message: the watch stands. `state` must be the last one that was published.
    ///
    /// # Errors
    /// Where it would begin is compacted, or there are too many.
    pub fn open(&mut self, plan: &WatchPlan, state: &State) -> Result<(StreamId, Reply), Fault> {
        if self.streams.len() >= self.streams_max {
            let words = format!("{} watch at this member already", self.streams_max);
            return Err(Fault::new(api::Code::Busy, words));
        }
        let start = plan.spec.start;
        let oldest = state.root(KEYS_ROOT).compacted();
        if start > Revision(0) && start < oldest {
            return Err(Refused::revision(Refusal::Compacted, oldest.0).into());
        }
        let watcher = self.hub.watch(plan.spec.clone(), state);
        self.last_stream += 1;
        let id = StreamId(self.last_stream);
        self.owners.insert(watcher, id);
        self.streams.insert(
            id,
            Stream {
                watcher,
                previous: plan.previous,
                progress: plan.progress,
                is_busy: true,
                progress_due: None,
            },
        );
        self.wake();
        let synced = match start {
            Revision(0) => state.revision(),
            start => start.previous(),
        };
        Ok((id, message(&self.parts, state, Vec::new(), synced)))
    }

    /// A stream has ended, by whoever's wish.
    pub fn close(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.remove(&id) {
            self.hub.cancel(stream.watcher);
            self.owners.remove(&stream.watcher);
        }
        self.ready.remove(&id);
    }

    /// A batch was applied: `state` is the state right after it. Before any answer goes out.
    pub fn publish(&mut self, state: &State, events: &[(RootId, Event)]) {
        self.hub.publish(state, events);
        self.wake();
    }

    /// The state was replaced by a snapshot.
    pub fn restored(&mut self, state: &State) {
        self.hub.restored(state);
        self.wake();
    }

    fn wake(&mut self) {
        for watcher in self.hub.ready() {
            self.ready.extend(self.owners.get(&watcher));
        }
    }

    /// Takes the streams that may have something to send.
    pub fn ready(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.ready).into_iter().collect()
    }

    /// Whether a stream may have something to send.
    pub fn is_ready(&self, id: StreamId) -> bool {
        self.ready.contains(&id)
    }

    /// What a stream has to send now, about `budget_bytes` of events; call it when the client takes more, and again
    /// while the stream is ready. A stream that is over is forgotten.
    pub fn poll(&mut self, id: StreamId, state: &State, budget_bytes: u64) -> Streamed {
        self.ready.remove(&id);
        let mut streamed = Streamed::default();
        let mut left = budget_bytes.max(1);
        while left > 0
            && streamed.end.is_none()
            && let Some(stream) = self.streams.get_mut(&id)
        {
            match self
                .hub
                .poll(stream.watcher, state, MESSAGE_BYTES.min(left))
            {
                Polled::Events(events) => {
                    stream.is_busy = true;
                    let bytes: u64 = events.iter().map(|event| event.size()).sum();
                    left = left.saturating_sub(bytes);
                    let synced = events.last().map_or(Revision(0), |last| last.revision());
                    let tell = |event: &std::sync::Arc<Event>| told(state, event, stream.previous);
                    let events = events.iter().map(tell).collect();
                    streamed
                        .replies
                        .push(message(&self.parts, state, events, synced));
                }
                Polled::Idle { .. } => break,
                Polled::Compacted { at } => {
                    streamed.end = Some(Refused::revision(Refusal::Compacted, at.0).into());
                    self.close(id);
                }
            }
        }
        self.wake();
        streamed
    }

    /// Time passes: streams that want it and were quiet for an interval say up to where nothing was missed. Call it
    /// every second or so.
    pub fn tick(&mut self, now: Instant, state: &State) -> Vec<(StreamId, Reply)> {
        let mut out = Vec::new();
        for (id, stream) in &mut self.streams {
            match stream.progress_due {
                _ if !stream.progress => continue,
                Some(due) if now < due => continue,
                // What is still to be sent tells as much.
                Some(_) if !std::mem::replace(&mut stream.is_busy, self.ready.contains(id)) => {
                    // Nothing is taken: a stream whose client reads slowly has its events still to come.
                    if let Some(synced_to) = self.hub.synced_to(stream.watcher) {
                        out.push((*id, message(&self.parts, state, Vec::new(), synced_to)));
                    }
                }
                _ => stream.is_busy = self.ready.contains(id),
            }
            stream.progress_due = Some(now + self.progress_interval);
        }
        self.wake();
        out
    }

    /// How many watches there are.
    pub fn n_streams(&self) -> usize {
        self.streams.len()
    }
}

/// The header's revision is what the client has seen, so that its session token asks for no more than that.
fn message(
    parts: &HeaderParts,
    state: &State,
    events: Vec<proto::Event>,
    synced: Revision,
) -> Reply {
    let seen = synced.min(state.revision());
    proto::WatchResponse {
        header: Some(header(parts, &Freshness::LOCAL, state, seen)),
        events,
        synced_revision: synced.0,
    }
    .into()
}

fn told(state: &State, event: &Event, previous: bool) -> proto::Event {
    let kind = match event.record.is_tombstone() {
        true => proto::EventKind::Delete,
        false => proto::EventKind::Put,
    };
    let tell = |record| timed(state, key_value(record, Values::Keep));
    proto::Event {
        kind: kind.into(),
        kv: Some(tell(&event.record)),
        previous: event.previous.as_ref().filter(|_| previous).map(tell),
    }
}
