//! Health pages, the address of metrics, secrets, the audit log.

use super::support::*;
use conformance::{alone, alone_with, eventually, is_ours};
use etcd_client::{DeleteOptions, Txn, TxnOp};
use quorate_conformance as conformance;
use std::net::TcpStream;
use std::time::Duration;

/// Bodies and heads as etcd 3.6 has them.
#[tokio::test]
async fn the_probes_of_a_member_that_is_well() {
    let target = alone(1).await;
    let endpoint = &target.endpoints[0];
    for (path, body) in [
        ("/health", "{\"health\":\"true\",\"reason\":\"\"}"),
        (
            "/health?exclude=NOSPACE&serializable=true",
            "{\"health\":\"true\",\"reason\":\"\"}",
        ),
        ("/livez", "ok\n"),
        ("/livez?verbose", "[+]serializable_read ok\nok\n"),
        ("/livez?exclude=serializable_read&verbose", "ok\n"),
        (
            "/livez/serializable_read?verbose",
            "[+]serializable_read ok\nok\n",
        ),
        ("/readyz", "ok\n"),
        (
            "/readyz?verbose",
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n",
        ),
        (
            "/readyz?verbose&exclude=data_corruption&exclude=nobody",
            "[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n",
        ),
        ("/readyz/data_corruption", "ok\n"),
        ("/readyz/linearizable_read", "ok\n"),
        ("/readyz/non_learner", "ok\n"),
    ] {
        let (head, said) = get(endpoint, path);
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{path}: {head}");
        assert!(
            head.to_ascii_lowercase()
                .contains("content-type: text/plain; charset=utf-8"),
            "{path}: {head}"
        );
        assert_eq!(said, body, "{path}");
    }
    for path in ["/livez/", "/readyz/", "/livez/non_learner", "/readyz/nope"] {
        assert!(get(endpoint, path).0.starts_with("HTTP/1.1 404 "), "{path}");
    }
    for path in ["/health", "/livez", "/readyz", "/version"] {
        for method in ["POST", "PUT", "HEAD"] {
            let (head, body) = asked(endpoint, method, path);
            assert!(head.starts_with("HTTP/1.1 405 "), "{method} {path}: {head}");
            assert!(
                head.to_ascii_lowercase().contains("allow: get"),
                "{method} {path}: {head}"
            );
            let expected = if method == "HEAD" {
                ""
            } else {
                "Method Not Allowed\n"
            };
            assert_eq!(body, expected, "{method} {path}");
        }
    }
    let now = Numbers::of(endpoint);
    assert_eq!(now.get("etcd_server_health_success"), 2.0);
    assert_eq!(
        now.sum(
            "etcd_server_healthcheck",
            &["name=non_learner", "type=readyz"]
        ),
        1.0
    );
    let succeeded = ["name=non_learner", "type=readyz", "status=success"];
    assert_eq!(now.sum("etcd_server_healthchecks_total", &succeeded), 4.0);
}

#[tokio::test]
async fn an_alarm_shows_in_health_until_it_is_excluded() {
    let target = alone_with(1, &["--quota-backend-bytes=200000"]).await;
    let endpoint = &target.endpoints[0];
    let mut client = target.client.clone();
    assert_eq!(
        Numbers::of(endpoint).get("etcd_server_quota_backend_bytes"),
        200_000.0
    );
    let value = vec![b'x'; 60_000];
    let mut n = 0;
    while client
        .put(format!("k{n}"), value.clone(), None)
        .await
        .is_ok()
    {
        n += 1;
        assert!(n < 100, "the quota holds nobody");
    }
    let (head, body) = get(endpoint, "/health");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(
        body,
        "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n"
    );
    assert!(
        get(endpoint, "/health?exclude=CORRUPT")
            .0
            .starts_with("HTTP/1.1 503 ")
    );
    assert!(
        get(endpoint, "/health?exclude=NOSPACE")
            .0
            .starts_with("HTTP/1.1 200 ")
    );
    assert_eq!(get(endpoint, "/readyz").1, "ok\n");
}

/// What kubeadm asks, where it asks: an address of its own, which speaks of nothing else.
#[tokio::test]
async fn the_metrics_address_has_metrics_and_health_alone() {
    let place = conformance::new_place();
    let url = place.client_url();
    let target = alone_with(1, &[&format!("--listen-metrics-urls={url}")]).await;
    let mut client = target.client.clone();
    client.put("a", "b", None).await.unwrap();
    assert_eq!(Numbers::of(&url).get("etcd_mvcc_put_total"), 1.0);
    assert_eq!(
        get(&url, "/health?exclude=NOSPACE&serializable=true").1,
        "{\"health\":\"true\",\"reason\":\"\"}"
    );
    assert_eq!(get(&url, "/livez?exclude=NOSPACE").1, "ok\n");
    assert_eq!(get(&url, "/readyz").1, "ok\n");
    for path in ["/version", "/v3/kv/range", "/"] {
        assert!(get(&url, path).0.starts_with("HTTP/1.1 404 "), "{path}");
    }
}

