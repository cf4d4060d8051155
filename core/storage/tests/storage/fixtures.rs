//! Data directories of every format ever written, kept as text: today's code opens each and finds what
//! was found when it was written.
//!
//! A fixture is the files of a directory and, behind them, what a start makes of it: `fixtures/README.md`
//! says how to add the next one. None is ever written again: what an old version wrote cannot change.

use crate::common::{IDENTITY, entry, freed, hard_state, tiny};
use base::{Entry, Index, LeaseId, LogPosition, MemberId, Membership, Mutants, SnapshotMeta, Term};
use quorate_storage::{
    Catalog, CheckpointWriter, FORMAT_VERSION, FileName, Log, MemDisk, Recovered, Step, dump,
    execute, recover,
};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use store::{Genesis, KeyRange, Member, RootId, Stamp, State, Store, Table};

/// Bytes of a line.
const ROW: usize = 32;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The fixture of the formats that this program writes.
fn present() -> PathBuf {
    let snapshot = store::stream::FORMAT_VERSION;
    folder().join(format!("storage-{FORMAT_VERSION}-snapshot-{snapshot}.txt"))
}

// ---- a directory as text --------------------------------------------------------------------------

/// `file NAME LENGTH`, then the rows that are not all zero: `offset bytes`.
fn print(disk: &MemDisk) -> String {
    let mut out = String::new();
    for (file, bytes) in disk.files() {
        writeln!(out, "file {file} {}", bytes.len()).unwrap();
        for (n, row) in bytes.chunks(ROW).enumerate() {
            if row.iter().any(|byte| *byte != 0) {
                let hex: String = row.iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(out, "{} {hex}", n * ROW).unwrap();
            }
        }
    }
    out
}

fn parse(text: &str) -> MemDisk {
    let mut disk = MemDisk::new();
    let mut file = None;
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["file", name, length] => {
                let name = FileName::parse(name).unwrap();
                let bytes = vec![0; length.parse().unwrap()];
                disk.files_mut().insert(name.clone(), bytes);
                file = Some(name);
            }
            [offset, hex] => {
                let offset: usize = offset.parse().unwrap();
                let bytes = disk.files_mut().get_mut(file.as_ref().unwrap()).unwrap();
                for (n, at) in (0..hex.len()).step_by(2).enumerate() {
                    bytes[offset + n] = u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
                }
            }
            _ => panic!("no line of a fixture: {line}"),
        }
    }
    disk
}

/// What a start makes of a directory: everything that a member goes on from.
fn told(found: &Recovered<State>) -> String {
    let mut out = String::new();
    let state = found.hard_state;
    writeln!(out, "health {:?}", found.health).unwrap();
    writeln!(
        out,
        "term {} vote {} commit {} end {}",
        state.term,
        state.vote,
        state.commit,
        found.log.end()
    )
    .unwrap();
    if let Some((meta, state)) = &found.checkpoint {
        writeln!(
            out,
            "state at {} digest {:016x}",
            meta.position,
            state.digest()
        )
        .unwrap();
        writeln!(out, "membership {:?}", meta.membership).unwrap();
        for root in state.roots() {
            let view = state.root(root);
            writeln!(
                out,
                "root {} hash {:?} compacted {}",
                root.0,
                view.hash(state.revision()).ok(),
                view.compacted()
            )
            .unwrap();
            for record in view.range(&KeyRange::all(), None).unwrap() {
                writeln!(out, "  {record:?}").unwrap();
            }
        }
        for revision in 1..=state.revision().0 {
            // Formats before snapshot 2 had no times, and what they tell stays as it was.
            let time = state.time_of(base::Revision(revision));
            if let Some(time) = time.filter(|time| time.0 > 0) {
                writeln!(out, "revision {revision} at {time}").unwrap();
            }
        }
        for lease in state.leases() {
            writeln!(out, "lease {} of {} s", lease.id, lease.ttl_s).unwrap();
        }
        for member in state.members() {
            writeln!(out, "member {} {:?}", member.id, member.peer_urls).unwrap();
        }
    }
    for Entry {
        position,
        kind,
        data,
        context,
    } in &found.entries
    {
        let sum = crc32c::crc32c(data);
        writeln!(
            out,
            "entry {position} {kind:?} {} bytes {sum:08x} context {}",
            data.len(),
            context.len()
        )
        .unwrap();
    }
    out
}

fn start(disk: &mut MemDisk) -> Recovered<State> {
    recover(disk, &IDENTITY, &tiny(), Mutants::none()).unwrap()
}

// ---- the directory that the next fixture holds ------------------------------------------------------

