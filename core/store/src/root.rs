//! One root: the keys of one front with all their retained versions, and how to read them.
//!
//! ```text
//!   keys     "config"  ──► #41  ┐            live keys are counted: count() is a walk, not a scan
//!            "lock/a"  ──► #44  │ Slot = where the latest version is, and whether it is alive
//!            "old"     ──► #42 ✝┘
//!   history  … #40 config=1 │ #41 config=2 │ #42 old ✝ │ #43 … │ #44 lock/a=x …
//!                   ▲──previous──┘    every retained version in (revision, sub) order
//! ```
//!
//! Reading a key at a past revision walks back from its latest version along the links in the records.
//! Compaction is logical at once (`compacted` rises and reads below it are refused); the versions that
//! nobody can see any more are removed later, by `sweep`, and no read can tell whether they are.

use crate::history::{self, History};
use crate::range::{KeyRange, RangeEnd};
use crate::record::{Link, Links, Parts, Place, Record};
use crate::restore::Restored;
use crate::tree::{Cursor, Packed, Tree, Weighted};
use base::{LeaseId, Revision};

/// Which front a key belongs to. Roots share the revision counter and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RootId(pub u8);

/// Why a read of history is refused. Every member refuses alike: both bounds are replicated state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// The revision lies below the compacted one.
    #[error("revision {requested} has been compacted, the oldest readable is {compacted}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The oldest revision that can be read.
        compacted: Revision,
    },
    /// The revision has not happened yet.
    #[error("revision {requested} is in the future, the newest is {current}")]
    Future {
        /// What was asked for.
        requested: Revision,
        /// The newest revision.
        current: Revision,
    },
}

/// One thing that happened to one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The new version; a tombstone when the key was deleted.
    pub record: Record,
    /// What the key was at the revision before, when it was there.
    pub previous: Option<Record>,
}

impl Event {
    /// The revision that this event is part of.
    pub fn revision(&self) -> Revision {
        self.record.mod_revision()
    }

    /// Bytes that this event keeps in memory.
    pub fn size(&self) -> u64 {
        self.record.size() + self.previous.as_ref().map_or(0, Record::size)
    }
}

/// Where the latest version of a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) revision: Revision,
    /// The ordinal in `history`, doubled, with whether the key is alive in the lowest bit: a slot is
    /// copied with its node, so it is kept at 16 bytes.
    bits: u64,
}

impl Slot {
    pub(crate) fn new(revision: Revision, ordinal: u64, live: bool) -> Slot {
        let bits = ordinal << 1 | u64::from(live);
        Slot { revision, bits }
    }

    pub(crate) fn ordinal(self) -> u64 {
        self.bits >> 1
    }

    pub(crate) fn is_live(self) -> bool {
        self.bits & 1 == 1
    }
}

impl Weighted for Slot {
    fn weight(&self) -> u64 {
        self.bits & 1
    }
}

/// Bytes that a key takes in the key tree beside its own: slot, offset and the tree's slack.
const SLOT_BYTES: u64 = 40;
/// Bytes that a version takes in the history beside its own.
const HISTORY_BYTES: u64 = 18;

/// The keys of one front.
#[derive(Clone)]
pub(crate) struct Root {
    pub(crate) id: RootId,
    pub(crate) keys: Tree<Packed, Slot>,
    pub(crate) history: History,
    /// Reads below this revision are refused. Replicated.
    pub(crate) compacted: Revision,
    /// Up to here the versions that a compaction hid are removed. Private to this member.
    pub(crate) swept: Revision,
    /// Bytes of all versions, removed ones not counted. Private to this member.
    pub(crate) bytes: u64,
}

/// What a write did.
pub(crate) struct Written {
    pub(crate) record: Record,
    /// The version that was alive until now.
    pub(crate) replaced: Option<Record>,
}

impl Root {
    pub(crate) const fn new(id: RootId) -> Root {
        Root {
            id,
            keys: Tree::new(),
            history: History::new(),
            compacted: Revision(0),
            swept: Revision(0),
            bytes: 0,
        }
    }

    /// Whether this root was never written.
    pub(crate) fn is_unused(&self) -> bool {
        self.history.end() == 0 && self.keys.is_empty() && self.compacted == Revision(0)
    }

    /// The latest version of `key`, dead or alive.
    pub(crate) fn latest(&self, key: &[u8]) -> Option<&Record> {
        let slot = self.keys.get(key)?;
        self.history.get(slot.ordinal())
    }

