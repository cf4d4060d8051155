//! How primary-backup is shown: its rules, its laws, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Break, Kind, Scenario};
use crate::kernel::{Condition, Cut, Delivery, Faults, Law, Setup, When, World};
use base::Rng;
use std::fmt;

/// Without it a write is acknowledged when the primary alone holds it.
pub(super) const ASK_MAJORITY: Break = Break {
    rule: "ask-majority",
    law: "nothing-lost",
    says: "the primary acknowledges a write as soon as it holds it itself",
};
/// Without it copies of a primary of the past are taken.
pub(super) const FENCE_OLD_PRIMARY: Break = Break {
    rule: "fence-old-primary",
    law: "nothing-lost",
    says: "a replica takes copies of an epoch below the one it has promised",
};
/// Without it a backup takes over alone.
pub(super) const TAKE_OVER_WITH_MAJORITY: Break = Break {
    rule: "take-over-with-majority",
    law: "nothing-lost",
    says: "a backup that suspects the primary leads at once, without promises of others",
};
/// Without it the new primary knows only what it held itself.
pub(super) const ADOPT_LATEST: Break = Break {
    rule: "adopt-latest",
    law: "nothing-lost",
    says: "a new primary goes on with its own history, whatever the promises told it",
};
/// Without it writes that nobody was told of weigh more than those of a later primary.
pub(super) const EPOCH_BEFORE_LENGTH: Break = Break {
    rule: "epoch-before-length",
    law: "nothing-lost",
    says: "a new primary takes the longest history that it is told of, of whatever epoch",
};
/// Without it two backups can lead the same epoch.
pub(super) const PROMISE_ONCE: Break = Break {
    rule: "promise-once",
    law: "one-primary",
    says: "a replica promises the same epoch to two backups",
};
/// Without it a replica that was away never hears of what it missed.
pub(super) const CATCH_UP: Break = Break {
    rule: "catch-up",
    law: "same-history",
    says: "a replica that is back does not ask for what it has missed",
};

/// Who takes over how often, who writes through whom.
struct Case<'a> {
    takeovers: &'a [u8],
    clients: &'a [(Write, &'a [usize])],
}

/// Replicas r1.. of which r1 leads epoch 1, and clients c1...
fn setup(case: &Case<'_>, broken: Broken) -> Setup<Party> {
    let all: Vec<ProcessId> = (0..case.takeovers.len()).map(ProcessId).collect();
    let mut parties = Vec::new();
    for (at, takeovers_left) in case.takeovers.iter().copied().enumerate() {
        let role = match at {
            0 => Role::Primary(BTreeMap::new(), BTreeSet::new()),
            _ => Role::Backup,
        };
        let replica = Replica {
            broken,
            all: all.clone(),
            role,
            epoch: 1,
            copied_in: 1,
            history: History::new(),
            takeovers_left,
        };
        parties.push((format!("r{}", at + 1), Party::Replica(replica)));
    }
    for (at, (write, asks)) in case.clients.iter().enumerate() {
        let asks = asks.iter().copied().map(ProcessId).collect();
        let client = Client {
            write: *write,
            asks,
            is_done: false,
        };
        parties.push((format!("c{}", at + 1), Party::Client(client)));
    }
    Setup::new(parties)
}

/// Two clients, one on each side of the cut that may come.
fn split(takeovers: &[u8; 3], broken: Broken) -> Setup<Party> {
    let clients: &[(Write, &[usize])] = &[('x', &[0]), ('y', &[1])];
    let case = Case { takeovers, clients };
    Setup {
        faults: Faults {
            cuts: 1,
            ..Faults::default()
        },
        cuts: vec![Cut {
            name: "old primary off",
            sides: vec![
                [0, 3].map(ProcessId).to_vec(),
                [1, 2, 4].map(ProcessId).to_vec(),
            ],
        }],
        ..setup(&case, broken)
    }
}

/// Two backups that suspect the primary at the same time.
fn rivals(broken: Broken) -> Setup<Party> {
    let clients: &[(Write, &[usize])] = &[];
    let takeovers = &[0, 1, 1];
    setup(&Case { takeovers, clients }, broken)
}

