//! How the election by a lease is shown: its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Condition, Faults, Law, Setup, Time, When, World};
use base::Rng;
use std::fmt;

/// A store, and as many candidates as there are clocks: how many ticks each goes on in how many true ones.
struct Case<'a> {
    store: (u32, u32),
    clocks: &'a [(u32, u32)],
    keeps: u8,
    horizon: u32,
    delay_max: Option<u32>,
}

fn setup(case: &Case<'_>, broken: Broken) -> Setup<Party> {
    let store = Store {
        broken,
        last: 0,
        holder: None,
        begun: 0,
        waiting: BTreeSet::new(),
    };
    let candidate = Candidate {
        broken,
        store: ProcessId(0),
        token: 0,
        until: None,
        keeps_left: case.keeps,
    };
    let mut parties = vec![("store".to_string(), Party::Store(store))];
    for at in 1..=case.clocks.len() {
        parties.push((format!("c{at}"), Party::Candidate(candidate.clone())));
    }
    let candidates = (1..parties.len()).map(ProcessId).collect();
    Setup {
        time: Time::Ticks {
            horizon: case.horizon,
            delay_max: case.delay_max,
        },
        rates: [&[case.store], case.clocks].concat(),
        mortal: candidates,
        ..Setup::new(parties)
    }
}

/// Two candidates of which the first has the slowest clock that is allowed.
fn slow(faults: Faults, broken: Broken) -> Setup<Party> {
    let case = Case {
        store: (1, 1),
        clocks: &[(4, 5), (1, 1)],
        keeps: 1,
        horizon: 8,
        delay_max: Some(2),
    };
    Setup {
        faults: Faults {
            jumps: u8::from(broken.is(&STEADY_CLOCK)),
            ..faults
        },
        jumps: vec![(ProcessId(1), -3)],
        ..setup(&case, broken)
    }
}

/// The same with right clocks, and with messages that take as long as they like.
fn late(broken: Broken) -> Setup<Party> {
    let case = Case {
        store: (1, 1),
        clocks: &[(1, 1), (1, 1)],
        keeps: 0,
        horizon: 7,
        delay_max: None,
    };
    setup(&case, broken)
}

const ONE_PAUSE: Faults = Faults {
    crashes: 0,
    restarts: 0,
    drops: 0,
    duplicates: 0,
    pauses: 1,
    cuts: 0,
    jumps: 0,
};

impl Algorithm for LeaseElection {
    type Process = Party;

