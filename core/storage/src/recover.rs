//! Start: whose directory is this, which checkpoint is sound, and what is left of the log.
//!
//! ```text
//!   identity ──► checkpoint (newest, or the one before) ──► segments in order ──► judgement ──► repair
//!    whose?         the state to begin with                  chain.rs walks         intact?    what may
//!                                                                                            be written
//! ```
//!
//! Invariants:
//! - Every start is a crash recovery, and recovery may crash at every operation and be run again.
//! - What was durable is found again, or the result says [`Health::Damaged`] with the watermark.
//! - Nothing that could be evidence is overwritten while the log is damaged: the next record goes to a
//!   fresh segment.
//! - Everything that is returned is durable: what was only in the page cache is synced first.
//!
//! Next: `chain.rs`, and the case table in `docs/format/wal.md`.

use crate::chain::{Chain, Walked};
use crate::checkpoint::{
    Catalog, CheckpointError, CheckpointInfo, StateSink, checkpoint_index, is_unfinished, load,
    manifest_name,
};
use crate::disk::{Disk, DiskError, DiskFault, FileName, Op, execute};
use crate::format::{
    FORMAT_VERSION, FRAME, Identity, IdentityRead, Origin, Promise, Watermark, segment_name,
    segment_number,
};
use crate::log::{Current, Log, LogConfig, OldSegment, UNKNOWN, create, watermark_name};
use crate::segment::Segment;
use base::{Chain as Causes, Entry, HardState, Index, LogPosition, MemberId, Mutant, Mutants};
use base::{SnapshotMeta, invariant};
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

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
        /// How far the log was durable; [`UNKNOWN`] when even that is lost.
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

