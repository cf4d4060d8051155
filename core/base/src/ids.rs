//! Who: the identities of members, clusters and leases.
//!
//! All three are opaque numbers. They print as lower-case hexadecimal, the same text everywhere, and
//! never as decimals: one id must have one spelling.

use std::fmt;

/// One member of a cluster. Zero means "nobody" and is never a member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MemberId(pub u64);

impl MemberId {
    /// Nobody: no leader known, no vote given.
    pub const NONE: MemberId = MemberId(0);

    /// Whether this is [`MemberId::NONE`].
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// One cluster. Frames that carry another cluster's id are refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClusterId(pub u64);

/// One lease (etcd) or session (ZooKeeper, Consul). Positive; zero means "no lease".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// No lease: the key lives until it is deleted.
    pub const NONE: LeaseId = LeaseId(0);

    /// Whether this is [`LeaseId::NONE`].
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

macro_rules! hex {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:x})"), self.0)
            }
        }
    )*};
}
hex!(MemberId ClusterId LeaseId);
