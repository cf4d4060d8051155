//! Replication and commitment (Raft §5.3, §5.4.2).

use super::rule::Rule;
use super::scope::{Heartbeats, Model, Refusals};
use super::state::{
    Body, Committed, Entry, Index, Log, Member, Message, Position, Role, Set, State, Who, Word,
};

impl Model {
    /// ClientRequest(i) (Raft §5.3): a leader appends a command to its own log.
    ///
    /// Guard: it leads. Whether it is still the leader that the others follow it cannot know.
    pub(super) fn client_request(&self, state: &State, who: Who) -> Option<State> {
        if state.requests == self.scope.requests_max {
            return None;
        }
        let mut after = self.written(state, who, Body::Command)?;
        after.requests += 1;
        Some(after)
    }

    /// `body` at the end of the log of `who`, if that is a leader with room.
    pub(super) fn written(&self, state: &State, who: Who, body: Body) -> Option<State> {
        let member = state.member(who);
        if member.role != Role::Leader || member.log.last_index().0 >= self.scope.entries_max {
            return None;
        }
        let mut after = state.clone();
        let entry = Entry {
            term: member.term,
            author: who,
            body,
        };
        after.member_mut(who).log.push(entry);
        Some(after)
    }

    /// AppendEntries(i, j) (Raft §5.3): the leader sends the next entry, one at a time, or nothing if
    /// there is none.
    ///
    /// Guard: it leads, and the other is in its membership.
    pub(super) fn append(&self, state: &State, from: Who, to: Who) -> Option<State> {
        let entry = state.member(from).log.at(self.next(state, from, to)?);
        self.sent(state, from, to, entry)
    }

    /// AppendEntries(i, j) without an entry although there is one (Raft §5.2, heartbeats).
    ///
    /// Guard: as for AppendEntries, and there is one.
    pub(super) fn heartbeat(&self, state: &State, from: Who, to: Who) -> Option<State> {
        let next = self.next(state, from, to)?;
        let waits = state.member(from).log.at(next).is_some();
        if !waits || self.scope.heartbeats == Heartbeats::Idle {
            return None;
        }
        self.sent(state, from, to, None)
    }

    /// The index that the leader `from` sends `to` next.
    fn next(&self, state: &State, from: Who, to: Who) -> Option<Index> {
        let leader = state.member(from);
        let speaks = leader.role == Role::Leader && self.voters(state, from).contains(to);
        speaks.then(|| leader.next[to.place()])
    }

    fn sent(&self, state: &State, from: Who, to: Who, entry: Option<Entry>) -> Option<State> {
        let leader = state.member(from);
        let previous = leader.log.position(leader.next[to.place()].previous());
        let message = Message {
            from,
            to,
            term: leader.term,
            word: Word::Append {
                previous,
                entry,
                commit: leader.commit,
            },
        };
        if state.messages.contains(&message) {
            return None;
        }
        let mut after = state.clone();
        after.send(message);
        Some(after)
    }

    /// HandleAppend (Raft figure 2, AppendEntries): taken only behind the same previous entry; what
    /// conflicts goes; then the commit index follows, but not past the last new entry.
    pub(super) fn handle_append(&self, mut after: State, message: Message) -> State {
        let Word::Append {
            previous,
            entry,
            commit,
        } = message.word
        else {
            return after;
        };
        self.adopt_term(&mut after, message);
        let member = after.member_mut(message.to);
        if message.term < member.term {
            let index = previous.index;
            return self.refused(after, message, index);
        }
        if message.term == member.term {
            // Another leader of the same term cannot be. Should it be, this one does not listen.
            if member.role == Role::Leader {
                return after;
            }
            member.follow(message.term);
        }
        let known = previous.index == Index(0) || member.log.position(previous.index) == previous;
        if !known && self.keeps(Rule::PreviousEntryMatches) {
            let word = Word::AppendResponse {
                success: false,
                index: previous.index,
            };
            self.answer(&mut after, message, word);
            return after;
        }
        let index = Index(previous.index.0 + u8::from(entry.is_some()));
        if let Some(entry) = entry {
            self.place(&mut member.log, previous.index, entry);
        }
        let within = if self.keeps(Rule::CommitWithinMatch) {
            index
        } else {
            member.log.last_index()
        };
        // Without the rules above the log may be shorter than it should be.
        let within = within.min(member.log.last_index());
        member.commit = member.commit.max(commit.min(within));
        self.answer(
            &mut after,
            message,
            Word::AppendResponse {
                success: true,
                index,
            },
        );
        after
    }

