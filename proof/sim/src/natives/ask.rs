//! What clients of the native front ask, as messages, and what they are told.

use api::{Code, Method, proto};
use base::{LeaseId, Revision};
use bytes::Bytes;
use checker::line::{Kind, Line};
use native::Reply;
use prost::Message;

/// How long one wait for a place lasts, in milliseconds; then the client asks again.
pub(super) const AWAIT_MS: u64 = 700;

/// What a client is told.
pub enum Told {
    /// The answer.
    Reply(Box<Reply>),
    /// An error that is certain for all attempts.
    Fault(Code),
    /// This attempt certainly did nothing.
    NotTaken,
    /// Nobody knows.
    Unknown,
}

/// What is asked.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)] // The fields' names say what they are.
pub enum Ask {
    Grant { lease: LeaseId, ttl_s: u64 },
    Renew { lease: LeaseId },
    Revoke { lease: LeaseId },
    Enter(Box<proto::EnterRequest>),
    Await { line: Line, token: Revision },
    Leave { line: Line, token: Revision },
    Put(Box<proto::PutRequest>),
    Read(Box<proto::RangeRequest>),
}

impl Ask {
    pub(super) fn encode(&self) -> (Method, Bytes) {
        let lease = |lease: &LeaseId| lease.0;
        match self {
            Ask::Grant { lease: id, ttl_s } => {
                let request = proto::GrantRequest {
                    lease: id.0,
                    ttl_s: *ttl_s,
                };
                (Method::Grant, request.encode_to_vec().into())
            }
            Ask::Renew { lease: id } => {
                let request = proto::RenewRequest { lease: lease(id) };
                (Method::Renew, request.encode_to_vec().into())
            }
            Ask::Revoke { lease: id } => {
                let request = proto::RevokeRequest { lease: lease(id) };
                (Method::Revoke, request.encode_to_vec().into())
            }
            Ask::Enter(request) => (Method::Enter, request.encode_to_vec().into()),
            Ask::Await { line, token } => {
                let request = proto::AwaitRequest {
                    queue: Some(queue(line)),
                    token: token.0,
                    timeout_ms: AWAIT_MS,
                };
                (Method::Await, request.encode_to_vec().into())
            }
            Ask::Leave { line, token } => {
                let request = proto::LeaveRequest {
                    queue: Some(queue(line)),
                    token: token.0,
                    claim: 0,
                };
                (Method::Leave, request.encode_to_vec().into())
            }
            Ask::Put(request) => (Method::Put, request.encode_to_vec().into()),
            Ask::Read(request) => (Method::Range, request.encode_to_vec().into()),
        }
    }

    /// Whether the client may ask it again when the outcome is not known.
    pub(super) fn may_come_again(&self) -> bool {
        match self {
            Ask::Put(request) => {
                let write = request.write.as_ref();
                write.is_some_and(|write| write.retry.is_some())
            }
            _ => false,
        }
    }
}

/// A line as it stands in messages.
pub fn queue(line: &Line) -> proto::Queue {
    let kind = match line.kind {
        Kind::Lock => proto::QueueKind::Lock,
        Kind::Semaphore => proto::QueueKind::Semaphore,
        Kind::Election => proto::QueueKind::Election,
        Kind::Barrier => proto::QueueKind::Barrier,
    };
    proto::Queue {
        kind: kind.into(),
        name: line.name.clone().into(),
    }
}
