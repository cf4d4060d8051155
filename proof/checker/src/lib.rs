//! Judges histories: what clients asked, what they were told, and what the cluster says it did.
//!
//! ```text
//!    clients' operations          what members published          watchers' deliveries
//!    (history.rs)                 (chronicle.rs)                  (watch.rs)
//!          │                             │                             │
//!          ├──────────┬──────────────────┤                             │
//!          ▼          ▼                  ▼                             ▼
//!     linear.rs   witness.rs         lease.rs                      watch.rs
//!     per key,    the whole history  nothing expired               ordered, unique, gapless,
//!     trusts no   in the order of    early                         atomic, exact
//!     revision    the revisions
//!          └──────────┴───────── Violation (verdict.rs) ───────────────┘
//! ```
//!
//! Two judges look at the same history independently. [`linear`] searches for an order of the
//! operations on each key (Wing and Gong, with Lowe's memory and Porcupine's partition by key) and
//! believes nothing but values and times. [`witness`] takes the revision in every answer as the
//! claimed order and replays it: linear time, whole transactions, no "unknown". A fault in one judge
//! does not hide what the other sees.
//!
//! What is guilty is cut down (`minimise.rs`), told (`orders.rs`) and drawn (`picture.rs`).
//!
//! `line.rs` judges lines and their places, `fresh.rs` how fresh reads of each level are.
//! Beside them `lock.rs` judges fencing tokens and `states.rs` what members have become: digests and rows.
//!
//! A third kind of judge knows no order at all: [`invariant`] asks whether what small applications wrote still
//! adds up (accounts, a cycle, one e-mail, one till, one lock), in every whole read and in the states of the end.
//!
//! This crate never imports the store: it would judge a bug by the bug. Its own models are a few lines
//! of ordered maps. Verdicts are *yes*, *no* or *unknown*, and unknown counts as failure.
#![forbid(unsafe_code)]

pub mod chronicle;
pub mod fresh;
pub mod history;
pub mod invariant;
pub mod lease;
pub mod line;
pub mod linear;
pub mod lock;
pub mod minimise;
pub mod orders;
pub mod picture;
pub mod project;
pub mod states;
pub mod verdict;
pub mod watch;
pub mod witness;

pub use chronicle::{Chronicle, Event};
pub use history::{
    Answer, Compare, End, Key, Level, Operation, Outcome, Relation, Request, Row, Span, Target,
    Time, Value,
};
pub use invariant::Invariant;
pub use verdict::Violation;

#[cfg(test)]
mod tests;
