//! KvClient, and the same methods of Client: put, get, delete, compact, get_stream.

use etcd_client::{CompactionOptions, DeleteOptions, GetOptions, PutOptions};
use quorate_conformance::{alone, code, is_ours, refusal, shared};

#[tokio::test]
async fn put_answers_its_revision_and_the_value_before() {
    let mut client = shared().await.client;
    let mut kv = client.kv_client();
    let mut first = client.put("put/a", "1", None).await.expect("put");
    let revision = first.header().expect("a header").revision();
    assert!(first.prev_key().is_none());
    assert!(first.take_prev_key().is_none());

    let options = PutOptions::new().with_prev_key();
    let mut second = kv
        .put("put/a", "2", Some(options.clone()))
        .await
        .expect("put");
    let before = second.prev_key().expect("the value before");
    assert_eq!((before.key(), before.value()), (&b"put/a"[..], &b"1"[..]));
    assert_eq!((before.mod_revision(), before.version()), (revision, 1));
    assert_eq!(
        second
            .take_prev_key()
            .expect("taken once")
            .into_key_value()
            .1,
        b"1"
    );
    assert!(second.prev_key().is_none());
    let header = second.take_header().expect("a header");
    assert!(header.revision() > revision);
    assert!(header.cluster_id() != 0 && header.member_id() != 0 && header.raft_term() > 0);
    assert!(second.header().is_none());
    assert!(first.take_header().is_some());
}

#[tokio::test]
async fn put_without_a_key_is_refused() {
    let mut client = shared().await.client;
    let (code, message) = refusal(client.put("", "v", None).await);
    assert_eq!(
        (code, &*message),
        (code::INVALID_ARGUMENT, "etcdserver: key is not provided")
    );
}

#[tokio::test]
async fn put_can_keep_the_value_or_the_lease() {
    let mut client = shared().await.client;
    let lease = client.lease_grant(60, None).await.expect("grant").id();
    let with_lease = PutOptions::new().with_lease(lease);
    client
        .put("keep/a", "1", Some(with_lease))
        .await
        .expect("put");
    client
        .put(
            "keep/a",
            "",
            Some(PutOptions::new().with_ignore_value().with_lease(lease)),
        )
        .await
        .expect("put");
    client
        .put("keep/a", "2", Some(PutOptions::new().with_ignore_lease()))
        .await
        .expect("put");
    let got = client.get("keep/a", None).await.expect("get");
    let kv = &got.kvs()[0];
    assert_eq!(
        (kv.value(), kv.lease(), kv.version()),
        (&b"2"[..], lease, 3)
    );

    let missing = PutOptions::new().with_ignore_value();
    let (code, message) = refusal(client.put("keep/none", "", Some(missing)).await);
    assert_eq!(
        (code, &*message),
        (code::INVALID_ARGUMENT, "etcdserver: key not found")
    );
    let both = PutOptions::new().with_ignore_value();
    let (code, message) = refusal(client.put("keep/a", "v", Some(both)).await);
    assert_eq!(
        (code, &*message),
        (code::INVALID_ARGUMENT, "etcdserver: value is provided")
    );
    let both = PutOptions::new().with_ignore_lease().with_lease(lease);
    let (code, message) = refusal(client.put("keep/a", "v", Some(both)).await);
    assert_eq!(
        (code, &*message),
        (code::INVALID_ARGUMENT, "etcdserver: lease is provided")
    );
    let unknown = PutOptions::new().with_lease(1);
    let (code, message) = refusal(client.put("keep/a", "v", Some(unknown)).await);
    assert_eq!(
        (code, &*message),
        (code::NOT_FOUND, "etcdserver: requested lease not found")
    );
    client.lease_revoke(lease).await.expect("revoke");
}

#[tokio::test]
async fn get_answers_the_key_with_its_revisions() {
    let mut client = shared().await.client;
    let mut kv = client.kv_client();
    let created = client.put("get/a", "1", None).await.expect("put");
    let created = created.header().expect("a header").revision();
    let modified = client.put("get/a", "2", None).await.expect("put");
    let modified = modified.header().expect("a header").revision();

    let mut got = kv.get("get/a", None).await.expect("get");
    assert_eq!((got.count(), got.more()), (1, false));
    let one = got.kvs()[0].clone();
    assert_eq!(
        (one.key_str().expect("text"), one.value_str().expect("text")),
        ("get/a", "2")
    );
    // SAFETY: both are ASCII, as the line above has shown.
    assert_eq!(
        unsafe { (one.key_str_unchecked(), one.value_str_unchecked()) },
        ("get/a", "2")
    );
    assert_eq!(
        (one.create_revision(), one.mod_revision(), one.version()),
        (created, modified, 2)
    );
    assert_eq!(one.lease(), 0);
    assert!(got.header().expect("a header").revision() >= modified);
    assert_eq!(got.take_kvs().len(), 1);
    assert!(got.kvs().is_empty());
    assert!(got.take_header().is_some());

    let none = client.get("get/none", None).await.expect("get");
    assert_eq!((none.kvs().len(), none.count()), (0, 0));
    let (code, message) = refusal(client.get("", None).await);
    assert_eq!(
        (code, &*message),
        (code::INVALID_ARGUMENT, "etcdserver: key is not provided")
    );
}

