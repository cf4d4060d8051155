//! How last writer wins is shown: its laws, cases, words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Cut, Faults, Law, Setup, Time, When, World};
use base::Rng;
use std::fmt;

/// So many replicas, and a client for each number that writes so often.
fn setup(n_replicas: usize, writes: &[u8], horizon: u32, broken: Broken) -> Setup<Party> {
    let replicas: Vec<ProcessId> = (0..n_replicas).map(ProcessId).collect();
    let mut parties = Vec::new();
    for at in 0..n_replicas {
        let is_behind = broken.is(&CLOCKS_IN_STEP) && at + 1 == n_replicas;
        let me = ProcessId(at);
        let replica = Replica {
            broken,
            error: if is_behind { -3 } else { 0 },
            others: replicas
                .iter()
                .copied()
                .filter(|other| *other != me)
                .collect(),
            held: None,
            taken: BTreeSet::new(),
        };
        parties.push((format!("r{}", at + 1), Party::Replica(replica)));
    }
    for (at, writes_left) in writes.iter().enumerate() {
        let client = Client {
            replicas: replicas.clone(),
            writes_left: *writes_left,
            n_writes: 0,
            letter: ['a', 'b', 'c'][at % 3],
            open: None,
        };
        parties.push((format!("c{}", at + 1), Party::Client(client)));
    }
    let sides = vec![vec![ProcessId(0)], replicas[1..].to_vec()];
    Setup {
        time: Time::Ticks {
            horizon,
            delay_max: None,
        },
        cuts: vec![Cut {
            name: "r1-alone",
            sides,
        }],
        ..Setup::new(parties)
    }
}

impl Algorithm for LastWriterWins {
    type Process = Party;

    const NAME: &'static str = "last-writer-wins";
    const KIND: Kind = Kind::Consistency;
    const LINE: &'static str = "all end with the same value, and an acknowledged write may be lost";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[TIE_BREAK, SAME_ORDER, CLOCKS_IN_STEP];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "at-once",
            says: "two clients write at the same time, both are told that it is taken; one write is gone",
            broken: None,
            script: include_str!("scenarios/at-once.txt"),
        },
        Scenario {
            name: "skewed",
            says: "c1 writes, then c2, where the clock is behind: the later write is lost, and c2 told that it is taken",
            broken: Some("clocks-in-step"),
            script: include_str!("scenarios/skewed.txt"),
        },
    ];
    const SMALL: &'static str =
        "2 replicas, 2 clients that write once each, 2 ticks; messages in any order";
    const LARGE: &'static str =
        "3 replicas, 3 clients that write 3 times each, 9 ticks; duplicates, crashes, cuts";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "convergence",
                says: "after silence all replicas hold the same",
                when: When::AtRest,
                holds: convergence,
            },
            Law {
                name: "later-write-wins",
                says: "after silence no write is held that was acknowledged before another one began",
                when: When::AtRest,
                holds: later_write_wins,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        setup(2, &[1, 1], 2, broken)
    }

    fn stage(broken: Broken) -> Setup<Party> {
        setup(2, &[1, 1], 3, broken)
    }

    fn large(broken: Broken, _: &mut Rng) -> Setup<Party> {
        let mut setup = setup(3, &[3; 3], 9, broken);
        setup.faults = Faults {
            duplicates: 5,
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
fn held(world: &World<Party>) -> impl Iterator<Item = (&str, Option<Value>)> {
    let names = world
        .setup()
        .processes
        .iter()
        .map(|(name, _)| name.as_str());
    names
        .zip(world.processes())
        .filter_map(|(name, party)| match party {
            Party::Replica(replica) => Some((name, replica.held.map(|held| held.value))),
            Party::Client(_) => None,
        })
}

fn convergence(world: &World<Party>) -> Result<(), String> {
    let Some((first, value)) = held(world).next() else {
        return Ok(());
    };
    match held(world).find(|(_, other)| *other != value) {
        Some((replica, other)) => Err(format!(
            "{first} holds {}, and {replica} holds {}",
            told(value),
            told(other)
        )),
        None => Ok(()),
    }
}

fn later_write_wins(world: &World<Party>) -> Result<(), String> {
    let facts = world.facts();
    for (replica, value) in held(world) {
        let Some(value) = value else { continue };
        let acknowledged = facts
            .iter()
            .position(|fact| *fact == Fact::Acknowledged(value));
        let later = facts[acknowledged.map_or(facts.len(), |at| at + 1)..]
            .iter()
            .find_map(|fact| match fact {
                Fact::Begun(later) if facts.contains(&Fact::Acknowledged(*later)) => Some(later),
                _ => None,
            });
        if let Some(later) = later {
            return Err(format!(
                "{later} began when {value} was acknowledged, was acknowledged too, and {replica} holds {value}"
            ));
        }
    }
    Ok(())
}

fn told(value: Option<Value>) -> String {
    value.map_or("nothing".into(), |value| value.to_string())
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.letter, self.number)
    }
}

impl fmt::Display for Stamped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.value, self.clock)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Write(value) => write!(f, "write {value}"),
            Message::Taken(value) => write!(f, "taken {value}"),
            Message::Copy(stamped) => write!(f, "copy {stamped}"),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Begun(value) => write!(f, "{value} begins"),
            Fact::Acknowledged(value) => write!(f, "{value} is acknowledged"),
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Timer::Tells(value) => write!(f, "tells its user of {value}"),
            Timer::Writes(replica) => write!(f, "writes r{}", replica.0 + 1),
        }
    }
}
