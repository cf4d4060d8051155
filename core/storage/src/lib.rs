//! Durability: the write-ahead log and the checkpoints, over a [`Disk`].
#![forbid(unsafe_code)]

pub mod disk;
mod format;
mod log;
mod memory;

pub use disk::{Disk, DiskError, DiskFault, FileName, Op, execute};
pub use format::{FORMAT_VERSION, Identity};
pub use log::{Log, LogConfig, Space, UNKNOWN};
pub use memory::MemDisk;
