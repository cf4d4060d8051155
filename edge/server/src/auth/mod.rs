//! Who a caller is: tokens, certificates' names, passwords.
//!
//! ```text
//!   metadata `token` or `authorization` ─┐
//!                                        ├─► identify ─► Caller ─► permitted, and sent along with what is proposed
//!   the certificate's common name ───────┘
//!   Authenticate ─► passwords (bcrypt, on threads of their own) ─► a token: simple by the log, or signed
//! ```
//!
//! Who may do what is decided by `etcd::auth`, never here. Here is what needs the world: chance, clocks, keys on disk,
//! and work that must not hold up others.
//!
//! Invariants: a token or a password is never written to a log, an error or a page; a caller whose token is wrong is
//! nobody, also when it shows a certificate.

mod asking;
mod jwt;
mod passwords;
mod simple;
mod spec;

pub use asking::Asking;
pub use spec::{TokenSpec, TokenSpecError};

use crate::clock;
use crate::config::Config;
use bytes::Bytes;
use etcd::auth::{self, Caller, IssueToken, Token};
use etcd::{Credentials, Refusal, Status};
use jwt::Jwt;
use passwords::Passwords;
use simple::Ages;
use std::cell::RefCell;
use std::net::SocketAddr;
use store::State;
use store::command::{IDENTITY_BYTES_MAX, Identity};

/// Times that an authentication is begun anew because users have changed while the password was checked.
const AUTHENTICATE_TRIES: u32 = 10;

/// Who callers are, for one member.
pub(crate) struct Doorkeeper {
    tokens: Tokens,
    passwords: Passwords,
    /// Whether a certificate's common name is a user's.
    trusts_names: bool,
}

enum Tokens {
    Simple(RefCell<Ages>),
    Jwt(Box<Jwt>),
}

/// What is to be done for somebody whose password is right.
pub(crate) enum Admitted {
    /// Put this into the log; the token is these letters, a dot, and the number that comes back.
    Issue(IssueToken, String),
    /// This is the token, if users have not changed since.
    Signed(String),
}

impl Doorkeeper {
    /// As `config` says.
    ///
    /// # Errors
    /// `--auth-token` makes no sense, or its keys cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Doorkeeper, TokenSpecError> {
        let tokens = match TokenSpec::parse(&config.auth_token)? {
            TokenSpec::Simple => Tokens::Simple(RefCell::new(Ages::new(config.auth_token_ttl))),
            TokenSpec::Jwt(spec) => Tokens::Jwt(Box::new(Jwt::load(&spec)?)),
        };
        Ok(Doorkeeper {
            tokens,
            passwords: Passwords::new(config.bcrypt_cost),
            trusts_names: config.client_security.client_cert_auth,
        })
    }

    /// Who asks, as of `state`. etcd's order: a token is believed or refused, and only without one the certificate
    /// counts.
    pub(crate) fn identify(&self, asking: &Asking, state: &State) -> Caller {
        if !auth::is_enabled(state) {
            return Ok(None);
        }
        let common_name = asking.common_name().filter(|_| self.trusts_names);
        let user = |token: &str| self.user_of_token(token, state);
        identity_of(common_name, asking.token(), state, user)
    }

    /// Whether a token is shown that may have been issued and is not known as of `state`.
    pub(crate) fn may_come(&self, asking: &Asking, state: &State) -> bool {
        let is_simple = matches!(self.tokens, Tokens::Simple(_));
        is_simple
            && auth::is_enabled(state)
            && asking
                .token()
                .is_some_and(|token| auth::may_come(state, token))
    }

    fn user_of_token(&self, token: &str, state: &State) -> Option<Identity> {
        match &self.tokens {
            Tokens::Simple(ages) => {
                let token = auth::find_token(state, token)?;
                let is_alive =
                    ages.borrow_mut()
                        .uses(&token, state, clock::now(), clock::wall_ms());
                is_alive.then(|| auth::user_identity(state, token.user))
            }
            Tokens::Jwt(jwt) => jwt.verify(token, clock::wall_ms() / 1000),
        }
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// Too many wait for theirs already.
    pub(crate) async fn hash(&self, password: &auth::Secret) -> Result<String, Status> {
        self.passwords.hash(password).await
    }

    /// Checks a name and a password, shown by somebody at `from`, against `state`. It takes as long for a user that does
    /// not exist.
    ///
    /// # Errors
    /// They are wrong, too many were wrong before, too many wait, or this member cannot make tokens.
    pub(crate) async fn admit(
        &self,
        credentials: &Credentials,
        from: Option<SocketAddr>,
        state: &State,
    ) -> Result<(Admitted, u64), Status> {
        if !auth::is_enabled(state) {
            return Err(Refusal::AuthNotEnabled.into());
        }
        let checked = auth::revision(state);
        let user = auth::user(state, credentials.name.as_bytes());
        let hash = user
            .filter(|user| !user.options.is_some_and(|options| options.no_password))
            .map(|user| user.password);
        self.passwords.check(credentials, from, hash).await?;
        let admitted = match &self.tokens {
            Tokens::Simple(_) => {
                let letters = simple::letters()?;
                let issue = IssueToken {
                    user: credentials.name.clone(),
                    checked,
                    digest: Token::digest(&letters),
                };
                Admitted::Issue(issue, letters)
            }
            Tokens::Jwt(jwt) => {
                let token = jwt.sign(&credentials.name, checked, clock::wall_ms() / 1000)?;
                Admitted::Signed(token)
            }
        };
        Ok((admitted, checked))
    }

    pub(crate) const TRIES: u32 = AUTHENTICATE_TRIES;
}

