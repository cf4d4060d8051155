//! KvClientPrefix and LeaseClientPrefix: a client that lives under a prefix.

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, KvClientPrefix, LeaseClientPrefix,
    LeaseTimeToLiveOptions, PutOptions, Txn, TxnOp, TxnOpResponse,
};
use quorate_conformance::shared;

#[tokio::test]
async fn a_prefix_is_added_and_taken_away() {
    let mut client = shared().await.client;
    let mut kv = KvClientPrefix::new(client.kv_client(), b"space/".to_vec());
    kv.put("a", "1", None).await.expect("put");
    let again = kv
        .put("a", "2", Some(PutOptions::new().with_prev_key()))
        .await
        .expect("put");
    assert_eq!(again.prev_key().expect("the value before").key(), b"a");
    assert_eq!(
        client.get("space/a", None).await.expect("get").kvs()[0].value(),
        b"2"
    );
    client.put("spacf", "outside", None).await.expect("put");
    // The crate's `with_all_keys` and `with_from_key` leave the prefix; this spelling stays inside.
    let all = kv
        .get("", Some(GetOptions::new().with_range("\0")))
        .await
        .expect("get");
    assert_eq!(
        all.kvs()
            .iter()
            .map(etcd_client::KeyValue::key)
            .collect::<Vec<_>>(),
        [b"a"]
    );
    let txn = Txn::new()
        .when([Compare::value("a", CompareOp::Equal, "2")])
        .and_then([TxnOp::get("a", None), TxnOp::put("b", "3", None)]);
    let done = kv.txn(txn).await.expect("txn");
    assert!(done.succeeded());
    assert!(
        matches!(&done.op_responses()[0], TxnOpResponse::Get(get) if get.kvs()[0].key() == b"a")
    );
    let options = DeleteOptions::new().with_range("\0").with_prev_key();
    let gone = kv.delete("", Some(options)).await.expect("delete");
    assert_eq!(gone.deleted(), 2);
    assert_eq!(gone.prev_kvs()[1].key(), b"b");
    assert_eq!(client.get("spacf", None).await.expect("get").count(), 1);
}

#[tokio::test]
async fn a_leases_keys_lose_the_prefix() {
    let mut client = shared().await.client;
    let id = client.lease_grant(60, None).await.expect("grant").id();
    let with = Some(PutOptions::new().with_lease(id));
    client.put("spacl/a", "1", with).await.expect("put");
    let mut leases = LeaseClientPrefix::new(client.lease_client(), b"spacl/".to_vec());
    let options = LeaseTimeToLiveOptions::new().with_keys();
    let answer = leases
        .time_to_live(id, Some(options))
        .await
        .expect("time to live");
    assert_eq!(answer.keys(), [b"a"]);
    client.lease_revoke(id).await.expect("revoke");
}
