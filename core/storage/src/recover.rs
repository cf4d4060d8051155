//! Start: whose directory is this, which checkpoint is sound, and what is left of the log.
//!
//! ```text
//!   identity ──► checkpoint (newest, or the one before) ──► segments in order ──► judgement ──► repair
//!    directory.rs    here                                      chain.rs walks        resume.rs    resume.rs
//! ```
//!
//! Invariants:
//! - Every start is a crash recovery, and recovery may crash at every operation and be run again.
//! - What was durable is found again, or the result says [`Health::Damaged`] with the watermark.
//! - Nothing that could be evidence is overwritten while the log is damaged: the next record goes to a
//!   fresh segment.
//! - Everything that is returned is durable: what was only in the page cache is synced first.
//!
//! Next: `resume.rs`, `chain.rs`, and the case table in `docs/format/wal.md`.

use crate::checkpoint::{
    Catalog, CheckpointError, CheckpointInfo, StateSink, checkpoint_index, is_unfinished, load,
    manifest_name,
};
use crate::directory::{begin_directory, check_identity, plan_pair, read_whole};
use crate::disk::{Disk, DiskError, DiskFault, FileName, Op, execute};
use crate::excess::Excess;
use crate::format::{FORMAT_VERSION, FRAME, Identity};
use crate::log::{Log, LogConfig};
use crate::resume::{Resumed, resume};
use base::{
    Chain as Causes, Entry, HardState, Index, LogPosition, Mark, MemberId, Mutants, SnapshotMeta,
};
use std::collections::BTreeSet;

/// What a start found.
#[derive(Debug)]
pub struct Recovered<S> {
    /// The log, ready to be appended to.
    pub log: Log,
    /// Term, vote and commit; `commit` is at least the checkpoint's and at most the log's end.
    pub hard_state: HardState,
    /// All entries after the checkpoint, without a hole.
    pub entries: Vec<Entry>,
    /// The state to begin with, and what it stands for.
    pub checkpoint: Option<(SnapshotMeta, S)>,
    /// The checkpoints in force.
    pub catalog: Catalog,
    /// Whether everything that was ever durable is there.
    pub health: Health,
    /// An entry that was being written when the member stopped, of which only the identifier is left.
    /// It was never acknowledged, unless its record alone was lost entirely and the log had not been
    /// sealed since ([`Log::seal`]).
    pub doubt: Option<LogPosition>,
    /// What was found and put right, for the log: one line each.
    pub notes: Vec<String>,
}

/// Whether the log is as long as what was promised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Health {
    /// All that was ever durable is there.
    Intact,
    /// Something that was durable, and may have been acknowledged, is missing. The member must neither
    /// vote nor campaign nor acknowledge until its log ends at or after `watermark`, in Raft's order;
    /// a lone member must not start.
    Damaged {
        /// How far the log was durable; [`UNKNOWN`](crate::UNKNOWN) when even that is lost.
        watermark: LogPosition,
        /// The last entry that is there, with all before it.
        intact: LogPosition,
        /// What is wrong, where, and what is left: for a person.
        report: String,
    },
}

/// Why there is no start.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The disk fails.
    #[error("the data directory cannot be used")]
    Disk(#[from] DiskError),
    /// Another member's directory.
    #[error(
        "the data directory belongs to member {found_member} of cluster {found_cluster}, \
         and this is member {member} of cluster {cluster}"
    )]
    Foreign {
        /// Whose it is.
        found_member: MemberId,
        /// Of which cluster.
        found_cluster: base::ClusterId,
        /// Who asks.
        member: MemberId,
        /// Of which cluster.
        cluster: base::ClusterId,
    },
    /// A number in it is larger than it can be.
    #[error(transparent)]
    Excess(#[from] Excess),
    /// Written by a program that this one does not understand.
    #[error("{file} has format version {found}, and this program knows {FORMAT_VERSION} only")]
    Version {
        /// Which file.
        file: FileName,
        /// Its version.
        found: u32,
    },
    /// The identity file is not sound, and nothing else says whose directory this is.
    #[error("the file identity is damaged, and no segment says whose directory this is")]
    IdentityDamaged,
    /// There is a log and nothing says whose.
    #[error("the data directory has a log ({file}) and no file identity")]
    IdentityMissing {
        /// One of the segments.
        file: FileName,
    },
}

/// [`recover_with`] for the store's own state, as every member uses it.
pub fn recover(
    disk: &mut dyn Disk,
    identity: &Identity,
    config: &LogConfig,
    mutants: Mutants,
) -> Result<Recovered<store::State>, RecoverError> {
    recover_with::<store::stream::Reader>(disk, identity, config, mutants)
}

