#![doc = include_str!("story.md")]

mod paths;

mod execution;
mod recovery;

mod exhibit;

use crate::exhibit::Broken;
use crate::kernel::{Context, Process, ProcessId};
use exhibit::*;
use std::collections::{BTreeMap, BTreeSet};

type Cx<'a> = Context<'a, Replica>;

/// Egalitarian Paxos: no leader, and an order only where it matters.
pub struct EPaxos;

/// A round, and who runs it. An instance begins in round 0, of the replica whose client asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ballot(u8, u8);

/// A place for one command: whose client asked, and which of its commands it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instance(u8, u8);

/// What a client wants, and the key that it touches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Command {
    name: char,
    key: char,
}

/// What is to be chosen for an instance: a command, and where it stands among those that interfere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Attributes {
    /// `None` is the no-op.
    command: Option<Command>,
    /// Greater than that of everything it depends on that was known then: the order in a circle.
    sequence: u8,
    /// What interferes and was known.
    dependencies: BTreeSet<Instance>,
}

/// How far a replica is with an instance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Status {
    /// It has said what it knows.
    PreAccepted,
    /// It has accepted, as in Paxos.
    Accepted,
    /// It is chosen.
    Committed,
}

/// What a replica has recorded of an instance: how far, in which ballot, what.
type Record = (Status, Ballot, Attributes);

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// Phase 1: what do you know that interferes?
    PreAccept(Instance, Ballot, Attributes),
    /// This.
    PreAccepted(Instance, Ballot, Attributes),
    /// The slow path: phase 2a of Paxos.
    Accept(Instance, Ballot, Attributes),
    /// Phase 2b.
    Accepted(Instance, Ballot),
    /// It is chosen.
    Commit(Instance, Attributes),
    /// Recovery: phase 1a of Paxos.
    Prepare(Instance, Ballot),
    /// Phase 1b.
    Promise(Instance, Ballot, Option<Record>),
}

/// What a replica does by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// A client asks.
    Request(Command),
    /// It waits no longer for a fast quorum.
    Hurry(Instance),
    /// It waits no longer for whoever runs this instance.
    Recover(Instance),
}

/// One replica. All but `running` is on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    broken: Broken,
    n: usize,
    /// Whom it asks about its clients' commands.
    asked: Vec<ProcessId>,
    wishes: Vec<Command>,
    recoveries_left: u8,
    n_instances: u8,
    promised: BTreeMap<Instance, Ballot>,
    log: BTreeMap<Instance, Record>,
    executed: Vec<Instance>,
    running: BTreeMap<Instance, (Ballot, Phase)>,
}

/// Where it is with an instance that it runs.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Phase {
    PreAccept(BTreeMap<ProcessId, Attributes>),
    Accept(BTreeSet<ProcessId>),
    Prepare(BTreeMap<ProcessId, Option<Record>>),
}

impl Process for Replica {
    type Message = Message;
    type Timer = Timer;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Cx<'_>) {
        for wish in &self.wishes {
            cx.anytime(Timer::Request(*wish));
        }
    }

    fn restart(&mut self, cx: &mut Cx<'_>) {
        self.running.clear();
        self.start(cx);
        for instance in self.log.keys() {
            self.watch(*instance, cx);
        }
    }

    fn wake(&mut self, timer: Timer, cx: &mut Cx<'_>) {
        match timer {
            Timer::Request(command) => {
                self.wishes.retain(|wish| *wish != command);
                self.n_instances += 1;
                let me = cx.me().0 as u8 + 1;
                self.pre_accept(Instance(me, self.n_instances), Ballot(0, me), command, cx);
            }
            Timer::Hurry(instance) => {
                if let Some((ballot, Phase::PreAccept(replies))) = self.running.get(&instance) {
                    let (ballot, all) = (*ballot, union(replies.values()));
                    self.accept(instance, ballot, all, cx);
                }
            }
            Timer::Recover(instance) => self.prepare(instance, cx),
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Cx<'_>) {
        match message {
            Message::PreAccept(at, ballot, told) => {
                // What it has said once in a ballot stands, whatever it has learnt since.
                let has_said = matches!(self.log.get(&at), Some((_, said, _)) if *said >= ballot);
                if self.may(at, ballot, cx) && !has_said {
                    let mine = self.known(at, told.command);
                    let all = if self.broken.is(&REPORT_INTERFERENCE) {
                        told
                    } else {
                        union([&told, &mine])
                    };
                    cx.send(from, Message::PreAccepted(at, ballot, all.clone()));
                    self.record(at, Status::PreAccepted, ballot, all, cx);
                }
            }
            Message::PreAccepted(at, ballot, told) => self.pre_accepted(from, at, ballot, told, cx),
            Message::Accept(at, ballot, told) => {
                if self.may(at, ballot, cx) && !self.is_committed(at) {
                    cx.send(from, Message::Accepted(at, ballot));
                    self.record(at, Status::Accepted, ballot, told, cx);
                }
            }
            Message::Accepted(at, ballot) => self.accepted(from, at, ballot, cx),
            Message::Commit(at, told) => self.commit(at, told, cx),
            Message::Prepare(at, ballot) => {
                if self
                    .promised
                    .get(&at)
                    .is_none_or(|promised| ballot > *promised)
                {
                    self.promised.insert(at, ballot);
                    self.running.remove(&at);
                    let record = self.log.get(&at).cloned();
                    cx.send(from, Message::Promise(at, ballot, record));
                }
            }
            Message::Promise(at, ballot, record) => self.promise(from, at, ballot, record, cx),
        }
    }
}