#[tokio::test]
async fn basic_metrics_time_no_calls() {
    let target = alone(1).await;
    let now = Numbers::of(&target.endpoints[0]);
    assert!(!now.has("grpc_server_handling_seconds"));
    let other = alone_with(1, &["--metrics", "extensive"]).await;
    let endpoint = &other.endpoints[0];
    let mut client = other.client.clone();
    let before = Numbers::of(endpoint);
    client.put("a", "b", None).await.unwrap();
    let now = Numbers::of(endpoint);
    let put = ["grpc_method=Put", "grpc_service=etcdserverpb.KV"];
    assert_eq!(
        grown(&before, &now, "grpc_server_handling_seconds", &put),
        1.0
    );
}

/// Values and passwords are said nowhere: not in the log at its most talkative, not in metrics, not in the audit log.
#[tokio::test]
async fn secrets_stay_unsaid() {
    if !is_ours() {
        return;
    }
    const CANARY: &str = "canary-7b1f9e";
    let folder = cluster::TempDir::new().unwrap();
    let audit = folder.path().join("audit.log");
    let flags = [
        "--log-level=debug".to_owned(),
        "--warning-apply-duration=1ns".to_owned(),
        format!("--audit-log={}", audit.display()),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let target = alone_with(1, &flags).await;
    let mut client = target.client.clone();
    let put = TxnOp::put("in-txn", CANARY, None);
    client.put("named-key", CANARY, None).await.unwrap();
    client.txn(Txn::new().and_then([put])).await.unwrap();
    client.get("named-key", None).await.unwrap();
    let _ = client.user_add("alice", CANARY, None).await;
    let _ = client.user_change_password("alice", CANARY).await;
    let options = etcd_client::ConnectOptions::new().with_user("alice", CANARY);
    let _ = etcd_client::Client::connect(&target.endpoints, Some(options)).await;
    let _ = client.put("", CANARY, None).await;
    let page = get(&target.endpoints[0], "/metrics").1;
    let log = target.own.as_ref().unwrap().members[0].last_words(1_000_000);
    assert!(
        log.contains("apply request took too long") && log.contains("named-key"),
        "{log}"
    );
    let lines = eventually("the audit log is written", || async {
        let text = std::fs::read_to_string(&audit).ok()?;
        text.contains("key is not provided").then_some(text)
    })
    .await;
    assert!(lines.contains("\"names\":[\"named-key\"]"), "{lines}");
    assert!(
        lines.contains("\"method\":\"/etcdserverpb.Auth/UserAdd\"") && lines.contains("alice"),
        "{lines}"
    );
    for (what, text) in [
        ("metrics", &page),
        ("the log", &log),
        ("the audit log", &lines),
    ] {
        assert!(!text.contains(CANARY), "{what}");
    }
}

/// One line for each change and each refusal, none for a read, and the chain holds.
#[tokio::test]
async fn the_audit_log_says_who_did_what() {
    if !is_ours() {
        return;
    }
    let folder = cluster::TempDir::new().unwrap();
    let audit = folder.path().join("audit.log");
    let flag = format!("--audit-log={}", audit.display());
    let target = alone_with(1, &[&flag, "--audit-log-mode=block"]).await;
    let mut client = target.client.clone();
    client.put("a", "b", None).await.unwrap();
    client.get("a", None).await.unwrap();
    client.delete("nothing", None).await.unwrap();
    client
        .delete("a", Some(DeleteOptions::new()))
        .await
        .unwrap();
    client.compact(1_000_000, None).await.unwrap_err();
    let text = eventually("all is written", || async {
        let text = std::fs::read_to_string(&audit).ok()?;
        text.contains("/Compact\"").then_some(text)
    })
    .await;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("\"method\""))
        .collect();
    let said = |line: &str, words: &[&str]| words.iter().all(|it| line.contains(it));
    let expected: [&[&str]; 3] = [
        &[
            "KV/Put\"",
            "\"names\":[\"a\"]",
            "\"revision\":2",
            "\"code\":\"OK\"",
            "\"who\":\"anonymous\"",
            "\"from\":\"127.0.0.1:",
        ],
        &[
            "KV/DeleteRange\"",
            "\"names\":[\"a\"]",
            "\"revision\":3",
            "\"code\":\"OK\"",
        ],
        &[
            "KV/Compact\"",
            "\"names\":[\"revision:1000000\"]",
            "\"code\":\"OutOfRange\"",
            "future revision",
        ],
    ];
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, words) in lines.iter().zip(expected) {
        assert!(said(line, words), "{line}");
    }
    let verify = |path: &std::path::Path| {
        let mut command = std::process::Command::new(conformance::program());
        command
            .args(["audit", "verify"])
            .arg(path)
            .output()
            .unwrap()
    };
    assert_eq!(verify(&audit).status.code(), Some(0));
    let doctored = folder.path().join("doctored.log");
    std::fs::write(
        &doctored,
        text.replace("\"names\":[\"a\"]", "\"names\":[\"z\"]"),
    )
    .unwrap();
    let verdict = verify(&doctored);
    assert_eq!(verdict.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&verdict.stderr).contains("was changed"));
    assert!(Numbers::of(&target.endpoints[0]).get("quorate_audit_lines_total") >= 3.0);
}

