//! Reading protobuf in place: the fields of a message, one after the other, borrowed from its bytes.
//!
//! The hot requests are read this way in both halves: nothing is copied and nothing allocated. The
//! reader is total: any bytes give fields or [`Malformed`], never a panic. Where a field occurs twice
//! the reader's caller lets the last one win, as etcd's generated code does. Groups (wire types 3
//! and 4), which no message of etcd uses, count as malformed.

use crate::status::Refusal;

/// The bytes are not a protobuf message, or a field has a type that it cannot have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Refusal {
        Refusal::Malformed
    }
}

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire types 1 and 5, which no message of etcd uses.
    Fixed,
}

impl<'a> Value<'a> {
    /// An `int64`.
    pub(crate) fn int(self) -> Result<i64, Malformed> {
        match self {
            Value::Varint(n) => Ok(n as i64),
            _ => Err(Malformed),
        }
    }

    /// An enumeration: an `int32` on ten bytes.
    pub(crate) fn choice(self) -> Result<i32, Malformed> {
        match self {
            Value::Varint(n) => Ok(n as i32),
            _ => Err(Malformed),
        }
    }

    /// A `bool`.
    pub(crate) fn flag(self) -> Result<bool, Malformed> {
        match self {
            Value::Varint(n) => Ok(n != 0),
            _ => Err(Malformed),
        }
    }

    /// `bytes`, or a message within.
    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed),
        }
    }
}

/// The fields of one message.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Reads from the message's first byte.
    pub(crate) fn of(message: &'a [u8]) -> Fields<'a> {
        Fields(message)
    }

    /// The next field's number and value; nothing at the end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        // Numbers are 1..2^29; a larger key would alias a smaller number when cut.
        if key >> 32 != 0 || key >> 3 == 0 {
            return Err(Malformed);
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.skip(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.skip(4)?,
            _ => return Err(Malformed),
        };
        Ok(Some(((key >> 3) as u32, value)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn skip(&mut self, length: usize) -> Result<Value<'a>, Malformed> {
        self.take(length).map(|_| Value::Fixed)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        // Most are one byte: tags, short lengths, flags.
        if let [first, rest @ ..] = self.0
            && *first < 0x80
        {
            self.0 = rest;
            return Ok(u64::from(*first));
        }
        let mut value = 0u64;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if at == 9 && *byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.0 = &self.0[at + 1..];
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

/// Calls `each` with the numbers of a packed field.
pub(crate) fn packed(bytes: &[u8], mut each: impl FnMut(u64)) -> Result<(), Malformed> {
    let mut rest = Fields(bytes);
    while !rest.0.is_empty() {
        each(rest.varint()?);
    }
    Ok(())
}
