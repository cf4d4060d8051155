//! Restores: what is refused, and what a state is made of that comes from elsewhere.
#![allow(clippy::unwrap_used)] // a test that fails says where

use base::{LeaseId, MemberId, Membership, Revision, limits};
use bytes::Bytes;
use store::restore::{Refounding, Restoration, RestoreError, Restored, refound};
use store::{Genesis, KeyRange, Member, Place, RootId, Store, Table};

const ROOT: RootId = RootId(0);

fn place(revision: u64, sub: u32) -> Place {
    Place {
        revision: Revision(revision),
        sub,
    }
}

fn put<'a>(key: &'a [u8], at: Place, created: u64, version: u64) -> Restored<'a> {
    Restored {
        key,
        value: Some(b"v"),
        place: at,
        created: Revision(created),
        version,
        lease: LeaseId::NONE,
    }
}

fn tombstone<'a>(key: &'a [u8], at: Place) -> Restored<'a> {
    Restored {
        value: None,
        ..put(key, at, 0, 0)
    }
}

fn fresh(compacted: u64) -> Restoration {
    Restoration::beside(None, ROOT, Revision(compacted)).unwrap()
}

#[test]
fn versions_that_were_never_written_are_refused() {
    let at = place(5, 1);
    let long = vec![0; limits::ENTRY_BYTES_MAX + 1];
    let most = limits::ENTRY_BYTES_MAX;
    for (wrong, error) in [
        (put(b"", at, 5, 1), RestoreError::Unsound(at)),
        (put(b"k", at, 6, 1), RestoreError::Unsound(at)),
        (put(b"k", at, 0, 1), RestoreError::Unsound(at)),
        (put(b"k", at, 5, 0), RestoreError::Unsound(at)),
        (
            put(b"k", place(5, u32::MAX), 5, 1),
            RestoreError::Unsound(place(5, u32::MAX)),
        ),
        (
            put(b"k", place(limits::NUMBER_MAX + 1, 0), 5, 1),
            RestoreError::Number(limits::NUMBER_MAX + 1),
        ),
        (
            Restored {
                lease: LeaseId(1),
                ..tombstone(b"k", at)
            },
            RestoreError::Unsound(at),
        ),
        (
            put(&long, at, 5, 1),
            RestoreError::Large {
                at,
                bytes: long.len() + 1,
                most,
            },
        ),
    ] {
        assert_eq!(fresh(0).version(&wrong), Err(error));
    }
    let mut restoration = fresh(0);
    restoration.version(&put(b"k", at, 5, 1)).unwrap();
    for again in [at, place(5, 0), place(4, 9)] {
        let error = restoration.version(&put(b"l", again, 4, 1));
        assert_eq!(error, Err(RestoreError::Order(again)));
    }
    assert!(fresh(0).lease(LeaseId::NONE, 5).is_err());
    assert!(fresh(0).lease(LeaseId(1), 0).is_err());
    let far = Restoration::beside(None, ROOT, Revision(limits::NUMBER_MAX + 1));
    assert!(far.is_err());
}

#[test]
fn a_root_that_is_there_is_not_restored_over() {
    let mut store = Store::new(Genesis::default());
    let mut txn = store.begin(ROOT, &Default::default());
    txn.put(b"k", b"v", LeaseId::NONE);
    txn.finish();
    let error = Restoration::beside(Some(store.publish()), ROOT, Revision(0)).err();
    assert_eq!(error, Some(RestoreError::Root(ROOT)));
}

#[test]
fn a_key_whose_lease_is_gone_hangs_on_none_and_its_past_is_left_alone() {
    let on = |lease, version: Restored<'static>| Restored {
        lease: LeaseId(lease),
        ..version
    };
    let mut restoration = fresh(0);
    restoration.lease(LeaseId(7), 60).unwrap();
    for version in [
        on(9, put(b"a", place(2, 0), 2, 1)),
        on(7, put(b"a", place(3, 0), 2, 2)),
        on(9, put(b"b", place(4, 0), 4, 1)),
        put(b"c", place(5, 0), 5, 1),
        tombstone(b"c", place(6, 0)),
    ] {
        restoration.version(&version).unwrap();
    }
    let state = restoration.finish(Revision(9)).unwrap();
    state.check();
    assert_eq!(state.revision(), Revision(9));
    let lease_of = |key: &[u8], at| {
        let record = state.root(ROOT).get(key, at).unwrap();
        record.map(|record| record.lease().0)
    };
    assert_eq!(lease_of(b"a", None), Some(7));
    assert_eq!(lease_of(b"a", Some(Revision(2))), Some(9));
    assert_eq!(lease_of(b"b", None), Some(0));
    assert_eq!(lease_of(b"c", None), None);
    let held: Vec<_> = state.lease_keys(LeaseId(7)).collect();
    assert_eq!(held, [(ROOT, b"a".as_slice().into())]);
}

#[test]
fn what_compaction_hid_is_swept_after_a_restore() {
    // An etcd that had not got round to it.
    let mut restoration = fresh(5);
    for version in [
        put(b"a", place(2, 0), 2, 1),
        put(b"b", place(3, 0), 3, 1),
        put(b"a", place(4, 0), 2, 2),
        tombstone(b"b", place(4, 1)),
        put(b"a", place(6, 0), 2, 3),
    ] {
        restoration.version(&version).unwrap();
    }
    let mut store = Store::from_state(restoration.finish(Revision(0)).unwrap());
    store.state().check();
    assert!(store.is_sweeping());
    while store.sweep(1) {}
    store.state().check();
    let view = store.state().root(ROOT);
    assert_eq!(view.versions(), 2);
    assert_eq!(view.count(&KeyRange::all(), None), Ok(1));
    let old = view.get(b"a", Some(Revision(5))).unwrap().unwrap();
    assert_eq!(old.version(), 2);
}

#[test]
fn a_new_cluster_has_new_members_and_room_to_count_on() {
    let member = |id| Member {
        id: MemberId(id),
        ..Member::default()
    };
    let genesis = |id| Genesis {
        membership: Membership::of_voters(vec![MemberId(id)]),
        members: vec![member(id)],
    };
    const NOTES: Table = Table(77);
    let mut store = Store::new(genesis(1));
    let mut txn = store.begin(ROOT, &Default::default());
    txn.member_remove(MemberId(1));
    txn.member_put(&member(2));
    txn.put(b"k", b"v", LeaseId::NONE);
    txn.record_put(NOTES, b"of member 1", Bytes::from_static(b"1"));
    txn.record_put(NOTES, b"of the data", Bytes::from_static(b"2"));
    txn.finish();
    let how = Refounding {
        genesis: genesis(3),
        bump: 10,
        mark_compacted: true,
        forget: vec![(NOTES, Bytes::from_static(b"of member 1"))],
    };
    let state = refound(store.publish(), how.clone()).unwrap();
    state.check();
    assert_eq!(state.members(), [member(3)]);
    assert!(!state.was_removed(MemberId(1)), "ids of another cluster");
    let notes: Vec<Bytes> = state.records(NOTES).map(|(key, _)| key).collect();
    assert_eq!(notes, [&b"of the data"[..]]);
    assert_eq!(state.revision(), Revision(12));
    assert_eq!(state.root(ROOT).compacted(), Revision(12));
    assert!(state.root(ROOT).get(b"k", None).unwrap().is_some());
    let too_far = Refounding {
        bump: u64::MAX,
        ..how
    };
    assert!(matches!(
        refound(state, too_far),
        Err(RestoreError::Number(_))
    ));
}
