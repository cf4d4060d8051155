//! Which ranges contain a key: a balanced tree of ranges, each node knowing how far its subtree reaches.
//!
//! A treap (Seidel and Aragon, "Randomized search trees", 1996) whose chances come from a counter put
//! through a mixer, so that one run is like another. Equal ranges share one node: a thousand watchers
//! of one prefix cost one comparison. Asking costs O(log n) and what is found.

use crate::range::{KeyRange, RangeEnd};
use bytes::Bytes;
use std::cmp::Ordering;

/// Ranges with the values that watch them.
pub(super) struct Intervals<T> {
    root: Link<T>,
    n_inserted: u64,
}

impl<T> Default for Intervals<T> {
    fn default() -> Self {
        Intervals {
            root: None,
            n_inserted: 0,
        }
    }
}

type Link<T> = Option<Box<Node<T>>>;

struct Node<T> {
    start: Bytes,
    end: End,
    values: Vec<T>,
    priority: u64,
    /// The farthest end in this subtree.
    reach: End,
    left: Link<T>,
    right: Link<T>,
}

/// An end that compares: unbounded is above all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Before(Bytes),
    Unbounded,
}

impl End {
    fn of(range: &KeyRange) -> End {
        match &range.end {
            RangeEnd::Before(end) => End::Before(end.clone()),
            RangeEnd::Unbounded => End::Unbounded,
            // A single key ends right above itself.
            RangeEnd::Single => End::Before(range.after(&range.start).start),
        }
    }

    fn is_above(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => key < &end[..],
            End::Unbounded => true,
        }
    }
}

impl<T: Copy + PartialEq> Intervals<T> {
    /// Adds `value` under `range`.
    pub(super) fn insert(&mut self, range: &KeyRange, value: T) {
        self.n_inserted += 1;
        let priority = base::rng::mix(self.n_inserted);
        insert(
            &mut self.root,
            &range.start,
            End::of(range),
            value,
            priority,
        );
    }

    /// Removes `value` from under `range`.
    pub(super) fn remove(&mut self, range: &KeyRange, value: T) {
        remove(&mut self.root, &range.start, &End::of(range), value);
    }

    /// Visits the values of all ranges that contain `key`.
    pub(super) fn containing(&self, key: &[u8], visit: &mut impl FnMut(T)) {
        containing(&self.root, key, visit);
    }

    #[cfg(test)]
    fn depth(&self) -> usize {
        fn depth<T>(link: &Link<T>) -> usize {
            link.as_ref()
                .map_or(0, |n| 1 + depth(&n.left).max(depth(&n.right)))
        }
        depth(&self.root)
    }
}

fn insert<T: Copy>(link: &mut Link<T>, start: &Bytes, end: End, value: T, priority: u64) {
    let Some(node) = link else {
        *link = Some(Box::new(Node {
            start: start.clone(),
            reach: end.clone(),
            end,
            values: vec![value],
            priority,
            left: None,
            right: None,
        }));
        return;
    };
    match (start, &end).cmp(&(&node.start, &node.end)) {
        Ordering::Equal => node.values.push(value),
        Ordering::Less => {
            insert(&mut node.left, start, end, value, priority);
            if node
                .left
                .as_ref()
                .is_some_and(|l| l.priority > node.priority)
            {
                rotate_right(link);
            }
        }
        Ordering::Greater => {
            insert(&mut node.right, start, end, value, priority);
            if node
                .right
                .as_ref()
                .is_some_and(|r| r.priority > node.priority)
            {
                rotate_left(link);
            }
        }
    }
    update_reach(link);
}

fn remove<T: PartialEq>(link: &mut Link<T>, start: &Bytes, end: &End, value: T) {
    let Some(node) = link else {
        return;
    };
    match (start, end).cmp(&(&node.start, &node.end)) {
        Ordering::Less => remove(&mut node.left, start, end, value),
        Ordering::Greater => remove(&mut node.right, start, end, value),
        Ordering::Equal => {
            node.values.retain(|other| *other != value);
            if node.values.is_empty() {
                let (left, right) = (node.left.take(), node.right.take());
                *link = join(left, right);
            }
        }
    }
    update_reach(link);
}

