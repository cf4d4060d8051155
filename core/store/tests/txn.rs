//! What a write transaction promises, one claim at a time.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod common;

use base::{LeaseId, LogPosition, MemberId, Membership, Revision};
use clock::HybridTime;
use common::{ROOTS, TABLE, new_store};
use store::{Genesis, KeyRange, LeaseChange, Member, ReadError, Stamp, State, Store};

fn member(id: u64, name: &str) -> Member {
    Member {
        id: MemberId(id),
        name: name.into(),
        peer_urls: vec![format!("http://10.0.0.{id}:2380")],
        client_urls: vec![],
        is_learner: id == 3,
    }
}

fn put(store: &mut Store, key: &[u8]) {
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    txn.put(key, b"v", LeaseId::NONE);
    txn.finish();
}

#[test]
fn genesis_is_a_pure_function_of_the_members() {
    let genesis = |members: Vec<Member>| {
        Store::new(Genesis {
            membership: Membership::of_voters(vec![MemberId(2), MemberId(1)]),
            members,
        })
    };
    let one = genesis(vec![member(1, "a"), member(2, "b"), member(3, "c")]);
    let same = genesis(vec![member(3, "c"), member(1, "a"), member(2, "b")]);
    let other = genesis(vec![member(1, "a"), member(2, "b"), member(3, "d")]);
    assert_eq!(one.state().digest(), same.state().digest());
    assert_ne!(one.state().digest(), other.state().digest());
    assert_eq!(one.state().revision(), Revision(1));
    assert_eq!(one.state().applied().to_string(), "1@1");
    let members = one.state().members();
    assert_eq!(members, [member(1, "a"), member(2, "b"), member(3, "c")]);
    assert_eq!(one.state().member(MemberId(2)), Some(member(2, "b")));
    one.state().check();
}

#[test]
fn what_changes_no_key_takes_no_revision() {
    let mut store = new_store();
    put(&mut store, b"a");
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    assert!(txn.delete(&KeyRange::single("missing")).is_empty());
    txn.lease_grant(LeaseId(1), 60);
    txn.record_put(TABLE, b"k", "v".into());
    txn.member_put(&member(9, "nine"));
    txn.compact(Revision(2));
    let effects = txn.finish();
    assert_eq!((effects.revision, effects.events.len()), (None, 0));
    assert_eq!(store.state().revision(), Revision(2));
    assert!(matches!(effects.leases[..], [LeaseChange::Granted(lease)] if lease.ttl_s == 60));
    assert_eq!(effects.compacted, [(ROOTS[0], Revision(2))]);
}

