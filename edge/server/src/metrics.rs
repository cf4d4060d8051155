//! What a member counts and tells: numbers where something happens, one page of them when somebody asks.
//!
//! ```text
//!   grpc/counts   calls, messages, bytes by method ─┐
//!   applied       commands: how long, how many      │
//!   Metrics       reads, leases, disks, health      ├──► gather ──► page ──► GET /metrics
//!   peers/        bytes, round trips by member      │
//!   node, store   status, counts, sizes            ─┘
//! ```
//!
//! Three rules. **Counting is cheap**: an addition at a known place ([`cells`]), nothing is looked up by label while a
//! request is served. **A scrape is cheap**: what it reads is numbers that are kept anyway; nothing walks over keys,
//! and what walks over watches stops after a hundred thousand. **The number of series is bounded**: labels are methods,
//! codes, members and a few versions of clients; whoever is not a member or the seventeenth version is counted as
//! "other", and of streams that lag only the worst are named.
//!
//! The names are in [`table`]; `docs/compat/etcd.md` says what of etcd's is served, and `docs/guide/monitoring.md` what
//! to look at.

pub(crate) mod applied;
pub(crate) mod cells;
mod gather;
mod page;
mod peers;
mod process;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use applied::{ApplyCounts, Metered};
pub(crate) use page::CONTENT_TYPE;
pub(crate) use peers::{PeerCounts, PeersCounts};

use crate::grpc::{CallCounts, Counted};
use cells::{Counter, Gauge, Histogram};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Versions of clients that are told apart.
const CLIENT_VERSIONS_MAX: usize = 16;

/// Bytes of a client's version that are believed.
const CLIENT_VERSION_BYTES_MAX: usize = 32;

/// What this member counts. One for each member; most of it is touched by the member's thread alone.
pub(crate) struct Metrics {
    /// Calls.
    pub(crate) calls: Arc<CallCounts>,
    /// Applied commands.
    pub(crate) applied: Arc<ApplyCounts>,
    /// What goes to and comes from other members.
    pub(crate) peers: PeersCounts,
    /// Connections of clients.
    pub(crate) connections: Gauge,
    /// Connections of clients that were one too many.
    pub(crate) connections_refused: Counter,
    /// Leaders seen.
    pub(crate) leader_changes: Counter,
    /// Writes without an outcome.
    pub(crate) proposals_failed: Counter,
    /// Heartbeats sent late.
    pub(crate) heartbeats_late: Counter,
    /// Linearizable reads that waited long.
    pub(crate) read_indexes_slow: Counter,
    /// Linearizable reads that failed.
    pub(crate) read_indexes_failed: Counter,
    /// Reads by level (see [`Reads`]).
    pub(crate) reads: [Reads; 5],
    /// Ranges answered: refused, done.
    pub(crate) ranges: [Histogram; 2],
    /// Ranges in transactions.
    pub(crate) txn_ranges: Counter,
    /// Writes from the proposal to the outcome: refused, done.
    pub(crate) requests: [Histogram; 2],
    /// Learners promoted.
    pub(crate) learners_promoted: Counter,
    /// Records of the log.
    pub(crate) fsync: Histogram,
    /// Bytes of them.
    pub(crate) wal_bytes: Counter,
    /// Pieces of checkpoints.
    pub(crate) commit: Histogram,
    /// Whole checkpoints.
    pub(crate) checkpoint: Histogram,
    /// Received states.
    pub(crate) received: Histogram,
    /// Received states on their way to the disk.
    pub(crate) receiving: Gauge,
    /// Defragmentations.
    pub(crate) defragment: Histogram,
    /// Snapshots for clients.
    pub(crate) snapshot: Histogram,
    /// Hashes of everything.
    pub(crate) hash: Histogram,
    /// Hashes up to a revision.
    pub(crate) hash_kv: Histogram,
    /// Compactions that are over.
    pub(crate) compactions: Histogram,
    /// When the last one was over, in seconds since 1970.
    pub(crate) compacted_at_s: Gauge,
    /// `/health` said yes.
    pub(crate) healthy: Counter,
    /// `/health` said no.
    pub(crate) unhealthy: Counter,
    /// Looks of `/livez` and `/readyz`.
    pub(crate) checks: RefCell<BTreeMap<(&'static str, &'static str), Checked>>,
    versions: RefCell<Vec<(Box<str>, [u64; 2])>>,
    /// How long the last page took.
    scraped: Cell<Duration>,
}

/// What came of reads of one level.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Granted.
    pub(crate) granted: Counter,
    /// Not.
    pub(crate) failed: Counter,
}

/// What looks of one kind found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checked {
    /// Whether the last one found it healthy.
    pub(crate) is_healthy: bool,
    /// How often it was.
    pub(crate) n_healthy: u64,
    /// How often it was not.
    pub(crate) n_unhealthy: u64,
}

