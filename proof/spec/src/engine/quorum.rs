//! Who decides: a majority, or during a joint change a majority of either half (Raft §6).

use base::{Change, Index, MemberId, Membership};

/// Whether those who `agree` are a quorum.
pub(super) fn is_quorum(membership: &Membership, agree: impl Fn(MemberId) -> bool) -> bool {
    let majority = |voters: &[MemberId]| {
        let n = voters.iter().filter(|voter| agree(**voter)).count();
        voters.is_empty() || 2 * n > voters.len()
    };
    !membership.voters.is_empty()
        && majority(&membership.voters)
        && majority(&membership.voters_outgoing)
}

/// The furthest index that a quorum has, when `matched` says what each member has.
pub(super) fn quorum_index(membership: &Membership, matched: impl Fn(MemberId) -> Index) -> Index {
    let of = |voters: &[MemberId]| {
        let mut all: Vec<Index> = voters.iter().map(|voter| matched(*voter)).collect();
        all.sort_unstable();
        // With five voters the third largest: as many have it as not, and one more.
        all.get(all.len().saturating_sub(1) / 2).copied()
    };
    let incoming = of(&membership.voters).unwrap_or_default();
    of(&membership.voters_outgoing).map_or(incoming, |outgoing| outgoing.min(incoming))
}

/// The membership after `changes`: at once if it is one step, else the joint one. No changes leave it.
pub(super) fn changed(membership: &Membership, changes: &[Change]) -> Membership {
    let mut next = membership.clone();
    if changes.is_empty() {
        next.voters_outgoing.clear();
        next.learners.append(&mut next.learners_next);
        next.auto_leave = false;
        return sorted(next);
    }
    if changes.len() > 1 {
        next.voters_outgoing.clone_from(&next.voters);
        next.auto_leave = true;
    }
    for change in changes {
        let (Change::AddVoter(member) | Change::AddLearner(member) | Change::Remove(member)) =
            change;
        for list in [
            &mut next.voters,
            &mut next.learners,
            &mut next.learners_next,
        ] {
            list.retain(|it| it != member);
        }
        match change {
            Change::AddVoter(_) => next.voters.push(*member),
            // Who still votes in the half that is being left listens only after it is left.
            Change::AddLearner(_) if next.voters_outgoing.contains(member) => {
                next.learners_next.push(*member);
            }
            Change::AddLearner(_) => next.learners.push(*member),
            Change::Remove(_) => {}
        }
    }
    sorted(next)
}

fn sorted(mut membership: Membership) -> Membership {
    membership.voters.sort_unstable();
    membership.voters_outgoing.sort_unstable();
    membership.learners.sort_unstable();
    membership.learners_next.sort_unstable();
    membership
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u64]) -> Vec<MemberId> {
        numbers.iter().copied().map(MemberId).collect()
    }

    #[test]
    fn the_quorum_index_is_what_a_majority_has() {
        let of = |matched: &[u64]| {
            let membership =
                Membership::of_voters((1..=matched.len() as u64).map(MemberId).collect());
            quorum_index(&membership, |member| Index(matched[member.0 as usize - 1])).0
        };
        assert_eq!(of(&[7]), 7);
        assert_eq!(of(&[7, 3]), 3, "two need both");
        assert_eq!(of(&[7, 3, 5]), 5);
        assert_eq!(of(&[7, 3, 5, 4]), 4, "four need three");
        assert_eq!(of(&[9, 1, 2, 8, 3]), 3);
    }

    #[test]
    fn a_joint_change_needs_both_halves_and_is_left_by_an_empty_one() {
        let three = Membership::of_voters(ids(&[1, 2, 3]));
        let joint = changed(
            &three,
            &[
                Change::AddVoter(MemberId(4)),
                Change::AddLearner(MemberId(1)),
            ],
        );
        assert_eq!(joint.voters, ids(&[2, 3, 4]));
        assert_eq!(joint.voters_outgoing, ids(&[1, 2, 3]));
        assert_eq!(joint.learners_next, ids(&[1]));
        let agree = |those: &'static [u64]| move |member: MemberId| those.contains(&member.0);
        assert!(!is_quorum(&joint, agree(&[3, 4])), "one of the old");
        assert!(!is_quorum(&joint, agree(&[1, 2])), "one of the new");
        assert!(is_quorum(&joint, agree(&[2, 3])));
        let after = changed(&joint, &[]);
        assert_eq!(after.voters, ids(&[2, 3, 4]));
        assert_eq!(after.learners, ids(&[1]));
        assert!(after.voters_outgoing.is_empty() && !after.auto_leave);
    }
}
