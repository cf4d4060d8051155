#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::Broken;
use crate::kernel::{Context, Process, ProcessId};
use exhibit::*;
use std::collections::{BTreeMap, BTreeSet};

type Cx<'a> = Context<'a, Server>;

/// ZooKeeper's atomic broadcast.
pub struct Zab;

/// Which primary, from 1; 0 is none.
type Epoch = u8;

/// Which transaction: of which primary, and its how-manieth, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Zxid(Epoch, u8);

/// A transaction.
type Transaction = (Zxid, char);

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// Whoever chooses leaders has chosen the sender. It need not be right.
    Follow,
    /// Discovery: the last epoch that this follower has promised (CEPOCH).
    Promised(Epoch),
    /// A new one, greater than all of a quorum (NEWEPOCH).
    NewEpoch(Epoch),
    /// Promised; and the epoch in which this history was last put in order (ACK-E).
    History(Epoch, Epoch, Vec<Transaction>),
    /// Synchronisation: the history that everybody has from now on (NEWLEADER).
    NewLeader(Epoch, Vec<Transaction>),
    /// Broadcast.
    Propose(Epoch, Transaction),
    /// So many transactions are on this disk, in the leader's order (ACK-LD, ACK).
    Ack(Epoch, usize),
    /// So many are on the disks of a quorum (COMMIT-LD, COMMIT).
    Commit(Epoch, usize),
}

/// One server.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Server {
    broken: Broken,
    n: usize,
    leads_left: u8,
    wishes: Vec<char>,
    // On its disk.
    promised: Epoch,
    /// The epoch in which it was synchronised last.
    current: Epoch,
    history: Vec<Transaction>,
    delivered: Vec<Transaction>,
    // In its memory.
    /// Whose proposals it takes: it has that leader's history, and has missed nothing since.
    following: Option<Epoch>,
    leading: Option<Leading>,
}

/// What a server knows that leads, or wants to.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
struct Leading {
    /// 0 until a quorum has told what it promised.
    epoch: Epoch,
    promised: BTreeMap<ProcessId, Epoch>,
    histories: BTreeMap<ProcessId, (Epoch, Vec<Transaction>)>,
    is_discovered: bool,
    /// Who was sent its history, and so gets all that comes after.
    followers: BTreeSet<ProcessId>,
    /// How much of it is on whose disk.
    acked: BTreeMap<ProcessId, usize>,
    is_primary: bool,
}

impl Process for Server {
    type Message = Message;
    type Timer = Timer;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Cx<'_>) {
        if self.leads_left > 0 {
            cx.anytime(Timer::Lead);
        }
    }

    fn restart(&mut self, cx: &mut Cx<'_>) {
        // What was under way is lost, so it must be synchronised again.
        (self.following, self.leading) = (None, None);
        self.start(cx);
    }

    fn wake(&mut self, timer: Timer, cx: &mut Cx<'_>) {
        match timer {
            Timer::Lead => {
                self.leads_left -= 1;
                self.stop_leading(cx);
                self.leading = Some(Leading {
                    promised: BTreeMap::from([(cx.me(), self.promised)]),
                    ..Leading::default()
                });
                let me = cx.me();
                let others = (0..self.n).map(ProcessId).filter(|other| *other != me);
                cx.send_all(others, &Message::Follow);
                self.start(cx);
            }
            Timer::Request(name) => self.broadcast(name, cx),
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Cx<'_>) {
        match message {
            Message::Follow => {
                self.stop_leading(cx);
                cx.send(from, Message::Promised(self.promised));
            }
            Message::Promised(epoch) => self.hears_promised(from, epoch, cx),
            // Who wants to lead follows nobody.
            Message::NewEpoch(epoch) if epoch > self.promised && self.leading.is_none() => {
                (self.promised, self.following) = (epoch, None);
                if self.broken.is(&SYNCHRONISE) {
                    (self.current, self.following) = (epoch, Some(epoch));
                }
                cx.say(format_args!("promises"));
                let history = self.history.clone();
                cx.send(from, Message::History(epoch, self.current, history));
            }
            Message::History(epoch, current, history) => {
                self.hears_history(from, epoch, (current, history), cx);
            }
            Message::NewLeader(epoch, history) if epoch == self.promised => {
                (self.current, self.following) = (epoch, Some(epoch));
                self.history = history;
                cx.say(format_args!("synchronised"));
                cx.send(from, Message::Ack(epoch, self.history.len()));
            }
            // Messages are judged by their epoch, whoever sends them.
            Message::Propose(epoch, transaction)
                if self.following == Some(epoch) || self.broken.is(&EPOCH_PROMISE) =>
            {
                self.history.push(transaction);
                cx.send(from, Message::Ack(epoch, self.history.len()));
            }
            Message::Ack(epoch, length) => self.hears_ack(from, epoch, length, cx),
            Message::Commit(epoch, length) if self.following == Some(epoch) => {
                self.deliver(length, cx)
            }
            _ => {
                cx.say(format_args!("no: it has promised epoch {}", self.promised));
            }
        }
    }
}

impl Server {
    fn quorum(&self) -> usize {
        self.n / 2 + 1
    }

