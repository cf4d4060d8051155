//! The store against a naive model: random histories, and all small ones.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod common;

use base::Revision;
use common::{Model, ModelRoot, ROOTS, Step, Version, apply, compare, new_store, step};
use proptest::prelude::*;
use proptest::test_runner::Config;
use store::{KeyRange, LargestValue, State, Store, stream};

fn reload(state: &State, chunk_bytes: usize) -> State {
    let mut writer = stream::Writer::new(state.clone());
    let mut reader = stream::Reader::new();
    while let Some(chunk) = writer.next_chunk(chunk_bytes) {
        reader.push(&chunk).unwrap();
    }
    reader.finish().unwrap()
}

/// Hashes of both roots at every readable revision.
fn hashes(state: &State) -> Vec<Result<store::HistoryHash, store::ReadError>> {
    let revisions = 0..=state.revision().0 + 1;
    let all = revisions.flat_map(|at| ROOTS.map(|root| state.root(root).hash(Revision(at))));
    all.collect()
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    /// Reads, counts, events and effects are the model's at every revision and after every step; a held
    /// root never changes; sweeping and streaming are invisible.
    #[test]
    fn the_store_is_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let mut model = Model::new();
        let mut store = new_store();
        // The same commands, but never swept and never reloaded.
        let mut twin_model = Model::new();
        let mut twin = new_store();
        let mut held = vec![];
        for step in &steps {
            match step {
                Step::Txn(root, ops) => {
                    let root = ROOTS[usize::from(*root)];
                    let effects = apply(&mut store, &mut model, root, ops);
                    prop_assert_eq!(effects, apply(&mut twin, &mut twin_model, root, ops));
                }
                Step::Sweep(budget) => {
                    store.sweep(usize::from(*budget) + 1);
                }
                Step::Hold => held.push((store.publish(), model.clone())),
                Step::Reload => store = Store::from_state(reload(store.state(), 300)),
            }
            store.state().check();
            compare(store.state(), &model);
            prop_assert_eq!(store.state().digest(), twin.state().digest());
        }
        prop_assert_eq!(hashes(store.state()), hashes(twin.state()));
        while store.sweep(7) {
            store.state().check();
        }
        compare(store.state(), &model);
        prop_assert_eq!(hashes(store.state()), hashes(twin.state()));
        for root in ROOTS {
            let live = model.root(root).range(&KeyRange::all(), u64::MAX);
            let lens = live.iter().map(|version| version.value.as_ref().unwrap().len());
            let most = lens.max().unwrap_or(0);
            for keys_max in [1, 2, 100] {
                let mut scan = LargestValue::of(root);
                let mut n_steps = 1;
                while scan.step(store.state(), keys_max) {
                    n_steps += 1;
                }
                prop_assert_eq!(scan.value_bytes(), most as u64);
                let first = live.iter().find(|version| version.value.as_ref().unwrap().len() == most);
                let expected = first.filter(|_| most > 0).map_or(&[][..], |version| &version.key);
                prop_assert_eq!(&scan.key()[..], expected);
                prop_assert_eq!(n_steps, live.len().div_ceil(keys_max).max(1));
            }
        }
        for (state, model) in &held {
            state.check();
            compare(state, model);
        }
    }
}

/// All histories of four operations on two keys, compacted at every revision once or twice, swept or
/// not: what etcd issues 18089 and 19179 got wrong is in here.
#[test]
fn all_small_histories_keep_what_a_compaction_must_keep() {
    let mut n_cases = 0;
    for code in 0..4u32.pow(5) {
        let ops: Vec<u32> = (0..5).map(|at| code / 4u32.pow(at) % 4).collect();
        let mut store = new_store();
        let mut model = Model::new();
        for op in ops {
            let op = match op {
                0 => common::Op::Put(0, 1, 0),
                1 => common::Op::Delete(99, 0),
                2 => common::Op::Put(3, 2, 0),
                _ => common::Op::Delete(99, 3),
            };
            apply(&mut store, &mut model, ROOTS[0], &[op]);
        }
        let base = store.publish();
        let newest = model.revision;
        assert!(newest <= 6);
        for first in 0..=newest {
            for second in first..=newest {
                check_compactions(&base, &model, first, second);
                n_cases += 1;
            }
        }
    }
    assert!(n_cases > 10_000, "{n_cases}");
}

fn check_compactions(base: &State, model: &Model, first: u64, second: u64) {
    let mut model = model.clone();
    let mut unswept = Store::from_state(base.clone());
    let mut swept = Store::from_state(base.clone());
    for to in [first, second] {
        for store in [&mut unswept, &mut swept] {
            let mut txn = store.begin(ROOTS[0], &Default::default());
            txn.compact(Revision(to));
            txn.finish();
        }
        while swept.sweep(1) {}
        model.roots.entry(0).or_default().compacted = to;
        compare_watches(swept.state(), &model.root(ROOTS[0]), model.revision);
        compare_watches(unswept.state(), &model.root(ROOTS[0]), model.revision);
        swept.state().check();
        assert_eq!(hashes(swept.state()), hashes(unswept.state()));
    }
    // Compacted and swept to the present, nothing is left but what is alive and what happened last.
    if second == model.revision {
        let view = swept.state().root(ROOTS[0]);
        let live = view.range(&KeyRange::all(), None).unwrap().cloned();
        let last = view.events(Revision(second)).unwrap();
        let last = last
            .flat_map(|event| [Some(event.record), event.previous])
            .flatten();
        let mut left: Vec<_> = live.chain(last).map(|record| record.place()).collect();
        left.sort_unstable();
        left.dedup();
        assert_eq!(view.versions(), left.len() as u64);
    }
}

fn compare_watches(state: &State, model: &ModelRoot, newest: u64) {
    let view = state.root(ROOTS[0]);
    for from in 0..=newest + 1 {
        match view.events(Revision(from)) {
            Err(_) => assert!(from < model.compacted),
            Ok(events) => {
                let events: Vec<_> = events.map(|event| common::split(&event)).collect();
                assert_eq!(events, model.events(from));
            }
        }
        let readable = from >= model.compacted && from <= newest;
        match view.range(&KeyRange::all(), Some(Revision(from))) {
            Err(_) => assert!(!readable),
            Ok(rows) => {
                let rows: Vec<_> = rows.map(Version::of).collect();
                assert_eq!(rows, model.range(&KeyRange::all(), from));
            }
        }
    }
}

/// A key written very often is still read quickly at any past revision, before and after sweeps.
#[test]
fn old_versions_of_a_hot_key_are_found_by_few_steps() {
    let mut store = new_store();
    for n in 0..5000u64 {
        let mut txn = store.begin(ROOTS[0], &Default::default());
        txn.put(b"hot", &n.to_le_bytes(), base::LeaseId::NONE);
        txn.finish();
        if n % 1000 == 999 {
            let mut txn = store.begin(ROOTS[0], &Default::default());
            txn.compact(Revision(n / 2));
            txn.finish();
            store.sweep(100);
        }
    }
    store.state().check();
    let view = store.state().root(ROOTS[0]);
    for at in (view.compacted().0.max(2)..=5001).step_by(7) {
        let record = view.get(b"hot", Some(Revision(at))).unwrap().unwrap();
        assert_eq!(record.value(), (at - 2).to_le_bytes());
        assert!(view.steps_to(b"hot", Revision(at)) < 40, "{at}");
    }
}
