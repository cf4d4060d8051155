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
pub fn walk<P: Process>(setup: &Rc<Setup<P>>, laws: &[Law<P>], rng: &mut Rng) -> Walked<P> {
    let mut world = World::new(setup);
    let mut choices = Vec::new();
    let trouble = loop {
        if let Some(breach) = judge(laws, &world) {
            break Some(Way {
                breach,
                choices: choices.clone(),
            });
        }
        let open = world.choices();
        if choices.len() >= setup.steps_max as usize || open.is_empty() {
            break None;
        }
        let weights: Vec<u64> = open.iter().map(weight).collect();
        let mut drawn = rng.below(weights.iter().sum());
        let at = weights
            .iter()
            .position(|weight| match drawn.checked_sub(*weight) {
                Some(rest) => {
                    drawn = rest;
                    false
                }
                None => true,
            });
        let choice = open[at.unwrap_or(0)].clone();
        world.apply(&choice);
        choices.push(choice);
    };
    Walked {
        steps: choices.len() as u64,
        choices,
        trouble,
    }
}

/// How often each kind of step is taken: most often something arrives, seldom something breaks.
fn weight<P: Process>(choice: &Choice<P>) -> u64 {
    match choice {
        Choice::Deliver(..) => 24,
        Choice::Tick => 12,
        Choice::Wake(..) | Choice::Restart(_) | Choice::Resume(_) | Choice::Heal => 4,
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
