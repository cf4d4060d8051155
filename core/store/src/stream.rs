//! The snapshot stream: a held state as bytes, and back.
//!
//! The same bytes lie in checkpoints, travel to members that fell behind, and answer a client's
//! snapshot request. The writer takes a state that it holds and gives out chunks as large as the caller
//! likes; the reader takes bytes as they come, believes nothing before its checksum is right, and
//! builds the trees in one pass. The layout is drawn in `docs/format/snapshot.md`.
//!
//! ```text
//!   chunk = length u32 │ kind u8 │ payload … │ xxh3-64 of all before it in the whole stream
//!   stream = Head · Records* · Leases* · Times* · (Root · Versions* · Keys*)* · End
//! ```

use crate::codec::{DecodeError, Reader as Bytewise, at_most, put_slice};
use crate::history::ORDINALS_MAX;
use crate::lease::{Lease, lease_key};
use crate::members::{decode_membership, encode_membership};
use crate::record::{Place, Record};
use crate::root::{Root, RootId, Slot};
use crate::state::{LEASE_KEY_BYTES, State, TABLE_RECORD_BYTES};
use crate::times::{self, Run, Times};
use crate::tree::{Builder, Packed, Plain};
use base::{Index, LeaseId, LogPosition, Mutant, Revision, Term, limits};
use bytes::Bytes;
use clock::HybridTime;
use xxhash_rust::xxh3::Xxh3;

const MAGIC: &[u8; 8] = b"QUORATE\0";
/// The version of the stream that this program writes.
pub const FORMAT_VERSION: u16 = 2;
/// The oldest version that this program reads: it has no times of revisions.
const FORMAT_VERSION_MIN: u16 = 1;

/// Bytes of one chunk that a reader accepts: the largest record with room to spare.
const CHUNK_BYTES_MAX: usize = 2 * limits::ENTRY_BYTES_MAX;
/// Length and kind before the payload.
const CHUNK_HEAD_BYTES: usize = 5;
const CHUNK_HASH_BYTES: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Kind {
    Head = 1,
    Records = 2,
    Leases = 3,
    Root = 4,
    Versions = 5,
    Keys = 6,
    End = 7,
    /// Since version 2.
    Times = 8,
}

impl Kind {
    /// Where it stands in the stream.
    fn rank(self) -> u8 {
        match self {
            Kind::Head => 0,
            Kind::Records => 1,
            Kind::Leases => 2,
            Kind::Times => 3,
            Kind::Root => 4,
            Kind::Versions => 5,
            Kind::Keys => 6,
            Kind::End => 7,
        }
    }

