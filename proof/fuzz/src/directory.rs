//! A member's data directory as an input: packed, unpacked, damaged, and sealed again.
//!
//! ```text
//!   which history u8 │ sealed u8 │ parts: which file, its bytes
//! ```
//!
//! Raw damage is what disks do: lost, old, misplaced, torn and flipped sectors, files cut, gone or under
//! another's name. Sealed damage is what no disk does: every sum and the chain of hashes are made anew
//! around it. The layout is that of `docs/format/wal.md`, written down here a second time on purpose.

use crate::mutate;
use crate::parts::{self, Part, part};
use base::{ClusterId, MemberId, Rng};
use storage::{FileName, Identity, LogConfig, MemDisk};
use xxhash_rust::xxh3::Xxh3;

/// Whose directories these are.
pub(crate) const IDENTITY: Identity = Identity {
    cluster: ClusterId(0xc1),
    member: MemberId(0xa1),
};

/// Segments as short as can be, so that there are several.
pub(crate) const CONFIG: LogConfig = LogConfig {
    segment_bytes: 6 * FRAME as u64,
    spares: 2,
    space_low_bytes: 0,
};

/// The head of an input whose sums were made anew.
pub(crate) const SEALED: u8 = 1;

const FRAME: usize = 4096;
const SECTOR: usize = 512;
const PAYLOAD: usize = SECTOR - 16;
const LABEL: usize = 128;
const HEADERS: usize = 2;

/// The part that says whose directory it is.
pub(crate) const IDENTITY_TAG: u8 = 0;
const FIRST_SEGMENT: u8 = 3;
const FIRST_CHECKPOINT: u8 = 64;
const FIRST_UNFINISHED: u8 = 128;
const N_TAGS: u64 = 140;

fn name_of(tag: u8) -> Option<FileName> {
    let name = match tag {
        IDENTITY_TAG => "identity".to_owned(),
        1 => "watermark".to_owned(),
        2 => "manifest".to_owned(),
        FIRST_SEGMENT..FIRST_CHECKPOINT => format!("wal-{}.log", tag - FIRST_SEGMENT + 1),
        FIRST_CHECKPOINT..FIRST_UNFINISHED => format!("checkpoint-{}", tag - FIRST_CHECKPOINT),
        FIRST_UNFINISHED => "identity.new".to_owned(),
        _ => format!("checkpoint-{}.new", tag - FIRST_UNFINISHED),
    };
    FileName::parse(&name)
}

/// The tag of the checkpoint at `index`.
pub(crate) fn checkpoint_tag(index: u8) -> u8 {
    FIRST_CHECKPOINT + index
}

/// The files of `disk` as parts.
pub(crate) fn files(disk: &MemDisk) -> Vec<Part> {
    let tags = 0..N_TAGS as u8;
    tags.filter_map(|tag| Some(part(tag, disk.files().get(&name_of(tag)?)?.clone())))
        .collect()
}

/// The disk that `parts` describe.
pub(crate) fn disk(parts: Vec<Part>) -> MemDisk {
    let mut disk = MemDisk::new();
    for part in parts {
        if let Some(name) = name_of(part.tag) {
            disk.files_mut().insert(name, part.bytes);
        }
    }
    disk
}

/// Damages a directory; pieces come from `other` when it is one of the same history.
pub(crate) fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    if input.len() < 2 {
        return mutate::bytes(input, other, rng);
    }
    let mut files = parts::unpack(&input[2..]);
    input.truncate(2);
    let other = match other.first() == input.first() {
        true => parts::unpack(other.get(2..).unwrap_or(&[])),
        false => Vec::new(),
    };
    let sealed = rng.one_in(2);
    for _ in 0..rng.between(1, 3) {
        match sealed {
            true => edit_sealed(&mut files, rng),
            false => edit_raw(&mut files, &other, rng),
        }
    }
    if sealed {
        input[1] = SEALED;
    }
    input.extend(parts::pack(&files));
}

