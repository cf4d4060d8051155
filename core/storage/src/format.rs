//! Every byte of the log's own files: sectors, labels, segment headers, the watermark, the identity.
//!
//! What it is not: policy. It says how values look as bytes and whether bytes are sound; what follows
//! from that is `recover`'s business. All decoders are total: hostile bytes give `None`.
//!
//! Numbers are little endian. `docs/format/wal.md` draws all of this to the byte.

use crate::disk::FileName;
use base::{ClusterId, Entry, EntryKind, HardState, Index, LogPosition, MemberId, Term};
use bytes::Bytes;

/// The version of all formats in this file; a directory with another one is refused.
pub const FORMAT_VERSION: u32 = 1;

/// What the disk writes atomically, at the least: bytes.
pub(crate) const SECTOR: usize = 512;
/// Bytes at the end of a record's sector that say which record it belongs to and that it is whole.
pub(crate) const SEAL: usize = 16;
/// Bytes of a record's sector that carry the record.
pub(crate) const SECTOR_PAYLOAD: usize = SECTOR - SEAL;
/// The unit in which everything is placed and written: bytes.
pub(crate) const FRAME: usize = 4096;
/// Sectors in a frame.
pub(crate) const FRAME_SECTORS: usize = FRAME / SECTOR;
/// Bytes of a label, on the record and in its slot.
pub(crate) const LABEL: usize = 128;
/// Slots in one frame of the slot table.
pub(crate) const SLOTS_PER_FRAME: usize = FRAME / LABEL;
/// Frames at the head of a segment that hold its header, once each.
pub(crate) const HEADER_FRAMES: usize = 2;

const LABEL_MAGIC: u32 = u32::from_le_bytes(*b"QREC");
const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"QUORWAL\n");
const WATERMARK_MAGIC: u64 = u64::from_le_bytes(*b"QUORACK\n");
const IDENTITY_MAGIC: u64 = u64::from_le_bytes(*b"QUORWHO\n");

pub(crate) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

pub(crate) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

pub(crate) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn get_position(bytes: &[u8], at: usize) -> LogPosition {
    LogPosition {
        term: Term(get_u64(bytes, at)),
        index: Index(get_u64(bytes, at + 8)),
    }
}

pub(crate) fn put_position(bytes: &mut [u8], at: usize, position: LogPosition) {
    put_u64(bytes, at, position.term.0);
    put_u64(bytes, at + 8, position.index.0);
}

fn get_hard_state(bytes: &[u8], at: usize) -> HardState {
    HardState {
        term: Term(get_u64(bytes, at)),
        vote: MemberId(get_u64(bytes, at + 8)),
        commit: Index(get_u64(bytes, at + 16)),
    }
}

fn put_hard_state(bytes: &mut [u8], at: usize, hard_state: &HardState) {
    put_u64(bytes, at, hard_state.term.0);
    put_u64(bytes, at + 8, hard_state.vote.0);
    put_u64(bytes, at + 16, hard_state.commit.0);
}

/// CRC-32C of `bytes` with the four bytes at `hole` taken as zero: how a block carries its own sum.
pub(crate) fn crc_with_hole(bytes: &[u8], hole: usize) -> u32 {
    let crc = crc32c::crc32c(&bytes[..hole]);
    let crc = crc32c::crc32c_append(crc, &[0; 4]);
    crc32c::crc32c_append(crc, &bytes[hole + 4..])
}

// ---- who this directory belongs to ------------------------------------------------------------

/// Whose data this is. Checked at every start, so that nobody serves another member's promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member.
    pub member: MemberId,
}

/// What an identity file says.
pub(crate) enum IdentityRead {
    Ok(Identity),
    Version(u32),
    Damaged,
}

impl Identity {
    /// The whole file: one frame, the same 40 bytes in its first and in its fifth sector.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut frame = vec![0; FRAME];
        for at in [0, FRAME / 2] {
            let bytes = &mut frame[at..at + 40];
            put_u64(bytes, 0, IDENTITY_MAGIC);
            put_u32(bytes, 8, FORMAT_VERSION);
            put_u64(bytes, 16, self.cluster.0);
            put_u64(bytes, 24, self.member.0);
            put_u32(bytes, 12, crc_with_hole(bytes, 12));
        }
        frame
    }

    pub(crate) fn decode(frame: &[u8]) -> IdentityRead {
        for at in [0, FRAME / 2] {
            let Some(bytes) = frame.get(at..at + 40) else {
                continue;
            };
            if get_u64(bytes, 0) != IDENTITY_MAGIC || get_u32(bytes, 12) != crc_with_hole(bytes, 12)
            {
                continue;
            }
            if get_u32(bytes, 8) != FORMAT_VERSION {
                return IdentityRead::Version(get_u32(bytes, 8));
            }
            return IdentityRead::Ok(Identity {
                cluster: ClusterId(get_u64(bytes, 16)),
                member: MemberId(get_u64(bytes, 24)),
            });
        }
        IdentityRead::Damaged
    }

    /// The hash that the first record of a member's log follows: logs of two members never chain.
    pub(crate) fn first_hash(&self) -> u64 {
        let mut bytes = [0; 16];
        put_u64(&mut bytes, 0, self.cluster.0);
        put_u64(&mut bytes, 8, self.member.0);
        xxhash_rust::xxh3::xxh3_64(&bytes)
    }
}

