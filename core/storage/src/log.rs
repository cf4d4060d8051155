//! The log as a planner: it decides which bytes go where and leaves the writing to a shell.
//!
//! What it is not: a reader (that is [`crate::recover()`]), a cache of entries, or a thread.
//!
//! Invariants:
//! - Plans are executed in the order in which they were asked for, and *a plan is asked for only after
//!   all earlier ones were executed completely* ([`Log::prepare`] alone may run beside them). So when record
//!   n+1 is planned, record n is durable,
//!   and record n+1 says so ([`Promise`]).
//! - A record is written once, in a place where nothing of value stands; it carries the hash of its
//!   predecessor and a serial that no other record ever had.
//! - Numbers of segments only rise; a file that is used again gets a new name first.
//!
//! Next: `format.rs` for the bytes, `docs/format/wal.md` for the argument about crashes.

use crate::disk::{FileName, Op};
use crate::format::{
    FRAME, HEADER_FRAMES, Identity, LABEL, Layout, Origin, Promise, SLOTS_PER_FRAME, SegmentHeader,
    Watermark, segment_name,
};
use crate::record::{Label, encode_entry, entry_bytes, record_frames, seal_record};
use base::{
    Entry, HardState, Index, LogPosition, Mark, Mutant, Mutants, SnapshotMeta, Term, invariant,
};
use bytes::Bytes;
use std::collections::VecDeque;

/// "It is not known how much was promised": later than every position. A member with this watermark
/// is told by the others how far it must catch up, see [`Log::settle`].
pub const UNKNOWN: LogPosition = LogPosition {
    term: Term(u64::MAX),
    index: Index(u64::MAX),
};

/// Bytes of entries in one record; one entry may exceed it alone. An append with more becomes several
/// records, so that recovery needs no more memory than this for one.
const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bounds of the log's files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// Length of a segment in bytes, a multiple of 4096, at least 16 KiB and at most 2 GiB. A record
    /// that does not fit gets a longer segment of its own.
    pub segment_bytes: u64,
    /// Segments kept ready beside the one in use, at least 2: the next one and the reserve, from which
    /// a member whose disk is full can still log deletes and compactions.
    pub spares: usize,
    /// Below this much free space ([`crate::Disk::space_left`]) the disk counts as low: checkpoints
    /// need room too.
    pub space_low_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 64 * 1024 * 1024,
            spares: 2,
            space_low_bytes: 128 * 1024 * 1024,
        }
    }
}

impl LogConfig {
    /// The nearest configuration that keeps all bounds.
    pub(crate) fn bounded(self) -> LogConfig {
        let bytes = self
            .segment_bytes
            .clamp(Layout::BYTES_MIN, Layout::BYTES_MAX);
        LogConfig {
            segment_bytes: bytes / FRAME as u64 * FRAME as u64,
            spares: self.spares.max(2),
            ..self
        }
    }
}

/// How much the disk can still take.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Space {
    /// Everything goes.
    Normal,
    /// Only the reserve is left: growing writes are refused before they are proposed; deletes,
    /// compactions, elections and changes of membership still fit.
    Low,
    /// Nothing is left but the rest of the current segment ([`Log::room_bytes`]): propose nothing.
    Full,
}

/// A segment that is complete: nothing is written to it any more.
#[derive(Clone, Debug)]
pub(crate) struct OldSegment {
    pub(crate) number: u64,
    pub(crate) length: u64,
    /// Whether a record was ever begun in it.
    pub(crate) is_begun: bool,
    /// No entry in it, and no end of the log while it was written, is later than this.
    pub(crate) last: Index,
}

/// The segment in use.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) number: u64,
    pub(crate) length: u64,
    pub(crate) layout: Layout,
    /// Records in it; the next one gets this number.
    pub(crate) records: u32,
    /// Where the next record begins.
    pub(crate) next_frame: u32,
    /// The frame of the slot table that holds the slot of the next record, as it is on disk.
    pub(crate) slots: Vec<u8>,
    /// As in [`OldSegment`].
    pub(crate) last: Index,
}

impl Current {
    pub(crate) fn new(number: u64, length: u64, last: Index) -> Current {
        let layout = Layout::of(length);
        Current {
            number,
            length,
            layout,
            records: 0,
            next_frame: layout.first_frame(),
            slots: vec![0; FRAME],
            last,
        }
    }

