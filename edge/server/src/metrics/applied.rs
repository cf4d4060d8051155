//! Commands as they are applied: how long each took, what it did. A dialect in the dialect's clothes.
//!
//! The pure machine has no clock, so the shell wraps each dialect that it registers ([`Metered`]) and looks at its own
//! clock before and after. What is counted decides nothing: the outcome is the dialect's, to the bit.

use super::cells::{APPLY, Counter, Histogram, TTL};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use store::command::{DialectId, Identity};
use store::{Dialect, Outcome, RootId, Stamp, State, WriteTxn};
use tracing::warn;

/// One more than the largest kind of command that has a line of its own.
const KINDS: usize = 64;

/// Commands of one kind: those that were refused, and those that were not.
type Took = OnceLock<[Histogram; 2]>;

/// What is counted of commands.
pub(crate) struct ApplyCounts {
    warn_apply: Duration,
    /// Keys put.
    pub(crate) puts: Counter,
    /// Bytes of them.
    pub(crate) put_bytes: Counter,
    /// Ranges deleted.
    pub(crate) deletes: Counter,
    /// Commands that did more than one thing.
    pub(crate) txns: Counter,
    /// Commands that took long.
    pub(crate) slow: Counter,
    /// Times to live of granted leases.
    pub(crate) ttl: Histogram,
    /// By the number of the kind; the last one is for all other dialects.
    took: [Took; KINDS + 1],
}

impl ApplyCounts {
    pub(super) fn new(warn_apply: Duration) -> ApplyCounts {
        ApplyCounts {
            warn_apply,
            puts: Counter::default(),
            put_bytes: Counter::default(),
            deletes: Counter::default(),
            txns: Counter::default(),
            slow: Counter::default(),
            ttl: Histogram::new(&TTL),
            took: [const { OnceLock::new() }; KINDS + 1],
        }
    }

    /// What was applied so far: the operation in etcd's words, refused and done.
    pub(super) fn took(&self) -> impl Iterator<Item = (String, &[Histogram; 2])> {
        self.took.iter().enumerate().filter_map(|(number, took)| {
            let name = match u8::try_from(number).ok().and_then(etcd::Kind::of_number) {
                Some(etcd::Kind::Compact) => "Compaction".to_owned(),
                Some(kind) => format!("{kind:?}"),
                None if number == KINDS => "Native".to_owned(),
                None => format!("Kind{number}"),
            };
            Some((name, took.get()?))
        })
    }

    fn applied(&self, kind: usize, took: Duration, outcome: &Outcome, txn: &WriteTxn<'_>) {
        let ops = txn.ops();
        if ops.puts > 0 {
            self.puts.add(ops.puts);
            self.put_bytes.add(ops.put_bytes);
        }
        if ops.deletes > 0 {
            self.deletes.add(ops.deletes);
        }
        if ops.puts + ops.deletes > 1 {
            self.txns.inc();
        }
        if let Some(ttl_s) = ops.granted_ttl_s {
            let ttl_s = u64::try_from(ttl_s).unwrap_or(0);
            self.ttl.observe(Duration::from_secs(ttl_s));
        }
        let pair = self.took[kind.min(KINDS)]
            .get_or_init(|| [Histogram::new(&APPLY), Histogram::new(&APPLY)]);
        pair[usize::from(outcome.status == 0)].observe(took);
    }
}

/// A dialect whose commands are counted and timed.
pub(crate) struct Metered {
    dialect: Box<dyn Dialect + Send>,
    counts: std::sync::Arc<ApplyCounts>,
}

impl Metered {
    /// `dialect`, counted into `counts`.
    pub(crate) fn new(
        dialect: Box<dyn Dialect + Send>,
        counts: &std::sync::Arc<ApplyCounts>,
    ) -> Metered {
        Metered {
            dialect,
            counts: counts.clone(),
        }
    }
}

impl Dialect for Metered {
    fn id(&self) -> DialectId {
        self.dialect.id()
    }

    fn root(&self) -> RootId {
        self.dialect.root()
    }

    fn apply(&self, txn: &mut WriteTxn<'_>, request: &[u8], stamp: &Stamp) -> Outcome {
        let began = Instant::now();
        let outcome = self.dialect.apply(txn, request, stamp);
        let took = began.elapsed();
        let is_etcds = self.id() == etcd::DIALECT;
        let kind = match request.first() {
            Some(number) if is_etcds => usize::from(*number),
            _ => KINDS,
        };
        self.counts.applied(kind, took, &outcome, txn);
        if took >= self.counts.warn_apply {
            self.counts.slow.inc();
            let request = match is_etcds {
                true => etcd::describe_command(request),
                false => format!("size:{}", request.len()),
            };
            warn!(
                took = ?took, "expected-duration" = ?self.counts.warn_apply, prefix = "", request,
                response = format!("size:{}", outcome.body.len()),
                "apply request took too long"
            );
        }
        outcome
    }

    fn admit(
        &self,
        state: &State,
        identity: Option<&Identity>,
        request: &[u8],
    ) -> Result<(), Outcome> {
        self.dialect.admit(state, identity, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etcd::proto::etcdserverpb as pb;
    use etcd::{EtcdDialect, Limits, Method, Plan, Session};
    use prost::Message;
    use std::sync::Arc;
    use store::{Genesis, Store};

    fn put(lease: i64) -> bytes::Bytes {
        let put = pb::PutRequest {
            key: "key".into(),
            value: "value".into(),
            lease,
            ..Default::default()
        };
        let planned =
            Session::new(Limits::default(), 1).plan(Method::Put, put.encode_to_vec().into());
        match planned {
            Ok(Plan::Propose { request, .. }) => request,
            other => panic!("{other:?}"),
        }
    }

    fn apply(dialect: &dyn Dialect, store: &mut Store, request: &[u8]) -> Outcome {
        let stamp = Stamp::default();
        let mut txn = store.begin(dialect.root(), &stamp);
        let outcome = dialect.apply(&mut txn, request, &stamp);
        txn.finish();
        outcome
    }

    #[test]
    fn what_is_counted_decides_nothing() {
        let counts = Arc::new(ApplyCounts::new(Duration::from_secs(60)));
        let metered = Metered::new(Box::new(EtcdDialect), &counts);
        let (mut with, mut without) = (
            Store::new(Genesis::default()),
            Store::new(Genesis::default()),
        );
        for request in [&put(0)[..], &put(7), &[], &[200, 1], &[4]] {
            let outcome = apply(&metered, &mut with, request);
            assert_eq!(outcome, apply(&EtcdDialect, &mut without, request));
        }
        assert_eq!(with.state().digest(), without.state().digest());
        assert_eq!((counts.puts.get(), counts.put_bytes.get()), (1, 8));
        assert_eq!(counts.slow.get(), 0);
        let took = |op: &str, success: usize| {
            let pair = counts
                .took()
                .find(|(name, _)| name == op)
                .map(|(_, pair)| pair);
            pair.map_or(0, |pair| pair[success].n())
        };
        // One put was done, one was on a lease that is not there; the rest makes no sense.
        assert_eq!((took("Put", 1), took("Put", 0)), (1, 1));
        assert_eq!(took("Compaction", 0) + took("Compaction", 1), 1);
        assert_eq!(took("Native", 0), 2);
    }

    #[test]
    fn what_took_long_is_counted() {
        let counts = Arc::new(ApplyCounts::new(Duration::ZERO));
        let metered = Metered::new(Box::new(EtcdDialect), &counts);
        apply(&metered, &mut Store::new(Genesis::default()), &put(0));
        assert_eq!(counts.slow.get(), 1);
    }
}