/// What disks do.
fn edit_raw(files: &mut Vec<Part>, other: &[Part], rng: &mut Rng) {
    if files.is_empty() {
        files.extend(rng.pick(other).cloned());
        return;
    }
    let at = rng.below(files.len() as u64) as usize;
    let tag = files[at].tag;
    let older = other.iter().find(|file| file.tag == tag);
    match rng.below(24) {
        0 => drop(files.remove(at)),
        1 => {
            let with = rng.below(files.len() as u64) as usize;
            let (one, two) = (files[at].tag, files[with].tag);
            (files[at].tag, files[with].tag) = (two, one);
        }
        2 => files[at].tag = rng.below(N_TAGS) as u8,
        // The whole file, or a sector of it, as it was at another time.
        3 | 4 => files[at].bytes = older.map_or(Vec::new(), |file| file.bytes.clone()),
        5..10 => {
            let (to, length) = sectors(&files[at].bytes, rng);
            if let Some(old) = older.and_then(|file| file.bytes.get(to..to + length)) {
                files[at].bytes[to..to + length].copy_from_slice(old);
            }
        }
        10..14 => {
            let (to, length) = sectors(&files[at].bytes, rng);
            files[at].bytes[to..to + length].fill(0);
        }
        14 | 15 => {
            let (to, length) = sectors(&files[at].bytes, rng);
            let (from, _) = sectors(&files[at].bytes, rng);
            let end = files[at].bytes.len().min(from + length);
            files[at].bytes.copy_within(from..end, to.min(from));
        }
        16 => {
            let (to, _) = sectors(&files[at].bytes, rng);
            files[at].bytes.truncate(to);
        }
        _ => {
            let used = interesting(&files[at].bytes, rng);
            if let Some(byte) = files[at].bytes.get_mut(used) {
                *byte ^= 1 << rng.below(8);
            } else {
                mutate::edit(&mut files[at].bytes, &[], rng);
            }
        }
    }
}

/// One sector, or a few: where they begin and how long they are.
fn sectors(bytes: &[u8], rng: &mut Rng) -> (usize, usize) {
    let grain = if rng.one_in(2) { FRAME } else { SECTOR };
    let at = interesting(bytes, rng) / grain * grain;
    (at, grain.min(bytes.len() - at.min(bytes.len())))
}

/// A byte that is not one of the many zeros, if it is easily found.
fn interesting(bytes: &[u8], rng: &mut Rng) -> usize {
    let mut at = 0;
    for _ in 0..16 {
        at = rng.below(bytes.len() as u64) as usize;
        if bytes.get(at).is_some_and(|byte| *byte != 0) {
            break;
        }
    }
    at
}

/// What no disk does.
fn edit_sealed(files: &mut [Part], rng: &mut Rng) {
    if files.is_empty() {
        return;
    }
    let at = rng.below(files.len() as u64) as usize;
    let bytes = &mut files[at].bytes;
    if bytes.len() < FRAME {
        return mutate::edit(bytes, &[], rng);
    }
    let is_segment = bytes.starts_with(b"QUORWAL\n");
    if is_segment && rng.below(4) > 0 {
        let (to, length) = sectors(bytes, rng);
        // A label's fields, or those of the first entry, or anything.
        let within = match rng.below(4) {
            0..3 => 4 * rng.below((LABEL as u64 + 32) / 4) as usize,
            _ => rng.below(PAYLOAD as u64) as usize,
        };
        let place = to + within.min(length.saturating_sub(1));
        match rng.below(3) {
            0 if place < bytes.len() => mutate::put_number(bytes, place, rng),
            _ => mutate::edit_field(bytes, place, rng),
        }
        match rng.below(4) {
            0 => seal_sectors(bytes),
            _ => seal_records(bytes),
        }
    } else {
        // A field of one of the blocks at the beginning of a frame.
        let frame = rng.below((bytes.len() / FRAME).min(2) as u64) as usize * FRAME;
        let place = frame + 8 * rng.between(1, 13) as usize;
        mutate::edit_field(bytes, place, rng);
        if rng.one_in(2) && is_segment && bytes.len() >= 2 * FRAME {
            bytes.copy_within(frame..frame + LABEL, FRAME - frame);
        }
    }
    seal_blocks(bytes);
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| {
        u32::from_le_bytes([four[0], four[1], four[2], four[3]])
    })
}

