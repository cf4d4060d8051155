//! What a cluster is in the model: the members, the messages between them, and what has been decided.
//!
//! Numbers are one byte wide and logs have a fixed size, because a scope is small and a state must be
//! cheap to copy: an exploration makes millions of them. The types are the model's own; code that is
//! judged by the model must not share any with it.

use std::fmt;

/// Members that a cluster of the model can have.
pub const MEMBERS_MAX: usize = 5;
/// Entries that a log of the model can have.
pub const LOG_MAX: usize = 4;
/// The highest term of the model: a fingerprint keeps the winners of all terms in one word.
pub const TERM_MAX: u8 = 12;

/// The name of a member, from 0. Prints from 1, as the literature does: `n1`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Who(pub u8);

/// The number of an election (Raft §5.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Term(pub u8);

/// The place of an entry in a log. The first is 1; 0 is "before the log".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Index(pub u8);

/// An index with the term that wrote it. The order is "more up to date" (Raft §5.4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Position {
    /// The term of the entry there.
    pub term: Term,
    /// The place.
    pub index: Index,
}

/// A set of members, one bit for each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Set(pub u8);

/// What an entry carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Body {
    /// What a client asked for.
    #[default]
    Command,
    /// A new membership: these vote from now on (thesis §4.1).
    Membership(Set),
}

/// One entry. `author` stands for its value: entries that two leaders of one term write at the same
/// index must not look alike, or the model would be blind to the worst that can happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    /// The term of the leader that wrote it.
    pub term: Term,
    /// The leader that wrote it.
    pub author: Who,
    /// What it carries.
    pub body: Body,
}

/// A log. Entries past its end are always the default, so that equal logs are equal values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Log {
    entries: [Entry; LOG_MAX],
    len: u8,
}

/// What a member believes to be (Raft figure 4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Role {
    /// Answers, asks nothing.
    #[default]
    Follower,
    /// Asks for votes.
    Candidate,
    /// Writes the log.
    Leader,
}

/// One member (Raft figure 2, "state").
///
/// Invariants: `votes` is empty unless it is a candidate; `next` and `matched` are 0 unless
/// it leads; `commit` is within the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Member {
    /// Durable: the highest term seen.
    pub term: Term,
    /// Durable: who got the vote of that term.
    pub vote: Option<Who>,
    /// Durable: the log.
    pub log: Log,
    /// Lost at a restart: the role.
    pub role: Role,
    /// Lost at a restart: the last index known to be committed.
    pub commit: Index,
    /// Lost at a restart, candidates: who voted for it.
    pub votes: Set,
    /// Lost at a restart, leaders: for each member the index to send next.
    pub next: [Index; MEMBERS_MAX],
    /// Lost at a restart, leaders: for each member the last index known to agree.
    pub matched: [Index; MEMBERS_MAX],
}

/// What a message says (Raft figure 2, "RPC").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// RequestVote: my log ends at `last`.
    VoteRequest {
        /// The end of the candidate's log.
        last: Position,
    },
    /// The answer to RequestVote.
    VoteResponse {
        /// Whether the vote was given.
        granted: bool,
    },
    /// AppendEntries with one entry, or with none (a heartbeat).
    Append {
        /// What must come before the entry.
        previous: Position,
        /// The entry.
        entry: Option<Entry>,
        /// The leader's commit index.
        commit: Index,
    },
    /// The answer to AppendEntries: the log agrees up to `index`; or, unless `success`, does not
    /// contain the `previous` at `index`.
    AppendResponse {
        /// Whether the entry was taken.
        success: bool,
        /// Up to where the logs agree, or what was missing.
        index: Index,
    },
}

/// A message in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// The sender.
    pub from: Who,
    /// The receiver.
    pub to: Who,
    /// The term in which it speaks.
    pub term: Term,
    /// What it says.
    pub word: Word,
}

/// An entry that was committed, and when. History: no member knows it, the properties need it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The entry.
    pub entry: Entry,
    /// The term of the leader that committed it first.
    pub term: Term,
}

/// The whole cluster.
///
/// Invariants: `messages` has no two equal elements; `committed` only grows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// The members by name; only the first ones of a scope are in use.
    pub members: [Member; MEMBERS_MAX],
    /// The messages in flight: a set, since the network may reorder.
    pub messages: Vec<Message>,
    /// History: who was elected, in the order of the elections.
    pub elections: Vec<(Term, Who)>,
    /// History: what was committed at index 1, 2, …
    pub committed: Vec<Committed>,
    /// Restarts so far.
    pub restarts: u8,
    /// Commands of clients so far.
    pub requests: u8,
    /// Messages dropped so far.
    pub drops: u8,
}

impl Who {
    /// The place in arrays over members.
    pub fn place(self) -> usize {
        usize::from(self.0)
    }
}

impl Term {
    /// The term after this one.
    pub fn next(self) -> Term {
        Term(self.0 + 1)
    }
}

