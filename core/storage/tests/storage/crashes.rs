//! Power cuts at every operation, with every way of losing what was not synced, and power cuts in the
//! recovery from them.

use crate::common::crash::{CrashDisk, Cut};
use crate::common::{
    Model, Plain, checkpoint, entry, freed, hard_state, meta, open, open_with, position, tiny,
};
use base::{Entry, HardState, LogPosition, Mutants, Rng};
use quorate_storage::{
    Catalog, Disk as _, FileName, Health, Log, Op, RecoverError, Recovered, execute,
};

/// One thing that a member does with its disk.
#[derive(Clone, Debug)]
enum Deed {
    Append(Option<HardState>, Vec<Entry>),
    Checkpoint(LogPosition),
    Forget,
    Install(LogPosition),
    Truncate,
    Prepare,
    Seal,
    Restart,
}

/// A member that can be cut off anywhere.
#[derive(Clone)]
struct Member {
    disk: CrashDisk,
    log: Log,
    catalog: Catalog,
    model: Model,
}

impl Member {
    fn new() -> Member {
        let mut disk = CrashDisk::default();
        let found = open(&mut disk).unwrap();
        Member {
            disk,
            log: found.log,
            catalog: found.catalog,
            model: Model::default(),
        }
    }

    /// The operations of a deed, and the states that may be found when it is cut off: the one before,
    /// those between, the one after.
    fn plan(&mut self, deed: &Deed) -> (Vec<Op>, Vec<Model>) {
        let before = self.model.clone();
        match deed {
            Deed::Append(state, entries) => {
                let ops = self.log.append(*state, entries);
                let states = before.states(*state, entries);
                self.model.append(*state, entries);
                (ops, states)
            }
            Deed::Checkpoint(at) => {
                let (ops, catalog) = checkpoint(&self.catalog, *at);
                self.catalog = catalog;
                self.model.checkpoint = *at;
                (ops, vec![before, self.model.clone()])
            }
            Deed::Forget => (self.catalog.forget_older(), vec![before]),
            Deed::Install(at) => {
                let ops = self.log.install(&meta(*at));
                self.model.install(*at);
                (ops, vec![before, self.model.clone()])
            }
            Deed::Truncate => (freed(&mut self.log, self.catalog.log_floor()), vec![before]),
            Deed::Prepare => {
                let ops = self.log.prepare().unwrap_or_default();
                self.log.prepared(true);
                (ops, vec![before])
            }
            Deed::Seal => (self.log.seal().unwrap_or_default(), vec![before]),
            Deed::Restart => (Vec::new(), vec![before]),
        }
    }

    fn restart(&mut self) {
        let found = open(&mut self.disk).unwrap();
        self.model.hard_state = found.hard_state;
        self.log = found.log;
        self.catalog = found.catalog;
    }
}

/// Panics unless `found` is one of the states, with the hard state of one of them.
fn assert_one_of(states: &[Model], found: &Recovered<Plain>, story: &dyn Fn() -> String) {
    assert_eq!(
        found.health,
        Health::Intact,
        "{} {:?}",
        story(),
        found.notes
    );
    for model in states {
        for other in states {
            let mut model = model.clone();
            // Term and vote of a torn record may be taken from its slot, though its entries are lost.
            model.hard_state.term = other.hard_state.term;
            model.hard_state.vote = other.hard_state.vote;
            let mut wanted = model.hard_state;
            let (end, _) = model.after_checkpoint();
            wanted.commit = wanted.commit.max(model.checkpoint.index).min(end.index);
            if wanted.term < end.term {
                wanted = HardState {
                    term: end.term,
                    vote: base::MemberId::NONE,
                    ..wanted
                };
            }
            let at = found
                .checkpoint
                .as_ref()
                .map_or(LogPosition::default(), |c| c.0.position);
            if model.matches(found) && at == model.checkpoint && wanted == found.hard_state {
                return model.assert_is(found, story);
            }
        }
    }
    // None fits: fail with the difference to the first one.
    states[0].assert_is(found, story);
    panic!("{}: a mixture of states", story());
}

