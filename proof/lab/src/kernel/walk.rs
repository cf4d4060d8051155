//! One random run of a larger case, and what is left of it when all that did not matter is taken out.

use super::choice::Choice;
use super::explore::Way;
use super::law::{Law, judge};
use super::process::Process;
use super::setup::Setup;
use super::world::World;
use base::Rng;
use std::rc::Rc;

/// What a random run did.
pub struct Walked<P: Process> {
    /// How many steps it took.
    pub steps: u64,
    /// All of them.
    pub choices: Vec<Choice<P>>,
    /// The law that it broke, and the way there.
    pub trouble: Option<Way<P>>,
}

/// Goes one random way until nothing can happen any more, a law is broken, or the setup's steps are used up.
///
/// How often something goes wrong is drawn for each run anew, so that some runs are over before the first fault and
/// some have all of theirs at once.
pub fn walk<P: Process>(setup: &Rc<Setup<P>>, laws: &[Law<P>], rng: &mut Rng) -> Walked<P> {
    let mut world = World::new(setup);
    let mut choices = Vec::new();
    let steps_per_fault = 4 << rng.below(4);
    let trouble = loop {
        if let Some(breach) = judge(laws, &world) {
            break Some(Way {
                breach,
                choices: choices.clone(),
            });
        }
        if choices.len() >= setup.steps_max as usize {
            break None;
        }
        let (faults, steps): (Vec<_>, Vec<_>) =
            world.choices().into_iter().partition(Choice::is_fault);
        let choice = match rng.one_in(steps_per_fault) || steps.is_empty() {
            true if !faults.is_empty() && (!steps.is_empty() || rng.one_in(2)) => {
                fault(&faults, rng)
            }
            _ if !steps.is_empty() => step(&steps, rng),
            _ => break None,
        };
        world.apply(&choice);
        choices.push(choice);
    };
    Walked {
        steps: choices.len() as u64,
        choices,
        trouble,
    }
}

/// First what goes wrong, then where: a kind is not more frequent for having more places.
fn fault<P: Process>(open: &[Choice<P>], rng: &mut Rng) -> Choice<P> {
    let kind = std::mem::discriminant::<Choice<P>>;
    let mut kinds = Vec::new();
    for choice in open {
        if !kinds.contains(&kind(choice)) {
            kinds.push(kind(choice));
        }
    }
    let drawn = kinds[rng.below(kinds.len() as u64) as usize];
    let of_it: Vec<&Choice<P>> = open.iter().filter(|one| kind(one) == drawn).collect();
    of_it[rng.below(of_it.len() as u64) as usize].clone()
}

fn step<P: Process>(open: &[Choice<P>], rng: &mut Rng) -> Choice<P> {
    let mut drawn = rng.below(open.iter().map(weight).sum());
    let found = open.iter().find(|choice| {
        let is_it = drawn < weight(choice);
        drawn = drawn.saturating_sub(weight(choice));
        is_it
    });
    found.unwrap_or(&open[0]).clone()
}

/// How often each kind of step is taken: most often something arrives.
fn weight<P: Process>(choice: &Choice<P>) -> u64 {
    match choice {
        Choice::Deliver(..) => 6,
        Choice::Tick => 3,
        _ => 1,
    }
}

/// Leaves out of a way into trouble whatever it can do without: what is left breaks the same law, and with any one
/// step less it does not.
pub fn shorten<P: Process>(setup: &Rc<Setup<P>>, laws: &[Law<P>], way: Way<P>) -> Way<P> {
    let mut best = way;
    let mut piece = (best.choices.len() / 2).max(1);
    loop {
        let mut at = 0;
        let mut is_shorter = false;
        while at < best.choices.len() {
            let mut fewer = best.choices.clone();
            fewer.drain(at..(at + piece).min(fewer.len()));
            match replay(setup, laws, &fewer) {
                Some(way) if way.breach.law == best.breach.law => {
                    best = way;
                    is_shorter = true;
                }
                _ => at += piece,
            }
        }
        match piece {
            1 if !is_shorter => return best,
            1 => {}
            _ => piece /= 2,
        }
    }
}

/// Lets the choices happen that can, until a law is broken.
fn replay<P: Process>(
    setup: &Rc<Setup<P>>,
    laws: &[Law<P>],
    choices: &[Choice<P>],
) -> Option<Way<P>> {
    let mut world = World::new(setup);
    let mut done = Vec::new();
    if let Some(breach) = judge(laws, &world) {
        return Some(Way {
            breach,
            choices: done,
        });
    }
    for choice in choices {
        if !world.apply(choice) {
            continue;
        }
        done.push(choice.clone());
        if let Some(breach) = judge(laws, &world) {
            return Some(Way {
                breach,
                choices: done,
            });
        }
    }
    None
}