#[tokio::test]
async fn a_learner_says_so() {
    let mut target = alone(1).await;
    let mut client = target.client.clone();
    let place = conformance::new_place();
    let (url, peer) = (place.client_url(), place.peer_url());
    let options = etcd_client::MemberAddOptions::new().with_is_learner();
    let added = client
        .member_add([peer.clone()], Some(options))
        .await
        .unwrap();
    let id = added.member().unwrap().id();
    let first = added
        .member_list()
        .iter()
        .find(|member| member.id() != id)
        .unwrap()
        .peer_urls()[0]
        .clone();
    let own = target.own.as_mut().unwrap();
    let mut learner = own.member("n2", place, &format!("n1={first},n2={peer}"), "existing");
    learner.start().unwrap();
    eventually("the learner answers", || async {
        TcpStream::connect(url.trim_start_matches("http://")).ok()
    })
    .await;
    becomes(&url, "it learns", |now| {
        now.get("etcd_server_is_learner") == 1.0
    })
    .await;
    eventually("it is a learner and well otherwise", || async {
        let (head, body) = get(&url, "/readyz");
        let mut lines: Vec<&str> = body.lines().collect();
        lines.sort_unstable();
        let expected = [
            "",
            "[+]data_corruption ok",
            "[+]linearizable_read ok",
            "[+]serializable_read ok",
            "[-]non_learner failed: not supported for learner",
        ];
        (head.starts_with("HTTP/1.1 503 ") && lines == expected).then_some(())
    })
    .await;
    assert_eq!(get(&url, "/livez").1, "ok\n");
    assert_eq!(
        get(&url, "/readyz/non_learner").1,
        "[-]non_learner failed: not supported for learner\n\n"
    );
    let before = Numbers::of(&target.endpoints[0]);
    eventually("it is promoted", || async {
        client.clone().member_promote(id).await.ok()
    })
    .await;
    becomes(&url, "it votes", |now| {
        now.get("etcd_server_is_learner") == 0.0
    })
    .await;
    let now = Numbers::of(&target.endpoints[0]);
    assert_eq!(
        grown(&before, &now, "etcd_server_learner_promote_successes", &[]),
        1.0
    );
    drop(learner);
}

#[tokio::test]
async fn slow_applies_are_counted_and_told() {
    let target = alone_with(1, &["--warning-apply-duration=1ns"]).await;
    let endpoint = &target.endpoints[0];
    let before = Numbers::of(endpoint);
    let mut client = target.client.clone();
    client.put("slow-key", "slow-value", None).await.unwrap();
    let now = Numbers::of(endpoint);
    assert!(grown(&before, &now, "etcd_server_slow_apply_total", &[]) >= 1.0);
    let member = &target.own.as_ref().unwrap().members[0];
    eventually("it is told", || async {
        let lines = member.said("apply request took too long");
        let line = lines.iter().find(|line| line.contains("slow-key"))?;
        let tells = [
            "\"took\":\"",
            "\"expected-duration\":\"1ns\"",
            "\"response\":\"size:",
            "value_size:10",
        ];
        assert!(
            tells.iter().all(|it| line.contains(it)) && !line.contains("slow-value"),
            "{line}"
        );
        Some(())
    })
    .await;
}

/// A leader that stands still for longer than two heartbeats has sent them late, and knows.
#[tokio::test]
async fn a_leader_that_was_stopped_says_so() {
    let target = alone(1).await;
    let endpoint = &target.endpoints[0];
    becomes(endpoint, "it leads", |now| {
        now.get("etcd_server_is_leader") == 1.0
    })
    .await;
    let pid = target.own.as_ref().unwrap().members[0].pid().unwrap();
    let signal = |name: &str| {
        let mut kill = std::process::Command::new("kill");
        assert!(
            kill.args([name, &pid.to_string()])
                .status()
                .unwrap()
                .success()
        );
    };
    signal("-STOP");
    tokio::time::sleep(Duration::from_millis(800)).await;
    signal("-CONT");
    if is_ours() {
        becomes(endpoint, "it has noticed", |now| {
            now.get("etcd_server_heartbeat_send_failures_total") >= 1.0
        })
        .await;
    }
}
