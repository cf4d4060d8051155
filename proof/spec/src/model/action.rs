//! What can happen: each action is a guard and an effect, found in the file named here.
//!
//! A step is atomic: a member takes one message, changes itself and sends its answers. The network may
//! hold a message back for as long as it likes, so sending at once loses no behaviour; that is why a
//! timeout sends all its RequestVotes, where the TLA+ specification has a second action for each.

use super::scope::Model;
use super::state::{Message, State, Who, Word};

/// One action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A member starts an election: Timeout and RequestVote (`elect.rs`).
    Timeout(Who),
    /// A message is delivered: HandleVoteRequest, HandleVoteResponse (`elect.rs`), HandleAppend,
    /// HandleAppendResponse (`replicate.rs`).
    Handle(Message),
    /// A candidate with a quorum becomes leader (`elect.rs`).
    BecomeLeader(Who),
    /// A leader takes a command from a client (`replicate.rs`).
    ClientRequest(Who),
    /// AppendEntries: the first sends the second its next entry, or nothing if there is none
    /// (`replicate.rs`).
    Append(Who, Who),
    /// AppendEntries without an entry although there is one (`replicate.rs`).
    Heartbeat(Who, Who),
    /// A leader commits what a quorum has (`replicate.rs`).
    AdvanceCommit(Who),
    /// The first, a leader, adds or removes the second (`change.rs`).
    ChangeMembership(Who, Who),
    /// A member loses its memory and comes back (`fault.rs`).
    Restart(Who),
    /// A message is lost (`fault.rs`).
    Drop(Message),
}

impl Model {
    /// The state after `action`, or nothing if its guard forbids it or the scope ends there.
    pub fn take(&self, state: &State, action: Action) -> Option<State> {
        let mut after = match action {
            Action::Timeout(who) => self.timeout(state, who),
            Action::Handle(message) => self.handle(state, message),
            Action::BecomeLeader(who) => self.become_leader(state, who),
            Action::ClientRequest(who) => self.client_request(state, who),
            Action::Append(from, to) => self.append(state, from, to),
            Action::Heartbeat(from, to) => self.heartbeat(state, from, to),
            Action::AdvanceCommit(who) => self.advance_commit(state, who),
            Action::ChangeMembership(leader, who) => self.change_membership(state, leader, who),
            Action::Restart(who) => self.restart(state, who),
            Action::Drop(message) => self.drop(state, message),
        }?;
        self.forget_spent(&mut after);
        (after.messages.len() <= usize::from(self.scope.messages_max)).then_some(after)
    }

    /// The actions of the scope's opening: each of its members wins an election by all votes, brings
    /// one command to everybody and commits it.
    pub fn opening(&self) -> Vec<Action> {
        let mut state = State::initial();
        let mut actions = Vec::new();
        let mut act = |state: &mut State, action| {
            let after = self.take(state, action);
            *state = after.expect("an opening fits into its scope");
            actions.push(action);
        };
        for who in self.scope.opening.iter().copied() {
            act(&mut state, Action::Timeout(who));
            while let Some(message) = state.messages.first().copied() {
                act(&mut state, Action::Handle(message));
            }
            act(&mut state, Action::BecomeLeader(who));
            act(&mut state, Action::ClientRequest(who));
            for other in self.scope.names().filter(|other| *other != who) {
                act(&mut state, Action::Append(who, other));
                while let Some(message) = state.messages.first().copied() {
                    act(&mut state, Action::Handle(message));
                }
            }
            act(&mut state, Action::AdvanceCommit(who));
        }
        actions
    }

    /// The state after `actions`, all of which must be possible.
    pub fn play(&self, actions: &[Action]) -> Option<State> {
        let mut actions = actions.iter();
        actions.try_fold(State::initial(), |state, action| self.take(&state, *action))
    }

    /// Every action that may be possible in `state`, in a fixed order; [`Model::take`] has the guards.
    pub fn candidates(&self, state: &State, out: &mut Vec<Action>) {
        out.clear();
        out.extend(state.messages.iter().copied().map(Action::Handle));
        if state.drops < self.scope.drops_max {
            out.extend(state.messages.iter().copied().map(Action::Drop));
        }
        for who in self.scope.names() {
            out.extend([
                Action::Timeout(who),
                Action::BecomeLeader(who),
                Action::ClientRequest(who),
                Action::AdvanceCommit(who),
                Action::Restart(who),
            ]);
            for other in self.scope.names().filter(|other| *other != who) {
                out.extend([Action::Append(who, other), Action::Heartbeat(who, other)]);
            }
            if !self.scope.changes.is_empty() {
                let named = |other| Action::ChangeMembership(who, other);
                out.extend(self.scope.names().map(named));
            }
        }
    }

    /// Delivers a message to the handler of its kind. Guard: it is in flight.
    fn handle(&self, state: &State, message: Message) -> Option<State> {
        let after = self.delivered(state, message)?;
        Some(match message.word {
            Word::VoteRequest { last } => self.handle_vote_request(after, message, last),
            Word::VoteResponse { granted } => self.handle_vote_response(after, message, granted),
            Word::Append { .. } => self.handle_append(after, message),
            Word::AppendResponse { .. } => self.handle_append_response(after, message),
        })
    }
}
