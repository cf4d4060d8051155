//! Breadth first through all states of a scope, up to the first violation.
//!
//! Breadth first, so that the path to a violation is as short as can be. States that differ only in
//! the names of members count once.

use super::action::Action;
use super::fingerprint::Printer;
use super::property::{Property, violated};
use super::scope::Model;
use super::seen::Seen;
use super::state::State;
use super::tell::tell;
use std::fmt;

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Distinct states.
    pub states: usize,
    /// Steps between them, those to known states included.
    pub transitions: usize,
    /// Steps from the start to the farthest state.
    pub depth: usize,
    /// How it ended.
    pub end: End,
}

/// How an exploration ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// Every state of the scope was seen, and every property held in all of them.
    Exhausted,
    /// The scope has more states than it allows itself.
    GaveUp,
    /// A property does not hold.
    Violated(Violation),
}

/// A way into a state that must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// What does not hold.
    pub property: Property,
    /// The scope's opening, then as few actions as it takes.
    pub path: Vec<Action>,
}

/// How a state was reached: from which one, by which action.
struct Origin {
    parent: u32,
    action: Action,
}

/// Explores all states of `model`, judging every step by `properties`.
pub fn explore(model: &Model, properties: &[Property]) -> Report {
    let n = model.scope.members;
    let mut printer = Printer::new(n, &model.scope.symmetries());
    let mut seen = Seen::new();
    // The start has no origin, so the place of a state is that of its origin plus one.
    let mut origins: Vec<Origin> = Vec::new();
    let opening = model.opening();
    let start = model.play(&opening);
    let mut frontier = vec![(0, start.expect("an opening is possible"))];
    let mut actions = Vec::new();
    let (mut transitions, mut depth) = (0, 0);
    seen.insert(printer.print(&frontier[0].1));
    let end = 'ended: loop {
        let mut next = Vec::new();
        for (place, state) in &frontier {
            model.candidates(state, &mut actions);
            for action in &actions {
                let Some(after) = model.take(state, *action) else {
                    continue;
                };
                transitions += 1;
                let broken = violated(properties, n, state, &after);
                if broken.is_none() && !seen.insert(printer.print(&after)) {
                    continue;
                }
                origins.push(Origin {
                    parent: *place,
                    action: *action,
                });
                let place = origins.len() as u32;
                if let Some(property) = broken {
                    depth += 1;
                    let path = [opening, path(&origins, place)].concat();
                    break 'ended End::Violated(Violation { property, path });
                }
                next.push((place, after));
            }
            if seen.len() > model.scope.states_max {
                break 'ended End::GaveUp;
            }
        }
        if next.is_empty() {
            break End::Exhausted;
        }
        depth += 1;
        frontier = next;
    };
    Report {
        states: origins.len() + 1,
        transitions,
        depth,
        end,
    }
}

fn path(origins: &[Origin], mut place: u32) -> Vec<Action> {
    let mut path = Vec::new();
    while place > 0 {
        let origin = &origins[place as usize - 1];
        path.push(origin.action);
        place = origin.parent;
    }
    path.reverse();
    path
}

impl Violation {
    /// The path as a play, one line for each action.
    pub fn play(&self, model: &Model) -> Vec<String> {
        let mut state = State::initial();
        let mut lines = Vec::new();
        for action in &self.path {
            let after = model.take(&state, *action);
            let after = after.expect("a path is made of actions that were possible");
            lines.push(tell(*action, &state, &after));
            state = after;
        }
        lines
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            states,
            transitions,
            depth,
            end,
        } = self;
        write!(f, "{states:>9} {transitions:>10} {depth:>5}  {end}")
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exhausted => write!(f, "exhausted"),
            End::GaveUp => write!(f, "gave up"),
            End::Violated(violation) => {
                let steps = violation.path.len();
                write!(f, "{} violated in {steps} steps", violation.property)
            }
        }
    }
}
