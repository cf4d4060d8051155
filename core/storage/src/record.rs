//! The bytes of a record: its label, its entries, and the sealed sectors that carry both.
//!
//! What it is not: policy. It says how a record looks as bytes and whether bytes are sound; what follows
//! from that is `chain.rs`'s business. All decoders are total: hostile bytes give `None`.
//!
//! `docs/format/wal.md` draws all of this to the byte.

use crate::excess::{Beyond, at_most, countable, holdable, promisable, reachable};
use crate::format::{
    FRAME, FRAME_SECTORS, LABEL, Promise, SECTOR, SECTOR_PAYLOAD, crc_with_hole, get_hard_state,
    get_position, get_u32, get_u64, put_hard_state, put_position, put_u32, put_u64,
};
use base::{Entry, EntryKind, HardState, Index, LogPosition};
use bytes::Bytes;

const LABEL_MAGIC: u32 = u32::from_le_bytes(*b"QREC");

// ---- labels: the identifiers of a record ------------------------------------------------------

/// What a record is and how its body must look: kept on the record and, apart from it, in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Label {
    /// The segment's number.
    pub(crate) segment: u64,
    /// Rises with every record ever written here and is never used for two different records.
    pub(crate) serial: u64,
    /// The hash of this record, which covers the hash of the one before.
    pub(crate) hash: u64,
    /// The record's place among the segment's records, from 0.
    pub(crate) number: u32,
    /// Its first frame.
    pub(crate) frame: u32,
    /// How many frames it has.
    pub(crate) frames: u32,
    /// The log is emptied and begins anew after `end`; the record has no entries.
    pub(crate) reset: bool,
    /// The log ended before its watermark when this was written.
    pub(crate) behind: bool,
    /// Bytes and sum of the body.
    pub(crate) body_bytes: u32,
    pub(crate) body_crc: u32,
    /// How many entries the body holds; the last of them is `end`.
    pub(crate) n_entries: u32,
    pub(crate) promise: Promise,
    /// The end of the log after this record.
    pub(crate) end: LogPosition,
    pub(crate) hard_state: HardState,
}

impl Label {
    pub(crate) fn encode(&self) -> [u8; LABEL] {
        let mut bytes = self.encode_unsummed();
        put_u64(&mut bytes, 24, self.hash);
        let crc = crc_with_hole(&bytes, 4);
        put_u32(&mut bytes, 4, crc);
        bytes
    }

    /// Without hash and sum: what the hash covers.
    fn encode_unsummed(&self) -> [u8; LABEL] {
        let mut bytes = [0; LABEL];
        put_u32(&mut bytes, 0, LABEL_MAGIC);
        put_u64(&mut bytes, 8, self.segment);
        put_u64(&mut bytes, 16, self.serial);
        put_u32(&mut bytes, 32, self.number);
        put_u32(&mut bytes, 36, self.frame);
        put_u32(&mut bytes, 40, self.frames);
        put_u32(
            &mut bytes,
            44,
            u32::from(self.reset) | u32::from(self.behind) << 1,
        );
        put_u32(&mut bytes, 48, self.body_bytes);
        put_u32(&mut bytes, 52, self.body_crc);
        put_u32(&mut bytes, 56, self.n_entries);
        put_u64(&mut bytes, 64, self.promise.serial);
        put_position(&mut bytes, 72, self.promise.position);
        put_position(&mut bytes, 88, self.end);
        put_hard_state(&mut bytes, 104, &self.hard_state);
        bytes
    }

    /// The label, when the bytes are one and its numbers agree with each other.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Label> {
        let bytes = bytes.get(..LABEL)?;
        if get_u32(bytes, 0) != LABEL_MAGIC || get_u32(bytes, 4) != crc_with_hole(bytes, 4) {
            return None;
        }
        let label = Label {
            segment: get_u64(bytes, 8),
            serial: get_u64(bytes, 16),
            hash: get_u64(bytes, 24),
            number: get_u32(bytes, 32),
            frame: get_u32(bytes, 36),
            frames: get_u32(bytes, 40),
            reset: get_u32(bytes, 44) & 1 != 0,
            behind: get_u32(bytes, 44) & 2 != 0,
            body_bytes: get_u32(bytes, 48),
            body_crc: get_u32(bytes, 52),
            n_entries: get_u32(bytes, 56),
            promise: Promise {
                serial: get_u64(bytes, 64),
                position: get_position(bytes, 72),
            },
            end: get_position(bytes, 88),
            hard_state: get_hard_state(bytes, 104),
        };
        let sound = get_u32(bytes, 44) <= 3
            && label.frames == record_frames(label.body_bytes as usize)
            && u64::from(label.n_entries) <= label.end.index.0
            && !(label.reset && label.n_entries > 0);
        sound.then_some(label)
    }

    /// Whether all numbers leave room to count on from them. What was promised was written before.
    pub(crate) fn check_numbers(&self) -> Result<(), Beyond> {
        countable("serial", self.serial)?;
        let earlier = self.serial.saturating_sub(1);
        at_most("promised serial", self.promise.serial, earlier)?;
        promisable(self.promise.position)?;
        reachable(self.end)?;
        holdable(&self.hard_state)
    }

    /// The hash of the record with this label and `body`, after a record with hash `previous`.
    pub(crate) fn chain(&self, previous: u64, body: &[u8]) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
        hasher.update(&previous.to_le_bytes());
        hasher.update(&self.encode_unsummed());
        hasher.update(body);
        hasher.digest()
    }

    /// What is promised once this record is durable.
    pub(crate) fn kept(&self) -> Promise {
        let position = match self.behind {
            true => self.promise.position.max(self.end),
            false => self.end,
        };
        Promise {
            serial: self.serial,
            position,
        }
    }

    /// The place of the first entry, or the one after the end when there is none.
    pub(crate) fn first_index(&self) -> Index {
        Index(self.end.index.0 - u64::from(self.n_entries) + 1)
    }
}

