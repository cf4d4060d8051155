//! Keys and values, read and written; what answers and errors carry.

use crate::fake::Fake;
use api::Method;
use quorate::{Code, Condition, Consistency, Fence, FencingToken, How, Keys, Level, Step};
use std::time::Duration;

#[tokio::test]
async fn what_is_written_is_read_with_its_freshness() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let written = q.put("/a", "1").await.expect("written");
    let got = q.get("/a").await.expect("read");
    let kv = got.kv.expect("there");
    assert_eq!(kv.text(), Some("1"));
    assert_eq!((kv.revision, kv.version), (written.revision(), 1));
    assert_eq!(got.freshness.level, Level::Linearizable);
    assert_eq!(got.freshness.how, How::Quorum);
    assert_eq!(got.freshness.staleness, Some(Duration::ZERO));
    assert_eq!(got.freshness.token, q.token());
    assert_eq!(
        got.freshness.to_string(),
        "linearizable by quorum at revision 1, at most 0 ms behind"
    );
    assert!(q.get("/b").await.expect("read").kv.is_none());
}

#[tokio::test]
async fn an_old_revision_is_read_until_it_is_compacted() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    for value in ["1", "2", "3"] {
        q.put("/a", value).await.expect("written");
    }
    let got = q.get("/a").at_revision(2).await.expect("read");
    assert_eq!(got.kv.expect("there").text(), Some("2"));
    q.compact(3).await.expect("compacted");
    let error = q.get("/a").at_revision(2).await.expect_err("forgotten");
    assert!(error.is(Code::Compacted), "{error}");
    assert_eq!(error.detail().expect("a detail").revision, Some(3));
    assert_eq!(error.took_effect(), Some(false));
}

#[tokio::test]
async fn pages_are_one_state_in_both_directions() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let names: Vec<String> = (0..23).map(|n| format!("/p/{n:02}")).collect();
    for name in &names {
        q.put(name, "x").await.expect("written");
    }
    q.put("/q", "beside").await.expect("written");
    for is_descending in [false, true] {
        let mut range = q.range(Keys::prefix("/p/")).limit(5);
        let mut expected = names.clone();
        if is_descending {
            range = range.descending();
            expected.reverse();
        }
        let mut stream = range.stream();
        let mut found = Vec::new();
        while let Some(kv) = stream.next().await {
            found.push(kv.expect("a page").key.to_string());
            if found.len() == 7 {
                // In the middle of the second page: later pages must not see it.
                q.delete("/p/11").await.expect("deleted");
            }
        }
        assert_eq!(found, expected);
        q.put("/p/11", "x").await.expect("written");
    }
    let (count, _) = q.range(Keys::All).count().await.expect("counted");
    assert_eq!(count, 24);
}

#[tokio::test]
async fn conditions_are_compare_and_swap() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let first = q.put("/a", "1").if_absent().await.expect("absent");
    let error = q.put("/a", "2").if_absent().await.expect_err("there");
    assert!(error.is(Code::ConditionFailed), "{error}");
    let detail = error.detail().expect("a detail");
    assert_eq!(detail.key.as_deref(), Some(&b"/a"[..]));
    assert_eq!(detail.revision, Some(first.revision()));
    let swapped = q.put("/a", "2").if_revision(first.revision()).previous();
    let swapped = swapped.await.expect("unchanged");
    assert_eq!(swapped.previous.expect("told").text(), Some("1"));
    let late = q.put("/a", "3").if_revision(first.revision()).await;
    assert!(late.expect_err("changed").is(Code::ConditionFailed));
    q.put("/a", "3").if_present().await.expect("there");
    let deleted = q.delete("/a").previous().await.expect("deleted");
    assert_eq!(deleted.deleted, 1);
    assert_eq!(deleted.previous[0].text(), Some("3"));
}

#[tokio::test]
async fn a_transaction_goes_one_way_or_the_other() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    q.put("/from", "10").await.expect("written");
    let transfer = || {
        q.txn()
            .when(Condition::of("/from").value("10"))
            .then(Step::delete("/from").previous())
            .then(Step::put("/to", "10"))
            .or_else(Step::get("/to"))
    };
    let decided = transfer().await.expect("decided");
    assert!(decided.succeeded);
    assert_eq!(decided.results[0].kvs[0].text(), Some("10"));
    let again = transfer().await.expect("decided");
    assert!(!again.succeeded);
    assert_eq!(again.results[0].kvs[0].text(), Some("10"));
    assert_eq!(fake.model().puts.len(), 2);
}

