//! A counting, path-copying B+tree: the one ordered map of the store.
//!
//! A tree is a pointer to its root node. Cloning it is one reference count, and the clone is a picture
//! that nobody can change any more: a writer copies the nodes on its path that a clone still holds
//! (`Arc::make_mut`) and changes all others in place. So readers never wait, never lock and never see
//! half of a change, and a writer between two clones pays for copies once.
//!
//! ```text
//!            Inner   separators  [    "g"    |    "p"    ]        n-1 keys for n children
//!                    weights     [  2  |     3     |  1  ]        sums of what is below
//!                                  │         │         │
//!            Leaf   "a" "c"      "g" "k" "m"          "x"         keys, packed
//!                    ▪   ▪        ▪   ▪   ▪            ▪          values
//! ```
//!
//! What makes it fit the store:
//!
//! - *Keys are packed* ([`KeyBlock`]): a node holds the bytes of its keys in one buffer. A copy of a
//!   node is a few `memcpy`s; were keys reference-counted, it would be one cache miss for each.
//! - *Subtrees are counted* ([`Weighted`]): how many live keys lie before a key is a walk from root to
//!   leaf, never a scan.
//! - *Nodes are split by bytes as well as by number*, so that a leaf of huge keys stays cheap to copy.
//!
//! Invariants ([`Tree::check`]): keys ascend; each separator is above all keys to its left and at most
//! the first key to its right; weights are exact; no node is empty or has too many keys; all leaves lie
//! equally deep. There is no minimum fill: a node that grows small joins a neighbour when both fit.

mod block;
mod build;
mod iter;
#[cfg(test)]
mod tests;

pub(crate) use block::{KeyBlock, Packed, Plain};
pub(crate) use build::Builder;
pub(crate) use iter::Cursor;

use std::sync::Arc;

/// Something that counts: the tree knows the sum of weights in any range without a scan.
pub(crate) trait Weighted {
    /// How much this value counts.
    fn weight(&self) -> u64;
}

impl Weighted for () {
    fn weight(&self) -> u64 {
        1
    }
}

/// An immutable-when-shared ordered map. See the module's documentation.
pub(crate) struct Tree<K, V> {
    root: Option<Arc<Node<K, V>>>,
}

/// One node. Leaves carry values, inner nodes carry children.
enum Node<K, V> {
    Leaf(Leaf<K, V>),
    Inner(Inner<K, V>),
}

struct Leaf<K, V> {
    keys: K,
    values: Vec<V>,
}

struct Inner<K, V> {
    separators: K,
    children: Vec<Arc<Node<K, V>>>,
    weights: Vec<u64>,
}

impl<K, V> Clone for Tree<K, V> {
    fn clone(&self) -> Self {
        Tree {
            root: self.root.clone(),
        }
    }
}

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Tree::new()
    }
}

/// Copies with room for one more, since a node is copied in order to be changed.
fn clone_with_room<T: Clone>(items: &[T]) -> Vec<T> {
    let mut copy = Vec::with_capacity((items.len() + 1).next_multiple_of(8));
    copy.extend_from_slice(items);
    copy
}

impl<K: KeyBlock, V: Clone> Clone for Node<K, V> {
    fn clone(&self) -> Self {
        match self {
            Node::Leaf(leaf) => Node::Leaf(Leaf {
                keys: leaf.keys.clone(),
                values: clone_with_room(&leaf.values),
            }),
            Node::Inner(inner) => Node::Inner(Inner {
                separators: inner.separators.clone(),
                children: clone_with_room(&inner.children),
                weights: clone_with_room(&inner.weights),
            }),
        }
    }
}

impl<K, V> Tree<K, V> {
    /// An empty tree, which allocates nothing.
    pub(crate) const fn new() -> Self {
        Tree { root: None }
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }
}

