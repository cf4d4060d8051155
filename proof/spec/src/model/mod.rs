//! Raft as a whole-cluster state and the actions that change it, small enough to try everything.
//!
//! ```text
//!                    scope.rs, rule.rs: how far, and which rule is broken
//!                                      │
//!    state.rs ──► action.rs ──► elect.rs  replicate.rs  change.rs  fault.rs
//!       ▲            guard and effect of each action │
//!       └────────────────────────────────────────────┤
//!                                                    ▼
//!    explore.rs: breadth first ◄── fingerprint.rs, seen.rs: was it here before?
//!          │
//!          ├──► property.rs: the five of figure 3, after every step
//!          └──► tell.rs: the shortest way into trouble, as a play
//! ```
//!
//! The text is Ongaro's TLA+ specification (thesis, appendix B.2) with the membership changes of
//! thesis §4.1. What differs, and why nothing is lost:
//!
//! - A timeout sends its RequestVotes at once; the network may hold them back as long as it likes.
//! - Adopting a higher term is part of handling a message, as in Raft figure 2, not a step of its own.
//! - What a leader knows of a follower never shrinks. The TLA+ text sets it to whatever comes in.
//! - Messages that can never again have an effect are forgotten, so that states with and without them
//!   count once.
//!
//! Left out: snapshots, learners, joint changes (thesis §4.3), pre-vote, leadership transfer, reads.
//!
//! The model uses nothing of the code that it may be held against. Start with [`state`], then read
//! [`action`].

pub mod state;

pub mod action;
mod change;
mod elect;
mod fault;
mod replicate;

pub mod rule;
pub mod scope;

pub mod property;

pub mod cases;
pub mod explore;
pub mod fingerprint;
pub mod seen;
pub mod tell;

pub use action::Action;
pub use explore::{End, Report, Violation, explore};
pub use property::Property;
pub use rule::Rule;
pub use scope::{Heartbeats, Model, Network, Refusals, Scope, Spent};
pub use state::State;
