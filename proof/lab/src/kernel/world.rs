//! A whole system in one state: processes, what is under way between them, time, and how much may still go wrong.
//!
//! [`World::choices`] says what may happen next, [`World::apply`] lets it happen. There is no other way to change
//! a world, and neither has any chance in it.

use super::choice::Choice;
use super::process::{Context, Due, Outbox, Process, ProcessId};
use super::setup::{Delivery, Faults, Setup, Time};
use crate::diagram::{Event, Kind, Picture, Sent};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// Whether a process can do anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Condition {
    /// It can.
    Up,
    /// It stands still and does not know.
    Paused,
    /// It has crashed.
    Down,
}

#[derive(Clone, Hash)]
struct Seat<P: Process> {
    process: P,
    condition: Condition,
    timers: Vec<(Due, P::Timer)>,
    /// How far its clock has jumped.
    jumped: i64,
}

#[derive(Clone)]
struct Envelope<P: Process> {
    from: ProcessId,
    to: ProcessId,
    message: P::Message,
    sent_at: u32,
    /// Which message of the run it is: for pictures only.
    number: usize,
}

/// A system in one state.
#[derive(Clone)]
pub struct World<P: Process> {
    setup: Rc<Setup<P>>,
    seats: Vec<Seat<P>>,
    network: Vec<Envelope<P>>,
    facts: Vec<P::Fact>,
    now: u32,
    left: Faults,
    done: Faults,
    cut: Option<usize>,
    // Not part of the state: what is drawn.
    numbers: usize,
    picture: Option<Box<Picture>>,
}

impl<P: Process> World<P> {
    /// The beginning: every process has started, nothing is delivered.
    pub fn new(setup: &Rc<Setup<P>>) -> World<P> {
        World::begin(setup, None)
    }

    /// The same, and all that happens is drawn.
    pub fn drawn(setup: &Rc<Setup<P>>) -> World<P> {
        let names = setup.processes.iter().map(|(name, _)| name.clone());
        World::begin(setup, Some(Box::new(Picture::new(names))))
    }

    fn begin(setup: &Rc<Setup<P>>, picture: Option<Box<Picture>>) -> World<P> {
        let seats = setup.processes.iter().map(|(_, process)| Seat {
            process: process.clone(),
            condition: Condition::Up,
            timers: Vec::new(),
            jumped: 0,
        });
        let mut world = World {
            seats: seats.collect(),
            network: Vec::new(),
            facts: Vec::new(),
            now: 0,
            left: setup.faults.clone(),
            done: Faults::default(),
            cut: None,
            numbers: 0,
            picture,
            setup: setup.clone(),
        };
        for at in 0..world.seats.len() {
            world.act(
                ProcessId(at),
                Kind::Start,
                "starts".into(),
                |process, cx| process.start(cx),
            );
        }
        world
    }

    /// How it began.
    pub fn setup(&self) -> &Setup<P> {
        &self.setup
    }

    /// The name of a process.
    pub fn name(&self, process: ProcessId) -> &str {
        self.setup
            .processes
            .get(process.0)
            .map_or("?", |(name, _)| name)
    }

    /// The processes, in the order of the setup.
    pub fn processes(&self) -> impl Iterator<Item = &P> {
        self.seats.iter().map(|seat| &seat.process)
    }

    /// One process.
    pub fn process(&self, at: ProcessId) -> &P {
        &self.seats[at.0].process
    }

    /// Whether a process can do anything.
    pub fn condition(&self, at: ProcessId) -> Condition {
        self.seats[at.0].condition
    }

    /// What processes stated, in order.
    pub fn facts(&self) -> &[P::Fact] {
        &self.facts
    }

    /// Messages under way.
    pub fn in_flight(&self) -> impl Iterator<Item = (ProcessId, ProcessId, &P::Message)> {
        self.network
            .iter()
            .map(|sent| (sent.from, sent.to, &sent.message))
    }

