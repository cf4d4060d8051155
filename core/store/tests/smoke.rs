//! A first walk through the store's public face.

use base::{LeaseId, MemberId, Membership, Revision};
use store::{Genesis, KeyRange, RootId, Stamp, Store, stream};

const ETCD: RootId = RootId(0);

fn store() -> Store {
    Store::new(Genesis {
        membership: Membership::of_voters(vec![MemberId(1)]),
        members: vec![],
    })
}

#[test]
fn a_key_is_put_read_deleted_and_streamed() {
    let mut store = store();
    let mut txn = store.begin(ETCD, &Stamp::default());
    txn.lease_grant(LeaseId(7), 10);
    assert_eq!(txn.put(b"a", b"1", LeaseId(7)), None);
    txn.put(b"b", b"2", LeaseId::NONE);
    assert_eq!(txn.count(&KeyRange::all(), None).unwrap(), 2);
    let effects = txn.finish();
    assert_eq!(effects.revision, Some(Revision(2)));
    assert_eq!(effects.events.len(), 2);
    let mut txn = store.begin(ETCD, &Stamp::default());
    assert_eq!(txn.lease_revoke(LeaseId(7)), 1);
    assert_eq!(txn.finish().revision, Some(Revision(3)));
    let held = store.publish();
    let view = held.root(ETCD);
    assert_eq!(view.count(&KeyRange::all(), None).unwrap(), 1);
    assert_eq!(view.count(&KeyRange::all(), Some(Revision(2))).unwrap(), 2);
    held.check();
    let mut writer = stream::Writer::new(held.clone());
    let mut reader = stream::Reader::new();
    while let Some(chunk) = writer.next_chunk(100) {
        reader.push(&chunk).unwrap();
    }
    let loaded = reader.finish().unwrap();
    assert_eq!(loaded.digest(), held.digest());
    assert_eq!(loaded.root(ETCD).hash(Revision(0)), view.hash(Revision(0)));
}
