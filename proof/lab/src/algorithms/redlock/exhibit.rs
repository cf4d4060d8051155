//! How Redlock is shown: its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Condition, Faults, Law, Setup, Time, When, World};
use base::Rng;
use std::fmt;

/// Clients who try so often, stores, the resource. The clocks of all stores are as fast as allowed.
fn setup(clients: usize, tries: u8, stores: usize, ttl: i64, broken: Broken) -> Setup<Party> {
    let resource = ProcessId(clients + stores);
    let mut parties = Vec::new();
    for at in 0..clients {
        let name = char::from(b'a' + at as u8);
        // They do not all begin with the same store.
        let mut order: Vec<ProcessId> = (clients..clients + stores).map(ProcessId).collect();
        order.rotate_right(at % stores);
        let client = Client {
            broken,
            stores: order,
            resource,
            ttl,
            patience: if ttl > 4 { 3 } else { 1 },
            tries_left: tries,
            value: (name, 0),
            at: Stage::Outside,
        };
        parties.push((name.to_string(), Party::Client(client)));
    }
    for at in 1..=stores {
        let store = Store {
            broken,
            ttl,
            lock: None,
            deaf_until: 0,
        };
        parties.push((format!("s{at}"), Party::Store(store)));
    }
    parties.push((
        "file".into(),
        Party::Resource(Resource { broken, version: 0 }),
    ));
    let rate = |at: usize| {
        if (clients..clients + stores).contains(&at) {
            (4, 3)
        } else {
            (1, 1)
        }
    };
    Setup {
        rates: (0..parties.len()).map(rate).collect(),
        ..Setup::new(parties)
    }
}

/// The one fault of the small case.
fn fault(broken: Broken) -> Faults {
    let none = Faults::default();
    if broken.is(&NO_CLOCK_JUMP) {
        Faults { jumps: 1, ..none }
    } else if broken.is(&RESTART_LATE) {
        Faults {
            crashes: 1,
            restarts: 1,
            ..none
        }
    } else {
        Faults { pauses: 1, ..none }
    }
}

/// The small case, with these faults.
fn with_faults(faults: Faults, broken: Broken) -> Setup<Party> {
    let (clients, stores) = (0..2, 2..5);
    let mortal = if faults.crashes > 0 { stores } else { clients };
    Setup {
        time: Time::Ticks {
            horizon: 4,
            delay_max: Some(0),
        },
        jumps: vec![(ProcessId(2), 4)],
        mortal: mortal.map(ProcessId).collect(),
        faults,
        ..setup(2, 1, 3, 4, broken)
    }
}

impl Algorithm for Redlock {
    type Process = Party;

