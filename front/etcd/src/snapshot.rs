//! `Snapshot`: the store's own snapshot stream in `SnapshotResponse` messages.
//!
//! ```text
//!   [ stream of store::stream … ][ zeros, then how many bytes this part has: 2 bytes, little endian ]
//!   [ SHA-256 of all before: 32 bytes, alone in the last message ]
//! ```
//!
//! This is *not* the bbolt file that etcd sends: a snapshot is restored by Quorate's own tool, which gets
//! the stream back from [`snapshot_contents`]. The shape around it is etcd's, because its client checks
//! that much: the length modulo 512 is 32 (from 3.5 on), and the last 32 bytes are the hash of the rest.
//! Drawn in `docs/format/etcd.md`.

use crate::pb;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use store::State;
use store::stream::Writer;
use thiserror::Error;

/// Bytes of one blob, etcd's.
const BLOB_BYTES: usize = 32 * 1024;

/// The grain by which etcd's client tells a snapshot with a hash from one without.
const GRAIN: u64 = 512;

/// The padding holds its own length at least.
const PADDING_BYTES_MIN: u64 = 2;

const HASH_BYTES: usize = 32;

/// Fields of `SnapshotResponse`.
const REMAINING_BYTES: u32 = 2;
const BLOB: u32 = 3;
const VERSION: u32 = 4;

/// A snapshot on its way to a client. It holds its state; writes go on beside it.
pub struct SnapshotStream {
    writer: Writer,
    hasher: Sha256,
    n_bytes: u64,
    /// How many bytes there may be in all: an estimate, since the stream is made while it is sent.
    n_bytes_expected: u64,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Stream,
    Padding,
    Hash,
    Done,
}

impl SnapshotStream {
    /// Begins to send `state`.
    pub fn new(state: State) -> SnapshotStream {
        SnapshotStream {
            n_bytes_expected: state.bytes_in_use(),
            writer: Writer::new(state),
            hasher: Sha256::new(),
            n_bytes: 0,
            phase: Phase::Stream,
        }
    }

    /// The next message; nothing when all is sent. Each is a bounded step.
    pub fn next_message(&mut self) -> Option<Bytes> {
        if self.phase == Phase::Stream {
            if let Some(blob) = self.writer.next_chunk(BLOB_BYTES) {
                return Some(self.blob(&blob));
            }
            self.phase = Phase::Padding;
        }
        if self.phase == Phase::Padding {
            self.phase = Phase::Hash;
            let length =
                PADDING_BYTES_MIN + (GRAIN - (self.n_bytes + PADDING_BYTES_MIN) % GRAIN) % GRAIN;
            let mut padding = vec![0; length as usize];
            let at = padding.len() - 2;
            padding[at..].copy_from_slice(&(length as u16).to_le_bytes());
            return Some(self.blob(&padding));
        }
        if self.phase == Phase::Hash {
            self.phase = Phase::Done;
            let hash = std::mem::take(&mut self.hasher).finalize();
            return Some(message(0, &hash));
        }
        None
    }

    fn blob(&mut self, blob: &[u8]) -> Bytes {
        self.hasher.update(blob);
        self.n_bytes += blob.len() as u64;
        // Never 0 before the end, which a client may take for it.
        let rest = self.n_bytes_expected.saturating_sub(self.n_bytes);
        message(rest + HASH_BYTES as u64, blob)
    }
}

fn message(remaining: u64, blob: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(blob.len() + 32);
    pb::uint(&mut out, REMAINING_BYTES, remaining);
    pb::bytes(&mut out, BLOB, blob);
    pb::bytes(&mut out, VERSION, crate::STORAGE_VERSION.as_bytes());
    Bytes::from(out)
}

/// Why a file is no snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SnapshotDamage {
    /// It has no hash at its end.
    #[error("a snapshot has a length of 32 modulo 512, this has {0}: is it cut?")]
    Length(usize),
    /// The hash is of something else.
    #[error("the bytes do not match their SHA-256")]
    Hash,
    /// The hash is right and the padding is not: etcd wrote it, or nobody.
    #[error("there is no padding before the hash: this is not one of our snapshots")]
    Padding,
}

/// The snapshot stream in a file that `Snapshot` filled, for `store::stream::Reader`.
///
/// # Errors
/// The file is cut, changed, or not one of ours.
pub fn snapshot_contents(file: &[u8]) -> Result<&[u8], SnapshotDamage> {
    let Some((body, hash)) = file
        .len()
        .checked_sub(HASH_BYTES)
        .filter(|length| length % GRAIN as usize == 0)
        .map(|length| file.split_at(length))
    else {
        return Err(SnapshotDamage::Length(file.len()));
    };
    if Sha256::digest(body)[..] != *hash {
        return Err(SnapshotDamage::Hash);
    }
    let [.., low, high] = *body else {
        return Err(SnapshotDamage::Padding);
    };
    let length = usize::from(u16::from_le_bytes([low, high]));
    let end = body
        .len()
        .checked_sub(length)
        .ok_or(SnapshotDamage::Padding)?;
    let is_padding = (2..2 + GRAIN as usize).contains(&length)
        && body[end..body.len() - 2].iter().all(|byte| *byte == 0);
    if is_padding {
        Ok(&body[..end])
    } else {
        Err(SnapshotDamage::Padding)
    }
}
