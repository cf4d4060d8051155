#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::Broken;
use crate::kernel::{Context, Process, ProcessId};
use exhibit::{FROM_ASKING, GUARD_BAND, WAIT_OUT};
use std::collections::{BTreeMap, BTreeSet};

/// Authority that lapses by itself.
pub struct LeaderLease;

/// A leader's time in office.
type Term = u8;
/// What the register holds: a number, written anew by each leader in its term.
type Held = (Term, u8);

/// What they say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// From the leader: hold this, and promise. With what its clock showed.
    Append(Term, Held, i64),
    /// Held and promised: what, and which asking it answers.
    Appended(Term, Held, i64),
    /// From a candidate.
    Ask(Term),
    /// To a candidate, with what the voter holds.
    Vote(Term, Held),
}

/// What laws are about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// A majority holds it: whoever wrote it was told so.
    Wrote(u8),
    /// A leader begins to answer a read: it has looked at its clock, and the lease was running.
    Looked(ProcessId),
    /// The read was answered, from memory, without asking anybody.
    Read(ProcessId, u8),
}

/// One of the replicas of a register. Its term and what it holds are on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    broken: Broken,
    others: Vec<ProcessId>,
    lease: u32,
    term: Term,
    held: Held,
    promised_until: i64,
    role: Role,
    plan: Plan,
}

/// What it may still do by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Plan {
    stands: u8,
    writes: u8,
    reads: u8,
    renews: u8,
}

/// What it takes itself for.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Role {
    Follower,
    Candidate {
        votes: BTreeSet<ProcessId>,
    },
    Leader {
        /// What each of the others has told: what it holds, and the asking that it has answered.
        told: BTreeMap<ProcessId, (Held, i64)>,
        /// What a majority holds, in this term.
        committed: Option<u8>,
        until: i64,
    },
}

impl Process for Replica {
    type Message = Message;
    type Timer = &'static str;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        again(self.plan.stands, "stand", cx);
        if matches!(self.role, Role::Leader { .. }) {
            self.in_office(cx);
        }
    }

    fn wake(&mut self, timer: &'static str, cx: &mut Context<'_, Self>) {
        let is_leader = matches!(self.role, Role::Leader { .. });
        match timer {
            "stand" if !is_leader => self.stand(cx),
            "write" if is_leader => self.write(cx),
            "read" if is_leader => self.look(cx),
            "answer" => self.answer(cx),
            "renew" if is_leader => {
                self.append(cx);
                self.plan.renews -= 1;
                later(self.plan.renews, timer, cx);
            }
            _ => {}
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        match message {
            Message::Append(term, held, asked) if term >= self.term => {
                self.term = term;
                self.role = Role::Follower;
                self.held = self.held.max(held);
                self.promised_until = cx.now() + i64::from(self.lease);
                cx.send(from, Message::Appended(term, held, asked));
            }
            Message::Appended(term, held, asked) if term == self.term => {
                self.told(from, held, asked, cx)
            }
            Message::Ask(term) if term > self.term => {
                if cx.now() < self.promised_until && !self.broken.is(&WAIT_OUT) {
                    return cx.say(format_args!("no: its promise still runs"));
                }
                // Who votes for another leads no more.
                self.term = term;
                self.role = Role::Follower;
                cx.send(from, Message::Vote(term, self.held));
            }
            Message::Vote(term, held) if term == self.term => {
                let majority = self.majority();
                if let Role::Candidate { votes } = &mut self.role {
                    votes.insert(from);
                    self.held = self.held.max(held);
                    if votes.len() >= majority {
                        cx.say(format_args!("leads"));
                        self.lead(cx);
                    }
                }
            }
            _ => {}
        }
    }

    fn restart(&mut self, cx: &mut Context<'_, Self>) {
        // It may have promised something just before the crash, and does not remember.
        self.promised_until = cx.now() + i64::from(self.lease);
        self.role = Role::Follower;
        self.start(cx);
    }
}

/// A timer that is set, once, as long as its plan lasts.
fn again(left: u8, timer: &'static str, cx: &mut Context<'_, Replica>) {
    cx.cancel(&timer);
    if left > 0 {
        cx.anytime(timer);
    }
}

/// The same, and not all at once.
fn later(left: u8, timer: &'static str, cx: &mut Context<'_, Replica>) {
    if left > 0 {
        cx.after(1, timer);
    }
}

