//! A data directory as text, for people: what is where, and what of it is sound.
//!
//! It looks at each thing on its own and draws no conclusions; those are [`crate::recover()`]'s. It
//! changes nothing and can be used on a directory that cannot be started.

use crate::checkpoint::{Catalog, checkpoint_index, describe, manifest_name};
use crate::directory::identity_name;
use crate::disk::{Disk, DiskError, FileName};
use crate::format::{
    FRAME, HEADER_FRAMES, Identity, IdentityRead, Origin, Watermark, segment_number,
};
use crate::log::{UNKNOWN, watermark_name};
use crate::record::Label;
use crate::segment::{Found, Segment};
use base::{Chain, LogPosition};
use std::fmt::Write as _;

/// The picture of a data directory: identity, watermark, checkpoints, and every record of the log with
/// its place. What cannot be read is said to be so.
pub fn dump(disk: &dyn Disk) -> String {
    let mut out = String::new();
    match draw(disk, &mut out) {
        Ok(()) => out,
        Err(error) => {
            out.push_str(&format!("{}\n", Chain(&error)));
            out
        }
    }
}

fn draw(disk: &dyn Disk, out: &mut String) -> Result<(), DiskError> {
    let names = disk.list()?;
    let whole = |file: &FileName, bytes: usize| -> Vec<u8> {
        let mut buffer = vec![0; bytes];
        let n = disk.read_at(file, 0, &mut buffer).unwrap_or(0);
        buffer.truncate(n);
        buffer
    };
    line(
        out,
        "identity",
        &match Identity::decode(&whole(&identity_name(), FRAME)) {
            IdentityRead::Ok(id) => format!("member {} of cluster {}", id.member, id.cluster),
            IdentityRead::Version(version) => format!("format version {version}"),
            IdentityRead::Damaged => "missing or damaged".into(),
        },
    );
    for block in whole(&watermark_name(), Watermark::FILE_BYTES as usize).chunks(FRAME) {
        line(
            out,
            "watermark",
            &match Watermark::decode(block) {
                None => "damaged".into(),
                Some(mark) => format!(
                    "generation {}: durable to {} (serial {}), segment {}, term {} vote {}",
                    mark.generation,
                    place(mark.promise.position),
                    mark.promise.serial,
                    mark.segment,
                    mark.hard_state.term,
                    mark.hard_state.vote,
                ),
            },
        );
    }
    for block in whole(&manifest_name(), Catalog::FILE_BYTES as usize).chunks(FRAME) {
        let name = |info: Option<crate::CheckpointInfo>| {
            info.map_or("none".into(), |info| info.file().to_string())
        };
        line(
            out,
            "manifest",
            &match Catalog::decode(block) {
                None => "damaged".into(),
                Some(catalog) => format!(
                    "generation {}: newest {}, previous {}",
                    catalog.generation,
                    name(catalog.newest),
                    name(catalog.previous),
                ),
            },
        );
    }
    let mut checkpoints: Vec<_> = names.iter().filter_map(checkpoint_index).collect();
    checkpoints.sort_unstable();
    for index in checkpoints {
        let file = crate::checkpoint::checkpoint_name(index);
        let bytes = disk.len(&file)?;
        let text = describe(disk, &file).unwrap_or_else(|error| Chain(&error).to_string());
        line(out, file.as_str(), &format!("{bytes} bytes: {text}"));
    }
    let mut numbers: Vec<u64> = names.iter().filter_map(segment_number).collect();
    numbers.sort_unstable();
    for number in numbers {
        draw_segment(Segment::read(disk, number)?, out)?;
    }
    Ok(())
}

fn line(out: &mut String, name: &str, text: &str) {
    writeln!(out, "{name:<14} {text}").expect("strings take everything");
}

fn place(position: LogPosition) -> String {
    match position == UNKNOWN {
        true => "an unknown place".into(),
        false => format!("{position}"),
    }
}

fn draw_segment(mut segment: Segment<'_>, out: &mut String) -> Result<(), DiskError> {
    let file = crate::format::segment_name(segment.number);
    let frames = segment.layout.frames;
    if let Err(excess) = segment.check_numbers() {
        line(out, file.as_str(), &excess.to_string());
    }
    let state = match &segment.header {
        None if segment.labels.is_empty() => "spare".to_string(),
        None => "header damaged".to_string(),
        Some(header) => {
            let follows = match header.origin {
                Origin::Chain => "follows",
                Origin::Cut => "cuts back to",
                Origin::Restart => "begins anew after",
            };
            format!(
                "{follows} {} (hash {:016x})",
                header.base, header.previous_hash
            )
        }
    };
    line(
        out,
        file.as_str(),
        &format!("{} bytes: {state}", segment.image.length),
    );
    if segment.header.is_none() && segment.labels.is_empty() {
        return Ok(());
    }
    let mut row = |first: u32, n: u32, text: &str| {
        let last = first + n.max(1) - 1;
        let span = if last > first {
            format!("{first}..={last}")
        } else {
            first.to_string()
        };
        writeln!(out, "  │ {span:>11} │ {text}").expect("strings take everything");
    };
    let header = if segment.header_whole {
        "header, twice"
    } else {
        "header, one copy damaged"
    };
    row(0, HEADER_FRAMES as u32, header);
    let slots = format!(
        "{} slots, {} in use",
        segment.layout.slots(),
        segment.labels.len()
    );
    row(HEADER_FRAMES as u32, segment.layout.slot_frames, &slots);
    let mut number = 0;
    let mut frame = segment.layout.first_frame();
    loop {
        let slot = segment.labels.get(&number).copied();
        match segment.record(number, frame)? {
            Found::Record(label, ..) => {
                let missing = if slot == Some(label) {
                    ""
                } else {
                    " (slot missing)"
                };
                row(frame, label.frames, &format!("{}{missing}", record(&label)));
                frame += label.frames;
            }
            Found::Nothing => match slot {
                Some(label) if label.frame == frame => {
                    row(frame, label.frames, &format!("DAMAGED {}", record(&label)));
                    frame += label.frames;
                }
                _ => break,
            },
        }
        number += 1;
    }
    if frame < frames {
        row(frame, frames - frame, "free");
    }
    Ok(())
}

fn record(label: &Label) -> String {
    let what = match label.n_entries {
        0 if label.reset => format!("reset to {}", label.end),
        0 => "no entry".to_string(),
        1 => format!("entry {}", label.end),
        _ => format!("entries {} to {}", label.first_index(), label.end),
    };
    let state = label.hard_state;
    format!(
        "record {} serial {}: {what}, {} bytes; term {} vote {} commit {}; durable to {}{}",
        label.number,
        label.serial,
        label.body_bytes,
        state.term,
        state.vote,
        state.commit,
        place(label.promise.position),
        if label.behind { ", behind" } else { "" },
    )
}
