//! Every byte of a small log flipped, cut and zeroed; segments lost, swapped and taken back in time.
//!
//! The claim is always the same: recovery gives everything that was durable, or it says `Damaged` with
//! a watermark at which nothing is missing any more, and gives a prefix. Never a wrong entry, never a
//! panic.

use crate::common::{
    IDENTITY, Model, Plain, checkpoint, entry, hard_state, open, position, run, tiny,
};
use base::{Entry, HardState, LogPosition, Rng};
use quorate_storage::{
    Catalog, Disk, DiskError, DiskFault, FileName, Health, Log, MemDisk, Op, RecoverError,
    Recovered, UNKNOWN, execute,
};

struct Member {
    disk: MemDisk,
    log: Log,
    catalog: Catalog,
    model: Model,
    /// The entries after each append: what an intact beginning of the log may be.
    past: Vec<Vec<Entry>>,
}

impl Member {
    fn new() -> Member {
        let mut disk = MemDisk::new();
        let found = open(&mut disk).unwrap();
        Member {
            disk,
            log: found.log,
            catalog: found.catalog,
            model: Model::default(),
            past: vec![vec![]],
        }
    }

    fn append(&mut self, state: HardState, entries: &[Entry]) {
        execute(&mut self.disk, &self.log.append(Some(state), entries)).unwrap();
        self.model.append(Some(state), entries);
        self.past.push(self.model.entries.clone());
    }

    fn seal(&mut self) {
        execute(&mut self.disk, &self.log.seal().unwrap_or_default()).unwrap();
    }

    fn checkpoint(&mut self, at: LogPosition) {
        let (ops, catalog) = checkpoint(&self.catalog, at);
        execute(&mut self.disk, &ops).unwrap();
        self.catalog = catalog;
        self.model.checkpoint = at;
    }
}

/// Two full segments and a third, votes in between, an overwritten tail, unsealed.
fn member() -> Member {
    let mut member = Member::new();
    for index in 1..=9 {
        // Nothing is committed that is overwritten below.
        let state = hard_state(1, 1, (index - 1).min(7));
        member.append(state, &[entry(index, 1, 200 * index as usize)]);
        if index == 4 {
            member.append(hard_state(1, 2, index), &[]);
        }
    }
    member.append(
        hard_state(2, 3, 7),
        &[entry(8, 2, 100), entry(9, 2, 700), entry(10, 2, 30)],
    );
    member.append(hard_state(3, 1, 9), &[]);
    member.append(hard_state(3, 1, 10), &[entry(11, 3, 5000)]);
    member
}

fn name(text: &str) -> FileName {
    FileName::parse(text).unwrap()
}

/// What came out of one damage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Intact,
    Damaged,
    Unknown,
    Refused,
}

/// Recovers a damaged disk and holds the result against the truth.
fn judge(disk: MemDisk, member: &Member, story: &dyn Fn() -> String) -> Verdict {
    judge_to(Depth::Repaired, disk, member, story)
}

/// How far a judgement goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Once,
    /// Also the second start, and the repair by the others.
    Repaired,
}