    const NAME: &'static str = "redlock";
    const KIND: Kind = Kind::Lock;
    const LINE: &'static str = "a majority of stores and of clocks: safe as long as time behaves";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[
        NO_PAUSE,
        NO_CLOCK_JUMP,
        MAJORITY,
        DRIFT_ALLOWANCE,
        RESTART_LATE,
        CHECK_VERSION,
    ];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "pause",
            says: "a stands still inside; b comes in, writes, and a's late write meets another version",
            broken: None,
            script: include_str!("scenarios/pause.txt"),
        },
        Scenario {
            name: "pause-unfenced",
            says: "the same, and the resource counts no versions: what b wrote is gone",
            broken: Some("check-version"),
            script: include_str!("scenarios/pause.txt"),
        },
    ];
    const SMALL: &'static str =
        "2 clients with one try each, 3 stores with fast clocks, a lock of 4 ticks, one pause";
    const LARGE: &'static str =
        "3 clients with 2 tries each, 5 stores; pauses, crashes, clocks that jump";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "mutual-exclusion",
                says: "two are never inside at once, while nobody has paused and no clock jumped",
                when: When::Always,
                holds: mutual_exclusion,
            },
            Law {
                name: "resource-safe",
                says: "each write is made upon what was written before it, whatever time does",
                when: When::Always,
                holds: resource_safe,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        with_faults(fault(broken), broken)
    }

    fn small_is(broken: Broken) -> &'static str {
        let faults = fault(broken);
        if faults.jumps > 0 {
            "2 clients with one try each, 3 stores with fast clocks, a lock of 4 ticks, one jump of a clock"
        } else if faults.crashes > 0 {
            "2 clients with one try each, 3 stores with fast clocks, a lock of 4 ticks, one crash"
        } else {
            Self::SMALL
        }
    }

    /// After a jump two may be inside, and the resource is safe all the same.
    fn kept(rule: &Break) -> Option<Setup<Party>> {
        let faults = fault(Broken::without(rule));
        (faults.pauses == 0).then(|| with_faults(faults, Broken::NOTHING))
    }

    fn stage(broken: Broken) -> Setup<Party> {
        Setup {
            time: Time::Ticks {
                horizon: 20,
                delay_max: Some(1),
            },
            ..Self::small(broken)
        }
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Party> {
        // In a half of the runs time behaves, and both laws are asked to the end.
        let behaves = Faults {
            crashes: 2,
            restarts: 2,
            ..Faults::default()
        };
        let faults = if rng.one_in(2) {
            behaves
        } else {
            Faults {
                pauses: 3,
                jumps: 2,
                ..behaves
            }
        };
        // A quick network and short locks, or a slow one and long locks: five stores are asked in turn.
        let (delay, ttl) = if rng.one_in(2) { (0, 4) } else { (1, 16) };
        Setup {
            time: Time::Ticks {
                horizon: 3 * ttl + 8,
                delay_max: Some(delay),
            },
            jumps: (3..8).map(|at| (ProcessId(at), i64::from(ttl))).collect(),
            mortal: (0..8).map(ProcessId).collect(),
            faults,
            ..setup(3, 2, 5, i64::from(ttl), broken)
        }
    }
}

fn mutual_exclusion(world: &World<Party>) -> Result<(), String> {
    let mut inside = None;
    for (at, party) in world.processes().enumerate() {
        let Party::Client(client) = party else {
            continue;
        };
        let is_down = world.condition(ProcessId(at)) == Condition::Down;
        if is_down || !matches!(client.at, Stage::Inside { .. }) {
            continue;
        }
        let Some(other) = inside.replace(at) else {
            continue;
        };
        let done = world.done();
        let has_paused = done.pauses > 0 && !client.broken.is(&NO_PAUSE);
        let has_jumped = done.jumps > 0 && !client.broken.is(&NO_CLOCK_JUMP);
        if has_paused || has_jumped {
            return Ok(());
        }
        let name = |at| world.name(ProcessId(at));
        return Err(format!("{} is inside, and {} too", name(other), name(at)));
    }
    Ok(())
}

fn resource_safe(world: &World<Party>) -> Result<(), String> {
    match world
        .facts()
        .iter()
        .find(|Took(_, read, upon)| read != upon)
    {
        Some(Took(who, read, upon)) => Err(format!(
            "{who} had read version {read}, and wrote over version {upon}"
        )),
        None => Ok(()),
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Set((who, at)) => write!(f, "set {who}{at} if absent"),
            Message::Yes((who, at)) => write!(f, "yes, {who}{at}"),
            Message::No(_) => write!(f, "no, there is one"),
            Message::Release((who, at)) => write!(f, "delete {who}{at}"),
            Message::Read(_) => write!(f, "read"),
            Message::Version(_, version) => write!(f, "version {version}"),
            Message::Write(_, version) => write!(f, "write upon version {version}"),
            Message::Wrote(_, true) => write!(f, "written"),
            Message::Wrote(_, false) => write!(f, "not written"),
        }
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Took(who, _, upon) = self;
        write!(f, "{who} makes version {} of it", upon + 1)
    }
}