#[test]
fn a_transaction_sees_its_own_writes_and_the_past() {
    let mut store = new_store();
    put(&mut store, b"a");
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    assert_eq!(txn.revision(), Revision(2));
    txn.put(b"b", b"", LeaseId::NONE);
    assert_eq!(txn.revision(), Revision(3));
    txn.delete(&KeyRange::single("a"));
    let keys = |at| {
        let rows = txn.range(&KeyRange::all(), at).unwrap();
        rows.map(|record| record.key().to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(keys(None), [b"b"]);
    assert_eq!(keys(Some(Revision(3))), [b"b"]);
    assert_eq!(keys(Some(Revision(2))), [b"a"]);
    let future = txn.count(&KeyRange::all(), Some(Revision(4)));
    let (requested, current) = (Revision(4), Revision(3));
    assert_eq!(future, Err(ReadError::Future { requested, current }));
    assert_eq!(txn.finish().revision, Some(Revision(3)));
}

#[test]
fn a_put_moves_its_key_to_the_new_lease() {
    let mut store = new_store();
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    txn.lease_grant(LeaseId(1), 60);
    txn.lease_grant(LeaseId(2), 60);
    txn.put(b"k", b"", LeaseId(1));
    txn.finish();
    let held = |state: &State, id| state.lease_keys(LeaseId(id)).count();
    for (lease, expected) in [(2, [0, 1]), (2, [0, 1]), (0, [0, 0]), (1, [1, 0])] {
        let mut txn = store.begin(ROOTS[0], &Stamp::default());
        txn.put(b"k", b"", LeaseId(lease));
        txn.finish();
        assert_eq!([1, 2].map(|id| held(store.state(), id)), expected);
        store.state().check();
    }
}

#[test]
fn a_revoke_deletes_in_order_at_one_revision_in_every_root() {
    let mut store = new_store();
    let mut txn = store.begin(ROOTS[1], &Stamp::default());
    txn.lease_grant(LeaseId(5), 60);
    txn.put(b"z", b"", LeaseId(5));
    txn.finish();
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    for key in [&b"c"[..], b"a", b"b"] {
        txn.put(key, b"", LeaseId(5));
    }
    txn.put(b"free", b"", LeaseId::NONE);
    txn.finish();
    let mut txn = store.begin(ROOTS[1], &Stamp::default());
    assert_eq!(txn.lease_revoke(LeaseId(5)), 4);
    let effects = txn.finish();
    assert_eq!(effects.leases, [LeaseChange::Revoked(LeaseId(5))]);
    let deleted = effects.events.iter().map(|(root, event)| {
        assert!(event.record.is_tombstone() && event.previous.is_some());
        assert_eq!(event.revision(), Revision(4));
        (*root, event.record.key().to_vec(), event.record.sub())
    });
    let expected = [
        (ROOTS[0], b"a".to_vec(), 0),
        (ROOTS[0], b"b".to_vec(), 1),
        (ROOTS[0], b"c".to_vec(), 2),
        (ROOTS[1], b"z".to_vec(), 3),
    ];
    assert_eq!(deleted.collect::<Vec<_>>(), expected);
    assert_eq!(store.state().lease(LeaseId(5)), None);
    store.state().check();
}

#[test]
fn operations_of_one_transaction_have_the_same_before() {
    let mut store = new_store();
    put(&mut store, b"a");
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    txn.delete(&KeyRange::single("a"));
    txn.put(b"a", b"1", LeaseId::NONE);
    txn.put(b"a", b"2", LeaseId::NONE);
    txn.put(b"new", b"1", LeaseId::NONE);
    txn.put(b"new", b"2", LeaseId::NONE);
    let effects = txn.finish();
    let before = effects
        .events
        .iter()
        .map(|(_, event)| event.previous.is_some());
    assert_eq!(before.collect::<Vec<_>>(), [true, true, true, false, false]);
    // History tells the same as the transaction did.
    let view = store.state().root(ROOTS[0]);
    let told = effects.events.into_iter().map(|(_, event)| event);
    assert!(view.events(Revision(3)).unwrap().eq(told));
}

#[test]
fn the_digest_tells_apart_what_differs_in_anything() {
    type Change = fn(&mut store::WriteTxn<'_>);
    let changes: [Change; 10] = [
        |_| {},
        |txn| drop(txn.put(b"k", b"", LeaseId::NONE)),
        |txn| drop(txn.put(b"k", b"", LeaseId(1))),
        |txn| drop(txn.put(b"k", b"v", LeaseId::NONE)),
        |txn| drop(txn.delete(&KeyRange::single("a"))),
        |txn| txn.lease_grant(LeaseId(2), 60),
        |txn| txn.lease_grant(LeaseId(2), 61),
        |txn| assert_eq!(txn.lease_revoke(LeaseId(1)), 0),
        |txn| drop(txn.record_put(TABLE, b"k", "v".into())),
        |txn| txn.compact(Revision(1)),
    ];
    let digests = changes.map(|change| {
        let mut store = new_store();
        let mut txn = store.begin(ROOTS[0], &Stamp::default());
        txn.put(b"a", b"", LeaseId::NONE);
        txn.lease_grant(LeaseId(1), 60);
        txn.finish();
        let mut txn = store.begin(ROOTS[0], &Stamp::default());
        change(&mut txn);
        txn.finish();
        store.state().digest()
    });
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest), "change {at}");
    }
    // The same write elsewhere is another write; so are another position, membership and version.
    let base = new_store().publish();
    let mut others = [0; 5].map(|_| Store::from_state(base.clone()));
    others[0].set_applied(LogPosition {
        term: base::Term(1),
        index: base::Index(2),
    });
    others[1].set_membership(Membership::of_voters(vec![MemberId(1)]));
    others[2].raise_apply_version(2);
    for (store, root) in others[3..].iter_mut().zip(ROOTS) {
        let mut txn = store.begin(root, &Stamp::default());
        txn.put(b"k", b"", LeaseId::NONE);
        txn.finish();
    }
    let mut digests: Vec<u64> = others.iter().map(|store| store.state().digest()).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), others.len());
}

