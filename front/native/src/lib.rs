//! The native front: keys with conditions, fences and history, leases, and lines whose places are tokens.
//!
//! ```text
//!   bytes ─► Session::plan ─► Plan ─┬─ Propose ─► log ─► KeyDialect, LineDialect ─► Outcome ─► answer_outcome ─► Reply
//!    protobuf or JSON               │                      apply/                                  answer.rs
//!                                   ├─ Read ────► a state that is fresh enough ──► answer ─────────────────────► Reply
//!                                   ├─ Await, Acquire, Observe ──► Desk: who holds now, who is gone ───────────► Reply
//!                                   └─ Watch ───► WatchDesk: a cursor over history ────────────────────────────► Reply
//! ```
//!
//! The messages are `api::proto`; this crate knows what they mean. The server waits and moves bytes, and knows no
//! message.
//!
//! A lock, a semaphore, an election and a barrier are one thing: a line whose places are taken in the order of the
//! log. The place's revision is its *fencing token*. It is never used again, and it rises from holder to holder, so
//! whoever compares tokens can tell an old holder from a new one (Kleppmann, "How to do distributed locking", 2016).
//! Writes to keys may demand that a token holds: [`fence`].
//!
//! Deliberately absent: sockets, clocks, waiting. A place goes with its lease, and leases end by the leader's word
//! (`node`).
//!
//! Read in this order: `request` (what stands in the log), `queue`, `fence`, `condition`, `apply`, `refusal`; then
//! `plan`, `query`, `reply`, `answer`, `fault`; then `desk`, `watch`, `upkeep`.
#![forbid(unsafe_code)]

mod answer;
mod apply;
mod condition;
mod desk;
mod fault;
pub mod fence;
mod keys;
mod plan;
mod query;
mod queue;
mod refusal;
mod reply;
mod request;
mod times;
mod upkeep;
mod watch;

pub use answer::{
    AnswerKind, Entered, Renewed, answer_acquired, answer_await, answer_look_lease, answer_outcome,
    answer_renew, entered,
};
pub use apply::{KeyDialect, LineDialect};
pub use desk::{Desk, DeskFull, ObserverId, Wait, WaitId, Woken};
pub use fault::{Fault, fault_of_outcome, fault_of_refused};
pub use plan::{Encoding, Level, Limits, Plan, Session};
pub use query::{At, Query, RangeQuery, answer, touch_request};
pub use queue::{
    ETCD_NAME_BYTES_MAX, NAME_BYTES_MAX, PERMITS_MAX, PLACES_MAX, QueueName, Taken, VALUE_BYTES_MAX,
};
pub use refusal::{Refusal, Refused};
pub use reply::{Freshness, HeaderParts, Reply, header};
pub use request::Request;
pub use upkeep::{LineUpkeep, compact_keys_request};
pub use watch::{StreamId, Streamed, WatchDesk, WatchPlan};

use store::{RootId, command::DialectId};

/// The commands of keys and leases in the log.
pub const KEYS: DialectId = DialectId(2);

/// The keys' place in the store.
pub const KEYS_ROOT: RootId = RootId(1);

/// The commands of lines in the log.
pub const LINES: DialectId = DialectId(3);

/// The lines' places in the store.
pub const LINES_ROOT: RootId = RootId(2);

/// Where the keys of etcd's clients are: fences of `QUEUE_KIND_ETCD` look there, and nothing else does.
pub const ETCD_ROOT: RootId = RootId(0);
