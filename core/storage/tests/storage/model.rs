//! The log against a naive model: random appends, overwrites, truncations, checkpoints, installs and
//! restarts.

use crate::common::{Model, checkpoint, entry, freed, hard_state, open, position};
use base::{Entry, HardState, Rng};
use quorate_storage::{Catalog, Disk, Log, MemDisk, Space, execute};

struct World {
    disk: MemDisk,
    log: Log,
    catalog: Catalog,
    model: Model,
    rng: Rng,
    term: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut disk = MemDisk::new();
        let found = open(&mut disk).unwrap();
        World {
            disk,
            log: found.log,
            catalog: found.catalog,
            model: Model::default(),
            rng: Rng::new(seed),
            term: 1,
        }
    }

    fn entries(&mut self, first: u64, n: u64) -> Vec<Entry> {
        (first..first + n)
            .map(|index| {
                let bytes = match self.rng.below(12) {
                    0 => self.rng.below(9000),
                    1 => 0,
                    _ => self.rng.below(300),
                };
                entry(index, self.term, bytes as usize)
            })
            .collect()
    }

    fn step(&mut self) {
        let end = self.model.end().index.0;
        let low = self.model.checkpoint.index.0.max(self.model.base.index.0);
        match self.rng.below(20) {
            0..10 => {
                let n = self.rng.below(5);
                let entries = self.entries(end + 1, n);
                let state = self.rng.one_in(2).then(|| self.hard_state(end));
                self.append(state, &entries);
            }
            10 => {
                // A new leader overwrites the tail.
                self.term += 1;
                let first = self.rng.between(low + 1, end + 1);
                let n = self.rng.between(1, 4);
                let entries = self.entries(first, n);
                let state = self.hard_state(first);
                self.append(Some(state), &entries);
            }
            11 => {
                let state = self.hard_state(end);
                self.append(Some(state), &[]);
            }
            12 | 13 if end > low => {
                // A checkpoint of its own, then the log before the older one is freed.
                let index = self.rng.between(low + 1, end);
                let at = self
                    .model
                    .entries
                    .iter()
                    .find(|e| e.position.index.0 == index)
                    .unwrap();
                let at = at.position;
                let (ops, catalog) = checkpoint(&self.catalog, at);
                execute(&mut self.disk, &ops).unwrap();
                self.catalog = catalog;
                self.model.checkpoint = at;
                let ops = freed(&mut self.log, self.catalog.log_floor());
                execute(&mut self.disk, &ops).unwrap();
            }
            14 if self.rng.one_in(3) => {
                // A snapshot from the leader.
                self.term += 1;
                let at = position(end + self.rng.between(1, 50), self.term);
                let (ops, catalog) = checkpoint(&self.catalog, at);
                execute(&mut self.disk, &ops).unwrap();
                self.catalog = catalog;
                self.model.checkpoint = at;
                if self.rng.one_in(2) {
                    let ops = self.log.install(&crate::common::meta(at));
                    execute(&mut self.disk, &ops).unwrap();
                } else {
                    self.restart();
                }
                self.model.install(at);
            }
            15 | 16 => {
                if let Some(ops) = self.log.prepare() {
                    execute(&mut self.disk, &ops).unwrap();
                    self.log.prepared(true);
                }
            }
            17 => {
                if let Some(ops) = self.log.seal() {
                    execute(&mut self.disk, &ops).unwrap();
                }
                assert!(self.log.seal().is_none());
            }
            18 => self.restart(),
            _ => {}
        }
        self.log.check();
    }

    fn hard_state(&mut self, commit: u64) -> HardState {
        hard_state(self.term, self.rng.below(4), self.rng.below(commit + 1))
    }

    fn append(&mut self, state: Option<HardState>, entries: &[Entry]) {
        let ops = self.log.append(state, entries);
        assert_eq!(ops.is_empty(), state.is_none() && entries.is_empty());
        execute(&mut self.disk, &ops).unwrap();
        self.model.append(state, entries);
        assert_eq!(self.log.end(), self.model.end());
    }

    fn restart(&mut self) {
        let found = open(&mut self.disk).unwrap();
        self.model.assert_is(&found, &|| "restart".into());
        self.model.hard_state = found.hard_state;
        self.log = found.log;
        self.catalog = found.catalog;
    }
}

