#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::collections::BTreeMap;

/// Session guarantees.
pub struct SessionGuarantees;

/// Without it a read may miss the session's own write.
const READ_YOUR_WRITES: Break = Break {
    rule: "reads-ask-for-writes",
    law: "read-your-writes",
    says: "a read does not ask for what the session has written",
};
/// Without it a read may be older than the one before.
const MONOTONIC_READS: Break = Break {
    rule: "reads-ask-for-reads",
    law: "monotonic-reads",
    says: "a read does not ask for what the session has seen",
};
/// Without it a write may be where the one before is not.
const MONOTONIC_WRITES: Break = Break {
    rule: "writes-ask-for-writes",
    law: "monotonic-writes",
    says: "a write does not ask for what the session has written",
};
/// Without it an answer may be where its question is not.
const WRITES_FOLLOW_READS: Break = Break {
    rule: "writes-ask-for-reads",
    law: "writes-follow-reads",
    says: "a write does not ask for what the session has seen",
};

/// Without it a request that has to wait waits for ever.
const LOOK_AGAIN: Break = Break {
    rule: "look-again",
    law: "all-is-answered",
    says: "a replica that has caught up does not look at what waits",
};

/// One write: the replica that took it, the how manieth of those, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Write {
    replica: ProcessId,
    number: u8,
}

/// How many writes of each replica.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Vector(BTreeMap<ProcessId, u8>);

impl Vector {
    fn of(log: &[Write]) -> Vector {
        let mut vector = Vector::default();
        log.iter().for_each(|write| vector.add(*write));
        vector
    }

    fn add(&mut self, write: Write) {
        let number = self.0.entry(write.replica).or_default();
        *number = write.number.max(*number);
    }

    fn merge(&mut self, other: &Vector) {
        for (replica, number) in &other.0 {
            let (replica, number) = (*replica, *number);
            self.add(Write { replica, number });
        }
    }

    /// It has all that the other has.
    fn covers(&self, other: &Vector) -> bool {
        let mut entries = other.0.iter();
        entries.all(|(replica, number)| self.0.get(replica).is_some_and(|mine| mine >= number))
    }
}

/// What a session carries from replica to replica.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Token {
    written: Vector,
    seen: Vector,
}

/// What a client wants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Wish {
    /// All that the replica has.
    Read,
    /// One more write.
    Write,
}

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// A client's wish, its number, and what the replica must have for it.
    Ask(Wish, u8, Vector),
    /// What was read.
    Log(u8, Vec<Write>),
    /// It is written.
    Written(u8, Write),
    /// All that a replica has, to another.
    Copy(Vec<Write>),
}

/// What clients see.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// This session has read that.
    Read(ProcessId, Vec<Write>),
    /// This session has written that.
    Wrote(ProcessId, Write),
}

/// One party.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// It has a log.
    Replica(Replica),
    /// It reads and writes.
    Session(Session),
}

/// It takes writes, and passes on what it has. All of it is on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    broken: Broken,
    others: Vec<ProcessId>,
    log: Vec<Write>,
    /// Requests that wait until it has what they ask for.
    waiting: Vec<(ProcessId, Wish, u8, Vector)>,
    /// Writes that it has carried out: a request that arrives twice is no second write.
    done: Vec<(ProcessId, u8)>,
}

/// One client's session: one wish at a time, each to any replica.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Session {
    broken: Broken,
    replicas: Vec<ProcessId>,
    wishes_left: u8,
    /// The newest request, and whether it waits for the answer.
    request: u8,
    is_waiting: bool,
    token: Token,
}

impl Process for Party {
    type Message = Message;
    type Timer = Act;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if let Party::Session(session) = self {
            session.acts().for_each(|act| cx.anytime(act));
        }
    }

    fn wake(&mut self, Act(wish, replica): Act, cx: &mut Context<'_, Self>) {
        let Party::Session(session) = self else {
            return;
        };
        session.acts().for_each(|act| cx.cancel(&act));
        session.wishes_left -= 1;
        session.request += 1;
        session.is_waiting = true;
        let need = session.need(wish);
        cx.send(replica, Message::Ask(wish, session.request, need));
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match (self, message) {
            (Party::Replica(replica), Message::Ask(wish, request, need)) => {
                replica.ask(from, wish, request, need, cx);
            }
            (Party::Replica(replica), Message::Copy(log)) => replica.copy(log, cx),
            (Party::Session(session), message) => session.receive(message, cx),
            _ => {}
        }
    }
}

/// What a session does next, and by way of which replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Act(Wish, ProcessId);

impl Session {
    fn acts(&self) -> impl Iterator<Item = Act> {
        let replicas = self.replicas.iter().filter(|_| self.wishes_left > 0);
        replicas.flat_map(|replica| [Act(Wish::Read, *replica), Act(Wish::Write, *replica)])
    }

    /// What a replica must have, by the four promises.
    fn need(&self, wish: Wish) -> Vector {
        let (for_written, for_seen) = match wish {
            Wish::Read => (READ_YOUR_WRITES, MONOTONIC_READS),
            Wish::Write => (MONOTONIC_WRITES, WRITES_FOLLOW_READS),
        };
        let mut need = Vector::default();
        if !self.broken.is(&for_written) {
            need.merge(&self.token.written);
        }
        if !self.broken.is(&for_seen) {
            need.merge(&self.token.seen);
        }
        need
    }

    fn receive(&mut self, message: Message, cx: &mut Context<'_, Party>) {
        let is_open = |request| self.is_waiting && request == self.request;
        match message {
            Message::Log(request, log) if is_open(request) => {
                self.token.seen.merge(&Vector::of(&log));
                cx.fact(Fact::Read(cx.me(), log));
            }
            Message::Written(request, write) if is_open(request) => {
                self.token.written.add(write);
                cx.fact(Fact::Wrote(cx.me(), write));
            }
            _ => return,
        }
        self.is_waiting = false;
        self.acts().for_each(|act| cx.anytime(act));
    }
}

impl Replica {
    fn ask(
        &mut self,
        from: ProcessId,
        wish: Wish,
        request: u8,
        need: Vector,
        cx: &mut Context<'_, Party>,
    ) {
        if !Vector::of(&self.log).covers(&need) {
            cx.say(format_args!("has not got {need} yet: it waits"));
            self.waiting.push((from, wish, request, need));
            return;
        }
        if wish == Wish::Read {
            cx.send(from, Message::Log(request, self.log.clone()));
            return;
        }
        if self.done.contains(&(from, request)) {
            return;
        }
        self.done.push((from, request));
        let own = self.log.iter().filter(|write| write.replica == cx.me());
        let write = Write {
            replica: cx.me(),
            number: own.count() as u8 + 1,
        };
        self.log.push(write);
        cx.send(from, Message::Written(request, write));
        cx.send_all(
            self.others.iter().copied(),
            &Message::Copy(self.log.clone()),
        );
    }

    /// Takes over what it has not got, in the order of the other's log; then looks at what has waited.
    fn copy(&mut self, log: Vec<Write>, cx: &mut Context<'_, Party>) {
        for write in log {
            if !self.log.contains(&write) {
                self.log.push(write);
            }
        }
        if self.broken.is(&LOOK_AGAIN) {
            return;
        }
        for (from, wish, request, need) in std::mem::take(&mut self.waiting) {
            self.ask(from, wish, request, need, cx);
        }
    }
}
