//! Every byte of a log of 64 KiB and of a checkpoint, flipped on one member of three.
//!
//! One cluster works until a segment of 64 KiB is full, then rests. Every byte of that file is flipped in a
//! copy of one member's disk, and the start is held against the truth: the flip is noticed, or it fell
//! into room that is not in use. For every 64th byte the member itself is started from the flipped disk,
//! among the others, and must come to their state.

#![allow(clippy::unwrap_used)]

use base::{Entry, HardState, LogPosition, Mutants, Rng};
use quorate_sim::disk::SimDisk;
use quorate_sim::member::{CLUSTER, Condition, Settings};
use quorate_sim::world::{Event, World};
use quorate_sim::{Consensus, Plan};
use std::time::Duration;
use storage::{Disk, FileName, Health, Identity, LogConfig, MemDisk, Recovered, recover};
use store::State;

const FRAME: usize = 4096;
const SEGMENT_BYTES: u64 = 64 * 1024;
/// Every so many bytes the whole cluster is asked.
const SAMPLE: usize = 64;

/// Three members that have come to rest, one of which is down.
struct Cluster {
    world: World,
    victim: usize,
    /// The disk of the one that is down.
    disk: SimDisk,
}

impl Cluster {
    /// Works until `is_enough` says so of every member's disk.
    fn new(seed: u64, snapshot_count: u64, is_enough: fn(&World, usize) -> bool) -> Cluster {
        let drawn = Plan::draw(seed);
        let plan = Plan {
            n_members: 3,
            consensus: Consensus::Shipped,
            faults: Vec::new(),
            trouble: Duration::from_secs(3600),
            snapshot_count,
            segment_bytes: SEGMENT_BYTES,
            n_clients: 4,
            n_watchers: 0,
            n_keys: 8,
            think: Duration::from_millis(20),
            sync: Duration::from_micros(200),
            compaction: None,
            clock_error_permille: 0,
            natives: None,
            drift_ppm: None,
            ..drawn
        };
        let mutants = Mutants::none();
        let mut world = World::new(Settings { plan, mutants }, false);
        let is_ready = world.run_until(Duration::from_secs(120), |world| {
            (0..3).all(|member| world.members[member].process.is_some() && is_enough(world, member))
        });
        assert!(is_ready, "the members have written enough");
        world.asking.are_quiet = true;
        world.run_until(Duration::from_secs(6), |_| false);
        let leads = |world: &World, member: usize| {
            let process = world.members[member].process.as_ref();
            process.is_some_and(|process| process.node.is_leader())
        };
        let victim = (0..3).find(|member| !leads(&world, *member)).unwrap();
        let mut cluster = Cluster {
            disk: world.members[victim].disk.clone(),
            world,
            victim,
        };
        assert!(cluster.are_equal(), "the members are equal at rest");
        cluster.world.kill(victim, "kill");
        cluster.disk = cluster.world.members[victim].disk.clone();
        cluster
    }

    fn identity(&self) -> Identity {
        Identity {
            cluster: CLUSTER,
            member: self.world.members[self.victim].id,
        }
    }

    /// The disk at rest as plain files, without segments that were never used.
    fn files(&self) -> MemDisk {
        let mut files = MemDisk::new();
        for file in self.disk.list().unwrap() {
            let mut bytes = vec![0; self.disk.len(&file).unwrap() as usize];
            self.disk.read_at(&file, 0, &mut bytes).unwrap();
            let is_spare = file.as_str().starts_with("wal-") && bytes.iter().all(|byte| *byte == 0);
            if !is_spare {
                files.files_mut().insert(file, bytes);
            }
        }
        files
    }

    /// Whether everybody runs, whole, with the same state.
    fn are_equal(&self) -> bool {
        let mut states = (0..3).map(|member| {
            let process = self.world.members[member].process.as_ref()?;
            let is_whole = !process.work.log.is_recovering();
            is_whole.then(|| (process.state.applied(), process.state.digest()))
        });
        let first = states.next().flatten();
        first.is_some() && states.all(|state| state == first)
    }

