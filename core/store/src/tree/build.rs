//! Building a tree from sorted input: leaf by leaf, then level by level, with no search and no split.

use super::{Inner, KeyBlock, Leaf, Node, Tree, Weighted};
use std::sync::Arc;

/// A finished node.
struct Done<K, V> {
    /// The separator to its left: a block of one key; empty for the first.
    separator: K,
    node: Arc<Node<K, V>>,
    weight: u64,
}

/// A tree under construction. Keys must come in ascending order.
pub(crate) struct Builder<K, V> {
    /// Finished nodes of the lowest level.
    done: Vec<Done<K, V>>,
    leaf: Leaf<K, V>,
    separator: K,
}

impl<K: KeyBlock, V: Weighted> Default for Builder<K, V> {
    fn default() -> Self {
        Builder {
            done: Vec::new(),
            leaf: Leaf {
                keys: K::default(),
                values: Vec::new(),
            },
            separator: K::default(),
        }
    }
}

impl<K: KeyBlock, V: Weighted> Builder<K, V> {
    /// Adds an entry; returns false, and adds nothing, when `key` is not above all before it.
    #[must_use]
    pub(crate) fn push(&mut self, key: &K::Key, value: V) -> bool {
        let n_keys = self.leaf.values.len();
        if n_keys > 0 && self.leaf.keys.key(n_keys - 1) >= key {
            return false;
        }
        self.leaf.keys.insert(n_keys, key);
        if self.leaf.keys.is_over(K::LEAF_MAX) && n_keys > 0 {
            self.leaf.keys.remove(n_keys);
            let mut separator = K::default();
            separator.insert(0, K::separator(self.leaf.keys.key(n_keys - 1), key));
            self.close_leaf();
            self.separator = separator;
            self.leaf.keys.insert(0, key);
        }
        self.leaf.values.push(value);
        true
    }

    fn close_leaf(&mut self) {
        let leaf = std::mem::replace(
            &mut self.leaf,
            Leaf {
                keys: K::default(),
                values: Vec::new(),
            },
        );
        let node = Node::Leaf(leaf);
        let weight = node.weight();
        let separator = std::mem::take(&mut self.separator);
        self.done.push(Done {
            separator,
            node: Arc::new(node),
            weight,
        });
    }

    /// The tree.
    pub(crate) fn finish(mut self) -> Tree<K, V> {
        if self.leaf.values.is_empty() {
            return Tree::new();
        }
        self.close_leaf();
        let mut level = self.done;
        while level.len() > 1 {
            level = Self::next_level(level);
        }
        Tree {
            root: level.pop().map(|done| done.node),
        }
    }

    fn next_level(level: Vec<Done<K, V>>) -> Vec<Done<K, V>> {
        let mut above = Vec::with_capacity(level.len() / K::INNER_MAX + 1);
        let mut open: Option<(K, Inner<K, V>)> = None;
        for done in level {
            if let Some((_, inner)) = &mut open {
                // A full node is closed, but never one of a single child.
                let n_children = inner.children.len();
                inner
                    .separators
                    .insert(n_children - 1, done.separator.key(0));
                if n_children < 2 || !inner.separators.is_over(K::INNER_MAX - 1) {
                    inner.children.push(done.node);
                    inner.weights.push(done.weight);
                    continue;
                }
                inner.separators.remove(n_children - 1);
            }
            above.extend(open.take().map(Self::close_inner));
            open = Some((
                done.separator,
                Inner {
                    separators: K::default(),
                    children: vec![done.node],
                    weights: vec![done.weight],
                },
            ));
        }
        above.extend(open.take().map(Self::close_inner));
        above
    }

    fn close_inner((separator, inner): (K, Inner<K, V>)) -> Done<K, V> {
        Done {
            separator,
            weight: inner.weights.iter().sum(),
            node: Arc::new(Node::Inner(inner)),
        }
    }
}
