//! etcd's hash of history: CRC-32C over the bucket `key`, as far as a revision.
//!
//! ```text
//!   "key" ‖ for each version up to the revision, in order:  its key in the bucket ‖ its value there
//! ```
//!
//! What is at or below the compacted revision counts only if a read at the hash's revision still sees it, and
//! a tombstone at exactly the compacted revision does not count: that is what makes members agree who have
//! removed more or less of what compaction hid, and what makes ours agree with an etcd's. Where *no* key is
//! alive at the hash's revision, etcd leaves the first of these rules out, and so do we.

use super::schema::{self, RevisionKey};
use crate::apply::is_zero_compacted;
use base::Revision;
use store::{KeyRange, Place, ReadError, State};

/// The hash of what can be read up to a revision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KvHash {
    /// The hash.
    pub hash: u32,
    /// The compacted revision at which it was taken, −1 before the first compaction: hashes are compared where
    /// this is equal.
    pub compact_revision: i64,
    /// The revision up to which it was taken.
    pub hash_revision: Revision,
}

/// Hashes everything up to `at` (0 = the present). It reads every version: a job for a thread that has time.
///
/// # Errors
/// `at` is compacted, or in the future.
pub fn hash_kv(state: &State, at: Revision) -> Result<KvHash, ReadError> {
    let view = state.root(crate::ROOT);
    let at = match at {
        Revision(0) => state.revision(),
        at => at,
    };
    let skips_hidden = view.count(&KeyRange::all(), Some(at))? > 0;
    let compacted = view.compacted();
    let mut hash = crc32c::crc32c(schema::KEY);
    let mut value = Vec::new();
    for record in view.retained(Place::default()) {
        let revision = record.mod_revision();
        if revision > at {
            break;
        }
        if revision <= compacted {
            let seen = || view.get(record.key(), Some(at));
            let is_seen = |found: Option<store::Record>| {
                found.is_some_and(|found| found.place() == record.place())
            };
            if skips_hidden && !is_seen(seen()?) {
                continue;
            }
            if revision == compacted && record.is_tombstone() {
                continue;
            }
        }
        value.clear();
        schema::key_value(&mut value, record);
        hash = crc32c::crc32c_append(hash, RevisionKey::of(record).encode(&mut [0; 18]));
        hash = crc32c::crc32c_append(hash, &value);
    }
    Ok(KvHash {
        hash,
        compact_revision: match compacted {
            Revision(0) if !is_zero_compacted(state) => -1,
            Revision(n) => n as i64,
        },
        hash_revision: at,
    })
}
