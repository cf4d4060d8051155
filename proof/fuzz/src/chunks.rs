//! Snapshot streams: cut into chunks, damaged and sealed again (`docs/format/snapshot.md`).

use crate::mutate;
use base::Rng;
use xxhash_rust::xxh3::Xxh3;

/// Length and kind before a chunk's payload, and the hash behind it.
const HEAD: usize = 5;
const HASH: usize = 8;

/// Where numbers of eight bytes stand in payloads: those of a head (revision, applied, time, digest), of
/// a root (compacted, swept, end), of a lease or a version (the first field), and of a record.
const FIELDS: &[usize] = &[
    12, 20, 28, 36, 44, 1, 9, 17, 0, 8, 16, 24, 32, 40, 48, 56, 64,
];

/// The chunks of a stream without their hashes; what is no whole chunk comes last.
pub(crate) fn split(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    while let Some(four) = stream.first_chunk::<4>() {
        let end = HEAD + u32::from_le_bytes(*four) as usize;
        if end + HASH > stream.len() {
            break;
        }
        chunks.push(stream[..end].to_vec());
        stream = &stream[end + HASH..];
    }
    if !stream.is_empty() {
        chunks.push(stream.to_vec());
    }
    chunks
}

/// The stream of `chunks`, with lengths that are right and hashes that are right.
pub(crate) fn seal(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut hasher = Xxh3::new();
    let mut out = Vec::new();
    for chunk in chunks {
        let mut chunk = chunk.clone();
        if chunk.len() >= HEAD {
            let length = (chunk.len() - HEAD) as u32;
            chunk[..4].copy_from_slice(&length.to_le_bytes());
        }
        hasher.update(&chunk);
        out.extend_from_slice(&chunk);
        out.extend_from_slice(&hasher.digest().to_le_bytes());
    }
    out
}

/// Damages the payload of a chunk or the order of them, and seals.
pub(crate) fn mutate_sealed(stream: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let mut chunks = split(stream);
    let other = split(other);
    for _ in 0..rng.between(1, 3) {
        if chunks.is_empty() {
            break;
        }
        let at = rng.below(chunks.len() as u64) as usize;
        let foreign = rng.pick(&other).cloned();
        match rng.below(16) {
            0 => drop(chunks.remove(at)),
            1 => {
                let again = chunks[at].clone();
                chunks.insert(at, again);
            }
            2 => {
                let with = rng.below(chunks.len() as u64) as usize;
                chunks.swap(at, with);
            }
            3 => chunks.splice(at..at, foreign).for_each(drop),
            4 if chunks[at].len() >= HEAD => chunks[at][4] = rng.below(9) as u8,
            5..10 => {
                let field = rng.pick(FIELDS).copied().unwrap_or(0);
                mutate::edit_field(&mut chunks[at], HEAD + field, rng);
            }
            10 | 11 if chunks[at].len() > HEAD => {
                let from = HEAD + rng.below((chunks[at].len() - HEAD) as u64) as usize;
                mutate::edit_field(&mut chunks[at], from, rng);
            }
            _ => {
                let start = HEAD.min(chunks[at].len());
                let mut payload = chunks[at].split_off(start);
                let foreign = foreign.unwrap_or_default();
                mutate::edit(&mut payload, foreign.get(HEAD..).unwrap_or(&[]), rng);
                chunks[at].extend_from_slice(&payload);
            }
        }
    }
    chunks.truncate(64);
    *stream = seal(&chunks);
}
