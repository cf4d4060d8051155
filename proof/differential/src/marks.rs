//! Marks: numbers in a request that stand for what is known only when it is sent, and in an answer for what a
//! server chose itself.
//!
//! ```text
//!   in the plan          sent to each server            in an answer             compared
//!   revision: now-3  →   revision: 41               …   lease: 7587…41   →       lease: granted 2
//!   lease: granted 2 →   lease: 7587…41 | 694d…03       member_id: 8e9e…  →      member_id: member 0
//! ```
//!
//! So one plan fits both servers, and any part of it can be left out when a failure is shrunk.

use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use std::collections::BTreeMap;

/// The present revision, plus or minus the distance.
pub(crate) const NOW: i64 = 1 << 50;
/// The revision of the last compaction, plus or minus the distance.
pub(crate) const COMPACTED: i64 = 1 << 51;
/// The n-th lease that the server named.
pub(crate) const GRANTED: i64 = 1 << 52;
/// Leases in the order in which servers named them.
const EVER: i64 = GRANTED + 1000;
/// The n-th member's id.
pub(crate) const MEMBER: i64 = 1 << 53;
/// The cluster's id.
pub(crate) const CLUSTER: i64 = 1 << 54;

const REACH: i64 = 1 << 20;

/// What both servers agree on, as of the last answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// The newest revision that an answer told.
    pub(crate) now: i64,
    /// The last revision that was compacted with success.
    pub(crate) compacted: i64,
}

/// What one server chose, by the marks that stand for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    chosen: BTreeMap<i64, i64>,
    marks: BTreeMap<i64, i64>,
    n_leases: i64,
    texts: Vec<(String, String)>,
}

impl Names {
    /// `mark` stands for `number` from now on. In answers a lease has a mark of its own for ever, because its number
    /// under which requests know it is given away again.
    pub(crate) fn learn(&mut self, mark: i64, number: i64) {
        self.chosen.insert(mark, number);
        let mut own = mark;
        if (GRANTED..EVER).contains(&mark) {
            own = EVER + self.n_leases;
            self.n_leases += 1;
            self.chosen.insert(own, number);
        }
        self.marks.insert(number, own);
    }

    /// In answers, `number` means the same as what `mark` stands for.
    pub(crate) fn learn_another(&mut self, mark: i64, number: i64) {
        self.marks.insert(number, mark);
    }

    /// `word` stands for `text` from now on.
    pub(crate) fn learn_text(&mut self, word: &str, text: &str) {
        self.texts.retain(|(known, _)| known != word);
        self.texts.push((word.to_owned(), text.to_owned()));
    }

    /// The mark of a number in an answer; the number itself if the server did not choose it.
    pub(crate) fn mark_of(&self, number: i64) -> i64 {
        // Small numbers are nobody's id.
        if number.unsigned_abs() < 1 << 32 {
            return number;
        }
        self.marks.get(&number).copied().unwrap_or(number)
    }

    fn number_of(&self, mark: i64, known: Known) -> i64 {
        let near = |base: i64| (mark - base).abs() < REACH;
        if near(NOW) {
            return known.now + (mark - NOW);
        }
        if near(COMPACTED) {
            return known.compacted + (mark - COMPACTED);
        }
        self.chosen.get(&mark).copied().unwrap_or(mark)
    }

    pub(crate) fn marked_text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (word, own) in &self.texts {
            if text.contains(own.as_str()) {
                text = text.replace(own.as_str(), word);
            }
        }
        text
    }

    /// Keys of locks end with their lease in hexadecimal.
    pub(crate) fn marked_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        swap_lease(bytes, &self.marks)
    }

    /// Writes what the marks in `message` stand for on this server.
    pub(crate) fn fill(&self, message: &mut DynamicMessage, known: Known) {
        for (_, value) in message.fields_mut() {
            self.fill_value(value, known);
        }
    }

    fn fill_value(&self, value: &mut Value, known: Known) {
        match value {
            Value::I64(n) if *n > REACH => *n = self.number_of(*n, known),
            Value::U64(n) if *n > REACH.cast_unsigned() => {
                *n = self.number_of(n.cast_signed(), known).cast_unsigned();
            }
            Value::Bytes(bytes) if bytes.len() > 8 => {
                let swapped = swap_lease(bytes, &self.chosen);
                if swapped != *bytes {
                    *bytes = swapped.into();
                }
            }
            Value::Message(message) => self.fill(message, known),
            Value::List(list) => list
                .iter_mut()
                .for_each(|value| self.fill_value(value, known)),
            _ => {}
        }
    }
}

/// `name/lease` with another lease, if there is one for it.
fn swap_lease(bytes: &[u8], leases: &BTreeMap<i64, i64>) -> Vec<u8> {
    let swapped = || {
        let at = bytes.iter().rposition(|byte| *byte == b'/')?;
        let hex = std::str::from_utf8(&bytes[at + 1..]).ok()?;
        let lease = leases.get(&i64::from_str_radix(hex, 16).ok()?)?;
        Some([&bytes[..=at], format!("{lease:x}").as_bytes()].concat())
    };
    swapped().unwrap_or_else(|| bytes.to_vec())
}

/// A mark in words, for people; `None` for every other number.
pub(crate) fn word(number: i128) -> Option<String> {
    let number = i64::try_from(number).ok()?;
    let near = |base: i64| ((number - base).abs() < REACH).then_some(number - base);
    if number < NOW - REACH {
        return None;
    }
    if let Some(distance) = near(NOW) {
        return Some(format!("now{distance:+}"));
    }
    if let Some(distance) = near(COMPACTED) {
        return Some(format!("compacted{distance:+}"));
    }
    if let Some(n) = near(GRANTED) {
        return Some(format!("granted {n}"));
    }
    if let Some(n) = near(MEMBER) {
        return Some(format!("member {n}"));
    }
    (number == CLUSTER).then(|| "the cluster".to_owned())
}

/// `template` of this kind of message, with its marks filled in.
pub(crate) fn filled(template: &DynamicMessage, names: &Names, known: Known) -> Vec<u8> {
    let mut message = DynamicMessage::new(template.descriptor());
    message.clone_from(template);
    names.fill(&mut message, known);
    prost::Message::encode_to_vec(&message)
}
