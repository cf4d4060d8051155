//! How users and roles change: etcd's rules, decided at the entry's index on every member alike.
//!
//! Every change that takes effect raises the revision by one, so that whoever was let in by an older one is seen to be
//! outdated. Two things do not, as in etcd: enabling (disabling does), and granting a role that the user has already.

use super::records::{
    ROLES, ROOT_ROLE, ROOT_USER, Settings, USERS, role as find_role, user as find_user, users,
};
use super::token;
use super::{NAME_BYTES_MAX, ROLE_PERMISSIONS_MAX, USER_ROLES_MAX};
use crate::proto::authpb;
use crate::proto::etcdserverpb as pbs;
use crate::request::Kind;
use crate::status::Refusal;
use base64::Engine as _;
use bytes::Bytes;
use prost::Message;
use store::{Stamp, State, WriteTxn};

/// From this apply version on users and roles may be changed: before, a member that applies may not know how.
pub(crate) const APPLY_VERSION: u16 = 3;

/// From this one on permissions of kinds that nobody knows are taken.
const KINDS_VERSION: u16 = 4;

/// Refuses changes that not every member of the cluster understands.
///
/// # Errors
/// [`Refusal::AuthNeedsUpgrade`].
pub fn check_gate(state: &State) -> Result<(), Refusal> {
    match state.apply_version() >= APPLY_VERSION {
        true => Ok(()),
        false => Err(Refusal::AuthNeedsUpgrade),
    }
}

/// Carries out a command about users and roles that its sender may give.
pub(crate) fn change(
    txn: &mut WriteTxn<'_>,
    kind: Kind,
    message: &[u8],
    stamp: &Stamp,
) -> Result<Vec<u8>, Refusal> {
    check_gate(txn.state())?;
    match kind {
        Kind::AuthEnable => enable(txn)?,
        Kind::AuthDisable => disable(txn),
        Kind::UserAdd => user_add(txn, decode(message)?)?,
        Kind::UserDelete => user_delete(txn, &decode(message)?)?,
        Kind::UserChangePassword => user_change_password(txn, &decode(message)?)?,
        Kind::UserGrantRole => user_grant_role(txn, decode(message)?)?,
        Kind::UserRevokeRole => user_revoke_role(txn, &decode(message)?)?,
        Kind::RoleAdd => role_add(txn, decode(message)?)?,
        Kind::RoleDelete => role_delete(txn, &decode(message)?)?,
        Kind::RoleGrantPermission => role_grant(txn, decode(message)?)?,
        Kind::RoleRevokePermission => role_revoke(txn, &decode(message)?)?,
        Kind::IssueToken => return token::issue(txn, message, stamp),
        Kind::Put
        | Kind::DeleteRange
        | Kind::Txn
        | Kind::Compact
        | Kind::LeaseGrant
        | Kind::LeaseRevoke
        | Kind::Alarm => return Err(Refusal::Malformed),
    }
    Ok(Vec::new())
}

fn decode<M: Message + Default>(message: &[u8]) -> Result<M, Refusal> {
    M::decode(message).map_err(|_| Refusal::Malformed)
}

// ---- the whole ----------------------------------------------------------------------------------

fn enable(txn: &mut WriteTxn<'_>) -> Result<(), Refusal> {
    let settings = Settings::of(txn.state());
    if settings.enabled {
        return Ok(());
    }
    let root = find_user(txn.state(), ROOT_USER.as_bytes()).ok_or(Refusal::RootUserNotExist)?;
    if !root.roles.iter().any(|role| role == ROOT_ROLE) {
        return Err(Refusal::RootRoleNotExist);
    }
    let enabled = true;
    Settings {
        enabled,
        ..settings
    }
    .write(txn);
    Ok(())
}

fn disable(txn: &mut WriteTxn<'_>) {
    let settings = Settings::of(txn.state());
    if settings.enabled {
        let enabled = false;
        Settings {
            enabled,
            ..settings
        }
        .write(txn);
        token::end(txn, None);
        changed(txn);
    }
}

