//! Happens-before, computed from a run alone: it knows nothing of what clocks say, so that clocks can be judged by it.
//!
//! a → b when both are of one process and a was earlier, when a sent what b received, or by way of a third event.
//! Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", CACM 21(7), 1978. Two events of which
//! neither happened before the other are *concurrent*.

use crate::kernel::{Context, Process, ProcessId};
use std::fmt;

/// An event: the `number`-th of its process, from 1. Its text is `p1.2`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventId {
    /// Where.
    pub at: ProcessId,
    /// The how manieth there.
    pub number: u8,
}

/// An event, and what it received.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Event {
    /// Which.
    pub id: EventId,
    /// The event that sent the message which this one received.
    pub heard: Option<EventId>,
}

/// All that happened before one event: of each process so many of its first events.
pub struct Past(Vec<(ProcessId, u8)>);

impl Past {
    /// The past of the last of these events, which stand in the order of the run; `None` when there are none.
    pub fn of_last(events: impl DoubleEndedIterator<Item = Event>) -> Option<Past> {
        let mut events = events.rev();
        let last = events.next()?;
        let mut past = Past(Vec::new());
        past.add(EventId {
            number: last.id.number - 1,
            ..last.id
        });
        last.heard.into_iter().for_each(|heard| past.add(heard));
        // Backwards, once: what an event heard of lies before it in the run.
        for event in events {
            if let Some(heard) = event.heard.filter(|_| past.has(event.id)) {
                past.add(heard);
            }
        }
        Some(past)
    }

    /// Whether that event is in it.
    pub fn has(&self, event: EventId) -> bool {
        self.0
            .iter()
            .any(|(at, number)| *at == event.at && event.number <= *number)
    }

    fn add(&mut self, event: EventId) {
        match self.0.iter_mut().find(|(at, _)| *at == event.at) {
            Some((_, number)) => *number = event.number.max(*number),
            None => self.0.push((event.at, event.number)),
        }
    }
}

/// What a process of these exhibits does by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Act {
    /// Something that concerns nobody else.
    Work,
    /// It sends a message.
    Send(ProcessId),
}

/// What a process still will do, at any time and in any order, and how much has happened to it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Life {
    acts: Vec<Act>,
    acts_left: u8,
    n_events: u8,
}

impl Life {
    /// The life of process `me` of `n`, which acts so many times.
    pub fn new(me: usize, n: usize, acts: u8) -> Life {
        let others = (0..n).filter(|other| *other != me).map(ProcessId);
        Life {
            acts: [Act::Work]
                .into_iter()
                .chain(others.map(Act::Send))
                .collect(),
            acts_left: acts,
            n_events: 0,
        }
    }

    /// It begins: everything may be its first act.
    pub fn start<P: Process<Timer = Act>>(&self, cx: &mut Context<'_, P>) {
        if self.acts_left > 0 {
            self.acts.iter().for_each(|act| cx.anytime(*act));
        }
    }

    /// It acts, and will again unless this was the last time.
    pub fn act<P: Process<Timer = Act>>(&mut self, act: Act, cx: &mut Context<'_, P>) {
        self.acts_left -= 1;
        if self.acts_left > 0 {
            cx.anytime(act);
        } else {
            self.acts.iter().for_each(|act| cx.cancel(act));
        }
    }

    /// Something has happened to it.
    pub fn event(&mut self, at: ProcessId, heard: Option<EventId>) -> Event {
        self.n_events += 1;
        let number = self.n_events;
        Event {
            id: EventId { at, number },
            heard,
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}.{}", self.at.0 + 1, self.number)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Work => write!(f, "works"),
            Act::Send(to) => write!(f, "sends p{}", to.0 + 1),
        }
    }
}
