//! Watches against a naive watcher that knows all of history.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod common;

use base::{LeaseId, Mutants, Revision};
use common::{Model, Op, ROOTS, Version, apply, new_store, op, ranges, split};
use proptest::prelude::*;
use proptest::test_runner::Config;
use std::collections::BTreeMap;
use store::hub::{Hub, Polled, WatchSpec, WatcherId};
use store::{KeyRange, RootId, Stamp, State, Store, stream};

#[derive(Clone, Debug)]
enum Step {
    Txn(u8, Vec<Op>),
    /// Root, range, start (0 = now; else counted back from two ahead of the present), filter.
    Watch(u8, u8, u8, u8),
    /// Which watcher, and its budget in bytes.
    Poll(u8, u16),
    /// Ask whoever is ready, as a server does.
    PollReady(u16),
    Cancel(u8),
    /// Install a snapshot that is as new as the state.
    Restore,
    Sweep,
}

fn a_step() -> impl Strategy<Value = Step> {
    let txn = (0..2u8, prop::collection::vec(op(), 0..4));
    prop_oneof![
        10 => txn.prop_map(|(root, ops)| Step::Txn(root, ops)),
        4 => (0..2u8, 0..15u8, 0..9u8, 0..4u8).prop_map(|(r, n, s, f)| Step::Watch(r, n, s, f)),
        4 => (any::<u8>(), 0..2000u16).prop_map(|(w, b)| Step::Poll(w, b)),
        3 => (0..2000u16).prop_map(Step::PollReady),
        1 => any::<u8>().prop_map(Step::Cancel),
        1 => Just(Step::Restore),
        1 => Just(Step::Sweep),
    ]
}

/// One watch as its client sees it.
struct Seen {
    spec: WatchSpec,
    start: u64,
    /// Everything that was received.
    events: Vec<(Version, Option<Version>)>,
    synced_to: u64,
}

struct World {
    store: Store,
    model: Model,
    hub: Hub,
    seen: BTreeMap<WatcherId, Seen>,
}

impl World {
    fn new(queue_bytes: u64) -> World {
        let mut hub = Hub::new(Mutants::none());
        hub.bound_queues(queue_bytes);
        World {
            store: new_store(),
            model: Model::new(),
            hub,
            seen: BTreeMap::new(),
        }
    }

    fn txn(&mut self, root: RootId, ops: &[Op]) {
        let effects = apply(&mut self.store, &mut self.model, root, ops);
        self.hub.publish(self.store.state(), &effects.events);
    }

    fn watch(&mut self, spec: WatchSpec) -> WatcherId {
        let start = match spec.start.0 {
            0 => self.model.revision + 1,
            start => start,
        };
        let id = self.hub.watch(spec.clone(), self.store.state());
        let seen = Seen {
            spec,
            start,
            events: vec![],
            synced_to: 0,
        };
        assert!(self.seen.insert(id, seen).is_none());
        id
    }

    /// What `id` should have received once it has everything.
    fn expected(&self, seen: &Seen) -> Vec<(Version, Option<Version>)> {
        let root = self.model.root(seen.spec.root).uncompacted();
        let all = root.events(seen.start);
        let wanted = all.into_iter().filter(|(version, _)| {
            let unfiltered = match version.value {
                Some(_) => !seen.spec.no_put,
                None => !seen.spec.no_delete,
            };
            unfiltered && seen.spec.range.contains(&version.key)
        });
        wanted.collect()
    }

    /// What was received is what was expected to begin with; what a key was before may be compacted away.
    fn assert_prefix(&self, seen: &Seen, expected: &[(Version, Option<Version>)]) {
        let compacted = self.model.root(seen.spec.root).compacted;
        assert!(seen.events.len() <= expected.len());
        for (got, wanted) in seen.events.iter().zip(expected) {
            let gone = got.1.is_none() && got.0.modified <= compacted;
            assert!(
                got == wanted || gone && got.0 == wanted.0,
                "{got:?} {wanted:?}"
            );
        }
    }

