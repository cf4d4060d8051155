//! All retained versions of a root, in the order in which they were written.
//!
//! Each version gets the next *ordinal*, a number that leads straight to it: six bits for each level of
//! inner nodes and five for the place in a block, no comparison on the way. That makes the second half
//! of every read (slot → version) two cache misses instead of a search.
//!
//! ```text
//!   ordinal   … 000011 010110 │ 00101          Inner: 64 children    Block: 32 versions
//!                  └──┬─┘└─┬──┘   └─┬─┘
//!                  child  child   version
//! ```
//!
//! As in `tree`, a node that somebody else holds is copied when it changes, and only then. Versions are
//! appended at the right edge and removed anywhere, by `sweep`; a node that becomes empty is dropped.
//!
//! Ordinals are private to a member: two members that applied the same entries may number differently
//! if one of them began from another's snapshot after a restore. Nothing replicated depends on them.
//!
//! Invariants: versions ascend by place with their ordinals; `len` counts them; no node is empty.

use crate::record::{Place, Record};
use std::sync::Arc;

const BLOCK_BITS: u32 = 5;
const BLOCK_LEN: usize = 1 << BLOCK_BITS;
const INNER_BITS: u32 = 6;
const INNER_LEN: usize = 1 << INNER_BITS;

/// Ordinals are below this: centuries of writes, and every shift below stays within 64 bits.
pub(crate) const ORDINALS_MAX: u64 = 1 << (BLOCK_BITS + INNER_BITS * LEVELS_MAX);
const LEVELS_MAX: u32 = 8;

/// All retained versions of a root. See the module's documentation.
#[derive(Clone)]
pub(crate) struct History {
    root: Link,
    /// Levels of inner nodes above the blocks.
    levels: u32,
    /// The next ordinal.
    end: u64,
    len: u64,
}

type Link = Option<Arc<Node>>;

#[derive(Clone)]
enum Node {
    Block([Option<Record>; BLOCK_LEN]),
    Inner([Link; INNER_LEN]),
}

/// Which child of an inner node `level` levels above the blocks leads to `ordinal`.
fn child_at(ordinal: u64, level: u32) -> usize {
    let shift = BLOCK_BITS + INNER_BITS * (level - 1);
    (ordinal >> shift) as usize & (INNER_LEN - 1)
}

impl History {
    pub(crate) const fn new() -> History {
        History {
            root: None,
            levels: 0,
            end: 0,
            len: 0,
        }
    }

    /// How many versions are retained.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The ordinal of the next version.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The version with this ordinal, unless it was removed.
    #[inline]
    pub(crate) fn get(&self, ordinal: u64) -> Option<&Record> {
        if ordinal >= self.end {
            return None;
        }
        let mut node = self.root.as_deref()?;
        let mut level = self.levels;
        loop {
            match node {
                Node::Block(versions) => {
                    return versions[ordinal as usize & (BLOCK_LEN - 1)].as_ref();
                }
                Node::Inner(children) => {
                    node = children[child_at(ordinal, level)].as_deref()?;
                    level -= 1;
                }
            }
        }
    }

    /// Appends a version and returns its ordinal.
    pub(crate) fn push(&mut self, record: Record) -> u64 {
        let ordinal = self.end;
        self.push_at(ordinal, record);
        ordinal
    }

    /// Appends a version under an ordinal that is not below [`History::end`]: for bulk loads.
    pub(crate) fn push_at(&mut self, ordinal: u64, record: Record) {
        base::invariant!(ordinal >= self.end, "versions are appended");
        base::invariant!(ordinal < ORDINALS_MAX, "ordinals last for centuries");
        self.grow(ordinal);
        let mut link = &mut self.root;
        let mut level = self.levels;
        loop {
            let node = link.get_or_insert_with(|| {
                Arc::new(if level == 0 {
                    Node::Block([const { None }; BLOCK_LEN])
                } else {
                    Node::Inner([const { None }; INNER_LEN])
                })
            });
            match Arc::make_mut(node) {
                Node::Block(versions) => {
                    versions[ordinal as usize & (BLOCK_LEN - 1)] = Some(record);
                    break;
                }
                Node::Inner(children) => {
                    link = &mut children[child_at(ordinal, level)];
                    level -= 1;
                }
            }
        }
        self.end = ordinal + 1;
        self.len += 1;
    }

    /// Lets the next version be numbered `end`, if that is farther: for bulk loads, since the last
    /// versions may have been removed.
    pub(crate) fn end_at(&mut self, end: u64) {
        if end > self.end {
            self.grow(end - 1);
            self.end = end;
        }
    }

