//! Clocks that order what happened, and the arithmetic of time that clocks disagree about.
//!
//! Every clock here answers one question, and is silent about the others:
//!
//! | file | the law | it cannot tell | costs |
//! | --- | --- | --- | --- |
//! | [`lamport`] | e before f ⇒ L(e) < L(f) | concurrent from before | one number |
//! | [`vector`] | e before f ⇔ V(e) < V(f) | when | a number for each node |
//! | [`hybrid`] | e before f ⇒ H(e) < H(f), and H is close to the wall clock | concurrent from before | 64 bits |
//! | [`interval`] | the true time is inside; surely before ⇒ before | what overlaps | an error bound that is true |
//! | [`guard`] | the holder of a lease has stopped when its grantor lets go | whether it was paused | ε of each lease |
//!
//! ```text
//!      true time  ──────────────────────────────────────────────────►   nobody sees it
//!                     wall clocks: wrong by an error, drift, are set
//!                                  │                     │
//!       causality only             ▼                     ▼
//!      lamport, vector          hybrid               interval         guard: monotonic clocks,
//!       order, no time     order, near time      time, with doubt     which only drift
//! ```
//!
//! Quorate stamps every entry with a [`HybridTime`]: causality and a time that people can read, in 64 bits.
//! Lamport and vector clocks are here because users learn from them why that is enough for order and what it
//! does not tell. Interval time is for those who must compare stamps *between* clusters or with the world,
//! and the guard band for every lease that somebody acts on without asking again. [`rfc3339`] is how
//! people write a hybrid time.
//!
//! "Before" is Lamport's happened-before throughout: earlier at the same node, or sent before received, or
//! a chain of these.
//!
//! What is deliberately absent: reading a clock, waiting, and chance. The caller brings readings as numbers,
//! so that one seed replays one run; the server reads its clocks in one file of its own. Each law has a test in
//! `tests/` that judges it by brute force in random worlds, and has been seen to fail.
#![forbid(unsafe_code)]

pub mod guard;
pub mod hybrid;
pub mod interval;
pub mod lamport;
pub mod rfc3339;
pub mod vector;

pub use hybrid::{HybridClock, HybridTime, TooFarAhead};
pub use interval::{Agreement, Interval, UnixNanos, agree, commit_wait};
pub use lamport::{COUNT_MAX, CountTooLarge, LamportClock, LamportTime};
pub use rfc3339::TextError;
pub use vector::{NODES_MAX, VectorClock, VectorRefusal, VectorTime};
