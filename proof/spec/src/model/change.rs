//! Changes of the membership, one member at a time (thesis §4.1).

use super::rule::Rule;
use super::scope::Model;
use super::state::{Body, Index, State, Term, Who};

impl Model {
    /// ChangeMembership (thesis §4.1): a leader appends a membership with one member more or less. It
    /// is in force as soon as it is in a log, committed or not.
    ///
    /// Guard: it leads; the membership in force is committed; and it has committed an entry of its own
    /// term. Without the last, an older leader's change may still be under way in a log that this one
    /// has never seen, and the two memberships may have quorums without a common member (Ongaro, "bug
    /// in single-server membership changes", raft-dev, 2015).
    pub(super) fn change_membership(&self, state: &State, leader: Who, who: Who) -> Option<State> {
        let member = state.member(leader);
        if !self.scope.changes.contains(&(member.term, who)) {
            return None;
        }
        let (index, voters) = member.log.membership(self.scope.voters);
        let settled = index <= member.commit;
        if !settled && self.keeps(Rule::OneChangeAtATime) {
            return None;
        }
        if !self.has_committed_in_term(state, leader)
            && self.keeps(Rule::CommittedInTermBeforeChange)
        {
            return None;
        }
        let changed = if voters.contains(who) {
            voters.without(who)
        } else {
            voters.with(who)
        };
        if changed.is_empty() {
            return None;
        }
        self.written(state, leader, Body::Membership(changed))
    }

    fn has_committed_in_term(&self, state: &State, leader: Who) -> bool {
        let member = state.member(leader);
        let Index(commit) = member.commit;
        let term: Term = member.log.position(Index(commit)).term;
        term == member.term
    }
}
