//! Every name that the compatibility list promises: it is there, of its kind, and it moves when it should.
//!
//! As the other conformance tests these know nothing of our code, and those that ask only for what etcd has too pass on
//! the real etcd (`QUORATE_TEST_SERVER=…/etcd`). The page is read by an independent parser.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

use conformance::{Target, alone, alone_with, eventually, is_ours};
use etcd_client::{
    CompactionOptions, Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp,
    WatchOptions,
};
use prometheus_parse::{Scrape, Value};
use quorate_conformance as conformance;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What a mixin's alerts and dashboards name, and the other names that are served: name and kind.
const NAMES: &[(&str, &str)] = &[
    ("etcd_server_has_leader", "gauge"),
    ("etcd_server_leader_changes_seen_total", "counter"),
    ("etcd_server_proposals_failed_total", "counter"),
    ("etcd_server_proposals_committed_total", "gauge"),
    ("etcd_server_proposals_applied_total", "gauge"),
    ("etcd_server_proposals_pending", "gauge"),
    ("etcd_disk_wal_fsync_duration_seconds", "histogram"),
    ("etcd_disk_backend_commit_duration_seconds", "histogram"),
    ("etcd_network_peer_round_trip_time_seconds", "histogram"),
    ("etcd_network_peer_sent_bytes_total", "counter"),
    ("etcd_network_peer_received_bytes_total", "counter"),
    ("etcd_network_client_grpc_sent_bytes_total", "counter"),
    ("etcd_network_client_grpc_received_bytes_total", "counter"),
    ("etcd_mvcc_db_total_size_in_bytes", "gauge"),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", "gauge"),
    ("etcd_server_quota_backend_bytes", "gauge"),
    ("grpc_server_started_total", "counter"),
    ("grpc_server_handled_total", "counter"),
    ("grpc_server_msg_sent_total", "counter"),
    ("grpc_server_msg_received_total", "counter"),
    ("grpc_server_handling_seconds", "histogram"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_open_fds", "gauge"),
    ("process_max_fds", "gauge"),
    ("process_cpu_seconds_total", "counter"),
    ("process_virtual_memory_bytes", "gauge"),
    ("process_start_time_seconds", "gauge"),
    ("etcd_server_version", "gauge"),
    ("etcd_cluster_version", "gauge"),
    ("etcd_server_id", "gauge"),
    ("etcd_server_is_leader", "gauge"),
    ("etcd_server_is_learner", "gauge"),
    ("etcd_server_slow_apply_total", "counter"),
    ("etcd_server_slow_read_indexes_total", "counter"),
    ("etcd_server_read_indexes_failed_total", "counter"),
    ("etcd_server_heartbeat_send_failures_total", "counter"),
    ("etcd_server_snapshot_apply_in_progress_total", "gauge"),
    ("etcd_server_learner_promote_successes", "counter"),
    ("etcd_server_apply_duration_seconds", "histogram"),
    ("etcd_server_range_duration_seconds", "histogram"),
    ("etcd_server_client_requests_total", "counter"),
    ("etcd_server_health_success", "counter"),
    ("etcd_server_health_failures", "counter"),
    ("etcd_mvcc_put_total", "counter"),
    ("etcd_mvcc_delete_total", "counter"),
    ("etcd_mvcc_range_total", "counter"),
    ("etcd_mvcc_txn_total", "counter"),
    ("etcd_mvcc_hash_duration_seconds", "histogram"),
    ("etcd_mvcc_hash_rev_duration_seconds", "histogram"),
    ("etcd_debugging_mvcc_keys_total", "gauge"),
    ("etcd_debugging_mvcc_current_revision", "gauge"),
    ("etcd_debugging_mvcc_compact_revision", "gauge"),
    ("etcd_debugging_mvcc_watcher_total", "gauge"),
    ("etcd_debugging_mvcc_slow_watcher_total", "gauge"),
    ("etcd_debugging_mvcc_watch_stream_total", "gauge"),
    ("etcd_debugging_mvcc_events_total", "counter"),
    ("etcd_debugging_mvcc_pending_events_total", "gauge"),
    ("etcd_debugging_mvcc_db_compaction_keys_total", "counter"),
    ("etcd_debugging_mvcc_db_compaction_last", "gauge"),
    (
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
        "histogram",
    ),
    ("etcd_debugging_mvcc_total_put_size_in_bytes", "gauge"),
    ("etcd_debugging_lease_granted_total", "counter"),
    ("etcd_debugging_lease_revoked_total", "counter"),
    ("etcd_debugging_lease_renewed_total", "counter"),
    ("etcd_debugging_lease_ttl_total", "histogram"),
    ("etcd_debugging_server_lease_expired_total", "counter"),
    ("etcd_disk_wal_write_bytes_total", "gauge"),
    ("etcd_disk_defrag_inflight", "gauge"),
    ("etcd_disk_backend_defrag_duration_seconds", "histogram"),
    ("etcd_disk_backend_snapshot_duration_seconds", "histogram"),
    (
        "etcd_debugging_snap_save_total_duration_seconds",
        "histogram",
    ),
    ("etcd_snap_db_save_total_duration_seconds", "histogram"),
    ("etcd_network_active_peers", "gauge"),
    ("etcd_network_known_peers", "gauge"),
    ("os_fd_used", "gauge"),
    ("os_fd_limit", "gauge"),
];

/// The head and the body of `GET target`.
fn get(endpoint: &str, target: &str) -> (String, String) {
    asked(endpoint, "GET", target)
}

fn asked(endpoint: &str, method: &str, target: &str) -> (String, String) {
    let address = endpoint.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    write!(
        socket,
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body = match head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        false => body.to_owned(),
        true => unchunked(body),
    };
    (head.to_owned(), body)
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}

/// A member's numbers: name and labels as text, and the value; of histograms the number of values.
struct Numbers(BTreeMap<String, f64>);

impl Numbers {
    fn of(endpoint: &str) -> Numbers {
        let (head, body) = get(endpoint, "/metrics");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let lower = head.to_ascii_lowercase();
        assert!(
            lower.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
            "{head}"
        );
        let lines = body.lines().map(|line| Ok(line.to_owned()));
        let scrape = Scrape::parse(lines).unwrap();
        let mut numbers = BTreeMap::new();
        for sample in scrape.samples {
            let mut labels: Vec<String> = sample
                .labels
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            labels.sort();
            let value = match sample.value {
                Value::Counter(n) | Value::Gauge(n) | Value::Untyped(n) => n,
                Value::Histogram(buckets) => buckets.last().map_or(0.0, |bucket| bucket.count),
                Value::Summary(_) => continue,
            };
            let key = format!("{}{{{}}}", sample.metric, labels.join(","));
            numbers.insert(key, value);
        }
        Numbers(numbers)
    }

    /// The sum of all series of `name` whose labels hold all of `labels`.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let prefix = format!("{name}{{");
        let of_name = self.0.iter().filter(|(key, _)| key.starts_with(&prefix));
        let fits = |key: &str| labels.iter().all(|label| key.contains(label));
        of_name
            .filter(|(key, _)| fits(key))
            .map(|(_, value)| value)
            .sum()
    }

    fn get(&self, name: &str) -> f64 {
        self.sum(name, &[])
    }

    fn has(&self, name: &str) -> bool {
        self.0
            .keys()
            .any(|key| key.starts_with(&format!("{name}{{")))
    }
}

