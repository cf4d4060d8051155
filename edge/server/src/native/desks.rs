//! Who waits for what at this member: places of lines, observers, watches; and how they are woken.
//!
//! What is decided is decided by the pure desks of `front/native`; here each wait has a [`Signal`], so that whoever is
//! concerned wakes and nobody else. All of it is one thread.

use crate::signal::Signal;
use base::Instant;
use native::{
    Desk, Fault, HeaderParts, ObserverId, QueueName, Reply, StreamId, Streamed, Wait, WaitId,
    WatchDesk, WatchPlan, Woken,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use store::{Event, RootId, State};

/// Waits of a member, and as many observers. Each costs some hundred bytes.
const WAITS_MAX: usize = 65_536;

/// Watches of a member.
const WATCHES_MAX: usize = 65_536;

/// How often a quiet watch that wants it says up to where nothing was missed.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Bytes of events that a stream takes at a time: what it holds behind a client that does not read.
pub(super) const POLL_BYTES: u64 = 256 * 1024;

#[derive(Default)]
struct Place {
    woken: Cell<Option<Woken>>,
    signal: Signal,
}

/// What a watch's task waits for.
#[derive(Default)]
pub(super) struct WatchWork {
    pub(super) signal: Signal,
    pending: RefCell<Vec<Reply>>,
}

/// See the module's documentation.
pub(crate) struct Desks {
    lines: RefCell<Desk>,
    places: RefCell<BTreeMap<WaitId, Rc<Place>>>,
    observers: RefCell<BTreeMap<ObserverId, Rc<Signal>>>,
    watches: RefCell<WatchDesk>,
    streams: RefCell<BTreeMap<StreamId, Rc<WatchWork>>>,
}

impl Desks {
    pub(crate) fn new(parts: HeaderParts) -> Rc<Desks> {
        let watches = WatchDesk::new(parts, WATCHES_MAX, PROGRESS_EVERY, base::Mutants::none());
        Rc::new(Desks {
            lines: RefCell::new(Desk::new(WAITS_MAX)),
            places: RefCell::default(),
            observers: RefCell::default(),
            watches: RefCell::new(watches),
            streams: RefCell::default(),
        })
    }

    /// A batch was applied, or the whole state was replaced. Called before the root switches; whoever is woken runs
    /// after that.
    pub(crate) fn publish(&self, state: &State, events: &[(RootId, Event)], restored: bool) {
        let woken = {
            let mut lines = self.lines.borrow_mut();
            let mut watches = self.watches.borrow_mut();
            if restored {
                watches.restored(state);
                let mut woken = lines.restored(state);
                woken.extend(lines.publish(state, events));
                watches.publish(state, events);
                woken
            } else {
                watches.publish(state, events);
                lines.publish(state, events)
            }
        };
        let mut places = self.places.borrow_mut();
        for (id, how) in woken {
            if let Some(place) = places.remove(&id) {
                place.woken.set(Some(how));
                place.signal.set();
            }
        }
        drop(places);
        let observers = self.observers.borrow();
        let ready = self.lines.borrow_mut().ready();
        for signal in ready.iter().filter_map(|id| observers.get(id)) {
            signal.set();
        }
        self.wake_watches();
    }

    /// Wakes the watches that have something to send.
    pub(super) fn wake_watches(&self) {
        let ready = self.watches.borrow_mut().ready();
        let streams = self.streams.borrow();
        for work in ready.iter().filter_map(|id| streams.get(id)) {
            work.signal.set();
        }
    }

    /// Wakes all watches and observers: something that they look at besides keys has changed.
    pub(crate) fn wake_all(&self) {
        let streams = self.streams.borrow();
        streams.values().for_each(|work| work.signal.set());
        let observers = self.observers.borrow();
        observers.values().for_each(|signal| signal.set());
    }

    /// What answers say of this member from now on.
    pub(crate) fn set_header(&self, parts: HeaderParts) {
        self.watches.borrow_mut().set_header(parts);
    }

    /// Time passes.
    pub(crate) fn tick(&self, now: Instant, state: &State, is_leaderless: bool) {
        let told = self.watches.borrow_mut().tick(now, state);
        let streams = self.streams.borrow();
        if is_leaderless {
            // They end: whoever listens here would not hear what the others decide.
            streams.values().for_each(|work| work.signal.set());
            let observers = self.observers.borrow();
            observers.values().for_each(|signal| signal.set());
        }
        for (id, reply) in told {
            if let Some(work) = streams.get(&id) {
                // The newest says all that older ones did.
                *work.pending.borrow_mut() = vec![reply];
                work.signal.set();
            }
        }
    }

    /// Waits until a place holds or is gone.
    pub(super) async fn until_held(
        self: &Rc<Self>,
        queue: &QueueName,
        token: base::Revision,
        state: &State,
    ) -> Result<Woken, Fault> {
        let full = |full: native::DeskFull| Fault::new(api::Code::Busy, full.to_string());
        let id = match self
            .lines
            .borrow_mut()
            .wait(queue, token, state)
            .map_err(full)?
        {
            Wait::Over(woken) => return Ok(woken),
            Wait::Waits(id) => id,
        };
        let place = Rc::new(Place::default());
        self.places.borrow_mut().insert(id, place.clone());
        let _cancel = Cancel(self.clone(), id);
        loop {
            place.signal.wait().await;
            if let Some(woken) = place.woken.get() {
                return Ok(woken);
            }
        }
    }

    /// Begins to observe a line.
    pub(super) fn observe(self: &Rc<Self>, queue: &QueueName) -> Result<Observing, Fault> {
        let full = |full: native::DeskFull| Fault::new(api::Code::Busy, full.to_string());
        let id = self.lines.borrow_mut().observe(queue).map_err(full)?;
        let signal = Rc::new(Signal::default());
        signal.set();
        self.observers.borrow_mut().insert(id, signal.clone());
        let desks = self.clone();
        Ok(Observing { desks, id, signal })
    }

    /// Opens a watch; the first message says from where on.
    pub(super) fn watch(
        self: &Rc<Self>,
        plan: &WatchPlan,
        state: &State,
    ) -> Result<(Watching, Reply), Fault> {
        let (id, first) = self.watches.borrow_mut().open(plan, state)?;
        let work = Rc::new(WatchWork::default());
        work.signal.set();
        self.streams.borrow_mut().insert(id, work.clone());
        let desks = self.clone();
        Ok((Watching { desks, id, work }, first))
    }
}

/// Gives a wait up when its call goes away.
struct Cancel(Rc<Desks>, WaitId);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.places.borrow_mut().remove(&self.1);
        self.0.lines.borrow_mut().cancel(self.1);
    }
}