#[test]
fn a_log_is_found_again_as_the_model_says() {
    for seed in 0..300 {
        let mut world = World::new(seed);
        for _ in 0..80 {
            world.step();
        }
        world.restart();
        world.restart();
    }
}

#[test]
fn segments_are_recycled_and_the_directory_stays_small() {
    let mut world = World::new(7);
    let mut names = std::collections::BTreeSet::new();
    for round in 1..200u64 {
        let entries = world.entries(round * 3 - 2, 3);
        world.append(None, &entries);
        let at = world.model.end();
        let (ops, catalog) = checkpoint(&world.catalog, at);
        execute(&mut world.disk, &ops).unwrap();
        world.catalog = catalog;
        world.model.checkpoint = at;
        let ops = freed(&mut world.log, world.catalog.log_floor());
        execute(&mut world.disk, &ops).unwrap();
        if let Some(ops) = world.log.prepare() {
            execute(&mut world.disk, &ops).unwrap();
            world.log.prepared(true);
        }
        names.extend(world.disk.list().unwrap());
        assert!(world.disk.files().len() <= 11, "{:?}", world.disk.list());
    }
    assert!(names.len() > 50, "names are never used twice");
    world.restart();
}

#[test]
fn an_entry_longer_than_a_segment_gets_a_segment_of_its_own() {
    let mut world = World::new(1);
    for (i, bytes) in [10, 100_000, 10, 50_000, 0].into_iter().enumerate() {
        world.append(None, &[entry(i as u64 + 1, 1, bytes)]);
    }
    world.restart();
    let many: Vec<Entry> = (6..40).map(|index| entry(index, 1, 3000)).collect();
    world.append(Some(hard_state(1, 2, 39)), &many);
    world.restart();
    assert_eq!(world.model.entries.len(), 39);
}

#[test]
fn the_reserve_is_counted() {
    let mut world = World::new(1);
    let bytes = crate::common::tiny().segment_bytes;
    assert_eq!(world.log.space(u64::MAX), Space::Normal);
    assert_eq!(
        world.log.space(0),
        Space::Normal,
        "the next segment and the reserve are there"
    );
    let mut seen = Vec::new();
    let mut index = 0;
    while world.log.room_bytes() >= 4096 {
        index += 1;
        world.append(None, &[entry(index, 1, 10)]);
        seen.push(world.log.space(0));
        assert!(world.log.space(bytes) >= Space::Normal && world.log.space(bytes) <= Space::Low);
    }
    seen.dedup();
    assert_eq!(seen, [Space::Low, Space::Full]);
    let roomy = crate::common::tiny().space_low_bytes.max(2 * bytes);
    assert_eq!(
        world.log.space(roomy),
        Space::Normal,
        "the maker of spares lags, the disk has room"
    );
    // Deletes were logged from the reserve; a checkpoint frees segments, and all is well again.
    let at = world.model.end();
    for _ in 0..2 {
        let (ops, catalog) = checkpoint(&world.catalog, at);
        execute(&mut world.disk, &ops).unwrap();
        world.catalog = catalog;
    }
    let ops = freed(&mut world.log, at.index);
    execute(&mut world.disk, &ops).unwrap();
    assert_eq!(world.log.space(0), Space::Low);
    world.model.checkpoint = at;
    world.restart();
}

#[test]
fn a_spare_that_comes_too_late_disturbs_nobody() {
    let mut world = World::new(3);
    world.append(None, &[entry(1, 1, 15_000)]);
    // The spare is being made by somebody slow, and meanwhile the log needs three more segments.
    let slow = world.log.prepare().unwrap();
    assert!(world.log.prepare().is_none(), "one at a time");
    for index in 2..6 {
        world.append(None, &[entry(index, 1, 15_000)]);
    }
    execute(&mut world.disk, &slow).unwrap();
    world.restart();
    world.append(None, &[entry(6, 1, 15_000)]);
    world.restart();

    let slow = world.log.prepare().unwrap();
    for index in 7..12 {
        world.append(None, &[entry(index, 1, 15_000)]);
    }
    execute(&mut world.disk, &slow).unwrap();
    let files = world.disk.files().len();
    world.log.prepared(true);
    world.log.check();
    // It is removed, and another one is made.
    let ops = world.log.prepare().unwrap();
    execute(&mut world.disk, &ops).unwrap();
    world.log.prepared(true);
    assert_eq!(world.disk.files().len(), files);
    world.append(None, &[entry(12, 1, 15_000)]);
    world.restart();
}
