//! Everything that the lab shows, in the order in which it is listed.

use crate::algorithm::Of;
use crate::algorithms as of;
use crate::exhibit::Exhibit;

/// All exhibits.
pub static ALL: &[&dyn Exhibit] = &[
    // Consensus.
    &Of::<of::paxos::Paxos>::new(),
    &of::raft::Raft,
    // Election.
    &Of::<of::bully::Bully>::new(),
    &Of::<of::lowest_node::LowestNode>::new(),
    &Of::<of::lease_election::LeaseElection>::new(),
    // Replication.
    &Of::<of::primary_backup::PrimaryBackup>::new(),
    &Of::<of::two_phase_commit::TwoPhaseCommit>::new(),
    // Locks.
    // Consistency.
    // Time.
    &Of::<of::lamport_clock::LamportClock>::new(),
    &Of::<of::vector_clock::VectorClock>::new(),
    &Of::<of::hybrid_clock::HybridClock>::new(),
    &Of::<of::interval_clock::IntervalClock>::new(),
    // Membership.
    // Limits.
];

/// The exhibit of this name.
pub fn find(name: &str) -> Option<&'static dyn Exhibit> {
    ALL.iter().copied().find(|exhibit| exhibit.name() == name)
}
