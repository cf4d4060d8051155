//! Watches: one of everything at each member, which makes the chronicle, and small ones that wander.
//!
//! The watch of everything goes on behind the last revision it told whenever its connection or its
//! member broke; each member so tells the whole history, and all must tell the same one. Small watches begin in
//! the recent past, have filters and ask for the rows before, and go from member to member in the middle.

use crate::ask;
use crate::client::{Crowd, Door, revision, row};
use base::{MemberId, Revision, Rng};
use checker::chronicle::{Chronicle, Event};
use checker::watch::{Content, Delivery, Watch};
use checker::witness::tombstone;
use checker::{Row, Span, Time, Violation};
use etcd_client::{EventType, WatchFilterType, WatchOptions, WatchResponse, WatchStream};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a stream that says nothing is trusted. Where changes go on there is always something to say.
const SILENCE: Duration = Duration::from_secs(4);
const REST: Duration = Duration::from_millis(30);

/// What all watches have told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) chronicle: RefCell<Chronicle>,
    /// When somebody outside knew a revision.
    pub(crate) seen: RefCell<Vec<(Time, Revision)>>,
    pub(crate) watches: RefCell<Vec<Watch>>,
    pub(crate) violations: RefCell<Vec<Violation>>,
}

impl Told {
    /// What `member` tells of whole revisions.
    fn publish(&self, member: usize, now: Time, events: &[(Event, Option<Row>)]) {
        let mut rest = events;
        while let Some((first, _)) = rest.first() {
            let at = first.row.modified;
            let n = rest
                .iter()
                .take_while(|(e, _)| e.row.modified == at)
                .count();
            let page = rest[..n].iter().map(|(event, _)| event.clone()).collect();
            let teller = MemberId(member as u64 + 1);
            let verdict = self.chronicle.borrow_mut().observe(teller, now, at, page);
            self.violations.borrow_mut().extend(verdict.err());
            rest = &rest[n..];
        }
        if let Some((last, _)) = events.last() {
            self.seen.borrow_mut().push((now, last.row.modified));
        }
    }
}

/// Watches everything at `member` until it is aborted or, if `last` is given, until that revision was told.
pub(crate) async fn observe(
    member: usize,
    from: Revision,
    last: Option<Revision>,
    crowd: Rc<Crowd>,
    told: Rc<Told>,
) {
    let at = told.watches.borrow().len();
    told.watches.borrow_mut().push(blank(at, Span::all(), from));
    let mut next = from;
    let is_over = |next: Revision| last.is_some_and(|last| next > last);
    while !is_over(next) {
        let Some(mut stream) = open(&crowd.doors[member], &told, at, next).await else {
            sleep(REST).await;
            continue;
        };
        while !is_over(next) {
            let Ok(Ok(Some(response))) = timeout(SILENCE, stream.message()).await else {
                break;
            };
            let Some(delivery) = deliver(&crowd, &response) else {
                continue;
            };
            if let Content::Events { events, .. } = &delivery.content {
                told.publish(member, delivery.time, events);
                if let Some((last, _)) = events.last() {
                    next = last.row.modified.next();
                    let mut memory = crowd.memory.borrow_mut();
                    let told = &mut memory.told[member];
                    *told = last.row.modified.max(*told);
                    memory.hear(last.row.modified);
                }
            }
            told.watches.borrow_mut()[at].deliveries.push(delivery);
        }
    }
}

