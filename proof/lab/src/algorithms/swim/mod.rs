#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::fmt;

/// Who is still there.
pub struct Swim;

/// Without it a lost ping is a suspicion.
const INDIRECT_PINGS: Break = Break {
    rule: "indirect-pings",
    law: "nobody-buried-alive",
    says: "nobody else is asked to ping who has not answered",
};
/// Without it a suspicion is a death.
const SUSPECT_FIRST: Break = Break {
    rule: "suspect-first",
    law: "nobody-buried-alive",
    says: "who has not answered in a period is dead at once",
};
/// Without it a suspicion is a death, later.
const REFUTE: Break = Break {
    rule: "refute",
    law: "nobody-buried-alive",
    says: "who hears that it is suspected says nothing to it",
};
/// Without it some are never looked after.
const ROUND_ROBIN: Break = Break {
    rule: "round-robin",
    law: "death-found",
    says: "each pings the first who is not dead, and not one after the other",
};

/// What is believed of a member, with its incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Opinion {
    /// It answers.
    Alive(u8),
    /// It may be dead.
    Suspect(u8),
    /// It is dead, for good.
    Dead,
}

/// An opinion of each.
pub type List = Vec<Opinion>;

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Word {
    /// Are you there? Whoever wants to know.
    Ping(ProcessId),
    /// Ping this one for me.
    PingFor(ProcessId),
    /// This one is there. For whoever wanted to know.
    Ack(ProcessId, ProcessId),
}

/// A word, and the list of who sends it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Message(pub Word, pub List);

/// What they do by themselves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// A period ends, and the next begins.
    Period,
    /// The answer should be there.
    AskOthers,
    /// A suspicion, of this incarnation, was long enough.
    Bury(ProcessId, u8),
    /// It dies, unheard. Faults of the kernel may do the same; this one does it in time to be found.
    Die,
}

/// Somebody has declared somebody dead.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Buried(ProcessId);

/// The times, in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Times {
    /// Until others are asked.
    patience: u32,
    period: u32,
    /// How long a suspicion lasts.
    suspicion: u32,
}

/// One of the group.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Member {
    broken: Broken,
    times: Times,
    /// How many others are asked.
    helpers: usize,
    /// Whether it pings, or only answers.
    is_watching: bool,
    dies_at: Option<u32>,
    is_dead: bool,
    list: List,
    /// Whom it pings in this period, while there is no answer.
    pinged: Option<ProcessId>,
    last: usize,
}

impl Process for Member {
    type Message = Message;
    type Timer = Timer;
    type Fact = Buried;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if self.is_watching {
            cx.after(0, Timer::Period);
        }
        if let Some(at) = self.dies_at {
            cx.after(at, Timer::Die);
        }
    }

    fn wake(&mut self, timer: Timer, cx: &mut Context<'_, Self>) {
        match timer {
            _ if self.is_dead => {}
            Timer::Period => {
                if let Some(silent) = self.pinged.take() {
                    self.accuse(silent, cx);
                }
                self.ping_next(cx);
                cx.after(self.times.period, Timer::Period);
            }
            Timer::AskOthers => {
                if let Some(silent) = self.pinged {
                    self.ask_others(silent, cx);
                }
            }
            Timer::Bury(who, incarnation) => {
                if self.list[who.0] == Opinion::Suspect(incarnation) {
                    self.bury(who, cx);
                }
            }
            Timer::Die => {
                cx.say(format_args!("and nobody hears it"));
                self.is_dead = true;
            }
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        if self.is_dead {
            return;
        }
        let Message(word, list) = message;
        self.hear(&list, cx);
        let me = cx.me();
        match word {
            Word::Ping(asking) => self.tell(from, Word::Ack(me, asking), cx),
            Word::PingFor(whom) => self.tell(whom, Word::Ping(from), cx),
            Word::Ack(who, asking) if asking == me => {
                if self.pinged == Some(who) {
                    self.pinged = None;
                    cx.cancel(&Timer::AskOthers);
                }
            }
            Word::Ack(who, asking) => self.tell(asking, Word::Ack(who, asking), cx),
        }
    }
}

