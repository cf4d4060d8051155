//! The walk along the chain of records: what follows, what is torn, what is damaged.
//!
//! First all evidence is gathered: every label, header and watermark says what was durable when it was
//! written. Then segments are walked in the order of their numbers. Each record must be sound in itself
//! and carry the hash of its predecessor. One that is not, and is known to have been durable or shows
//! what no crash leaves behind, is *damaged*; otherwise it is *torn*, was never acknowledged, and is
//! dropped.
//!
//! What it is not: a writer. `recover.rs` acts on what is found here.

use crate::disk::DiskError;
use crate::format::{Identity, Origin, Promise, SegmentHeader, Watermark, segment_name};
use crate::log::UNKNOWN;
use crate::record::Label;
use crate::segment::{Found, Segment, Slot};
use base::{Entry, HardState, Index, LogPosition, Mark, MemberId, Mutant, Mutants, Term};
use std::collections::BTreeMap;

/// What the walk made of one segment.
#[derive(Debug)]
pub(crate) struct Walked {
    /// Its header, made up from the chain when both copies are lost.
    pub(crate) header: Option<SegmentHeader>,
    /// The labels of its records that are in the chain, in order.
    pub(crate) labels: Vec<Label>,
    /// The frame after the last of them.
    pub(crate) next_frame: u32,
    /// No end of the log while it was written is later than this.
    pub(crate) last: Index,
    /// The chain broke in it: what follows its records is evidence, or was once.
    pub(crate) broken: bool,
}

/// The chain so far.
pub(crate) struct Chain {
    identity: Identity,
    mutants: Mutants,
    /// The checkpoint: entries up to it are not needed.
    floor: LogPosition,
    watermark: Option<Watermark>,
    /// The end of the log after each record and at each beginning, by hash: where a cut may continue.
    known: BTreeMap<u64, LogPosition>,
    /// The place before the first entry that the segments hold. Its term may be unknown (0).
    base: LogPosition,
    /// The term of the entry at the floor's place, when the segments hold it.
    floor_term: Option<Term>,
    begun: bool,
    /// The newest hard state that is known; of it only term and vote count.
    hard_state: HardState,
    /// What the last record in the chain knew to be committed. A later record's word would be wrong
    /// without the entries that came with it.
    commit: Index,
    /// In which segment so much is lost that what was durable cannot be told.
    unknown_in: Option<u64>,
    /// The last segment that is shorter than it was made.
    cut_in: Option<u64>,

    pub(crate) walked: BTreeMap<u64, Walked>,
    /// The highest number of a segment in which a record was begun; 0 for none.
    pub(crate) last_begun: u64,
    /// Entries after the floor.
    pub(crate) entries: Vec<Entry>,
    /// The end of the log.
    pub(crate) end: LogPosition,
    pub(crate) hash: u64,
    /// Whether the chain cannot be continued in place.
    pub(crate) broken: bool,
    /// How the next segment follows.
    pub(crate) origin: Origin,
    /// The highest serial seen anywhere.
    pub(crate) serial_used: u64,
    /// The highest serial of a record of which at least the label is there.
    labelled: u64,
    /// The serial of the last record in the chain.
    pub(crate) serial: u64,
    /// What all evidence together says to have been durable.
    pub(crate) promise: Promise,
    /// The serial of the record from which the hard state is.
    pub(crate) hard_state_serial: u64,
    /// Where the log would end with a record of which only the slot came through a crash.
    pub(crate) torn: Option<LogPosition>,
    /// The checkpoint stands for more than the log, or for another history: the log begins anew.
    pub(crate) superseded: bool,
    pub(crate) notes: Vec<String>,
}