    const NAME: &'static str = "lease-election";
    const KIND: Kind = Kind::Election;
    const LINE: &'static str =
        "a key that lapses: whoever creates it leads, and stops before it goes";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[
        GUARD_BAND,
        COUNT_FROM_SENDING,
        STOP_BY_YOURSELF,
        CREATE_IF_ABSENT,
        STEADY_CLOCK,
        TELL_WAITING,
    ];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "guard",
            says: "c1's clock is slow and its keep-alive is lost: it stops just before c2 begins",
            broken: None,
            script: include_str!("scenarios/guard.txt"),
        },
        Scenario {
            name: "asleep",
            says: "c1 sleeps past its lease, c2 leads; c1 wakes up, looks at its clock, and stands again",
            broken: None,
            script: include_str!("scenarios/asleep.txt"),
        },
        Scenario {
            name: "no-guard",
            says: "the same slow clock without a guard band: c1 still leads when c2 does",
            broken: Some(GUARD_BAND.rule),
            script: include_str!("scenarios/no-guard.txt"),
        },
    ];
    const SMALL: &'static str = "a store and 2 candidates for 8 ticks, messages take 0 to 2, \
                                 c1's clock shows 4 where 5 have passed; one pause";
    const LARGE: &'static str = "a store and 2 or 3 candidates for 40 ticks, messages take as long as they like, \
                                 clocks up to a fifth slow; pauses, crashes, losses, duplicates";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "one-leader",
                says: "at no true time two believe that they lead (if clocks keep their bound)",
                when: When::Always,
                holds: one_leader,
            },
            Law {
                name: "no-vacancy",
                says: "in the end, if nothing was lost, the key is not free while somebody is up who wants it",
                when: When::AtRest,
                holds: no_vacancy,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        if broken.is(&COUNT_FROM_SENDING) || broken.is(&TELL_WAITING) {
            late(broken)
        } else if broken == Broken::NOTHING {
            slow(ONE_PAUSE, broken)
        } else {
            slow(Faults::default(), broken)
        }
    }

    fn small_is(broken: Broken) -> &'static str {
        if broken.is(&COUNT_FROM_SENDING) || broken.is(&TELL_WAITING) {
            "a store and 2 candidates for 7 ticks, messages take as long as they like, right clocks"
        } else if broken.is(&STEADY_CLOCK) {
            "a store and 2 candidates for 8 ticks, messages take 0 to 2, c1's clock is slow, and is put back once"
        } else if broken == Broken::NOTHING {
            Self::SMALL
        } else {
            "a store and 2 candidates for 8 ticks, messages take 0 to 2, c1's clock shows 4 where 5 have passed"
        }
    }

    fn kept(rule: &Break) -> Option<Setup<Party>> {
        let is_late = [COUNT_FROM_SENDING, TELL_WAITING]
            .iter()
            .any(|other| other.rule == rule.rule);
        // A clock that jumps is nothing that the algorithm survives.
        let is_survived = rule.rule != STEADY_CLOCK.rule;
        is_survived.then(|| {
            if is_late {
                late(Broken::NOTHING)
            } else {
                slow(Faults::default(), Broken::NOTHING)
            }
        })
    }

    fn stage(broken: Broken) -> Setup<Party> {
        let case = Case {
            store: (1, 1),
            clocks: &[(4, 5), (1, 1)],
            keeps: 3,
            horizon: 40,
            delay_max: Some(2),
        };
        setup(&case, broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Party> {
        const SLOW: (u32, u32) = (4, 5);
        const RIGHT: (u32, u32) = (1, 1);
        const FAST: (u32, u32) = (5, 4);
        let n = rng.between(2, 3) as usize;
        // Whoever holds is at most a fifth slower than the store.
        let (store, others) = if rng.one_in(2) {
            (RIGHT, [SLOW, RIGHT, FAST])
        } else {
            (FAST, [RIGHT, FAST, FAST])
        };
        let clocks: Vec<(u32, u32)> = (0..n)
            .map(|_| rng.pick(&others).copied().unwrap_or(RIGHT))
            .collect();
        let case = Case {
            store,
            clocks: &clocks,
            keeps: 4,
            horizon: 40,
            delay_max: None,
        };
        Setup {
            faults: Faults {
                crashes: 2,
                restarts: 2,
                drops: 3,
                duplicates: 3,
                pauses: 3,
                cuts: 0,
                jumps: u8::from(broken.is(&STEADY_CLOCK)),
            },
            jumps: vec![(ProcessId(1), -3)],
            ..setup(&case, broken)
        }
    }
}

fn candidates(world: &World<Party>) -> impl Iterator<Item = (ProcessId, &Candidate)> {
    let all = (0..).map(ProcessId).zip(world.processes());
    all.filter_map(|(at, party)| match party {
        Party::Candidate(candidate) if world.condition(at) != Condition::Down => {
            Some((at, candidate))
        }
        _ => None,
    })
}

fn one_leader(world: &World<Party>) -> Result<(), String> {
    let mut leading = candidates(world).filter(|(at, candidate)| candidate.leads(world.clock(*at)));
    match (leading.next(), leading.next()) {
        (Some((one, _)), Some((other, _))) => Err(format!(
            "at time {} {} leads, and {} too",
            world.now(),
            world.name(one),
            world.name(other)
        )),
        _ => Ok(()),
    }
}

fn no_vacancy(world: &World<Party>) -> Result<(), String> {
    let is_free =
        matches!(world.process(ProcessId(0)), Party::Store(store) if store.holder.is_none());
    if !is_free || world.done().drops > 0 {
        return Ok(());
    }
    match candidates(world).next() {
        Some((at, _)) => Err(format!("the key is free, and {} waits", world.name(at))),
        None => Ok(()),
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Create(_) => f.write_str("create if absent"),
            Message::Granted(token, asked) => {
                write!(f, "granted with token {token}, as asked at {asked}")
            }
            Message::Taken => f.write_str("it is taken"),
            Message::Keep(token, _) => write!(f, "keep {token} alive"),
            Message::Kept(token, asked) => write!(f, "kept {token} alive, as asked at {asked}"),
            Message::Over(token) => write!(f, "lease {token} is over"),
            Message::Free => f.write_str("it is free"),
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Timer::Ends(_) => "ends the lease",
            Timer::Keep => "keeps its lease alive",
            Timer::Stop => "stops",
        })
    }
}

impl fmt::Display for Leads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leads with token {}", self.0)
    }
}
