//! How Zab is shown: its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Break, Kind, Scenario};
use crate::kernel::{Delivery, Faults, Law, Setup, When, World};
use base::Rng;
use std::fmt;

pub(super) const EPOCH_PROMISE: Break = Break {
    rule: "epoch-promise",
    law: "durability",
    says: "a follower that has promised a new epoch still takes what an old leader proposes",
};
pub(super) const LATEST_HISTORY: Break = Break {
    rule: "latest-history",
    law: "durability",
    says: "a new leader makes its own history everybody's, although a follower's is later",
};
pub(super) const SYNCHRONISE: Break = Break {
    rule: "synchronise",
    law: "primary-integrity",
    says: "a new leader broadcasts at once, and followers append to whatever they have",
};
pub(super) const MAJORITY: Break = Break {
    rule: "majority",
    law: "durability",
    says: "the leader is content with one server less than a majority",
};
pub(super) const FIFO_CHANNELS: Break = Break {
    rule: "fifo-channels",
    law: "durability",
    says: "messages between two servers may overtake each other",
};

/// What a server does by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// It is chosen to lead.
    Lead,
    /// A client asks for this.
    Request(char),
}

/// What laws are about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// A primary begins its epoch, and has delivered this.
    Begins(Epoch, Vec<Transaction>),
    /// A primary has broadcast it.
    Broadcast(Transaction),
    /// The client has its answer.
    Answered(Transaction),
}

/// `n` servers; the first ones may be chosen to lead so often and have clients with wishes.
fn setup(n: usize, leads: &[(u8, &str)], broken: Broken) -> Setup<Server> {
    let servers = (0..n).map(|at| {
        let (leads_left, wishes) = leads.get(at).copied().unwrap_or_default();
        let server = Server {
            broken,
            n,
            leads_left,
            wishes: wishes.chars().collect(),
            promised: 0,
            current: 0,
            history: Vec::new(),
            delivered: Vec::new(),
            following: None,
            leading: None,
        };
        (format!("s{}", at + 1), server)
    });
    let delivery = if broken.is(&FIFO_CHANNELS) {
        Delivery::Any
    } else {
        Delivery::Fifo
    };
    Setup {
        delivery,
        ..Setup::new(servers)
    }
}

/// The smallest case in which this rule matters.
fn small(rule: Broken, broken: Broken) -> Setup<Server> {
    if rule.is(&FIFO_CHANNELS) {
        return setup(3, &[(1, "ab")], broken);
    }
    setup(3, &[(1, "a"), (1, "b")], broken)
}

impl Algorithm for Zab {
    type Process = Server;

