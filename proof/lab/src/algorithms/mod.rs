//! The algorithms, one folder each: `story.md` is the lecture, `mod.rs` the code, `scenarios/` the plays.

pub mod causal_chat;
pub mod crdt_counter;
pub mod crdt_set;
pub mod happened;
pub mod hybrid_clock;
pub mod interval_clock;
pub mod lamport_clock;
pub mod paxos;
pub mod vector_clock;
