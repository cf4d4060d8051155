//! The algorithms, one folder each: `story.md` is the lecture, `mod.rs` the code, `scenarios/` the plays.

pub mod fenced_lock;
pub mod gossip;
pub mod leader_lease;
pub mod paxos;
pub mod phi_accrual;
pub mod redlock;
pub mod set_nx;
pub mod swim;
