#![doc = include_str!("story.md")]

mod argument;
mod exhibit;

pub use argument::{Argument, argument, n_alone};
pub use exhibit::TwoGenerals;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};

/// Two generals and their messengers, for any number of messages.
pub struct Generals;

/// Without it somebody attacks who has heard much, and not all.
const COMMON_KNOWLEDGE: Break = Break {
    rule: "common-knowledge",
    law: "together",
    says: "a general attacks when every message that it can get has come: of its own last one it knows nothing",
};
/// Without it nobody needs a message.
const WAIT_FOR_THE_ORDER: Break = Break {
    rule: "wait-for-the-order",
    law: "by-order",
    says: "both attack at dawn, whatever has come: together always, and without an order too",
};

/// Message 1 is the order, message 2 its acknowledgement, message 3 the acknowledgement of that, and so on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Message(u32);

/// One of the two. The first gives the order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct General {
    broken: Broken,
    /// After so many messages nobody answers any more. Protocols are finite.
    n_messages: u32,
    is_first: bool,
    /// How many messages have come to it.
    heard: u32,
}

impl Process for General {
    type Message = Message;
    type Timer = &'static str;
    type Fact = Dawn;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if self.is_first && self.n_messages > 0 {
            cx.send(self.other(cx), Message(1));
        }
        // All messengers have arrived by then, or are lost.
        cx.after(self.n_messages + 1, "dawn");
    }

    fn receive(&mut self, from: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        self.heard += 1;
        if message.0 < self.n_messages {
            cx.send(from, Message(message.0 + 1));
        }
    }

    fn wake(&mut self, _: &'static str, cx: &mut Context<'_, Self>) {
        cx.fact(Dawn {
            general: cx.me(),
            attacks: self.attacks(),
            has_order: self.is_first || self.heard > 0,
        });
    }
}

impl General {
    /// The rule by which it decides at dawn, from what has come to it and from nothing else.
    fn attacks(&self) -> bool {
        if self.broken.is(&COMMON_KNOWLEDGE) {
            return self.heard == self.can_hear();
        }
        if self.broken.is(&WAIT_FOR_THE_ORDER) {
            return true;
        }
        // Common knowledge: it knows the order, knows that the other knows it, knows that the other knows that, and
        // so on without end. Each message adds one level, and there are only so many.
        const LEVELS_NEEDED: Option<u32> = None;
        LEVELS_NEEDED.is_some_and(|levels| self.heard >= levels)
    }

    /// Messages that it would get if none were lost: the first general sends the odd ones.
    fn can_hear(&self) -> u32 {
        match self.is_first {
            true => self.n_messages / 2,
            false => self.n_messages.div_ceil(2),
        }
    }

    fn other(&self, cx: &Context<'_, Self>) -> ProcessId {
        ProcessId(1 - cx.me().0)
    }
}

/// What a general did at dawn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Dawn {
    general: ProcessId,
    attacks: bool,
    has_order: bool,
}
