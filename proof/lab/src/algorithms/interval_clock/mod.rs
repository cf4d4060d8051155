#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::fmt;

/// Interval clocks with commit-wait.
pub struct IntervalClock;

/// Without it a stamp may still lie in the future when others see the write.
const COMMIT_WAIT: Break = Break {
    rule: "commit-wait",
    law: "external-consistency",
    says: "a write is acknowledged at once",
};
/// Without it a stamp may lie in the past when the write begins.
const STAMP_LATEST: Break = Break {
    rule: "stamp-latest",
    law: "external-consistency",
    says: "a write takes the middle of the interval as its stamp",
};
/// Without it all the waiting is for nothing.
const HONEST_UNCERTAINTY: Break = Break {
    rule: "honest-uncertainty",
    law: "external-consistency",
    says: "the clock says that it is exact, whatever its error",
};

/// When it is now, surely: `earliest` and `latest` are included, in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Interval {
    earliest: i64,
    latest: i64,
}

/// One write of one process: its number there, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Write {
    at: ProcessId,
    number: u8,
}

/// What happens to writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// Somebody wants it, and it has its stamp.
    Begun(Write, i64),
    /// Whoever wanted it knows that it is done, with this stamp.
    Acknowledged(Write, i64),
}

/// What a process waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// Somebody comes with a write, at any time.
    Begin,
    /// The stamp may be in the past by now.
    Past(Write, i64),
}

/// A process that writes. Its clock may be wrong, by no more than it knows.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Party {
    broken: Broken,
    /// How wrong its clock is, in ticks. Only the clock depends on it.
    error: i64,
    /// How wrong it may be at most: what the maker of the clock promises.
    error_max: i64,
    writes_left: u8,
    n_writes: u8,
    last: i64,
}

impl Party {
    /// What the clock says: the true time, with its error, and how much that may be.
    fn now(&self, cx: &Context<'_, Self>) -> Interval {
        let shown = cx.now() + self.error;
        let uncertainty = if self.broken.is(&HONEST_UNCERTAINTY) {
            0
        } else {
            self.error_max
        };
        Interval {
            earliest: shown - uncertainty,
            latest: shown + uncertainty,
        }
    }

    fn begin(&mut self, cx: &mut Context<'_, Self>) {
        self.writes_left -= 1;
        self.n_writes += 1;
        let write = Write {
            at: cx.me(),
            number: self.n_writes,
        };
        let now = self.now(cx);
        let stamp = if self.broken.is(&STAMP_LATEST) {
            now.earliest.midpoint(now.latest)
        } else {
            now.latest
        };
        // Two writes of one process never share a stamp.
        let stamp = stamp.max(self.last + 1);
        self.last = stamp;
        cx.say(format_args!("clock {now}"));
        cx.fact(Fact::Begun(write, stamp));
        self.wait(write, stamp, cx);
        if self.writes_left > 0 {
            cx.anytime(Timer::Begin);
        }
    }

    /// Acknowledges a write when its stamp is surely in the past, and looks again in a while when it is not.
    fn wait(&self, write: Write, stamp: i64, cx: &mut Context<'_, Self>) {
        let left = stamp + 1 - self.now(cx).earliest;
        if left > 0 && !self.broken.is(&COMMIT_WAIT) {
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            cx.after(left, Timer::Past(write, stamp));
        } else {
            cx.fact(Fact::Acknowledged(write, stamp));
        }
    }
}

impl Process for Party {
    type Message = Nothing;
    type Timer = Timer;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        cx.anytime(Timer::Begin);
    }

    fn receive(&mut self, _: ProcessId, message: Nothing, _: &mut Context<'_, Self>) {
        match message {}
    }

    fn wake(&mut self, timer: Timer, cx: &mut Context<'_, Self>) {
        match timer {
            Timer::Begin => self.begin(cx),
            Timer::Past(write, stamp) => self.wait(write, stamp, cx),
        }
    }
}

/// They send each other nothing: that is the point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Nothing {}

impl fmt::Display for Nothing {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
