//! When revisions happened, and reads "as of" a time, against a model that keeps the whole store for
//! every time that there ever was.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod common;

use base::{LeaseId, Revision};
use clock::HybridTime;
use common::{Model, Op, ROOTS, Version, apply_at, new_store, op};
use proptest::prelude::*;
use proptest::test_runner::Config;
use std::collections::BTreeSet;
use store::{AsOfError, KeyRange, Stamp, State, Store, stream};

/// All keys of both roots at one time.
type Whole = [Vec<Version>; 2];

/// Everything that ever happened, with its time; nothing is ever let go.
struct Times {
    model: Model,
    /// The time of each revision from 1 on.
    of_revisions: Vec<HybridTime>,
    /// The whole store behind each batch, with the batch's time.
    of_batches: Vec<(HybridTime, Whole)>,
    /// The oldest revision whose time must be known.
    known_from: u64,
}

impl Times {
    fn new() -> Times {
        Times {
            model: Model::new(),
            of_revisions: vec![HybridTime::default()],
            of_batches: vec![(HybridTime::default(), Whole::default())],
            known_from: 1,
        }
    }

    fn whole(&self) -> Whole {
        ROOTS.map(|root| self.model.root(root).range(&KeyRange::all(), u64::MAX))
    }

    fn of(&self, revision: u64) -> HybridTime {
        self.of_revisions[revision as usize - 1]
    }

    /// The rule of forgetting, word by word: what is older than the oldest revision that some root, written
    /// or compacted once, still has; but the batch of that revision is kept as a whole.
    fn forget(&mut self) {
        let roots = self.model.roots.values();
        let used = roots.filter(|root| !root.all.is_empty() || root.compacted > 0);
        let Some(floor) = used.map(|root| root.compacted).min().filter(|at| *at > 0) else {
            return;
        };
        let at = self.of(floor);
        let batch = 1..=self.model.revision;
        let first = batch.into_iter().find(|revision| self.of(*revision) == at);
        self.known_from = self.known_from.max(first.unwrap());
    }
}

/// One batch: by how much the wall clock of the leader jumps, and the transactions.
#[derive(Clone, Debug)]
enum Step {
    Batch(i8, Vec<(u8, Vec<Op>)>),
    Sweep(u8),
    Hold,
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    let compaction = (0..2u8, 0..=1000u16).prop_map(|(root, to)| (root, vec![Op::Compact(to)]));
    let txn = (0..2u8, prop::collection::vec(op(), 0..3));
    let txn = prop_oneof![6 => txn, 1 => compaction];
    let batch = (any::<i8>(), prop::collection::vec(txn, 0..4));
    prop_oneof![
        10 => batch.prop_map(|(jump, txns)| Step::Batch(jump, txns)),
        2 => any::<u8>().prop_map(Step::Sweep),
        1 => Just(Step::Hold),
        1 => Just(Step::Reload),
    ]
}

fn reload(state: &State, chunk_bytes: usize) -> State {
    let mut writer = stream::Writer::new(state.clone());
    let mut reader = stream::Reader::new();
    while let Some(chunk) = writer.next_chunk(chunk_bytes) {
        reader.push(&chunk).unwrap();
    }
    reader.finish().unwrap()
}

fn stamp(time: HybridTime) -> Stamp {
    Stamp {
        time,
        apply_version: 2,
        ..Stamp::default()
    }
}

/// Every time that a batch had, and those beside them.
fn interesting(times: &Times) -> BTreeSet<HybridTime> {
    let batches = times.of_batches.iter().map(|(time, _)| time.0);
    batches
        .flat_map(|time| [time.saturating_sub(1), time, time + 1])
        .map(HybridTime)
        .collect()
}

fn compare(state: &State, times: &Times) {
    let newest = times.model.revision;
    assert_eq!(state.revision().0, newest);
    let now = state.time();
    for revision in 0..=newest + 1 {
        let known = revision >= times.known_from && revision <= newest;
        let expected = known.then(|| times.of(revision));
        let found = state.time_of(Revision(revision));
        assert_eq!(found, expected, "the time of {revision}");
        // Never backwards, and there and back again.
        if let Some(time) = found {
            assert!(time >= state.time_of(Revision(revision - 1)).unwrap_or_default());
            let there = state.revision_at(time).unwrap();
            assert!(there.0 >= revision && times.of(there.0) == time);
        }
    }
    for time in interesting(times) {
        let found = state.revision_at(time);
        if time > now {
            let current = now;
            let requested = time;
            assert_eq!(found, Err(AsOfError::Future { requested, current }));
            continue;
        }
        let oldest = times.of(times.known_from);
        if time < oldest {
            let requested = time;
            assert_eq!(found, Err(AsOfError::Forgotten { requested, oldest }));
            continue;
        }
        let mut happened = (1..=newest).filter(|revision| times.of(*revision) <= time);
        assert_eq!(found.map(|at| at.0), Ok(happened.next_back().unwrap()));
        compare_read(state, times, time, found.unwrap());
    }
}

