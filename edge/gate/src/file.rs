//! A gate for a file: its fence and its data change together, through one atomic rename.
//!
//! ```text
//!   directory/
//!     state          one line, then the data        "quorate-fence 1 34 5 22946c59\n" "hello"
//!     state.lock     empty; locked by whoever writes; never removed (a lock on a removed file binds nobody)
//!     state.tmp      what the writer of this moment writes; a killed one leaves it, the next one overwrites it
//!
//!   lock ─► read the fence ─► older? refuse ─► write state.tmp ─► fsync ─► rename to state ─► fsync directory
//! ```
//!
//! The line is `quorate-fence`, the format version 1, the token, the length of the data and the CRC-32C of all
//! that and the data, parted by single spaces; `docs/format/fence.md` describes it. A reader needs no lock: it opens either the
//! old file or the new one.
//!
//! # Invariants
//!
//! * Whenever a writer is killed, `state` is one whole file that some writer meant, and its fence has not fallen.
//! * A write that returned `Ok` is durable, with its fence.
//! * One writer at a time: check and write happen under one exclusive lock. The system drops the lock of a
//!   process that dies.
//!
//! # What still can go wrong
//!
//! * A writer that does not come through here. The lock is advisory; only the directory's permissions stop it.
//! * Network file systems: locks that are local to one host, or lost when the server restarts; a rename whose
//!   answer is lost. Use it on a local file system.
//! * A disk that says it has synced and has not: after a power cut an old file may come back, with its old
//!   fence, and then its old token passes.
//! * A hard link or an open handle to the old file keeps seeing the old file; a symbolic link at the path is
//!   replaced, not followed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::token::{Stale, Token};

const MAGIC: &str = "quorate-fence 1";

/// The line is the magic, two numbers of at most twenty digits, and eight more: anything longer is not ours.
const LINE_BYTES_MAX: usize = 80;

/// A file with a fence.
#[derive(Clone, Debug)]
pub struct FencedFile {
    path: PathBuf,
}

/// What a fenced file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The newest token that has written.
    pub token: Token,
    /// What it wrote.
    pub data: Vec<u8>,
}

