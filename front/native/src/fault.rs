//! Errors as clients get them.

use crate::plan::Encoding;
use crate::refusal::{Refusal, Refused};
use crate::reply::encode;
use api::{Code, proto};
use bytes::Bytes;
use store::{Outcome, ReadError};

/// Why a request failed: the code, what happened, whether it took effect, what to do.
#[derive(Clone, PartialEq, Debug)]
pub struct Fault(pub Box<proto::Error>);

/// The node's own refusals of writes that are asked again begin here (`docs/retries.md`): over, superseded, reused,
/// not kept, another user's.
const RETRY_STATUSES: [(u16, Code); 5] = [
    (60_001, Code::SessionOver),
    (60_002, Code::Superseded),
    (60_003, Code::NumberReused),
    (60_004, Code::AnswerNotKept),
    (60_005, Code::Denied),
];

/// Bytes of a key that an error tells.
const KEY_TOLD_BYTES_MAX: usize = 1024;

impl Fault {
    /// The error with this code and these words; no words: its title.
    pub fn new(code: Code, message: impl Into<String>) -> Fault {
        Fault(Box::new(code.error(message)))
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.0.known().unwrap_or(Code::Internal)
    }

    /// As the trailer of gRPC or the body of HTTP.
    pub fn encode(&self, encoding: Encoding) -> Bytes {
        encode(&*self.0, encoding)
    }

    /// The same with what somebody knew to say about it.
    fn with(mut self, detail: &proto::Error) -> Fault {
        self.0.token = detail.token;
        self.0.newest_token = detail.newest_token;
        self.0.revision = detail.revision;
        // Trailers have limits, and a key that long is recognised by its beginning.
        let told = |key: &Bytes| key.slice(..key.len().min(KEY_TOLD_BYTES_MAX));
        self.0.key = detail.key.as_ref().map(told);
        self
    }
}

impl From<Code> for Fault {
    fn from(code: Code) -> Fault {
        Fault::new(code, "")
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        fault_of_refused(&refusal.into())
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Fault {
        fault_of_refused(&refused)
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Fault {
        let (code, revision) = match error {
            ReadError::Compacted { compacted, .. } => (Code::Compacted, compacted),
            ReadError::Future { current, .. } => (Code::Future, current),
        };
        let mut fault = Fault::new(code, error.to_string());
        fault.0.revision = Some(revision.0);
        fault
    }
}

/// What the client hears of a refusal.
pub fn fault_of_refused(refused: &Refused) -> Fault {
    let detail = &*refused.detail;
    Fault::new(refused.refusal.code(), words(refused.refusal, detail)).with(detail)
}

/// What the client hears of an outcome that is not done.
pub fn fault_of_outcome(outcome: &Outcome) -> Fault {
    if let Some(refused) = Refused::of_outcome(outcome) {
        return fault_of_refused(&refused);
    }
    let retry = RETRY_STATUSES
        .iter()
        .find(|(status, _)| *status == outcome.status);
    match retry {
        Some((_, code)) => Fault::from(*code),
        None => {
            let status = outcome.status;
            let words = format!("refused with {status}, which this member does not know");
            Fault::new(Code::Internal, words)
        }
    }
}

fn words(refusal: Refusal, detail: &proto::Error) -> String {
    let token = detail.token.unwrap_or(0);
    match (refusal, detail.newest_token, detail.revision) {
        (Refusal::StaleToken, Some(newest), _) if newest > token => {
            format!("token {token} < {newest}: its place is gone, and {newest} holds")
        }
        (Refusal::StaleToken, Some(newest), _) => {
            format!("token {token} has no place in its line; {newest} holds")
        }
        (Refusal::StaleToken, None, _) if detail.token.is_some() => {
            format!("token {token} has no place in its line; nobody holds")
        }
        (Refusal::NotHeld, Some(newest), _) => {
            format!("token {token} does not hold yet; {newest} does")
        }
        (Refusal::NotHeld, None, _) if detail.token.is_some() => {
            format!("token {token} does not hold yet; nobody does")
        }
        (Refusal::ConditionFailed, _, Some(revision)) => {
            let key = detail.key.as_deref().unwrap_or_default();
            let key = key[..key.len().min(KEY_TOLD_BYTES_MAX / 4)].escape_ascii();
            match revision {
                0 => format!("a condition does not hold: there is no key \"{key}\""),
                _ => format!("a condition does not hold: key \"{key}\" is at revision {revision}"),
            }
        }
        (Refusal::Compacted, _, Some(oldest)) => {
            format!("the revision is compacted; the oldest is {oldest}")
        }
        (Refusal::Future, _, Some(newest)) => {
            format!("the revision has not happened yet; the newest is {newest}")
        }
        _ => refusal.to_string(),
    }
}
