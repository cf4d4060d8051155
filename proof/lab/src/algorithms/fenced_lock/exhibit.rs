//! How the fenced lock is shown: its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Faults, Law, Setup, Time, When, World};
use base::Rng;
use std::fmt;

/// Clients with so many rounds each, the lock, the resource.
fn setup(clients: usize, rounds: u8, ttl: u32, broken: Broken) -> Setup<Party> {
    let (lock, resource) = (ProcessId(clients), ProcessId(clients + 1));
    let mut parties = Vec::new();
    for at in (0..clients).map(ProcessId) {
        let client = Client {
            name: name(at),
            lock,
            resource,
            ttl,
            rounds_left: rounds,
            at: Stage::Idle,
        };
        parties.push((name(at).to_string(), Party::Client(client)));
    }
    let service = Lock {
        broken,
        ttl,
        token: TOKEN_BEFORE,
        holder: None,
        waiting: VecDeque::new(),
    };
    parties.push(("lock".into(), Party::Lock(service)));
    let file = Resource {
        broken,
        highest: TOKEN_BEFORE,
        content: Vec::new(),
    };
    parties.push(("file".into(), Party::Resource(file)));
    Setup::new(parties)
}

impl Algorithm for FencedLock {
    type Process = Party;

    const NAME: &'static str = "fenced-lock";
    const KIND: Kind = Kind::Lock;
    const LINE: &'static str = "a lock that lapses, and numbers that keep its late holders out";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[CHECK_TOKEN, FENCE_READS, NEW_TOKEN];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "pause",
            says: "a sleeps past its time to live, b writes, a's late write is refused: 33 < 34",
            broken: None,
            script: include_str!("scenarios/pause.txt"),
        },
        Scenario {
            name: "late-packet",
            says: "nobody sleeps, but a's write is long under way; the number helps all the same",
            broken: None,
            script: include_str!("scenarios/late-packet.txt"),
        },
        Scenario {
            name: "pause-unfenced",
            says: "the same sleep where the resource looks at no number: what b wrote is gone",
            broken: Some("check-token"),
            script: include_str!("scenarios/pause.txt"),
        },
    ];
    const SMALL: &'static str = "2 clients with one write each, a lock of 2 ticks, one pause";
    const LARGE: &'static str =
        "3 clients with 3 writes each; pauses, crashes, duplicates, a lock whose clock jumps";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "no-overwrite",
                says: "what a later holder has written is not overwritten by an earlier one",
                when: When::Always,
                holds: no_overwrite,
            },
            Law {
                name: "nothing-lost",
                says: "in the end the file holds everything that was written",
                when: When::AtRest,
                holds: nothing_lost,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        // Where a rule is left out the network is quick, so that a pause alone must do it: a part of what can
        // happen where every rule is kept.
        let delay_max = (broken != Broken::NOTHING).then_some(0);
        Setup {
            time: Time::Ticks {
                // Twice the time to live: who sleeps that long wakes long after the next one came.
                horizon: 4,
                delay_max,
            },
            faults: Faults {
                pauses: 1,
                ..Faults::default()
            },
            mortal: vec![ProcessId(0), ProcessId(1)],
            ..setup(2, 1, 2, broken)
        }
    }

    fn stage(broken: Broken) -> Setup<Party> {
        Setup {
            time: Time::Ticks {
                horizon: 30,
                delay_max: None,
            },
            ..setup(2, 2, 2, broken)
        }
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Party> {
        let ttl = rng.between(2, 4) as u32;
        let lock = ProcessId(3);
        Setup {
            time: Time::Ticks {
                horizon: 40,
                delay_max: None,
            },
            faults: Faults {
                crashes: 2,
                restarts: 2,
                duplicates: 4,
                pauses: 3,
                jumps: 2,
                ..Faults::default()
            },
            jumps: vec![(lock, 3), (lock, -3)],
            ..setup(3, 3, ttl, broken)
        }
    }
}

/// Who holds it later is asked of the grants, as they were made, and not of the tokens.
fn no_overwrite(world: &World<Party>) -> Result<(), String> {
    let mut grants = Vec::new();
    let mut newest: Option<(usize, char, Token)> = None;
    for fact in world.facts() {
        match *fact {
            Fact::Holds(who, token) => grants.push((who, token)),
            Fact::Wrote(token, (who, _)) => {
                let Some(grant) = grants.iter().rposition(|held| *held == (who, token)) else {
                    return Err(format!(
                        "{who} wrote with {token}, which it was never given"
                    ));
                };
                match newest {
                    Some((later, by, with)) if grant < later => {
                        return Err(format!(
                            "{who} wrote with {token} over what {by}, who held it later, had written with {with}"
                        ));
                    }
                    _ => newest = Some((grant, who, token)),
                }
            }
        }
    }
    Ok(())
}

fn nothing_lost(world: &World<Party>) -> Result<(), String> {
    let held = world.processes().find_map(|party| match party {
        Party::Resource(resource) => Some(&resource.content),
        _ => None,
    });
    let held = held.map(Vec::as_slice).unwrap_or_default();
    let lost = world.facts().iter().find_map(|fact| match fact {
        Fact::Wrote(_, edit) if !held.contains(edit) => Some(edit),
        _ => None,
    });
    match lost {
        Some((who, _)) => Err(format!(
            "what {who} had written is gone, and the file holds {}",
            text(held)
        )),
        None => Ok(()),
    }
}

/// `ab`: what a added, then b.
fn text(content: &[Edit]) -> String {
    if content.is_empty() {
        return "nothing".into();
    }
    content.iter().map(|(who, _)| *who).collect()
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Acquire => write!(f, "acquire"),
            Message::Granted(token) => write!(f, "granted, token {token}"),
            Message::Release(token) => write!(f, "release {token}"),
            Message::Read(token) => write!(f, "read with {token}"),
            Message::Content(_, content) => write!(f, "it holds {}", text(content)),
            Message::Write(token, content) => write!(f, "write {} with {token}", text(content)),
            Message::Written(token) => write!(f, "written with {token}"),
            Message::Refused(_, highest) => write!(f, "refused, {highest} was here"),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Holds(client, token) => write!(f, "{client} holds it with token {token}"),
            Fact::Wrote(token, (client, _)) => write!(f, "{client} has written, {token}"),
        }
    }
}
