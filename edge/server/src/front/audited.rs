//! What the audit log says of a request of etcd's API.
//!
//! A request that is refused has a line, and so has one that changed something. One whose client went away before the
//! outcome was known may have changed something: its line says that nobody knows.

use super::{Done, Ended};
use crate::audit::{Audit, Record};
use crate::clock;
use crate::grpc::{CODE_NAMES, Code, Head};
use bytes::Bytes;
use etcd::Method;
use std::net::SocketAddr;

/// Who asks when nobody says so.
const ANONYMOUS: &str = "anonymous";

/// A request under way. Dropped, it is one without an outcome.
pub(super) struct Noting<'a> {
    audit: &'a Audit,
    record: Option<Record>,
    method: Method,
}

impl<'a> Noting<'a> {
    /// `user` is who the caller was found to be; else the name in its certificate is noted.
    pub(super) fn of(
        audit: &'a Audit,
        method: Method,
        body: &Bytes,
        head: &Head,
        user: Option<String>,
    ) -> Noting<'a> {
        let from = head
            .from
            .map_or_else(|| "local".to_owned(), |from| from.to_string());
        let record = Record {
            who: user.unwrap_or_else(|| {
                let name = head.common_name.as_deref();
                let name = name.filter(|name| !name.is_empty());
                name.unwrap_or(ANONYMOUS).to_owned()
            }),
            from,
            method: method.path(),
            names: etcd::names(method, body),
            revision: None,
            code: CODE_NAMES[Code::Cancelled as usize],
            words: "the client went away before the outcome was known".to_owned(),
            wall_ms: 0,
        };
        Noting {
            audit,
            record: Some(record),
            method,
        }
    }

    /// The request has ended.
    pub(super) async fn end(mut self, done: &Result<Done, Ended>) {
        let Some(mut record) = self.record.take() else {
            return;
        };
        record.wall_ms = clock::wall_ms();
        let code = match done {
            Ok(done) => {
                let answer = done.answer.as_deref().unwrap_or_default();
                let is_empty_delete =
                    self.method == Method::DeleteRange && etcd::deleted_nothing(answer);
                if !done.is_change || is_empty_delete {
                    return;
                }
                record.revision = etcd::revision_of(answer);
                record.words.clear();
                Code::Ok
            }
            Err(Ended::Etcd(status)) => {
                record.words = status.message.to_string();
                Code::from_number(status.code as u8)
            }
            Err(Ended::Transport(status)) => {
                record.words = status.message.to_string();
                status.code
            }
        };
        record.code = CODE_NAMES[code as usize];
        self.audit.note(record).await;
    }
}

/// A call of the native API has ended, over gRPC or as JSON. Its names are not said, and neither are its words: they may
/// hold what the client sent.
pub(crate) async fn note_native(
    audit: &Audit,
    path: &'static str,
    method: api::Method,
    (name, from): (Option<&str>, Option<SocketAddr>),
    code: Code,
) {
    use api::Method as Native;
    let is_change = matches!(
        method,
        Native::Put
            | Native::Delete
            | Native::Txn
            | Native::Compact
            | Native::Grant
            | Native::Revoke
            | Native::Enter
            | Native::Acquire
            | Native::Leave
            | Native::Proclaim
    );
    if code == Code::Ok && !is_change || code == Code::Cancelled {
        return;
    }
    let from = from.map_or_else(|| "local".to_owned(), |from| from.to_string());
    let record = Record {
        who: name
            .filter(|name| !name.is_empty())
            .unwrap_or(ANONYMOUS)
            .to_owned(),
        from,
        method: path,
        names: Vec::new(),
        revision: None,
        code: CODE_NAMES[code as usize],
        words: String::new(),
        wall_ms: clock::wall_ms(),
    };
    audit.note(record).await;
}

impl Drop for Noting<'_> {
    fn drop(&mut self) {
        let is_change = !matches!(
            self.method,
            Method::Range
                | Method::RangeStream
                | Method::LeaseTimeToLive
                | Method::LeaseLeases
                | Method::MemberList
                | Method::Status
                | Method::Hash
                | Method::HashKv
                | Method::HealthCheck
                | Method::HealthWatch
                | Method::ElectionLeader
                | Method::ElectionObserve
        );
        if let Some(mut record) = self.record.take()
            && is_change
        {
            record.wall_ms = clock::wall_ms();
            self.audit.note_at_once(record);
        }
    }
}
