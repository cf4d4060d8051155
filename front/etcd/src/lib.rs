//! The etcd v3 API, as a pure library: bytes of requests in, bytes of answers out.
//!
//! ```text
//!                    one member                                         every member
//!   ┌──────────────────────────────────────────────────┐      ┌──────────────────────────┐
//!   │ session half                                     │      │ apply half               │
//!   │   Session::plan    path, bytes → Plan            │ log  │   EtcdDialect::apply     │
//!   │   answer_outcome   Outcome → bytes     ◀─────────┼──────┼── request → Outcome      │
//!   │   answer …         State → bytes                 │      │   validate, then write   │
//!   │   WatchStream, LeaseStream, SnapshotStream       │      └──────────────────────────┘
//!   └──────────────────────────────────────────────────┘
//! ```
//!
//! The *session half* serves one member's clients: it checks limits and arguments, decides what a request
//! means for the member (propose, read, change the membership …) and makes answers from a state. The
//! *apply half* is the store's [`store::Dialect`]: it decides the requests that went through the log, on
//! every member alike. They share how requests are read (`request`), what a range is (`range`), and the one
//! table of etcd's errors ([`status`]).
//!
//! What is deliberately absent: sockets, async, clocks, and gRPC itself. `edge/server` frames messages and
//! waits; a [`Status`] is what it sends as `grpc-status` and `grpc-message`. Time comes in as `now`.
//!
//! Where etcd's documentation and etcd differ, etcd is right: facts marked so were tried on 3.4.23. What
//! works and what answers a clear error, by method, is in `docs/compat/etcd.md`.
//!
//! A put, by hand:
//!
//! ```
//! use base::{ClusterId, MemberId, Term};
//! use quorate_etcd::{
//!     EtcdDialect, HeaderParts, Limits, Method, Plan, ROOT, Session, answer_outcome, proto,
//! };
//! use prost::Message;
//! use store::{Dialect, Genesis, Stamp, Store};
//!
//! // The member that the client asked plans the request …
//! let put = proto::etcdserverpb::PutRequest {
//!     key: "colour".into(),
//!     value: "green".into(),
//!     ..Default::default()
//! };
//! let mut session = Session::new(Limits::default(), 1);
//! let method = Method::of_path("/etcdserverpb.KV/Put").unwrap();
//! let Ok(Plan::Propose { request, .. }) = session.plan(method, put.encode_to_vec().into()) else {
//!     panic!("a put goes into the log");
//! };
//!
//! // … every member applies it …
//! let mut store = Store::new(Genesis::default());
//! let stamp = Stamp::default();
//! let mut txn = store.begin(ROOT, &stamp);
//! let outcome = EtcdDialect.apply(&mut txn, &request, &stamp);
//! txn.finish();
//!
//! // … and the one that was asked answers.
//! let header = HeaderParts { cluster: ClusterId(1), member: MemberId(1), term: Term(1) };
//! let answer = answer_outcome(&outcome, store.state().revision(), &header).unwrap();
//! let answer = proto::etcdserverpb::PutResponse::decode(answer).unwrap();
//! assert_eq!(answer.header.unwrap().revision, 2);
//! ```
//!
//! Read in this order: `status`, `request`, `check`, `auth`, `apply`, `session`, `range`, `watch`, `recipes`, `backup`,
//! `upkeep`. How messages look as JSON is [`json`]'s.
#![forbid(unsafe_code)]

use store::{RootId, command::DialectId};

pub mod json;
pub mod proto;
pub mod status;

mod header;
mod pb;
mod record;
mod scan;

mod budget;
mod check;
mod compare;
mod describe;
mod method;
mod range;
mod read_only;
mod request;

mod apply;
pub mod auth;
pub mod backup;
mod lease;
pub mod recipes;
mod session;
mod snapshot;
pub mod upkeep;
mod watch;

pub use apply::alarms::{Alarm, AlarmKind, alarms, forbids, full_records};
pub use apply::{EtcdDialect, LEASE_TTL_MAX_S};
pub use describe::{deleted_nothing, describe_command, describe_query, names, revision_of};
pub use header::HeaderParts;
pub use lease::{LeaseStream, RENEWALS_MAX, Renewal};
pub use method::{Method, Shape};
pub use range::{RangeAnswer, RangeChunks, RangeQuery};
pub use read_only::TxnAnswer;
pub use request::{Kind, RangeOptions};
pub use session::*;
pub use snapshot::SnapshotStream;
pub use status::{Code, Refusal, Status};
pub use watch::{
    EventCache, Handled, Lagging, StreamId, WATCHES_PER_STREAM_MAX, WatchDesk, WatchStream,
    WatchVitals,
};

/// etcd's commands in the log.
pub const DIALECT: DialectId = DialectId(1);

/// etcd's keys in the store.
pub const ROOT: RootId = RootId(0);

/// The version of etcd whose behaviour this is, as `Status` tells it. Kubernetes asks: below 3.5.13 it does
/// without consistent reads from its cache.
pub const ETCD_VERSION: &str = "3.6.16";

/// The version of etcd's storage that goes with it.
pub const STORAGE_VERSION: &str = "3.6.0";
