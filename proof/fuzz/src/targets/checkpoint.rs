//! `storage::recover`, for its checkpoints: a start with a newest checkpoint that was damaged, and an
//! older one that was not.
//!
//! The first byte says whether sums were made anew; the rest is the file `checkpoint-9`, which holds a
//! real state of the store.

use super::{Target, Verdict};
use crate::directory::{self, CONFIG, IDENTITY, SEALED, checkpoint_tag};
use crate::parts::{Part, part};
use crate::states::{go_on, position, read, sample};
use crate::{chunks, heap, mutate};
use base::{Entry, EntryKind, HardState, Index, MemberId, Mutants, Rng, SnapshotMeta, Term};
use bytes::Bytes;
use std::sync::LazyLock;
use storage::{CheckpointWriter, Health, MemDisk, Step, dump, execute, recover};
use xxhash_rust::xxh3::Xxh3;

/// See the module.
pub const TARGET: Target = Target {
    name: "checkpoint",
    run,
    corpus,
    mutate,
    one_in: 4,
};

const NEWEST: u8 = 9;
const OLDER: u8 = 4;
const LAST: u64 = 12;

/// The member starts whatever the newest checkpoint has become: from it, if it is what was written, or
/// else from the older one, with the whole log behind it. What was sealed again and is taken for a state
/// can be read and gone on from.
pub fn run(input: &[u8]) -> Verdict {
    let Some((mode, file)) = input.split_first() else {
        return Verdict::Refused;
    };
    let mut files = WRITTEN.others.clone();
    files.push(part(checkpoint_tag(NEWEST), file));
    let mut disk = directory::disk(files);
    dump(&disk);
    let bytes_max = 8 * 1024 * 1024 + 64 * file.len();
    let found = heap::bounded(bytes_max, "a start", || {
        recover(&mut disk, &IDENTITY, &CONFIG, Mutants::none())
    });
    let found = found.expect("the rest of the directory is sound");
    let (meta, state) = found.checkpoint.expect("the older checkpoint is sound");
    assert_eq!(
        meta.position,
        state.applied(),
        "the header is of this state"
    );
    if *mode == SEALED {
        read(&state);
        go_on(state);
        return Verdict::of(meta.position.index == Index(NEWEST.into()));
    }
    // The end is where the checkpoint says; what a file has behind it is not looked at.
    let is_newest = file.starts_with(&WRITTEN.newest);
    let at = if is_newest { NEWEST } else { OLDER };
    assert_eq!(meta.position, position(1, at.into()), "{:?}", found.notes);
    assert_eq!(
        state.digest(),
        sample(meta.position).digest(),
        "the state as it was"
    );
    state.check();
    assert_eq!(found.health, Health::Intact, "{:?}", found.notes);
    assert_eq!(found.log.end(), position(1, LAST));
    let n_entries = found.entries.len() as u64;
    assert_eq!(n_entries, LAST - u64::from(at), "the whole log behind it");
    Verdict::of(is_newest)
}

struct Written {
    newest: Vec<u8>,
    others: Vec<Part>,
}

static WRITTEN: LazyLock<Written> = LazyLock::new(|| {
    let mut disk = MemDisk::new();
    let found = recover(&mut disk, &IDENTITY, &CONFIG, Mutants::none()).expect("a first start");
    let (mut log, mut catalog) = (found.log, found.catalog);
    let hard_state = HardState {
        term: Term(1),
        vote: MemberId(2),
        commit: Index(0),
    };
    for index in 1..=LAST {
        let entry = Entry {
            position: position(1, index),
            kind: EntryKind::Normal,
            data: Bytes::from_static(b"an entry"),
            context: Bytes::new(),
        };
        run_all(&mut disk, &log.append(Some(hard_state), &[entry]));
    }
    for index in [OLDER, NEWEST] {
        let state = sample(position(1, index.into()));
        let meta = SnapshotMeta {
            position: state.applied(),
            membership: state.membership().clone(),
        };
        let mut writer = CheckpointWriter::new(&IDENTITY, &catalog, &meta, state);
        loop {
            match writer.step(400) {
                Step::More(ops) => run_all(&mut disk, &ops),
                Step::Done { ops, catalog: now } => {
                    run_all(&mut disk, &ops);
                    catalog = now;
                    break;
                }
            }
        }
    }
    run_all(&mut disk, &log.seal().unwrap_or_default());
    let files = directory::files(&disk).into_iter();
    let (newest, others): (Vec<Part>, Vec<Part>) =
        files.partition(|file| file.tag == checkpoint_tag(NEWEST));
    let newest = newest.into_iter().next();
    Written {
        newest: newest.expect("it was just written").bytes,
        others,
    }
});

