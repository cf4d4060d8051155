//! A write that may be asked again, through etcd's door: two words of metadata make it one.
//!
//! `quorate-session` is a lease of the client's, in hexadecimal as etcd's tools write it, and
//! `quorate-sequence` the number of the write in that session, from 1. etcd's own clients can send both. What is
//! promised stands in `node::retries`.

use base::LeaseId;
use etcd::{Code, Status};
use http::HeaderMap;
use node::RetryRefusal;

const SESSION: &str = "quorate-session";
const SEQUENCE: &str = "quorate-sequence";

/// Which write of which session this is, if the client says so.
pub(super) fn numbered(metadata: &HeaderMap) -> Result<Option<(LeaseId, u64)>, Status> {
    let said = |name| metadata.get(name).map(|value| value.to_str().unwrap_or(""));
    let (session, sequence) = match (said(SESSION), said(SEQUENCE)) {
        (None, None) => return Ok(None),
        (session, sequence) => (session.unwrap_or(""), sequence.unwrap_or("")),
    };
    let lease = i64::from_str_radix(session, 16)
        .ok()
        .filter(|lease| *lease > 0);
    let sequence = sequence.parse().ok().filter(|sequence| *sequence > 0);
    match (lease, sequence) {
        (Some(lease), Some(sequence)) => Ok(Some((LeaseId(lease), sequence))),
        _ => Err(Status::new(
            Code::InvalidArgument,
            format!(
                "quorate: {SESSION} is a lease in hexadecimal and {SEQUENCE} a number from 1; they go together"
            ),
        )),
    }
}

/// A lease that is granted under a number needs an id of the client's: one that the server draws would be another one when
/// the client asks again.
pub(super) fn unnamed_grant() -> Status {
    let text =
        "quorate: a numbered LeaseGrant says its ID, so that asking again asks for the same lease";
    Status::new(Code::InvalidArgument, text)
}

/// A refusal in gRPC's codes. The first three have changed nothing.
pub(super) fn refused(refusal: RetryRefusal) -> Status {
    let code = match refusal {
        RetryRefusal::SessionOver | RetryRefusal::Superseded => Code::FailedPrecondition,
        RetryRefusal::NumberReused => Code::InvalidArgument,
        RetryRefusal::AnswerNotKept => Code::AlreadyExists,
        RetryRefusal::AnothersSession => Code::PermissionDenied,
    };
    Status::new(code, format!("quorate: {refusal}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(words: &[(&'static str, &'static str)]) -> HeaderMap {
        let words = words.iter().map(|(name, value)| {
            let value = http::HeaderValue::from_static(value);
            (http::HeaderName::from_static(name), value)
        });
        words.collect()
    }

    #[test]
    fn both_words_or_none() {
        assert_eq!(numbered(&metadata(&[])), Ok(None));
        let both = metadata(&[(SESSION, "694d7a"), (SEQUENCE, "12")]);
        assert_eq!(numbered(&both), Ok(Some((LeaseId(0x69_4d7a), 12))));
        for wrong in [
            &[(SESSION, "694d7a")][..],
            &[(SEQUENCE, "12")],
            &[(SESSION, "0"), (SEQUENCE, "1")],
            &[(SESSION, "-1"), (SEQUENCE, "1")],
            &[(SESSION, "zz"), (SEQUENCE, "1")],
            &[(SESSION, "1"), (SEQUENCE, "0")],
            &[(SESSION, "1"), (SEQUENCE, "-1")],
            &[(SESSION, "1"), (SEQUENCE, "18446744073709551616")],
        ] {
            let status = numbered(&metadata(wrong)).expect_err("it is malformed");
            assert_eq!(status.code, Code::InvalidArgument, "{wrong:?}");
        }
    }
}
