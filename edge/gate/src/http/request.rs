//! What a request says: its token, its resource, its whole body. Bytes from outside; any doubt is a refusal.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};

use super::answer::Answer;
use super::{Limits, Naming, RESOURCE_BYTES_MAX, RESOURCE_HEADER, TOKEN_HEADER};
use crate::token::Token;

/// A request as it comes from a client.
pub(super) type Incoming = Request<hyper::body::Incoming>;

/// A request as it goes to the upstream.
pub(super) type Outgoing = Request<Full<Bytes>>;

/// What the gate looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gated {
    pub(super) resource: String,
    pub(super) token: Token,
}

/// A request that may be forwarded, at once or after the gate.
#[derive(Debug)]
pub(super) enum Checked {
    Ungated(Outgoing),
    Gated(Gated, Outgoing),
}

/// Judges the head, then reads the body.
pub(super) async fn check(
    request: Incoming,
    naming: Naming,
    limits: &Limits,
) -> Result<Checked, Answer> {
    let gated = judge(
        request.method(),
        request.uri().path(),
        request.headers(),
        naming,
    )?;
    let (mut head, body) = request.into_parts();
    let bytes = read(body, limits).await?;
    // In origin form, whatever came; the upstream is one, and `Host` says which of its names was meant.
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    head.uri = target.parse().map_err(|_| Answer::PathAmbiguous)?;
    head.version = http::Version::HTTP_11;
    head.extensions.clear();
    remove_hop_by_hop(&mut head.headers);
    // The body is whole now, and hyper writes its length.
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.remove(header::EXPECT);
    let request = Request::from_parts(head, Full::new(bytes));
    Ok(match gated {
        Some(gated) => Checked::Gated(gated, request),
        None => Checked::Ungated(request),
    })
}

async fn read(body: hyper::body::Incoming, limits: &Limits) -> Result<Bytes, Answer> {
    let (bytes_max, time_max) = (limits.body_bytes_max, limits.request_time_max);
    let whole = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(time_max, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Answer::BodyTooLarge { bytes_max }),
        Ok(Err(_)) => Err(Answer::BodyBroken),
        Err(_) => Err(Answer::BodyTooSlow { time_max }),
    }
}

/// What the gate must look at; nothing for a safe method without a token.
fn judge(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    naming: Naming,
) -> Result<Option<Gated>, Answer> {
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(Answer::MethodNotProxied);
    }
    let is_safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let token = match once(headers, TOKEN_HEADER) {
        Once::Absent if is_safe => return Ok(None),
        Once::Absent => return Err(Answer::TokenRequired),
        Once::Text(text) => text.parse().map_err(|_| Answer::TokenMalformed)?,
        Once::Doubtful => return Err(Answer::TokenMalformed),
    };
    let resource = match naming {
        Naming::Header => match once(headers, RESOURCE_HEADER) {
            Once::Absent => return Err(Answer::ResourceRequired),
            Once::Text(name) => name.to_owned(),
            Once::Doubtful => return Err(Answer::ResourceMalformed),
        },
        Naming::Path { n_segments } => prefix(path, n_segments).ok_or(Answer::PathAmbiguous)?,
    };
    if !is_name(&resource) {
        return Err(Answer::ResourceMalformed);
    }
    Ok(Some(Gated { resource, token }))
}

/// Whether a text can be a resource's name; the file with the newest tokens relies on it.
pub(super) fn is_name(text: &str) -> bool {
    (1..=RESOURCE_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

enum Once<'a> {
    Absent,
    Text(&'a str),
    Doubtful,
}

/// A header that may come once: of two, the proxy and the upstream might each believe another one.
fn once<'a>(headers: &'a HeaderMap, name: &str) -> Once<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Once::Absent,
        (Some(value), None) => value.to_str().map_or(Once::Doubtful, Once::Text),
        (Some(_), Some(_)) => Once::Doubtful,
    }
}

/// The first segments of a path, unless an upstream might read another resource from it.
fn prefix(path: &str, n_segments: usize) -> Option<String> {
    let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let (last, inner) = segments.split_last()?;
    let escaped = path.to_ascii_lowercase();
    let is_doubtful = inner.iter().any(|segment| segment.is_empty())
        || segments
            .iter()
            .any(|segment| matches!(*segment, "." | ".."))
        || ["%2e", "%2f", "%5c", "\\"]
            .iter()
            .any(|word| escaped.contains(word));
    let named = segments.get(..n_segments)?;
    let is_plain = |segment: &&str| {
        !segment.is_empty()
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    // A path may end with a slash, but not within the name.
    let is_named = named.iter().all(is_plain) && (segments.len() > n_segments || !last.is_empty());
    (!is_doubtful && is_named).then(|| format!("/{}", named.join("/")))
}

/// Removes what is meant for one connection only (RFC 9110 §7.6.1), and what `Connection` names besides. It
/// cannot name the headers of the gate: the upstream may want to see what we have judged.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name: &HeaderName| name != TOKEN_HEADER && name != RESOURCE_HEADER)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a header's value"));
        }
        headers
    }

    #[test]
    fn a_doubtful_token_is_none() {
        let judged = |lines: &[_]| judge(&Method::PUT, "/", &headers(lines), Naming::Header);
        let resource = (RESOURCE_HEADER, "jobs");
        assert_eq!(judged(&[resource]), Err(Answer::TokenRequired));
        for text in ["", "+34", "034", "34, 35", "34 35"] {
            assert_eq!(
                judged(&[resource, (TOKEN_HEADER, text)]),
                Err(Answer::TokenMalformed)
            );
        }
        let twice = [resource, (TOKEN_HEADER, "34"), (TOKEN_HEADER, "34")];
        assert_eq!(judged(&twice), Err(Answer::TokenMalformed));
        assert_eq!(
            judged(&[(TOKEN_HEADER, "34")]),
            Err(Answer::ResourceRequired)
        );
        for name in ["", "a b", "a\tb"] {
            let lines = [(RESOURCE_HEADER, name), (TOKEN_HEADER, "34")];
            assert_eq!(judged(&lines), Err(Answer::ResourceMalformed));
        }
        let gated = judged(&[resource, (TOKEN_HEADER, "34")]).expect("it is plain");
        assert_eq!(gated.map(|gated| gated.token), Some(Token(34)));
    }

    #[test]
    fn one_path_is_one_resource() {
        assert_eq!(prefix("/jobs/7/log", 2).as_deref(), Some("/jobs/7"));
        assert_eq!(prefix("/jobs/7/", 2).as_deref(), Some("/jobs/7"));
        assert_eq!(prefix("/jobs/7", 2).as_deref(), Some("/jobs/7"));
        assert_eq!(prefix("/jobs/7/a%20b", 2).as_deref(), Some("/jobs/7"));
        for path in [
            "/",
            "/jobs",
            "/jobs/",
            "//jobs/7",
            "/jobs//7",
            "/jobs/./7",
            "/jobs/7/../8",
            "/jobs/%37",
            "/jobs/7/%2e%2E/8",
            "/jobs/7%2F..%2F8",
            "/jobs/7;v=1",
            "/jobs/7/..\\8",
            "*",
            "",
        ] {
            assert_eq!(prefix(path, 2), None, "{path}");
        }
    }

    #[test]
    fn what_is_meant_for_one_connection_stays_there() {
        let mut headers = headers(&[
            ("connection", "close, x-secret, fencing-token"),
            ("x-secret", "1"),
            ("upgrade", "h2c"),
            ("fencing-token", "34"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "fencing-token"]);
    }
}
