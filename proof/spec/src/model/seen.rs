//! The set of fingerprints that an exploration has seen.
//!
//! An open table with linear probing: fingerprints are random already, so they need no hash, and
//! nobody walks over them, so their order never shows. 0 marks a free slot.

use super::fingerprint::Fingerprint;

/// A set of fingerprints. At most half of the slots are taken.
#[derive(Debug)]
pub struct Seen {
    slots: Vec<u128>,
    len: usize,
}

impl Seen {
    /// The empty set.
    pub fn new() -> Seen {
        Seen {
            slots: vec![0; 1024],
            len: 0,
        }
    }

    /// Adds `print`; whether it was new.
    pub fn insert(&mut self, print: Fingerprint) -> bool {
        if self.len * 2 >= self.slots.len() {
            let larger = vec![0; self.slots.len() * 2];
            for old in std::mem::replace(&mut self.slots, larger) {
                if old != 0 {
                    self.put(old);
                }
            }
        }
        let new = self.put(print.0);
        self.len += usize::from(new);
        new
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn put(&mut self, print: u128) -> bool {
        let mask = self.slots.len() - 1;
        let mut slot = print as usize & mask;
        while self.slots[slot] != 0 {
            if self.slots[slot] == print {
                return false;
            }
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = print;
        true
    }
}

impl Default for Seen {
    fn default() -> Seen {
        Seen::new()
    }
}