/// One small watch after the other until the crowd stops.
pub(crate) async fn wander(slot: u64, seed: u64, crowd: Rc<Crowd>, told: Rc<Told>) {
    let mut rng = Rng::new(seed).fork(1_000_000 + slot);
    while !crowd.stop.get() {
        let at = told.watches.borrow().len();
        let mut watch = {
            let memory = crowd.memory.borrow();
            let window = ask::window(crowd.journal.last());
            let span = ask::draw_span(&mut rng, window, 20);
            blank(at, span, ask::past(&mut rng, &memory).max(Revision(2)))
        };
        watch.previous = true;
        watch.no_put = rng.one_in(8);
        watch.no_delete = !watch.no_put && rng.one_in(8);
        told.watches.borrow_mut().push(watch);
        let until = Instant::now() + Duration::from_millis(rng.between(500, 8000));
        'watch: while Instant::now() < until && !crowd.stop.get() {
            let member = rng.below(crowd.doors.len() as u64) as usize;
            let next = next_of(&told.watches.borrow()[at]);
            let Some(mut stream) = open(&crowd.doors[member], &told, at, next).await else {
                sleep(REST).await;
                continue;
            };
            let here = Instant::now() + Duration::from_millis(rng.between(200, 4000));
            let here = here.min(until);
            while let Ok(Ok(Some(response))) = timeout_at(here, stream.message()).await {
                if let Some(delivery) = deliver(&crowd, &response) {
                    let is_over = matches!(delivery.content, Content::Compacted(_));
                    told.watches.borrow_mut()[at].deliveries.push(delivery);
                    // Nothing of its span happened for so long that its beginning is gone. Opened again, it would
                    // be told so again, and the judge would ask who speaks on a watch that has ended.
                    if is_over {
                        break 'watch;
                    }
                }
            }
        }
    }
}

fn blank(number: usize, span: Span, start: Revision) -> Watch {
    Watch {
        number: number as u64,
        span,
        start,
        no_put: false,
        no_delete: false,
        previous: false,
        deliveries: Vec::new(),
        complete_to: None,
    }
}

/// Where a watch goes on: behind the last revision that came whole.
fn next_of(watch: &Watch) -> Revision {
    let told = watch
        .deliveries
        .iter()
        .rev()
        .find_map(|d| match &d.content {
            Content::Events { events, .. } => {
                events.last().map(|(event, _)| event.row.modified.next())
            }
            _ => None,
        });
    told.unwrap_or(watch.start)
}

/// A stream of `told.watches[at]` from `next` on.
async fn open(door: &Door, told: &Told, at: usize, next: Revision) -> Option<WatchStream> {
    let (first, mut options) = {
        let watches = told.watches.borrow();
        let watch = &watches[at];
        let mut options = WatchOptions::new().with_start_revision(next.0 as i64);
        if watch.previous {
            options = options.with_prev_key();
        }
        if watch.no_put {
            options = options.with_filters(vec![WatchFilterType::NoPut]);
        }
        if watch.no_delete {
            options = options.with_filters(vec![WatchFilterType::NoDelete]);
        }
        (watch.span.clone(), options)
    };
    let first = match first.end {
        checker::End::Single => first.first,
        checker::End::Before(end) => {
            options = options.with_range(end);
            first.first
        }
        checker::End::Unbounded => {
            options = options.with_all_keys();
            first.first
        }
    };
    let mut client = door.open().await?;
    timeout(SILENCE, client.watch(first, Some(options)))
        .await
        .ok()?
        .ok()
}

/// What a response says, if it says something to be judged.
fn deliver(crowd: &Crowd, response: &WatchResponse) -> Option<Delivery> {
    let content = if response.compact_revision() != 0 {
        Content::Compacted(Revision(response.compact_revision() as u64))
    } else if response.created() || response.canceled() || response.events().is_empty() {
        return None;
    } else {
        Content::Events {
            events: response.events().iter().filter_map(event).collect(),
            fragment: false,
        }
    };
    Some(Delivery {
        time: crowd.journal.now(),
        revision: revision(response.header()),
        compacted: crowd.memory.borrow().compacted,
        content,
    })
}

fn event(event: &etcd_client::Event) -> Option<(Event, Option<Row>)> {
    let kv = event.kv()?;
    let row_now = match event.event_type() {
        EventType::Put => row(kv),
        EventType::Delete => tombstone(kv.key(), Revision(kv.mod_revision() as u64)),
    };
    Some((Event { row: row_now }, event.prev_kv().map(row)))
}
