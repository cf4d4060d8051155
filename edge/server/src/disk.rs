//! The real disk under the log: one directory, open files by name.
//!
//! [`storage::Disk`] says what each call promises; this is how Linux keeps it. A segment is really
//! allocated and really zeroed when it is made (`fallocate` alone leaves extents "unwritten", and turning
//! those into written ones is a change of metadata that every later sync would have to pay for).
//!
//! What it is not: a policy. Who stops the member when a sync fails is the thread that owns the log.

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{Disk, DiskError, DiskFault, FileName};

/// Zeros are written in pieces of this many bytes …
const ZEROS: usize = 1024 * 1024;

/// … and synced in pieces of this many, so that making a segment never fills the queue of the device and
/// holds up the log's own syncs behind it.
const ZEROS_PER_SYNC: u64 = 4 * 1024 * 1024;

/// A file's blocks are given back in pieces of this many bytes. A whole checkpoint at once is one commit of
/// the file system's journal, and with `discard` one order to the device behind which every sync of the log
/// waits: 35 ms for 270 MiB, where pieces cost the log 3 ms at most.
const FREED_PER_SYNC: u64 = 8 * 1024 * 1024;

/// The longest [`rest`].
const REST_MAX: Duration = Duration::from_millis(100);

/// One directory. Each thread that works on it has a `FileDisk` of its own.
pub struct FileDisk {
    path: PathBuf,
    dir: File,
    open: RefCell<BTreeMap<FileName, Arc<File>>>,
    undertaker: Option<Undertaker>,
    is_patient: bool,
}

/// Takes files that have no name any more, to give back their blocks by [`free_a_piece`].
pub(crate) type Undertaker = Box<dyn Fn(File) + Send>;

impl fmt::Debug for FileDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileDisk({})", self.path.display())
    }
}

impl FileDisk {
    /// The directory `path`, which must exist.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> io::Result<FileDisk> {
        Ok(FileDisk {
            dir: File::open(path)?,
            path: path.to_owned(),
            open: RefCell::default(),
            undertaker: None,
            is_patient: false,
        })
    }

    /// The same for a thread that nobody waits for: between two pieces of long work it [rests](rest).
    #[must_use]
    pub(crate) fn patient(mut self) -> FileDisk {
        self.is_patient = true;
        self
    }

    /// The same, with somebody else to wait until a removed file's blocks are given back.
    #[must_use]
    pub(crate) fn with_undertaker(mut self, undertaker: Undertaker) -> FileDisk {
        self.undertaker = Some(undertaker);
        self
    }

    fn file(&self, action: &'static str, name: &FileName) -> Result<Arc<File>, DiskError> {
        if let Some(file) = self.open.borrow().get(name) {
            return Ok(file.clone());
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path.join(name.as_str()))
            .map_err(|error| failed(action, name, error))?;
        let file = Arc::new(file);
        self.open.borrow_mut().insert(name.clone(), file.clone());
        Ok(file)
    }

    fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        // Says at once whether there is room; where it cannot, writing the zeros will.
        match fallocate(file, FallocateFlags::empty(), 0, length) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        let zeros = vec![0; ZEROS];
        let mut at = 0;
        let mut began = Instant::now();
        while at < length {
            let n = (length - at).min(ZEROS as u64);
            file.write_all_at(&zeros[..n as usize], at)?;
            at += n;
            if at.is_multiple_of(ZEROS_PER_SYNC) {
                file.sync_data()?;
                if self.is_patient {
                    rest(began);
                }
                began = Instant::now();
            }
        }
        file.sync_data()
    }
}

/// Rests as long as what has been going on since `began` took: half of the time the device and the core belong
/// to those who wait. A device that hangs is not waited for twice.
pub(crate) fn rest(began: Instant) {
    std::thread::sleep(began.elapsed().min(REST_MAX));
}

/// Gives back the blocks at the end of a file that has no name any more; whether there are more.
pub(crate) fn free_a_piece(file: &File) -> io::Result<bool> {
    let left = file.metadata()?.len();
    if left <= FREED_PER_SYNC {
        return Ok(false);
    }
    file.set_len(left - FREED_PER_SYNC)?;
    file.sync_data()?;
    Ok(true)
}

