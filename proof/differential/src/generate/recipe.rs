//! Contests for locks and elections.

use super::one_of;
use crate::operation::{Contest, End, Operation};
use base::Rng;

/// One contest.
pub(super) fn operation(rng: &mut Rng) -> Operation {
    let contest = contest(rng);
    match rng.one_in(2) {
        true => Operation::Locks(contest),
        false => Operation::Election(contest),
    }
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
