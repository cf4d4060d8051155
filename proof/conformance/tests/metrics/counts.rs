//! Every name, its kind, and what moves it.

use super::support::*;
use conformance::{alone, alone_with, is_ours};
use etcd_client::{
    CompactionOptions, Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp, WatchOptions,
};
use quorate_conformance as conformance;

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