impl<K: KeyBlock, V: Weighted> Tree<K, V> {
    /// The value at `key`.
    pub(crate) fn get(&self, key: &K::Key) -> Option<&V> {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    return leaf.keys.search(key).ok().map(|at| &leaf.values[at]);
                }
                Node::Inner(inner) => node = &inner.children[inner.child_for(key)],
            }
        }
    }

    /// The sum of all weights.
    pub(crate) fn weight(&self) -> u64 {
        self.root.as_deref().map_or(0, Node::weight)
    }

    /// The sum of the weights of all keys below `key`: a walk from root to leaf.
    pub(crate) fn weight_before(&self, key: &K::Key) -> u64 {
        let mut sum = 0;
        let Some(mut node) = self.root.as_deref() else {
            return 0;
        };
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let end = leaf.keys.search(key).unwrap_or_else(|at| at);
                    return sum + leaf.values[..end].iter().map(V::weight).sum::<u64>();
                }
                Node::Inner(inner) => {
                    let at = inner.child_for(key);
                    sum += inner.weights[..at].iter().sum::<u64>();
                    node = &inner.children[at];
                }
            }
        }
    }

    /// A cursor before the first key.
    pub(crate) fn cursor(&self) -> Cursor<'_, K, V> {
        Cursor::at_start(self.root.as_deref())
    }

    /// A cursor between the keys below `key` and the others.
    pub(crate) fn cursor_at(&self, key: &K::Key) -> Cursor<'_, K, V> {
        Cursor::before(self.root.as_deref(), key)
    }

    /// A cursor behind the last key.
    pub(crate) fn cursor_at_end(&self) -> Cursor<'_, K, V> {
        Cursor::at_end(self.root.as_deref())
    }
}

impl<K: KeyBlock, V: Clone + Weighted> Tree<K, V> {
    /// Puts `value` at `key` and returns what was there.
    pub(crate) fn insert(&mut self, key: &K::Key, value: V) -> Option<V> {
        let Some(root) = &mut self.root else {
            let mut keys = K::default();
            keys.insert(0, key);
            self.root = Some(Arc::new(Node::Leaf(Leaf {
                keys,
                values: vec![value],
            })));
            return None;
        };
        let inserted = Node::insert(root, key, value, Edge::Rightmost);
        if let Some(split) = inserted.split {
            let left = root.clone();
            let left_weight = left.weight();
            self.root = Some(Arc::new(Node::Inner(Inner {
                separators: split.separator,
                children: vec![left, split.right],
                weights: vec![left_weight, split.right_weight],
            })));
        }
        inserted.replaced
    }

    /// Removes `key` and returns what was there.
    pub(crate) fn remove(&mut self, key: &K::Key) -> Option<V> {
        // Look first: a miss must not copy the path.
        self.get(key)?;
        let root = self.root.as_mut()?;
        let removed = Node::remove(root, key);
        loop {
            match &**root {
                Node::Leaf(leaf) if leaf.values.is_empty() => {
                    self.root = None;
                    break;
                }
                Node::Inner(inner) if inner.children.len() == 1 => {
                    let only = inner.children[0].clone();
                    *root = only;
                }
                _ => break,
            }
        }
        removed
    }
}

/// Whether a node lies on the right edge of the tree, where appends go.
#[derive(Clone, Copy, PartialEq)]
enum Edge {
    Rightmost,
    Inside,
}

struct Inserted<K, V> {
    replaced: Option<V>,
    /// How the weight below changed (wrapping: a difference).
    difference: u64,
    split: Option<Split<K, V>>,
}

/// A node that grew too big: `right` is its upper part.
struct Split<K, V> {
    /// A block of one key.
    separator: K,
    right: Arc<Node<K, V>>,
    right_weight: u64,
}

impl<K: KeyBlock, V> Inner<K, V> {
    /// Which child holds `key`, if any does.
    fn child_for(&self, key: &K::Key) -> usize {
        match self.separators.search(key) {
            Ok(at) => at + 1,
            Err(at) => at,
        }
    }
}

impl<K: KeyBlock, V: Weighted> Node<K, V> {
    fn weight(&self) -> u64 {
        match self {
            Node::Leaf(leaf) => leaf.values.iter().map(V::weight).sum(),
            Node::Inner(inner) => inner.weights.iter().sum(),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Node::Leaf(leaf) => leaf.values.is_empty(),
            Node::Inner(inner) => inner.children.is_empty(),
        }
    }

