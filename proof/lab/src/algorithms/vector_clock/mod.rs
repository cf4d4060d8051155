#![doc = include_str!("story.md")]

mod exhibit;

use super::happened::{Act, Event, EventId, Life};
use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::cmp::Ordering;

/// Vector clocks.
pub struct VectorClock;

/// Without it what was heard of by way of others is forgotten.
const MERGE_ALL_ENTRIES: Break = Break {
    rule: "merge-all-entries",
    law: "order-is-seen",
    says: "who receives a message takes over the sender's own entry only",
};
/// Without it concurrent events look ordered.
const ENTRY_EACH: Break = Break {
    rule: "entry-each",
    law: "concurrency-is-seen",
    says: "to save space, the last two processes share one entry",
};
/// Without it events of one process have the same vector.
const COUNT_OWN: Break = Break {
    rule: "count-own",
    law: "order-is-seen",
    says: "a process counts what it does by itself, and not what it receives",
};

/// How many events of each process are known.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Vector(Vec<u8>);

impl Vector {
    /// How one event stands to another: `None` when they are concurrent.
    pub fn compare(&self, other: &Vector) -> Option<Ordering> {
        let has_less = self.0.iter().zip(&other.0).any(|(mine, its)| mine < its);
        let has_more = self.0.iter().zip(&other.0).any(|(mine, its)| mine > its);
        match (has_less, has_more) {
            (true, true) => None,
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (false, false) => Some(Ordering::Equal),
        }
    }

    fn merge(&mut self, other: &Vector) {
        for (mine, its) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*its);
        }
    }
}

/// A message carries the vector of the event that sent it. (Which event that was only the laws ask.)
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Message {
    vector: Vector,
    sent_by: EventId,
}

/// An event has this vector.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stamped {
    event: Event,
    vector: Vector,
}

/// A process with a vector.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Party {
    broken: Broken,
    life: Life,
    vector: Vector,
}

impl Process for Party {
    type Message = Message;
    type Timer = Act;
    type Fact = Stamped;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        self.life.start(cx);
    }

    fn wake(&mut self, act: Act, cx: &mut Context<'_, Self>) {
        self.life.act(act, cx);
        self.count(cx.me());
        let sent_by = self.stamp(None, cx);
        if let Act::Send(to) = act {
            let vector = self.vector.clone();
            cx.send(to, Message { vector, sent_by });
        }
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        if self.broken.is(&MERGE_ALL_ENTRIES) {
            let its = self.entry(from);
            self.vector.0[its] = self.vector.0[its].max(message.vector.0[its]);
        } else {
            self.vector.merge(&message.vector);
        }
        if !self.broken.is(&COUNT_OWN) {
            self.count(cx.me());
        }
        self.stamp(Some(message.sent_by), cx);
    }
}

impl Party {
    fn entry(&self, of: ProcessId) -> usize {
        of.0.min(self.vector.0.len() - 1)
    }

    fn count(&mut self, me: ProcessId) {
        let own = self.entry(me);
        self.vector.0[own] += 1;
    }

    fn stamp(&mut self, heard: Option<EventId>, cx: &mut Context<'_, Self>) -> EventId {
        let event = self.life.event(cx.me(), heard);
        let vector = self.vector.clone();
        cx.fact(Stamped { event, vector });
        event.id
    }
}