impl Index {
    /// The place after this one.
    pub fn next(self) -> Index {
        Index(self.0 + 1)
    }

    /// The place before this one; 0 stays 0.
    pub fn previous(self) -> Index {
        Index(self.0.saturating_sub(1))
    }
}

impl Set {
    /// The first `n` members.
    pub fn first(n: u8) -> Set {
        Set((1 << n) - 1)
    }

    /// Whether `who` is in it.
    pub fn contains(self, who: Who) -> bool {
        self.0 & (1 << who.0) != 0
    }

    /// This set with `who`.
    #[must_use]
    pub fn with(self, who: Who) -> Set {
        Set(self.0 | (1 << who.0))
    }

    /// This set without `who`.
    #[must_use]
    pub fn without(self, who: Who) -> Set {
        Set(self.0 & !(1 << who.0))
    }

    /// How many there are.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether nobody is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members in it, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = Who> {
        (0..MEMBERS_MAX as u8)
            .map(Who)
            .filter(move |who| self.contains(*who))
    }

    /// Whether those of `voters` that are in this set are more than half of `voters`.
    pub fn is_quorum_of(self, voters: Set) -> bool {
        (self.0 & voters.0).count_ones() * 2 > voters.len()
    }
}

impl Log {
    /// The entries, from index 1.
    pub fn entries(&self) -> &[Entry] {
        &self.entries[..usize::from(self.len)]
    }

    /// The last index; 0 when empty.
    pub fn last_index(&self) -> Index {
        Index(self.len)
    }

    /// The last position.
    pub fn last(&self) -> Position {
        self.position(self.last_index())
    }

    /// The position at `index`; term 0 where there is no entry.
    pub fn position(&self, index: Index) -> Position {
        Position {
            term: self.at(index).map_or(Term(0), |entry| entry.term),
            index,
        }
    }

    /// The entry at `index`.
    pub fn at(&self, index: Index) -> Option<Entry> {
        let place = usize::from(index.0).checked_sub(1)?;
        self.entries().get(place).copied()
    }

    /// Appends an entry. Whoever calls has checked that there is room.
    pub fn push(&mut self, entry: Entry) {
        self.entries[usize::from(self.len)] = entry;
        self.len += 1;
    }

    /// Forgets all entries after `last`.
    pub fn truncate(&mut self, last: Index) {
        for entry in self.entries.iter_mut().skip(usize::from(last.0)) {
            *entry = Entry::default();
        }
        self.len = self.len.min(last.0);
    }

    /// The membership in force: the last one in the log, committed or not (thesis §4.1), with its
    /// index; `initial` at index 0 when there is none.
    pub fn membership(&self, initial: Set) -> (Index, Set) {
        let found = self.entries().iter().enumerate().rev().find_map(|(i, e)| {
            let Body::Membership(voters) = e.body else {
                return None;
            };
            Some((Index(i as u8 + 1), voters))
        });
        found.unwrap_or((Index(0), initial))
    }
}

impl Member {
    /// What is left after everything in memory is lost (Raft figure 2, "volatile state").
    #[must_use]
    pub fn restarted(&self) -> Member {
        Member {
            term: self.term,
            vote: self.vote,
            log: self.log,
            ..Member::default()
        }
    }

    /// Becomes a follower in a `term` that is not older than its own.
    pub fn follow(&mut self, term: Term) {
        if term > self.term {
            self.term = term;
            self.vote = None;
        }
        self.role = Role::Follower;
        self.votes = Set::default();
        self.next = [Index(0); MEMBERS_MAX];
        self.matched = [Index(0); MEMBERS_MAX];
    }
}

impl State {
    /// A cluster that has just been born.
    pub fn initial() -> State {
        State {
            members: [Member::default(); MEMBERS_MAX],
            messages: Vec::new(),
            elections: Vec::new(),
            committed: Vec::new(),
            restarts: 0,
            requests: 0,
            drops: 0,
        }
    }

    /// The member of that name.
    pub fn member(&self, who: Who) -> &Member {
        &self.members[who.place()]
    }

    /// The member of that name, to be changed.
    pub fn member_mut(&mut self, who: Who) -> &mut Member {
        &mut self.members[who.place()]
    }

    /// Puts a message on its way. One that is already in flight is not doubled.
    pub fn send(&mut self, message: Message) {
        if !self.messages.contains(&message) {
            self.messages.push(message);
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0 + 1)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.iter().map(|who| who.to_string()).collect();
        write!(f, "{{{}}}", names.join(" "))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.body {
            Body::Command => write!(f, "{}·{}", self.term, self.author),
            Body::Membership(voters) => write!(f, "{}·{}·{voters}", self.term, self.author),
        }
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<String> = self.entries().iter().map(Entry::to_string).collect();
        write!(f, "[{}]", entries.join(", "))
    }
}
