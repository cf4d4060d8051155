//! The world of any seed, on tape: what `sim replay` says in lines can be drawn.

use super::bug::Bug;
use crate::plan::Plan;
use crate::run::{Report, run_on_tape};
use crate::tape::Event;
use base::Mutants;

/// Runs the world of `seed`, perhaps with one of the core's planted bugs; returns what became of it, and all that happened
/// of which the tape has not forgotten it. A bug of the stage's own shell is not planted here: it is the stage's.
pub fn open(seed: u64, bug: Option<Bug>) -> (Report, Vec<Event>) {
    let mutants = bug.map_or(Mutants::none(), Bug::of_core);
    let mut plan = Plan::draw(seed);
    plan.consensus = bug.and_then(Bug::engine).unwrap_or(plan.consensus);
    let (report, tape) = run_on_tape(plan, mutants, false, Some(Box::default()));
    let events = tape.map_or(Vec::new(), |tape| tape.events().cloned().collect());
    (report, events)
}
