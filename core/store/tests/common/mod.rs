//! A deliberately naive model of the store: a list of everything that ever happened.
//!
//! It answers every question by looking at the whole list. It shares no code and no idea with the
//! store but the vocabulary.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.
#![allow(dead_code)]

use base::{LeaseId, LogPosition, MemberId, Membership, Revision};
use proptest::prelude::*;
use std::collections::BTreeMap;
use store::{Effects, Event, Genesis, KeyRange, Record, RootId, Stamp, State, Store, Table};

pub(crate) const ROOTS: [RootId; 2] = [RootId(0), RootId(3)];
pub(crate) const TABLE: Table = Table(20);

/// One version, as the model sees it: all that a client could.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Version {
    pub(crate) key: Vec<u8>,
    /// Nothing means deleted.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) created: u64,
    pub(crate) modified: u64,
    pub(crate) sub: u32,
    pub(crate) version: u64,
    pub(crate) lease: i64,
}

impl Version {
    pub(crate) fn of(record: &Record) -> Version {
        let tombstone = record.is_tombstone();
        Version {
            key: record.key().to_vec(),
            value: (!tombstone).then(|| record.value().to_vec()),
            created: record.create_revision().0,
            modified: record.mod_revision().0,
            sub: record.sub(),
            version: record.version(),
            lease: record.lease().0,
        }
    }
}

#[derive(Clone, Default, Debug)]
pub(crate) struct ModelRoot {
    /// Everything that ever happened, in order; never compacted.
    pub(crate) all: Vec<Version>,
    pub(crate) compacted: u64,
}

impl ModelRoot {
    /// The last version of `key` at or before `at`, if it is alive.
    pub(crate) fn get(&self, key: &[u8], at: u64) -> Option<Version> {
        let mut seen = self.all.iter().filter(|v| v.key == key && v.modified <= at);
        seen.next_back().filter(|v| v.value.is_some()).cloned()
    }

    pub(crate) fn range(&self, range: &KeyRange, at: u64) -> Vec<Version> {
        let mut keys: Vec<&[u8]> = self.all.iter().map(|v| &v.key[..]).collect();
        keys.sort_unstable();
        keys.dedup();
        let inside = keys.into_iter().filter(|key| range.contains(key));
        inside.filter_map(|key| self.get(key, at)).collect()
    }

    /// The same as if it had never been compacted.
    pub(crate) fn uncompacted(&self) -> ModelRoot {
        ModelRoot {
            compacted: 0,
            ..self.clone()
        }
    }

    /// What happened from `from` on, with what each key was at the revision before, as far as that was
    /// not compacted away.
    pub(crate) fn events(&self, from: u64) -> Vec<(Version, Option<Version>)> {
        let since = self.all.iter().filter(|v| v.modified >= from);
        since
            .map(|v| {
                let before = self.get(&v.key, v.modified - 1);
                (v.clone(), before.filter(|_| v.modified > self.compacted))
            })
            .collect()
    }
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Model {
    pub(crate) revision: u64,
    pub(crate) roots: BTreeMap<u8, ModelRoot>,
    pub(crate) leases: BTreeMap<i64, i64>,
    pub(crate) records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Model {
    pub(crate) fn new() -> Model {
        Model {
            revision: 1,
            ..Model::default()
        }
    }

    pub(crate) fn root(&self, root: RootId) -> ModelRoot {
        self.roots.get(&root.0).cloned().unwrap_or_default()
    }

    fn write(&mut self, root: u8, sub: &mut u32, key: &[u8], value: Option<&[u8]>, lease: i64) {
        let modified = self.revision + 1;
        let history = self.roots.entry(root).or_default();
        let old = history.get(key, modified);
        let (created, version) = match (&value, &old) {
            (None, _) => (0, 0),
            (_, None) => (modified, 1),
            (_, Some(old)) => (old.created, old.version + 1),
        };
        history.all.push(Version {
            key: key.to_vec(),
            value: value.map(<[u8]>::to_vec),
            created,
            modified,
            sub: *sub,
            version,
            lease,
        });
        *sub += 1;
    }
}

/// One operation in a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Put(u8, u8, u8),
    Delete(u8, u8),
    Grant(u8),
    Revoke(u8),
    RecordPut(u8, u8),
    RecordDelete(u8),
    /// In permille of what can be compacted.
    Compact(u16),
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A transaction on one of [`ROOTS`].
    Txn(u8, Vec<Op>),
    Sweep(u8),
    /// Hold a root and look at it again at the end.
    Hold,
    /// Go on from what comes out of the stream.
    Reload,
}

pub(crate) fn key(n: u8) -> Vec<u8> {
    // Some are prefixes of others, one is empty but for its length's sake, one is not text.
    let keys: [&[u8]; 8] = [b"a", b"aa", b"ab", b"b", b"b\0", b"b\xff", b"c", b"\xff"];
    keys[n as usize % keys.len()].to_vec()
}

pub(crate) fn ranges() -> Vec<KeyRange> {
    let mut ranges = vec![
        KeyRange::all(),
        KeyRange::prefix("a"),
        KeyRange::prefix("b"),
    ];
    ranges.push(KeyRange::prefix(vec![0xff]));
    ranges.push(KeyRange::between("b", "a"));
    ranges.push(KeyRange::between("aa", "b\0"));
    ranges.push(KeyRange::from("ab"));
    ranges.extend((0..8).map(|n| KeyRange::single(key(n))));
    ranges
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (any::<u8>(), any::<u8>(), 0..4u8).prop_map(|(k, v, l)| Op::Put(k, v, l)),
        4 => (0..20u8, any::<u8>()).prop_map(|(r, n)| Op::Delete(r, n)),
        1 => (1..4u8).prop_map(Op::Grant),
        1 => (1..4u8).prop_map(Op::Revoke),
        1 => (0..4u8, any::<u8>()).prop_map(|(k, v)| Op::RecordPut(k, v)),
        1 => (0..4u8).prop_map(Op::RecordDelete),
        1 => (0..=1000u16).prop_map(Op::Compact),
    ]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..2u8, prop::collection::vec(op(), 0..4)).prop_map(|(r, ops)| Step::Txn(r, ops)),
        3 => any::<u8>().prop_map(Step::Sweep),
        1 => Just(Step::Hold),
        1 => Just(Step::Reload),
    ]
}

