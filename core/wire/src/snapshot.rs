//! A state on its way to a member that fell behind, on a connection of its own.
//!
//! ```text
//!   SnapshotHeader { what it stands for } · SnapshotChunk × n · SnapshotEnd { hash }
//! ```
//!
//! The chunks are the store's snapshot stream and mean nothing to this crate; its length is not known
//! when it begins, because it is written from a held state as it goes.

use crate::WireError;
use crate::message::{decode_meta, encode_meta};
use crate::take::Take;
use base::SnapshotMeta;
use base::limits::FRAME_BYTES_MAX;
use bytes::{BufMut, BytesMut};

/// Bytes of one chunk: large enough to be cheap, small enough that it does not hold up the member's
/// other work.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(SNAPSHOT_CHUNK_BYTES_MAX < FRAME_BYTES_MAX);

/// The beginning of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotHeader {
    /// What the snapshot stands for.
    pub meta: SnapshotMeta,
}

/// The end of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotEnd {
    /// Bytes of all chunks.
    pub bytes: u64,
    /// The hash of all chunks, as the sender counted it while it sent.
    pub hash: u64,
}

impl SnapshotHeader {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        encode_meta(&self.meta, out);
    }

    pub(crate) fn decode(take: &mut Take) -> Result<SnapshotHeader, WireError> {
        Ok(SnapshotHeader {
            meta: decode_meta(take)?,
        })
    }
}

impl SnapshotEnd {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(self.bytes);
        out.put_u64_le(self.hash);
    }

    pub(crate) fn decode(take: &mut Take) -> Result<SnapshotEnd, WireError> {
        Ok(SnapshotEnd {
            bytes: take.u64()?,
            hash: take.u64()?,
        })
    }
}
