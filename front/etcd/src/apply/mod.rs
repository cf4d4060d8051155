//! The apply half: decides requests from the log, on every member alike.
//!
//! **Validate, then write.** Each request is decided completely before its first write, so a refusal
//! leaves nothing behind and takes no revision. Nothing here knows a clock, a configuration or which
//! member it runs on; limits that are configured were checked by the session half, before the request
//! entered the log. Bytes that make no sense are a refusal, never a panic.
//!
//! What comes out is the answer's protobuf *without its header*: the session half that asked puts
//! its own header before it (`header`).
//!
//! Whoever asks was established by the member that took the request, and travels with it; whether it may is decided
//! here, before anything else but alarms (`crate::auth`, `alarms::Turn`).
//!
//! ```text
//!   mod.rs     the envelope, single requests, leases, compaction
//!   txn.rs     transactions: compare, check, then execute
//!   alarms.rs  alarms and what they forbid
//! ```

pub(crate) mod alarms;
pub(crate) mod txn;

use crate::auth::{self, Needs};
use crate::check;
use crate::pb;
use crate::record::{self, Values};
use crate::request::{DeleteView, Kind, PutView, TxnView, two_integers};
use crate::status::Refusal;
use alarms::{Forbidden, Turn};
use base::{LeaseId, Revision};
use bytes::Bytes;
use store::command::{DialectId, Identity};
use store::restore::Restoration;
use store::{Dialect, Outcome, Record, RootId, Stamp, State, Table, WriteTxn};

/// The largest time to live that etcd grants, in seconds.
pub const LEASE_TTL_MAX_S: i64 = 9_000_000_000;

/// Notes that have no other place. Key `compacted-zero`: somebody compacted to revision 0, which etcd
/// allows once (its counter starts at −1).
const NOTES: Table = Table(17);
const COMPACTED_ZERO: &[u8] = b"compacted-zero";

/// Whether somebody compacted to revision 0, so that the counter is at 0 and not at −1.
pub(crate) fn is_zero_compacted(state: &State) -> bool {
    state.record(NOTES, COMPACTED_ZERO).is_some()
}

/// Notes in a restored state that somebody compacted to revision 0.
pub(crate) fn note_zero_compacted(restoration: &mut Restoration) {
    restoration.record(NOTES, COMPACTED_ZERO, Bytes::from_static(b"1"));
}

/// etcd's rules as a dialect of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EtcdDialect;

impl Dialect for EtcdDialect {
    fn id(&self) -> DialectId {
        crate::DIALECT
    }

    fn root(&self) -> RootId {
        crate::ROOT
    }

    fn apply(&self, txn: &mut WriteTxn<'_>, request: &[u8], stamp: &Stamp) -> Outcome {
        match decide(txn, request, stamp) {
            Ok(body) => Outcome::done(body),
            Err(refusal) => refused(refusal),
        }
    }

    fn admit(
        &self,
        state: &State,
        identity: Option<&Identity>,
        request: &[u8],
    ) -> Result<(), Outcome> {
        check_may(state, identity, request).map_err(refused)
    }
}

fn refused(refusal: Refusal) -> Outcome {
    Outcome::refused(refusal as u16, Bytes::new())
}

/// Refuses who may not ask this. Where authentication is off, it costs one look.
fn check_may(state: &State, identity: Option<&Identity>, request: &[u8]) -> Result<(), Refusal> {
    if !auth::is_enabled(state) {
        return Ok(());
    }
    let needs = Needs::of_request(request, state.apply_version())?;
    auth::permit(state, identity, &needs)
}

fn decide(txn: &mut WriteTxn<'_>, request: &[u8], stamp: &Stamp) -> Result<Vec<u8>, Refusal> {
    let (number, message) = request.split_first().ok_or(Refusal::Malformed)?;
    let kind = Kind::of_number(*number).ok_or(Refusal::Malformed)?;
    let forbidden = Forbidden::of(txn.state());
    let turn = Turn::of(kind, txn.state().apply_version());
    if turn.is_before_rights(txn.identity().is_some()) {
        forbidden.check(|| grows(kind, message))?;
    }
    check_may(txn.state(), txn.identity(), request)?;
    if turn != Turn::Never {
        forbidden.check_sound()?;
    }
    let mut out = Vec::new();
    match kind {
        Kind::Put => {
            let view = PutView::read(message)?;
            forbidden.check_space()?;
            check::put(&view)?;
            // etcd looks at the lease before the key here, and after it in a transaction (tried on 3.6.16).
            check_lease(txn, &view)?;
            check_put(txn, &view)?;
            put(txn, &view, &mut out);
        }
        Kind::DeleteRange => {
            let view = DeleteView::read(message)?;
            check::delete(&view)?;
            delete_range(txn, &view, &mut out);
        }
        Kind::Txn => txn::decide(txn, message, forbidden, &mut out)?,
        Kind::Compact => compact(txn, two_integers(message)?.0)?,
        Kind::LeaseGrant => {
            let (ttl_s, id) = two_integers(message)?;
            forbidden.check_space()?;
            lease_grant(txn, LeaseId(id), ttl_s, &mut out)?;
        }
        Kind::LeaseRevoke => {
            let id = LeaseId(two_integers(message)?.0);
            if txn.lease(id).is_none() {
                return Err(Refusal::LeaseNotFound);
            }
            txn.lease_revoke(id);
        }
        Kind::Alarm => alarms::change(txn, message, &mut out)?,
        Kind::AuthEnable
        | Kind::AuthDisable
        | Kind::UserAdd
        | Kind::UserDelete
        | Kind::UserChangePassword
        | Kind::UserGrantRole
        | Kind::UserRevokeRole
        | Kind::RoleAdd
        | Kind::RoleDelete
        | Kind::RoleGrantPermission
        | Kind::RoleRevokePermission
        | Kind::IssueToken => out = auth::change(txn, kind, message, stamp)?,
    }
    Ok(out)
}

