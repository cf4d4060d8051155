#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};
use std::collections::BTreeSet;

/// An observed-remove set.
pub struct CrdtSet;

/// Without it a remove also takes adds that it has not seen.
const TAGS: Break = Break {
    rule: "tags",
    law: "add-wins",
    says: "a remove takes away the name, and not the tags that it has seen",
};
/// Without it an older add of the same name brings it back.
const REMOVE_EVERY_TAG: Break = Break {
    rule: "remove-every-tag",
    law: "removed-stays-removed",
    says: "a remove takes away the newest of the tags that it has seen, and no other",
};
/// Without it an old state brings back what was removed.
const REMEMBER_REMOVED: Break = Break {
    rule: "remember-removed",
    law: "convergence",
    says: "a remove only forgets the tags, and does not remember that they were taken away",
};
/// Without it the last message decides.
const UNION: Break = Break {
    rule: "union",
    law: "convergence",
    says: "a replica replaces its state by the one it receives",
};

/// What may be in the set.
type Name = char;

/// One add: where, the how manieth there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(ProcessId, u8);

/// What a replica knows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct State {
    added: BTreeSet<(Name, Tag)>,
    removed: BTreeSet<(Name, Tag)>,
}

impl State {
    /// Tags of this name that are there.
    fn live(&self, name: Name) -> impl Iterator<Item = (Name, Tag)> {
        let tags = self.added.difference(&self.removed).copied();
        tags.filter(move |(of, _)| *of == name)
    }

    fn names(&self, broken: Broken) -> BTreeSet<Name> {
        let is_removed = |name: Name| self.removed.iter().any(|(of, _)| *of == name);
        self.added
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| {
                if broken.is(&TAGS) {
                    !is_removed(*name)
                } else {
                    self.live(*name).next().is_some()
                }
            })
            .collect()
    }

    fn merge(&mut self, other: State) {
        self.added.extend(other.added);
        self.removed.extend(other.removed);
    }
}

/// What a user wants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Wish {
    /// The name shall be there.
    Add(Name),
    /// It shall not.
    Remove(Name),
}

/// What was done.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// An add, and its tag.
    Added(Name, Tag),
    /// A remove by somebody who had seen these adds.
    Removed(Name, BTreeSet<Tag>),
}

/// A replica. Its state is on its disk.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    broken: Broken,
    others: Vec<ProcessId>,
    wishes: Vec<Wish>,
    wishes_left: u8,
    n_adds: u8,
    state: State,
}

impl Process for Replica {
    type Message = State;
    type Timer = Wish;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if self.wishes_left > 0 {
            self.wishes.iter().for_each(|wish| cx.anytime(*wish));
        }
    }

    fn restart(&mut self, cx: &mut Context<'_, Self>) {
        self.start(cx);
    }

    fn wake(&mut self, wish: Wish, cx: &mut Context<'_, Self>) {
        self.wishes_left -= 1;
        self.wishes.iter().for_each(|wish| cx.cancel(wish));
        self.start(cx);
        match wish {
            Wish::Add(name) => self.add(name, cx),
            Wish::Remove(name) => self.remove(name, cx),
        }
        self.show(cx);
        cx.send_all(self.others.iter().copied(), &self.state);
    }

    fn receive(&mut self, _: ProcessId, state: State, cx: &mut Context<'_, Self>) {
        if self.broken.is(&UNION) {
            self.state = state;
        } else {
            self.state.merge(state);
        }
        self.show(cx);
    }
}

impl Replica {
    fn add(&mut self, name: Name, cx: &mut Context<'_, Self>) {
        self.n_adds += 1;
        let tag = Tag(cx.me(), self.n_adds);
        self.state.added.insert((name, tag));
        cx.fact(Fact::Added(name, tag));
    }

    fn remove(&mut self, name: Name, cx: &mut Context<'_, Self>) {
        let seen: BTreeSet<(Name, Tag)> = self.state.live(name).collect();
        if self.broken.is(&REMEMBER_REMOVED) {
            self.state.added.retain(|one| !seen.contains(one));
        } else if self.broken.is(&REMOVE_EVERY_TAG) {
            self.state.removed.extend(seen.last());
        } else {
            self.state.removed.extend(seen.iter().copied());
        }
        let tags = seen.iter().map(|(_, tag)| *tag).collect();
        cx.fact(Fact::Removed(name, tags));
    }

    fn show(&self, cx: &mut Context<'_, Self>) {
        let names: Vec<String> = self
            .state
            .names(self.broken)
            .iter()
            .map(char::to_string)
            .collect();
        cx.say(format_args!("holds {{{}}}", names.join(" ")));
    }
}
