//! A backup of the whole cluster, as a member streams it: a file that etcd's tools read too.

use crate::client::Client;
use crate::error::{Error, Result};
use crate::transport::error_of;
use bytes::Bytes;

/// etcd's API, which every member of ours serves.
const PATH: &str = "/etcdserverpb.Maintenance/Snapshot";

/// The message of etcd's `Maintenance/Snapshot` that has a piece of the file.
#[derive(Clone, PartialEq, prost::Message)]
struct Piece {
    /// Bytes that are left after this one, the hash behind the file not counted.
    #[prost(uint64, tag = "2")]
    remaining_bytes: u64,
    #[prost(bytes = "bytes", tag = "3")]
    blob: Bytes,
}

/// An empty request.
#[derive(Clone, PartialEq, prost::Message)]
struct Ask {}

/// A backup under way.
#[derive(Debug)]
pub struct Backup {
    pieces: tonic::Streaming<Piece>,
    member: String,
}

impl Backup {
    /// The next bytes of the file; nothing behind its end, which are the 32 bytes of its SHA-256.
    ///
    /// # Errors
    /// The member ended the stream, or is gone. There is no half of a backup: begin anew.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        match self.pieces.message().await {
            Ok(piece) => Ok(piece.map(|piece| piece.blob)),
            Err(status) => Err(Error::refused(error_of(&status, &self.member))),
        }
    }
}

impl Client {
    /// Asks one member for a backup of everything that it has: the first that answers.
    ///
    /// # Errors
    /// No member answers, or it may not be had.
    pub async fn backup(&self) -> Result<Backup> {
        let opened = self.core.transport.stream_once(PATH, &Ask {}).await;
        let (pieces, member) = opened.map_err(Error::refused)?;
        Ok(Backup { pieces, member })
    }
}
