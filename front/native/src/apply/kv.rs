//! Puts, deletes, leases and compaction.

use super::{LEASE_TTL_MAX_S, RESULT_BYTES_MAX};
use crate::keys::{Values, key_value, range_of};
use crate::refusal::{Refusal, Refused};
use crate::{condition, fence};
use api::proto::{
    CompactRequest, CompactResponse, DeleteRequest, DeleteResponse, GrantRequest, GrantResponse,
    PutRequest, PutResponse, RevokeRequest, RevokeResponse, Write,
};
use base::{LeaseId, Revision};
use store::{KeyRange, Record, WriteTxn};

/// Whether a write may be: the fences hold, then the conditions do.
fn check_write(txn: &WriteTxn<'_>, write: Option<&Write>) -> Result<(), Refused> {
    let Some(write) = write else {
        return Ok(());
    };
    condition::check_shape(&write.conditions)?;
    fence::check_all(txn.state(), &write.fences)?;
    condition::check(txn.view(), &write.conditions)
}

pub(super) fn put(txn: &mut WriteTxn<'_>, request: &PutRequest) -> Result<PutResponse, Refused> {
    check_put(txn, &request.key, request.lease)?;
    check_write(txn, request.write.as_ref())?;
    let was = txn.put(&request.key, &request.value, LeaseId(request.lease));
    let previous = was.filter(|_| request.previous);
    Ok(PutResponse {
        header: None,
        previous: previous.map(|record| key_value(&record, Values::Keep)),
    })
}

pub(super) fn check_put(txn: &WriteTxn<'_>, key: &[u8], lease: i64) -> Result<(), Refusal> {
    if key.is_empty() {
        return Err(Refusal::BadKeys);
    }
    if lease != 0 && txn.lease(LeaseId(lease)).is_none() {
        return Err(Refusal::NoLease);
    }
    Ok(())
}

pub(super) fn delete(
    txn: &mut WriteTxn<'_>,
    request: &DeleteRequest,
) -> Result<DeleteResponse, Refused> {
    let range = range_of(request.keys.as_ref())?;
    check_write(txn, request.write.as_ref())?;
    if request.previous && bytes_in(txn, &range, RESULT_BYTES_MAX) > RESULT_BYTES_MAX {
        return Err(Refusal::PreviousTooLarge.into());
    }
    let deleted = txn.delete(&range);
    let tell = |record: &Record| key_value(record, Values::Keep);
    Ok(DeleteResponse {
        header: None,
        deleted: deleted.len() as u64,
        previous: match request.previous {
            true => deleted.iter().map(tell).collect(),
            false => Vec::new(),
        },
    })
}

/// Bytes of the records in `range`; stops counting behind `enough`.
pub(super) fn bytes_in(txn: &WriteTxn<'_>, range: &KeyRange, enough: u64) -> u64 {
    let mut bytes = 0;
    for record in txn.range(range, None).into_iter().flatten() {
        bytes += record.size();
        if bytes > enough {
            break;
        }
    }
    bytes
}

/// To compact to where it is compacted already is done already.
pub(super) fn compact(
    txn: &mut WriteTxn<'_>,
    request: &CompactRequest,
) -> Result<CompactResponse, Refused> {
    let to = Revision(request.revision);
    let (oldest, newest) = (txn.view().compacted(), txn.revision());
    if to < oldest {
        return Err(Refused::revision(Refusal::Compacted, oldest.0));
    }
    if to > newest {
        return Err(Refused::revision(Refusal::Future, newest.0));
    }
    if to > oldest {
        txn.compact(to);
    }
    Ok(CompactResponse { header: None })
}

pub(super) fn grant(
    txn: &mut WriteTxn<'_>,
    request: &GrantRequest,
) -> Result<GrantResponse, Refused> {
    let lease = LeaseId(request.lease);
    if lease.is_none() {
        return Err(Refusal::Malformed.into());
    }
    if request.ttl_s > LEASE_TTL_MAX_S {
        return Err(Refusal::TtlTooLong.into());
    }
    if txn.lease(lease).is_some() {
        return Err(Refusal::LeaseExists.into());
    }
    // The session half raised it to the configured least; this is the rule that needs no configuration.
    let ttl_s = request.ttl_s.max(1);
    txn.lease_grant(lease, ttl_s as i64);
    Ok(GrantResponse {
        lease: lease.0,
        ttl_s,
        ..GrantResponse::default()
    })
}

pub(super) fn revoke(
    txn: &mut WriteTxn<'_>,
    request: &RevokeRequest,
) -> Result<RevokeResponse, Refused> {
    let lease = LeaseId(request.lease);
    if txn.lease(lease).is_none() {
        return Err(Refusal::NoLease.into());
    }
    txn.lease_revoke(lease);
    Ok(RevokeResponse { header: None })
}