    /// Adds levels until `ordinal` is within reach. Everything below `end` always is: a lookup takes
    /// its bits and does not look whether there are more.
    fn grow(&mut self, ordinal: u64) {
        while ordinal >> (BLOCK_BITS + INNER_BITS * self.levels) > 0 {
            if let Some(old) = self.root.take() {
                let mut children = [const { None }; INNER_LEN];
                children[0] = Some(old);
                self.root = Some(Arc::new(Node::Inner(children)));
            }
            self.levels += 1;
        }
    }

    /// Puts another version in the place of the one with this ordinal, if that is there.
    pub(crate) fn replace(&mut self, ordinal: u64, record: Record) {
        if self.get(ordinal).is_none() {
            return;
        }
        let mut link = &mut self.root;
        let mut level = self.levels;
        while let Some(node) = link {
            match Arc::make_mut(node) {
                Node::Block(versions) => {
                    versions[ordinal as usize & (BLOCK_LEN - 1)] = Some(record);
                    return;
                }
                Node::Inner(children) => {
                    link = &mut children[child_at(ordinal, level)];
                    level -= 1;
                }
            }
        }
    }

    /// Removes a version and returns it, if it is there.
    pub(crate) fn remove(&mut self, ordinal: u64) -> Option<Record> {
        // Look first: a miss must not copy the path.
        self.get(ordinal)?;
        let removed = remove(&mut self.root, self.levels, ordinal);
        self.len -= u64::from(removed.is_some());
        removed
    }

    /// The versions from `ordinal` on, each with its ordinal.
    pub(crate) fn iter_from(&self, ordinal: u64) -> Iter<'_> {
        Iter {
            history: self,
            block: &[],
            next: ordinal,
        }
    }

    /// All versions, each with its ordinal.
    pub(crate) fn iter(&self) -> Iter<'_> {
        self.iter_from(0)
    }

    /// The lowest ordinal from which on all versions are at or above `place`.
    pub(crate) fn seek(&self, place: Place) -> u64 {
        let Some(mut node) = self.root.as_deref() else {
            return self.end;
        };
        let mut level = self.levels;
        let mut first = 0;
        loop {
            match node {
                Node::Block(versions) => {
                    let below = |version: &Option<Record>| {
                        version
                            .as_ref()
                            .is_some_and(|record| record.place() < place)
                    };
                    let last_below = versions.iter().rposition(below);
                    return first + last_below.map_or(0, |at| at as u64 + 1);
                }
                Node::Inner(children) => {
                    // The last child that begins below the place holds the border.
                    let border = children.iter().enumerate().rev().find_map(|(at, child)| {
                        let child = child.as_deref()?;
                        (child.first()?.place() < place).then_some((at, child))
                    });
                    let Some((at, child)) = border else {
                        return first;
                    };
                    first += (at as u64) << (BLOCK_BITS + INNER_BITS * (level - 1));
                    level -= 1;
                    node = child;
                }
            }
        }
    }

    /// The first block that holds ordinals at or above `ordinal`, with its first ordinal.
    fn block_from(&self, ordinal: u64) -> Option<(u64, &[Option<Record>])> {
        if ordinal >= self.end {
            return None;
        }
        let first = ordinal & !(BLOCK_LEN as u64 - 1);
        self.root.as_deref()?.block_from(self.levels, 0, first)
    }

    /// Stops the member when an invariant does not hold.
    pub(crate) fn check(&self) {
        let mut n_versions = 0;
        let mut last = None;
        for (ordinal, record) in self.iter() {
            base::invariant!(ordinal < self.end, "ordinals are below the end");
            base::invariant!(last < Some(record.place()), "versions ascend");
            last = Some(record.place());
            n_versions += 1;
        }
        base::invariant!(n_versions == self.len, "versions are counted");
        let reach = BLOCK_BITS + INNER_BITS * self.levels;
        base::invariant!(
            self.end.saturating_sub(1) >> reach == 0,
            "ordinals are in reach"
        );
        base::invariant!(self.root.is_some() == (self.len > 0), "no node is empty");
        if let Some(root) = &self.root {
            root.check(self.levels);
        }
    }
}

fn remove(link: &mut Link, level: u32, ordinal: u64) -> Option<Record> {
    let node = Arc::make_mut(link.as_mut()?);
    let (removed, empty) = match node {
        Node::Block(versions) => {
            let removed = versions[ordinal as usize & (BLOCK_LEN - 1)].take();
            (removed, versions.iter().all(Option::is_none))
        }
        Node::Inner(children) => {
            let child = &mut children[child_at(ordinal, level)];
            let removed = remove(child, level - 1, ordinal);
            (
                removed,
                child.is_none() && children.iter().all(Option::is_none),
            )
        }
    };
    if empty {
        *link = None;
    }
    removed
}

impl Node {
    /// The first version below this node.
    fn first(&self) -> Option<&Record> {
        match self {
            Node::Block(versions) => versions.iter().flatten().next(),
            Node::Inner(children) => children.iter().flatten().next()?.first(),
        }
    }