/// A write through the first primary, one through its successor, and one takeover more: by the old one, which may hold
/// as much, but not what counts.
fn succession(broken: Broken) -> Setup<Party> {
    let clients: &[(Write, &[usize])] = &[('x', &[0]), ('y', &[1])];
    let takeovers = &[1, 1, 0];
    Setup {
        delivery: Delivery::Fifo,
        ..setup(&Case { takeovers, clients }, broken)
    }
}

/// A replica that crashes and comes back; what was under way to it is lost.
fn returning(broken: Broken) -> Setup<Party> {
    let clients: &[(Write, &[usize])] = &[('x', &[0]), ('y', &[0])];
    let takeovers = &[0, 0, 0];
    Setup {
        delivery: Delivery::Fifo,
        faults: Faults {
            crashes: 1,
            restarts: 1,
            ..Faults::default()
        },
        mortal: vec![ProcessId(2)],
        ..setup(&Case { takeovers, clients }, broken)
    }
}

impl Algorithm for PrimaryBackup {
    type Process = Party;

    const NAME: &'static str = "primary-backup";
    const KIND: Kind = Kind::Replication;
    const LINE: &'static str =
        "one writes, the others copy; split brain, and what makes it harmless";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[
        ASK_MAJORITY,
        FENCE_OLD_PRIMARY,
        TAKE_OVER_WITH_MAJORITY,
        ADOPT_LATEST,
        EPOCH_BEFORE_LENGTH,
        PROMISE_ONCE,
        CATCH_UP,
    ];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "cut",
            says: "the old primary is cut off, a client on each side: its side is told nothing, and nothing is lost",
            broken: None,
            script: include_str!("scenarios/cut.txt"),
        },
        Scenario {
            name: "split-brain",
            says: "the same without asking a majority: both sides acknowledge, and on healing x is thrown away",
            broken: Some(ASK_MAJORITY.rule),
            script: include_str!("scenarios/split-brain.txt"),
        },
    ];
    const SMALL: &'static str =
        "3 replicas, 2 clients with a write each, one takeover, one cut between them";
    const LARGE: &'static str = "3 or 5 replicas, 4 writes that are asked for 3 times, 6 takeovers; \
                                 cuts, crashes, losses, duplicates";

    fn laws() -> Vec<Law<Party>> {
        vec![
            Law {
                name: "one-primary",
                says: "no epoch has two primaries",
                when: When::Always,
                holds: one_primary,
            },
            Law {
                name: "nothing-lost",
                says: "what was acknowledged in an epoch is with every primary of a later one",
                when: When::Always,
                holds: nothing_lost,
            },
            Law {
                name: "same-history",
                says: "when all is calm, and nothing was lost, whoever is up holds what the latest primary holds",
                when: When::AtRest,
                holds: same_history,
            },
        ]
    }

    fn small(broken: Broken) -> Setup<Party> {
        if broken.is(&PROMISE_ONCE) {
            rivals(broken)
        } else if broken.is(&EPOCH_BEFORE_LENGTH) {
            succession(broken)
        } else if broken.is(&CATCH_UP) {
            returning(broken)
        } else {
            split(&[0, 1, 0], broken)
        }
    }

    fn small_is(broken: Broken) -> &'static str {
        if broken.is(&PROMISE_ONCE) {
            "3 replicas, two takeovers"
        } else if broken.is(&EPOCH_BEFORE_LENGTH) {
            "3 replicas, 2 clients with a write each, two takeovers; links that keep the order"
        } else if broken.is(&CATCH_UP) {
            "3 replicas, 2 clients with a write each; r3 crashes and comes back"
        } else {
            Self::SMALL
        }
    }

    fn kept(rule: &Break) -> Option<Setup<Party>> {
        let needs = |other: &Break| other.rule == rule.rule;
        if needs(&PROMISE_ONCE) {
            Some(rivals(Broken::NOTHING))
        } else if needs(&EPOCH_BEFORE_LENGTH) {
            Some(succession(Broken::NOTHING))
        } else if needs(&CATCH_UP) {
            Some(returning(Broken::NOTHING))
        } else {
            None
        }
    }

    fn stage(broken: Broken) -> Setup<Party> {
        let clients: &[(Write, &[usize])] = &[('x', &[0, 1]), ('y', &[1])];
        let stage = split(&[1, 1, 1], broken);
        let takeovers = &[1, 1, 1];
        Setup {
            processes: setup(&Case { takeovers, clients }, broken).processes,
            ..stage
        }
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Party> {
        let n = if rng.one_in(2) { 3 } else { 5 };
        let takeovers = &[2, 2, 2, 0, 0][..n];
        let clients: &[(Write, &[usize])] = &[
            ('w', &[0, 1, 2]),
            ('x', &[0, 2, 1]),
            ('y', &[1, 2, 0]),
            ('z', &[2, 1, 0]),
        ];
        let half = |range: std::ops::Range<usize>| range.map(ProcessId).collect();
        Setup {
            delivery: if rng.one_in(2) {
                Delivery::Any
            } else {
                Delivery::Fifo
            },
            faults: Faults {
                crashes: 3,
                restarts: 3,
                drops: 4,
                duplicates: 3,
                cuts: 2,
                ..Faults::default()
            },
            mortal: half(0..n),
            cuts: vec![
                Cut {
                    name: "r1 off",
                    sides: vec![half(0..1), half(1..n)],
                },
                Cut {
                    name: "r2 off",
                    sides: vec![half(1..2), [half(0..1), half(2..n)].concat()],
                },
            ],
            ..setup(&Case { takeovers, clients }, broken)
        }
    }
}

