//! The disk as the log sees it: files by name in one directory, written in place, durable when told.
//!
//! [`Disk`] is the only outside world of this crate; the server's disk thread and the simulator both
//! implement it. [`Op`] is a change of the disk as a value: the pure [`crate::Log`] plans a list of
//! them, a shell runs [`execute`].
//!
//! What it is not: asynchronous, cached, or clever. It knows nothing of records.
//!
//! ## When is something durable?
//!
//! ```text
//!   write_at(f) ── in the page cache ── sync(f) returns ──► the bytes and the length of f survive
//!   create(f), rename(a, b), remove(f) ── sync_dir returns ──► the *names* survive as they then were
//! ```
//!
//! 1. Bytes written by `write_at` or `create` survive a power cut for certain only when a later
//!    `sync` of *that file* has returned. Before that, each aligned 512-byte sector of each write may
//!    survive or not, independently of all others and in any order.
//! 2. A sector that was durable and is overwritten holds, after a power cut, either its old or its new
//!    512 bytes. Sectors that are not written to are not changed.
//! 3. A new, renamed or removed name survives for certain only when a later `sync_dir` has returned.
//!    Before that each such change may survive or not, independently; a rename replaces its target
//!    atomically (one of the two names always leads to the file). `sync(f)` does not make `f`'s name
//!    durable, and `sync_dir` makes no contents durable.
//! 4. Everything that was written is visible to reads at once. The death of the process alone loses
//!    nothing.
//! 5. When `sync` or `sync_dir` fails nothing is known any more about what it covered. The caller
//!    stops the member; it never tries again (reliability rule R5).

use bytes::Bytes;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The name of a file inside the data directory: lower-case letters, digits, `-` and `.`, at most 64
/// bytes, never a path. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Arc<str>);

impl FileName {
    /// The name, or nothing when `name` is not one this crate could have given.
    pub fn parse(name: &str) -> Option<FileName> {
        let allowed =
            |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.';
        let good = !name.is_empty()
            && name.len() <= 64
            && !name.starts_with('.')
            && name.bytes().all(allowed);
        good.then(|| FileName(name.into()))
    }

    /// A name that this crate itself makes up.
    pub(crate) fn own(name: &str) -> FileName {
        debug_assert!(FileName::parse(name).is_some(), "{name}");
        FileName(name.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the disk refused, as far as anybody acts on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskFault {
    /// No file of that name.
    NotFound,
    /// The device or the quota is full.
    NoSpace,
    /// The bytes cannot be read: a bad sector.
    Unreadable,
    /// Not permitted, or the file system is read-only.
    Denied,
    /// Everything else; the cause says more.
    Other,
}

/// A failed call on a [`Disk`]. Prints as `cannot sync wal-7.log`; the cause says why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {file}")]
pub struct DiskError {
    /// What was tried: `read`, `write`, `create`, `sync`, `rename`, `remove`, `list`, `stat`.
    pub action: &'static str,
    /// On which file; `the data directory` for list and sync_dir.
    pub file: String,
    /// What kind of failure.
    pub fault: DiskFault,
    /// The operating system's words.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl DiskError {
    /// An error without a cause from below.
    pub fn new(action: &'static str, file: impl fmt::Display, fault: DiskFault) -> DiskError {
        DiskError {
            action,
            file: file.to_string(),
            fault,
            source: None,
        }
    }
}

/// One directory of one disk, in blocking primitives. The module's head says when what is durable.
pub trait Disk {
    /// The names of all files, in any order. Files whose name is not a [`FileName`] are left out.
    fn list(&self) -> Result<Vec<FileName>, DiskError>;

    /// The length of `file` in bytes; [`DiskFault::NotFound`] when there is none.
    fn len(&self, file: &FileName) -> Result<u64, DiskError>;

    /// Fills `buffer` from `offset` and returns how many bytes there were: fewer than asked for only at
    /// the end of the file. [`DiskFault::Unreadable`] for a bad sector anywhere in the range.
    fn read_at(&self, file: &FileName, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError>;

    /// Writes all of `data` at `offset`; a write behind the end extends the file, the gap reads zero.
    /// The file must exist. Short writes and interruptions are the implementation's business.
    fn write_at(&mut self, file: &FileName, offset: u64, data: &[u8]) -> Result<(), DiskError>;

    /// Makes `file` with `length` zero bytes, really allocated, so that later writes inside it neither
    /// grow it nor fail for want of space. A file of that name that exists is emptied first. On
    /// [`DiskFault::NoSpace`] no file of that name may remain.
    fn create(&mut self, file: &FileName, length: u64) -> Result<(), DiskError>;

    /// Makes contents and length of `file` durable (`fdatasync`).
    fn sync(&mut self, file: &FileName) -> Result<(), DiskError>;

    /// Makes all names durable (`fsync` of the directory).
    fn sync_dir(&mut self) -> Result<(), DiskError>;

    /// Gives the file `from` the name `to`, replacing what had that name.
    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError>;

    /// Removes `file`; [`DiskFault::NotFound`] when there is none.
    fn remove(&mut self, file: &FileName) -> Result<(), DiskError>;

    /// Bytes that can still be allocated.
    fn space_left(&self) -> Result<u64, DiskError>;
}

/// One change of the disk, as a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// [`Disk::create`].
    Create {
        /// Which file.
        file: FileName,
        /// Its length, zero-filled.
        length: u64,
    },
    /// [`Disk::write_at`].
    Write {
        /// Which file.
        file: FileName,
        /// Where, in bytes. The log's own files: a multiple of 4096.
        offset: u64,
        /// What. The log's own files: a multiple of 4096 bytes.
        data: Bytes,
    },
    /// [`Disk::sync`].
    Sync {
        /// Which file.
        file: FileName,
    },
    /// [`Disk::sync_dir`].
    SyncDir,
    /// [`Disk::rename`].
    Rename {
        /// The name now.
        from: FileName,
        /// The name then.
        to: FileName,
    },
    /// [`Disk::remove`]; that there is no such file is not an error here.
    Remove {
        /// Which file.
        file: FileName,
    },
}

/// Runs `ops` in order and stops at the first failure. Nobody may assume anything about operations
/// that came after it, and after a failed sync nothing about those before (rule R5).
pub fn execute(disk: &mut dyn Disk, ops: &[Op]) -> Result<(), DiskError> {
    for op in ops {
        match op {
            Op::Create { file, length } => disk.create(file, *length)?,
            Op::Write { file, offset, data } => disk.write_at(file, *offset, data)?,
            Op::Sync { file } => disk.sync(file)?,
            Op::SyncDir => disk.sync_dir()?,
            Op::Rename { from, to } => disk.rename(from, to)?,
            Op::Remove { file } => match disk.remove(file) {
                Err(error) if error.fault != DiskFault::NotFound => return Err(error),
                _ => {}
            },
        }
    }
    Ok(())
}