/// An observer; it ends when this is dropped.
pub(super) struct Observing {
    desks: Rc<Desks>,
    id: ObserverId,
    pub(super) signal: Rc<Signal>,
}

impl Observing {
    /// What it has to tell, if that has changed.
    pub(super) fn look(&self, state: &State, parts: &HeaderParts) -> Option<Reply> {
        self.desks.lines.borrow_mut().look(self.id, state, parts)
    }
}

impl Drop for Observing {
    fn drop(&mut self) {
        self.desks.observers.borrow_mut().remove(&self.id);
        self.desks.lines.borrow_mut().close(self.id);
    }
}

/// A watch; it ends when this is dropped.
pub(super) struct Watching {
    desks: Rc<Desks>,
    id: StreamId,
    pub(super) work: Rc<WatchWork>,
}

impl Watching {
    /// What there is to send now.
    pub(super) fn poll(&self, state: &State) -> Streamed {
        let mut streamed = self
            .desks
            .watches
            .borrow_mut()
            .poll(self.id, state, POLL_BYTES);
        let mut replies = self.work.pending.take();
        if !streamed.replies.is_empty() {
            // Progress that waited says less than the events after it.
            replies.clear();
        }
        replies.append(&mut streamed.replies);
        streamed.replies = replies;
        self.desks.wake_watches();
        streamed
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.desks.streams.borrow_mut().remove(&self.id);
        self.desks.watches.borrow_mut().close(self.id);
    }
}
