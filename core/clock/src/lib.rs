//! Clocks that order what happened: for now the hybrid logical clock that stamps every entry.
//!
//! What is deliberately absent: reading a clock. The caller brings the wall time as a number.
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
