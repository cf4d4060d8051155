//! Everything that the lab shows, in the order in which it is listed.

use crate::algorithm::Of;
use crate::algorithms as of;
use crate::exhibit::Exhibit;

/// All exhibits.
pub static ALL: &[&dyn Exhibit] = &[
    // Consensus.
    &Of::<of::paxos::Paxos>::new(),
    // Election.
    // Replication.
    // Locks.
    // Consistency.
    // Time.
    // Membership.
    // Limits.
    &of::flp::Flp,
    &of::two_generals::TwoGenerals,
    &of::byzantine_count::ByzantineCount,
];

/// The exhibit of this name.
pub fn find(name: &str) -> Option<&'static dyn Exhibit> {
    ALL.iter().copied().find(|exhibit| exhibit.name() == name)
}