    /// Polls once and checks every promise.
    fn poll(&mut self, id: WatcherId, budget: u64) -> Polled {
        let polled = self.hub.poll(id, self.store.state(), budget);
        let Some(mut seen) = self.seen.remove(&id) else {
            assert_eq!(
                polled,
                Polled::Idle {
                    synced_to: Revision(0)
                }
            );
            return polled;
        };
        let expected = self.expected(&seen);
        match &polled {
            Polled::Events(events) => {
                assert!(!events.is_empty());
                seen.events.extend(events.iter().map(|event| split(event)));
                // Ordered, unique, gapless, with exact previous versions: a prefix of what happened.
                let n = seen.events.len();
                self.assert_prefix(&seen, &expected);
                // Atomic: no revision is cut in two.
                let last = seen.events[n - 1].0.modified;
                assert!(expected.get(n).is_none_or(|(next, _)| next.modified > last));
                let before_last = events.iter().filter(|e| e.revision().0 < last);
                let bytes: u64 = before_last.map(|event| event.size()).sum();
                assert!(
                    bytes < budget.max(1),
                    "{bytes} bytes before the last revision"
                );
                assert!(last > seen.synced_to);
                self.seen.insert(id, seen);
            }
            Polled::Idle { synced_to } => {
                // Bookmarkable: nothing up to there is missing, and it does not go back.
                let due = expected.iter().filter(|(v, _)| v.modified <= synced_to.0);
                assert_eq!(due.count(), seen.events.len());
                assert!(synced_to.0 >= seen.synced_to || seen.start > self.model.revision);
                assert!(synced_to.0 <= self.model.revision);
                seen.synced_to = synced_to.0;
                self.seen.insert(id, seen);
            }
            Polled::Compacted { at } => {
                assert_eq!(at.0, self.model.root(seen.spec.root).compacted);
                let last = seen
                    .events
                    .last()
                    .map_or(0, |(version, _)| version.modified);
                assert!(last.max(seen.synced_to) < at.0 && seen.start < at.0);
                assert!(!self.hub.cancel(id), "the hub has forgotten it");
            }
        }
        polled
    }

    /// Polls until nothing is left to say.
    fn drain(&mut self, id: WatcherId) -> bool {
        loop {
            match self.poll(id, 100) {
                Polled::Events(_) => {}
                Polled::Idle { synced_to } => {
                    if let Some(seen) = self.seen.get(&id) {
                        let present = self.model.revision;
                        let future = seen.start > present + 1;
                        assert_eq!(synced_to.0, if future { 0 } else { present });
                        let expected = self.expected(seen);
                        self.assert_prefix(seen, &expected);
                        assert_eq!(seen.events.len(), expected.len());
                    }
                    return true;
                }
                Polled::Compacted { .. } => return false,
            }
        }
    }

