//! From what the member found out to the answer.

use crate::fault::{Fault, fault_of_outcome};
use crate::keys::timed;
use crate::query::time_results;
use crate::refusal::{Refusal, Refused};
use crate::reply::{Freshness, HeaderParts, Reply, header};
use crate::request::Request;
use crate::{KEYS_ROOT, LINES_ROOT, QueueName, desk::Woken};
use api::{Code, proto};
use base::{LeaseId, Revision};
use bytes::Bytes;
use prost::Message;
use std::time::Duration;
use store::{Outcome, State};

/// What an outcome is the answer to.
#[allow(missing_docs)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerKind {
    Put,
    Delete,
    Txn,
    Compact,
    Grant,
    Revoke,
    Enter,
    Leave,
    Proclaim,
}

/// Answers what went through the log. `revision` is the store's right behind the command, `state` any state that has
/// it: for times.
///
/// # Errors
/// The refusal that the apply half decided.
pub fn answer_outcome(
    kind: AnswerKind,
    outcome: &Outcome,
    revision: Revision,
    state: &State,
    parts: &HeaderParts,
) -> Result<Reply, Fault> {
    if !outcome.is_done() {
        return Err(fault_of_outcome(outcome));
    }
    let header = Some(header(parts, &Freshness::LOG, state, revision));
    Ok(match kind {
        AnswerKind::Put => {
            let mut answer: proto::PutResponse = body(outcome)?;
            answer.previous = answer.previous.map(|kv| timed(state, kv));
            proto::PutResponse { header, ..answer }.into()
        }
        AnswerKind::Delete => {
            let mut answer: proto::DeleteResponse = body(outcome)?;
            for kv in &mut answer.previous {
                *kv = timed(state, std::mem::take(kv));
            }
            proto::DeleteResponse { header, ..answer }.into()
        }
        AnswerKind::Txn => {
            let mut answer: proto::TxnResponse = body(outcome)?;
            time_results(state, &mut answer);
            proto::TxnResponse { header, ..answer }.into()
        }
        AnswerKind::Compact => proto::CompactResponse { header }.into(),
        AnswerKind::Grant => {
            let answer: proto::GrantResponse = body(outcome)?;
            proto::GrantResponse {
                header,
                epoch: parts.term.0,
                ..answer
            }
            .into()
        }
        AnswerKind::Revoke => proto::RevokeResponse { header }.into(),
        AnswerKind::Enter => {
            let answer: proto::EnterResponse = body(outcome)?;
            proto::EnterResponse { header, ..answer }.into()
        }
        AnswerKind::Leave => proto::LeaveResponse { header }.into(),
        AnswerKind::Proclaim => proto::ProclaimResponse { header }.into(),
    })
}

fn body<M: Message + Default>(outcome: &Outcome) -> Result<M, Fault> {
    let odd = |_| Fault::new(Code::Internal, "an answer of another kind came of the log");
    M::decode(outcome.body.clone()).map_err(odd)
}

/// What came of the first half of an `Acquire`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entered {
    /// The place.
    pub token: Revision,
    /// Whether it holds already.
    pub is_held: bool,
    /// Which try it belongs to: whoever enters again has a later one.
    pub claim: Revision,
}

impl Entered {
    /// The request that gives the place up, for the log, to [`crate::LINES`]: for whoever stops waiting. It is refused
    /// when another try of the same owner has taken the place over meanwhile, and nothing is to be done about that.
    pub fn leave_request(&self, queue: &QueueName) -> Bytes {
        let request = proto::LeaveRequest {
            queue: Some(queue.queue()),
            token: self.token.0,
            claim: self.claim.0,
        };
        Request::Leave(request).encode()
    }
}

