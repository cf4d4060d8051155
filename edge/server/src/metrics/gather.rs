//! One page of everything, read from where it is kept.

use super::page::Page;
use super::{Checked, process, table};
use crate::clock;
use crate::front::cluster_version;
use crate::grpc::CODE_NAMES;
use crate::member::Member;
use std::time::Instant;
use storage::Space;

/// Streams of watches that are named when they lag.
const LAGGING_MAX: usize = 10;

/// The levels in the order of the counts.
const LEVELS: [&str; 5] = ["linearizable", "lease", "bounded", "session", "sequential"];

impl Member {
    /// The page of `GET /metrics`.
    pub(crate) fn metrics_page(&self) -> String {
        let began = Instant::now();
        let mut page = Page::default();
        self.gather_server(&mut page);
        self.gather_disk(&mut page);
        self.gather_store(&mut page);
        self.gather_leases(&mut page);
        self.gather_peers(&mut page);
        self.gather_calls(&mut page);
        self.gather_own(&mut page);
        process::gather(&mut page);
        let text = page.render();
        self.metrics.scraped.set(began.elapsed());
        text
    }

    fn gather_server(&self, page: &mut Page) {
        let (metrics, status) = (&self.metrics, self.status());
        page.one(&table::HAS_LEADER, yes(!status.leader.is_none()));
        page.one(&table::IS_LEADER, yes(status.is_leader));
        page.one(&table::IS_LEARNER, yes(status.is_learner));
        page.one(&table::LEADER_CHANGES, metrics.leader_changes.get() as f64);
        page.one(&table::PROPOSALS_COMMITTED, status.commit.0 as f64);
        page.one(&table::PROPOSALS_APPLIED, status.applied.index.0 as f64);
        page.one(&table::PROPOSALS_PENDING, self.n_pending() as f64);
        page.one(
            &table::PROPOSALS_FAILED,
            metrics.proposals_failed.get() as f64,
        );
        page.one(
            &table::HEARTBEATS_LATE,
            metrics.heartbeats_late.get() as f64,
        );
        page.one(&table::SLOW_APPLIES, metrics.applied.slow.get() as f64);
        page.one(
            &table::SLOW_READ_INDEXES,
            metrics.read_indexes_slow.get() as f64,
        );
        page.one(
            &table::READ_INDEXES_FAILED,
            metrics.read_indexes_failed.get() as f64,
        );
        page.one(
            &table::LEARNERS_PROMOTED,
            metrics.learners_promoted.get() as f64,
        );
        page.one(&table::SNAPSHOT_APPLYING, metrics.receiving.get() as f64);
        let mut applies = page.family(&table::APPLY_SECONDS);
        for (op, pair) in metrics.applied.took() {
            for (success, took) in ["false", "true"].iter().zip(pair) {
                if took.n() > 0 {
                    applies.histogram(&["v3", &op, success], took);
                }
            }
        }
        drop(applies);
        let mut ranges = page.family(&table::RANGE_SECONDS);
        for (success, took) in ["false", "true"].iter().zip(&metrics.ranges) {
            ranges.histogram(&[success], took);
        }
        drop(ranges);
        let mut requests = page.family(&table::REQUEST_SECONDS);
        for (success, took) in ["false", "true"].iter().zip(&metrics.requests) {
            requests.histogram(&["write", success], took);
        }
        drop(requests);
        let mut clients = page.family(&table::CLIENT_REQUESTS);
        for (version, counts) in metrics.versions.borrow().iter() {
            for (kind, n) in ["unary", "stream"].iter().zip(counts) {
                if *n > 0 {
                    clients.row(&[kind, version], *n as f64);
                }
            }
        }
        drop(clients);
        page.family(&table::SERVER_VERSION)
            .row(&[etcd::ETCD_VERSION], 1.0);
        let cluster = cluster_version();
        let cluster = cluster.trim_end_matches(".0");
        page.family(&table::CLUSTER_VERSION).row(&[cluster], 1.0);
        page.family(&table::SERVER_ID)
            .row(&[&status.member.to_string()], 1.0);
        let quota = self.session.borrow().limits().quota_bytes;
        page.one(&table::QUOTA, quota as f64);
        page.one(&table::HEALTH_SUCCESS, metrics.healthy.get() as f64);
        page.one(&table::HEALTH_FAILURES, metrics.unhealthy.get() as f64);
        let checks = metrics.checks.borrow();
        let mut last = page.family(&table::HEALTH_CHECK);
        for ((kind, name), checked) in checks.iter() {
            last.row(&[kind, name], yes(checked.is_healthy));
        }
        drop(last);
        let mut all = page.family(&table::HEALTH_CHECKS);
        for ((kind, name), checked) in checks.iter() {
            let Checked {
                n_healthy,
                n_unhealthy,
                ..
            } = *checked;
            for (status, n) in [("error", n_unhealthy), ("success", n_healthy)] {
                if n > 0 {
                    all.row(&[kind, name, status], n as f64);
                }
            }
        }
    }