    /// The newest version of the key in `slot` that is not above `at`, dead or alive. `at` must not lie
    /// more than one below `compacted`.
    pub(crate) fn version_at(&self, slot: Slot, at: Revision) -> Option<&Record> {
        let mut record = self.history.get(slot.ordinal())?;
        while record.mod_revision() > at {
            let next = record.links().towards(at);
            if next.is_none() {
                return None;
            }
            record = self.history.get(next.ordinal)?;
        }
        Some(record)
    }

    /// Writes a version: a value, or nothing for a tombstone. A tombstone needs a live key.
    pub(crate) fn write(
        &mut self,
        place: Place,
        key: &[u8],
        value: Option<&[u8]>,
        lease: LeaseId,
        scratch: &mut Vec<u8>,
    ) -> Written {
        let slot = self.keys.get(key).copied();
        let latest = slot.and_then(|slot| self.history.get(slot.ordinal()));
        let latest = latest.cloned();
        let alive = latest.as_ref().filter(|record| !record.is_tombstone());
        let (created, version) = match (value, alive) {
            (None, _) => (Revision(0), 0),
            (Some(_), None) => (place.revision, 1),
            (Some(_), Some(record)) => (record.create_revision(), record.version() + 1),
        };
        let written = Restored {
            key,
            value,
            place,
            created,
            version,
            lease,
        };
        let record = self.append(&written, slot, latest.as_ref(), scratch);
        Written {
            record,
            replaced: latest.filter(|record| !record.is_tombstone()),
        }
    }

    /// Appends a version above `latest`, which is in `slot`.
    fn append(
        &mut self,
        version: &Restored<'_>,
        slot: Option<Slot>,
        latest: Option<&Record>,
        scratch: &mut Vec<u8>,
    ) -> Record {
        let record = Record::new(
            &Parts {
                key: version.key,
                value: version.value,
                place: version.place,
                created: version.created,
                version: version.version,
                lease: version.lease,
                links: self.links_to(slot, latest),
            },
            scratch,
        );
        self.bytes += record.size() + HISTORY_BYTES;
        let ordinal = self.history.push(record.clone());
        let slot = Slot::new(version.place.revision, ordinal, version.value.is_some());
        if self.keys.insert(version.key, slot).is_none() {
            self.bytes += version.key.len() as u64 + SLOT_BYTES;
        }
        record
    }

    /// Appends a version that was written elsewhere.
    pub(crate) fn restore(&mut self, version: &Restored<'_>, scratch: &mut Vec<u8>) -> Record {
        let slot = self.keys.get(version.key).copied();
        let latest = slot.and_then(|slot| self.history.get(slot.ordinal()));
        let latest = latest.cloned();
        self.append(version, slot, latest.as_ref(), scratch)
    }

    /// Takes the lease off the latest version of `key`.
    pub(crate) fn unlease(&mut self, key: &[u8], scratch: &mut Vec<u8>) {
        let slot = self.keys.get(key).copied();
        let Some((slot, record)) = slot.zip(self.latest(key).cloned()) else {
            return;
        };
        let free = Record::new(
            &Parts {
                key,
                value: (!record.is_tombstone()).then_some(record.value()),
                place: record.place(),
                created: record.create_revision(),
                version: record.version(),
                lease: LeaseId::NONE,
                links: record.links(),
            },
            scratch,
        );
        self.history.replace(slot.ordinal(), free);
    }

    /// The links of a new version above `latest`: a skew-binary list, in which a jump spans as much as
    /// the two jumps below it together.
    fn links_to(&self, slot: Option<Slot>, latest: Option<&Record>) -> Links {
        let (Some(slot), Some(latest)) = (slot, latest) else {
            return Links::default();
        };
        let below = latest.links();
        let previous = Link {
            revision: slot.revision,
            ordinal: slot.ordinal(),
        };
        let mut links = Links {
            previous,
            jump: previous,
            depth: below.depth.wrapping_add(1),
            jump_depth: below.depth,
        };
        // Nobody walks below the compacted revision, so no jump needs to.
        if below.jump.revision > self.compacted
            && let Some(jumped) = self.history.get(below.jump.ordinal)
        {
            let farther = jumped.links();
            let span = below.depth.wrapping_sub(below.jump_depth);
            let next_span = below.jump_depth.wrapping_sub(farther.jump_depth);
            if span == next_span && !farther.jump.is_none() {
                links.jump = farther.jump;
                links.jump_depth = farther.jump_depth;
            }
        }
        links
    }

    /// Takes a version out of history: only `sweep` may, and only what nobody can see.
    pub(crate) fn forget(&mut self, ordinal: u64) {
        if let Some(record) = self.history.remove(ordinal) {
            self.bytes -= record.size() + HISTORY_BYTES;
        }
    }