    /// Starts the member from `disk`, waits until it is as the others are, and stops it again. What the
    /// others have decided meanwhile it learns again the next time. Returns whether it began with a loss.
    fn mend(&mut self, disk: SimDisk, story: &str) -> bool {
        let victim = self.victim;
        self.world.members[victim].disk = disk;
        self.world.members[victim].was_hurt = true;
        self.world
            .schedule
            .after_us(1, Event::Start { member: victim });
        let damaged = loop {
            self.world.step();
            let member = &self.world.members[victim];
            assert_eq!(member.condition, Condition::Well, "{story}");
            if let Some(process) = &member.process {
                break process.work.log.is_recovering();
            }
        };
        let mut is_equal = false;
        for _ in 0..200 {
            self.world.run_until(Duration::from_millis(100), |_| false);
            assert!(
                self.world.violations.is_empty(),
                "{story}: {:?}",
                self.world.violations
            );
            is_equal = self.are_equal();
            if is_equal {
                break;
            }
        }
        assert!(
            is_equal,
            "{story}: {:?}",
            self.world.members[victim].condition
        );
        self.world.kill(victim, "kill");
        damaged
    }
}

/// What a start must find.
struct Truth {
    identity: Identity,
    files: MemDisk,
    entries: Vec<Entry>,
    end: LogPosition,
    hard_state: HardState,
    state: Option<(LogPosition, u64)>,
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT_BYTES,
        spares: 2,
        space_low_bytes: 0,
    }
}

fn state_of(found: &Recovered<State>) -> Option<(LogPosition, u64)> {
    let (meta, state) = found.checkpoint.as_ref()?;
    Some((meta.position, state.digest()))
}

impl Truth {
    fn new(cluster: &Cluster) -> Truth {
        let (identity, files) = (cluster.identity(), cluster.files());
        let found = recover(&mut files.clone(), &identity, &config(), Mutants::none()).unwrap();
        assert_eq!(found.health, Health::Intact);
        Truth {
            identity,
            files,
            end: found.log.end(),
            hard_state: found.hard_state,
            state: state_of(&found),
            entries: found.entries,
        }
    }

    /// What a start makes of the files with one byte flipped, and the file as it is then.
    fn start(&self, file: &FileName, at: usize, mask: u8) -> (Recovered<State>, Vec<u8>) {
        let mut disk = self.files.clone();
        disk.files_mut().get_mut(file).unwrap()[at] ^= mask;
        let found = recover(&mut disk, &self.identity, &config(), Mutants::none());
        let found = found.unwrap_or_else(|error| panic!("{file}, byte {at}: {error}"));
        let bytes = disk.files().get(file).cloned().unwrap_or_default();
        (found, bytes)
    }

    fn is_whole(&self, found: &Recovered<State>) -> bool {
        found.health == Health::Intact
            && found.log.end() == self.end
            && found.hard_state == self.hard_state
    }
}

/// One bit for each byte of so many, by chance.
fn masks(n: usize) -> Vec<u8> {
    let mut rng = Rng::new(7);
    (0..n).map(|_| 1 << rng.below(8)).collect()
}

/// Every byte of `file`, on two threads: `judge` says what became of each.
fn every_byte<V: Ord + Copy + Send>(
    truth: &Truth,
    file: &FileName,
    judge: impl Fn(usize, &Recovered<State>, &[u8]) -> V + Sync,
) -> Vec<V> {
    let masks = masks(truth.files.files()[file].len());
    let half = masks.len().div_ceil(2);
    let run = |from: usize, to: usize| -> Vec<V> {
        (from..to)
            .map(|at| {
                let (found, bytes) = truth.start(file, at, masks[at]);
                judge(at, &found, &bytes)
            })
            .collect()
    };
    std::thread::scope(|scope| {
        let second = scope.spawn(|| run(half, masks.len()));
        let mut verdicts = run(0, half);
        verdicts.extend(second.join().unwrap());
        verdicts
    })
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    /// Nothing stands there.
    Unused,
    /// Noticed, and nothing of the record is needed: it holds no entry, or the checkpoint covers it.
    NotNeeded,
    /// Put right from another copy before anything is served.
    Restored,
    /// To be mended by the others.
    Damaged,
}

fn is_segment_full(world: &World, member: usize) -> bool {
    let process = world.members[member].process.as_ref();
    process.is_some_and(|process| process.work.log.segments() >= 2)
}