    fn is_small(&self) -> bool {
        match self {
            Node::Leaf(leaf) => leaf.values.len() < K::LEAF_MAX / 4,
            Node::Inner(inner) => inner.children.len() < K::INNER_MAX / 4,
        }
    }
}

impl<K: KeyBlock, V: Clone + Weighted> Node<K, V> {
    fn insert(this: &mut Arc<Self>, key: &K::Key, value: V, edge: Edge) -> Inserted<K, V> {
        match Arc::make_mut(this) {
            Node::Leaf(leaf) => leaf.insert(key, value, edge),
            Node::Inner(inner) => inner.insert(key, value, edge),
        }
    }

    /// Removes `key`, which is there.
    fn remove(this: &mut Arc<Self>, key: &K::Key) -> Option<V> {
        match Arc::make_mut(this) {
            Node::Leaf(leaf) => {
                let at = leaf.keys.search(key).ok()?;
                leaf.keys.remove(at);
                Some(leaf.values.remove(at))
            }
            Node::Inner(inner) => {
                let at = inner.child_for(key);
                let removed = Node::remove(&mut inner.children[at], key)?;
                inner.weights[at] -= removed.weight();
                inner.tidy(at);
                Some(removed)
            }
        }
    }
}

impl<K: KeyBlock, V: Clone + Weighted> Leaf<K, V> {
    fn insert(&mut self, key: &K::Key, value: V, edge: Edge) -> Inserted<K, V> {
        let weight = value.weight();
        let at = match self.keys.search(key) {
            Ok(at) => {
                let old = std::mem::replace(&mut self.values[at], value);
                return Inserted {
                    difference: weight.wrapping_sub(old.weight()),
                    replaced: Some(old),
                    split: None,
                };
            }
            Err(at) => at,
        };
        self.keys.insert(at, key);
        self.values.insert(at, value);
        let n_keys = self.values.len();
        let split = self.keys.is_over(K::LEAF_MAX).then(|| {
            // Appends leave full leaves behind; all else splits in the middle. (Doing the same for
            // every insert at a leaf's end would leave leaves of one key behind descending inserts.)
            let appended = edge == Edge::Rightmost && at + 1 == n_keys;
            let middle = if appended {
                n_keys - 1
            } else {
                self.keys.middle()
            };
            let keys = self.keys.split_off(middle);
            let values = self.values.split_off(middle);
            let mut separator = K::default();
            separator.insert(0, K::separator(self.keys.key(middle - 1), keys.key(0)));
            Split {
                separator,
                right_weight: values.iter().map(V::weight).sum(),
                right: Arc::new(Node::Leaf(Leaf { keys, values })),
            }
        });
        Inserted {
            replaced: None,
            difference: weight,
            split,
        }
    }
}

impl<K: KeyBlock, V: Clone + Weighted> Inner<K, V> {
    fn insert(&mut self, key: &K::Key, value: V, edge: Edge) -> Inserted<K, V> {
        let at = self.child_for(key);
        let last = at + 1 == self.children.len();
        let child_edge = if last { edge } else { Edge::Inside };
        let mut inserted = Node::insert(&mut self.children[at], key, value, child_edge);
        self.weights[at] = self.weights[at].wrapping_add(inserted.difference);
        if let Some(split) = inserted.split.take() {
            self.weights[at] -= split.right_weight;
            self.separators.insert(at, split.separator.key(0));
            self.children.insert(at + 1, split.right);
            self.weights.insert(at + 1, split.right_weight);
            inserted.split = self.split(last && edge == Edge::Rightmost);
        }
        inserted
    }

    fn split(&mut self, appended: bool) -> Option<Split<K, V>> {
        let n_separators = self.children.len() - 1;
        if n_separators < 3 || !self.separators.is_over(K::INNER_MAX - 1) {
            return None;
        }
        // `middle` is the separator that moves up: at least one stays on each side.
        let middle = if appended {
            n_separators - 2
        } else {
            self.separators.middle().clamp(1, n_separators - 2)
        };
        let mut separators = self.separators.split_off(middle);
        let mut separator = K::default();
        separator.insert(0, separators.key(0));
        separators.remove(0);
        let children = self.children.split_off(middle + 1);
        let weights = self.weights.split_off(middle + 1);
        Some(Split {
            separator,
            right_weight: weights.iter().sum(),
            right: Arc::new(Node::Inner(Inner {
                separators,
                children,
                weights,
            })),
        })
    }

