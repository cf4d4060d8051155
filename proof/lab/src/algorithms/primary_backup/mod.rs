#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::Broken;
use crate::kernel::{Context, Process, ProcessId};
use exhibit::{
    ADOPT_LATEST, ASK_MAJORITY, CATCH_UP, EPOCH_BEFORE_LENGTH, FENCE_OLD_PRIMARY, PROMISE_ONCE,
    TAKE_OVER_WITH_MAJORITY,
};
use std::collections::{BTreeMap, BTreeSet};

/// Primary-backup replication with takeover by a majority.
pub struct PrimaryBackup;

/// Which primary: each epoch has one.
type Epoch = u8;
/// What a client writes. No two write the same.
type Write = char;
/// Writes in order.
type History = Vec<Write>;

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// A client asks for a write.
    Write(Write),
    /// It is done, in this epoch: the acknowledgement.
    Done(Write, Epoch),
    /// Not by me: I am no primary.
    Elsewhere(Write),
    /// What the primary of this epoch holds.
    Copy(Epoch, History),
    /// So many of its writes are held.
    Held(Epoch, usize),
    /// Promise me this epoch.
    TakeOver(Epoch),
    /// Promised; and what I hold, and in which epoch it was copied.
    Promise(Epoch, Epoch, History),
    /// There is a later epoch.
    Later(Epoch),
    /// I am back: what have I missed?
    Back,
}

/// One party.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// It holds a copy.
    Replica(Replica),
    /// It writes.
    Client(Client),
}

/// What a replica is at present.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Role {
    /// It takes copies.
    Backup,
    /// It gathers promises.
    Candidate(BTreeMap<ProcessId, (Epoch, History)>),
    /// It orders writes: who holds how many, and who waits for which.
    Primary(BTreeMap<ProcessId, usize>, BTreeSet<(Write, ProcessId)>),
}

/// Holds a copy. All but its role is on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    broken: Broken,
    all: Vec<ProcessId>,
    role: Role,
    /// The highest that it has promised.
    epoch: Epoch,
    /// In which epoch its history was copied.
    copied_in: Epoch,
    history: History,
    takeovers_left: u8,
}

/// Writes one thing, and asks one replica after the other.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Client {
    write: Write,
    asks: Vec<ProcessId>,
    is_done: bool,
}

impl Process for Party {
    type Message = Message;
    type Timer = &'static str;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        match self {
            Party::Replica(replica) if replica.takeovers_left > 0 => cx.anytime("suspect"),
            Party::Client(client) if !client.asks.is_empty() => cx.anytime("write"),
            _ => {}
        }
    }

    fn wake(&mut self, _: &'static str, cx: &mut Context<'_, Self>) {
        match self {
            Party::Replica(replica) => replica.suspect(cx),
            Party::Client(client) => {
                let to = client.asks.remove(0);
                cx.send(to, Message::Write(client.write));
                if !client.asks.is_empty() {
                    cx.anytime("write");
                }
            }
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match (self, message) {
            (Party::Replica(replica), message) => replica.receive(from, message, cx),
            (Party::Client(client), Message::Done(write, epoch)) if !client.is_done => {
                client.is_done = true;
                cx.cancel(&"write");
                cx.fact(Fact::Acknowledged(write, epoch));
            }
            _ => {}
        }
    }

    fn restart(&mut self, cx: &mut Context<'_, Self>) {
        if let Party::Replica(replica) = self {
            replica.role = Role::Backup;
            if !replica.broken.is(&CATCH_UP) {
                cx.send_all(replica.others(cx.me()), &Message::Back);
            }
        }
        self.start(cx);
    }
}

impl Replica {
    fn others(&self, me: ProcessId) -> Vec<ProcessId> {
        let all = self.all.iter().copied();
        all.filter(|other| *other != me).collect()
    }

    fn is_majority(&self, n: usize) -> bool {
        n > self.all.len() / 2
    }

