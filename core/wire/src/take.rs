//! Taking values off the front of bytes that nobody vouches for.

use crate::WireError;
use bytes::{Buf, Bytes};

/// What is left of a body. Every method takes from the front or says why not.
pub(crate) struct Take {
    rest: Bytes,
}

impl Take {
    pub(crate) fn new(body: Bytes) -> Take {
        Take { rest: body }
    }

    /// Bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// `n` bytes, sharing the body's memory.
    pub(crate) fn bytes(&mut self, n: usize) -> Result<Bytes, WireError> {
        if n > self.rest.len() {
            return Err(WireError::Malformed("cut short"));
        }
        Ok(self.rest.split_to(n))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let Some(array) = self.rest.first_chunk::<N>() else {
            return Err(WireError::Malformed("cut short"));
        };
        let array = *array;
        self.rest.advance(N);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A flag: 0 or 1 and nothing else, so that one value has one encoding.
    pub(crate) fn flag(&mut self) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Malformed("a flag that is neither 0 nor 1")),
        }
    }

    /// A count of things that take at least `bytes_each`: refused when the rest cannot hold them, so
    /// that it can be given to `Vec::with_capacity`.
    pub(crate) fn check_count(&self, count: usize, bytes_each: usize) -> Result<usize, WireError> {
        match count.checked_mul(bytes_each) {
            Some(bytes) if bytes <= self.left() => Ok(count),
            _ => Err(WireError::Malformed("a count beyond the end")),
        }
    }

    /// Text of at most `bytes_max` bytes, with its length in front.
    pub(crate) fn text(&mut self, bytes_max: usize) -> Result<String, WireError> {
        let n = usize::from(self.u16()?);
        if n > bytes_max {
            return Err(WireError::Malformed("text that is too long"));
        }
        let bytes = self.bytes(n)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(WireError::Malformed("text that is not UTF-8")),
        }
    }

    /// Refuses bytes that mean nothing.
    pub(crate) fn end(self) -> Result<(), WireError> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(WireError::Malformed("bytes after the end")),
        }
    }
}
