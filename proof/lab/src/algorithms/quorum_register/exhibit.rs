//! How the register is shown: its laws, cases, words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Condition, Cut, Faults, Law, Setup, When, World};
use base::Rng;
use std::fmt;

/// What a case has.
struct Case {
    n: usize,
    w: usize,
    r: usize,
    writes: u8,
    /// How often each reader reads.
    reads: &'static [u8],
    has_stand_in: bool,
}

fn setup(case: &Case, broken: Broken) -> Setup<Party> {
    let homes: Vec<ProcessId> = (0..case.n).map(ProcessId).collect();
    let register = Register {
        broken,
        homes: homes.clone(),
        stand_in: case.has_stand_in.then_some(ProcessId(case.n)),
        w: case.w,
        r: if broken.is(&OVERLAP) {
            case.n - case.w
        } else {
            case.r
        },
    };
    let home = |at| (format!("h{at}"), Party::Home(0));
    let mut parties: Vec<(String, Party)> = (1..=case.n).map(home).collect();
    if case.has_stand_in {
        parties.push(("s".into(), Party::StandIn(broken, BTreeSet::new())));
    }
    let writer = Writer {
        register: register.clone(),
        writes_left: case.writes,
        version: 0,
        is_done: true,
        counted: BTreeMap::new(),
    };
    parties.push(("w".into(), Party::Writer(writer)));
    for (at, reads_left) in case.reads.iter().enumerate() {
        let reader = Reader {
            register: register.clone(),
            reads_left: *reads_left,
            read: 0,
            phase: Phase::Idle,
        };
        parties.push((format!("r{}", at + 1), Party::Reader(reader)));
    }
    let rest = (1..parties.len()).map(ProcessId).collect();
    Setup {
        cuts: vec![Cut {
            name: "h1-alone",
            sides: vec![vec![ProcessId(0)], rest],
        }],
        mortal: homes,
        ..Setup::new(parties)
    }
}

/// Two homes and a stand-in, a write to one of them, a read from both: where hints matter for reads.
fn sloppy_case(broken: Broken) -> Setup<Party> {
    let case = Case {
        n: 2,
        w: 1,
        r: 2,
        writes: 1,
        reads: &[1],
        has_stand_in: true,
    };
    setup(&case, broken)
}

/// A write with a stand-in, of which a message is lost: where hints matter for the homes.
fn hint_case(broken: Broken) -> Setup<Party> {
    let case = Case {
        n: 2,
        w: 1,
        r: 2,
        writes: 1,
        reads: &[],
        has_stand_in: true,
    };
    let faults = Faults {
        drops: 1,
        ..Faults::default()
    };
    Setup {
        faults,
        ..setup(&case, broken)
    }
}

impl Algorithm for QuorumRegister {
    type Process = Party;

    const NAME: &'static str = "quorum-register";
    const KIND: Kind = Kind::Consistency;
    const LINE: &'static str = "W homes for a write, R for a read, and they meet: W + R > N";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[OVERLAP, WRITE_BACK, STRICT_QUORUM, HAND_OVER];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "write-back",
            says: "r1 meets a write that is not done: it finishes it, and r2 does not read anything older",
            broken: None,
            script: include_str!("scenarios/write-back.txt"),
        },
        Scenario {
            name: "new-old",
            says: "without writing back r1 reads 1, and r2, afterwards, nothing",
            broken: Some("write-back"),
            script: include_str!("scenarios/new-old.txt"),
        },
        Scenario {
            name: "sloppy",
            says: "w reaches one home and the stand-in, and calls it written; r1 asks the other two",
            broken: Some("strict-quorum"),
            script: include_str!("scenarios/sloppy.txt"),
        },
    ];
    const SMALL: &'static str =
        "3 homes, W = 2, R = 2; one write, one reader that reads twice; messages in any order";
    const LARGE: &'static str =
        "3 to 5 homes, a stand-in, 2 writes, 2 readers; duplicates, a loss, crashes, cuts";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "no-stale-read",
                says: "a read that began after a write was done returns that write or a newer one",
                when: When::Always,
                holds: no_stale_read,
            },
            Law {
                name: "monotonic-reads",
                says: "a read that began after another had ended returns nothing older",
                when: When::Always,
                holds: monotonic_reads,
            },
            Law {
                name: "homes-get-it",
                says: "after silence every home that is up has every write that is done",
                when: When::AtRest,
                holds: homes_get_it,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        if broken.is(&STRICT_QUORUM) {
            return sloppy_case(broken);
        }
        if broken.is(&HAND_OVER) {
            return hint_case(broken);
        }
        let case = Case {
            n: 3,
            w: 2,
            r: 2,
            writes: 1,
            reads: &[2],
            has_stand_in: false,
        };
        setup(&case, broken)
    }

    fn small_is(broken: Broken) -> &'static str {
        if broken.is(&STRICT_QUORUM) {
            "2 homes, W = 1, R = 2, a stand-in; one write, one read; messages in any order"
        } else if broken.is(&HAND_OVER) {
            "2 homes, W = 1, a stand-in; one write; messages in any order, one is lost"
        } else {
            Self::SMALL
        }
    }

    fn kept(rule: &Break) -> Option<Setup<Party>> {
        match rule.rule {
            "strict-quorum" => Some(sloppy_case(Broken::NOTHING)),
            "hand-over" => Some(hint_case(Broken::NOTHING)),
            _ => None,
        }
    }

    fn stage(broken: Broken) -> Setup<Party> {
        let case = Case {
            n: 3,
            w: 2,
            r: 2,
            writes: 2,
            reads: &[1, 1],
            has_stand_in: true,
        };
        setup(&case, broken)
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Party> {
        // The usual configurations.
        let sizes = [(3, 2, 2), (3, 3, 1), (5, 3, 3), (5, 4, 2)];
        let (n, w, r) = sizes[rng.below(sizes.len() as u64) as usize];
        let case = Case {
            n,
            w,
            r,
            writes: 2,
            reads: &[2, 2],
            has_stand_in: true,
        };
        let faults = Faults {
            drops: 1,
            duplicates: 4,
            crashes: 2,
            restarts: 2,
            cuts: 1,
            ..Faults::default()
        };
        Setup {
            faults,
            ..setup(&case, broken)
        }
    }
}