/// Frames of a record whose body has `body_bytes`.
pub(crate) fn record_frames(body_bytes: usize) -> u32 {
    let sectors = (LABEL + body_bytes).div_ceil(SECTOR_PAYLOAD);
    sectors.div_ceil(FRAME_SECTORS) as u32
}

// ---- sectors: so that a torn record shows how it was torn ---------------------------------------

/// What one sector in the place of a record turns out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sector {
    /// A whole sector of the record with the serial that was asked for, at its place.
    Ours,
    /// What may have been there before: zeros, or a whole sector of some other record.
    Before,
    /// Neither: no crash leaves this behind, since a sector is written whole or not at all.
    Corrupt,
}

/// The sum in a sector's seal: over the payload, the serial and the ordinal.
fn seal_crc(sector: &[u8]) -> u32 {
    crc32c::crc32c(&sector[..SECTOR - 4])
}

/// Cuts `label` and `body` into sealed sectors, whole frames of them.
pub(crate) fn seal_record(label: &[u8; LABEL], body: &[u8], serial: u64) -> Vec<u8> {
    let frames = record_frames(body.len()) as usize;
    let mut out = vec![0; frames * FRAME];
    let first = body.len().min(SECTOR_PAYLOAD - LABEL);
    out[..LABEL].copy_from_slice(label);
    out[LABEL..LABEL + first].copy_from_slice(&body[..first]);
    for (i, chunk) in body[first..].chunks(SECTOR_PAYLOAD).enumerate() {
        let at = (i + 1) * SECTOR;
        out[at..at + chunk.len()].copy_from_slice(chunk);
    }
    for (ordinal, sector) in out.chunks_exact_mut(SECTOR).enumerate() {
        put_u64(sector, SECTOR_PAYLOAD, serial);
        put_u32(sector, SECTOR_PAYLOAD + 8, ordinal as u32);
        let crc = seal_crc(sector);
        put_u32(sector, SECTOR_PAYLOAD + 12, crc);
    }
    out
}

/// Judges the sector `ordinal` of the record `serial`.
pub(crate) fn judge_sector(sector: &[u8], serial: u64, ordinal: u32) -> Sector {
    if sector.len() != SECTOR {
        return Sector::Corrupt;
    }
    if get_u32(sector, SECTOR_PAYLOAD + 12) == seal_crc(sector) && sector_serial(sector) != 0 {
        let ours =
            sector_serial(sector) == serial && get_u32(sector, SECTOR_PAYLOAD + 8) == ordinal;
        return if ours { Sector::Ours } else { Sector::Before };
    }
    if sector.iter().all(|byte| *byte == 0) {
        Sector::Before
    } else {
        Sector::Corrupt
    }
}

/// The serial in a sector's seal; no record has serial 0.
pub(crate) fn sector_serial(sector: &[u8]) -> u64 {
    get_u64(sector, SECTOR_PAYLOAD)
}

/// The first `bytes` of payload in sealed sectors; the seals are not looked at.
pub(crate) fn unseal(sectors: &[u8], bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    for sector in sectors.chunks_exact(SECTOR) {
        let n = SECTOR_PAYLOAD.min(bytes - out.len());
        out.extend_from_slice(&sector[..n]);
    }
    out
}

// ---- entries ------------------------------------------------------------------------------------

/// Bytes before the data of an entry: term, index, kind, two lengths.
const ENTRY_HEAD: usize = 28;

/// Bytes of `entry` in a body.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    ENTRY_HEAD + entry.data.len() + entry.context.len()
}

pub(crate) fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    let mut head = [0; ENTRY_HEAD];
    put_position(&mut head, 0, entry.position);
    let kind = match entry.kind {
        EntryKind::Normal => 0,
        EntryKind::Change => 1,
    };
    put_u32(&mut head, 16, kind);
    put_u32(&mut head, 20, entry.data.len() as u32);
    put_u32(&mut head, 24, entry.context.len() as u32);
    out.extend_from_slice(&head);
    out.extend_from_slice(&entry.data);
    out.extend_from_slice(&entry.context);
}

/// The entries of a body, each in memory of its own; `None` unless they are exactly what the label
/// says: `n_entries` in a row that end at `end`.
pub(crate) fn decode_entries(mut body: &[u8], label: &Label) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut index = label.first_index();
    while !body.is_empty() {
        let head = body.get(..ENTRY_HEAD)?;
        let kind = match get_u32(head, 16) {
            0 => EntryKind::Normal,
            1 => EntryKind::Change,
            _ => return None,
        };
        let data_end = ENTRY_HEAD.checked_add(get_u32(head, 20) as usize)?;
        let end = data_end.checked_add(get_u32(head, 24) as usize)?;
        let entry = Entry {
            position: get_position(head, 0),
            kind,
            data: Bytes::copy_from_slice(body.get(ENTRY_HEAD..data_end)?),
            context: Bytes::copy_from_slice(body.get(data_end..end)?),
        };
        if entry.position.index != index {
            return None;
        }
        index = index.next();
        entries.push(entry);
        body = &body[end..];
    }
    let last = entries.last().map_or(label.end, |entry| entry.position);
    (entries.len() == label.n_entries as usize && last == label.end).then_some(entries)
}