impl Member {
    fn tell(&self, whom: ProcessId, word: Word, cx: &mut Context<'_, Self>) {
        cx.send(whom, Message(word, self.list.clone()));
    }

    /// The others who are not dead, from the one after the last on.
    fn others(&self, me: ProcessId) -> impl Iterator<Item = ProcessId> {
        let n = self.list.len();
        let from = if self.broken.is(&ROUND_ROBIN) {
            me.0
        } else {
            self.last
        };
        let all = (1..=n).map(move |step| ProcessId((from + step) % n));
        all.filter(move |who| *who != me && self.list[who.0] != Opinion::Dead)
    }

    fn ping_next(&mut self, cx: &mut Context<'_, Self>) {
        let Some(next) = self.others(cx.me()).next() else {
            return;
        };
        self.last = next.0;
        self.pinged = Some(next);
        self.tell(next, Word::Ping(cx.me()), cx);
        cx.after(self.times.patience, Timer::AskOthers);
    }

    fn ask_others(&mut self, silent: ProcessId, cx: &mut Context<'_, Self>) {
        if self.broken.is(&INDIRECT_PINGS) {
            return;
        }
        let helpers = self.others(cx.me()).filter(|who| *who != silent);
        let helpers: Vec<ProcessId> = helpers.take(self.helpers).collect();
        for helper in helpers {
            self.tell(helper, Word::PingFor(silent), cx);
        }
    }

    fn accuse(&mut self, silent: ProcessId, cx: &mut Context<'_, Self>) {
        match self.list[silent.0] {
            Opinion::Alive(_) if self.broken.is(&SUSPECT_FIRST) => self.bury(silent, cx),
            Opinion::Alive(incarnation) => self.suspect(silent, incarnation, cx),
            _ => {}
        }
    }

    fn suspect(&mut self, who: ProcessId, incarnation: u8, cx: &mut Context<'_, Self>) {
        cx.say(format_args!("suspects m{}", who.0 + 1));
        self.list[who.0] = Opinion::Suspect(incarnation);
        // Who never asks anybody would not hear the refutation in time, and buries nobody.
        if self.is_watching {
            cx.after(self.times.suspicion, Timer::Bury(who, incarnation));
        }
    }

    fn bury(&mut self, who: ProcessId, cx: &mut Context<'_, Self>) {
        self.list[who.0] = Opinion::Dead;
        cx.fact(Buried(who));
    }

    /// Takes over what is newer in another's list.
    fn hear(&mut self, list: &List, cx: &mut Context<'_, Self>) {
        for (at, told) in list.iter().enumerate() {
            let who = ProcessId(at);
            match (self.list[at], *told) {
                (Opinion::Alive(mine), Opinion::Suspect(told))
                    if who == cx.me() && told >= mine && !self.broken.is(&REFUTE) =>
                {
                    cx.say(format_args!("it is alive, incarnation {}", told + 1));
                    self.list[at] = Opinion::Alive(told + 1);
                }
                _ if who == cx.me() => {}
                (Opinion::Dead, _) => {}
                (_, Opinion::Dead) => self.list[at] = Opinion::Dead,
                (Opinion::Alive(mine), Opinion::Suspect(told)) if told >= mine => {
                    self.suspect(who, told, cx);
                }
                (Opinion::Suspect(mine), Opinion::Suspect(told)) if told > mine => {
                    self.suspect(who, told, cx);
                }
                (Opinion::Alive(mine) | Opinion::Suspect(mine), Opinion::Alive(told))
                    if told > mine =>
                {
                    self.list[at] = Opinion::Alive(told);
                }
                _ => {}
            }
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Timer::Period => write!(f, "period"),
            Timer::AskOthers => write!(f, "ask others"),
            Timer::Bury(who, _) => write!(f, "bury m{}", who.0 + 1),
            Timer::Die => write!(f, "die"),
        }
    }
}