#[test]
fn every_byte_of_a_full_segment_is_noticed_and_mended_by_the_others() {
    let mut cluster = Cluster::new(1, 10_000, is_segment_full);
    let truth = Truth::new(&cluster);
    let file = FileName::parse("wal-1.log").unwrap();
    let original = truth.files.files()[&file].clone();
    assert_eq!(original.len() as u64, SEGMENT_BYTES);
    let in_use = original.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(in_use > original.len() - 2 * FRAME, "it is full: {in_use}");

    let verdicts = every_byte(&truth, &file, |at, found, bytes| match &found.health {
        Health::Damaged { watermark, .. } => {
            assert_eq!(*watermark, truth.end, "byte {at}");
            assert!(found.log.end() < truth.end, "byte {at}");
            let known = &truth.entries[..found.entries.len().min(truth.entries.len())];
            assert!(known == found.entries, "byte {at}: entries that never were");
            Verdict::Damaged
        }
        Health::Intact => {
            assert!(truth.is_whole(found), "byte {at}: {:?}", found.notes);
            assert!(found.entries == truth.entries, "byte {at}");
            let is_unused = (at < 2 * FRAME && at % FRAME >= 128) || at >= in_use;
            let said = |what: &str| found.notes.iter().any(|note| note.contains(what));
            match () {
                () if is_unused => Verdict::Unused,
                () if bytes[at] == original[at] => Verdict::Restored,
                () => {
                    let is_said = said("is damaged, and nothing of it is needed");
                    assert!(is_said, "byte {at}: {:?}", found.notes);
                    Verdict::NotNeeded
                }
            }
        }
    });
    let n = |wanted: Verdict| verdicts.iter().filter(|is| **is == wanted).count();
    let kinds = [
        Verdict::Unused,
        Verdict::NotNeeded,
        Verdict::Restored,
        Verdict::Damaged,
    ];
    let [unused, not_needed, restored, damaged] = kinds.map(n);
    println!("{unused} unused, {not_needed} not needed, {restored} put right, {damaged} to mend");
    assert_eq!(
        unused + not_needed + restored + damaged,
        original.len(),
        "every byte"
    );
    // Two headers and a table of slots; thirteen frames of records, of which few hold no entry.
    assert!(restored >= FRAME && not_needed <= 3 * FRAME && damaged >= 8 * FRAME);

    let masks = masks(original.len());
    for at in (0..original.len()).step_by(SAMPLE) {
        let mut disk = cluster.disk.clone();
        disk.flip(&file, at, masks[at]);
        let damaged = cluster.mend(disk, &format!("{file}, byte {at}"));
        assert_eq!(damaged, verdicts[at] == Verdict::Damaged, "byte {at}");
    }
}

fn has_two_checkpoints(world: &World, member: usize) -> bool {
    let names = world.members[member].disk.list().unwrap_or_default();
    let checkpoints = names.iter().filter(|name| {
        name.as_str().starts_with("checkpoint-") && !name.as_str().ends_with(".new")
    });
    checkpoints.count() >= 2
}

#[test]
fn every_byte_of_a_checkpoint_is_noticed_and_mended_by_the_others() {
    let mut cluster = Cluster::new(2, 50, has_two_checkpoints);
    let truth = Truth::new(&cluster);
    let (newest, _) = truth.state.unwrap();
    let file = FileName::parse(&format!("checkpoint-{}", newest.index)).unwrap();
    let length = truth.files.files()[&file].len();
    assert!(length > 1000, "{length}");

    every_byte(&truth, &file, |at, found, _| {
        let state = state_of(found).map(|(position, _)| position);
        assert_ne!(state, Some(newest), "byte {at} is believed");
        let said = found.notes.iter().any(|note| note.contains(file.as_str()));
        assert!(said, "byte {at}: {:?}", found.notes);
        // The older one serves, with the whole log behind it.
        assert!(truth.is_whole(found), "byte {at}: {:?}", found.health);
    });

    let masks = masks(length);
    for at in (0..length).step_by(SAMPLE) {
        let mut disk = cluster.disk.clone();
        disk.flip(&file, at, masks[at]);
        cluster.mend(disk, &format!("{file}, byte {at}"));
    }
}
