//! How `SET NX PX` is shown: its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Condition, Faults, Law, Setup, Time, When, World};
use base::Rng;
use std::fmt;

/// Workers who try so often, and the store.
fn setup(workers: usize, tries: u8, ttl: u32, broken: Broken) -> Setup<Party> {
    let mut parties = Vec::new();
    for at in 0..workers {
        let name = char::from(b'a' + at as u8);
        let worker = Worker {
            broken,
            store: ProcessId(workers),
            ttl,
            work: 1,
            tries_left: tries,
            value: (name, 0),
            at: Stage::Waiting(0),
        };
        parties.push((name.to_string(), Party::Worker(worker)));
    }
    let store = Store {
        broken,
        ttl,
        lock: None,
        is_done: false,
    };
    parties.push(("store".into(), Party::Store(store)));
    Setup {
        mortal: (0..workers).map(ProcessId).collect(),
        ..Setup::new(parties)
    }
}

impl Algorithm for SetNx {
    type Process = Party;

    const NAME: &'static str = "set-nx";
    const KIND: Kind = Kind::Lock;
    const LINE: &'static str = "one key in one store: saves work, and protects nothing";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[NO_PAUSE, COMPARE_ON_RELEASE, EXPIRY];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "saved",
            says: "a makes the report, and b finds it made",
            broken: None,
            script: include_str!("scenarios/saved.txt"),
        },
        Scenario {
            name: "twice",
            says: "a stands still past its time to live, and the report is made twice: no harm, only work",
            broken: None,
            script: include_str!("scenarios/twice.txt"),
        },
    ];
    const SMALL: &'static str =
        "2 workers with 2 tries each, a lock of 2 ticks for work of 1, one pause, one crash";
    const LARGE: &'static str =
        "3 workers with 6 tries each; pauses, crashes, a store whose clock jumps";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "once",
                says: "the work is done once, while nobody has paused or crashed and no clock jumped",
                when: When::Always,
                holds: once,
            },
            Law {
                name: "own-release",
                says: "nobody's lock is taken away by another before its time",
                when: When::Always,
                holds: own_release,
            },
            Law {
                name: "work-done",
                says: "in the end it is done, if anybody is there who could do it; and nobody waits for ever",
                when: When::AtRest,
                holds: work_done,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        Setup {
            time: Time::Ticks {
                horizon: 8,
                delay_max: Some(0),
            },
            faults: Faults {
                pauses: 1,
                crashes: 1,
                ..Faults::default()
            },
            ..setup(2, 2, 2, broken)
        }
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Party> {
        // A quiet half of the runs, in which the law of once is asked to the end.
        let faults = if rng.one_in(2) {
            Faults::default()
        } else {
            Faults {
                pauses: 2,
                crashes: 2,
                restarts: 2,
                jumps: 1,
                ..Faults::default()
            }
        };
        // With a slow network, to the store and back three times, and a tick of work: eight ticks are enough.
        let (delay, ttl) = if rng.one_in(2) { (0, 2) } else { (1, 8) };
        Setup {
            time: Time::Ticks {
                horizon: 10 * ttl,
                delay_max: Some(delay),
            },
            faults,
            jumps: vec![(ProcessId(3), i64::from(ttl))],
            ..setup(3, 6, ttl, broken)
        }
    }
}

fn once(world: &World<Party>) -> Result<(), String> {
    let done = world.done();
    let is_excused = |broken: Broken| {
        let has_paused = done.pauses > 0 && !broken.is(&NO_PAUSE);
        has_paused || done.crashes > 0 || done.jumps > 0
    };
    let mut did = world.facts().iter().filter_map(|fact| match fact {
        Fact::Did(who) => Some(who),
        Fact::Robbed(..) => None,
    });
    match (did.next(), did.next()) {
        (Some(first), Some(second)) if !is_excused(broken(world)) => {
            Err(format!("{first} did the work, and {second} did it again"))
        }
        _ => Ok(()),
    }
}

fn broken(world: &World<Party>) -> Broken {
    let found = world.processes().find_map(|party| match party {
        Party::Worker(worker) => Some(worker.broken),
        Party::Store(_) => None,
    });
    found.unwrap_or_default()
}

fn own_release(world: &World<Party>) -> Result<(), String> {
    let robbed = world.facts().iter().find_map(|fact| match fact {
        Fact::Robbed((whose, _), (by, _)) => Some((whose, by)),
        Fact::Did(_) => None,
    });
    match robbed {
        Some((whose, by)) => Err(format!("{by} took away the lock of {whose}")),
        None => Ok(()),
    }
}

/// At rest everything has arrived, and each timer has run out that is due before the end of the play.
fn work_done(world: &World<Party>) -> Result<(), String> {
    let (mut is_done, mut is_there) = (false, false);
    for (at, party) in world.processes().enumerate() {
        if let Party::Store(store) = party {
            is_done = store.is_done;
            is_there = world.condition(ProcessId(at)) != Condition::Down;
        }
    }
    if !is_there || world.done().drops > 0 {
        // Nothing that is promised for.
        return Ok(());
    }
    let (mut is_going_on, mut last_word) = (false, None);
    for (at, party) in world.processes().enumerate() {
        let who = ProcessId(at);
        let name = world.name(who);
        match party {
            Party::Worker(worker) if world.condition(who) != Condition::Down => match worker.at {
                Stage::Finished => last_word = Some(format!("{name} has finished")),
                Stage::GaveUp => last_word = Some(format!("{name} has given up")),
                // The play ends before that.
                Stage::Waiting(until) | Stage::Working(until) if until > world.clock(who) => {
                    is_going_on = true;
                }
                _ => return Err(format!("{name} waits for ever")),
            },
            _ => {}
        }
    }
    match last_word {
        Some(last) if !is_done && !is_going_on => Err(format!("nobody did the work, and {last}")),
        _ => Ok(()),
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Set((who, at)) => write!(f, "set lock {who}{at} if absent"),
            Message::Yes((who, at)) => write!(f, "yes, lock {who}{at}"),
            Message::No(_) => write!(f, "no, there is one"),
            Message::Look(_) => write!(f, "is there a report?"),
            Message::Found(_, false) => write!(f, "no report"),
            Message::Found(_, true) => write!(f, "there is one"),
            Message::Note(_) => write!(f, "set report"),
            Message::Noted(_) => write!(f, "report is set"),
            Message::Release((who, at)) => write!(f, "delete lock {who}{at}"),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Did(who) => write!(f, "{who} has made the report"),
            Fact::Robbed((whose, _), (by, _)) => write!(f, "{by} deletes the lock of {whose}"),
        }
    }
}
