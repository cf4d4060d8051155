//! Transactions: every compare, every operation, nesting, refusals.

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse,
};
use quorate_conformance::{alone, code, is_ours, refusal, shared};

/// Whether the compares hold.
async fn holds(client: &Client, compares: impl Into<Vec<Compare>>) -> bool {
    let txn = Txn::new().when(compares);
    client.clone().txn(txn).await.expect("txn").succeeded()
}

#[tokio::test]
async fn txn_takes_one_branch_at_one_revision() {
    let mut client = shared().await.client;
    let mut kv = client.kv_client();
    client.put("txn/a", "1", None).await.expect("put");
    let txn = Txn::new()
        .when([Compare::value("txn/a", CompareOp::Equal, "1")])
        .and_then([
            TxnOp::put("txn/b", "2", Some(PutOptions::new().with_prev_key())),
            TxnOp::get("txn/", Some(GetOptions::new().with_prefix())),
            TxnOp::delete("txn/a", Some(DeleteOptions::new().with_prev_key())),
        ])
        .or_else([TxnOp::put("txn/no", "", None)]);
    let mut done = kv.txn(txn).await.expect("txn");
    assert!(done.succeeded());
    let revision = done.header().expect("a header").revision();
    let answers = done.op_responses();
    let [
        TxnOpResponse::Put(put),
        TxnOpResponse::Get(get),
        TxnOpResponse::Delete(delete),
    ] = &answers[..]
    else {
        panic!("three answers of three kinds: {answers:?}");
    };
    assert!(put.prev_key().is_none());
    assert_eq!(get.count(), 2, "a get sees the put before it");
    assert_eq!(get.kvs()[1].mod_revision(), revision);
    assert_eq!(
        (delete.deleted(), delete.prev_kvs()[0].value()),
        (1, &b"1"[..])
    );
    assert!(done.take_header().is_some());

    let other = Txn::new()
        .when([Compare::version("txn/a", CompareOp::Greater, 0)])
        .and_then([TxnOp::put("txn/no", "", None)])
        .or_else([TxnOp::get("txn/b", None)]);
    let done = client.txn(other).await.expect("txn");
    assert!(!done.succeeded());
    assert!(matches!(&done.op_responses()[..], [TxnOpResponse::Get(get)] if get.count() == 1));
    assert_eq!(client.get("txn/no", None).await.expect("get").count(), 0);
}

#[tokio::test]
async fn compares_of_every_field_and_kind() {
    let mut client = shared().await.client;
    let lease = client.lease_grant(60, None).await.expect("grant").id();
    let created = client.put("cmp/a", "1", None).await.expect("put");
    let created = created.header().expect("a header").revision();
    let options = PutOptions::new().with_lease(lease);
    let modified = client.put("cmp/a", "5", Some(options)).await.expect("put");
    let modified = modified.header().expect("a header").revision();
    let c = &client;
    for (op, less, same, more) in [
        (CompareOp::Equal, false, true, false),
        (CompareOp::NotEqual, true, false, true),
        (CompareOp::Greater, true, false, false),
        (CompareOp::Less, false, false, true),
    ] {
        // The key's number stands on the left: `Greater` than one less holds.
        for (by, wanted) in [(-1, less), (0, same), (1, more)] {
            assert_eq!(
                holds(c, [Compare::version("cmp/a", op, 2 + by)]).await,
                wanted
            );
            assert_eq!(
                holds(c, [Compare::create_revision("cmp/a", op, created + by)]).await,
                wanted
            );
            assert_eq!(
                holds(c, [Compare::mod_revision("cmp/a", op, modified + by)]).await,
                wanted
            );
            assert_eq!(
                holds(c, [Compare::lease("cmp/a", op, lease + by)]).await,
                wanted
            );
        }
        for (value, wanted) in [("4", less), ("5", same), ("6", more)] {
            assert_eq!(holds(c, [Compare::value("cmp/a", op, value)]).await, wanted);
        }
    }
    client.lease_revoke(lease).await.expect("revoke");
}

