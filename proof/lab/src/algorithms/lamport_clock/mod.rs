#![doc = include_str!("story.md")]

mod exhibit;

use super::happened::{Act, Event, EventId, Life};
use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::cmp::Ordering;

/// Lamport clocks.
pub struct LamportClock;

/// Without it an arrow may lead to a lower number.
const TAKE_MAXIMUM: Break = Break {
    rule: "take-maximum",
    law: "clock-condition",
    says: "who receives a message goes on counting from its own number",
};
/// Without it what was received has the number of what sent it.
const ADD_ONE: Break = Break {
    rule: "add-one",
    law: "clock-condition",
    says: "who receives a message takes the maximum, and does not add one",
};
/// Without it concurrent events may have the same place.
const TIES_BY_PROCESS: Break = Break {
    rule: "ties-by-process",
    law: "total-order",
    says: "events are put in order by their numbers only",
};
/// Without it a lower number is taken for a cause.
const READ_ONE_WAY: Break = Break {
    rule: "read-one-way",
    law: "conclusions-are-true",
    says: "from L(a) < L(b) somebody concludes that a happened before b",
};

/// The number of an event, and whose it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stamp {
    number: u8,
    of: ProcessId,
}

/// What two stamps tell about the events a and b.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conclusion {
    /// b did not happen before a.
    NotAfter,
    /// Neither happened before the other.
    Concurrent,
    /// a happened before b: nobody can know that from Lamport's numbers.
    Before,
}

impl Stamp {
    /// The place of one event beside another, in one row of all events.
    fn order(self, other: Stamp, broken: Broken) -> Ordering {
        let by_number = self.number.cmp(&other.number);
        if broken.is(&TIES_BY_PROCESS) {
            return by_number;
        }
        by_number.then(self.of.cmp(&other.of))
    }

    /// What may be read off two stamps, of which the first is not the greater.
    fn tells(self, other: Stamp, broken: Broken) -> Conclusion {
        if self.number == other.number {
            Conclusion::Concurrent
        } else if broken.is(&READ_ONE_WAY) {
            Conclusion::Before
        } else {
            Conclusion::NotAfter
        }
    }
}

/// A message carries the number of the event that sent it. (Which event that was only the laws ask.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Message {
    number: u8,
    sent_by: EventId,
}

/// An event has this stamp.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stamped {
    event: Event,
    stamp: Stamp,
}

/// A process that counts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Party {
    broken: Broken,
    life: Life,
    number: u8,
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
        self.number += 1;
        let sent_by = self.stamp(None, cx);
        if let Act::Send(to) = act {
            let number = self.number;
            cx.send(to, Message { number, sent_by });
        }
    }

    fn receive(&mut self, _: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        if !self.broken.is(&TAKE_MAXIMUM) {
            self.number = self.number.max(message.number);
        }
        if !self.broken.is(&ADD_ONE) {
            self.number += 1;
        }
        self.stamp(Some(message.sent_by), cx);
    }
}

impl Party {
    fn stamp(&mut self, heard: Option<EventId>, cx: &mut Context<'_, Self>) -> EventId {
        let (number, of) = (self.number, cx.me());
        let event = self.life.event(of, heard);
        let stamp = Stamp { number, of };
        cx.fact(Stamped { event, stamp });
        event.id
    }
}
