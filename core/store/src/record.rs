//! One version of one key, in one allocation.
//!
//! A record is written once and never changed. Cloning it is one reference count.
//!
//! ```text
//!  byte 0                8                16               24           32      36
//!       │ previous: revision │ ordinal │ jump: revision │ ordinal │ depth │ jump depth │
//!      40        44         48        56         64        72      80
//!       │ key len │ flags+sub │ created │ modified │ version │ lease │ key … │ value …
//!       └────────────────────── logical: the same on every member ───────────────────┘
//! ```
//!
//! The first 40 bytes are links to older versions of the same key, private to this member: they may
//! point at versions that are swept already. `jump` skips over many versions, chosen so that any old
//! version is found in logarithmically many steps (Myers, "An applicative random-access stack", 1983).
//! Everything from byte 40 on is replicated state and goes into digests and hashes.

use base::{LeaseId, Revision};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// A place in a root's history: the revision of a write transaction and the operation in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// The transaction.
    pub revision: Revision,
    /// The operation in it, from 0.
    pub sub: u32,
}

impl Place {
    /// The first place of `revision`.
    pub(crate) const fn start_of(revision: Revision) -> Place {
        Place { revision, sub: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.revision, self.sub)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

const PREVIOUS: usize = 0;
const JUMP: usize = 16;
const DEPTH: usize = 32;
const JUMP_DEPTH: usize = 36;
/// Where the replicated part begins.
const LOGICAL: usize = 40;
const KEY_LEN: usize = 40;
const FLAGS_SUB: usize = 44;
const CREATED: usize = 48;
const MODIFIED: usize = 56;
const VERSION: usize = 64;
const LEASE: usize = 72;
const HEADER_BYTES: usize = 80;

/// The top bit of the word at [`FLAGS_SUB`]: the key was deleted here.
const TOMBSTONE: u32 = 1 << 31;

/// What an allocation costs beside its bytes: two reference counts and the allocator's rounding.
const ALLOCATION_BYTES: u64 = 24;

/// One version of one key. See the module's documentation.
#[derive(Clone)]
pub struct Record(Arc<[u8]>);

/// A way from a version to an older one of its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Link {
    /// The older version's revision; 0 when there is none.
    pub(crate) revision: Revision,
    /// Where it is in `history`, if it is retained.
    pub(crate) ordinal: u64,
}

impl Link {
    pub(crate) fn is_none(self) -> bool {
        self.revision == Revision(0)
    }
}

/// How a record hangs together with older versions of its key.
#[derive(Clone, Copy, Default)]
pub(crate) struct Links {
    pub(crate) previous: Link,
    pub(crate) jump: Link,
    pub(crate) depth: u32,
    pub(crate) jump_depth: u32,
}

impl Links {
    /// The next version on the way to `at`, from a version above it: the farthest that is surely not
    /// too far. Everything above `at` is retained, so a jump that stays above it always lands.
    pub(crate) fn towards(&self, at: Revision) -> Link {
        if self.jump.revision > at {
            self.jump
        } else {
            self.previous
        }
    }

    /// Whether these can be the links of a version with this ordinal and revision: each goes back.
    pub(crate) fn are_sound(&self, ordinal: u64, revision: Revision) -> bool {
        let back = |link: Link, ordinal: u64, revision: Revision| {
            link.is_none() || (link.ordinal < ordinal && link.revision <= revision)
        };
        back(self.previous, ordinal, revision)
            && back(self.jump, ordinal, revision)
            && self.jump.revision <= self.previous.revision
    }
}

/// What makes a record.
pub(crate) struct Parts<'a> {
    pub(crate) key: &'a [u8],
    /// Nothing makes a tombstone.
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) place: Place,
    pub(crate) created: Revision,
    pub(crate) version: u64,
    pub(crate) lease: LeaseId,
    pub(crate) links: Links,
}

impl Record {
    pub(crate) fn new(parts: &Parts<'_>, scratch: &mut Vec<u8>) -> Record {
        let links = &parts.links;
        let tombstone = if parts.value.is_none() { TOMBSTONE } else { 0 };
        scratch.clear();
        for link in [links.previous, links.jump] {
            scratch.extend_from_slice(&link.revision.0.to_le_bytes());
            scratch.extend_from_slice(&link.ordinal.to_le_bytes());
        }
        scratch.extend_from_slice(&links.depth.to_le_bytes());
        scratch.extend_from_slice(&links.jump_depth.to_le_bytes());
        scratch.extend_from_slice(&(parts.key.len() as u32).to_le_bytes());
        scratch.extend_from_slice(&(parts.place.sub | tombstone).to_le_bytes());
        scratch.extend_from_slice(&parts.created.0.to_le_bytes());
        scratch.extend_from_slice(&parts.place.revision.0.to_le_bytes());
        scratch.extend_from_slice(&parts.version.to_le_bytes());
        scratch.extend_from_slice(&parts.lease.0.to_le_bytes());
        scratch.extend_from_slice(parts.key);
        scratch.extend_from_slice(parts.value.unwrap_or_default());
        Record(Arc::from(&scratch[..]))
    }