impl Chain {
    pub(crate) fn new(
        identity: &Identity,
        floor: LogPosition,
        watermark: Option<Watermark>,
        mutants: Mutants,
    ) -> Chain {
        let hash = identity.first_hash();
        let noted = watermark.unwrap_or_default();
        Chain {
            identity: *identity,
            mutants,
            floor,
            watermark,
            known: BTreeMap::from([(hash, LogPosition::default())]),
            base: LogPosition::default(),
            floor_term: None,
            begun: false,
            hard_state: noted.hard_state,
            commit: Index(0),
            unknown_in: None,
            cut_in: None,
            walked: BTreeMap::new(),
            last_begun: 0,
            entries: Vec::new(),
            end: LogPosition::default(),
            hash,
            broken: false,
            origin: Origin::Chain,
            serial_used: noted.serial_used,
            labelled: 0,
            serial: 0,
            promise: noted.promise,
            hard_state_serial: noted.promise.serial,
            torn: None,
            superseded: false,
            notes: Vec::new(),
        }
    }

    /// The hard state to begin with: the newest that is known, with a commit that the log can honour.
    pub(crate) fn hard_state(&self) -> HardState {
        let mut hard_state = self.hard_state;
        // The log or the checkpoint is of a later term than the vote: no vote was given in that term,
        // or it would have been durable before.
        if hard_state.term < self.end.term {
            hard_state.term = self.end.term;
            hard_state.vote = MemberId::NONE;
        }
        hard_state.commit = self.commit.max(self.floor.index).min(self.end.index);
        hard_state
    }

    /// Whether everything that was durable is there.
    pub(crate) fn is_whole(&self) -> bool {
        let promise = self.promise;
        if self.serial >= promise.serial {
            return promise.position <= self.end;
        }
        // Durable records are missing. It does no harm when the log ends where it would end with them,
        // or the checkpoint stands for all that they held; and when the last vote is known all the same.
        let covered = promise.position == self.end || promise.position <= self.floor;
        covered && promise.serial <= self.hard_state_serial
    }

    /// Where the log must end again before the loss is made good.
    pub(crate) fn owed(&self) -> LogPosition {
        match self.promise.position > self.end {
            true => self.promise.position,
            // What is missing replaced some of what is there: nothing that is here can tell.
            false => UNKNOWN,
        }
    }

    /// Takes in what the segment's header and slots say about other records.
    pub(crate) fn gather(&mut self, segment: &Segment<'_>) {
        if let Some(header) = &segment.header {
            self.serial_used = self.serial_used.max(header.serial_used);
            self.promised(header.promise);
        }
        for label in segment.labels.values() {
            self.witness(label);
        }
    }

    fn witness(&mut self, label: &Label) {
        self.serial_used = self.serial_used.max(label.serial);
        self.labelled = self.labelled.max(label.serial);
        self.promised(label.promise);
        if label.serial > self.hard_state_serial {
            self.hard_state = label.hard_state;
            self.hard_state_serial = label.serial;
        }
    }

    /// The latest promise counts: the end of a log may also go back, when a leader overwrites it.
    fn promised(&mut self, promise: Promise) {
        // What was promised was written.
        self.serial_used = self.serial_used.max(promise.serial);
        if promise.serial > self.promise.serial {
            self.promise = promise;
        } else if promise.serial == self.promise.serial {
            self.promise.position = self.promise.position.max(promise.position);
        }
    }

    fn note(&mut self, segment: u64, what: impl std::fmt::Display) {
        self.notes
            .push(format!("{}: {what}", segment_name(segment)));
    }

    /// The chain ends here, and what came after cannot be told from this segment.
    fn lose(&mut self, segment: u64, what: &str) {
        self.note(segment, what);
        self.broken = true;
        self.unknown_in = Some(segment);
    }

