#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::collections::{BTreeMap, BTreeSet};

/// Siblings.
pub struct Siblings;

/// Without it one of two concurrent writes is dropped.
const KEEP_CONCURRENT: Break = Break {
    rule: "keep-concurrent",
    law: "nothing-is-lost",
    says: "of concurrent versions a replica keeps the one with the greater dot",
};
/// Without it versions only pile up.
const DROP_ANCESTORS: Break = Break {
    rule: "drop-ancestors",
    law: "descendants-replace",
    says: "a replica keeps every version that it has heard of",
};
/// Without it two writes by way of one replica look ordered.
const DOTS: Break = Break {
    rule: "dots",
    law: "nothing-is-lost",
    says: "a version is told by its vector alone: it covers all earlier writes of its replica",
};

/// Without it an old version that arrives late is there again.
const STAY_REPLACED: Break = Break {
    rule: "stay-replaced",
    law: "convergence",
    says: "a replica takes what it hears, even when it holds what replaces that",
};

/// One write by way of a replica, from 1 on: the identity of a version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Dot {
    replica: ProcessId,
    number: u8,
}

/// How many writes of each replica somebody knows, or knows to be replaced.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Vector(BTreeMap<ProcessId, u8>);

impl Vector {
    fn covers(&self, dot: Dot) -> bool {
        self.0.get(&dot.replica).is_some_and(|n| dot.number <= *n)
    }

    fn add(&mut self, dot: Dot) {
        let number = self.0.entry(dot.replica).or_default();
        *number = dot.number.max(*number);
    }

    fn merge(&mut self, other: &Vector) {
        for (replica, number) in &other.0 {
            self.add(Dot {
                replica: *replica,
                number: *number,
            });
        }
    }
}

/// What was written, and what its writer had read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    dot: Dot,
    context: Vector,
}

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// A client reads. Requests and answers carry the number that the client gave them.
    Read(u8),
    /// All siblings, and how much they cover.
    Siblings(u8, BTreeSet<Dot>, Vector),
    /// A client writes, having read that.
    Write(u8, Vector),
    /// It is written.
    Written(u8, Dot),
    /// All that a replica holds, to another.
    Copy(BTreeSet<Version>),
}

/// What clients see.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// A client's write was acknowledged. When it was made, its client had last read those.
    Wrote(Dot, BTreeSet<Dot>),
}

/// One party.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// It takes writes.
    Replica(Replica),
    /// It reads, and writes upon what it has read.
    Client(Client),
}

/// It takes writes. What it holds is on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    broken: Broken,
    others: Vec<ProcessId>,
    n_writes: u8,
    held: BTreeSet<Version>,
    /// Requests that it has carried out: one that arrives twice is no second write.
    done: BTreeSet<(ProcessId, u8)>,
}

/// It reads and writes by way of any replica, one thing at a time.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Client {
    replicas: Vec<ProcessId>,
    reads_left: u8,
    writes_left: u8,
    /// The newest request, and whether it waits for the answer.
    request: u8,
    is_waiting: bool,
    read: BTreeSet<Dot>,
    context: Vector,
}

/// What a client does next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Act {
    /// It asks this replica.
    Reads(ProcessId),
    /// It writes by way of this one.
    Writes(ProcessId),
}

impl Process for Party {
    type Message = Message;
    type Timer = Act;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if let Party::Client(client) = self {
            client.acts().for_each(|act| cx.anytime(act));
        }
    }

    fn wake(&mut self, act: Act, cx: &mut Context<'_, Self>) {
        let Party::Client(client) = self else { return };
        client.acts().for_each(|act| cx.cancel(&act));
        client.request += 1;
        client.is_waiting = true;
        match act {
            Act::Reads(replica) => {
                client.reads_left -= 1;
                cx.send(replica, Message::Read(client.request));
            }
            Act::Writes(replica) => {
                client.writes_left -= 1;
                cx.send(
                    replica,
                    Message::Write(client.request, client.context.clone()),
                );
            }
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match self {
            Party::Replica(replica) => replica.receive(from, message, cx),
            Party::Client(client) => client.receive(message, cx),
        }
    }
}

impl Client {
    fn receive(&mut self, message: Message, cx: &mut Context<'_, Party>) {
        let is_open = |request| self.is_waiting && request == self.request;
        match message {
            Message::Siblings(request, read, context) if is_open(request) => {
                (self.read, self.context) = (read, context);
            }
            Message::Written(request, dot) if is_open(request) => {
                cx.fact(Fact::Wrote(dot, self.read.clone()));
            }
            _ => return,
        }
        self.is_waiting = false;
        self.acts().for_each(|act| cx.anytime(act));
    }

    fn acts(&self) -> impl Iterator<Item = Act> {
        let reads = self.replicas.iter().map(|to| Act::Reads(*to));
        let writes = self.replicas.iter().map(|to| Act::Writes(*to));
        let reads = reads.filter(|_| self.reads_left > 0);
        reads.chain(writes.filter(|_| self.writes_left > 0))
    }
}

impl Replica {
    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Party>) {
        match message {
            Message::Read(request) => {
                let dots = self.held.iter().map(|version| version.dot).collect();
                let mut context = Vector::default();
                for version in &self.held {
                    context.merge(&version.context);
                    context.add(version.dot);
                }
                cx.send(from, Message::Siblings(request, dots, context));
            }
            Message::Write(request, context) => {
                if !self.done.insert((from, request)) {
                    return;
                }
                self.n_writes += 1;
                let dot = Dot {
                    replica: cx.me(),
                    number: self.n_writes,
                };
                self.take(Version { dot, context });
                self.show(cx);
                cx.send(from, Message::Written(request, dot));
                cx.send_all(
                    self.others.iter().copied(),
                    &Message::Copy(self.held.clone()),
                );
            }
            Message::Copy(versions) => {
                versions.into_iter().for_each(|version| self.take(version));
                self.show(cx);
            }
            _ => {}
        }
    }

    /// Keeps a version, unless it is replaced; and drops those that it replaces.
    fn take(&mut self, version: Version) {
        let broken = self.broken;
        let replaces = |new: &Version, old: &Version| {
            let is_later = new.dot.replica == old.dot.replica && new.dot.number > old.dot.number;
            (new.context.covers(old.dot) && !broken.is(&DROP_ANCESTORS))
                || (is_later && broken.is(&DOTS))
                || (new.dot > old.dot && broken.is(&KEEP_CONCURRENT))
        };
        let is_replaced = self.held.iter().any(|held| replaces(held, &version));
        if is_replaced && !broken.is(&STAY_REPLACED) {
            return;
        }
        self.held.retain(|held| !replaces(&version, held));
        self.held.insert(version);
    }

    fn show(&self, cx: &mut Context<'_, Party>) {
        let dots: Vec<String> = self.held.iter().map(|one| one.dot.to_string()).collect();
        cx.say(format_args!("holds {}", dots.join(" and ")));
    }
}
