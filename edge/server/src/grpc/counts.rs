//! What is counted of calls: begun, ended and how, messages and bytes each way, by method.
//!
//! A service makes one table for its methods and gives each call its line ([`Counted`]); the transport counts. A
//! count is an addition at a known place: no label is looked up while a request is served.

use super::status::Code;
use crate::metrics::cells::{Buckets, Counter, Histogram};
use std::sync::Arc;
use std::time::Instant;

/// One more than the largest code of gRPC.
pub(crate) const CODES: usize = 17;

/// How long calls take: 5 ms to 10 s, the usual buckets of gRPC's servers.
const HANDLING: Buckets = Buckets::listed(&[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
]);

/// What is counted of one method.
pub(crate) struct MethodCounts {
    /// The part of the path before the method.
    pub(crate) service: &'static str,
    /// The method.
    pub(crate) method: &'static str,
    /// Who speaks how often, in the words of gRPC's own metrics.
    pub(crate) shape: &'static str,
    /// Calls begun.
    pub(crate) started: Counter,
    /// Calls ended, by code.
    pub(crate) handled: [Counter; CODES],
    /// Messages that came.
    pub(crate) received: Counter,
    /// Messages that went.
    pub(crate) sent: Counter,
    /// How long calls took, if somebody wants to know.
    pub(crate) took: Option<Histogram>,
}

/// The table of all methods.
pub(crate) struct CallCounts {
    /// One line for each method.
    pub(crate) methods: Box<[MethodCounts]>,
    /// Bytes of messages that came.
    pub(crate) received_bytes: Counter,
    /// Bytes of messages that went.
    pub(crate) sent_bytes: Counter,
}

impl CallCounts {
    /// A table of methods by path and shape. With `extensive` it also knows how long calls take.
    pub(crate) fn new(
        methods: impl IntoIterator<Item = (&'static str, &'static str)>,
        extensive: bool,
    ) -> CallCounts {
        let line = |(path, shape): (&'static str, &'static str)| {
            let path = path.trim_start_matches('/');
            let (service, method) = path.rsplit_once('/').unwrap_or(("", path));
            MethodCounts {
                service,
                method,
                shape,
                started: Counter::default(),
                handled: Default::default(),
                received: Counter::default(),
                sent: Counter::default(),
                took: extensive.then(|| Histogram::new(&HANDLING)),
            }
        };
        CallCounts {
            methods: methods.into_iter().map(line).collect(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
        }
    }
}

/// One call's line of the table. Without one nothing is counted.
#[derive(Clone, Default)]
pub struct Counted(Option<(Arc<CallCounts>, usize)>);

impl Counted {
    /// A call of the method in line `at` begins.
    pub(crate) fn begun(counts: &Arc<CallCounts>, at: usize) -> Counted {
        if let Some(method) = counts.methods.get(at) {
            method.started.inc();
        }
        Counted(Some((counts.clone(), at)))
    }

    fn with(&self, count: impl FnOnce(&CallCounts, &MethodCounts)) {
        if let Some((counts, at)) = &self.0
            && let Some(method) = counts.methods.get(*at)
        {
            count(counts, method);
        }
    }

    /// A message came.
    pub(crate) fn received(&self, bytes: usize) {
        self.with(|counts, method| {
            method.received.inc();
            counts.received_bytes.add(bytes as u64);
        });
    }

    /// A message goes.
    pub(crate) fn sent(&self, bytes: usize) {
        self.with(|counts, method| {
            method.sent.inc();
            counts.sent_bytes.add(bytes as u64);
        });
    }

    /// When the call began, if somebody wants to know how long it takes.
    pub(crate) fn clock(&self) -> Option<Instant> {
        let (counts, at) = self.0.as_ref()?;
        let is_timed = counts.methods.get(*at)?.took.is_some();
        is_timed.then(Instant::now)
    }

    /// The call ended.
    pub(crate) fn ended(&self, code: Code, began: Option<Instant>) {
        self.with(|_, method| {
            if let Some(handled) = method.handled.get(code as usize) {
                handled.inc();
            }
            if let (Some(took), Some(began)) = (&method.took, began) {
                took.observe(began.elapsed());
            }
        });
    }
}

/// A call that no transport counts. Dropped before its end, its client is gone.
pub(crate) struct Counting {
    counted: Counted,
    began: Option<Instant>,
    code: Code,
}

impl Counting {
    /// It has begun.
    pub(crate) fn new(counted: &Counted) -> Counting {
        Counting {
            began: counted.clock(),
            counted: counted.clone(),
            code: Code::Cancelled,
        }
    }

    /// It ends.
    pub(crate) fn end(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.counted.ended(self.code, self.began);
    }
}

/// gRPC's names of its codes, as its metrics write them.
pub(crate) const CODE_NAMES: [&str; CODES] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_counted_where_its_method_stands() {
        let counts = Arc::new(CallCounts::new(
            [("/a.B/C", "unary"), ("/a.B/D", "bidi_stream")],
            true,
        ));
        let counted = Counted::begun(&counts, 1);
        let clock = counted.clock();
        assert!(clock.is_some());
        counted.received(10);
        counted.sent(3);
        counted.sent(4);
        counted.ended(Code::NotFound, clock);
        let [c, d] = &counts.methods[..] else {
            panic!("two methods");
        };
        assert_eq!((d.service, d.method, d.shape), ("a.B", "D", "bidi_stream"));
        assert_eq!((d.started.get(), d.received.get(), d.sent.get()), (1, 1, 2));
        assert_eq!(d.handled[5].get(), 1);
        assert_eq!(d.took.as_ref().map(Histogram::n), Some(1));
        assert_eq!(c.started.get(), 0);
        let bytes = (counts.received_bytes.get(), counts.sent_bytes.get());
        assert_eq!(bytes, (10, 7));
        // A method that is not in the table, and a call that nobody counts, do no harm.
        Counted::begun(&counts, 9).ended(Code::Ok, None);
        Counted::default().received(1);
        assert_eq!(counts.received_bytes.get(), 10);
    }
}
