#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::Broken;
use crate::kernel::{Context, Process, ProcessId};
use std::collections::{BTreeMap, BTreeSet};

use exhibit::*;

type Cx<'a> = Context<'a, Replica>;

/// Paxos for a log, under one leader.
pub struct MultiPaxos;

/// A round, and who leads in it: no two replicas share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ballot(u8, u8);

/// A place in the log, from 1.
type Slot = u8;

/// What is to be chosen for a slot; `None` is the no-op.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Command(Option<char>);

/// What was accepted last for each slot, and when.
type Log = BTreeMap<Slot, (Ballot, Command)>;

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// Phase 1a, for all slots from this one.
    Prepare(Ballot, Slot),
    /// Phase 1b, with what was accepted there.
    Promise(Ballot, Log),
    /// Phase 2a.
    Accept(Ballot, Slot, Command),
    /// Phase 2b.
    Accepted(Ballot, Slot),
    /// What a majority has accepted.
    Chosen(Slot, Command),
}

/// What a replica does by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// It hears nothing of a leader, and wants to lead.
    Campaign,
    /// Its client asks for this.
    Request(char),
}

/// A replica: remembers, learns, applies, and may lead.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    broken: Broken,
    n: usize,
    campaigns_left: u8,
    /// What its client wants and has no answer to.
    wishes: Vec<char>,
    // On its disk.
    promised: Ballot,
    accepted: Log,
    chosen: BTreeMap<Slot, Command>,
    applied_to: Slot,
    applied: Vec<char>,
    // In its memory.
    leading: Option<Leading>,
}

/// What a replica knows that leads, or wants to.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
struct Leading {
    ballot: Ballot,
    promises: BTreeMap<ProcessId, Log>,
    /// It has the promises of a majority.
    is_leader: bool,
    /// Who has accepted what it proposed, of what is not chosen yet.
    votes: BTreeMap<Slot, BTreeSet<ProcessId>>,
}

impl Process for Replica {
    type Message = Message;
    type Timer = Timer;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Cx<'_>) {
        if self.campaigns_left > 0 {
            cx.anytime(Timer::Campaign);
        }
    }

    fn restart(&mut self, cx: &mut Cx<'_>) {
        self.leading = None;
        self.start(cx);
    }

    fn wake(&mut self, timer: Timer, cx: &mut Cx<'_>) {
        match timer {
            Timer::Campaign => self.campaign(cx),
            Timer::Request(command) => {
                let last = self.accepted.keys().chain(self.chosen.keys()).max();
                let next = last.copied().unwrap_or_default() + 1;
                if self.broken.is(&ANSWER_WHEN_CHOSEN) {
                    self.answer(next, command, cx);
                }
                self.propose(next, Command(Some(command)), cx);
            }
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Cx<'_>) {
        match message {
            Message::Prepare(ballot, first) if ballot > self.promised => {
                self.follow(ballot, cx);
                cx.say(format_args!("promises"));
                let told = self.accepted.range(first..);
                let told = told.map(|(slot, accepted)| (*slot, *accepted));
                cx.send(from, Message::Promise(ballot, told.collect()));
            }
            Message::Promise(ballot, log) => self.promised_by(from, ballot, log, cx),
            Message::Accept(ballot, slot, command)
                if ballot >= self.promised || self.broken.is(&KEEP_PROMISE) =>
            {
                self.follow(ballot, cx);
                cx.say(format_args!("accepts"));
                self.accepted.insert(slot, (ballot, command));
                cx.send(from, Message::Accepted(ballot, slot));
            }
            Message::Accepted(ballot, slot) => self.accepted_by(from, ballot, slot, cx),
            Message::Chosen(slot, command) => self.learn(slot, command, cx),
            Message::Prepare(..) | Message::Accept(..) => {
                cx.say(format_args!("no: it has promised {}", self.promised));
            }
        }
    }
}

impl Replica {
    fn others(&self, cx: &Cx<'_>) -> impl Iterator<Item = ProcessId> + use<> {
        let me = cx.me();
        (0..self.n).map(ProcessId).filter(move |other| *other != me)
    }

    fn quorum(&self) -> usize {
        self.n / 2 + 1 - usize::from(self.broken.is(&MAJORITY))
    }

    /// The first slot of which it does not know what was chosen.
    fn first_unchosen(&self) -> Slot {
        let is_open = |slot: &Slot| !self.chosen.contains_key(slot);
        (1..=Slot::MAX).find(is_open).unwrap_or(Slot::MAX)
    }

    /// Whoever has promised a ballot leads in no other.
    fn follow(&mut self, ballot: Ballot, cx: &mut Cx<'_>) {
        self.promised = ballot;
        if self.leading.take().is_some_and(|leading| leading.is_leader) {
            cx.say(format_args!("leads no more"));
        }
        self.wishes
            .iter()
            .for_each(|wish| cx.cancel(&Timer::Request(*wish)));
    }

