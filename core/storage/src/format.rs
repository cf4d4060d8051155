//! The bytes of the log's files but for its records: segment headers, the watermark, the identity.
//!
//! What it is not: policy. It says how values look as bytes and whether bytes are sound; what follows
//! from that is `recover`'s business. All decoders are total: hostile bytes give `None`.
//!
//! Numbers are little endian. `docs/format/wal.md` draws all of this to the byte; records are in
//! `record.rs`.

use crate::disk::FileName;
use crate::excess::{Beyond, at_most, countable, holdable, promisable, reachable};
use base::{ClusterId, HardState, Index, LogPosition, MemberId, Term};

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

pub(crate) fn get_hard_state(bytes: &[u8], at: usize) -> HardState {
    HardState {
        term: Term(get_u64(bytes, at)),
        vote: MemberId(get_u64(bytes, at + 8)),
        commit: Index(get_u64(bytes, at + 16)),
    }
}

pub(crate) fn put_hard_state(bytes: &mut [u8], at: usize, hard_state: &HardState) {
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

    /// Whether all numbers leave room to count on from them. A serial that was promised was used.
    pub(crate) fn check_numbers(&self) -> Result<(), Beyond> {
        countable("generation", self.generation)?;
        countable("serial", self.serial_used)?;
        at_most("promised serial", self.promise.serial, self.serial_used)?;
        promisable(self.promise.position)?;
        at_most("segment", self.segment, SEGMENT_MAX)?;
        holdable(&self.hard_state)
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

    /// As [`Watermark::check_numbers`]; but a header that was restored may promise more than was used
    /// before it, for it promises what was known when it was restored.
    pub(crate) fn check_numbers(&self) -> Result<(), Beyond> {
        reachable(self.base)?;
        countable("serial", self.serial_used)?;
        countable("promised serial", self.promise.serial)?;
        promisable(self.promise.position)
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

/// The highest number of a segment: no log comes to it.
pub(crate) const SEGMENT_MAX: u64 = (1 << 48) - 1;

/// The number in a segment's name.
pub(crate) fn segment_number(name: &FileName) -> Option<u64> {
    let digits = name.as_str().strip_prefix("wal-")?.strip_suffix(".log")?;
    let number: u64 = digits.parse().ok()?;
    // A number that no log can come to is not one of ours.
    (number > 0 && number <= SEGMENT_MAX && number.to_string() == digits).then_some(number)
}