/// Everything that the formats know: votes, several entries in a record, an overwritten tail, a record of
/// several frames, a restart, two checkpoints with a bit of every kind of data, a log begun anew, a
/// recycled segment.
fn directory() -> MemDisk {
    let mut disk = MemDisk::new();
    let found = start(&mut disk);
    let (mut log, mut catalog) = (found.log, found.catalog);
    for index in 1..=3 {
        append(
            &mut disk,
            &mut log,
            (1, 1, index - 1),
            &[entry(index, 1, 40)],
        );
    }
    append(&mut disk, &mut log, (2, 2, 3), &[]);
    append(
        &mut disk,
        &mut log,
        (2, 2, 3),
        &[entry(4, 2, 10), entry(5, 2, 700), entry(6, 2, 0)],
    );
    checkpoint(&mut disk, &mut catalog, 3, 1);
    append(&mut disk, &mut log, (3, 1, 5), &[entry(6, 3, 100)]);
    append(&mut disk, &mut log, (3, 1, 6), &[entry(7, 3, 4500)]);
    checkpoint(&mut disk, &mut catalog, 6, 3);
    execute(&mut disk, &freed(&mut log, catalog.log_floor())).unwrap();
    if let Some(ops) = log.prepare() {
        execute(&mut disk, &ops).unwrap();
        log.prepared(true);
    }
    // A received state, then a restart.
    checkpoint(&mut disk, &mut catalog, 20, 4);
    let ops = log.install(&meta(20, 4));
    execute(&mut disk, &ops).unwrap();
    let mut log = start(&mut disk).log;
    for index in 21..=24 {
        append(
            &mut disk,
            &mut log,
            (4, 3, index - 1),
            &[entry(index, 4, 60)],
        );
    }
    execute(&mut disk, &log.seal().unwrap_or_default()).unwrap();
    disk
}

fn append(disk: &mut MemDisk, log: &mut Log, state: (u64, u64, u64), entries: &[Entry]) {
    let state = hard_state(state.0, state.1, state.2);
    execute(disk, &log.append(Some(state), entries)).unwrap();
}

fn meta(index: u64, term: u64) -> SnapshotMeta {
    SnapshotMeta {
        position: LogPosition {
            term: Term(term),
            index: Index(index),
        },
        membership: Membership {
            learners: vec![MemberId(9)],
            ..Membership::of_voters(vec![IDENTITY.member, MemberId(2), MemberId(3)])
        },
    }
}

fn checkpoint(disk: &mut MemDisk, catalog: &mut Catalog, index: u64, term: u64) {
    let meta = meta(index, term);
    let state = state(&meta);
    let mut writer = CheckpointWriter::new(&IDENTITY, catalog, &meta, state);
    loop {
        match writer.step(300) {
            Step::More(ops) => execute(disk, &ops).unwrap(),
            Step::Done { ops, catalog: now } => {
                execute(disk, &ops).unwrap();
                *catalog = now;
                return;
            }
        }
    }
}

/// Keys in two roots, leases, unversioned records, members, compacted history, a tombstone, and times.
fn state(meta: &SnapshotMeta) -> State {
    let mut store = Store::new(Genesis {
        membership: meta.membership.clone(),
        members: vec![Member {
            id: IDENTITY.member,
            name: "n1".into(),
            peer_urls: vec!["http://10.0.0.1:2380".into()],
            ..Member::default()
        }],
    });
    let stamp_of = |n: u64| Stamp {
        time: Stamp::default().time.next(1_700_000_000_000 + n),
        ..Stamp::default()
    };
    let mut txn = store.begin(RootId(0), &stamp_of(0));
    txn.lease_grant(LeaseId(0x77), 30);
    txn.put(b"a", b"1", LeaseId(0x77));
    txn.put(b"b", b"", LeaseId::NONE);
    txn.put(b"gone", b"x", LeaseId::NONE);
    txn.finish();
    for n in 0..meta.position.index.0 {
        let mut txn = store.begin(RootId(0), &stamp_of(n / 2));
        txn.put(b"b", format!("value {n}").as_bytes(), LeaseId::NONE);
        txn.finish();
    }
    let stamp = stamp_of(meta.position.index.0);
    let mut txn = store.begin(RootId(0), &stamp);
    txn.delete(&KeyRange::single("gone"));
    txn.compact(base::Revision(3));
    txn.record_put(Table(40), b"key", "value".into());
    txn.finish();
    let mut txn = store.begin(RootId(1), &stamp);
    txn.put(b"znode", b"data", LeaseId(0x77));
    txn.finish();
    store.set_applied(meta.position);
    store.publish()
}

// ---- the claims -------------------------------------------------------------------------------------

const FOUND: &str = "found\n";

#[test]
fn every_directory_that_was_ever_written_is_opened_and_holds_what_it_held() {
    let mut n_fixtures = 0;
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "txt"))
        .collect();
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let (files, wanted) = text.split_once(FOUND).unwrap();
        let mut disk = parse(files);
        dump(&disk);
        let found = start(&mut disk);
        assert_eq!(told(&found), wanted, "{}", path.display());
        // It can be gone on from, and is found again.
        let (mut log, end) = (found.log, found.hard_state);
        let next = entry(log.end().index.0 + 1, end.term.0, 50);
        execute(&mut disk, &log.append(None, std::slice::from_ref(&next))).unwrap();
        let again = start(&mut disk);
        assert_eq!(again.entries.last(), Some(&next), "{}", path.display());
        n_fixtures += 1;
    }
    assert!(n_fixtures > 0);
}

/// With `UPDATE=1` the fixture of the present formats is written, if there is none.
#[test]
fn the_present_formats_have_a_fixture() {
    testkit::keep(present(), || {
        let disk = directory();
        format!("{}{FOUND}{}", print(&disk), told(&start(&mut disk.clone())))
    });
}

#[test]
fn a_directory_survives_being_printed() {
    let disk = directory();
    assert!(parse(&print(&disk)) == disk);
    let found = start(&mut disk.clone());
    assert_eq!(found.health, quorate_storage::Health::Intact);
    assert!(found.checkpoint.is_some() && found.entries.len() == 4);
}