    /// Takes a dead key out of the key tree.
    pub(crate) fn forget_key(&mut self, key: &[u8]) {
        if self.keys.remove(key).is_some() {
            self.bytes -= key.len() as u64 + SLOT_BYTES;
        }
    }

    /// Recounts `bytes` after a bulk load.
    pub(crate) fn recount(&mut self) {
        self.bytes = 0;
        for (_, record) in self.history.iter() {
            self.bytes += record.size() + HISTORY_BYTES;
        }
        let mut keys = self.keys.cursor();
        while let Some((key, _)) = keys.next() {
            self.bytes += key.len() as u64 + SLOT_BYTES;
        }
    }
}

/// A readable root at one moment.
#[derive(Clone, Copy)]
pub struct RootView<'a> {
    pub(crate) root: &'a Root,
    pub(crate) revision: Revision,
}

impl<'a> RootView<'a> {
    /// The oldest revision that can be read; 0 before the first compaction.
    pub fn compacted(&self) -> Revision {
        self.root.compacted
    }

    /// The newest revision that can be read.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether `at` can be read. Nothing means the present, which always can.
    pub fn readable(&self, at: Option<Revision>) -> Result<(), ReadError> {
        match at {
            Some(requested) if requested > self.revision => Err(ReadError::Future {
                requested,
                current: self.revision,
            }),
            Some(requested) if requested < self.root.compacted => Err(ReadError::Compacted {
                requested,
                compacted: self.root.compacted,
            }),
            _ => Ok(()),
        }
    }

    /// `at`, if it can be read and is not the present.
    fn past(&self, at: Option<Revision>) -> Result<Option<Revision>, ReadError> {
        self.readable(at)?;
        Ok(at.filter(|at| *at < self.revision))
    }

    /// `key` as it is, or as it was at `at`.
    pub fn get(&self, key: &[u8], at: Option<Revision>) -> Result<Option<Record>, ReadError> {
        self.readable(at)?;
        let Some(slot) = self.root.keys.get(key) else {
            return Ok(None);
        };
        Ok(self.visible(*slot, at).cloned())
    }