    fn room(&self) -> u32 {
        if self.records >= self.layout.slots() {
            return 0;
        }
        self.layout.frames - self.next_frame
    }
}

/// The write-ahead log of one member. See the module's head for the contract.
#[derive(Clone, Debug)]
pub struct Log {
    pub(crate) identity: Identity,
    pub(crate) config: LogConfig,
    pub(crate) mutants: Mutants,
    /// Complete segments, oldest first.
    pub(crate) old: VecDeque<OldSegment>,
    pub(crate) current: Option<Current>,
    /// Numbers of prepared segments of the configured length, ascending, all above the current one.
    pub(crate) spares: VecDeque<u64>,
    /// A spare that the shell has been asked to make.
    pub(crate) preparing: Option<u64>,
    /// Spares that came too late: the log uses a higher number already.
    pub(crate) late: Vec<u64>,
    pub(crate) next_number: u64,
    /// How the next segment follows; [`Origin::Chain`] unless recovery gave something up.
    pub(crate) origin: Origin,
    /// The hash of the last record.
    pub(crate) hash: u64,
    pub(crate) serial_used: u64,
    pub(crate) promise: Promise,
    pub(crate) end: LogPosition,
    pub(crate) hard_state: HardState,
    /// The watermark file as it is on disk.
    pub(crate) watermark: Watermark,
}

impl Log {
    /// The last entry of the log, or the checkpoint that it begins after.
    pub fn end(&self) -> LogPosition {
        self.end
    }

    /// The hard state that was appended last.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// How far this member's log has ever been durable, in Raft's order. While it is later than
    /// [`Log::end`] the member may have acknowledged what it no longer has, and must neither vote nor
    /// acknowledge. May be [`UNKNOWN`].
    pub fn watermark(&self) -> LogPosition {
        self.promise.position
    }

    /// Whether the log ends before its watermark.
    pub fn is_recovering(&self) -> bool {
        self.promise.position > self.end
    }

    /// Says how far a log with [`UNKNOWN`] watermark must catch up: the last entry that the leader has
    /// when it hears of this member's loss. Takes effect with the next record or seal. Does nothing
    /// when the watermark is known.
    pub fn settle(&mut self, watermark: LogPosition) {
        if self.promise.position == UNKNOWN {
            self.promise.position = watermark.max(self.end);
        }
    }

