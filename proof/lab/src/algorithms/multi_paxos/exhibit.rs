//! How Multi-Paxos is shown: its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Break, Kind, Scenario};
use crate::kernel::{Delivery, Faults, Law, Setup, When, World};
use base::Rng;
use std::fmt;

pub(super) const ADOPT: Break = Break {
    rule: "adopt",
    law: "agreement",
    says: "a new leader looks into its own log only, whatever the promises told it",
};
pub(super) const ADOPT_HIGHEST: Break = Break {
    rule: "adopt-highest",
    law: "agreement",
    says: "of the commands that the promises tell of for a slot, a new leader takes the one of the lowest ballot",
};
pub(super) const KEEP_PROMISE: Break = Break {
    rule: "keep-promise",
    law: "agreement",
    says: "a replica accepts in a ballot below the one it has promised",
};
pub(super) const MAJORITY: Break = Break {
    rule: "majority",
    law: "agreement",
    says: "the leader is content with one replica less than a majority",
};
pub(super) const ANSWER_WHEN_CHOSEN: Break = Break {
    rule: "answer-when-chosen",
    law: "durability",
    says: "the leader answers as soon as the command is in its own log",
};
pub(super) const FILL_HOLES: Break = Break {
    rule: "fill-holes",
    law: "no-hole",
    says: "a new leader proposes what it was told of, and leaves the slots between as they are",
};
pub(super) const APPLY_IN_ORDER: Break = Break {
    rule: "apply-in-order",
    law: "same-order",
    says: "a replica applies a command when it hears that it is chosen, whatever is missing below",
};
pub(super) const APPLY_ONCE: Break = Break {
    rule: "apply-once",
    law: "exactly-once",
    says: "a replica does not look whether it has applied a command before",
};

/// What laws are about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// A majority has accepted it.
    Chosen(Slot, Command),
    /// The client has its answer.
    Answered(Slot, char),
}

/// `n` replicas; the first ones may campaign so often and have clients with wishes.
fn setup(n: usize, campaigns: &[(u8, &str)], broken: Broken) -> Setup<Replica> {
    Setup::new((0..n).map(|at| {
        let (campaigns_left, wishes) = campaigns.get(at).copied().unwrap_or_default();
        let replica = Replica {
            broken,
            n,
            campaigns_left,
            wishes: wishes.chars().collect(),
            promised: Ballot::default(),
            accepted: Log::new(),
            chosen: BTreeMap::new(),
            applied_to: 0,
            applied: Vec::new(),
            leading: None,
        };
        (format!("r{}", at + 1), replica)
    }))
}

/// The smallest case in which this rule matters.
fn small(rule: Broken, broken: Broken) -> Setup<Replica> {
    let campaigns: &[(u8, &str)] = match rule {
        _ if rule.is(&APPLY_ONCE) => &[(2, "a")],
        _ if rule.is(&ADOPT_HIGHEST) => &[(2, "a"), (1, "c")],
        _ if rule.is(&APPLY_IN_ORDER) => &[(1, "ab")],
        _ if rule.is(&FILL_HOLES) => &[(1, "ab"), (1, "")],
        _ => &[(1, "a"), (1, "c")],
    };
    // Over a link that keeps the order nothing comes before something else, unless that is lost.
    let drops = u8::from(rule.is(&FILL_HOLES) || rule.is(&APPLY_IN_ORDER));
    Setup {
        delivery: Delivery::Fifo,
        faults: Faults {
            drops,
            ..Faults::default()
        },
        ..setup(3, campaigns, broken)
    }
}

impl Algorithm for MultiPaxos {
    type Process = Replica;

