//! What a member has done in this life, as plain numbers for whoever watches over it. Nothing is decided by them.

/// Sums since the start. They only rise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Leases granted by applied commands.
    pub leases_granted: u64,
    /// Leases that ended by applied commands, whatever the reason.
    pub leases_revoked: u64,
    /// Renewals granted while this member led.
    pub leases_renewed: u64,
    /// Leases that this member, as the leader, found expired and proposed to end.
    pub leases_expired: u64,
    /// Versions that compaction has removed.
    pub versions_swept: u64,
}
