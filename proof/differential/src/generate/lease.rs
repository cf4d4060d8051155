//! Leases: granted by number and without one, at the edges of time, renewed, revoked, asked about.
//!
//! They live long enough that none runs out by itself in a run: when that happens is a question of time. One that
//! does run out is a story of its own (`Operation::Expiry`).

use super::{extreme, one_of, small};
use crate::marks::GRANTED;
use crate::operation::{Ask, Operation};
use crate::proto::etcdserverpb as pb;
use base::Rng;

/// Longer than any run.
const LONG_S: i64 = 50_000;
/// The longest that etcd takes.
const TTL_MAX_S: i64 = 9_000_000_000;

/// From here on numbers stand for leases that a server named.
pub(super) const NAMED: i64 = GRANTED;
/// A lease that the client named.
pub(super) const CHOSEN: i64 = 0x10_0000;

/// A lease that may exist or not.
pub(super) fn any(rng: &mut Rng) -> i64 {
    match rng.below(16) {
        0..9 => 0x10_0000 + small(rng, 5),
        9..13 => GRANTED + small(rng, 4),
        13 => 0,
        14 => -small(rng, 3),
        _ => extreme(rng),
    }
}

/// One request to the `Lease` service.
pub(super) fn operation(rng: &mut Rng) -> Operation {
    Operation::Ask(match rng.below(20) {
        0..5 => grant(rng),
        5..8 => Ask::new(
            "Lease/LeaseRevoke",
            &pb::LeaseRevokeRequest { id: any(rng) },
        ),
        8..13 => {
            let request = pb::LeaseTimeToLiveRequest {
                id: any(rng),
                keys: !rng.one_in(3),
            };
            Ask::new("Lease/LeaseTimeToLive", &request)
        }
        13..15 => Ask::new("Lease/LeaseLeases", &pb::LeaseLeasesRequest {}),
        _ => {
            let leases = (0..1 + rng.below(3)).map(|_| any(rng)).collect();
            return Operation::KeepAlive {
                caller: None,
                leases,
            };
        }
    })
}

fn grant(rng: &mut Rng) -> Ask {
    let ttl = match rng.below(12) {
        0 => TTL_MAX_S,
        1 => TTL_MAX_S + 1,
        2 => i64::MAX,
        _ => LONG_S + small(rng, 3),
    };
    match rng.below(3) {
        0 => {
            let slot = rng.below(4) as u8;
            let request = pb::LeaseGrantRequest { ttl, id: 0 };
            let ask = Ask::new("Lease/LeaseGrant", &request);
            Ask {
                remember: Some(slot),
                ..ask
            }
        }
        1 if rng.one_in(10) => {
            let id = one_of(rng, &[-1, i64::MIN, i64::MAX, 1]);
            Ask::new("Lease/LeaseGrant", &pb::LeaseGrantRequest { ttl, id })
        }
        _ => {
            let id = 0x10_0000 + small(rng, 5);
            Ask::new("Lease/LeaseGrant", &pb::LeaseGrantRequest { ttl, id })
        }
    }
}

/// The numbers of leases that must not live on when their story is over.
pub(crate) const SHORT_LEASES: std::ops::Range<i64> = 0x40_0000..0x40_0004;

/// A lease too short to meet anything else, with its end.
pub(super) fn short(rng: &mut Rng) -> Vec<Operation> {
    let id = SHORT_LEASES.start + small(rng, 4);
    let ttl = one_of(rng, &[0, 1, -5, i64::MIN, 2, 3]);
    vec![
        Operation::Ask(Ask::new(
            "Lease/LeaseGrant",
            &pb::LeaseGrantRequest { ttl, id },
        )),
        Operation::Ask(Ask::new(
            "Lease/LeaseRevoke",
            &pb::LeaseRevokeRequest { id },
        )),
    ]
}

/// A lease that runs out by itself.
pub(super) fn expiry(rng: &mut Rng) -> Operation {
    Operation::Expiry {
        lease: 0x50_0000 + small(rng, 4),
        keys: (0..rng.below(4))
            .map(|_| super::one_of(rng, super::KEYS).to_vec())
            .collect(),
    }
}