fn one_primary(world: &World<Party>) -> Result<(), String> {
    let mut leaders = BTreeMap::new();
    for fact in world.facts() {
        if let Fact::Leads(epoch, who, _) = fact {
            let first = *leaders.entry(epoch).or_insert(who);
            if first != who {
                let (first, who) = (world.name(*first), world.name(*who));
                return Err(format!("{first} leads epoch {epoch}, and {who} too"));
            }
        }
    }
    Ok(())
}

fn nothing_lost(world: &World<Party>) -> Result<(), String> {
    for fact in world.facts() {
        let Fact::Acknowledged(write, of) = fact else {
            continue;
        };
        for fact in world.facts() {
            if let Fact::Leads(epoch, who, history) = fact
                && epoch > of
                && !history.contains(write)
            {
                let who = world.name(*who);
                return Err(format!(
                    "{write} was acknowledged in epoch {of}, and {who} leads epoch {epoch} without it"
                ));
            }
        }
    }
    Ok(())
}

fn same_history(world: &World<Party>) -> Result<(), String> {
    let up = || {
        let all = (0..).map(ProcessId).zip(world.processes());
        all.filter_map(|(at, party)| match party {
            Party::Replica(replica) if world.condition(at) == Condition::Up => Some((at, replica)),
            _ => None,
        })
    };
    let leading = up().filter(|(_, replica)| matches!(replica.role, Role::Primary(..)));
    let Some((_, latest)) = leading.max_by_key(|(_, replica)| replica.epoch) else {
        return Ok(());
    };
    if world.done().drops > 0 {
        return Ok(());
    }
    match up().find(|(_, replica)| replica.history != latest.history) {
        Some((at, replica)) => Err(format!(
            "{} holds {}, and the primary of epoch {} holds {}",
            world.name(at),
            told(&replica.history),
            latest.epoch,
            told(&latest.history)
        )),
        None => Ok(()),
    }
}

fn told(history: &History) -> String {
    if history.is_empty() {
        "nothing".into()
    } else {
        history.iter().collect()
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Write(write) => write!(f, "write {write}"),
            Message::Done(write, _) => write!(f, "done {write}"),
            Message::Elsewhere(write) => write!(f, "no: write {write} elsewhere"),
            Message::Copy(epoch, history) => write!(f, "copy {} in epoch {epoch}", told(history)),
            Message::Held(epoch, n) => write!(f, "held {n} in epoch {epoch}"),
            Message::TakeOver(epoch) => write!(f, "promise epoch {epoch}?"),
            Message::Promise(epoch, copied_in, history) => {
                let history = told(history);
                write!(f, "promised {epoch}, holds {history} of epoch {copied_in}")
            }
            Message::Later(epoch) => write!(f, "no: epoch {epoch} by now"),
            Message::Back => write!(f, "back: what have I missed?"),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Acknowledged(write, _) => write!(f, "{write} is acknowledged"),
            Fact::Leads(epoch, _, history) => {
                write!(f, "leads epoch {epoch} with {}", told(history))
            }
        }
    }
}