    /// Puts `entry` behind `previous`, in place of what conflicts with it.
    fn place(&self, log: &mut Log, previous: Index, entry: Entry) {
        match log.at(previous.next()) {
            Some(old) if old.term == entry.term => {}
            Some(_) if !self.keeps(Rule::ConflictIsTruncated) => {}
            _ => {
                log.truncate(previous);
                log.push(entry);
            }
        }
    }

    /// What happens to an append of an older term (Raft §5.1).
    fn refused(&self, mut after: State, message: Message, index: Index) -> State {
        if self.scope.refusals == Refusals::Answered {
            let success = false;
            self.answer(&mut after, message, Word::AppendResponse { success, index });
        }
        after
    }

    /// HandleAppendResponse (Raft §5.3): what the follower has is noted; if it lacks the previous
    /// entry, the leader goes back by one.
    ///
    /// Answers may be late, twice and in any order, so what is known never shrinks, and going back
    /// counts only for the entry that was sent last.
    pub(super) fn handle_append_response(&self, mut after: State, message: Message) -> State {
        let Word::AppendResponse { success, index } = message.word else {
            return after;
        };
        self.adopt_term(&mut after, message);
        let member = after.member_mut(message.to);
        let place = message.from.place();
        if member.role != Role::Leader || member.term != message.term {
            return after;
        }
        if success {
            member.matched[place] = member.matched[place].max(index);
            member.next[place] = member.next[place].max(index.next());
        } else if goes_back(member, message.from, index) {
            member.next[place] = index;
        }
        after
    }

    /// AdvanceCommit(i) (Raft §5.3, §5.4.2): the last index that a quorum has is committed, with all
    /// before it.
    ///
    /// Guard: it leads, and the entry there is of its own term: an older one could still be lost
    /// (figure 8); it becomes safe through a newer one.
    pub(super) fn advance_commit(&self, state: &State, who: Who) -> Option<State> {
        let member = state.member(who);
        if member.role != Role::Leader {
            return None;
        }
        let Position { term, index } = self.agreed(state, who);
        let own = term == member.term || !self.keeps(Rule::CommitOwnTermOnly);
        if index <= member.commit || !own {
            return None;
        }
        let mut after = state.clone();
        let member = after.member_mut(who);
        member.commit = index;
        let (log, term) = (member.log, member.term);
        let known = after.committed.len();
        let new = log.entries()[..usize::from(index.0)].iter().skip(known);
        let decided = new.map(|entry| Committed {
            entry: *entry,
            term,
        });
        after.committed.extend(decided);
        Some(after)
    }

    /// The last position that a quorum has, as far as the leader `who` knows. It counts itself only
    /// while it votes (thesis §4.2.2).
    fn agreed(&self, state: &State, who: Who) -> Position {
        let member = state.member(who);
        let voters = self.voters(state, who);
        let has = |index: Index| {
            let others = voters.iter().filter(|v| member.matched[v.place()] >= index);
            let all = others.fold(Set::default().with(who), Set::with);
            all.is_quorum_of(voters)
        };
        let mut index = member.log.last_index();
        while index > Index(0) && !has(index) {
            index = index.previous();
        }
        member.log.position(index)
    }
}

/// Whether a follower's word that it lacks the entry at `index` makes the leader go back.
fn goes_back(leader: &Member, follower: Who, index: Index) -> bool {
    let place = follower.place();
    index > leader.matched[place] && index == leader.next[place].previous()
}
