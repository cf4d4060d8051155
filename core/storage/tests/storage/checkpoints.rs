//! Checkpoints: damaged, half written, superseded, and the log that reaches back to the one before.

use crate::common::{
    IDENTITY, Model, checkpoint, entry, freed, hard_state, meta, open, position, tiny,
};
use base::{ClusterId, Entry, LogPosition, MemberId, Membership, Mutants, SnapshotMeta};
use quorate_storage::{
    Catalog, CheckpointWriter, Disk, FileName, Health, Identity, Log, MemDisk, Op, RecoverError,
    Step, execute, recover,
};
use store::{Genesis, Store};

struct Member {
    disk: MemDisk,
    log: Log,
    catalog: Catalog,
    model: Model,
}

/// Fourteen entries, checkpoints at 6 and at 12, the log freed up to 6.
fn member() -> Member {
    let mut disk = MemDisk::new();
    let found = open(&mut disk).unwrap();
    let mut member = Member {
        disk,
        log: found.log,
        catalog: found.catalog,
        model: Model::default(),
    };
    for index in 1..=14 {
        let entries = [entry(index, 1, 2500)];
        let state = hard_state(1, 1, index);
        execute(&mut member.disk, &member.log.append(Some(state), &entries)).unwrap();
        member.model.append(Some(state), &entries);
        if index % 6 == 0 {
            member.checkpoint(position(index, 1));
        }
    }
    let ops = freed(&mut member.log, member.catalog.log_floor());
    execute(&mut member.disk, &ops).unwrap();
    member
}

impl Member {
    fn checkpoint(&mut self, at: LogPosition) {
        let (ops, catalog) = checkpoint(&self.catalog, at);
        execute(&mut self.disk, &ops).unwrap();
        self.catalog = catalog;
        self.model.checkpoint = at;
    }
}

fn name(text: &str) -> FileName {
    FileName::parse(text).unwrap()
}

#[test]
fn every_damaged_byte_of_a_checkpoint_is_noticed_and_the_one_before_serves() {
    let member = member();
    let file = name("checkpoint-12");
    let mut older = member.model.clone();
    older.checkpoint = position(6, 1);
    let length = member.disk.files()[&file].len();
    for at in 0..length {
        for bit in 0..8 {
            let mut disk = member.disk.clone();
            disk.files_mut().get_mut(&file).unwrap()[at] ^= 1 << bit;
            let found = open(&mut disk).unwrap();
            older.assert_is(&found, &|| format!("byte {at} bit {bit}"));
            assert!(
                found
                    .notes
                    .iter()
                    .any(|note| note.contains("checkpoint-12"))
            );
        }
        let mut disk = member.disk.clone();
        disk.files_mut().get_mut(&file).unwrap().truncate(at);
        older.assert_is(&open(&mut disk).unwrap(), &|| format!("cut at {at}"));
    }
    let mut disk = member.disk.clone();
    disk.files_mut().remove(&file);
    older.assert_is(&open(&mut disk).unwrap(), &|| "gone".into());
}

#[test]
fn with_both_checkpoints_damaged_the_member_says_that_it_has_lost_its_state() {
    let member = member();
    let mut disk = member.disk.clone();
    for file in ["checkpoint-6", "checkpoint-12"] {
        disk.files_mut().get_mut(&name(file)).unwrap()[200] ^= 1;
    }
    for _ in 0..2 {
        let found = open(&mut disk).unwrap();
        let Health::Damaged {
            watermark,
            intact,
            report,
        } = found.health
        else {
            panic!("{:?}", found.notes)
        };
        assert_eq!(
            (watermark, intact),
            (position(14, 1), LogPosition::default())
        );
        assert!(report.contains("the log begins at entry"), "{report}");
        assert_eq!(found.checkpoint, None);
        assert!(found.entries.is_empty());
    }
    // An operator puts one of them back, and nothing is lost.
    let whole = member.disk.files()[&name("checkpoint-6")].clone();
    disk.files_mut().insert(name("checkpoint-6"), whole);
    let mut older = member.model.clone();
    older.checkpoint = position(6, 1);
    older.assert_is(&open(&mut disk).unwrap(), &|| "put back".into());
}

