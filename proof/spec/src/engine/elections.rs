//! Elections: who asks, who gives, who wins (§5.2, §5.4.1; asking first: thesis §9.6).

use super::quorum::is_quorum;
use super::{SpecRaft, peers};
use base::{Index, MemberId, Message, MessageKind, Mutant, Term};
use bytes::Bytes;
use consensus::gate::TRANSFER_CONTEXT;
use consensus::{Refused, Role};

impl SpecRaft {
    /// Whether this member may ask for votes now.
    pub(super) fn may_campaign(&self) -> Result<(), Refused> {
        if let Some(lost) = self.recovering {
            return Err(Refused::Recovering(lost));
        }
        if !self.membership.is_voter(self.own()) {
            return Err(Refused::NotVoter(self.own()));
        }
        // Whoever has not carried out a decided change would count the wrong votes.
        if self.applied < self.log.base.index || self.log.has_change(self.applied, self.commit) {
            return Err(Refused::NotSettled);
        }
        Ok(())
    }

    /// Asks who would vote for this member. Its term does not rise: nobody is disturbed.
    pub(super) fn ask_first(&mut self) {
        self.role = Role::PreCandidate;
        self.leader = MemberId::NONE;
        self.elapsed = 0;
        self.votes.clear();
        self.votes.insert(self.own(), true);
        self.ask(MessageKind::PreVote, Term(self.term.0 + 1));
        self.count_votes();
    }

    /// Asks for votes in the next term, with its own vote for itself.
    pub(super) fn stand(&mut self, is_summoned: bool) {
        self.follow(Term(self.term.0 + 1), MemberId::NONE);
        self.role = Role::Candidate;
        self.vote = self.own();
        self.is_summoned = is_summoned;
        self.candidacies += 1;
        self.ask(MessageKind::Vote, self.term);
    }

    fn ask(&mut self, kind: MessageKind, term: Term) {
        for to in self.membership.everyone() {
            if to == self.own() || !self.membership.is_voter(to) {
                continue;
            }
            let mut request = self.message(kind, to);
            request.term = term;
            request.position = self.log.last();
            request.commit = self.commit;
            request.commit_term = self.log.term_at(self.commit).unwrap_or_default();
            if kind == MessageKind::Vote && self.is_summoned {
                request.context = Bytes::from_static(TRANSFER_CONTEXT);
            }
            // Requests wait until the own vote is durable, like everything that promises something.
            self.out.send_after_persist.push(request);
        }
    }

    /// §5.4.1: whoever votes for a log that is older than its own may elect a leader without what is decided.
    fn is_up_to_date(&self, request: &Message) -> bool {
        request.position >= self.log.last() || self.config.mutants.has(Mutant::SpecVoteForOlderLog)
    }

    /// "Would you vote for me?"
    pub(super) fn pre_vote(&mut self, request: &Message) {
        let grants = request.term > self.term && self.is_up_to_date(request);
        let mut answer = self.message(MessageKind::PreVoteResponse, request.from);
        answer.reject = !grants;
        if grants {
            answer.term = request.term;
        }
        self.send(answer);
    }

    /// "Vote for me." One vote a term (§5.2).
    pub(super) fn vote(&mut self, request: &Message) {
        let is_free = self.vote.is_none() && self.leader.is_none() || self.vote == request.from;
        let grants = (is_free || self.config.mutants.has(Mutant::SpecVoteTwice))
            && self.is_up_to_date(request);
        if grants {
            self.vote = request.from;
            self.elapsed = 0;
        }
        let mut answer = self.message(MessageKind::VoteResponse, request.from);
        answer.reject = !grants;
        self.send(answer);
    }

    pub(super) fn voted(&mut self, answer: &Message) {
        let expected = match answer.kind {
            MessageKind::PreVoteResponse => Role::PreCandidate,
            _ => Role::Candidate,
        };
        if self.role == expected {
            self.votes.entry(answer.from).or_insert(!answer.reject);
            self.count_votes();
        }
    }

    /// A candidate's own vote counts when it is durable: it may be the one that decides.
    pub(super) fn count_own_vote(&mut self) {
        if self.role == Role::Candidate && self.disk.ballot == (self.term, self.own()) {
            self.votes.insert(self.own(), true);
            self.count_votes();
        }
    }

    fn count_votes(&mut self) {
        let said =
            |what: bool| move |of: MemberId, votes: &Self| votes.votes.get(&of) == Some(&what);
        let (yes, no) = (said(true), said(false));
        let mut has_won = is_quorum(&self.membership, |member| yes(member, self));
        if self.config.mutants.has(Mutant::SpecMinorityElects) && self.role == Role::Candidate {
            // One vote too few.
            has_won |= self.votes.values().filter(|vote| **vote).count() * 2
                >= self.membership.voters.len();
        }
        // Who cannot win any more has lost: a quorum for is out of reach when those who did not refuse are none.
        let has_lost = !is_quorum(&self.membership, |member| !no(member, self));
        match self.role {
            Role::PreCandidate if has_won => self.stand(false),
            Role::Candidate if has_won => self.lead(),
            Role::PreCandidate | Role::Candidate if has_lost => {
                self.follow(self.term, MemberId::NONE);
            }
            _ => {}
        }
    }

    /// §5.2: the office. §8: its first entry is empty, since only entries of its own term tell it what is decided.
    fn lead(&mut self) {
        let next = self.log.last().index.next();
        self.role = Role::Leader;
        self.leader = self.own();
        self.has_met_leader = true;
        self.elapsed = 0;
        self.unchecked = 0;
        self.votes.clear();
        self.peers = peers::peers_of(&self.membership, self.own(), &peers::Peers::new(), next);
        self.append_own(base::EntryKind::Normal, Bytes::new(), Bytes::new());
        if self.config.mutants.has(Mutant::SpecLeaderOverwrites) {
            // "I lead, so my log is the truth": what is not of this term is written again under it.
            let last = self.log.last();
            let from = Index(self.commit.0 + 1);
            if from < last.index {
                for index in from.0..=last.index.0 {
                    let at = (index - self.log.base.index.0 - 1) as usize;
                    self.log.entries[at].position.term = self.term;
                }
                self.disk.unwritten = self.disk.unwritten.min(from);
            }
        }
        self.advance_commit();
    }
}