    /// Plans to make `hard_state` and `entries` durable together. Entries at or before the end of the
    /// log replace what is there and all that follows it. With nothing to write the plan is empty;
    /// otherwise its last operation is the one sync that makes it durable.
    ///
    /// An append of more than 16 MiB, or of more than a segment holds, becomes several records, each
    /// synced before the next. A plan that fails with [`crate::DiskFault::NoSpace`] in a `Create` has
    /// written nothing yet: it may be executed again from its start.
    ///
    /// Panics (a bug of the caller) when the entries have holes among them or to the log.
    pub fn append(&mut self, hard_state: Option<HardState>, entries: &[Entry]) -> Vec<Op> {
        let mut ops = Vec::new();
        if let Some(first) = entries.first() {
            let (first, last) = (first.position.index, self.end.index);
            if first <= last {
                Mark::TailReplaced.reach();
            }
            invariant!(
                first.0 > 0 && first <= last.next(),
                "entry {first} after log end {last}"
            );
        }
        for pair in entries.windows(2) {
            let (one, two) = (pair[0].position.index, pair[1].position.index);
            invariant!(one.next() == two, "entry {two} follows entry {one}");
        }
        if hard_state.is_none() && entries.is_empty() {
            return ops;
        }
        if let Some(hard_state) = hard_state {
            self.hard_state = hard_state;
        }
        let mut rest = entries;
        loop {
            let (now, later) = rest.split_at(self.record_entries(rest));
            self.plan_record(now, None, &mut ops);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        if self.mutants.has(Mutant::AcknowledgeBeforeSync) {
            ops.pop();
        }
        ops
    }

    /// How many of `entries` go into the next record: as many as its bound and a segment allow, and
    /// always at least one.
    fn record_entries(&self, entries: &[Entry]) -> usize {
        let frames_max = Layout::of(self.config.segment_bytes).capacity();
        let mut bytes = 0;
        for (i, entry) in entries.iter().enumerate() {
            bytes += entry_bytes(entry);
            if i > 0 && (bytes > RECORD_BYTES_MAX || record_frames(bytes) > frames_max) {
                return i;
            }
        }
        entries.len()
    }

    /// Plans to empty the log and to begin it anew after a received snapshot, whose checkpoint must be
    /// durable already. A crash before the last operation leaves the old log, which recovery finds to
    /// be superseded by the checkpoint. The segments before are freed by [`Log::truncate_prefix`].
    pub fn install(&mut self, meta: &SnapshotMeta) -> Vec<Op> {
        let mut ops = Vec::new();
        Mark::LogRestarted.reach();
        self.plan_record(&[], Some(meta.position), &mut ops);
        ops
    }

    /// Plans to free the oldest segment, if no entry after `to` is in it: into a spare if one is wanted.
    /// Empty when there is no such segment; to be asked again until then, other plans between. One at a
    /// time, so that a record need not wait for many, and that the segments left after a crash have no
    /// hole among them. `to` must not be later than the *older* of the two checkpoints that are kept
    /// ([`crate::Catalog::log_floor`]), so that the log reaches back to it should the newer one be
    /// damaged.
    pub fn truncate_prefix(&mut self, to: Index) -> Vec<Op> {
        let Some(segment) = self.old.pop_front_if(|segment| segment.last <= to) else {
            return Vec::new();
        };
        let file = segment_name(segment.number);
        let ready = self.spares.len() + usize::from(self.preparing.is_some());
        let is_spare = ready < self.config.spares && segment.length == self.config.segment_bytes;
        let free = if is_spare {
            Mark::SegmentRecycled.reach();
            let number = self.next_number;
            self.next_number += 1;
            self.spares.push_back(number);
            let to = segment_name(number);
            Op::Rename { from: file, to }
        } else {
            Op::Remove { file }
        };
        vec![free, Op::SyncDir]
    }

    /// Plans to make one more spare segment, if one is wanted. To be asked when nothing else is to be
    /// done; then [`Log::prepared`] must be told how it went. Making a file may take long, so this is
    /// the one plan that may be executed beside the others, by another thread: it touches no file that
    /// they touch.
    pub fn prepare(&mut self) -> Option<Vec<Op>> {
        let mut ops = Vec::new();
        for number in std::mem::take(&mut self.late) {
            ops.extend([
                Op::Remove {
                    file: segment_name(number),
                },
                Op::SyncDir,
            ]);
        }
        if self.preparing.is_none() && self.spares.len() < self.config.spares {
            let number = self.next_number;
            self.next_number += 1;
            self.preparing = Some(number);
            ops.extend(create(number, self.config.segment_bytes));
        }
        (!ops.is_empty()).then_some(ops)
    }

    /// Whether the plan of [`Log::prepare`] was executed (`true`) or failed for want of space.
    pub fn prepared(&mut self, done: bool) {
        let in_use = self.current.as_ref().map_or(0, |current| current.number);
        match self.preparing.take().filter(|_| done) {
            Some(number) if number > in_use => {
                let at = self.spares.partition_point(|spare| *spare < number);
                self.spares.insert(at, number);
            }
            // The log could not wait and went past this number.
            Some(number) => {
                Mark::SpareTooLate.reach();
                self.late.push(number);
            }
            None => {}
        }
    }

    /// Plans to note, apart from the log itself, how far it is durable; nothing when that is noted
    /// already. To be asked when nothing has been appended for some milliseconds and before a planned
    /// stop: it closes the window in which a last record that was lost entirely looks like one that was
    /// never durable (docs/format/wal.md, "the last record").
    pub fn seal(&mut self) -> Option<Vec<Op>> {
        let noted = self.watermark.promise == self.promise;
        (!noted).then(|| self.plan_watermark())
    }

    /// How much more the disk takes, given what [`crate::Disk::space_left`] says.
    pub fn space(&self, space_left_bytes: u64) -> Space {
        // What could be made counts like what is made: under a burst the spare's maker lags, and that is
        // no reason to refuse writes on a disk with room.
        let creatable = (space_left_bytes / self.config.segment_bytes).min(2) as usize;
        match self.spares.len() + creatable {
            0 => Space::Full,
            1 => Space::Low,
            _ if space_left_bytes < self.config.space_low_bytes => Space::Low,
            _ => Space::Normal,
        }
    }

    /// Bytes of records that fit without making a new file.
    pub fn room_bytes(&self) -> u64 {
        let spare = Layout::of(self.config.segment_bytes).capacity();
        let frames = self.current.as_ref().map_or(0, Current::room)
            + spare.saturating_mul(self.spares.len() as u32);
        u64::from(frames) * FRAME as u64
    }

    /// How many segments hold the log, without spares.
    pub fn segments(&self) -> usize {
        self.old.len() + usize::from(self.current.is_some())
    }

    /// The files in which records stand, oldest first; no spares.
    pub fn files(&self) -> impl Iterator<Item = FileName> {
        let old = self.old.iter().filter(|segment| segment.is_begun);
        let old = old.map(|segment| segment.number);
        let current = self.current.iter().filter(|current| current.records > 0);
        old.chain(current.map(|current| current.number))
            .map(segment_name)
    }

    /// Plans one record and its sync.
    fn plan_record(&mut self, entries: &[Entry], reset: Option<LogPosition>, ops: &mut Vec<Op>) {
        let mut body = Vec::with_capacity(entries.iter().map(entry_bytes).sum());
        for entry in entries {
            encode_entry(entry, &mut body);
        }
        let frames = record_frames(body.len());
        let header = match &self.current {
            Some(current) if current.records > 0 && current.room() >= frames => None,
            Some(current) if current.records == 0 && current.room() >= frames => {
                Some(self.plan_watermark())
            }
            _ => Some(self.plan_roll(frames)),
        };
        let begins = header.is_some();
        ops.extend(header.into_iter().flatten());
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.records == 1)
        {
            // The segment's first record is durable: noted elsewhere, so that the loss of the whole
            // segment is not taken for one that was never begun.
            ops.extend(self.plan_watermark());
        }

        let before = (self.end, self.promise, self.hash, self.serial_used);
        self.end = reset
            .or(entries.last().map(|entry| entry.position))
            .unwrap_or(self.end);
        self.serial_used += 1;
        let hard_state = HardState {
            // In the first of several records the end may not be there yet that `commit` speaks of.
            commit: self.hard_state.commit.min(self.end.index),
            ..self.hard_state
        };
        let current = self
            .current
            .as_mut()
            .expect("a segment with room was chosen above");
        let mut label = Label {
            segment: current.number,
            serial: self.serial_used,
            hash: 0,
            number: current.records,
            frame: current.next_frame,
            frames,
            reset: reset.is_some(),
            behind: before.1.position > before.0,
            body_bytes: body.len() as u32,
            body_crc: crc32c::crc32c(&body),
            n_entries: entries.len() as u32,
            promise: before.1,
            end: self.end,
            hard_state,
        };
        label.hash = label.chain(before.2, &body);
        let encoded = label.encode();
        let file = segment_name(current.number);
        if begins {
            let header = SegmentHeader {
                identity: self.identity,
                number: current.number,
                length: current.length,
                origin: self.origin,
                previous_hash: before.2,
                base: before.0,
                serial_used: before.3,
                promise: before.1,
            };
            let frame = header.encode();
            let data = Bytes::from([&frame[..], &frame[..]].concat());
            debug_assert_eq!(data.len(), HEADER_FRAMES * FRAME);
            ops.push(Op::Write {
                file: file.clone(),
                offset: 0,
                data,
            });
            self.origin = Origin::Chain;
        }
        ops.push(Op::Write {
            file: file.clone(),
            offset: u64::from(label.frame) * FRAME as u64,
            data: Bytes::from(seal_record(&encoded, &body, label.serial)),
        });
        ops.push(current.note(&encoded, &label));
        ops.push(Op::Sync { file });

        current.last = current.last.max(before.0.index).max(self.end.index);
        self.hash = label.hash;
        self.promise = label.kept();
    }