#[test]
fn a_member_that_lost_its_state_is_repaired_by_a_snapshot() {
    let mut member = member();
    for file in ["checkpoint-6", "checkpoint-12"] {
        member.disk.files_mut().get_mut(&name(file)).unwrap()[200] ^= 1;
    }
    let found = open(&mut member.disk).unwrap();
    let (mut log, at) = (found.log, position(13, 1));
    let (ops, _) = checkpoint(&found.catalog, at);
    execute(&mut member.disk, &ops).unwrap();
    execute(&mut member.disk, &log.install(&meta(at))).unwrap();
    assert!(log.is_recovering(), "entry 14 was acknowledged too");
    let found = open(&mut member.disk).unwrap();
    assert!(
        matches!(found.health, Health::Damaged { watermark, intact, .. }
            if watermark == position(14, 1) && intact == at),
        "{:?}",
        found.health
    );
    let mut log = found.log;
    let again = [entry(14, 1, 2500)];
    execute(
        &mut member.disk,
        &log.append(Some(hard_state(1, 1, 14)), &again),
    )
    .unwrap();
    let found = open(&mut member.disk).unwrap();
    assert_eq!(found.health, Health::Intact, "{:?}", found.notes);
    assert!(found.entries == again);
}

#[test]
fn a_damaged_manifest_is_replaced_by_what_the_files_say() {
    let member = member();
    let file = name("manifest");
    let mut older = member.model.clone();
    older.checkpoint = position(6, 1);
    for at in 0..member.disk.files()[&file].len() {
        let mut disk = member.disk.clone();
        disk.files_mut().get_mut(&file).unwrap()[at] ^= 0x40;
        let found = open(&mut disk).unwrap();
        // The other half of the manifest names the checkpoint before.
        let model = match &found.checkpoint {
            Some((meta, _)) if meta.position.index.0 == 6 => &older,
            _ => &member.model,
        };
        model.assert_is(&found, &|| format!("byte {at}"));
    }
    for emptied in [false, true] {
        let mut disk = member.disk.clone();
        let bytes = disk.files_mut().get_mut(&file).unwrap();
        match emptied {
            true => bytes.clear(),
            false => bytes.fill(0),
        }
        for _ in 0..2 {
            member
                .model
                .assert_is(&open(&mut disk).unwrap(), &|| "manifest lost".into());
        }
    }
}

#[test]
fn two_checkpoints_are_kept_and_what_was_never_finished_is_swept() {
    let mut member = member();
    for index in [13, 14] {
        member.checkpoint(position(index, 1));
    }
    let (ops, _) = checkpoint(&member.catalog, position(14, 1));
    execute(&mut member.disk, &ops[..3]).unwrap();
    let has = |disk: &MemDisk, file: &str| disk.files().contains_key(&name(file));
    assert!(has(&member.disk, "checkpoint-14.new") && !has(&member.disk, "checkpoint-12"));
    let found = open(&mut member.disk).unwrap();
    member.model.assert_is(&found, &|| "after the sweep".into());
    assert!(!has(&member.disk, "checkpoint-14.new"));
    assert!(has(&member.disk, "checkpoint-13") && has(&member.disk, "checkpoint-14"));
    assert_eq!(found.catalog.log_floor().0, 13);
}

