//! Elections (Raft §5.2, §5.4.1).

use super::rule::Rule;
use super::scope::{Model, Refusals};
use super::state::{Index, Message, Position, Role, Set, State, Term, Who, Word};

impl Model {
    /// Timeout(i) and RequestVote(i, j) (Raft §5.2): a member that hears of no leader votes for itself
    /// in the next term and asks all others.
    ///
    /// Guard: it does not lead, and votes in its own membership (thesis §4.2.2).
    pub(super) fn timeout(&self, state: &State, who: Who) -> Option<State> {
        let member = state.member(who);
        let voters = self.voters(state, who);
        let term = member.term.next();
        if member.role == Role::Leader || !voters.contains(who) || !self.may_campaign(who, term) {
            return None;
        }
        let mut after = state.clone();
        let member = after.member_mut(who);
        member.follow(term);
        member.role = Role::Candidate;
        member.vote = Some(who);
        member.votes = Set::default().with(who);
        let word = Word::VoteRequest {
            last: member.log.last(),
        };
        for to in voters.without(who).iter() {
            let from = who;
            after.send(Message {
                from,
                to,
                term,
                word,
            });
        }
        Some(after)
    }

    /// HandleVoteRequest (Raft figure 2, RequestVote): the vote goes to the first who asks in a term
    /// and whose log is at least as up to date.
    pub(super) fn handle_vote_request(
        &self,
        mut after: State,
        message: Message,
        last: Position,
    ) -> State {
        self.adopt_term(&mut after, message);
        let member = after.member_mut(message.to);
        let free = member.vote.is_none_or(|given| given == message.from);
        let granted = message.term >= member.term
            && (free || !self.keeps(Rule::OneVotePerTerm))
            && (last >= member.log.last() || !self.keeps(Rule::VoteForUpToDateLog));
        if granted {
            member.vote = Some(message.from);
        }
        // A refusal tells the candidate nothing but the term.
        if granted || self.scope.refusals == Refusals::Answered {
            self.answer(&mut after, message, Word::VoteResponse { granted });
        }
        after
    }

    /// HandleVoteResponse (Raft §5.2): votes for an election that is over are not counted.
    pub(super) fn handle_vote_response(
        &self,
        mut after: State,
        message: Message,
        granted: bool,
    ) -> State {
        self.adopt_term(&mut after, message);
        let member = after.member_mut(message.to);
        if granted && member.role == Role::Candidate && member.term == message.term {
            member.votes = member.votes.with(message.from);
        }
        after
    }

    /// BecomeLeader(i) (Raft §5.2, §5.3).
    ///
    /// Guard: a candidate with the votes of a quorum of its own membership.
    pub(super) fn become_leader(&self, state: &State, who: Who) -> Option<State> {
        let member = state.member(who);
        let voters = self.voters(state, who);
        if member.role != Role::Candidate || !member.votes.is_quorum_of(voters) {
            return None;
        }
        let mut after = state.clone();
        let member = after.member_mut(who);
        member.role = Role::Leader;
        member.votes = Set::default();
        let next = member.log.last_index().next();
        for other in self.scope.names().filter(|other| *other != who) {
            member.next[other.place()] = next;
            member.matched[other.place()] = Index(0);
        }
        let term = member.term;
        after.elections.push((term, who));
        Some(after)
    }

    /// UpdateTerm (Raft §5.1): whoever hears of a higher term adopts it and follows.
    pub(super) fn adopt_term(&self, state: &mut State, message: Message) {
        let member = state.member_mut(message.to);
        if message.term > member.term && self.keeps(Rule::HigherTermIsAdopted) {
            member.follow(message.term);
        }
    }

    /// Answers `message`. The term is the receiver's; one that has not adopted the message's term
    /// (a broken rule) still answers in it, or nobody would listen and nothing would go wrong.
    pub(super) fn answer(&self, state: &mut State, message: Message, word: Word) {
        let term = state.member(message.to).term.max(message.term);
        state.send(Message {
            from: message.to,
            to: message.from,
            term,
            word,
        });
    }

    /// Who votes, as `who` sees it.
    pub(super) fn voters(&self, state: &State, who: Who) -> Set {
        state.member(who).log.membership(self.scope.voters).1
    }

    fn may_campaign(&self, who: Who, term: Term) -> bool {
        let guide = self.scope.campaigns.get(usize::from(term.0) - 1);
        term.0 <= self.scope.terms_max && guide.is_none_or(|only| *only == who)
    }
}