    /// Ends the current segment and takes one in which `frames` fit; returns what that needs on disk.
    fn plan_roll(&mut self, frames: u32) -> Vec<Op> {
        let mut ops = Vec::new();
        if let Some(full) = self.current.take() {
            let Current {
                number,
                length,
                last,
                records,
                ..
            } = full;
            self.old.push_back(OldSegment {
                number,
                length,
                is_begun: records > 0,
                last,
            });
        }
        let standard = self.config.segment_bytes;
        let fits = Layout::of(standard).capacity() >= frames;
        let length = if fits {
            standard
        } else {
            Layout::length_for(frames)
        };
        let number = match self.spares.pop_front() {
            Some(number) if fits => number,
            // Numbers must rise, so a longer segment takes the name of the next spare. The name of a spare
            // that is being made is left alone: whoever makes it must not meet the log in it.
            taken => {
                Mark::NoSpare.reach();
                let number = taken.unwrap_or(self.next_number);
                self.next_number = self.next_number.max(number + 1);
                ops.extend(create(number, length));
                number
            }
        };
        self.current = Some(Current::new(number, length, self.end.index));
        ops.extend(self.plan_watermark());
        ops
    }

    /// Notes what is durable now, and which segment is in use.
    pub(crate) fn plan_watermark(&mut self) -> Vec<Op> {
        let in_use = self
            .current
            .as_ref()
            .map(|current| (current.number, current.length));
        let (segment, segment_bytes) =
            in_use.unwrap_or((self.watermark.segment, self.watermark.segment_bytes));
        self.watermark = Watermark {
            generation: self.watermark.generation + 1,
            serial_used: self.serial_used,
            promise: self.promise,
            segment,
            segment_bytes,
            hard_state: HardState {
                commit: self.hard_state.commit.min(self.end.index),
                ..self.hard_state
            },
        };
        let file = watermark_name();
        let data = Bytes::from(self.watermark.encode());
        let offset = self.watermark.offset();
        vec![
            Op::Write {
                file: file.clone(),
                offset,
                data,
            },
            Op::Sync { file },
        ]
    }