impl Metrics {
    /// All at nothing. With `extensive` calls are timed; applying longer than `warn_apply` is slow.
    pub(crate) fn new(extensive: bool, warn_apply: Duration) -> Metrics {
        let etcds = etcd::Method::ALL.iter().map(|method| {
            let shape = match method.shape() {
                etcd::Shape::Unary => "unary",
                etcd::Shape::ServerStream => "server_stream",
                etcd::Shape::Bidirectional => "bidi_stream",
            };
            (method.path(), shape)
        });
        let natives = api::Method::ALL.iter().map(|method| {
            let shape = match method.shape() {
                api::Shape::Unary => "unary",
                api::Shape::Stream => "server_stream",
            };
            (method.grpc_path(), shape)
        });
        Metrics {
            calls: Arc::new(CallCounts::new(etcds.chain(natives), extensive)),
            applied: Arc::new(ApplyCounts::new(warn_apply)),
            peers: PeersCounts::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            leader_changes: Counter::default(),
            proposals_failed: Counter::default(),
            heartbeats_late: Counter::default(),
            read_indexes_slow: Counter::default(),
            read_indexes_failed: Counter::default(),
            reads: Default::default(),
            ranges: [Histogram::new(&cells::APPLY), Histogram::new(&cells::APPLY)],
            txn_ranges: Counter::default(),
            requests: [
                Histogram::new(&cells::REQUEST),
                Histogram::new(&cells::REQUEST),
            ],
            learners_promoted: Counter::default(),
            fsync: Histogram::new(&cells::DISK),
            wal_bytes: Counter::default(),
            commit: Histogram::new(&cells::DISK),
            checkpoint: Histogram::new(&cells::DISK),
            received: Histogram::new(&cells::RECEIVE),
            receiving: Gauge::default(),
            defragment: Histogram::new(&cells::DEFRAGMENT),
            snapshot: Histogram::new(&cells::SNAPSHOT),
            hash: Histogram::new(&cells::HASH),
            hash_kv: Histogram::new(&cells::HASH),
            compactions: Histogram::new(&cells::COMPACT),
            compacted_at_s: Gauge::default(),
            healthy: Counter::default(),
            unhealthy: Counter::default(),
            checks: RefCell::default(),
            versions: RefCell::default(),
            scraped: Cell::default(),
        }
    }

    /// A call of one of etcd's methods begins.
    pub(crate) fn begun(&self, method: etcd::Method) -> Counted {
        Counted::begun(&self.calls, method as usize)
    }

    /// A call of one of our own methods begins.
    pub(crate) fn begun_native(&self, method: api::Method) -> Counted {
        Counted::begun(&self.calls, etcd::Method::ALL.len() + method as usize)
    }

    /// A client says which version of etcd's API it speaks.
    pub(crate) fn client(&self, version: Option<&[u8]>, is_stream: bool) {
        let version = version
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .filter(|text| text.len() <= CLIENT_VERSION_BYTES_MAX)
            .unwrap_or("unknown");
        let mut versions = self.versions.borrow_mut();
        let known = versions.iter_mut().find(|(known, _)| **known == *version);
        if let Some((_, counts)) = known {
            counts[usize::from(is_stream)] += 1;
            return;
        }
        let version = match versions.len() < CLIENT_VERSIONS_MAX {
            true => version,
            false => "other",
        };
        if let Some((_, counts)) = versions.iter_mut().find(|(known, _)| **known == *version) {
            counts[usize::from(is_stream)] += 1;
            return;
        }
        let mut counts = [0; 2];
        counts[usize::from(is_stream)] = 1;
        versions.push((version.into(), counts));
    }

    /// A look of `/livez` or `/readyz`.
    pub(crate) fn checked(&self, page: &'static str, name: &'static str, is_healthy: bool) {
        let mut checks = self.checks.borrow_mut();
        let checked = checks.entry((page, name)).or_default();
        checked.is_healthy = is_healthy;
        match is_healthy {
            true => checked.n_healthy += 1,
            false => checked.n_unhealthy += 1,
        }
    }

    /// A range was answered, or refused.
    pub(crate) fn ranged(&self, began: Instant, is_done: bool) {
        self.ranges[usize::from(is_done)].observe(began.elapsed());
    }
}

#[cfg(test)]
mod counting {
    use super::*;

    #[test]
    fn versions_of_clients_are_bounded() {
        let metrics = Metrics::new(false, Duration::from_millis(100));
        for n in 0..100 {
            metrics.client(Some(format!("3.{n}").as_bytes()), false);
        }
        metrics.client(Some(b"3.5"), true);
        metrics.client(None, false);
        metrics.client(Some(&[0xff]), false);
        metrics.client(Some(&[b'x'; 100]), false);
        let versions = metrics.versions.borrow();
        assert_eq!(versions.len(), CLIENT_VERSIONS_MAX + 1);
        let counts = |name: &str| versions.iter().find(|(v, _)| **v == *name).map(|(_, n)| *n);
        assert_eq!(counts("3.5"), Some([1, 1]));
        assert_eq!(counts("other"), Some([100 - 16 + 3, 0]));
    }

    #[test]
    fn each_method_has_its_own_line() {
        let metrics = Metrics::new(false, Duration::from_millis(100));
        for method in etcd::Method::ALL {
            drop(metrics.begun(*method));
        }
        for method in api::Method::ALL {
            drop(metrics.begun_native(*method));
        }
        let lines = metrics.calls.methods.iter();
        let paths = etcd::Method::ALL
            .iter()
            .map(|method| method.path())
            .chain(api::Method::ALL.iter().map(|method| method.grpc_path()));
        for (line, path) in lines.zip(paths) {
            assert_eq!(format!("/{}/{}", line.service, line.method), path);
            assert_eq!(line.started.get(), 1, "{path}");
        }
    }
}
