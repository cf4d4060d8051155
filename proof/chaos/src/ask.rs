//! What clients ask: the mix of requests, and what they know when they compare.
//!
//! Keys live in *windows*: operation number n uses the few keys of window n / 2000, which nobody used
//! before and nobody uses later. So every key has a short history that can be searched for an order,
//! however long the run is, and the search for one key needs the operations of one window only. The other judge
//! takes the whole history at once, and does not care.
//!
//! Within a window some keys are hot. Values are unique: they are the number of their operation.

use base::{LeaseId, Revision, Rng};
use checker::{Compare, Key, Level, Relation, Request, Row, Span, Target, Value};
use std::collections::BTreeMap;

/// Operations of one window.
pub(crate) const WINDOW: u64 = 2000;
/// Keys of one window, and how many of them are hot.
const KEYS: u64 = 40;
const HOT: u64 = 4;
/// Reads of the past, and watches, begin at most so many revisions ago.
pub(crate) const PAST: u64 = 300;
/// One operation of so many is a compaction …
const COMPACT_EVERY: u64 = 25_000;
/// … of all but so many revisions that every member has told.
const KEPT: u64 = 5_000;

/// What all clients together have heard. It only makes requests interesting; nobody is judged by it.
#[derive(Default)]
pub(crate) struct Memory {
    /// The newest revision that anybody was told.
    pub(crate) newest: Revision,
    /// What each member's watch of everything has told in full.
    pub(crate) told: Vec<Revision>,
    /// The newest revision that somebody asked to compact.
    pub(crate) compacted: Revision,
    rows: BTreeMap<Key, Row>,
}

impl Memory {
    /// Nothing is known of `n` members.
    pub(crate) fn new(n: usize) -> Memory {
        Memory {
            told: vec![Revision(1); n],
            ..Memory::default()
        }
    }

    /// Remembers a revision.
    pub(crate) fn hear(&mut self, revision: Revision) {
        self.newest = self.newest.max(revision);
    }

    /// Remembers a row, for compares.
    pub(crate) fn see(&mut self, row: &Row) {
        self.rows.insert(row.key.clone(), row.clone());
        // Those of old windows come first: nobody asks for them again.
        while self.rows.len() as u64 > 3 * KEYS {
            self.rows.pop_first();
        }
    }
}

/// The `n`th key of a window.
pub(crate) fn key(window: u64, n: u64) -> Key {
    format!("w{window:06}/{n:02}").into_bytes()
}

/// The window that holds `number`.
pub(crate) fn window(number: u64) -> u64 {
    number / WINDOW
}

/// What operation `number` asks.
pub(crate) fn draw(rng: &mut Rng, number: u64, memory: &mut Memory) -> Request {
    if number % COMPACT_EVERY == COMPACT_EVERY - 1
        && let Some(request) = compaction(memory)
    {
        return request;
    }
    let window = window(number);
    let one = draw_key(rng, window);
    let value = value(number, 0);
    match rng.below(100) {
        0..34 => put(one, value),
        34..56 => range(Span::single(one), Level::Linearizable),
        56..60 => range(Span::single(one), Level::Serializable),
        60..68 => delete(Span::single(one)),
        68..82 => swap(rng, one, value, memory),
        82..90 => over_several_keys(rng, window, number),
        90..95 => range(draw_span(rng, window, KEYS), Level::Linearizable),
        95..97 => delete(draw_span(rng, window, 3)),
        _ => Request::Range {
            span: draw_span(rng, window, KEYS),
            at: Some(past(rng, memory)),
            level: Level::Linearizable,
        },
    }
}

/// A revision of the recent past.
pub(crate) fn past(rng: &mut Rng, memory: &Memory) -> Revision {
    Revision(memory.newest.0.saturating_sub(rng.below(PAST)).max(1))
}

/// A span of at most `keys_max` keys.
pub(crate) fn draw_span(rng: &mut Rng, window: u64, keys_max: u64) -> Span {
    let first = rng.below(KEYS);
    let end = first + rng.between(1, keys_max);
    Span::between(key(window, first), key(window, end.min(99)))
}

fn draw_key(rng: &mut Rng, window: u64) -> Key {
    match rng.one_in(4) {
        true => key(window, rng.below(HOT)),
        false => key(window, rng.below(KEYS)),
    }
}

fn value(number: u64, part: u64) -> Value {
    format!("{number}.{part}").into_bytes()
}

fn put(key: Key, value: Value) -> Request {
    Request::Put {
        key,
        value,
        lease: LeaseId::NONE,
    }
}

fn delete(span: Span) -> Request {
    Request::Delete { span }
}

fn range(span: Span, level: Level) -> Request {
    Request::Range {
        span,
        at: None,
        level,
    }
}

/// Compare and swap, on what somebody has seen there lately.
fn swap(rng: &mut Rng, key: Key, value: Value, memory: &Memory) -> Request {
    let target = match memory.rows.get(&key) {
        None => Target::Create(Revision(0)),
        Some(row) if row.version == 0 => Target::Version(0),
        Some(row) if rng.one_in(2) => Target::Value(row.value.clone()),
        Some(row) => Target::Modified(row.modified),
    };
    Request::Txn {
        compares: vec![Compare {
            key: key.clone(),
            target,
            relation: Relation::Equal,
        }],
        then: vec![put(key.clone(), value)],
        otherwise: vec![range(Span::single(key), Level::Linearizable)],
    }
}

/// Two keys written, or one deleted, and a third read; all at one revision.
fn over_several_keys(rng: &mut Rng, window: u64, number: u64) -> Request {
    let first = rng.below(KEYS);
    let [a, b, c] = [0, 7, 19].map(|step| key(window, (first + step) % KEYS));
    let relation = match rng.one_in(2) {
        true => Relation::Equal,
        false => Relation::Greater,
    };
    Request::Txn {
        compares: vec![Compare {
            key: a.clone(),
            target: Target::Version(0),
            relation,
        }],
        then: vec![
            put(a.clone(), value(number, 0)),
            put(b, value(number, 1)),
            range(Span::single(c.clone()), Level::Linearizable),
        ],
        otherwise: vec![delete(Span::single(a)), put(c, value(number, 2))],
    }
}

fn compaction(memory: &mut Memory) -> Option<Request> {
    let told = memory.told.iter().min()?;
    let revision = Revision(told.0.checked_sub(KEPT)?);
    if revision <= memory.compacted {
        return None;
    }
    memory.compacted = revision;
    Some(Request::Compact { revision })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_in_their_window() {
        let (mut rng, mut memory) = (Rng::new(1), Memory::new(3));
        for number in 3 * WINDOW..4 * WINDOW {
            let text = draw(&mut rng, number, &mut memory).to_string();
            assert!(text.contains("w000003/"), "{text}");
            assert_eq!(text.matches("w0").count(), text.matches("w000003/").count());
        }
    }

    #[test]
    fn what_a_member_has_not_told_is_not_compacted() {
        let mut memory = Memory::new(2);
        let mut rng = Rng::new(1);
        memory.told = vec![Revision(90_000), Revision(40_000)];
        let compact = draw(&mut rng, COMPACT_EVERY - 1, &mut memory);
        let revision = Revision(40_000 - KEPT);
        assert_eq!(compact, Request::Compact { revision });
        // And not twice.
        let other = draw(&mut rng, COMPACT_EVERY - 1, &mut memory);
        assert!(!matches!(other, Request::Compact { .. }));
    }
}