    fn of(byte: u8) -> Option<Kind> {
        [
            Kind::Head,
            Kind::Records,
            Kind::Leases,
            Kind::Root,
            Kind::Versions,
            Kind::Keys,
            Kind::End,
            Kind::Times,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// What the writer gives out next.
enum Next {
    Head,
    /// Records above this tree key.
    Records(Option<Vec<u8>>),
    /// Leases above this one.
    Leases(Option<LeaseId>),
    /// Times of runs that begin after this revision.
    Times(Revision),
    Root(usize),
    /// Versions of root number … from this ordinal on.
    Versions(usize, u64),
    /// Keys of root number … above this one.
    Keys(usize, Option<Vec<u8>>),
    End,
    Done,
}

/// Gives a held state out as bytes.
pub struct Writer {
    state: State,
    next: Next,
    hasher: Xxh3,
}

impl Writer {
    /// A writer of `state`, which it holds until it is dropped.
    pub fn new(state: State) -> Writer {
        Writer {
            state,
            next: Next::Head,
            hasher: Xxh3::new(),
        }
    }

    /// A writer of `state` but for one root, which somebody else keeps.
    pub fn without(mut state: State, root: RootId) -> Writer {
        state.roots.retain(|kept| kept.id != root);
        Writer::new(state)
    }

    /// The state that is being written.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The next bytes of the stream, `max_bytes` at most where single records allow it; nothing at its
    /// end.
    pub fn next_chunk(&mut self, max_bytes: usize) -> Option<Bytes> {
        let mut out = vec![0; CHUNK_HEAD_BYTES];
        loop {
            let kind = match &self.next {
                Next::Head => self.head(&mut out),
                Next::Records(_) => self.records(&mut out, max_bytes),
                Next::Leases(_) => self.leases(&mut out, max_bytes),
                Next::Times(_) => self.times(&mut out, max_bytes),
                Next::Root(_) => self.root(&mut out),
                Next::Versions(..) => self.versions(&mut out, max_bytes),
                Next::Keys(..) => self.keys(&mut out, max_bytes),
                Next::End => {
                    self.next = Next::Done;
                    Kind::End
                }
                Next::Done => return None,
            };
            if out.len() == CHUNK_HEAD_BYTES && kind != Kind::End {
                continue;
            }
            let length = (out.len() - CHUNK_HEAD_BYTES) as u32;
            out[..4].copy_from_slice(&length.to_le_bytes());
            out[4] = kind as u8;
            self.hasher.update(&out);
            out.extend_from_slice(&self.hasher.digest().to_le_bytes());
            return Some(out.into());
        }
    }

    fn head(&mut self, out: &mut Vec<u8>) -> Kind {
        let state = &self.state;
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&state.apply_version.to_le_bytes());
        for number in [
            state.revision.0,
            state.applied.term.0,
            state.applied.index.0 + u64::from(state.mutants.has(Mutant::SnapshotRace)),
            state.time.0,
            state.digest,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        encode_membership(&state.membership, out);
        self.next = Next::Records(None);
        Kind::Head
    }

    fn records(&mut self, out: &mut Vec<u8>, max_bytes: usize) -> Kind {
        let Next::Records(after) = &self.next else {
            return Kind::Records;
        };
        let tables = &self.state.tables;
        let mut cursor = match after {
            None => tables.cursor(),
            Some(key) => tables.cursor_at(&above(key)),
        };
        let mut last = None;
        while let Some((key, value)) = cursor.next() {
            put_slice(out, key);
            put_slice(out, value);
            last = Some(key.to_vec());
            if out.len() >= max_bytes {
                break;
            }
        }
        self.next = match last {
            Some(key) => Next::Records(Some(key)),
            None => Next::Leases(None),
        };
        Kind::Records
    }

    fn leases(&mut self, out: &mut Vec<u8>, max_bytes: usize) -> Kind {
        let Next::Leases(after) = &self.next else {
            return Kind::Leases;
        };
        let leases = &self.state.leases;
        let mut cursor = match after {
            None => leases.cursor(),
            Some(id) => {
                let mut cursor = leases.cursor_at(id);
                cursor.next();
                cursor
            }
        };
        let mut last = None;
        while let Some((id, lease)) = cursor.next() {
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&lease.ttl_s.to_le_bytes());
            out.extend_from_slice(&lease.granted.0.to_le_bytes());
            last = Some(*id);
            if out.len() >= max_bytes {
                break;
            }
        }
        self.next = match last {
            Some(id) => Next::Leases(Some(id)),
            None => Next::Times(Revision(0)),
        };
        Kind::Leases
    }

    fn times(&mut self, out: &mut Vec<u8>, max_bytes: usize) -> Kind {
        let Next::Times(after) = self.next else {
            return Kind::Times;
        };
        self.next = Next::Root(0);
        for run in self.state.times.runs_after(after) {
            out.extend_from_slice(&run.first.0.to_le_bytes());
            out.extend_from_slice(&run.time.0.to_le_bytes());
            if out.len() >= max_bytes {
                self.next = Next::Times(run.first);
                break;
            }
        }
        Kind::Times
    }

    fn root(&mut self, out: &mut Vec<u8>) -> Kind {
        let Next::Root(at) = self.next else {
            return Kind::Root;
        };
        let Some(root) = self.state.roots.get(at) else {
            self.next = Next::End;
            return Kind::Root;
        };
        self.next = if root.is_unused() {
            Next::Root(at + 1)
        } else {
            out.push(root.id.0);
            out.extend_from_slice(&root.compacted.0.to_le_bytes());
            out.extend_from_slice(&root.swept.0.to_le_bytes());
            out.extend_from_slice(&root.history.end().to_le_bytes());
            Next::Versions(at, 0)
        };
        Kind::Root
    }

    fn versions(&mut self, out: &mut Vec<u8>, max_bytes: usize) -> Kind {
        let Next::Versions(at, from) = self.next else {
            return Kind::Versions;
        };
        self.next = Next::Keys(at, None);
        for (ordinal, record) in self.state.roots[at].history.iter_from(from) {
            let bytes = record.as_bytes();
            if out.len() > CHUNK_HEAD_BYTES && out.len() + bytes.len() + 12 > max_bytes {
                self.next = Next::Versions(at, ordinal);
                break;
            }
            out.extend_from_slice(&ordinal.to_le_bytes());
            put_slice(out, bytes);
        }
        Kind::Versions
    }

    fn keys(&mut self, out: &mut Vec<u8>, max_bytes: usize) -> Kind {
        let Next::Keys(at, after) = &self.next else {
            return Kind::Keys;
        };
        let at = *at;
        let keys = &self.state.roots[at].keys;
        let mut cursor = match after {
            None => keys.cursor(),
            Some(key) => keys.cursor_at(&above(key)),
        };
        let mut last = None;
        while let Some((key, slot)) = cursor.next() {
            out.extend_from_slice(&slot.ordinal().to_le_bytes());
            put_slice(out, key);
            last = Some(key.to_vec());
            if out.len() >= max_bytes {
                break;
            }
        }
        self.next = match last {
            Some(key) => Next::Keys(at, Some(key)),
            None => Next::Root(at + 1),
        };
        Kind::Keys
    }
}

fn above(key: &[u8]) -> Vec<u8> {
    let mut above = Vec::with_capacity(key.len() + 1);
    above.extend_from_slice(key);
    above.push(0);
    above
}

/// Takes bytes of a stream and builds the state.
pub struct Reader {
    buffer: Vec<u8>,
    hasher: Xxh3,
    state: Option<State>,
    tables: Builder<Packed, Bytes>,
    table_bytes: u64,
    leases: Builder<Plain<LeaseId>, Lease>,
    times: times::Loading,
    root: Option<LoadingRoot>,
    lease_keys: Vec<Vec<u8>>,
    version: u16,
    last_rank: u8,
    ended: bool,
}

struct LoadingRoot {
    root: Root,
    /// The ordinal that the next new version gets.
    end: u64,
    last: Place,
    keys: Builder<Packed, Slot>,
}

impl Default for Reader {
    fn default() -> Self {
        Reader::new()
    }
}

impl Reader {
    /// A reader at the start of a stream.
    pub fn new() -> Reader {
        Reader {
            buffer: Vec::new(),
            hasher: Xxh3::new(),
            state: None,
            tables: Builder::default(),
            table_bytes: 0,
            leases: Builder::default(),
            times: times::Loading::default(),
            root: None,
            lease_keys: Vec::new(),
            version: FORMAT_VERSION,
            last_rank: 0,
            ended: false,
        }
    }

    /// Takes the next bytes, cut anywhere. After an error the reader is of no more use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.buffer.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = &buffer[..];
        while let Some(head) = rest.first_chunk::<4>() {
            let length = u32::from_le_bytes(*head) as usize;
            if length > CHUNK_BYTES_MAX {
                return Err(DecodeError::OutOfBounds("the length of a chunk"));
            }
            let hashed = CHUNK_HEAD_BYTES + length;
            let Some((chunk, after)) = rest.split_at_checked(hashed + CHUNK_HASH_BYTES) else {
                break;
            };
            rest = after;
            self.hasher.update(&chunk[..hashed]);
            if chunk[hashed..] != self.hasher.digest().to_le_bytes() {
                return Err(DecodeError::Checksum("a chunk"));
            }
            self.chunk(chunk[4], &chunk[CHUNK_HEAD_BYTES..hashed])?;
        }
        self.buffer = rest.to_vec();
        Ok(())
    }

    fn chunk(&mut self, kind: u8, payload: &[u8]) -> Result<(), DecodeError> {
        let kind = Kind::of(kind).ok_or(DecodeError::OutOfBounds("the kind of a chunk"))?;
        let again = matches!(kind, Kind::Root) && self.last_rank >= Kind::Root.rank();
        let ordered = kind.rank() >= self.last_rank || again;
        if self.ended || !ordered || (self.state.is_none() != (kind == Kind::Head)) {
            return Err(DecodeError::Contradiction("chunks are out of order"));
        }
        self.last_rank = kind.rank();
        let mut reader = Bytewise::new(payload, "a chunk");
        match kind {
            Kind::Head => self.head(&mut reader)?,
            Kind::Records => self.records(&mut reader)?,
            Kind::Leases => self.leases(&mut reader)?,
            Kind::Times => self.times(&mut reader)?,
            Kind::Root => self.begin_root(&mut reader)?,
            Kind::Versions => self.versions(&mut reader)?,
            Kind::Keys => self.keys(&mut reader)?,
            Kind::End => {
                self.end_root()?;
                self.ended = true;
            }
        }
        reader.finish()
    }

    fn head(&mut self, reader: &mut Bytewise<'_>) -> Result<(), DecodeError> {
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(DecodeError::OutOfBounds("the magic number"));
        }
        let found = reader.u16()?;
        if !(FORMAT_VERSION_MIN..=FORMAT_VERSION).contains(&found) {
            return Err(DecodeError::Version {
                found,
                known: FORMAT_VERSION,
            });
        }
        self.version = found;
        let apply_version = reader.u16()?;
        let revision = Revision(reader.u64()?);
        let applied = LogPosition {
            term: Term(reader.u64()?),
            index: Index(reader.u64()?),
        };
        let time = HybridTime(reader.u64()?);
        let digest = reader.u64()?;
        // What comes next adds to these.
        at_most("the revision", revision.0, limits::NUMBER_MAX)?;
        at_most("the term", applied.term.0, limits::NUMBER_MAX)?;
        at_most("the index", applied.index.0, limits::NUMBER_MAX)?;
        self.state = Some(State {
            revision,
            applied,
            time,
            digest,
            apply_version,
            ..State::empty(decode_membership(reader)?)
        });
        Ok(())
    }