/// One more change.
fn changed(txn: &mut WriteTxn<'_>) {
    let settings = Settings::of(txn.state());
    let revision = settings.revision + 1;
    Settings {
        revision,
        ..settings
    }
    .write(txn);
}

/// What must stay as it is while authentication is enabled.
fn check_not_root(txn: &WriteTxn<'_>, is_root: bool) -> Result<(), Refusal> {
    match is_root && Settings::of(txn.state()).enabled {
        true => Err(Refusal::InvalidAuthManagement),
        false => Ok(()),
    }
}

// ---- users --------------------------------------------------------------------------------------

fn put_user(txn: &mut WriteTxn<'_>, user: &authpb::User) {
    txn.record_put(USERS, &user.name, user.encode_to_vec().into());
}

fn user_of(txn: &WriteTxn<'_>, name: &str) -> Result<authpb::User, Refusal> {
    find_user(txn.state(), name.as_bytes()).ok_or(Refusal::UserNotFound)
}

fn has_no_password(options: Option<authpb::UserAddOptions>) -> bool {
    options.is_some_and(|options| options.no_password)
}

/// The hash in a request: bcrypt's text in base64. The session half put it there.
fn hash_of(text: &str) -> Result<Bytes, Refusal> {
    let hash = base64::engine::general_purpose::STANDARD.decode(text);
    hash.map(Bytes::from).map_err(|_| Refusal::Malformed)
}

fn user_add(txn: &mut WriteTxn<'_>, request: pbs::AuthUserAddRequest) -> Result<(), Refusal> {
    if request.name.is_empty() {
        return Err(Refusal::UserEmpty);
    }
    if request.name.len() > NAME_BYTES_MAX {
        return Err(Refusal::AuthNameTooLong);
    }
    if find_user(txn.state(), request.name.as_bytes()).is_some() {
        return Err(Refusal::UserAlreadyExist);
    }
    let password = match has_no_password(request.options) {
        true => Bytes::new(),
        false => hash_of(&request.hashed_password)?,
    };
    let user = authpb::User {
        name: request.name.into(),
        password,
        roles: Vec::new(),
        options: Some(request.options.unwrap_or_default()),
    };
    put_user(txn, &user);
    changed(txn);
    Ok(())
}

fn user_delete(
    txn: &mut WriteTxn<'_>,
    request: &pbs::AuthUserDeleteRequest,
) -> Result<(), Refusal> {
    check_not_root(txn, request.name == ROOT_USER)?;
    let user = user_of(txn, &request.name)?;
    txn.record_delete(USERS, &user.name);
    token::end(txn, Some(&user.name));
    changed(txn);
    Ok(())
}

fn user_change_password(
    txn: &mut WriteTxn<'_>,
    request: &pbs::AuthUserChangePasswordRequest,
) -> Result<(), Refusal> {
    let mut user = user_of(txn, &request.name)?;
    // As in etcd, who has no password gets none by this.
    if !has_no_password(user.options) {
        user.password = hash_of(&request.hashed_password)?;
    }
    put_user(txn, &user);
    token::end(txn, Some(&user.name));
    changed(txn);
    Ok(())
}

fn user_grant_role(
    txn: &mut WriteTxn<'_>,
    request: pbs::AuthUserGrantRoleRequest,
) -> Result<(), Refusal> {
    let mut user = user_of(txn, &request.user)?;
    // The role root means everything whether it was added or not.
    if request.role != ROOT_ROLE && find_role(txn.state(), request.role.as_bytes()).is_none() {
        return Err(Refusal::RoleNotFound);
    }
    let Err(at) = user.roles.binary_search(&request.role) else {
        return Ok(());
    };
    if user.roles.len() >= USER_ROLES_MAX {
        return Err(Refusal::TooManyRoles);
    }
    user.roles.insert(at, request.role);
    put_user(txn, &user);
    changed(txn);
    Ok(())
}

fn user_revoke_role(
    txn: &mut WriteTxn<'_>,
    request: &pbs::AuthUserRevokeRoleRequest,
) -> Result<(), Refusal> {
    check_not_root(txn, request.name == ROOT_USER && request.role == ROOT_ROLE)?;
    let mut user = user_of(txn, &request.name)?;
    let at = user.roles.binary_search(&request.role);
    user.roles.remove(at.map_err(|_| Refusal::RoleNotGranted)?);
    put_user(txn, &user);
    changed(txn);
    Ok(())
}