    /// True time, in ticks.
    pub fn now(&self) -> u32 {
        self.now
    }

    /// How much may still go wrong. With [`Setup::faults`] it tells what has gone wrong so far: for laws that hold
    /// only as long as nobody pauses.
    pub fn left(&self) -> &Faults {
        &self.left
    }

    /// What has gone wrong so far, with or without a budget for it: a script may do what it likes.
    pub fn done(&self) -> &Faults {
        &self.done
    }

    /// What the clock of a process shows.
    pub fn clock(&self, at: ProcessId) -> i64 {
        let (ticks, of) = self.setup.rates.get(at.0).copied().unwrap_or((1, 1));
        i64::from(self.now) * i64::from(ticks) / i64::from(of) + self.seats[at.0].jumped
    }

    /// What has been drawn, of a world that draws.
    pub fn picture(&self) -> Option<&Picture> {
        self.picture.as_deref()
    }

    /// Nothing can happen any more, except that something goes wrong.
    pub fn is_at_rest(&self) -> bool {
        self.choices().iter().all(Choice::is_fault)
    }

    /// What may happen next, without repetitions, in a fixed order.
    pub fn choices(&self) -> Vec<Choice<P>> {
        let mut choices = Vec::new();
        let mut faults = Vec::new();
        for (at, sent) in self.network.iter().enumerate() {
            let earlier = &self.network[..at];
            let is_first = match self.setup.delivery {
                Delivery::Any => !earlier.iter().any(|other| other.same(sent)),
                Delivery::Fifo => !earlier.iter().any(|other| other.on_the_way_of(sent)),
            };
            if !is_first {
                continue;
            }
            let parts = || (sent.from, sent.to, sent.message.clone());
            if self.can_hear(sent.from, sent.to) {
                let (from, to, message) = parts();
                choices.push(Choice::Deliver(from, to, message));
            }
            if self.left.drops > 0 {
                let (from, to, message) = parts();
                faults.push(Choice::Drop(from, to, message));
            }
            if self.left.duplicates > 0 {
                let (from, to, message) = parts();
                faults.push(Choice::Duplicate(from, to, message));
            }
        }
        for (at, seat) in self.seats.iter().enumerate() {
            let who = ProcessId(at);
            match seat.condition {
                Condition::Up => {
                    for (place, (due, timer)) in seat.timers.iter().enumerate() {
                        let is_new = !seat.timers[..place].iter().any(|(_, other)| other == timer);
                        if is_new && self.is_due(who, *due) {
                            choices.push(Choice::Wake(who, timer.clone()));
                        }
                    }
                }
                Condition::Paused => choices.push(Choice::Resume(who)),
                Condition::Down if self.left.restarts > 0 => choices.push(Choice::Restart(who)),
                Condition::Down => {}
            }
            let is_mortal = self.setup.mortal.is_empty() || self.setup.mortal.contains(&who);
            if is_mortal && seat.condition != Condition::Down && self.left.crashes > 0 {
                faults.push(Choice::Crash(who));
            }
            if is_mortal && seat.condition == Condition::Up && self.left.pauses > 0 {
                faults.push(Choice::Pause(who));
            }
        }
        if self.cut.is_some() {
            choices.push(Choice::Heal);
        } else if self.left.cuts > 0 {
            faults.extend((0..self.setup.cuts.len()).map(Choice::Cut));
        }
        if self.left.jumps > 0 {
            faults.extend((0..self.setup.jumps.len()).map(Choice::Jump));
        }
        if self.may_tick() {
            choices.push(Choice::Tick);
        }
        choices.append(&mut faults);
        choices
    }

