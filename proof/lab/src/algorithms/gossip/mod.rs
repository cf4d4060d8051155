#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::fmt;

/// An epidemic of news.
pub struct Gossip;

/// Without it a rumour misses some for ever.
const ANTI_ENTROPY: Break = Break {
    rule: "anti-entropy",
    law: "everybody-knows",
    says: "nobody asks for news: rumours are all there is",
};
/// Without it old news drives out new.
const KEEP_NEWEST: Break = Break {
    rule: "keep-newest",
    law: "never-back",
    says: "what was told last is believed, whatever its number is",
};
/// Without it some peers are never asked.
const IN_TURN: Break = Break {
    rule: "in-turn",
    law: "everybody-knows",
    says: "everybody asks always the same one for news, and not one after the other",
};

/// News, by its number.
pub type News = u8;

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// A rumour.
    Tell(News),
    /// To who told it: whether it was known.
    Heard(News, bool),
    /// Have you anything newer?
    Pull(News),
    /// Yes.
    Newer(News),
}

/// What they do by themselves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// Something changes.
    Change,
    /// To whom a rumour is told is nobody's plan: the scheduler decides.
    Tell(ProcessId),
    /// Whoever was told last should have answered.
    Unanswered,
    /// Anti-entropy.
    Pull,
}

/// Somebody believes this news now.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Believes(ProcessId, News);

/// One of many.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Node {
    broken: Broken,
    others: Vec<ProcessId>,
    /// How often something changes here: at its origin only.
    changes: u8,
    /// After so many "I knew" it falls silent.
    doubts_max: u8,
    /// So many ticks after a rumour its answer should be there.
    patience: u32,
    news: News,
    /// How often it was told "I knew" since it is hot.
    doubts: Option<u8>,
    next: usize,
}

impl Process for Node {
    type Message = Message;
    type Timer = Timer;
    type Fact = Believes;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if self.changes > 0 {
            cx.after(0, Timer::Change);
        }
        if !self.broken.is(&ANTI_ENTROPY) {
            cx.after(1, Timer::Pull);
        }
    }

    fn wake(&mut self, timer: Timer, cx: &mut Context<'_, Self>) {
        match timer {
            Timer::Change => {
                self.changes -= 1;
                self.believe(self.news + 1, cx);
                if self.changes > 0 {
                    cx.after(0, Timer::Change);
                }
            }
            Timer::Tell(whom) => {
                self.wait(cx);
                cx.send(whom, Message::Tell(self.news));
                cx.after(self.patience, Timer::Unanswered);
            }
            // Lost, or nobody there. It says nothing about who knows: that is no doubt.
            Timer::Unanswered => self.spread(cx),
            Timer::Pull => {
                cx.send(self.others[self.next], Message::Pull(self.news));
                if !self.broken.is(&IN_TURN) {
                    self.next = (self.next + 1) % self.others.len();
                }
                cx.after(1, Timer::Pull);
            }
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match message {
            Message::Tell(news) => {
                let is_new = self.is_new(news);
                cx.send(from, Message::Heard(news, !is_new));
                if is_new {
                    self.believe(news, cx);
                }
            }
            Message::Heard(news, was_known) if news == self.news => {
                let Some(doubts) = &mut self.doubts else {
                    return;
                };
                *doubts += u8::from(was_known);
                if *doubts < self.doubts_max {
                    self.spread(cx);
                } else {
                    cx.say(format_args!("falls silent"));
                    self.doubts = None;
                    self.wait(cx);
                }
            }
            Message::Pull(news) if news < self.news => cx.send(from, Message::Newer(self.news)),
            Message::Newer(news) if self.is_new(news) => self.believe(news, cx),
            _ => {}
        }
    }
}

impl Node {
    fn is_new(&self, news: News) -> bool {
        news > self.news || (self.broken.is(&KEEP_NEWEST) && news != self.news)
    }

    /// It knows, and is hot.
    fn believe(&mut self, news: News, cx: &mut Context<'_, Self>) {
        self.news = news;
        self.doubts = Some(0);
        cx.fact(Believes(cx.me(), news));
        self.spread(cx);
    }

    /// It will tell somebody.
    fn spread(&self, cx: &mut Context<'_, Self>) {
        self.wait(cx);
        for whom in &self.others {
            cx.anytime(Timer::Tell(*whom));
        }
    }

    /// It tells nobody for now.
    fn wait(&self, cx: &mut Context<'_, Self>) {
        cx.cancel(&Timer::Unanswered);
        for whom in &self.others {
            cx.cancel(&Timer::Tell(*whom));
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Timer::Change => write!(f, "change"),
            Timer::Tell(whom) => write!(f, "tell n{}", whom.0 + 1),
            Timer::Unanswered => write!(f, "no answer"),
            Timer::Pull => write!(f, "pull"),
        }
    }
}
