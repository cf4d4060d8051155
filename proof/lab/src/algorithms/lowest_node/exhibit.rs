//! How the election by the lowest node is shown: its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Condition, Delivery, Faults, Law, Rounds, Setup, When, World};
use base::Rng;
use std::fmt;

/// The store, and `n` contenders.
fn parties(n: usize, ends: Vec<(ProcessId, Option<u32>)>, broken: Broken) -> Vec<Party> {
    let store = Store {
        broken,
        ends,
        ended: BTreeSet::new(),
        next: 0,
        nodes: BTreeMap::new(),
        watches: BTreeMap::new(),
    };
    let contender = Contender {
        broken,
        store: ProcessId(0),
        mine: None,
        leads: false,
    };
    let contenders = std::iter::repeat_n(Party::Contender(contender), n);
    [Party::Store(store)]
        .into_iter()
        .chain(contenders)
        .collect()
}

/// Any of the contenders whose sessions end may crash before that, and need not.
fn setup(n: usize, ends: &[usize], broken: Broken) -> Setup<Party> {
    let ends: Vec<ProcessId> = ends.iter().copied().map(ProcessId).collect();
    let sessions = ends.iter().map(|who| (*who, None)).collect();
    let name = |at| {
        if at == 0 {
            "store".into()
        } else {
            format!("c{at}")
        }
    };
    let parties = parties(n, sessions, broken);
    Setup {
        delivery: Delivery::Fifo,
        faults: Faults {
            crashes: ends.len() as u8,
            ..Faults::default()
        },
        mortal: ends,
        ..Setup::new(
            parties
                .into_iter()
                .enumerate()
                .map(|(at, party)| (name(at), party)),
        )
    }
}

/// Many contenders in lock step, of which one is gone after all have found their place.
pub fn crowd(n: usize, gone: ProcessId, is_herd: bool, rounds: u32) -> Rounds<Party> {
    let broken = if is_herd {
        Broken::without(&WATCH_PREDECESSOR_ONLY)
    } else {
        Broken::NOTHING
    };
    let after = rounds / 2;
    let mut crowd = Rounds::new(parties(n, vec![(gone, Some(after))], broken), 1);
    for round in 0..rounds {
        crowd.is_down[gone.0] |= round + 1 == after;
        crowd.round();
    }
    crowd
}

/// How many were woken by each node that went.
pub fn woken(crowd: &Rounds<Party>) -> Vec<usize> {
    crowd.facts().iter().map(|(_, _, Woken(_, n))| *n).collect()
}

impl Algorithm for LowestNode {
    type Process = Party;

    const NAME: &'static str = "lowest-node";
    const KIND: Kind = Kind::Election;
    const LINE: &'static str = "a queue of ephemeral nodes: the first leads, one waits for each";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[
        WATCH_PREDECESSOR_ONLY,
        EPHEMERAL,
        LOOK_AGAIN,
        LOOK_WHEN_WATCHING,
    ];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "queue",
            says: "one that waits goes, then the leader: each time one is woken, and the last leads",
            broken: None,
            script: include_str!("scenarios/queue.txt"),
        },
        Scenario {
            name: "asleep",
            says: "the leader sleeps past its session: c2 leads, and c1 believes that it does",
            broken: None,
            script: include_str!("scenarios/asleep.txt"),
        },
        Scenario {
            name: "herd",
            says: "all watch the first: one goes, and all are woken",
            broken: Some(WATCH_PREDECESSOR_ONLY.rule),
            script: include_str!("scenarios/herd.txt"),
        },
    ];
    const SMALL: &'static str =
        "a store and 3 contenders, of which two crash or lose their sessions";
    const LARGE: &'static str =
        "a store and 3 to 8 contenders, of which half crash or lose their sessions";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "one-leader",
                says: "of those whose node is there, no two believe that they lead",
                when: When::Always,
                holds: one_leader,
            },
            Law {
                name: "one-woken",
                says: "when a node goes, no more than one is woken",
                when: When::Always,
                holds: one_woken,
            },
            Law {
                name: "somebody-leads",
                says: "when all is calm, the first of those that are left leads",
                when: When::AtRest,
                holds: somebody_leads,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        setup(3, &[1, 2], broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Party> {
        let n = rng.between(3, 8) as usize;
        let ends: Vec<usize> = (1..=n).filter(|_| rng.one_in(2)).collect();
        setup(n, &ends, broken)
    }
}

fn store(world: &World<Party>) -> Option<&Store> {
    match world.process(ProcessId(0)) {
        Party::Store(store) => Some(store),
        Party::Contender(_) => None,
    }
}

fn leads(world: &World<Party>, who: ProcessId) -> bool {
    matches!(world.process(who), Party::Contender(contender) if contender.leads)
        && world.condition(who) != Condition::Down
}

fn one_leader(world: &World<Party>) -> Result<(), String> {
    let nodes = store(world).into_iter().flat_map(|store| &store.nodes);
    let mut leading = nodes.filter(|(_, owner)| leads(world, **owner));
    match (leading.next(), leading.next()) {
        (Some((first, one)), Some((second, other))) => {
            let (one, other) = (world.name(*one), world.name(*other));
            Err(format!(
                "{one} leads with node {first}, and {other} with node {second}"
            ))
        }
        _ => Ok(()),
    }
}

fn one_woken(world: &World<Party>) -> Result<(), String> {
    match world.facts().iter().find(|Woken(_, n)| *n > 1) {
        Some(Woken(node, n)) => Err(format!("node {node} went, and {n} were woken")),
        None => Ok(()),
    }
}

fn somebody_leads(world: &World<Party>) -> Result<(), String> {
    let Some(store) = store(world) else {
        return Ok(());
    };
    let Some((node, first)) = store.nodes.iter().next() else {
        return Ok(());
    };
    if leads(world, *first) && !store.ended.contains(first) {
        return Ok(());
    }
    let name = world.name(*first);
    Err(format!(
        "the first node is {node}, and {name} does not lead"
    ))
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Create => f.write_str("create"),
            Message::Created(number) => write!(f, "created {number}"),
            Message::List => f.write_str("list"),
            Message::Nodes(nodes) => {
                let nodes: Vec<String> = nodes.iter().map(u32::to_string).collect();
                write!(f, "nodes {}", nodes.join(" "))
            }
            Message::Watch(number) => write!(f, "watch {number}"),
            Message::Missing(number) => write!(f, "{number} is not there"),
            Message::Gone(number) => write!(f, "{number} is gone"),
            Message::Ended => f.write_str("your session has ended"),
        }
    }
}

impl fmt::Display for SessionEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gives up the session of c{}", self.0.0)
    }
}

impl fmt::Display for Woken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} goes, {} woken", self.0, self.1)
    }
}
