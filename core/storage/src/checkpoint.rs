//! Checkpoints: the state at one entry as a file, and the manifest that says which file is in force.
//!
//! A checkpoint is written under a temporary name in bounded steps, synced, renamed, and then the
//! manifest is switched; the one before it is kept, together with the log that follows it, until the
//! next one is durable. So a damaged checkpoint costs a longer replay and not the member.
//!
//! What it is not: the format of the state; that is `store::stream`, carried here as opaque chunks.
//! The bytes are drawn in `docs/format/checkpoint.md`.

use crate::disk::{Disk, DiskError, FileName, Op};
use crate::excess::{Beyond, Excess, countable, reachable};
use crate::format::{
    FORMAT_VERSION, FRAME, Identity, crc_with_hole, get_position, get_u32, get_u64, put_position,
    put_u32, put_u64,
};
use base::{Index, LogPosition, Mark, MemberId, Membership, SnapshotMeta, limits};
use bytes::Bytes;
use std::error::Error;
use xxhash_rust::xxh3::Xxh3Default;

const CHECKPOINT_MAGIC: u64 = u64::from_le_bytes(*b"QUORCKP\n");
const MANIFEST_MAGIC: u64 = u64::from_le_bytes(*b"QUORMAN\n");

/// Bytes of the fixed part of a checkpoint's header.
const HEAD: usize = 80;
/// Bytes before the payload of a chunk, and of the end record.
const CHUNK_HEAD: usize = 8;
const END: usize = 32;
/// Bytes that one chunk may claim: more is damage.
const CHUNK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes after which a checkpoint that is being written is synced, so that the last sync is short and
/// does not hold up the log's.
const SYNC_EVERY_BYTES: u64 = 8 * 1024 * 1024;

/// A state that gives itself out as bytes, in chunks.
pub trait StateSource {
    /// The next chunk, of about `max_bytes`; nothing at the end.
    fn next_chunk(&mut self, max_bytes: usize) -> Option<Bytes>;
}

/// What builds a state from the chunks that a [`StateSource`] gave.
pub trait StateSink: Sized {
    /// What is built.
    type State;
    /// With nothing read yet.
    fn begin() -> Self;
    /// Takes the next bytes, in the same order; chunks may be cut differently.
    fn push(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>>;
    /// The state, when all has arrived.
    fn finish(self) -> Result<Self::State, Box<dyn Error + Send + Sync>>;
    /// The last entry that `state` contains; checked against the checkpoint's header.
    fn applied(state: &Self::State) -> LogPosition;
}

/// One checkpoint, as the manifest names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckpointInfo {
    /// The last entry that it contains.
    pub position: LogPosition,
    /// The hash of the file, its end record excepted.
    pub hash: u64,
    /// The file's length in bytes.
    pub length: u64,
}

impl CheckpointInfo {
    /// `checkpoint-<index>`.
    pub fn file(&self) -> FileName {
        checkpoint_name(self.position.index)
    }
}

/// Which checkpoints are in force: what the manifest says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Catalog {
    pub(crate) generation: u64,
    /// The newest one: the state that a restart begins with.
    pub newest: Option<CheckpointInfo>,
    /// The one before, in case the newest turns out to be damaged.
    pub previous: Option<CheckpointInfo>,
}

