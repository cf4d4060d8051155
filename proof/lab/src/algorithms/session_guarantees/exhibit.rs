//! How session guarantees are shown: their laws, cases, words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Kind, Scenario};
use crate::kernel::{Cut, Faults, Law, Setup, When, World};
use base::Rng;
use std::fmt;

/// So many replicas, and a session for each number that has so many wishes.
fn setup(n_replicas: usize, wishes: &[u8], broken: Broken) -> Setup<Party> {
    let replicas: Vec<ProcessId> = (0..n_replicas).map(ProcessId).collect();
    let mut parties = Vec::new();
    for at in 0..n_replicas {
        let me = ProcessId(at);
        let replica = Replica {
            broken,
            others: replicas
                .iter()
                .copied()
                .filter(|other| *other != me)
                .collect(),
            log: Vec::new(),
            waiting: Vec::new(),
            done: Vec::new(),
        };
        parties.push((format!("r{}", at + 1), Party::Replica(replica)));
    }
    for (at, wishes_left) in wishes.iter().enumerate() {
        let session = Session {
            broken,
            replicas: replicas.clone(),
            wishes_left: *wishes_left,
            request: 0,
            is_waiting: false,
            token: Token::default(),
        };
        parties.push((format!("s{}", at + 1), Party::Session(session)));
    }
    let sides = vec![vec![ProcessId(0)], replicas[1..].to_vec()];
    Setup {
        cuts: vec![Cut {
            name: "r1-alone",
            sides,
        }],
        ..Setup::new(parties)
    }
}

impl Algorithm for SessionGuarantees {
    type Process = Party;

    const NAME: &'static str = "session-guarantees";
    const KIND: Kind = Kind::Consistency;
    const LINE: &'static str = "what one client may rely on, kept by a token when it moves";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[
        READ_YOUR_WRITES,
        MONOTONIC_READS,
        MONOTONIC_WRITES,
        WRITES_FOLLOW_READS,
        LOOK_AGAIN,
    ];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "moves",
            says: "s1 writes at r1, moves to r2, which lags, and reads: r2 waits until it has the write",
            broken: None,
            script: include_str!("scenarios/moves.txt"),
        },
        Scenario {
            name: "without-token",
            says: "the same without asking for its own writes: s1 reads, and its write is not there",
            broken: Some("reads-ask-for-writes"),
            script: include_str!("scenarios/moves.txt"),
        },
        Scenario {
            name: "answer-first",
            says: "s2 reads s1's write at r1 and answers at r2; at r2 the answer stands without its question",
            broken: Some("writes-ask-for-reads"),
            script: include_str!("scenarios/answer-first.txt"),
        },
    ];
    const SMALL: &'static str = "2 replicas, 2 sessions with 2 wishes and 1; messages in any order";
    const LARGE: &'static str =
        "3 replicas, 3 sessions with 4 wishes each; duplicates, crashes, the network parts";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "read-your-writes",
                says: "a read sees every earlier write of its session",
                when: When::Always,
                holds: read_your_writes,
            },
            Law {
                name: "monotonic-reads",
                says: "a read sees everything that an earlier read of its session saw",
                when: When::Always,
                holds: monotonic_reads,
            },
            Law {
                name: "monotonic-writes",
                says: "wherever a write is, the earlier ones of its session are, before it",
                when: When::Always,
                holds: monotonic_writes,
            },
            Law {
                name: "writes-follow-reads",
                says: "wherever a write is, all that its session had read is, before it",
                when: When::Always,
                holds: writes_follow_reads,
            },
            Law {
                name: "all-is-answered",
                says: "in the end no request waits",
                when: When::AtRest,
                holds: all_is_answered,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        setup(2, &[2, 1], broken)
    }

    fn stage(broken: Broken) -> Setup<Party> {
        setup(2, &[3, 3], broken)
    }

    fn large(broken: Broken, _: &mut Rng) -> Setup<Party> {
        let mut setup = setup(3, &[4; 3], broken);
        setup.faults = Faults {
            duplicates: 4,
            crashes: 2,
            restarts: 2,
            cuts: 2,
            ..Faults::default()
        };
        setup.mortal = (0..3).map(ProcessId).collect();
        setup
    }
}

/// The last fact, when it is a read, and the earlier facts.
fn last_read(world: &World<Party>) -> Option<(ProcessId, &[Write], &[Fact])> {
    match world.facts().split_last()? {
        (Fact::Read(session, log), earlier) => Some((*session, log, earlier)),
        _ => None,
    }
}