fn free_in_pieces(file: &File) -> io::Result<()> {
    while free_a_piece(file)? {}
    Ok(())
}

fn failed(action: &'static str, on: impl fmt::Display, error: io::Error) -> DiskError {
    let fault = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => DiskFault::NotFound,
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => DiskFault::NoSpace,
        Some(Errno::IO) if action == "read" => DiskFault::Unreadable,
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => DiskFault::Denied,
        _ => DiskFault::Other,
    };
    DiskError {
        action,
        file: on.to_string(),
        fault,
        source: Some(Box::new(error)),
    }
}

const DIRECTORY: &str = "the data directory";

impl Disk for FileDisk {
    fn list(&self) -> Result<Vec<FileName>, DiskError> {
        let entries = std::fs::read_dir(&self.path).map_err(|e| failed("list", DIRECTORY, e))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed("list", DIRECTORY, error))?;
            names.extend(entry.file_name().to_str().and_then(FileName::parse));
        }
        Ok(names)
    }

    fn len(&self, file: &FileName) -> Result<u64, DiskError> {
        match std::fs::metadata(self.path.join(file.as_str())) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) => Err(failed("stat", file, error)),
        }
    }

    fn read_at(&self, file: &FileName, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let handle = self.file("read", file)?;
        let mut done = 0;
        while done < buffer.len() {
            match handle.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("read", file, error)),
            }
        }
        Ok(done)
    }

    fn write_at(&mut self, file: &FileName, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let handle = self.file("write", file)?;
        let written = handle.write_all_at(data, offset);
        written.map_err(|error| failed("write", file, error))
    }

    fn create(&mut self, file: &FileName, length: u64) -> Result<(), DiskError> {
        self.open.borrow_mut().remove(file);
        let path = self.path.join(file.as_str());
        let made = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|handle| self.allocate(&handle, length).map(|()| handle));
        match made {
            Ok(handle) => {
                self.open
                    .borrow_mut()
                    .insert(file.clone(), Arc::new(handle));
                Ok(())
            }
            Err(error) => {
                let error = failed("create", file, error);
                if error.fault == DiskFault::NoSpace {
                    // The promise of `create`: no such file remains. If even that fails, the next
                    // attempt empties it.
                    let _ = std::fs::remove_file(&path);
                }
                Err(error)
            }
        }
    }

    fn sync(&mut self, file: &FileName) -> Result<(), DiskError> {
        let handle = self.file("sync", file)?;
        handle
            .sync_data()
            .map_err(|error| failed("sync", file, error))
    }

    fn sync_dir(&mut self) -> Result<(), DiskError> {
        self.dir
            .sync_all()
            .map_err(|e| failed("sync", DIRECTORY, e))
    }

    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        let path = |name: &FileName| self.path.join(name.as_str());
        std::fs::rename(path(from), path(to)).map_err(|error| failed("rename", from, error))?;
        let mut open = self.open.borrow_mut();
        open.remove(to);
        if let Some(handle) = open.remove(from) {
            open.insert(to.clone(), handle);
        }
        Ok(())
    }

    fn remove(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.open.borrow_mut().remove(file);
        let path = self.path.join(file.as_str());
        // The name goes first: whatever happens afterwards, nobody finds half a file.
        let handle = OpenOptions::new().write(true).open(&path);
        let removed = handle.and_then(|handle| std::fs::remove_file(&path).map(|()| handle));
        let handle = removed.map_err(|error| failed("remove", file, error))?;
        match &self.undertaker {
            Some(undertaker) => undertaker(handle),
            None => free_in_pieces(&handle).map_err(|error| failed("free", file, error))?,
        }
        Ok(())
    }

    fn space_left(&self) -> Result<u64, DiskError> {
        let stat = fstatvfs(&self.dir).map_err(|e| failed("stat", DIRECTORY, e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

#[cfg(test)]
#[path = "disk/tests.rs"]
mod tests;
