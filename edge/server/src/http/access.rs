//! Who may ask over HTTP, before anything about the request is believed.
//!
//! A page of a stranger's, open in a browser inside the network, can make that browser ask a member. Two rules are
//! etcd's: a name of the member's that nobody has allowed is refused where there is no TLS (`--host-whitelist`, against
//! names that are made to point here: CVE-2018-5702), and an answer is readable by the scripts of allowed origins only
//! (`--cors`). One is ours: where origins are listed, a script of another one is refused before anything is done for it.

use crate::config::Config;
use crate::grpc::{Exchange, Page};
use http::{HeaderMap, HeaderValue, Method, header};

/// The rules.
pub(super) struct Access {
    /// Origins whose scripts may read answers; nothing: all.
    origins: Option<Vec<String>>,
    /// Names that a client may call this member by; nothing: all.
    hosts: Option<Vec<String>>,
}

impl Access {
    pub(super) fn new(config: &Config) -> Access {
        Access {
            origins: listed(&config.cors),
            hosts: listed(&config.host_whitelist),
        }
    }

    /// What is to be said beside every answer to this request.
    ///
    /// # Errors
    /// The page that is the answer, because the request may not be made.
    pub(super) fn check(&self, exchange: &Exchange) -> Result<HeaderMap, Page> {
        let headers = &exchange.parts.headers;
        if !exchange.is_secure
            && let Some(hosts) = &self.hosts
        {
            let host = String::from_utf8_lossy(named(exchange));
            let host = without_port(&host);
            if !hosts.iter().any(|known| known == host) {
                return Err(Page::text(421, unrecognized(host)));
            }
        }
        let Some(origins) = &self.origins else {
            return Ok(cors(HeaderValue::from_static("*")));
        };
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(HeaderMap::new());
        };
        let is_known = origins
            .iter()
            .any(|known| known.as_bytes() == origin.as_bytes());
        match is_known {
            true => Ok(cors(origin.clone())),
            // etcd would do what is asked and only hide the answer: too late for whatever changes something.
            false if exchange.parts.method == Method::POST && !is_own(origin, named(exchange)) => {
                let text = "403: scripts of this origin may not ask here (--cors)\n";
                Err(Page::text(403, text))
            }
            false => Ok(HeaderMap::new()),
        }
    }
}

/// What the client calls this member: HTTP/2 says it in the target, HTTP/1.1 in a header.
fn named(exchange: &Exchange) -> &[u8] {
    let host = exchange.parts.headers.get(header::HOST);
    let authority = exchange.parts.uri.authority();
    let named = authority.map(|it| it.as_str().as_bytes());
    named
        .or(host.map(HeaderValue::as_bytes))
        .unwrap_or_default()
}

/// Whether a page came from where it asks now.
fn is_own(origin: &HeaderValue, host: &[u8]) -> bool {
    let origin = origin.as_bytes();
    let from = origin
        .strip_prefix(b"http://")
        .or(origin.strip_prefix(b"https://"));
    from == Some(host)
}

/// The list, unless it allows everything.
fn listed(values: &[String]) -> Option<Vec<String>> {
    let is_open = values.is_empty() || values.iter().any(|value| value == "*");
    (!is_open).then(|| values.to_vec())
}

fn cors(origin: HeaderValue) -> HeaderMap {
    let mut beside = HeaderMap::with_capacity(3);
    let methods = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
    let names = HeaderValue::from_static("accept, content-type, authorization");
    beside.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    beside.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    beside.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    beside
}

/// A host without its port, as Go's `net.SplitHostPort` takes it apart: what it cannot take apart stays as it is.
fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((inner, after)) if after.starts_with(':') => inner,
            _ => host,
        };
    }
    match host.split_once(':') {
        Some((name, port)) if !port.contains(':') => name,
        _ => host,
    }
}

/// etcd's words, which its users find in their search engines.
fn unrecognized(host: &str) -> String {
    format!(
        "\netcd received your request, but the Host header was unrecognized.\n\n\
         To fix this, choose one of the following options:\n\
         - Enable TLS, then any HTTPS request will be allowed.\n\
         - Add the hostname you want to use to the whitelist in settings.\n\
         \x20 - e.g. etcd --host-whitelist {host:?}\n\n\
         This requirement has been added to help prevent \"DNS Rebinding\" attacks (CVE-2018-5702).\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_what_stands_before_its_port() {
        for (host, name) in [
            ("etcd.example:2379", "etcd.example"),
            ("etcd.example", "etcd.example"),
            ("127.0.0.1:2379", "127.0.0.1"),
            ("[::1]:2379", "::1"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            ("", ""),
        ] {
            assert_eq!(without_port(host), name, "{host}");
        }
    }

    #[test]
    fn a_list_with_a_star_or_without_anything_allows_all() {
        let lists =
            |values: &[&str]| listed(&values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>());
        assert_eq!(lists(&[]), None);
        assert_eq!(lists(&["a", "*"]), None);
        assert_eq!(lists(&["a"]), Some(vec!["a".to_owned()]));
    }
}