    /// The record of the key in `slot` at `at` (which is readable), unless it is dead then.
    fn visible(&self, slot: Slot, at: Option<Revision>) -> Option<&'a Record> {
        match at {
            Some(at) if at < slot.revision => self
                .root
                .version_at(slot, at)
                .filter(|record| !record.is_tombstone()),
            _ if slot.is_live() => self.root.history.get(slot.ordinal()),
            _ => None,
        }
    }

    /// The keys in `range` as they are, or as they were at `at`, in ascending order. A reader that
    /// works in steps keeps the state and goes on with [`KeyRange::after`] the last key.
    pub fn range(&self, range: &KeyRange, at: Option<Revision>) -> Result<Range<'a>, ReadError> {
        let at = self.past(at)?;
        Ok(Range {
            view: *self,
            at,
            cursor: self.root.keys.cursor_at(&range.start),
            range: range.clone(),
            direction: Direction::Ascending,
        })
    }

    /// As [`RootView::range`], in descending order.
    pub fn range_descending(
        &self,
        range: &KeyRange,
        at: Option<Revision>,
    ) -> Result<Range<'a>, ReadError> {
        let at = self.past(at)?;
        let keys = &self.root.keys;
        let cursor = match &range.end {
            RangeEnd::Single => keys.cursor_at(&range.after(&range.start).start),
            RangeEnd::Before(end) => keys.cursor_at(end),
            RangeEnd::Unbounded => keys.cursor_at_end(),
        };
        Ok(Range {
            view: *self,
            at,
            cursor,
            range: range.clone(),
            direction: Direction::Descending,
        })
    }

    /// How many keys are, or were at `at`, in `range`. Never a scan for the present; for the past, the
    /// cheaper of a scan of the range and a walk over what happened since.
    pub fn count(&self, range: &KeyRange, at: Option<Revision>) -> Result<u64, ReadError> {
        let now = self.count_now(range);
        let Some(at) = self.past(at)? else {
            return Ok(now);
        };
        let history = &self.root.history;
        let since = history.seek(Place::start_of(at.next()));
        let n_since = history.end() - since;
        if n_since > now.saturating_mul(2) + 16 {
            return Ok(self.range(range, Some(at))?.count() as u64);
        }
        let mut count = now;
        for (_, record) in history.iter_from(since) {
            // Each key that changed since is looked at once: at its first change.
            if record.links().previous.revision > at || !range.contains(record.key()) {
                continue;
            }
            let was = record.is_tombstone() || record.version() > 1;
            let is = self
                .root
                .keys
                .get(record.key())
                .is_some_and(|s| s.is_live());
            count = count + u64::from(was) - u64::from(is);
        }
        Ok(count)
    }

    fn count_now(&self, range: &KeyRange) -> u64 {
        let keys = &self.root.keys;
        if range.is_empty() {
            return 0;
        }
        match &range.end {
            RangeEnd::Single => {
                u64::from(keys.get(&range.start).is_some_and(|slot| slot.is_live()))
            }
            RangeEnd::Before(end) => keys.weight_before(end) - keys.weight_before(&range.start),
            RangeEnd::Unbounded => keys.weight() - keys.weight_before(&range.start),
        }
    }

    /// What happened from `from` on, in (revision, sub) order. `from` may lie in the future (nothing
    /// yet) and at the compacted revision, whose events are kept, but not below it.
    pub fn events(&self, from: Revision) -> Result<Events<'a>, ReadError> {
        if from < self.root.compacted {
            return Err(ReadError::Compacted {
                requested: from,
                compacted: self.root.compacted,
            });
        }
        Ok(Events {
            view: *self,
            versions: {
                let history = &self.root.history;
                history.iter_from(history.seek(Place::start_of(from)))
            },
        })
    }

    /// The versions from `from` on that are *logically* retained, in (revision, sub) order: everything
    /// written at or above the compacted revision, and below it the last version of each key, if it was alive
    /// and was not replaced up to that revision. Members that hold the same see the same, however far each
    /// has swept.
    pub fn retained(&self, from: Place) -> impl Iterator<Item = &'a Record> + use<'a> {
        let root = self.root;
        // After a finished sweep nothing is left that would have to be looked at.
        let swept = root.swept == root.compacted;
        let versions = root.history.iter_from(root.history.seek(from));
        versions.map(|(_, record)| record).filter(move |record| {
            swept || record.mod_revision() >= root.compacted || root.is_retained(record)
        })
    }

    /// What the key of `record` was at the revision before `record`'s, or nothing when it was not there.
    /// Exact for everything after the compacted revision; records up to it have no history any more.
    /// Operations of one transaction have the same "before".
    pub fn previous(&self, record: &Record) -> Option<Record> {
        let revision = record.mod_revision();
        if revision <= self.root.compacted {
            return None;
        }
        let mut link = record.links().previous;
        loop {
            if link.is_none() {
                return None;
            }
            let older = self.root.history.get(link.ordinal)?;
            if older.mod_revision() < revision {
                return (!older.is_tombstone()).then(|| older.clone());
            }
            link = older.links().previous;
        }
    }

    /// How many versions a read of `key` at `at` looks at: for tests of the links.
    #[doc(hidden)]
    pub fn steps_to(&self, key: &[u8], at: Revision) -> usize {
        let mut steps = 1;
        let mut record = self.root.latest(key);
        while let Some(newer) = record.filter(|record| record.mod_revision() > at) {
            record = self.root.history.get(newer.links().towards(at).ordinal);
            steps += 1;
        }
        steps
    }

    /// The number of retained versions, counting those that wait to be swept.
    pub fn versions(&self) -> u64 {
        self.root.history.len()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Ascending,
    Descending,
}

/// The keys of a range at one revision. See [`RootView::range`].
pub struct Range<'a> {
    view: RootView<'a>,
    at: Option<Revision>,
    cursor: Cursor<'a, Packed, Slot>,
    range: KeyRange,
    direction: Direction,
}

impl<'a> Iterator for Range<'a> {
    type Item = &'a Record;

    fn next(&mut self) -> Option<&'a Record> {
        loop {
            // At present the dead are passed over in whole subtrees; in the past they may have lived.
            let (key, slot) = match (self.direction, self.at) {
                (Direction::Ascending, None) => self.cursor.next_weighty()?,
                (Direction::Ascending, Some(_)) => self.cursor.next()?,
                (Direction::Descending, None) => self.cursor.previous_weighty()?,
                (Direction::Descending, Some(_)) => self.cursor.previous()?,
            };
            if !self.range.contains(key) {
                return None;
            }
            if let Some(record) = self.view.visible(*slot, self.at) {
                return Some(record);
            }
        }
    }
}

/// What happened, in order. See [`RootView::events`].
pub struct Events<'a> {
    view: RootView<'a>,
    versions: history::Iter<'a>,
}

impl<'a> Events<'a> {
    /// The next version without looking up the one before it.
    pub fn next_record(&mut self) -> Option<&'a Record> {
        self.versions.next().map(|(_, record)| record)
    }
}

impl Iterator for Events<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let record = self.next_record()?.clone();
        let previous = self.view.previous(&record);
        Some(Event { record, previous })
    }
}