    const NAME: &'static str = "zab";
    const KIND: Kind = Kind::Consensus;
    const LINE: &'static str =
        "a primary's transactions, in its order, behind all of earlier primaries";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[
        EPOCH_PROMISE,
        LATEST_HISTORY,
        SYNCHRONISE,
        MAJORITY,
        FIFO_CHANNELS,
    ];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "phases",
            says: "discovery, synchronisation, broadcast",
            broken: None,
            script: include_str!("scenarios/phases.txt"),
        },
        Scenario {
            name: "stale",
            says: "an old leader proposes in its old epoch, and its followers know better",
            broken: None,
            script: include_str!("scenarios/stale.txt"),
        },
    ];
    const SMALL: &'static str =
        "3 servers, two of which may lead, with a transaction each, links that keep the order";
    const LARGE: &'static str =
        "3 or 5 servers, three may lead 3 times each, 6 transactions; crashes";

    fn laws() -> Vec<Law<Server>> {
        vec![
            law("integrity", "what is delivered was broadcast", integrity),
            law(
                "local-primary-order",
                "what one primary broadcast is delivered in its order, without gaps",
                local_primary_order,
            ),
            law(
                "global-primary-order",
                "what an earlier primary broadcast is delivered earlier",
                global_primary_order,
            ),
            law(
                "total-order",
                "of any two servers one has delivered what the other has, or the beginning of it",
                total_order,
            ),
            law(
                "primary-integrity",
                "a primary has delivered all that is ever delivered of earlier ones before it begins",
                primary_integrity,
            ),
            law(
                "durability",
                "a transaction whose client has its answer is on the disks of a majority",
                durability,
            ),
        ]
    }

    fn small(broken: Broken) -> Setup<Server> {
        small(broken, broken)
    }

    fn small_is(broken: Broken) -> &'static str {
        if broken.is(&FIFO_CHANNELS) {
            "3 servers, one of which may lead, with 2 transactions"
        } else {
            Self::SMALL
        }
    }

    fn kept(rule: &Break) -> Option<Setup<Server>> {
        (*rule == FIFO_CHANNELS).then(|| small(Broken::without(rule), Broken::NOTHING))
    }

    fn stage(broken: Broken) -> Setup<Server> {
        setup(3, &[(2, "ab"), (2, "cd")], broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Server> {
        let n = if rng.one_in(2) { 3 } else { 5 };
        let faults = Faults {
            crashes: 3,
            restarts: 3,
            ..Faults::default()
        };
        Setup {
            faults,
            ..setup(n, &[(3, "ab"), (3, "cd"), (3, "ef")], broken)
        }
    }
}

fn law(
    name: &'static str,
    says: &'static str,
    holds: fn(&World<Server>) -> Result<(), String>,
) -> Law<Server> {
    Law {
        name,
        says,
        when: When::Always,
        holds,
    }
}

/// The first server of which something is wrong with what it has delivered.
fn each(
    world: &World<Server>,
    wrong: impl Fn(&[Transaction]) -> Option<String>,
) -> Result<(), String> {
    for (at, server) in world.processes().enumerate() {
        if let Some(why) = wrong(&server.delivered) {
            return Err(format!("{} {why}", world.name(ProcessId(at))));
        }
    }
    Ok(())
}

fn integrity(world: &World<Server>) -> Result<(), String> {
    each(world, |delivered| {
        let is_unknown = |one: &&Transaction| !world.facts().contains(&Fact::Broadcast(**one));
        let (zxid, name) = delivered.iter().find(is_unknown)?;
        Some(format!("delivered {name} {zxid}, which nobody broadcast"))
    })
}

fn local_primary_order(world: &World<Server>) -> Result<(), String> {
    each(world, |delivered| {
        let (_, (zxid, name)) = delivered.iter().enumerate().find(|(place, (zxid, _))| {
            let before = place.checked_sub(1).map(|place| delivered[place].0);
            zxid.1 > 1 && before != Some(Zxid(zxid.0, zxid.1 - 1))
        })?;
        Some(format!(
            "delivered {name} {zxid}, and not the one before it"
        ))
    })
}

fn global_primary_order(world: &World<Server>) -> Result<(), String> {
    each(world, |delivered| {
        let pair = delivered
            .windows(2)
            .find(|pair| pair[0].0.0 > pair[1].0.0)?;
        Some(format!("delivered {} before {}", pair[0].0, pair[1].0))
    })
}

fn total_order(world: &World<Server>) -> Result<(), String> {
    for (at, one) in world.processes().enumerate() {
        for (of, other) in world.processes().enumerate().skip(at + 1) {
            let is_same = one
                .delivered
                .iter()
                .zip(&other.delivered)
                .all(|(one, other)| one == other);
            if !is_same {
                return Err(format!(
                    "{} delivered {}, and {} {}",
                    world.name(ProcessId(at)),
                    listed(&one.delivered),
                    world.name(ProcessId(of)),
                    listed(&other.delivered)
                ));
            }
        }
    }
    Ok(())
}

fn primary_integrity(world: &World<Server>) -> Result<(), String> {
    for fact in world.facts() {
        let Fact::Begins(epoch, before) = fact else {
            continue;
        };
        each(world, |delivered| {
            let is_missing = |one: &&Transaction| one.0.0 < *epoch && !before.contains(one);
            let (zxid, name) = delivered.iter().find(is_missing)?;
            Some(format!(
                "delivered {name} {zxid}, and the primary of epoch {epoch} began without it"
            ))
        })?;
    }
    Ok(())
}

fn durability(world: &World<Server>) -> Result<(), String> {
    for fact in world.facts() {
        let Fact::Answered(transaction) = fact else {
            continue;
        };
        let has = |one: &&Server| one.history.contains(transaction);
        let (n, of) = (
            world.processes().filter(has).count(),
            world.processes().count(),
        );
        if n <= of / 2 {
            let (zxid, name) = transaction;
            return Err(format!(
                "{name} {zxid} was answered for, and is on {n} of {of} disks"
            ));
        }
    }
    Ok(())
}

fn listed(delivered: &[Transaction]) -> String {
    let names: Vec<String> = delivered
        .iter()
        .map(|(zxid, name)| format!("{name} {zxid}"))
        .collect();
    names.join(" then ")
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.0, self.1)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let history = |history: &[Transaction]| match history {
            [] => "nothing".into(),
            _ => listed(history),
        };
        match self {
            Message::Follow => f.write_str("follow me"),
            Message::Promised(epoch) => write!(f, "promised {epoch}"),
            Message::NewEpoch(epoch) => write!(f, "new-epoch {epoch}"),
            Message::History(epoch, current, all) => {
                write!(
                    f,
                    "ack-epoch {epoch}, has {} of epoch {current}",
                    history(all)
                )
            }
            Message::NewLeader(epoch, all) => {
                write!(f, "new-leader {epoch}, with {}", history(all))
            }
            Message::Propose(_, (zxid, name)) => write!(f, "propose {name} {zxid}"),
            Message::Ack(epoch, length) => write!(f, "ack {length} in {epoch}"),
            Message::Commit(epoch, length) => write!(f, "commit {length} in {epoch}"),
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Timer::Lead => f.write_str("lead"),
            Timer::Request(name) => write!(f, "request {name}"),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Begins(epoch, _) => write!(f, "primary of epoch {epoch}"),
            Fact::Broadcast((zxid, name)) => write!(f, "{name} is {zxid}"),
            Fact::Answered((_, name)) => write!(f, "the client of {name} has its answer"),
        }
    }
}