    fn block_from(&self, level: u32, first: u64, ordinal: u64) -> Option<(u64, &[Option<Record>])> {
        match self {
            Node::Block(versions) => Some((first, versions)),
            Node::Inner(children) => {
                let shift = BLOCK_BITS + INNER_BITS * (level - 1);
                let begin = ordinal.saturating_sub(first) >> shift;
                let mut rest = (begin..INNER_LEN as u64).zip(children.get(begin as usize..)?);
                rest.find_map(|(at, child)| {
                    let child_first = first + (at << shift);
                    child
                        .as_deref()?
                        .block_from(level - 1, child_first, ordinal)
                })
            }
        }
    }

    fn check(&self, level: u32) {
        base::invariant!(self.first().is_some(), "no node is empty");
        if let Node::Inner(children) = self {
            base::invariant!(level > 0, "blocks lie at level 0");
            for child in children.iter().flatten() {
                child.check(level - 1);
            }
        }
    }
}

/// Versions in order. See [`History::iter_from`].
pub(crate) struct Iter<'a> {
    history: &'a History,
    /// What is left of the present block.
    block: &'a [Option<Record>],
    /// The ordinal of the block's first.
    next: u64,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (u64, &'a Record);

    #[inline]
    fn next(&mut self) -> Option<(u64, &'a Record)> {
        loop {
            let Some((version, rest)) = self.block.split_first() else {
                let (first, block) = self.history.block_from(self.next)?;
                let skipped = self.next.saturating_sub(first);
                self.next = first + skipped;
                self.block = &block[skipped as usize..];
                continue;
            };
            let ordinal = self.next;
            self.block = rest;
            self.next += 1;
            if let Some(record) = version {
                return Some((ordinal, record));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Links, Parts};
    use base::{LeaseId, Revision, Rng};
    use std::collections::BTreeMap;

    fn record(revision: u64) -> Record {
        let place = Place::start_of(Revision(revision));
        let parts = Parts {
            key: b"k",
            value: None,
            place,
            created: Revision(0),
            version: 0,
            lease: LeaseId::NONE,
            links: Links::default(),
        };
        Record::new(&parts, &mut Vec::new())
    }

    /// Random appends (with gaps now and then), removals and clones against a sorted map.
    #[test]
    fn a_history_is_a_sorted_map_of_what_was_appended() {
        for seed in 0..20 {
            let mut rng = Rng::new(seed);
            let mut history = History::new();
            let mut model: BTreeMap<u64, u64> = BTreeMap::new();
            let mut held: Vec<(History, BTreeMap<u64, u64>)> = Vec::new();
            let mut revision = 0;
            for _ in 0..400 {
                match rng.below(8) {
                    0 => held.push((history.clone(), model.clone())),
                    1..3 => {
                        for _ in 0..rng.below(60) {
                            let ordinal = rng.below(history.end().max(1));
                            let removed = history.remove(ordinal).map(|r| r.mod_revision().0);
                            assert_eq!(removed, model.remove(&ordinal));
                        }
                    }
                    3 if rng.one_in(8) => history.end_at(history.end() + rng.below(5000)),
                    3 if rng.one_in(10) => {
                        revision += 1;
                        let ordinal = history.end() + rng.below(200_000);
                        history.push_at(ordinal, record(revision));
                        model.insert(ordinal, revision);
                    }
                    _ => {
                        for _ in 0..rng.below(40) {
                            revision += 1 + rng.below(2);
                            model.insert(history.push(record(revision)), revision);
                        }
                    }
                }
            }
            held.push((history, model));
            for (history, model) in &held {
                compare(history, model, &mut rng);
            }
        }
    }

    fn compare(history: &History, model: &BTreeMap<u64, u64>, rng: &mut Rng) {
        history.check();
        let from = rng.below(history.end() + 2);
        let ours = history
            .iter_from(from)
            .map(|(at, r)| (at, r.mod_revision().0));
        let expected: Vec<_> = model.range(from..).map(|(at, n)| (*at, *n)).collect();
        assert_eq!(ours.collect::<Vec<_>>(), expected);
        for _ in 0..20 {
            let revision = rng.below(2000);
            let border = history.seek(Place::start_of(Revision(revision)));
            let above = model.values().filter(|n| **n >= revision).count();
            assert_eq!(history.iter_from(border).count(), above, "seek {revision}");
            let ordinal = rng.below(history.end() + 2);
            let found = history.get(ordinal).map(|r| r.mod_revision().0);
            assert_eq!(found, model.get(&ordinal).copied());
        }
    }

    #[test]
    fn the_greatest_ordinals_are_in_bounds() {
        let mut history = History::new();
        history.push(record(1));
        history.push_at(ORDINALS_MAX - 1, record(2));
        history.check();
        assert_eq!(history.iter().count(), 2);
        assert!(history.remove(0).is_some() && history.get(ORDINALS_MAX - 1).is_some());
    }
}