// ---- what was promised ------------------------------------------------------------------------

/// What was durable, and therefore may have been acknowledged, when something was written (rule R6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Promise {
    /// The serial of the last record known to be durable.
    pub(crate) serial: u64,
    /// How far the log was durable then: the end of that record; or, in a log that has lost something
    /// and not caught up yet, the end before the loss, which is later in Raft's order.
    pub(crate) position: LogPosition,
}

/// The watermark file's block: what was promised, kept apart from the log itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Watermark {
    /// Counts the writes of this block; the higher one of the two is in force.
    pub(crate) generation: u64,
    /// The highest serial that may have been used.
    pub(crate) serial_used: u64,
    /// What was durable.
    pub(crate) promise: Promise,
    /// The highest number of a segment that may have been begun.
    pub(crate) segment: u64,
    /// Its length in bytes.
    pub(crate) segment_bytes: u64,
    /// The hard state of the last durable record.
    pub(crate) hard_state: HardState,
}

impl Watermark {
    /// Bytes of the file: two frames, written in turn.
    pub(crate) const FILE_BYTES: u64 = 2 * FRAME as u64;

    /// Where the block of this generation stands in the file.
    pub(crate) fn offset(&self) -> u64 {
        (self.generation % 2) * FRAME as u64
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut frame = vec![0; FRAME];
        let bytes = &mut frame[..128];
        put_u64(bytes, 0, WATERMARK_MAGIC);
        put_u32(bytes, 8, FORMAT_VERSION);
        put_u64(bytes, 16, self.generation);
        put_u64(bytes, 24, self.serial_used);
        put_u64(bytes, 32, self.promise.serial);
        put_position(bytes, 40, self.promise.position);
        put_u64(bytes, 56, self.segment);
        put_u64(bytes, 64, self.segment_bytes);
        put_hard_state(bytes, 72, &self.hard_state);
        put_u32(bytes, 12, crc_with_hole(bytes, 12));
        frame
    }

    pub(crate) fn decode(frame: &[u8]) -> Option<Watermark> {
        let bytes = frame.get(..128)?;
        let sound = get_u64(bytes, 0) == WATERMARK_MAGIC
            && get_u32(bytes, 12) == crc_with_hole(bytes, 12)
            && get_u32(bytes, 8) == FORMAT_VERSION;
        sound.then(|| Watermark {
            generation: get_u64(bytes, 16),
            serial_used: get_u64(bytes, 24),
            promise: Promise {
                serial: get_u64(bytes, 32),
                position: get_position(bytes, 40),
            },
            segment: get_u64(bytes, 56),
            segment_bytes: get_u64(bytes, 64),
            hard_state: get_hard_state(bytes, 72),
        })
    }
}

// ---- segments ---------------------------------------------------------------------------------

/// How a segment's first record follows what was before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// On the last record of the segment before.
    Chain,
    /// On an earlier record, since what came after that one was damaged and has been given up.
    Cut,
    /// On nothing: the log begins anew at `base`, since nothing before it could be used.
    Restart,
}

/// The header of a segment, in its first two frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) identity: Identity,
    /// The number in the file's name. Never used twice, so a recycled file's old contents show.
    pub(crate) number: u64,
    /// The file's length in bytes; a shorter file has been cut.
    pub(crate) length: u64,
    pub(crate) origin: Origin,
    /// The hash of the record that the first one follows.
    pub(crate) previous_hash: u64,
    /// The end of the log before the first record.
    pub(crate) base: LogPosition,
    /// The highest serial used before.
    pub(crate) serial_used: u64,
    pub(crate) promise: Promise,
}

