//! Keys, transactions, compaction, namespaces.

use crate::check::{Checks, Failure, client, endpoints, eventually, holds, refused, same};
use etcd_client::{
    Client, CompactionOptions, Compare, CompareOp, DeleteOptions, GetOptions, GetResponse,
    KvClientPrefix, PutOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse,
};

/// Puts; the revision.
///
/// # Errors
/// It is refused.
pub(crate) async fn put(c: &mut Client, key: &str, value: &str) -> Result<i64, Failure> {
    let answer = c.put(key, value, None).await?;
    Ok(answer.header().map_or(0, |header| header.revision()))
}

/// The value of a key, if there is one.
///
/// # Errors
/// It cannot be read.
pub(crate) async fn value(c: &mut Client, key: &str) -> Result<Option<String>, Failure> {
    let answer = c.get(key, None).await?;
    let first = answer.kvs().first();
    Ok(first.map(|kv| String::from_utf8_lossy(kv.value()).into_owned()))
}

fn keys(answer: &GetResponse) -> String {
    let names = answer
        .kvs()
        .iter()
        .map(|kv| String::from_utf8_lossy(kv.key()));
    names.collect::<Vec<_>>().join(" ")
}

pub(crate) async fn checks(checks: &mut Checks) {
    checks
        .check(
            "kv: what was put is read back, with its revisions",
            async || {
                let mut c = client(&endpoints()).await?;
                let first = put(&mut c, "kv/a", "one").await?;
                let second = put(&mut c, "kv/a", "two").await?;
                same("one put, one revision", second, first + 1)?;
                let answer = c.get("kv/a", None).await?;
                let kv = &answer.kvs()[0];
                same("value", kv.value(), b"two")?;
                let revisions = (kv.create_revision(), kv.mod_revision(), kv.version());
                same("revisions", revisions, (first, second, 2))?;
                let past = c
                    .get("kv/a", Some(GetOptions::new().with_revision(first)))
                    .await?;
                same("the past", past.kvs()[0].value(), b"one")?;
                same("nothing", value(&mut c, "kv/none").await?, None::<String>)?;
                let was = c
                    .put("kv/a", "three", Some(PutOptions::new().with_prev_key()))
                    .await?;
                same(
                    "before",
                    was.prev_key().map(|kv| kv.value().to_vec()),
                    Some(b"two".to_vec()),
                )
            },
        )
        .await;
    checks
        .check(
            "kv: prefixes, ranges, sorts, limits, counts, deletes",
            async || {
                let mut c = client(&endpoints()).await?;
                for (key, value) in [("a", "3"), ("b", "1"), ("c", "2")] {
                    put(&mut c, &format!("kv/r/{key}"), value).await?;
                }
                let prefix = || GetOptions::new().with_prefix();
                same(
                    "prefix",
                    &*keys(&c.get("kv/r/", Some(prefix())).await?),
                    "kv/r/a kv/r/b kv/r/c",
                )?;
                let range = GetOptions::new().with_range("kv/r/c");
                same(
                    "range",
                    &*keys(&c.get("kv/r/a", Some(range)).await?),
                    "kv/r/a kv/r/b",
                )?;
                let sorted = prefix().with_sort(SortTarget::Value, SortOrder::Descend);
                same(
                    "by value",
                    &*keys(&c.get("kv/r/", Some(sorted)).await?),
                    "kv/r/a kv/r/c kv/r/b",
                )?;
                let page = c.get("kv/r/", Some(prefix().with_limit(2))).await?;
                same(
                    "page",
                    (page.kvs().len(), page.more(), page.count()),
                    (2, true, 3),
                )?;
                let count = c.get("kv/r/", Some(prefix().with_count_only())).await?;
                same("count", (count.kvs().len(), count.count()), (0, 3))?;
                let only = c.get("kv/r/", Some(prefix().with_keys_only())).await?;
                holds(
                    "keys only",
                    only.kvs().iter().all(|kv| kv.value().is_empty()),
                )?;
                let mut other = client(&endpoints()[2..]).await?;
                eventually("a serializable read", async || {
                    let near = GetOptions::new().with_serializable();
                    other
                        .get("kv/r/c", Some(near))
                        .await
                        .is_ok_and(|got| got.count() == 1)
                })
                .await?;
                let all = DeleteOptions::new().with_prefix().with_prev_key();
                let gone = c.delete("kv/r/", Some(all)).await?;
                same("deleted", (gone.deleted(), gone.prev_kvs().len()), (3, 3))
            },
        )
        .await;
    checks
        .check("kv: compaction and what is refused", async || {
            let mut c = client(&endpoints()).await?;
            let old = put(&mut c, "kv/c", "1").await?;
            let now = put(&mut c, "kv/c", "2").await?;
            c.compact(now, Some(CompactionOptions::new().with_physical()))
                .await?;
            let at = |revision| Some(GetOptions::new().with_revision(revision));
            refused(
                "the past",
                c.get("kv/c", at(old)).await,
                "required revision has been compacted",
            )?;
            let future = c.get("kv/c", at(now + 1000)).await;
            refused(
                "the future",
                future,
                "required revision is a future revision",
            )?;
            refused("no key", c.put("", "1", None).await, "key is not provided")?;
            let lease = Some(PutOptions::new().with_lease(4711));
            refused(
                "no lease",
                c.put("kv/l", "1", lease).await,
                "requested lease not found",
            )?;
            let big = c.put("kv/big", "x".repeat(1_600_000), None).await;
            refused("too big", big, "request is too large")?;
            same(
                "the present",
                value(&mut c, "kv/c").await?.as_deref(),
                Some("2"),
            )
        })
        .await;
    checks
        .check("txn: then or else, nested, every comparison", async || {
            let mut c = client(&endpoints()).await?;
            let rev = put(&mut c, "txn/a", "1").await?;
            let when = [
                Compare::value("txn/a", CompareOp::Equal, "1"),
                Compare::version("txn/a", CompareOp::Less, 2),
                Compare::create_revision("txn/none", CompareOp::Equal, 0),
                Compare::mod_revision("txn/a", CompareOp::Greater, rev - 1),
                Compare::lease("txn/a", CompareOp::NotEqual, 1),
            ];
            let inner = Txn::new()
                .when([Compare::version("txn/a", CompareOp::Equal, 1)])
                .and_then([TxnOp::put("txn/n", "then", None)])
                .or_else([TxnOp::put("txn/n", "else", None)]);
            let txn = Txn::new()
                .when(when)
                .and_then([
                    TxnOp::put("txn/a", "2", None),
                    TxnOp::get("txn/a", None),
                    TxnOp::txn(inner),
                ])
                .or_else([TxnOp::delete("txn/a", None)]);
            let yes = c.txn(txn.clone()).await?;
            holds("then", yes.succeeded())?;
            let TxnOpResponse::Get(got) = &yes.op_responses()[1] else {
                return Err("the second answer is no get".into());
            };
            same("it sees its own put", got.kvs()[0].value(), b"2")?;
            same(
                "nested",
                value(&mut c, "txn/n").await?.as_deref(),
                Some("then"),
            )?;
            holds("else", !c.txn(txn).await?.succeeded())?;
            same("deleted", value(&mut c, "txn/a").await?, None::<String>)?;
            let twice = [
                TxnOp::put("txn/d", "1", None),
                TxnOp::put("txn/d", "2", None),
            ];
            let twice = c.txn(Txn::new().and_then(twice)).await;
            refused(
                "two puts of a key",
                twice,
                "duplicate key given in txn request",
            )
        })
        .await;
    checks
        .check(
            "namespace: keys and transactions under a prefix",
            async || {
                let mut c = client(&endpoints()).await?;
                let mut space = KvClientPrefix::new(c.kv_client(), "space/".into());
                space.put("a", "1", None).await?;
                same(
                    "outside",
                    value(&mut c, "space/a").await?.as_deref(),
                    Some("1"),
                )?;
                let got = space.get("a", None).await?;
                same("within", got.kvs()[0].key(), b"a")?;
                let txn = Txn::new().and_then([TxnOp::delete("a", None)]);
                holds("a transaction", space.txn(txn).await?.succeeded())?;
                same("gone", value(&mut c, "space/a").await?, None::<String>)
            },
        )
        .await;
}
