//! Why a leader may answer a read on its own: a majority has promised to elect nobody else for a while.
//!
//! The textbook's leader lease (Raft dissertation §6.4.1) concludes from answered heartbeats that nobody else
//! can have been elected, since followers wait for an election timeout. That conclusion hangs on every rule of
//! elections at once: on what a restarted member does, on who campaigns at whose request, on ticks. Here the
//! follower says in words what it will not do, for how long, and by which clock, and keeps to it:
//!
//! ```text
//!   leader     asks ──┬──────────── answers reads alone ─────────┤ ε │           its clock
//!                      ╲ PromiseRequest                          until
//!   follower            └─┬───────── neither votes nor campaigns ─────────┬──►   its clock
//!                     promises D                                        is free
//! ```
//!
//! *Why it is safe.* Claim: while the leader of term T holds its lease, nobody has been elected in a later
//! term. A majority of the voters promised; each counts D from when it was asked, which was after the leader
//! noted the time; [`clock::guard`] shows that under the stated drift the leader stops before any of them is
//! free. Whoever is elected later needs a majority, which has a voter in common with that one. That voter
//! would have had to vote before it promised (then its term is a later one, and it does not promise to
//! T) or after (then it is free, and the lease is over). The cases that break naive leases:
//!
//! * **A restart** forgets promises. So a member that starts is silent for D, whatever it remembers. It must
//!   not be started with a shorter D while a longer one may be running; the configuration says so.
//! * **A transfer** passes promises, on purpose: it would take D otherwise. Only campaigns that the leader
//!   itself asked for pass, in the very next term. The leader gives its lease up before it asks, and has
//!   none for the rest of the term, however late its request arrives.
//! * **A change of membership**: promises are counted against the membership in force here, both halves of
//!   a joint one; a removed voter's counts nothing. Whoever is elected is at most one change away (the next one
//!   is proposed after this one is applied here), and majorities of neighbouring memberships meet. A voter
//!   that has become the only one could elect itself without asking; it too waits until it is free.
//! * **Late messages**: an old answer names an old round, whose time was noted before it was asked, so it
//!   proves only what was true then. Rounds have fresh numbers over all lives and offices.
//! * **A pause** between the check and the look at the state: so the check is made again after the look
//!   ([`crate::Node::lease_holds`]). If it passes, nobody was elected before that moment, and the state that
//!   was looked at was the newest. It does not matter when the answer arrives.
//! * **A clock that jumps** is no clock that drifts within a bound. A leader that is told of a jump has no
//!   lease for [`JUMP_REST`]; a follower makes no promise for as long, and keeps what it has promised as if it
//!   had just done so, since its clock may have leapt over the end.
//! * **A leader whose disk hangs** asks nobody and answers nothing, as it sends no heartbeats (rule R16).
//!
//! What is deliberately absent: the engine's own lease (it has no bound on clocks), and what leases of
//! clients do ([`crate::leases`]).
//!
//! Invariants: a promise is never shortened; a lease knows only rounds of its own office.

use base::{Instant, MemberId, Membership, Term, invariant};
use clock::guard::{self, DriftBound};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// After a jump of a clock, so long nobody here believes it.
pub const JUMP_REST: Duration = Duration::from_secs(60);

/// Rounds whose answers are waited for; older ones would prove nothing by the time they come.
const ROUNDS_MAX: usize = 64;

/// What this member has promised.
#[derive(Debug)]
pub(crate) struct Promise {
    free_at: Instant,
}

impl Promise {
    /// A member that starts at `now` and may have promised `lease` just before.
    pub(crate) fn at_start(now: Instant, lease: Option<Duration>) -> Promise {
        Promise {
            free_at: lease.map_or(Instant(0), |lease| guard::grantor_lets_go_at(now, lease)),
        }
    }

    /// Promises `lease` from `now`, which is not before the request came.
    pub(crate) fn give(&mut self, now: Instant, lease: Duration) {
        self.free_at = self.free_at.max(guard::grantor_lets_go_at(now, lease));
    }

    /// Whether this member may neither vote nor campaign at `now`.
    pub(crate) fn binds(&self, now: Instant) -> bool {
        now < self.free_at
    }
}

/// What a majority has promised to this leader.
#[derive(Debug, Default)]
pub(crate) struct ReadLease {
    /// The term of the office; nothing while this member does not lead.
    term: Option<Term>,
    is_given_up: bool,
    next_ask: Instant,
    /// Rounds that were asked and when.
    rounds: VecDeque<(u64, Instant)>,
    /// By voter: until when its promises hold, by this member's clock.
    promised: BTreeMap<MemberId, Instant>,
}

impl ReadLease {
    /// An office begins, in which nobody has promised anything.
    pub(crate) fn begin(&mut self, term: Term) {
        *self = ReadLease {
            term: Some(term),
            ..ReadLease::default()
        };
    }

    /// The office is lost.
    pub(crate) fn end(&mut self) {
        *self = ReadLease::default();
    }

    /// The office is about to be handed over.
    pub(crate) fn give_up(&mut self) {
        self.is_given_up = true;
    }