    fn records(&mut self, reader: &mut Bytewise<'_>) -> Result<(), DecodeError> {
        while !reader.is_empty() {
            let key = reader.slice()?;
            let value = Bytes::copy_from_slice(reader.slice()?);
            self.table_bytes += (key.len() + value.len()) as u64 + TABLE_RECORD_BYTES;
            if key.len() < 2 || !self.tables.push(key, value) {
                return Err(DecodeError::Contradiction("records are out of order"));
            }
        }
        Ok(())
    }

    fn leases(&mut self, reader: &mut Bytewise<'_>) -> Result<(), DecodeError> {
        while !reader.is_empty() {
            let lease = Lease {
                id: LeaseId(reader.u64()? as i64),
                ttl_s: reader.u64()? as i64,
                granted: HybridTime(reader.u64()?),
            };
            if lease.id.is_none() || !self.leases.push(&lease.id, lease) {
                return Err(DecodeError::Contradiction("leases are out of order"));
            }
        }
        Ok(())
    }

    fn times(&mut self, reader: &mut Bytewise<'_>) -> Result<(), DecodeError> {
        let Some(state) = self.state.as_ref().filter(|_| self.version >= 2) else {
            return Err(DecodeError::Contradiction("times in a stream of version 1"));
        };
        while !reader.is_empty() {
            let run = Run {
                first: Revision(reader.u64()?),
                time: HybridTime(reader.u64()?),
            };
            let happened =
                run.first > Revision(0) && run.first <= state.revision && run.time <= state.time;
            if !happened || !self.times.push(run) {
                return Err(DecodeError::Contradiction("times are out of order"));
            }
        }
        Ok(())
    }