// ---- roles --------------------------------------------------------------------------------------

fn put_role(txn: &mut WriteTxn<'_>, role: &authpb::Role) {
    txn.record_put(ROLES, &role.name, role.encode_to_vec().into());
}

fn role_of(txn: &WriteTxn<'_>, name: &str) -> Result<authpb::Role, Refusal> {
    find_role(txn.state(), name.as_bytes()).ok_or(Refusal::RoleNotFound)
}

fn role_add(txn: &mut WriteTxn<'_>, request: pbs::AuthRoleAddRequest) -> Result<(), Refusal> {
    if request.name.is_empty() {
        return Err(Refusal::RoleEmpty);
    }
    if request.name.len() > NAME_BYTES_MAX {
        return Err(Refusal::AuthNameTooLong);
    }
    if find_role(txn.state(), request.name.as_bytes()).is_some() {
        return Err(Refusal::RoleAlreadyExist);
    }
    let role = authpb::Role {
        name: request.name.into(),
        key_permission: Vec::new(),
    };
    put_role(txn, &role);
    changed(txn);
    Ok(())
}

fn role_delete(
    txn: &mut WriteTxn<'_>,
    request: &pbs::AuthRoleDeleteRequest,
) -> Result<(), Refusal> {
    check_not_root(txn, request.role == ROOT_ROLE)?;
    let role = role_of(txn, &request.role)?;
    txn.record_delete(ROLES, &role.name);
    let holders: Vec<authpb::User> = users(txn.state())
        .filter(|user| user.roles.binary_search(&request.role).is_ok())
        .collect();
    for mut user in holders {
        user.roles.retain(|role| *role != request.role);
        put_user(txn, &user);
    }
    changed(txn);
    Ok(())
}

/// Whether a permission can be about these keys: some key, and an end behind it, or none at all.
fn is_range(key: &[u8], end: &[u8]) -> bool {
    !key.is_empty() && (end.is_empty() || end == [0] || key < end)
}

/// Where the permission on exactly these keys is, or where it belongs. Its key alone does not name it: one key may begin
/// several ranges.
fn place(role: &authpb::Role, key: &[u8], end: &[u8]) -> Result<usize, usize> {
    let permissions = &role.key_permission;
    permissions.binary_search_by(|it| (&it.key[..], &it.range_end[..]).cmp(&(key, end)))
}

fn role_grant(
    txn: &mut WriteTxn<'_>,
    request: pbs::AuthRoleGrantPermissionRequest,
) -> Result<(), Refusal> {
    let permission = request.perm.ok_or(Refusal::PermissionNotGiven)?;
    // Of a kind that nobody knows it allows nothing, and is kept, as in etcd.
    let is_type = txn.state().apply_version() >= KINDS_VERSION
        || authpb::permission::Type::try_from(permission.perm_type).is_ok();
    if !is_range(&permission.key, &permission.range_end) || !is_type {
        return Err(Refusal::InvalidAuthManagement);
    }
    let mut role = role_of(txn, &request.name)?;
    match place(&role, &permission.key, &permission.range_end) {
        Ok(at) => role.key_permission[at] = permission,
        Err(_) if role.key_permission.len() >= ROLE_PERMISSIONS_MAX => {
            return Err(Refusal::TooManyPermissions);
        }
        Err(at) => role.key_permission.insert(at, permission),
    }
    put_role(txn, &role);
    changed(txn);
    Ok(())
}

fn role_revoke(
    txn: &mut WriteTxn<'_>,
    request: &pbs::AuthRoleRevokePermissionRequest,
) -> Result<(), Refusal> {
    let mut role = role_of(txn, &request.role)?;
    let at = place(&role, &request.key, &request.range_end);
    role.key_permission
        .remove(at.map_err(|_| Refusal::PermissionNotGranted)?);
    put_role(txn, &role);
    changed(txn);
    Ok(())
}
