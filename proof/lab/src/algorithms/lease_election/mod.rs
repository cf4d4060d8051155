#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::collections::BTreeSet;

/// Election by a lease.
pub struct LeaseElection;

/// Without it the holder stops when the store does, each by its own clock.
const GUARD_BAND: Break = Break {
    rule: "guard-band",
    law: "one-leader",
    says: "the holder leads for as long as the whole lease by its own clock",
};
/// Without it the way of the answer is added to the lease.
const COUNT_FROM_SENDING: Break = Break {
    rule: "count-from-sending",
    law: "one-leader",
    says: "the holder counts from when the answer came, not from when it asked",
};
/// Without it the holder waits to be told.
const STOP_BY_YOURSELF: Break = Break {
    rule: "stop-by-yourself",
    law: "one-leader",
    says: "the holder leads until somebody tells it that its lease is over",
};
/// Without it the key is taken from who has it.
const CREATE_IF_ABSENT: Break = Break {
    rule: "create-if-absent",
    law: "one-leader",
    says: "the store writes the key for whoever asks, even if it is there",
};
/// Without it clocks are no clocks.
const STEADY_CLOCK: Break = Break {
    rule: "steady-clock",
    law: "one-leader",
    says: "the assumption that clocks do not jump: here the holder's may be put back",
};
/// Without it the key is free and nobody knows.
const TELL_WAITING: Break = Break {
    rule: "tell-waiting",
    law: "no-vacancy",
    says: "the store tells nobody when a lease is over",
};

/// How long a lease is, by the store's clock.
const LEASE: u32 = 5;
/// How much earlier the holder stops, by its own: for clocks of which one is at most a fifth slower than the other.
const GUARD: u32 = 1;
/// How often the holder keeps it alive.
const KEEP: u32 = 2;

/// Which grant of the key: each one's is higher than all before.
type Token = u8;
/// What the holder's clock showed when it asked.
type Asked = i64;

/// What they say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// Create the key for me, if it is not there.
    Create(Asked),
    /// Yours, with this token.
    Granted(Token, Asked),
    /// It is there. You will hear.
    Taken,
    /// Begin my lease anew.
    Keep(Token, Asked),
    /// Done.
    Kept(Token, Asked),
    /// This lease is over.
    Over(Token),
    /// The key is gone, and you wanted it.
    Free,
}

/// One party.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// It grants.
    Store(Store),
    /// It wants to lead.
    Candidate(Candidate),
}

/// The key. All of it is on disks, and the store itself does not fail here.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Store {
    broken: Broken,
    last: Token,
    /// Whose it is, and which timer ends it: only the latest counts.
    holder: Option<ProcessId>,
    begun: u8,
    waiting: BTreeSet<ProcessId>,
}

/// Wants to lead.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    broken: Broken,
    store: ProcessId,
    token: Token,
    /// It leads while its clock shows less.
    until: Option<i64>,
    /// How often it will still keep its lease alive.
    keeps_left: u8,
}

/// What they wait for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// The store: a lease is over, unless it has been begun anew.
    Ends(u8),
    /// A holder: to keep it alive.
    Keep,
    /// A holder: to stop.
    Stop,
}

impl Process for Party {
    type Message = Message;
    type Timer = Timer;
    type Fact = Leads;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if let Party::Candidate(candidate) = self {
            cx.send(candidate.store, Message::Create(cx.now()));
        }
    }

    fn restart(&mut self, cx: &mut Context<'_, Self>) {
        if let Party::Candidate(candidate) = self {
            candidate.until = None;
        }
        self.start(cx);
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match self {
            Party::Store(store) => store.receive(from, message, cx),
            Party::Candidate(candidate) => candidate.receive(message, cx),
        }
    }

    fn wake(&mut self, timer: Timer, cx: &mut Context<'_, Self>) {
        match (self, timer) {
            (Party::Store(store), Timer::Ends(begun)) => store.end(begun, cx),
            (Party::Candidate(candidate), Timer::Keep) => candidate.keep(cx),
            (Party::Candidate(candidate), Timer::Stop)
                if !candidate.broken.is(&STOP_BY_YOURSELF) =>
            {
                candidate.stop(cx);
            }
            _ => {}
        }
    }
}

