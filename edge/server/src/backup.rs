//! Backups as files: what is in one, and a member's data directory from it.
//!
//! The files are ours (`quorate snapshot save`, or `etcdctl snapshot save` from a member of ours), an etcd's snapshots,
//! and, if nobody insists on a hash, the database of an etcd that was copied from its data directory. What they hold
//! is `front/etcd`'s business, which believes none of it.

use crate::config::{Config, ConfigError};
use crate::durable::{self, FoundError};
use base::{ClusterId, MemberId, Revision};
use bolt::{ReadAt, ReadError};
use etcd::backup::{self, RestoreFault, SealFault, Sealed};
pub use etcd::backup::{HashCheck, Summary};
use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Why a backup is of no use.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no such file, or it may not be read.
    #[error("cannot open {path}")]
    Open {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Its hash.
    #[error(transparent)]
    Seal(#[from] SealFault),
    /// Its pages.
    #[error(transparent)]
    File(#[from] ReadError),
    /// What it holds.
    #[error(transparent)]
    Contents(#[from] RestoreFault),
    /// The member that is to be restored.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its directory.
    #[error(transparent)]
    Found(#[from] FoundError),
}

/// A file whose bytes are read where they are.
struct Bytes {
    file: File,
    n_bytes: u64,
}

impl ReadAt for Bytes {
    fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.file.read_exact_at(buffer, offset)?)
    }
}

fn open(path: &Path, check: HashCheck) -> Result<bolt::File<Sealed<Bytes>>, BackupError> {
    Ok(bolt::File::open(Sealed::open(bytes_of(path)?, check)?)?)
}

fn bytes_of(path: &Path) -> Result<Bytes, BackupError> {
    let opened = File::open(path).and_then(|file| {
        let n_bytes = file.metadata()?.len();
        Ok(Bytes { file, n_bytes })
    });
    opened.map_err(|source| BackupError::Open {
        path: path.display().to_string(),
        source,
    })
}

/// Whether the hash behind the file at `path` is there and right.
///
/// # Errors
/// It is not, or the file cannot be read.
pub fn check_seal(path: &Path) -> Result<(), BackupError> {
    Sealed::open(bytes_of(path)?, HashCheck::Required)?;
    Ok(())
}

/// What `etcdutl snapshot status` says about the file at `path`. All of it is read and checked but a hash behind it,
/// which it need not have.
///
/// # Errors
/// It cannot be read, is damaged, or is no backup.
pub fn summary(path: &Path) -> Result<Summary, BackupError> {
    Ok(backup::summary(&open(path, HashCheck::Skipped)?)?)
}

/// How a member is restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restore {
    /// Whether the file's hash must be there and right.
    pub check: HashCheck,
    /// How far the revision goes up.
    pub bump: u64,
    /// Whether everything up to the new revision counts as compacted.
    pub mark_compacted: bool,
}

/// What was restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// The new member.
    pub member: MemberId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The newest revision.
    pub revision: Revision,
    /// The oldest revision of etcd's keys that can be read, 0 if all can.
    pub compacted: Revision,
    /// Whether the file was ours, so that native keys, locks and sessions came back too.
    pub is_ours: bool,
    /// The file has what was ours at this revision, before it went through an etcd: it was left out.
    pub outdated: Option<Revision>,
}

/// Makes the data directory of the member that `config` describes from the backup at `path`. Every member of the new
/// cluster is restored from the same file in the same way.
///
/// # Errors
/// The file is of no use, or the directory cannot be made.
pub fn restore(path: &Path, config: &Config, how: Restore) -> Result<Restored, BackupError> {
    config.check_cluster()?;
    let contents = backup::restore(&open(path, how.check)?)?;
    let founded = durable::found(config, contents.state, how.bump, how.mark_compacted)?;
    Ok(Restored {
        member: founded.identity.member,
        cluster: founded.identity.cluster,
        revision: founded.state.revision(),
        compacted: founded.state.root(etcd::ROOT).compacted(),
        is_ours: contents.is_ours,
        outdated: contents.outdated,
    })
}
