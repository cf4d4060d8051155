//! Bytes that nobody wrote: recovery gives an error or a verdict, and never a panic or a loop.

use crate::common::{entry, hard_state, open, position};
use base::Rng;
use proptest::prelude::*;
use quorate_storage::{FileName, MemDisk, dump, execute};

fn file() -> impl Strategy<Value = (String, Vec<u8>)> {
    let names = prop::sample::select(vec![
        "identity",
        "watermark",
        "manifest",
        "wal-1.log",
        "wal-2.log",
        "wal-7.log",
        "wal-0.log",
        "wal-18446744073709551615.log",
        "checkpoint-0",
        "checkpoint-5",
        "checkpoint-5.new",
        "readme",
    ]);
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        (0usize..70_000, any::<u64>()).prop_map(|(length, seed)| {
            let mut rng = Rng::new(seed);
            (0..length).map(|_| rng.next_u64() as u8).collect()
        }),
        (0usize..70_000).prop_map(|length| vec![0; length]),
    ];
    (names.prop_map(String::from), bytes)
}

/// A healthy member's disk with everything in it.
fn healthy() -> MemDisk {
    let mut disk = MemDisk::new();
    let found = open(&mut disk).unwrap();
    let mut log = found.log;
    for index in 1..12 {
        let ops = log.append(Some(hard_state(1, 1, index - 1)), &[entry(index, 1, 1800)]);
        execute(&mut disk, &ops).unwrap();
    }
    let (ops, _) = crate::common::checkpoint(&found.catalog, position(3, 1));
    execute(&mut disk, &ops).unwrap();
    disk
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_directory_of_random_bytes_never_panics(files in prop::collection::vec(file(), 0..6)) {
        let mut disk = MemDisk::new();
        for (name, bytes) in files {
            disk.files_mut().insert(FileName::parse(&name).unwrap(), bytes);
        }
        dump(&disk);
        let _ = open(&mut disk);
        let _ = open(&mut disk);
    }

    #[test]
    fn a_real_directory_with_foreign_files_in_it_never_panics(
        files in prop::collection::vec(file(), 1..3),
    ) {
        let mut disk = healthy();
        for (name, bytes) in files {
            disk.files_mut().insert(FileName::parse(&name).unwrap(), bytes);
        }
        dump(&disk);
        let _ = open(&mut disk);
    }

    #[test]
    fn random_damage_anywhere_never_panics_and_never_invents(
        seed in any::<u64>(), wounds in 1usize..30, width in 1usize..600,
    ) {
        let mut disk = healthy();
        let mut rng = Rng::new(seed);
        let names: Vec<FileName> = disk.files().keys().cloned().collect();
        for _ in 0..wounds {
            let bytes = disk.files_mut().get_mut(rng.pick(&names).unwrap()).unwrap();
            let at = rng.below(bytes.len() as u64) as usize;
            let end = bytes.len().min(at + width);
            let from = rng.below(bytes.len() as u64) as usize;
            match rng.below(3) {
                0 => bytes[at..end].iter_mut().for_each(|byte| *byte ^= rng.next_u64() as u8),
                1 => bytes[at..end].fill(0),
                _ => {
                    let from = from.min(bytes.len() - (end - at));
                    bytes.copy_within(from..from + end - at, at);
                }
            }
        }
        dump(&disk);
        if let Ok(found) = open(&mut disk) {
            for found in found.entries {
                prop_assert_eq!(&found, &entry(found.position.index.0, 1, 1800));
            }
        }
    }
}