    /// Walks one segment; they come in the order of their numbers, after all were gathered.
    pub(crate) fn walk(&mut self, segment: &mut Segment<'_>) -> Result<(), DiskError> {
        let number = segment.number;
        let first = segment.record(0, segment.layout.first_frame())?;
        if segment.labels.is_empty() && matches!(first, Found::Nothing) {
            // Prepared only; or begun, and then the watermark was moved before: it knows the length.
            let noted = self
                .watermark
                .filter(|watermark| watermark.segment == number);
            if noted.is_some_and(|watermark| segment.image.length < watermark.segment_bytes) {
                self.last_begun = number;
                self.lose(number, "it was in use and has been cut");
            }
            return Ok(());
        }
        self.last_begun = number;
        if segment.cut {
            self.cut_in = Some(number);
            self.note(
                number,
                format_args!("it is cut at byte {}", segment.image.length),
            );
        }
        if segment.image.unreadable > 0 {
            let frames = segment.image.unreadable;
            self.note(
                number,
                format_args!("{frames} blocks of 4096 bytes cannot be read"),
            );
        }
        let header = self.enter(segment);
        let walked = self.records(segment, header)?;
        if segment.is_table_cut() {
            self.lose(number, "its table of slots is cut");
        }
        // A segment in which nothing stands yet is begun again in the same way.
        self.origin = match (&walked.header, walked.labels.is_empty()) {
            (Some(header), true) => header.origin,
            _ => Origin::Chain,
        };
        self.walked.insert(number, walked);
        Ok(())
    }

    /// Joins the segment to the chain; returns its header, or what it must have been.
    fn enter(&mut self, segment: &Segment<'_>) -> Option<SegmentHeader> {
        let Some(header) = segment.header else {
            self.begun = true;
            self.note(segment.number, "both copies of its header are damaged");
            return (!self.broken).then_some(SegmentHeader {
                identity: self.identity,
                number: segment.number,
                length: segment.image.length,
                origin: Origin::Chain,
                previous_hash: self.hash,
                base: self.end,
                serial_used: self.serial,
                promise: self.promise,
            });
        };
        // What came before is not needed when the checkpoint covers it.
        let covered = header.base.index <= self.floor.index;
        match header.origin {
            Origin::Chain if !self.begun => self.begin(&header),
            Origin::Chain if !self.broken && header.previous_hash == self.hash => {}
            Origin::Cut if self.known.get(&header.previous_hash) == Some(&header.base) => {
                self.shorten(header.base);
                self.hash = header.previous_hash;
                self.serial = header.promise.serial;
                self.broken = false;
            }
            Origin::Restart => self.begin(&header),
            _ if covered => self.begin(&header),
            _ if self.broken => {}
            _ => {
                self.broken = true;
                self.note(segment.number, "it does not follow the record before it");
            }
        }
        Some(header)
    }

    /// The log begins anew with this segment.
    fn begin(&mut self, header: &SegmentHeader) {
        self.begun = true;
        self.broken = false;
        self.hash = header.previous_hash;
        // What was before is either covered or lost and noted: the promise says so.
        self.serial = header.promise.serial;
        self.restart(header.base);
        self.known.insert(self.hash, header.base);
    }

    /// The log is empty after `base`.
    fn restart(&mut self, base: LogPosition) {
        self.base = base;
        self.end = base;
        self.entries.clear();
        self.floor_term = (base.index == self.floor.index).then_some(base.term);
    }

    /// The log ends at `end`, which it holds.
    fn shorten(&mut self, end: LogPosition) {
        if end.index < self.base.index {
            self.restart(end);
        }
        let keep = self
            .entries
            .partition_point(|entry| entry.position.index <= end.index);
        self.entries.truncate(keep);
        self.end = end;
        if end.index < self.floor.index {
            self.floor_term = None;
        }
    }

