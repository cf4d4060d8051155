#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};

/// The bully algorithm.
pub struct Bully;

/// Without it silence proves nothing.
const NO_PARTITION: Break = Break {
    rule: "no-partition",
    law: "one-leader",
    says: "the assumption that everything arrives: here the network may part",
};
/// Without it answers come too late.
const WAIT_FOR_ANSWERS: Break = Break {
    rule: "wait-for-answers",
    law: "one-leader",
    says: "a process waits for answers for less than a round trip takes",
};
/// Without it the lower ones go on for a while.
const HALT_FIRST: Break = Break {
    rule: "halt-first",
    law: "one-leader",
    says: "a process leads at once, before those with lower numbers have stopped",
};
/// Without it everybody is the highest.
const ASK_HIGHER: Break = Break {
    rule: "ask-higher",
    law: "one-leader",
    says: "a process that misses the leader does not ask whether a higher one is there",
};
/// Without it a lower one goes on leading.
const TAKE_ITS_PLACE: Break = Break {
    rule: "take-its-place",
    law: "highest-leads",
    says: "a process that comes back, or hears of a lower leader, follows and holds no election",
};

/// Without it who waits for one that has died waits for ever.
const BEGIN_AGAIN: Break = Break {
    rule: "begin-again",
    law: "leader-is-found",
    says: "a process that was told to wait for a leader, and hears of none, holds no election",
};

/// A message takes at most so many ticks. Everything below follows from it.
pub const DELAY_MAX: u32 = 1;
/// The leader says so every so many ticks.
const BEAT: u32 = 2;
/// There and back, and one more to be sure that the answer comes before the timer.
const ANSWER: u32 = 2 * DELAY_MAX + 1;
/// After so many ticks all have halted who can.
const HALT: u32 = DELAY_MAX + 1;
/// The longest silence between two beats, and one more.
const SILENCE: u32 = BEAT + DELAY_MAX + 1;
/// From its answer to its first beat a higher one needs no longer than this, and one more.
const PATIENCE: u32 = ANSWER + HALT + 2 * DELAY_MAX + 1;
/// For each crash and each return nobody is without a leader for longer: it waits in vain, and holds an election.
const ROUND: u32 = PATIENCE + ANSWER + HALT;

/// What they say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// Are you there? From a lower one that holds an election.
    Ask,
    /// I am, and take over from here.
    Here,
    /// From a higher one: lead no longer, follow nobody.
    Halt,
    /// I lead. Again and again.
    Lead,
}

/// What a process waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// To say again that it leads.
    Beat,
    /// The answers of the higher ones.
    Answers,
    /// That the lower ones have halted.
    Halted,
    /// A leader.
    Leader,
}

/// What it is at present.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// It follows.
    Follows(ProcessId),
    /// It holds an election: no higher one has answered yet.
    Asks,
    /// No higher one has answered; it waits for the lower ones to halt.
    Halts,
    /// It knows of no leader, and waits for one.
    Waits,
    /// It leads.
    Leads,
}

/// One process. Nothing of it is on a disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Member {
    broken: Broken,
    n: usize,
    state: State,
    /// Since when, by its clock, it has known of no leader.
    alone_since: Option<i64>,
}

