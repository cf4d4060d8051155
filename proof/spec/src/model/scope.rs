//! How far an exploration goes, and the model that it explores: a scope with the rules in force.
//!
//! Raft has infinitely many states; a scope has finitely many, so it can be exhausted. The bet is that
//! a fault in a protocol shows in a small scope if it shows at all. A scope says nothing beyond itself.

use super::rule::Rule;
use super::state::{LOG_MAX, MEMBERS_MAX, Set, TERM_MAX, Term, Who};

/// What the network does with a message that was delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// It is gone. Leaders still repeat themselves.
    Once,
    /// It stays and may be delivered again at any time: duplication, for free.
    Again,
}

/// Whether a member answers what it refuses because of its term.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusals {
    /// As in Raft figure 2: the answer carries the higher term.
    Answered,
    /// The request is ignored. The answer only serves liveness, and leaving it out keeps scopes small.
    Silent,
}

/// When a leader sends an append without an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heartbeats {
    /// When it has nothing to send.
    Idle,
    /// Also when it has.
    Always,
}

/// What happens to messages that can never again have an effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spent {
    /// They are forgotten, so that states with and without them count once.
    Forgotten,
    /// They stay: to show that forgetting hides nothing.
    Kept,
}

/// The bounds of an exploration.
#[derive(Clone, Debug)]
pub struct Scope {
    /// What it is called in tables.
    pub name: &'static str,
    /// Members that there are.
    pub members: u8,
    /// Those of them that vote at the start.
    pub voters: Set,
    /// The highest term that a member may time out into.
    pub terms_max: u8,
    /// Entries that a log may have.
    pub entries_max: u8,
    /// Messages that may be in flight at once.
    pub messages_max: u8,
    /// Restarts that may happen, of all members together.
    pub restarts_max: u8,
    /// Commands that clients may ask for.
    pub requests_max: u8,
    /// Messages that may be dropped. A message that is never delivered is lost too; dropping only
    /// makes room below `messages_max`.
    pub drops_max: u8,
    /// What happens to delivered messages.
    pub network: Network,
    /// What happens to stale requests.
    pub refusals: Refusals,
    /// When empty appends are sent.
    pub heartbeats: Heartbeats,
    /// What happens to messages without a future.
    pub spent: Spent,
    /// The exploration starts when each of these, in this order, has won an election by all votes,
    /// and has brought one command to all members and committed it.
    pub opening: &'static [Who],
    /// Guides the exploration: the only member that may time out into term 1, 2, … Empty: anybody.
    pub campaigns: &'static [Who],
    /// The leader of that term may add that member, or remove it if it votes. Empty: no changes.
    pub changes: &'static [(Term, Who)],
    /// States after which the exploration gives up.
    pub states_max: usize,
}

impl Scope {
    /// Elections only: `members` who all vote, `terms_max` terms, no entries, no faults.
    pub fn elections(name: &'static str, members: u8, terms_max: u8) -> Scope {
        Scope {
            name,
            members,
            voters: Set::first(members),
            terms_max,
            entries_max: 0,
            messages_max: u8::MAX,
            restarts_max: 0,
            requests_max: 0,
            drops_max: 0,
            network: Network::Once,
            refusals: Refusals::Silent,
            heartbeats: Heartbeats::Idle,
            spent: Spent::Forgotten,
            opening: &[],
            campaigns: &[],
            changes: &[],
            states_max: 4_000_000,
        }
    }

    /// Elections, and logs of up to `entries_max` entries from as many commands.
    pub fn logs(name: &'static str, members: u8, terms_max: u8, entries_max: u8) -> Scope {
        Scope {
            entries_max,
            requests_max: entries_max,
            ..Scope::elections(name, members, terms_max)
        }
    }

    /// The names of the members.
    pub fn names(&self) -> impl Iterator<Item = Who> + use<> {
        (0..self.members).map(Who)
    }

    /// The renamings under which the scope looks the same: each maps the place of a member to the
    /// place that it gets. Who is named by the scope keeps the name.
    pub fn symmetries(&self) -> Vec<[u8; MEMBERS_MAX]> {
        let mut all = vec![Vec::new()];
        for old in self.names() {
            let longer = |start: &Vec<u8>| {
                let fits = |new: &Who| !start.contains(&new.0) && self.may_rename(old, *new);
                let news: Vec<Who> = self.names().filter(fits).collect();
                let grow = |new: Who| [start.as_slice(), &[new.0]].concat();
                news.into_iter().map(grow).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(longer).collect();
        }
        let full = |renaming: Vec<u8>| {
            let mut array = [0, 1, 2, 3, 4];
            array[..renaming.len()].copy_from_slice(&renaming);
            array
        };
        all.into_iter().map(full).collect()
    }

    fn may_rename(&self, old: Who, new: Who) -> bool {
        let named = |who| {
            self.opening.contains(&who)
                || self.campaigns.contains(&who)
                || self.changes.iter().any(|change| change.1 == who)
        };
        let votes_alike = self.voters.contains(old) == self.voters.contains(new);
        old == new || (votes_alike && !named(old) && !named(new))
    }
}

/// A scope with the rules in force: all of Raft's, or all but one.
#[derive(Clone, Debug)]
pub struct Model {
    /// The bounds.
    pub scope: Scope,
    /// The rule that nobody keeps.
    pub broken: Option<Rule>,
}

impl Model {
    /// All rules within `scope`. Panics if the scope is larger than a state can hold.
    pub fn sound(scope: Scope) -> Model {
        assert!(
            usize::from(scope.members) <= MEMBERS_MAX,
            "too many members"
        );
        assert!(usize::from(scope.entries_max) <= LOG_MAX, "too long logs");
        assert!(scope.terms_max <= TERM_MAX, "too many terms");
        let opens = scope.opening.is_empty() || scope.network == Network::Once;
        assert!(opens, "an opening waits until no message is in flight");
        Model {
            scope,
            broken: None,
        }
    }

    /// All rules but `broken`.
    pub fn breaking(broken: Rule, scope: Scope) -> Model {
        Model {
            broken: Some(broken),
            ..Model::sound(scope)
        }
    }

    /// Whether `rule` is kept.
    pub fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }
}
