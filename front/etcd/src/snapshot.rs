//! `Snapshot`: a backup in `SnapshotResponse` messages, as etcd sends it.
//!
//! ```text
//!   [ a bbolt file, cut into blobs of 32 KiB … ][ SHA-256 of all before: 32 bytes, alone in the last message ]
//! ```
//!
//! What is in the file is `backup`'s business. Before the first message everything is counted once, so that each
//! message says truly how many bytes are left.

use crate::backup::{Backup, BackupFault};
use crate::pb;
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use store::State;

/// Bytes of one blob, etcd's.
const BLOB_BYTES: usize = 32 * 1024;

/// Fields of `SnapshotResponse`.
const REMAINING_BYTES: u32 = 2;
const BLOB: u32 = 3;
const VERSION: u32 = 4;

/// A snapshot on its way to a client. It holds its state; writes go on beside it.
pub struct SnapshotStream {
    backup: Backup,
    /// Bytes that are made and not sent.
    ready: BytesMut,
    n_sent: u64,
    hasher: Option<Sha256>,
}

impl SnapshotStream {
    /// Begins to send `state`.
    pub fn new(state: State) -> SnapshotStream {
        SnapshotStream {
            backup: Backup::new(state),
            ready: BytesMut::new(),
            n_sent: 0,
            hasher: Some(Sha256::new()),
        }
    }

    /// The next message; nothing when all is sent. The first one takes as long as reading every version does, so
    /// let a thread that has time ask for it; the others are bounded steps.
    ///
    /// # Errors
    /// A defect of ours: there is no file.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, BackupFault> {
        let Some(hasher) = &mut self.hasher else {
            return Ok(None);
        };
        let total = self.backup.measure()?;
        if self.ready.len() < BLOB_BYTES {
            let more = self.backup.next_bytes(BLOB_BYTES)?;
            self.ready.extend_from_slice(&more);
        }
        let length = self.ready.len().min(BLOB_BYTES);
        if length == 0 {
            let hash = std::mem::take(hasher).finalize();
            self.hasher = None;
            return Ok(Some(message(0, &hash)));
        }
        let blob = self.ready.split_to(length);
        hasher.update(&blob);
        self.n_sent += length as u64;
        Ok(Some(message(total - self.n_sent, &blob)))
    }
}

fn message(remaining: u64, blob: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(blob.len() + 32);
    pb::uint(&mut out, REMAINING_BYTES, remaining);
    pb::bytes(&mut out, BLOB, blob);
    pb::bytes(&mut out, VERSION, crate::STORAGE_VERSION.as_bytes());
    Bytes::from(out)
}
