//! Elections and the copies behind them: where a broken rule is shown in a case of its own, the kept one holds there.

use lab::algorithm::Algorithm;
use lab::algorithms::primary_backup::{self, PrimaryBackup};
use lab::kernel::{Setup, explore};
use std::rc::Rc;

/// The laws of an algorithm hold over every interleaving of these cases.
fn the_laws_hold_in<A: Algorithm>(cases: Vec<Setup<A::Process>>) {
    for (number, case) in cases.into_iter().enumerate() {
        let found = explore(&Rc::new(case), &A::laws(), A::within);
        if let Some(way) = found.trouble {
            panic!("{}, case {number}: {:?}", A::NAME, way.breach);
        }
        assert!(found.is_whole, "{}, case {number} is too large", A::NAME);
        assert!(found.states > 50, "{}, case {number} is empty", A::NAME);
    }
}

#[test]
fn primary_backup_keeps_its_laws_in_every_case() {
    the_laws_hold_in::<PrimaryBackup>(primary_backup::other_cases());
}