/// Opens the data directory: makes it at the first start, finds everything again at all others.
///
/// Changes the disk: removes what was never finished, repairs slots from their records and headers
/// from their copies, and makes durable what it returns. It may fail or crash anywhere and be run
/// again. That no other process uses the directory is the caller's business.
pub fn recover_with<K: StateSink>(
    disk: &mut dyn Disk,
    identity: &Identity,
    config: &LogConfig,
    mutants: Mutants,
) -> Result<Recovered<K::State>, RecoverError> {
    let config = config.bounded();
    // Names that a former process left undurable become durable before anything rests on them.
    disk.sync_dir()?;
    let names = disk.list()?;
    let mut notes = Vec::new();
    let first_start = check_identity(disk, identity, &names, &mut notes)?;
    if first_start {
        begin_directory(disk, identity, &config)?;
    }
    let names = disk.list()?;
    let (catalog, checkpoint) = load_checkpoint::<K>(disk, identity, &names, &mut notes)?;
    let floor = checkpoint
        .as_ref()
        .map_or(LogPosition::default(), |(meta, _)| meta.position);
    let Resumed {
        log,
        entries,
        health,
        doubt,
    } = resume(disk, identity, &config, mutants, &names, floor, &mut notes)?;
    if health == Health::Intact {
        sweep(disk, &names, &catalog)?;
    }
    log.check();
    let hard_state = log.hard_state();
    Ok(Recovered {
        log,
        hard_state,
        entries,
        checkpoint,
        catalog,
        health,
        doubt,
        notes,
    })
}

type Loaded<S> = (Catalog, Option<(SnapshotMeta, S)>);

fn load_checkpoint<K: StateSink>(
    disk: &mut dyn Disk,
    identity: &Identity,
    names: &[FileName],
    notes: &mut Vec<String>,
) -> Result<Loaded<K::State>, RecoverError> {
    let file = manifest_name();
    let manifest = match names.contains(&file) {
        true => read_whole(disk, &file, Catalog::FILE_BYTES as usize)?,
        false => Vec::new(),
    };
    let catalogs: Vec<Catalog> = manifest.chunks(FRAME).filter_map(Catalog::decode).collect();
    for catalog in &catalogs {
        catalog
            .check_numbers()
            .map_err(|beyond| beyond.of(file.clone()))?;
    }
    let found = catalogs.into_iter().max_by_key(|c| c.generation);
    let whole = manifest.len() == Catalog::FILE_BYTES as usize;
    let candidates: Vec<Index> = match &found {
        Some(catalog) => {
            let infos = [catalog.newest, catalog.previous];
            infos
                .iter()
                .flatten()
                .map(|info| info.position.index)
                .collect()
        }
        // Without a manifest the files speak for themselves: each one is whole or shows that it is not.
        None => {
            Mark::ManifestDamaged.reach();
            notes.push("manifest is damaged; the checkpoints are found by their names".into());
            let mut all: Vec<Index> = names.iter().filter_map(checkpoint_index).collect();
            all.sort_unstable();
            all.into_iter().rev().collect()
        }
    };
    let mut catalog = found.clone().unwrap_or_default();
    let mut loaded = None;
    let mut infos: Vec<CheckpointInfo> = Vec::new();
    for index in candidates {
        match load::<K>(disk, identity, index) {
            Ok((info, meta, state)) => {
                infos.push(info);
                loaded = Some((meta, state));
                break;
            }
            Err(CheckpointError::Disk(error))
                if !matches!(error.fault, DiskFault::NotFound | DiskFault::Unreadable) =>
            {
                return Err(error.into());
            }
            Err(error) => {
                Mark::CheckpointUnusable.reach();
                notes.push(format!(
                    "checkpoint-{index} cannot be used: {}",
                    Causes(&error)
                ));
            }
        }
    }
    let newest = infos.first().copied();
    if newest.map(|info| info.position) != catalog.newest.map(|info| info.position) {
        catalog.newest = newest;
        catalog.previous = None;
    }
    if !whole {
        let catalog = catalog.clone();
        let ops = plan_pair(&file, Catalog::FILE_BYTES, |generation| {
            Catalog {
                generation,
                ..catalog.clone()
            }
            .encode()
        });
        execute(disk, &ops)?;
        notes.push("manifest is written anew".into());
        return Ok((
            Catalog {
                generation: 1,
                ..catalog
            },
            loaded,
        ));
    }
    if found.is_none() {
        execute(disk, &catalog.plan())?;
    }
    // The log may be freed up to what is in force, so that must not be in the page cache only.
    if let Some(newest) = &catalog.newest {
        disk.sync(&newest.file())?;
    }
    disk.sync(&file)?;
    Ok((catalog, loaded))
}

/// Removes what was begun and never put in force.
fn sweep(disk: &mut dyn Disk, names: &[FileName], catalog: &Catalog) -> Result<(), DiskError> {
    let kept: BTreeSet<FileName> = [catalog.newest, catalog.previous]
        .iter()
        .flatten()
        .map(CheckpointInfo::file)
        .collect();
    let mut ops: Vec<Op> = names
        .iter()
        .filter(|name| {
            let superseded = checkpoint_index(name).is_some() && !kept.contains(name);
            superseded || is_unfinished(name) || name.as_str() == "identity.new"
        })
        .map(|file| Op::Remove { file: file.clone() })
        .collect();
    if !ops.is_empty() {
        ops.push(Op::SyncDir);
    }
    execute(disk, &ops)
}
