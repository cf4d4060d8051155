//! The algorithms, one folder each: `story.md` is the lecture, `mod.rs` the code, `scenarios/` the plays.

pub mod flexible_paxos;
pub mod multi_paxos;
pub mod paxos;
