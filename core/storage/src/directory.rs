//! Whose directory this is, and how a new one is made.
//!
//! Invariant: the identity comes last in a new directory, so one that has it has had everything else,
//! and a log that is missing later is missed.

use crate::checkpoint::{Catalog, manifest_name};
use crate::disk::{Disk, DiskError, DiskFault, FileName, Op, execute};
use crate::format::{FRAME, Identity, IdentityRead, Watermark, segment_name, segment_number};
use crate::log::{LogConfig, create, watermark_name};
use crate::recover::RecoverError;
use crate::segment::Segment;
use bytes::Bytes;

pub(crate) fn identity_name() -> FileName {
    FileName::own("identity")
}

/// The first `bytes` of a small file, bad sectors turned into bytes that nobody takes for sound.
pub(crate) fn read_whole(
    disk: &dyn Disk,
    file: &FileName,
    bytes: usize,
) -> Result<Vec<u8>, DiskError> {
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
pub(crate) fn check_identity(
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
    if exists {
        return Err(RecoverError::IdentityDamaged);
    }
    // A first start writes the watermark and the manifest before the identity, but nothing into them.
    match what_remembers(disk, names)? {
        Some(file) => Err(RecoverError::IdentityMissing { file }),
        None => Ok(true),
    }
}

/// The file that knows of a log or of a checkpoint, if there is one.
fn what_remembers(disk: &dyn Disk, names: &[FileName]) -> Result<Option<FileName>, DiskError> {
    let read = |file: &FileName, length: u64| match names.contains(file) {
        true => read_whole(disk, file, length as usize),
        false => Ok(Vec::new()),
    };
    let watermark = read(&watermark_name(), Watermark::FILE_BYTES)?;
    let mut blocks = watermark.chunks(FRAME).filter_map(Watermark::decode);
    let unused = |block: &Watermark| Watermark {
        generation: block.generation,
        ..Watermark::default()
    };
    if blocks.any(|block| block != unused(&block)) {
        return Ok(Some(watermark_name()));
    }
    let manifest = read(&manifest_name(), Catalog::FILE_BYTES)?;
    let mut catalogs = manifest.chunks(FRAME).filter_map(Catalog::decode);
    Ok(catalogs
        .any(|catalog| catalog.newest.is_some())
        .then(manifest_name))
}

pub(crate) fn foreign(found: Identity, identity: &Identity) -> RecoverError {
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
pub(crate) fn begin_directory(
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
pub(crate) fn plan_pair(file: &FileName, length: u64, frame: impl Fn(u64) -> Vec<u8>) -> Vec<Op> {
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