fn judge_to(
    depth: Depth,
    mut disk: MemDisk,
    member: &Member,
    story: &dyn Fn() -> String,
) -> Verdict {
    let truth = &member.model;
    let found = match open(&mut disk) {
        Ok(found) => found,
        Err(RecoverError::Disk(error)) => panic!("{}: {}", story(), base::Chain(&error)),
        Err(_) => return Verdict::Refused,
    };
    match found.health.clone() {
        Health::Intact => {
            truth.assert_is(&found, story);
            if depth == Depth::Repaired {
                let again = open(&mut disk).unwrap();
                truth.assert_is(&again, story);
                assert_eq!(again.doubt, None, "{}", story());
                assert_in_place(&disk, again.log, story);
            }
            Verdict::Intact
        }
        Health::Damaged {
            watermark,
            intact,
            report,
        } => {
            // A log that was overwritten later begins with what was overwritten; nothing of that may
            // count as committed.
            let floor = truth.checkpoint.index;
            let known = member.past.iter().any(|past| {
                let after = past.iter().filter(|entry| entry.position.index > floor);
                after.eq(&found.entries)
            });
            assert!(known, "{}: entries that never were: {report}", story());
            for (have, wanted) in found.entries.iter().zip(&truth.after_checkpoint().1) {
                let committed = have.position.index <= found.hard_state.commit;
                assert!(
                    !committed || have == wanted,
                    "{}: {:?}",
                    story(),
                    have.position
                );
            }
            assert_eq!(found.log.end(), intact, "{}", story());
            assert!(
                found.log.is_recovering() && report.contains("durable"),
                "{}",
                story()
            );
            assert!(
                watermark == truth.end() || watermark == UNKNOWN,
                "{}: {report}: {watermark} is not {}",
                story(),
                truth.end()
            );
            if watermark != UNKNOWN {
                assert_eq!(found.hard_state.vote, truth.hard_state.vote, "{}", story());
                assert_eq!(found.hard_state.term, truth.hard_state.term, "{}", story());
            }
            if depth == Depth::Repaired {
                repair(disk, found, truth, watermark, story);
            }
            if watermark == UNKNOWN {
                Verdict::Unknown
            } else {
                Verdict::Damaged
            }
        }
    }
}

/// The next append neither grows a file nor leaves one with a hole: a cut segment is not used again.
fn assert_in_place(disk: &MemDisk, mut log: Log, story: &dyn Fn() -> String) {
    let next = entry(log.end().index.0 + 1, 9, 10);
    let ops = log.append(None, &[next]);
    let mut created = false;
    for op in ops {
        created |= matches!(op, Op::Create { .. });
        if let Op::Write { file, offset, data } = op
            && !created
        {
            let length = disk.len(&file).unwrap();
            assert!(
                offset + data.len() as u64 <= length,
                "{}: {file} grows",
                story()
            );
        }
    }
}

/// A damaged member starts once more, is sent what it lacks, piece by piece with restarts in between,
/// and is whole.
fn repair(
    mut disk: MemDisk,
    first: Recovered<Plain>,
    truth: &Model,
    watermark: LogPosition,
    story: &dyn Fn() -> String,
) {
    let again = open(&mut disk).unwrap();
    assert!(again.entries == first.entries, "{}", story());
    assert!(
        matches!(&again.health, Health::Damaged { watermark: w, .. } if *w == watermark),
        "{}: {:?}",
        story(),
        again.health
    );
    let mut log = again.log;
    let mut have = again.entries;
    if watermark == UNKNOWN {
        log.settle(truth.end());
    }
    // The leader finds where the logs part.
    let all = truth.after_checkpoint().1;
    let same = have.iter().zip(&all).take_while(|(a, b)| a == b).count();
    have.truncate(same);
    let missing = &all[same..];
    for entry in missing {
        let ops = log.append(Some(truth.hard_state), std::slice::from_ref(entry));
        run(&mut disk, &ops).unwrap();
        have.push(entry.clone());
        assert_eq!(log.is_recovering(), log.end() != truth.end(), "{}", story());
        let found = open(&mut disk).unwrap();
        assert!(found.entries == have, "{}", story());
        let damaged =
            matches!(&found.health, Health::Damaged { watermark: w, .. } if *w == truth.end());
        assert_eq!(
            damaged,
            log.is_recovering(),
            "{}: {:?}",
            story(),
            found.health
        );
        log = found.log;
    }
    if missing.is_empty() {
        // Nothing but a vote is missing, or nobody knows what: the leader's next entry settles it.
        return;
    }
    truth.assert_is(&open(&mut disk).unwrap(), story);
}

fn tally(verdicts: &[Verdict]) -> [usize; 4] {
    [
        Verdict::Intact,
        Verdict::Damaged,
        Verdict::Unknown,
        Verdict::Refused,
    ]
    .map(|kind| verdicts.iter().filter(|verdict| **verdict == kind).count())
}