impl Replica {
    fn majority(&self) -> usize {
        self.others.len().div_ceil(2) + 1
    }

    fn stand(&mut self, cx: &mut Context<'_, Self>) {
        let wait = self.promised_until - cx.now();
        if wait > 0 && !self.broken.is(&WAIT_OUT) {
            return cx.after(wait as u32, "stand");
        }
        self.plan.stands -= 1;
        again(self.plan.stands, "stand", cx);
        self.term += 1;
        self.role = Role::Candidate {
            votes: BTreeSet::from([cx.me()]),
        };
        cx.send_all(self.others.iter().copied(), &Message::Ask(self.term));
    }

    fn lead(&mut self, cx: &mut Context<'_, Self>) {
        // What it has heard of it writes in its own term: only what a majority holds in this term is sure to last.
        self.held.0 = self.term;
        self.role = Role::Leader {
            told: BTreeMap::new(),
            committed: None,
            until: i64::MIN,
        };
        self.in_office(cx);
    }

    fn in_office(&self, cx: &mut Context<'_, Self>) {
        self.append(cx);
        // What was begun in another term is not answered.
        cx.cancel(&"answer");
        again(self.plan.writes, "write", cx);
        again(self.plan.reads, "read", cx);
        again(self.plan.renews, "renew", cx);
    }

    fn append(&self, cx: &mut Context<'_, Self>) {
        let message = Message::Append(self.term, self.held, cx.now());
        cx.send_all(self.others.iter().copied(), &message);
    }

    fn told(&mut self, from: ProcessId, held: Held, asked: i64, cx: &mut Context<'_, Self>) {
        let (majority, broken) = (self.majority(), self.broken);
        let Role::Leader {
            told,
            committed,
            until,
        } = &mut self.role
        else {
            return;
        };
        let last = told.entry(from).or_insert((held, asked));
        *last = (last.0.max(held), last.1.max(asked));
        let Some(place) = told.len().checked_sub(majority - 1) else {
            return;
        };
        let mut askings: Vec<i64> = told.values().map(|(_, asked)| *asked).collect();
        let mut helds: Vec<Held> = told.values().map(|(held, _)| *held).collect();
        askings.sort_unstable();
        helds.sort_unstable();
        let from = if broken.is(&FROM_ASKING) {
            cx.now()
        } else {
            askings[place]
        };
        *until = (*until).max(from + inside(self.lease, broken));
        let (term, number) = helds[place];
        if term == self.term && *committed < Some(number) {
            *committed = Some(number);
            cx.fact(Fact::Wrote(number));
        }
    }

    fn write(&mut self, cx: &mut Context<'_, Self>) {
        self.plan.writes -= 1;
        later(self.plan.writes, "write", cx);
        // One write at a time.
        if matches!(self.role, Role::Leader { committed, .. } if committed == Some(self.held.1)) {
            self.held.1 += 1;
            self.append(cx);
        }
    }

    /// The look at the clock. Between it and the answer anything may happen.
    fn look(&mut self, cx: &mut Context<'_, Self>) {
        if matches!(self.role, Role::Leader { committed: Some(_), until, .. } if cx.now() < until) {
            cx.fact(Fact::Looked(cx.me()));
            return cx.anytime("answer");
        }
        cx.say(format_args!(
            "no lease: it would have to ask a majority first"
        ));
        self.is_read(cx);
    }

    fn is_read(&mut self, cx: &mut Context<'_, Self>) {
        self.plan.reads -= 1;
        later(self.plan.reads, "read", cx);
    }

    /// Whether it answers reads, or may do so one day.
    fn may_read(&self) -> bool {
        let may_lead = self.plan.stands > 0 || !matches!(self.role, Role::Follower);
        may_lead && self.plan.reads > 0
    }

    /// What a leader holds now is what it held at the look, or newer.
    fn answer(&mut self, cx: &mut Context<'_, Self>) {
        match self.role {
            Role::Leader {
                committed: Some(number),
                ..
            } => cx.fact(Fact::Read(cx.me(), number)),
            _ => cx.say(format_args!("leads no longer: no answer")),
        }
        self.is_read(cx);
    }
}

/// For how long the leader reads, of a lease of so many ticks: clocks go on by three ticks in four at least.
fn inside(lease: u32, broken: Broken) -> i64 {
    let guard = u32::from(!broken.is(&GUARD_BAND)) * lease.div_ceil(4);
    i64::from(lease - guard)
}