    fn gather_disk(&self, page: &mut Page) {
        let metrics = &self.metrics;
        page.histogram(&table::FSYNC_SECONDS, &metrics.fsync);
        page.one(&table::WAL_BYTES, metrics.wal_bytes.get() as f64);
        page.histogram(&table::COMMIT_SECONDS, &metrics.commit);
        page.histogram(&table::DEFRAGMENT_SECONDS, &metrics.defragment);
        page.one(&table::DEFRAGMENTING, yes(self.is_defragmenting()));
        page.histogram(&table::SNAPSHOT_SECONDS, &metrics.snapshot);
        page.histogram(&table::CHECKPOINT_SECONDS, &metrics.checkpoint);
        page.histogram(&table::RECEIVED_SECONDS, &metrics.received);
    }

    fn gather_store(&self, page: &mut Page) {
        let metrics = &self.metrics;
        let everything = store::KeyRange::all();
        self.with_state(|state| {
            page.one(&table::DB_BYTES, state.bytes_total() as f64);
            page.one(&table::DB_BYTES_IN_USE, state.bytes_in_use() as f64);
            page.one(&table::REVISION, state.revision().0 as f64);
            let root = state.root(etcd::ROOT);
            page.one(&table::COMPACTED, root.compacted().0 as f64);
            // The tree keeps counts: the present is never scanned for one.
            page.one(
                &table::KEYS,
                root.count(&everything, None).unwrap_or(0) as f64,
            );
            page.one(&table::APPLY_VERSION, f64::from(state.apply_version()));
        });
        let applied = &metrics.applied;
        page.one(&table::PUTS, applied.puts.get() as f64);
        page.one(&table::PUT_BYTES, applied.put_bytes.get() as f64);
        page.one(&table::DELETES, applied.deletes.get() as f64);
        page.one(&table::TXNS, applied.txns.get() as f64);
        let ranges: u64 = metrics.ranges.iter().map(|it| it.n()).sum();
        page.one(&table::RANGES, (ranges + metrics.txn_ranges.get()) as f64);
        page.histogram(&table::HASH_SECONDS, &metrics.hash);
        page.histogram(&table::HASH_KV_SECONDS, &metrics.hash_kv);
        page.one(&table::COMPACTED_KEYS, self.counts().versions_swept as f64);
        page.one(&table::COMPACTED_LAST, metrics.compacted_at_s.get() as f64);
        page.histogram(&table::COMPACT_MS, &metrics.compactions);
        let desk = self.desk.borrow();
        let watches = desk.vitals(LAGGING_MAX);
        page.one(&table::WATCHERS, desk.n_watches() as f64);
        page.one(&table::WATCH_STREAMS, desk.n_streams() as f64);
        page.one(&table::SLOW_WATCHERS, watches.n_behind as f64);
        page.one(&table::EVENTS, watches.events_given as f64);
        page.one(&table::PENDING_EVENTS, watches.events_waiting as f64);
        for (family, number) in [(&table::WATCH_LAG, 0), (&table::WATCH_WAITING, 1)] {
            let mut rows = page.family(family);
            for lag in &watches.lagging {
                let client = self.stream_from(lag.stream);
                let client = client.map_or_else(|| "local".to_owned(), |it| it.to_string());
                let value = [lag.revisions, lag.bytes][number] as f64;
                rows.row(&[&client, &lag.stream.0.to_string()], value);
            }
        }
    }

    fn gather_leases(&self, page: &mut Page) {
        let counts = self.counts();
        page.one(&table::LEASES_GRANTED, counts.leases_granted as f64);
        page.one(&table::LEASES_REVOKED, counts.leases_revoked as f64);
        page.one(&table::LEASES_RENEWED, counts.leases_renewed as f64);
        page.one(&table::LEASES_EXPIRED, counts.leases_expired as f64);
        page.histogram(&table::LEASE_TTL, &self.metrics.applied.ttl);
    }

