//! The multi-version store: versioned keys, leases, watches, transactions; protocol-neutral.
//!
//! ```text
//!   log entry ─► command::Batch ─► Dialect::apply(&mut WriteTxn, request, stamp) ─► Outcome
//!                                        │ validate, then write
//!                                        ▼
//!                 Store (the single writer) ── publish() ──► State (immutable, shared, Send + Sync)
//!                  │  sweep(): frees what             │
//!                  ▼  compaction hid                  ├─► RootView: get, range, count, events, hash
//!                 Effects ── events ──► hub::Hub      ├─► stream::Writer ─► bytes ─► stream::Reader
//!                            (watches: cursors        └─► members, leases, unversioned records
//!                             over history)
//! ```
//!
//! One revision counter serves several *roots*, one for each front; a root holds its keys with all
//! their retained versions. Every published state is a picture that never changes, so readers never
//! wait for the writer nor the writer for them.
//!
//! What is deliberately absent: any word of etcd, ZooKeeper or Consul; time (it comes in with the
//! stamp); and files (the snapshot stream is bytes).
//!
//! Read in this order: `record` (one version), `tree` (the ordered map), `root` (keys and history),
//! `state`, `times`, `txn`, `store`, `sweep`, `hub`, `stream`, `restore`.
#![forbid(unsafe_code)]

mod check;
mod codec;
pub mod command;
mod dialect;
mod hash;
mod history;
pub mod hub;
mod largest;
mod lease;
pub mod members;
mod range;
mod record;
pub mod restore;
mod root;
mod state;
mod store;
pub mod stream;
mod sweep;
mod times;
mod tree;
mod txn;

pub use codec::DecodeError;
pub use dialect::{Dialect, Outcome};
pub use hash::HistoryHash;
pub use largest::LargestValue;
pub use lease::Lease;
pub use members::Member;
pub use range::{KeyRange, RangeEnd};
pub use record::{Place, Record};
pub use root::{Event, Events, Range, ReadError, RootId, RootView};
pub use state::{State, Table};
pub use store::{Genesis, Stamp, Store};
pub use times::AsOfError;
pub use txn::{Effects, LeaseChange, Ops, WriteTxn};
