//! Everything that the lab shows, in the order in which it is listed.

use crate::algorithm::Of;
use crate::algorithms as of;
use crate::exhibit::Exhibit;

/// All exhibits.
pub static ALL: &[&dyn Exhibit] = &[
    // Consensus.
    &Of::<of::paxos::Paxos>::new(),
    &Of::<of::multi_paxos::MultiPaxos>::new(),
    &Of::<of::flexible_paxos::FlexiblePaxos>::new(),
    &Of::<of::epaxos::EPaxos>::new(),
    &Of::<of::zab::Zab>::new(),
    &of::raft::Raft,
    // Election.
    &Of::<of::bully::Bully>::new(),
    &Of::<of::lowest_node::LowestNode>::new(),
    &Of::<of::lease_election::LeaseElection>::new(),
    // Replication.
    &Of::<of::primary_backup::PrimaryBackup>::new(),
    &Of::<of::two_phase_commit::TwoPhaseCommit>::new(),
    // Locks.
    &Of::<of::fenced_lock::FencedLock>::new(),
    &Of::<of::redlock::Redlock>::new(),
    &Of::<of::set_nx::SetNx>::new(),
    &Of::<of::leader_lease::LeaderLease>::new(),
    // Consistency.
    &Of::<of::quorum_register::QuorumRegister>::new(),
    &Of::<of::last_writer_wins::LastWriterWins>::new(),
    &Of::<of::siblings::Siblings>::new(),
    &Of::<of::crdt_counter::CrdtCounter>::new(),
    &Of::<of::crdt_set::CrdtSet>::new(),
    &Of::<of::session_guarantees::SessionGuarantees>::new(),
    &Of::<of::causal_chat::CausalChat>::new(),
    // Time.
    &Of::<of::lamport_clock::LamportClock>::new(),
    &Of::<of::vector_clock::VectorClock>::new(),
    &Of::<of::hybrid_clock::HybridClock>::new(),
    &Of::<of::interval_clock::IntervalClock>::new(),
    // Membership.
    &Of::<of::gossip::Gossip>::new(),
    &Of::<of::swim::Swim>::new(),
    &of::phi_accrual::PhiAccrual,
    // Limits.
    &of::flp::Flp,
    &of::two_generals::TwoGenerals,
    &of::byzantine_count::ByzantineCount,
];

/// The exhibit of this name.
pub fn find(name: &str) -> Option<&'static dyn Exhibit> {
    ALL.iter().copied().find(|exhibit| exhibit.name() == name)
}
