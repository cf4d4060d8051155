//! From a file to a state: ours, or an etcd's.

use super::schema::{self, BUCKET_OF_OURS, KeyValue, RevisionKey};
use crate::apply::alarms::{self, Alarm};
use crate::apply::note_zero_compacted;
use base::{Index, LeaseId, LogPosition, Revision, Term};
use bolt::{Bucket, Entry, File, ReadAt, ReadError};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use store::restore::{Restoration, RestoreError, Restored};
use store::{DecodeError, State, stream};
use thiserror::Error;

/// Buckets in the root bucket of any etcd, and far more. A file with more is none.
const BUCKETS_MAX: usize = 1000;

/// Bytes of a value in the bucket `meta` that anybody looks at.
const META_BYTES_MAX: usize = 4096;

/// Why a file cannot be restored.
#[derive(Debug, Error)]
pub enum RestoreFault {
    /// The file's pages.
    #[error("the file is damaged, or cannot be read")]
    File(#[from] ReadError),
    /// It has no keys' bucket.
    #[error("the file has no bucket \"{0}\": it is no database of etcd's version 3")]
    NoBucket(&'static str),
    /// An entry that etcd would not write.
    #[error("the bucket \"{0}\" has an entry that cannot be read")]
    Entry(&'static str),
    /// A bucket where etcd has entries only.
    #[error("the bucket \"{0}\" has a bucket within it")]
    Nested(String),
    /// Versions that contradict each other.
    #[error("the history of the keys is not sound")]
    History(#[from] RestoreError),
    /// The stream in the bucket of ours.
    #[error("the bucket of Quorate's own cannot be read")]
    Ours(#[from] DecodeError),
    /// Written by a version that we know nothing of.
    #[error("the file is of storage version {0}, and versions 3 are known")]
    Version(String),
}

/// What was restored.
pub struct Contents {
    /// The state. It stands where the file was written, and knows the members of then.
    pub state: State,
    /// Where in the log the file was written.
    pub applied: LogPosition,
    /// Whether the file has a bucket of ours that belongs to the same state. Everything is there then.
    pub is_ours: bool,
    /// The revision of a bucket of ours that belongs to another state: the file has been through an etcd since.
    /// It was left out, and with it native keys, locks and sessions.
    pub outdated: Option<Revision>,
}

/// The buckets of a file, by name.
pub(super) struct Entries<'f, S> {
    file: &'f File<S>,
    buckets: BTreeMap<Vec<u8>, Bucket>,
}

impl<'f, S: ReadAt> Entries<'f, S> {
    fn of(file: &'f File<S>) -> Result<Entries<'f, S>, RestoreFault> {
        let mut buckets = BTreeMap::new();
        let mut items = file.items(&file.root());
        while let Some(item) = items.next()? {
            if let Entry::Bucket(bucket) = item.entry {
                buckets.insert(item.key.to_vec(), bucket);
            }
            if buckets.len() > BUCKETS_MAX {
                return Err(RestoreFault::Entry("the root bucket"));
            }
        }
        Ok(Entries { file, buckets })
    }

    /// Shows all entries of a bucket, if it is there.
    pub(super) fn each(
        &self,
        name: &[u8],
        mut show: impl FnMut(&[u8], &[u8]) -> Result<(), RestoreFault>,
    ) -> Result<(), RestoreFault> {
        let Some(bucket) = self.buckets.get(name) else {
            return Ok(());
        };
        let mut items = self.file.items(bucket);
        while let Some(item) = items.next()? {
            match item.entry {
                Entry::Value(value) => show(item.key, value)?,
                // Nobody puts buckets into these: it was an entry, and would be lost without a word.
                Entry::Bucket(_) => {
                    let name = String::from_utf8_lossy(name).into_owned();
                    return Err(RestoreFault::Nested(name));
                }
            }
        }
        Ok(())
    }

    /// A short value.
    pub(super) fn get(&self, bucket: &[u8], key: &[u8]) -> Result<Option<Vec<u8>>, RestoreFault> {
        let mut found = None;
        self.each(bucket, |at, value| {
            if at == key && value.len() <= META_BYTES_MAX {
                found = Some(value.to_vec());
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// What the bucket `meta` says.
struct Meta {
    applied: LogPosition,
    /// Nothing: never compacted.
    compacted: Option<Revision>,
}

impl Meta {
    fn read<S: ReadAt>(entries: &Entries<'_, S>) -> Result<Meta, RestoreFault> {
        let number = |key| {
            let bytes = entries.get(schema::META, key)?;
            let bytes = bytes.map(|bytes| <[u8; 8]>::try_from(&bytes[..]));
            match bytes {
                None => Ok(0),
                Some(Ok(bytes)) => Ok(u64::from_be_bytes(bytes)),
                Some(Err(_)) => Err(RestoreFault::Entry("meta")),
            }
        };
        let counter = |key| match entries.get(schema::META, key)? {
            None => Ok(None),
            Some(bytes) => RevisionKey::decode(&bytes)
                .map(|key| Some(key.place.revision))
                .ok_or(RestoreFault::Entry("meta")),
        };
        if let Some(version) = entries.get(schema::META, schema::STORAGE_VERSION)? {
            let version = String::from_utf8_lossy(&version).into_owned();
            if !version.starts_with("3.") {
                return Err(RestoreFault::Version(version));
            }
        }
        // What is scheduled was acknowledged; how far the removal came makes no difference to a reader.
        let scheduled = counter(schema::SCHEDULED_COMPACT)?;
        Ok(Meta {
            applied: LogPosition {
                term: Term(number(schema::TERM)?),
                index: Index(number(schema::CONSISTENT_INDEX)?),
            },
            compacted: scheduled.max(counter(schema::FINISHED_COMPACT)?),
        })
    }
}

/// The state in a file.
///
/// # Errors
/// The file is damaged, is no etcd's, or holds what a restore would lose.
pub fn restore<S: ReadAt>(file: &File<S>) -> Result<Contents, RestoreFault> {
    let entries = Entries::of(file)?;
    if !entries.buckets.contains_key(schema::KEY) {
        return Err(RestoreFault::NoBucket("key"));
    }
    let meta = Meta::read(&entries)?;
    let compacted = meta.compacted.unwrap_or(Revision(0));
    let newest = newest(&entries)?.max(compacted).max(Revision(1));
    let ours = ours(&entries)?;
    let belongs = |state: &State| state.applied() == meta.applied && state.revision() == newest;
    let (base, outdated) = match ours {
        Some(state) if belongs(&state) => (Some(state), None),
        Some(state) => (None, Some(state.revision())),
        None => (None, None),
    };
    let is_ours = base.is_some();
    let mut restoration = Restoration::beside(base, crate::ROOT, compacted)?;
    if !is_ours {
        leases(&entries, &mut restoration)?;
        raised_alarms(&entries, &mut restoration)?;
        super::auth::restore(&entries, &mut restoration)?;
        if meta.compacted == Some(Revision(0)) {
            note_zero_compacted(&mut restoration);
        }
    }
    keys(&entries, &mut restoration)?;
    Ok(Contents {
        state: restoration.finish(newest)?,
        applied: meta.applied,
        is_ours,
        outdated,
    })
}

/// The newest revision that the keys tell.
fn newest<S: ReadAt>(entries: &Entries<'_, S>) -> Result<Revision, RestoreFault> {
    let mut newest = Revision(0);
    entries.each(schema::KEY, |key, _| {
        let key = RevisionKey::decode(key).ok_or(RestoreFault::Entry("key"))?;
        newest = key.place.revision;
        Ok(())
    })?;
    Ok(newest)
}

/// The state in the bucket of ours, which holds all but etcd's keys.
fn ours<S: ReadAt>(entries: &Entries<'_, S>) -> Result<Option<State>, RestoreFault> {
    if !entries.buckets.contains_key(BUCKET_OF_OURS) {
        return Ok(None);
    }
    let mut reader = stream::Reader::new();
    entries.each(BUCKET_OF_OURS, |_, piece| Ok(reader.push(piece)?))?;
    Ok(Some(reader.finish()?))
}

fn leases<S: ReadAt>(
    entries: &Entries<'_, S>,
    restoration: &mut Restoration,
) -> Result<(), RestoreFault> {
    entries.each(schema::LEASE, |_, lease| {
        let (id, ttl_s) = schema::read_lease(lease).map_err(|_| RestoreFault::Entry("lease"))?;
        Ok(restoration.lease(id, ttl_s)?)
    })
}

fn raised_alarms<S: ReadAt>(
    entries: &Entries<'_, S>,
    restoration: &mut Restoration,
) -> Result<(), RestoreFault> {
    entries.each(schema::ALARM, |alarm, _| {
        let alarm = Alarm::decode(alarm).map_err(|_| RestoreFault::Entry("alarm"))?;
        if let Some(alarm) = alarm {
            restoration.record(alarms::ALARMS, &alarm.key(), Bytes::from_static(b"1"));
        }
        Ok(())
    })
}

fn keys<S: ReadAt>(
    entries: &Entries<'_, S>,
    restoration: &mut Restoration,
) -> Result<(), RestoreFault> {
    let bad = || RestoreFault::Entry("key");
    entries.each(schema::KEY, |key, value| {
        let RevisionKey {
            place,
            is_tombstone,
        } = RevisionKey::decode(key).ok_or_else(bad)?;
        let kv = KeyValue::read(value).map_err(|_| bad())?;
        // A placeholder that only tells a revision: ours is a tombstone, that of etcdutl's --bump-revision is none.
        if kv.key.is_empty() {
            return Ok(());
        }
        let restored = match is_tombstone {
            true => Restored {
                key: kv.key,
                value: None,
                place,
                created: Revision(0),
                version: 0,
                lease: LeaseId::NONE,
            },
            false if u64::try_from(kv.modified) != Ok(place.revision.0) => return Err(bad()),
            false => Restored {
                key: kv.key,
                value: Some(kv.value),
                place,
                created: Revision(u64::try_from(kv.created).map_err(|_| bad())?),
                version: u64::try_from(kv.version).map_err(|_| bad())?,
                lease: kv.lease,
            },
        };
        Ok(restoration.version(&restored)?)
    })
}

/// What `etcdutl snapshot status` says about a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// CRC-32C over all buckets' names, keys and values.
    pub hash: u32,
    /// The newest revision that the keys tell.
    pub revision: Revision,
    /// Keys that are alive.
    pub n_keys: usize,
    /// Bytes of all pages in use.
    pub n_bytes: u64,
    /// The version of etcd's storage, as the file tells it; empty before 3.6.
    pub version: String,
    /// Bytes in the bucket of ours; nothing in a file of an etcd's.
    pub ours_bytes: Option<u64>,
}

/// Walks through a whole file.
///
/// # Errors
/// It is damaged, or no etcd's.
pub fn summary<S: ReadAt>(file: &File<S>) -> Result<Summary, RestoreFault> {
    file.check()?;
    let entries = Entries::of(file)?;
    if !entries.buckets.contains_key(schema::KEY) {
        return Err(RestoreFault::NoBucket("key"));
    }
    let mut hash = 0;
    let mut revision = Revision(0);
    let mut alive: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut ours_bytes = None;
    for bucket in entries.buckets.keys() {
        hash = crc32c::crc32c_append(hash, bucket);
        let mut n_bytes = 0;
        entries.each(bucket, |key, value| {
            hash = crc32c::crc32c_append(hash, key);
            hash = crc32c::crc32c_append(hash, value);
            n_bytes += (key.len() + value.len()) as u64;
            if bucket == schema::KEY {
                let bad = || RestoreFault::Entry("key");
                let at = RevisionKey::decode(key).ok_or_else(bad)?;
                let kv = KeyValue::read(value).map_err(|_| bad())?;
                revision = at.place.revision;
                match at.is_tombstone {
                    true => alive.remove(kv.key),
                    false => alive.insert(kv.key.to_vec()),
                };
            }
            Ok(())
        })?;
        if bucket == BUCKET_OF_OURS {
            ours_bytes = Some(n_bytes);
        }
    }
    let version = entries.get(schema::META, schema::STORAGE_VERSION)?;
    Ok(Summary {
        hash,
        revision,
        n_keys: alive.len(),
        n_bytes: file.n_bytes(),
        version: version.map_or(String::new(), |it| {
            String::from_utf8_lossy(&it).into_owned()
        }),
        ours_bytes,
    })
}