/// What the first sector of a segment says.
pub(crate) enum HeaderRead {
    Ok(SegmentHeader),
    /// Sound, but of a version that this program does not know.
    Version(u32),
    /// Zeros, damage, or something else altogether.
    None,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut frame = vec![0; FRAME];
        let bytes = &mut frame[..128];
        put_u64(bytes, 0, SEGMENT_MAGIC);
        put_u32(bytes, 8, FORMAT_VERSION);
        put_u64(bytes, 16, self.identity.cluster.0);
        put_u64(bytes, 24, self.identity.member.0);
        put_u64(bytes, 32, self.number);
        put_u64(bytes, 40, self.length);
        put_u64(bytes, 48, self.origin as u64);
        put_u64(bytes, 56, self.previous_hash);
        put_position(bytes, 64, self.base);
        put_u64(bytes, 80, self.serial_used);
        put_u64(bytes, 88, self.promise.serial);
        put_position(bytes, 96, self.promise.position);
        put_u32(bytes, 12, crc_with_hole(bytes, 12));
        frame
    }

    pub(crate) fn decode(frame: &[u8]) -> HeaderRead {
        let Some(bytes) = frame.get(..128) else {
            return HeaderRead::None;
        };
        if get_u64(bytes, 0) != SEGMENT_MAGIC || get_u32(bytes, 12) != crc_with_hole(bytes, 12) {
            return HeaderRead::None;
        }
        if get_u32(bytes, 8) != FORMAT_VERSION {
            return HeaderRead::Version(get_u32(bytes, 8));
        }
        let origin = match get_u64(bytes, 48) {
            0 => Origin::Chain,
            1 => Origin::Cut,
            2 => Origin::Restart,
            _ => return HeaderRead::None,
        };
        HeaderRead::Ok(SegmentHeader {
            identity: Identity {
                cluster: ClusterId(get_u64(bytes, 16)),
                member: MemberId(get_u64(bytes, 24)),
            },
            number: get_u64(bytes, 32),
            length: get_u64(bytes, 40),
            origin,
            previous_hash: get_u64(bytes, 56),
            base: get_position(bytes, 64),
            serial_used: get_u64(bytes, 80),
            promise: Promise {
                serial: get_u64(bytes, 88),
                position: get_position(bytes, 96),
            },
        })
    }
}

/// Where things stand in a segment of a given length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    /// Frames in the file.
    pub(crate) frames: u32,
    /// Frames of the slot table, which begins at frame [`HEADER_FRAMES`].
    pub(crate) slot_frames: u32,
}

impl Layout {
    /// The smallest segment: two headers, one frame of slots, one record.
    pub(crate) const BYTES_MIN: u64 = 4 * FRAME as u64;
    /// The largest one; a frame's number and a record's length fit in 32 bits with room to spare.
    pub(crate) const BYTES_MAX: u64 = 1 << 31;

    pub(crate) fn of(length: u64) -> Layout {
        let frames = (length.clamp(Self::BYTES_MIN, Self::BYTES_MAX) / FRAME as u64) as u32;
        let shared = frames - HEADER_FRAMES as u32;
        // One frame of slots serves SLOTS_PER_FRAME frames of records, since a record has at least one.
        let slot_frames = shared.div_ceil(SLOTS_PER_FRAME as u32 + 1);
        Layout {
            frames,
            slot_frames,
        }
    }

    /// The shortest length in which a record of `frames` fits.
    pub(crate) fn length_for(frames: u32) -> u64 {
        let mut total = HEADER_FRAMES as u32 + frames + 1;
        while Layout::of(u64::from(total) * FRAME as u64).capacity() < frames {
            total += 1;
        }
        u64::from(total) * FRAME as u64
    }

    /// The first frame of the first record.
    pub(crate) fn first_frame(&self) -> u32 {
        HEADER_FRAMES as u32 + self.slot_frames
    }

    /// Frames for records.
    pub(crate) fn capacity(&self) -> u32 {
        self.frames - self.first_frame()
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> u32 {
        self.slot_frames * SLOTS_PER_FRAME as u32
    }

    /// The byte at which the slot of record `number` begins.
    pub(crate) fn slot_offset(number: u32) -> u64 {
        (HEADER_FRAMES * FRAME) as u64 + u64::from(number) * LABEL as u64
    }
}

/// `wal-<number>.log`.
pub(crate) fn segment_name(number: u64) -> FileName {
    FileName::own(&format!("wal-{number}.log"))
}

/// The number in a segment's name.
pub(crate) fn segment_number(name: &FileName) -> Option<u64> {
    let digits = name.as_str().strip_prefix("wal-")?.strip_suffix(".log")?;
    let number: u64 = digits.parse().ok()?;
    // A number that no log can come to is not one of ours.
    (number > 0 && number < 1 << 48 && number.to_string() == digits).then_some(number)
}

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
