//! The log that goes on from what is found: judged, put in order, durable, ready to be appended to.
//!
//! What it is not: the judge of single records; that is `chain.rs`. Here the whole is weighed against
//! what was promised, and the directory is put in order without touching evidence.

use crate::chain::{Chain, Walked};
use crate::directory::{foreign, plan_pair, read_whole};
use crate::disk::{Disk, DiskError, FileName, Op, execute};
use crate::format::{FRAME, Identity, Origin, Promise, Watermark, segment_name, segment_number};
use crate::log::{Current, Log, LogConfig, OldSegment, UNKNOWN, watermark_name};
use crate::recover::{Health, RecoverError};
use crate::segment::Segment;
use base::{Entry, Index, LogPosition, Mutant, Mutants, SnapshotMeta, invariant};
use bytes::Bytes;
use std::collections::VecDeque;

/// The log and what is in it.
pub(crate) struct Resumed {
    pub(crate) log: Log,
    /// After the floor, without a hole.
    pub(crate) entries: Vec<Entry>,
    pub(crate) health: Health,
    pub(crate) doubt: Option<LogPosition>,
}

/// What must be written before the log may go on.
#[derive(Default)]
struct Tidying {
    repairs: Vec<Op>,
    removals: Vec<Op>,
}

/// Reads the log, judges it, and makes it ready. `floor` is what the checkpoint stands for.
pub(crate) fn resume(
    disk: &mut dyn Disk,
    identity: &Identity,
    config: &LogConfig,
    mutants: Mutants,
    names: &[FileName],
    floor: LogPosition,
    notes: &mut Vec<String>,
) -> Result<Resumed, RecoverError> {
    let (watermark, watermark_whole) = read_watermark(disk, names)?;
    let mut segments = read_segments(disk, identity, names)?;
    let mut chain = Chain::new(identity, floor, watermark, mutants);
    for segment in &segments {
        chain.gather(segment);
    }
    for segment in &mut segments {
        chain.walk(segment)?;
        segment.check_numbers()?;
    }
    chain.conclude(&mut segments)?;
    notes.append(&mut chain.notes);
    let health = judge(&mut chain, mutants, notes);
    let intact = health == Health::Intact;

    let in_use = segments
        .iter()
        .any(|segment| segment.number == chain.last_begun);
    let mut log = begin_log(&chain, identity, config, mutants, segments.last());
    let tidying = arrange(&mut log, &mut segments, &chain, intact, notes)?;
    log.watermark = watermark.unwrap_or(Watermark {
        generation: 1,
        ..Watermark::default()
    });
    if intact && !tidying.removals.is_empty() {
        // What goes may be what the watermark names.
        let last = segments.iter().rfind(|it| it.number == chain.last_begun);
        let last = last.map(|it| (it.number, it.image.length));
        (log.watermark.segment, log.watermark.segment_bytes) = last.unwrap_or((0, 0));
    }
    drop(segments);

    if intact {
        execute(disk, &tidying.repairs)?;
        log.promise.serial = log.promise.serial.max(chain.serial);
        log.promise.position = log.end;
    }
    // A former process may have died between write and sync: what is read now may be in the page cache
    // only, and is promised to others from here on.
    if in_use {
        disk.sync(&segment_name(chain.last_begun))?;
    }
    // The same of the lengths of spares: the watermark says which one is taken into use before the first record in
    // it is synced, and a spare that a power cut shortens then looks like a log that was cut.
    for spare in &log.spares {
        disk.sync(&segment_name(*spare))?;
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
    if intact && !tidying.removals.is_empty() {
        // First the watermark, then the files: one that is said to be in use must never be missing, wherever the
        // power goes.
        let ops = log.plan_watermark();
        execute(disk, &ops)?;
        execute(disk, &tidying.removals)?;
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
    Ok(Resumed {
        log,
        entries: chain.entries,
        health,
        doubt: chain.torn.filter(|_| intact),
    })
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
    let blocks: Vec<Watermark> = bytes.chunks(FRAME).filter_map(Watermark::decode).collect();
    for block in &blocks {
        block
            .check_numbers()
            .map_err(|beyond| beyond.of(file.clone()))?;
    }
    let newest = blocks.into_iter().max_by_key(|w| w.generation);
    let whole = bytes.len() == Watermark::FILE_BYTES as usize && newest.is_some();
    Ok((newest, whole))
}

/// All segments in the order of their numbers, each of this member and of a known version.
fn read_segments<'a>(
    disk: &'a dyn Disk,
    identity: &Identity,
    names: &[FileName],
) -> Result<Vec<Segment<'a>>, RecoverError> {
    let mut numbers: Vec<u64> = names.iter().filter_map(segment_number).collect();
    numbers.sort_unstable();
    let mut segments = Vec::new();
    for number in numbers {
        let segment = Segment::read(disk, number)?;
        segment.check_numbers()?;
        if let Some(found) = segment.version {
            return Err(RecoverError::Version {
                file: segment_name(number),
                found,
            });
        }
        if let Some(header) = segment.header.filter(|header| header.identity != *identity) {
            return Err(foreign(header.identity, identity));
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// Weighs what is there against what was promised.
fn judge(chain: &mut Chain, mutants: Mutants, notes: &[String]) -> Health {
    if chain.is_whole() {
        return Health::Intact;
    }
    if mutants.has(Mutant::TruncateAtCorruption) {
        chain.promise = Promise {
            serial: chain.hard_state_serial,
            position: chain.end,
        };
        return Health::Intact;
    }
    let watermark = chain.owed();
    let report = report(chain, watermark, notes);
    chain.promise.position = watermark;
    if chain.superseded {
        // The checkpoint takes the log's place, but not now: what is left of the log is evidence. The
        // next record begins it anew elsewhere.
        chain.broken = true;
        chain.origin = Origin::Restart;
    }
    Health::Damaged {
        watermark,
        intact: chain.end,
        report,
    }
}

fn report(chain: &Chain, watermark: LogPosition, notes: &[String]) -> String {
    let promised = match watermark == UNKNOWN {
        true => "an unknown place".to_string(),
        false => format!("entry {watermark}"),
    };
    let intact = chain.end;
    let mut text =
        format!("the log was durable up to {promised} and is intact up to entry {intact}");
    for note in notes {
        text.push_str("; ");
        text.push_str(note);
    }
    text
}

/// A log that goes on where the chain ends, without segments yet.
fn begin_log(
    chain: &Chain,
    identity: &Identity,
    config: &LogConfig,
    mutants: Mutants,
    last: Option<&Segment<'_>>,
) -> Log {
    let last_number = last.map_or(0, |segment| segment.number);
    Log {
        identity: *identity,
        config: *config,
        mutants,
        old: VecDeque::new(),
        current: None,
        spares: VecDeque::new(),
        preparing: None,
        late: Vec::new(),
        next_number: last_number.max(chain.last_begun) + 1,
        origin: chain.origin,
        hash: chain.hash,
        // One more than was seen: the serial of a record that may lie torn behind the end.
        serial_used: chain.serial_used + 1,
        promise: chain.promise,
        end: chain.end,
        hard_state: chain.hard_state(),
        watermark: Watermark::default(),
    }
}

/// Which segment goes on, which are complete, which are spare; and what of them needs repair.
fn arrange(
    log: &mut Log,
    segments: &mut [Segment<'_>],
    chain: &Chain,
    intact: bool,
    notes: &mut Vec<String>,
) -> Result<Tidying, DiskError> {
    let mut tidying = Tidying::default();
    for segment in segments {
        let (number, length) = (segment.number, segment.image.length);
        if number > chain.last_begun {
            match length == log.config.segment_bytes {
                true => log.spares.push_back(number),
                false => tidying.removals.push(Op::Remove {
                    file: segment_name(number),
                }),
            }
            continue;
        }
        let walked = chain.walked.get(&number);
        match walked {
            Some(walked) if number == chain.last_begun && !chain.broken => {
                log.current = Some(continued(segment, walked));
            }
            // A spare that came too late, which nobody has synced either.
            None if intact => log.late.push(number),
            _ => {
                let last = walked.map_or(Index(0), |walked| walked.last);
                log.old.push_back(OldSegment {
                    number,
                    length,
                    is_begun: walked.is_some(),
                    last,
                });
            }
        }
        if let Some(walked) = walked.filter(|walked| intact && !chain.broken && !walked.broken) {
            plan_repairs(segment, walked, &mut tidying.repairs, notes)?;
        }
    }
    if !tidying.removals.is_empty() {
        tidying.removals.push(Op::SyncDir);
    }
    Ok(tidying)
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
