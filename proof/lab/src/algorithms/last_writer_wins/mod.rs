#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::collections::BTreeSet;

/// Last writer wins.
pub struct LastWriterWins;

/// Without it each replica keeps what it heard first.
const TIE_BREAK: Break = Break {
    rule: "tie-break",
    law: "convergence",
    says: "when clocks are equal, a replica keeps what it has",
};
/// Without it the message that comes last decides.
const SAME_ORDER: Break = Break {
    rule: "same-order",
    law: "convergence",
    says: "a replica takes whatever it hears, whether its stamp is greater or not",
};
/// Without it "last" means nothing.
const CLOCKS_IN_STEP: Break = Break {
    rule: "clocks-in-step",
    law: "later-write-wins",
    says: "the clock of one replica is behind by 3 ticks",
};

/// What is written: the letter of the client, and the how manieth of its writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Value {
    letter: char,
    number: u8,
}

/// When a write was taken, by the clock of the replica that took it; of equal clocks the value decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stamped {
    clock: i64,
    value: Value,
}

/// What they say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// A client's write.
    Write(Value),
    /// It is taken.
    Taken(Value),
    /// One replica tells another.
    Copy(Stamped),
}

/// What clients see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// It begins to write.
    Begun(Value),
    /// Its user knows that the write is taken.
    Acknowledged(Value),
}

/// One party.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// It takes writes.
    Replica(Replica),
    /// It writes, to one replica after another.
    Client(Client),
}

/// It takes writes. What it holds is on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    broken: Broken,
    /// By how much its clock is wrong, in ticks.
    error: i64,
    others: Vec<ProcessId>,
    held: Option<Stamped>,
    /// Writes that it took itself: one that arrives twice is no second write.
    taken: BTreeSet<Value>,
}

/// It writes: one at a time, each to any replica.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Client {
    replicas: Vec<ProcessId>,
    writes_left: u8,
    n_writes: u8,
    letter: char,
    /// The write that it waits for.
    open: Option<Value>,
}

/// What a client does next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// Its user gets to know, a tick later: whoever acts upon that does so at a later time.
    Tells(Value),
    /// Its user writes, by way of this replica.
    Writes(ProcessId),
}

impl Process for Party {
    type Message = Message;
    type Timer = Timer;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if let Party::Client(client) = self
            && client.writes_left > 0
        {
            client
                .replicas
                .iter()
                .for_each(|replica| cx.anytime(Timer::Writes(*replica)));
        }
    }

    fn wake(&mut self, timer: Timer, cx: &mut Context<'_, Self>) {
        match (&mut *self, timer) {
            (Party::Client(client), Timer::Writes(replica)) => client.write(replica, cx),
            (Party::Client(_), Timer::Tells(value)) => {
                cx.fact(Fact::Acknowledged(value));
                self.start(cx);
            }
            _ => {}
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match (self, message) {
            (Party::Replica(replica), Message::Write(value)) => {
                if !replica.taken.insert(value) {
                    return;
                }
                let clock = cx.now() + replica.error;
                let stamped = Stamped { clock, value };
                replica.take(stamped, cx);
                cx.send(from, Message::Taken(value));
                cx.send_all(replica.others.iter().copied(), &Message::Copy(stamped));
            }
            (Party::Replica(replica), Message::Copy(stamped)) => replica.take(stamped, cx),
            (Party::Client(client), Message::Taken(value)) if client.open == Some(value) => {
                client.open = None;
                cx.after(1, Timer::Tells(value));
            }
            _ => {}
        }
    }
}

impl Client {
    fn write(&mut self, replica: ProcessId, cx: &mut Context<'_, Party>) {
        for other in &self.replicas {
            cx.cancel(&Timer::Writes(*other));
        }
        self.writes_left -= 1;
        self.n_writes += 1;
        let value = Value {
            letter: self.letter,
            number: self.n_writes,
        };
        self.open = Some(value);
        cx.fact(Fact::Begun(value));
        cx.send(replica, Message::Write(value));
    }
}

impl Replica {
    fn take(&mut self, new: Stamped, cx: &mut Context<'_, Party>) {
        let is_later = match self.held {
            None => true,
            Some(held) if self.broken.is(&TIE_BREAK) => new.clock > held.clock,
            Some(held) => new > held || self.broken.is(&SAME_ORDER),
        };
        if is_later {
            self.held = Some(new);
            cx.say(format_args!("holds {new}"));
        } else {
            cx.say(format_args!("forgets {new}"));
        }
    }
}