    fn begin_root(&mut self, reader: &mut Bytewise<'_>) -> Result<(), DecodeError> {
        self.end_root()?;
        let mut root = Root::new(RootId(reader.u8()?));
        root.compacted = Revision(reader.u64()?);
        root.swept = Revision(reader.u64()?);
        let end = reader.u64()?;
        let state = self.state.as_ref();
        let ascending = state.is_some_and(|state| {
            state.roots.last().is_none_or(|last| last.id < root.id)
                && root.compacted <= state.revision
        });
        if !ascending || root.swept > root.compacted {
            return Err(DecodeError::Contradiction("a root is out of order"));
        }
        // Half of them: there must be room for the versions that come.
        at_most("the number of a version", end, ORDINALS_MAX / 2)?;
        self.root = Some(LoadingRoot {
            root,
            end,
            last: Place::start_of(Revision(0)),
            keys: Builder::default(),
        });
        Ok(())
    }

    fn versions(&mut self, reader: &mut Bytewise<'_>) -> Result<(), DecodeError> {
        let newest = self.state.as_ref().map_or(Revision(0), State::revision);
        let Some(loading) = &mut self.root else {
            return Err(DecodeError::Contradiction("versions outside a root"));
        };
        while !reader.is_empty() {
            let ordinal = reader.u64()?;
            let record = Record::from_bytes(reader.slice()?)
                .filter(|record| record.mod_revision() <= newest)
                .filter(|record| record.links().are_sound(ordinal, record.mod_revision()))
                .ok_or(DecodeError::OutOfBounds("a version"))?;
            at_most("the version of a key", record.version(), limits::NUMBER_MAX)?;
            let history = &mut loading.root.history;
            if record.place() <= loading.last || ordinal < history.end() || ordinal >= loading.end {
                return Err(DecodeError::Contradiction("versions are out of order"));
            }
            loading.last = record.place();
            history.push_at(ordinal, record);
        }
        Ok(())
    }