/// Who asks: by the token, if there is one, whatever else is there; else by the certificate's name. Nobody when there is
/// neither; `user` says whose a token is.
///
/// # Errors
/// [`Refusal::InvalidAuthToken`]. [`Refusal::PermissionDenied`] when the certificate has no name in it: whoever shows it
/// is somebody, but no user, and hears what such a one hears from etcd.
pub fn identity_of(
    common_name: Option<&str>,
    token: Option<&str>,
    state: &State,
    user: impl FnOnce(&str) -> Option<Identity>,
) -> Caller {
    if let Some(token) = token {
        return user(token).map(Some).ok_or(Refusal::InvalidAuthToken);
    }
    let Some(name) = common_name else {
        return Ok(None);
    };
    // No user has a name that is longer.
    if !(1..=IDENTITY_BYTES_MAX).contains(&name.len()) {
        return Err(Refusal::PermissionDenied);
    }
    let name = Bytes::copy_from_slice(name.as_bytes());
    Ok(Some(auth::user_identity(state, name)))
}

/// The same caller as of `state`: one who was let in stays who they are while a call goes on, and what they may do is looked
/// at anew.
pub(crate) fn refreshed(caller: &Caller, state: &State) -> Caller {
    match caller {
        Ok(Some(Identity::User { name, .. })) => Ok(Some(auth::user_identity(state, name.clone()))),
        Ok(None) | Ok(Some(Identity::Member)) | Err(_) => caller.clone(),
    }
}

/// The member's own word, where somebody's is wanted.
pub(crate) fn own_word(state: &State) -> Option<Identity> {
    auth::is_enabled(state).then_some(Identity::Member)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(caller: &Caller) -> Option<&[u8]> {
        match caller {
            Ok(Some(Identity::User { name, .. })) => Some(name),
            _ => None,
        }
    }

    /// E8: a name in a certificate is nobody's but its connection's, and a wrong token is not saved by it.
    #[test]
    fn a_token_comes_first_then_the_certificates_name_then_nobody() {
        let state = store::Store::blank().publish();
        let user = |token: &str| {
            (token == "right").then(|| auth::user_identity(&state, Bytes::from_static(b"tom")))
        };
        let long = "x".repeat(5000);
        let ask = |name, token| identity_of(name, token, &state, user);
        assert_eq!(named(&ask(Some("carl"), Some("right"))), Some(&b"tom"[..]));
        assert_eq!(
            ask(Some("carl"), Some("wrong")),
            Err(Refusal::InvalidAuthToken)
        );
        assert_eq!(ask(None, Some("")), Err(Refusal::InvalidAuthToken));
        assert_eq!(named(&ask(Some("carl"), None)), Some(&b"carl"[..]));
        assert_eq!(ask(Some(""), None), Err(Refusal::PermissionDenied));
        assert_eq!(ask(Some(&long), None), Err(Refusal::PermissionDenied));
        assert_eq!(ask(None, None), Ok(None));
    }

    #[test]
    fn a_token_is_shown_in_one_of_two_headers_with_or_without_a_word_before_it() {
        let headers = |pairs: &[(&'static str, &str)]| -> http::HeaderMap {
            let pair = |(name, value): &(&'static str, &str)| {
                let value = http::HeaderValue::from_str(value).expect("a value");
                (http::HeaderName::from_static(name), value)
            };
            pairs.iter().map(pair).collect()
        };
        let name: std::rc::Rc<str> = "carl".into();
        let call = |pairs| Asking::of_call(&headers(pairs), Some(name.clone()));
        assert_eq!(
            call(&[("token", "t"), ("authorization", "a")]).token(),
            Some("t")
        );
        assert_eq!(call(&[("authorization", "Bearer a")]).token(), Some("a"));
        assert_eq!(call(&[("authorization", "a")]).token(), Some("a"));
        assert_eq!(call(&[]).token(), None);
        assert_eq!(call(&[]).common_name(), Some("carl"));
        // A gateway's certificate says nothing of whoever asks through it.
        let through = call(&[("grpcgateway-accept", "*/*"), ("token", "t")]);
        assert_eq!((through.token(), through.common_name()), (Some("t"), None));
        assert_eq!(call(&[("grpcgateway-accept", "")]).common_name(), None);
        let over_http = Asking::of_authorization(Some("bearer a"));
        assert_eq!(
            (over_http.token(), over_http.common_name()),
            (Some("a"), None)
        );
    }
}
