//! Reading one segment: what its header, its slots and its records are, each judged on its own.
//!
//! What it is not: the judge of the log as a whole. Nothing here knows what was promised or what stands
//! in other segments; that is `recover.rs`.

use crate::disk::{Disk, DiskError, DiskFault, FileName};
use crate::excess::{Beyond, Excess, countable};
use crate::format::{
    FRAME, FRAME_SECTORS, HEADER_FRAMES, HeaderRead, LABEL, Layout, SECTOR, SECTOR_PAYLOAD,
    SegmentHeader, segment_name,
};
use crate::record::{Label, Sector, decode_entries, judge_sector, sector_serial, unseal};
use base::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that are read at a time.
const WINDOW: usize = 1024 * 1024;

/// What stands in place of a frame that the disk cannot read: never zeros, never a sound sector.
const UNREADABLE: u8 = 0xdb;

/// A file through a window, with bad sectors turned into bytes that nobody takes for sound.
pub(crate) struct Image<'a> {
    disk: &'a dyn Disk,
    file: FileName,
    pub(crate) length: u64,
    window: Vec<u8>,
    window_at: u64,
    /// Frames that the disk could not read.
    pub(crate) unreadable: u64,
}

impl<'a> Image<'a> {
    pub(crate) fn open(disk: &'a dyn Disk, file: FileName) -> Result<Image<'a>, DiskError> {
        let length = disk.len(&file)?;
        Ok(Image {
            disk,
            file,
            length,
            window: Vec::new(),
            window_at: 0,
            unreadable: 0,
        })
    }

    /// The bytes from `at`, `length` of them or as many as the file has.
    pub(crate) fn read(&mut self, at: u64, length: usize) -> Result<&[u8], DiskError> {
        let end = at.saturating_add(length as u64).min(self.length);
        if at >= end {
            return Ok(&[]);
        }
        let have = self.window_at..self.window_at + self.window.len() as u64;
        if !(have.contains(&at) && end <= have.end) {
            let wanted = ((end - at) as usize).max(WINDOW.min((self.length - at) as usize));
            self.fill(at, wanted)?;
        }
        let start = (at - self.window_at) as usize;
        let end = ((end - self.window_at) as usize).min(self.window.len());
        Ok(&self.window[start.min(end)..end])
    }

    fn fill(&mut self, at: u64, length: usize) -> Result<(), DiskError> {
        self.window.clear();
        self.window.resize(length, 0);
        self.window_at = at;
        match self.disk.read_at(&self.file, at, &mut self.window) {
            Ok(n) => self.window.truncate(n),
            Err(error) if error.fault == DiskFault::Unreadable => {
                for (i, frame) in self.window.chunks_mut(FRAME).enumerate() {
                    match self
                        .disk
                        .read_at(&self.file, at + (i * FRAME) as u64, frame)
                    {
                        Ok(_) => {}
                        Err(error) if error.fault == DiskFault::Unreadable => {
                            self.unreadable += 1;
                            frame.fill(UNREADABLE);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What stands in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Slot {
    /// The label of a record of this segment.
    Label(Label),
    /// Zeros, or the label of a record from the file's former life.
    Empty,
    /// Neither: damaged.
    Corrupt,
    /// Behind the end of a file that was cut.
    Missing,
}

/// A segment as found.
pub(crate) struct Segment<'a> {
    pub(crate) number: u64,
    pub(crate) image: Image<'a>,
    pub(crate) layout: Layout,
    /// The header, from whichever copy is sound.
    pub(crate) header: Option<SegmentHeader>,
    /// Whether both copies are.
    pub(crate) header_whole: bool,
    /// A sound header of a version that this program does not know.
    pub(crate) version: Option<u32>,
    /// The labels in slots, by record number.
    pub(crate) labels: BTreeMap<u32, Label>,
    corrupt: BTreeSet<u32>,
    /// Whether the file is shorter than its header says.
    pub(crate) cut: bool,
    /// A number of header, slots or records that nobody can count on from. What it stands in is not
    /// looked at further, and no start comes of it.
    beyond: Option<Beyond>,
}

/// A record as found in its place.
pub(crate) enum Found {
    /// Sound in itself: every sector, both sums, the entries. Whether it *follows* is not judged.
    Record(Label, Vec<u8>, Vec<Entry>),
    /// Nothing that can be read as one.
    Nothing,
}

impl<'a> Segment<'a> {
    /// Reads header and slots of segment `number`.
    pub(crate) fn read(disk: &'a dyn Disk, number: u64) -> Result<Segment<'a>, DiskError> {
        let mut image = Image::open(disk, segment_name(number))?;
        let mut header = None;
        let mut sound = 0;
        let mut version = None;
        for copy in 0..HEADER_FRAMES {
            match SegmentHeader::decode(image.read((copy * FRAME) as u64, FRAME)?) {
                HeaderRead::Ok(found) if found.number == number => {
                    sound += 1;
                    header = header.or(Some(found));
                }
                HeaderRead::Version(found) => version = Some(found),
                _ => {}
            }
        }
        let beyond = header.and_then(|header| header.check_numbers().err());
        let length = header.map_or(image.length, |header| header.length);
        let layout = Layout::of(length);
        let mut segment = Segment {
            number,
            cut: image.length < length,
            image,
            layout,
            header,
            header_whole: sound == HEADER_FRAMES,
            version,
            labels: BTreeMap::new(),
            corrupt: BTreeSet::new(),
            beyond,
        };
        for slot in 0..layout.slots() {
            match segment.read_slot(slot)? {
                Slot::Label(label) => {
                    segment.labels.insert(slot, label);
                }
                Slot::Corrupt => {
                    segment.corrupt.insert(slot);
                }
                Slot::Empty => {}
                Slot::Missing => break,
            }
        }
        Ok(segment)
    }

    fn read_slot(&mut self, number: u32) -> Result<Slot, DiskError> {
        let own = self.number;
        let (first, frames) = (self.layout.first_frame(), self.layout.frames);
        let bytes = self.image.read(Layout::slot_offset(number), LABEL)?;
        if bytes.len() < LABEL {
            return Ok(Slot::Missing);
        }
        Ok(match Label::decode(bytes) {
            Some(label) if label.segment != own => Slot::Empty,
            Some(label) => {
                if self.is_beyond(label.check_numbers()) {
                    return Ok(Slot::Corrupt);
                }
                let end = u64::from(label.frame) + u64::from(label.frames);
                let placed = label.frame >= first && end <= u64::from(frames);
                if label.number == number && placed {
                    Slot::Label(label)
                } else {
                    Slot::Corrupt
                }
            }
            None if bytes.iter().all(|byte| *byte == 0) => Slot::Empty,
            None => Slot::Corrupt,
        })
    }

    fn is_beyond(&mut self, checked: Result<(), Beyond>) -> bool {
        self.beyond = self.beyond.or(checked.err());
        checked.is_err()
    }

    /// The number that is beyond its bound, in all that was read so far.
    ///
    /// # Errors
    /// It.
    pub(crate) fn check_numbers(&self) -> Result<(), Excess> {
        match self.beyond {
            Some(beyond) => Err(beyond.of(segment_name(self.number))),
            None => Ok(()),
        }
    }

    /// Whether the file ends in its table of slots or before.
    pub(crate) fn is_table_cut(&self) -> bool {
        self.image.length < u64::from(self.layout.first_frame()) * FRAME as u64
    }

    /// What was found in slot `number`.
    pub(crate) fn slot(&self, number: u32) -> Slot {
        match self.labels.get(&number) {
            Some(label) => Slot::Label(*label),
            None if self.corrupt.contains(&number) => Slot::Corrupt,
            None if Layout::slot_offset(number) + LABEL as u64 > self.image.length => Slot::Missing,
            None => Slot::Empty,
        }
    }

    /// Reads the record `number` that should begin at `frame`.
    pub(crate) fn record(&mut self, number: u32, frame: u32) -> Result<Found, DiskError> {
        if number >= self.layout.slots() || frame >= self.layout.frames {
            return Ok(Found::Nothing);
        }
        let own = self.number;
        let at = u64::from(frame) * FRAME as u64;
        let Some(label) = self
            .image
            .read(at, SECTOR)?
            .get(..LABEL)
            .and_then(Label::decode)
        else {
            return Ok(Found::Nothing);
        };
        let placed = label.segment == own && label.number == number && label.frame == frame;
        if !placed || u64::from(frame) + u64::from(label.frames) > u64::from(self.layout.frames) {
            return Ok(Found::Nothing);
        }
        if self.is_beyond(label.check_numbers()) {
            return Ok(Found::Nothing);
        }
        let length = label.frames as usize * FRAME;
        let sectors = self.image.read(at, length)?;
        let ours = |(i, sector)| judge_sector(sector, label.serial, i as u32) == Sector::Ours;
        if sectors.len() != length || !sectors.chunks(SECTOR).enumerate().all(ours) {
            return Ok(Found::Nothing);
        }
        let mut body = unseal(sectors, LABEL + label.body_bytes as usize);
        body.drain(..LABEL);
        if crc32c::crc32c(&body) != label.body_crc {
            return Ok(Found::Nothing);
        }
        let Some(entries) = decode_entries(&body, &label) else {
            return Ok(Found::Nothing);
        };
        // Their indices are those of the label; their terms are their own.
        let terms = entries.iter().map(|entry| entry.position.term.0);
        let highest = terms.max().unwrap_or(0);
        if self.is_beyond(countable("term of an entry", highest)) {
            return Ok(Found::Nothing);
        }
        Ok(Found::Record(label, body, entries))
    }

    /// Whether the place of the record with `label` shows something that no crash leaves: a sector that
    /// is neither whole and of this record, nor what may have been there before.
    pub(crate) fn is_corrupt(&mut self, label: &Label) -> Result<bool, DiskError> {
        let length = label.frames as usize * FRAME;
        let at = u64::from(label.frame) * FRAME as u64;
        let sectors = self.image.read(at, length)?;
        if sectors.len() < length {
            return Ok(true);
        }
        let judged: Vec<Sector> = sectors
            .chunks(SECTOR)
            .enumerate()
            .map(|(i, sector)| judge_sector(sector, label.serial, i as u32))
            .collect();
        // A record of which every sector is sound and which is nevertheless not the one that belongs
        // here is no crash's doing either.
        let whole = judged.iter().all(|sector| *sector == Sector::Ours);
        Ok(whole || judged.contains(&Sector::Corrupt))
    }

    /// Whether nothing of this segment's life was written at `frame`: zeros or older records.
    pub(crate) fn is_clean(&mut self, frame: u32, serial_after: u64) -> Result<bool, DiskError> {
        if frame >= self.layout.frames {
            return Ok(true);
        }
        let sectors = self.image.read(u64::from(frame) * FRAME as u64, FRAME)?;
        Ok(sectors.len() == FRAME
            && sectors.chunks(SECTOR).all(|sector| {
                judge_sector(sector, u64::MAX, 0) == Sector::Before
                    && (sector.iter().all(|byte| *byte == 0)
                        || sector_serial(sector) <= serial_after)
            }))
    }

    /// The slot frames that `labels` should give, compared with the disk: those that differ.
    pub(crate) fn slots_to_repair(
        &mut self,
        labels: &[Label],
    ) -> Result<Vec<(u64, Vec<u8>)>, DiskError> {
        let per_frame = FRAME / LABEL;
        let mut repairs = Vec::new();
        for (i, chunk) in labels.chunks(per_frame).enumerate() {
            let mut frame = vec![0; FRAME];
            for (slot, label) in chunk.iter().enumerate() {
                frame[slot * LABEL..(slot + 1) * LABEL].copy_from_slice(&label.encode());
            }
            let at = Layout::slot_offset((i * per_frame) as u32);
            if self.image.read(at, FRAME)? != &frame[..] {
                repairs.push((at, frame));
            }
        }
        Ok(repairs)
    }
}

const _: () = assert!(FRAME_SECTORS * SECTOR_PAYLOAD > LABEL);
