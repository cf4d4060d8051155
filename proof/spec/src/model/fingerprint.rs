//! One number for a state, the same for all states that differ only in the names of the members.
//!
//! A state is written as words, in one way only: members by name, messages in ascending order, history
//! by term and index. For each renaming that the scope allows there is one such text; the smallest
//! fingerprint among them stands for all. Two different states get the same 128 bits with a chance of
//! one in 10^38 a pair, so of ten million states none is taken for another.
//!
//! ```text
//!    state ── rename ──► words ── mix ──► 128 bits ─┐
//!          ── rename ──► words ── mix ──► 128 bits ─┴─ min ──► fingerprint
//! ```

use super::state::{Body, Entry, MEMBERS_MAX, Member, Message, Role, Set, State, Who, Word};

/// Stands for a state and for all its renamings. Never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fingerprint(pub u128);

/// Computes fingerprints; keeps the renamings of a scope and room for the words.
#[derive(Debug)]
pub struct Printer {
    renamings: Vec<Renaming>,
    words: Vec<u64>,
    messages: Vec<u64>,
}

/// A renaming, in both directions.
#[derive(Clone, Copy, Debug)]
struct Renaming {
    new_of: [u8; MEMBERS_MAX],
    old_of: [u8; MEMBERS_MAX],
    n: u8,
}

