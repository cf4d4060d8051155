//! The algorithms, one folder each: `story.md` is the lecture, `mod.rs` the code, `scenarios/` the plays.

pub mod flp;
pub mod paxos;
