//! Users and roles in a backup: the buckets `auth`, `authRoles` and `authUsers`, in both directions.
//!
//! ```text
//!   auth        authEnabled   →  1 or 0: 1 byte
//!               authRevision  →  u64 BE
//!   authRoles   its name      →  authpb.Role
//!   authUsers   its name      →  authpb.User, with the password as bcrypt keeps it
//! ```
//!
//! The state keeps users and roles in etcd's messages, so they go out as they are. What comes from an etcd is put
//! into the order that the state's rules want. Tokens are nobody's but ours: they are in our bucket.

use super::read::{Entries, RestoreFault};
use super::schema::{AUTH, AUTH_ROLES, AUTH_USERS};
use super::write::BackupFault;
use crate::auth::{
    APPLY_VERSION, NAME_BYTES_MAX, ROLE_PERMISSIONS_MAX, ROLES, SETTINGS, Settings, USER_ROLES_MAX,
    USERS,
};
use crate::proto::authpb;
use bolt::{ReadAt, Writer};
use prost::Message;
use store::State;
use store::restore::Restoration;

const ENABLED: &[u8] = b"authEnabled";
const REVISION: &[u8] = b"authRevision";

/// Writes the three buckets.
pub(super) fn write(state: &State, writer: &mut Writer) -> Result<(), BackupFault> {
    let settings = Settings::of(state);
    writer.begin_bucket(AUTH)?;
    writer.push(ENABLED, &[u8::from(settings.enabled)])?;
    writer.push(REVISION, &settings.revision.to_be_bytes())?;
    writer.end_bucket()?;
    for (bucket, table) in [(AUTH_ROLES, ROLES), (AUTH_USERS, USERS)] {
        writer.begin_bucket(bucket)?;
        for (name, message) in state.records(table) {
            writer.push(&name, &message)?;
        }
        writer.end_bucket()?;
    }
    Ok(())
}

/// Brings users and roles of an etcd's file into the state. Those of our own files are in our bucket.
///
/// # Errors
/// One cannot be read: without it the restored cluster might be open to everybody.
pub(super) fn restore<S: ReadAt>(
    file: &Entries<'_, S>,
    restoration: &mut Restoration,
) -> Result<(), RestoreFault> {
    let revision = match file.get(AUTH, REVISION)?.as_deref() {
        None => 1,
        Some(bytes) => {
            let bytes = bytes.try_into().map_err(|_| RestoreFault::Entry("auth"))?;
            u64::from_be_bytes(bytes)
        }
    };
    let settings = Settings {
        enabled: match file.get(AUTH, ENABLED)?.as_deref() {
            None | Some(&[0]) => false,
            Some(&[1]) => true,
            // Whoever reads it as "no" opens the cluster to everybody.
            Some(_) => return Err(RestoreFault::Entry("auth")),
        },
        revision: revision.clamp(1, base::limits::NUMBER_MAX),
        last_token: 0,
    };
    let mut n_records = 0;
    file.each(AUTH_ROLES, |name, message| {
        let bad = || RestoreFault::Entry("authRoles");
        let mut role = authpb::Role::decode(message).map_err(|_| bad())?;
        let permissions = &mut role.key_permission;
        permissions
            .sort_by(|one, other| (&one.key, &one.range_end).cmp(&(&other.key, &other.range_end)));
        // etcd may have kept a range twice, once to read and once to write.
        permissions.dedup_by(|one, kept| {
            let is_same = (&one.key, &one.range_end) == (&kept.key, &kept.range_end);
            if is_same && one.perm_type != kept.perm_type {
                kept.perm_type = authpb::permission::Type::Readwrite as i32;
            }
            is_same
        });
        if !is_name(name, &role.name) || permissions.len() > ROLE_PERMISSIONS_MAX {
            return Err(bad());
        }
        n_records += 1;
        restoration.record(ROLES, name, role.encode_to_vec().into());
        Ok(())
    })?;
    file.each(AUTH_USERS, |name, message| {
        let bad = || RestoreFault::Entry("authUsers");
        let mut user = authpb::User::decode(message).map_err(|_| bad())?;
        user.roles.sort_unstable();
        user.roles.dedup();
        if !is_name(name, &user.name) || user.roles.len() > USER_ROLES_MAX {
            return Err(bad());
        }
        n_records += 1;
        restoration.record(USERS, name, user.encode_to_vec().into());
        Ok(())
    })?;
    if settings.enabled || settings.revision > 1 || n_records > 0 {
        restoration.record(SETTINGS, b"", settings.encode());
        // Or nobody is let in before all members of the new cluster run.
        restoration.needs_apply_version(APPLY_VERSION);
    }
    Ok(())
}

/// Whether what stands under a name has that name, and somebody may have it.
fn is_name(key: &[u8], name: &[u8]) -> bool {
    key == name && key.len() <= NAME_BYTES_MAX
}