impl Printer {
    /// For `n` members who may be renamed by each of `symmetries`.
    pub fn new(n: u8, symmetries: &[[u8; MEMBERS_MAX]]) -> Printer {
        let both = |new_of: &[u8; MEMBERS_MAX]| {
            let mut old_of = [0; MEMBERS_MAX];
            for (old, new) in new_of.iter().enumerate() {
                old_of[usize::from(*new)] = old as u8;
            }
            let new_of = *new_of;
            Renaming { new_of, old_of, n }
        };
        Printer {
            renamings: symmetries.iter().map(both).collect(),
            words: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// The fingerprint of `state`.
    pub fn print(&mut self, state: &State) -> Fingerprint {
        let looks = std::array::from_fn(|place| look(&state.members[place], place));
        // Renamings that put the members in the order of their looks are enough where there are any:
        // all states of a class have the same looks, so either each of them has one or none has.
        let sorted = self.smallest(state, |renaming| renaming.sorts(&looks));
        let smallest = sorted.or_else(|| self.smallest(state, |_| true));
        Fingerprint(smallest.map_or(1, |smallest| smallest.max(1)))
    }

    fn smallest(&mut self, state: &State, wanted: impl Fn(&Renaming) -> bool) -> Option<u128> {
        let mut smallest = None;
        for place in 0..self.renamings.len() {
            let renaming = self.renamings[place];
            if wanted(&renaming) {
                self.write(state, &renaming);
                let print = mix(&self.words);
                smallest = Some(smallest.map_or(print, |least: u128| least.min(print)));
            }
        }
        smallest
    }

    fn write(&mut self, state: &State, renaming: &Renaming) {
        let words = &mut self.words;
        words.clear();
        for old in renaming.names() {
            let member = state.member(old);
            words.extend([renaming.member(member), renaming.log(member.log.entries())]);
        }
        words.push(renaming.elections(state));
        words.push(
            u64::from(state.restarts)
                | u64::from(state.requests) << 8
                | u64::from(state.drops) << 16
                | (state.committed.len() as u64) << 24,
        );
        let committed = state.committed.iter();
        words.extend(committed.map(|done| renaming.entry(&done.entry) | term(done.term.0) << 16));
        self.messages.clear();
        let messages = state.messages.iter();
        self.messages.extend(messages.map(|m| renaming.message(m)));
        self.messages.sort_unstable();
        words.extend(&self.messages);
    }
}

impl Renaming {
    /// The old names in the order of the new ones.
    fn names(&self) -> impl Iterator<Item = Who> {
        let old_of = self.old_of;
        (0..usize::from(self.n)).map(move |new| Who(old_of[new]))
    }

    fn sorts(&self, looks: &[u64; MEMBERS_MAX]) -> bool {
        self.names().map(|old| looks[old.place()]).is_sorted()
    }

    fn who(&self, who: Who) -> u64 {
        u64::from(self.new_of[who.place()])
    }

    fn set(&self, set: Set) -> u64 {
        set.iter().fold(0, |all, who| all | 1 << self.who(who))
    }

    /// 58 bits.
    fn member(&self, member: &Member) -> u64 {
        let mut word = term(member.term.0);
        word = word << 3 | member.vote.map_or(7, |who| self.who(who));
        word = word << 2 | role(member.role);
        word = word << 4 | u64::from(member.commit.0);
        word = word << 5 | self.set(member.votes);
        for old in self.names() {
            word = word << 4 | u64::from(member.next[old.place()].0);
            word = word << 4 | u64::from(member.matched[old.place()].0);
        }
        word
    }

    /// 16 bits for each entry; its first bit is set, so the length needs no word.
    fn log(&self, log: &[Entry]) -> u64 {
        log.iter().fold(0, |word, e| word << 16 | self.entry(e))
    }

    /// 14 bits, never 0.
    fn entry(&self, entry: &Entry) -> u64 {
        let body = match entry.body {
            Body::Command => 0,
            Body::Membership(voters) => 1 << 5 | self.set(voters),
        };
        1 << 13 | term(entry.term.0) << 9 | self.who(entry.author) << 6 | body
    }

    /// Five bits for each term: the set of its winners.
    fn elections(&self, state: &State) -> u64 {
        let won = state.elections.iter();
        won.fold(0, |word, (term, who)| {
            word | 1 << (u64::from(term.0 - 1) * 5 + self.who(*who))
        })
    }

    /// 44 bits.
    fn message(&self, message: &Message) -> u64 {
        let (kind, word) = match message.word {
            Word::VoteRequest { last } => (0, term(last.term.0) << 4 | u64::from(last.index.0)),
            Word::VoteResponse { granted } => (1, u64::from(granted)),
            Word::Append {
                previous,
                entry,
                commit,
            } => {
                let mut word = term(previous.term.0) << 4 | u64::from(previous.index.0);
                word = word << 16 | entry.map_or(0, |entry| self.entry(&entry));
                (2, word << 4 | u64::from(commit.0))
            }
            Word::AppendResponse { success, index } => {
                (3, u64::from(success) << 4 | u64::from(index.0))
            }
        };
        let head = self.who(message.from) << 3 | self.who(message.to);
        let head = head << 4 | term(message.term.0);
        (head << 2 | kind) << 32 | word
    }
}

/// How a member looks when names are ignored. Members that look different need not be renamed into
/// each other.
fn look(member: &Member, place: usize) -> u64 {
    let vote = match member.vote {
        None => 0,
        Some(who) if who.place() == place => 1,
        Some(_) => 2,
    };
    let mut word = term(member.term.0) << 2 | vote;
    word = word << 2 | role(member.role);
    word = word << 4 | u64::from(member.commit.0);
    word = word << 3 | u64::from(member.votes.len());
    let terms = member.log.entries().iter().map(|e| 1 << 4 | term(e.term.0));
    terms.fold(word, |word, t| word << 5 | t)
}

fn term(term: u8) -> u64 {
    u64::from(term)
}

fn role(role: Role) -> u64 {
    match role {
        Role::Follower => 0,
        Role::Candidate => 1,
        Role::Leader => 2,
    }
}

/// Two chains of multiply-and-fold over the words, as in wyhash, with different constants.
fn mix(words: &[u64]) -> u128 {
    let fold = |word: u64, by: u64| {
        let product = u128::from(word) * u128::from(by);
        (product as u64) ^ (product >> 64) as u64
    };
    let (mut high, mut low) = (0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03_u64);
    for word in words {
        high = fold(high ^ word, 0xa076_1d64_78bd_642f) ^ high.rotate_left(23);
        low = fold(low ^ word.rotate_left(32), 0xe703_7ed1_a0b4_28db) ^ low.rotate_left(41);
    }
    let last = words.len() as u64;
    let high = fold(high ^ last, 0x8ebc_6af0_9c88_c6e3);
    let low = fold(low ^ last, 0x5899_65cc_7537_4cc3);
    u128::from(high) << 64 | u128::from(low)
}
