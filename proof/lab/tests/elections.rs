//! Elections and the copies behind them: where a broken rule is shown in a case of its own, the kept one holds there.

use lab::algorithm::Algorithm;
use lab::algorithms::bully::{self, Bully};
use lab::algorithms::lease_election::{self, LeaseElection};
use lab::algorithms::lowest_node;
use lab::algorithms::primary_backup::{self, PrimaryBackup};
use lab::kernel::{ProcessId, Setup, explore};
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

#[test]
fn lease_election_keeps_its_laws_in_every_case() {
    the_laws_hold_in::<LeaseElection>(lease_election::other_cases());
}

#[test]
fn bully_keeps_its_laws_in_every_case() {
    the_laws_hold_in::<Bully>(bully::other_cases());
}

#[test]
fn of_a_thousand_contenders_one_is_woken_when_one_goes() {
    for gone in [1, 2, 500, 999] {
        let crowd = lowest_node::crowd(1000, ProcessId(gone), false, 20);
        assert_eq!(lowest_node::woken(&crowd), [1], "c{gone} goes");
    }
    let nobody_behind = lowest_node::crowd(1000, ProcessId(1000), false, 20);
    assert_eq!(lowest_node::woken(&nobody_behind), [0], "the last goes");
    let herd = lowest_node::crowd(1000, ProcessId(1), true, 20);
    assert_eq!(lowest_node::woken(&herd), [999], "all watched the first");
}
