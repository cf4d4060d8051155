//! Reading and writing little-endian bytes by hand. Readers are total: any bytes give a value or an
//! error, and no length is believed before the bytes are there.

use bytes::Bytes;

/// Why bytes from outside are refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("the bytes end in the middle of {0}")]
    Short(&'static str),
    /// More bytes than there should be.
    #[error("{0} bytes left over")]
    LeftOver(usize),
    /// A version that this build does not know.
    #[error("format version {found}, this build knows {known}")]
    Version {
        /// The version found.
        found: u16,
        /// The version that this build writes.
        known: u16,
    },
    /// A value outside its bounds.
    #[error("{0} is out of bounds")]
    OutOfBounds(&'static str),
    /// A number that leaves no room to count on from it.
    #[error("{what} is {found}, and {most} is the most that is allowed")]
    TooLarge {
        /// Which number.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The highest value that it may have.
        most: u64,
    },
    /// A checksum does not match.
    #[error("the checksum of {0} does not match")]
    Checksum(&'static str),
    /// The parts contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// Takes values from the front of a slice.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Reader<'a> {
        Reader { bytes, what }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(n)
            .ok_or(DecodeError::Short(self.what))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self
            .bytes
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Short(self.what))?;
        self.bytes = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Bytes that come after their length in 32 bits.
    pub(crate) fn slice(&mut self) -> Result<&'a [u8], DecodeError> {
        let n = self.u32()? as usize;
        self.take(n)
    }

    pub(crate) fn text(&mut self) -> Result<String, DecodeError> {
        let bytes = self.slice()?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::OutOfBounds("a text"))?;
        Ok(text.to_owned())
    }

    /// A flag: 0 or 1, so that equal values have equal bytes.
    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::OutOfBounds("a flag")),
        }
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.bytes.len() {
            0 => Ok(()),
            n => Err(DecodeError::LeftOver(n)),
        }
    }
}

/// Refuses a number that is later added to when it is too large for that.
pub(crate) fn at_most(what: &'static str, found: u64, most: u64) -> Result<(), DecodeError> {
    match found <= most {
        true => Ok(()),
        false => Err(DecodeError::TooLarge { what, found, most }),
    }
}

/// Appends `bytes` after their length in 32 bits.
pub(crate) fn put_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The part of `whole` that `part`, a slice of it, occupies: shared, not copied.
pub(crate) fn share(whole: &Bytes, part: &[u8]) -> Bytes {
    whole.slice_ref(part)
}