    const NAME: &'static str = "multi-paxos";
    const KIND: Kind = Kind::Consensus;
    const LINE: &'static str = "a log of commands under a stable leader, one round trip each";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[
        ADOPT,
        ADOPT_HIGHEST,
        KEEP_PROMISE,
        MAJORITY,
        ANSWER_WHEN_CHOSEN,
        FILL_HOLES,
        APPLY_IN_ORDER,
        APPLY_ONCE,
    ];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "steady",
            says: "phase 1 once, then one round trip for each command",
            broken: None,
            script: include_str!("scenarios/steady.txt"),
        },
        Scenario {
            name: "hole",
            says: "the old leader's first message is lost, its second is not; a no-op closes the hole",
            broken: None,
            script: include_str!("scenarios/hole.txt"),
        },
        Scenario {
            name: "deposed",
            says: "an old leader does not know that there is a new one, and gets nothing chosen",
            broken: None,
            script: include_str!("scenarios/deposed.txt"),
        },
    ];
    const SMALL: &'static str =
        "3 replicas, two may lead once each, 2 commands, links that keep the order";
    const LARGE: &'static str =
        "3 or 5 replicas, three may lead 3 times each, 6 commands; crashes, losses, duplicates";

    fn laws() -> Vec<Law<Replica>> {
        vec![
            Law {
                name: "agreement",
                says: "no two different commands are chosen for a slot",
                when: When::Always,
                holds: agreement,
            },
            Law {
                name: "same-order",
                says: "of any two replicas one has applied what the other has, or the beginning of it",
                when: When::Always,
                holds: same_order,
            },
            Law {
                name: "exactly-once",
                says: "no replica applies a command twice",
                when: When::Always,
                holds: exactly_once,
            },
            Law {
                name: "durability",
                says: "a command whose client has its answer is on the disks of a majority in the end",
                when: When::AtRest,
                holds: durability,
            },
            Law {
                name: "no-hole",
                says: "a leader has chosen or proposed something for every slot up to its last",
                when: When::Always,
                holds: no_hole,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Replica> {
        small(broken, broken)
    }

    fn small_is(broken: Broken) -> &'static str {
        if broken.is(&ADOPT_HIGHEST) {
            "3 replicas, one may lead twice and one once, 2 commands, links that keep the order; up to \
             where the second slot is used"
        } else if broken.is(&APPLY_ONCE) {
            "3 replicas, one may lead twice, 1 command, links that keep the order"
        } else if broken.is(&APPLY_IN_ORDER) {
            "3 replicas, one may lead once, 2 commands, links that keep the order and may lose one message"
        } else if broken.is(&FILL_HOLES) {
            "3 replicas, two may lead once each, 2 commands of one client, links that keep the order and may lose one \
             message; up to where r2 leads"
        } else {
            Self::SMALL
        }
    }

    fn kept(rule: &Break) -> Option<Setup<Replica>> {
        let needs_more = [ADOPT_HIGHEST, APPLY_ONCE, APPLY_IN_ORDER, FILL_HOLES].contains(rule);
        needs_more.then(|| small(Broken::without(rule), Broken::NOTHING))
    }

    // Where something may be lost the question is what a new leader begins with, not how it goes on; where a third
    // ballot may come, which command it takes for a slot that two ballots have used.
    fn within(world: &World<Replica>) -> bool {
        let setup = world.setup();
        let leads = |one: &Replica| one.leading.as_ref().is_some_and(|one| one.is_leader);
        let is_first = |one: &Replica| one.accepted.keys().all(|slot| *slot == 1);
        let n_ballots: u8 = setup
            .processes
            .iter()
            .map(|(_, one)| one.campaigns_left)
            .sum();
        (setup.faults.drops == 0 || !leads(world.process(ProcessId(1))))
            && (n_ballots < 3 || world.processes().all(is_first))
    }

    fn stage(broken: Broken) -> Setup<Replica> {
        setup(3, &[(3, "ab"), (3, "cd")], broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Replica> {
        let n = if rng.one_in(2) { 3 } else { 5 };
        let faults = Faults {
            crashes: 3,
            restarts: 3,
            drops: 5,
            duplicates: 5,
            ..Faults::default()
        };
        Setup {
            faults,
            ..setup(n, &[(3, "ab"), (3, "cd"), (3, "ef")], broken)
        }
    }
}

fn agreement(world: &World<Replica>) -> Result<(), String> {
    let mut chosen = BTreeMap::new();
    for fact in world.facts() {
        let Fact::Chosen(slot, command) = fact else {
            continue;
        };
        let first = *chosen.entry(slot).or_insert(command);
        if first != command {
            return Err(format!(
                "{first} was chosen for slot {slot}, and {command} too"
            ));
        }
    }
    Ok(())
}

fn same_order(world: &World<Replica>) -> Result<(), String> {
    let longest = world
        .processes()
        .map(|one| &one.applied)
        .max_by_key(|applied| applied.len());
    for (at, replica) in world.processes().enumerate() {
        let Some(longest) = longest.filter(|longest| !longest.starts_with(&replica.applied)) else {
            continue;
        };
        let of = world.processes().position(|one| one.applied == *longest);
        return Err(format!(
            "{} applied {}, and {} {}",
            world.name(ProcessId(at)),
            in_order(&replica.applied),
            world.name(ProcessId(of.unwrap_or(at))),
            in_order(longest)
        ));
    }
    Ok(())
}

fn exactly_once(world: &World<Replica>) -> Result<(), String> {
    for (at, replica) in world.processes().enumerate() {
        for (place, command) in replica.applied.iter().enumerate() {
            if replica.applied[..place].contains(command) {
                let name = world.name(ProcessId(at));
                return Err(format!("{name} applied {command} twice"));
            }
        }
    }
    Ok(())
}

fn durability(world: &World<Replica>) -> Result<(), String> {
    for fact in world.facts() {
        let Fact::Answered(slot, name) = fact else {
            continue;
        };
        let has = |one: &&Replica| {
            let accepted = one.accepted.get(slot);
            accepted.is_some_and(|(_, command)| *command == Command(Some(*name)))
        };
        let (n, of) = (
            world.processes().filter(has).count(),
            world.processes().count(),
        );
        if n <= of / 2 {
            return Err(format!(
                "{name} was answered for, and is on {n} of {of} disks at slot {slot}"
            ));
        }
    }
    Ok(())
}

fn no_hole(world: &World<Replica>) -> Result<(), String> {
    for (at, replica) in world.processes().enumerate() {
        let Some(leading) = replica.leading.as_ref().filter(|one| one.is_leader) else {
            continue;
        };
        let last = replica.accepted.keys().max().copied().unwrap_or_default();
        let is_open =
            |slot: &Slot| !replica.chosen.contains_key(slot) && !leading.votes.contains_key(slot);
        if let Some(slot) = (1..=last).find(is_open) {
            let name = world.name(ProcessId(at));
            return Err(format!(
                "{name} leads with something at slot {last}, and nothing will ever be chosen for slot {slot}"
            ));
        }
    }
    Ok(())
}

fn in_order(applied: &[char]) -> String {
    let names: Vec<String> = applied.iter().map(char::to_string).collect();
    names.join(" then ")
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.r{}", self.0, self.1)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "{name}"),
            None => f.write_str("no-op"),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Prepare(ballot, first) => write!(f, "prepare {ballot} from slot {first}"),
            Message::Promise(ballot, log) => {
                write!(f, "promise {ballot}")?;
                for (slot, (of, command)) in log {
                    write!(f, ", {command} at {slot} in {of}")?;
                }
                Ok(())
            }
            Message::Accept(ballot, slot, command) => {
                write!(f, "accept {command} at {slot} in {ballot}")
            }
            Message::Accepted(ballot, slot) => write!(f, "accepted {slot} in {ballot}"),
            Message::Chosen(slot, command) => write!(f, "chosen {command} at {slot}"),
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Timer::Campaign => f.write_str("campaign"),
            Timer::Request(command) => write!(f, "request {command}"),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Chosen(slot, command) => write!(f, "{command} is chosen for slot {slot}"),
            Fact::Answered(_, command) => write!(f, "the client of {command} has its answer"),
        }
    }
}
