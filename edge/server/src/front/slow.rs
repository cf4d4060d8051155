//! Calls that take long are worth a line, in etcd's words: `--warning-unary-request-duration`.
//!
//! The line says how long, from where and how large; of names what the audit log may say, and of values nothing.

use super::Done;
use crate::grpc::Head;
use bytes::Bytes;
use etcd::{Method, Shape};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tracing::warn;

/// A call of one request and one answer that is under way.
pub(super) struct Timed {
    method: Method,
    body: Bytes,
    from: Option<SocketAddr>,
    began: Instant,
    expected: Duration,
}

impl Timed {
    /// A call begins that should not take longer than `expected`. Nothing if it is one that goes on for as long as it likes.
    pub(super) fn begin(
        method: Method,
        body: &Bytes,
        head: &Head,
        expected: Duration,
    ) -> Option<Timed> {
        (method.shape() == Shape::Unary).then(|| Timed {
            method,
            body: body.clone(),
            from: head.from,
            began: Instant::now(),
            expected,
        })
    }

    /// It has ended; what became of it.
    pub(super) fn end<E>(self, done: &Result<Done, E>) {
        let took = self.began.elapsed();
        if took < self.expected {
            return;
        }
        let answer = done.as_ref().ok().and_then(|done| done.answer.as_ref());
        let remote = self
            .from
            .map_or_else(|| "local".to_owned(), |from| from.to_string());
        warn!(
            "time spent" = ?took, remote, "response type" = self.method.path(),
            "request size" = self.body.len(), "response size" = answer.map_or(0, Bytes::len),
            "request content" = ?etcd::names(self.method, &self.body),
            "request stats"
        );
    }
}
