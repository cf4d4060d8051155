//! Places in lines: taken, given up, and what a leader says.

use crate::queue::{NAME_BYTES_MAX, PERMITS_MAX, PLACES_MAX, QueueName, VALUE_BYTES_MAX};
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
    if request.value.len() > VALUE_BYTES_MAX {
        return Err(Refusal::SaysTooMuch);
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
        let token = Revision(u64::from_be_bytes(*token));
        // Written again, so that it says whose it is now: an earlier try of the same owner that gives up late must not
        // take it away.
        if let Some(taken) = queue.find(txn.view(), token) {
            if taken.place.mode() != mode || taken.place.permits != permits {
                return Err(Refusal::OtherPlace.into());
            }
            let key = queue.place_key(taken.place.mode(), token);
            txn.put(&key, &taken.place.encode_to_vec(), lease);
        }
        return Ok(entered(txn, &queue, token));
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
        claim: txn.own_revision().0,
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
    if request.claim != 0 && taken.modified > Revision(request.claim) {
        return Err(Refused::revision(Refusal::EnteredAgain, taken.modified.0));
    }
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
    if request.value.len() > VALUE_BYTES_MAX {
        return Err(Refusal::SaysTooMuch.into());
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::N_LOOKED_AT;
    use crate::{Entered, LINES_ROOT, LineDialect, Refused, Request};
    use api::proto::Queue;
    use store::{Dialect, Genesis, Outcome, Stamp, Store};

    fn apply(store: &mut Store, request: Request) -> Outcome {
        let stamp = Stamp::default();
        let mut txn = store.begin(LINES_ROOT, &stamp);
        let outcome = LineDialect.apply(&mut txn, &request.encode(), &stamp);
        txn.finish();
        outcome
    }

    /// How many places `work` looks at.
    fn looks(work: impl FnOnce()) -> u64 {
        N_LOOKED_AT.set(0);
        work();
        N_LOOKED_AT.get()
    }

    #[test]
    fn no_step_of_a_full_line_looks_at_more_than_a_few_places() {
        const LOOKS_MAX: u64 = 8;
        for (mode, kind) in [
            (Mode::Exclusive, QueueKind::Lock),
            (Mode::Shared, QueueKind::Lock),
            (Mode::Exclusive, QueueKind::Semaphore),
            (Mode::Exclusive, QueueKind::Election),
            (Mode::Exclusive, QueueKind::Barrier),
        ] {
            let mut store = Store::new(Genesis::default());
            let mut txn = store.begin(LINES_ROOT, &Stamp::default());
            txn.lease_grant(LeaseId(1), 10);
            txn.finish();
            let queue = || {
                Some(Queue {
                    kind: kind.into(),
                    name: "long".into(),
                })
            };
            let come = |owner: u64| EnterRequest {
                queue: queue(),
                mode: mode.into(),
                permits: 100,
                lease: 1,
                owner: owner.to_string().into(),
                ..EnterRequest::default()
            };
            let mut line: Vec<Entered> = Vec::new();
            for owner in 0..PLACES_MAX {
                let n = looks(|| {
                    let outcome = apply(&mut store, Request::Enter(come(owner)));
                    line.push(crate::entered(&outcome).expect("a place"));
                });
                assert!(n <= LOOKS_MAX, "{kind:?}: enter looked at {n}");
            }
            let n = looks(|| {
                let outcome = apply(&mut store, Request::Enter(come(PLACES_MAX)));
                let refused = Refused::of_outcome(&outcome).expect("refused");
                assert_eq!(refused.refusal, Refusal::QueueFull);
            });
            assert!(n <= LOOKS_MAX, "{kind:?}: a full line looked at {n}");
            let name = QueueName::of(queue().as_ref()).expect("a name");
            let state = store.publish();
            let root = state.root(LINES_ROOT);
            let mut n_held = 0;
            for place in &line {
                let n = looks(|| n_held += u64::from(name.is_held(root, place.token)));
                assert!(n <= LOOKS_MAX, "{kind:?}: is_held looked at {n}");
            }
            let n = looks(|| assert_eq!(name.holders(root).count() as u64, n_held));
            // Once to find the last holder, once to tell them all.
            assert!(n <= 2 * n_held + LOOKS_MAX, "{kind:?}: {n} for {n_held}");
            for place in line {
                let leave = LeaveRequest {
                    queue: queue(),
                    token: place.token.0,
                    claim: 0,
                };
                let n = looks(|| assert!(apply(&mut store, Request::Leave(leave)).is_done()));
                assert!(n <= LOOKS_MAX, "{kind:?}: leave looked at {n}");
            }
            let all = KeyRange::all();
            assert_eq!(store.state().root(LINES_ROOT).count(&all, None), Ok(0));
        }
    }
}