/// Waits until a number of a member is as it should be.
async fn becomes(endpoint: &str, what: &str, is: impl Fn(&Numbers) -> bool) {
    eventually(what, || async { is(&Numbers::of(endpoint)).then_some(()) }).await;
}

/// What `numbers` say more than `before`.
fn grown(before: &Numbers, now: &Numbers, name: &str, labels: &[&str]) -> f64 {
    now.sum(name, labels) - before.sum(name, labels)
}

async fn leader_of(target: &Target) -> usize {
    eventually("somebody leads", || async {
        let leads = |endpoint: &String| Numbers::of(endpoint).get("etcd_server_is_leader") == 1.0;
        target.endpoints.iter().position(leads)
    })
    .await
}

#[tokio::test]
async fn the_page_parses_and_every_name_is_there() {
    let target = alone_with(3, &["--metrics=extensive"]).await;
    let mut client = target.client.clone();
    client.put("a", "b", None).await.unwrap();
    client.get("a", None).await.unwrap();
    for endpoint in &target.endpoints {
        becomes(endpoint, "a round trip", |it| {
            it.has("etcd_network_peer_round_trip_time_seconds")
        })
        .await;
    }
    let endpoint = &target.endpoints[0];
    let mut first = target.at(0).await;
    first.get("a", None).await.unwrap();
    becomes(endpoint, "an apply", |it| {
        it.has("etcd_server_apply_duration_seconds")
    })
    .await;
    let (_, page) = get(endpoint, "/metrics");
    for (name, kind) in NAMES {
        assert!(
            page.contains(&format!("# HELP {name} ")),
            "{name} has no help"
        );
        assert!(
            page.contains(&format!("# TYPE {name} {kind}\n")),
            "{name} is no {kind}"
        );
    }
    let numbers = Numbers::of(endpoint);
    for (name, _) in NAMES {
        assert!(numbers.has(name), "{name} has no value");
    }
    // Before anybody has called a method its line is there: a rate needs a beginning.
    let labels = [
        "grpc_method=MemberPromote",
        "grpc_service=etcdserverpb.Cluster",
        "grpc_type=unary",
    ];
    let with = |code| [labels[0], labels[1], labels[2], code];
    for code in [
        "grpc_code=OK",
        "grpc_code=Unavailable",
        "grpc_code=Unauthenticated",
    ] {
        let lines = numbers.0.keys().filter(|key| {
            key.starts_with("grpc_server_handled_total{")
                && with(code).iter().all(|it| key.contains(it))
        });
        assert_eq!(lines.count(), 1, "{code}");
    }
}

