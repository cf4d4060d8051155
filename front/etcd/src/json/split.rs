//! Taking a stream apart into JSON objects, bounded in bytes and depth.
//!
//! A client of a stream sends one object after the other, with or without white space between. Where an object ends is
//! seen without understanding it: brackets are counted, strings are stepped over. What is between the brackets is
//! [`super::Schema::read`]'s business.

use super::{JSON_DEPTH_MAX, JsonError};
use bytes::{Buf, Bytes, BytesMut};

/// Takes bytes as they come and gives whole objects.
///
/// Invariant: the first `looked_at` bytes of `held` belong to one object that has not ended.
pub struct JsonValues {
    held: BytesMut,
    looked_at: usize,
    depth: usize,
    /// Within a string, and whether after a backslash.
    string: Option<bool>,
    bytes_max: usize,
}

impl JsonValues {
    /// Objects of at most `bytes_max` bytes each.
    pub fn new(bytes_max: usize) -> JsonValues {
        JsonValues {
            held: BytesMut::new(),
            looked_at: 0,
            depth: 0,
            string: None,
            bytes_max,
        }
    }

    /// Takes what came. What came before must have been drained by [`JsonValues::next_value`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Bytes of an object that has begun and not ended.
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// The next whole object, or nothing until more comes.
    ///
    /// # Errors
    /// What comes is no object, too deep or too large; the stream cannot go on.
    pub fn next_value(&mut self) -> Result<Option<Bytes>, JsonError> {
        if self.looked_at == 0 {
            let is_space = |byte: &&u8| matches!(**byte, b' ' | b'\t' | b'\r' | b'\n');
            let n_spaces = self.held.iter().take_while(is_space).count();
            self.held.advance(n_spaces);
        }
        while let Some(byte) = self.held.get(self.looked_at) {
            if self.depth == 0 && *byte != b'{' {
                return Err(JsonError::NoObject(char::from(*byte)));
            }
            self.looked_at += 1;
            if self.looked_at > self.bytes_max {
                return Err(JsonError::TooLarge(self.bytes_max));
            }
            match (self.string, byte) {
                (Some(true), _) => self.string = Some(false),
                (Some(false), b'\\') => self.string = Some(true),
                (Some(false), b'"') => self.string = None,
                (Some(false), _) => {}
                (None, b'"') => self.string = Some(false),
                (None, b'{' | b'[') => {
                    self.depth += 1;
                    if self.depth > JSON_DEPTH_MAX {
                        return Err(JsonError::TooDeep);
                    }
                }
                (None, b'}' | b']') => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let value = self.held.split_to(self.looked_at).freeze();
                        self.looked_at = 0;
                        return Ok(Some(value));
                    }
                }
                (None, _) => {}
            }
        }
        Ok(None)
    }

    /// Says that no more comes.
    ///
    /// # Errors
    /// An object has begun and not ended.
    pub fn end(&self) -> Result<(), JsonError> {
        match self.held.is_empty() {
            true => Ok(()),
            false => Err(JsonError::Truncated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_apart(text: &str, step: usize) -> Result<Vec<String>, JsonError> {
        let mut values = JsonValues::new(100);
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(step) {
            values.push(piece);
            while let Some(value) = values.next_value()? {
                out.push(String::from_utf8(value.to_vec()).expect("ASCII"));
            }
        }
        values.end()?;
        Ok(out)
    }

    #[test]
    fn objects_come_out_whole_however_they_were_cut() {
        let text = " {\"a\":\"}{\\\"\"}\n{}{\"b\":[{}]} \r\n{\"c\\\\\":1}\t";
        let wanted = ["{\"a\":\"}{\\\"\"}", "{}", "{\"b\":[{}]}", "{\"c\\\\\":1}"];
        for step in [1, 2, 3, 7, 100] {
            assert_eq!(taken_apart(text, step).expect("valid"), wanted, "{step}");
        }
    }

    #[test]
    fn what_is_no_object_too_deep_too_large_or_cut_off_is_refused() {
        let deep = |n: usize| "{\"a\":".repeat(n);
        let mut values = JsonValues::new(10_000);
        values.push(deep(JSON_DEPTH_MAX).as_bytes());
        assert_eq!(values.next_value(), Ok(None));
        values.push(b"[");
        assert_eq!(values.next_value(), Err(JsonError::TooDeep));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(100));
        for (text, why) in [
            ("{\"a\":", JsonError::Truncated),
            ("{} x", JsonError::NoObject('x')),
            ("[{}]", JsonError::NoObject('[')),
            ("}", JsonError::NoObject('}')),
            (&long, JsonError::TooLarge(100)),
        ] {
            for step in [1, 3, 1000] {
                assert_eq!(taken_apart(text, step), Err(why.clone()), "{text}");
            }
        }
        assert_eq!(taken_apart("", 1), Ok(Vec::new()));
    }
}
