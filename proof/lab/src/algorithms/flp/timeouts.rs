//! The same game with time: candidates with election timeouts, as Raft has them, against a scheduler that holds back
//! every message for as long as it may.
//!
//! It sees whose timer has run out, and not which timeout will be drawn next. A message that can do no harm any more, since
//! its receiver has voted, it delivers at once; every other it holds back until the network's bound forces it, or until the
//! receiver has voted for itself.

use crate::kernel::{Choice, Context, Process, ProcessId, Setup, Time, World};
use base::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

/// How many candidates there are.
const N: usize = 3;

/// Within so many ticks a message arrives, where there is such a bound.
pub const DELAY_MAX: u32 = 5;

/// The shortest timeout and the longest, in ticks.
pub const TIMEOUTS: (u32, u32) = (10, 20);

/// How a candidate finds its timeout of each term.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Draw {
    /// It is the same for all, always; who begins a tick later wakes a tick later.
    Same,
    /// It is drawn anew for each term, by each for itself.
    Anew,
}

/// What they say. Each names its term.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// Vote for me.
    Ask(u16),
    /// My vote.
    Vote(u16),
}

/// Its patience is at an end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timeout;

/// A majority has voted for it in this term.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Leads(pub ProcessId, pub u16);

/// Waits for a leader, and stands for election when none is heard of.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// How long it waits in each term. Nobody looks ahead.
    timeouts: Rc<[u32]>,
    term: u16,
    has_voted: bool,
    votes: BTreeSet<ProcessId>,
}

impl Candidate {
    fn wait(&self, cx: &mut Context<'_, Self>) {
        if let Some(ticks) = self.timeouts.get(usize::from(self.term)) {
            cx.after(*ticks, Timeout);
        }
    }
}

impl Process for Candidate {
    type Message = Message;
    type Timer = Timeout;
    type Fact = Leads;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        self.wait(cx);
    }

    fn wake(&mut self, _: Timeout, cx: &mut Context<'_, Self>) {
        self.term += 1;
        self.has_voted = true;
        self.votes = BTreeSet::from([cx.me()]);
        cx.say(format_args!("votes for itself in term {}", self.term));
        let me = cx.me();
        let others = (0..N).map(ProcessId).filter(|other| *other != me);
        cx.send_all(others, &Message::Ask(self.term));
        self.wait(cx);
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match message {
            Message::Ask(term) => {
                if term > self.term {
                    (self.term, self.has_voted) = (term, false);
                    self.votes.clear();
                }
                if term < self.term || self.has_voted {
                    return cx.say(format_args!("no: it has voted"));
                }
                self.has_voted = true;
                cx.send(from, Message::Vote(term));
                cx.cancel(&Timeout);
                self.wait(cx);
            }
            Message::Vote(term) if term == self.term && !self.votes.is_empty() => {
                self.votes.insert(from);
                if self.votes.len() == N / 2 + 1 {
                    cx.cancel(&Timeout);
                    cx.fact(Leads(cx.me(), term));
                }
            }
            Message::Vote(_) => cx.say(format_args!("too late")),
        }
    }
}

/// Candidates for so many ticks, in a network with a bound or without.
pub fn election(draw: Draw, delay_max: Option<u32>, ticks: u32, rng: &mut Rng) -> Setup<Candidate> {
    let (least, most) = TIMEOUTS;
    let candidates = (0..N as u32).map(|at| {
        // More than can be used up.
        let timeouts = (0..=ticks / least).map(|term| match draw {
            // They begin a tick apart, so that p1 is always the first: without delays it would lead.
            Draw::Same if term == 0 => least + at,
            Draw::Same => least,
            Draw::Anew => least + rng.below(u64::from(most - least) + 1) as u32,
        });
        let candidate = Candidate {
            timeouts: timeouts.collect(),
            term: 0,
            has_voted: false,
            votes: BTreeSet::new(),
        };
        (format!("p{}", at + 1), candidate)
    });
    Setup {
        time: Time::Ticks {
            horizon: ticks,
            delay_max,
        },
        ..Setup::new(candidates.collect::<Vec<_>>())
    }
}

/// What the scheduler lets happen next; nothing when time is over.
pub fn next(world: &World<Candidate>) -> Option<Choice<Candidate>> {
    let rank = |choice: &Choice<Candidate>| match choice {
        Choice::Wake(..) => 0,
        Choice::Deliver(_, to, message) if is_harmless(world.process(*to), message) => 1,
        Choice::Tick => 2,
        _ => 3,
    };
    // Of equals the oldest: choices come in the order in which messages were sent.
    let next = world.choices().into_iter().min_by_key(rank)?;
    let is_late =
        matches!(world.setup().time, Time::Ticks { horizon, .. } if world.now() >= horizon);
    (rank(&next) < 3 || !is_late).then_some(next)
}

fn is_harmless(to: &Candidate, message: &Message) -> bool {
    match message {
        Message::Ask(term) => *term < to.term || *term == to.term && to.has_voted,
        Message::Vote(term) => *term < to.term,
    }
}

/// What a play came to.
pub struct Held {
    /// The first term that somebody led in.
    pub led: Option<u16>,
    /// The last term that somebody stood in.
    pub n_terms: u16,
    /// The longest that a message was under way, in ticks.
    pub late: u32,
    /// Messages that arrived, and those under way at the end.
    pub arrived: (u64, usize),
    /// Two who led in one term.
    pub rivals: Option<(Leads, Leads)>,
}

/// The scheduler plays until time is over, whoever leads by then: that there is one leader at most in a term must hold always.
pub fn hold(setup: &Rc<Setup<Candidate>>) -> Held {
    let mut world = World::new(setup);
    let (mut sent, mut late, mut n_arrived) = (BTreeMap::new(), 0, 0);
    while let Some(choice) = next(&world) {
        if let Choice::Deliver(from, to, message) = &choice {
            let since: Option<u32> = sent.remove(&(*from, *to, *message));
            late = late.max(since.map_or(0, |since| world.now() - since));
            n_arrived += 1;
        }
        world.apply(&choice);
        for (from, to, message) in world.in_flight() {
            sent.entry((from, to, *message)).or_insert(world.now());
        }
    }
    let facts = world.facts();
    let rivals = facts.iter().enumerate().find_map(|(at, one)| {
        let other = facts[..at].iter().find(|other| other.1 == one.1);
        other.map(|other| (*other, *one))
    });
    Held {
        led: facts.iter().map(|Leads(_, term)| *term).min(),
        n_terms: world.processes().map(|one| one.term).max().unwrap_or(0),
        late,
        arrived: (n_arrived, world.in_flight().count()),
        rivals,
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Ask(term) => write!(f, "vote for me in term {term}"),
            Message::Vote(term) => write!(f, "my vote in term {term}"),
        }
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timeout")
    }
}

impl fmt::Display for Leads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leads term {}", self.1)
    }
}
