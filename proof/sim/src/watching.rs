//! Watchers: streams of etcd's watch service that break with their member and go on elsewhere.
//!
//! A watcher remembers how far it has got and asks the next member to go on from there, as etcd's own
//! clients do. All that it was ever sent is one [`Watch`], judged at the end: ordered, unique, gapless
//! across members, crashes and snapshots.

use crate::plan::Plan;
use crate::speak;
use crate::world::{Event, World};
use base::{Revision, Rng};
use bytes::Bytes;
use checker::watch::{Content, Delivery, Watch};
use checker::{Span, Time, Violation};
use etcd::StreamId;
use etcd::proto::etcdserverpb as pb;
use etcd::proto::mvccpb;
use prost::Message;

/// Bytes that a stream takes at once from its member.
const BUDGET_BYTES: usize = 2048;

/// What can happen to watchers.
#[allow(missing_docs)] // The fields' names say what they are.
pub enum WatcherEvent {
    /// It looks for a member.
    Connects { watcher: usize },
    /// It takes what its member has for it.
    Polls { watcher: usize, connection: u64 },
    /// A response reaches it.
    Receives {
        watcher: usize,
        connection: u64,
        bytes: Bytes,
    },
}

struct Watcher {
    watch: Watch,
    /// Where it goes on: everything before has come.
    next: Revision,
    /// Which member and which of its streams, if any.
    at: Option<(usize, StreamId)>,
    /// Rises with each connection; what comes of an old one is dropped.
    connection: u64,
    /// When the last response that is under way will arrive: a stream keeps its order.
    last_arrival: Time,
    /// How long it leaves responses lying, in microseconds.
    laziness_us: u64,
    asks_progress: bool,
}

/// All watchers.
pub struct Watching {
    watchers: Vec<Watcher>,
    /// Watches that were cancelled for compaction; each of them is judged as well.
    ended: Vec<Watch>,
    rng: Rng,
    /// What curious watchers draw from.
    curiosity: Rng,
    /// The newest revision that anybody asked to compact at.
    pub compacted: Revision,
    /// Everything up to here must have come by the end.
    pub owed_to: Revision,
}

impl Watching {
    /// Watchers as `plan` wants them.
    pub fn new(plan: &Plan, mut rng: Rng) -> Watching {
        let watchers = (0..plan.n_watchers).map(|number| {
            let span = match rng.below(3) {
                0 => Span::single(format!("k{}", rng.below(plan.n_keys))),
                1 => Span::between("k1", "k6"),
                _ => Span::all(),
            };
            let start = Revision(rng.between(1, 20));
            let watch = Watch {
                number,
                span,
                start,
                no_put: rng.one_in(6),
                no_delete: rng.one_in(6),
                previous: rng.one_in(2),
                deliveries: Vec::new(),
                complete_to: None,
            };
            Watcher {
                next: watch.start,
                watch,
                at: None,
                connection: 0,
                last_arrival: Time(0),
                laziness_us: *rng.pick(&[0, 1_000, 400_000]).unwrap_or(&0),
                asks_progress: rng.one_in(2),
            }
        });
        Watching {
            watchers: watchers.collect(),
            ended: Vec::new(),
            rng: rng.fork(9),
            curiosity: Rng::new(plan.seed ^ 0x4355_5249_4f55_0002),
            compacted: Revision(0),
            owed_to: Revision(0),
        }
    }

    /// Whether anybody watches.
    pub fn is_wanted(&self) -> bool {
        !self.watchers.is_empty()
    }

    /// All watches of the run.
    pub fn finish(&mut self) -> Vec<Watch> {
        let complete_to = self.owed_to;
        let mut watches = std::mem::take(&mut self.ended);
        for watcher in self.watchers.drain(..) {
            watches.push(Watch {
                complete_to: Some(complete_to),
                ..watcher.watch
            });
        }
        watches
    }

    /// Moments at which a watcher knew a revision.
    pub fn seen(watches: &[Watch]) -> Vec<(Time, Revision)> {
        let last_of = |delivery: &Delivery| match &delivery.content {
            Content::Events { events, .. } => events
                .last()
                .map(|(event, _)| (delivery.time, event.row.modified)),
            _ => None,
        };
        watches
            .iter()
            .flat_map(|watch| watch.deliveries.iter().filter_map(last_of))
            .collect()
    }
}

impl World {
    /// Lets every watcher look for a member soon.
    pub fn begin_watching(&mut self) {
        for watcher in 0..self.watching.watchers.len() {
            self.connect_later(watcher);
        }
    }

