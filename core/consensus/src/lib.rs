//! Consensus as a pure machine: who leads, what is in the log, how far it is decided.
//!
//! ```text
//!            tick · step(message) · propose · read_index · transfer …
//!                                  │
//!        gate: is this message listed, bounded, plausible?          gate.rs
//!                                  │
//!   timer: one slot per member ── Raft (raft::RawNode) ── MemLog    timer.rs  machine.rs  memlog.rs
//!                                  │
//!   Ready { entries, hard_state, snapshot   → the disk, then persisted(number)
//!           send_now, send_after_persist    → the other members
//!           committed                       → the machine, then applied(index)
//!           reads, role }
//! ```
//!
//! The caller drives it in a loop: put something in, call [`Engine::ready`] until it gives nothing,
//! carry out what it gave, report what was done (`persisted`, `applied`), ask `ready` again.
//!
//! This is the only crate that names the `raft` crate. Everything here is a value: no clock (a tick of
//! 10 ms is an argument), no chance (election slots are a pure function, [`timer`]), no bytes of a
//! socket (that is `wire`), no file (that is `storage`). What this crate adds to the engine:
//!
//! - **a gate** ([`gate`]): the engine stops the process on several messages that a damaged or hostile
//!   peer can send; none of them reaches it;
//! - **asynchronous persistence done right** ([`Ready`]): what may be sent before the disk has
//!   answered, and what may not;
//! - **recovering** members ([`Restored::recovering`]): whose log lost what they had acknowledged, and
//!   who therefore do not vote until the others have told them everything again (rule R6);
//! - **determinism**: the same inputs give the same outputs, for ever (`tests/twins.rs`).
//!
//! A cluster begins at position 1@1 ([`Restored::genesis`]); who joins it later begins with nothing
//! ([`Restored::joining`]) and gets a snapshot. A cluster of one, from its start to its first decision:
//!
//! ```
//! use base::{Index, MemberId, Membership, Mutants};
//! # use quorate_consensus as consensus;
//! use consensus::{Config, Engine, Raft, Restored};
//!
//! let n1 = MemberId(1);
//! let config = Config {
//!     member: n1,
//!     seed: 7,
//!     election_ticks: 100,
//!     heartbeat_ticks: 10,
//!     mutants: Mutants::none(),
//! };
//! let mut raft = Raft::new(config, Restored::genesis(Membership::of_voters(vec![n1])))?;
//! raft.campaign()?;
//! raft.propose("put a 1".into())?;
//! let mut decided = Vec::new();
//! while let Some(ready) = raft.ready() {
//!     // Here the disk would write `ready.entries` and `ready.hard_state`, and sync.
//!     raft.persisted(ready.number);
//!     decided.extend(ready.committed);
//! }
//! // The new leader's empty entry, then ours.
//! assert_eq!(decided.len(), 2);
//! assert_eq!(&decided[1].data[..], b"put a 1");
//! raft.applied(Index(3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where to read next: [`engine`] for the words, `machine.rs` for the loop, `tests/scripts/` for the
//! stories.
#![forbid(unsafe_code)]

pub mod change;
mod convert;
pub mod engine;
pub mod gate;
mod machine;
mod memlog;
pub mod timer;

pub use engine::{
    Config, Engine, Misconfigured, PeerProgress, Ready, Refused, Replication, Restored, Role,
    RoleChange, StartEngine, Status,
};
pub use machine::Raft;

/// Length of one tick in milliseconds: `Config`'s ticks are counted in it.
pub const TICK_MS: u64 = 10;