/// Whether a request may make the data larger, in the sense of the alarm for space.
pub(crate) fn grows(kind: Kind, message: &[u8]) -> bool {
    match kind {
        Kind::Put | Kind::LeaseGrant => true,
        Kind::Txn => TxnView::read(message).is_ok_and(|view| txn::has_put(&view)),
        _ => false,
    }
}

/// Whether a put may be, against the state as it is now.
fn check_put(txn: &WriteTxn<'_>, view: &PutView<'_>) -> Result<(), Refusal> {
    check::put(view)?;
    if (view.ignore_value || view.ignore_lease) && txn.get(view.key).is_none() {
        return Err(Refusal::KeyNotFound);
    }
    check_lease(txn, view)
}

fn check_lease(txn: &WriteTxn<'_>, view: &PutView<'_>) -> Result<(), Refusal> {
    if view.lease != 0 && txn.lease(LeaseId(view.lease)).is_none() {
        return Err(Refusal::LeaseNotFound);
    }
    Ok(())
}

/// Puts. It was checked, perhaps before other operations of the same transaction deleted the key: then
/// there is nothing to keep, and what is kept is nothing.
fn put(txn: &mut WriteTxn<'_>, view: &PutView<'_>, out: &mut Vec<u8>) {
    let lease = LeaseId(view.lease);
    let previous = if view.ignore_value || view.ignore_lease {
        let kept = txn.get(view.key);
        let value = match &kept {
            Some(record) if view.ignore_value => record.value(),
            _ => view.value,
        };
        let lease = match &kept {
            Some(record) if view.ignore_lease => record.lease(),
            _ => lease,
        };
        txn.put(view.key, value, lease)
    } else {
        txn.put(view.key, view.value, lease)
    };
    if let (true, Some(previous)) = (view.prev_kv, &previous) {
        record::write(out, 2, previous, Values::Keep);
    }
}

fn delete_range(txn: &mut WriteTxn<'_>, view: &DeleteView<'_>, out: &mut Vec<u8>) {
    let deleted: Vec<Record> = txn.delete(&record::key_range_of(view.key, view.end));
    pb::uint(out, 2, deleted.len() as u64);
    if view.prev_kv {
        for record in &deleted {
            record::write(out, 3, record, Values::Keep);
        }
    }
}

fn compact(txn: &mut WriteTxn<'_>, to: i64) -> Result<(), Refusal> {
    let compacted = txn.view().compacted();
    let to = Revision(u64::try_from(to).map_err(|_| Refusal::Compacted)?);
    if to == Revision(0) && compacted == to && txn.record(NOTES, COMPACTED_ZERO).is_none() {
        txn.record_put(NOTES, COMPACTED_ZERO, Bytes::from_static(b"1"));
    } else if to <= compacted {
        return Err(Refusal::Compacted);
    } else if to > txn.revision() {
        return Err(Refusal::FutureRevision);
    } else {
        txn.compact(to);
    }
    Ok(())
}

fn lease_grant(
    txn: &mut WriteTxn<'_>,
    id: LeaseId,
    ttl_s: i64,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    if id.is_none() {
        return Err(Refusal::LeaseNotFound);
    }
    if ttl_s > LEASE_TTL_MAX_S {
        return Err(Refusal::LeaseTtlTooLarge);
    }
    if txn.lease(id).is_some() {
        return Err(Refusal::LeaseExists);
    }
    // The session half raised it to the configured least; this is the rule that needs no configuration.
    let ttl_s = ttl_s.max(1);
    txn.lease_grant(id, ttl_s);
    pb::uint(out, 2, id.0 as u64);
    pb::uint(out, 3, ttl_s as u64);
    Ok(())
}