impl Store {
    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Party>) {
        match message {
            Message::Create(asked) => {
                let is_free = self.holder.is_none();
                if !is_free && !self.broken.is(&CREATE_IF_ABSENT) {
                    self.waiting.insert(from);
                    return cx.send(from, Message::Taken);
                }
                self.last += 1;
                self.holder = Some(from);
                self.begin(cx);
                cx.send(from, Message::Granted(self.last, asked));
            }
            Message::Keep(token, asked) => {
                if self.holder.is_some() && token == self.last {
                    self.begin(cx);
                    cx.send(from, Message::Kept(token, asked));
                } else {
                    cx.send(from, Message::Over(token));
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, cx: &mut Context<'_, Party>) {
        cx.cancel(&Timer::Ends(self.begun));
        self.begun += 1;
        cx.after(LEASE, Timer::Ends(self.begun));
    }

    fn end(&mut self, begun: u8, cx: &mut Context<'_, Party>) {
        if begun != self.begun {
            return;
        }
        if let Some(holder) = self.holder.take() {
            cx.send(holder, Message::Over(self.last));
        }
        for who in std::mem::take(&mut self.waiting) {
            if !self.broken.is(&TELL_WAITING) {
                cx.send(who, Message::Free);
            }
        }
    }
}

impl Candidate {
    /// Whether it leads, when its clock shows this.
    pub fn leads(&self, now: i64) -> bool {
        self.until
            .is_some_and(|until| now < until || self.broken.is(&STOP_BY_YOURSELF))
    }

    fn receive(&mut self, message: Message, cx: &mut Context<'_, Party>) {
        match message {
            Message::Granted(token, asked) if token > self.token => {
                self.token = token;
                self.until = None;
                self.lead_from(asked, cx);
                if self.leads(cx.now()) {
                    cx.fact(Leads(token));
                    cx.after(KEEP, Timer::Keep);
                } else {
                    cx.say(format_args!("too late"));
                    cx.send(self.store, Message::Create(cx.now()));
                }
            }
            Message::Kept(token, asked) if token == self.token => self.lead_from(asked, cx),
            Message::Over(token) if token == self.token => self.stop(cx),
            Message::Free => cx.send(self.store, Message::Create(cx.now())),
            _ => {}
        }
    }

    /// The store has begun its lease when it got what was sent at this time, or later.
    fn lead_from(&mut self, asked: Asked, cx: &mut Context<'_, Party>) {
        let from = if self.broken.is(&COUNT_FROM_SENDING) {
            cx.now()
        } else {
            asked
        };
        let guard = if self.broken.is(&GUARD_BAND) {
            0
        } else {
            GUARD
        };
        let until = from + i64::from(LEASE - guard);
        // An answer that was overtaken by a later one takes nothing away, and a late one gives nothing back.
        if Some(until) <= self.until || until <= cx.now() {
            return;
        }
        self.until = Some(until);
        cx.cancel(&Timer::Stop);
        cx.after((until - cx.now()) as u32, Timer::Stop);
    }

    fn keep(&mut self, cx: &mut Context<'_, Party>) {
        if self.leads(cx.now()) && self.keeps_left > 0 {
            self.keeps_left -= 1;
            cx.send(self.store, Message::Keep(self.token, cx.now()));
            cx.after(KEEP, Timer::Keep);
        }
    }

    /// Its time is over, or it has been told so. It stands again.
    fn stop(&mut self, cx: &mut Context<'_, Party>) {
        if self.until.take().is_some() {
            cx.cancel(&Timer::Stop);
            cx.cancel(&Timer::Keep);
            cx.say(format_args!("leads no longer"));
            cx.send(self.store, Message::Create(cx.now()));
        }
    }
}

/// A candidate leads from here, with this token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Leads(Token);
