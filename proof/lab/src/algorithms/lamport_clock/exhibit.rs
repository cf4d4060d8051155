//! How Lamport clocks are shown: their laws, cases, words.

use super::*;
use crate::algorithm::Algorithm;
use crate::algorithms::happened::Past;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Faults, Law, Setup, When, World};
use base::Rng;
use std::fmt;

/// A process for each number, which acts so many times.
fn setup(acts: &[u8], broken: Broken) -> Setup<Party> {
    let party = |(at, acts): (usize, &u8), n: usize| {
        let life = Life::new(at, n, *acts);
        let party = Party {
            broken,
            life,
            number: 0,
        };
        (format!("p{}", at + 1), party)
    };
    Setup::new(acts.iter().enumerate().map(|one| party(one, acts.len())))
}

impl Algorithm for LamportClock {
    type Process = Party;

    const NAME: &'static str = "lamport-clock";
    const KIND: Kind = Kind::Time;
    const LINE: &'static str = "numbers that rise along every arrow: a → b implies L(a) < L(b)";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[TAKE_MAXIMUM, ADD_ONE, TIES_BY_PROCESS, READ_ONE_WAY];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "arrows",
            says: "the numbers rise from process to process along the messages",
            broken: None,
            script: include_str!("scenarios/arrows.txt"),
        },
        Scenario {
            name: "concurrent",
            says: "L(p1.1) = 1 < 3 = L(p2.3), and yet neither knows of the other",
            broken: None,
            script: include_str!("scenarios/concurrent.txt"),
        },
        Scenario {
            name: "not-the-converse",
            says: "somebody takes the lower number for the cause",
            broken: Some("read-one-way"),
            script: include_str!("scenarios/concurrent.txt"),
        },
    ];
    const SMALL: &'static str =
        "3 processes that work or send twice, once and once (a state is a whole history)";
    const LARGE: &'static str =
        "4 processes that work or send eight times each; losses, duplicates";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "clock-condition",
                says: "when a happened before b, L(a) < L(b)",
                when: When::Always,
                holds: clock_condition,
            },
            Law {
                name: "total-order",
                says: "no two events have the same place in the order of (number, process)",
                when: When::Always,
                holds: total_order,
            },
            Law {
                name: "conclusions-are-true",
                says: "what is read off two stamps is so",
                when: When::Always,
                holds: conclusions_are_true,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        setup(&[2, 1, 1], broken)
    }

    fn stage(broken: Broken) -> Setup<Party> {
        setup(&[4, 4, 4], broken)
    }

    fn large(broken: Broken, _: &mut Rng) -> Setup<Party> {
        let faults = Faults {
            drops: 4,
            duplicates: 4,
            ..Faults::default()
        };
        Setup {
            faults,
            ..setup(&[8; 4], broken)
        }
    }
}

/// Compares the last event with every earlier one: all pairs, since this is asked after every step.
fn each_pair(
    world: &World<Party>,
    holds: impl Fn(Stamped, Stamped, &Past) -> Result<(), String>,
) -> Result<(), String> {
    let facts = world.facts();
    let past = Past::of_last(facts.iter().map(|fact| fact.event));
    match (facts.split_last(), past) {
        (Some((last, earlier)), Some(past)) => {
            earlier.iter().try_for_each(|one| holds(*one, *last, &past))
        }
        _ => Ok(()),
    }
}

fn clock_condition(world: &World<Party>) -> Result<(), String> {
    each_pair(world, |a, b, past| {
        if past.has(a.event.id) && a.stamp.number >= b.stamp.number {
            return Err(format!(
                "{} happened before {}, and has {}, not less than {}",
                a.event.id, b.event.id, a.stamp.number, b.stamp.number
            ));
        }
        Ok(())
    })
}

fn total_order(world: &World<Party>) -> Result<(), String> {
    let broken = world.process(ProcessId(0)).broken;
    each_pair(world, |a, b, _| {
        if a.stamp.order(b.stamp, broken) == Ordering::Equal {
            return Err(format!(
                "neither of {} and {} comes first: both have {}",
                a.event.id, b.event.id, a.stamp.number
            ));
        }
        Ok(())
    })
}

fn conclusions_are_true(world: &World<Party>) -> Result<(), String> {
    let broken = world.process(ProcessId(0)).broken;
    each_pair(world, |earlier, later, past| {
        // The earlier one of the run may have the higher number: then it is the second of the two.
        let is_turned = earlier.stamp.number > later.stamp.number;
        let is_cause = past.has(earlier.event.id);
        let (a, b) = if is_turned {
            (later, earlier)
        } else {
            (earlier, later)
        };
        let told = a.stamp.tells(b.stamp, broken);
        let is_so = match told {
            Conclusion::NotAfter => !(is_turned && is_cause),
            Conclusion::Concurrent => !is_cause,
            Conclusion::Before => !is_turned && is_cause,
        };
        if is_so {
            return Ok(());
        }
        Err(format!(
            "L({}) = {} and L({}) = {}: {told}, which is not so",
            a.event.id, a.stamp.number, b.event.id, b.stamp.number
        ))
    })
}

impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Conclusion::NotAfter => "\"the second did not happen before the first\"",
            Conclusion::Concurrent => "\"neither happened before the other\"",
            Conclusion::Before => "\"the first happened before the second\"",
        })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message with {}", self.number)
    }
}

impl fmt::Display for Stamped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L({}) = {}", self.event.id, self.stamp.number)
    }
}