    fn records(
        &mut self,
        segment: &mut Segment<'_>,
        header: Option<SegmentHeader>,
    ) -> Result<Walked, DiskError> {
        let ends = segment.labels.values().map(|label| label.end.index);
        let ends = ends.chain(header.map(|header| header.base.index));
        let mut walked = Walked {
            header,
            labels: Vec::new(),
            next_frame: segment.layout.first_frame(),
            last: ends.fold(self.end.index, Index::max),
            broken: false,
        };
        while !self.broken {
            let number = walked.labels.len() as u32;
            let label = match segment.record(number, walked.next_frame)? {
                Found::Record(label, body, entries)
                    if self.follows(&label, &body) && agrees(segment.slot(number), &label) =>
                {
                    self.witness(&label);
                    self.apply(&label, entries);
                    label
                }
                _ => match self.unsound(segment, number, walked.next_frame)? {
                    Some(label) => label,
                    None => break,
                },
            };
            self.torn = None;
            self.promised(label.kept());
            self.commit = label.hard_state.commit;
            self.hash = label.hash;
            self.serial = label.serial;
            self.known.insert(label.hash, self.end);
            walked.next_frame += label.frames;
            walked.last = walked.last.max(label.end.index);
            walked.labels.push(label);
        }
        walked.broken = self.broken;
        Ok(walked)
    }

    fn follows(&self, label: &Label, body: &[u8]) -> bool {
        label.chain(self.hash, body) == label.hash
            && (label.n_entries == 0 || label.first_index() <= self.end.index.next())
    }

    fn apply(&mut self, label: &Label, entries: Vec<Entry>) {
        if label.reset {
            return self.restart(label.end);
        }
        let Some(first) = entries.first() else { return };
        let before = Index(first.position.index.0.saturating_sub(1));
        let mut overwritten = Vec::new();
        if before < self.end.index {
            if self.mutants.has(Mutant::OverwrittenComesBack) {
                overwritten.clone_from(&self.entries);
            }
            // The term of the entry before is known when that entry is; otherwise nobody asks for it.
            let known = self
                .entries
                .iter()
                .rfind(|entry| entry.position.index == before);
            let term = known.map_or(Term(0), |entry| entry.position.term);
            self.shorten(LogPosition {
                term,
                index: before,
            });
        }
        for mut entry in entries {
            self.end = entry.position;
            let index = entry.position.index;
            if let Some(old) = overwritten.iter().find(|old| old.position.index == index) {
                entry.data.clone_from(&old.data);
            }
            if entry.position.index == self.floor.index {
                self.floor_term = Some(entry.position.term);
            }
            if entry.position.index > self.floor.index {
                self.entries.push(entry);
            }
        }
    }

    /// The record `number`, which should stand at `frame`, is not sound. Returns its label when the
    /// chain can go on without its body; otherwise the segment ends here, and why is noted.
    fn unsound(
        &mut self,
        segment: &mut Segment<'_>,
        number: u32,
        frame: u32,
    ) -> Result<Option<Label>, DiskError> {
        let name = segment.number;
        match segment.slot(number) {
            Slot::Label(label) if label.frame == frame => {
                let durable = label.serial <= self.promise.serial;
                if !durable && !segment.is_corrupt(&label)? {
                    if label.n_entries > 0 {
                        self.torn = Some(label.end);
                    }
                    let end = label.end;
                    Mark::RecordTorn.reach();
                    self.note(
                        name,
                        format_args!("record {number} (to entry {end}) is torn"),
                    );
                    return Ok(None);
                }
                self.promised(label.kept());
                let whole_in_slot = label.body_bytes == 0 && self.follows(&label, &[]);
                if whole_in_slot {
                    self.apply(&label, Vec::new());
                } else if label.end.index <= self.floor.index {
                    self.restart(label.end);
                } else {
                    let (first, end) = (label.first_index(), label.end);
                    Mark::RecordDamaged.reach();
                    self.note(
                        name,
                        format_args!("record {number} (entries {first} to {end}) is damaged"),
                    );
                    self.broken = true;
                    return Ok(None);
                }
                Mark::DamageNotNeeded.reach();
                self.note(
                    name,
                    format_args!("record {number} is damaged, and nothing of it is needed"),
                );
                Ok(Some(label))
            }
            // The walk says so of the whole segment.
            Slot::Missing => Ok(None),
            Slot::Corrupt if !segment.is_clean(frame, self.serial_used)? => {
                self.lose(
                    name,
                    &format!("record {number} and its slot are both damaged"),
                );
                Ok(None)
            }
            // A slot that is not where the chain has come to, or one further on, is from a record that
            // was durable only if something written later says so; then `is_whole` will miss it.
            _ => {
                let later = segment.labels.range(number..).next_back();
                if later.is_some_and(|(_, label)| label.promise.serial > self.serial) {
                    Mark::RecordAndSlotLost.reach();
                    self.note(
                        name,
                        format_args!("record {number} and its slot are both lost"),
                    );
                    self.broken = true;
                }
                Ok(None)
            }
        }
    }