#[tokio::test]
async fn writes_move_what_they_should_on_every_member() {
    let target = alone(3).await;
    let mut client = target.at(0).await;
    let before: Vec<Numbers> = target.endpoints.iter().map(|it| Numbers::of(it)).collect();
    for n in 0..10 {
        client
            .put(format!("k{n}"), "0123456789", None)
            .await
            .unwrap();
    }
    client.delete("k0", None).await.unwrap();
    let both = vec![TxnOp::put("t1", "x", None), TxnOp::put("t2", "x", None)];
    let when = Compare::version("t1", CompareOp::Equal, 0);
    client
        .txn(Txn::new().when([when]).and_then(both))
        .await
        .unwrap();
    for (endpoint, before) in target.endpoints.iter().zip(&before) {
        becomes(endpoint, "the writes are applied", |now| {
            grown(before, now, "etcd_mvcc_put_total", &[]) == 12.0
        })
        .await;
        let now = Numbers::of(endpoint);
        let grown = |name| grown(before, &now, name, &[]);
        assert_eq!(grown("etcd_mvcc_delete_total"), 1.0);
        assert!(grown("etcd_mvcc_txn_total") >= 1.0);
        assert_eq!(grown("etcd_debugging_mvcc_keys_total"), 11.0);
        assert_eq!(grown("etcd_debugging_mvcc_current_revision"), 12.0);
        assert!(grown("etcd_debugging_mvcc_total_put_size_in_bytes") >= 120.0);
        assert!(grown("etcd_server_proposals_applied_total") >= 12.0);
        assert!(
            now.get("etcd_server_proposals_committed_total")
                >= now.get("etcd_server_proposals_applied_total")
        );
        assert!(grown("etcd_disk_wal_write_bytes_total") > 120.0);
        assert!(grown("etcd_disk_wal_fsync_duration_seconds") >= 1.0);
        let puts = ["op=Put", "success=true", "version=v3"];
        let applied = now.sum("etcd_server_apply_duration_seconds", &puts);
        assert_eq!(
            applied - before.sum("etcd_server_apply_duration_seconds", &puts),
            10.0
        );
    }
    let (before, now) = (&before[0], Numbers::of(&target.endpoints[0]));
    let put = [
        "grpc_method=Put",
        "grpc_service=etcdserverpb.KV",
        "grpc_type=unary",
    ];
    for name in [
        "grpc_server_started_total",
        "grpc_server_msg_received_total",
        "grpc_server_msg_sent_total",
    ] {
        assert_eq!(grown(before, &now, name, &put), 10.0, "{name}");
    }
    let ok = [put[0], put[1], put[2], "grpc_code=OK"];
    assert_eq!(grown(before, &now, "grpc_server_handled_total", &ok), 10.0);
    assert!(
        grown(
            before,
            &now,
            "etcd_network_client_grpc_received_bytes_total",
            &[]
        ) > 120.0
    );
    assert!(
        grown(
            before,
            &now,
            "etcd_network_client_grpc_sent_bytes_total",
            &[]
        ) > 0.0
    );
    assert!(
        grown(
            before,
            &now,
            "etcd_server_client_requests_total",
            &["type=unary"]
        ) >= 12.0
    );
    assert_eq!(now.get("etcd_server_proposals_pending"), 0.0);
}

