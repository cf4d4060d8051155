//! The data directory: who may use it, and where things are in it.
//!
//! ```text
//!   DIR/            mode 0700
//!     lock          held (flock) by the one process that uses the directory
//!     incarnation   which life of the member this is: twelve digits, rewritten in place at each start
//!     quarantined   there if the member's state is not that of the others: it must not start again
//!     member/       mode 0700; log and checkpoints, by the names that `storage` gives
//! ```
//!
//! What is *in* the files, whose they are included, is `storage`'s business.

use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

const QUARANTINED: &str = "quarantined";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error(
        "the data directory {dir} is in use by another process{holder}; \
         stop it, or give this member a directory of its own"
    )]
    InUse {
        /// Which directory.
        dir: String,
        /// ` (process id 17)`, when the other one said so.
        holder: String,
    },
    /// The member found its state to differ from that of the others.
    #[error(
        "this member was stopped, because its state differs from that of the others: {why}. \
         Remove it from the cluster, empty {dir}, and add it anew"
    )]
    Quarantined {
        /// Which directory.
        dir: String,
        /// What was found.
        why: String,
    },
    /// It cannot be made, opened or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// The operating system's words.
        source: io::Error,
    },
}

/// A data directory that this process holds, until this value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes `path` if it is not there, and takes it.
    ///
    /// # Errors
    /// It cannot be made or written, or another process holds it.
    pub fn open(path: &Path) -> Result<DataDir, DataDirError> {
        make_private(path)?;
        let lock = take_lock(path)?;
        if let Ok(why) = fs::read_to_string(path.join(QUARANTINED)) {
            return Err(DataDirError::Quarantined {
                dir: path.display().to_string(),
                why: why.trim().to_owned(),
            });
        }
        make_private(&path.join("member"))?;
        Ok(DataDir {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Keeps the member from starting again with this directory.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn quarantine(&self, why: &str) -> Result<(), DataDirError> {
        let path = self.path.join(QUARANTINED);
        File::create(&path)
            .and_then(|mut file| {
                file.write_all(why.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(failed("write to", &path))
    }

    /// Where log and checkpoints are.
    pub fn member(&self) -> PathBuf {
        self.path.join("member")
    }

    /// Begins a new life: a number that is larger than in every life before, and not smaller than
    /// `wall_s` (seconds since 1970), so that it also rises when the directory is lost.
    ///
    /// The file is rewritten in place, which needs no space once it exists: a member starts on a full
    /// disk too.
    ///
    /// # Errors
    /// The file cannot be written or synced.
    pub fn next_incarnation(&self, wall_s: u32) -> Result<u32, DataDirError> {
        let path = self.path.join("incarnation");
        let before = fs::read_to_string(&path)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let now = before.map_or(wall_s, |before: u32| wall_s.max(before.saturating_add(1)));
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(format!("{now:012}\n").as_bytes())?;
                file.sync_all()
            })
            .map_err(failed("write to", &path))?;
        File::open(&self.path)
            .and_then(|dir| dir.sync_all())
            .map_err(failed("sync", &self.path))?;
        Ok(now)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DataDirError + 'a {
    move |source| DataDirError::Io {
        action,
        path: path.display().to_string(),
        source,
    }
}

fn make_private(path: &Path) -> Result<(), DataDirError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed("create", path))?;
    let mode = fs::metadata(path)
        .map_err(failed("look at", path))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(failed("close to others", path))?;
    }
    Ok(())
}

fn take_lock(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed("write to", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let pid: Option<u32> = text.trim().parse().ok();
            return Err(DataDirError::InUse {
                dir: dir.display().to_string(),
                holder: pid.map_or(String::new(), |pid| format!(" (process id {pid})")),
            });
        }
        Err(error) => return Err(failed("lock", &path)(error.into())),
    }
    // Who holds it is a courtesy to the next one who tries; the lock itself is the kernel's. So a disk without
    // room for a few digits, which a truncated or a lost file needs, does not keep a member from starting.
    let _ = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Chain;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let unique = format!("quorate-datadir-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(unique);
            let _ = fs::remove_dir_all(&path);
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn every_life_has_a_larger_number_though_the_clock_stands_still() {
        let scratch = Scratch::new("incarnation");
        let dir = DataDir::open(&scratch.0).expect("free");
        let lives: Vec<u32> = [100, 100, 7, 300]
            .map(|wall_s| dir.next_incarnation(wall_s).expect("written"))
            .to_vec();
        assert_eq!(lives, [100, 101, 102, 300]);
    }

    #[test]
    fn a_disk_without_room_for_a_process_id_is_no_reason_not_to_start() {
        let scratch = Scratch::new("full");
        fs::create_dir_all(&scratch.0).expect("a scratch folder");
        // Every write to it says that there is no space left.
        std::os::unix::fs::symlink("/dev/full", scratch.0.join("lock")).expect("a link");
        let dir = DataDir::open(&scratch.0).map(|dir| dir.path().to_owned());
        assert_eq!(dir.expect("it starts"), scratch.0);
    }

    #[test]
    fn two_processes_cannot_share_a_directory() {
        let scratch = Scratch::new("shared");
        let held = DataDir::open(&scratch.0).expect("free");
        let error = DataDir::open(&scratch.0).expect_err("held").to_string();
        let pid = std::process::id();
        assert!(
            error.contains(&format!("in use by another process (process id {pid})")),
            "{error}"
        );
        drop(held);
        DataDir::open(&scratch.0).expect("free again");
    }

    #[test]
    fn a_member_in_quarantine_does_not_start_again() {
        let scratch = Scratch::new("quarantine");
        let dir = DataDir::open(&scratch.0).expect("free");
        dir.quarantine("digest 1 and not 2").expect("written");
        drop(dir);
        let error = DataDir::open(&scratch.0)
            .expect_err("in quarantine")
            .to_string();
        assert!(
            error.contains("others: digest 1 and not 2. Remove it"),
            "{error}"
        );
    }

    #[test]
    fn a_directory_is_closed_to_others() {
        let scratch = Scratch::new("mode");
        fs::create_dir(&scratch.0).expect("new");
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o755)).expect("ours");
        let held = DataDir::open(&scratch.0).expect("free");
        for path in [held.path(), &held.member()] {
            let mode = fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }

    #[test]
    fn what_cannot_be_a_directory_is_a_clear_error() {
        let scratch = Scratch::new("file");
        fs::write(&scratch.0, "").expect("writable");
        let inside = scratch.0.join("data");
        let error = DataDir::open(&inside).expect_err("not a directory");
        let text = Chain(&error).to_string();
        let start = format!("cannot create {}: ", inside.display());
        assert!(text.starts_with(&start), "{text}");
        fs::remove_file(&scratch.0).expect("ours");
    }
}
