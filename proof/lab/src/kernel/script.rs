//! A scenario as text: one line for each step, in the words of [`Choice::tell`].
//!
//! ```text
//! # two proposers meet
//! wake p1 propose        the first choice that begins with these words
//! deliver p1             whatever comes first from p1
//! deliver all            until nothing is under way that can arrive
//! drop p1 a2             faults may happen at any time: a script has no budget
//! crash a1
//! cut halves             the cut of this name in the setup
//! tick 3                 three times
//! ```

use super::choice::Choice;
use super::law::{Breach, Law, judge};
use super::process::{Process, ProcessId};
use super::world::World;

/// A line of a script that means nothing here.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: cannot {asked}; what can happen: {open}")]
pub struct Unscripted {
    /// Which line, from 1.
    pub line: usize,
    /// What it asks for.
    pub asked: String,
    /// What could have been asked for, joined by `; `.
    pub open: String,
}

/// `deliver all` and counted lines end after so many steps: two processes may answer each other for ever.
const REPEAT_MAX: usize = 1000;

/// Plays a script in `world`. The first law that is broken on the way is returned; the play goes on all the same,
/// so that the picture shows what comes of it.
///
/// # Errors
/// When a line names nothing that can happen.
pub fn play<P: Process>(
    world: &mut World<P>,
    laws: &[Law<P>],
    script: &str,
) -> Result<Option<Breach>, Unscripted> {
    let mut breach = judge(laws, world);
    for (number, line) in script.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (words, times) = repeated(line);
        for _ in 0..times {
            let Some(choice) = meant(world, &words) else {
                // `all` of nothing is nothing.
                if times == REPEAT_MAX {
                    break;
                }
                let open: Vec<String> = offered(world).iter().map(|one| one.tell(world)).collect();
                let (asked, open) = (line.to_string(), open.join("; "));
                return Err(Unscripted {
                    line: number + 1,
                    asked,
                    open,
                });
            };
            world.apply(&choice);
            breach = breach.or_else(|| judge(laws, world));
        }
    }
    Ok(breach)
}

/// `deliver all …` as often as possible, `tick 3` three times, everything else once.
fn repeated(line: &str) -> (Vec<&str>, usize) {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if words.get(1) == Some(&"all") {
        words.remove(1);
        return (words, REPEAT_MAX);
    }
    if let ["tick", times] = words[..]
        && let Ok(times) = times.parse::<usize>()
    {
        return (vec!["tick"], times.min(REPEAT_MAX - 1));
    }
    (words, 1)
}

/// The first thing that can happen whose text begins with these words.
fn meant<P: Process>(world: &World<P>, words: &[&str]) -> Option<Choice<P>> {
    offered(world).into_iter().find(|choice| {
        let told = choice.tell(world);
        let mut told = told.split_whitespace();
        words.iter().all(|word| told.next() == Some(*word))
    })
}

/// What a script may ask for: what can happen, and every fault whether or not the setup has a budget for it.
pub fn offered<P: Process>(world: &World<P>) -> Vec<Choice<P>> {
    let mut choices = world.choices();
    let mut more = Vec::new();
    for (from, to, message) in world.in_flight() {
        more.push(Choice::Drop(from, to, message.clone()));
        more.push(Choice::Duplicate(from, to, message.clone()));
    }
    for at in (0..world.setup().processes.len()).map(ProcessId) {
        more.extend([Choice::Crash(at), Choice::Restart(at), Choice::Pause(at)]);
    }
    more.extend((0..world.setup().cuts.len()).map(Choice::Cut));
    more.extend((0..world.setup().jumps.len()).map(Choice::Jump));
    for choice in more {
        if !choices.contains(&choice) && world.clone().apply(&choice) {
            choices.push(choice);
        }
    }
    choices
}