pub(crate) fn new_store() -> Store {
    Store::new(Genesis {
        membership: Membership::of_voters(vec![MemberId(1), MemberId(2)]),
        members: vec![],
    })
}

/// Applies `ops` to the store and to the model, and checks what the transaction says of itself.
pub(crate) fn apply(store: &mut Store, model: &mut Model, root: RootId, ops: &[Op]) -> Effects {
    apply_at(&Stamp::default(), store, model, root, ops)
}

/// As [`apply`], with a stamp.
pub(crate) fn apply_at(
    stamp: &Stamp,
    store: &mut Store,
    model: &mut Model,
    root: RootId,
    ops: &[Op],
) -> Effects {
    let mut sub = 0;
    let mut txn = store.begin(root, stamp);
    for op in ops {
        match *op {
            Op::Put(k, v, lease) => {
                let key = key(k);
                let lease = i64::from(lease);
                let lease = if model.leases.contains_key(&lease) {
                    lease
                } else {
                    0
                };
                let old = model.root(root).get(&key, u64::MAX);
                let value = vec![v; usize::from(v % 7)];
                let replaced = txn.put(&key, &value, LeaseId(lease));
                assert_eq!(replaced.as_ref().map(Version::of), old);
                model.write(root.0, &mut sub, &key, Some(&value), lease);
                assert_eq!(
                    txn.get(&key).as_ref().map(Version::of),
                    model.root(root).get(&key, u64::MAX)
                );
            }
            Op::Delete(r, n) => {
                let ranges = ranges();
                let range = ranges.get(r as usize).cloned();
                let range = range.unwrap_or_else(|| KeyRange::single(key(n)));
                let doomed = model.root(root).range(&range, u64::MAX);
                let deleted: Vec<Version> = txn.delete(&range).iter().map(Version::of).collect();
                assert_eq!(deleted, doomed);
                for old in doomed {
                    model.write(root.0, &mut sub, &old.key, None, 0);
                }
                assert_eq!(txn.count(&range, None), Ok(0));
            }
            Op::Grant(id) => {
                let id = i64::from(id);
                if model.leases.insert(id, 5).is_none() {
                    txn.lease_grant(LeaseId(id), 5);
                }
            }
            Op::Revoke(id) => {
                let id = i64::from(id);
                if model.leases.remove(&id).is_some() {
                    let mut doomed = vec![];
                    for other in ROOTS {
                        let all = model.root(other).range(&KeyRange::all(), u64::MAX);
                        let hang = all.into_iter().filter(|v| v.lease == id);
                        doomed.extend(hang.map(|v| (other, v)));
                    }
                    assert_eq!(txn.lease_revoke(LeaseId(id)), doomed.len());
                    for (other, old) in doomed {
                        model.write(other.0, &mut sub, &old.key, None, 0);
                    }
                }
            }
            Op::RecordPut(k, v) => {
                txn.record_put(TABLE, &[k], vec![v].into());
                model.records.insert(vec![k], vec![v]);
            }
            Op::RecordDelete(k) => {
                let gone = txn.record_delete(TABLE, &[k]);
                assert_eq!(gone.map(|v| v.to_vec()), model.records.remove(&vec![k]));
            }
            Op::Compact(permille) => {
                let newest = txn.revision().0;
                let history = model.roots.entry(root.0).or_default();
                let from = history.compacted;
                let to = from + (newest - from) * u64::from(permille) / 1000;
                txn.compact(Revision(to));
                history.compacted = to;
            }
        }
    }
    let effects = txn.finish();
    if sub > 0 {
        model.revision += 1;
    }
    assert_eq!(
        effects.revision,
        (sub > 0).then_some(Revision(model.revision))
    );
    assert_eq!(effects.events.len(), sub as usize);
    for root in ROOTS {
        let ours = effects.events.iter().filter(|(at, _)| *at == root);
        let ours: Vec<_> = ours.map(|(_, event)| split(event)).collect();
        let all = model.root(root).uncompacted().events(model.revision);
        let expected = if sub > 0 { all } else { vec![] };
        assert_eq!(ours, expected);
    }
    store.set_applied(LogPosition {
        term: base::Term(1),
        index: store.state().applied().index.next(),
    });
    effects
}

