//! Passwords on their way to being hashed. They are never kept, logged or printed.

use crate::proto::etcdserverpb as pbs;
use crate::request::{Kind, envelope};
use crate::status::Refusal;
use base64::Engine as _;
use bytes::Bytes;
use prost::Message;
use std::fmt;

/// Bytes of a password: bcrypt looks at no more, so a longer one is refused rather than cut.
pub const PASSWORD_BYTES_MAX: usize = 72;

/// Bytes of a password that somebody shows to be let in. etcds of former days took longer ones than bcrypt looks at, and
/// hashes in a backup may be of such.
pub const PASSWORD_SHOWN_BYTES_MAX: usize = 4096;

/// A text that nobody prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text, for whoever hashes or compares it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A request that says a new password: it enters the log with the hash in its place.
#[derive(Clone, PartialEq, Debug)]
pub struct PasswordChange {
    request: Request,
    password: Secret,
}

#[derive(Clone, PartialEq)]
enum Request {
    Add(pbs::AuthUserAddRequest),
    Change(pbs::AuthUserChangePasswordRequest),
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Request::Add(_) => "add",
            Request::Change(_) => "change",
        })
    }
}

impl PasswordChange {
    pub(crate) fn add(mut request: pbs::AuthUserAddRequest) -> Result<PasswordChange, Refusal> {
        let password = std::mem::take(&mut request.password);
        PasswordChange::checked(Request::Add(request), password)
    }

    pub(crate) fn change(
        mut request: pbs::AuthUserChangePasswordRequest,
    ) -> Result<PasswordChange, Refusal> {
        let password = std::mem::take(&mut request.password);
        PasswordChange::checked(Request::Change(request), password)
    }

    fn checked(request: Request, password: String) -> Result<PasswordChange, Refusal> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(Refusal::PasswordTooLong);
        }
        Ok(PasswordChange {
            request,
            password: Secret(password),
        })
    }

    /// What is to be hashed.
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// The request for the log. `hash` is bcrypt's text; whatever hash the client sent is gone, as in etcd.
    pub fn hashed(self, hash: &str) -> Bytes {
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        match self.request {
            Request::Add(mut request) => {
                request.hashed_password = hash;
                envelope(Kind::UserAdd, &request.encode_to_vec())
            }
            Request::Change(mut request) => {
                request.hashed_password = hash;
                envelope(Kind::UserChangePassword, &request.encode_to_vec())
            }
        }
    }
}
