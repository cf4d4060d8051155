//! `Snapshot`: the store's own snapshot stream in `SnapshotResponse` messages.
//!
//! ```text
//!   [ stream of store::stream … ][ zeros to a multiple of 512 ][ SHA-256 of all before: 32 bytes ]
//!     many messages of a blob                                     the last message
//! ```
//!
//! This is *not* the bbolt file that etcd sends: a snapshot is restored by Quorate's own tool. The shape
//! around it is etcd's, because its client checks that much: the length modulo 512 is 32 (from 3.5 on), and
//! the last 32 bytes are the hash of the rest. The stream tells where it ends, so the zeros are no part of
//! it.

use crate::pb;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use store::State;
use store::stream::Writer;

/// Bytes of one blob, etcd's.
const BLOB_BYTES: usize = 32 * 1024;

/// The grain by which etcd's client tells a snapshot with a hash from one without.
const GRAIN: u64 = 512;

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
            let padding = (GRAIN - self.n_bytes % GRAIN) % GRAIN;
            if padding != 0 {
                return Some(self.blob(&vec![0; padding as usize]));
            }
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
        message(rest + 32, blob)
    }
}

fn message(remaining: u64, blob: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(blob.len() + 32);
    pb::uint(&mut out, REMAINING_BYTES, remaining);
    pb::bytes(&mut out, BLOB, blob);
    pb::bytes(&mut out, VERSION, crate::STORAGE_VERSION.as_bytes());
    Bytes::from(out)
}
