//! Numbers at the end of their range, under right sums: a start says which and where, and changes
//! nothing.

use crate::common::{checkpoint, entry, hard_state, open, position};
use base::limits::NUMBER_MAX;
use quorate_storage::{Excess, FileName, Health, Log, MemDisk, RecoverError, UNKNOWN, execute};

const FRAME: usize = 4096;
const LABEL: usize = 128;

fn name(text: &str) -> FileName {
    FileName::parse(text).unwrap()
}

/// A member's disk with a log of several records, two checkpoints and a watermark.
fn member() -> (MemDisk, Log) {
    let mut disk = MemDisk::new();
    let found = open(&mut disk).unwrap();
    let (mut log, mut catalog) = (found.log, found.catalog);
    for index in 1..=9 {
        let ops = log.append(Some(hard_state(1, 1, index - 1)), &[entry(index, 1, 900)]);
        execute(&mut disk, &ops).unwrap();
    }
    for index in [2, 4] {
        let (ops, now) = checkpoint(&catalog, position(index, 1));
        execute(&mut disk, &ops).unwrap();
        catalog = now;
    }
    execute(&mut disk, &log.seal().unwrap_or_default()).unwrap();
    (disk, log)
}

/// Writes `number` at `at` of the block that begins at `block`, and makes its sum, at `hole`, anew.
fn write(
    disk: &mut MemDisk,
    file: &str,
    (block, length, hole): (usize, usize, usize),
    at: usize,
    number: u64,
) {
    let bytes = disk.files_mut().get_mut(&name(file)).unwrap();
    let bytes = &mut bytes[block..block + length];
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    bytes[hole..hole + 4].fill(0);
    let sum = crc32c::crc32c(bytes);
    bytes[hole..hole + 4].copy_from_slice(&sum.to_le_bytes());
}

fn refusal(disk: &mut MemDisk) -> Excess {
    let before = disk.clone();
    match open(disk) {
        Err(RecoverError::Excess(excess)) => {
            assert!(*disk == before, "nothing is changed");
            excess
        }
        other => panic!("{other:?}"),
    }
}

/// Every number of the block that has a bound: `(at, what)`.
fn assert_bounded(file: &str, block: (usize, usize, usize), numbers: &[(usize, &str)]) {
    for (at, what) in numbers {
        for number in [u64::MAX, u64::MAX - 1, NUMBER_MAX + 1] {
            let (mut disk, _) = member();
            write(&mut disk, file, block, *at, number);
            let excess = refusal(&mut disk);
            assert_eq!(
                (excess.file.as_str(), excess.what, excess.found),
                (file, *what, number),
                "{excess}"
            );
            assert!(excess.most <= NUMBER_MAX);
            quorate_storage::dump(&disk);
        }
    }
}

#[test]
fn a_number_without_room_to_count_on_is_refused_by_its_name() {
    for copy in [0, FRAME] {
        assert_bounded(
            "watermark",
            (copy, 128, 12),
            &[
                (16, "generation"),
                (24, "serial"),
                (32, "promised serial"),
                (40, "promised term"),
                (48, "promised index"),
                (56, "segment"),
                (72, "term of the hard state"),
                (88, "commit"),
            ],
        );
        assert_bounded("manifest", (copy, 128, 12), &[(16, "generation")]);
    }
    // The header that is in force is the first sound copy.
    assert_bounded(
        "wal-1.log",
        (0, 128, 12),
        &[
            (64, "term"),
            (72, "index"),
            (80, "serial"),
            (88, "promised serial"),
            (96, "promised term"),
            (104, "promised index"),
        ],
    );
    // The first label of the table of slots.
    assert_bounded(
        "wal-1.log",
        (2 * FRAME, LABEL, 4),
        &[
            (16, "serial"),
            (64, "promised serial"),
            (72, "promised term"),
            (80, "promised index"),
            (88, "term"),
            (96, "index"),
            (104, "term of the hard state"),
            (120, "commit"),
        ],
    );
}

#[test]
fn a_place_of_a_checkpoint_without_room_to_count_on_is_refused() {
    let (disk, _) = member();
    let manifest = &disk.files()[&name("manifest")];
    let generation = |at: usize| u64::from_le_bytes(manifest[at + 16..at + 24].try_into().unwrap());
    let newest = if generation(0) > generation(FRAME) {
        0
    } else {
        FRAME
    };
    assert_bounded(
        "manifest",
        (newest, 128, 12),
        &[
            (32, "term"),
            (40, "index"),
            (56, "length of a checkpoint"),
            (72, "term"),
            (80, "index"),
            (96, "length of a checkpoint"),
        ],
    );
}

#[test]
fn a_checkpoint_without_room_to_count_on_gives_way_to_the_older_one() {
    let (mut disk, _) = member();
    let file = "checkpoint-4";
    let length = u32::from_le_bytes(disk.files()[&name(file)][16..20].try_into().unwrap());
    write(&mut disk, file, (0, length as usize, 12), 40, u64::MAX);
    let found = open(&mut disk).unwrap();
    let (meta, _) = found.checkpoint.unwrap();
    assert_eq!(meta.position, position(2, 1));
    assert_eq!(found.health, Health::Intact);
    let said = found.notes.join("\n");
    assert!(
        said.contains("checkpoint-4 has the term 18446744073709551615"),
        "{said}"
    );
}

#[test]
fn a_promised_serial_that_was_never_used_is_refused() {
    let (mut disk, _) = member();
    for block in [0, FRAME] {
        write(&mut disk, "watermark", (block, 128, 12), 32, 1000);
    }
    let excess = refusal(&mut disk);
    assert_eq!((excess.what, excess.found), ("promised serial", 1000));
    assert!(excess.most < 1000, "{excess}");
}

#[test]
fn an_unknown_promise_is_no_number() {
    let (mut disk, _) = member();
    for block in [0, FRAME] {
        for at in [40, 48] {
            write(&mut disk, "watermark", (block, 128, 12), at, u64::MAX);
        }
    }
    let found = open(&mut disk).unwrap();
    assert!(
        matches!(found.health, Health::Damaged { watermark, .. } if watermark == UNKNOWN),
        "{:?}",
        found.health
    );
}