pub(crate) fn identity_name() -> FileName {
    FileName::own("identity")
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
    let (log, entries, health, doubt) =
        recover_log(disk, identity, &config, mutants, &names, floor, &mut notes)?;
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

// ---- whose directory ----------------------------------------------------------------------------

fn read_whole(disk: &dyn Disk, file: &FileName, bytes: usize) -> Result<Vec<u8>, DiskError> {
    let mut buffer = vec![0; bytes];
    match disk.read_at(file, 0, &mut buffer) {
        Ok(n) => buffer.truncate(n),
        // A bad sector is damage, to be met by the copies, and not a reason to give up.
        Err(error) if error.fault == DiskFault::Unreadable => {
            let mut good = Vec::new();
            for at in (0..bytes).step_by(FRAME) {
                let mut frame = vec![0; FRAME.min(bytes - at)];
                match disk.read_at(file, at as u64, &mut frame) {
                    Ok(n) => frame.truncate(n),
                    Err(error) if error.fault == DiskFault::Unreadable => frame.fill(0xdb),
                    Err(error) => return Err(error),
                }
                good.extend_from_slice(&frame);
            }
            buffer = good;
        }
        Err(error) => return Err(error),
    }
    Ok(buffer)
}

/// Returns whether this is the first start.
fn check_identity(
    disk: &mut dyn Disk,
    identity: &Identity,
    names: &[FileName],
    notes: &mut Vec<String>,
) -> Result<bool, RecoverError> {
    let file = identity_name();
    let exists = names.contains(&file);
    let read = match exists {
        true => Identity::decode(&read_whole(disk, &file, FRAME)?),
        false => IdentityRead::Damaged,
    };
    let found = match read {
        IdentityRead::Ok(found) => Some(found),
        IdentityRead::Version(found) => return Err(RecoverError::Version { file, found }),
        IdentityRead::Damaged => None,
    };
    if let Some(found) = found {
        return match found == *identity {
            true => Ok(false),
            false => Err(foreign(found, identity)),
        };
    }
    // No sound identity: segments carry it too.
    for number in names.iter().filter_map(segment_number) {
        let segment = Segment::read(disk, number)?;
        let begun = !segment.labels.is_empty();
        match segment.header {
            Some(header) if header.identity != *identity => {
                return Err(foreign(header.identity, identity));
            }
            Some(_) if exists => {
                execute(disk, &plan_identity(identity))?;
                notes.push("identity was damaged and is restored from a segment".into());
                return Ok(false);
            }
            _ if begun && !exists => {
                return Err(RecoverError::IdentityMissing {
                    file: segment_name(number),
                });
            }
            _ => {}
        }
    }
    match exists {
        true => Err(RecoverError::IdentityDamaged),
        false => Ok(true),
    }
}

fn foreign(found: Identity, identity: &Identity) -> RecoverError {
    RecoverError::Foreign {
        found_member: found.member,
        found_cluster: found.cluster,
        member: identity.member,
        cluster: identity.cluster,
    }
}

fn plan_identity(identity: &Identity) -> Vec<Op> {
    let temporary = FileName::own("identity.new");
    vec![
        Op::Create {
            file: temporary.clone(),
            length: FRAME as u64,
        },
        Op::Write {
            file: temporary.clone(),
            offset: 0,
            data: Bytes::from(identity.encode()),
        },
        Op::Sync {
            file: temporary.clone(),
        },
        Op::SyncDir,
        Op::Rename {
            from: temporary,
            to: identity_name(),
        },
        Op::SyncDir,
    ]
}

/// The first start. The identity comes last: a directory that has one has had everything else, so that
/// a log that is missing later is missed.
fn begin_directory(
    disk: &mut dyn Disk,
    identity: &Identity,
    config: &LogConfig,
) -> Result<(), DiskError> {
    let mut ops = plan_pair(&watermark_name(), Watermark::FILE_BYTES, |generation| {
        Watermark {
            generation,
            ..Watermark::default()
        }
        .encode()
    });
    ops.extend(plan_pair(
        &manifest_name(),
        Catalog::FILE_BYTES,
        |generation| {
            Catalog {
                generation,
                ..Catalog::default()
            }
            .encode()
        },
    ));
    for number in 1..=config.spares as u64 {
        ops.extend(create(number, config.segment_bytes));
    }
    ops.extend(plan_identity(identity));
    execute(disk, &ops)
}

/// A file of two frames that are written in turn, both sound from the start.
fn plan_pair(file: &FileName, length: u64, frame: impl Fn(u64) -> Vec<u8>) -> Vec<Op> {
    let data = Bytes::from([frame(0), frame(1)].concat());
    vec![
        Op::Create {
            file: file.clone(),
            length,
        },
        Op::Write {
            file: file.clone(),
            offset: 0,
            data,
        },
        Op::Sync { file: file.clone() },
        Op::SyncDir,
    ]
}

// ---- checkpoints --------------------------------------------------------------------------------

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
    let found = manifest
        .chunks(FRAME)
        .filter_map(Catalog::decode)
        .max_by_key(|c| c.generation);
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
            Err(error) => notes.push(format!(
                "checkpoint-{index} cannot be used: {}",
                Causes(&error)
            )),
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

// ---- the log ------------------------------------------------------------------------------------

type LogFound = (Log, Vec<Entry>, Health, Option<LogPosition>);

fn recover_log(
    disk: &mut dyn Disk,
    identity: &Identity,
    config: &LogConfig,
    mutants: Mutants,
    names: &[FileName],
    floor: LogPosition,
    notes: &mut Vec<String>,
) -> Result<LogFound, RecoverError> {
    let (watermark, watermark_whole) = read_watermark(disk, names)?;
    let mut numbers: Vec<u64> = names.iter().filter_map(segment_number).collect();
    numbers.sort_unstable();
    let mut segments = Vec::new();
    for number in &numbers {
        let segment = Segment::read(disk, *number)?;
        if let Some(found) = segment.version {
            return Err(RecoverError::Version {
                file: segment_name(*number),
                found,
            });
        }
        if let Some(header) = segment.header.filter(|header| header.identity != *identity) {
            return Err(foreign(header.identity, identity));
        }
        segments.push(segment);
    }

    let mut chain = Chain::new(identity, floor, watermark, mutants);
    for segment in &segments {
        chain.gather(segment);
    }
    for segment in &mut segments {
        chain.walk(segment)?;
    }
    chain.conclude(&mut segments)?;
    notes.append(&mut chain.notes);
    let mut health = match chain.is_whole() {
        true => Health::Intact,
        false => Health::Damaged {
            watermark: chain.owed(),
            intact: chain.end,
            report: report(&chain, notes),
        },
    };
    if mutants.has(Mutant::TruncateAtCorruption) && health != Health::Intact {
        health = Health::Intact;
        chain.promise = Promise {
            serial: chain.hard_state_serial,
            position: chain.end,
        };
    }
    let intact = health == Health::Intact;
    if chain.superseded && !intact {
        // Not now: what is left of the log is evidence. The next record begins it anew elsewhere.
        chain.broken = true;
        chain.origin = Origin::Restart;
    }

    if !intact {
        chain.promise.position = chain.owed();
    }
    let mut log = Log {
        identity: *identity,
        config: *config,
        mutants,
        old: VecDeque::new(),
        current: None,
        spares: VecDeque::new(),
        preparing: None,
        next_number: numbers.last().map_or(0, |last| *last).max(chain.last_begun) + 1,
        origin: chain.origin,
        hash: chain.hash,
        // One more than was seen: the serial of a record that may lie torn behind the end.
        serial_used: chain.serial_used + 1,
        promise: chain.promise,
        end: chain.end,
        hard_state: chain.hard_state(),
        watermark: watermark.unwrap_or(Watermark {
            generation: 1,
            ..Watermark::default()
        }),
    };
    let mut repairs = Vec::new();
    let mut removals = Vec::new();
    for segment in &mut segments {
        let (number, length) = (segment.number, segment.image.length);
        let file = segment_name(number);
        if number > chain.last_begun {
            match length == config.segment_bytes {
                true => log.spares.push_back(number),
                false => removals.push(Op::Remove { file }),
            }
            continue;
        }
        let walked = chain.walked.get(&number);
        let last = walked.map_or(Index(0), |walked| walked.last);
        match walked {
            Some(walked) if number == chain.last_begun && !chain.broken => {
                log.current = Some(continued(segment, walked));
            }
            _ => log.old.push_back(OldSegment {
                number,
                length,
                last,
            }),
        }
        if let Some(walked) = walked.filter(|walked| intact && !chain.broken && !walked.broken) {
            plan_repairs(segment, walked, &mut repairs, notes)?;
        }
    }
    drop(segments);
    if intact {
        execute(disk, &repairs)?;
        if !removals.is_empty() {
            removals.push(Op::SyncDir);
            execute(disk, &removals)?;
        }
        log.promise.serial = log.promise.serial.max(chain.serial);
        log.promise.position = log.end;
    }
    // A former process may have died between write and sync: what is read now may be in the page cache
    // only, and is promised to others from here on.
    if numbers.contains(&chain.last_begun) {
        disk.sync(&segment_name(chain.last_begun))?;
    }
    if !watermark_whole {
        let ops = plan_pair(&watermark_name(), Watermark::FILE_BYTES, |generation| {
            Watermark {
                generation,
                ..log.watermark
            }
            .encode()
        });
        execute(disk, &ops)?;
        log.watermark.generation = 1;
        notes.push("watermark was damaged and is written anew".into());
    }
    if chain.superseded && intact {
        // A received snapshot that became durable just before the stop: finish what was begun.
        let ops = log.install(&SnapshotMeta {
            position: floor,
            ..SnapshotMeta::default()
        });
        execute(disk, &ops)?;
    }
    let ops = log.plan_watermark();
    execute(disk, &ops)?;
    let last = chain.entries.last().map(|entry| entry.position);
    invariant!(
        last.is_none_or(|last| last == log.end()),
        "the entries end where the log ends"
    );
    let doubt = chain.torn.filter(|_| intact);
    Ok((log, chain.entries, health, doubt))
}

fn continued(segment: &Segment<'_>, walked: &Walked) -> Current {
    let length = segment
        .header
        .map_or(segment.image.length, |header| header.length);
    let mut current = Current::new(segment.number, length, walked.last);
    for label in &walked.labels {
        current.place(&label.encode(), label);
    }
    current
}

/// The newest sound block of the watermark file, and whether the file is as long as it must be.
fn read_watermark(
    disk: &dyn Disk,
    names: &[FileName],
) -> Result<(Option<Watermark>, bool), RecoverError> {
    let file = watermark_name();
    let bytes = match names.contains(&file) {
        true => read_whole(disk, &file, Watermark::FILE_BYTES as usize)?,
        false => Vec::new(),
    };
    let newest = bytes
        .chunks(FRAME)
        .filter_map(Watermark::decode)
        .max_by_key(|w| w.generation);
    let whole = bytes.len() == Watermark::FILE_BYTES as usize && newest.is_some();
    Ok((newest, whole))
}

/// Restores what can be made from what is sound: a header from its copy, slots from their records.
fn plan_repairs(
    segment: &mut Segment<'_>,
    walked: &Walked,
    ops: &mut Vec<Op>,
    notes: &mut Vec<String>,
) -> Result<(), DiskError> {
    let file = segment_name(segment.number);
    let planned = ops.len();
    if let Some(header) = walked.header.filter(|_| !segment.header_whole)
        && !walked.labels.is_empty()
    {
        let frame = header.encode();
        let data = Bytes::from([&frame[..], &frame[..]].concat());
        ops.push(Op::Write {
            file: file.clone(),
            offset: 0,
            data,
        });
        notes.push(format!("{file}: its header is restored"));
    }
    for (offset, frame) in segment.slots_to_repair(&walked.labels)? {
        ops.push(Op::Write {
            file: file.clone(),
            offset,
            data: Bytes::from(frame),
        });
    }
    if ops.len() > planned {
        ops.push(Op::Sync { file });
    }
    Ok(())
}

fn report(chain: &Chain, notes: &[String]) -> String {
    let promised = match chain.owed() == UNKNOWN {
        true => "an unknown place".to_string(),
        false => format!("entry {}", chain.owed()),
    };
    let mut text = format!(
        "the log was durable up to {promised} and is intact up to entry {}",
        chain.end
    );
    for note in notes {
        text.push_str("; ");
        text.push_str(note);
    }
    text
}
