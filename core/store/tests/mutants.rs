//! Each planted bug of the store misbehaves as its name says, or the simulator hunts a ghost.
//! `cargo test -p quorate-store --features mutants`.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.
#![cfg(feature = "mutants")]

mod common;

use base::{Index, LeaseId, LogPosition, MemberId, Mutant, Mutants, Revision, Term};
use common::{ROOTS, new_store};
use store::hub::{Hub, Polled, WatchSpec};
use store::{KeyRange, Stamp, Store};

fn put(store: &mut Store) -> store::Effects {
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    txn.put(b"k", &[0; 100], LeaseId::NONE);
    txn.finish()
}

#[test]
fn tombstone_lost_drops_the_delete_at_the_compacted_revision() {
    let events_with = |mutants| {
        let mut store = new_store();
        store.plant(mutants, MemberId(1));
        put(&mut store);
        let mut txn = store.begin(ROOTS[0], &Stamp::default());
        txn.delete(&KeyRange::all());
        txn.compact(Revision(3));
        txn.finish();
        while store.sweep(1) {}
        let view = store.state().root(ROOTS[0]);
        view.events(Revision(3)).unwrap().count()
    };
    assert_eq!(events_with(Mutants::none()), 1);
    assert_eq!(events_with(Mutants::only(Mutant::TombstoneLost)), 0);
}

#[test]
fn revision_burnt_by_failure_happens_on_odd_members_only() {
    for (member, expected) in [(1, 2), (2, 1)] {
        let mut store = new_store();
        store.plant(
            Mutants::only(Mutant::RevisionBurntByFailure),
            MemberId(member),
        );
        store.begin(ROOTS[0], &Stamp::default()).finish();
        assert_eq!(store.state().revision(), Revision(expected));
    }
}

#[test]
fn applied_apart_from_effects_lags_one_entry() {
    let mut store = new_store();
    store.plant(Mutants::only(Mutant::AppliedApartFromEffects), MemberId(1));
    for index in 2..5 {
        put(&mut store);
        store.set_applied(LogPosition {
            term: Term(1),
            index: Index(index),
        });
        assert_eq!(store.state().applied().index, Index(index - 1));
    }
}

#[test]
fn watch_gap_when_slow_loses_what_overflows() {
    let received_with = |mutants| {
        let mut store = new_store();
        let mut hub = Hub::new(mutants);
        hub.bound_queues(1000);
        let spec = WatchSpec::new(ROOTS[0], KeyRange::all(), Revision(0));
        let id = hub.watch(spec, store.state());
        for _ in 0..20 {
            let effects = put(&mut store);
            hub.publish(store.state(), &effects.events);
        }
        let mut n_received = 0;
        while let Polled::Events(events) = hub.poll(id, store.state(), u64::MAX) {
            n_received += events.len();
        }
        n_received
    };
    assert_eq!(received_with(Mutants::none()), 20);
    assert!(received_with(Mutants::only(Mutant::WatchGapWhenSlow)) < 20);
}
