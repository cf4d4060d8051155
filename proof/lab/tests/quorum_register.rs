//! The cases in which two rules of the quorum register are left out: with the rules kept, the laws hold there too.

use lab::algorithm::Algorithm;
use lab::algorithms::quorum_register::{Party, QuorumRegister, hint_case, sloppy_case};
use lab::exhibit::Broken;
use lab::kernel::{Setup, explore};
use std::rc::Rc;

fn holds(case: Setup<Party>) {
    let laws = QuorumRegister::laws();
    let explored = explore(&Rc::new(case), &laws, QuorumRegister::within);
    let breach = explored.trouble.map(|way| way.breach);
    assert_eq!(breach, None, "after {} states", explored.states);
    assert!(explored.is_whole);
}

#[test]
fn hints_that_do_not_count_harm_no_read() {
    holds(sloppy_case(Broken::NOTHING));
}

#[test]
fn hints_that_are_handed_over_reach_every_home() {
    holds(hint_case(Broken::NOTHING));
}
