//! The algorithms, one folder each: `story.md` is the lecture, `mod.rs` the code, `scenarios/` the plays.

pub mod bully;
pub mod happened;
pub mod hybrid_clock;
pub mod interval_clock;
pub mod lamport_clock;
pub mod lease_election;
pub mod lowest_node;
pub mod paxos;
pub mod primary_backup;
pub mod raft;
pub mod two_phase_commit;
pub mod vector_clock;