    fn keys(&mut self, reader: &mut Bytewise<'_>) -> Result<(), DecodeError> {
        let Some(loading) = &mut self.root else {
            return Err(DecodeError::Contradiction("keys outside a root"));
        };
        while !reader.is_empty() {
            let ordinal = reader.u64()?;
            let key = reader.slice()?;
            let record = loading.root.history.get(ordinal);
            let Some(record) = record.filter(|record| record.key() == key) else {
                return Err(DecodeError::Contradiction("a key without its version"));
            };
            if !record.lease().is_none() {
                let held = lease_key(record.lease(), loading.root.id, key);
                self.lease_keys.push(held);
            }
            let slot = Slot::new(record.mod_revision(), ordinal, !record.is_tombstone());
            if !loading.keys.push(key, slot) {
                return Err(DecodeError::Contradiction("keys are out of order"));
            }
        }
        Ok(())
    }

    fn end_root(&mut self) -> Result<(), DecodeError> {
        let (Some(mut loading), Some(state)) = (self.root.take(), self.state.as_mut()) else {
            return Ok(());
        };
        loading.root.history.end_at(loading.end);
        loading.root.keys = loading.keys.finish();
        loading.root.recount();
        state.roots.push(loading.root);
        Ok(())
    }

    /// The state, once the whole stream has been pushed.
    pub fn finish(mut self) -> Result<State, DecodeError> {
        if !self.ended || !self.buffer.is_empty() {
            return Err(DecodeError::Short("a snapshot stream"));
        }
        let mut state = self.state.take().ok_or(DecodeError::Short("a stream"))?;
        state.tables = self.tables.finish();
        state.table_bytes = self.table_bytes;
        state.leases = self.leases.finish();
        state.times = match self.times.finish() {
            Some(times) => times,
            // Version 1 knows no times. What is applied next is later than both of these.
            None if self.version < 2 => Times::since(state.revision, state.time),
            None => return Err(DecodeError::Contradiction("a stream without times")),
        };
        self.lease_keys.sort_unstable();
        let mut lease_keys = Builder::default();
        for held in &self.lease_keys {
            let granted = crate::lease::split_lease_key(held)
                .is_some_and(|(lease, ..)| state.leases.get(&lease).is_some());
            if !granted || !lease_keys.push(&held[..], ()) {
                return Err(DecodeError::Contradiction("a key without its lease"));
            }
            state.lease_key_bytes += held.len() as u64 - 9 + LEASE_KEY_BYTES;
        }
        state.lease_keys = lease_keys.finish();
        Ok(state)
    }
}
