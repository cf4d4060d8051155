//! Places in lines: taken, given up, and what a leader says.

use crate::queue::{NAME_BYTES_MAX, PERMITS_MAX, PLACES_MAX, QueueName};
use crate::refusal::{Refusal, Refused};
use api::proto::{
    EnterRequest, EnterResponse, LeaveRequest, LeaveResponse, Mode, ProclaimRequest,
    ProclaimResponse, QueueKind, Standing,
};
use base::{LeaseId, Mutant, Revision};
use prost::Message;
use store::{KeyRange, WriteTxn};

/// Whether a place that is wanted makes sense, whatever the state: the line, the mode and the permits.
///
/// # Errors
/// One of them does not.
pub(crate) fn check_enter(request: &EnterRequest) -> Result<(QueueName, Mode, u32), Refusal> {
    let queue = QueueName::of(request.queue.as_ref())?;
    if request.owner.len() > NAME_BYTES_MAX {
        return Err(Refusal::BadName);
    }
    let mode = Mode::try_from(request.mode).map_err(|_| Refusal::Malformed)?;
    if mode == Mode::Shared && queue.kind() != QueueKind::Lock {
        return Err(Refusal::NotShared);
    }
    let permits = match queue.kind() {
        QueueKind::Semaphore | QueueKind::Barrier => request.permits,
        _ => return Ok((queue, mode, 0)),
    };
    match (1..=PERMITS_MAX).contains(&permits) {
        true => Ok((queue, mode, permits)),
        false => Err(Refusal::BadPermits),
    }
}

pub(super) fn enter(
    txn: &mut WriteTxn<'_>,
    request: &EnterRequest,
) -> Result<EnterResponse, Refused> {
    let (queue, mode, permits) = check_enter(request)?;
    let lease = LeaseId(request.lease);
    if lease.is_none() || txn.lease(lease).is_none() {
        return Err(Refusal::NoLease.into());
    }
    let owner_key = queue.owner_key(lease, &request.owner);
    if let Some(taken) = txn.get(&owner_key) {
        let token = taken.value().first_chunk().ok_or(Refusal::Malformed)?;
        return Ok(entered(txn, &queue, Revision(u64::from_be_bytes(*token))));
    }
    if queue.len(txn.view()) >= PLACES_MAX {
        return Err(Refusal::QueueFull.into());
    }
    if let Some(head) = queue.head(txn.view())
        && head.place.permits != permits
    {
        return Err(Refusal::BadPermits.into());
    }
    let mutants = txn.state().mutants();
    let token = match mutants.has(Mutant::TokenReused) {
        true => txn.own_revision().previous(),
        false => txn.own_revision(),
    };
    let lease = match mutants.has(Mutant::PlaceSurvivesLease) {
        true => LeaseId::NONE,
        false => lease,
    };
    let place = Standing {
        mode: mode.into(),
        permits,
        owner: request.owner.clone(),
        value: request.value.clone(),
        ..Standing::default()
    };
    txn.put(&queue.place_key(mode, token), &place.encode_to_vec(), lease);
    txn.put(&owner_key, &token.0.to_be_bytes(), lease);
    let is_early = mutants.has(Mutant::BarrierOpensEarly);
    let n_behind = queue.n_behind_gate(txn.view()) + u64::from(is_early);
    if queue.kind() == QueueKind::Barrier && n_behind >= u64::from(permits) {
        // On no lease: whoever was let through holds, whoever's lease ends.
        txn.put(&queue.gate_key(), &token.0.to_be_bytes(), LeaseId::NONE);
    }
    Ok(entered(txn, &queue, token))
}

fn entered(txn: &WriteTxn<'_>, queue: &QueueName, token: Revision) -> EnterResponse {
    EnterResponse {
        header: None,
        token: token.0,
        is_held: queue.is_held_in(txn.state(), token),
    }
}

pub(super) fn leave(
    txn: &mut WriteTxn<'_>,
    request: &LeaveRequest,
) -> Result<LeaveResponse, Refused> {
    let queue = QueueName::of(request.queue.as_ref())?;
    let token = Revision(request.token);
    let Some(taken) = queue.find(txn.view(), token) else {
        return Err(stale(txn, &queue, token));
    };
    let mode = taken.place.mode();
    txn.delete(&KeyRange::single(queue.place_key(mode, token)));
    let owner_key = queue.owner_key(taken.lease, &taken.place.owner);
    txn.delete(&KeyRange::single(owner_key));
    if queue.kind() == QueueKind::Barrier && queue.is_empty(txn.view()) {
        txn.delete(&KeyRange::single(queue.gate_key()));
    }
    Ok(LeaveResponse { header: None })
}

pub(super) fn proclaim(
    txn: &mut WriteTxn<'_>,
    request: ProclaimRequest,
) -> Result<ProclaimResponse, Refused> {
    let queue = QueueName::new(QueueKind::Election, &request.name)?;
    let token = Revision(request.token);
    let Some(taken) = queue.find(txn.view(), token) else {
        return Err(stale(txn, &queue, token));
    };
    if !queue.holds(txn.view(), &taken) {
        let newest = queue.newest_holder(txn.view());
        return Err(Refused::token(Refusal::NotHeld, token.0, newest.0));
    }
    let place = Standing {
        value: request.value,
        ..taken.place
    };
    let key = queue.place_key(Mode::Exclusive, token);
    txn.put(&key, &place.encode_to_vec(), taken.lease);
    Ok(ProclaimResponse { header: None })
}

fn stale(txn: &WriteTxn<'_>, queue: &QueueName, token: Revision) -> Refused {
    let newest = queue.newest_holder(txn.view());
    Refused::token(Refusal::StaleToken, token.0, newest.0)
}
