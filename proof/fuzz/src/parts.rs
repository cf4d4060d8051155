//! An input of several parts: requests one after another, or the files of a directory.
//!
//! ```text
//!   ( tag u8 │ length u32 │ bytes )*
//! ```
//!
//! Reading is total: a length beyond the end means "all that is left". So every input is a list of
//! parts, and damage to the list itself is not wasted on the list.

use crate::mutate;
use base::Rng;

/// One part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    /// What it is: a method, or which file.
    pub(crate) tag: u8,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

/// A part.
pub(crate) fn part(tag: u8, bytes: impl Into<Vec<u8>>) -> Part {
    let bytes = bytes.into();
    Part { tag, bytes }
}

/// Parts as one input.
pub(crate) fn pack(parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.push(part.tag);
        out.extend_from_slice(&(part.bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(&part.bytes);
    }
    out
}

/// The parts of any input.
pub(crate) fn unpack(mut input: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    while let Some((tag, rest)) = input.split_first() {
        let (length, rest) = match rest.split_first_chunk::<4>() {
            Some((length, rest)) => (u32::from_le_bytes(*length) as usize, rest),
            None => (0, &rest[..0]),
        };
        let (bytes, rest) = rest.split_at(length.min(rest.len()));
        parts.push(part(*tag, bytes));
        input = rest;
    }
    parts
}

/// Damages one part or the order of them.
pub(crate) fn edit(parts: &mut Vec<Part>, other: &[Part], n_tags: u64, rng: &mut Rng) {
    if parts.is_empty() {
        parts.extend(rng.pick(other).cloned());
        return;
    }
    let at = rng.below(parts.len() as u64) as usize;
    let foreign = rng.pick(other).cloned();
    match rng.below(16) {
        0 => drop(parts.remove(at)),
        1 => {
            let again = parts[at].clone();
            let to = rng.below(parts.len() as u64 + 1) as usize;
            parts.insert(to, again);
        }
        2 => {
            let with = rng.below(parts.len() as u64) as usize;
            parts.swap(at, with);
        }
        3 => parts.splice(at..at, foreign).for_each(drop),
        4 => parts[at].tag = rng.below(n_tags) as u8,
        _ => {
            let other = foreign.map_or(Vec::new(), |part| part.bytes);
            mutate::edit(&mut parts[at].bytes, &other, rng);
        }
    }
    parts.truncate(64);
}