#[test]
fn every_byte_flipped_is_repaired_or_reported() {
    let member = member();
    let mut verdicts = Vec::new();
    let mut bytes = 0;
    for (file, contents) in member.disk.files() {
        for at in 0..contents.len() {
            bytes += 1;
            for pattern in [1u8 << (at % 8), 0xff] {
                // Twice as much would find nothing new in zeros.
                if pattern == 0xff && at % 16 != 0 {
                    continue;
                }
                let mut disk = member.disk.clone();
                disk.files_mut().get_mut(file).unwrap()[at] ^= pattern;
                let story = || format!("{file}, byte {at} ^ {pattern:#x}");
                let depth = if at % 32 == 0 {
                    Depth::Repaired
                } else {
                    Depth::Once
                };
                verdicts.push(judge_to(depth, disk, &member, &story));
            }
        }
    }
    let [intact, damaged, unknown, refused] = tally(&verdicts);
    assert!(bytes >= 64 * 1024, "{bytes}");
    assert_eq!(
        (unknown, refused),
        (0, 0),
        "one flipped bit is never more than can be told"
    );
    assert!(intact > 40_000 && damaged > 20_000, "{intact} {damaged}");
}

#[test]
fn a_log_cut_at_any_byte_is_whole_or_reported() {
    let member = member();
    let mut verdicts = Vec::new();
    for (file, contents) in member.disk.files() {
        for length in 0..contents.len() {
            let mut disk = member.disk.clone();
            disk.files_mut().get_mut(file).unwrap().truncate(length);
            let story = || format!("{file} cut at {length} of {}", contents.len());
            verdicts.push(judge(disk, &member, &story));
        }
        let mut disk = member.disk.clone();
        disk.files_mut().remove(file);
        verdicts.push(judge(disk, &member, &|| format!("{file} is gone")));
    }
    let [intact, damaged, unknown, _] = tally(&verdicts);
    assert!(
        intact > 1000 && damaged > 1000 && unknown > 100,
        "{intact} {damaged} {unknown}"
    );
}

#[test]
fn a_block_that_is_zeroed_or_filled_with_garbage_is_repaired_or_reported() {
    let mut member = member();
    member.seal();
    let mut verdicts = Vec::new();
    for (file, contents) in member.disk.files() {
        for (size, at) in [512, 4096]
            .into_iter()
            .flat_map(|size| (0..contents.len()).step_by(size).map(move |at| (size, at)))
        {
            for fill in [0u8, 0xa5] {
                let mut disk = member.disk.clone();
                disk.files_mut().get_mut(file).unwrap()[at..at + size].fill(fill);
                let story = || format!("{file}, {size} bytes at {at} are {fill:#x}");
                verdicts.push(judge(disk, &member, &story));
            }
        }
    }
    let [intact, damaged, unknown, refused] = tally(&verdicts);
    assert!(intact > 200 && damaged > 50, "{intact} {damaged}");
    assert_eq!(
        (unknown, refused),
        (0, 0),
        "everything else names its watermark"
    );
}

#[test]
fn a_zeroed_tail_of_any_length_is_reported_once_the_log_was_sealed() {
    let mut member = member();
    member.seal();
    let file = name("wal-3.log");
    let contents = &member.disk.files()[&file];
    let in_use = contents.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for from in (0..in_use).step_by(97) {
        for fill in [0, 0x5a] {
            let mut disk = member.disk.clone();
            disk.files_mut().get_mut(&file).unwrap()[from..].fill(fill);
            let verdict = judge(disk, &member, &|| format!("{fill:#x} from {from}"));
            // Only the end of the last frame's unused part may go unnoticed.
            assert_ne!(verdict, Verdict::Intact, "from {from}");
        }
    }
}

