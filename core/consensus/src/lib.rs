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
    RoleChange, Status,
};
pub use machine::Raft;

/// Length of one tick in milliseconds: `Config`'s ticks are counted in it.
pub const TICK_MS: u64 = 10;
