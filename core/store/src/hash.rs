//! HashKV: one number over all that can be read of a root at a revision.
//!
//! Members that hold the same have the same hash, however far each has swept. So the hash covers the
//! versions that are *logically* retained: everything written at or above the compacted revision, and
//! below it the last version of each key, if it was alive and was not replaced at that revision.

use crate::record::{Place, Record};
use crate::root::{ReadError, Root, RootView};
use base::Revision;
use xxhash_rust::xxh3::Xxh3;

/// The hash of a root's history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryHash {
    /// The hash.
    pub hash: u32,
    /// The compacted revision at which it was taken: only hashes of equal ones can be compared.
    pub compact_revision: Revision,
    /// The revision up to which it was taken.
    pub hash_revision: Revision,
}

impl RootView<'_> {
    /// The hash of everything retained up to `at` (0 = the present). It reads every version: let a
    /// thread that has time do it, on a held state.
    pub fn hash(&self, at: Revision) -> Result<HistoryHash, ReadError> {
        let at = if at == Revision(0) { self.revision } else { at };
        self.readable(Some(at))?;
        let compacted = self.root.compacted;
        let mut hasher = Xxh3::with_seed(compacted.0);
        for record in self.retained(Place::default()) {
            if record.mod_revision() > at {
                break;
            }
            hasher.update(record.logical_bytes());
        }
        let digest = hasher.digest();
        Ok(HistoryHash {
            hash: (digest ^ (digest >> 32)) as u32,
            compact_revision: compacted,
            hash_revision: at,
        })
    }
}

impl Root {
    /// Whether `record`, written below the compacted revision, is kept for those who read at or watch
    /// from the compacted revision: alive, and not replaced up to it.
    pub(crate) fn is_retained(&self, record: &Record) -> bool {
        let Some(slot) = self.keys.get(record.key()) else {
            return false;
        };
        let newest = self.version_at(*slot, self.compacted);
        !record.is_tombstone() && newest.is_some_and(|kept| kept.place() == record.place())
    }
}
