//! The proxy's own answers: every one is JSON with a word that a program can match.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};

use super::{RESOURCE_BYTES_MAX, RESOURCE_HEADER, TOKEN_HEADER};
use crate::token::Stale;

/// The body of any answer: ours, or the upstream's.
pub(super) type Body = BoxBody<Bytes, hyper::Error>;

/// What the proxy says instead of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Stale(Stale),
    TokenRequired,
    TokenMalformed,
    ResourceRequired,
    ResourceMalformed,
    PathAmbiguous,
    MethodNotProxied,
    BodyTooLarge { bytes_max: usize },
    BodyTooSlow { time_max: Duration },
    BodyBroken,
    TooManyResources { resources_max: usize },
    StateNotDurable,
    Unreachable,
    UnknownOutcome,
    UnknownOutcomeInTime { time_max: Duration },
    ReplyTooLarge { bytes_max: usize },
}

impl Answer {
    /// The status, the word, and a sentence for people. It says whether the request has happened.
    fn parts(self) -> (StatusCode, &'static str, String) {
        match self {
            Answer::Stale(stale) => (StatusCode::CONFLICT, "stale-token", stale.to_string()),
            Answer::TokenRequired => (
                StatusCode::PRECONDITION_REQUIRED,
                "token-required",
                format!("a method that may write needs the header {TOKEN_HEADER}"),
            ),
            Answer::TokenMalformed => (
                StatusCode::BAD_REQUEST,
                "token-malformed",
                format!("{TOKEN_HEADER} must come once: {}", crate::NotAToken),
            ),
            Answer::ResourceRequired => (
                StatusCode::BAD_REQUEST,
                "resource-required",
                format!("a request with a token needs the header {RESOURCE_HEADER}"),
            ),
            Answer::ResourceMalformed => (
                StatusCode::BAD_REQUEST,
                "resource-malformed",
                format!(
                    "a resource is named once, with 1 to {RESOURCE_BYTES_MAX} visible ASCII characters"
                ),
            ),
            Answer::PathAmbiguous => (
                StatusCode::BAD_REQUEST,
                "path-ambiguous",
                "the path does not say one resource: too few, empty, dotted or escaped segments"
                    .to_owned(),
            ),
            Answer::MethodNotProxied => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-proxied",
                "CONNECT and TRACE do not pass".to_owned(),
            ),
            Answer::BodyTooLarge { bytes_max } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                format!("a body may have {bytes_max} bytes; nothing was forwarded"),
            ),
            Answer::BodyTooSlow { time_max } => (
                StatusCode::REQUEST_TIMEOUT,
                "body-too-slow",
                format!("a body may take {time_max:?}; nothing was forwarded"),
            ),
            Answer::BodyBroken => (
                StatusCode::BAD_REQUEST,
                "body-broken",
                "the body ended before its end; nothing was forwarded".to_owned(),
            ),
            Answer::TooManyResources { resources_max } => (
                StatusCode::INSUFFICIENT_STORAGE,
                "too-many-resources",
                format!(
                    "{resources_max} resources are remembered and none is forgotten; nothing was forwarded"
                ),
            ),
            Answer::StateNotDurable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "state-not-durable",
                "the newest token cannot be kept durably; nothing was forwarded".to_owned(),
            ),
            Answer::Unreachable => (
                StatusCode::BAD_GATEWAY,
                "upstream-unreachable",
                "the upstream takes no connection; nothing was forwarded".to_owned(),
            ),
            Answer::UnknownOutcome => (
                StatusCode::BAD_GATEWAY,
                "unknown-outcome",
                "the upstream broke off; the request may have happened, or may still".to_owned(),
            ),
            Answer::UnknownOutcomeInTime { time_max } => (
                StatusCode::GATEWAY_TIMEOUT,
                "unknown-outcome",
                format!(
                    "the upstream was silent for {time_max:?}; the request may have happened, or may still"
                ),
            ),
            Answer::ReplyTooLarge { bytes_max } => (
                StatusCode::BAD_GATEWAY,
                "unknown-outcome",
                format!(
                    "the upstream answered with more than {bytes_max} bytes; the request has happened, or may still"
                ),
            ),
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let (status, word, message) = self.parts();
        // Tokens are strings: JSON's numbers lose digits above 2⁵³ in many readers. No text here has a
        // character that JSON must escape (a debug-printed duration has none either).
        let tokens = match self {
            Answer::Stale(Stale { token, newest }) => {
                format!(r#","token":"{token}","newest":"{newest}""#)
            }
            _ => format!(r#","message":"{message}""#),
        };
        let body = format!("{{\"error\":\"{word}\"{tokens}}}\n");
        let mut response = Response::new(full(Bytes::from(body)));
        *response.status_mut() = status;
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

/// A body that is all there.
pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Token;

    #[test]
    fn a_stale_token_is_a_conflict() {
        let (status, word, message) = Answer::Stale(Stale {
            token: Token(33),
            newest: Token(34),
        })
        .parts();
        assert_eq!((status.as_u16(), word), (409, "stale-token"));
        assert!(message.starts_with("token 33 is older than 34"));
    }
}