#[test]
fn a_last_record_lost_as_a_whole_is_told_from_a_clean_tail_by_its_slot() {
    let member = member();
    let file = name("wal-3.log");
    let contents = &member.disk.files()[&file];
    let last = contents.iter().rposition(|byte| *byte != 0).unwrap() / 4096 * 4096;
    // The two frames of the last record return to what they were: a lost write, or one never made.
    let mut disk = member.disk.clone();
    disk.files_mut().get_mut(&file).unwrap()[last - 4096..last + 4096].fill(0);
    let found = open(&mut disk.clone()).unwrap();
    assert_eq!(found.health, Health::Intact);
    assert_eq!(found.doubt, Some(position(11, 3)), "the caller is told");
    // A bit of it that is wrong is no crash's doing.
    disk.files_mut().get_mut(&file).unwrap()[last + 77] = 1;
    let found = open(&mut disk).unwrap();
    let Health::Damaged {
        watermark, intact, ..
    } = found.health
    else {
        panic!()
    };
    assert_eq!((watermark, intact), (position(11, 3), position(10, 2)));
}

#[test]
fn a_record_and_its_slot_both_damaged_leave_the_extent_of_the_loss_unknown() {
    let member = member();
    // The last of wal-3's two records: slot 1, frames 4 and 5.
    let mut disk = member.disk.clone();
    for at in [2 * 4096 + 128 + 50, 4 * 4096 + 1000] {
        disk.files_mut().get_mut(&name("wal-3.log")).unwrap()[at] ^= 4;
    }
    let verdict = judge(disk, &member, &|| "both".into());
    assert_eq!(verdict, Verdict::Unknown);
}

#[test]
fn segments_that_are_lost_swapped_or_from_the_past_are_reported() {
    let mut member = Member::new();
    let mut past = Vec::new();
    for index in 1..=14 {
        past.push(member.disk.clone());
        member.append(hard_state(1, 1, index - 1), &[entry(index, 1, 3000)]);
    }
    member.seal();
    let wal: Vec<FileName> = member
        .disk
        .files()
        .keys()
        .filter(|file| file.as_str().starts_with("wal"))
        .cloned()
        .collect();
    for (moment, then) in past.iter().enumerate() {
        for file in &wal {
            let Some(old) = then.files().get(file) else {
                continue;
            };
            if *old == member.disk.files()[file] {
                continue;
            }
            let mut disk = member.disk.clone();
            disk.files_mut().insert(file.clone(), old.clone());
            let story = || format!("{file} as it was before entry {}", moment + 1);
            // Of the last segment nobody but the sealed watermark knows, and that may be outdated.
            let last = file == wal.last().unwrap();
            let expected = if last {
                Verdict::Unknown
            } else {
                Verdict::Damaged
            };
            assert_eq!(judge(disk, &member, &story), expected, "{}", story());
        }
    }
    for one in &wal[..2] {
        for other in &wal[..3] {
            let mut disk = member.disk.clone();
            let (a, b) = (disk.files()[one].clone(), disk.files()[other].clone());
            disk.files_mut().insert(one.clone(), b);
            disk.files_mut().insert(other.clone(), a);
            let verdict = judge(disk, &member, &|| format!("{one} and {other} are swapped"));
            assert_eq!(verdict == Verdict::Intact, one == other);
        }
    }
    for file in &wal[..3] {
        let mut disk = member.disk.clone();
        disk.files_mut().remove(file);
        let verdict = judge(disk, &member, &|| format!("{file} is gone"));
        assert_ne!(verdict, Verdict::Intact);
    }
}

