//! A cluster of real processes in which one member can be cut off from its peers while clients still reach it, and
//! clients of both doors whose operations are recorded for the judges in `checker`.
//!
//! ```text
//!   tests/levels/*.rs     what each level promises, and what it lets one see
//!        │
//!   client.rs  Client     a process with a token: puts and gets through either door, recorded
//!        │
//!   native.rs, etcd.rs    the two doors: JSON over HTTP; etcd's public client with words of metadata
//!        │
//!   world.rs   World      three members; who leads; cut and heal
//!        │
//!   links.rs   Links      between the members: connections that end when somebody is cut off
//! ```
//!
//! Nothing here sleeps for luck: a member that is cut off stays behind for as long as the test wants. No root is needed.
//! It knows nothing of our code, as its clients are strangers.

mod client;
mod etcd;
mod links;
mod native;
mod world;

pub use client::{Client, Door, History};
pub use links::Links;
pub use native::Native;
pub use world::{ELECTION_TIMEOUT, PATIENCE, REQUEST_TIMEOUT, World};

/// What a read saw, or a write was told.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The value; nothing for an absent key and for writes.
    pub value: Option<String>,
    /// The revision of the state that was read, or that the write took.
    pub revision: u64,
    /// The hybrid time of that state.
    pub time: String,
    /// The level that was given.
    pub level: String,
    /// How it was reached.
    pub how: String,
    /// By how many milliseconds the state may be behind, where that is known.
    pub staleness_ms: Option<u64>,
    /// The session token to carry on.
    pub token: String,
}

/// Why there was no answer.
#[derive(Clone, Debug)]
pub struct Refused {
    /// `Q2102`; empty when the server did not say one.
    pub code: String,
    /// In words.
    pub message: String,
}