impl Process for Member {
    type Message = Message;
    type Timer = Timer;
    type Fact = Leads;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        // At the beginning the highest leads, and all know.
        match self.state {
            State::Leads => cx.after(0, Timer::Beat),
            _ => self.wait(SILENCE, cx),
        }
    }

    fn restart(&mut self, cx: &mut Context<'_, Self>) {
        self.alone_since = None;
        if self.broken.is(&TAKE_ITS_PLACE) {
            self.without_leader(State::Waits, cx);
            return self.wait(SILENCE, cx);
        }
        self.elect(cx);
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match message {
            Message::Ask => {
                cx.send(from, Message::Here);
                if !matches!(self.state, State::Leads | State::Asks | State::Halts) {
                    self.elect(cx);
                }
            }
            Message::Here if self.state == State::Asks => {
                self.without_leader(State::Waits, cx);
                self.wait_for_higher(cx);
            }
            Message::Halt if from > cx.me() => {
                if self.state == State::Leads {
                    cx.say(format_args!("leads no longer"));
                }
                self.without_leader(State::Waits, cx);
                self.wait_for_higher(cx);
            }
            Message::Lead if from > cx.me() || self.broken.is(&TAKE_ITS_PLACE) => {
                self.state = State::Follows(from);
                self.alone_since = None;
                self.wait(SILENCE, cx);
            }
            // A lower one leads, or is about to: it cannot know of me.
            Message::Halt | Message::Lead
                if matches!(self.state, State::Follows(_) | State::Waits) =>
            {
                self.elect(cx);
            }
            _ => {}
        }
    }

    fn wake(&mut self, timer: Timer, cx: &mut Context<'_, Self>) {
        match timer {
            Timer::Beat => self.beat(cx),
            Timer::Answers => self.halt(cx),
            Timer::Halted => self.lead(cx),
            Timer::Leader => self.elect(cx),
        }
    }
}

impl Member {
    fn higher(&self, me: ProcessId) -> impl Iterator<Item = ProcessId> {
        (me.0 + 1..self.n).map(ProcessId)
    }

    fn lower(&self, me: ProcessId) -> impl Iterator<Item = ProcessId> {
        (0..me.0).map(ProcessId)
    }

    fn others(&self, me: ProcessId) -> impl Iterator<Item = ProcessId> {
        self.lower(me).chain(self.higher(me))
    }

    fn drop_timers(&self, cx: &mut Context<'_, Member>) {
        for timer in [Timer::Beat, Timer::Answers, Timer::Halted, Timer::Leader] {
            cx.cancel(&timer);
        }
    }

    /// Waits for a leader; if none says so in time, there is an election.
    fn wait(&self, ticks: u32, cx: &mut Context<'_, Member>) {
        self.drop_timers(cx);
        cx.after(ticks, Timer::Leader);
    }

    /// A higher one takes over. It may die before it leads.
    fn wait_for_higher(&self, cx: &mut Context<'_, Member>) {
        self.wait(PATIENCE, cx);
        if self.broken.is(&BEGIN_AGAIN) {
            cx.cancel(&Timer::Leader);
        }
    }

    fn without_leader(&mut self, state: State, cx: &Context<'_, Member>) {
        self.state = state;
        self.alone_since.get_or_insert(cx.now());
    }

    fn elect(&mut self, cx: &mut Context<'_, Member>) {
        self.drop_timers(cx);
        if self.higher(cx.me()).next().is_none() || self.broken.is(&ASK_HIGHER) {
            return self.halt(cx);
        }
        self.without_leader(State::Asks, cx);
        cx.send_all(self.higher(cx.me()), &Message::Ask);
        let is_hasty = self.broken.is(&WAIT_FOR_ANSWERS);
        let ticks = if is_hasty { DELAY_MAX } else { ANSWER };
        cx.after(ticks, Timer::Answers);
    }

    /// No higher one is there.
    fn halt(&mut self, cx: &mut Context<'_, Member>) {
        if self.broken.is(&HALT_FIRST) {
            return self.lead(cx);
        }
        self.without_leader(State::Halts, cx);
        cx.send_all(self.lower(cx.me()), &Message::Halt);
        cx.after(HALT, Timer::Halted);
    }

    fn lead(&mut self, cx: &mut Context<'_, Member>) {
        self.state = State::Leads;
        self.alone_since = None;
        cx.fact(Leads(cx.me()));
        self.beat(cx);
    }

    fn beat(&self, cx: &mut Context<'_, Member>) {
        cx.send_all(self.others(cx.me()), &Message::Lead);
        cx.after(BEAT, Timer::Beat);
    }
}

/// A process believes that it leads from here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Leads(ProcessId);
