//! Mutations: small damage to valid bytes, of the kinds that find careless decoders.
//!
//! Nothing here knows a format; formats with checksums put theirs right afterwards (`frames`,
//! `directory`, `chunks`), so that the damage gets past the front door.

use base::Rng;

/// Bytes of an input at most, so that a run takes microseconds and not milliseconds.
pub(crate) const INPUT_BYTES_MAX: usize = 256 * 1024;

/// Numbers at the ends of things.
pub(crate) const NUMBERS: &[u64] = &[
    0,
    1,
    2,
    3,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    (1 << 62) - 1,
    1 << 62,
    (1 << 62) + 1,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// A number at the end of something, or a small one.
pub(crate) fn number(rng: &mut Rng) -> u64 {
    match rng.below(3) {
        0 => rng.below(24),
        _ => rng.pick(NUMBERS).copied().unwrap_or(0),
    }
}

/// One to four edits of `input`; splices take from `other`.
pub(crate) fn bytes(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    for _ in 0..rng.between(1, 4) {
        edit(input, other, rng);
    }
    input.truncate(INPUT_BYTES_MAX);
}

/// One edit.
pub(crate) fn edit(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let length = input.len() as u64;
    if length == 0 {
        input.extend((0..rng.between(1, 8)).map(|_| rng.next_u64() as u8));
        return;
    }
    let at = rng.below(length) as usize;
    match rng.below(12) {
        0 => input[at] ^= 1 << rng.below(8),
        1 => input[at] = number(rng) as u8,
        2 => input[at] = input[at].wrapping_add(rng.between(1, 8) as u8),
        3 => input[at] = input[at].wrapping_sub(rng.between(1, 8) as u8),
        4 => put_number(input, at, rng),
        5 => input.truncate(at),
        6 => {
            let fresh: Vec<u8> = match rng.below(2) {
                0 => (0..rng.between(1, 9))
                    .map(|_| rng.next_u64() as u8)
                    .collect(),
                _ => vec![number(rng) as u8; rng.between(1, 40) as usize],
            };
            input.splice(at..at, fresh);
        }
        7 => drop(input.drain(range(at, input.len(), rng))),
        8 => {
            let piece = input[range(at, input.len(), rng)].to_vec();
            let to = rng.below(length + 1) as usize;
            input.splice(to..to, piece);
        }
        9 => splice(input, at, other, rng),
        10 => edit_varint(input, at, rng),
        _ => edit_length(input, rng),
    }
}

/// A range that begins at `at`, mostly short.
fn range(at: usize, length: usize, rng: &mut Rng) -> std::ops::Range<usize> {
    let longest = if rng.one_in(4) { length } else { 24 };
    at..length.min(at + 1 + rng.below(longest as u64) as usize)
}

/// The front of this and the back of the other, or a piece of the other in the middle.
fn splice(input: &mut Vec<u8>, at: usize, other: &[u8], rng: &mut Rng) {
    if other.is_empty() {
        return;
    }
    let from = rng.below(other.len() as u64) as usize;
    if rng.one_in(2) {
        input.truncate(at);
        input.extend_from_slice(&other[from..]);
    } else {
        let piece = other[range(from, other.len(), rng)].to_vec();
        let end = input.len().min(at + piece.len());
        input.splice(at..end, piece);
    }
}

/// Writes a number of one to eight bytes, little endian.
pub(crate) fn put_number(input: &mut [u8], at: usize, rng: &mut Rng) {
    let bytes = number(rng).to_le_bytes();
    let width = (1usize << rng.below(4)).min(input.len() - at);
    input[at..at + width].copy_from_slice(&bytes[..width]);
}

/// Changes the number of eight bytes at `at`: a little, or altogether. Nothing when it is not there.
pub(crate) fn edit_field(input: &mut [u8], at: usize, rng: &mut Rng) {
    let Some(field) = input.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<8>) else {
        return;
    };
    let now = u64::from_le_bytes(*field);
    let fresh = match rng.below(4) {
        0 => now.wrapping_add(rng.between(1, 4)),
        1 => now.wrapping_sub(rng.between(1, 4)),
        _ => number(rng),
    };
    *field = fresh.to_le_bytes();
}

/// Takes the bytes at `at` for a varint and writes another one in its place, of another width too.
fn edit_varint(input: &mut Vec<u8>, at: usize, rng: &mut Rng) {
    let continued = input[at..].iter().take(9).take_while(|byte| **byte >= 0x80);
    let end = input.len().min(at + continued.count() + 1);
    let mut fresh = Vec::new();
    prost::encoding::encode_varint(number(rng), &mut fresh);
    if rng.one_in(8) {
        // Longer than need be, or than there can be.
        let last = fresh.len() - 1;
        fresh[last] |= 0x80;
        fresh.extend(std::iter::repeat_n(0x80, rng.below(9) as usize));
        fresh.push(rng.below(3) as u8);
    }
    input.splice(at..end, fresh);
}

/// Looks for something that could be the length of what follows and makes it a wrong one.
fn edit_length(input: &mut [u8], rng: &mut Rng) {
    let start = rng.below(input.len() as u64) as usize;
    for at in start..input.len() {
        for width in [4, 2] {
            let Some(bytes) = input.get(at..at + width) else {
                continue;
            };
            let mut wide = [0; 8];
            wide[..width].copy_from_slice(bytes);
            let claimed = u64::from_le_bytes(wide);
            let left = (input.len() - at - width) as u64;
            if claimed == 0 || claimed > left {
                continue;
            }
            let wrong = match rng.below(5) {
                0 => claimed - 1,
                1 => claimed + 1,
                2 => left,
                3 => left + 1,
                _ => number(rng),
            };
            input[at..at + width].copy_from_slice(&wrong.to_le_bytes()[..width]);
            return;
        }
    }
}
