//! The algorithms, one folder each: `story.md` is the lecture, `mod.rs` the code, `scenarios/` the plays.

pub mod causal_chat;
pub mod crdt_counter;
pub mod crdt_set;
pub mod happened;
pub mod hybrid_clock;
pub mod interval_clock;
pub mod lamport_clock;
pub mod last_writer_wins;
pub mod paxos;
pub mod quorum_register;
pub mod session_guarantees;
pub mod siblings;
pub mod vector_clock;