    fn connect_later(&mut self, watcher: usize) {
        let after = self.watching.rng.between(1_000, 400_000);
        self.schedule
            .after_us(after, Event::Watcher(WatcherEvent::Connects { watcher }));
    }

    /// Something happens to a watcher.
    pub fn watcher_event(&mut self, event: WatcherEvent) {
        match event {
            WatcherEvent::Connects { watcher } => self.connect(watcher),
            WatcherEvent::Polls {
                watcher,
                connection,
            } => {
                if self.watching.watchers[watcher].connection == connection {
                    self.poll(watcher);
                }
            }
            WatcherEvent::Receives {
                watcher,
                connection,
                bytes,
            } => {
                if self.watching.watchers[watcher].connection == connection {
                    self.receive(watcher, &bytes);
                }
            }
        }
    }

    fn connect(&mut self, watcher: usize) {
        let running = self.running();
        let Some(member) = self.watching.rng.pick(&running).copied() else {
            return self.connect_later(watcher);
        };
        if self.members[member].is_paused || self.watching.watchers[watcher].at.is_some() {
            return self.connect_later(watcher);
        }
        let Some(process) = &mut self.members[member].process else {
            return;
        };
        let it = &mut self.watching.watchers[watcher];
        let (key, range_end) = speak::interval(&it.watch.span);
        let mut filters = Vec::new();
        filters.extend(
            it.watch
                .no_put
                .then_some(pb::watch_create_request::FilterType::Noput as i32),
        );
        filters.extend(
            it.watch
                .no_delete
                .then_some(pb::watch_create_request::FilterType::Nodelete as i32),
        );
        let create = pb::WatchCreateRequest {
            key,
            range_end,
            start_revision: it.next.0 as i64,
            progress_notify: it.asks_progress,
            filters,
            prev_kv: it.watch.previous,
            watch_id: 0,
            fragment: false,
        };
        let request = pb::WatchRequest {
            request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
        };
        let root = process.root_if(self.settings.plan.rules.is_some());
        let stream = process.desk.open();
        process.streams.insert(stream, watcher);
        it.at = Some((member, stream));
        it.connection += 1;
        let from = it.next;
        let request = request.encode_to_vec().into();
        let sent = process
            .desk
            .handle_as(stream, &request, &process.state, &root);
        self.note(member, "watch", || format!("watcher {watcher} from {from}"));
        match sent {
            Ok(responses) => {
                self.deliver(watcher, responses);
                self.poll(watcher);
            }
            Err(status) => {
                let what = format!("a watch was refused: {}", status.message);
                self.violate(Violation::new("the_front_speaks_etcd", what));
            }
        }
    }

    /// Streams of a member that have something; called after every batch.
    pub fn desk_ready(&mut self, member: usize) {
        let Some(process) = &mut self.members[member].process else {
            return;
        };
        let ready = process.desk.ready();
        let watchers: Vec<usize> = ready
            .iter()
            .filter_map(|stream| process.streams.get(stream).copied())
            .collect();
        for watcher in watchers {
            let it = &self.watching.watchers[watcher];
            let (after, connection) = (it.laziness_us, it.connection);
            let event = WatcherEvent::Polls {
                watcher,
                connection,
            };
            self.schedule.after_us(after, Event::Watcher(event));
        }
    }

    fn poll(&mut self, watcher: usize) {
        let Some((member, stream)) = self.watching.watchers[watcher].at else {
            return;
        };
        if self.members[member].is_paused {
            let connection = self.watching.watchers[watcher].connection;
            let event = WatcherEvent::Polls {
                watcher,
                connection,
            };
            return self.schedule.after_us(50_000, Event::Watcher(event));
        }
        let Some(process) = &mut self.members[member].process else {
            return;
        };
        if self.settings.plan.curious && self.watching.curiosity.one_in(4) {
            let where_am_i = pb::watch_request::RequestUnion::ProgressRequest(Default::default());
            let request = pb::WatchRequest {
                request_union: Some(where_am_i),
            };
            let request = request.encode_to_vec().into();
            let root = process.root_if(self.settings.plan.rules.is_some());
            let asked = process
                .desk
                .handle_as(stream, &request, &process.state, &root);
            if let Ok(responses) = asked {
                self.deliver(watcher, responses);
            }
        }
        let Some(process) = &mut self.members[member].process else {
            return;
        };
        let responses = process.desk.poll(stream, &process.state, BUDGET_BYTES);
        let more = process.desk.is_ready(stream);
        self.deliver(watcher, responses);
        if more {
            let connection = self.watching.watchers[watcher].connection;
            let after = self.watching.rng.between(10, 2_000);
            let event = WatcherEvent::Polls {
                watcher,
                connection,
            };
            self.schedule.after_us(after, Event::Watcher(event));
        }
    }

