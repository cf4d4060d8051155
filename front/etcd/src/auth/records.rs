//! What is kept of users and roles, and how it is asked for.
//!
//! ```text
//!   Table 18:  ""                            →  [ enabled: 1 byte ][ revision: 8 ][ last token: 8 ]   big endian
//!   Table 19:  the user's name               →  authpb.User
//!   Table 20:  the role's name               →  authpb.Role
//!   Table 21:  a token's number: 8 bytes     →  [ digest: 32 ][ issued: 8 ][ the user's name … ]      big endian
//! ```
//!
//! Users and roles are in etcd's own messages, so a backup in etcd's format takes them as they are. While table 18 is
//! empty authentication is off at revision 1: nobody has ever changed anything.
//!
//! Invariants: a user's roles are ascending and each occurs once; a role's permissions are ascending by key and end, and
//! each pair occurs once; the revision only rises.

use crate::pb;
use crate::proto::authpb;
use crate::status::Refusal;
use bytes::Bytes;
use prost::Message;
use store::{State, Table, WriteTxn};

pub(crate) const SETTINGS: Table = Table(18);
pub(crate) const USERS: Table = Table(19);
pub(crate) const ROLES: Table = Table(20);
pub(super) const TOKENS: Table = Table(21);

/// The user without whom authentication cannot be enabled.
pub const ROOT_USER: &str = "root";

/// The role that may do everything.
pub const ROOT_ROLE: &str = "root";

/// What table 18 says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    pub(crate) enabled: bool,
    pub(crate) revision: u64,
    pub(crate) last_token: u64,
}

impl Settings {
    const NEW: Settings = Settings {
        enabled: false,
        revision: 1,
        last_token: 0,
    };

    pub(crate) fn of(state: &State) -> Settings {
        let Some(record) = state.record(SETTINGS, b"") else {
            return Settings::NEW;
        };
        let number = |at: usize| {
            let bytes = record.get(at..at + 8).and_then(|it| it.try_into().ok());
            bytes.map_or(0, u64::from_be_bytes)
        };
        Settings {
            // What cannot be read locks everybody out rather than letting everybody in.
            enabled: record.first() != Some(&0),
            revision: number(1),
            last_token: number(9),
        }
    }

    /// The record of table 18.
    pub(crate) fn encode(self) -> Bytes {
        let mut record = vec![u8::from(self.enabled)];
        record.extend_from_slice(&self.revision.to_be_bytes());
        record.extend_from_slice(&self.last_token.to_be_bytes());
        record.into()
    }

    pub(super) fn write(self, txn: &mut WriteTxn<'_>) {
        txn.record_put(SETTINGS, b"", self.encode());
    }
}

/// Whether everybody must say who they are.
pub fn is_enabled(state: &State) -> bool {
    Settings::of(state).enabled
}

/// The revision of the users and roles: 1 at first, one more with every change.
pub fn revision(state: &State) -> u64 {
    Settings::of(state).revision
}

/// The number of the newest token.
pub fn last_token(state: &State) -> u64 {
    Settings::of(state).last_token
}

/// A user.
pub fn user(state: &State, name: &[u8]) -> Option<authpb::User> {
    authpb::User::decode(state.record(USERS, name)?).ok()
}

/// All users, by name.
pub fn users(state: &State) -> impl Iterator<Item = authpb::User> + '_ {
    let records = state.records(USERS);
    records.filter_map(|(_, record)| authpb::User::decode(record).ok())
}

/// A role.
pub fn role(state: &State, name: &[u8]) -> Option<authpb::Role> {
    authpb::Role::decode(state.record(ROLES, name)?).ok()
}

/// All roles, by name.
pub fn roles(state: &State) -> impl Iterator<Item = authpb::Role> + '_ {
    let records = state.records(ROLES);
    records.filter_map(|(_, record)| authpb::Role::decode(record).ok())
}

// ---- answers, without their headers -------------------------------------------------------------

pub(crate) fn answer_status(state: &State) -> Vec<u8> {
    let settings = Settings::of(state);
    let mut body = Vec::new();
    pb::uint(&mut body, 2, u64::from(settings.enabled));
    pb::uint(&mut body, 3, settings.revision);
    body
}

pub(crate) fn answer_user(state: &State, name: &[u8]) -> Result<Vec<u8>, Refusal> {
    let user = user(state, name).ok_or(Refusal::UserNotFound)?;
    Ok(texts(user.roles.iter().map(String::as_bytes)))
}

pub(crate) fn answer_users(state: &State) -> Vec<u8> {
    let names: Vec<Bytes> = state.records(USERS).map(|(name, _)| name).collect();
    texts(names.iter().map(|name| &name[..]))
}

pub(crate) fn answer_role(state: &State, name: &[u8]) -> Result<Vec<u8>, Refusal> {
    let role = role(state, name).ok_or(Refusal::RoleNotFound)?;
    let everything = authpb::Permission {
        perm_type: authpb::permission::Type::Readwrite as i32,
        key: Bytes::new(),
        range_end: Bytes::from_static(&[0]),
    };
    let permissions = match name == ROOT_ROLE.as_bytes() {
        true => vec![everything],
        false => role.key_permission,
    };
    let mut body = Vec::new();
    for permission in permissions {
        let message = permission.encode_to_vec();
        pb::message(&mut body, 2, message.len());
        body.extend_from_slice(&message);
    }
    Ok(body)
}

pub(crate) fn answer_roles(state: &State) -> Vec<u8> {
    let names: Vec<Bytes> = state.records(ROLES).map(|(name, _)| name).collect();
    texts(names.iter().map(|name| &name[..]))
}

/// A repeated text in field 2.
fn texts<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    for text in texts {
        pb::message(&mut body, 2, text.len());
        body.extend_from_slice(text);
    }
    body
}
