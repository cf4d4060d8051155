//! One deterministic kernel for every algorithm.
//!
//! ```text
//!    process.rs   what an algorithm is: parties that answer messages
//!    setup.rs     how a run begins, what may go wrong      law.rs   what must hold
//!         └───────────────┬──────────────────────────────────┘
//!                     world.rs   one state; choice.rs: what may happen next
//!         ┌───────────────┼───────────────┬───────────────┐
//!    explore.rs       walk.rs         script.rs       rounds.rs
//!    everything,      one seed,       one story,      thousands in
//!    shortest first   cut down        line by line    lock step
//! ```
//!
//! Nothing here has chance, time or order of its own: a run is its setup and its list of choices.

mod process;

mod law;
mod setup;

mod choice;
mod world;

mod explore;
mod rounds;
mod script;
mod walk;

pub use choice::Choice;
pub use explore::{Explored, STATES_MAX, Way, explore};
pub use law::{Breach, Law, When, judge};
pub use process::{Context, Process, ProcessId};
pub use rounds::Rounds;
pub use script::{Unscripted, offered, play};
pub use setup::{Cut, Delivery, Faults, Setup, Time};
pub use walk::{Walked, shorten, walk};
pub use world::{Condition, World};