    fn stop_leading(&mut self, cx: &mut Cx<'_>) {
        if self.leading.take().is_some() {
            for wish in &self.wishes {
                cx.cancel(&Timer::Request(*wish));
            }
        }
    }

    /// Discovery: which epoch is new.
    fn hears_promised(&mut self, from: ProcessId, epoch: Epoch, cx: &mut Cx<'_>) {
        let quorum = self.quorum();
        let Some(leading) = &mut self.leading else {
            return;
        };
        leading.promised.insert(from, epoch);
        if leading.epoch > 0 {
            cx.send(from, Message::NewEpoch(leading.epoch));
        } else if leading.promised.len() >= quorum {
            leading.epoch = leading.promised.values().max().map_or(1, |last| last + 1);
            (self.promised, self.following) = (leading.epoch, None);
            let mine = (self.current, self.history.clone());
            leading.histories.insert(cx.me(), mine);
            let me = cx.me();
            let others = leading
                .promised
                .keys()
                .copied()
                .filter(|other| *other != me);
            cx.send_all(others, &Message::NewEpoch(leading.epoch));
        }
    }

    /// Discovery: which history is the latest. Then synchronisation begins.
    fn hears_history(
        &mut self,
        from: ProcessId,
        epoch: Epoch,
        told: (Epoch, Vec<Transaction>),
        cx: &mut Cx<'_>,
    ) {
        let quorum = self.quorum();
        let Some(leading) = self.leading.as_mut().filter(|one| one.epoch == epoch) else {
            return;
        };
        leading.followers.insert(from);
        let mut new = BTreeSet::from([from]);
        if !leading.is_discovered {
            leading.histories.insert(from, told);
            if leading.histories.len() < quorum {
                return;
            }
            leading.is_discovered = true;
            new = leading.followers.clone();
            let histories = std::mem::take(&mut leading.histories);
            let last = |history: &[Transaction]| history.last().map(|(zxid, _)| *zxid);
            let latest = histories
                .into_values()
                .max_by_key(|(of, history)| (*of, last(history)));
            if let Some((_, latest)) = latest.filter(|_| !self.broken.is(&LATEST_HISTORY)) {
                self.history = latest;
            }
            self.current = epoch;
            leading.acked.insert(cx.me(), self.history.len());
        }
        if self.broken.is(&SYNCHRONISE) {
            return self.hears_ack(from, epoch, 0, cx);
        }
        let message = Message::NewLeader(epoch, self.history.clone());
        cx.send_all(new, &message);
    }

    /// What a quorum has on disk is delivered; with the first quorum broadcast begins.
    fn hears_ack(&mut self, from: ProcessId, epoch: Epoch, length: usize, cx: &mut Cx<'_>) {
        let quorum = self.quorum() - usize::from(self.broken.is(&MAJORITY));
        let Some(leading) = self.leading.as_mut().filter(|one| one.epoch == epoch) else {
            return;
        };
        let is_new = leading.acked.insert(from, length).is_none();
        if leading.acked.len() <= self.n / 2 {
            return;
        }
        let mut lengths: Vec<usize> = leading.acked.values().copied().collect();
        lengths.sort_by(|one, other| other.cmp(one));
        let length = lengths[quorum - 1];
        let is_more = length > self.delivered.len();
        let told: BTreeSet<ProcessId> = if is_more {
            leading.followers.clone()
        } else {
            is_new.then_some(from).into_iter().collect()
        };
        let begins = !std::mem::replace(&mut leading.is_primary, true);
        self.deliver(length, cx);
        if !self.delivered.is_empty() {
            cx.send_all(told, &Message::Commit(epoch, self.delivered.len()));
        }
        if begins {
            cx.fact(Fact::Begins(epoch, self.delivered.clone()));
            for wish in &self.wishes {
                cx.anytime(Timer::Request(*wish));
            }
        }
    }

    /// Broadcast, of the primary.
    fn broadcast(&mut self, name: char, cx: &mut Cx<'_>) {
        self.wishes.retain(|wish| *wish != name);
        let Some(leading) = &mut self.leading else {
            return;
        };
        let of_mine = self
            .history
            .iter()
            .filter(|(zxid, _)| zxid.0 == leading.epoch);
        let transaction = (Zxid(leading.epoch, of_mine.count() as u8 + 1), name);
        self.history.push(transaction);
        let (me, epoch, length) = (cx.me(), leading.epoch, self.history.len());
        cx.fact(Fact::Broadcast(transaction));
        cx.send_all(
            leading.followers.iter().copied(),
            &Message::Propose(epoch, transaction),
        );
        self.hears_ack(me, epoch, length, cx);
    }

    fn deliver(&mut self, length: usize, cx: &mut Cx<'_>) {
        let from = self.delivered.len();
        for (zxid, name) in self.history.iter().take(length).skip(from) {
            cx.say(format_args!("delivers {name}"));
            self.delivered.push((*zxid, *name));
            let is_mine = |one: &Leading| one.is_primary && one.epoch == zxid.0;
            if self.leading.as_ref().is_some_and(is_mine) {
                cx.fact(Fact::Answered((*zxid, *name)));
            }
        }
    }
}
