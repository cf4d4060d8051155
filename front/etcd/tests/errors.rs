//! The table of errors, pinned: clients compare the texts, and logs hold the numbers.
#![allow(clippy::unwrap_used)] // a test that fails says where

extern crate quorate_etcd as etcd;

use etcd::{Code, Refusal};
use std::collections::BTreeSet;
use std::fmt::Write as _;

#[test]
fn numbers_codes_and_texts_are_pinned() {
    let mut table = String::new();
    for refusal in Refusal::ALL {
        let number = *refusal as u16;
        let (code, message) = (refusal.code(), refusal.message());
        writeln!(table, "{number} {code:?}({}) {message}", code as u8).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden-errors/table.txt");
    testkit::check(path, |_| table.clone());
}

#[test]
fn a_number_means_one_refusal_and_0_means_none() {
    let numbers: BTreeSet<u16> = Refusal::ALL.iter().map(|refusal| *refusal as u16).collect();
    assert_eq!(numbers.len(), Refusal::ALL.len());
    assert_eq!(Refusal::of_number(0), None);
    for refusal in Refusal::ALL {
        assert_eq!(Refusal::of_number(*refusal as u16), Some(*refusal));
    }
}

#[test]
fn two_of_etcds_errors_and_those_of_its_recipes_leave_as_unknown() {
    // Its server forgets to map them; a client sees what is on the wire. Locks and elections have no codes, and neither
    // has what libraries of its own say.
    let unknown: Vec<_> = Refusal::ALL
        .iter()
        .filter(|r| r.code() == Code::Unknown)
        .collect();
    assert_eq!(
        unknown,
        [
            &Refusal::TooManyRequests,
            &Refusal::NotEnoughStartedMembers,
            &Refusal::SessionExpired,
            &Refusal::ElectionNotLeader,
            &Refusal::ElectionNoLeader,
            &Refusal::LeaderMissing,
            &Refusal::PasswordTooLong,
            &Refusal::VerifyOnly,
        ]
    );
}

#[test]
fn a_text_is_etcds_or_says_that_it_is_ours() {
    for refusal in Refusal::ALL {
        let message = refusal.message();
        let known = [
            "etcdserver: ",
            "quorate: ",
            "context ",
            "grpc: ",
            "RangeStream ",
            "mutex: ",
            "election: ",
            "\"leader\" field ",
            // Libraries of its own, of password hashes and of tokens.
            "bcrypt: ",
            "token signing ",
        ];
        assert!(
            known.iter().any(|start| message.starts_with(start)),
            "{message}"
        );
    }
}
