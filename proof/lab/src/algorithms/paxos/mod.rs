#![doc = include_str!("story.md")]

mod exhibit;

pub(super) use exhibit::{Cast, laws};

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::collections::{BTreeMap, BTreeSet};

/// Basic Paxos.
pub struct Paxos;

/// Without it a proposer takes its own value always.
pub(super) const ADOPT: Break = Break {
    rule: "adopt",
    law: "agreement",
    says: "a proposer takes its own value, whatever the promises told it",
};
/// Without it a proposer takes any of the values that it was told of.
pub(super) const ADOPT_HIGHEST: Break = Break {
    rule: "adopt-highest",
    law: "agreement",
    says: "of the values that the promises tell of, a proposer takes the one of the lowest ballot",
};
/// Without it an acceptor answers lower ballots too.
pub(super) const KEEP_PROMISE: Break = Break {
    rule: "keep-promise",
    law: "agreement",
    says: "an acceptor accepts in a ballot below the one it has promised",
};
/// Without it two of five, or one of three, are taken for a majority.
const MAJORITY: Break = Break {
    rule: "majority",
    law: "agreement",
    says: "proposers and learners are content with one acceptor less than a majority",
};

/// Without it an acceptor that comes back after a crash is a new one.
const KEEP_ON_DISK: Break = Break {
    rule: "keep-on-disk",
    law: "agreement",
    says: "an acceptor answers before it has written, and a crash makes it forget",
};
/// How many acceptors it takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Quorums {
    /// Promises.
    pub promise: usize,
    /// Acceptances.
    pub accept: usize,
}

/// A round, and who runs it: no two proposers share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ballot(u8, u8);

/// What is to be chosen.
type Value = char;

/// What was accepted last, and when.
type Accepted = Option<(Ballot, Value)>;

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// Phase 1a.
    Prepare(Ballot),
    /// Phase 1b.
    Promise(Ballot, Accepted),
    /// Phase 2a.
    Accept(Ballot, Value),
    /// Phase 2b, to the learner.
    Accepted(Ballot, Value),
}

/// One party.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// It wants a value.
    Proposer(Proposer),
    /// It remembers.
    Acceptor(Acceptor),
    /// It learns.
    Learner(Learner),
}

/// Wants a value.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proposer {
    broken: Broken,
    acceptors: Vec<ProcessId>,
    /// How many promises it needs.
    quorum: usize,
    wish: Value,
    rounds_left: u8,
    ballot: Ballot,
    promises: BTreeMap<ProcessId, Accepted>,
}

/// Remembers. All of it is on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Acceptor {
    broken: Broken,
    learners: Vec<ProcessId>,
    promised: Ballot,
    accepted: Accepted,
}

/// Learns.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Learner {
    /// How many acceptances it needs.
    quorum: usize,
    heard: BTreeMap<(Ballot, Value), BTreeSet<ProcessId>>,
}

impl Quorums {
    /// A majority for both.
    pub fn majority(n: usize, broken: Broken) -> Quorums {
        let size = n / 2 + 1 - usize::from(broken.is(&MAJORITY));
        Quorums {
            promise: size,
            accept: size,
        }
    }
}

impl Process for Party {
    type Message = Message;
    type Timer = &'static str;
    type Fact = Learnt;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if let Party::Proposer(proposer) = self
            && proposer.rounds_left > 0
        {
            cx.anytime("propose");
        }
    }

    fn wake(&mut self, _: &'static str, cx: &mut Context<'_, Self>) {
        if let Party::Proposer(proposer) = self {
            proposer.propose(cx);
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match (self, message) {
            (Party::Acceptor(acceptor), message) => acceptor.receive(from, message, cx),
            (Party::Proposer(proposer), Message::Promise(ballot, accepted)) => {
                proposer.promised(from, ballot, accepted, cx);
            }
            (Party::Learner(learner), Message::Accepted(ballot, value)) => {
                let heard = learner.heard.entry((ballot, value)).or_default();
                if heard.insert(from) && heard.len() == learner.quorum {
                    cx.fact(Learnt(value));
                }
            }
            _ => {}
        }
    }

    fn restart(&mut self, cx: &mut Context<'_, Self>) {
        match self {
            // What it was told is forgotten. It must not count for the same ballot again, with perhaps another
            // value: so the ballot is left, whatever still arrives for it.
            Party::Proposer(proposer) => {
                proposer.ballot.0 += 1;
                proposer.promises.clear();
                self.start(cx);
            }
            Party::Acceptor(acceptor) if acceptor.broken.is(&KEEP_ON_DISK) => {
                acceptor.promised = Ballot::default();
                acceptor.accepted = None;
            }
            Party::Acceptor(_) => {}
            Party::Learner(learner) => learner.heard.clear(),
        }
    }
}

impl Proposer {
    fn propose(&mut self, cx: &mut Context<'_, Party>) {
        self.rounds_left -= 1;
        self.ballot = Ballot(self.ballot.0 + 1, cx.me().0 as u8 + 1);
        self.promises.clear();
        cx.send_all(
            self.acceptors.iter().copied(),
            &Message::Prepare(self.ballot),
        );
        // It may lose patience at any moment.
        if self.rounds_left > 0 {
            cx.anytime("propose");
        }
    }

    fn promised(
        &mut self,
        from: ProcessId,
        ballot: Ballot,
        accepted: Accepted,
        cx: &mut Context<'_, Party>,
    ) {
        let is_new = ballot == self.ballot && self.promises.insert(from, accepted).is_none();
        if !is_new || self.promises.len() != self.quorum {
            return;
        }
        let told = self.promises.values().flatten();
        let adopted = if self.broken.is(&ADOPT_HIGHEST) {
            told.min_by_key(|(ballot, _)| *ballot)
        } else {
            told.max_by_key(|(ballot, _)| *ballot)
        };
        let value = match adopted {
            Some((_, value)) if !self.broken.is(&ADOPT) => *value,
            _ => self.wish,
        };
        cx.say(format_args!("a quorum, so accept {value}"));
        cx.send_all(
            self.acceptors.iter().copied(),
            &Message::Accept(ballot, value),
        );
    }
}

impl Acceptor {
    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Party>) {
        match message {
            Message::Prepare(ballot) if ballot > self.promised => {
                self.promised = ballot;
                cx.say(format_args!("promises"));
                cx.send(from, Message::Promise(ballot, self.accepted));
            }
            Message::Accept(ballot, value)
                if ballot >= self.promised || self.broken.is(&KEEP_PROMISE) =>
            {
                self.promised = ballot;
                self.accepted = Some((ballot, value));
                cx.say(format_args!("accepts"));
                cx.send_all(
                    self.learners.iter().copied(),
                    &Message::Accepted(ballot, value),
                );
            }
            _ => cx.say(format_args!("no: it has promised {}", self.promised)),
        }
    }
}

/// A learner knows what was chosen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Learnt(Value);