/// Runs the deeds; before each operation and after the last one the power is cut in every way.
fn tell(deeds: &[Deed], mutants: Mutants, depth: u32) -> u64 {
    let mut member = Member::new();
    let mut looked = 0;
    for (number, deed) in deeds.iter().enumerate() {
        if let Deed::Restart = deed {
            member.restart();
            continue;
        }
        let (ops, states) = member.plan(deed);
        for done in 0..=ops.len() {
            let complete = done == ops.len();
            let states = match complete {
                true => &states[states.len() - 1..],
                false => &states[..],
            };
            for cut in member.disk.cuts(done as u64) {
                let story = || {
                    format!(
                        "deed {number} {deed:?}, {done} of {} done, {cut:?}",
                        ops.len()
                    )
                };
                let mut disk = member.disk.cut(&cut);
                looked += 1;
                if depth > 0 {
                    crash_in_recovery(&disk, states, mutants, depth, looked, &story);
                }
                let found = open_with(&mut disk, mutants).unwrap_or_else(|e| {
                    panic!("{}: {}", story(), base::Chain(&e));
                });
                assert_one_of(states, &found, &story);
                continue_after(disk, found, &story);
            }
            if let Some(op) = ops.get(done) {
                execute(&mut member.disk, std::slice::from_ref(op)).unwrap();
            }
        }
    }
    looked
}

/// Cuts the recovery off at some of its operations, and the recovery from that, `depth` times.
fn crash_in_recovery(
    disk: &CrashDisk,
    states: &[Model],
    mutants: Mutants,
    depth: u32,
    seed: u64,
    story: &dyn Fn() -> String,
) {
    let mut probe = disk.clone();
    probe.spent = 0;
    open_with(&mut probe, mutants).unwrap();
    let operations = probe.spent;
    let mut rng = Rng::new(seed);
    for fuel in 0..operations {
        let mut disk = disk.clone();
        disk.fuel = fuel;
        let mut path = vec![fuel];
        for _ in 0..depth {
            match open_with(&mut disk, mutants) {
                Err(RecoverError::Disk(_)) => {}
                Err(error) => panic!("{}: {}", story(), base::Chain(&error)),
                // A second recovery has less to do than the first.
                Ok(_) => break,
            }
            disk = disk.cut(&Cut::Random(rng.next_u64()));
            disk.fuel = rng.below(fuel + 1);
            path.push(disk.fuel);
        }
        disk.fuel = u64::MAX;
        let found = open_with(&mut disk, mutants).unwrap();
        assert_one_of(states, &found, &|| {
            format!("{}, recovery cut at {path:?}", story())
        });
    }
}

/// The member goes on, is cut off once more with everything lost that can be, and has lost nothing.
fn continue_after(mut disk: CrashDisk, found: Recovered<Plain>, story: &dyn Fn() -> String) {
    let mut log = found.log;
    let end = log.end();
    let term = end.term.0 + 1;
    let added: Vec<Entry> = (1..3).map(|i| entry(end.index.0 + i, term, 700)).collect();
    let state = hard_state(term, 1, end.index.0);
    for entry in &added {
        execute(
            &mut disk,
            &log.append(Some(state), std::slice::from_ref(entry)),
        )
        .unwrap();
    }
    let again = open(&mut disk.cut(&Cut::Drop)).unwrap();
    assert_eq!(
        again.health,
        Health::Intact,
        "{} {:?}",
        story(),
        again.notes
    );
    assert_eq!(again.hard_state, state, "{}", story());
    let all: Vec<Entry> = found.entries.iter().chain(&added).cloned().collect();
    assert!(again.entries == all, "{}", story());
}

fn append(indices: std::ops::Range<u64>, term: u64, bytes: usize) -> Deed {
    // Some of what comes is committed already, as a follower that lags learns.
    let state = hard_state(term, term % 3, indices.end - 2);
    Deed::Append(
        Some(state),
        indices.map(|index| entry(index, term, bytes)).collect(),
    )
}

