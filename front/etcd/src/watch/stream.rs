//! The state of one watch stream.

use super::event::{EventCache, Form};
use super::request::{Create, Request};
use super::response::{Events, NO_WATCH, Notice};
use crate::auth::{self, Caller, Needs};
use crate::header::HeaderParts;
use crate::record;
use crate::status::{Refusal, Status};
use base::{Instant, Revision, limits};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::command::Identity;
use store::hub::{Hub, Polled, WatchSpec, WatcherId};
use store::{KeyRange, State};

/// Watches on one stream. A client library puts all of a program's watches on one stream; beyond this many
/// the program has lost count, and a further watch is canceled when it is created.
pub const WATCHES_PER_STREAM_MAX: usize = 100_000;

/// Bytes of events that one response gathers from several revisions. One revision is never split, so it
/// may be more. Client libraries other than Go's refuse messages above 4 MiB.
const RESPONSE_BYTES: u64 = 1024 * 1024;

/// How often quiet watches that want it hear of progress, etcd's default.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);

/// What a request led to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Handled {
    /// What to send, in this order.
    pub responses: Vec<Bytes>,
    /// The hub's watcher that was begun: its readiness concerns this stream from now on.
    pub started: Option<WatcherId>,
    /// The hub's watcher that was ended.
    pub ended: Option<WatcherId>,
}

#[derive(Debug)]
struct Watch {
    watcher: WatcherId,
    /// The revision with which it begins, or 0 for whatever came next.
    start: Revision,
    form: Form,
    fragment: bool,
    progress: bool,
    /// Whether events went out since the last tick of the progress interval.
    is_busy: bool,
    /// What it watches, for whom: looked at again whenever users or roles change.
    range: KeyRange,
    identity: Option<Identity>,
}

/// Whether somebody may still read a range.
pub(crate) type MayRead<'a> = dyn FnMut(Option<&Identity>, &KeyRange) -> Result<(), Refusal> + 'a;

/// One stream. See the module's documentation.
///
/// Invariants: `watches` and `by_watcher` are inverse to each other; every watcher in here is the hub's.
#[derive(Debug)]
pub struct WatchStream {
    header: HeaderParts,
    watches: BTreeMap<i64, Watch>,
    by_watcher: BTreeMap<WatcherId, i64>,
    /// Watches that may have something.
    ready: BTreeSet<i64>,
    /// What is to be said before anything else: watches that were ended because they may no longer read.
    notices: Vec<Bytes>,
    /// Where the next poll goes on, so that no watch starves the others.
    turn: i64,
    next_id: i64,
    /// The client has asked where it is and was not told yet.
    progress_asked: bool,
    progress_interval: Duration,
    progress_due: Option<Instant>,
    fragment_bytes_max: usize,
}

/// What a watch had to say. If it may have more the hub marks it ready again.
enum Turn {
    /// Events.
    Sent,
    /// Nothing yet: it is still looking through history.
    Behind,
    /// Nothing: all events up to this revision, the present one, have been sent.
    Synced(Revision),
    /// Nothing: it begins in the future.
    Future,
    /// It is over.
    Ended(WatcherId),
}

/// Watches that are asked in one poll, so that a stream of very many takes bounded steps.
const TURNS_MAX: usize = 1000;

impl WatchStream {
    /// A stream without watches. `request_bytes_max` is the configured limit, by which fragments are
    /// cut.
    pub fn new(header: HeaderParts, request_bytes_max: usize) -> WatchStream {
        WatchStream {
            header,
            watches: BTreeMap::new(),
            by_watcher: BTreeMap::new(),
            ready: BTreeSet::new(),
            notices: Vec::new(),
            turn: i64::MIN,
            next_id: 0,
            progress_asked: false,
            progress_interval: PROGRESS_INTERVAL,
            progress_due: None,
            fragment_bytes_max: request_bytes_max + limits::REQUEST_OVERHEAD_BYTES,
        }
    }

    /// Tells quiet watches of progress this often (`--watch-progress-notify-interval`; at least 100 ms). A
    /// driver with many streams gives each a slightly different interval.
    pub fn set_progress_interval(&mut self, interval: Duration) {
        self.progress_interval = interval.max(Duration::from_millis(100));
        self.progress_due = None;
    }

