//! How EPaxos is shown: its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Break, Kind, Scenario};
use crate::kernel::{Faults, Law, Setup, When, World};
use base::Rng;
use std::fmt;

pub(super) const REPORT_INTERFERENCE: Break = Break {
    rule: "report-interference",
    law: "dependence",
    says: "a replica that is asked says nothing of the interfering commands it knows",
};
pub(super) const EQUAL_REPLIES: Break = Break {
    rule: "equal-replies",
    law: "dependence",
    says: "the fast path is taken with what the last reply says, although the others differ",
};
pub(super) const DEPENDENCIES_FIRST: Break = Break {
    rule: "dependencies-first",
    law: "same-order",
    says: "a replica executes what it hears is committed, whatever that depends on",
};
pub(super) const SEQUENCE_ORDER: Break = Break {
    rule: "sequence-order",
    law: "same-order",
    says: "of commands that depend on each other a replica executes its own first",
};
pub(super) const KEEP_PROMISE: Break = Break {
    rule: "keep-promise",
    law: "agreement",
    says: "a replica answers in a ballot below the one it has promised to whoever recovers",
};
pub(super) const ONE_FAST_QUORUM: Break = Break {
    rule: "one-fast-quorum",
    law: "agreement",
    says: "a replica asks everybody, and whoever answers first is its fast quorum",
};
pub(super) const ONLY_INTERFERENCE: Break = Break {
    rule: "only-interference",
    law: "independence",
    says: "all commands are taken to interfere",
};

/// It is decided what an instance is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Fact(pub(super) Instance, pub(super) Attributes);

/// What a replica begins with: commands with their keys (`"ak bk"`), and how often it may recover an instance.
type Part<'a> = (&'a str, u8);

