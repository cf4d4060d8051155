//! The native client of Quorate: typed, cancel-safe, and honest about what it does not know.
//!
//! ```text
//!   Client ── get, range, put, delete, txn     kv.rs, txn.rs     what is read says how fresh it is (read.rs)
//!     │   ├── kv                               typed.rs          values of one type, as JSON
//!     │   ├── watch                            watch.rs          every change once, over cuts
//!     │   ├── grant                            lease.rs          held until a deadline on the local clock
//!     │   └── lock, semaphore, barrier,        queue.rs,         a place in a line, its token, and when it is lost
//!     │       election                         lock.rs, election.rs
//!     ├─ sessions.rs    numbers writes, so that one may be asked again and takes effect once
//!     └─ transport.rs   one channel for each endpoint; another member when one does not answer
//! ```
//!
//! Four rules hold everywhere.
//!
//! 1. **An error says whether it happened.** [`Error::Definite`] is certain; [`Error::Indeterminate`] is not, and carries the
//!    [`RequestId`] under which the write may be asked again. It is rare: writes are numbered, so a lost answer is asked
//!    again at another member until the deadline.
//! 2. **A holder stops first.** [`LockGuard::lost`] counts from when the last acknowledged renewal was *sent*, on the local
//!    clock, less a guard band: it resolves before the cluster lets go, even if the process was stopped in between.
//! 3. **A token is checked where it matters.** Rule 2 cannot help a process that is stopped between looking and acting; so
//!    every grant has a [`FencingToken`], and a write may carry a [`Fence`].
//! 4. **Every future may be dropped at any point.** A dropped `acquire` leaves the line, a dropped guard gives back, in the
//!    background, on the runtime on which the client was made.
//!
//! ```no_run
//! use quorate::{Client, Code};
//! use std::time::Duration;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> quorate::Result<()> {
//!     let q = Client::builder().endpoints(["127.0.0.1:2379"]).connect().await?;
//!     let guard = q.lock("jobs").ttl(Duration::from_secs(10)).acquire().await?;
//!     let written = q.put("/jobs/1", "done").if_absent().fence(&guard.fence()).await;
//!     match written {
//!         Ok(written) => println!("written at revision {}", written.revision()),
//!         Err(error) if error.is(Code::StaleToken) => println!("somebody else holds the lock"),
//!         Err(error) if error.is_indeterminate() => println!("unknown: {error}"),
//!         Err(error) => println!("not written: {error}; {}", error.help()),
//!     }
//!     guard.release().await
//! }
//! ```
//!
//! Over TLS the client believes and shows what [`Tls`] says; where members ask who it is, it is [`Builder::user`].
//!
//! Deliberately absent: reading configuration files (the command line does), and the messages themselves (`front/api`).
#![forbid(unsafe_code)]

mod backup;
mod client;
mod cluster;
mod election;
mod error;
mod kv;
mod lease;
mod lock;
mod login;
mod queue;
mod read;
mod sessions;
mod tls;
mod transport;
mod txn;
mod typed;
mod values;
mod watch;
mod world;

pub use api::SessionToken;
pub use backup::Backup;
pub use base::{LeaseId, MemberId};
pub use client::{Builder, Client};
pub use cluster::raw;
pub use election::{Election, Leadership, Observation};
pub use error::{Code, Detail, Error, NoRequestId, RequestId, Result};
pub use kv::{Asking, Delete, Deleted, Get, Got, Put, Range, RangeStream, Ranged, Written};
pub use lease::{Lease, LeaseLook, Lost, LostFuture};
pub use lock::{Barrier, Lock, LockGuard};
pub use queue::{Held, Standing};
pub use read::{Consistency, Freshness, How, Level};
pub use tls::Tls;
pub use txn::{Decided, Step, StepResult, Txn};
pub use typed::{Keyspace, Versioned};
pub use values::{Condition, Fence, FencingToken, Key, KeyValue, Keys};
pub use watch::{Watch, WatchBuilder, WatchError, WatchEvent, WatchKind};