    /// What the header says from now on: the term changes.
    pub fn set_header(&mut self, header: HeaderParts) {
        self.header = header;
    }

    /// The hub's watchers of this stream.
    pub fn watchers(&self) -> impl Iterator<Item = WatcherId> + '_ {
        self.by_watcher.keys().copied()
    }

    /// Takes a `WatchRequest` of whoever `caller` is. A watch that it may not have is canceled as it is created.
    ///
    /// # Errors
    /// Malformed bytes end the stream.
    pub fn handle(
        &mut self,
        request: &Bytes,
        state: &State,
        hub: &mut Hub,
        caller: &Caller,
    ) -> Result<Handled, Status> {
        match Request::read(request).map_err(Refusal::from)? {
            Request::Create(create) => Ok(self.create(request, &create, state, hub, caller)),
            Request::Cancel(id) => Ok(self.cancel(id, state, hub)),
            Request::Progress => {
                self.progress_asked = !self.watches.is_empty();
                Ok(Handled::default())
            }
            Request::Nothing => Ok(Handled::default()),
        }
    }

    fn create(
        &mut self,
        request: &Bytes,
        create: &Create<'_>,
        state: &State,
        hub: &mut Hub,
        caller: &Caller,
    ) -> Handled {
        let revision = state.revision();
        // Without a key the range begins at the smallest one. This one range is authorised and watched.
        let key = match create.key {
            [] => Bytes::from_static(&[0]),
            key => request.slice_ref(key),
        };
        let range = record::key_range(key, request.slice_ref(create.end));
        let checked = match auth::permit_caller(state, caller, &Needs::of_read(&range)) {
            // No state has such a revision, whoever asks: etcd says so first.
            _ if create.start < 0 => Err(Cow::Borrowed(Refusal::Compacted.message())),
            Ok(()) => self.check(create).map_err(Cow::Borrowed),
            Err(refusal) => Err(Cow::Owned(Status::from(refusal).in_words())),
        };
        let id = match checked {
            Ok(id) => id,
            Err(cancel_reason) => {
                let notice = Notice {
                    revision,
                    watch_id: NO_WATCH,
                    created: true,
                    canceled: true,
                    cancel_reason: &cancel_reason,
                    ..Notice::default()
                };
                return Handled {
                    responses: vec![notice.encode(&self.header)],
                    ..Handled::default()
                };
            }
        };
        let start = Revision(create.start as u64);
        let spec = WatchSpec {
            root: crate::ROOT,
            range: range.clone(),
            start,
            no_put: create.no_put,
            no_delete: create.no_delete,
        };
        let watcher = hub.watch(spec, state);
        self.by_watcher.insert(watcher, id);
        self.watches.insert(
            id,
            Watch {
                watcher,
                start,
                form: if create.prev_kv {
                    Form::WithPrevious
                } else {
                    Form::Plain
                },
                fragment: create.fragment,
                progress: create.progress,
                is_busy: true,
                range,
                identity: caller.clone().unwrap_or(None),
            },
        );
        self.ready.insert(id);
        let notice = Notice {
            revision,
            watch_id: id,
            created: true,
            ..Notice::default()
        };
        Handled {
            responses: vec![notice.encode(&self.header)],
            started: Some(watcher),
            ended: None,
        }
    }

    /// The id of the watch to be; or why there will be none, in etcd's words where it has some.
    fn check(&mut self, create: &Create<'_>) -> Result<i64, &'static str> {
        let key: &[u8] = if create.key.is_empty() {
            &[0]
        } else {
            create.key
        };
        if !create.end.is_empty() && create.end != [0] && create.end <= key {
            return Err("mvcc: watcher range is empty");
        }
        if self.watches.len() >= WATCHES_PER_STREAM_MAX {
            return Err("quorate: too many watches on one stream");
        }
        if create.id != 0 {
            return match self.watches.contains_key(&create.id) {
                true => Err("mvcc: duplicate watch ID provided on the WatchStream"),
                false => Ok(create.id),
            };
        }
        while self.watches.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        let id = self.next_id;
        self.next_id += 1;
        Ok(id)
    }

    /// Cancels a watch. An unknown one is ignored, as in etcd.
    fn cancel(&mut self, id: i64, state: &State, hub: &mut Hub) -> Handled {
        let Some(ended) = self.forget(id) else {
            return Handled::default();
        };
        hub.cancel(ended);
        let notice = Notice {
            revision: state.revision(),
            watch_id: id,
            canceled: true,
            ..Notice::default()
        };
        Handled {
            responses: vec![notice.encode(&self.header)],
            started: None,
            ended: Some(ended),
        }
    }

    /// Users or roles have changed: ends the watches that may no longer read, before any further event is taken from them.
    /// `may` says who still may. The hub's watchers that were ended are appended to `ended`.
    pub(crate) fn authorise(
        &mut self,
        state: &State,
        hub: &mut Hub,
        may: &mut MayRead<'_>,
        ended: &mut Vec<WatcherId>,
    ) {
        let refused: Vec<(i64, Refusal)> = self
            .watches
            .iter()
            .filter_map(|(id, watch)| {
                let refusal = may(watch.identity.as_ref(), &watch.range).err()?;
                Some((*id, refusal))
            })
            .collect();
        for (id, refusal) in refused {
            let Some(watcher) = self.forget(id) else {
                continue;
            };
            hub.cancel(watcher);
            ended.push(watcher);
            let notice = Notice {
                revision: state.revision(),
                watch_id: id,
                canceled: true,
                cancel_reason: &Status::from(refusal).in_words(),
                ..Notice::default()
            };
            self.notices.push(notice.encode(&self.header));
        }
    }

    fn forget(&mut self, id: i64) -> Option<WatcherId> {
        let watch = self.watches.remove(&id)?;
        self.by_watcher.remove(&watch.watcher);
        self.ready.remove(&id);
        Some(watch.watcher)
    }

    /// The hub says that `watcher` may have something; [`WatchStream::poll`] will look.
    pub fn wake(&mut self, watcher: WatcherId) {
        if let Some(id) = self.by_watcher.get(&watcher) {
            self.ready.insert(*id);
        }
    }

    /// Whether [`WatchStream::poll`] may have something.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty() || self.progress_asked || !self.notices.is_empty()
    }

    /// What there is to send now, about `budget_bytes` of it. Call it only when the client takes more, and
    /// again while [`WatchStream::is_ready`], having woken it for each of [`Hub::ready`] in between.
    /// Watchers that are over are appended to `ended`.
    pub fn poll(
        &mut self,
        state: &State,
        hub: &mut Hub,
        cache: &mut EventCache,
        budget_bytes: usize,
        ended: &mut Vec<WatcherId>,
    ) -> Vec<Bytes> {
        let mut responses = std::mem::take(&mut self.notices);
        let mut sent = 0;
        for _ in 0..TURNS_MAX {
            // Round robin by id, so that a busy watch does not starve the others.
            let next = self.ready.range(self.turn..).next();
            let Some(id) = next.or_else(|| self.ready.first()).copied() else {
                break;
            };
            if sent >= budget_bytes {
                break;
            }
            self.turn = id.saturating_add(1);
            self.ready.remove(&id);
            let before = responses.len();
            if let Turn::Ended(watcher) = self.advance(id, state, hub, cache, &mut responses) {
                ended.push(watcher);
            }
            sent += responses[before..].iter().map(Bytes::len).sum::<usize>();
        }
        if self.progress_asked && self.ready.is_empty() {
            self.answer_progress(state, hub, cache, &mut responses, ended);
        }
        responses
    }

    /// Takes what one watch has, up to one response.
    fn advance(
        &mut self,
        id: i64,
        state: &State,
        hub: &mut Hub,
        cache: &mut EventCache,
        responses: &mut Vec<Bytes>,
    ) -> Turn {
        let Some(watch) = self.watches.get_mut(&id) else {
            return Turn::Future;
        };
        match hub.poll(watch.watcher, state, RESPONSE_BYTES) {
            Polled::Events(events) => {
                watch.is_busy = true;
                let events = Events {
                    watch_id: id,
                    events: &events,
                    form: watch.form,
                    fragment_bytes_max: watch.fragment.then_some(self.fragment_bytes_max),
                };
                events.encode(&self.header, cache, responses);
                Turn::Sent
            }
            // Also when it begins with the very next revision: whoever asked for that is told nothing before it.
            Polled::Idle { synced_to }
                if synced_to == Revision(0) || watch.start > state.revision() =>
            {
                Turn::Future
            }
            Polled::Idle { synced_to } if synced_to < state.revision() => Turn::Behind,
            Polled::Idle { synced_to } => Turn::Synced(synced_to),
            Polled::Compacted { at } => {
                // The header has no revision and there is no reason in words: only the compacted
                // revision tells, as in etcd.
                let notice = Notice {
                    watch_id: id,
                    canceled: true,
                    compact_revision: at,
                    ..Notice::default()
                };
                responses.push(notice.encode(&self.header));
                match self.forget(id) {
                    Some(watcher) => Turn::Ended(watcher),
                    None => Turn::Future,
                }
            }
        }
    }

    /// Answers "where am I?" once every watch of the stream has sent all there is. While one begins in the
    /// future there is no answer at all, as in etcd.
    fn answer_progress(
        &mut self,
        state: &State,
        hub: &mut Hub,
        cache: &mut EventCache,
        responses: &mut Vec<Bytes>,
        ended: &mut Vec<WatcherId>,
    ) {
        let ids: Vec<i64> = self.watches.keys().copied().collect();
        let mut progress = None;
        for id in ids {
            match self.advance(id, state, hub, cache, responses) {
                Turn::Synced(revision) => progress = Some(revision),
                // Not there yet: the next poll tries again.
                Turn::Sent | Turn::Behind => return,
                Turn::Future => {
                    self.progress_asked = false;
                    return;
                }
                Turn::Ended(watcher) => ended.push(watcher),
            }
        }
        self.progress_asked = false;
        if let Some(revision) = progress {
            let notice = Notice {
                revision,
                watch_id: NO_WATCH,
                ..Notice::default()
            };
            responses.push(notice.encode(&self.header));
        }
    }

    /// When [`WatchStream::tick`] wants to be called next; nothing while no watch wants progress.
    pub fn next_tick(&self) -> Option<Instant> {
        self.progress_due
    }

    /// Tells watches that asked for it, and had no events for an interval, how far they are. The driver
    /// calls it now and then (etcd's interval is ten minutes).
    ///
    /// No events are taken from a watch here, since nobody has said that the client takes any: a watch for which
    /// something waits is told nothing, and [`WatchStream::poll`] will come to it.
    pub fn tick(&mut self, now: Instant, hub: &Hub) -> Vec<Bytes> {
        let mut responses = Vec::new();
        match self.progress_due {
            Some(due) if now < due => return responses,
            Some(_) => {
                for (id, watch) in self.watches.iter_mut().filter(|(_, w)| w.progress) {
                    let was_busy = std::mem::replace(&mut watch.is_busy, false);
                    if let Some(revision) = hub.synced_to(watch.watcher).filter(|_| !was_busy) {
                        let notice = Notice {
                            revision,
                            watch_id: *id,
                            ..Notice::default()
                        };
                        responses.push(notice.encode(&self.header));
                    }
                }
            }
            None => {}
        }
        self.progress_due = Some(now + self.progress_interval);
        responses
    }

    /// Ends all watches; the client is gone.
    pub fn close(&mut self, hub: &mut Hub) {
        for watcher in self.by_watcher.keys() {
            hub.cancel(*watcher);
        }
        self.watches.clear();
        self.by_watcher.clear();
        self.ready.clear();
        self.notices.clear();
        self.progress_asked = false;
    }

    /// Checks the invariants.
    pub fn check_invariants(&self) {
        base::invariant!(
            self.watches.len() == self.by_watcher.len()
                && self.by_watcher.iter().all(|(watcher, id)| {
                    self.watches
                        .get(id)
                        .is_some_and(|watch| watch.watcher == *watcher)
                }),
            "watches and watchers are inverse to each other"
        );
        base::invariant!(
            self.ready.iter().all(|id| self.watches.contains_key(id)),
            "only watches that exist are ready"
        );
    }
}
