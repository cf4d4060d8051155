//! The Rust client's program: the `etcd-client` crate, used as its users do.
//!
//! ```text
//!   check.rs      what a check is
//!   data.rs       keys, transactions, compaction, namespaces
//!   watches.rs    watches, and members that are killed under a client
//!   turns.rs      leases, locks, elections
//!   operations.rs members and maintenance
//!   access.rs     users, roles, permissions; last, because it shuts the door
//! ```
//!
//! Every public method of the crate has a test in `proof/conformance`; here is what a program makes of them, on three
//! members, with TLS or without.

mod access;
mod check;
mod data;
mod operations;
mod turns;
mod watches;

use check::Checks;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut checks = Checks::default();
    data::checks(&mut checks).await;
    watches::checks(&mut checks).await;
    turns::checks(&mut checks).await;
    operations::checks(&mut checks).await;
    access::checks(&mut checks).await;
    checks.end()
}
