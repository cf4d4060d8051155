#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::collections::BTreeMap;
use std::fmt;

/// Two-phase commit.
pub struct TwoPhaseCommit;

/// Without it a promise does not survive a crash.
const LOG_BEFORE_VOTE: Break = Break {
    rule: "log-before-vote",
    law: "atomicity",
    says: "a participant votes yes without having written it down",
};
/// Without it a decision does not survive a crash.
const LOG_BEFORE_TELLING: Break = Break {
    rule: "log-before-telling",
    law: "atomicity",
    says: "the coordinator tells its decision without having written it down",
};
/// Without it some are not asked.
const WAIT_FOR_ALL: Break = Break {
    rule: "wait-for-all",
    law: "validity",
    says: "the coordinator commits when one participant less than all has voted yes",
};
/// Without it a promise is none.
const WAIT_WHEN_PREPARED: Break = Break {
    rule: "wait-when-prepared",
    law: "atomicity",
    says: "a prepared participant that hears nothing aborts",
};
/// Without it a prepared participant waits for what was sent while it was down.
const ASK_ON_RETURN: Break = Break {
    rule: "ask-on-return",
    law: "all-decided",
    says: "a participant that is back does not ask what was decided",
};

const COORDINATOR: ProcessId = ProcessId(0);

/// What becomes of the transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// All of it takes effect.
    Commit,
    /// None of it.
    Abort,
}

/// What they say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// Can you? From the coordinator.
    Prepare,
    /// I can, and will if told so.
    Yes,
    /// I cannot, and have aborted.
    No,
    /// It is decided.
    Decided(Outcome),
    /// What was decided? From one that is prepared, or was away.
    Ask,
    /// I do not know either.
    Unknown,
}

/// What a process does by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// The coordinator begins.
    Begin,
    /// It waits no longer for votes.
    GiveUp,
    /// A participant finds that it can, when it is asked.
    Can,
    /// Or that it cannot.
    Cannot,
    /// A prepared one has heard nothing for long.
    Wonder,
}

/// One party.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// It decides.
    Coordinator(Coordinator),
    /// It votes.
    Participant(Participant),
}

/// Decides. Its decision is on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Coordinator {
    broken: Broken,
    participants: Vec<ProcessId>,
    votes: BTreeMap<ProcessId, bool>,
    decided: Option<Outcome>,
}

/// Votes. Its vote and what it knows of the decision are on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Participant {
    broken: Broken,
    all: Vec<ProcessId>,
    is_prepared: bool,
    decided: Option<Outcome>,
    /// How often it will still ask by itself: in truth for ever.
    wonders_left: u8,
}

impl Process for Party {
    type Message = Message;
    type Timer = Timer;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if let Party::Coordinator(_) = self {
            cx.anytime(Timer::Begin);
        }
    }

    fn wake(&mut self, timer: Timer, cx: &mut Context<'_, Self>) {
        match (self, timer) {
            (Party::Coordinator(coordinator), Timer::Begin) => coordinator.begin(cx),
            (Party::Coordinator(coordinator), Timer::GiveUp) => {
                coordinator.decide(Outcome::Abort, cx);
            }
            (Party::Participant(participant), timer) => participant.wake(timer, cx),
            _ => {}
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match self {
            Party::Coordinator(coordinator) => coordinator.receive(from, message, cx),
            Party::Participant(participant) => participant.receive(from, message, cx),
        }
    }

    fn restart(&mut self, cx: &mut Context<'_, Self>) {
        match self {
            Party::Coordinator(coordinator) => coordinator.restart(cx),
            Party::Participant(participant) => participant.restart(cx),
        }
    }
}

impl Coordinator {
    fn begin(&mut self, cx: &mut Context<'_, Party>) {
        cx.send_all(self.participants.iter().copied(), &Message::Prepare);
        cx.anytime(Timer::GiveUp);
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Party>) {
        match (message, self.decided) {
            (Message::Yes, None) => {
                self.votes.insert(from, true);
                let needed = self.participants.len() - usize::from(self.broken.is(&WAIT_FOR_ALL));
                if self.votes.values().filter(|yes| **yes).count() >= needed {
                    self.decide(Outcome::Commit, cx);
                }
            }
            (Message::No, None) => {
                self.votes.insert(from, false);
                self.decide(Outcome::Abort, cx);
            }
            (Message::Ask, Some(outcome)) => cx.send(from, Message::Decided(outcome)),
            // It will be told with all the others.
            _ => {}
        }
    }

