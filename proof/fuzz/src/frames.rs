//! Streams of frames between members: cut, damaged and sealed again.
//!
//! What is damaged and not sealed again dies at a checksum, which is one test; everything behind it is
//! only reached with right ones. The layout is that of `docs/format/peer.md`, written down here a
//! second time on purpose: a fuzzer that used the product's own idea of it would share its mistakes.

use crate::mutate;
use base::{ClusterId, MemberId, Rng};
use wire::{HEADER_BYTES, Origin};

/// Whose frames are expected.
pub(crate) const ORIGIN: Origin = Origin {
    cluster: ClusterId(0xc1),
    member: MemberId(2),
};

const LENGTH: usize = 8;
const BODY_SUM: usize = 12;
const CLUSTER: usize = 16;
const HEADER_SUM: usize = 32;

/// The frames of a stream by their own lengths; what is no whole frame comes last.
pub(crate) fn split(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while !stream.is_empty() {
        let claimed = stream.get(LENGTH..LENGTH + 4).map_or(0, |four| {
            u32::from_le_bytes([four[0], four[1], four[2], four[3]]) as usize
        });
        let (frame, rest) = stream.split_at(stream.len().min(HEADER_BYTES + claimed));
        frames.push(frame.to_vec());
        stream = rest;
    }
    frames
}

/// Puts length and both sums right.
pub(crate) fn seal(frame: &mut [u8]) {
    if frame.len() < HEADER_BYTES {
        return;
    }
    let length = (frame.len() - HEADER_BYTES) as u32;
    frame[LENGTH..LENGTH + 4].copy_from_slice(&length.to_le_bytes());
    let sum = crc32c::crc32c(&frame[HEADER_BYTES..]);
    frame[BODY_SUM..BODY_SUM + 4].copy_from_slice(&sum.to_le_bytes());
    seal_header(frame);
}

fn seal_header(frame: &mut [u8]) {
    let sum = crc32c::crc32c(&frame[..HEADER_SUM]);
    frame[HEADER_SUM..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
}

/// Damages one frame or the order of them.
pub(crate) fn edit(frames: &mut Vec<Vec<u8>>, other: &[Vec<u8>], rng: &mut Rng) {
    if frames.is_empty() {
        frames.extend(rng.pick(other).cloned());
        return;
    }
    let at = rng.below(frames.len() as u64) as usize;
    match rng.below(20) {
        0 => drop(frames.remove(at)),
        1 => {
            let again = frames[at].clone();
            let to = rng.below(frames.len() as u64 + 1) as usize;
            frames.insert(to, again);
        }
        2 => {
            let with = rng.below(frames.len() as u64) as usize;
            frames.swap(at, with);
        }
        3 | 4 => {
            let foreign = rng.pick(other).cloned();
            frames.splice(at..at, foreign).for_each(drop);
        }
        // Not sealed: for the checksums themselves.
        5 => mutate::edit(&mut frames[at], &[], rng),
        // A header that says something else and is sealed.
        6 if frames[at].len() >= HEADER_BYTES => {
            let field = rng.below(HEADER_SUM as u64) as usize;
            mutate::put_number(&mut frames[at][..HEADER_SUM], field, rng);
            seal_header(&mut frames[at]);
        }
        _ => {
            let foreign = rng.pick(other).cloned().unwrap_or_default();
            edit_body(&mut frames[at], &foreign, rng);
        }
    }
    frames.truncate(400);
}

fn edit_body(frame: &mut Vec<u8>, foreign: &[u8], rng: &mut Rng) {
    if frame.len() < HEADER_BYTES {
        return;
    }
    let mut body = frame.split_off(HEADER_BYTES);
    let foreign = foreign.get(HEADER_BYTES..).unwrap_or(&[]);
    // A message of Raft: eight numbers from byte 4 on, of which small changes mean the most.
    if body.first() == Some(&1) && body.len() > 4 + 9 * 8 && rng.below(3) > 0 {
        let field = 4 + 8 * rng.below(9) as usize;
        mutate::edit_field(&mut body, field, rng);
    } else if body.len() > 4 && rng.one_in(6) {
        // Another kind, or a flag.
        let at = rng.below(4) as usize;
        body[at] = rng.below(12) as u8;
    } else {
        mutate::edit(&mut body, foreign, rng);
    }
    frame.extend_from_slice(&body);
    // Mostly the sender is who it should be: everybody else is refused by the header already.
    if !rng.one_in(16) && frame.len() > HEADER_BYTES + 20 && frame[HEADER_BYTES] == 1 {
        let sender: [u8; 8] = match frame[HEADER_BYTES + 12..HEADER_BYTES + 20].try_into() {
            Ok(sender) => sender,
            Err(_) => return,
        };
        frame[CLUSTER + 8..CLUSTER + 16].copy_from_slice(&sender);
    }
    seal(frame);
}

/// Mutates a stream of frames that follows `head` bytes of another meaning.
pub(crate) fn mutate(input: &mut Vec<u8>, head: usize, other: &[u8], rng: &mut Rng) {
    if rng.one_in(12) || input.len() < head {
        mutate::bytes(input, other, rng);
        return;
    }
    let mut frames = split(&input.split_off(head));
    let other = split(other.get(head..).unwrap_or(&[]));
    for _ in 0..rng.between(1, 4) {
        edit(&mut frames, &other, rng);
    }
    if head > 0 && rng.one_in(8) {
        input[0] = rng.next_u64() as u8;
    }
    input.extend(frames.concat());
    input.truncate(mutate::INPUT_BYTES_MAX);
}