/// Joins two subtrees, all of `left` being below all of `right`.
fn join<T>(left: Link<T>, right: Link<T>) -> Link<T> {
    match (left, right) {
        (None, other) | (other, None) => other,
        (Some(mut left), Some(mut right)) => {
            let mut top = if left.priority > right.priority {
                left.right = join(left.right.take(), Some(right));
                Some(left)
            } else {
                right.left = join(Some(left), right.left.take());
                Some(right)
            };
            update_reach(&mut top);
            top
        }
    }
}

fn rotate_right<T>(link: &mut Link<T>) {
    if let Some(mut top) = link.take() {
        let mut left = top.left.take();
        if let Some(new_top) = &mut left {
            top.left = new_top.right.take();
            let mut old_top = Some(top);
            update_reach(&mut old_top);
            new_top.right = old_top;
        }
        *link = left;
    }
}

fn rotate_left<T>(link: &mut Link<T>) {
    if let Some(mut top) = link.take() {
        let mut right = top.right.take();
        if let Some(new_top) = &mut right {
            top.right = new_top.left.take();
            let mut old_top = Some(top);
            update_reach(&mut old_top);
            new_top.left = old_top;
        }
        *link = right;
    }
}

fn update_reach<T>(link: &mut Link<T>) {
    if let Some(node) = link {
        let below = [&node.left, &node.right];
        let reaches = below.into_iter().flatten().map(|child| &child.reach);
        let farthest = reaches.max().filter(|reach| **reach > node.end);
        node.reach = farthest.unwrap_or(&node.end).clone();
    }
}

fn containing<T: Copy>(link: &Link<T>, key: &[u8], visit: &mut impl FnMut(T)) {
    let Some(node) = link else {
        return;
    };
    if !node.reach.is_above(key) {
        return;
    }
    containing(&node.left, key, visit);
    if &node.start[..] <= key {
        if node.end.is_above(key) {
            node.values.iter().for_each(|value| visit(*value));
        }
        containing(&node.right, key, visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Rng;

    fn range(rng: &mut Rng) -> KeyRange {
        let start = vec![rng.below(40) as u8];
        match rng.below(5) {
            0 => KeyRange::single(start),
            1 => KeyRange::from(start),
            _ => KeyRange::between(start, vec![rng.below(41) as u8]),
        }
    }

    #[test]
    fn the_ranges_found_are_those_that_contain_the_key() {
        let mut rng = Rng::new(5);
        let mut tree = Intervals::default();
        let mut list: Vec<(KeyRange, u32)> = Vec::new();
        for step in 0..3000 {
            if rng.one_in(3) && !list.is_empty() {
                let (range, value) = list.swap_remove(rng.below(list.len() as u64) as usize);
                tree.remove(&range, value);
            } else {
                let range = range(&mut rng);
                tree.insert(&range, step);
                list.push((range, step));
            }
            let key = [rng.below(42) as u8];
            let mut found = Vec::new();
            tree.containing(&key, &mut |value| found.push(value));
            found.sort_unstable();
            let holds = list.iter().filter(|(range, _)| range.contains(&key));
            let mut expected: Vec<u32> = holds.map(|(_, value)| *value).collect();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn ranges_that_come_in_order_do_not_make_a_list() {
        let mut tree = Intervals::default();
        for n in 0..10_000u32 {
            tree.insert(&KeyRange::prefix(n.to_be_bytes().to_vec()), n);
        }
        assert!(tree.depth() < 50, "{}", tree.depth());
        let mut found = Vec::new();
        tree.containing(&[0, 0, 1, 2, 9], &mut |n| found.push(n));
        assert_eq!(found, [258]);
    }
}