    /// Draws the conclusions from the whole, when all segments have been walked.
    pub(crate) fn conclude(&mut self, segments: &mut [Segment<'_>]) -> Result<(), DiskError> {
        if self.broken {
            self.judge_last(segments)?;
        }
        let noted = self.watermark.map_or(0, |watermark| watermark.segment);
        if noted > 0 && !segments.iter().any(|segment| segment.number == noted) {
            self.last_begun = self.last_begun.max(noted);
            self.lose(noted, "it was in use and is missing");
        }
        if self.watermark.is_none() && self.last_begun == 0 {
            self.lose(1, "no segment was begun, and the watermark is lost");
        }
        if self.promise.serial > self.labelled.max(self.serial) {
            // Not even its label is left; so labels are lost, and nobody knows of how many more.
            self.lose(
                self.last_begun,
                "records that were durable are lost with their slots",
            );
        }
        if self
            .unknown_in
            .is_some_and(|number| number >= self.last_begun)
        {
            self.promise.position = UNKNOWN;
        }
        // Behind a cut there is no room that is known to be allocated.
        self.broken |= self.cut_in.is_some() && self.cut_in == Some(self.last_begun);
        if self.broken {
            self.origin = Origin::Cut;
        }

        let floor = self.floor;
        if self.base.index > floor.index {
            let (first, after) = (self.base.index.next(), floor.index);
            self.notes.push(format!(
                "the log begins at entry {first}, the state ends at {after}"
            ));
            // All that is in the chain was durable.
            self.promise.position = self.promise.position.max(self.end);
            self.serial = 0;
            self.give_way();
            self.superseded = false;
            self.broken = true;
            self.origin = Origin::Restart;
            return Ok(());
        }
        let behind = self.end.index < floor.index;
        let at_floor = match self.end.index == floor.index {
            true => Some(self.end.term),
            false => self.floor_term.filter(|term| term.0 > 0),
        };
        if behind || at_floor.is_some_and(|term| term != floor.term && floor.index.0 > 0) {
            self.give_way();
        }
        Ok(())
    }

    /// The walk did not come to the last record. Of it alone no later one says whether it was durable:
    /// it was, unless it is torn.
    fn judge_last(&mut self, segments: &mut [Segment<'_>]) -> Result<(), DiskError> {
        for segment in segments {
            let Some(label) = segment
                .labels
                .values()
                .max_by_key(|label| label.serial)
                .copied()
            else {
                continue;
            };
            if label.serial <= self.promise.serial {
                continue;
            }
            let found = segment.record(label.number, label.frame)?;
            let sound = matches!(found, Found::Record(found, ..) if found == label);
            if sound || segment.is_corrupt(&label)? {
                self.promised(label.kept());
            }
        }
        Ok(())
    }

    /// The checkpoint takes the log's place.
    fn give_way(&mut self) {
        self.entries.clear();
        self.end = self.floor;
        self.superseded = true;
    }
}

/// Whether a slot allows that its record is the one with `label`. A newer label in it says that another
/// record was written here since; of the same serial, that this one is of another history.
fn agrees(slot: Slot, label: &Label) -> bool {
    match slot {
        Slot::Label(slot) => slot == *label || slot.serial < label.serial,
        _ => true,
    }
}
