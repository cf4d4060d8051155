//! The claims about the log and the checkpoints, one file per kind of adversity.

#![allow(clippy::unwrap_used)]

mod checkpoints;
mod common;
mod crashes;
mod damage;
mod fixtures;
mod garbage;
mod golden;
mod model;
#[cfg(feature = "mutants")]
mod mutants;
mod numbers;