    /// Whether this office has no lease any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    /// Whether the next round is due.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.term.is_some() && now >= self.next_ask
    }

    /// A round is asked, not before `now`; the next one is due after `pause`.
    pub(crate) fn ask(&mut self, round: u64, now: Instant, pause: Duration) {
        if self.rounds.len() == ROUNDS_MAX {
            self.rounds.pop_front();
        }
        self.rounds.push_back((round, now));
        self.next_ask = now + pause;
    }

    /// When `round` was asked, if it was asked in this office.
    pub(crate) fn asked_at(&self, round: u64) -> Option<Instant> {
        let mut rounds = self.rounds.iter();
        rounds
            .find(|(number, _)| *number == round)
            .map(|(_, at)| *at)
    }

    /// `voter` has promised `lease` when it was asked, which was after `sent`.
    pub(crate) fn promised(
        &mut self,
        voter: MemberId,
        sent: Instant,
        lease: Duration,
        drift: DriftBound,
    ) {
        if let Some(until) = guard::holds_until(sent, lease, Some(drift)) {
            let known = self.promised.entry(voter).or_default();
            *known = until.max(*known);
        }
    }

    /// Until when a majority of `membership` has promised: of both halves, while it is joint. Nothing
    /// while there is no majority that ever did.
    pub(crate) fn holds_until(&self, membership: &Membership, needs: Needs) -> Option<Instant> {
        let first = self.majority(&membership.voters, needs)?;
        if membership.voters_outgoing.is_empty() {
            return Some(first);
        }
        let second = self.majority(&membership.voters_outgoing, needs)?;
        Some(first.min(second))
    }

    /// The instant that a majority of `voters` has promised to reach: the one of its worst.
    fn majority(&self, voters: &[MemberId], needs: Needs) -> Option<Instant> {
        let mut ends: Vec<Instant> = voters
            .iter()
            .filter_map(|voter| self.promised.get(voter).copied())
            .collect();
        ends.sort_unstable();
        let n_needed = match needs {
            Needs::Majority => voters.len() / 2 + 1,
            Needs::Minority => voters.len() / 2,
        };
        ends.iter().rev().nth(n_needed.max(1) - 1).copied()
    }

    /// Checks the invariant.
    pub(crate) fn check(&self, leads_in: Option<Term>) {
        invariant!(
            self.term == leads_in,
            "a lease of term {:?} in the office of {leads_in:?}",
            self.term
        );
        invariant!(
            self.term.is_some() || self.promised.is_empty(),
            "promises without an office"
        );
    }
}

/// How many must have promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Needs {
    /// More than half.
    Majority,
    /// The planted bug's.
    Minority,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(980);

    fn at(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    fn id(n: u64) -> MemberId {
        MemberId(n)
    }

    fn drift(ppm: u32) -> DriftBound {
        DriftBound::from_ppm(ppm).expect("within the range")
    }

    fn lease_of(promises: &[(u64, u64)]) -> ReadLease {
        let mut lease = ReadLease::default();
        lease.begin(Term(3));
        for (voter, sent_ms) in promises {
            lease.promised(id(*voter), at(*sent_ms), LEASE, drift(0));
        }
        lease
    }

    fn until(lease: &ReadLease, membership: &Membership) -> Option<u64> {
        let until = lease.holds_until(membership, Needs::Majority)?;
        // The guard band takes one nanosecond at least.
        Some((until.0 + 1) / 1_000_000 - 980)
    }

    #[test]
    fn the_slowest_of_the_quickest_majority_decides() {
        let three = Membership::of_voters(vec![id(1), id(2), id(3)]);
        assert_eq!(until(&lease_of(&[(1, 500)]), &three), None);
        assert_eq!(until(&lease_of(&[(1, 500), (3, 200)]), &three), Some(200));
        assert_eq!(
            until(&lease_of(&[(1, 500), (3, 200), (2, 300)]), &three),
            Some(300)
        );
        let four = Membership::of_voters((1..=4).map(id).collect());
        assert_eq!(
            until(&lease_of(&[(1, 500), (3, 200), (2, 300)]), &four),
            Some(200)
        );
    }

    #[test]
    fn a_joint_membership_needs_both_majorities_and_strangers_count_nothing() {
        let mut joint = Membership::of_voters(vec![id(1), id(4), id(5)]);
        joint.voters_outgoing = vec![id(1), id(2), id(3)];
        let mut promises = vec![(1, 500), (2, 400), (3, 400), (9, 900)];
        assert_eq!(until(&lease_of(&promises), &joint), None);
        promises.push((5, 100));
        assert_eq!(until(&lease_of(&promises), &joint), Some(100));
    }

    #[test]
    fn a_promise_is_never_shortened() {
        let mut promise = Promise::at_start(at(0), None);
        assert!(!promise.binds(at(0)));
        promise.give(at(10), LEASE);
        promise.give(at(20), Duration::from_millis(1));
        assert!(promise.binds(at(989)));
        assert!(!promise.binds(at(990)));
        // An older round that is answered later shortens nothing either.
        let three = Membership::of_voters(vec![id(1), id(2), id(3)]);
        let lease = lease_of(&[(1, 500), (3, 200), (3, 100)]);
        assert_eq!(until(&lease, &three), Some(200));
    }

    #[test]
    fn a_guard_band_as_long_as_the_lease_leaves_nothing() {
        let mut lease = lease_of(&[]);
        lease.promised(id(1), at(5), Duration::from_nanos(1), drift(100_000));
        assert!(lease.promised.is_empty());
        assert_eq!(lease.asked_at(7), None);
        lease.ask(7, at(6), LEASE);
        assert_eq!(lease.asked_at(7), Some(at(6)));
        assert!(!lease.is_due(at(7)) && lease.is_due(at(986)));
    }
}