    /// Lets something happen. False, and nothing happens, when it cannot: its message is not under way, its process
    /// is down. Budgets of faults are spent but not asked: a script may do what it likes.
    pub fn apply(&mut self, choice: &Choice<P>) -> bool {
        match choice {
            Choice::Deliver(from, to, message) => {
                if !self.can_hear(*from, *to) {
                    return false;
                }
                let Some(sent) = self.take(*from, *to, message) else {
                    return false;
                };
                let text = message.to_string();
                let kind = Kind::Received {
                    from: from.0,
                    message: sent.number,
                };
                self.act(*to, kind, text, |process, cx| {
                    process.receive(*from, sent.message, cx)
                });
            }
            Choice::Drop(from, to, message) => {
                let Some(sent) = self.take(*from, *to, message) else {
                    return false;
                };
                self.left.drops = self.left.drops.saturating_sub(1);
                self.done.drops = self.done.drops.saturating_add(1);
                let kind = Kind::Lost {
                    from: from.0,
                    message: sent.number,
                };
                self.draw(to.0, kind, || format!("{message} is lost"));
            }
            Choice::Duplicate(from, to, message) => {
                let Some(at) = self.place(*from, *to, message) else {
                    return false;
                };
                self.left.duplicates = self.left.duplicates.saturating_sub(1);
                self.done.duplicates = self.done.duplicates.saturating_add(1);
                let copy = Envelope {
                    sent_at: self.now,
                    ..self.network[at].clone()
                };
                self.network.insert(at + 1, copy);
                self.draw(from.0, Kind::Fault, || {
                    format!("{message} will arrive twice")
                });
            }
            Choice::Wake(who, timer) => {
                let seat = &self.seats[who.0];
                let place = seat
                    .timers
                    .iter()
                    .position(|(due, set)| set == timer && self.is_due(*who, *due));
                let Some(place) = place.filter(|_| seat.condition == Condition::Up) else {
                    return false;
                };
                let (_, timer) = self.seats[who.0].timers.remove(place);
                let text = timer.to_string();
                self.act(*who, Kind::Woke, text, |process, cx| {
                    process.wake(timer, cx)
                });
            }
            Choice::Crash(who) => {
                if self.seats[who.0].condition == Condition::Down {
                    return false;
                }
                self.left.crashes = self.left.crashes.saturating_sub(1);
                self.done.crashes = self.done.crashes.saturating_add(1);
                self.seats[who.0].condition = Condition::Down;
                self.seats[who.0].timers.clear();
                self.draw(who.0, Kind::Crashed, || "crashes".into());
                if self.setup.delivery == Delivery::Fifo {
                    self.lose(|_, sent| sent.from == *who || sent.to == *who);
                }
            }
            Choice::Restart(who) => {
                if self.seats[who.0].condition != Condition::Down {
                    return false;
                }
                self.left.restarts = self.left.restarts.saturating_sub(1);
                self.done.restarts = self.done.restarts.saturating_add(1);
                self.seats[who.0].condition = Condition::Up;
                self.act(*who, Kind::Restarted, "is back".into(), |process, cx| {
                    process.restart(cx)
                });
            }
            Choice::Pause(who) => {
                if self.seats[who.0].condition != Condition::Up {
                    return false;
                }
                self.left.pauses = self.left.pauses.saturating_sub(1);
                self.done.pauses = self.done.pauses.saturating_add(1);
                self.seats[who.0].condition = Condition::Paused;
                self.draw(who.0, Kind::Paused, || "stands still".into());
            }
            Choice::Resume(who) => {
                if self.seats[who.0].condition != Condition::Paused {
                    return false;
                }
                self.seats[who.0].condition = Condition::Up;
                self.draw(who.0, Kind::Resumed, || "goes on".into());
            }
            Choice::Cut(at) => {
                if *at >= self.setup.cuts.len() || self.cut.is_some() {
                    return false;
                }
                self.left.cuts = self.left.cuts.saturating_sub(1);
                self.done.cuts = self.done.cuts.saturating_add(1);
                self.cut = Some(*at);
                let name = self.setup.cuts[*at].name;
                self.draw_all(|| format!("the network parts: {name}"));
            }
            Choice::Heal => {
                if self.cut.take().is_none() {
                    return false;
                }
                self.draw_all(|| "the network is whole again".into());
            }
            Choice::Jump(at) => {
                let Some((who, by)) = self.setup.jumps.get(*at).copied() else {
                    return false;
                };
                self.left.jumps = self.left.jumps.saturating_sub(1);
                self.done.jumps = self.done.jumps.saturating_add(1);
                self.seats[who.0].jumped += by;
                self.draw(who.0, Kind::Fault, || format!("its clock jumps by {by:+}"));
            }
            Choice::Tick => {
                if !self.may_tick() {
                    return false;
                }
                self.lose_the_late();
                self.now += 1;
                let now = self.now;
                self.draw(0, Kind::Tick, || format!("time {now}"));
            }
        }
        true
    }

