//! The store's state in checkpoints: `store::stream` behind this crate's two small traits.
//!
//! The traits exist so that the log and the checkpoints can be tested without a store; everybody else
//! wants [`recover()`](crate::recover()) and [`CheckpointWriter::new`], which stand for these types.

use crate::checkpoint::{Catalog, CheckpointWriter, StateSink, StateSource};
use crate::format::Identity;
use base::{LogPosition, SnapshotMeta};
use bytes::Bytes;
use std::error::Error;
use store::State;
use store::stream::{Reader, Writer};

impl StateSource for Writer {
    fn next_chunk(&mut self, max_bytes: usize) -> Option<Bytes> {
        Writer::next_chunk(self, max_bytes)
    }
}

impl StateSink for Reader {
    type State = State;

    fn begin() -> Reader {
        Reader::new()
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(Reader::push(self, bytes)?)
    }

    fn finish(self) -> Result<State, Box<dyn Error + Send + Sync>> {
        Ok(Reader::finish(self)?)
    }

    fn applied(state: &State) -> LogPosition {
        state.applied()
    }
}

impl CheckpointWriter<Writer> {
    /// A writer of `state`, which it holds until it is dropped. `meta` is what the state stands for.
    pub fn new(
        identity: &Identity,
        catalog: &Catalog,
        meta: &SnapshotMeta,
        state: State,
    ) -> CheckpointWriter<Writer> {
        CheckpointWriter::from_source(identity, catalog, meta, Writer::new(state))
    }
}
