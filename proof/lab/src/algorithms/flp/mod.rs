#![doc = include_str!("story.md")]

mod exhibit;
mod plays;
mod scheduler;
pub mod timeouts;

pub use exhibit::{Flp, board, deterministic};
pub use plays::{PLAYS, Played, STEPS, against};
pub use scheduler::{Scheduler, Valency};

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::collections::BTreeMap;

/// Ben-Or's protocol, the one that the scheduler plays against.
pub struct BenOr;

/// Without it the protocol is deterministic.
const FLIP_COINS: Break = Break {
    rule: "flip-coins",
    law: "termination",
    says: "who has nothing to go by takes 1 in odd rounds and 0 in even ones, instead of flipping a coin",
};
/// Without it a decision is taken that nobody else need hear of.
const DECIDE_ON_F_PLUS_1: Break = Break {
    rule: "decide-on-f-plus-1",
    law: "agreement",
    says: "one proposal is enough for a decision, where f + 1 are needed",
};

/// What is decided.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bit {
    /// 0.
    Zero,
    /// 1.
    One,
}

/// What they say. Each names its round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// First half of a round: what the sender has.
    Report(u16, Bit),
    /// Second half: what a majority has reported to the sender, if it heard the same from a majority.
    Propose(u16, Option<Bit>),
}

/// Where in a round a process is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Half {
    /// Waits for reports.
    First,
    /// Waits for proposals.
    Second,
    /// The coin is in the air.
    Coin,
    /// It takes part no more.
    Out,
}

/// One of the processes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Voter {
    broken: Broken,
    /// How many there are, and how many of them may crash: fewer than half.
    n: usize,
    f: usize,
    /// It takes no part in later rounds: what is explored whole must end.
    rounds_max: u16,
    wish: Bit,
    value: Bit,
    round: u16,
    half: Half,
    /// What it has heard of this half and later ones.
    heard: BTreeMap<(u16, Half, ProcessId), Option<Bit>>,
    /// In which round it decided.
    decided: Option<u16>,
}

impl Process for Voter {
    type Message = Message;
    type Timer = Bit;
    type Fact = Decided;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        self.begin(cx);
        self.go_on(cx);
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        let (round, half, word) = match message {
            Message::Report(round, bit) => (round, Half::First, Some(bit)),
            Message::Propose(round, bit) => (round, Half::Second, bit),
        };
        if (round, half) < (self.round, self.half) {
            cx.say(format_args!("too late"));
            return;
        }
        self.heard.insert((round, half, from), word);
        self.go_on(cx);
    }

    /// The coin has fallen.
    fn wake(&mut self, side: Bit, cx: &mut Context<'_, Self>) {
        cx.cancel(&side.other());
        self.value = side;
        self.next_round(cx);
        self.go_on(cx);
    }

    /// Crashed processes of this model stay away: a memory that is gone must not vote twice.
    fn restart(&mut self, _: &mut Context<'_, Self>) {
        self.half = Half::Out;
    }
}

impl Voter {
    /// Reports what it has.
    fn begin(&mut self, cx: &mut Context<'_, Self>) {
        self.half = Half::First;
        self.tell(Message::Report(self.round, self.value), cx);
        self.heard
            .insert((self.round, Half::First, cx.me()), Some(self.value));
    }

    /// Goes on for as long as it has heard enough: of n processes f may be dead, so it waits for n - f and for no
    /// more, itself among them.
    fn go_on(&mut self, cx: &mut Context<'_, Self>) {
        while matches!(self.half, Half::First | Half::Second) {
            let here = (self.round, self.half);
            let words = self.heard.iter();
            let words: Vec<Option<Bit>> = words
                .filter(|((round, half, _), _)| (*round, *half) == here)
                .map(|(_, word)| *word)
                .collect();
            if words.len() < self.n - self.f {
                return;
            }
            self.heard
                .retain(|(round, half, _), _| (*round, *half) > here);
            let count = |bit| words.iter().filter(|word| **word == Some(bit)).count();
            let most = [Bit::Zero, Bit::One]
                .into_iter()
                .max_by_key(|bit| count(*bit))
                .map(|bit| (bit, count(bit)));
            match self.half {
                Half::First => {
                    let proposal = most.filter(|(_, n)| 2 * n > self.n).map(|(bit, _)| bit);
                    self.half = Half::Second;
                    self.tell(Message::Propose(self.round, proposal), cx);
                    self.heard
                        .insert((self.round, Half::Second, cx.me()), proposal);
                }
                _ => self.conclude(most, cx),
            }
        }
    }

    /// The end of a round. All proposals of a round are for the same bit: two majorities share a process.
    fn conclude(&mut self, most: Option<(Bit, usize)>, cx: &mut Context<'_, Self>) {
        let enough = match self.broken.is(&DECIDE_ON_F_PLUS_1) {
            true => 1,
            false => self.f + 1,
        };
        match most.filter(|(_, n)| *n > 0) {
            Some((bit, n)) => {
                self.value = bit;
                if n >= enough && self.decided.is_none() {
                    self.decided = Some(self.round);
                    cx.fact(Decided(cx.me(), bit));
                }
            }
            None if self.broken.is(&FLIP_COINS) => {
                self.value = match self.round % 2 {
                    1 => Bit::One,
                    _ => Bit::Zero,
                };
                cx.say(format_args!("nothing to go by, takes {}", self.value));
            }
            None => {
                cx.say(format_args!("nothing to go by, flips a coin"));
                self.half = Half::Coin;
                cx.anytime(Bit::Zero);
                cx.anytime(Bit::One);
                return;
            }
        }
        self.next_round(cx);
    }

    /// Who has decided helps the others through one more round: they need no third.
    fn next_round(&mut self, cx: &mut Context<'_, Self>) {
        let last = self.decided.map_or(self.rounds_max, |round| round + 1);
        if self.round >= last.min(self.rounds_max) {
            self.half = Half::Out;
            self.heard.clear();
            return;
        }
        self.round += 1;
        self.begin(cx);
    }

    fn tell(&self, message: Message, cx: &mut Context<'_, Self>) {
        let me = cx.me();
        let others = (0..self.n).map(ProcessId).filter(|other| *other != me);
        cx.send_all(others, &message);
    }
}

impl Bit {
    /// The other one.
    pub fn other(self) -> Bit {
        match self {
            Bit::Zero => Bit::One,
            Bit::One => Bit::Zero,
        }
    }
}

/// A process has decided.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Decided(pub ProcessId, pub Bit);
