#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};

/// A key that is set when it is absent.
pub struct SetNx;

/// Without it work is doubled: what is taken away is an assumption.
const NO_PAUSE: Break = Break {
    rule: "no-pause",
    law: "once",
    says: "the work is to be done once even where somebody stands still past the time to live",
};
/// Without it whoever comes late takes away the lock of the next.
const COMPARE_ON_RELEASE: Break = Break {
    rule: "compare-on-release",
    law: "own-release",
    says: "the key is deleted whatever its value is",
};
/// Without it a dead holder holds for ever.
const EXPIRY: Break = Break {
    rule: "expiry",
    law: "work-done",
    says: "the key is set without a time to live",
};

/// The value of the key: who, in which of its tries. Nobody else's.
pub type Value = (char, u8);

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// `SET lock value NX PX ttl`.
    Set(Value),
    /// It is set.
    Yes(Value),
    /// It is there already.
    No(Value),
    /// `GET report`.
    Look(Value),
    /// Whether the report is there.
    Found(Value, bool),
    /// `SET report`.
    Note(Value),
    /// It is noted down.
    Noted(Value),
    /// Delete the lock if it has this value.
    Release(Value),
}

/// What laws are about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// It has made the report.
    Did(char),
    /// The lock of the first was taken away by the second.
    Robbed(Value, Value),
}

/// One party.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// Could do the work.
    Worker(Worker),
    /// Holds two keys.
    Store(Store),
}

/// Could do the work.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Worker {
    broken: Broken,
    store: ProcessId,
    ttl: u32,
    /// How long the work takes.
    work: u32,
    tries_left: u8,
    value: Value,
    at: Stage,
}

/// How far a worker is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    /// Until its clock shows this.
    Waiting(i64),
    Asking,
    Looking,
    /// Until its clock shows this.
    Working(i64),
    Noting,
    /// The report is there.
    Finished,
    /// It has tried often enough.
    GaveUp,
}

/// One server with two keys, the lock and the report. All of it is on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Store {
    broken: Broken,
    ttl: u32,
    lock: Option<(Value, i64)>,
    is_done: bool,
}

impl Process for Party {
    type Message = Message;
    type Timer = &'static str;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if let Party::Worker(_) = self {
            cx.anytime("try");
        }
    }

    fn wake(&mut self, timer: &'static str, cx: &mut Context<'_, Self>) {
        match self {
            Party::Worker(worker) if timer == "try" => worker.attempt(cx),
            Party::Worker(worker) => worker.finish(cx),
            Party::Store(_) => {}
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match self {
            Party::Worker(worker) => worker.receive(message, cx),
            Party::Store(store) => store.receive(from, message, cx),
        }
    }

    fn restart(&mut self, cx: &mut Context<'_, Self>) {
        if let Party::Worker(worker) = self
            && worker.at != Stage::Finished
        {
            worker.later(0, cx);
        }
    }
}

impl Worker {
    fn later(&mut self, delay: u32, cx: &mut Context<'_, Party>) {
        self.at = if self.tries_left == 0 {
            Stage::GaveUp
        } else {
            cx.after(delay, "try");
            Stage::Waiting(cx.now() + i64::from(delay))
        };
    }

    fn attempt(&mut self, cx: &mut Context<'_, Party>) {
        self.tries_left -= 1;
        self.value.1 += 1;
        self.at = Stage::Asking;
        cx.send(self.store, Message::Set(self.value));
    }

    fn receive(&mut self, message: Message, cx: &mut Context<'_, Party>) {
        let value = self.value;
        match (self.at, message) {
            (Stage::Asking, Message::Yes(of)) if of == value => {
                self.at = Stage::Looking;
                cx.send(self.store, Message::Look(value));
            }
            // Later than the lock can last, whoever has it now.
            (Stage::Asking, Message::No(of)) if of == value => self.later(self.ttl + 1, cx),
            (Stage::Looking, Message::Found(of, false)) if of == value => {
                cx.say(format_args!("goes to work"));
                self.at = Stage::Working(cx.now() + i64::from(self.work));
                cx.after(self.work, "finish");
            }
            (Stage::Looking, Message::Found(of, true)) if of == value => self.release(cx),
            // Only now: a lock that is away before the note is there lets the next one work again.
            (Stage::Noting, Message::Noted(of)) if of == value => self.release(cx),
            _ => {}
        }
    }

    fn finish(&mut self, cx: &mut Context<'_, Party>) {
        self.at = Stage::Noting;
        cx.fact(Fact::Did(self.value.0));
        cx.send(self.store, Message::Note(self.value));
    }

    fn release(&mut self, cx: &mut Context<'_, Party>) {
        self.at = Stage::Finished;
        cx.send(self.store, Message::Release(self.value));
    }
}

impl Store {
    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Party>) {
        match message {
            Message::Set(value) => {
                self.lock = self.lock.filter(|(_, until)| cx.now() < *until);
                if self.lock.is_some() {
                    return cx.send(from, Message::No(value));
                }
                let until = if self.broken.is(&EXPIRY) {
                    i64::MAX
                } else {
                    cx.now() + i64::from(self.ttl)
                };
                self.lock = Some((value, until));
                cx.send(from, Message::Yes(value));
            }
            Message::Look(value) => cx.send(from, Message::Found(value, self.is_done)),
            Message::Note(value) => {
                self.is_done = true;
                cx.send(from, Message::Noted(value));
            }
            Message::Release(value) => match self.lock {
                Some((held, _)) if held == value => self.lock = None,
                Some((held, until)) if self.broken.is(&COMPARE_ON_RELEASE) => {
                    self.lock = None;
                    if cx.now() < until {
                        cx.fact(Fact::Robbed(held, value));
                    }
                }
                _ => cx.say(format_args!("that lock is gone already")),
            },
            _ => {}
        }
    }
}
