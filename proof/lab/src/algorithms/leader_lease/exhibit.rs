//! How the leader lease is shown: its law, its cases, its words.

use super::*;
use crate::algorithm::Algorithm;
use crate::exhibit::{Break, Kind, Scenario};
use crate::kernel::{Cut, Faults, Law, Setup, Time, When, World};
use base::Rng;
use std::fmt;

/// Without it a slow clock reads too long.
pub(super) const GUARD_BAND: Break = Break {
    rule: "guard-band",
    law: "no-stale-read",
    says: "the leader reads up to the last tick of its lease, as its own clock shows it",
};
/// Without it nobody knows how long a promise still runs.
pub(super) const FROM_ASKING: Break = Break {
    rule: "from-asking",
    law: "no-stale-read",
    says: "the leader counts its lease from the answer, and not from when it asked",
};
/// Without it a new leader is there while the old one still reads.
pub(super) const WAIT_OUT: Break = Break {
    rule: "wait-out",
    law: "no-stale-read",
    says: "candidates stand and voters vote while their promise to the leader still runs",
};
/// An assumption, taken away.
const BOUNDED_DRIFT: Break = Break {
    rule: "bounded-drift",
    law: "no-stale-read",
    says: "the leader's clock runs at a third of the right rate, and the guard band is for a quarter less",
};
/// An assumption, taken away.
const NO_CLOCK_JUMP: Break = Break {
    rule: "no-clock-jump",
    law: "no-stale-read",
    says: "the leader's clock jumps back",
};

/// Replicas with these plans; the first leads, and its clock is as slow as allowed.
fn setup(plans: &[Plan], lease: u32, broken: Broken) -> Setup<Replica> {
    let all = 0..plans.len();
    let replica = |(at, plan): (usize, &Plan)| {
        let role = if at == 0 {
            Role::Leader {
                told: BTreeMap::new(),
                committed: None,
                until: i64::MIN,
            }
        } else {
            Role::Follower
        };
        let replica = Replica {
            broken,
            others: all
                .clone()
                .filter(|other| *other != at)
                .map(ProcessId)
                .collect(),
            lease,
            term: 1,
            held: (1, 0),
            promised_until: 0,
            role,
            plan: *plan,
        };
        (format!("n{}", at + 1), replica)
    };
    let slow = if broken.is(&BOUNDED_DRIFT) {
        (1, 3)
    } else {
        (3, 4)
    };
    Setup {
        rates: vec![slow],
        ..Setup::new(plans.iter().enumerate().map(replica))
    }
}

impl Algorithm for LeaderLease {
    type Process = Replica;