#[tokio::test]
async fn reads_and_refusals_are_counted() {
    let target = alone(1).await;
    let endpoint = &target.endpoints[0];
    let mut client = target.client.clone();
    client.put("a", "b", None).await.unwrap();
    let before = Numbers::of(endpoint);
    for _ in 0..5 {
        client.get("a", None).await.unwrap();
    }
    let future = GetOptions::new().with_revision(1_000_000);
    client.get("a", Some(future)).await.unwrap_err();
    let now = Numbers::of(endpoint);
    let range = ["grpc_method=Range", "grpc_service=etcdserverpb.KV"];
    let with = |code| [range[0], range[1], code];
    assert_eq!(
        grown(
            &before,
            &now,
            "grpc_server_handled_total",
            &with("grpc_code=OK")
        ),
        5.0
    );
    assert_eq!(
        grown(
            &before,
            &now,
            "grpc_server_handled_total",
            &with("grpc_code=OutOfRange")
        ),
        1.0
    );
    assert!(grown(&before, &now, "etcd_mvcc_range_total", &[]) >= 5.0);
    assert_eq!(
        grown(
            &before,
            &now,
            "etcd_server_range_duration_seconds",
            &["success=true"]
        ),
        5.0
    );
    if is_ours() {
        assert_eq!(
            grown(
                &before,
                &now,
                "quorate_reads_total",
                &["level=linearizable", "result=granted"]
            ),
            6.0
        );
    }
}

#[tokio::test]
async fn compaction_and_maintenance_are_counted() {
    let target = alone(1).await;
    let endpoint = &target.endpoints[0];
    let mut client = target.client.clone();
    for n in 0..20 {
        client.put("a", format!("{n}"), None).await.unwrap();
    }
    let before = Numbers::of(endpoint);
    let physical = CompactionOptions::new().with_physical();
    client.compact(15, Some(physical)).await.unwrap();
    becomes(endpoint, "a compaction is over", |now| {
        now.get("etcd_debugging_mvcc_db_compaction_last") > 1_700_000_000.0
    })
    .await;
    let now = Numbers::of(endpoint);
    assert_eq!(now.get("etcd_debugging_mvcc_compact_revision"), 15.0);
    assert_eq!(
        grown(
            &before,
            &now,
            "etcd_debugging_mvcc_db_compaction_keys_total",
            &[]
        ),
        13.0
    );
    let compacted = "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds";
    assert_eq!(grown(&before, &now, compacted, &[]), 1.0);
    client.defragment().await.unwrap();
    client.hash().await.unwrap();
    client.hash_kv(0).await.unwrap();
    let mut snapshot = client.snapshot().await.unwrap();
    while snapshot.message().await.unwrap().is_some() {}
    let now = Numbers::of(endpoint);
    for name in [
        "etcd_disk_backend_defrag_duration_seconds",
        "etcd_mvcc_hash_duration_seconds",
        "etcd_mvcc_hash_rev_duration_seconds",
    ] {
        assert_eq!(grown(&before, &now, name, &[]), 1.0, "{name}");
    }
    becomes(endpoint, "a snapshot was counted", |now| {
        grown(
            &before,
            now,
            "etcd_disk_backend_snapshot_duration_seconds",
            &[],
        ) == 1.0
    })
    .await;
    assert_eq!(now.get("etcd_disk_defrag_inflight"), 0.0);
    let sizes = (
        now.get("etcd_mvcc_db_total_size_in_bytes"),
        now.get("etcd_mvcc_db_total_size_in_use_in_bytes"),
    );
    assert!(sizes.0 >= sizes.1 && sizes.1 > 0.0, "{sizes:?}");
    if is_ours() {
        // A defragmentation is a checkpoint here, and its pieces are what is committed.
        assert!(
            grown(
                &before,
                &now,
                "etcd_disk_backend_commit_duration_seconds",
                &[]
            ) >= 1.0
        );
        assert!(
            grown(
                &before,
                &now,
                "etcd_debugging_snap_save_total_duration_seconds",
                &[]
            ) >= 1.0
        );
        assert!(now.has("quorate_backup_age_seconds"));
    }
}

