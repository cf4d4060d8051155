//! What the audit log says of a request of etcd's API.
//!
//! A request that is refused has a line, and so has one that changed something. One whose client went away before the
//! outcome was known may have changed something: its line says that nobody knows.

use super::{Done, Ended};
use crate::audit::{Audit, Record, TEXT_BYTES_MAX};
use crate::clock;
use crate::grpc::{CODE_NAMES, Code, Head};
use bytes::Bytes;
use etcd::Method;
use std::net::SocketAddr;

/// Who asks when nobody says so.
const ANONYMOUS: &str = "anonymous";

/// What is said where nobody knows.
const UNKNOWN: &str = "the client went away before the outcome was known";

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
            who: cut(&user.unwrap_or_else(|| {
                let name = head.common_name.as_deref();
                let name = name.filter(|name| !name.is_empty());
                name.unwrap_or(ANONYMOUS).to_owned()
            })),
            from,
            method: method.path(),
            names: etcd::names(method, body),
            revision: None,
            code: CODE_NAMES[Code::Cancelled as usize],
            words: UNKNOWN.to_owned(),
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
                record.words = cut(&status.message);
                Code::from_number(status.code as u8)
            }
            Err(Ended::Transport(status)) => {
                record.words = cut(&status.message);
                status.code
            }
        };
        record.code = CODE_NAMES[code as usize];
        self.audit.note(record).await;
    }
}

/// A call of the native API under way, over gRPC or as JSON. Its names are not said, and neither are its words: they may
/// hold what the client sent. Dropped, it is one without an outcome.
pub(crate) struct NotingNative<'a> {
    audit: &'a Audit,
    record: Option<Record>,
    is_change: bool,
}

impl<'a> NotingNative<'a> {
    /// `name` is who the caller was found to be.
    pub(crate) fn of(
        audit: &'a Audit,
        path: &'static str,
        method: api::Method,
        (name, from): (Option<&str>, Option<SocketAddr>),
    ) -> NotingNative<'a> {
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
        let record = Record {
            who: cut(name.filter(|name| !name.is_empty()).unwrap_or(ANONYMOUS)),
            from: from.map_or_else(|| "local".to_owned(), |from| from.to_string()),
            method: path,
            names: Vec::new(),
            revision: None,
            code: CODE_NAMES[Code::Cancelled as usize],
            words: UNKNOWN.to_owned(),
            wall_ms: 0,
        };
        NotingNative {
            audit,
            record: Some(record),
            is_change,
        }
    }

    /// The call has ended.
    pub(crate) async fn end(mut self, code: Code) {
        // What was done before the client went away may be done, also when the call noticed it.
        if code == Code::Cancelled {
            return;
        }
        let record = self.record.take();
        if code == Code::Ok && !self.is_change {
            return;
        }
        if let Some(mut record) = record {
            record.wall_ms = clock::wall_ms();
            record.code = CODE_NAMES[code as usize];
            record.words.clear();
            self.audit.note(record).await;
        }
    }
}

impl Drop for NotingNative<'_> {
    fn drop(&mut self) {
        if let Some(mut record) = self.record.take()
            && self.is_change
        {
            record.wall_ms = clock::wall_ms();
            self.audit.note_at_once(record);
        }
    }
}

/// As much of a text as a line may hold of it.
fn cut(text: &str) -> String {
    match text.len() {
        0..=TEXT_BYTES_MAX => text.to_owned(),
        _ => format!("{}…", &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit;
    use crate::config::AuditMode;
    use etcd::Refusal;

    fn grpc_head() -> Head {
        let (call, _) = crate::grpc::Call::from_elsewhere(
            http::Request::new(()).into_parts().0,
            None,
            Box::new(Nothing),
        );
        call.head
    }

    struct Nothing;

    impl crate::grpc::Messages for Nothing {
        fn poll_next(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<Option<Bytes>, crate::grpc::Status>> {
            std::task::Poll::Ready(Ok(None))
        }
    }

    /// What a log holds after something, in a chain that was checked.
    async fn lines_of(name: &str, act: impl AsyncFnOnce(&Audit)) -> Vec<serde_json::Value> {
        let file = format!("quorate-audited-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(file);
        let _ = std::fs::remove_file(&path);
        let (audit, thread) = Audit::start(&path, AuditMode::Block).expect("a log");
        act(&audit).await;
        drop(audit);
        drop(thread);
        let text = std::fs::read_to_string(&path).expect("it was written");
        std::fs::remove_file(&path).expect("it is there");
        audit::verify(text.as_bytes()).expect("a chain that holds");
        let lines = text
            .lines()
            .map(|it| serde_json::from_str(it).expect("JSON"));
        lines.skip(1).collect()
    }

    #[tokio::test]
    async fn a_native_write_whose_client_is_gone_has_a_line_that_nobody_knows() {
        let lines = lines_of("native", async |audit| {
            let path = api::Method::Put.grpc_path();
            let of = |method| NotingNative::of(audit, path, method, (Some("ann"), None));
            drop(of(api::Method::Put));
            of(api::Method::Put).end(Code::Cancelled).await;
            of(api::Method::Put).end(Code::Ok).await;
            // A read that nobody hears is no news, and neither is one that was answered.
            drop(of(api::Method::Get));
            of(api::Method::Get).end(Code::Cancelled).await;
            of(api::Method::Get).end(Code::Ok).await;
            of(api::Method::Get).end(Code::PermissionDenied).await;
        });
        let said: Vec<_> = lines
            .await
            .iter()
            .map(|line| [line["code"].to_string(), line["message"].to_string()])
            .collect();
        let unknown = ["\"Canceled\"".to_owned(), format!("{UNKNOWN:?}")];
        let plain = |code: &str| [format!("{code:?}"), "\"\"".to_owned()];
        let expected = [
            unknown.clone(),
            unknown,
            plain("OK"),
            plain("PermissionDenied"),
        ];
        assert_eq!(said, expected);
    }

    #[tokio::test]
    async fn what_a_client_makes_long_is_cut_so_that_the_chain_stays_readable() {
        let lines = lines_of("long", async |audit| {
            let head = grpc_head();
            // Escaped, each of these takes six bytes of a line.
            let long = "\u{1}".repeat(100_000);
            let note = Noting::of(audit, Method::Put, &Bytes::new(), &head, Some(long.clone()));
            let status = etcd::Status::new(etcd::Code::InvalidArgument, long);
            note.end(&Err(Ended::Etcd(status))).await;
            // A line of many names, each of them long.
            let (key, last) = ("\u{1}".repeat(5000), b"\x01".repeat(127));
            let op = |key: &str| etcd::proto::etcdserverpb::RequestOp {
                request: Some(etcd::proto::etcdserverpb::request_op::Request::RequestPut(
                    etcd::proto::etcdserverpb::PutRequest {
                        key: key.to_owned().into(),
                        ..Default::default()
                    },
                )),
            };
            let txn = etcd::proto::etcdserverpb::TxnRequest {
                success: vec![op(&key); 1000],
                ..Default::default()
            };
            let body: Bytes = prost::Message::encode_to_vec(&txn).into();
            let who = String::from_utf8(last).ok();
            let note = Noting::of(audit, Method::Txn, &body, &head, who);
            note.end(&Err(Ended::Etcd(Refusal::TooManyOps.into())))
                .await;
        });
        assert_eq!(lines.await.len(), 2);
    }
}
