//! Every name that the compatibility list promises: it is there, of its kind, and it moves when it should.
//!
//! As the other conformance tests these know nothing of our code, and those that ask only for what etcd has too pass on
//! the real etcd (`QUORATE_TEST_SERVER=…/etcd`). The page is read by an independent parser.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod counts;
mod pages;
mod support;
