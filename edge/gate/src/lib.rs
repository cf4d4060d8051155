//! Gates at the resource: what refuses a writer that has lost its lock and does not know it.
//!
//! A lock with a time to live is not a mutex. Its holder may be paused (a collector, a virtual machine that
//! moves, a full disk) and wake up after another has taken the lock; no check that the *holder* makes can
//! help, since the pause may come right after the check. So each acquisition carries a token that only
//! rises, the holder sends it along with every write, and the **resource** refuses a token that is older than
//! the newest it has seen:
//!
//! ```text
//!  holder a   lock, token 33 ──── paused ────────────────────── write, token 33 ─┐
//!  holder b            lock, token 34 ── write, token 34 ─┐                      │
//!                                                         ▼                      ▼
//!  gate                                           newest = 34: admitted   33 < 34: refused,
//!  resource                                       b's data                still b's data
//! ```
//!
//! A gate must check and write in one atomic step. How that is done depends on the resource:
//!
//! ```text
//!   token.rs   the token and the refusal
//!   gate.rs    the trait for a resource of one's own, its contract, and the model in memory
//!   sql.rs     statements to copy; sql/postgres.rs, sql/sqlite.rs: the gate in the caller's transaction
//!   file.rs    a file whose fence travels with its data through one atomic rename
//!   http.rs    a proxy in front of one upstream; http/*: its parts; examples/fence-proxy.rs: a binary
//! ```
//!
//! This crate knows nothing of Quorate's server: any source of rising numbers will do. For each gate,
//! `docs/guide/fencing.md` says how to use it and what still can go wrong.
#![forbid(unsafe_code)]

mod token;

mod gate;

pub mod sql;

pub mod file;

#[cfg(feature = "http")]
pub mod http;

pub use gate::{Gate, Memory};
pub use token::{NotAToken, Stale, Token, TooLarge};