/// A life with everything in it.
fn life() -> Vec<Deed> {
    vec![
        append(1..2, 1, 20),
        append(2..5, 1, 400),
        Deed::Seal,
        append(5..6, 1, 3000),
        // A vote, and nothing else.
        Deed::Append(Some(hard_state(2, 2, 5)), vec![]),
        // A new leader overwrites.
        append(4..7, 2, 100),
        Deed::Restart,
        Deed::Checkpoint(position(4, 2)),
        append(7..8, 2, 9000),
        // The segment is full now: a roll.
        append(8..10, 2, 6000),
        Deed::Prepare,
        append(10..12, 2, 7000),
        Deed::Checkpoint(position(9, 2)),
        Deed::Truncate,
        append(12..14, 2, 9000),
        append(14..16, 2, 9000),
        Deed::Checkpoint(position(15, 2)),
        // The disk is nearly full: the older checkpoint goes, and the log before the newest.
        Deed::Forget,
        Deed::Forget,
        Deed::Truncate,
        Deed::Prepare,
        Deed::Prepare,
        append(16..18, 2, 10),
        // More than a segment holds: several records, or one long segment.
        append(18..26, 2, 5000),
        append(26..27, 2, 60_000),
        // A snapshot from a leader of term 5 that wrote another history.
        Deed::Checkpoint(position(20, 5)),
        Deed::Install(position(20, 5)),
        append(21..23, 5, 100),
        Deed::Truncate,
        Deed::Seal,
        // And one that is far ahead.
        Deed::Checkpoint(position(90, 6)),
        Deed::Forget,
        Deed::Install(position(90, 6)),
        Deed::Restart,
        append(91..92, 6, 100),
    ]
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_that_was_synced() {
    let looked = tell(&life(), Mutants::none(), 0);
    assert!(looked > 5000, "{looked}");
}

#[test]
fn a_power_cut_in_the_recovery_from_a_power_cut_loses_nothing_either() {
    for depth in 1..=3 {
        let deeds: Vec<Deed> = life();
        tell(&deeds[..9], Mutants::none(), depth);
    }
}

#[test]
fn a_power_cut_in_the_recovery_beside_a_long_segment_loses_nothing_either() {
    // A segment of unusual length was taken into use, and nothing of it is there: recovery removes it, and may be
    // cut off before or after.
    let deeds = [
        append(1..2, 1, 20),
        append(2..3, 1, 60_000),
        append(3..4, 1, 100),
        Deed::Checkpoint(position(20, 5)),
        Deed::Install(position(20, 5)),
        append(21..22, 5, 60_000),
        Deed::Truncate,
    ];
    for depth in 1..=2 {
        tell(&deeds, Mutants::none(), depth);
    }
}

#[test]
fn a_power_cut_in_the_first_start_leaves_a_first_start() {
    let mut probe = CrashDisk::default();
    open(&mut probe).unwrap();
    for fuel in 0..probe.spent {
        let mut disk = CrashDisk::default();
        disk.fuel = fuel;
        assert!(open(&mut disk).is_err());
        for cut in disk.cuts(fuel) {
            let mut disk = disk.cut(&cut);
            let found = open(&mut disk).unwrap();
            Model::default().assert_is(&found, &|| format!("{fuel} {cut:?}"));
            continue_after(disk, found, &|| format!("{fuel} {cut:?}"));
        }
    }
}

#[test]
fn random_lives_survive_random_power_cuts() {
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let mut disk = CrashDisk::default();
        let mut model = Model::default();
        let mut term = 1;
        for _ in 0..6 {
            let found = open(&mut disk).unwrap();
            model.hard_state = found.hard_state;
            let (mut log, mut states) = (found.log, vec![model.clone()]);
            for _ in 0..rng.below(12) {
                term += rng.below(2);
                let end = model.end().index.0;
                let first = if rng.one_in(5) {
                    rng.between(1, end + 1)
                } else {
                    end + 1
                };
                let n = rng.below(4);
                let entries: Vec<Entry> = (first..first + n)
                    .map(|i| entry(i, term, rng.below(2500) as usize))
                    .collect();
                let state = hard_state(term, rng.below(3), rng.below(first + n));
                let ops = log.append(Some(state), &entries);
                states = model.states(Some(state), &entries);
                let done = if rng.one_in(4) {
                    rng.below(ops.len() as u64) as usize
                } else {
                    ops.len()
                };
                execute(&mut disk, &ops[..done]).unwrap();
                if done < ops.len() {
                    break;
                }
                model.append(Some(state), &entries);
                states = vec![model.clone()];
            }
            let how = Cut::Random(rng.next_u64());
            disk = disk.cut(&how);
            let mut look = disk.clone();
            let found = open(&mut look).unwrap();
            assert_one_of(&states, &found, &|| format!("seed {seed}"));
            let end = found.log.end();
            model = states
                .into_iter()
                .find(|s| s.end() == end && s.matches(&found))
                .unwrap();
        }
    }
}

#[test]
fn what_a_dead_process_left_in_the_page_cache_is_durable_once_it_is_found() {
    let mut member = Member::new();
    for deed in life() {
        if let Deed::Restart = deed {
            member.restart();
            continue;
        }
        let (ops, states) = member.plan(&deed);
        for done in 0..=ops.len() {
            // The process dies, the machine goes on: nothing is lost, and nothing is durable that was not.
            let story = || format!("{deed:?}, {done} of {} done", ops.len());
            let mut disk = member.disk.clone();
            let found = open(&mut disk).unwrap();
            let last = &states[states.len() - 1..];
            assert_one_of(
                if done == ops.len() { last } else { &states },
                &found,
                &story,
            );
            let again = open(&mut disk.cut(&Cut::Drop)).unwrap();
            assert!(again.entries == found.entries, "{}", story());
            assert_eq!(again.hard_state, found.hard_state, "{}", story());
            // It also holds for names, on which the next records rest: the next segments are used.
            let mut log = found.log;
            let mut entries = found.entries;
            for _ in 0..3 {
                let next = entry(log.end().index.0 + 1, 9, 15_000);
                execute(&mut disk, &log.append(None, std::slice::from_ref(&next))).unwrap();
                entries.push(next);
                let again = open(&mut disk.cut(&Cut::Drop)).unwrap();
                let health = again.health;
                assert_eq!(health, Health::Intact, "{} {:?}", story(), again.notes);
                assert!(again.entries == entries, "{}", story());
            }
            if let Some(op) = ops.get(done) {
                execute(&mut member.disk, std::slice::from_ref(op)).unwrap();
            }
        }
    }
}

