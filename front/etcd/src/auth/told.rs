//! What somebody is told who may not ask.
//!
//! A member refuses before the log who may not ask, and the log would refuse it with the same words. Those are etcd's:
//! where a raised alarm forbids a request, most hear of the alarm whoever they are ([`Turn`]), and the lock and election
//! services, which ask their own server as a client would, have lost the code of what they were told.

use crate::apply::alarms::{self, Turn};
use crate::apply::grows;
use crate::recipes::{self, Recipe};
use crate::request::Kind;
use crate::session::Plan;
use crate::status::{Refusal, Status};
use base::LeaseId;
use store::State;

/// What to answer to `plan`, which the rights of whoever asks do not allow: they say `refusal`.
pub fn told(state: &State, plan: &Plan, refusal: Refusal) -> Status {
    let told = by_alarms(state, plan, refusal).unwrap_or(refusal);
    match plan {
        Plan::Recipe(_) => recipes::told(told.into()),
        _ => told.into(),
    }
}

/// What an alarm has to say before rights have.
fn by_alarms(state: &State, plan: &Plan, refusal: Refusal) -> Option<Refusal> {
    let has_name = match refusal {
        Refusal::UserEmpty => false,
        Refusal::PermissionDenied | Refusal::AuthOldRevision => true,
        // A token that is none is no matter of rights.
        _ => return None,
    };
    let (kind, grows) = first_command(plan)?;
    match Turn::of(kind, state.apply_version()).is_before_rights(has_name) {
        true => alarms::forbids(state, || grows).err(),
        false => None,
    }
}

/// The kind of a plan's first command, and whether it may make the data larger.
fn first_command(plan: &Plan) -> Option<(Kind, bool)> {
    // Who brings no lease is granted one first.
    let txn = |lease, grows| match lease {
        LeaseId::NONE => (Kind::LeaseGrant, true),
        _ => (Kind::Txn, grows),
    };
    match plan {
        Plan::Propose { request, .. } => {
            let (number, message) = request.split_first()?;
            let kind = Kind::of_number(*number)?;
            Some((kind, grows(kind, message)))
        }
        Plan::Recipe(Recipe::Contend(entry)) => Some(txn(entry.lease, true)),
        Plan::Recipe(Recipe::Proclaim(leader, _)) => Some(txn(LeaseId(leader.lease), true)),
        Plan::Recipe(Recipe::Resign(leader)) => Some(txn(LeaseId(leader.lease), false)),
        Plan::Recipe(Recipe::Unlock(_)) => Some((Kind::DeleteRange, false)),
        _ => None,
    }
}