    /// Lets streams with quiet watches speak; called now and then.
    pub fn desk_tick(&mut self, member: usize) {
        let now = self.now();
        let it = &mut self.members[member];
        let instant = it.clock.instant(now);
        let Some(process) = &mut it.process else {
            return;
        };
        let sent = process.desk.tick(instant);
        let sent: Vec<(usize, Vec<Bytes>)> = sent
            .into_iter()
            .filter_map(|(stream, responses)| Some((*process.streams.get(&stream)?, responses)))
            .collect();
        for (watcher, responses) in sent {
            self.deliver(watcher, responses);
        }
    }

    /// Sends responses on their way; they arrive in order.
    fn deliver(&mut self, watcher: usize, responses: Vec<Bytes>) {
        let now = self.now();
        for bytes in responses {
            let it = &mut self.watching.watchers[watcher];
            let after = self.watching.rng.between(20, 500) * 1000;
            let arrival = Time(it.last_arrival.0.max(now.0 + after) + 1);
            it.last_arrival = arrival;
            let connection = it.connection;
            let event = WatcherEvent::Receives {
                watcher,
                connection,
                bytes,
            };
            let after = std::time::Duration::from_nanos(arrival.0 - now.0);
            self.schedule.after(after, Event::Watcher(event));
        }
    }

    fn receive(&mut self, watcher: usize, bytes: &Bytes) {
        let now = self.now();
        let Ok(response) = pb::WatchResponse::decode(&bytes[..]) else {
            let what = "a watch response does not parse".to_owned();
            return self.violate(Violation::new("the_front_speaks_etcd", what));
        };
        let revision = Revision(response.header.map_or(0, |header| header.revision as u64));
        let numbers = [watcher as u64, revision.0, response.events.len() as u64];
        self.trace.note(now, "event", &numbers, || {
            format!(
                "watcher {watcher}: {} events, header {revision}",
                response.events.len()
            )
        });
        let compacted = self.watching.compacted;
        let it = &mut self.watching.watchers[watcher];
        let mut push = |content| {
            it.watch.deliveries.push(Delivery {
                time: now,
                revision,
                compacted,
                content,
            });
        };
        if response.canceled {
            let at = Revision(response.compact_revision as u64);
            if at == Revision(0) {
                let what = format!("a watch was cancelled: {}", response.cancel_reason);
                return self.violate(Violation::new("the_front_speaks_etcd", what));
            }
            push(Content::Compacted(at));
            // A new watch begins where history does.
            let fresh = Watch {
                start: at,
                deliveries: Vec::new(),
                ..it.watch.clone()
            };
            it.next = at;
            self.watching
                .ended
                .push(std::mem::replace(&mut it.watch, fresh));
            return self.disconnect(watcher);
        }
        if response.created {
            return;
        }
        if response.events.is_empty() {
            push(Content::Progress);
            it.next = it.next.max(revision.next());
            return;
        }
        let events: Vec<_> = response.events.into_iter().map(event_of).collect();
        let last = events.last().map(|(event, _)| event.row.modified);
        push(Content::Events {
            events,
            fragment: response.fragment,
        });
        if let Some(last) = last.filter(|_| !response.fragment) {
            it.next = it.next.max(last.next());
        }
    }

    fn disconnect(&mut self, watcher: usize) {
        let it = &mut self.watching.watchers[watcher];
        it.connection += 1;
        if let Some((member, stream)) = it.at.take()
            && let Some(process) = &mut self.members[member].process
        {
            process.streams.remove(&stream);
            process.desk.close(stream);
        }
        self.connect_later(watcher);
    }

    /// Streams of a member broke.
    pub fn watching_lost_member(&mut self, member: usize) {
        for watcher in 0..self.watching.watchers.len() {
            let it = &mut self.watching.watchers[watcher];
            if it.at.is_some_and(|(at, _)| at == member) {
                it.at = None;
                // What was on its way may still arrive before the watcher notices.
                if self.watching.rng.one_in(2) {
                    self.watching.watchers[watcher].connection += 1;
                }
                self.connect_later(watcher);
            }
        }
    }
}

fn event_of(event: mvccpb::Event) -> (checker::Event, Option<checker::Row>) {
    let kv = event.kv.unwrap_or_default();
    let row = if event.r#type == mvccpb::event::EventType::Delete as i32 {
        checker::witness::tombstone(&kv.key, Revision(kv.mod_revision as u64))
    } else {
        speak::row(kv)
    };
    (checker::Event { row }, event.prev_kv.map(speak::row))
}