#[test]
fn a_misdirected_or_a_lost_write_is_reported() {
    let mut member = Member::new();
    let mut rng = Rng::new(5);
    let mut lost = Vec::new();
    for index in 1..=12 {
        let state = hard_state(1, 1, index - 1);
        let entries = [entry(index, 1, 1000)];
        let ops = member.log.append(Some(state), &entries);
        for (i, op) in ops.iter().enumerate() {
            if let Op::Write { file, offset, data } = op {
                lost.push((index, i, file.clone(), *offset, data.clone()));
            }
        }
        execute(&mut member.disk, &ops).unwrap();
        member.model.append(Some(state), &entries);
        member.past.push(member.model.entries.clone());
    }
    member.seal();
    for (_, _, file, offset, data) in &lost {
        // Every write lands once more somewhere else.
        if !file.as_str().starts_with("wal") {
            continue;
        }
        for _ in 0..8 {
            let mut disk = member.disk.clone();
            let frames = member.disk.files()[file].len() as u64 / 4096;
            let to = rng.below(frames) * 4096;
            if to == *offset || to + data.len() as u64 > frames * 4096 {
                continue;
            }
            disk.write_at(file, to, data).unwrap();
            judge(disk, &member, &|| {
                format!("{file}: {offset} was written to {to} too")
            });
        }
    }
}

#[test]
fn damage_before_the_checkpoint_is_of_no_consequence() {
    let mut member = member();
    member.checkpoint(position(9, 2));
    member.append(hard_state(3, 1, 11), &[entry(12, 3, 10)]);
    for at in (0..8 * 4096).step_by(111) {
        let mut disk = member.disk.clone();
        for byte in disk
            .files_mut()
            .get_mut(&name("wal-1.log"))
            .unwrap()
            .iter_mut()
            .skip(at)
            .take(300)
        {
            *byte ^= 0x11;
        }
        let verdict = judge(disk, &member, &|| format!("wal-1 damaged at {at}"));
        assert_eq!(verdict, Verdict::Intact, "{at}");
    }
}

#[test]
fn a_segment_that_the_checkpoint_covers_may_be_lost_altogether() {
    let mut member = Member::new();
    for index in 1..=14 {
        member.append(hard_state(1, 1, index), &[entry(index, 1, 3000)]);
    }
    let wal: Vec<FileName> = member.disk.files().keys().cloned().collect();
    let wal: Vec<FileName> = wal
        .into_iter()
        .filter(|f| f.as_str().starts_with("wal"))
        .collect();
    assert_eq!(wal.len(), 3);
    member.seal();
    // Entries 11 to 14 stand in the third segment.
    for (floor, covered) in [(5, 1), (9, 1), (10, 2), (12, 2)] {
        member.checkpoint(position(floor, 1));
        for (i, file) in wal.iter().enumerate() {
            for what in ["gone", "zeros", "garbage"] {
                let mut disk = member.disk.clone();
                match what {
                    "gone" => drop(disk.files_mut().remove(file)),
                    "zeros" => disk.files_mut().get_mut(file).unwrap().fill(0),
                    _ => disk.files_mut().get_mut(file).unwrap().fill(0x3c),
                }
                let story = || format!("{file} is {what}, the checkpoint is at {floor}");
                let verdict = judge(disk, &member, &story);
                assert_eq!(verdict == Verdict::Intact, i < covered, "{}", story());
                // Without the last table of slots nobody knows how much there was.
                assert_eq!(verdict == Verdict::Unknown, i == 2, "{}", story());
            }
        }
    }
}

#[test]
fn a_record_of_another_history_does_not_follow() {
    // A member's disk is copied, and the copies live apart: their records have equal places, serials
    // and lengths.
    let mut one = Member::new();
    for index in 1..=3 {
        one.append(hard_state(1, 1, 0), &[entry(index, 1, 50)]);
    }
    let mut other = Member {
        disk: one.disk.clone(),
        log: one.log.clone(),
        catalog: one.catalog.clone(),
        model: one.model.clone(),
        past: one.past.clone(),
    };
    for index in 4..=5 {
        one.append(hard_state(2, 1, 0), &[entry(index, 2, 50)]);
        other.append(hard_state(2, 1, 0), &[entry(index, 2, 51)]);
    }
    let file = name("wal-1.log");
    for record in [3, 4] {
        let place = (3 + record) * 4096..(4 + record) * 4096;
        let mut disk = one.disk.clone();
        let foreign = &other.disk.files()[&file][place.clone()];
        disk.files_mut().get_mut(&file).unwrap()[place].copy_from_slice(foreign);
        let verdict = judge(disk.clone(), &one, &|| {
            format!("record {record} is foreign")
        });
        assert_eq!(verdict, Verdict::Damaged);
        // Nor does it with its slot beside it, unless all that follows is replaced too.
        let slot = 2 * 4096 + record * 128..2 * 4096 + (record + 1) * 128;
        let foreign = &other.disk.files()[&file][slot.clone()];
        disk.files_mut().get_mut(&file).unwrap()[slot].copy_from_slice(foreign);
        let found = open(&mut disk).unwrap();
        match record {
            3 => assert!(matches!(found.health, Health::Damaged { .. })),
            _ => assert!(!one.past.contains(&found.entries) || found.health != Health::Intact),
        }
    }
}

