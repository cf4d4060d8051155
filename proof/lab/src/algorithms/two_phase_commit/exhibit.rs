//! How two-phase commit is shown: its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Condition, Delivery, Faults, Law, Setup, When, World};
use base::Rng;

/// A coordinator and `n` participants, which ask so often what was decided.
fn setup(n: usize, wonders_left: u8, faults: Faults, broken: Broken) -> Setup<Party> {
    let participants: Vec<ProcessId> = (1..=n).map(ProcessId).collect();
    let coordinator = Coordinator {
        broken,
        participants,
        votes: BTreeMap::new(),
        decided: None,
    };
    let participant = Participant {
        broken,
        all: (0..=n).map(ProcessId).collect(),
        is_prepared: false,
        decided: None,
        wonders_left,
    };
    let mut parties = vec![("c".to_string(), Party::Coordinator(coordinator))];
    for at in 1..=n {
        let participant = Party::Participant(participant.clone());
        parties.push((format!("p{at}"), participant));
    }
    Setup {
        delivery: Delivery::Fifo,
        faults,
        ..Setup::new(parties)
    }
}

impl Algorithm for TwoPhaseCommit {
    type Process = Party;

    const NAME: &'static str = "two-phase-commit";
    const KIND: Kind = Kind::Replication;
    const LINE: &'static str = "all or nothing in several places; who is prepared has to wait";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[
        LOG_BEFORE_VOTE,
        LOG_BEFORE_TELLING,
        WAIT_FOR_ALL,
        WAIT_WHEN_PREPARED,
        ASK_ON_RETURN,
    ];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "veto",
            says: "p1 can, p2 cannot: nothing takes effect",
            broken: None,
            script: include_str!("scenarios/veto.txt"),
        },
        Scenario {
            name: "blocked",
            says: "the decision is on the disk of a coordinator that is down: both wait until it is back",
            broken: None,
            script: include_str!("scenarios/blocked.txt"),
        },
        Scenario {
            name: "impatient",
            says: "the same, and p1 does not wait: half of it takes effect",
            broken: Some(WAIT_WHEN_PREPARED.rule),
            script: include_str!("scenarios/impatient.txt"),
        },
    ];
    const SMALL: &'static str =
        "a coordinator and 2 participants that can or cannot; 2 crashes, 2 returns";
    const LARGE: &'static str =
        "a coordinator and 2 to 4 participants that can or cannot; crashes, losses, duplicates";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "atomicity",
                says: "no two decide differently, now or later",
                when: When::Always,
                holds: atomicity,
            },
            Law {
                name: "validity",
                says: "commit is decided only if all have voted yes",
                when: When::Always,
                holds: validity,
            },
            Law {
                name: "all-decided",
                says: "when all is calm, everybody is up and nothing was lost between them, everybody has decided",
                when: When::AtRest,
                holds: all_decided,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        let faults = Faults {
            crashes: 2,
            restarts: 2,
            ..Faults::default()
        };
        setup(2, 1, faults, broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Party> {
        let n = rng.between(2, 4) as usize;
        let faults = Faults {
            crashes: 3,
            restarts: 3,
            drops: 3,
            duplicates: 3,
            ..Faults::default()
        };
        let delivery = if rng.one_in(2) {
            Delivery::Any
        } else {
            Delivery::Fifo
        };
        Setup {
            delivery,
            ..setup(n, 3, faults, broken)
        }
    }
}

fn atomicity(world: &World<Party>) -> Result<(), String> {
    let mut facts = world.facts().iter();
    let Some(Fact(one, first)) = facts.next() else {
        return Ok(());
    };
    match facts.find(|Fact(_, outcome)| outcome != first) {
        Some(Fact(other, outcome)) => {
            let (one, other) = (world.name(*one), world.name(*other));
            Err(format!("{one} decided {first}, and {other} {outcome}"))
        }
        None => Ok(()),
    }
}

fn validity(world: &World<Party>) -> Result<(), String> {
    let is_commit = |Fact(_, outcome): &Fact| *outcome == Outcome::Commit;
    if !world.facts().iter().any(is_commit) {
        return Ok(());
    }
    let has_not_voted =
        |party: &Party| matches!(party, Party::Participant(one) if !one.is_prepared);
    match world.processes().position(has_not_voted) {
        Some(at) => {
            let name = world.name(ProcessId(at));
            Err(format!("commit was decided, and {name} has not voted yes"))
        }
        None => Ok(()),
    }
}

fn all_decided(world: &World<Party>) -> Result<(), String> {
    let mut all = (0..world.setup().processes.len()).map(ProcessId);
    let is_up = |at: ProcessId| world.condition(at) == Condition::Up;
    if world.done().drops > 0 || !all.clone().all(is_up) {
        return Ok(());
    }
    let is_undecided = |at: &ProcessId| match world.process(*at) {
        Party::Coordinator(coordinator) => coordinator.decided.is_none(),
        Party::Participant(participant) => participant.decided.is_none(),
    };
    match all.find(is_undecided) {
        Some(at) => Err(format!("{} has not decided", world.name(at))),
        None => Ok(()),
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Prepare => f.write_str("prepare"),
            Message::Yes => f.write_str("yes"),
            Message::No => f.write_str("no"),
            Message::Decided(outcome) => write!(f, "{outcome}"),
            Message::Ask => f.write_str("what was decided?"),
            Message::Unknown => f.write_str("I do not know either"),
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Timer::Begin => "begins",
            Timer::GiveUp => "gives up waiting",
            Timer::Can => "can",
            Timer::Cannot => "cannot",
            Timer::Wonder => "wonders",
        })
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "decides {}", self.1)
    }
}