    /// After a removal below child `at`: drops it when it is empty, joins it with a neighbour when it
    /// is small and both fit in one node.
    fn tidy(&mut self, at: usize) {
        if self.children[at].is_empty() {
            self.children.remove(at);
            self.weights.remove(at);
            if !self.children.is_empty() {
                self.separators.remove(at.saturating_sub(1));
            }
        } else if self.children[at].is_small() {
            let joined = at + 1 < self.children.len() && self.join(at);
            if !joined && at > 0 {
                self.join(at - 1);
            }
        }
    }

    /// Joins children `at` and `at + 1` when they fit in one node with room to spare.
    fn join(&mut self, at: usize) -> bool {
        let right = self.children[at + 1].clone();
        let separator = self.separators.key(at);
        match (&*self.children[at], &*right) {
            (Node::Leaf(left), Node::Leaf(right)) if !left.keys.fits(&right.keys, K::LEAF_MAX) => {
                return false;
            }
            (Node::Inner(left), Node::Inner(right))
                if !left.separators.fits(&right.separators, K::INNER_MAX - 2) =>
            {
                return false;
            }
            _ => {}
        }
        match (Arc::make_mut(&mut self.children[at]), &*right) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                left.keys.append(&right.keys);
                left.values.extend_from_slice(&right.values);
            }
            (Node::Inner(left), Node::Inner(right)) => {
                left.separators.insert(left.children.len() - 1, separator);
                left.separators.append(&right.separators);
                left.children.extend_from_slice(&right.children);
                left.weights.extend_from_slice(&right.weights);
            }
            _ => unreachable!("siblings lie equally deep"),
        }
        self.weights[at] += self.weights[at + 1];
        self.weights.remove(at + 1);
        self.children.remove(at + 1);
        self.separators.remove(at);
        true
    }
}

impl<K: KeyBlock, V: Weighted> Tree<K, V> {
    /// Stops the member when an invariant does not hold. Walks everything.
    pub(crate) fn check(&self) {
        if let Some(root) = &self.root {
            root.check(None, None);
        }
    }
}

impl<K: KeyBlock, V: Weighted> Node<K, V> {
    /// Checks everything below; keys must lie in `first..end`. Returns (depth, weight).
    fn check(&self, first: Option<&K::Key>, end: Option<&K::Key>) -> (usize, u64) {
        base::invariant!(!self.is_empty(), "no node is empty");
        let keys = match self {
            Node::Leaf(leaf) => &leaf.keys,
            Node::Inner(inner) => &inner.separators,
        };
        keys.check();
        for at in 0..keys.len() {
            let key = keys.key(at);
            base::invariant!(at == 0 || keys.key(at - 1) < key, "keys ascend");
            base::invariant!(
                first.is_none_or(|first| first <= key),
                "above its separator"
            );
            base::invariant!(end.is_none_or(|end| key < end), "below the next separator");
        }
        match self {
            Node::Leaf(leaf) => {
                base::invariant!(leaf.keys.len() == leaf.values.len(), "a value for each key");
                base::invariant!(leaf.values.len() <= K::LEAF_MAX, "a leaf is bounded");
                (0, self.weight())
            }
            Node::Inner(inner) => {
                let n = inner.children.len();
                base::invariant!(keys.len() + 1 == n && inner.weights.len() == n, "in step");
                base::invariant!(n <= K::INNER_MAX, "an inner node is bounded");
                let mut depth = None;
                for (at, child) in inner.children.iter().enumerate() {
                    let first = if at == 0 {
                        first
                    } else {
                        Some(keys.key(at - 1))
                    };
                    let end = if at + 1 == n { end } else { Some(keys.key(at)) };
                    let (child_depth, weight) = child.check(first, end);
                    base::invariant!(weight == inner.weights[at], "weights are exact");
                    base::invariant!(depth.is_none_or(|d| d == child_depth), "equally deep");
                    depth = Some(child_depth);
                }
                (depth.unwrap_or(0) + 1, self.weight())
            }
        }
    }
}