/// A read at the revision is the store as it was at the time.
fn compare_read(state: &State, times: &Times, time: HybridTime, at: Revision) {
    let mut batches = times.of_batches.iter().rev();
    let (_, whole) = batches.find(|(of_batch, _)| *of_batch <= time).unwrap();
    for (root, expected) in ROOTS.into_iter().zip(whole) {
        let view = state.root(root);
        match view.range(&KeyRange::all(), Some(at)) {
            Err(_) => assert!(at < view.compacted(), "{at} is no revision"),
            Ok(rows) => {
                let rows: Vec<_> = rows.map(Version::of).collect();
                assert_eq!(&rows, expected, "{root:?} as of {time}");
            }
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    /// After every batch every time gives what the model kept for it; what a held state answered is what every
    /// later one answers or has forgotten; sweeping and streaming are invisible.
    #[test]
    fn a_read_as_of_a_time_is_what_was_there_then(steps in prop::collection::vec(step(), 1..30)) {
        let mut times = Times::new();
        let mut store = new_store();
        // The same commands, but never swept and never reloaded.
        let mut twin = new_store();
        let mut held = vec![];
        let mut wall_ms = 1000i64;
        let mut last = HybridTime::default();
        for step in &steps {
            match step {
                Step::Batch(jump, txns) => {
                    wall_ms = (wall_ms + i64::from(*jump)).max(0);
                    last = last.next(wall_ms as u64);
                    let stamp = stamp(last);
                    for (root, ops) in txns {
                        let root = ROOTS[usize::from(*root)];
                        let mut model = times.model.clone();
                        apply_at(&stamp, &mut twin, &mut model, root, ops);
                        let effects = apply_at(&stamp, &mut store, &mut times.model, root, ops);
                        times.of_revisions.extend(effects.revision.map(|_| last));
                        if !effects.compacted.is_empty() {
                            times.forget();
                        }
                    }
                    for store in [&mut store, &mut twin] {
                        store.begin(ROOTS[0], &stamp).finish();
                    }
                    times.of_batches.push((last, times.whole()));
                }
                Step::Sweep(budget) => {
                    store.sweep(usize::from(*budget) + 1);
                }
                Step::Hold => held.push(store.publish()),
                Step::Reload => store = Store::from_state(reload(store.state(), 300)),
            }
            store.state().check();
            twin.state().check();
            compare(store.state(), &times);
            compare(twin.state(), &times);
            prop_assert_eq!(store.state().digest(), twin.state().digest());
        }
        while store.sweep(3) {
            store.state().check();
        }
        compare(store.state(), &times);
        for early in held {
            for time in interesting(&times) {
                match (early.revision_at(time), store.state().revision_at(time)) {
                    (Ok(then), Ok(now)) => prop_assert_eq!(then, now, "as of {}", time),
                    (Ok(_), Err(AsOfError::Forgotten { .. })) => {}
                    (Ok(_), Err(AsOfError::Future { .. })) => prop_assert!(false, "time went back"),
                    (Err(_), _) => {}
                }
            }
        }
    }

    /// Whatever stamps come (a leader never gives a stale one), times of revisions do not go backwards.
    #[test]
    fn a_stale_stamp_does_not_turn_time_back(stamps in prop::collection::vec(0..20u64, 1..60)) {
        let mut store = new_store();
        let mut highest = 0;
        for (n, ms) in stamps.iter().enumerate() {
            put(&mut store, stamp(HybridTime::new(*ms, 0)));
            highest = highest.max(*ms);
            let state = store.state();
            state.check();
            prop_assert_eq!(state.revision().0, n as u64 + 2);
            prop_assert_eq!(state.time_of(state.revision()), Some(HybridTime::new(highest, 0)));
            prop_assert_eq!(state.revision_at(state.time()), Ok(state.revision()));
        }
    }
}

fn put(store: &mut Store, stamp: Stamp) {
    let mut txn = store.begin(ROOTS[0], &stamp);
    txn.put(b"k", b"v", LeaseId::NONE);
    txn.finish();
}

fn at(ms: u64) -> HybridTime {
    HybridTime::new(ms, 0)
}

/// The story of the module's documentation, told once.
#[test]
fn revisions_of_one_batch_share_a_time_and_the_newest_is_read() {
    let mut store = new_store();
    for (ms, n_commands) in [(1000, 3), (1001, 1), (1007, 2), (1009, 0)] {
        store.begin(ROOTS[0], &stamp(at(ms))).finish();
        for _ in 0..n_commands {
            put(&mut store, stamp(at(ms)));
        }
    }
    let state = store.state();
    let told: Vec<_> = (0..=8)
        .map(|revision| {
            state
                .time_of(Revision(revision))
                .map(HybridTime::physical_ms)
        })
        .collect();
    let expected = [0, 1000, 1000, 1000, 1001, 1007, 1007].map(Some);
    assert_eq!(told, [&[None][..], &expected, &[None]].concat());
    for (ms, revision) in [
        (0, 1),
        (999, 1),
        (1000, 4),
        (1001, 5),
        (1006, 5),
        (1007, 7),
        (1008, 7),
        (1009, 7),
    ] {
        assert_eq!(state.revision_at(at(ms)), Ok(Revision(revision)), "{ms}");
    }
    let refused = state.revision_at(at(1010)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "1970-01-01T00:00:01.010Z is in the future, the newest time that can be read is 1970-01-01T00:00:01.009Z"
    );
}

/// Times go when the last root goes, and their memory with the sweep.
#[test]
fn times_are_forgotten_when_no_root_has_the_revisions_any_more() {
    let mut store = new_store();
    for n in 0..200 {
        let mut txn = store.begin(ROOTS[n as usize % 2], &stamp(at(1000 + n)));
        txn.put(b"k", b"v", LeaseId::NONE);
        txn.finish();
    }
    let compact = |store: &mut Store, root: usize, to: u64| {
        let mut txn = store.begin(ROOTS[root], &stamp(at(1200)));
        txn.compact(Revision(to));
        txn.finish();
        store.state().check();
        let mut known = (0..=201).filter(|r| store.state().time_of(Revision(*r)).is_some());
        known.next().unwrap()
    };
    let bytes = |store: &Store| store.state().bytes_in_use();
    let before = bytes(&store);
    assert_eq!(compact(&mut store, 0, 150), 1, "the other root has it all");
    assert_eq!(bytes(&store), before);
    assert_eq!(compact(&mut store, 1, 100), 100);
    assert!(bytes(&store) < before, "times are accounted for");
    let refused = store.state().revision_at(at(1000)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "1970-01-01T00:00:01.000Z is forgotten, the oldest time that can be read is 1970-01-01T00:00:01.098Z"
    );
    // A state that is held keeps what it had.
    let held = store.publish();
    assert_eq!(compact(&mut store, 1, 201), 150);
    assert_eq!(compact(&mut store, 0, 201), 201);
    let mut n_steps = 0;
    while store.sweep(1) {
        store.state().check();
        n_steps += 1;
    }
    assert!(n_steps > 150, "{n_steps}");
    assert_eq!(store.state().time_of(Revision(201)), Some(at(1199)));
    // What is forgotten does not come back when newer times push it out of the newest ones.
    for n in 0..40 {
        put(&mut store, stamp(at(2000 + n)));
        store.state().check();
    }
    assert_eq!(store.state().time_of(Revision(200)), None);
    assert_eq!(store.state().time_of(Revision(241)), Some(at(2039)));
    assert_eq!(held.time_of(Revision(100)), Some(at(1098)));
    held.check();
}

/// A member that lags refuses what it has not seen; with the snapshot it answers as the others.
#[test]
fn a_snapshot_brings_the_times_along() {
    let mut store = new_store();
    let mut lagging = new_store();
    for n in 0..100 {
        put(&mut store, stamp(at(1000 + 2 * n)));
        if n < 40 {
            put(&mut lagging, stamp(at(1000 + 2 * n)));
        }
    }
    let behind = lagging.publish();
    let installed = reload(store.state(), 100);
    for ms in 990..=1198 {
        let answer = store.state().revision_at(at(ms));
        assert_eq!(installed.revision_at(at(ms)), answer);
        match behind.revision_at(at(ms)) {
            Err(AsOfError::Future { .. }) => assert!(ms > 1078),
            early => assert_eq!(early, answer),
        }
    }
}

/// Members that disagree about a time are found, where the log says that times count.
#[test]
fn a_different_time_is_a_different_digest_from_apply_version_2_on() {
    let digest = |ms, apply_version| {
        let mut store = new_store();
        let stamp = Stamp {
            apply_version,
            ..stamp(at(ms))
        };
        put(&mut store, stamp);
        store.state().digest()
    };
    assert_ne!(digest(1000, 2), digest(1001, 2));
    assert_eq!(digest(1000, 1), digest(1001, 1), "as older builds count");
}
