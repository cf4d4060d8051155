//! A data directory for a member of a new cluster that goes on from an old state.
//!
//! ```text
//!   .NAME.restoring/member/    the first checkpoint, and a log that begins behind it     synced, then
//!   NAME/                      the same, by one rename: a restore that is cut off leaves no member that is empty
//! ```

use super::boot::{begin, first_members};
use super::log_config;
use crate::config::Config;
use crate::datadir::{DataDir, DataDirError};
use crate::disk::FileDisk;
use crate::identity::cluster_id;
use base::{ClusterId, MemberId, Mutants};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use storage::{DiskError, Identity, RecoverError, recover};
use store::State;
use store::restore::{Refounding, RestoreError, refound};

/// Why there is no data directory.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// Something is there already.
    #[error("data-dir \"{0}\" is not empty: give a restored member a new directory")]
    NotEmpty(String),
    /// The directory cannot be made.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The operating system refuses.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The state cannot begin a cluster.
    #[error("the state cannot begin a new cluster")]
    State(#[from] RestoreError),
    /// The new directory cannot be written.
    #[error("cannot write the data directory")]
    Disk(#[from] DiskError),
    /// A new directory that is not one.
    #[error("cannot begin the data directory")]
    Recover(#[from] RecoverError),
}

/// What was made.
pub(crate) struct Founded {
    pub(crate) identity: Identity,
    pub(crate) state: State,
}

/// Makes the data directory of the member that `config` describes. `bump` and `mark_compacted` are
/// [`Refounding`]'s.
pub(crate) fn found(
    config: &Config,
    state: State,
    bump: u64,
    mark_compacted: bool,
) -> Result<Founded, FoundError> {
    let target = &config.data_dir;
    check_free(target)?;
    let how = Refounding {
        genesis: first_members(config),
        bump,
        mark_compacted,
        // They name members that are no more, and nobody would answer for them.
        forget: etcd::full_records(&state),
    };
    let state = refound(state, how)?;
    let identity = Identity {
        cluster: restored_cluster(config.initial_cluster_id(), &state),
        member: config.initial_member_id(),
    };
    let (parent, scratch) = scratch_of(target);
    match fs::remove_dir_all(&scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &scratch)(error));
        }
        _ => {}
    }
    let dir = DataDir::open(&scratch)?;
    let open = FileDisk::open(&dir.member());
    let mut disk = open.map_err(failed("open", &scratch))?;
    let fresh = recover(&mut disk, &identity, &log_config(), Mutants::none())?;
    let mut log = fresh.log;
    begin(&mut disk, &identity, &fresh.catalog, &mut log, &state)?;
    sync(dir.path())?;
    fs::rename(&scratch, target).map_err(failed("make", target))?;
    sync(&parent)?;
    Ok(Founded { identity, state })
}

/// The id of a cluster that goes on from `state`. The members' ids come from their addresses and the token, which may be
/// those of the cluster that was backed up: a member of that one, started again on its old directory, must not take
/// itself for one of the new, nor be taken for one. What is restored from the same file with the same flags has the same.
fn restored_cluster(initial: ClusterId, state: &State) -> ClusterId {
    cluster_id(&[MemberId(initial.0), MemberId(state.digest())])
}

/// Refuses to put anything where something is.
fn check_free(target: &Path) -> Result<(), FoundError> {
    match fs::read_dir(target).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(FoundError::NotEmpty(target.display().to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("look at", target)(error)),
    }
}

/// The directory around `target`, and where the new one is made in it.
fn scratch_of(target: &Path) -> (PathBuf, PathBuf) {
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let scratch = parent.join(format!(".{name}.restoring"));
    (parent, scratch)
}

fn sync(dir: &Path) -> Result<(), FoundError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(failed("sync", dir))
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FoundError + 'a {
    move |source| FoundError::Io {
        action,
        path: path.display().to_string(),
        source,
    }
}
