//! How the bully is shown: its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Condition, Cut, Faults, Law, Setup, Time, When, World};
use base::Rng;
use std::fmt;

/// `n` processes in time, of which the highest leads.
fn setup(n: usize, horizon: u32, faults: Faults, broken: Broken) -> Setup<Member> {
    let highest = ProcessId(n - 1);
    let members = (0..n).map(|at| {
        let state = if at == highest.0 {
            State::Leads
        } else {
            State::Follows(highest)
        };
        let member = Member {
            broken,
            n,
            state,
            alone_since: None,
        };
        (format!("p{}", at + 1), member)
    });
    let half = |range: std::ops::Range<usize>| range.map(ProcessId).collect();
    Setup {
        time: Time::Ticks {
            horizon,
            delay_max: Some(DELAY_MAX),
        },
        faults: Faults {
            cuts: u8::from(broken.is(&NO_PARTITION)),
            ..faults
        },
        cuts: vec![Cut {
            name: "lowest off",
            sides: vec![half(0..1), half(1..n)],
        }],
        ..Setup::new(members)
    }
}

const ONE_RETURNS: Faults = Faults {
    crashes: 1,
    restarts: 1,
    drops: 0,
    duplicates: 0,
    pauses: 0,
    cuts: 0,
    jumps: 0,
};

/// Two processes, and time enough for one to take over from the other.
fn two(faults: Faults, broken: Broken) -> Setup<Member> {
    setup(2, 12, faults, broken)
}

/// Two processes of which one comes back and is gone again, and time enough to find that out.
fn twice(broken: Broken) -> Setup<Member> {
    let faults = Faults {
        crashes: 2,
        ..ONE_RETURNS
    };
    Setup {
        mortal: vec![ProcessId(1)],
        ..setup(2, 44, faults, broken)
    }
}

impl Algorithm for Bully {
    type Process = Member;

    const NAME: &'static str = "bully";
    const KIND: Kind = Kind::Election;
    const LINE: &'static str = "the highest one that is up leads, if silence proves a death";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[
        NO_PARTITION,
        WAIT_FOR_ANSWERS,
        HALT_FIRST,
        ASK_HIGHER,
        TAKE_ITS_PLACE,
        BEGIN_AGAIN,
    ];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "takeover",
            says: "the leader crashes, the next takes over, and is bullied when the first is back",
            broken: None,
            script: include_str!("scenarios/takeover.txt"),
        },
        Scenario {
            name: "split",
            says: "a cut looks like a death: each side has its leader",
            broken: Some(NO_PARTITION.rule),
            script: include_str!("scenarios/split.txt"),
        },
    ];
    const SMALL: &'static str =
        "3 processes for 13 ticks, messages take 0 or 1; one crashes and comes back";
    const LARGE: &'static str =
        "3 to 5 processes for 60 ticks, messages take 0 or 1; 3 crash and come back";

    fn laws() -> Vec<Law<Member>> {
        vec![
            Law {
                name: "one-leader",
                says: "no two that are up lead at the same time (if everything arrives in time)",
                when: When::Always,
                holds: one_leader,
            },
            Law {
                name: "highest-leads",
                says: "in the end, if all follow one that is up, it is the highest that is up",
                when: When::AtRest,
                holds: highest_leads,
            },
            Law {
                name: "leader-is-found",
                says: "nobody that is up is without a leader for long (a bounded time for each crash and return)",
                when: When::Always,
                holds: leader_is_found,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Member> {
        if broken.is(&NO_PARTITION) {
            two(Faults::default(), broken)
        } else if broken.is(&BEGIN_AGAIN) {
            twice(broken)
        } else if broken.is(&TAKE_ITS_PLACE) {
            two(ONE_RETURNS, broken)
        } else {
            setup(3, 13, ONE_RETURNS, broken)
        }
    }

    fn small_is(broken: Broken) -> &'static str {
        if broken.is(&NO_PARTITION) {
            "2 processes for 12 ticks, messages take 0 or 1; one cut"
        } else if broken.is(&BEGIN_AGAIN) {
            "2 processes for 44 ticks, messages take 0 or 1; p2 crashes, comes back, crashes"
        } else if broken.is(&TAKE_ITS_PLACE) {
            "2 processes for 12 ticks, messages take 0 or 1; one crashes and comes back"
        } else {
            Self::SMALL
        }
    }

    fn kept(rule: &Break) -> Option<Setup<Member>> {
        let needs = |other: &Break| other.rule == rule.rule;
        // A partition is nothing that the algorithm survives.
        if needs(&BEGIN_AGAIN) {
            Some(twice(Broken::NOTHING))
        } else if needs(&TAKE_ITS_PLACE) {
            Some(two(ONE_RETURNS, Broken::NOTHING))
        } else {
            None
        }
    }

    fn stage(broken: Broken) -> Setup<Member> {
        setup(3, 60, ONE_RETURNS, broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Member> {
        let n = rng.between(3, 5) as usize;
        let faults = Faults {
            crashes: 3,
            restarts: 3,
            ..Faults::default()
        };
        setup(n, 60, faults, broken)
    }
}

fn up(world: &World<Member>) -> impl Iterator<Item = (ProcessId, &Member)> {
    (0..)
        .map(ProcessId)
        .zip(world.processes())
        .filter(|(at, _)| world.condition(*at) != Condition::Down)
}

fn one_leader(world: &World<Member>) -> Result<(), String> {
    let mut leading = up(world).filter(|(_, member)| member.state == State::Leads);
    match (leading.next(), leading.next()) {
        (Some((one, _)), Some((other, _))) => Err(format!(
            "{} leads, and {} too",
            world.name(one),
            world.name(other)
        )),
        _ => Ok(()),
    }
}

/// A leader that is down is not yet missed by those who follow it, and an election may be going on at the end of time:
/// these are not judged.
fn highest_leads(world: &World<Member>) -> Result<(), String> {
    let Some((highest, _)) = up(world).last() else {
        return Ok(());
    };
    let mut leaders = up(world).map(|(at, member)| match member.state {
        State::Leads => Some(at),
        State::Follows(leader) if world.condition(leader) == Condition::Up => Some(leader),
        _ => None,
    });
    let Some(Some(first)) = leaders.next() else {
        return Ok(());
    };
    if first != highest && leaders.all(|leader| leader == Some(first)) {
        let (first, highest) = (world.name(first), world.name(highest));
        return Err(format!("all follow {first}, and {highest} is up"));
    }
    Ok(())
}

/// Each crash and each return may set an election back once.
fn leader_is_found(world: &World<Member>) -> Result<(), String> {
    let done = world.done();
    if done.cuts > 0 {
        return Ok(());
    }
    let bound = i64::from(ROUND) * i64::from(done.crashes + done.restarts);
    let is_alone = |(at, member): &(ProcessId, &Member)| {
        let since = member.alone_since;
        since.is_some_and(|since| world.clock(*at) - since > bound)
    };
    match up(world).find(is_alone) {
        Some((at, _)) => Err(format!(
            "{} has been without a leader for more than {bound} ticks",
            world.name(at)
        )),
        None => Ok(()),
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Message::Ask => "are you there?",
            Message::Here => "I am, and take over",
            Message::Halt => "halt",
            Message::Lead => "I lead",
        })
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Timer::Beat => "beat",
            Timer::Answers => "has waited for answers",
            Timer::Halted => "has waited for all to halt",
            Timer::Leader => "misses the leader",
        })
    }
}

impl fmt::Display for Leads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("leads")
    }
}
