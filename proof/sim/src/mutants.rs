//! Planted bugs: how many seeds does it take to catch each?
//!
//! All bugs meet seed 0, then those that are left meet seed 1, and so on: so a hunt for "at least ten" is
//! as short as it can be.

use crate::plan::Consensus;
use crate::plan::Plan;
use crate::run::run_plan;
use base::{Mutant, Mutants};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of one planted bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Caught by this many seeds, by this claim.
    Caught {
        /// Seeds run, the guilty one included.
        n_seeds: u64,
        /// The first broken promise.
        claim: String,
    },
    /// It changed runs and nobody noticed.
    Escaped,
    /// No run was any different: no crate has planted it.
    NotPlanted,
    /// The hunt was over before it was caught.
    NotHunted,
}

/// Runs seeds from 0 on, `n_seeds` at most, until every one of `mutants` is caught, or `enough` of them
/// are. A seed that fails without the bug, too, catches nothing.
pub fn hunt(
    mutants: &[Mutant],
    n_seeds: u64,
    enough: usize,
    jobs: usize,
) -> BTreeMap<Mutant, Fate> {
    let caught: Mutex<BTreeMap<Mutant, Fate>> = Mutex::new(BTreeMap::new());
    let differs: Mutex<BTreeMap<Mutant, bool>> = Mutex::new(BTreeMap::new());
    let next = AtomicU64::new(0);
    let n = mutants.len().max(1) as u64;
    let work = || {
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            let (seed, mutant) = (turn / n, mutants.get((turn % n) as usize));
            let (Some(mutant), true) = (mutant, seed < n_seeds) else {
                return;
            };
            {
                let caught = caught.lock().unwrap_or_else(|e| e.into_inner());
                if caught.len() >= enough {
                    return;
                }
                if caught.contains_key(mutant) {
                    continue;
                }
            }
            let report = run_plan(ground(*mutant, seed), Mutants::only(*mutant), false);
            let known = *differs
                .lock()
                .unwrap_or_else(|e| e.into_inner())
                .get(mutant)
                .unwrap_or(&false);
            if report.violations.is_empty() && known {
                continue;
            }
            let clean = run_plan(ground(*mutant, seed), Mutants::none(), false);
            if clean.hash != report.hash {
                differs
                    .lock()
                    .unwrap_or_else(|e| e.into_inner())
                    .insert(*mutant, true);
            }
            if let Some(violation) = report.violations.first()
                && clean.violations.is_empty()
            {
                let fate = Fate::Caught {
                    n_seeds: seed + 1,
                    claim: violation.claim.to_owned(),
                };
                let mut caught = caught.lock().unwrap_or_else(|e| e.into_inner());
                caught.entry(*mutant).or_insert(fate);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    let mut fates = caught.into_inner().unwrap_or_else(|e| e.into_inner());
    let differs = differs.into_inner().unwrap_or_else(|e| e.into_inner());
    let is_over_early = fates.len() >= enough && fates.len() < mutants.len();
    for mutant in mutants {
        fates.entry(*mutant).or_insert(match differs.get(mutant) {
            _ if is_over_early => Fate::NotHunted,
            Some(true) => Fate::Escaped,
            _ => Fate::NotPlanted,
        });
    }
    fates
}

/// Bugs that show in duels: [`Plan::duel`].
const OF_DUELS: [Mutant; 13] = [
    Mutant::LeaseWithoutGuardBand,
    Mutant::LeaseFromAnswer,
    Mutant::LeaseSurvivesTransfer,
    Mutant::LeaseOfMinority,
    Mutant::PromiseForgottenAtRestart,
    Mutant::PromiseIgnored,
    Mutant::PromiseDoesNotBindOneself,
    Mutant::LeaseReadBeforeApply,
    Mutant::LeaseNotCheckedAgain,
    Mutant::BoundedNeverAsks,
    Mutant::FreshnessFromAnswer,
    Mutant::SessionDoesNotWait,
    Mutant::ExpiryInBulkAfterStall,
];

/// Bugs that hide from this hunt, or take too long: `core/node/tests` has worlds of its own for them. Whoever names one
/// hunts it here all the same.
const ELSEWHERE: [Mutant; 12] = [
    Mutant::LeaseWithoutGuardBand,
    Mutant::LeaseFromAnswer,
    Mutant::LeaseSurvivesTransfer,
    Mutant::PromiseForgottenAtRestart,
    Mutant::PromiseIgnored,
    Mutant::PromiseDoesNotBindOneself,
    Mutant::LeaseReadBeforeApply,
    Mutant::LeaseIgnoresJump,
    Mutant::LeaseNotCheckedAgain,
    Mutant::FreshnessFromAnswer,
    Mutant::ExpiryInBulkAfterStall,
    Mutant::StampOfWrongClock,
];

/// Whether `mutant` is hunted when nobody names any.
pub fn is_hunted(mutant: Mutant) -> bool {
    !ELSEWHERE.contains(&mutant)
}

/// The world of `seed` in which `mutant` is hunted.
pub fn ground(mutant: Mutant, seed: u64) -> Plan {
    if OF_DUELS.contains(&mutant) {
        return Plan::duel(seed);
    }
    if mutant == Mutant::RaisesTooEarly {
        return Plan::upgrade(seed);
    }
    Plan {
        consensus: home(mutant),
        ..Plan::draw(seed)
    }
}

/// The engine in whose clusters `mutant` shows.
pub fn home(mutant: Mutant) -> Consensus {
    match mutant.is_of_specification() {
        true => Consensus::Specification,
        false => Consensus::Shipped,
    }
}

/// The bug with this name.
pub fn named(name: &str) -> Option<Mutant> {
    Mutant::ALL
        .iter()
        .copied()
        .find(|mutant| mutant.name() == name)
}
