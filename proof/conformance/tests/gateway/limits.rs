//! What is refused before anything is believed, and in which words. These are ours alone where etcd has no bound.

use crate::curl::{Stream, curl, member, post};
use quorate_conformance::{alone_with, is_ours};

#[tokio::test]
async fn bodies_are_bounded_in_bytes_and_depth_and_the_member_goes_on() {
    if !is_ours() {
        return;
    }
    let target = member().await;
    let large = format!("{{\"key\":\"{}\"}}", "YWFh".repeat(3_000_000));
    let answer = post(&target, "/v3/kv/put", &large);
    assert_eq!(answer.status, 429, "{}", answer.body);
    let deep = "{\"success\":[".repeat(100_000);
    let answer = post(&target, "/v3/kv/txn", &deep);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (
            400,
            "{\"code\":3,\"message\":\"exceeded max depth of 128\"}"
        )
    );
    let empty = format!("{{\"compare\":[{}{{}}]}}", "{},".repeat(500_000));
    let answer = post(&target, "/v3/kv/txn", &empty);
    assert_eq!(answer.status, 400, "{}", answer.body);
    let wide = format!(
        "{{\"key\":\"YQ==\",\"value\":\"{}\"}}",
        "YWFh".repeat(524_287)
    );
    let answer = post(&target, "/v3/kv/put", &wide);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (
            400,
            "{\"code\":3,\"message\":\"etcdserver: request is too large\"}"
        )
    );
    let answer = post(&target, "/v3/kv/range", "{\"key\":\"YQ==\"}");
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn a_stream_that_talks_nonsense_ends_with_a_word() {
    if !is_ours() {
        return;
    }
    let target = member().await;
    let mut stream = Stream::open(&target, "/v3/watch", "{\"create_request\":{}}");
    assert!(stream.line().contains("\"created\":true"));
    stream.say("nonsense");
    let line = stream.line();
    assert!(
        line.starts_with("{\"error\":{\"code\":3,\"message\":\"proto: syntax error"),
        "{line}"
    );
    let never = post(&target, "/v3/watch", "{\"create_request\":3}");
    assert_eq!(never.status, 400, "{}", never.body);
    // Nothing was watched and nothing will be.
    let nothing = post(&target, "/v3/watch", "");
    assert_eq!((nothing.status, nothing.body.as_str()), (200, ""));
}

#[tokio::test]
async fn hosts_and_origins_are_checked_as_configured() {
    let flags = [
        "--host-whitelist",
        "127.0.0.1,good.example",
        "--cors",
        "http://good.example:1",
    ];
    let target = alone_with(1, &flags).await;
    let url = format!("{}/v3/kv/range", target.endpoints[0]);
    let asked = |headers: &[&str]| {
        let arguments: Vec<&str> = headers.iter().flat_map(|it| ["-H", it]).collect();
        curl(&url, &arguments, Some(b"{\"key\":\"YQ==\"}"))
    };
    assert_eq!(asked(&[]).status, 200);
    assert_eq!(asked(&["Host: good.example:1"]).status, 200);
    let bad = asked(&["Host: bad.example"]);
    assert_eq!(bad.status, 421);
    assert!(
        bad.body
            .contains("etcd received your request, but the Host header was unrecognized."),
        "{}",
        bad.body
    );
    assert!(
        bad.body.contains("--host-whitelist \"bad.example\""),
        "{}",
        bad.body
    );
    let good = asked(&["Origin: http://good.example:1"]);
    assert_eq!(good.status, 200);
    for header in [
        "access-control-allow-origin: http://good.example:1",
        "access-control-allow-methods: post, get, options, put, delete",
        "access-control-allow-headers: accept, content-type, authorization",
    ] {
        assert!(good.headers.contains(header), "{}", good.headers);
    }
    let bad = asked(&["Origin: http://bad.example"]);
    assert!(!bad.headers.contains("access-control"), "{}", bad.headers);
    // etcd hides the answer; ours does not do it.
    assert_eq!(bad.status, if is_ours() { 403 } else { 200 });
    let preflight = curl(
        &url,
        &["-X", "OPTIONS", "-H", "Origin: http://good.example:1"],
        None,
    );
    assert_eq!((preflight.status, preflight.body.as_str()), (200, ""));
    assert!(
        preflight
            .headers
            .contains("access-control-allow-origin: http://good.example:1")
    );
}