#[tokio::test]
async fn compares_of_missing_keys_and_of_ranges() {
    let mut client = shared().await.client;
    let c = &client.clone();
    assert!(holds(c, [Compare::version("none/x", CompareOp::Equal, 0)]).await);
    assert!(holds(c, [Compare::mod_revision("none/x", CompareOp::Equal, 0)]).await);
    assert!(holds(c, [Compare::lease("none/x", CompareOp::Equal, 0)]).await);
    for op in [
        CompareOp::Equal,
        CompareOp::NotEqual,
        CompareOp::Less,
        CompareOp::Greater,
    ] {
        assert!(
            !holds(c, [Compare::value("none/x", op, "v")]).await,
            "no value, no comparison"
        );
    }
    assert!(
        holds(
            c,
            [Compare::version("none/", CompareOp::Equal, 0).with_prefix()]
        )
        .await
    );
    client.put("some/a", "1", None).await.expect("put");
    client.put("some/b", "2", None).await.expect("put");
    assert!(
        !holds(
            c,
            [Compare::version("some/", CompareOp::Equal, 0).with_prefix()]
        )
        .await
    );
    assert!(
        holds(
            c,
            [Compare::version("some/", CompareOp::Equal, 1).with_prefix()]
        )
        .await
    );
    assert!(
        !holds(
            c,
            [Compare::value("some/a", CompareOp::Equal, "1").with_range("some/c")]
        )
        .await
    );
    assert!(
        holds(
            c,
            [Compare::value("some/a", CompareOp::Equal, "1").with_range("some/b")]
        )
        .await
    );
    assert!(holds(c, []).await, "nothing to compare holds");
}

#[tokio::test]
async fn transactions_nest() {
    let mut client = shared().await.client;
    let inner = Txn::new()
        .when([Compare::version("nest/a", CompareOp::Equal, 0)])
        .and_then([TxnOp::put("nest/b", "then", None)])
        .or_else([TxnOp::put("nest/b", "else", None)]);
    let outer = Txn::new().and_then([TxnOp::put("nest/a", "1", None), TxnOp::txn(inner)]);
    let done = client.txn(outer).await.expect("txn");
    let answers = done.op_responses();
    let [TxnOpResponse::Put(_), TxnOpResponse::Txn(nested)] = &answers[..] else {
        panic!("a put and a transaction: {answers:?}");
    };
    // Compares look at the state before the whole transaction.
    assert!(nested.succeeded());
    let got = client
        .get("nest/", Some(GetOptions::new().with_prefix()))
        .await
        .expect("get");
    assert_eq!(got.kvs()[1].value(), b"then");
    assert_eq!(got.kvs()[0].mod_revision(), got.kvs()[1].mod_revision());
}

#[tokio::test]
async fn a_transaction_that_cannot_be_is_refused() {
    let mut client = shared().await.client;
    let put = |key: &str| TxnOp::put(key, "", None);
    let mut refuse = async |txn: Txn| refusal(client.txn(txn).await);
    let duplicate = (
        code::INVALID_ARGUMENT,
        "etcdserver: duplicate key given in txn request".into(),
    );
    assert_eq!(
        refuse(Txn::new().and_then([put("bad/a"), put("bad/a")])).await,
        duplicate
    );
    assert_eq!(
        refuse(Txn::new().or_else([put("bad/a"), put("bad/a")])).await,
        duplicate
    );
    let range = TxnOp::delete("bad/", Some(DeleteOptions::new().with_prefix()));
    assert_eq!(
        refuse(Txn::new().and_then([put("bad/a"), range])).await,
        duplicate
    );
    let many: Vec<TxnOp> = (0..129).map(|i| put(&format!("bad/{i}"))).collect();
    let too_many = (
        code::INVALID_ARGUMENT,
        "etcdserver: too many operations in txn request".into(),
    );
    assert_eq!(refuse(Txn::new().and_then(many)).await, too_many);
    let no_key = (
        code::INVALID_ARGUMENT,
        "etcdserver: key is not provided".into(),
    );
    assert_eq!(refuse(Txn::new().and_then([put("")])).await, no_key);
    let lease = TxnOp::put("bad/b", "", Some(PutOptions::new().with_lease(1)));
    let no_lease = (
        code::NOT_FOUND,
        "etcdserver: requested lease not found".into(),
    );
    assert_eq!(
        refuse(Txn::new().and_then([put("bad/a"), lease])).await,
        no_lease
    );
    let left = client
        .get("bad/", Some(GetOptions::new().with_prefix()))
        .await
        .expect("get");
    assert_eq!(left.count(), 0, "a refused transaction leaves nothing");
}

#[tokio::test]
async fn a_transaction_that_reads_the_future_changes_nothing() {
    // etcd 3.4.23 lets its followers keep the put (its bug 18667): one member, so that none can differ.
    let target = alone(1).await;
    let mut client = target.client.clone();
    client.put("future/a", "1", None).await.expect("put");
    let future = TxnOp::get("future/a", Some(GetOptions::new().with_revision(i64::MAX)));
    let (code, message) = refusal(
        client
            .txn(Txn::new().and_then([TxnOp::put("future/b", "", None), future]))
            .await,
    );
    let wanted = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!((code, &*message), (code::OUT_OF_RANGE, wanted));
    if is_ours() {
        assert_eq!(client.get("future/b", None).await.expect("get").count(), 0);
    }
}