    const NAME: &'static str = "leader-lease";
    const KIND: Kind = Kind::Lock;
    const LINE: &'static str =
        "authority that lapses: reads without a round trip, on the word of clocks";
    const STORY: &'static str = include_str!("story.md");
    const BREAKS: &'static [Break] = &[
        GUARD_BAND,
        FROM_ASKING,
        WAIT_OUT,
        BOUNDED_DRIFT,
        NO_CLOCK_JUMP,
    ];
    const SCENARIOS: &'static [Scenario] = &[
        Scenario {
            name: "handover",
            says: "n1 reads within its lease and stops; n2 waits the lease out, leads, writes, reads",
            broken: None,
            script: include_str!("scenarios/handover.txt"),
        },
        Scenario {
            name: "jump",
            says: "the clock of n1 jumps back: it reads 0 when 1 is long written",
            broken: Some("no-clock-jump"),
            script: include_str!("scenarios/jump.txt"),
        },
    ];
    const SMALL: &'static str = "3 replicas for 6 ticks, messages take 0 or 1, a lease of 3 ticks that is renewed once, \
         one election, one write, one read; the slow leader stands still once";
    const LARGE: &'static str = "3 or 5 replicas, a lease of 4 or 8 ticks, many reads; cuts, crashes, losses, pauses, a slow leader";

    fn laws() -> Vec<Law<Replica>> {
        vec![Law {
            name: "no-stale-read",
            says: "a read sees whatever was written or read before it began",
            when: When::Always,
            holds: no_stale_read,
        }]
    }

    fn small(broken: Broken) -> Setup<Replica> {
        let old = Plan {
            reads: 1,
            renews: 1,
            ..Plan::default()
        };
        let new = Plan {
            stands: 1,
            writes: 1,
            ..Plan::default()
        };
        let jumps = u8::from(broken.is(&NO_CLOCK_JUMP));
        Setup {
            time: Time::Ticks {
                horizon: 6,
                delay_max: Some(1),
            },
            faults: Faults {
                jumps,
                pauses: 1,
                ..Faults::default()
            },
            mortal: vec![ProcessId(0)],
            jumps: vec![(ProcessId(0), -2)],
            ..setup(&[old, new, Plan::default()], 3, broken)
        }
    }

    fn small_is(broken: Broken) -> &'static str {
        if broken.is(&NO_CLOCK_JUMP) {
            "3 replicas for 6 ticks, messages take 0 or 1, a lease of 3 ticks that is renewed once, \
             one election, one write, one read; the slow leader stands still once, its clock jumps once"
        } else {
            Self::SMALL
        }
    }

    /// Nothing is judged but reads.
    fn within(world: &World<Replica>) -> bool {
        world.processes().any(Replica::may_read)
    }

    fn stage(broken: Broken) -> Setup<Replica> {
        let all = Plan {
            stands: 2,
            writes: 2,
            reads: 4,
            renews: 2,
        };
        Setup {
            time: Time::Ticks {
                horizon: 30,
                delay_max: None,
            },
            jumps: vec![(ProcessId(0), -2)],
            ..setup(&[all, all, all], 3, broken)
        }
    }

    fn large(broken: Broken, rng: &mut Rng) -> Setup<Replica> {
        let plan = Plan {
            stands: 2,
            writes: 4,
            reads: 30,
            renews: 1,
        };
        let n = if rng.one_in(2) { 3 } else { 5 };
        let lease = if rng.one_in(2) { 4 } else { 8 };
        let cut = Cut {
            name: "old leader",
            sides: vec![vec![ProcessId(0)], (1..n).map(ProcessId).collect()],
        };
        Setup {
            time: Time::Ticks {
                horizon: 24,
                delay_max: None,
            },
            faults: Faults {
                crashes: 1,
                restarts: 1,
                drops: 2,
                duplicates: 2,
                pauses: 1,
                cuts: 3,
                jumps: u8::from(broken.is(&NO_CLOCK_JUMP)),
            },
            jumps: vec![(ProcessId(0), -6)],
            cuts: vec![cut],
            ..setup(&vec![plan; n], lease, broken)
        }
    }
}

fn no_stale_read(world: &World<Replica>) -> Result<(), String> {
    let mut newest = 0;
    let mut at_look = BTreeMap::new();
    for fact in world.facts() {
        match fact {
            Fact::Looked(who) => {
                at_look.insert(*who, newest);
            }
            Fact::Read(who, number) => {
                let least = at_look.get(who).copied().unwrap_or(newest);
                if *number < least {
                    return Err(format!("{number} was read after {least} was there"));
                }
                newest = newest.max(*number);
            }
            Fact::Wrote(number) => newest = newest.max(*number),
        }
    }
    Ok(())
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Append(term, (_, number), at) => {
                write!(f, "hold {number} in term {term}, asked at {at}")
            }
            Message::Appended(term, (_, number), at) => {
                write!(f, "holds {number} in term {term}, promised for {at}")
            }
            Message::Ask(term) => write!(f, "vote for me in term {term}"),
            Message::Vote(term, (_, number)) => {
                write!(f, "my vote in term {term}, I hold {number}")
            }
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Wrote(number) => write!(f, "{number} is written"),
            Fact::Looked(_) => f.write_str("its lease still runs"),
            Fact::Read(_, number) => write!(f, "reads {number}"),
        }
    }
}
