//! Durability: the write-ahead log and the checkpoints, over a [`Disk`].
#![forbid(unsafe_code)]

mod chain;
mod checkpoint;
pub mod disk;
mod dump;
mod format;
mod log;
mod memory;
mod recover;
mod segment;
mod state;

pub use checkpoint::{
    Catalog, CheckpointError, CheckpointInfo, CheckpointWriter, StateSink, StateSource, Step,
};
pub use disk::{Disk, DiskError, DiskFault, FileName, Op, execute};
pub use dump::dump;
pub use format::{FORMAT_VERSION, Identity};
pub use log::{Log, LogConfig, Space, UNKNOWN};
pub use memory::MemDisk;
pub use recover::{Health, RecoverError, Recovered, recover, recover_with};
