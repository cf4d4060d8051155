//! One member of a cluster, as pure machines: no socket, no disk, no thread, no clock.
//!
//! ```text
//!                 tick · receive · propose · read · persisted · …        (inputs, synchronous)
//!                                      │
//!   ┌──────────────────────────────── Node ────────────────────────────────┐
//!   │  Replica                                        Machine              │
//!   │  raft, proposals, reads,     committed ──►      store, dialects,     │
//!   │  forwarding, membership      ◄── applied        digests              │
//!   │                                                                      │
//!   │  LeaseClock (leader only): deadlines, renewals, expiry proposals     │
//!   └──────────────────────────────────────────────────────────────────────┘
//!                                      │
//!          take_effects(): messages · persist · events · root · answers · reads …
//! ```
//!
//! The server and the simulator drive this same [`Node`]. Whoever drives it promises four things, and
//! they are the whole contract between the pure member and the world:
//!
//! 1. A [`Persist`] is written and synced *before* [`Node::persisted`] is called with its number, in
//!    order; nothing that depends on it leaves the node until then (rule R2).
//! 2. `events` go to the watch hub, then `published` becomes the root that readers see, then `answers`
//!    go out: a client that saw its answer finds its write, and a watcher is never behind the root.
//! 3. Time comes from a monotonic clock that goes on in suspend; [`Node::tick`] is called every 10 ms.
//!    While [`Node::is_gathering`], effects are taken again within [`GATHER_MAX`].
//!    Whatever `now` comes with a message is read *after* the message came, and the `now` of
//!    [`Node::lease_holds`] after the look at the state. The wall clock's jumps are told
//!    ([`Node::clock_jumped`]).
//! 4. After a restart, [`Boot`] holds exactly what the log and the newest checkpoint say.
//!
//! What is deliberately absent: protocols (they are `store::Dialect`s and session halves in `front/`),
//! bytes on sockets (`wire`), bytes on disk (`storage`).
//!
//! | to understand | read |
//! | --- | --- |
//! | what goes in and out | [`effects`] |
//! | how a write becomes an entry | [`proposals`], [`gathering`], `replica` |
//! | why a read is fresh | [`levels`], [`reads`] |
//! | why a leader may answer alone | [`promises`] |
//! | what if a wall clock is wildly wrong | [`clocks`] |
//! | how entries become state | `machine` |
//! | who lets leases expire | [`leases`] |
//! | when a removed member may go | `parting` |
//! | why a retry takes effect once | [`retries`] |
//! | membership, digests, expiry as commands | [`system`] |
//! | how a cluster goes on to a newer build's rules | `versions` |
#![forbid(unsafe_code)]

pub mod clocks;
pub mod config;
pub mod counts;
pub mod effects;
pub mod gathering;
pub mod leases;
pub mod levels;
mod machine;
mod node;
mod parting;
pub mod promises;
pub mod proposals;
pub mod reads;
mod replica;
pub mod retries;
pub mod system;
mod versions;

pub use clocks::ClockOffset;
pub use config::{Boot, Health, NodeConfig};
pub use counts::Counts;
pub use effects::{
    Answer, Dropped, Effects, Leadership, LeaseAnswer, Persist, ReadFailed, Refused, SnapshotSend,
    Status, StopReason, Tag, Ticket,
};
pub use gathering::GATHER_MAX;
pub use levels::{How, NoLease, ReadGrant, ReadLevel, ReadNow};
pub use node::{Node, SWEEP_REST};
pub use retries::RetryRefusal;
pub use system::{MemberChange, SystemRefusal};
pub use versions::{APPLY_VERSION, APPLY_VERSION_FIRST};
