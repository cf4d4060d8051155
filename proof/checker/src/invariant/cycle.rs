//! A cycle of keys that stays a cycle: each key's value names the next key.
//!
//! Clients take a node out of the cycle, put one in, or move one elsewhere, always in one transaction that
//! compares the revision of every node that it changes. Half of such a change, an old node among new ones,
//! or a delete without its put leaves a loose end, a second cycle or a tail.

use super::{Look, after, broken, words};
use crate::history::{Key, Row, Value, text};
use crate::verdict::Violation;
use std::collections::{BTreeMap, BTreeSet};

const NODE: &str = "w/node/";

/// The key of a node.
pub fn node(number: u64) -> Key {
    format!("{NODE}{number}").into_bytes()
}

/// The value of a node that is followed by `next`; `tag` makes it unique.
pub fn value(next: u64, tag: &str) -> Value {
    format!("{next} {tag}").into_bytes()
}

/// The number of a row's node.
pub fn number(row: &Row) -> Option<u64> {
    after(&row.key, NODE)?.parse().ok()
}

/// The number of the node that follows it.
pub fn next(row: &Row) -> Option<u64> {
    words(row).first()?.parse().ok()
}

/// Judges each look: no node yet, or one cycle through all of them.
pub(super) fn check(looks: &[Look]) -> Result<(), Violation> {
    for look in looks {
        if let Err(what) = is_one_cycle(&look.rows) {
            return Err(broken("a_cycle_stays_a_cycle", look, what));
        }
    }
    Ok(())
}

fn is_one_cycle(rows: &[Row]) -> Result<(), String> {
    let mut followed_by = BTreeMap::new();
    for row in rows {
        let (Some(number), Some(next)) = (number(row), next(row)) else {
            return Err(format!("{} is no node", text(&row.key)));
        };
        followed_by.insert(number, next);
    }
    let Some(first) = followed_by.keys().next().copied() else {
        return Ok(());
    };
    let mut visited = BTreeSet::new();
    let mut at = first;
    while visited.insert(at) {
        match followed_by.get(&at) {
            Some(next) => at = *next,
            None => return Err(format!("node {at} is named and not there")),
        }
    }
    if at != first {
        return Err(format!("from node {first} on it comes back to node {at}"));
    }
    match followed_by.keys().find(|number| !visited.contains(number)) {
        None => Ok(()),
        Some(aside) => Err(format!("node {aside} is not in the cycle of node {first}")),
    }
}