    /// Panics when an invariant does not hold; for the simulator, after every step.
    pub fn check(&self) {
        let numbers = self.old.iter().map(|segment| segment.number);
        let numbers = numbers.chain(self.current.iter().map(|current| current.number));
        let numbers: Vec<u64> = numbers.chain(self.spares.iter().copied()).collect();
        invariant!(
            numbers.is_sorted_by(|a, b| a < b),
            "segments out of order: {numbers:?}"
        );
        let below = numbers.iter().all(|number| *number < self.next_number);
        invariant!(below, "segment number {} is taken", self.next_number);
        invariant!(
            self.promise.serial <= self.serial_used,
            "a serial is used twice"
        );
        if let Some(current) = &self.current {
            let (next, frames) = (current.next_frame, current.layout.frames);
            invariant!(next <= frames, "record at frame {next} of {frames}");
        }
    }
}

impl Current {
    /// Takes the next record into account.
    pub(crate) fn place(&mut self, encoded: &[u8; LABEL], label: &Label) {
        let slot = label.number as usize % SLOTS_PER_FRAME;
        if slot == 0 {
            self.slots.fill(0);
        }
        self.slots[slot * LABEL..(slot + 1) * LABEL].copy_from_slice(encoded);
        self.records += 1;
        self.next_frame += label.frames;
    }

    /// Takes the record into account and plans its slot: the whole frame of the table.
    fn note(&mut self, encoded: &[u8; LABEL], label: &Label) -> Op {
        self.place(encoded, label);
        Op::Write {
            file: segment_name(self.number),
            offset: Layout::slot_offset(label.number) / FRAME as u64 * FRAME as u64,
            data: Bytes::copy_from_slice(&self.slots),
        }
    }
}

/// Makes the file of a segment, durably.
pub(crate) fn create(number: u64, length: u64) -> Vec<Op> {
    let file = segment_name(number);
    vec![
        Op::Create {
            file: file.clone(),
            length,
        },
        Op::Sync { file },
        Op::SyncDir,
    ]
}

/// The file that says how far the log is durable.
pub(crate) fn watermark_name() -> FileName {
    FileName::own("watermark")
}