    /// It has not heard of the primary for long. It may be wrong.
    fn suspect(&mut self, cx: &mut Context<'_, Party>) {
        self.takeovers_left -= 1;
        if self.takeovers_left > 0 {
            cx.anytime("suspect");
        }
        if matches!(self.role, Role::Primary(..)) {
            return;
        }
        self.epoch += 1;
        let mine = (self.copied_in, self.history.clone());
        self.role = Role::Candidate(BTreeMap::from([(cx.me(), mine)]));
        if self.broken.is(&TAKE_OVER_WITH_MAJORITY) {
            return self.lead(cx);
        }
        cx.send_all(self.others(cx.me()), &Message::TakeOver(self.epoch));
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Party>) {
        match message {
            Message::Write(write) => self.write(from, write, cx),
            Message::TakeOver(epoch) => {
                let is_new =
                    epoch > self.epoch || epoch == self.epoch && self.broken.is(&PROMISE_ONCE);
                if !is_new {
                    return cx.say(format_args!("no: it has promised epoch {}", self.epoch));
                }
                self.epoch = epoch;
                self.role = Role::Backup;
                let (copied_in, history) = (self.copied_in, self.history.clone());
                cx.send(from, Message::Promise(epoch, copied_in, history));
            }
            Message::Promise(epoch, copied_in, history) if epoch == self.epoch => {
                if let Role::Candidate(promises) = &mut self.role {
                    promises.insert(from, (copied_in, history));
                    let n = promises.len();
                    if self.is_majority(n) {
                        self.lead(cx);
                    }
                }
            }
            Message::Copy(epoch, history) => self.copy(from, epoch, history, cx),
            Message::Held(epoch, n) if epoch == self.epoch => {
                if let Role::Primary(held, _) = &mut self.role {
                    let most = held.entry(from).or_default();
                    *most = n.max(*most);
                    self.acknowledge(cx);
                }
            }
            Message::Later(epoch) if epoch > self.epoch => {
                cx.say(format_args!("leads no longer"));
                self.epoch = epoch;
                self.role = Role::Backup;
            }
            Message::Back if matches!(self.role, Role::Primary(..)) => {
                cx.send(from, Message::Copy(self.epoch, self.history.clone()));
            }
            _ => {}
        }
    }

    /// A majority has promised that no earlier primary finds a majority any more.
    fn lead(&mut self, cx: &mut Context<'_, Party>) {
        let Role::Candidate(promises) = &self.role else {
            return;
        };
        // A long history of an old epoch may never have been acknowledged; a short one of a new epoch holds all that was.
        let age = |copied_in: &Epoch| match self.broken.is(&EPOCH_BEFORE_LENGTH) {
            true => 0,
            false => *copied_in,
        };
        let latest = promises
            .values()
            .rev()
            .max_by_key(|(copied_in, history)| (age(copied_in), history.len()));
        if let Some((_, history)) = latest.filter(|_| !self.broken.is(&ADOPT_LATEST)) {
            self.history = history.clone();
        }
        self.copied_in = self.epoch;
        self.role = Role::Primary(BTreeMap::new(), BTreeSet::new());
        cx.fact(Fact::Leads(self.epoch, cx.me(), self.history.clone()));
        cx.send_all(
            self.others(cx.me()),
            &Message::Copy(self.epoch, self.history.clone()),
        );
    }

    fn write(&mut self, from: ProcessId, write: Write, cx: &mut Context<'_, Party>) {
        let Role::Primary(_, waiting) = &mut self.role else {
            return cx.send(from, Message::Elsewhere(write));
        };
        waiting.insert((write, from));
        // A client that asks again must not write twice.
        if !self.history.contains(&write) {
            self.history.push(write);
            let copy = Message::Copy(self.epoch, self.history.clone());
            cx.send_all(self.others(cx.me()), &copy);
        }
        self.acknowledge(cx);
    }

    fn copy(&mut self, from: ProcessId, epoch: Epoch, new: History, cx: &mut Context<'_, Party>) {
        if epoch < self.epoch && !self.broken.is(&FENCE_OLD_PRIMARY) {
            cx.say(format_args!("no: it has promised epoch {}", self.epoch));
            return cx.send(from, Message::Later(self.epoch));
        }
        if epoch >= self.epoch {
            self.epoch = epoch;
            self.role = Role::Backup;
        }
        // Copies overtake each other: within an epoch the longest is the latest.
        if (epoch, new.len()) > (self.copied_in, self.history.len()) || epoch < self.copied_in {
            for lost in self.history.iter().filter(|write| !new.contains(write)) {
                cx.say(format_args!("throws {lost} away"));
            }
            (self.copied_in, self.history) = (epoch, new);
        }
        cx.send(from, Message::Held(epoch, self.history.len()));
    }

    /// Tells the clients whose writes are with a majority.
    fn acknowledge(&mut self, cx: &mut Context<'_, Party>) {
        let Role::Primary(held, waiting) = &self.role else {
            return;
        };
        let is_safe = |write: &Write| {
            let place = self.history.iter().position(|other| other == write);
            let holders = held.values().filter(|n| place < Some(**n)).count() + 1;
            place.is_some() && (self.is_majority(holders) || self.broken.is(&ASK_MAJORITY))
        };
        let safe: Vec<(Write, ProcessId)> = waiting
            .iter()
            .filter(|(write, _)| is_safe(write))
            .copied()
            .collect();
        for (write, client) in &safe {
            cx.send(*client, Message::Done(*write, self.epoch));
        }
        if let Role::Primary(_, waiting) = &mut self.role {
            waiting.retain(|one| !safe.contains(one));
        }
    }
}

/// What laws are about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// A client was told that its write is done, by the primary of this epoch.
    Acknowledged(Write, Epoch),
    /// This replica leads this epoch, and begins with this history.
    Leads(Epoch, ProcessId, History),
}
