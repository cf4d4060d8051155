//! The algorithms, one folder each: `story.md` is the lecture, `mod.rs` the code, `scenarios/` the plays.

pub mod byzantine_count;
pub mod flp;
pub mod paxos;
pub mod two_generals;