#[tokio::test]
async fn it_can_be_turned_off_and_http_can_have_an_address_of_its_own() {
    let off = alone_with(1, &["--enable-grpc-gateway=false"]).await;
    assert_eq!(post(&off, "/v3/kv/range", "{\"key\":\"YQ==\"}").status, 404);
    assert_eq!(
        curl(&format!("{}/version", off.endpoints[0]), &[], None).status,
        200
    );

    let http = format!("http://127.0.0.1:{}", cluster::free_port().expect("a port"));
    let split = alone_with(1, &["--listen-client-http-urls", &http]).await;
    let range = curl(
        &format!("{http}/v3/kv/range"),
        &[],
        Some(b"{\"key\":\"YQ==\"}"),
    );
    assert_eq!(range.status, 200, "{}", range.body);
    assert_ne!(
        post(&split, "/v3/kv/range", "{\"key\":\"YQ==\"}").status,
        200
    );
}

#[tokio::test]
async fn metadata_and_deadlines_come_in_headers() {
    let target = member().await;
    let url = |path: &str| format!("{}{path}", target.endpoints[0]);
    let wrong = curl(
        &url("/v3/kv/range"),
        &["-H", "Grpc-Timeout: soon"],
        Some(b"{\"key\":\"YQ==\"}"),
    );
    assert_eq!(
        (wrong.status, wrong.body.as_str()),
        (
            400,
            "{\"code\":3,\"message\":\"invalid grpc-timeout: soon\"}"
        )
    );
    for lease in [1, 2] {
        post(
            &target,
            "/v3/lease/grant",
            &format!("{{\"TTL\":600,\"ID\":{lease}}}"),
        );
    }
    post(&target, "/v3/lock/lock", "{\"name\":\"bA==\",\"lease\":1}");
    let late = curl(
        &url("/v3/lock/lock"),
        &["-H", "Grpc-Timeout: 50m"],
        Some(b"{\"name\":\"bA==\",\"lease\":2}"),
    );
    assert_eq!(late.status, 504, "{}", late.body);
    let range = curl(
        &url("/v3/kv/range"),
        &["-H", "Grpc-Metadata-Hasleader: true"],
        Some(b"{\"key\":\"YQ==\"}"),
    );
    assert_eq!(range.status, 200, "{}", range.body);
    assert!(
        range
            .headers
            .contains("grpc-metadata-content-type: application/grpc"),
        "{}",
        range.headers
    );
}

#[tokio::test]
async fn the_pages_of_a_member_are_where_etcds_are() {
    let target = member().await;
    let get = |path: &str, arguments: &[&str]| {
        curl(&format!("{}{path}", target.endpoints[0]), arguments, None)
    };
    let vars = get("/debug/vars", &[]);
    let vars: serde_json::Value = serde_json::from_str(&vars.body).expect("JSON");
    let status = &vars["raft.status"];
    assert_eq!(status["raftState"], "StateLeader");
    assert_eq!(status["id"], status["lead"]);
    assert!(status["applied"].as_u64() > Some(0) && vars["file_descriptor_limit"].is_u64());
    let written = [
        ("POST", "/debug/vars", 405),
        ("GET", "/config/local/log", 404),
    ];
    for (method, path, status) in written {
        assert_eq!(get(path, &["-X", method]).status, status, "{path}");
    }
    if is_ours() {
        for path in ["/debug/requests", "/debug/events", "/debug/pprof"] {
            assert_eq!(get(path, &[]).status, 404, "{path}");
        }
        let websocket = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"];
        assert_eq!(get("/v3/watch", &websocket).status, 501);
    }
}