pub(crate) fn split(event: &Event) -> (Version, Option<Version>) {
    (
        Version::of(&event.record),
        event.previous.as_ref().map(Version::of),
    )
}

/// Compares everything that can be asked of `state` with what the model says.
pub(crate) fn compare(state: &State, model: &Model) {
    assert_eq!(state.revision().0, model.revision);
    let leases: Vec<i64> = state.leases().map(|lease| lease.id.0).collect();
    assert_eq!(leases, model.leases.keys().copied().collect::<Vec<_>>());
    let records = state.records(TABLE).map(|(k, v)| (k.to_vec(), v.to_vec()));
    assert_eq!(records.collect::<BTreeMap<_, _>>(), model.records);
    for id in model.leases.keys() {
        let mut held = vec![];
        for root in ROOTS {
            let all = model.root(root).range(&KeyRange::all(), u64::MAX);
            held.extend(
                all.into_iter()
                    .filter(|v| v.lease == *id)
                    .map(|v| (root, v.key)),
            );
        }
        let ours = state
            .lease_keys(LeaseId(*id))
            .map(|(root, key)| (root, key.to_vec()));
        assert_eq!(ours.collect::<Vec<_>>(), held);
    }
    for root in ROOTS {
        compare_root(state, &model.root(root), root, model.revision);
    }
}

fn compare_root(state: &State, model: &ModelRoot, root: RootId, newest: u64) {
    let view = state.root(root);
    assert_eq!(view.compacted().0, model.compacted);
    for at in 0..=newest + 1 {
        let revision = Some(Revision(at));
        if at > newest || at < model.compacted {
            assert!(view.get(b"a", revision).is_err());
            assert!(view.range(&KeyRange::all(), revision).is_err());
            assert!(view.count(&KeyRange::all(), revision).is_err());
            assert_eq!(view.events(Revision(at)).is_err(), at < model.compacted);
            continue;
        }
        for n in 0..8 {
            let found = view.get(&key(n), revision).unwrap();
            assert_eq!(found.as_ref().map(Version::of), model.get(&key(n), at));
        }
        for range in ranges() {
            let expected = model.range(&range, at);
            let rows = view.range(&range, revision).unwrap().map(Version::of);
            assert_eq!(rows.collect::<Vec<_>>(), expected, "{range:?} at {at}");
            let rows = view
                .range_descending(&range, revision)
                .unwrap()
                .map(Version::of);
            let mut rows: Vec<_> = rows.collect();
            rows.reverse();
            assert_eq!(rows, expected, "{range:?} at {at}, descending");
            let count = view.count(&range, revision).unwrap();
            assert_eq!(count, expected.len() as u64, "{range:?} at {at}");
        }
        let events: Vec<_> = view
            .events(Revision(at))
            .unwrap()
            .map(|e| split(&e))
            .collect();
        assert_eq!(events, model.events(at), "events from {at}");
    }
}
