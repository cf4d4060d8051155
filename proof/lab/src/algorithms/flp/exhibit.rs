//! How the limit of Fischer, Lynch and Paterson is shown: Ben-Or's protocol is explored as any other; then the
//! scheduler plays against it, without coins and with them.

use super::plays::{lose, stall, wait};
use super::*;
use crate::algorithm::{Algorithm, Of};
use crate::exhibit::{Ask, Exhibit, Hand, Kind, Scenario, Shown, Unable};
use crate::kernel::{Faults, Law, Setup, When, World};
use base::Rng;

use std::fmt::{self, Write};

/// What is shown: the protocol, and the scheduler against it.
pub struct Flp;

/// Nobody needs so many rounds, unless somebody keeps them from deciding.
const ROUNDS_MAX: u16 = 20_000;

fn setup(wishes: &[Bit], rounds_max: u16, broken: Broken) -> Setup<Voter> {
    let voters = wishes.iter().enumerate().map(|(at, wish)| {
        let voter = Voter {
            broken,
            n: wishes.len(),
            f: (wishes.len() - 1) / 2,
            rounds_max,
            wish: *wish,
            value: *wish,
            round: 1,
            half: Half::First,
            heard: BTreeMap::new(),
            decided: None,
        };
        (format!("p{}", at + 1), voter)
    });
    Setup::new(voters)
}

/// What the scheduler plays against: three processes that do not agree yet. Nobody crashes, nothing is lost.
pub fn board(broken: Broken) -> Setup<Voter> {
    setup(&[Bit::Zero, Bit::One, Bit::Zero], ROUNDS_MAX, broken)
}

/// The protocol without its coins.
pub fn deterministic() -> Broken {
    Broken::without(&FLIP_COINS)
}

impl Algorithm for BenOr {
    type Process = Voter;

    const NAME: &'static str = "flp";
    const KIND: Kind = Kind::Limit;
    const LINE: &'static str =
        "no deterministic protocol always decides: a scheduler that keeps it from it, and coins";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[FLIP_COINS, DECIDE_ON_F_PLUS_1];
    const SCENARIOS: &'static [Scenario] = &[Scenario {
        name: "coins",
        says: "nobody hears the same from two, so all flip coins; the coins agree, and that is the end",
        broken: None,
        script: include_str!("scenarios/coins.txt"),
    }];
    const SMALL: &'static str =
        "3 processes that begin with 0, 1, 0, in 2 rounds; every fall of every coin; p3 may crash";
    const LARGE: &'static str = "3 or 5 processes, 30 rounds at most; fewer than half crash";

    fn laws() -> Vec<Law<Voter>> {
        vec![
            Law {
                name: "agreement",
                says: "no two processes decide differently",
                when: When::Always,
                holds: agreement,
            },
            Law {
                name: "validity",
                says: "what is decided was somebody's at the beginning",
                when: When::Always,
                holds: validity,
            },
            Law {
                name: "termination",
                says: "in the end all that live have decided, or have come to the last round of the case",
                when: When::AtRest,
                holds: termination,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Voter> {
        Setup {
            delivery: crate::kernel::Delivery::Fifo,
            faults: Faults {
                crashes: 1,
                ..Faults::default()
            },
            mortal: vec![ProcessId(2)],
            ..setup(&[Bit::Zero, Bit::One, Bit::Zero], 2, broken)
        }
    }

    fn stage(broken: Broken) -> Setup<Voter> {
        setup(&[Bit::Zero, Bit::One, Bit::Zero], 3, broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Voter> {
        let n = if rng.one_in(4) { 5 } else { 3 };
        let wishes: Vec<Bit> = (0..n)
            .map(|_| if rng.one_in(2) { Bit::Zero } else { Bit::One })
            .collect();
        Setup {
            faults: Faults {
                crashes: (n as u8 - 1) / 2,
                ..Faults::default()
            },
            ..setup(&wishes, 30, broken)
        }
    }
}

impl Exhibit for Flp {
    fn name(&self) -> &'static str {
        BenOr::NAME
    }

    fn kind(&self) -> Kind {
        BenOr::KIND
    }

    fn line(&self) -> &'static str {
        BenOr::LINE
    }

    fn story(&self) -> &'static str {
        BenOr::STORY
    }

    fn breaks(&self) -> &'static [Break] {
        BenOr::BREAKS
    }

    fn scenarios(&self) -> &'static [Scenario] {
        BenOr::SCENARIOS
    }

    fn run(&self, ask: &Ask, out: &mut dyn Write) -> Result<Shown, Unable> {
        let broken = self.rule(ask.broken.as_deref())?;
        let mut shown = Of::<BenOr>::new().run(ask, out)?;
        if shown.fall.is_some() || ask.scenario.is_some() || ask.seed.is_some() {
            return Ok(shown);
        }
        let mut scheduler = Scheduler::default();
        let stalled = stall(&mut scheduler, out);
        if broken == deterministic() {
            shown.picture = stalled.picture;
            shown.fall = stalled.fall;
            return Ok(shown);
        }
        shown.fall = lose(&mut Scheduler::default(), out).or_else(|| wait(out));
        Ok(shown)
    }

    fn step(&self, ask: &Ask, hand: &mut Hand<'_>) -> Result<(), Unable> {
        Of::<BenOr>::new().step(ask, hand)
    }
}

fn agreement(world: &World<Voter>) -> Result<(), String> {
    let mut decided = world.facts().iter();
    let Some(Decided(first, bit)) = decided.next() else {
        return Ok(());
    };
    match decided.find(|Decided(_, other)| other != bit) {
        Some(Decided(who, other)) => Err(format!(
            "{} decided {bit}, and {} decided {other}",
            world.name(*first),
            world.name(*who)
        )),
        None => Ok(()),
    }
}

fn validity(world: &World<Voter>) -> Result<(), String> {
    let is_wish = |bit: Bit| world.processes().any(|voter| voter.wish == bit);
    match world.facts().iter().find(|Decided(_, bit)| !is_wish(*bit)) {
        Some(Decided(who, bit)) => Err(format!(
            "{} decided {bit}, and nobody began with it",
            world.name(*who)
        )),
        None => Ok(()),
    }
}

fn termination(world: &World<Voter>) -> Result<(), String> {
    for at in (0..world.setup().processes.len()).map(ProcessId) {
        let is_up = world.condition(at) == crate::kernel::Condition::Up;
        let voter = world.process(at);
        if is_up && voter.decided.is_none() && voter.round < voter.rounds_max {
            return Err(format!(
                "{} waits in round {} for ever",
                world.name(at),
                voter.round
            ));
        }
    }
    Ok(())
}

impl fmt::Display for Bit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bit::Zero => "0",
            Bit::One => "1",
        })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Report(round, bit) => write!(f, "report {bit} in {round}"),
            Message::Propose(round, Some(bit)) => write!(f, "propose {bit} in {round}"),
            Message::Propose(round, None) => write!(f, "propose nothing in {round}"),
        }
    }
}

impl fmt::Display for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "decides {}", self.1)
    }
}