    /// Phase 1, for all slots that are open.
    fn campaign(&mut self, cx: &mut Cx<'_>) {
        self.campaigns_left -= 1;
        let ballot = Ballot(self.promised.0 + 1, cx.me().0 as u8 + 1);
        self.follow(ballot, cx);
        self.leading = Some(Leading {
            ballot,
            promises: BTreeMap::from([(cx.me(), self.accepted.clone())]),
            ..Leading::default()
        });
        let prepare = Message::Prepare(ballot, self.first_unchosen());
        cx.send_all(self.others(cx), &prepare);
        self.start(cx);
    }

    fn promised_by(&mut self, from: ProcessId, ballot: Ballot, log: Log, cx: &mut Cx<'_>) {
        let quorum = self.n / 2 + 1;
        let leading = self.leading.as_mut();
        let is_mine = |one: &&mut Leading| one.ballot == ballot && !one.is_leader;
        let Some(leading) = leading.filter(is_mine) else {
            return;
        };
        leading.promises.insert(from, log);
        if leading.promises.len() < quorum {
            return;
        }
        leading.is_leader = true;
        cx.say(format_args!("leads"));
        let promises = std::mem::take(&mut leading.promises);
        let mut told = self.accepted.clone();
        for (slot, accepted) in promises.into_values().flatten() {
            if self.broken.is(&ADOPT) {
                continue;
            }
            let adopted = told.entry(slot).or_insert(accepted);
            *adopted = if self.broken.is(&ADOPT_HIGHEST) {
                accepted.min(*adopted)
            } else {
                accepted.max(*adopted)
            };
        }
        let last = told.keys().max().copied().unwrap_or_default();
        for slot in self.first_unchosen()..=last {
            match told.get(&slot) {
                _ if self.chosen.contains_key(&slot) => {}
                Some((_, command)) => self.propose(slot, *command, cx),
                None if self.broken.is(&FILL_HOLES) => {}
                None => self.propose(slot, Command(None), cx),
            }
        }
        // Who was away when something was chosen hears of it now.
        for (slot, command) in &self.chosen {
            cx.send_all(self.others(cx), &Message::Chosen(*slot, *command));
        }
        // Its client asks for everything again that it has had no answer to.
        for wish in &self.wishes {
            cx.anytime(Timer::Request(*wish));
        }
    }

    /// Phase 2, of one slot.
    fn propose(&mut self, slot: Slot, command: Command, cx: &mut Cx<'_>) {
        let (me, ballot) = (cx.me(), self.promised);
        self.accepted.insert(slot, (ballot, command));
        if let Some(leading) = &mut self.leading {
            leading.votes.insert(slot, BTreeSet::new());
        }
        cx.send_all(self.others(cx), &Message::Accept(ballot, slot, command));
        self.accepted_by(me, ballot, slot, cx);
    }

    fn accepted_by(&mut self, from: ProcessId, ballot: Ballot, slot: Slot, cx: &mut Cx<'_>) {
        let quorum = self.quorum();
        let leading = self.leading.as_mut().filter(|one| one.ballot == ballot);
        let Some(leading) = leading else { return };
        let Some(votes) = leading.votes.get_mut(&slot) else {
            return;
        };
        votes.insert(from);
        if votes.len() < quorum {
            return;
        }
        leading.votes.remove(&slot);
        let Some((_, command)) = self.accepted.get(&slot).copied() else {
            return;
        };
        cx.fact(Fact::Chosen(slot, command));
        cx.send_all(self.others(cx), &Message::Chosen(slot, command));
        self.learn(slot, command, cx);
    }

    /// It knows what was chosen for a slot, and applies what it can.
    fn learn(&mut self, slot: Slot, command: Command, cx: &mut Cx<'_>) {
        let is_new = self.chosen.insert(slot, command).is_none();
        if is_new && self.broken.is(&APPLY_IN_ORDER) {
            self.apply(slot, command, cx);
            return;
        }
        while let Some(command) = self.chosen.get(&(self.applied_to + 1)).copied() {
            self.applied_to += 1;
            self.apply(self.applied_to, command, cx);
        }
    }

    fn apply(&mut self, slot: Slot, command: Command, cx: &mut Cx<'_>) {
        let Command(Some(name)) = command else { return };
        if !self.applied.contains(&name) || self.broken.is(&APPLY_ONCE) {
            self.applied.push(name);
            cx.say(format_args!("applies {name}"));
        }
        self.answer(slot, name, cx);
    }

    fn answer(&mut self, slot: Slot, name: char, cx: &mut Cx<'_>) {
        if self.wishes.contains(&name) {
            self.wishes.retain(|wish| *wish != name);
            cx.cancel(&Timer::Request(name));
            cx.fact(Fact::Answered(slot, name));
        }
    }
}
