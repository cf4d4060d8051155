//! Which faults, when, and how long: decided by the seed alone.
//!
//! The plan goes in rounds. Each round has every kind once, in an order of its own, each in an *episode*;
//! two episodes of three have a second fault that overlaps the first, of another kind. Who is hit is drawn
//! here and resolved when it happens, since nobody knows today who will lead then.
//!
//! ```text
//!   episode   ├──── first fault ────┤
//!                    ├── second ──────────┤   then the members serve again (or, one time in four,
//!                                             the next episode begins at once)
//! ```
//!
//! Kinds that stop all members are alone in their episode: what they must show would be hidden.

use base::Rng;
use std::fmt;
use std::time::Duration;

/// What is done to the members.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    KillMember,
    KillLeader,
    KillAll,
    PauseMember,
    PauseLeader,
    PauseAll,
    IsolateMember,
    IsolateLeader,
    OneWay,
    CutLink,
    Flap,
    Loss,
    ClientsCut,
    PowerMember,
    PowerLeader,
    PowerAll,
    SyncError,
    SlowSync,
    FullMember,
    FullAll,
}

/// What a kind needs of the machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Need {
    Nothing,
    Namespaces,
    Images,
    Strace,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Kind; 20] = [
        Kind::KillMember,
        Kind::KillLeader,
        Kind::KillAll,
        Kind::PauseMember,
        Kind::PauseLeader,
        Kind::PauseAll,
        Kind::IsolateMember,
        Kind::IsolateLeader,
        Kind::OneWay,
        Kind::CutLink,
        Kind::Flap,
        Kind::Loss,
        Kind::ClientsCut,
        Kind::PowerMember,
        Kind::PowerLeader,
        Kind::PowerAll,
        Kind::SyncError,
        Kind::SlowSync,
        Kind::FullMember,
        Kind::FullAll,
    ];

    /// What it needs of the machine.
    pub(crate) fn need(self) -> Need {
        match self {
            Kind::KillMember
            | Kind::KillLeader
            | Kind::KillAll
            | Kind::PauseMember
            | Kind::PauseLeader
            | Kind::PauseAll => Need::Nothing,
            Kind::IsolateMember
            | Kind::IsolateLeader
            | Kind::OneWay
            | Kind::CutLink
            | Kind::Flap
            | Kind::Loss
            | Kind::ClientsCut => Need::Namespaces,
            Kind::PowerMember
            | Kind::PowerLeader
            | Kind::PowerAll
            | Kind::FullMember
            | Kind::FullAll => Need::Images,
            Kind::SyncError | Kind::SlowSync => Need::Strace,
        }
    }

    /// Whether it comes alone.
    fn is_for_all(self) -> bool {
        matches!(
            self,
            Kind::KillAll | Kind::PauseAll | Kind::PowerAll | Kind::FullAll
        )
    }

    /// How long it lasts, in milliseconds.
    fn lasts_ms(self) -> (u64, u64) {
        match self {
            Kind::KillAll | Kind::PowerAll => (0, 300),
            Kind::KillMember | Kind::KillLeader | Kind::PowerMember | Kind::PowerLeader => {
                (100, 2500)
            }
            Kind::PauseMember | Kind::PauseLeader => (100, 4000),
            Kind::PauseAll => (200, 2500),
            Kind::Flap => (100, 400),
            Kind::SyncError => (100, 1500),
            Kind::FullMember | Kind::FullAll => (1500, 3000),
            _ => (1000, 4000),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::KillMember => "kill -9 of a member",
            Kind::KillLeader => "kill -9 of the leader",
            Kind::KillAll => "kill -9 of all",
            Kind::PauseMember => "SIGSTOP of a member",
            Kind::PauseLeader => "SIGSTOP of the leader",
            Kind::PauseAll => "SIGSTOP of all, woken one by one",
            Kind::IsolateMember => "a member cut off from the others",
            Kind::IsolateLeader => "the leader cut off from the others",
            Kind::OneWay => "a member that is heard and hears nobody, or the reverse",
            Kind::CutLink => "one link cut, a third member as bridge (of five: halves)",
            Kind::Flap => "a link that comes and goes",
            Kind::Loss => "packets lost at random",
            Kind::ClientsCut => "clients cut off from a member",
            Kind::PowerMember => "power cut of a member",
            Kind::PowerLeader => "power cut of the leader",
            Kind::PowerAll => "power cut of all",
            Kind::SyncError => "a sync that fails once",
            Kind::SlowSync => "syncs that take long",
            Kind::FullMember => "a full disk",
            Kind::FullAll => "all disks full, killed and started while full",
        })
    }
}

/// One fault of the plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// After the beginning of its episode.
    pub(crate) starts: Duration,
    pub(crate) lasts: Duration,
    /// Decides, when it happens, whom it hits and how.
    pub(crate) draw: u64,
}

