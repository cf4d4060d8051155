//! How hybrid clocks are shown: their laws, cases, words.

use super::*;
use crate::algorithm::Algorithm;
use crate::algorithms::happened::Past;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Faults, Law, Setup, Time, When, World};
use base::Rng;
use std::fmt;

/// A process for each number, which acts so many times. The clock of the first goes at half speed, and the last one's
/// may jump: far ahead, and back.
fn setup(acts: &[u8], horizon: u32, jumps: u8, broken: Broken) -> Setup<Party> {
    let n = acts.len();
    let party = |(at, acts): (usize, &u8)| {
        let life = Life::new(at, n, *acts);
        let last = None;
        (format!("p{}", at + 1), Party { broken, life, last })
    };
    let sick = ProcessId(n - 1);
    let mut rates = vec![(1, 1); n];
    rates[0] = (1, 2);
    Setup {
        time: Time::Ticks {
            horizon,
            delay_max: None,
        },
        rates,
        faults: Faults {
            jumps,
            ..Faults::default()
        },
        jumps: vec![(sick, 9), (sick, -9)],
        ..Setup::new(acts.iter().enumerate().map(party))
    }
}

impl Algorithm for HybridClock {
    type Process = Party;

    const NAME: &'static str = "hybrid-clock";
    const KIND: Kind = Kind::Time;
    const LINE: &'static str = "near the time of day, never backwards, and causes come first";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[COUNT_ON_TIE, TAKE_MAXIMUM, KEEP_OWN, REFUSE_FAR_AHEAD];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "slow-clock",
            says: "p1's clock is behind; what it hears takes its stamps along, and then it counts",
            broken: None,
            script: include_str!("scenarios/slow-clock.txt"),
        },
        Scenario {
            name: "jump",
            says: "p3's clock leaps ahead and is set back: its stamps go on, and nobody follows it",
            broken: None,
            script: include_str!("scenarios/jump.txt"),
        },
    ];
    const SMALL: &'static str =
        "2 processes that work or send twice each, in 2 ticks; one clock slow, one may jump";
    const LARGE: &'static str =
        "4 processes, 6 acts each, 4 ticks; one clock slow, one jumps; losses, duplicates";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "never-backwards",
                says: "no stamp is below an earlier one of the same process",
                when: When::Always,
                holds: never_backwards,
            },
            Law {
                name: "causality",
                says: "when a happened before b, the stamp of a is less",
                when: When::Always,
                holds: causality,
            },
            Law {
                name: "near-the-clock",
                says: "l is not below the own clock, nor above it by more than 2 where no clock jumped",
                when: When::Always,
                holds: near_the_clock,
            },
            Law {
                name: "from-a-clock",
                says: "l is the highest clock reading of all that happened before, this event included",
                when: When::Always,
                holds: from_a_clock,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        setup(&[2, 2], 2, 1, broken)
    }

    fn stage(broken: Broken) -> Setup<Party> {
        setup(&[4, 4, 4], 9, 2, broken)
    }

    fn large(broken: Broken, _: &mut Rng) -> Setup<Party> {
        // In 4 ticks a clock at half speed falls behind by 2: no more than healthy clocks may differ by.
        let mut setup = setup(&[6; 4], 4, 3, broken);
        setup.faults.drops = 3;
        setup.faults.duplicates = 3;
        setup
    }
}

fn never_backwards(world: &World<Party>) -> Result<(), String> {
    let Some((last, earlier)) = world.facts().split_last() else {
        return Ok(());
    };
    let is_wrong = |one: &&Stamped| one.event.id.at == last.event.id.at && one.stamp > last.stamp;
    match earlier.iter().find(is_wrong) {
        Some(one) => Err(format!(
            "{} was at {}, and {} is at {}",
            one.event.id, one.stamp, last.event.id, last.stamp
        )),
        None => Ok(()),
    }
}

/// The last event, and all that happened before it.
fn last_and_past(world: &World<Party>) -> Option<(Stamped, impl Iterator<Item = &Stamped>)> {
    let past = Past::of_last(world.facts().iter().map(|fact| fact.event))?;
    let (last, earlier) = world.facts().split_last()?;
    let before = earlier.iter().filter(move |one| past.has(one.event.id));
    Some((*last, before))
}

fn causality(world: &World<Party>) -> Result<(), String> {
    let Some((last, mut before)) = last_and_past(world) else {
        return Ok(());
    };
    match before.find(|one| one.stamp >= last.stamp) {
        Some(one) => Err(format!(
            "{} happened before {}, and has {}, not less than {}",
            one.event.id, last.event.id, one.stamp, last.stamp
        )),
        None => Ok(()),
    }
}

fn near_the_clock(world: &World<Party>) -> Result<(), String> {
    let Some(last) = world.facts().last() else {
        return Ok(());
    };
    let (who, l, clock) = (last.event.id, last.stamp.l, last.clock);
    let can_jump = world.setup().jumps.iter().any(|(sick, _)| *sick == who.at);
    if l < clock {
        return Err(format!("{who} is at {l}, and its clock showed {clock}"));
    }
    if !can_jump && l - clock > AHEAD_MAX {
        return Err(format!(
            "{who} is at {l}, and its clock, which never jumped, showed {clock}"
        ));
    }
    Ok(())
}

fn from_a_clock(world: &World<Party>) -> Result<(), String> {
    let Some((last, before)) = last_and_past(world) else {
        return Ok(());
    };
    let highest = before.map(|one| one.clock).chain([last.clock]).max();
    match highest {
        Some(highest) if highest != last.stamp.l => Err(format!(
            "{} is at {}, and the highest clock before it showed {highest}",
            last.event.id, last.stamp.l
        )),
        _ => Ok(()),
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({},{})", self.l, self.c)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message with {}", self.stamp)
    }
}

impl fmt::Display for Stamped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stamped {
            event,
            stamp,
            clock,
        } = self;
        write!(f, "{} = {stamp}, its clock shows {clock}", event.id)
    }
}
