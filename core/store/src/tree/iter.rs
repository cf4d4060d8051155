//! Walking a tree: a cursor that stands between two keys and moves both ways.
//!
//! The cursor borrows the tree, and the tree cannot change while somebody holds it: a reader that
//! wants to let go in between keeps a clone of the tree and comes back with the last key.

use super::{Inner, KeyBlock, Leaf, Node, Weighted};

/// A place between two keys of a tree.
pub(crate) struct Cursor<'a, K, V> {
    /// The way down: each inner node with the child that was taken.
    path: Vec<(&'a Inner<K, V>, usize)>,
    leaf: Option<&'a Leaf<K, V>>,
    /// The place in `leaf`: how many of its keys lie before the cursor.
    at: usize,
}

impl<'a, K: KeyBlock, V: Weighted> Cursor<'a, K, V> {
    pub(super) fn at_start(root: Option<&'a Node<K, V>>) -> Self {
        let mut cursor = Cursor::nowhere();
        if let Some(root) = root {
            cursor.descend_first(root);
        }
        cursor
    }

    pub(super) fn at_end(root: Option<&'a Node<K, V>>) -> Self {
        let mut cursor = Cursor::nowhere();
        if let Some(root) = root {
            cursor.descend_last(root);
        }
        cursor
    }

    pub(super) fn before(root: Option<&'a Node<K, V>>, key: &K::Key) -> Self {
        let mut cursor = Cursor::nowhere();
        let Some(mut node) = root else {
            return cursor;
        };
        loop {
            match node {
                Node::Inner(inner) => {
                    let at = inner.child_for(key);
                    cursor.path.push((inner, at));
                    node = &inner.children[at];
                }
                Node::Leaf(leaf) => {
                    cursor.leaf = Some(leaf);
                    cursor.at = leaf.keys.search(key).unwrap_or_else(|at| at);
                    return cursor;
                }
            }
        }
    }

    fn nowhere() -> Self {
        Cursor {
            path: Vec::new(),
            leaf: None,
            at: 0,
        }
    }

    fn descend_first(&mut self, mut node: &'a Node<K, V>) {
        while let Node::Inner(inner) = node {
            self.path.push((inner, 0));
            node = &inner.children[0];
        }
        if let Node::Leaf(leaf) = node {
            self.leaf = Some(leaf);
            self.at = 0;
        }
    }

    fn descend_last(&mut self, mut node: &'a Node<K, V>) {
        while let Node::Inner(inner) = node {
            let last = inner.children.len() - 1;
            self.path.push((inner, last));
            node = &inner.children[last];
        }
        if let Node::Leaf(leaf) = node {
            self.leaf = Some(leaf);
            self.at = leaf.values.len();
        }
    }

    /// Steps over the key behind the cursor and returns it.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(&'a K::Key, &'a V)> {
        loop {
            let leaf = self.leaf?;
            if self.at < leaf.values.len() {
                let at = self.at;
                self.at += 1;
                return Some((leaf.keys.key(at), &leaf.values[at]));
            }
            if !self.next_leaf() {
                return None;
            }
        }
    }

    /// Steps back over the key before the cursor and returns it.
    #[inline]
    pub(crate) fn previous(&mut self) -> Option<(&'a K::Key, &'a V)> {
        loop {
            let leaf = self.leaf?;
            if self.at > 0 {
                self.at -= 1;
                return Some((leaf.keys.key(self.at), &leaf.values[self.at]));
            }
            if !self.previous_leaf() {
                return None;
            }
        }
    }

    /// As [`Cursor::next`], but passes over what weighs nothing: whole subtrees at once.
    #[inline]
    pub(crate) fn next_weighty(&mut self) -> Option<(&'a K::Key, &'a V)> {
        loop {
            let leaf = self.leaf?;
            if let Some(value) = leaf.values.get(self.at) {
                let at = self.at;
                self.at += 1;
                if value.weight() > 0 {
                    return Some((leaf.keys.key(at), value));
                }
            } else if !self.next_weighty_leaf() {
                return None;
            }
        }
    }

    /// As [`Cursor::previous`], but passes over what weighs nothing: whole subtrees at once.
    #[inline]
    pub(crate) fn previous_weighty(&mut self) -> Option<(&'a K::Key, &'a V)> {
        loop {
            let leaf = self.leaf?;
            if self.at > 0 {
                self.at -= 1;
                let value = &leaf.values[self.at];
                if value.weight() > 0 {
                    return Some((leaf.keys.key(self.at), value));
                }
            } else if !self.previous_weighty_leaf() {
                return None;
            }
        }
    }

    /// Climbs until some later sibling weighs something, then goes down to the first such leaf.
    fn next_weighty_leaf(&mut self) -> bool {
        while let Some((inner, at)) = self.path.last_mut() {
            let later = inner.weights[*at + 1..].iter().position(|w| *w > 0);
            let Some(skipped) = later else {
                self.path.pop();
                continue;
            };
            *at += 1 + skipped;
            let mut node: &'a Node<K, V> = &inner.children[*at];
            while let Node::Inner(inner) = node {
                let first = inner.weights.iter().position(|w| *w > 0).unwrap_or(0);
                self.path.push((inner, first));
                node = &inner.children[first];
            }
            if let Node::Leaf(leaf) = node {
                self.leaf = Some(leaf);
                self.at = 0;
            }
            return true;
        }
        self.leaf = None;
        false
    }

    /// The mirror of [`Cursor::next_weighty_leaf`].
    fn previous_weighty_leaf(&mut self) -> bool {
        while let Some((inner, at)) = self.path.last_mut() {
            let Some(earlier) = inner.weights[..*at].iter().rposition(|w| *w > 0) else {
                self.path.pop();
                continue;
            };
            *at = earlier;
            let mut node: &'a Node<K, V> = &inner.children[earlier];
            while let Node::Inner(inner) = node {
                let last = inner.weights.iter().rposition(|w| *w > 0).unwrap_or(0);
                self.path.push((inner, last));
                node = &inner.children[last];
            }
            if let Node::Leaf(leaf) = node {
                self.leaf = Some(leaf);
                self.at = leaf.values.len();
            }
            return true;
        }
        self.leaf = None;
        false
    }

    fn next_leaf(&mut self) -> bool {
        let Some(up) = self
            .path
            .iter()
            .rposition(|(inner, at)| at + 1 < inner.children.len())
        else {
            return false;
        };
        self.path.truncate(up + 1);
        let (inner, at) = &mut self.path[up];
        *at += 1;
        let child: &'a Node<K, V> = &inner.children[*at];
        self.descend_first(child);
        true
    }

    fn previous_leaf(&mut self) -> bool {
        let Some(up) = self.path.iter().rposition(|(_, at)| *at > 0) else {
            return false;
        };
        self.path.truncate(up + 1);
        let (inner, at) = &mut self.path[up];
        *at -= 1;
        let child: &'a Node<K, V> = &inner.children[*at];
        self.descend_last(child);
        true
    }
}
