//! Ranges of keys: one key, everything below an end, or everything from a key on.

use bytes::Bytes;

/// Where a range ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RangeEnd {
    /// The range is its start and nothing else.
    Single,
    /// The range ends before this key.
    Before(Bytes),
    /// The range has no end.
    Unbounded,
}

/// A range of keys in byte order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRange {
    /// The first key that may be in it.
    pub start: Bytes,
    /// Where it ends.
    pub end: RangeEnd,
}

impl KeyRange {
    /// Just `key`.
    pub fn single(key: impl Into<Bytes>) -> KeyRange {
        KeyRange {
            start: key.into(),
            end: RangeEnd::Single,
        }
    }

    /// From `start` up to, without, `end`; empty when `end` is not above `start`.
    pub fn between(start: impl Into<Bytes>, end: impl Into<Bytes>) -> KeyRange {
        KeyRange {
            start: start.into(),
            end: RangeEnd::Before(end.into()),
        }
    }

    /// From `start` on.
    pub fn from(start: impl Into<Bytes>) -> KeyRange {
        KeyRange {
            start: start.into(),
            end: RangeEnd::Unbounded,
        }
    }

    /// Every key.
    pub fn all() -> KeyRange {
        KeyRange::from(Bytes::new())
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> KeyRange {
        let start: Bytes = prefix.into();
        let end = match end_of_prefix(&start) {
            Some(end) => RangeEnd::Before(end),
            None => RangeEnd::Unbounded,
        };
        KeyRange { start, end }
    }

    /// Whether `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == self.start,
            RangeEnd::Before(end) => key >= &self.start[..] && key < &end[..],
            RangeEnd::Unbounded => key >= &self.start[..],
        }
    }

    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, RangeEnd::Before(end) if end <= &self.start)
    }

    /// The part of the range above `key`: how a reader that works in steps goes on.
    pub fn after(&self, key: &[u8]) -> KeyRange {
        let mut start = Vec::with_capacity(key.len() + 1);
        start.extend_from_slice(key);
        start.push(0);
        match &self.end {
            // `start..start` is empty, which is all that is left above a single key.
            RangeEnd::Single => KeyRange::between(start.clone(), start),
            end => KeyRange {
                start: Bytes::from(start).max(self.start.clone()),
                end: end.clone(),
            },
        }
    }
}

/// The first key that is above every key with this prefix, if there is one.
fn end_of_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_just_the_keys_that_begin_with_it() {
        let cases: [(&[u8], &[u8], bool); 7] = [
            (b"a", b"a", true),
            (b"a", b"a\xff\xff", true),
            (b"a", b"b", false),
            (b"a\xff", b"a\xff\xff", true),
            (b"a\xff", b"b", false),
            (b"\xff\xff", b"\xff\xff\xff", true),
            (b"", b"anything", true),
        ];
        for (prefix, key, expected) in cases {
            let range = KeyRange::prefix(prefix.to_vec());
            assert_eq!(range.contains(key), expected, "{range:?} {key:?}");
        }
    }

    #[test]
    fn what_is_left_after_a_key_begins_right_above_it() {
        let range = KeyRange::between("a", "c");
        let rest = range.after(b"b");
        assert!(!rest.contains(b"b") && rest.contains(b"b\0") && !rest.contains(b"c"));
        assert!(KeyRange::single("a").after(b"a").is_empty());
    }
}
