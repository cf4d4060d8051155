//! Contests for locks and elections, and single questions to both services by whoever it is.

use super::{key, lease, one_of, revision};
use crate::operation::{Ask, Contest, End, Operation};
use crate::proto::v3electionpb as election_pb;
use crate::proto::v3lockpb as lock_pb;
use base::Rng;

/// One contest.
pub(super) fn operation(rng: &mut Rng) -> Operation {
    let contest = contest(rng);
    match rng.one_in(2) {
        true => Operation::Locks(contest),
        false => Operation::Election(contest),
    }
}

/// One question that does not wait: for keys that nobody contends for, mostly.
pub(super) fn ask(rng: &mut Rng) -> Operation {
    let leader = |rng: &mut Rng| election_pb::LeaderKey {
        name: one_of(rng, &[b"".as_slice(), b"a", b"dir"]).to_vec(),
        key: key(rng),
        rev: revision(rng),
        // With none the server would grant one, of a minute and of its own number.
        lease: lease::CHOSEN + super::small(rng, 5),
    };
    let maybe = |rng: &mut Rng| (!rng.one_in(10)).then(|| leader(rng));
    Operation::Ask(match rng.below(5) {
        0 => Ask::new("Lock/Unlock", &lock_pb::UnlockRequest { key: key(rng) }),
        1 => {
            let request = election_pb::ProclaimRequest {
                leader: maybe(rng),
                value: b"proclaimed".to_vec(),
            };
            Ask::new("Election/Proclaim", &request)
        }
        2 => Ask::new(
            "Election/Resign",
            &election_pb::ResignRequest { leader: maybe(rng) },
        ),
        _ => {
            let name = one_of(rng, &[b"".as_slice(), b"a", b"dir", b"nobody"]).to_vec();
            Ask::new("Election/Leader", &election_pb::LeaderRequest { name })
        }
    })
}

fn contest(rng: &mut Rng) -> Contest {
    let leaseless = rng.one_in(4);
    let n_contenders = if leaseless { 1 } else { 1 + rng.below(4) as u8 };
    let ends = (0..n_contenders + 1).map(|_| {
        one_of(
            rng,
            &[
                End::Leaves,
                End::Leaves,
                End::LosesLease,
                End::LosesKey,
                End::LastHangsUp,
            ],
        )
    });
    let ends = ends.collect();
    // Where the server names the lease, and so the key, no other range may end between what two servers chose.
    let names: &[&[u8]] = if leaseless {
        &[b"lock"]
    } else {
        &[b"lock", b"a", b"dir/x"]
    };
    Contest {
        name: one_of(rng, names).to_vec(),
        n_contenders,
        leaseless,
        ends,
    }
}