#[tokio::test]
async fn leases_are_counted() {
    let target = alone(1).await;
    let endpoint = &target.endpoints[0];
    let mut client = target.client.clone();
    let before = Numbers::of(endpoint);
    let kept = client.lease_grant(100, None).await.unwrap().id();
    let short = client.lease_grant(1, None).await.unwrap().id();
    client
        .put("k", "v", Some(PutOptions::new().with_lease(short)))
        .await
        .unwrap();
    let (mut keeper, mut answers) = client.lease_keep_alive(kept).await.unwrap();
    keeper.keep_alive().await.unwrap();
    answers.message().await.unwrap();
    client.lease_revoke(kept).await.unwrap();
    becomes(endpoint, "the short lease expires", |now| {
        grown(&before, now, "etcd_debugging_lease_revoked_total", &[]) == 2.0
    })
    .await;
    let now = Numbers::of(endpoint);
    assert_eq!(
        grown(&before, &now, "etcd_debugging_lease_granted_total", &[]),
        2.0
    );
    assert!(grown(&before, &now, "etcd_debugging_lease_renewed_total", &[]) >= 1.0);
    assert_eq!(
        grown(
            &before,
            &now,
            "etcd_debugging_server_lease_expired_total",
            &[]
        ),
        1.0
    );
    assert_eq!(
        grown(&before, &now, "etcd_debugging_lease_ttl_total", &[]),
        2.0
    );
}

#[tokio::test]
async fn watches_are_counted_while_they_last() {
    let target = alone(1).await;
    let endpoint = &target.endpoints[0];
    let mut client = target.client.clone();
    let before = Numbers::of(endpoint);
    let options = WatchOptions::new().with_prefix();
    let mut stream = client.watch("w", Some(options)).await.unwrap();
    becomes(endpoint, "the watch is there", |now| {
        now.get("etcd_debugging_mvcc_watcher_total") == 1.0
    })
    .await;
    assert_eq!(
        Numbers::of(endpoint).get("etcd_debugging_mvcc_watch_stream_total"),
        1.0
    );
    client.put("w1", "x", None).await.unwrap();
    client.put("w2", "x", None).await.unwrap();
    let mut events = 0;
    while events < 2 {
        events += stream.message().await.unwrap().unwrap().events().len();
    }
    becomes(endpoint, "the events are counted", |now| {
        grown(&before, now, "etcd_debugging_mvcc_events_total", &[]) == 2.0
    })
    .await;
    let now = Numbers::of(endpoint);
    assert_eq!(now.get("etcd_debugging_mvcc_pending_events_total"), 0.0);
    assert_eq!(now.get("etcd_debugging_mvcc_slow_watcher_total"), 0.0);
    let sent = [
        "grpc_method=Watch",
        "grpc_service=etcdserverpb.Watch",
        "grpc_type=bidi_stream",
    ];
    assert!(grown(&before, &now, "grpc_server_msg_sent_total", &sent) >= 2.0);
    drop(stream);
    becomes(endpoint, "the watch is gone", |now| {
        now.get("etcd_debugging_mvcc_watcher_total") == 0.0
    })
    .await;
}

/// A client that watches and does not read lags, and is named.
#[tokio::test]
async fn a_client_that_does_not_read_is_named() {
    if !is_ours() {
        return;
    }
    let target = alone(1).await;
    let endpoint = &target.endpoints[0];
    let mut watching = target.at(0).await;
    let stream = watching.watch("w", None).await.unwrap();
    let mut client = target.client.clone();
    let value = vec![b'x'; 512 * 1024];
    for _ in 0..64 {
        client.put("w", value.clone(), None).await.unwrap();
    }
    becomes(endpoint, "the stream lags", |now| {
        now.sum("quorate_watch_lag_revisions", &["client=127.0.0.1:"]) > 3.0
    })
    .await;
    drop(stream);
    becomes(endpoint, "nobody lags any more", |now| {
        !now.has("quorate_watch_lag_revisions")
    })
    .await;
}