fn read_your_writes(world: &World<Party>) -> Result<(), String> {
    let Some((session, log, earlier)) = last_read(world) else {
        return Ok(());
    };
    let missed = earlier.iter().find_map(|fact| match fact {
        Fact::Wrote(by, write) if *by == session && !log.contains(write) => Some(write),
        _ => None,
    });
    match missed {
        Some(write) => Err(format!(
            "{} wrote {write}, and then read {}",
            world.name(session),
            told(log)
        )),
        None => Ok(()),
    }
}

fn monotonic_reads(world: &World<Party>) -> Result<(), String> {
    let Some((session, log, earlier)) = last_read(world) else {
        return Ok(());
    };
    let older = earlier.iter().find_map(|fact| match fact {
        Fact::Read(by, before) if *by == session => before
            .iter()
            .any(|write| !log.contains(write))
            .then_some(before),
        _ => None,
    });
    match older {
        Some(before) => Err(format!(
            "{} read {}, and then {}",
            world.name(session),
            told(before),
            told(log)
        )),
        None => Ok(()),
    }
}

/// Whether each replica that has `write` has `before` in front of it; otherwise its name.
fn in_front(world: &World<Party>, before: Write, write: Write) -> Result<(), &str> {
    for (at, party) in world.processes().enumerate() {
        let Party::Replica(replica) = party else {
            continue;
        };
        let place = |of| replica.log.iter().position(|write| *write == of);
        let Some(its) = place(write) else { continue };
        if place(before).is_none_or(|first| first > its) {
            return Err(world.name(ProcessId(at)));
        }
    }
    Ok(())
}

fn monotonic_writes(world: &World<Party>) -> Result<(), String> {
    let writes = |facts: &[Fact], of: Option<ProcessId>| -> Vec<(ProcessId, Write)> {
        let writes = facts.iter().filter_map(|fact| match fact {
            Fact::Wrote(by, write) if of.is_none_or(|of| of == *by) => Some((*by, *write)),
            _ => None,
        });
        writes.collect()
    };
    let facts = world.facts();
    let all = writes(facts, None);
    for (at, (session, write)) in all.iter().enumerate() {
        for (_, before) in all[..at].iter().filter(|(by, _)| by == session) {
            if let Err(replica) = in_front(world, *before, *write) {
                return Err(format!(
                    "{} wrote {before}, then {write}; {replica} has {write}, and not {before} before it",
                    world.name(*session)
                ));
            }
        }
    }
    Ok(())
}

fn writes_follow_reads(world: &World<Party>) -> Result<(), String> {
    let facts = world.facts();
    for (at, fact) in facts.iter().enumerate() {
        let Fact::Wrote(session, write) = fact else {
            continue;
        };
        let read = facts[..at].iter().flat_map(|fact| match fact {
            Fact::Read(by, log) if by == session => log.as_slice(),
            _ => &[],
        });
        for before in read {
            if let Err(replica) = in_front(world, *before, *write) {
                return Err(format!(
                    "{} read {before}, then wrote {write}; {replica} has {write}, and not {before} before it",
                    world.name(*session)
                ));
            }
        }
    }
    Ok(())
}

fn all_is_answered(world: &World<Party>) -> Result<(), String> {
    let is_waiting =
        |party: &&Party| matches!(party, Party::Session(session) if session.is_waiting);
    // A replica that is down for good answers nobody.
    let is_down = (0..world.setup().processes.len())
        .any(|at| world.condition(ProcessId(at)) == crate::kernel::Condition::Down);
    if is_down || !world.processes().any(|party| is_waiting(&party)) {
        return Ok(());
    }
    Err("a session waits for ever".into())
}

fn told(log: &[Write]) -> String {
    if log.is_empty() {
        return "nothing".into();
    }
    let writes: Vec<String> = log.iter().map(Write::to_string).collect();
    writes.join(" ")
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}.{}", self.replica.0 + 1, self.number)
    }
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.iter();
        let entries: Vec<String> = entries
            .map(|(replica, number)| format!("r{}:{number}", replica.0 + 1))
            .collect();
        write!(f, "[{}]", entries.join(" "))
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Ask(Wish::Read, _, need) => write!(f, "read, token {need}"),
            Message::Ask(Wish::Write, _, need) => write!(f, "write, token {need}"),
            Message::Log(_, log) => write!(f, "read {}", told(log)),
            Message::Written(_, write) => write!(f, "written as {write}"),
            Message::Copy(log) => write!(f, "copy {}", told(log)),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Read(..) => write!(f, "it has read"),
            Fact::Wrote(..) => write!(f, "it has written"),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wish = match self.0 {
            Wish::Read => "reads",
            Wish::Write => "writes",
        };
        write!(f, "{wish} r{}", self.1.0 + 1)
    }
}
