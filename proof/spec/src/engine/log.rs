//! The log of one member: what stands behind a snapshot's position, without a gap.

use base::{Entry, EntryKind, Index, LogPosition, Term, invariant};

/// Entries after `base`.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// A state covers everything up to here.
    pub(super) base: LogPosition,
    pub(super) entries: Vec<Entry>,
}

impl Log {
    pub(super) fn last(&self) -> LogPosition {
        self.entries
            .last()
            .map_or(self.base, |entry| entry.position)
    }

    pub(super) fn first(&self) -> Index {
        self.base.index.next()
    }

    /// The term of the entry at `index`; nothing where the log does not reach, on either side.
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|entry| entry.position.term)
    }

    pub(super) fn get(&self, index: Index) -> Option<&Entry> {
        let offset = index.0.checked_sub(self.base.index.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// The entries after `from` and up to `to`, as far as they are here.
    pub(super) fn between(&self, from: Index, to: Index) -> &[Entry] {
        let at = |index: Index| {
            let offset = index.0.saturating_sub(self.base.index.0) as usize;
            offset.min(self.entries.len())
        };
        let (from, to) = (at(from), at(to));
        &self.entries[from..to.max(from)]
    }

    /// Whether a change of membership stands after `from` and up to `to`.
    pub(super) fn has_change(&self, from: Index, to: Index) -> bool {
        let mut entries = self.between(from, to).iter();
        entries.any(|entry| entry.kind == EntryKind::Change)
    }

    /// Appends one entry behind the last.
    pub(super) fn push(&mut self, entry: Entry) {
        invariant!(
            entry.position.index == self.last().index.next(),
            "{} behind {}",
            entry.position,
            self.last()
        );
        self.entries.push(entry);
    }

    /// Cuts everything from `from` on.
    pub(super) fn truncate(&mut self, from: Index) {
        let keep = from.0.saturating_sub(self.base.index.0 + 1) as usize;
        self.entries.truncate(keep);
    }

    /// Begins anew behind a state.
    pub(super) fn begin_after(&mut self, base: LogPosition) {
        self.entries.clear();
        self.base = base;
    }

    /// Forgets entries up to `to`.
    pub(super) fn compact(&mut self, to: Index) {
        if let Some(term) = self.term_at(to) {
            let n = (to.0 - self.base.index.0) as usize;
            self.entries.drain(..n);
            self.base = LogPosition { term, index: to };
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().map(Entry::size).sum()
    }
}
