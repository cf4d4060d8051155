//! How the counter is shown: its laws, cases, words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Cut, Faults, Law, Setup, When, World};
use base::Rng;
use std::fmt;

/// A replica for each number, which counts so many times.
fn setup(counts: &[u8], broken: Broken) -> Setup<Replica> {
    let n = counts.len();
    let replica = |(at, counts): (usize, &u8)| {
        let replica = Replica {
            broken,
            others: (0..n).filter(|other| *other != at).map(ProcessId).collect(),
            counts_left: *counts,
            state: State {
                up: vec![0; n],
                down: vec![0; n],
            },
        };
        (format!("r{}", at + 1), replica)
    };
    let sides = vec![vec![ProcessId(0)], (1..n).map(ProcessId).collect()];
    Setup {
        faults: Faults {
            duplicates: 1,
            ..Faults::default()
        },
        cuts: vec![Cut {
            name: "r1-alone",
            sides,
        }],
        ..Setup::new(counts.iter().enumerate().map(replica))
    }
}

impl Algorithm for CrdtCounter {
    type Process = Replica;

    const NAME: &'static str = "crdt-counter";
    const KIND: Kind = Kind::Consistency;
    const LINE: &'static str = "each replica counts alone, and after silence all show everything";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[OWN_SLOT, SLOTS_GROW, TAKE_MAXIMUM];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "cut",
            says: "all count while the network is cut; what arrives late, turned round and twice, is harmless",
            broken: None,
            script: include_str!("scenarios/cut.txt"),
        },
        Scenario {
            name: "twice",
            says: "a plain number, merged by addition: what arrives twice counts twice",
            broken: Some("take-maximum"),
            script: include_str!("scenarios/twice.txt"),
        },
    ];
    const SMALL: &'static str =
        "3 replicas, of which one counts up or down twice and one once; one message comes twice";
    const LARGE: &'static str =
        "4 replicas that count 3 times each; duplicates, crashes, the network parts";

    fn laws() -> Vec<Law<Replica>> {
        vec![
            Law {
                name: "convergence",
                says: "after silence all replicas show the same",
                when: When::AtRest,
                holds: convergence,
            },
            Law {
                name: "counts-everything",
                says: "after silence a replica shows all that users counted",
                when: When::AtRest,
                holds: counts_everything,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Replica> {
        setup(&[2, 1, 0], broken)
    }

    fn stage(broken: Broken) -> Setup<Replica> {
        setup(&[2, 1, 1], broken)
    }

    fn large(broken: Broken, _: &mut Rng) -> Setup<Replica> {
        let mut setup = setup(&[3; 4], broken);
        setup.faults = Faults {
            duplicates: 8,
            crashes: 2,
            restarts: 2,
            cuts: 2,
            ..Faults::default()
        };
        setup
    }
}

fn values(world: &World<Replica>) -> impl Iterator<Item = (&str, i8)> {
    let names = world
        .setup()
        .processes
        .iter()
        .map(|(name, _)| name.as_str());
    names.zip(world.processes().map(|replica| replica.state.value()))
}

fn convergence(world: &World<Replica>) -> Result<(), String> {
    let Some((first, shown)) = values(world).next() else {
        return Ok(());
    };
    match values(world).find(|(_, value)| *value != shown) {
        Some((other, value)) => Err(format!("{first} shows {shown}, and {other} shows {value}")),
        None => Ok(()),
    }
}

fn counts_everything(world: &World<Replica>) -> Result<(), String> {
    let counted = world.facts().iter().map(|Counted(count)| match count {
        Count::Up => 1,
        Count::Down => -1,
    });
    let all: i8 = counted.sum();
    match values(world).find(|(_, value)| *value != all) {
        Some((name, value)) => Err(format!("{all} was counted, and {name} shows {value}")),
        None => Ok(()),
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Count::Up => "up",
            Count::Down => "down",
        })
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "counted")
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |slots: &[i8]| {
            let slots: Vec<String> = slots.iter().map(i8::to_string).collect();
            slots.join(" ")
        };
        write!(f, "up {}, down {}", row(&self.up), row(&self.down))
    }
}
