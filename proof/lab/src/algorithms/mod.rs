//! The algorithms, one folder each: `story.md` is the lecture, `mod.rs` the code, `scenarios/` the plays.

pub mod happened;
pub mod hybrid_clock;
pub mod interval_clock;
pub mod lamport_clock;
pub mod paxos;
pub mod primary_backup;
pub mod vector_clock;
