//! Users and roles in a backup: the buckets `auth`, `authRoles` and `authUsers`.
//!
//! There are none in the state yet, so the buckets are there and empty, as in an etcd in which nobody ever
//! enabled authentication. This is the one place where both directions come in.

use super::read::{Entries, RestoreFault};
use super::write::BackupFault;
use bolt::{ReadAt, Writer};
use store::State;
use store::restore::Restoration;

/// Writes the three buckets' entries: each function one of them.
pub(super) fn write(_: &State, bucket: &[u8], writer: &mut Writer) -> Result<(), BackupFault> {
    writer.begin_bucket(bucket)?;
    writer.end_bucket()?;
    Ok(())
}

/// Brings users and roles of an etcd's file into the state. Those of our own files are in our bucket.
///
/// # Errors
/// The file has users: without them a restored cluster would be open to everybody.
pub(super) fn restore<S: ReadAt>(
    file: &Entries<'_, S>,
    _: &mut Restoration,
) -> Result<(), RestoreFault> {
    match file.get(super::schema::AUTH, b"authEnabled")?.as_deref() {
        Some([1]) => Err(RestoreFault::Auth),
        _ => Ok(()),
    }
}