    fn decide(&mut self, outcome: Outcome, cx: &mut Context<'_, Party>) {
        cx.cancel(&Timer::GiveUp);
        self.decided = Some(outcome);
        cx.fact(Fact(cx.me(), outcome));
        self.tell(outcome, cx);
    }

    fn tell(&self, outcome: Outcome, cx: &mut Context<'_, Party>) {
        cx.send_all(self.participants.clone(), &Message::Decided(outcome));
    }

    fn restart(&mut self, cx: &mut Context<'_, Party>) {
        self.votes.clear();
        if self.broken.is(&LOG_BEFORE_TELLING) {
            self.decided = None;
        }
        match self.decided {
            Some(outcome) => self.tell(outcome, cx),
            // Nobody can have been told anything else.
            None => self.decide(Outcome::Abort, cx),
        }
    }
}

impl Participant {
    fn wake(&mut self, timer: Timer, cx: &mut Context<'_, Party>) {
        match timer {
            Timer::Can => {
                // It may have been asked twice.
                cx.cancel(&Timer::Can);
                cx.cancel(&Timer::Cannot);
                self.is_prepared = true;
                cx.send(COORDINATOR, Message::Yes);
                self.wonder(cx);
            }
            Timer::Cannot => {
                cx.cancel(&Timer::Can);
                cx.send(COORDINATOR, Message::No);
                self.decide(Outcome::Abort, cx);
            }
            Timer::Wonder if self.broken.is(&WAIT_WHEN_PREPARED) => {
                self.decide(Outcome::Abort, cx);
            }
            Timer::Wonder => {
                self.ask(cx);
                self.wonders_left -= 1;
                self.wonder(cx);
            }
            _ => {}
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Party>) {
        match message {
            Message::Prepare if !self.is_prepared && self.decided.is_none() => {
                cx.anytime(Timer::Can);
                cx.anytime(Timer::Cannot);
            }
            Message::Decided(outcome) if self.decided.is_none() => self.decide(outcome, cx),
            Message::Ask => match self.decided {
                Some(outcome) => cx.send(from, Message::Decided(outcome)),
                None if self.is_prepared => cx.send(from, Message::Unknown),
                // It has promised nothing yet, and from here on it never will.
                None => {
                    self.decide(Outcome::Abort, cx);
                    cx.send(from, Message::Decided(Outcome::Abort));
                }
            },
            _ => {}
        }
    }

    /// It goes on asking until it knows.
    fn wonder(&self, cx: &mut Context<'_, Party>) {
        if self.wonders_left > 0 {
            cx.anytime(Timer::Wonder);
        }
    }

    fn ask(&self, cx: &mut Context<'_, Party>) {
        let mut others = self.all.clone();
        others.retain(|other| *other != cx.me());
        cx.send_all(others, &Message::Ask);
    }

    fn decide(&mut self, outcome: Outcome, cx: &mut Context<'_, Party>) {
        for timer in [Timer::Can, Timer::Cannot, Timer::Wonder] {
            cx.cancel(&timer);
        }
        self.decided = Some(outcome);
        cx.fact(Fact(cx.me(), outcome));
    }

    fn restart(&mut self, cx: &mut Context<'_, Party>) {
        if self.broken.is(&LOG_BEFORE_VOTE) {
            self.is_prepared = false;
        }
        match self.decided {
            Some(_) => {}
            None if self.is_prepared && self.broken.is(&ASK_ON_RETURN) => {}
            None if self.is_prepared => {
                self.ask(cx);
                self.wonder(cx);
            }
            // Whatever was asked of it is forgotten, and it has promised nothing.
            None => self.decide(Outcome::Abort, cx),
        }
    }
}

/// This one has decided so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Fact(ProcessId, Outcome);

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Commit => "commit",
            Outcome::Abort => "abort",
        })
    }
}
