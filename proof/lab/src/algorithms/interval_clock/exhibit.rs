//! How interval clocks are shown: their laws, cases, words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Faults, Law, Setup, Time, When, World};
use base::Rng;

/// A process for each error of a clock, in ticks, none of them greater than `error_max`.
fn setup(errors: &[i64], error_max: i64, writes: u8, horizon: u32, broken: Broken) -> Setup<Party> {
    let party = |(at, error): (usize, &i64)| {
        let party = Party {
            broken,
            error: *error,
            error_max,
            writes_left: writes,
            n_writes: 0,
            last: i64::MIN,
        };
        (format!("p{}", at + 1), party)
    };
    Setup {
        time: Time::Ticks {
            horizon,
            delay_max: None,
        },
        ..Setup::new(errors.iter().enumerate().map(party))
    }
}

impl Algorithm for IntervalClock {
    type Process = Party;

    const NAME: &'static str = "interval-clock";
    const KIND: Kind = Kind::Time;
    const LINE: &'static str =
        "time known up to an error, and waiting it out: external consistency";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[COMMIT_WAIT, STAMP_LATEST, HONEST_UNCERTAINTY];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "wait",
            says: "p1's clock is ahead, p2's behind; p1's write is acknowledged, then p2 begins: 3 < 4",
            broken: None,
            script: include_str!("scenarios/wait.txt"),
        },
        Scenario {
            name: "telephone",
            says: "p1 acknowledges at once and telephones p2, whose write gets the lower stamp",
            broken: Some("commit-wait"),
            script: include_str!("scenarios/telephone.txt"),
        },
    ];
    const SMALL: &'static str =
        "2 processes, 2 writes each, 9 ticks; one clock ahead by 1, one behind by 1, uncertainty 1";
    const LARGE: &'static str =
        "4 processes, 4 writes each, 40 ticks; errors up to the uncertainty of 3; pauses";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "external-consistency",
                says: "a write that began after another was acknowledged has the greater stamp",
                when: When::Always,
                holds: external_consistency,
            },
            Law {
                name: "every-wait-ends",
                says: "a write is acknowledged at the latest twice the uncertainty after its stamp",
                when: When::AtRest,
                holds: every_wait_ends,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        setup(&[1, -1], 1, 2, 9, broken)
    }

    fn stage(broken: Broken) -> Setup<Party> {
        setup(&[1, -1], 1, 2, 20, broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Party> {
        let errors: Vec<i64> = (0..4).map(|_| rng.below(7) as i64 - 3).collect();
        let faults = Faults {
            pauses: 3,
            ..Faults::default()
        };
        Setup {
            faults,
            ..setup(&errors, 3, 4, 40, broken)
        }
    }
}

/// Looks at the last acknowledgement only: earlier ones have been looked at when they were last.
fn external_consistency(world: &World<Party>) -> Result<(), String> {
    let facts = world.facts();
    let Some(Fact::Acknowledged(second, its)) = facts.last() else {
        return Ok(());
    };
    let begun = facts
        .iter()
        .position(|fact| matches!(fact, Fact::Begun(begun, _) if begun == second))
        .unwrap_or(0);
    let wrong = facts[..begun].iter().find_map(|fact| match fact {
        Fact::Acknowledged(first, stamp) if stamp >= its => Some((first, stamp)),
        _ => None,
    });
    match wrong {
        Some((first, stamp)) => Err(format!(
            "{first} was acknowledged with {stamp}, then {second} began, and got {its}"
        )),
        None => Ok(()),
    }
}

fn every_wait_ends(world: &World<Party>) -> Result<(), String> {
    let facts = world.facts();
    let is_done = |write: &Write| {
        facts
            .iter()
            .any(|fact| matches!(fact, Fact::Acknowledged(done, _) if done == write))
    };
    // A clock that is behind by its whole uncertainty knows a stamp to be past twice that time after it.
    let is_past = |write: &Write, stamp: i64| {
        i64::from(world.now()) > stamp + 2 * world.process(write.at).error_max
    };
    let waiting = facts.iter().find_map(|fact| match fact {
        Fact::Begun(write, stamp) if is_past(write, *stamp) && !is_done(write) => Some(write),
        _ => None,
    });
    match waiting {
        Some(write) => Err(format!("{write} waits for ever")),
        None => Ok(()),
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.earliest, self.latest)
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}.{}", self.at.0 + 1, self.number)
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Begun(write, stamp) => write!(f, "{write} begins, with {stamp}"),
            Fact::Acknowledged(write, stamp) => write!(f, "{write} acknowledged with {stamp}"),
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Timer::Begin => write!(f, "write"),
            Timer::Past(write, stamp) => write!(f, "{write} has waited for {stamp}"),
        }
    }
}
