//! The tail of the log in memory: what the engine reads, also before it is durable.
//!
//! ```text
//!    base (a snapshot covers it)                 last
//!      │                                          │
//!   ───┤ e₁ e₂ e₃ … entries, without a gap … eₙ ├
//!            ▲ applied      ▲ persisted
//! ```
//!
//! The engine reads entries before they are durable and dies when decided ones cannot be had, so all
//! that is unapplied or unsynced stays here; `compact` drops only what is applied and covered by a
//! snapshot that can be streamed. It is not the durable log: that is `storage`, fed with the same
//! entries through [`crate::Ready`].
//!
//! Invariants: the first entry is `base + 1`, indexes have no gap, terms never fall.

use crate::convert;
use base::{Entry, HardState, LogPosition, MemberId, Membership, SnapshotMeta, Term, invariant};
use raft::eraftpb;
use raft::{Error, GetEntriesContext, RaftState, StorageError};
use std::cell::Cell;
use std::collections::VecDeque;

/// The entries in memory, and what the engine asks of a storage at its start.
pub(crate) struct MemLog {
    /// The position before the first entry.
    base: LogPosition,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The newest state that the caller can stream.
    provided: Option<SnapshotMeta>,
    /// Somebody needs a newer state than that.
    is_snapshot_wanted: Cell<bool>,
    initial: (HardState, Membership),
}

impl MemLog {
    /// The log that storage found.
    pub(crate) fn new(
        base: LogPosition,
        entries: Vec<Entry>,
        hard_state: HardState,
        membership: Membership,
    ) -> MemLog {
        let mut log = MemLog {
            base,
            entries: VecDeque::new(),
            bytes: 0,
            provided: None,
            is_snapshot_wanted: Cell::new(false),
            initial: (hard_state, membership),
        };
        log.append(&entries);
        log
    }

    /// The position before the first entry.
    pub(crate) fn base(&self) -> LogPosition {
        self.base
    }

    /// Index of the last entry, or of the base.
    pub(crate) fn last_index(&self) -> u64 {
        self.base.index.0 + self.entries.len() as u64
    }

    /// Bytes of all entries.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The state that can be streamed.
    pub(crate) fn provided(&self) -> Option<&SnapshotMeta> {
        self.provided.as_ref()
    }

    /// Takes `entries` over; whatever stands from the first one's index on is replaced.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        invariant!(
            first.position.index > self.base.index
                && first.position.index.0 <= self.last_index() + 1,
            "entries from {} do not join a log of {}..={}",
            first.position,
            self.base.index.0 + 1,
            self.last_index()
        );
        let keep = (first.position.index.0 - self.base.index.0 - 1) as usize;
        for dropped in self.entries.drain(keep..) {
            self.bytes -= dropped.size();
        }
        for entry in entries {
            self.bytes += entry.size();
            self.entries.push_back(entry.clone());
        }
    }

    /// Begins anew after a received snapshot.
    pub(crate) fn install(&mut self, meta: &SnapshotMeta) {
        self.entries.clear();
        self.bytes = 0;
        self.base = meta.position;
    }

    /// Drops entries up to `to`.
    pub(crate) fn compact(&mut self, to: u64) {
        while self.base.index.0 < to
            && let Some(entry) = self.entries.pop_front()
        {
            self.bytes -= entry.size();
            self.base = entry.position;
        }
        // A burst leaves a large buffer behind; give it back once it is mostly empty.
        if self.entries.capacity() > 1024 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    /// Remembers a state that can be streamed; an older one than the last changes nothing.
    pub(crate) fn provide(&mut self, meta: SnapshotMeta) {
        if self
            .provided
            .as_ref()
            .is_none_or(|old| old.position.index < meta.position.index)
        {
            self.provided = Some(meta);
            self.is_snapshot_wanted.set(false);
        }
    }

    /// Whether a snapshot was asked for in vain since the last one was provided.
    pub(crate) fn is_snapshot_wanted(&self) -> bool {
        self.is_snapshot_wanted.get()
    }

    /// The entries with `first <= index < end`, as far as they are here.
    pub(crate) fn range(&self, first: u64, end: u64) -> impl Iterator<Item = &Entry> {
        let start = first.saturating_sub(self.base.index.0 + 1) as usize;
        let stop = end.saturating_sub(self.base.index.0 + 1) as usize;
        let stop = stop.min(self.entries.len());
        self.entries.range(start.min(stop)..stop)
    }

    /// The log's invariants.
    pub(crate) fn check(&self) {
        let mut before = self.base;
        let mut bytes = 0;
        for entry in &self.entries {
            invariant!(
                entry.position.index.0 == before.index.0 + 1 && entry.position.term >= before.term,
                "entry {} follows {before}",
                entry.position
            );
            before = entry.position;
            bytes += entry.size();
        }
        invariant!(bytes == self.bytes, "{bytes} bytes are not {}", self.bytes);
    }
}

impl raft::Storage for MemLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let (hard_state, membership) = &self.initial;
        Ok(RaftState::new(
            convert::hard_state_to_engine(hard_state),
            convert::membership_to_engine(membership),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low <= self.base.index.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last_index() + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        // The first entry always, the others while they fit.
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0;
        Ok(self
            .range(low, high)
            .take_while(|entry| {
                let is_first = bytes == 0;
                bytes += entry.size() as u64;
                is_first || bytes <= bytes_max
            })
            .map(convert::entry_to_engine)
            .collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.index.0 {
            return Ok(self.base.term.0);
        }
        if index < self.base.index.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        let at = (index - self.base.index.0 - 1) as usize;
        match self.entries.get(at) {
            Some(entry) => Ok(entry.position.term.0),
            None => Err(Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.index.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(MemLog::last_index(self))
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        // A state from before the first entry would leave a gap, and one from before the member was
        // added is ignored by it; both would be sent again and again.
        let enough = request_index.max(self.base.index.0);
        match &self.provided {
            Some(meta)
                if meta.position.index.0 >= enough
                    && meta.position.term != Term(0)
                    && meta.membership.contains(MemberId(to)) =>
            {
                Ok(convert::snapshot_to_engine(meta))
            }
            _ => {
                self.is_snapshot_wanted.set(true);
                Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}
