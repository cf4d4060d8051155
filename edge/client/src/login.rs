//! Who the client is: a name and a password, and the token that members took them for.
//!
//! ```text
//!   unknown ──ask with the password──► token ──"not believed"──► unknown   the request is asked once more
//!      │
//!      └─"there are no users here"──► nobody is needed; asked again when somebody is
//! ```
//!
//! A token is asked for at the member that the request goes to: another one may not have seen it yet.

use std::sync::{Mutex, PoisonError};
use tonic::metadata::AsciiMetadataValue;

/// etcd's API, which every member of ours serves.
pub(crate) const PATH: &str = "/etcdserverpb.Auth/Authenticate";
/// How members are told the token.
const METADATA: &str = "token";
/// etcd's words where nobody needs to say who they are.
const NOT_ENABLED: &str = "authentication is not enabled";

/// The message of etcd's `Auth/Authenticate`.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct Ask {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    password: String,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What it answers.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct Told {
    #[prost(string, tag = "2")]
    token: String,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}

/// A name and its password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What to show to members.
#[derive(Clone, Debug)]
enum Shown {
    /// It must be asked for.
    Unknown,
    /// Nobody is asked who they are.
    Nothing,
    Token(AsciiMetadataValue),
}

/// A user, and what members made of it.
pub(crate) struct Login {
    user: User,
    shown: Mutex<Shown>,
}

impl Login {
    pub(crate) fn new(user: User) -> Login {
        Login {
            user,
            shown: Mutex::new(Shown::Unknown),
        }
    }

    /// What is sent to get a token.
    pub(crate) fn ask(&self) -> Ask {
        Ask {
            name: self.user.name.clone(),
            password: self.user.password.clone(),
        }
    }

    /// Whether a token must be asked for before anything else is.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(*self.locked(), Shown::Unknown)
    }

    /// Takes the answer to [`Login::ask`].
    ///
    /// # Errors
    /// The name and the password are not believed, or nobody answered: the status is given back.
    pub(crate) fn take(&self, answer: Result<Told, tonic::Status>) -> Result<(), tonic::Status> {
        let shown = match answer {
            Ok(told) => {
                let token = told.token.parse();
                Shown::Token(token.map_err(|_| tonic::Status::internal("the token is no text"))?)
            }
            Err(status) if status.message().contains(NOT_ENABLED) => Shown::Nothing,
            Err(status) => return Err(status),
        };
        *self.locked() = shown;
        Ok(())
    }

    /// Shows it with a request.
    pub(crate) fn show<Q>(&self, request: &mut tonic::Request<Q>) {
        if let Shown::Token(token) = &*self.locked() {
            request.metadata_mut().insert(METADATA, token.clone());
        }
    }

    /// It was not believed.
    pub(crate) fn forget(&self) {
        *self.locked() = Shown::Unknown;
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a member does not know who asks: the token was lost, is too old, or was not needed until now.
pub(crate) fn is_stranger(status: &tonic::Status) -> bool {
    let words = ["user name is empty", "revision in header is old"];
    status.code() == tonic::Code::Unauthenticated
        || words.iter().any(|words| status.message().contains(words))
}

/// Whether it says that the name and the password are not believed, or that nobody said who asks.
pub(crate) fn is_refusal(status: &tonic::Status) -> bool {
    is_stranger(status) || status.message().contains("authentication failed")
}
