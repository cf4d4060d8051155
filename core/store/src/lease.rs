//! Leases: a time to live that keys can hang on.
//!
//! The store knows which leases are granted and which keys hang on them. It does not know when they
//! expire: deadlines belong to the leader, and an expiry arrives here as a revoke like any other (R9).

use crate::root::RootId;
use crate::tree::Weighted;
use base::LeaseId;
use clock::HybridTime;

/// A granted lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// Its time to live, in seconds.
    pub ttl_s: i64,
    /// When it was granted, by the stamp of the entry that granted it.
    pub granted: HybridTime,
}

impl Weighted for Lease {
    fn weight(&self) -> u64 {
        1
    }
}

/// The tree key that all keys of `lease` begin with. Flipping the sign bit keeps the order of ids.
pub(crate) fn lease_key_prefix(lease: LeaseId) -> [u8; 8] {
    (lease.0 ^ i64::MIN).to_be_bytes()
}

/// The tree key under which `lease` holds `key` of `root`.
pub(crate) fn lease_key(lease: LeaseId, root: RootId, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + key.len());
    out.extend_from_slice(&lease_key_prefix(lease));
    out.push(root.0);
    out.extend_from_slice(key);
    out
}

/// The inverse of [`lease_key`].
pub(crate) fn split_lease_key(bytes: &[u8]) -> Option<(LeaseId, RootId, &[u8])> {
    let (lease, rest) = bytes.split_first_chunk::<8>()?;
    let (root, key) = rest.split_first()?;
    let lease = LeaseId(i64::from_be_bytes(*lease) ^ i64::MIN);
    Some((lease, RootId(*root), key))
}