#[test]
fn a_spare_that_the_log_went_past_is_no_part_of_it_after_a_crash() {
    let mut disk = CrashDisk::default();
    let mut log = open(&mut disk).unwrap().log;
    execute(&mut disk, &log.append(None, &[entry(1, 1, 100)])).unwrap();
    // The process dies while it makes a spare and the log has had to go on without it.
    let spare = log.prepare().unwrap();
    execute(&mut disk, &spare[..1]).unwrap();
    for index in 2..=3 {
        // Longer than a spare: the first takes the name of the one that is ready, the second goes past.
        let ops = log.append(None, &[entry(index, 1, 60_000)]);
        execute(&mut disk, &ops).unwrap();
    }
    let mut found = open(&mut disk).unwrap();
    assert_eq!((found.health, found.entries.len()), (Health::Intact, 3));
    let names = disk.list().unwrap();
    let segments = |names: &[FileName]| {
        let wal = names
            .iter()
            .filter(|name| name.as_str().starts_with("wal-"));
        wal.cloned().collect::<Vec<_>>()
    };
    let files: Vec<FileName> = found.log.files().collect();
    let late: Vec<FileName> = segments(&names)
        .into_iter()
        .filter(|name| !files.contains(name))
        .collect();
    assert_eq!(late.len(), 1, "{files:?} of {names:?}");
    let ops = found.log.prepare().unwrap();
    execute(&mut disk, &ops).unwrap();
    assert!(
        !disk.list().unwrap().contains(&late[0]),
        "it is removed: {files:?} {names:?} {ops:?}"
    );
    assert_eq!(open(&mut disk.cut(&Cut::Drop)).unwrap().entries.len(), 3);
}

#[test]
fn a_flipped_bit_in_a_spare_does_not_hide_what_is_not_synced() {
    let mut disk = CrashDisk::default();
    let mut log = open(&mut disk).unwrap().log;
    execute(&mut disk, &log.append(None, &[entry(1, 1, 100)])).unwrap();
    let spare = log.prepare().unwrap();
    execute(&mut disk, &spare).unwrap();
    log.prepared(true);
    // The process dies between the write and the sync of a record …
    let ops = log.append(None, &[entry(2, 1, 100)]);
    let (sync, written) = ops.split_last().unwrap();
    assert!(matches!(sync, Op::Sync { .. }), "{sync:?}");
    execute(&mut disk, written).unwrap();
    // … and a bit flips in the next segment, which then may look as if it had been begun.
    let next = disk.list().unwrap();
    let next = next.iter().filter(|name| name.as_str().starts_with("wal-"));
    let next = next.max().cloned().unwrap();
    for at in (4..tiny().segment_bytes).step_by(512) {
        let mut disk = disk.clone();
        disk.write_at(&next, at, &[0x40]).unwrap();
        disk.sync(&next).unwrap();
        let found = open(&mut disk).unwrap();
        let again = open(&mut disk.cut(&Cut::Drop)).unwrap();
        assert_eq!(found.entries.len(), 2, "byte {at}: {:?}", found.notes);
        assert_eq!(again.entries.len(), 2, "byte {at}: {:?}", again.notes);
    }
}

#[test]
fn a_spare_that_a_dead_process_left_in_the_page_cache_can_be_rolled_onto() {
    let mut disk = CrashDisk::default();
    let mut log = open(&mut disk).unwrap().log;
    execute(&mut disk, &log.append(None, &[entry(1, 1, 100)])).unwrap();
    // The process dies while it makes a spare: it has its length, and nothing of that is durable.
    let spare = log.prepare().unwrap();
    execute(&mut disk, &spare[..1]).unwrap();
    let mut log = open(&mut disk).unwrap().log;
    // The next process takes all spares into use, and the power goes anywhere on the way.
    for index in 2..12 {
        for op in log.append(None, &[entry(index, 1, 15_000)]) {
            execute(&mut disk, std::slice::from_ref(&op)).unwrap();
            let found = open(&mut disk.cut(&Cut::Drop)).unwrap();
            assert_eq!(
                found.health,
                Health::Intact,
                "entry {index}, after {op:?}: {:?}",
                found.notes
            );
        }
    }
}
