//! What an algorithm is made of: processes that answer messages, and what they may do while they answer.
//!
//! A process never waits, and knows neither the network nor the time of others. All it does it does through its
//! [`Context`]: so one run is a list of choices, and the same list is the same run.

use std::fmt::{self, Display};
use std::hash::Hash;

/// Which process: its place in [`super::Setup::processes`], from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProcessId(pub usize);

/// One party of an algorithm: its state, and how it answers.
///
/// Parties with several parts (proposer, acceptor) are an enum, or a struct that knows its part.
pub trait Process: Clone + Eq + Hash {
    /// What processes send each other. Its text is what diagrams and scripts call it.
    type Message: Clone + Ord + Hash + Display;
    /// What a process does by itself: a timeout, a client's request, a retry.
    type Timer: Clone + Ord + Hash + Display;
    /// What it tells the world that laws are about: "decided 7", "holds the lock with token 33".
    type Fact: Clone + Ord + Hash + Display;

    /// At the beginning.
    fn start(&mut self, cx: &mut Context<'_, Self>) {
        let _ = cx;
    }

    /// A message has come.
    fn receive(&mut self, from: ProcessId, message: Self::Message, cx: &mut Context<'_, Self>);

    /// A timer has run out.
    fn wake(&mut self, timer: Self::Timer, cx: &mut Context<'_, Self>) {
        let _ = (timer, cx);
    }

    /// It is up again after a crash; its timers are gone. What is not on its disk must be forgotten here.
    fn restart(&mut self, cx: &mut Context<'_, Self>) {
        let _ = cx;
    }
}

/// When a timer may run out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Due {
    /// As soon as the process's own clock shows this.
    At(i64),
    /// Whenever the scheduler likes: time without a clock.
    Anytime,
}

/// What a process did while it answered.
pub(crate) struct Outbox<P: Process> {
    pub(crate) sent: Vec<(ProcessId, P::Message)>,
    pub(crate) timers: Vec<(Due, P::Timer)>,
    pub(crate) cancelled: Vec<P::Timer>,
    pub(crate) facts: Vec<P::Fact>,
    pub(crate) said: Vec<String>,
}

impl<P: Process> Default for Outbox<P> {
    fn default() -> Self {
        Outbox {
            sent: Vec::new(),
            timers: Vec::new(),
            cancelled: Vec::new(),
            facts: Vec::new(),
            said: Vec::new(),
        }
    }
}

/// What a process may do while it answers.
pub struct Context<'a, P: Process> {
    pub(crate) me: ProcessId,
    pub(crate) now: i64,
    pub(crate) is_heard: bool,
    pub(crate) out: &'a mut Outbox<P>,
}

impl<P: Process> Context<'_, P> {
    /// Who it is.
    pub fn me(&self) -> ProcessId {
        self.me
    }

    /// What its own clock shows, in ticks. It may be wrong: clocks drift and jump.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Sends a message. It may be delivered late, twice, out of order or never, as far as the setup allows.
    pub fn send(&mut self, to: ProcessId, message: P::Message) {
        self.out.sent.push((to, message));
    }

    /// Sends the same message to several.
    pub fn send_all(&mut self, to: impl IntoIterator<Item = ProcessId>, message: &P::Message) {
        for to in to {
            self.send(to, message.clone());
        }
    }

    /// Asks to be woken when its own clock has gone on by `delay` ticks.
    pub fn after(&mut self, delay: u32, timer: P::Timer) {
        let due = Due::At(self.now.saturating_add(i64::from(delay)));
        self.out.timers.push((due, timer));
    }

    /// Asks to be woken at any time: the scheduler tries every moment.
    pub fn anytime(&mut self, timer: P::Timer) {
        self.out.timers.push((Due::Anytime, timer));
    }

    /// Takes back every timer equal to this one, those set in this same answer too.
    pub fn cancel(&mut self, timer: &P::Timer) {
        self.out.timers.retain(|(_, set)| set != timer);
        self.out.cancelled.push(timer.clone());
    }

    /// States something that laws are about. Facts are kept in the order in which they were stated.
    pub fn fact(&mut self, fact: P::Fact) {
        if self.is_heard {
            self.out.said.push(fact.to_string());
        }
        self.out.facts.push(fact);
    }

    /// A remark for the diagram: `cx.say(format_args!("promises {ballot}"))`. It costs nothing while nobody draws.
    pub fn say(&mut self, remark: fmt::Arguments<'_>) {
        if self.is_heard {
            self.out.said.push(remark.to_string());
        }
    }
}
