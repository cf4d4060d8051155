//! Golden scripts of requests against one member's store. See `golden/`; the words of the scripts are
//! read by `support/script.rs`.
#![allow(clippy::unwrap_used)] // a test that fails says where

extern crate quorate_etcd as etcd;

#[path = "support/script.rs"]
mod script;
mod support;

#[test]
fn scripts_tell_what_etcd_answers() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    testkit::check_all(directory, || {
        let mut teller = script::Teller::new();
        move |step| teller.tell(step)
    });
}
