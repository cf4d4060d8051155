//! How gossip is shown: its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Condition, Faults, Law, Setup, Time, When, World};
use base::Rng;

/// Nodes; the first is where things change. Each pull and its answer take up to `delay` ticks, and `drops` messages
/// may be lost: time enough that everybody has asked everybody once more than that.
fn setup(
    n: usize,
    changes: u8,
    doubts_max: u8,
    delay: u32,
    drops: u8,
    broken: Broken,
) -> Setup<Node> {
    let node = |at: usize| {
        let mut others: Vec<ProcessId> =
            (0..n).filter(|other| *other != at).map(ProcessId).collect();
        // Each has an order of its own, and the origin comes late in it.
        others.rotate_left(at.min(n - 2));
        let node = Node {
            broken,
            others,
            changes: if at == 0 { changes } else { 0 },
            doubts_max,
            // There and back, and a tick.
            patience: 2 * delay + 1,
            news: 0,
            doubts: None,
            next: 0,
        };
        (format!("n{}", at + 1), node)
    };
    let horizon = (n as u32 - 1) * (u32::from(drops) + 1) + 2 * delay;
    Setup {
        time: Time::Ticks {
            horizon,
            delay_max: Some(delay),
        },
        faults: Faults {
            drops,
            ..Faults::default()
        },
        ..Setup::new((0..n).map(node))
    }
}

/// The case in which this rule is missed, with or without it.
fn small(needs: Broken, broken: Broken) -> Setup<Node> {
    match needs.rule() {
        None => setup(3, 1, 1, 0, 1, broken),
        // The same, and nothing is lost: what a rumour misses it misses by itself.
        Some(_) if needs.is(&ANTI_ENTROPY) => Setup {
            faults: Faults::default(),
            ..setup(3, 1, 1, 0, 1, broken)
        },
        // Old news and new at the same time.
        Some(_) if needs.is(&KEEP_NEWEST) => setup(2, 2, 1, 0, 0, broken),
        // The one whom the others may tell and ask may be gone.
        Some(_) => Setup {
            faults: Faults {
                crashes: 1,
                ..Faults::default()
            },
            mortal: vec![ProcessId(1)],
            ..setup(3, 1, 1, 0, 0, broken)
        },
    }
}

impl Algorithm for Gossip {
    type Process = Node;

    const NAME: &'static str = "gossip";
    const KIND: Kind = Kind::Membership;
    const LINE: &'static str = "a rumour reaches all: quick by push, surely by pull";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[ANTI_ENTROPY, KEEP_NEWEST, IN_TURN];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "residue",
            says: "everybody who knows has fallen silent; n4 has heard nothing, and asks",
            broken: None,
            script: include_str!("scenarios/residue.txt"),
        },
        Scenario {
            name: "stale",
            says: "yesterday's rumour comes late, and today's is gone",
            broken: Some("keep-newest"),
            script: include_str!("scenarios/stale.txt"),
        },
    ];
    const SMALL: &'static str = "3 nodes, one change, silence after one doubt, one message lost";
    const LARGE: &'static str =
        "6 nodes, 2 changes, silence after 1 to 3 doubts; losses, duplicates, crashes";

    fn laws() -> Vec<Law<Node>> {
        vec![
            Law {
                name: "never-back",
                says: "nobody goes back to older news",
                when: When::Always,
                holds: never_back,
            },
            Law {
                name: "everybody-knows",
                says: "in the end everybody who is there knows the newest",
                when: When::AtRest,
                holds: everybody_knows,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Node> {
        small(broken, broken)
    }

    fn small_is(broken: Broken) -> &'static str {
        match broken.rule() {
            Some(_) if broken.is(&ANTI_ENTROPY) => {
                "3 nodes, one change, silence after one doubt, nothing lost"
            }
            Some(_) if broken.is(&KEEP_NEWEST) => "2 nodes, two changes, silence after one doubt",
            Some(_) => "3 nodes of whom n2 may die, one change, silence after one doubt",
            None => Self::SMALL,
        }
    }

    fn kept(rule: &Break) -> Option<Setup<Node>> {
        // Where nothing is lost is a part of where something may be.
        (*rule != ANTI_ENTROPY).then(|| small(Broken::without(rule), Broken::NOTHING))
    }

    fn stage(broken: Broken) -> Setup<Node> {
        let changes = if broken.is(&KEEP_NEWEST) { 2 } else { 1 };
        setup(4, changes, 1, 3, 0, broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Node> {
        let setup = setup(6, 2, rng.between(1, 3) as u8, 1, 2, broken);
        Setup {
            faults: Faults {
                crashes: 2,
                duplicates: 3,
                ..setup.faults.clone()
            },
            // What only its origin knows is gone with it.
            mortal: (1..6).map(ProcessId).collect(),
            ..setup
        }
    }
}

fn never_back(world: &World<Node>) -> Result<(), String> {
    let mut newest = vec![0; world.setup().processes.len()];
    for Believes(who, news) in world.facts() {
        if *news < newest[who.0] {
            return Err(format!(
                "{} knew {}, and believes {news}",
                world.name(*who),
                newest[who.0]
            ));
        }
        newest[who.0] = *news;
    }
    Ok(())
}

fn everybody_knows(world: &World<Node>) -> Result<(), String> {
    let newest = world.process(ProcessId(0)).news;
    let mut all = world.processes().enumerate();
    let behind = all.find(|(at, node)| {
        world.condition(ProcessId(*at)) != Condition::Down && node.news != newest
    });
    match behind {
        Some((at, node)) => Err(format!(
            "{} knows {}, and the newest is {newest}",
            world.name(ProcessId(at)),
            node.news
        )),
        None => Ok(()),
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Tell(news) => write!(f, "news {news}"),
            Message::Heard(news, true) => write!(f, "{news}: I knew"),
            Message::Heard(news, false) => write!(f, "{news}: new to me"),
            Message::Pull(news) => write!(f, "newer than {news}?"),
            Message::Newer(news) => write!(f, "yes, {news}"),
        }
    }
}

impl fmt::Display for Believes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "knows {}", self.1)
    }
}