/// The last fact, when a read has ended: what it returned, who read, and what had been said when it began.
fn last_read(world: &World<Party>) -> Option<(ProcessId, Version, &[Fact])> {
    let facts = world.facts();
    let Some(Fact::Read(reader, read, version)) = facts.last() else {
        return None;
    };
    let begun = Fact::Begun(*reader, *read);
    let began = facts.iter().position(|fact| *fact == begun)?;
    Some((*reader, *version, &facts[..began]))
}

fn no_stale_read(world: &World<Party>) -> Result<(), String> {
    let Some((reader, version, before)) = last_read(world) else {
        return Ok(());
    };
    let written = before.iter().filter_map(|fact| match fact {
        Fact::Written(version) => Some(*version),
        _ => None,
    });
    match written.max() {
        Some(written) if written > version => Err(format!(
            "{written} was written, then {} began to read, and got {}",
            world.name(reader),
            told(version)
        )),
        _ => Ok(()),
    }
}

fn monotonic_reads(world: &World<Party>) -> Result<(), String> {
    let Some((reader, version, before)) = last_read(world) else {
        return Ok(());
    };
    let read = before.iter().filter_map(|fact| match fact {
        Fact::Read(other, _, version) => Some((*version, *other)),
        _ => None,
    });
    match read.max() {
        Some((newer, other)) if newer > version => Err(format!(
            "{} read {newer}, then {} began to read, and got {}",
            world.name(other),
            world.name(reader),
            told(version)
        )),
        _ => Ok(()),
    }
}

fn homes_get_it(world: &World<Party>) -> Result<(), String> {
    let written = world.facts().iter().filter_map(|fact| match fact {
        Fact::Written(version) => Some(*version),
        _ => None,
    });
    let written = written.max().unwrap_or(0);
    for (at, party) in world.processes().enumerate() {
        let who = ProcessId(at);
        match party {
            Party::Home(held) if *held < written && world.condition(who) == Condition::Up => {
                let (name, held) = (world.name(who), told(*held));
                return Err(format!(
                    "{written} was written, and {name} has {held} for ever"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn told(version: Version) -> String {
    match version {
        0 => "nothing".into(),
        version => version.to_string(),
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Store(version) => write!(f, "store {version}"),
            Message::Stored(version) => write!(f, "stored {version}"),
            Message::Fetch(_) => write!(f, "fetch"),
            Message::Got(_, version) => write!(f, "has {}", told(*version)),
            Message::Hint(home, version) => write!(f, "keep {version} for h{}", home.0 + 1),
            Message::Kept(home, version) => write!(f, "kept {version} for h{}", home.0 + 1),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Written(version) => write!(f, "{version} is written"),
            Fact::Begun(..) => write!(f, "begins"),
            Fact::Read(_, _, version) => write!(f, "it has read {}", told(*version)),
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Timer::Write => write!(f, "write"),
            Timer::Impatient(version) => write!(f, "loses patience with {version}"),
            Timer::Read => write!(f, "read"),
            Timer::HandOver => write!(f, "hands over"),
        }
    }
}
