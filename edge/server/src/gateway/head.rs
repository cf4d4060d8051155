//! What is said beside the messages: HTTP's headers into metadata and back.
//!
//! The rules are those of etcd's gateway: `Grpc-Metadata-X` is the metadata `x`, `Authorization` is the token,
//! what HTTP itself has is passed with `grpcgateway-` before it, everything else stays behind.

use crate::grpc::{Code, Status, parse_timeout};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::time::Duration;

const METADATA: &str = "grpc-metadata-";
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Where a call's token is looked for.
const TOKEN: HeaderName = HeaderName::from_static("token");

/// The headers that HTTP itself gives a meaning.
const OF_HTTP: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-language",
    "accept-ranges",
    "authorization",
    "cache-control",
    "content-type",
    "cookie",
    "date",
    "expect",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-schedule-tag-match",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "referer",
    "user-agent",
    "via",
    "warning",
];

/// The metadata of a call that came with these headers.
pub(super) fn metadata(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix(METADATA) {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                metadata.append(name, value.clone());
            }
        } else if OF_HTTP.contains(&name.as_str())
            && let Ok(name) = HeaderName::try_from(format!("grpcgateway-{name}"))
        {
            metadata.append(name, value.clone());
        }
    }
    if let Some(said) = headers.get(header::AUTHORIZATION) {
        let token = said.as_bytes().strip_prefix(b"Bearer ");
        let token = token.and_then(|token| HeaderValue::from_bytes(token).ok());
        let mut token = token.unwrap_or_else(|| said.clone());
        // It goes into no log.
        token.set_sensitive(true);
        metadata.insert(header::AUTHORIZATION, token.clone());
        metadata.entry(TOKEN).or_insert(token);
    }
    metadata
}

/// The time that the client gives.
///
/// # Errors
/// It says it wrongly.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(said) = headers.get(TIMEOUT) else {
        return Ok(None);
    };
    let timeout = parse_timeout(said.as_bytes());
    timeout.map(Some).ok_or_else(|| {
        let said = String::from_utf8_lossy(said.as_bytes());
        let text = format!("invalid grpc-timeout: {said}");
        Status::new(Code::InvalidArgument, text)
    })
}

/// The headers of an answer whose call said this beside it.
pub(super) fn told(beside: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(beside.len() + 1);
    let of_grpc = HeaderValue::from_static("application/grpc");
    headers.insert(
        HeaderName::from_static("grpc-metadata-content-type"),
        of_grpc,
    );
    for (name, value) in beside {
        if let Ok(name) = HeaderName::try_from(format!("{METADATA}{name}")) {
            headers.append(name, value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(headers: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let metadata = metadata(&map);
        let mut out: Vec<_> = metadata
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect();
        out.sort();
        out
    }

    #[test]
    fn a_token_is_found_however_it_is_said_and_strange_headers_stay_behind() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for authorization in ["tok.7", "Bearer tok.7"] {
            assert_eq!(
                said(&[("authorization", authorization), ("x-other", "1")]),
                [
                    pair("authorization", "tok.7"),
                    pair("grpcgateway-authorization", authorization),
                    pair("token", "tok.7"),
                ]
            );
        }
        assert_eq!(
            said(&[("grpc-metadata-hasleader", "true"), ("content-type", "a/b")]),
            [
                pair("grpcgateway-content-type", "a/b"),
                pair("hasleader", "true")
            ]
        );
        let both = said(&[("grpc-metadata-token", "mine"), ("authorization", "other")]);
        assert!(both.contains(&pair("token", "mine")), "{both:?}");
        assert_eq!(said(&[("grpc-metadata-", "x")]), []);
    }
}
