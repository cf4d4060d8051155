//! The algorithms, one folder each: `story.md` is the lecture, `mod.rs` the code, `scenarios/` the plays.

pub mod fenced_lock;
pub mod gossip;
pub mod happened;
pub mod hybrid_clock;
pub mod interval_clock;
pub mod lamport_clock;
pub mod leader_lease;
pub mod paxos;
pub mod phi_accrual;
pub mod primary_backup;
pub mod redlock;
pub mod set_nx;
pub mod swim;
pub mod vector_clock;