/// A disk with frames that cannot be read.
struct BadSector {
    disk: MemDisk,
    file: FileName,
    frame: u64,
}

impl Disk for BadSector {
    fn list(&self) -> Result<Vec<FileName>, DiskError> {
        self.disk.list()
    }
    fn len(&self, file: &FileName) -> Result<u64, DiskError> {
        self.disk.len(file)
    }
    fn read_at(&self, file: &FileName, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let bad = self.frame * 4096..(self.frame + 1) * 4096;
        if *file == self.file && offset < bad.end && offset + buffer.len() as u64 > bad.start {
            return Err(DiskError::new("read", file, DiskFault::Unreadable));
        }
        self.disk.read_at(file, offset, buffer)
    }
    fn write_at(&mut self, file: &FileName, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.disk.write_at(file, offset, data)
    }
    fn create(&mut self, file: &FileName, length: u64) -> Result<(), DiskError> {
        self.disk.create(file, length)
    }
    fn sync(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.disk.sync(file)
    }
    fn sync_dir(&mut self) -> Result<(), DiskError> {
        self.disk.sync_dir()
    }
    fn rename(&mut self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        self.disk.rename(from, to)
    }
    fn remove(&mut self, file: &FileName) -> Result<(), DiskError> {
        self.disk.remove(file)
    }
    fn space_left(&self) -> Result<u64, DiskError> {
        self.disk.space_left()
    }
}

#[test]
fn a_bad_sector_costs_what_stood_in_it_and_no_more() {
    let member = member();
    let mut damaged = 0;
    for (file, contents) in member.disk.files() {
        for frame in 0..contents.len() as u64 / 4096 {
            let mut disk = BadSector {
                disk: member.disk.clone(),
                file: file.clone(),
                frame,
            };
            let found = match open(&mut disk) {
                Ok(found) => found,
                Err(error) => {
                    assert_eq!(file.as_str(), "identity", "{}", base::Chain(&error));
                    continue;
                }
            };
            let all = &member.model.entries;
            assert!(member.past.contains(&found.entries), "{file} {frame}");
            match found.health {
                Health::Intact => assert!(found.entries == *all, "{file} {frame}"),
                Health::Damaged { watermark, .. } => {
                    damaged += 1;
                    assert_eq!(watermark, member.model.end(), "{file} {frame}");
                }
            }
        }
    }
    assert!(damaged > 5, "{damaged}");
    assert_eq!((IDENTITY.member.0, tiny().spares), (0xa1, 2));
}

#[test]
fn an_emptied_segment_is_missed_as_soon_as_it_has_two_records() {
    let mut member = Member::new();
    for index in 1..=7 {
        member.append(hard_state(1, 1, 0), &[entry(index, 1, 3000)]);
    }
    // Entries 6 and 7 stand in the second segment, and nothing was sealed since.
    let mut disk = member.disk.clone();
    disk.files_mut()
        .get_mut(&name("wal-2.log"))
        .unwrap()
        .fill(0);
    let verdict = judge(disk, &member, &|| "emptied".into());
    assert_eq!(verdict, Verdict::Unknown);
}
