//! How siblings are shown: their laws, cases, words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Cut, Faults, Law, Setup, When, World};
use base::Rng;
use std::fmt;

/// So many replicas, and clients that read and write so often.
fn setup(n_replicas: usize, clients: &[(u8, u8)], broken: Broken) -> Setup<Party> {
    let replicas: Vec<ProcessId> = (0..n_replicas).map(ProcessId).collect();
    let mut parties = Vec::new();
    for at in 0..n_replicas {
        let me = ProcessId(at);
        let replica = Replica {
            broken,
            others: replicas
                .iter()
                .copied()
                .filter(|other| *other != me)
                .collect(),
            n_writes: 0,
            held: BTreeSet::new(),
            done: BTreeSet::new(),
        };
        parties.push((format!("r{}", at + 1), Party::Replica(replica)));
    }
    for (at, (reads_left, writes_left)) in clients.iter().enumerate() {
        let client = Client {
            replicas: replicas.clone(),
            reads_left: *reads_left,
            writes_left: *writes_left,
            request: 0,
            is_waiting: false,
            read: BTreeSet::new(),
            context: Vector::default(),
        };
        parties.push((format!("c{}", at + 1), Party::Client(client)));
    }
    let sides = vec![vec![ProcessId(0)], replicas[1..].to_vec()];
    Setup {
        cuts: vec![Cut {
            name: "r1-alone",
            sides,
        }],
        ..Setup::new(parties)
    }
}

impl Algorithm for Siblings {
    type Process = Party;

    const NAME: &'static str = "siblings";
    const KIND: Kind = Kind::Consistency;
    const LINE: &'static str = "concurrent writes stand side by side until somebody merges them";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[KEEP_CONCURRENT, DROP_ANCESTORS, STAY_REPLACED, DOTS];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "merge",
            says: "c1 and c2 write at the same time; c1 reads both, and its next write replaces them",
            broken: None,
            script: include_str!("scenarios/merge.txt"),
        },
        Scenario {
            name: "same-replica",
            says: "c2 has read nothing and writes by way of r1 after c1: without dots c1's write is gone",
            broken: Some("dots"),
            script: include_str!("scenarios/same-replica.txt"),
        },
    ];
    const SMALL: &'static str =
        "2 replicas, 2 clients; one reads once and writes twice, one writes; any order";
    const LARGE: &'static str =
        "3 replicas, 3 clients that read twice and write twice; duplicates, crashes, cuts";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "convergence",
                says: "after silence all replicas hold the same siblings",
                when: When::AtRest,
                holds: convergence,
            },
            Law {
                name: "nothing-is-lost",
                says: "after silence every replica holds each acknowledged write, or one by somebody who knew it",
                when: When::AtRest,
                holds: nothing_is_lost,
            },
            Law {
                name: "descendants-replace",
                says: "after silence no replica holds a write beside one by somebody who had read it",
                when: When::AtRest,
                holds: descendants_replace,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        setup(2, &[(1, 2), (0, 1)], broken)
    }

    fn stage(broken: Broken) -> Setup<Party> {
        setup(2, &[(1, 2), (0, 1)], broken)
    }

    fn large(broken: Broken, _: &mut Rng) -> Setup<Party> {
        let mut setup = setup(3, &[(2, 2); 3], broken);
        setup.faults = Faults {
            duplicates: 4,
            crashes: 2,
            restarts: 2,
            cuts: 2,
            ..Faults::default()
        };
        setup.mortal = (0..3).map(ProcessId).collect();
        setup
    }
}

/// What each replica holds, by its name.
fn held(world: &World<Party>) -> impl Iterator<Item = (&str, BTreeSet<Dot>)> {
    let names = world
        .setup()
        .processes
        .iter()
        .map(|(name, _)| name.as_str());
    names
        .zip(world.processes())
        .filter_map(|(name, party)| match party {
            Party::Replica(replica) => {
                let dots = replica.held.iter().map(|version| version.dot);
                Some((name, dots.collect()))
            }
            Party::Client(_) => None,
        })
}

/// All that was known when `dot` was written: what its client had read, what was known when that was written, and so
/// on. From what clients saw alone.
fn ancestors(facts: &[Fact], dot: Dot) -> BTreeSet<Dot> {
    let mut known = BTreeSet::new();
    let mut open = vec![dot];
    while let Some(next) = open.pop() {
        for Fact::Wrote(written, read) in facts {
            if *written == next {
                open.extend(read.iter().copied().filter(|dot| known.insert(*dot)));
            }
        }
    }
    known
}

fn nothing_is_lost(world: &World<Party>) -> Result<(), String> {
    let facts = world.facts();
    for (replica, dots) in held(world) {
        for Fact::Wrote(written, _) in facts {
            let is_kept = dots.contains(written)
                || dots
                    .iter()
                    .any(|dot| ancestors(facts, *dot).contains(written));
            if !is_kept {
                return Err(format!(
                    "{written} was acknowledged, nobody who wrote had read it, and {replica} holds {}",
                    told(&dots)
                ));
            }
        }
    }
    Ok(())
}

fn descendants_replace(world: &World<Party>) -> Result<(), String> {
    let facts = world.facts();
    for (replica, dots) in held(world) {
        for dot in &dots {
            if let Some(old) = ancestors(facts, *dot).intersection(&dots).next() {
                return Err(format!(
                    "who wrote {dot} had read {old}, and {replica} holds both"
                ));
            }
        }
    }
    Ok(())
}

fn convergence(world: &World<Party>) -> Result<(), String> {
    let Some((first, dots)) = held(world).next() else {
        return Ok(());
    };
    match held(world).find(|(_, others)| *others != dots) {
        Some((other, its)) => Err(format!(
            "{first} holds {}, and {other} holds {}",
            told(&dots),
            told(&its)
        )),
        None => Ok(()),
    }
}

fn told(dots: &BTreeSet<Dot>) -> String {
    if dots.is_empty() {
        return "nothing".into();
    }
    let dots: Vec<String> = dots.iter().map(Dot::to_string).collect();
    dots.join(" and ")
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}.{}", self.replica.0 + 1, self.number)
    }
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.iter();
        let entries: Vec<String> = entries
            .map(|(replica, number)| format!("r{}:{number}", replica.0 + 1))
            .collect();
        write!(f, "[{}]", entries.join(" "))
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Read(_) => write!(f, "read"),
            Message::Siblings(_, dots, context) => write!(f, "{}, context {context}", told(dots)),
            Message::Write(_, context) => write!(f, "write, context {context}"),
            Message::Written(_, dot) => write!(f, "written as {dot}"),
            Message::Copy(versions) => {
                let versions: Vec<String> = versions
                    .iter()
                    .map(|version| format!("{}{}", version.dot, version.context))
                    .collect();
                write!(f, "copy {}", versions.join(" "))
            }
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fact::Wrote(dot, read) = self;
        write!(f, "{dot} is acknowledged, after {}", told(read))
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Reads(replica) => write!(f, "reads r{}", replica.0 + 1),
            Act::Writes(replica) => write!(f, "writes r{}", replica.0 + 1),
        }
    }
}
