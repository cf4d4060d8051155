//! The planted bugs of this crate, each caught by a claim that the other tests make too.

use crate::common::crash::{CrashDisk, Cut};
use crate::common::{Model, entry, hard_state, open, open_with};
use base::{Mutant, Mutants};
use quorate_storage::{FileName, Health, MemDisk, Op, execute};

#[test]
fn a_log_that_does_not_sync_loses_what_it_acknowledged() {
    for (mutants, lost) in [
        (Mutants::none(), false),
        (Mutants::only(Mutant::AcknowledgeBeforeSync), true),
    ] {
        let mut disk = CrashDisk::default();
        let mut log = open_with(&mut disk, mutants).unwrap().log;
        let ops = log.append(Some(hard_state(1, 1, 0)), &[entry(1, 1, 100)]);
        assert_eq!(matches!(ops.last(), Some(Op::Sync { .. })), !lost);
        execute(&mut disk, &ops).unwrap();
        let found = open(&mut disk.cut(&Cut::Drop)).unwrap();
        assert_eq!(found.entries.is_empty(), lost);
    }
}

#[test]
fn a_recovery_that_takes_damage_for_the_end_forgets_what_was_acknowledged() {
    let mut disk = MemDisk::new();
    let mut log = open(&mut disk).unwrap().log;
    for index in 1..=3 {
        let ops = log.append(Some(hard_state(1, 1, 0)), &[entry(index, 1, 100)]);
        execute(&mut disk, &ops).unwrap();
    }
    let file = FileName::parse("wal-1.log").unwrap();
    disk.files_mut().get_mut(&file).unwrap()[4 * 4096 + 200] ^= 1;
    let found = open(&mut disk.clone()).unwrap();
    assert!(matches!(found.health, Health::Damaged { .. }));
    let mutants = Mutants::only(Mutant::TruncateAtCorruption);
    let found = open_with(&mut disk, mutants).unwrap();
    assert_eq!(found.health, Health::Intact);
    assert_eq!(found.entries.len(), 1);
    // And it goes on as if nothing had been.
    let mut log = found.log;
    execute(&mut disk, &log.append(None, &[entry(2, 2, 10)])).unwrap();
    assert_eq!(open(&mut disk).unwrap().health, Health::Intact);
}

#[test]
fn a_log_in_which_the_overwritten_comes_back_says_what_was_never_decided() {
    for (mutants, comes_back) in [
        (Mutants::none(), false),
        (Mutants::only(Mutant::OverwrittenComesBack), true),
    ] {
        let mut disk = MemDisk::new();
        let mut model = Model::default();
        let mut log = open_with(&mut disk, mutants).unwrap().log;
        for (state, entries) in [
            (
                hard_state(1, 1, 0),
                vec![entry(1, 1, 9), entry(2, 1, 9), entry(3, 1, 9)],
            ),
            (hard_state(2, 1, 0), vec![entry(2, 2, 19)]),
        ] {
            execute(&mut disk, &log.append(Some(state), &entries)).unwrap();
            model.append(Some(state), &entries);
        }
        let found = open_with(&mut disk, mutants).unwrap();
        assert_eq!(found.entries == model.entries, !comes_back);
        assert_eq!(found.health, Health::Intact, "and nobody notices");
        assert_eq!(found.log.end(), model.end());
    }
}
