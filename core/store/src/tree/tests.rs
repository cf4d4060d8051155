//! The tree against `BTreeMap`, with tiny nodes so that few keys make it deep.

use super::*;
use base::Rng;
use std::collections::BTreeMap;

/// As [`Packed`], with nodes of four.
#[derive(Clone, Default)]
struct Tiny(Packed);

impl KeyBlock for Tiny {
    type Key = [u8];
    const LEAF_MAX: usize = 4;
    const INNER_MAX: usize = 4;

    fn len(&self) -> usize {
        self.0.len()
    }
    fn key(&self, at: usize) -> &[u8] {
        self.0.key(at)
    }
    fn search(&self, key: &[u8]) -> Result<usize, usize> {
        self.0.search(key)
    }
    fn insert(&mut self, at: usize, key: &[u8]) {
        self.0.insert(at, key);
    }
    fn remove(&mut self, at: usize) {
        self.0.remove(at);
    }
    fn split_off(&mut self, at: usize) -> Self {
        Tiny(self.0.split_off(at))
    }
    fn append(&mut self, right: &Self) {
        self.0.append(&right.0);
    }
    fn is_over(&self, max: usize) -> bool {
        self.0.is_over(max)
    }
    fn fits(&self, right: &Self, max: usize) -> bool {
        self.0.fits(&right.0, max)
    }
    fn middle(&self) -> usize {
        self.0.middle()
    }
    fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
        Packed::separator(left, right)
    }
    fn check(&self) {
        self.0.check();
    }
}

/// Counts what is odd, so that weights differ from lengths.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Odd(u64);

impl Weighted for Odd {
    fn weight(&self) -> u64 {
        self.0 & 1
    }
}

type Model = BTreeMap<Vec<u8>, Odd>;

/// Keys that are prefixes of each other, share long prefixes, and now and then are huge.
fn key(rng: &mut Rng) -> Vec<u8> {
    let alphabet = [0, 1, b'a', 0xff];
    let mut key = if rng.one_in(3) {
        b"common/prefix/".to_vec()
    } else {
        vec![]
    };
    for _ in 0..rng.below(5) {
        key.push(alphabet[rng.below(4) as usize]);
    }
    if rng.one_in(40) {
        key.resize(key.len() + rng.below(9000) as usize, b'x');
    }
    key
}

fn compare<K: KeyBlock<Key = [u8]>>(tree: &Tree<K, Odd>, model: &Model, rng: &mut Rng) {
    tree.check();
    let weight = |range: &mut dyn Iterator<Item = (&Vec<u8>, &Odd)>| -> u64 {
        range.map(|(_, value)| value.weight()).sum()
    };
    assert_eq!(tree.weight(), weight(&mut model.iter()));
    for _ in 0..8 {
        let key = key(rng);
        assert_eq!(tree.get(&key), model.get(&key));
        assert_eq!(
            tree.weight_before(&key),
            weight(&mut model.range(..key.clone()))
        );
        let mut cursor = tree.cursor_at(&key);
        for (expected, value) in model.range(key.clone()..) {
            assert_eq!(cursor.next(), Some((&expected[..], value)));
        }
        assert_eq!(cursor.next(), None);
        let mut cursor = tree.cursor_at(&key);
        for (expected, value) in model.range(..key.clone()).rev() {
            assert_eq!(cursor.previous(), Some((&expected[..], value)));
        }
        assert_eq!(cursor.previous(), None);
    }
    let key = key(rng);
    let mut cursor = tree.cursor_at(&key);
    for (expected, value) in model.range(key.clone()..).filter(|(_, v)| v.weight() > 0) {
        assert_eq!(cursor.next_weighty(), Some((&expected[..], value)));
    }
    assert_eq!(cursor.next_weighty(), None);
    let mut cursor = tree.cursor_at(&key);
    let below = model.range(..key.clone()).rev();
    for (expected, value) in below.filter(|(_, v)| v.weight() > 0) {
        assert_eq!(cursor.previous_weighty(), Some((&expected[..], value)));
    }
    assert_eq!(cursor.previous_weighty(), None);
    let mut cursor = tree.cursor_at_end();
    assert_eq!(cursor.next(), None);
    let back = std::iter::from_fn(|| cursor.previous()).map(|(key, _)| key.to_vec());
    assert!(back.eq(model.keys().rev().cloned()));
}

fn random_walk<K: KeyBlock<Key = [u8]>>(seed: u64) {
    let mut rng = Rng::new(seed);
    let (mut tree, mut model) = (Tree::<K, Odd>::new(), Model::new());
    let mut held = vec![];
    for step in 0..600 {
        // Growing and shrinking in turns.
        let shrink = step / 150 % 2 == 1;
        let key = key(&mut rng);
        if rng.below(4) < if shrink { 3 } else { 1 } {
            let near = model.range(key..).next().map(|(key, _)| key.clone());
            let key = near.unwrap_or_default();
            assert_eq!(tree.remove(&key), model.remove(&key));
        } else {
            // In some phases most weigh nothing, so that whole subtrees do.
            let value = Odd(if step % 200 < 100 {
                rng.below(100)
            } else {
                rng.below(9) / 8
            });
            assert_eq!(tree.insert(&key, value), model.insert(key, value));
        }
        if rng.one_in(20) {
            held.push((tree.clone(), model.clone()));
        }
        if rng.one_in(10) {
            compare(&tree, &model, &mut rng);
        }
    }
    for (tree, model) in &held {
        compare(tree, model, &mut rng);
    }
    for key in model.keys() {
        assert!(tree.remove(key).is_some());
        tree.check();
    }
    assert!(tree.root.is_none());
}

#[test]
fn a_tree_is_a_sorted_map_whose_clones_never_change() {
    for seed in 0..30 {
        random_walk::<Tiny>(seed);
        random_walk::<Packed>(seed);
    }
}

#[test]
fn a_bulk_build_is_the_same_map() {
    for n_keys in 0..300u64 {
        let mut rng = Rng::new(n_keys);
        let keys = (0..n_keys).map(|n| (key(&mut rng), Odd(n)));
        let model: Model = keys.collect();
        let mut builder = Builder::<Tiny, Odd>::default();
        for (key, value) in &model {
            assert!(builder.push(key, *value));
            assert!(!builder.push(key, *value), "keys must ascend");
        }
        compare(&builder.finish(), &model, &mut rng);
    }
}

#[test]
fn keys_in_order_fill_their_leaves_and_keys_in_reverse_do_not_waste_them() {
    let count = |keys: &mut dyn Iterator<Item = u32>| {
        let mut tree = Tree::<Packed, Odd>::new();
        for n in keys {
            tree.insert(&n.to_be_bytes(), Odd(1));
        }
        tree.check();
        n_leaves(tree.root.as_deref().expect("keys"))
    };
    let n_keys = 10_000;
    let full = n_keys / Packed::LEAF_MAX;
    assert!(count(&mut (0..n_keys as u32)) <= full + 1);
    assert!(count(&mut (0..n_keys as u32).rev()) <= 2 * full + 2);
    // Descending into the gap above a full leaf was the way to leaves of one key.
    let gap = (0..1000).chain((1001..5000).rev());
    assert!(count(&mut gap.map(|n| n as u32)) <= 2 * 5000 / Packed::LEAF_MAX + 2);
}

fn n_leaves<K, V>(node: &Node<K, V>) -> usize {
    match node {
        Node::Leaf(_) => 1,
        Node::Inner(inner) => inner.children.iter().map(|child| n_leaves(child)).sum(),
    }
}
