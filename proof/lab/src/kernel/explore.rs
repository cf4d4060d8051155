//! Every interleaving of a small case, breadth first: the first way into trouble is a shortest one.

use super::choice::Choice;
use super::law::{Breach, Law, judge};
use super::process::Process;
use super::setup::Setup;
use super::world::World;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

/// An exploration gives up after so many states: a small case is smaller.
pub const STATES_MAX: u64 = 4_000_000;

/// A way into trouble.
pub struct Way<P: Process> {
    /// Which law it breaks, and how.
    pub breach: Breach,
    /// What happened.
    pub choices: Vec<Choice<P>>,
}

/// What an exploration found.
pub struct Explored<P: Process> {
    /// Different states.
    pub states: u64,
    /// Steps from one to another.
    pub steps: u64,
    /// States that are not `within` the case: judged, and not left.
    pub edge: u64,
    /// The longest of the shortest ways to a state.
    pub depth: u32,
    /// Whether there was nothing left to explore. Not when trouble was found, nor at [`STATES_MAX`].
    pub is_whole: bool,
    /// The shortest way into trouble.
    pub trouble: Option<Way<P>>,
}

/// Explores every state that can be reached and is `within` the case. States that are not are judged, and not left.
pub fn explore<P: Process>(
    setup: &Rc<Setup<P>>,
    laws: &[Law<P>],
    within: fn(&World<P>) -> bool,
) -> Explored<P> {
    let first = World::new(setup);
    let mut seen = HashSet::from([first.fingerprint()]);
    // How each state was come to: from which, by what.
    let mut came: Vec<(u32, Option<Choice<P>>)> = vec![(0, None)];
    let mut found = Explored {
        states: 1,
        steps: 0,
        edge: 0,
        depth: 0,
        is_whole: false,
        trouble: None,
    };
    if let Some(breach) = judge(laws, &first) {
        found.trouble = Some(Way {
            breach,
            choices: Vec::new(),
        });
        return found;
    }
    let mut frontier = VecDeque::from([(0u32, 0u32, first)]);
    while let Some((number, depth, world)) = frontier.pop_front() {
        if !within(&world) {
            found.edge += 1;
            continue;
        }
        for choice in world.choices() {
            let mut next = world.clone();
            next.apply(&choice);
            found.steps += 1;
            if !seen.insert(next.fingerprint()) {
                continue;
            }
            found.states += 1;
            found.depth = found.depth.max(depth + 1);
            came.push((number, Some(choice)));
            let here = (came.len() - 1) as u32;
            if let Some(breach) = judge(laws, &next) {
                found.trouble = Some(Way {
                    breach,
                    choices: way_to(&came, here),
                });
                return found;
            }
            if found.states >= STATES_MAX {
                return found;
            }
            frontier.push_back((here, depth + 1, next));
        }
    }
    found.is_whole = true;
    found
}

fn way_to<P: Process>(came: &[(u32, Option<Choice<P>>)], mut at: u32) -> Vec<Choice<P>> {
    let mut choices = Vec::new();
    while let (before, Some(choice)) = &came[at as usize] {
        choices.push(choice.clone());
        at = *before;
    }
    choices.reverse();
    choices
}
