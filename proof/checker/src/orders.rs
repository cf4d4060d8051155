//! Why no order explains a small guilty history: the orders that were tried, and where each got stuck.
//!
//! The search in `linear.rs` says *no* and is fast; this says why and is for people. It walks through all
//! orders that real time allows, and keeps those that cannot be continued. Only for what `minimise.rs`
//! has left over: a big history has more dead ends than anybody reads.

use crate::linear::{Action, Effect, Guard, State};
use std::collections::BTreeSet;

/// Dead ends that are told; those that got furthest come first.
const TOLD_MAX: usize = 6;

/// Steps of the walk. Whatever was found until then is told.
const STEPS_MAX: usize = 20_000;

/// One order that cannot be continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The operations that could be placed, in order.
    pub order: Vec<u64>,
    /// For each operation that would have to follow, why it cannot.
    pub stuck: Vec<String>,
}

/// The dead ends among the orders of `actions`, the longest first. `name` says a state in words.
pub fn tried(actions: &[Action], name: &dyn Fn(State) -> String) -> Vec<Attempt> {
    let mut walk = Walk {
        actions,
        name,
        path: Vec::new(),
        met: BTreeSet::new(),
        n_steps: 0,
        found: Vec::new(),
    };
    walk.go_on(None);
    let mut found = walk.found;
    found.sort_by(|a, b| (b.order.len(), &a.order).cmp(&(a.order.len(), &b.order)));
    found.truncate(TOLD_MAX);
    found
}

/// An operation's number as people read it; the end of a lease is nobody's operation.
pub fn label(number: u64) -> String {
    if number > u64::MAX / 2 {
        "end of a lease".to_owned()
    } else {
        format!("#{number}")
    }
}

struct Walk<'a> {
    actions: &'a [Action],
    name: &'a dyn Fn(State) -> String,
    path: Vec<usize>,
    /// What was placed, and the state: whatever follows from there was walked already.
    met: BTreeSet<(Vec<usize>, State)>,
    n_steps: usize,
    found: Vec<Attempt>,
}

impl Walk<'_> {
    fn go_on(&mut self, state: State) {
        self.n_steps += 1;
        let mut placed = self.path.clone();
        placed.sort_unstable();
        if self.n_steps > STEPS_MAX || !self.met.insert((placed, state)) {
            return;
        }
        let (mut can, mut stuck) = (false, Vec::new());
        for at in self.next_ones() {
            let action = self.actions[at];
            if action.guard.holds(state) {
                can |= action.returned.is_some();
                self.path.push(at);
                self.go_on(match action.effect {
                    Effect::Keep => state,
                    Effect::Set(after) => after,
                });
                self.path.pop();
            } else if action.returned.is_some() {
                let (label, is) = (label(action.number), (self.name)(state));
                let told = self.told(action.guard);
                stuck.push(format!("{label} tells of {told}, and here the key is {is}"));
            }
        }
        if !can && !stuck.is_empty() {
            let number = |at: &usize| self.actions[*at].number;
            self.found.push(Attempt {
                order: self.path.iter().map(number).collect(),
                stuck,
            });
        }
    }

    /// Whatever real time allows to come next: nothing that was answered before it was asked is left.
    fn next_ones(&self) -> Vec<usize> {
        let open = |at: &usize| !self.path.contains(at);
        let left: Vec<usize> = (0..self.actions.len()).filter(open).collect();
        let first_end = left
            .iter()
            .filter_map(|at| self.actions[*at].returned)
            .min();
        let may = |at: &usize| first_end.is_some_and(|end| self.actions[*at].call <= end);
        left.into_iter().filter(may).collect()
    }

    fn told(&self, guard: Guard) -> String {
        match guard {
            Guard::Any => "anything".to_owned(),
            Guard::Is(state) => (self.name)(state),
            Guard::IsNot(state) => format!("anything but {}", (self.name)(state)),
            Guard::Present => "some value".to_owned(),
        }
    }
}
