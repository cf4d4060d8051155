//! How the set is shown: its laws, cases, words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Cut, Faults, Law, Setup, When, World};
use base::Rng;
use std::fmt;

/// A replica for each number, which adds or removes so many times.
fn setup(wishes: &[u8], names: &[Name], broken: Broken) -> Setup<Replica> {
    let n = wishes.len();
    let replica = |(at, wishes_left): (usize, &u8)| {
        let adds = names.iter().copied().map(Wish::Add);
        let removes = names.iter().copied().map(Wish::Remove);
        let replica = Replica {
            broken,
            others: (0..n).filter(|other| *other != at).map(ProcessId).collect(),
            wishes: adds.chain(removes).collect(),
            wishes_left: *wishes_left,
            n_adds: 0,
            state: State::default(),
        };
        (format!("r{}", at + 1), replica)
    };
    let sides = vec![vec![ProcessId(0)], (1..n).map(ProcessId).collect()];
    Setup {
        cuts: vec![Cut {
            name: "r1-alone",
            sides,
        }],
        ..Setup::new(wishes.iter().enumerate().map(replica))
    }
}

impl Algorithm for CrdtSet {
    type Process = Replica;

    const NAME: &'static str = "crdt-set";
    const KIND: Kind = Kind::Consistency;
    const LINE: &'static str =
        "a set at every replica; of an add and a remove at once the add wins";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[TAGS, REMOVE_EVERY_TAG, REMEMBER_REMOVED, UNION];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "add-wins",
            says: "r1 removes x while r2 adds it anew: the add was not seen, and stays",
            broken: None,
            script: include_str!("scenarios/add-wins.txt"),
        },
        Scenario {
            name: "by-name",
            says: "the same, when a remove means the name: r2's add is lost",
            broken: Some("tags"),
            script: include_str!("scenarios/add-wins.txt"),
        },
    ];
    const SMALL: &'static str =
        "3 replicas, of which one adds or removes a name twice and one once; messages in any order";
    const LARGE: &'static str =
        "4 replicas that add or remove two names 3 times each; duplicates, crashes, cuts";

    fn laws() -> Vec<Law<Replica>> {
        vec![
            Law {
                name: "convergence",
                says: "after silence all replicas hold the same",
                when: When::AtRest,
                holds: convergence,
            },
            Law {
                name: "add-wins",
                says: "after silence a name is there when one of its adds was seen by no remove",
                when: When::AtRest,
                holds: add_wins,
            },
            Law {
                name: "removed-stays-removed",
                says: "after silence a name is not there when every add of it was seen by a remove",
                when: When::AtRest,
                holds: removed_stays_removed,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Replica> {
        setup(&[2, 1, 0], &['x'], broken)
    }

    fn stage(broken: Broken) -> Setup<Replica> {
        setup(&[2, 1], &['x'], broken)
    }

    fn large(broken: Broken, _: &mut Rng) -> Setup<Replica> {
        let mut setup = setup(&[3; 4], &['x', 'y'], broken);
        setup.faults = Faults {
            duplicates: 6,
            crashes: 2,
            restarts: 2,
            cuts: 2,
            ..Faults::default()
        };
        setup
    }
}

/// What each replica shows, by its name.
fn shown(world: &World<Replica>) -> impl Iterator<Item = (&str, BTreeSet<Name>)> {
    let names = world
        .setup()
        .processes
        .iter()
        .map(|(name, _)| name.as_str());
    names.zip(
        world
            .processes()
            .map(|replica| replica.state.names(replica.broken)),
    )
}

/// The names that have an add which no remove had seen: from what was done alone.
fn wanted(world: &World<Replica>) -> BTreeSet<Name> {
    let is_removed = |added: &Name, tag: &Tag| {
        world.facts().iter().any(
            |fact| matches!(fact, Fact::Removed(name, seen) if name == added && seen.contains(tag)),
        )
    };
    let wanted = world.facts().iter().filter_map(|fact| match fact {
        Fact::Added(name, tag) if !is_removed(name, tag) => Some(*name),
        _ => None,
    });
    wanted.collect()
}

fn convergence(world: &World<Replica>) -> Result<(), String> {
    let Some((first, names)) = shown(world).next() else {
        return Ok(());
    };
    match shown(world).find(|(_, others)| *others != names) {
        Some((other, its)) => Err(format!(
            "{first} holds {}, and {other} holds {}",
            braced(&names),
            braced(&its)
        )),
        None => Ok(()),
    }
}

fn add_wins(world: &World<Replica>) -> Result<(), String> {
    let wanted = wanted(world);
    match shown(world).find(|(_, names)| !names.is_superset(&wanted)) {
        Some((replica, names)) => Err(format!(
            "no remove has seen the last adds of {}, and {replica} holds {}",
            braced(&wanted),
            braced(&names)
        )),
        None => Ok(()),
    }
}

fn removed_stays_removed(world: &World<Replica>) -> Result<(), String> {
    let wanted = wanted(world);
    match shown(world).find(|(_, names)| !names.is_subset(&wanted)) {
        Some((replica, names)) => Err(format!(
            "all but {} was removed by those who had seen it, and {replica} holds {}",
            braced(&wanted),
            braced(&names)
        )),
        None => Ok(()),
    }
}

fn braced(names: &BTreeSet<Name>) -> String {
    let names: Vec<String> = names.iter().map(char::to_string).collect();
    format!("{{{}}}", names.join(" "))
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}.{}", self.0.0 + 1, self.1)
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wish::Add(name) => write!(f, "add {name}"),
            Wish::Remove(name) => write!(f, "remove {name}"),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Added(_, tag) => write!(f, "tag {tag}"),
            Fact::Removed(_, seen) if seen.is_empty() => write!(f, "it has seen no add"),
            Fact::Removed(_, seen) => {
                let tags: Vec<String> = seen.iter().map(Tag::to_string).collect();
                write!(f, "takes away {}", tags.join(" "))
            }
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |tags: &BTreeSet<(Name, Tag)>| {
            let tags: Vec<String> = tags
                .iter()
                .map(|(name, tag)| format!("{name}:{tag}"))
                .collect();
            if tags.is_empty() {
                "none".into()
            } else {
                tags.join(" ")
            }
        };
        write!(
            f,
            "added {}, removed {}",
            row(&self.added),
            row(&self.removed)
        )
    }
}