    /// Equal for equal states, and for different ones all but never.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.seats.hash(&mut hasher);
        self.facts.hash(&mut hasher);
        (self.now, &self.left, &self.done, self.cut).hash(&mut hasher);
        // The network is a bag: how it is written down does not matter, unless its order does.
        let is_ageing = matches!(
            self.setup.time,
            Time::Ticks {
                delay_max: Some(_),
                ..
            }
        );
        let mut bag = 0u64;
        for (at, sent) in self.network.iter().enumerate() {
            let mut one = DefaultHasher::new();
            (sent.from, sent.to, &sent.message).hash(&mut one);
            if is_ageing {
                sent.sent_at.hash(&mut one);
            }
            if self.setup.delivery == Delivery::Fifo {
                let earlier = self.network[..at].iter();
                earlier
                    .filter(|other| other.on_the_way_of(sent))
                    .count()
                    .hash(&mut one);
            }
            bag = bag.wrapping_add(one.finish());
        }
        bag.hash(&mut hasher);
        hasher.finish()
    }

    /// A message between the two would arrive: nobody is down or paused who must hear it, and no cut parts them.
    fn can_hear(&self, from: ProcessId, to: ProcessId) -> bool {
        self.seats[to.0].condition == Condition::Up && !self.is_cut(from, to)
    }

    fn is_cut(&self, from: ProcessId, to: ProcessId) -> bool {
        let Some(cut) = self.cut.map(|at| &self.setup.cuts[at]) else {
            return false;
        };
        let side = |who| cut.sides.iter().position(|side| side.contains(&who));
        matches!((side(from), side(to)), (Some(a), Some(b)) if a != b)
    }

    fn is_due(&self, who: ProcessId, due: Due) -> bool {
        match due {
            Due::Anytime => true,
            Due::At(at) => self.clock(who) >= at,
        }
    }

    /// Time goes on only when everything is done that must be done by now.
    fn may_tick(&self) -> bool {
        let Time::Ticks { horizon, delay_max } = self.setup.time else {
            return false;
        };
        let is_late = |sent: &Envelope<P>| {
            let age = self.now - sent.sent_at;
            delay_max.is_some_and(|max| age >= max) && self.can_hear(sent.from, sent.to)
        };
        let is_urgent = |(at, seat): (usize, &Seat<P>)| {
            let is_due = |due: &Due| match due {
                Due::At(_) => self.is_due(ProcessId(at), *due),
                Due::Anytime => false,
            };
            seat.condition == Condition::Up && seat.timers.iter().any(|(due, _)| is_due(due))
        };
        self.now < horizon
            && !self.network.iter().any(is_late)
            && !self.seats.iter().enumerate().any(is_urgent)
    }

    /// What was due by now and has nobody to arrive at, because of a crash or a cut, never arrives: after a restart or
    /// a healing nothing is older than messages can be. A paused process finds its messages waiting.
    fn lose_the_late(&mut self) {
        let Time::Ticks {
            delay_max: Some(max),
            ..
        } = self.setup.time
        else {
            return;
        };
        let now = self.now;
        self.lose(|world, sent| {
            let is_down = world.seats[sent.to.0].condition == Condition::Down;
            now - sent.sent_at >= max && (is_down || world.is_cut(sent.from, sent.to))
        });
    }

    /// Takes messages away, and draws that they are lost.
    fn lose(&mut self, is_lost: impl Fn(&World<P>, &Envelope<P>) -> bool) {
        let network = std::mem::take(&mut self.network);
        for sent in network {
            if is_lost(self, &sent) {
                let kind = Kind::Lost {
                    from: sent.from.0,
                    message: sent.number,
                };
                self.draw(sent.to.0, kind, || format!("{} is lost", sent.message));
            } else {
                self.network.push(sent);
            }
        }
    }

    fn place(&self, from: ProcessId, to: ProcessId, message: &P::Message) -> Option<usize> {
        let is_it =
            |sent: &Envelope<P>| sent.from == from && sent.to == to && sent.message == *message;
        let at = self.network.iter().position(is_it)?;
        let is_held = self.setup.delivery == Delivery::Fifo
            && self.network[..at]
                .iter()
                .any(|other| other.on_the_way_of(&self.network[at]));
        (!is_held).then_some(at)
    }

    fn take(
        &mut self,
        from: ProcessId,
        to: ProcessId,
        message: &P::Message,
    ) -> Option<Envelope<P>> {
        self.place(from, to, message)
            .map(|at| self.network.remove(at))
    }

    /// Lets a process answer, and does what it asked for.
    fn act(
        &mut self,
        who: ProcessId,
        kind: Kind,
        text: String,
        answer: impl FnOnce(&mut P, &mut Context<'_, P>),
    ) {
        let mut out = Outbox::default();
        let now = self.clock(who);
        let mut cx = Context {
            me: who,
            now,
            is_heard: self.picture.is_some(),
            out: &mut out,
        };
        answer(&mut self.seats[who.0].process, &mut cx);
        let timers = &mut self.seats[who.0].timers;
        timers.retain(|(_, timer)| !out.cancelled.contains(timer));
        timers.append(&mut out.timers);
        timers.sort();
        let mut sends = Vec::new();
        for (to, message) in out.sent {
            if self.picture.is_some() {
                sends.push(Sent {
                    message: self.numbers,
                    to: to.0,
                    text: message.to_string(),
                });
            }
            let number = self.numbers;
            self.numbers += 1;
            self.network.push(Envelope {
                from: who,
                to,
                message,
                sent_at: self.now,
                number,
            });
        }
        self.facts.append(&mut out.facts);
        if let Some(picture) = &mut self.picture {
            let is_silent = matches!(kind, Kind::Start) && out.said.is_empty() && sends.is_empty();
            if !is_silent {
                picture.push(Event {
                    at: who.0,
                    kind,
                    text,
                    said: out.said,
                    sends,
                });
            }
        }
        // No connection to it stands: nothing waits there for its return.
        if self.setup.delivery == Delivery::Fifo {
            self.lose(|world, sent| world.seats[sent.to.0].condition == Condition::Down);
        }
    }

    fn draw(&mut self, at: usize, kind: Kind, text: impl FnOnce() -> String) {
        if let Some(picture) = &mut self.picture {
            let (said, sends) = (Vec::new(), Vec::new());
            picture.push(Event {
                at,
                kind,
                text: text(),
                said,
                sends,
            });
        }
    }

    fn draw_all(&mut self, text: impl FnOnce() -> String) {
        self.draw(0, Kind::Everywhere, text);
    }
}

impl<P: Process> Envelope<P> {
    fn same(&self, other: &Envelope<P>) -> bool {
        (self.from, self.to) == (other.from, other.to) && self.message == other.message
    }

    fn on_the_way_of(&self, other: &Envelope<P>) -> bool {
        (self.from, self.to) == (other.from, other.to)
    }
}
