//! How fresh a read must be, and how fresh it was: the levels of consistency, from strong to weak.
//!
//! | level | the state that is read contains | it costs | it may show |
//! | --- | --- | --- | --- |
//! | [`ReadLevel::Linearizable`] | every write acknowledged before the read | a round of ReadIndex, shared | – |
//! | [`ReadLevel::Lease`] | the same, *if clocks drift no more than was stated* | nothing, at the leader | – |
//! | [`ReadLevel::Bounded`] | every write acknowledged a Δ before the read | a round, once in a Δ | what is a Δ old |
//! | [`ReadLevel::Session`] | what the session has seen or written | nothing, or a wait | old values of others |
//! | [`ReadLevel::Sequential`] | a prefix of history | nothing | any old state |
//!
//! A level is never weakened in silence: a lease read without a lease is refused with its reason
//! ([`NoLease`]), and a bounded or session read waits for its state as long as its caller does.
//!
//! *Freshness without synchronised clocks.* When a round of ReadIndex has brought an index, and that index is
//! applied, the state contains every write that was acknowledged before the round **began**, by this
//! member's own monotonic clock. So the state is as fresh as the start of the newest such round, and no
//! other member's clock has a part in it.

use base::{Instant, Revision, Term};
use std::time::Duration;

/// How fresh a read must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadLevel {
    /// It sees every write that was acknowledged before it began.
    Linearizable,
    /// The same, answered by the leader on its own, on the strength of promises and of a stated bound on how
    /// far clocks drift ([`crate::NodeConfig::read_lease`]).
    Lease,
    /// It sees every write that was acknowledged so long before it began.
    Bounded(Duration),
    /// It sees everything up to this revision, which its session has seen or written.
    Session(Revision),
    /// It sees the state of this member, whatever its age.
    Sequential,
}

/// How a read came to be fresh enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// A majority was asked.
    Quorum,
    /// The leader knew on its own.
    Lease,
    /// The state of this member was good enough.
    Local,
}

/// Leave to look at the published root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadGrant {
    /// How the read came to be fresh enough.
    pub how: How,
    /// The state contains all that was acknowledged before this instant of this member's monotonic clock; nothing when
    /// that is unknown.
    pub fresh_as_of: Option<Instant>,
    /// Of a lease read: it is valid strictly before this instant. After the look at the state,
    /// [`crate::Node::lease_holds`] says whether it still is; it may be longer by then.
    pub valid_until: Option<Instant>,
    /// The term in which it was given.
    pub term: Term,
}

/// What became of a read that was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadNow {
    /// Look at the published root at once.
    Granted(ReadGrant),
    /// Certain: it will not be granted.
    Failed(crate::ReadFailed),
    /// The answer comes in [`crate::Effects::reads`], or never, when nobody can give it.
    Waits,
}

/// Why a leader may not answer a read on its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoLease {
    /// Nobody has stated how far clocks may drift.
    #[error("no bound on clock drift is configured")]
    NoBound,
    /// Only the leader has a lease.
    #[error("this member does not lead")]
    NotLeader,
    /// The leader is new, and a majority has not promised yet.
    #[error("the leader has no promise of a majority yet")]
    NotYet,
    /// The wall clock jumped a short while ago, so no clock here is believed.
    #[error("the clock jumped a short while ago")]
    ClockJumped,
    /// The last promises ran out, or the leader's disk hangs.
    #[error("the lease ran out")]
    Expired,
    /// The leader has handed its office over, or tried to: it has no lease for the rest of its term.
    #[error("the leader is handing its office over")]
    HandingOver,
}
