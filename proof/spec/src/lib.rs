//! Raft as an executable specification.
//!
//! [`engine`] is a second engine behind [`consensus::Engine`]: whole clusters run on it in the simulator.
//! [`model`] is Raft as guarded actions over a whole cluster, small enough to try every state.
#![forbid(unsafe_code)]

pub mod engine;
pub mod model;
pub mod observe;

pub use engine::SpecRaft;
pub use observe::{Broken, Observer};
