//! Planted bugs: how many seeds does it take to catch each?

use crate::run::run;
use base::{Mutant, Mutants};
use std::sync::atomic::{AtomicBool, Ordering};

/// What became of one planted bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Caught by this many seeds, by this claim.
    Caught {
        /// Seeds run, the guilty one included.
        n_seeds: u64,
        /// The first broken promise.
        claim: &'static str,
    },
    /// It changed runs and nobody noticed.
    Escaped,
    /// No run was any different: no crate has planted it.
    NotPlanted,
}

/// Runs seeds from 0 on until `mutant` is caught, `n_seeds` at most. A seed that fails without it, too,
/// catches nothing.
/// Nothing when `stop` is set meanwhile.
pub fn hunt(mutant: Mutant, n_seeds: u64, stop: &AtomicBool) -> Option<Fate> {
    let planted = Mutants::only(mutant);
    let mut hashes = Vec::new();
    for seed in 0..n_seeds {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let report = run(seed, planted, false);
        if let Some(violation) = report.violations.first()
            && run(seed, Mutants::none(), false).violations.is_empty()
        {
            return Some(Fate::Caught {
                n_seeds: seed + 1,
                claim: violation.claim,
            });
        }
        hashes.push(report.hash);
    }
    for (seed, hash) in hashes.into_iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        if run(seed as u64, Mutants::none(), false).hash != hash {
            return Some(Fate::Escaped);
        }
    }
    Some(Fate::NotPlanted)
}

/// The bug with this name.
pub fn named(name: &str) -> Option<Mutant> {
    Mutant::ALL
        .iter()
        .copied()
        .find(|mutant| mutant.name() == name)
}
