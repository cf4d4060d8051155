//! What can go wrong, split by the one question that matters: did it happen?
//!
//! ```text
//!   Definite       it certainly did not happen (or it was a read, or a number used twice: see `effect`)
//!   Indeterminate  nobody knows; with a request id it may be asked again and takes effect once
//! ```
//!
//! An error is [`Error::Indeterminate`] when at least one attempt may have reached a member and none was answered. All
//! attempts of one write carry one number, so an answer to any of them is an answer to all.

use api::proto;
use api::proto::Effect;
use bytes::Bytes;
use std::fmt;
use std::str::FromStr;

pub use api::Code;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// It is known what happened: a refusal, a read without an answer, or a write that was certainly not applied. The
    /// one exception is Q6004, a write that took effect and whose answer is not kept: see [`Error::took_effect`].
    Definite {
        /// Such as `Q5001`; `quorate explain` has its page.
        code: String,
        /// What happened.
        message: String,
        /// What to do.
        help: String,
        /// Numbers and keys that belong to it.
        detail: Box<Detail>,
    },
    /// The write may have been applied, may still be, or never will.
    Indeterminate {
        /// Q2104; Q6001 when the session of the write is over, Q6002 when it has gone on, Q6003 when its number was used for
        /// another write.
        code: String,
        /// What happened.
        message: String,
        /// What to do.
        help: String,
        /// Under which id the same write may be asked again, and takes effect once; nothing when it had none
        /// (`once(false)`).
        request_id: Option<RequestId>,
        /// The newest revision that this client knew when it began the write: if the write took effect, then after this
        /// one. A check must read at least as fresh as this.
        revision_floor: u64,
    },
}

/// What belongs to an error beyond its words.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Detail {
    /// Fences: the token that came.
    pub token: Option<u64>,
    /// Fences: the newest token that holds.
    pub newest_token: Option<u64>,
    /// Compacted: the oldest revision that can be read; conditions: the revision of the key.
    pub revision: Option<u64>,
    /// Conditions: which key.
    pub key: Option<Bytes>,
}

/// Names one write: the session that it belongs to and its number there. Written `694d7a:12`, the session in
/// hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId {
    /// The session: a lease of the client's.
    pub session: i64,
    /// The number of the write in its session, from 1.
    pub sequence: u64,
}

/// The text is no request id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a request id looks like 694d7a:12")]
pub struct NoRequestId;

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{}", self.session, self.sequence)
    }
}

impl FromStr for RequestId {
    type Err = NoRequestId;

    fn from_str(text: &str) -> Result<RequestId, NoRequestId> {
        let (session, sequence) = text.split_once(':').ok_or(NoRequestId)?;
        let session = u64::from_str_radix(session, 16).map_err(|_| NoRequestId)?;
        Ok(RequestId {
            session: session.cast_signed(),
            sequence: sequence.parse().map_err(|_| NoRequestId)?,
        })
    }
}

impl Error {
    /// Its code, such as `Q2104`.
    pub fn code(&self) -> &str {
        match self {
            Error::Definite { code, .. } | Error::Indeterminate { code, .. } => code,
        }
    }

    /// Its code as this build knows it; nothing for the code of a newer server.
    pub fn known(&self) -> Option<Code> {
        Code::of_text(self.code())
    }

    /// Whether it is this one.
    pub fn is(&self, code: Code) -> bool {
        self.code() == code.text()
    }

    /// What to do about it.
    pub fn help(&self) -> &str {
        match self {
            Error::Definite { help, .. } | Error::Indeterminate { help, .. } => help,
        }
    }

    /// What happened, without the code.
    pub fn message(&self) -> &str {
        match self {
            Error::Definite { message, .. } | Error::Indeterminate { message, .. } => message,
        }
    }

    /// Whether nobody knows if the write took effect.
    pub fn is_indeterminate(&self) -> bool {
        matches!(self, Error::Indeterminate { .. })
    }

    /// Whether the request took effect; nothing when nobody knows.
    pub fn took_effect(&self) -> Option<bool> {
        match self {
            Error::Definite { .. } => Some(self.is(Code::AnswerNotKept)),
            Error::Indeterminate { .. } => None,
        }
    }

    /// Under which id the write may be asked again.
    pub fn request_id(&self) -> Option<RequestId> {
        match self {
            Error::Definite { .. } => None,
            Error::Indeterminate { request_id, .. } => *request_id,
        }
    }

    /// What belongs to it beyond its words.
    pub fn detail(&self) -> Option<&Detail> {
        match self {
            Error::Definite { detail, .. } => Some(detail),
            Error::Indeterminate { .. } => None,
        }
    }

    /// The fencing token that was refused.
    pub fn token(&self) -> Option<u64> {
        self.detail()?.token
    }

    /// The newest fencing token that holds, where one was refused.
    pub fn newest(&self) -> Option<u64> {
        self.detail()?.newest_token
    }

    /// Something certain, in words of this client's.
    pub(crate) fn definite(code: Code, message: impl Into<String>) -> Error {
        Error::refused(code.error(message))
    }

    /// What a member said, taken as certain.
    pub(crate) fn refused(error: proto::Error) -> Error {
        Error::Definite {
            code: error.code,
            message: error.message,
            help: error.help,
            detail: Box::new(Detail {
                token: error.token,
                newest_token: error.newest_token,
                revision: error.revision,
                key: error.key,
            }),
        }
    }

    /// A write of which nobody knows.
    pub(crate) fn indeterminate(
        code: Code,
        message: impl Into<String>,
        request_id: Option<RequestId>,
        revision_floor: u64,
    ) -> Error {
        let check = format!("Read at revision {revision_floor} or later to find out");
        let help = match (code, request_id) {
            (Code::OutcomeUnknown, Some(id)) => format!(
                "The write MAY have been applied. {check}, or repeat it with request id {id}: it is applied at most once."
            ),
            _ => format!("The write MAY have been applied. {check}."),
        };
        Error::Indeterminate {
            code: code.text().to_owned(),
            message: message.into(),
            help,
            request_id,
            revision_floor,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.message())?;
        if let Some(id) = self.request_id() {
            write!(f, " (request id {id})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Whether a refusal with this code is the decision of the log about a numbered write, and so the answer to all its
/// attempts. Other refusals come from before the log: an attempt of before may still be applied.
pub(crate) fn is_decided(code: Option<Code>) -> bool {
    use Code::{
        AnswerNotKept, BadPermits, BadTime, Compacted, ConditionFailed, Future, KeyNotFound,
        LeaseExists, LeaseNotFound, NoSuchTime, NotHeld, QueueFull, StaleToken,
    };
    matches!(
        code,
        Some(
            StaleToken
                | NotHeld
                | QueueFull
                | BadPermits
                | ConditionFailed
                | KeyNotFound
                | LeaseNotFound
                | LeaseExists
                | AnswerNotKept
                | Compacted
                | Future
                | BadTime
                | NoSuchTime
        )
    )
}

/// Whether the same request may fare better at another member, or a little later.
pub(crate) fn is_passing(error: &proto::Error) -> bool {
    use Code::{Behind, BoundNotMet, Busy, Learner, NoAnswer, NotConnected, Stopped};
    let passes = [
        Busy,
        NoAnswer,
        Stopped,
        Behind,
        Learner,
        BoundNotMet,
        NotConnected,
    ];
    error.known().is_some_and(|code| passes.contains(&code))
}

/// Whether a request that ended with `error` may have been applied.
pub(crate) fn may_be_applied(error: &proto::Error) -> bool {
    matches!(error.effect(), Effect::Unknown)
}
