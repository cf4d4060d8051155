//! The algorithms, one folder each: `story.md` is the lecture, `mod.rs` the code, `scenarios/` the plays.

pub mod bully;
pub mod byzantine_count;
pub mod causal_chat;
pub mod crdt_counter;
pub mod crdt_set;
pub mod fenced_lock;
pub mod flexible_paxos;
pub mod flp;
pub mod gossip;
pub mod happened;
pub mod hybrid_clock;
pub mod interval_clock;
pub mod lamport_clock;
pub mod leader_lease;
pub mod lease_election;
pub mod lowest_node;
pub mod multi_paxos;
pub mod paxos;
pub mod phi_accrual;
pub mod primary_backup;
pub mod redlock;
pub mod set_nx;
pub mod swim;
pub mod two_generals;
pub mod two_phase_commit;
pub mod vector_clock;
