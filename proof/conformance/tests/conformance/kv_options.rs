//! Every option of get.

use etcd_client::{Client, GetOptions, GetResponse, SortOrder, SortTarget};
use quorate_conformance::{alone, code, refusal, shared};

fn keys(response: &GetResponse) -> Vec<String> {
    response
        .kvs()
        .iter()
        .map(|kv| kv.key_str().expect("text").to_owned())
        .collect()
}

async fn fill(client: &mut Client, prefix: &str) -> Vec<i64> {
    let mut revisions = Vec::new();
    for (key, value) in [("a", "9"), ("b", "8"), ("c", "7"), ("d", "6"), ("b", "5")] {
        let put = client
            .put(format!("{prefix}/{key}"), value, None)
            .await
            .expect("put");
        revisions.push(put.header().expect("a header").revision());
    }
    revisions
}

#[tokio::test]
async fn get_takes_ranges_prefixes_and_everything() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    fill(&mut client, "r").await;
    let get = async |key: &str, options: GetOptions| {
        keys(&client.clone().get(key, Some(options)).await.expect("get"))
    };
    assert_eq!(
        get("r/b", GetOptions::new().with_range("r/d")).await,
        ["r/b", "r/c"]
    );
    assert_eq!(get("r/", GetOptions::new().with_prefix()).await.len(), 4);
    assert_eq!(
        get("r/c", GetOptions::new().with_from_key()).await,
        ["r/c", "r/d"]
    );
    assert_eq!(
        get("r/c", GetOptions::new().with_range("\0")).await,
        ["r/c", "r/d"]
    );
    assert_eq!(get("", GetOptions::new().with_all_keys()).await.len(), 4);
    assert_eq!(
        get("r/d", GetOptions::new().with_range("r/b")).await,
        [""; 0]
    );
}

#[tokio::test]
async fn get_limits_counts_and_leaves_values_out() {
    let mut client = shared().await.client;
    fill(&mut client, "limit").await;
    let prefix = GetOptions::new().with_prefix();
    let page = client
        .get("limit/", Some(prefix.clone().with_limit(3)))
        .await
        .expect("get");
    assert_eq!((page.kvs().len(), page.count(), page.more()), (3, 4, true));
    let exact = client
        .get("limit/", Some(prefix.clone().with_limit(4)))
        .await
        .expect("get");
    assert_eq!(
        (exact.kvs().len(), exact.count(), exact.more()),
        (4, 4, false)
    );
    let count = client
        .get("limit/", Some(prefix.clone().with_count_only()))
        .await
        .expect("get");
    assert_eq!(
        (count.kvs().len(), count.count(), count.more()),
        (0, 4, false)
    );
    let bare = client
        .get("limit/", Some(prefix.with_keys_only()))
        .await
        .expect("get");
    assert!(
        bare.kvs()
            .iter()
            .all(|kv| kv.value().is_empty() && kv.mod_revision() > 0)
    );
    assert_eq!(bare.kvs().len(), 4);
}