#[test]
fn time_is_that_of_the_latest_stamp_and_never_falls() {
    let mut store = new_store();
    for (ms, expected) in [(5, 5), (9, 9), (7, 9)] {
        let time = HybridTime::new(ms, 0);
        let stamp = Stamp {
            time,
            ..Stamp::default()
        };
        let mut txn = store.begin(ROOTS[0], &stamp);
        txn.lease_grant(LeaseId(ms as i64), 1);
        txn.finish();
        assert_eq!(store.state().time(), HybridTime::new(expected, 0));
        let lease = store.state().lease(LeaseId(ms as i64));
        assert_eq!(lease.map(|lease| lease.granted), Some(time));
    }
}

#[test]
#[should_panic(expected = "put on lease 7, which is not granted")]
fn a_put_under_an_unknown_lease_is_a_bug_of_the_dialect() {
    let mut store = new_store();
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    txn.put(b"k", b"", LeaseId(7));
}

#[test]
#[should_panic(expected = "a transaction that wrote is finished")]
fn a_transaction_that_wrote_cannot_be_dropped() {
    let mut store = new_store();
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    txn.put(b"k", b"", LeaseId::NONE);
}

#[test]
#[should_panic(expected = "compact to 9")]
fn the_future_cannot_be_compacted() {
    let mut store = new_store();
    store
        .begin(ROOTS[0], &Stamp::default())
        .compact(Revision(9));
}

#[test]
fn dead_keys_cost_a_range_nothing_once_there_are_many() {
    let mut store = new_store();
    for n in 0..5000u32 {
        put(&mut store, &n.to_be_bytes());
    }
    put(&mut store, b"\xff");
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    txn.delete(&KeyRange::between(vec![], vec![1]));
    txn.finish();
    let view = store.state().root(ROOTS[0]);
    let all = KeyRange::all();
    assert_eq!(view.range(&all, None).unwrap().count(), 1);
    assert_eq!(view.range_descending(&all, None).unwrap().count(), 1);
    assert_eq!(
        view.range(&all, Some(Revision(5002))).unwrap().count(),
        5001
    );
    assert_eq!(view.count(&all, Some(Revision(5000))), Ok(4999));
    assert_eq!(view.count(&all, Some(Revision(10))), Ok(9));
}

#[test]
fn the_account_of_bytes_follows_what_is_retained() {
    let mut store = new_store();
    let empty = store.state().bytes_in_use();
    for _ in 0..10 {
        let mut txn = store.begin(ROOTS[0], &Stamp::default());
        txn.put(b"k", &[0; 1000], LeaseId::NONE);
        txn.finish();
    }
    let full = store.state().bytes_in_use();
    assert!(full > empty + 10_000 && full < empty + 13_000, "{full}");
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    txn.delete(&KeyRange::all());
    txn.finish();
    put(&mut store, b"other");
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    txn.compact(Revision(13));
    txn.finish();
    while store.sweep(3) {}
    let left = store.state().bytes_in_use();
    assert!(left < empty + 300, "{left}");
    store.state().check();
}

#[test]
fn a_transaction_says_how_much_it_did() {
    let mut store = new_store();
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    txn.lease_grant(LeaseId(7), 60);
    txn.put(b"a", b"12345", LeaseId::NONE);
    txn.put(b"bc", b"1", LeaseId(7));
    txn.delete(&KeyRange::all());
    txn.delete(&KeyRange::single("missing"));
    let ops = txn.ops();
    assert_eq!((ops.puts, ops.put_bytes, ops.deletes), (2, 9, 2));
    assert_eq!(ops.granted_ttl_s, Some(60));
    txn.finish();
    // The next one begins anew, and a lease that is revoked deletes nothing by range.
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    txn.lease_revoke(LeaseId(7));
    assert_eq!(txn.ops(), store::Ops::default());
    txn.finish();
}

#[test]
fn what_a_sweep_removes_is_counted() {
    let mut store = new_store();
    for _ in 0..5 {
        put(&mut store, b"a");
    }
    put(&mut store, b"b");
    assert_eq!(store.versions_swept(), 0);
    let now = store.state().revision();
    let mut txn = store.begin(ROOTS[0], &Stamp::default());
    txn.compact(now);
    txn.finish();
    while store.sweep(10) {}
    // Of six versions the newest of each key stays.
    assert_eq!(store.versions_swept(), 4);
    assert_eq!(store.state().root(ROOTS[0]).versions(), 2);
}
