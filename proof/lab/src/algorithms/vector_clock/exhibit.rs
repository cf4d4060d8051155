//! How vector clocks are shown: their laws, cases, words.

use super::*;
use crate::algorithm::Algorithm;
use crate::algorithms::happened::Past;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Faults, Law, Setup, When, World};
use base::Rng;
use std::fmt;

/// A process for each number, which acts so many times.
fn setup(acts: &[u8], broken: Broken) -> Setup<Party> {
    let n = acts.len();
    let entries = n - usize::from(broken.is(&ENTRY_EACH));
    let party = |(at, acts): (usize, &u8)| {
        let party = Party {
            broken,
            life: Life::new(at, n, *acts),
            vector: Vector(vec![0; entries]),
        };
        (format!("p{}", at + 1), party)
    };
    Setup::new(acts.iter().enumerate().map(party))
}

impl Algorithm for VectorClock {
    type Process = Party;

    const NAME: &'static str = "vector-clock";
    const KIND: Kind = Kind::Time;
    const LINE: &'static str = "V(a) < V(b) exactly when a happened before b; else concurrent";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[MERGE_ALL_ENTRIES, COUNT_OWN, ENTRY_EACH];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "concurrent",
            says: "p1.1 and p2.2 are concurrent, neither vector is less; p3.2 comes after both",
            broken: None,
            script: include_str!("scenarios/concurrent.txt"),
        },
        Scenario {
            name: "through-another",
            says: "p3 hears of p1 through p2, and does not see it",
            broken: Some("merge-all-entries"),
            script: include_str!("scenarios/through.txt"),
        },
    ];
    const SMALL: &'static str =
        "3 processes that work or send twice, once and once (a state is a whole history)";
    const LARGE: &'static str =
        "3 to 6 processes that work or send six times each; losses, duplicates";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "order-is-seen",
                says: "when a happened before b, V(a) < V(b)",
                when: When::Always,
                holds: order_is_seen,
            },
            Law {
                name: "concurrency-is-seen",
                says: "when neither happened before the other, neither vector is less",
                when: When::Always,
                holds: concurrency_is_seen,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        setup(&[2, 1, 1], broken)
    }

    fn stage(broken: Broken) -> Setup<Party> {
        setup(&[4, 4, 4], broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Party> {
        let faults = Faults {
            drops: 4,
            duplicates: 4,
            ..Faults::default()
        };
        let n = rng.between(3, 6) as usize;
        Setup {
            faults,
            ..setup(&[6; 6][..n], broken)
        }
    }
}

/// The first earlier event, in or out of the past of the last one, that stands to it otherwise than expected.
fn judged(
    world: &World<Party>,
    is_past: bool,
    expected: Option<Ordering>,
    words: &str,
) -> Result<(), String> {
    let facts = world.facts();
    let past = Past::of_last(facts.iter().map(|fact| fact.event));
    let (Some((last, earlier)), Some(past)) = (facts.split_last(), past) else {
        return Ok(());
    };
    let is_wrong = |one: &&Stamped| {
        past.has(one.event.id) == is_past && one.vector.compare(&last.vector) != expected
    };
    match earlier.iter().find(is_wrong) {
        None => Ok(()),
        Some(one) => Err(format!(
            "{} {words} {}, and the vectors are {} and {}",
            one.event.id, last.event.id, one.vector, last.vector
        )),
    }
}

fn order_is_seen(world: &World<Party>) -> Result<(), String> {
    judged(world, true, Some(Ordering::Less), "happened before")
}

fn concurrency_is_seen(world: &World<Party>) -> Result<(), String> {
    judged(world, false, None, "is concurrent with")
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<String> = self.0.iter().map(u8::to_string).collect();
        write!(f, "[{}]", entries.join(" "))
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message with {}", self.vector)
    }
}

impl fmt::Display for Stamped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V({}) = {}", self.event.id, self.vector)
    }
}
