//! How Paxos is shown: its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Delivery, Faults, Law, Setup, When, World};
use base::Rng;
use std::fmt;

/// How many there are: acceptors with their quorums, learners, and a proposer for each wish that may begin as many
/// rounds as it says.
pub(in crate::algorithms) struct Cast<'a> {
    pub acceptors: usize,
    pub quorums: Quorums,
    /// How many acceptors a proposer asks: the first from the first one on, the second from the second on.
    pub asked: usize,
    pub learners: usize,
    pub wishes: &'a [(Value, u8)],
}

impl Cast<'_> {
    pub(in crate::algorithms) fn setup(&self, broken: Broken) -> Setup<Party> {
        let proposers = self.wishes.len();
        let after = proposers + self.acceptors;
        let mut parties = Vec::new();
        for (at, (wish, rounds)) in self.wishes.iter().enumerate() {
            let proposer = Proposer {
                broken,
                acceptors: (at..at + self.asked)
                    .map(|place| ProcessId(proposers + place % self.acceptors))
                    .collect(),
                quorum: self.quorums.promise,
                wish: *wish,
                rounds_left: *rounds,
                ballot: Ballot::default(),
                promises: BTreeMap::new(),
            };
            parties.push((format!("p{}", at + 1), Party::Proposer(proposer)));
        }
        for at in 1..=self.acceptors {
            let acceptor = Acceptor {
                broken,
                learners: (after..after + self.learners).map(ProcessId).collect(),
                promised: Ballot::default(),
                accepted: None,
            };
            parties.push((format!("a{at}"), Party::Acceptor(acceptor)));
        }
        for at in 1..=self.learners {
            let learner = Learner {
                quorum: self.quorums.accept,
                heard: BTreeMap::new(),
            };
            let name = if self.learners == 1 {
                "l".into()
            } else {
                format!("l{at}")
            };
            parties.push((name, Party::Learner(learner)));
        }
        Setup::new(parties)
    }
}

fn setup(
    acceptors: usize,
    learners: usize,
    wishes: &[(Value, u8)],
    broken: Broken,
) -> Setup<Party> {
    let quorums = Quorums::majority(acceptors, broken);
    Cast {
        acceptors,
        quorums,
        asked: acceptors,
        learners,
        wishes,
    }
    .setup(broken)
}

/// The smallest case in which this rule matters.
fn small(rule: Broken, broken: Broken) -> Setup<Party> {
    if rule.is(&ADOPT_HIGHEST) {
        // Which ballot is the highest is a question only where two values were accepted before a third ballot.
        let cast = Cast {
            acceptors: 3,
            quorums: Quorums::majority(3, broken),
            asked: 2,
            learners: 1,
            wishes: &[('x', 2), ('y', 1)],
        };
        return Setup {
            delivery: Delivery::Fifo,
            ..cast.setup(broken)
        };
    }
    let setup = setup(3, 1, &[('x', 1), ('y', 1)], broken);
    if !rule.is(&KEEP_ON_DISK) {
        return setup;
    }
    let faults = Faults {
        crashes: 1,
        restarts: 1,
        ..Faults::default()
    };
    Setup {
        faults,
        mortal: vec![ProcessId(3)],
        delivery: Delivery::Fifo,
        ..setup
    }
}

/// What everybody must agree on who calls it Paxos.
pub(in crate::algorithms) fn laws() -> Vec<Law<Party>> {
    vec![
        Law {
            name: "agreement",
            says: "no two different values are learnt",
            when: When::Always,
            holds: agreement,
        },
        Law {
            name: "validity",
            says: "what is learnt was somebody's wish",
            when: When::Always,
            holds: validity,
        },
    ]
}

impl Algorithm for Paxos {
    type Process = Party;

    const NAME: &'static str = "paxos";
    const KIND: Kind = Kind::Consensus;
    const LINE: &'static str = "one value, chosen by a majority, never unchosen";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[ADOPT, ADOPT_HIGHEST, KEEP_PROMISE, MAJORITY, KEEP_ON_DISK];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "adopt",
            says: "x is chosen before anybody knows, and p2 must choose it again",
            broken: None,
            script: include_str!("scenarios/adopt.txt"),
        },
        Scenario {
            name: "duel",
            says: "two proposers take away each other's promises: they stall, and do not disagree",
            broken: None,
            script: include_str!("scenarios/duel.txt"),
        },
        Scenario {
            name: "amnesia",
            says: "p2 comes back after a crash, and promises for its old ballot count for nothing",
            broken: None,
            script: include_str!("scenarios/amnesia.txt"),
        },
    ];
    const SMALL: &'static str = "2 proposers with one round each, 3 acceptors";
    const LARGE: &'static str =
        "3 proposers with 4 rounds each, 3 or 5 acceptors, 2 learners; crashes, losses, duplicates";

    fn laws() -> Vec<Law<Party>> {
        laws()
    }

    fn small(broken: Broken) -> Setup<Party> {
        small(broken, broken)
    }

    fn small_is(broken: Broken) -> &'static str {
        if broken.is(&ADOPT_HIGHEST) {
            "2 proposers with two rounds and one, who ask 2 of 3 acceptors; links that keep the order"
        } else if broken.is(&KEEP_ON_DISK) {
            "2 proposers with one round each, 3 acceptors of which one crashes, links that keep the order"
        } else {
            Self::SMALL
        }
    }

    fn kept(rule: &Break) -> Option<Setup<Party>> {
        [ADOPT_HIGHEST, KEEP_ON_DISK]
            .contains(rule)
            .then(|| small(Broken::without(rule), Broken::NOTHING))
    }

    fn stage(broken: Broken) -> Setup<Party> {
        setup(3, 1, &[('x', 3), ('y', 3)], broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Party> {
        let acceptors = if rng.one_in(2) { 3 } else { 5 };
        let faults = Faults {
            crashes: 3,
            restarts: 3,
            drops: 5,
            duplicates: 5,
            ..Faults::default()
        };
        Setup {
            faults,
            ..setup(acceptors, 2, &[('x', 4), ('y', 4), ('z', 4)], broken)
        }
    }
}

fn agreement(world: &World<Party>) -> Result<(), String> {
    let mut learnt = world.facts().iter();
    let Some(Learnt(first)) = learnt.next() else {
        return Ok(());
    };
    match learnt.find(|Learnt(value)| value != first) {
        Some(Learnt(other)) => Err(format!("{first} was chosen, and {other} too")),
        None => Ok(()),
    }
}

fn validity(world: &World<Party>) -> Result<(), String> {
    let wishes: Vec<Value> = world
        .processes()
        .filter_map(|party| match party {
            Party::Proposer(proposer) => Some(proposer.wish),
            _ => None,
        })
        .collect();
    match world
        .facts()
        .iter()
        .find(|Learnt(value)| !wishes.contains(value))
    {
        Some(Learnt(value)) => Err(format!("{value} was chosen, and nobody wanted it")),
        None => Ok(()),
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.p{}", self.0, self.1)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Prepare(ballot) => write!(f, "prepare {ballot}"),
            Message::Promise(ballot, None) => write!(f, "promise {ballot}"),
            Message::Promise(ballot, Some((of, value))) => {
                write!(f, "promise {ballot}, had accepted {value} in {of}")
            }
            Message::Accept(ballot, value) => write!(f, "accept {value} in {ballot}"),
            Message::Accepted(ballot, value) => write!(f, "accepted {value} in {ballot}"),
        }
    }
}

impl fmt::Display for Learnt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is chosen", self.0)
    }
}