/// Why a file was not written, or not surely.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A newer token has passed.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// Somebody else holds the file, asked by [`FencedFile::try_hold`].
    #[error("{} is held by another process", .path.display())]
    Held {
        /// The side file with the lock.
        path: PathBuf,
    },
    /// What is there was not written by this gate, or is damaged. It is left alone: a fence that cannot be
    /// read must not be guessed.
    #[error("{} is not a fenced file: {reason}", .path.display())]
    NotFenced {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The world failed before the rename: nothing changed.
    #[error("cannot {verb} {}: nothing changed", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The world failed after the rename: the write is visible, but a power cut may take it back, with its fence.
    #[error("cannot sync {}: the write is visible but may not be durable", .path.display())]
    Unknown {
        /// The directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// A place in a write where a process may die. Tests stop there; nobody else needs it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Locked,
    Admitted,
    Created,
    HalfWritten,
    Written,
    Synced,
    Renamed,
    DirectorySynced,
}

impl FencedFile {
    /// The fenced file at `path`. Nothing is touched yet; the directory must exist.
    pub fn new(path: impl Into<PathBuf>) -> FencedFile {
        FencedFile { path: path.into() }
    }

    /// What is there, without a lock: the file as some writer left it.
    ///
    /// # Errors
    /// When the file cannot be read or is not one of ours. A missing one is `None`.
    pub fn read(&self) -> Result<Option<Contents>, FileError> {
        let mut bytes = Vec::new();
        match File::open(&self.path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => decode(&bytes)
                .map(Some)
                .map_err(|reason| FileError::NotFenced {
                    path: self.path.clone(),
                    reason,
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io_error("read", &self.path)(source)),
        }
    }

    /// Replaces the data, unless a newer token has written. Waits while another writes.
    ///
    /// # Errors
    /// [`Stale`] when a newer token has written, or what the world says.
    pub fn write(&self, token: Token, data: &[u8]) -> Result<(), FileError> {
        self.hold()?.write(token, data)
    }

    /// Waits until this process alone may write the file.
    ///
    /// # Errors
    /// When the side file cannot be opened or locked.
    pub fn hold(&self) -> Result<HeldFile, FileError> {
        let (lock, path) = self.open_lock()?;
        lock.lock().map_err(io_error("lock", &path))?;
        Ok(self.held(lock))
    }

    /// As [`FencedFile::hold`], but does not wait.
    ///
    /// # Errors
    /// [`FileError::Held`] when another holds it, or what the world says.
    pub fn try_hold(&self) -> Result<HeldFile, FileError> {
        let (lock, path) = self.open_lock()?;
        match lock.try_lock() {
            Ok(()) => Ok(self.held(lock)),
            Err(TryLockError::WouldBlock) => Err(FileError::Held { path }),
            Err(TryLockError::Error(source)) => Err(io_error("lock", &path)(source)),
        }
    }

    fn open_lock(&self) -> Result<(File, PathBuf), FileError> {
        let path = beside(&self.path, "lock");
        let mut options = OpenOptions::new();
        // Never truncated, never removed: all writers must meet at the same file.
        let lock = options.create(true).truncate(false).write(true).open(&path);
        Ok((lock.map_err(io_error("open", &path))?, path))
    }

    fn held(&self, lock: File) -> HeldFile {
        HeldFile {
            file: self.clone(),
            _lock: lock,
        }
    }
}

/// A fenced file that this process alone may write, until it is dropped or the process dies: check and write, or
/// read and write, in one step.
#[derive(Debug)]
pub struct HeldFile {
    file: FencedFile,
    /// Closing it unlocks it.
    _lock: File,
}

impl HeldFile {
    /// What is there. It stays so until [`HeldFile::write`].
    ///
    /// # Errors
    /// As [`FencedFile::read`].
    pub fn read(&self) -> Result<Option<Contents>, FileError> {
        self.file.read()
    }

    /// Replaces the data, unless a newer token has written.
    ///
    /// # Errors
    /// [`Stale`] when a newer token has written, or what the world says.
    pub fn write(&mut self, token: Token, data: &[u8]) -> Result<(), FileError> {
        self.write_in_steps(token, data, &mut |_| {})
    }

    /// As [`HeldFile::write`], and tells how far it is.
    #[doc(hidden)]
    pub fn write_in_steps(
        &mut self,
        token: Token,
        data: &[u8],
        at: &mut dyn FnMut(Step),
    ) -> Result<(), FileError> {
        let path = &self.file.path;
        at(Step::Locked);
        if let Some(Contents { token: newest, .. }) = self.read()?
            && token < newest
        {
            return Err(Stale { token, newest }.into());
        }
        at(Step::Admitted);
        let temporary = beside(path, "tmp");
        let mut file = File::create(&temporary).map_err(io_error("create", &temporary))?;
        at(Step::Created);
        // Who may read the file stays as it is; a new one gets what the umask says.
        if let Ok(old) = fs::metadata(path) {
            file.set_permissions(old.permissions())
                .map_err(io_error("set the permissions of", &temporary))?;
        }
        let (first, second) = data.split_at(data.len() / 2);
        let line = first_line(token, data);
        let write = |bytes: &[u8], file: &mut File| {
            file.write_all(bytes).map_err(io_error("write", &temporary))
        };
        write(line.as_bytes(), &mut file)?;
        write(first, &mut file)?;
        at(Step::HalfWritten);
        write(second, &mut file)?;
        at(Step::Written);
        // Before the rename: else a power cut may leave the new name with an empty file.
        file.sync_all().map_err(io_error("sync", &temporary))?;
        at(Step::Synced);
        fs::rename(&temporary, path).map_err(io_error("replace", path))?;
        at(Step::Renamed);
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| FileError::Unknown {
                path: directory.to_path_buf(),
                source,
            })?;
        at(Step::DirectorySynced);
        Ok(())
    }
}

/// The path with `.` and `ending` behind it.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn io_error(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_path_buf();
    move |source| FileError::Io { verb, path, source }
}

fn first_line(token: Token, data: &[u8]) -> String {
    let head = format!("{MAGIC} {token} {}", data.len());
    let sum = crc32c::crc32c_append(crc32c::crc32c(head.as_bytes()), data);
    format!("{head} {sum:08x}\n")
}

/// Reads a whole file. Total: any bytes are either an error or the bytes that their contents encode to.
fn decode(bytes: &[u8]) -> Result<Contents, &'static str> {
    let line_end = bytes
        .iter()
        .take(LINE_BYTES_MAX)
        .position(|byte| *byte == b'\n')
        .ok_or("its first line is missing")?;
    let (line, data) = bytes.split_at(line_end + 1);
    let token = std::str::from_utf8(line)
        .ok()
        .and_then(|line| {
            line.strip_prefix(MAGIC)?
                .strip_prefix(' ')?
                .split(' ')
                .next()
        })
        .and_then(|token| token.parse().ok())
        .ok_or("its first line names no fence")?;
    // One reading: the line must be the one that we would write for this token and this data.
    if line != first_line(token, data).as_bytes() {
        return Err("its data is not what its first line says");
    }
    Ok(Contents {
        token,
        data: data.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_what_the_documentation_says() {
        let line = first_line(Token(34), b"hello");
        assert_eq!(line, "quorate-fence 1 34 5 22946c59\n");
        assert_eq!(
            first_line(Token(0), b"").len(),
            "quorate-fence 1 0 0 00000000\n".len()
        );
        let longest = MAGIC.len() + 2 * 21 + 9 + 1;
        assert!(longest <= LINE_BYTES_MAX);
    }

    #[test]
    fn any_damage_is_seen() {
        let mut whole = first_line(Token(34), b"hello").into_bytes();
        whole.extend_from_slice(b"hello");
        assert_eq!(decode(&whole).map(|contents| contents.token), Ok(Token(34)));
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            // The low bit turns a digit into another one: a fence that is one too low must not pass.
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err(), "damaged at {at}");
        }
    }
}
