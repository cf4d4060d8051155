//! How a member leaves that was removed from the cluster: not before the others can do without it.
//!
//! A change of the membership is in force at a member from its application on. Until the others know that a
//! removal is decided they still count the removed member, and may need its vote to find out: two members of
//! which one leaves too early are one member that waits for ever. So the one that leaves asks
//! ([`PeerMessage::Leaving`](base::PeerMessage::Leaving)) until a majority of those that stay has answered that
//! it knows, durably ([`PeerMessage::Removed`](base::PeerMessage::Removed)). Meanwhile it votes and appends as
//! before, which is always safe, and serves nobody.

use base::{Instant, MemberId, Membership};
use std::collections::BTreeSet;
use std::time::Duration;

/// A member that has only heard of its removal does not know who stays: those that it believes to be members may
/// be gone as well. It leaves after so many election timeouts at the latest.
const HEARSAY_ELECTIONS: u32 = 10;

/// A member that is about to leave.
#[derive(Debug)]
pub(crate) struct Parting {
    /// Since when.
    pub(crate) since: Instant,
    /// Whether it has applied its removal, and is not only told so.
    pub(crate) is_applied: bool,
    ask_at: Instant,
    told: BTreeSet<MemberId>,
}

impl Parting {
    pub(crate) fn new(now: Instant, is_applied: bool) -> Parting {
        Parting {
            since: now,
            is_applied,
            ask_at: now,
            told: BTreeSet::new(),
        }
    }

    /// `by` knows that this member was removed, and will know it after a crash.
    pub(crate) fn told(&mut self, by: MemberId) {
        self.told.insert(by);
    }

    /// Those that stay and have not said yet that they know.
    pub(crate) fn waits_for(&self, own: MemberId, membership: &Membership) -> Vec<MemberId> {
        let staying = membership.voters.iter().copied();
        staying
            .filter(|voter| *voter != own && !self.told.contains(voter))
            .collect()
    }

    /// Whom to ask now, every `pause`.
    pub(crate) fn asks(
        &mut self,
        now: Instant,
        pause: Duration,
        own: MemberId,
        membership: &Membership,
    ) -> Vec<MemberId> {
        if now < self.ask_at {
            return Vec::new();
        }
        self.ask_at = now + pause;
        self.waits_for(own, membership)
    }

    /// Whether the others can do without it.
    pub(crate) fn may_leave(
        &self,
        now: Instant,
        election: Duration,
        own: MemberId,
        membership: &Membership,
    ) -> bool {
        let n_staying = membership.voters.iter().filter(|id| **id != own).count();
        let n_told = n_staying - self.waits_for(own, membership).len();
        let is_enough = n_told > n_staying / 2 || n_staying == 0;
        let is_long_ago = now.since(self.since) >= election * HEARSAY_ELECTIONS;
        is_enough || !self.is_applied && is_long_ago
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn voters(n: u64) -> Membership {
        Membership::of_voters((1..=n).map(MemberId).collect())
    }

    #[test]
    fn it_leaves_when_a_majority_of_those_that_stay_knows() {
        let own = MemberId(9);
        for (n_staying, enough) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            let mut parting = Parting::new(Instant(0), true);
            let late = Instant(0) + SECOND * 1000;
            for n in 1..=enough {
                assert!(!parting.may_leave(late, SECOND, own, &voters(n_staying)));
                parting.told(MemberId(n));
                parting.told(MemberId(n));
                parting.told(MemberId(77));
            }
            assert!(parting.may_leave(Instant(0), SECOND, own, &voters(n_staying)));
        }
    }

    #[test]
    fn whoever_has_only_heard_of_it_does_not_wait_for_ever() {
        let own = MemberId(1);
        let mut parting = Parting::new(Instant(0), false);
        parting.told(MemberId(2));
        let membership = voters(4);
        assert!(!parting.may_leave(Instant(0) + SECOND * 9, SECOND, own, &membership));
        assert!(parting.may_leave(Instant(0) + SECOND * 10, SECOND, own, &membership));
        parting.told(MemberId(3));
        assert!(parting.may_leave(Instant(0), SECOND, own, &membership));
    }

    #[test]
    fn it_asks_again_those_that_have_not_answered() {
        let mut parting = Parting::new(Instant(0), true);
        let membership = voters(3);
        let ask = |parting: &mut Parting, ms: u64| {
            let now = Instant(0) + Duration::from_millis(ms);
            parting.asks(now, SECOND, MemberId(9), &membership).len()
        };
        assert_eq!(ask(&mut parting, 0), 3);
        assert_eq!(ask(&mut parting, 999), 0);
        parting.told(MemberId(2));
        assert_eq!(ask(&mut parting, 1000), 2);
    }
}