#[tokio::test]
async fn delete_answers_how_many_and_what() {
    let mut client = shared().await.client;
    let mut kv = client.kv_client();
    for key in ["delete/a", "delete/b", "delete/c"] {
        client.put(key, key, None).await.expect("put");
    }
    let options = DeleteOptions::new().with_range("delete/c").with_prev_key();
    let mut gone = kv.delete("delete/a", Some(options)).await.expect("delete");
    assert_eq!(gone.deleted(), 2);
    let keys: Vec<&[u8]> = gone
        .prev_kvs()
        .iter()
        .map(etcd_client::KeyValue::key)
        .collect();
    assert_eq!(keys, [b"delete/a", b"delete/b"]);
    assert_eq!(gone.take_prev_kvs().len(), 2);
    assert!(gone.prev_kvs().is_empty());
    let revision = gone.header().expect("a header").revision();
    assert!(gone.take_header().is_some());

    let nothing = client.delete("delete/a", None).await.expect("delete");
    assert_eq!(nothing.deleted(), 0);
    assert!(nothing.header().expect("a header").revision() >= revision);
    let rest = DeleteOptions::new().with_prefix();
    assert_eq!(
        client
            .delete("delete/", Some(rest))
            .await
            .expect("delete")
            .deleted(),
        1
    );
    let (code, message) = refusal(client.delete("", None).await);
    assert_eq!(
        (code, &*message),
        (code::INVALID_ARGUMENT, "etcdserver: key is not provided")
    );
}

#[tokio::test]
async fn delete_from_a_key_and_of_everything() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    for key in ["a", "b", "c"] {
        client.put(key, "", None).await.expect("put");
    }
    let from = DeleteOptions::new().with_from_key();
    assert_eq!(
        client
            .delete("b", Some(from))
            .await
            .expect("delete")
            .deleted(),
        2
    );
    let all = DeleteOptions::new().with_all_keys();
    assert_eq!(
        client
            .delete("", Some(all))
            .await
            .expect("delete")
            .deleted(),
        1
    );
}

#[tokio::test]
async fn compact_forgets_the_past() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    let mut kv = client.kv_client();
    let mut revisions = Vec::new();
    for value in ["1", "2", "3", "4"] {
        let put = client.put("compact/a", value, None).await.expect("put");
        revisions.push(put.header().expect("a header").revision());
    }
    let at = |revision: i64| Some(GetOptions::new().with_revision(revision));

    let mut done = client.compact(revisions[1], None).await.expect("compact");
    assert_eq!(done.header().expect("a header").revision(), revisions[3]);
    assert!(done.take_header().is_some());
    let (code, message) = refusal(client.get("compact/a", at(revisions[0])).await);
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!((code, &*message), (code::OUT_OF_RANGE, compacted));
    let kept = client
        .get("compact/a", at(revisions[1]))
        .await
        .expect("the revision itself stays");
    assert_eq!(kept.kvs()[0].value(), b"2");

    let physical = CompactionOptions::new().with_physical();
    kv.compact(revisions[2], Some(physical))
        .await
        .expect("compact");
    let (code, message) = refusal(kv.compact(revisions[2], None).await);
    assert_eq!((code, &*message), (code::OUT_OF_RANGE, compacted));
    let (code, message) = refusal(kv.compact(revisions[3] + 1, None).await);
    let future = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!((code, &*message), (code::OUT_OF_RANGE, future));
    let (code, message) = refusal(kv.get("compact/a", at(revisions[3] + 1)).await);
    assert_eq!((code, &*message), (code::OUT_OF_RANGE, future));
    let now = client.get("compact/a", None).await.expect("get");
    assert_eq!(now.kvs()[0].value(), b"4");
}

#[tokio::test]
async fn get_stream_answers_like_get() {
    // etcd has it since 3.7, and so may refuse it here; ours has it.
    let mut client = shared().await.client;
    let mut kv = client.kv_client();
    for i in 0..25 {
        client
            .put(format!("stream/{i:02}"), "v", None)
            .await
            .expect("put");
    }
    let options = GetOptions::new().with_prefix();
    let first = match kv.get_stream("stream/", Some(options)).await {
        Ok(mut stream) => match stream.message().await {
            Ok(first) => {
                let mut keys = 0;
                let mut last = None;
                let mut next = first;
                while let Some(chunk) = next {
                    keys += chunk.kvs().len();
                    last = Some(chunk);
                    next = stream.message().await.expect("a chunk");
                }
                assert_eq!(keys, 25);
                let last = last.expect("a last chunk");
                assert_eq!(last.count(), 25);
                assert!(last.header().is_some());
                return;
            }
            Err(err) => Err::<(), _>(err),
        },
        Err(err) => Err(err),
    };
    assert_eq!(refusal(first).0, code::UNIMPLEMENTED);
    assert!(!is_ours());
}

#[tokio::test]
async fn message_limits_are_the_clients_own() {
    let target = shared().await;
    let kv = target.client.kv_client();
    let mut small = kv
        .clone()
        .max_decoding_message_size(1000)
        .max_encoding_message_size(1000);
    small
        .put("limits/a", vec![b'x'; 500], None)
        .await
        .expect("within the limit");
    assert!(small.put("limits/b", vec![b'x'; 2000], None).await.is_err());
    let mut large = kv.max_encoding_message_size(10_000);
    large
        .put("limits/b", vec![b'x'; 2000], None)
        .await
        .expect("put");
    assert_eq!(
        refusal(small.get("limits/b", None).await).0,
        code::OUT_OF_RANGE
    );
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused() {
    let mut client = shared().await.client;
    let (code, message) = refusal(client.put("large/a", vec![b'x'; 1_600_000], None).await);
    assert_eq!(
        (code, &*message),
        (code::INVALID_ARGUMENT, "etcdserver: request is too large")
    );
    let (code, message) = refusal(client.put("large/a", vec![b'x'; 3_000_000], None).await);
    assert_eq!(code, code::RESOURCE_EXHAUSTED);
    assert!(
        message.starts_with("grpc: received message larger than max ("),
        "{message}"
    );
    client
        .put("large/a", vec![b'x'; 1_500_000], None)
        .await
        .expect("put");
    client.delete("large/a", None).await.expect("delete");
}