    /// Takes bytes from outside: the layout of the whole allocation, as [`Record::as_bytes`] gives it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Record> {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let record = Record(Arc::from(bytes));
        let value_len = (bytes.len() - HEADER_BYTES).checked_sub(record.key_len())?;
        let sound = if record.is_tombstone() {
            value_len == 0 && record.version() == 0 && record.lease().is_none()
        } else {
            record.version() > 0 && record.create_revision() <= record.mod_revision()
        };
        (sound && record.mod_revision() > Revision(0)).then_some(record)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The replicated part: what digests and hashes are made of.
    pub(crate) fn logical_bytes(&self) -> &[u8] {
        &self.0[LOGICAL..]
    }

    fn u32_at(&self, at: usize) -> u32 {
        let bytes = &self.0[at..at + 4];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    fn u64_at(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        u64::from_le_bytes(bytes)
    }

    fn key_len(&self) -> usize {
        self.u32_at(KEY_LEN) as usize
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.0[HEADER_BYTES..HEADER_BYTES + self.key_len()]
    }

    /// The value; empty for a tombstone.
    pub fn value(&self) -> &[u8] {
        &self.0[HEADER_BYTES + self.key_len()..]
    }

    /// The key as a handle that keeps this record alive, without a copy.
    pub fn key_bytes(&self) -> Bytes {
        let end = HEADER_BYTES + self.key_len();
        Bytes::from_owner(self.clone()).slice(HEADER_BYTES..end)
    }

    /// The value as a handle that keeps this record alive, without a copy.
    pub fn value_bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone()).slice(HEADER_BYTES + self.key_len()..)
    }

    /// The revision that created the key's present life; 0 for a tombstone.
    pub fn create_revision(&self) -> Revision {
        Revision(self.u64_at(CREATED))
    }

    /// The revision that wrote this version (or deleted the key).
    pub fn mod_revision(&self) -> Revision {
        Revision(self.u64_at(MODIFIED))
    }

    /// The operation within that revision.
    pub fn sub(&self) -> u32 {
        self.u32_at(FLAGS_SUB) & !TOMBSTONE
    }

    /// Where in history this version is.
    pub fn place(&self) -> Place {
        Place {
            revision: self.mod_revision(),
            sub: self.sub(),
        }
    }

    /// 1 when created, one more with each put; 0 for a tombstone.
    pub fn version(&self) -> u64 {
        self.u64_at(VERSION)
    }

    /// The lease that the key hangs on, or none.
    pub fn lease(&self) -> LeaseId {
        LeaseId(self.u64_at(LEASE) as i64)
    }

    /// Whether this version says that the key was deleted.
    pub fn is_tombstone(&self) -> bool {
        self.u32_at(FLAGS_SUB) & TOMBSTONE != 0
    }

    /// Bytes of memory that this version takes.
    pub fn size(&self) -> u64 {
        self.0.len() as u64 + ALLOCATION_BYTES
    }

    pub(crate) fn links(&self) -> Links {
        let link = |at| Link {
            revision: Revision(self.u64_at(at)),
            ordinal: self.u64_at(at + 8),
        };
        Links {
            previous: link(PREVIOUS),
            jump: link(JUMP),
            depth: self.u32_at(DEPTH),
            jump_depth: self.u32_at(JUMP_DEPTH),
        }
    }
}

impl AsRef<[u8]> for Record {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Two records are equal when their replicated parts are.
impl PartialEq for Record {
    fn eq(&self, other: &Record) -> bool {
        self.logical_bytes() == other.logical_bytes()
    }
}

impl Eq for Record {}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key().escape_ascii();
        if self.is_tombstone() {
            return write!(f, "{key} deleted@{}", self.place());
        }
        let (value, lease) = (self.value(), self.lease());
        let shown = value[..value.len().min(32)].escape_ascii();
        write!(f, "{key}={shown}@{} v{}", self.place(), self.version())?;
        if !lease.is_none() {
            write!(f, " lease {lease}")?;
        }
        Ok(())
    }
}