/// Reads the outcome of an `Enter`.
///
/// # Errors
/// The refusal that the apply half decided.
pub fn entered(outcome: &Outcome) -> Result<Entered, Fault> {
    if !outcome.is_done() {
        return Err(fault_of_outcome(outcome));
    }
    let answer: proto::EnterResponse = body(outcome)?;
    Ok(Entered {
        token: Revision(answer.token),
        is_held: answer.is_held,
        claim: Revision(answer.claim),
    })
}

/// Answers an `Acquire`: the place holds in `state`, or it is gone. Who runs out of time hears [`Code::WaitOver`], and
/// has left.
///
/// # Errors
/// The place is gone.
pub fn answer_acquired(
    state: &State,
    queue: &QueueName,
    token: Revision,
    woken: Woken,
    parts: &HeaderParts,
) -> Result<Reply, Fault> {
    check_gone(state, queue, token, Some(woken))?;
    Ok(proto::AcquireResponse {
        header: Some(header(parts, &Freshness::LOG, state, state.revision())),
        token: token.0,
    }
    .into())
}

/// Answers an `Await`; no news: its time is over.
///
/// # Errors
/// The place is gone.
pub fn answer_await(
    state: &State,
    queue: &QueueName,
    token: Revision,
    woken: Option<Woken>,
    parts: &HeaderParts,
    fresh: &Freshness,
) -> Result<Reply, Fault> {
    check_gone(state, queue, token, woken)?;
    Ok(proto::AwaitResponse {
        header: Some(header(parts, fresh, state, state.revision())),
        is_held: woken == Some(Woken::Held),
    }
    .into())
}

fn check_gone(
    state: &State,
    queue: &QueueName,
    token: Revision,
    woken: Option<Woken>,
) -> Result<(), Fault> {
    if woken != Some(Woken::Gone) {
        return Ok(());
    }
    let newest = queue.newest_holder(state.root(LINES_ROOT));
    Err(Refused::token(Refusal::StaleToken, token.0, newest.0).into())
}

/// What the leader says of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Renewed {
    /// How long it lives without another renewal.
    pub remaining: Duration,
    /// The term of the leader that said so.
    pub epoch: base::Term,
}

/// Answers `Renew`; nothing when the leader knows no such lease.
///
/// # Errors
/// There is no such lease.
pub fn answer_renew(
    state: &State,
    lease: LeaseId,
    renewed: Option<Renewed>,
    parts: &HeaderParts,
    fresh: &Freshness,
) -> Result<Reply, Fault> {
    // A lease that went between its renewal and this answer is gone.
    let (Some(renewed), Some(granted)) = (renewed, state.lease(lease)) else {
        return Err(Refusal::NoLease.into());
    };
    Ok(proto::RenewResponse {
        header: Some(header(parts, fresh, state, state.revision())),
        lease: lease.0,
        ttl_s: granted.ttl_s.max(0) as u64,
        remaining_ms: millis(renewed.remaining),
        epoch: renewed.epoch.0,
    }
    .into())
}

/// Answers `LookLease`. `remaining` is what the leader says is left; nothing when it knows no such lease.
///
/// # Errors
/// There is no such lease.
pub fn answer_look_lease(
    state: &State,
    lease: LeaseId,
    keys: bool,
    remaining: Option<Duration>,
    parts: &HeaderParts,
    fresh: &Freshness,
) -> Result<Reply, Fault> {
    let (Some(remaining), Some(granted)) = (remaining, state.lease(lease)) else {
        return Err(Refusal::NoLease.into());
    };
    let held = state
        .lease_keys(lease)
        .filter(|(root, _)| *root == KEYS_ROOT);
    Ok(proto::LookLeaseResponse {
        header: Some(header(parts, fresh, state, state.revision())),
        lease: lease.0,
        ttl_s: granted.ttl_s.max(0) as u64,
        remaining_ms: millis(remaining),
        granted: granted.granted.to_rfc3339(),
        keys: match keys {
            true => held.map(|(_, key)| key).collect(),
            false => Vec::new(),
        },
    }
    .into())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