#[tokio::test]
async fn get_sorts_by_every_field_both_ways() {
    let mut client = shared().await.client;
    fill(&mut client, "sort").await;
    let sorted = async |target, order| {
        let options = GetOptions::new().with_prefix().with_sort(target, order);
        let got = client
            .clone()
            .get("sort/", Some(options))
            .await
            .expect("get");
        keys(&got)
            .iter()
            .map(|key| key.replace("sort/", ""))
            .collect::<String>()
    };
    assert_eq!(sorted(SortTarget::Key, SortOrder::Ascend).await, "abcd");
    assert_eq!(sorted(SortTarget::Key, SortOrder::Descend).await, "dcba");
    assert_eq!(sorted(SortTarget::Key, SortOrder::None).await, "abcd");
    assert_eq!(sorted(SortTarget::Value, SortOrder::Ascend).await, "bdca");
    assert_eq!(sorted(SortTarget::Value, SortOrder::Descend).await, "acdb");
    assert_eq!(sorted(SortTarget::Mod, SortOrder::Ascend).await, "acdb");
    assert_eq!(sorted(SortTarget::Mod, SortOrder::Descend).await, "bdca");
    assert_eq!(sorted(SortTarget::Create, SortOrder::Descend).await, "dcba");
    assert_eq!(
        sorted(SortTarget::Version, SortOrder::Descend)
            .await
            .chars()
            .next(),
        Some('b')
    );
    // A target other than the key, without an order, is sorted upwards.
    assert_eq!(sorted(SortTarget::Value, SortOrder::None).await, "bdca");
    // The limit cuts after sorting.
    let options = GetOptions::new()
        .with_prefix()
        .with_sort(SortTarget::Value, SortOrder::Ascend)
        .with_limit(2);
    let got = client.get("sort/", Some(options)).await.expect("get");
    assert_eq!(keys(&got), ["sort/b", "sort/d"]);
    assert!(got.more());
}

#[tokio::test]
async fn get_filters_by_revisions() {
    let mut client = shared().await.client;
    let at = fill(&mut client, "filter").await;
    let get = async |options: GetOptions| {
        let got = client
            .clone()
            .get("filter/", Some(options.with_prefix()))
            .await
            .expect("get");
        keys(&got)
            .iter()
            .map(|key| key.replace("filter/", ""))
            .collect::<String>()
    };
    assert_eq!(
        get(GetOptions::new().with_min_mod_revision(at[3])).await,
        "bd"
    );
    assert_eq!(
        get(GetOptions::new().with_max_mod_revision(at[2])).await,
        "ac"
    );
    assert_eq!(
        get(GetOptions::new().with_min_create_revision(at[2])).await,
        "cd"
    );
    assert_eq!(
        get(GetOptions::new().with_max_create_revision(at[1])).await,
        "ab"
    );
    // The count is of the range; filters do not change it.
    let options = GetOptions::new().with_prefix().with_min_mod_revision(at[3]);
    assert_eq!(
        client
            .clone()
            .get("filter/", Some(options))
            .await
            .expect("get")
            .count(),
        4
    );
}

#[tokio::test]
async fn get_reads_the_past() {
    let mut client = shared().await.client;
    let at = fill(&mut client, "past").await;
    let options = GetOptions::new().with_prefix().with_revision(at[1]);
    let got = client.get("past/", Some(options)).await.expect("get");
    assert_eq!(keys(&got), ["past/a", "past/b"]);
    assert_eq!(got.kvs()[1].value(), b"8");
    assert_eq!(got.count(), 2);
    // The header speaks of now, not of then.
    assert!(got.header().expect("a header").revision() >= at[4]);
    let (code, message) = refusal(
        client
            .get("past/", Some(GetOptions::new().with_revision(i64::MAX)))
            .await,
    );
    let future = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!((code, &*message), (code::OUT_OF_RANGE, future));
    // Outside a transaction a negative revision means now.
    let now = client
        .get("past/b", Some(GetOptions::new().with_revision(-5)))
        .await
        .expect("get");
    assert_eq!(now.kvs()[0].value(), b"5");
}

#[tokio::test]
async fn get_can_be_serializable_at_each_member() {
    let target = shared().await;
    let mut client = target.client.clone();
    client.put("serial/a", "1", None).await.expect("put");
    for member in 0..target.endpoints.len() {
        let at = target.at(member).await;
        let linear = at.clone().get("serial/a", None).await.expect("get");
        assert_eq!(linear.kvs()[0].value(), b"1");
        // The linearizable read above has waited for the write at this member.
        let options = GetOptions::new().with_serializable();
        let local = at
            .clone()
            .get("serial/a", Some(options))
            .await
            .expect("get");
        assert_eq!(local.kvs()[0].value(), b"1");
    }
}
