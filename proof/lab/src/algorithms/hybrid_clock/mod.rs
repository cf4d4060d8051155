#![doc = include_str!("story.md")]

mod exhibit;

use super::happened::{Act, Event, EventId, Life};
use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};

/// Hybrid logical clocks.
pub struct HybridClock;

/// How far ahead of its own clock a message may be, in ticks: as much as clocks that are well may differ.
const AHEAD_MAX: i64 = 2;

/// Without it two events in the same tick have the same stamp.
const COUNT_ON_TIE: Break = Break {
    rule: "count-on-tie",
    law: "causality",
    says: "the counter stays 0 when the clock has not gone on",
};
/// Without it a message may come from a higher stamp.
const TAKE_MAXIMUM: Break = Break {
    rule: "take-maximum",
    law: "causality",
    says: "who receives a message looks at its own clock only",
};
/// Without it a clock that is set back takes the stamps back too.
const KEEP_OWN: Break = Break {
    rule: "keep-own",
    law: "never-backwards",
    says: "at an event of its own a process reads its clock, and does not look at its last stamp",
};
/// Without it one sick clock is everybody's.
const REFUSE_FAR_AHEAD: Break = Break {
    rule: "refuse-far-ahead",
    law: "near-the-clock",
    says: "a message is taken however far its stamp is ahead",
};

/// Hybrid time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stamp {
    /// The highest reading of a clock heard of, in ticks.
    l: i64,
    /// Counts events that share it.
    c: u8,
}

/// A message carries the stamp of the event that sent it. (Which event that was only the laws ask.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Message {
    stamp: Stamp,
    sent_by: EventId,
}

/// An event has this stamp, and the clock showed that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stamped {
    event: Event,
    stamp: Stamp,
    clock: i64,
}

/// A process with a clock that may be wrong. Its last stamp is on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Party {
    broken: Broken,
    life: Life,
    last: Option<Stamp>,
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
        // Without the rule it still counts within a tick; only where the clock stands below its last stamp it forgets.
        let is_forgotten = |last: &Stamp| self.broken.is(&KEEP_OWN) && cx.now() < last.l;
        let kept = self.last.filter(|last| !is_forgotten(last));
        let stamp = self.after(kept, None, cx.now());
        let sent_by = self.take(stamp, None, cx);
        if let Act::Send(to) = act {
            cx.send(to, Message { stamp, sent_by });
        }
    }

    fn receive(&mut self, _: ProcessId, message: Message, cx: &mut Context<'_, Self>) {
        let is_far = message.stamp.l > cx.now() + AHEAD_MAX;
        if is_far && !self.broken.is(&REFUSE_FAR_AHEAD) {
            cx.say(format_args!("refused: too far ahead of {}", cx.now()));
            return;
        }
        let heard = Some(message.stamp).filter(|_| !self.broken.is(&TAKE_MAXIMUM));
        let stamp = self.after(self.last, heard, cx.now());
        self.take(stamp, Some(message.sent_by), cx);
    }
}

impl Party {
    /// The stamp of an event after these two, by this clock.
    fn after(&self, own: Option<Stamp>, heard: Option<Stamp>, clock: i64) -> Stamp {
        let before = [own, heard].into_iter().flatten().max();
        match before {
            // Comparing stamps is comparing l first: the greatest one has the highest l, and of those the highest c.
            Some(before) if before.l >= clock => Stamp {
                l: before.l,
                c: before.c + u8::from(!self.broken.is(&COUNT_ON_TIE)),
            },
            _ => Stamp { l: clock, c: 0 },
        }
    }

    fn take(
        &mut self,
        stamp: Stamp,
        heard: Option<EventId>,
        cx: &mut Context<'_, Self>,
    ) -> EventId {
        self.last = Some(stamp);
        let event = self.life.event(cx.me(), heard);
        let clock = cx.now();
        cx.fact(Stamped {
            event,
            stamp,
            clock,
        });
        event.id
    }
}