    fn reload(&mut self) {
        let mut writer = stream::Writer::new(self.store.publish());
        let mut reader = stream::Reader::new();
        while let Some(chunk) = writer.next_chunk(1000) {
            reader.push(&chunk).unwrap();
        }
        let state: State = reader.finish().unwrap();
        self.store = Store::from_state(state);
        self.hub.restored(self.store.state());
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Txn(root, ops) => self.txn(ROOTS[usize::from(*root)], ops),
            Step::Watch(root, range, start, filter) => {
                let start = match *start {
                    0 => 0,
                    back => (self.model.revision + 3).saturating_sub(back.into()).max(1),
                };
                let range = ranges()[usize::from(*range)].clone();
                self.watch(WatchSpec {
                    no_put: filter & 1 != 0,
                    no_delete: filter & 2 != 0,
                    ..WatchSpec::new(ROOTS[usize::from(*root)], range, Revision(start))
                });
            }
            Step::Poll(which, budget) => {
                let n = self.seen.len().max(1);
                let id = self.seen.keys().copied().nth(usize::from(*which) % n);
                self.poll(id.unwrap_or(WatcherId(999)), u64::from(*budget));
            }
            Step::PollReady(budget) => {
                for id in self.hub.ready() {
                    self.poll(id, u64::from(*budget));
                }
            }
            Step::Cancel(which) => {
                let n = self.seen.len().max(1);
                if let Some(id) = self.seen.keys().copied().nth(usize::from(*which) % n) {
                    assert!(self.hub.cancel(id));
                    self.seen.remove(&id);
                }
            }
            Step::Restore => self.reload(),
            Step::Sweep => {
                self.store.sweep(5);
            }
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 2000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn every_watch_keeps_its_promises(
        queue_bytes in prop_oneof![Just(300u64), Just(1000), Just(1_000_000)],
        steps in prop::collection::vec(a_step(), 1..60),
    ) {
        let mut world = World::new(queue_bytes);
        for step in &steps {
            world.step(step);
        }
        // Whoever is not named by `ready` has nothing: only those are asked here.
        let mut rounds = 0;
        while world.hub.has_ready() {
            for id in world.hub.ready() {
                world.poll(id, 200);
            }
            rounds += 1;
            prop_assert!(rounds < 1000, "the ready ones come to an end");
        }
        for id in world.seen.keys().copied().collect::<Vec<_>>() {
            let seen = &world.seen[&id];
            let expected = world.expected(seen);
            world.assert_prefix(seen, &expected);
            prop_assert_eq!(seen.events.len(), expected.len());
            prop_assert!(world.drain(id));
        }
    }
}

fn put(n: u8) -> Vec<Op> {
    vec![Op::Put(n, 1, 0)]
}

#[test]
fn a_watch_in_the_future_is_silent_until_its_revision() {
    let mut world = World::new(1000);
    let id = world.watch(WatchSpec::new(ROOTS[0], KeyRange::all(), Revision(4)));
    for _ in 0..2 {
        world.txn(ROOTS[0], &put(0));
        assert!(world.hub.ready().is_empty());
        let polled = world.poll(id, 100);
        let expected = if world.model.revision == 3 { 3 } else { 0 };
        assert_eq!(
            polled,
            Polled::Idle {
                synced_to: Revision(expected)
            }
        );
    }
    world.txn(ROOTS[0], &put(0));
    assert_eq!(world.hub.ready(), [id]);
    assert!(matches!(world.poll(id, 100), Polled::Events(events) if events.len() == 1));
}

#[test]
fn a_quiet_watch_is_not_cancelled_by_compactions_that_pass_it() {
    let mut world = World::new(300);
    let quiet = world.watch(WatchSpec::new(ROOTS[0], KeyRange::single("c"), Revision(0)));
    for _ in 0..20 {
        world.txn(ROOTS[0], &put(0));
    }
    world.txn(ROOTS[0], &[Op::Compact(900)]);
    // It is told enough at once to fall behind, and a snapshot is installed too.
    for _ in 0..5 {
        world.txn(ROOTS[0], &put(6));
    }
    assert_eq!(world.hub.n_behind(), 1);
    assert!(world.drain(quiet));
    world.txn(ROOTS[0], &[Op::Put(0, 1, 0), Op::Compact(1000)]);
    world.reload();
    assert!(world.drain(quiet));
}

#[test]
fn a_watch_that_falls_behind_a_compaction_is_told_so() {
    let mut world = World::new(300);
    let slow = world.watch(WatchSpec::new(ROOTS[0], KeyRange::all(), Revision(0)));
    for _ in 0..10 {
        world.txn(ROOTS[0], &put(0));
    }
    world.txn(ROOTS[0], &[Op::Compact(1000)]);
    assert_eq!(
        world.poll(slow, 1000),
        Polled::Compacted { at: Revision(11) }
    );
    assert_eq!(world.hub.n_watchers(), 0);
}

#[test]
fn a_long_history_is_read_in_steps_that_say_how_far_they_are() {
    let mut store = new_store();
    let mut hub = Hub::default();
    for n in 0..25_000u32 {
        let mut txn = store.begin(ROOTS[0], &Default::default());
        let key: &[u8] = if n % 12_500 == 0 { b"rare" } else { b"common" };
        txn.put(key, b"", LeaseId::NONE);
        txn.finish();
    }
    let spec = WatchSpec::new(ROOTS[0], KeyRange::prefix("r"), Revision(1));
    let id = hub.watch(spec, store.state());
    let mut polls = vec![];
    while hub.ready() == [id] {
        polls.push(hub.poll(id, store.state(), 1000));
    }
    let found = polls
        .iter()
        .filter(|polled| matches!(polled, Polled::Events(_)));
    assert_eq!(found.count(), 2);
    assert!(polls.len() >= 3);
    assert_eq!(
        hub.poll(id, store.state(), 1000),
        Polled::Idle {
            synced_to: Revision(25_001)
        }
    );
}

#[test]
fn a_state_older_than_what_was_published_loses_nothing() {
    let mut world = World::new(1000);
    world.txn(ROOTS[0], &put(0));
    let old = world.store.publish();
    let early = world.watch(WatchSpec::new(ROOTS[0], KeyRange::all(), Revision(1)));
    for _ in 0..2 {
        world.txn(ROOTS[0], &put(0));
    }
    // Both ask with a state that is two revisions old.
    let Polled::Events(events) = world.hub.poll(early, &old, 1000) else {
        panic!("one event is old enough");
    };
    assert_eq!(events.len(), 1);
    let late = world
        .hub
        .watch(WatchSpec::new(ROOTS[0], KeyRange::all(), Revision(0)), &old);
    for id in [early, late] {
        let Polled::Events(events) = world.hub.poll(id, world.store.state(), 1000) else {
            panic!("two more have happened");
        };
        assert_eq!(events.len(), 2, "{id:?}");
    }
}

#[test]
fn what_waits_for_a_watcher_is_told() {
    let mut world = World::new(150);
    let spec = WatchSpec::new(ROOTS[0], KeyRange::all(), Revision(0));
    let slow = world.watch(spec.clone());
    let other = world.watch(WatchSpec::new(ROOTS[1], KeyRange::all(), Revision(0)));
    assert_eq!(world.hub.waiting(10).count(), 0);
    let put = |world: &mut World| {
        let mut txn = world.store.begin(ROOTS[0], &Stamp::default());
        txn.put(b"k", &[0; 20], LeaseId::NONE);
        let effects = txn.finish();
        world.hub.publish(world.store.state(), &effects.events);
    };
    put(&mut world);
    let waiting: Vec<_> = world.hub.waiting(10).collect();
    let [(id, first)] = waiting[..] else {
        panic!("{waiting:?}");
    };
    assert_eq!(
        (id, first.revisions, first.events, first.is_behind),
        (slow, 1, 1, false)
    );
    assert!(first.bytes > 20);
    // Beyond the bound of its queue it reads history, and how far it is behind stays known.
    for _ in 0..9 {
        put(&mut world);
    }
    let behind = world.hub.waiting(10).next().unwrap().1;
    assert_eq!(
        (behind.revisions, behind.is_behind, behind.events),
        (10, true, 0)
    );
    assert_eq!(
        world.hub.waiting(0).count(),
        0,
        "no more are looked at than may be"
    );
    assert_eq!(world.hub.n_given(), 0);
    let state = world.store.state().clone();
    while let Polled::Events(_) = world.hub.poll(slow, &state, 1_000_000) {}
    assert_eq!(world.hub.n_given(), 10);
    assert_eq!(world.hub.waiting(10).count(), 0);
    world.hub.cancel(other);
}
