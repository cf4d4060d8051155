//! Misfortune: restarts, and what the network does to messages.

use super::rule::Rule;
use super::scope::{Model, Network, Refusals, Spent};
use super::state::{Message, Role, State, Who, Word};

impl Model {
    /// Restart(i) (Raft figure 2, "volatile state"): role, commit index, votes and all that a leader
    /// knows are lost. Term, vote and log are found again.
    ///
    /// Guard: there is something to lose; a restart that changes nothing shows nothing.
    pub(super) fn restart(&self, state: &State, who: Who) -> Option<State> {
        if state.restarts == self.scope.restarts_max {
            return None;
        }
        let mut member = state.member(who).restarted();
        if !self.keeps(Rule::VoteIsDurable) {
            member.vote = None;
        }
        if member == *state.member(who) {
            return None;
        }
        let mut after = state.clone();
        *after.member_mut(who) = member;
        after.restarts += 1;
        Some(after)
    }

    /// Drop(m): the network loses a message. Guard: it is in flight.
    pub(super) fn drop(&self, state: &State, message: Message) -> Option<State> {
        if state.drops == self.scope.drops_max {
            return None;
        }
        let mut after = self.removed(state, message)?;
        after.drops += 1;
        Some(after)
    }

    /// Delivers `message`: whether it can come again is the network's choice. Guard: it is in flight.
    pub(super) fn delivered(&self, state: &State, message: Message) -> Option<State> {
        match self.scope.network {
            Network::Once => self.removed(state, message),
            Network::Again => state.messages.contains(&message).then(|| state.clone()),
        }
    }

    fn removed(&self, state: &State, message: Message) -> Option<State> {
        let place = state.messages.iter().position(|m| *m == message)?;
        let mut after = state.clone();
        after.messages.remove(place);
        Some(after)
    }

    /// Forgets messages that can never again have an effect. They would only multiply the states.
    pub(super) fn forget_spent(&self, state: &mut State) {
        if self.scope.spent == Spent::Kept {
            return;
        }
        let mut messages = std::mem::take(&mut state.messages);
        messages.retain(|message| !self.is_spent(state, message));
        state.messages = messages;
    }

    fn is_spent(&self, state: &State, message: &Message) -> bool {
        let member = state.member(message.to);
        let is_request = matches!(message.word, Word::VoteRequest { .. } | Word::Append { .. });
        if message.term > member.term {
            return false;
        }
        // A term only rises, so what is stale stays stale.
        if message.term < member.term {
            return !is_request || self.scope.refusals == Refusals::Silent;
        }
        match message.word {
            // A vote is given once in a term, unless that is the broken rule, and counts only while
            // the candidate is one.
            Word::VoteRequest { .. } => {
                let candidate = state.member(message.from);
                let counts = candidate.role == Role::Candidate && candidate.term == message.term;
                let useless = |given: Who| given != message.from || !counts;
                self.keeps(Rule::OneVotePerTerm)
                    && self.keeps(Rule::VoteIsDurable)
                    && self.scope.refusals == Refusals::Silent
                    && member.vote.is_some_and(useless)
            }
            // Nobody is a candidate twice in a term.
            Word::VoteResponse { granted } => {
                let counts = member.role == Role::Candidate && !member.votes.contains(message.from);
                !granted || !counts
            }
            Word::Append { .. } => false,
            // Nor a leader.
            Word::AppendResponse { success, index } => {
                let knows = index <= member.matched[message.from.place()];
                let ahead = index >= member.next[message.from.place()];
                let useless = if success { knows } else { knows || ahead };
                member.role != Role::Leader || useless
            }
        }
    }
}
