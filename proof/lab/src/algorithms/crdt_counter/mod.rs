#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};

/// A PN-counter.
pub struct CrdtCounter;

/// Without it, of two who count at the same time one is lost.
const OWN_SLOT: Break = Break {
    rule: "own-slot",
    law: "counts-everything",
    says: "all replicas count in the same slot",
};
/// Without it a slot may go down, and an older state undoes that.
const SLOTS_GROW: Break = Break {
    rule: "slots-grow",
    law: "convergence",
    says: "counting down lowers the slot in which one counts up",
};
/// Without it what comes twice counts twice.
const TAKE_MAXIMUM: Break = Break {
    rule: "take-maximum",
    law: "convergence",
    says: "a replica sends what it has just counted, and others add it to what they have",
};

/// What a replica knows: how often each replica counted up, and how often down.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct State {
    up: Vec<i8>,
    down: Vec<i8>,
}

impl State {
    fn value(&self) -> i8 {
        self.up.iter().sum::<i8>() - self.down.iter().sum::<i8>()
    }

    fn clear(&mut self) {
        self.up.fill(0);
        self.down.fill(0);
    }

    fn merge(&mut self, other: &State, broken: Broken) {
        let merge = |mine: &mut i8, its: &i8| {
            *mine = if broken.is(&TAKE_MAXIMUM) {
                *mine + *its
            } else {
                (*mine).max(*its)
            };
        };
        let ups = self.up.iter_mut().zip(&other.up);
        let downs = self.down.iter_mut().zip(&other.down);
        ups.chain(downs).for_each(|(mine, its)| merge(mine, its));
    }
}

/// What a user wants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Count {
    /// One more.
    Up,
    /// One less.
    Down,
}

/// A replica. Its state is on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    broken: Broken,
    others: Vec<ProcessId>,
    counts_left: u8,
    state: State,
}

impl Process for Replica {
    type Message = State;
    type Timer = Count;
    type Fact = Counted;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if self.counts_left > 0 {
            cx.anytime(Count::Up);
            cx.anytime(Count::Down);
        }
    }

    fn restart(&mut self, cx: &mut Context<'_, Self>) {
        self.start(cx);
    }

    fn wake(&mut self, count: Count, cx: &mut Context<'_, Self>) {
        self.counts_left -= 1;
        cx.cancel(&Count::Up);
        cx.cancel(&Count::Down);
        self.start(cx);
        let slot = if self.broken.is(&OWN_SLOT) {
            0
        } else {
            cx.me().0
        };
        match count {
            Count::Up => self.state.up[slot] += 1,
            Count::Down if self.broken.is(&SLOTS_GROW) => self.state.up[slot] -= 1,
            Count::Down => self.state.down[slot] += 1,
        }
        cx.fact(Counted(count));
        cx.say(format_args!("it shows {}", self.state.value()));
        let mut state = self.state.clone();
        if self.broken.is(&TAKE_MAXIMUM) {
            state.clear();
            match count {
                Count::Up => state.up[slot] = 1,
                Count::Down => state.down[slot] = 1,
            }
        }
        cx.send_all(self.others.iter().copied(), &state);
    }

    fn receive(&mut self, _: ProcessId, state: State, cx: &mut Context<'_, Self>) {
        self.state.merge(&state, self.broken);
        cx.say(format_args!("it shows {}", self.state.value()));
    }
}

/// A user was told that it is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Counted(Count);