#[tokio::test]
async fn a_session_reads_what_it_has_seen() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let other = fake.client().await;
    let written = q.put("/a", "1").await.expect("written");
    let token = q.token().expect("seen");
    assert_eq!(token.revision().0, written.revision());
    other.observe(token);
    assert_eq!(other.token(), Some(token));
    let read = other.get("/a").consistency(Consistency::Session);
    assert!(read.await.expect("read").kv.is_some());
    // An older token takes nothing back.
    other.observe(api::SessionToken::new(
        base::ClusterId(7),
        base::Revision(0),
    ));
    assert_eq!(other.token(), Some(token));
}

#[tokio::test]
async fn a_fence_that_does_not_hold_refuses_with_both_tokens() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let old = q.lock("jobs").acquire().await.expect("free");
    let stale = old.fence();
    old.release().await.expect("held");
    let new = q.lock("jobs").acquire().await.expect("free");
    assert!(new.token() > stale.token());
    let error = q.put("/a", "1").fence(&stale).await.expect_err("stale");
    assert!(error.is(Code::StaleToken), "{error}");
    assert_eq!(error.token(), Some(stale.token().get()));
    assert_eq!(error.newest(), Some(new.token().get()));
    q.put("/a", "2").fence(&new.fence()).await.expect("held");
    let by_name = Fence::lock("jobs", FencingToken(new.token().get()));
    let check = q.check([by_name], Consistency::Linearizable).await;
    assert!(check.is_ok());
    let check = q.check([stale], Consistency::Linearizable).await;
    assert!(check.expect_err("stale").is(Code::StaleToken));
    assert_eq!(fake.model().puts, ["2"]);
}

#[tokio::test]
async fn keys_go_with_their_lease() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let lease = q.grant(Duration::from_secs(5)).await.expect("granted");
    q.put("/alive", "yes").lease(lease.id()).await.expect("put");
    let look = q.look_at_lease(lease.id(), true).await.expect("there");
    assert_eq!(look.keys, ["/alive"]);
    lease.revoke().await.expect("held");
    assert!(q.get("/alive").await.expect("read").kv.is_none());
}

#[tokio::test]
async fn each_endpoint_tells_its_status() {
    let fake = Fake::start(2).await;
    let (dead, _socket) = crate::fake::nobody();
    let q = fake.builder().endpoints([dead.to_string()]);
    let q = q.connect().await.expect("two live");
    let told = q.status_of_each().await;
    let is_alive: Vec<bool> = told.iter().map(|(_, status)| status.is_ok()).collect();
    assert_eq!(is_alive, [true, true, false]);
    let error = told[2].1.as_ref().expect_err("dead");
    assert!(error.is(Code::NotConnected), "{error}");
    assert_eq!(fake.n_asked(Method::Status), 2);
}

#[tokio::test]
async fn endpoints_that_are_none_are_refused() {
    for bad in ["", "host", "https://h:1", "http://h", "h:99999"] {
        let made = quorate::Client::builder().endpoints([bad]).connect_lazily();
        assert!(made.expect_err(bad).is(Code::Malformed), "{bad}");
    }
    let none = quorate::Client::builder().connect_lazily();
    assert!(none.expect_err("none").is(Code::Malformed));
}

#[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
struct Limits {
    most: u32,
}

#[tokio::test]
async fn values_of_one_type_are_json() {
    let fake = Fake::start(1).await;
    let q = fake.client().await;
    let limits = q.kv::<Limits>("/limits/");
    assert!(limits.get("web").await.expect("read").is_none());
    let put = limits.put("web", &Limits { most: 1 }).expect("it has JSON");
    put.await.expect("written");
    assert_eq!(fake.model().puts, [r#"{"most":1}"#]);
    // Somebody is faster, once: what they wrote is not lost.
    let mut n = 0;
    let now = limits.update("web", |before| {
        n += 1;
        if n == 1 {
            fake.change(|model| {
                let kv = model.kvs.get_mut("/limits/web".as_bytes()).expect("there");
                kv.value = r#"{"most":10}"#.into();
                kv.mod_revision += 1;
            });
        }
        let before: Limits = before.expect("there");
        Limits {
            most: before.most + 1,
        }
    });
    assert_eq!(now.await.expect("written").value, Limits { most: 11 });
    assert_eq!(n, 2);
    let all = limits.all().await.expect("read");
    assert_eq!(all, [("web".to_owned(), Limits { most: 11 })]);
    q.put("/limits/bad", "{").await.expect("written");
    let bad = limits.get("bad").await.expect_err("no limits");
    assert!(bad.is(Code::Malformed), "{bad}");
}