/// `n` replicas that ask as many others as a fast quorum takes.
fn setup(n: usize, parts: &[Part<'_>], broken: Broken) -> Setup<Replica> {
    Setup::new((0..n).map(|at| {
        let (wishes, recoveries_left) = parts.get(at).copied().unwrap_or_default();
        let wishes = wishes.split_whitespace().filter_map(|wish| {
            let mut chars = wish.chars();
            chars
                .next()
                .zip(chars.next())
                .map(|(name, key)| Command { name, key })
        });
        let n_asked = if broken.is(&ONE_FAST_QUORUM) {
            n - 1
        } else {
            n / 2 * 2 - 1
        };
        let others = (0..n).filter(|other| *other != at).map(ProcessId);
        let replica = Replica {
            broken,
            n,
            asked: others.take(n_asked).collect(),
            wishes: wishes.collect(),
            recoveries_left,
            n_instances: 0,
            promised: BTreeMap::new(),
            log: BTreeMap::new(),
            executed: Vec::new(),
            running: BTreeMap::new(),
        };
        (format!("r{}", at + 1), replica)
    }))
}

/// The smallest case in which this rule matters.
fn small(rule: Broken, broken: Broken) -> Setup<Replica> {
    match rule {
        _ if rule.is(&EQUAL_REPLIES) => setup(5, &[("ak", 0), ("bk", 0)], broken),
        _ if rule.is(&ONLY_INTERFERENCE) => setup(3, &[("ak", 0), ("bm", 0)], broken),
        _ => setup(3, &[("ak", 0), ("bk", 0), ("", 1)], broken),
    }
}

impl Algorithm for EPaxos {
    type Process = Replica;

    const NAME: &'static str = "epaxos";
    const KIND: Kind = Kind::Consensus;
    const LINE: &'static str = "no leader: commands that do not interfere commit in one round trip";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[
        REPORT_INTERFERENCE,
        EQUAL_REPLIES,
        DEPENDENCIES_FIRST,
        SEQUENCE_ORDER,
        KEEP_PROMISE,
        ONE_FAST_QUORUM,
        ONLY_INTERFERENCE,
    ];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "apart",
            says: "two commands that do not interfere: one round trip each, in any order",
            broken: None,
            script: include_str!("scenarios/apart.txt"),
        },
        Scenario {
            name: "slow",
            says: "two that interfere reach the replicas in different orders: they go the slow path",
            broken: None,
            script: include_str!("scenarios/slow.txt"),
        },
        Scenario {
            name: "recovery",
            says: "r1 commits on the fast path and is gone before anybody hears; r2 comes to the same",
            broken: None,
            script: include_str!("scenarios/recovery.txt"),
        },
    ];
    const SMALL: &'static str = "3 replicas, 2 commands that interfere, 1 recovery";
    const LARGE: &'static str =
        "3 or 5 replicas, 5 commands on 2 keys, 4 recoveries; crashes, losses, duplicates";

    fn laws() -> Vec<Law<Replica>> {
        vec![
            Law {
                name: "agreement",
                says: "an instance is committed with one command, sequence and dependencies only",
                when: When::Always,
                holds: agreement,
            },
            Law {
                name: "dependence",
                says: "of two decided commands that interfere one depends on the other",
                when: When::Always,
                holds: dependence,
            },
            Law {
                name: "same-order",
                says: "if one executes a before b and they interfere, nobody executes b before a or without it",
                when: When::Always,
                holds: same_order,
            },
            Law {
                name: "independence",
                says: "a command depends on nothing that it does not interfere with",
                when: When::Always,
                holds: independence,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Replica> {
        small(broken, broken)
    }

    fn small_is(broken: Broken) -> &'static str {
        if broken.is(&EQUAL_REPLIES) {
            "5 replicas, 2 commands that interfere, up to where the slow path begins"
        } else if broken.is(&ONLY_INTERFERENCE) {
            "3 replicas, 2 commands that do not interfere"
        } else {
            Self::SMALL
        }
    }

    fn kept(rule: &Break) -> Option<Setup<Replica>> {
        let needs_more = [EQUAL_REPLIES, ONLY_INTERFERENCE].contains(rule);
        needs_more.then(|| small(Broken::without(rule), Broken::NOTHING))
    }

    // With five the question is what may be decided on the fast path, not how it goes on.
    fn within(world: &World<Replica>) -> bool {
        let is_slow = |one: &Message| matches!(one, Message::Accept(..));
        let commits = |one: &Replica| one.log.keys().filter(|at| one.is_committed(**at)).count();
        world.processes().count() == 3
            || !world.in_flight().any(|(_, _, message)| is_slow(message))
                && world.processes().map(commits).sum::<usize>() <= world.facts().len()
    }

    fn stage(broken: Broken) -> Setup<Replica> {
        setup(5, &[("ak", 1), ("bk cm", 1), ("dk", 1)], broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Replica> {
        let n = if rng.one_in(2) { 3 } else { 5 };
        let faults = Faults {
            crashes: 2,
            restarts: 2,
            drops: 4,
            duplicates: 4,
            ..Faults::default()
        };
        Setup {
            faults,
            ..setup(n, &[("ak bm", 1), ("ck", 1), ("dk em", 2)], broken)
        }
    }
}

fn agreement(world: &World<Replica>) -> Result<(), String> {
    let mut decided = BTreeMap::new();
    for Fact(at, what) in world.facts() {
        let first = decided.entry(*at).or_insert(what);
        if *first != what {
            return Err(format!("{at} is {first}, and it is {what}"));
        }
    }
    Ok(())
}

fn dependence(world: &World<Replica>) -> Result<(), String> {
    for (place, Fact(at, what)) in world.facts().iter().enumerate() {
        for Fact(other, that) in &world.facts()[..place] {
            let is_apart = !what.dependencies.contains(other) && !that.dependencies.contains(at);
            if let (Some(one), Some(two)) = (what.command, that.command)
                && one.key == two.key
                && at != other
                && is_apart
            {
                return Err(format!(
                    "{at} and {other} touch {}, and neither waits for the other",
                    one.key
                ));
            }
        }
    }
    Ok(())
}

fn same_order(world: &World<Replica>) -> Result<(), String> {
    let orders: Vec<Vec<Command>> = world
        .processes()
        .map(|one| {
            let command = |at| one.log.get(at).and_then(|(_, _, what)| what.command);
            one.executed.iter().filter_map(command).collect()
        })
        .collect();
    for (at, one) in orders.iter().enumerate() {
        for (place, second) in one.iter().enumerate() {
            for first in one[..place].iter().filter(|first| first.key == second.key) {
                for (of, other) in orders.iter().enumerate() {
                    let place = |command| other.iter().position(|one| one == command);
                    let is_same = match (place(first), place(second)) {
                        (_, None) => true,
                        (first, second) => first.is_some() && first < second,
                    };
                    if !is_same {
                        return Err(format!(
                            "{} executed {} before {}, {} did not",
                            world.name(ProcessId(at)),
                            first.name,
                            second.name,
                            world.name(ProcessId(of))
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

fn independence(world: &World<Replica>) -> Result<(), String> {
    let decided: BTreeMap<&Instance, &Attributes> = world
        .facts()
        .iter()
        .map(|Fact(at, what)| (at, what))
        .collect();
    for (at, what) in &decided {
        for on in &what.dependencies {
            if let Some(command) = what.command
                && let Some(other) = decided.get(on).and_then(|what| what.command)
                && command.key != other.key
            {
                return Err(format!(
                    "{at} waits for {on}, and they have no key in common"
                ));
            }
        }
    }
    Ok(())
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.r{}", self.0, self.1)
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}#{}", self.0, self.1)
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.command {
            Some(command) => write!(f, "{} seq {}", command.name, self.sequence)?,
            None => f.write_str("no-op")?,
        }
        for on in &self.dependencies {
            write!(f, " after {on}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ballots of round 0 go without saying.
        let of = |ballot: &Ballot| match ballot.0 {
            0 => String::new(),
            _ => format!(" in {ballot}"),
        };
        match self {
            Message::PreAccept(at, ballot, what) => {
                write!(f, "pre-accept {at}: {what}{}", of(ballot))
            }
            Message::PreAccepted(at, ballot, what) => {
                write!(f, "pre-accepted {at}: {what}{}", of(ballot))
            }
            Message::Accept(at, ballot, what) => write!(f, "accept {at}: {what}{}", of(ballot)),
            Message::Accepted(at, ballot) => write!(f, "accepted {at}{}", of(ballot)),
            Message::Commit(at, what) => write!(f, "commit {at}: {what}"),
            Message::Prepare(at, ballot) => write!(f, "prepare {at}{}", of(ballot)),
            Message::Promise(at, ballot, None) => write!(f, "promise {at}{}", of(ballot)),
            Message::Promise(at, ballot, Some((how, _, what))) => {
                write!(f, "promise {at}{}, had {how} {what}", of(ballot))
            }
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::PreAccepted => "pre-accepted",
            Status::Accepted => "accepted",
            Status::Committed => "committed",
        })
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Timer::Request(command) => write!(f, "request {} on {}", command.name, command.key),
            Timer::Hurry(at) => write!(f, "hurry {at}"),
            Timer::Recover(at) => write!(f, "recover {at}"),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is decided", self.0)
    }
}