#[tokio::test]
async fn members_and_leaders_are_counted() {
    let target = alone(3).await;
    let leader = leader_of(&target).await;
    let other = (leader + 1) % 3;
    let before: Vec<Numbers> = target.endpoints.iter().map(|it| Numbers::of(it)).collect();
    for endpoint in &target.endpoints {
        becomes(endpoint, "everybody is connected, and answers", |now| {
            let trips = now
                .0
                .keys()
                .filter(|key| key.starts_with("etcd_network_peer_round_trip_time_seconds{"));
            let known = now.get("etcd_network_known_peers");
            trips.count() == 2 && known == 3.0 && now.get("etcd_network_active_peers") == 2.0
        })
        .await;
        assert_eq!(Numbers::of(endpoint).get("etcd_server_has_leader"), 1.0);
    }
    let mut client = target.at(other).await;
    for n in 0..10 {
        client.put("k", format!("{n}"), None).await.unwrap();
    }
    for (endpoint, before) in target.endpoints.iter().zip(&before) {
        becomes(endpoint, "bytes go and come", |now| {
            grown(before, now, "etcd_network_peer_sent_bytes_total", &[]) > 0.0
                && grown(before, now, "etcd_network_peer_received_bytes_total", &[]) > 0.0
        })
        .await;
    }
    let mut members = target.at(leader).await;
    let id = {
        let numbers = Numbers::of(&target.endpoints[other]);
        let key = numbers
            .0
            .keys()
            .find(|key| key.starts_with("etcd_server_id{"))
            .unwrap()
            .clone();
        let id = key
            .split_once("server_id=")
            .unwrap()
            .1
            .trim_end_matches('}')
            .to_owned();
        u64::from_str_radix(&id, 16).unwrap()
    };
    members.move_leader(id).await.unwrap();
    becomes(&target.endpoints[other], "the other leads", |now| {
        now.get("etcd_server_is_leader") == 1.0
    })
    .await;
    for (endpoint, before) in target.endpoints.iter().zip(&before) {
        becomes(endpoint, "the change was seen", |now| {
            grown(before, now, "etcd_server_leader_changes_seen_total", &[]) >= 1.0
        })
        .await;
    }
}

#[tokio::test]
async fn a_member_that_is_left_alone_says_so() {
    let mut target = alone(3).await;
    let endpoint = target.endpoints[0].clone();
    let before = Numbers::of(&endpoint);
    let own = target.own.as_mut().unwrap();
    own.members[1].kill();
    own.members[2].kill();
    becomes(&endpoint, "there is no leader", |now| {
        now.get("etcd_server_has_leader") == 0.0
    })
    .await;
    let mut client = target.at(0).await;
    let (put, read) = tokio::join!(async { client.clone().put("k", "v", None).await }, async {
        client.clone().get("k", None).await
    });
    assert!(put.is_err() && read.is_err());
    client
        .get("k", Some(GetOptions::new().with_serializable()))
        .await
        .unwrap();
    let now = Numbers::of(&endpoint);
    assert!(grown(&before, &now, "etcd_server_proposals_failed_total", &[]) >= 1.0);
    let slow = grown(&before, &now, "etcd_server_slow_read_indexes_total", &[]);
    let failed = grown(&before, &now, "etcd_server_read_indexes_failed_total", &[]);
    assert!(slow + failed >= 1.0, "slow {slow}, failed {failed}");
    becomes(&endpoint, "both connections are gone", |now| {
        now.get("etcd_network_active_peers") == 0.0
    })
    .await;
    let now = Numbers::of(&endpoint);
    assert!(now.get("etcd_network_disconnected_peers_total") >= 1.0);
    if is_ours() {
        assert!(now.get("etcd_network_peer_sent_failures_total") >= 1.0);
    }
    // The probes say the same, in etcd's words.
    let (head, body) = get(&endpoint, "/health");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(
        body,
        "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n"
    );
    let (head, body) = get(&endpoint, "/health?serializable=true");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, "{\"health\":\"true\",\"reason\":\"\"}");
    assert_eq!(get(&endpoint, "/livez").1, "ok\n");
    let (head, body) = get(&endpoint, "/readyz");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let mut lines: Vec<&str> = body.lines().collect();
    lines.sort_unstable();
    let expected = [
        "",
        "[+]data_corruption ok",
        "[+]non_learner ok",
        "[+]serializable_read ok",
        "[-]linearizable_read failed: etcdserver: request timed out",
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        get(&endpoint, "/readyz?exclude=linearizable_read").1,
        "ok\n"
    );
    let now = Numbers::of(&endpoint);
    assert_eq!(now.get("etcd_server_health_failures"), 1.0);
    let check = ["name=linearizable_read", "type=readyz"];
    assert_eq!(now.sum("etcd_server_healthcheck", &check), 0.0);
    let failed = [check[0], check[1], "status=error"];
    assert_eq!(now.sum("etcd_server_healthchecks_total", &failed), 1.0);
}

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