/// Why a checkpoint cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk does not give it.
    #[error("cannot read the checkpoint")]
    Disk(#[from] DiskError),
    /// Its bytes are not what was written.
    #[error("{file} is damaged at byte {at}: {what}")]
    Damaged {
        /// Which file.
        file: FileName,
        /// Where.
        at: u64,
        /// In which way.
        what: &'static str,
    },
    /// A number of it is larger than it can be.
    #[error(transparent)]
    Excess(#[from] Excess),
    /// Its bytes are sound and are not a state.
    #[error("{file} holds no sound state")]
    State {
        /// Which file.
        file: FileName,
        /// What the state's own decoder says.
        source: Box<dyn Error + Send + Sync>,
    },
}

pub(crate) fn manifest_name() -> FileName {
    FileName::own("manifest")
}

pub(crate) fn checkpoint_name(index: Index) -> FileName {
    FileName::own(&format!("checkpoint-{index}"))
}

/// The index in the name of a finished checkpoint.
pub(crate) fn checkpoint_index(name: &FileName) -> Option<Index> {
    let digits = name.as_str().strip_prefix("checkpoint-")?;
    let index: u64 = digits.parse().ok()?;
    (index.to_string() == digits).then_some(Index(index))
}

/// Whether the name is that of a checkpoint that was never finished.
pub(crate) fn is_unfinished(name: &FileName) -> bool {
    name.as_str().starts_with("checkpoint-") && name.as_str().ends_with(".new")
}

// ---- manifest -----------------------------------------------------------------------------------

impl Catalog {
    /// Bytes of the manifest: two frames, written in turn.
    pub(crate) const FILE_BYTES: u64 = 2 * FRAME as u64;

    /// How far the log may be freed: to the older of the two checkpoints; nothing of it when there is
    /// no older one.
    pub fn log_floor(&self) -> Index {
        self.previous.map_or(Index(0), |info| info.position.index)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut frame = vec![0; FRAME];
        let bytes = &mut frame[..128];
        put_u64(bytes, 0, MANIFEST_MAGIC);
        put_u32(bytes, 8, FORMAT_VERSION);
        put_u64(bytes, 16, self.generation);
        for (at, info) in [(24, self.newest), (64, self.previous)] {
            if let Some(info) = info {
                put_u64(bytes, at, 1);
                put_position(bytes, at + 8, info.position);
                put_u64(bytes, at + 24, info.hash);
                put_u64(bytes, at + 32, info.length);
            }
        }
        put_u32(bytes, 12, crc_with_hole(bytes, 12));
        frame
    }

    pub(crate) fn decode(frame: &[u8]) -> Option<Catalog> {
        let bytes = frame.get(..128)?;
        let sound = get_u64(bytes, 0) == MANIFEST_MAGIC
            && get_u32(bytes, 12) == crc_with_hole(bytes, 12)
            && get_u32(bytes, 8) == FORMAT_VERSION;
        let info = |at| {
            (get_u64(bytes, at) == 1).then(|| CheckpointInfo {
                position: get_position(bytes, at + 8),
                hash: get_u64(bytes, at + 24),
                length: get_u64(bytes, at + 32),
            })
        };
        sound.then(|| Catalog {
            generation: get_u64(bytes, 16),
            newest: info(24),
            previous: info(64),
        })
    }

    /// Whether all numbers leave room to count on from them.
    pub(crate) fn check_numbers(&self) -> Result<(), Beyond> {
        countable("generation", self.generation)?;
        for info in [self.newest, self.previous].iter().flatten() {
            reachable(info.position)?;
            countable("length of a checkpoint", info.length)?;
        }
        Ok(())
    }

    /// Writes the manifest's other frame and waits for it.
    pub(crate) fn plan(&self) -> Vec<Op> {
        let file = manifest_name();
        let offset = (self.generation % 2) * FRAME as u64;
        let data = Bytes::from(self.encode());
        vec![
            Op::Write {
                file: file.clone(),
                offset,
                data,
            },
            Op::Sync { file },
        ]
    }

    /// Plans to give up the older of the two checkpoints, and with it the part of the log that only it
    /// needs, where room matters more than a second copy: on a full disk, or when somebody asks for the
    /// room back. From then on the newest stands for both. Empty when nothing is to be given up.
    pub fn forget_older(&mut self) -> Vec<Op> {
        let Some(newest) = self.newest.filter(|newest| self.previous != Some(*newest)) else {
            return Vec::new();
        };
        let older = self.previous.replace(newest);
        self.generation += 1;
        let mut ops = self.plan();
        if let Some(older) = older {
            ops.push(Op::Remove { file: older.file() });
            ops.push(Op::SyncDir);
        }
        ops
    }

    /// Plans the switch to `info`, whose file is durable under its name, and the end of what is older
    /// than the two that are kept.
    fn switch(&mut self, info: CheckpointInfo) -> Vec<Op> {
        let replaced = self.newest.replace(info);
        let mut dropped = None;
        // The same entry twice is one file; its predecessor stays what it was.
        if replaced.is_some_and(|old| old.position.index != info.position.index) {
            dropped = self.previous.take();
            self.previous = replaced;
        }
        self.generation += 1;
        let mut ops = self.plan();
        let kept = |info: &CheckpointInfo| {
            [self.newest, self.previous]
                .iter()
                .flatten()
                .any(|kept| kept.file() == info.file())
        };
        if let Some(old) = dropped.filter(|old| !kept(old)) {
            ops.push(Op::Remove { file: old.file() });
            ops.push(Op::SyncDir);
        }
        ops
    }
}

// ---- writing ------------------------------------------------------------------------------------

/// One step of writing a checkpoint.
#[derive(Debug)]
pub enum Step {
    /// Execute these, then ask for the next step.
    More(Vec<Op>),
    /// Execute these, and the checkpoint is in force; `catalog` replaces the old one.
    Done {
        /// The last operations: the file becomes durable, gets its name, the manifest is switched.
        ops: Vec<Op>,
        /// What the manifest then says.
        catalog: Catalog,
    },
}

/// Writes one checkpoint, own or received, in steps of bounded size. One at a time per directory.
pub struct CheckpointWriter<S> {
    catalog: Catalog,
    source: S,
    position: LogPosition,
    temporary: FileName,
    head: Option<Vec<u8>>,
    hasher: Box<Xxh3Default>,
    offset: u64,
    synced: u64,
    chunks: u64,
}

impl<S: StateSource> CheckpointWriter<S> {
    /// A writer of the state that `source` gives out, which is the one after `meta.position`.
    pub fn from_source(
        identity: &Identity,
        catalog: &Catalog,
        meta: &SnapshotMeta,
        source: S,
    ) -> CheckpointWriter<S> {
        CheckpointWriter {
            catalog: catalog.clone(),
            source,
            position: meta.position,
            temporary: FileName::own(&format!("{}.new", checkpoint_name(meta.position.index))),
            head: Some(encode_head(
                identity,
                catalog.newest.map_or(0, |info| info.hash),
                meta,
            )),
            hasher: Box::new(Xxh3Default::new()),
            offset: 0,
            synced: 0,
            chunks: 0,
        }
    }

    /// The next step, of about `max_bytes`.
    pub fn step(&mut self, max_bytes: usize) -> Step {
        let mut ops = Vec::new();
        let file = self.temporary.clone();
        if let Some(head) = self.head.take() {
            ops.push(Op::Create {
                file: file.clone(),
                length: 0,
            });
            self.write(head, &mut ops);
        }
        if let Some(chunk) = self
            .source
            .next_chunk(max_bytes.clamp(1, CHUNK_BYTES_MAX / 2))
        {
            if chunk.is_empty() {
                return Step::More(ops);
            }
            let mut out = vec![0; CHUNK_HEAD];
            put_u32(&mut out, 0, chunk.len() as u32);
            put_u32(&mut out, 4, chunk_crc(self.chunks, &chunk));
            out.extend_from_slice(&chunk);
            self.chunks += 1;
            self.write(out, &mut ops);
            if self.offset - self.synced >= SYNC_EVERY_BYTES {
                self.synced = self.offset;
                ops.push(Op::Sync { file });
            }
            return Step::More(ops);
        }
        let hash = self.hasher.digest();
        let mut end = vec![0; END];
        put_u64(&mut end, 8, self.chunks);
        put_u64(&mut end, 16, self.offset);
        put_u64(&mut end, 24, hash);
        let crc = crc_with_hole(&end, 4);
        put_u32(&mut end, 4, crc);
        let length = self.offset + END as u64;
        ops.push(Op::Write {
            file: file.clone(),
            offset: self.offset,
            data: end.into(),
        });
        let info = CheckpointInfo {
            position: self.position,
            hash,
            length,
        };
        ops.extend([
            Op::Sync { file: file.clone() },
            Op::Rename {
                from: file,
                to: info.file(),
            },
            Op::SyncDir,
        ]);
        ops.extend(self.catalog.switch(info));
        Step::Done {
            ops,
            catalog: self.catalog.clone(),
        }
    }

    /// Gives the checkpoint up and plans to remove what was written.
    pub fn abandon(self) -> Vec<Op> {
        Mark::CheckpointAbandoned.reach();
        vec![Op::Remove {
            file: self.temporary,
        }]
    }

    fn write(&mut self, data: Vec<u8>, ops: &mut Vec<Op>) {
        self.hasher.update(&data);
        let offset = self.offset;
        self.offset += data.len() as u64;
        ops.push(Op::Write {
            file: self.temporary.clone(),
            offset,
            data: data.into(),
        });
    }
}

fn chunk_crc(number: u64, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&number.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &(payload.len() as u32).to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

fn encode_head(identity: &Identity, previous_hash: u64, meta: &SnapshotMeta) -> Vec<u8> {
    let membership = &meta.membership;
    let groups = [
        &membership.voters,
        &membership.voters_outgoing,
        &membership.learners,
        &membership.learners_next,
    ];
    let mut head = vec![0; HEAD];
    for group in groups {
        for member in group {
            head.extend_from_slice(&member.0.to_le_bytes());
        }
    }
    let length = head.len() as u32;
    put_u64(&mut head, 0, CHECKPOINT_MAGIC);
    put_u32(&mut head, 8, FORMAT_VERSION);
    put_u32(&mut head, 16, length);
    put_u32(&mut head, 20, u32::from(membership.auto_leave));
    put_u64(&mut head, 24, identity.cluster.0);
    put_u64(&mut head, 32, previous_hash);
    put_position(&mut head, 40, meta.position);
    for (i, group) in groups.iter().enumerate() {
        put_u32(&mut head, 56 + 4 * i, group.len() as u32);
    }
    let crc = crc_with_hole(&head, 12);
    put_u32(&mut head, 12, crc);
    head
}

// ---- reading ------------------------------------------------------------------------------------

/// Bytes of the longest header: every list of members full.
const HEAD_BYTES_MAX: usize = HEAD + 4 * limits::MEMBERS_MAX * 8;

fn decode_head(bytes: &[u8], identity: &Identity) -> Result<(usize, SnapshotMeta), &'static str> {
    let fixed = bytes.get(..HEAD).ok_or("the header is cut")?;
    if get_u64(fixed, 0) != CHECKPOINT_MAGIC {
        return Err("it is no checkpoint");
    }
    let length = get_u32(fixed, 16) as usize;
    let head = bytes
        .get(..length)
        .filter(|_| (HEAD..=HEAD_BYTES_MAX).contains(&length));
    let head = head.ok_or("the header's length is impossible")?;
    if get_u32(head, 12) != crc_with_hole(head, 12) {
        return Err("the header's checksum is wrong");
    }
    if get_u32(head, 8) != FORMAT_VERSION {
        return Err("its version is unknown");
    }
    if get_u64(head, 24) != identity.cluster.0 {
        return Err("it belongs to another cluster");
    }
    let mut members = head[HEAD..]
        .chunks_exact(8)
        .map(|id| MemberId(get_u64(id, 0)));
    let counts: Vec<usize> = (0..4).map(|i| get_u32(head, 56 + 4 * i) as usize).collect();
    if counts.iter().sum::<usize>() * 8 != length - HEAD {
        return Err("the header's members do not add up");
    }
    let mut group = |i: usize| members.by_ref().take(counts[i]).collect::<Vec<_>>();
    let membership = Membership {
        voters: group(0),
        voters_outgoing: group(1),
        learners: group(2),
        learners_next: group(3),
        auto_leave: get_u32(head, 20) == 1,
    };
    Ok((
        length,
        SnapshotMeta {
            position: get_position(head, 40),
            membership,
        },
    ))
}

/// Reads and checks a checkpoint: header, every chunk, the hash of the whole, and that the state is
/// the one that the header speaks of.
pub(crate) fn load<K: StateSink>(
    disk: &dyn Disk,
    identity: &Identity,
    index: Index,
) -> Result<(CheckpointInfo, SnapshotMeta, K::State), CheckpointError> {
    let file = checkpoint_name(index);
    let damaged = |at, what| CheckpointError::Damaged {
        file: file.clone(),
        at,
        what,
    };
    let length = disk.len(&file)?;
    let read = |at: u64, n: usize| -> Result<Vec<u8>, DiskError> {
        let mut bytes = vec![0; n.min(length.saturating_sub(at) as usize)];
        let got = disk.read_at(&file, at, &mut bytes)?;
        bytes.truncate(got);
        Ok(bytes)
    };
    let first = read(0, HEAD_BYTES_MAX)?;
    let (head_bytes, meta) = decode_head(&first, identity).map_err(|what| damaged(0, what))?;
    reachable(meta.position).map_err(|beyond| beyond.of(file.clone()))?;
    if meta.position.index != index {
        return Err(damaged(0, "its name is that of another entry"));
    }
    let mut hasher = Xxh3Default::new();
    hasher.update(&first[..head_bytes]);
    let mut sink = K::begin();
    let mut at = head_bytes as u64;
    let mut chunks = 0;
    loop {
        let head = read(at, CHUNK_HEAD)?;
        if head.len() < CHUNK_HEAD {
            return Err(damaged(at, "it ends too early"));
        }
        let bytes = get_u32(&head, 0) as usize;
        if bytes == 0 {
            break;
        }
        if bytes > CHUNK_BYTES_MAX || bytes as u64 > length - at {
            return Err(damaged(at, "a chunk's length is impossible"));
        }
        let chunk = read(at + CHUNK_HEAD as u64, bytes)?;
        if chunk.len() < bytes || get_u32(&head, 4) != chunk_crc(chunks, &chunk) {
            return Err(damaged(at, "a chunk's checksum is wrong"));
        }
        hasher.update(&head);
        hasher.update(&chunk);
        sink.push(&chunk).map_err(|source| CheckpointError::State {
            file: file.clone(),
            source,
        })?;
        chunks += 1;
        at += (CHUNK_HEAD + bytes) as u64;
    }
    let end = read(at, END)?;
    let hash = hasher.digest();
    let sound = end.len() == END
        && get_u32(&end, 4) == crc_with_hole(&end, 4)
        && get_u64(&end, 8) == chunks
        && get_u64(&end, 16) == at
        && get_u64(&end, 24) == hash;
    if !sound {
        return Err(damaged(at, "its end does not fit the rest"));
    }
    let state = sink.finish().map_err(|source| CheckpointError::State {
        file: file.clone(),
        source,
    })?;
    if K::applied(&state) != meta.position {
        return Err(damaged(0, "the state is that of another entry"));
    }
    let info = CheckpointInfo {
        position: meta.position,
        hash,
        length: at + END as u64,
    };
    Ok((info, meta, state))
}

/// What a checkpoint's header says, for people.
pub(crate) fn describe(disk: &dyn Disk, file: &FileName) -> Result<String, CheckpointError> {
    let mut bytes = vec![0; HEAD_BYTES_MAX];
    let n = disk.read_at(file, 0, &mut bytes)?;
    bytes.truncate(n);
    // Whose it is does not matter here: the header is believed about its own cluster.
    let cluster = bytes.get(24..32).map_or(0, |id| get_u64(id, 0));
    let identity = Identity {
        cluster: base::ClusterId(cluster),
        member: MemberId::NONE,
    };
    let (_, meta) = decode_head(&bytes, &identity).map_err(|what| CheckpointError::Damaged {
        file: file.clone(),
        at: 0,
        what,
    })?;
    let members = meta.membership.everyone().len();
    Ok(format!(
        "the state after {}, {members} members",
        meta.position
    ))
}
