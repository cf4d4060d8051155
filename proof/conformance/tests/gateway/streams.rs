//! Streams over HTTP: flushed as they come, in both directions, over HTTP/1.1 and HTTP/2, and gone with their client.

use crate::curl::{Stream, curl, member, post};
use quorate_conformance::is_ours;
use serde_json::Value;

fn of(line: &str) -> Value {
    serde_json::from_str(line).expect(line)
}

#[tokio::test]
async fn a_watch_tells_what_happens_while_it_is_open_and_takes_requests_meanwhile() {
    if !is_ours() {
        // Go's server answers over HTTP/1.1 only when the request has ended.
        return;
    }
    let target = member().await;
    let mut watch = Stream::open(
        &target,
        "/v3/watch",
        "{\"create_request\":{\"key\":\"YQ==\"}}\n",
    );
    assert_eq!(of(&watch.line())["result"]["created"], true);
    for nth in 1..=3 {
        let put = post(
            &target,
            "/v3/kv/put",
            "{\"key\":\"YQ==\",\"value\":\"YmI=\"}",
        );
        assert_eq!(put.status, 200, "{}", put.body);
        let event = of(&watch.line());
        let kv = &event["result"]["events"][0]["kv"];
        assert_eq!(
            (&kv["value"], &kv["version"]),
            (&Value::from("YmI="), &Value::from(nth.to_string()))
        );
    }
    // An object may come in pieces, and several at once.
    watch.say("{\"create_request\":{\"key\":");
    watch.say("\"Yg==\",\"watch_id\":\"4\"}}{\"cancel_request\":{\"watch_id\":4}}");
    let created = of(&watch.line());
    assert_eq!(
        (
            &created["result"]["watch_id"],
            &created["result"]["created"]
        ),
        (&Value::from("4"), &Value::from(true))
    );
    assert_eq!(of(&watch.line())["result"]["canceled"], true);
    watch.end();
    post(&target, "/v3/kv/deleterange", "{\"key\":\"YQ==\"}");
    let event = of(&watch.line());
    assert_eq!(event["result"]["events"][0]["type"], "DELETE");
}

#[tokio::test]
async fn a_snapshot_and_a_whole_story_come_over_http2_too() {
    let target = member().await;
    let url = |path: &str| format!("{}{path}", target.endpoints[0]);
    // Without TLS etcd speaks gRPC alone over HTTP/2.
    let how: &[&str] = match is_ours() {
        true => &["--http2-prior-knowledge"],
        false => &[],
    };
    let value = "QUJD".repeat(100_000);
    let put = format!("{{\"key\":\"YQ==\",\"value\":\"{value}\"}}");
    let put = curl(&url("/v3/kv/put"), how, Some(put.as_bytes()));
    assert_eq!(put.status, 200, "{}", put.body);
    let range = curl(&url("/v3/kv/range"), how, Some(b"{\"key\":\"YQ==\"}"));
    assert_eq!(of(&range.body)["kvs"][0]["value"], value.as_str());
    let snapshot = curl(&url("/v3/maintenance/snapshot"), how, Some(b"{}"));
    assert_eq!(snapshot.status, 200);
    let last = snapshot.body.lines().last().unwrap_or_default();
    assert!(of(last)["result"]["blob"].is_string(), "{last}");
    if is_ours() {
        assert!(range.headers.starts_with("http/2 200"), "{}", range.headers);
        let wrong = curl(&url("/v3/kv/range"), how, None);
        assert_eq!(wrong.status, 501);
    }
}

#[tokio::test]
async fn a_contender_that_goes_away_leaves_the_line() {
    let target = member().await;
    let lease = |id: u32| format!("{{\"TTL\":600,\"ID\":{id}}}");
    for id in [1, 2, 3] {
        post(&target, "/v3/lease/grant", &lease(id));
    }
    let first = post(&target, "/v3/lock/lock", "{\"name\":\"bA==\",\"lease\":1}");
    assert_eq!(first.status, 200, "{}", first.body);
    let second = Stream::open(&target, "/v3/lock/lock", "{\"name\":\"bA==\",\"lease\":2}");
    let line = |n: usize| {
        let range = post(
            &target,
            "/v3/kv/range",
            "{\"key\":\"bC8=\",\"range_end\":\"bDA=\",\"count_only\":true}",
        );
        of(&range.body)["count"].as_str() == Some(n.to_string().as_str())
    };
    let mut second = second;
    second.end();
    until(|| line(2));
    drop(second);
    until(|| line(1));
    let key = of(&first.body)["key"].clone();
    let unlocked = post(&target, "/v3/lock/unlock", &format!("{{\"key\":{key}}}"));
    assert_eq!(unlocked.status, 200, "{}", unlocked.body);
    let third = post(&target, "/v3/lock/lock", "{\"name\":\"bA==\",\"lease\":3}");
    assert_eq!(third.status, 200, "{}", third.body);
}

fn until(is_so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + quorate_conformance::PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < end, "not in time");
    }
}