impl Replica {
    /// F of 2F + 1 may fail.
    fn f(&self) -> usize {
        self.n / 2
    }

    fn others(&self, cx: &Cx<'_>) -> impl Iterator<Item = ProcessId> + use<> {
        let me = cx.me();
        (0..self.n).map(ProcessId).filter(move |other| *other != me)
    }

    fn is_committed(&self, at: Instance) -> bool {
        matches!(self.log.get(&at), Some((Status::Committed, ..)))
    }

    /// Whether its promise lets it answer.
    fn may(&self, at: Instance, ballot: Ballot, cx: &mut Cx<'_>) -> bool {
        match self.promised.get(&at) {
            Some(promised) if ballot < *promised && !self.broken.is(&KEEP_PROMISE) => {
                cx.say(format_args!("no: it has promised {promised}"));
                false
            }
            _ => true,
        }
    }

    /// What it knows that interferes with a command.
    fn known(&self, at: Instance, command: Option<Command>) -> Attributes {
        let interferes = |other: &Attributes| match (command, other.command) {
            (Some(one), Some(other)) => one.key == other.key || self.broken.is(&ONLY_INTERFERENCE),
            _ => false,
        };
        let others = self.log.iter().filter(|(other, _)| **other != at);
        let found = others.filter(|(_, (_, _, what))| interferes(what));
        let (mut sequence, mut dependencies) = (1, BTreeSet::new());
        for (other, (_, _, what)) in found {
            sequence = sequence.max(what.sequence + 1);
            dependencies.insert(*other);
        }
        Attributes {
            command,
            sequence,
            dependencies,
        }
    }

    fn record(
        &mut self,
        at: Instance,
        how: Status,
        ballot: Ballot,
        what: Attributes,
        cx: &mut Cx<'_>,
    ) {
        let promised = self.promised.entry(at).or_default();
        *promised = ballot.max(*promised);
        if self.running.get(&at).is_some_and(|(of, _)| *of < ballot) {
            self.running.remove(&at);
        }
        self.log.insert(at, (how, ballot, what));
        self.watch(at, cx);
    }

    /// It will see to it that an instance comes to an end, if nobody else does.
    fn watch(&self, at: Instance, cx: &mut Cx<'_>) {
        cx.cancel(&Timer::Recover(at));
        if self.recoveries_left > 0 && !self.is_committed(at) && !self.running.contains_key(&at) {
            cx.anytime(Timer::Recover(at));
        }
    }
}

/// What several know.
fn union<'a>(all: impl IntoIterator<Item = &'a Attributes>) -> Attributes {
    let none = Attributes {
        command: None,
        sequence: 0,
        dependencies: BTreeSet::new(),
    };
    all.into_iter().fold(none, |sum, one| Attributes {
        command: sum.command.or(one.command),
        sequence: sum.sequence.max(one.sequence),
        dependencies: &sum.dependencies | &one.dependencies,
    })
}
