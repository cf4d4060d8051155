//! How a node holds its keys: packed bytes, or plain numbers.
//!
//! A block is a sorted sequence of keys that is cheap to copy as a whole. [`Packed`] keeps byte strings
//! end to end in one buffer, [`Plain`] keeps small `Copy` keys in a vector. Blocks know nothing of
//! values and children; keeping both in step is the tree's job.

use std::cmp::Ordering;

/// A sorted sequence of keys in one node.
pub(crate) trait KeyBlock: Clone + Default {
    /// One key.
    type Key: ?Sized + Ord;
    /// Most keys in a leaf.
    const LEAF_MAX: usize;
    /// Most children of an inner node.
    const INNER_MAX: usize;

    fn len(&self) -> usize;
    fn key(&self, at: usize) -> &Self::Key;
    /// Where `key` is, or where it would go.
    fn search(&self, key: &Self::Key) -> Result<usize, usize>;
    fn insert(&mut self, at: usize, key: &Self::Key);
    fn remove(&mut self, at: usize);
    /// Takes the keys from `at` on.
    fn split_off(&mut self, at: usize) -> Self;
    /// Adds the keys of `right`, all of which are greater.
    fn append(&mut self, right: &Self);
    /// Whether this block must be split, being allowed `max` keys.
    fn is_over(&self, max: usize) -> bool;
    /// Whether both fit in a block of `max` keys with room to spare.
    fn fits(&self, right: &Self, max: usize) -> bool;
    /// Where to split so that the halves are alike; in `1..len`.
    fn middle(&self) -> usize;
    /// A short key that is above `left` and at most `right`.
    fn separator<'a>(left: &Self::Key, right: &'a Self::Key) -> &'a Self::Key;
    /// Stops the member when the block contradicts itself.
    fn check(&self) {}
}

/// Byte strings, end to end.
///
/// Keys of one node have much in common, so the search looks at what they have not: `heads` are the
/// four bytes of each key behind the prefix that all share, as numbers. A search is a comparison with
/// the prefix, a binary search of numbers that lie side by side, and as a rule one comparison of keys.
#[derive(Default, Debug)]
pub(crate) struct Packed {
    /// Bytes that all keys begin with; there may be more.
    prefix_len: usize,
    heads: Vec<u32>,
    /// Where each key ends in `bytes`.
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

/// Bytes of keys above which a node is split though it has few keys: a copy stays in the microseconds.
const PACKED_BYTES_MAX: usize = 16 * 1024;

impl Clone for Packed {
    fn clone(&self) -> Self {
        // With room for one more: a node is copied in order to be changed.
        let typical = self.bytes.len() / self.ends.len().max(1);
        let mut bytes = Vec::with_capacity(self.bytes.len() + typical + 16);
        bytes.extend_from_slice(&self.bytes);
        Packed {
            prefix_len: self.prefix_len,
            heads: super::clone_with_room(&self.heads),
            ends: super::clone_with_room(&self.ends),
            bytes,
        }
    }
}

impl Packed {
    fn start(&self, at: usize) -> usize {
        if at == 0 {
            0
        } else {
            self.ends[at - 1] as usize
        }
    }

    /// Sets the common prefix, which must be one, and all heads by it.
    fn set_prefix(&mut self, prefix_len: usize) {
        self.prefix_len = prefix_len;
        self.heads.clear();
        let mut start = 0;
        for end in &self.ends {
            let key = &self.bytes[start..*end as usize];
            self.heads.push(head_of(key, prefix_len));
            start = *end as usize;
        }
    }

    /// Finds the longest common prefix: that of the first and the last key.
    fn tighten(&mut self) {
        let prefix_len = match self.len() {
            0 => 0,
            n => common(self.key(0), self.key(n - 1)),
        };
        self.set_prefix(prefix_len);
    }
}

/// The four bytes behind the prefix as a number that sorts as they do. Missing bytes count as zero, so
/// different keys may have equal heads, but never heads in the wrong order.
fn head_of(key: &[u8], prefix_len: usize) -> u32 {
    let rest = key.get(prefix_len..).unwrap_or_default();
    if let Some(head) = rest.first_chunk::<4>() {
        return u32::from_be_bytes(*head);
    }
    let mut head = [0; 4];
    head[..rest.len()].copy_from_slice(rest);
    u32::from_be_bytes(head)
}

/// How many bytes two keys have in common at their beginning.
fn common(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(l, r)| l == r).count()
}

impl KeyBlock for Packed {
    type Key = [u8];
    const LEAF_MAX: usize = 48;
    const INNER_MAX: usize = 48;

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn key(&self, at: usize) -> &[u8] {
        &self.bytes[self.start(at)..self.ends[at] as usize]
    }

    fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let prefix = &self.bytes[..self.prefix_len];
        match key[..key.len().min(prefix.len())].cmp(prefix) {
            Ordering::Less => return Err(0),
            Ordering::Greater => return Err(self.len()),
            Ordering::Equal => {}
        }
        let head = head_of(key, self.prefix_len);
        let mut first = self.heads.partition_point(|other| *other < head);
        let mut end = first;
        while self.heads.get(end) == Some(&head) {
            end += 1;
        }
        while first < end {
            let middle = (first + end) / 2;
            match self.key(middle).cmp(key) {
                Ordering::Less => first = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => end = middle,
            }
        }
        Err(first)
    }

    fn insert(&mut self, at: usize, key: &[u8]) {
        if self.ends.is_empty() {
            self.prefix_len = key.len();
        } else {
            let shared = common(&self.bytes[..self.prefix_len], key);
            if shared < self.prefix_len {
                self.set_prefix(shared);
            }
        }
        let start = self.start(at);
        let old_len = self.bytes.len();
        self.bytes.extend_from_slice(key);
        if start < old_len {
            self.bytes.copy_within(start..old_len, start + key.len());
            self.bytes[start..start + key.len()].copy_from_slice(key);
        }
        for end in &mut self.ends[at..] {
            *end += key.len() as u32;
        }
        self.ends.insert(at, (start + key.len()) as u32);
        self.heads.insert(at, head_of(key, self.prefix_len));
    }

    fn remove(&mut self, at: usize) {
        let (start, end) = (self.start(at), self.ends[at] as usize);
        self.bytes.drain(start..end);
        self.ends.remove(at);
        self.heads.remove(at);
        for later in &mut self.ends[at..] {
            *later -= (end - start) as u32;
        }
        if self.ends.is_empty() {
            self.prefix_len = 0;
        }
    }

    fn split_off(&mut self, at: usize) -> Self {
        let start = self.start(at);
        let bytes = self.bytes.split_off(start);
        let mut ends = self.ends.split_off(at);
        for end in &mut ends {
            *end -= start as u32;
        }
        let mut right = Packed {
            bytes,
            ends,
            ..Packed::default()
        };
        self.tighten();
        right.tighten();
        right
    }

    fn append(&mut self, right: &Self) {
        let shift = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&right.bytes);
        self.ends.extend(right.ends.iter().map(|end| end + shift));
        self.tighten();
    }

    fn is_over(&self, max: usize) -> bool {
        self.len() > max || (self.len() > 1 && self.bytes.len() > PACKED_BYTES_MAX)
    }

    fn fits(&self, right: &Self, max: usize) -> bool {
        self.len() + right.len() <= max * 3 / 4
            && self.bytes.len() + right.bytes.len() <= PACKED_BYTES_MAX * 3 / 4
    }

    fn middle(&self) -> usize {
        if self.bytes.len() <= PACKED_BYTES_MAX {
            return self.len() / 2;
        }
        // Huge keys: halve the bytes instead of the keys. (Beside one that is huge alone a half may
        // still be over; the next insert splits it again.)
        let total = self.bytes.len() as u32;
        let at = self.ends.partition_point(|end| *end <= total / 2);
        let left = |at: usize| self.ends[at.clamp(1, self.len() - 1) - 1];
        let larger = |at: usize| left(at).max(total - left(at));
        let best = if larger(at) <= larger(at + 1) {
            at
        } else {
            at + 1
        };
        best.clamp(1, self.len() - 1)
    }

    fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
        &right[..common(left, right) + 1]
    }

    fn check(&self) {
        let prefix = &self.bytes[..self.prefix_len];
        base::invariant!(self.heads.len() == self.ends.len(), "a head for each key");
        for (at, head) in self.heads.iter().enumerate() {
            let key = self.key(at);
            base::invariant!(key.starts_with(prefix), "the prefix is common");
            base::invariant!(*head == head_of(key, self.prefix_len), "heads are exact");
        }
    }
}

/// Small keys that are copied bit by bit.
#[derive(Debug)]
pub(crate) struct Plain<T>(Vec<T>);

impl<T> Default for Plain<T> {
    fn default() -> Self {
        Plain(Vec::new())
    }
}

impl<T: Copy> Clone for Plain<T> {
    fn clone(&self) -> Self {
        Plain(super::clone_with_room(&self.0))
    }
}

impl<T: Copy + Ord> KeyBlock for Plain<T> {
    type Key = T;
    const LEAF_MAX: usize = 48;
    const INNER_MAX: usize = 48;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn key(&self, at: usize) -> &T {
        &self.0[at]
    }

    fn search(&self, key: &T) -> Result<usize, usize> {
        self.0.binary_search(key)
    }

    fn insert(&mut self, at: usize, key: &T) {
        self.0.insert(at, *key);
    }

    fn remove(&mut self, at: usize) {
        self.0.remove(at);
    }

    fn split_off(&mut self, at: usize) -> Self {
        Plain(self.0.split_off(at))
    }

    fn append(&mut self, right: &Self) {
        self.0.extend_from_slice(&right.0);
    }

    fn is_over(&self, max: usize) -> bool {
        self.0.len() > max
    }

    fn fits(&self, right: &Self, max: usize) -> bool {
        self.0.len() + right.0.len() <= max * 3 / 4
    }

    fn middle(&self) -> usize {
        self.0.len() / 2
    }

    fn separator<'a>(_: &T, right: &'a T) -> &'a T {
        right
    }
}