#[test]
fn a_directory_of_another_member_or_cluster_is_refused_by_name() {
    let member = member();
    for other in [
        Identity {
            member: MemberId(0xb2),
            ..IDENTITY
        },
        Identity {
            cluster: ClusterId(0xdd),
            ..IDENTITY
        },
    ] {
        let mut disk = member.disk.clone();
        let error = recover(&mut disk, &other, &tiny(), Mutants::none())
            .err()
            .unwrap();
        let text = base::Chain(&error).to_string();
        assert!(
            text.contains("belongs to member a1 of cluster c1"),
            "{text}"
        );
        // Even without the identity file: the segments know.
        disk.files_mut().remove(&name("identity"));
        let error = recover(&mut disk, &other, &tiny(), Mutants::none())
            .err()
            .unwrap();
        assert!(matches!(error, RecoverError::Foreign { .. }), "{error}");
        assert_eq!(
            disk.files().len(),
            member.disk.files().len() - 1,
            "nothing was touched"
        );
    }
    let mut disk = member.disk.clone();
    disk.files_mut().remove(&name("identity"));
    let error = open(&mut disk).unwrap_err();
    assert!(
        matches!(error, RecoverError::IdentityMissing { .. }),
        "{error}"
    );
    // Without its segments as well it is still no new directory: what is left says more.
    for left in ["watermark", "manifest"] {
        let mut disk = member.disk.clone();
        disk.files_mut().retain(|file, _| file.as_str() == left);
        let before = disk.files().clone();
        let error = open(&mut disk).unwrap_err();
        assert!(
            matches!(error, RecoverError::IdentityMissing { .. }),
            "{left}: {error}"
        );
        assert_eq!(*disk.files(), before, "nothing was touched");
    }
    let mut disk = member.disk.clone();
    disk.files_mut().get_mut(&name("identity")).unwrap().fill(0);
    member.model.assert_is(&open(&mut disk).unwrap(), &|| {
        "restored from a segment".into()
    });
}

#[test]
fn a_full_disk_is_a_clear_error_and_a_restart_on_it_succeeds() {
    let error = open(&mut MemDisk::with_capacity(20_000)).unwrap_err();
    let text = base::Chain(&error).to_string();
    assert_eq!(
        text,
        "the data directory cannot be used: cannot create wal-1.log"
    );

    let mut member = member();
    while let Some(ops) = member.log.prepare() {
        execute(&mut member.disk, &ops).unwrap();
        member.log.prepared(true);
    }
    let used: u64 = member
        .disk
        .files()
        .values()
        .map(|bytes| bytes.len() as u64)
        .sum();
    member.disk.set_capacity(used);
    let mut log = open(&mut member.disk).unwrap().log;
    assert_eq!(member.disk.space_left().unwrap(), 0);
    // The spares still take entries; then an append fails before it has written anything, and can be
    // executed again when there is room.
    let mut index = 14;
    let failed = loop {
        index += 1;
        let entries = [entry(index, 1, 2500)];
        let ops = log.append(None, &entries);
        member.model.append(None, &entries);
        if execute(&mut member.disk, &ops).is_err() {
            break ops;
        }
    };
    assert!(index > 22, "{index}");
    assert!(
        matches!(failed[0], Op::Create { .. }),
        "nothing was written before"
    );
    member.disk.set_capacity(u64::MAX);
    execute(&mut member.disk, &failed).unwrap();
    member
        .model
        .assert_is(&open(&mut member.disk).unwrap(), &|| "room again".into());
}

#[test]
fn the_stores_own_state_goes_through_a_checkpoint() {
    let mut disk = MemDisk::new();
    let found = recover(&mut disk, &IDENTITY, &tiny(), Mutants::none()).unwrap();
    let membership = Membership::of_voters(vec![MemberId(1), MemberId(2)]);
    let mut store = Store::new(Genesis {
        membership: membership.clone(),
        ..Genesis::default()
    });
    store.set_applied(position(3, 2));
    let meta = SnapshotMeta {
        position: position(3, 2),
        membership,
    };
    let state = store.publish();
    let mut writer = CheckpointWriter::new(&IDENTITY, &found.catalog, &meta, state.clone());
    loop {
        match writer.step(64) {
            Step::More(ops) => execute(&mut disk, &ops).unwrap(),
            Step::Done { ops, .. } => {
                execute(&mut disk, &ops).unwrap();
                break;
            }
        }
    }
    let found = recover(&mut disk, &IDENTITY, &tiny(), Mutants::none()).unwrap();
    let (loaded_meta, loaded) = found.checkpoint.unwrap();
    assert_eq!(loaded_meta, meta);
    assert_eq!(
        (loaded.applied(), loaded.digest()),
        (state.applied(), state.digest())
    );
    assert_eq!(found.log.end(), meta.position, "the log begins after it");
    assert_eq!(found.entries, Vec::<Entry>::new());
}
