//! The apply half of locks: decides requests from the log, on every member alike.
//!
//! **Validate, then write**, as everywhere. A request is one byte of kind and its protobuf message.

use crate::proto::{
    EnterRequest, EnterResponse, LeaveRequest, LeaveResponse, Mode, Place, ProclaimRequest,
    ProclaimResponse, Queue, QueueKind,
};
use crate::queue::{NAME_BYTES_MAX, PERMITS_MAX, PLACES_MAX, QueueName};
use crate::refusal::Refusal;
use base::{LeaseId, Revision};
use bytes::Bytes;
use prost::Message;
use store::command::DialectId;
use store::{Dialect, KeyRange, Outcome, RootId, Stamp, WriteTxn};

/// One request, as it stands in the log.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// Take a place.
    Enter(EnterRequest),
    /// Give it up.
    Leave(LeaveRequest),
    /// Say something else as a leader.
    Proclaim(ProclaimRequest),
}

impl Request {
    /// The bytes in the log.
    pub fn encode(&self) -> Bytes {
        let (kind, message) = match self {
            Request::Enter(it) => (1, it.encode_to_vec()),
            Request::Leave(it) => (2, it.encode_to_vec()),
            Request::Proclaim(it) => (3, it.encode_to_vec()),
        };
        let mut out = vec![kind];
        out.extend_from_slice(&message);
        out.into()
    }

    /// The inverse of [`Request::encode`].
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Request, Refusal> {
        let (kind, message) = bytes.split_first().ok_or(Refusal::Malformed)?;
        let decoded = match kind {
            1 => EnterRequest::decode(message).map(Request::Enter),
            2 => LeaveRequest::decode(message).map(Request::Leave),
            3 => ProclaimRequest::decode(message).map(Request::Proclaim),
            _ => return Err(Refusal::Malformed),
        };
        decoded.map_err(|_| Refusal::Malformed)
    }
}

/// The rules of locks, semaphores and elections as a dialect of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LockDialect;

impl Dialect for LockDialect {
    fn id(&self) -> DialectId {
        crate::LOCKS
    }

    fn root(&self) -> RootId {
        crate::LOCKS_ROOT
    }

    fn apply(&self, txn: &mut WriteTxn<'_>, request: &[u8], _: &Stamp) -> Outcome {
        let decided = Request::decode(request).and_then(|request| match request {
            Request::Enter(request) => enter(txn, &request).map(|it| it.encode_to_vec()),
            Request::Leave(request) => leave(txn, &request).map(|it| it.encode_to_vec()),
            Request::Proclaim(request) => proclaim(txn, request).map(|it| it.encode_to_vec()),
        });
        match decided {
            Ok(body) => Outcome::done(body),
            Err(refusal) => Outcome::refused(refusal as u16, Bytes::new()),
        }
    }
}

fn enter(txn: &mut WriteTxn<'_>, request: &EnterRequest) -> Result<EnterResponse, Refusal> {
    let queue = QueueName::of(request.queue.as_ref())?;
    if request.owner.len() > NAME_BYTES_MAX {
        return Err(Refusal::BadName);
    }
    Mode::try_from(request.mode).map_err(|_| Refusal::Malformed)?;
    let permits = match queue.kind() {
        QueueKind::Semaphore => request.permits,
        _ => 0,
    };
    if queue.kind() == QueueKind::Semaphore && !(1..=PERMITS_MAX).contains(&permits) {
        return Err(Refusal::BadPermits);
    }
    let lease = LeaseId(request.lease);
    if lease.is_none() || txn.lease(lease).is_none() {
        return Err(Refusal::NoLease);
    }
    let owner_key = queue.owner_key(lease, &request.owner);
    if let Some(taken) = txn.get(&owner_key) {
        let token = taken.value().first_chunk().ok_or(Refusal::Malformed)?;
        let token = Revision(u64::from_be_bytes(*token));
        return Ok(EnterResponse {
            token: token.0,
            is_held: queue.is_held(txn.view(), token),
        });
    }
    if queue.len(txn.view()) >= PLACES_MAX {
        return Err(Refusal::QueueFull);
    }
    if let Some(head) = queue.head(txn.view())
        && head.place.permits != permits
    {
        return Err(Refusal::BadPermits);
    }
    let token = txn.own_revision();
    let place = Place {
        mode: request.mode,
        permits,
        owner: request.owner.clone(),
        value: request.value.clone(),
    };
    txn.put(&queue.place_key(token), &place.encode_to_vec(), lease);
    txn.put(&owner_key, &token.0.to_be_bytes(), lease);
    Ok(EnterResponse {
        token: token.0,
        is_held: queue.is_held(txn.view(), token),
    })
}

fn leave(txn: &mut WriteTxn<'_>, request: &LeaveRequest) -> Result<LeaveResponse, Refusal> {
    let queue = QueueName::of(request.queue.as_ref())?;
    let token = Revision(request.token);
    let taken = queue.find(txn.view(), token).ok_or(Refusal::StaleToken)?;
    txn.delete(&KeyRange::single(queue.place_key(token)));
    let owner_key = queue.owner_key(taken.lease, &taken.place.owner);
    txn.delete(&KeyRange::single(owner_key));
    Ok(LeaveResponse {})
}

fn proclaim(txn: &mut WriteTxn<'_>, request: ProclaimRequest) -> Result<ProclaimResponse, Refusal> {
    let queue = QueueName::of(Some(&Queue {
        kind: QueueKind::Election.into(),
        name: request.name,
    }))?;
    let token = Revision(request.token);
    let taken = queue.find(txn.view(), token).ok_or(Refusal::StaleToken)?;
    if !queue.is_held(txn.view(), token) {
        return Err(Refusal::NotHeld);
    }
    let place = Place {
        value: request.value,
        ..taken.place
    };
    txn.put(&queue.place_key(token), &place.encode_to_vec(), taken.lease);
    Ok(ProclaimResponse {})
}
