//! Writing protobuf in place: fields straight into one buffer, without messages in between.
//!
//! As in prost and in Go, a field with its default value is left out; a message within is written with
//! its length first, so lengths are computed before bytes are.

/// Bytes that `value` takes as a varint.
#[inline]
pub(crate) const fn varint_len(value: u64) -> usize {
    // One byte per seven bits, at least one (the division-free form that prost and others use).
    ((value | 1).ilog2() as usize * 9 + 73) / 64
}

/// Writes a varint.
#[inline]
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// Bytes of a field's tag.
#[inline]
const fn tag_len(field: u32) -> usize {
    varint_len((field as u64) << 3)
}

#[inline]
fn tag(out: &mut Vec<u8>, field: u32, wire_type: u64) {
    varint(out, (u64::from(field) << 3) | wire_type);
}

/// Bytes of an integer field (`int64` is passed `as u64`); none when it is 0.
#[inline]
pub(crate) const fn uint_len(field: u32, value: u64) -> usize {
    if value == 0 {
        0
    } else {
        tag_len(field) + varint_len(value)
    }
}

/// Writes an integer field, unless it is 0.
#[inline]
pub(crate) fn uint(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        tag(out, field, VARINT);
        varint(out, value);
    }
}

/// Bytes of a `bytes` field; none when it is empty.
#[inline]
pub(crate) const fn bytes_len(field: u32, length: usize) -> usize {
    if length == 0 {
        0
    } else {
        message_len(field, length)
    }
}

/// Writes a `bytes` field, unless it is empty.
#[inline]
pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    if !value.is_empty() {
        message(out, field, value.len());
        out.extend_from_slice(value);
    }
}

/// Bytes of a message field whose body has `length` bytes.
#[inline]
pub(crate) const fn message_len(field: u32, length: usize) -> usize {
    tag_len(field) + varint_len(length as u64) + length
}

/// Opens a message field: the caller writes `length` bytes next.
#[inline]
pub(crate) fn message(out: &mut Vec<u8>, field: u32, length: usize) {
    tag(out, field, BYTES);
    varint(out, length as u64);
}

/// Writes a message field whose length is known only afterwards: `write` fills it in place, and the
/// bytes move by the few that the length takes.
pub(crate) fn nested(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, BYTES);
    let start = out.len();
    // Room for the length of anything below 128 bytes; more is made when needed.
    out.push(0);
    write(out);
    close(out, start);
}

/// Opens a message field of unknown length; the answer goes to [`close`].
pub(crate) fn open(out: &mut Vec<u8>, field: u32) -> usize {
    tag(out, field, BYTES);
    out.push(0);
    out.len() - 1
}

/// Ends a field begun by [`open`].
pub(crate) fn close(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start - 1;
    let width = varint_len(length as u64);
    if width > 1 {
        let from = start + 1;
        let end = out.len();
        out.resize(end + width - 1, 0);
        out.copy_within(from..end, from + width - 1);
    }
    let mut rest = length as u64;
    for place in &mut out[start..start + width - 1] {
        *place = rest as u8 | 0x80;
        rest >>= 7;
    }
    out[start + width - 1] = rest as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_in_hindsight_is_the_same_as_one_in_advance() {
        for length in [0, 1, 127, 128, 300, 16_383, 16_384, 2_097_152] {
            let body = vec![7; length];
            let (mut before, mut after) = (vec![1, 2], vec![1, 2]);
            message(&mut before, 3, length);
            before.extend_from_slice(&body);
            nested(&mut after, 3, |out| out.extend_from_slice(&body));
            assert!(before == after, "length {length}");
            assert_eq!(before.len(), 2 + message_len(3, length));
        }
    }

    #[test]
    fn varints_take_the_bytes_that_were_announced() {
        for shift in 0..64 {
            for value in [(1u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                let mut out = Vec::new();
                varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value), "{value}");
            }
        }
    }
}