    fn gather_peers(&self, page: &mut Page) {
        let peers = self.metrics.peers.all();
        let ids: Vec<String> = peers.iter().map(|(id, _)| id.to_string()).collect();
        let named = || ids.iter().map(String::as_str).zip(&peers);
        let mut rows = page.family(&table::PEER_SENT);
        named().for_each(|(id, (_, it))| rows.row(&[id], it.sent_bytes.get() as f64));
        drop(rows);
        let mut rows = page.family(&table::PEER_RECEIVED);
        named().for_each(|(id, (_, it))| rows.row(&[id], it.received_bytes.get() as f64));
        drop(rows);
        let mut rows = page.family(&table::PEER_SENT_FAILURES);
        named().for_each(|(id, (_, it))| rows.row(&[id], it.sent_failures.get() as f64));
        drop(rows);
        let mut rows = page.family(&table::PEER_RECEIVED_FAILURES);
        named().for_each(|(id, (_, it))| rows.row(&[id], it.received_failures.get() as f64));
        drop(rows);
        let mut rows = page.family(&table::PEER_ROUND_TRIP);
        for (id, (_, it)) in named().filter(|(_, (_, it))| it.round_trip.n() > 0) {
            rows.histogram(&[id], &it.round_trip);
        }
        drop(rows);
        let own = self.identity.member.to_string();
        let members = self.with_state(store::State::members);
        let mut rows = page.family(&table::PEERS_KNOWN);
        for member in &members {
            rows.row(&[&own, &member.id.to_string()], 1.0);
        }
        drop(rows);
        let others = || {
            members
                .iter()
                .filter(|member| member.id != self.identity.member)
        };
        let mut rows = page.family(&table::PEERS_ACTIVE);
        for member in others() {
            rows.row(
                &[&own, &member.id.to_string()],
                yes(self.is_connected(member.id)),
            );
        }
        drop(rows);
        let mut rows = page.family(&table::PEERS_LOST);
        for (id, (_, it)) in named().filter(|(_, (_, it))| it.lost.get() > 0) {
            rows.row(&[&own, id], it.lost.get() as f64);
        }
        drop(rows);
        let clocks = self.clocks();
        let mut rows = page.family(&table::CLOCK_OFFSET);
        for (id, offset) in &clocks {
            rows.row(&[&id.to_string()], offset.ahead_ms as f64 / 1000.0);
        }
        drop(rows);
        let mut rows = page.family(&table::CLOCK_ERROR);
        for (id, offset) in &clocks {
            rows.row(&[&id.to_string()], offset.error.as_secs_f64());
        }
    }

    fn gather_calls(&self, page: &mut Page) {
        let calls = &self.metrics.calls;
        page.one(&table::CLIENT_RECEIVED, calls.received_bytes.get() as f64);
        page.one(&table::CLIENT_SENT, calls.sent_bytes.get() as f64);
        let mut rows = page.family(&table::GRPC_STARTED);
        for it in &calls.methods {
            rows.row(&[it.shape, it.service, it.method], it.started.get() as f64);
        }
        drop(rows);
        let mut rows = page.family(&table::GRPC_RECEIVED);
        for it in &calls.methods {
            rows.row(&[it.shape, it.service, it.method], it.received.get() as f64);
        }
        drop(rows);
        let mut rows = page.family(&table::GRPC_SENT);
        for it in &calls.methods {
            rows.row(&[it.shape, it.service, it.method], it.sent.get() as f64);
        }
        drop(rows);
        let mut rows = page.family(&table::GRPC_HANDLED);
        for it in &calls.methods {
            for (code, handled) in CODE_NAMES.iter().zip(&it.handled) {
                let labels = [it.shape, it.service, it.method, code];
                rows.row(&labels, handled.get() as f64);
            }
        }
        drop(rows);
        let mut rows = page.family(&table::GRPC_SECONDS);
        for it in &calls.methods {
            if let Some(took) = &it.took {
                rows.histogram(&[it.shape, it.service, it.method], took);
            }
        }
    }

    fn gather_own(&self, page: &mut Page) {
        let (metrics, status) = (&self.metrics, self.status());
        page.one(&table::TERM, status.term.0 as f64);
        page.one(&table::READY, yes(self.is_ready()));
        page.one(&table::RECOVERING, yes(status.is_recovering));
        let space = match self.space() {
            Space::Normal => 0.0,
            Space::Low => 1.0,
            Space::Full => 2.0,
        };
        page.one(&table::DISK_SPACE, space);
        if let Some(age) = self.vitals.backup_age(clock::now()) {
            page.one(&table::BACKUP_AGE, age.as_secs_f64());
        }
        let mut rows = page.family(&table::READS);
        for (level, reads) in LEVELS.iter().zip(&metrics.reads) {
            rows.row(&[level, "granted"], reads.granted.get() as f64);
            rows.row(&[level, "failed"], reads.failed.get() as f64);
        }
        drop(rows);
        page.one(&table::CONNECTIONS, metrics.connections.get() as f64);
        let refused = metrics.connections_refused.get() as f64;
        page.family(&table::CONNECTIONS_REFUSED)
            .row(&["limit"], refused);
        let dropped = crate::log_lines_dropped().load(std::sync::atomic::Ordering::Relaxed);
        page.one(&table::LOG_LINES_DROPPED, dropped as f64);
        if let Some(audit) = &self.audit {
            page.one(&table::AUDIT_LINES, audit.taken.get() as f64);
            page.one(&table::AUDIT_LINES_DROPPED, audit.dropped.get() as f64);
        }
        page.one(&table::SCRAPE_SECONDS, metrics.scraped.get().as_secs_f64());
    }
}

fn yes(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}