/// Faults that belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Episode {
    pub(crate) faults: Vec<Fault>,
    /// What follows it.
    pub(crate) after: After,
}

/// What follows an episode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum After {
    /// Every member must serve again first.
    Peace,
    /// The next begins at once.
    NoRest,
}

/// A plan without end.
pub(crate) struct Plan {
    rng: Rng,
    kinds: Vec<Kind>,
    /// What is left of this round; the next is last.
    round: Vec<Kind>,
    n_rounds: u64,
}

impl Plan {
    /// The plan of `seed`, with `kinds` alone.
    pub(crate) fn new(seed: u64, kinds: &[Kind]) -> Plan {
        Plan {
            rng: Rng::new(seed).fork(1),
            kinds: kinds.to_vec(),
            round: Vec::new(),
            n_rounds: 0,
        }
    }

    /// How many rounds are complete.
    pub(crate) fn rounds_done(&self) -> u64 {
        match self.round.is_empty() {
            true => self.n_rounds,
            false => self.n_rounds - 1,
        }
    }

    fn draw(&mut self, kind: Kind, starts: Duration) -> Fault {
        let (least, most) = kind.lasts_ms();
        Fault {
            kind,
            starts,
            lasts: Duration::from_millis(self.rng.between(least, most)),
            draw: self.rng.next_u64(),
        }
    }

    /// A fault of `kind`; one that flaps is several, of the same draw.
    fn push(&mut self, kind: Kind, starts: Duration, faults: &mut Vec<Fault>) {
        let first = self.draw(kind, starts);
        faults.push(first);
        if kind == Kind::Flap {
            let mut at = first.starts + first.lasts;
            for _ in 0..self.rng.between(3, 7) {
                at += Duration::from_millis(self.rng.between(50, 500));
                let again = self.draw(kind, at);
                at += again.lasts;
                faults.push(Fault {
                    draw: first.draw,
                    ..again
                });
            }
        }
    }
}

impl Iterator for Plan {
    type Item = Episode;

    fn next(&mut self) -> Option<Episode> {
        if self.round.is_empty() {
            self.round = self.kinds.clone();
            for last in (1..self.round.len()).rev() {
                let other = self.rng.below(last as u64 + 1) as usize;
                self.round.swap(last, other);
            }
            self.n_rounds += 1;
        }
        let first = self.round.pop()?;
        let mut faults = Vec::new();
        self.push(first, Duration::ZERO, &mut faults);
        let second: Vec<Kind> = self
            .kinds
            .iter()
            .filter(|kind| !kind.is_for_all() && **kind != first)
            .copied()
            .collect();
        let overlaps = !first.is_for_all() && !self.rng.one_in(3);
        if let Some(second) = self.rng.pick(&second).copied().filter(|_| overlaps) {
            let within = faults[0].lasts.as_millis() as u64;
            let starts = Duration::from_millis(self.rng.below(within + 1));
            self.push(second, starts, &mut faults);
        }
        let after = match self.rng.one_in(4) {
            true => After::NoRest,
            false => After::Peace,
        };
        Some(Episode { faults, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_decides_the_plan() {
        let plan = |seed| Plan::new(seed, &Kind::ALL).take(100).collect::<Vec<_>>();
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn a_round_has_every_kind_and_is_counted_when_it_is_complete() {
        let mut plan = Plan::new(3, &Kind::ALL);
        let mut first = BTreeSet::new();
        for n in 0..Kind::ALL.len() {
            assert_eq!(plan.rounds_done(), 0, "after {n} episodes");
            first.insert(plan.next().expect("it never ends").faults[0].kind);
        }
        assert_eq!(first.len(), Kind::ALL.len());
        assert_eq!(plan.rounds_done(), 1);
    }

    #[test]
    fn faults_overlap_and_those_of_all_members_come_alone() {
        let mut n_overlapping = 0;
        for episode in Plan::new(1, &Kind::ALL).take(400) {
            let [first, rest @ ..] = &episode.faults[..] else {
                panic!("an episode without a fault");
            };
            let others: Vec<&Fault> = rest.iter().filter(|f| f.kind != first.kind).collect();
            if first.kind.is_for_all() {
                assert!(others.is_empty(), "{episode:?}");
            }
            if let Some(second) = others.first() {
                assert!(second.starts <= first.lasts);
                n_overlapping += 1;
            }
        }
        assert!(n_overlapping > 100, "{n_overlapping}");
    }

    #[test]
    fn what_cannot_be_done_here_is_not_planned() {
        let kinds = [Kind::KillAll, Kind::PauseMember];
        for episode in Plan::new(5, &kinds).take(50) {
            assert!(episode.faults.iter().all(|f| kinds.contains(&f.kind)));
        }
    }
}