/// CRC-32C with the four bytes at `hole` taken as zero, written there.
fn seal_hole(block: &mut [u8], hole: usize) {
    block[hole..hole + 4].fill(0);
    let sum = crc32c::crc32c(block);
    block[hole..hole + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Headers, watermarks, manifests, identities: a block at the beginning of a frame.
fn seal_blocks(bytes: &mut [u8]) {
    for frame in bytes.chunks_exact_mut(FRAME) {
        if frame.starts_with(b"QUORWHO\n") {
            seal_hole(&mut frame[..40], 12);
            frame.copy_within(..40, FRAME / 2);
        } else if frame.starts_with(b"QUOR") {
            seal_hole(&mut frame[..LABEL], 12);
        }
    }
}

/// Only what each sector and each label says of itself: records no longer fit their sums.
fn seal_sectors(bytes: &mut [u8]) {
    let first = bytes.len().min(HEADERS * FRAME);
    for label in bytes[first..].chunks_exact_mut(LABEL) {
        if label.starts_with(b"QREC") {
            seal_hole(label, 4);
        }
    }
    for sector in bytes[first..].chunks_exact_mut(SECTOR) {
        if sector[PAYLOAD..].iter().any(|byte| *byte != 0) {
            let sum = crc32c::crc32c(&sector[..SECTOR - 4]);
            sector[SECTOR - 4..].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

/// Whole records, one after the other, as if they had been written so.
fn seal_records(bytes: &mut [u8]) {
    let frames = bytes.len() / FRAME;
    let slot_frames = frames.saturating_sub(HEADERS).div_ceil(FRAME / LABEL + 1);
    let mut at = (HEADERS + slot_frames) * FRAME;
    let mut previous = bytes[56..64].to_vec();
    let mut slot = HEADERS * FRAME;
    while bytes.get(at..at + 4) == Some(&b"QREC"[..]) {
        let body_bytes = word(bytes, at + 48) as usize;
        let sectors = (LABEL + body_bytes.min(bytes.len())).div_ceil(PAYLOAD);
        let length = sectors.div_ceil(FRAME / SECTOR) * FRAME;
        let Some(record) = bytes.get_mut(at..at + length) else {
            return;
        };
        // The number of frames goes with the number of bytes, or nobody looks further.
        record[40..44].copy_from_slice(&((length / FRAME) as u32).to_le_bytes());
        let payload: Vec<u8> = record
            .chunks(SECTOR)
            .flat_map(|sector| sector[..PAYLOAD].to_vec())
            .collect();
        let body = &payload[LABEL..LABEL + body_bytes];
        let mut label = payload[..LABEL].to_vec();
        label[52..56].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
        label[4..8].fill(0);
        label[24..32].fill(0);
        let mut hasher = Xxh3::new();
        hasher.update(&previous);
        hasher.update(&label);
        hasher.update(body);
        previous = hasher.digest().to_le_bytes().to_vec();
        label[24..32].copy_from_slice(&previous);
        seal_hole(&mut label, 4);
        record[..LABEL].copy_from_slice(&label);
        for (ordinal, sector) in record.chunks_exact_mut(SECTOR).enumerate() {
            sector[PAYLOAD..PAYLOAD + 8].copy_from_slice(&label[16..24]);
            sector[PAYLOAD + 8..PAYLOAD + 12].copy_from_slice(&(ordinal as u32).to_le_bytes());
            let sum = crc32c::crc32c(&sector[..SECTOR - 4]);
            sector[SECTOR - 4..].copy_from_slice(&sum.to_le_bytes());
        }
        if let Some(place) = bytes.get_mut(slot..slot + LABEL) {
            place.copy_from_slice(&label);
        }
        slot += LABEL;
        at += length;
    }
}