fn run_all(disk: &mut MemDisk, ops: &[storage::Op]) {
    execute(disk, ops).expect("a disk in memory");
}

fn corpus() -> Vec<Vec<u8>> {
    vec![[&[0][..], &WRITTEN.newest].concat()]
}

// ---- damage --------------------------------------------------------------------------------------

const CHUNK_HEAD: usize = 8;

fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let sealed = match rng.below(4) {
        0 => None,
        1 => damage_header(input, rng),
        _ => damage_state(input, rng),
    };
    match sealed {
        Some(file) => *input = [&[SEALED][..], &file].concat(),
        None => {
            let mode = input.first().copied();
            mutate::bytes(input, other, rng);
            // What is sealed cannot be unsealed: the claim would be wrong.
            if let (Some(mode), Some(first)) = (mode, input.first_mut()) {
                *first = mode;
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(four) as usize)
}

/// The header, and the state's stream out of its chunks.
fn open(input: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let file = input.get(1..)?;
    let head = word(file, 16).filter(|bytes| *bytes >= 80)?;
    let mut stream = Vec::new();
    let mut at = head;
    while let Some(bytes) = word(file, at).filter(|bytes| *bytes > 0) {
        stream.extend_from_slice(file.get(at + CHUNK_HEAD..at + CHUNK_HEAD + bytes)?);
        at += CHUNK_HEAD + bytes;
    }
    Some((file.get(..head)?.to_vec(), stream))
}

fn damage_header(input: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    let (mut head, stream) = open(input)?;
    for _ in 0..rng.between(1, 2) {
        let at = 8 + 4 * rng.below((head.len() / 4 - 2) as u64) as usize;
        mutate::put_number(&mut head, at, rng);
    }
    Some(seal(head, &stream, rng))
}

fn damage_state(input: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    let (head, mut stream) = open(input)?;
    let (_, other) = open(&corpus()[0])?;
    chunks::mutate_sealed(&mut stream, &other, rng);
    Some(seal(head, &stream, rng))
}

/// A whole checkpoint, with every sum right.
fn seal(mut head: Vec<u8>, stream: &[u8], rng: &mut Rng) -> Vec<u8> {
    head[12..16].fill(0);
    let sum = crc32c::crc32c(&head);
    head[12..16].copy_from_slice(&sum.to_le_bytes());
    let mut file = head;
    let mut n_chunks = 0u64;
    for chunk in stream.chunks(if rng.one_in(2) { 300 } else { 5000 }) {
        let length = (chunk.len() as u32).to_le_bytes();
        let sum = crc32c::crc32c(&n_chunks.to_le_bytes());
        let sum = crc32c::crc32c_append(sum, &length);
        let sum = crc32c::crc32c_append(sum, chunk);
        file.extend_from_slice(&length);
        file.extend_from_slice(&sum.to_le_bytes());
        file.extend_from_slice(chunk);
        n_chunks += 1;
    }
    let mut hasher = Xxh3::new();
    hasher.update(&file);
    let mut end = [0; 32];
    end[8..16].copy_from_slice(&n_chunks.to_le_bytes());
    end[16..24].copy_from_slice(&(file.len() as u64).to_le_bytes());
    end[24..32].copy_from_slice(&hasher.digest().to_le_bytes());
    let sum = crc32c::crc32c(&end);
    end[4..8].copy_from_slice(&sum.to_le_bytes());
    file.extend_from_slice(&end);
    file
}
