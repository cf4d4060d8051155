//! Who is who: ids from URLs and a token, as etcd computes them, and the URLs themselves.
//!
//! etcd's formulas are kept so that a cluster described in the same words has the same ids: a member's is the
//! first eight bytes of SHA-1 over its sorted peer URLs and the cluster's token, a cluster's is the same
//! over its members' ids. A member that is added to a running cluster has the time mixed in, so that the
//! same address never brings an old identity back (reliability rule R10).

use base::{ClusterId, MemberId};
use sha1::{Digest, Sha1};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The id of a member with these peer URLs. `added_at_s` is the wall time, in seconds since 1970, for a
/// member that is added to a running cluster.
pub fn member_id(peer_urls: &[String], token: &str, added_at_s: Option<u64>) -> MemberId {
    let mut urls: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    urls.sort_unstable();
    let mut hash = Sha1::new();
    urls.iter().for_each(|url| hash.update(url));
    hash.update(token);
    if let Some(seconds) = added_at_s {
        hash.update(seconds.to_string());
    }
    MemberId(first_eight(hash))
}

/// The id of the cluster that starts with these members.
pub fn cluster_id(members: &[MemberId]) -> ClusterId {
    let mut members = members.to_vec();
    members.sort_unstable();
    let mut hash = Sha1::new();
    members.iter().for_each(|m| hash.update(m.0.to_be_bytes()));
    ClusterId(first_eight(hash))
}

fn first_eight(hash: Sha1) -> u64 {
    let digest = hash.finalize();
    digest[..8]
        .iter()
        .fold(0, |n, byte| (n << 8) | u64::from(*byte))
}

/// How a URL of ours is reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS over TCP.
    Https,
    /// A plain unix socket.
    Unix,
    /// TLS over a unix socket.
    Unixs,
}

impl Scheme {
    const ALL: [(Scheme, &'static str); 4] = [
        (Scheme::Http, "http"),
        (Scheme::Https, "https"),
        (Scheme::Unix, "unix"),
        (Scheme::Unixs, "unixs"),
    ];

    /// Whether TLS is spoken there.
    pub fn is_tls(self) -> bool {
        matches!(self, Scheme::Https | Scheme::Unixs)
    }

    /// Whether it is a file and not a port.
    pub fn is_unix(self) -> bool {
        matches!(self, Scheme::Unix | Scheme::Unixs)
    }

    fn as_str(self) -> &'static str {
        Scheme::ALL
            .iter()
            .find(|(scheme, _)| *scheme == self)
            .map_or("http", |(_, text)| text)
    }
}

/// An `http://host:port`, `https://host:port`, `unix://path` or `unixs://path` of ours.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Url {
    scheme: Scheme,
    /// The host without brackets; the path of a unix socket.
    host: String,
    port: u16,
}

/// Where a member listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// The port or the file.
    pub at: ListenAt,
    /// Whether TLS is spoken there.
    pub is_tls: bool,
}

/// The port or the file where a member listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenAt {
    /// A TCP port; 0 for one that the system picks.
    Tcp(SocketAddr),
    /// A unix socket. A file that an earlier process left is removed.
    Unix(PathBuf),
}

impl Listen {
    /// A plain TCP port.
    pub fn tcp(address: SocketAddr) -> Listen {
        Listen {
            at: ListenAt::Tcp(address),
            is_tls: false,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            ListenAt::Tcp(address) => address.fmt(f),
            ListenAt::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Why a text is not a URL that a member can use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UrlError {
    /// Not a URL of ours at all.
    #[error("\"{0}\" is not of the form http://host:port, https://host:port or unix://path")]
    Form(String),
    /// A listener needs an address and not a name.
    #[error("\"{0}\": a listen URL needs an IP address or localhost, not a name")]
    Name(String),
}

impl Url {
    /// Reads `http://host:port`, `https://host:port`, `unix://path` or `unixs://path`; the host may be a name, an IPv4
    /// address or an IPv6 address in brackets.
    ///
    /// # Errors
    /// It is anything else.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let form = || UrlError::Form(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
        let known = Scheme::ALL.iter().find(|(_, name)| *name == scheme);
        let scheme = known.ok_or_else(form)?.0;
        if scheme.is_unix() {
            if rest.is_empty() || rest.contains('\0') {
                return Err(form());
            }
            let (host, port) = (rest.to_owned(), 0);
            return Ok(Url { scheme, host, port });
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(form)?;
        let port = port.parse().map_err(|_| form())?;
        let bare = match host.strip_prefix('[') {
            Some(v6) => {
                let v6 = v6.strip_suffix(']').ok_or_else(form)?;
                v6.parse::<std::net::Ipv6Addr>().map_err(|_| form())?;
                v6
            }
            None => host,
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        let is_bracketed = bare.len() != host.len();
        if bare.is_empty() || !bare.chars().all(allowed) || (bare.contains(':') && !is_bracketed) {
            return Err(form());
        }
        Ok(Url {
            scheme,
            host: bare.to_owned(),
            port,
        })
    }

    /// How it is reached.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host, without brackets; the path of a unix socket.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 for a unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address to listen on.
    ///
    /// # Errors
    /// The host is a name other than `localhost`.
    pub fn listen_address(&self) -> Result<Listen, UrlError> {
        let is_tls = self.scheme.is_tls();
        if self.scheme.is_unix() {
            let at = ListenAt::Unix(PathBuf::from(&self.host));
            return Ok(Listen { at, is_tls });
        }
        let ip = if self.host == "localhost" {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            let parsed = self.host.parse();
            parsed.map_err(|_| UrlError::Name(self.to_string()))?
        };
        let at = ListenAt::Tcp(SocketAddr::new(ip, self.port));
        Ok(Listen { at, is_tls })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        if self.scheme.is_unix() {
            write!(f, "{scheme}://{}", self.host)
        } else if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_etcd_computes() {
        // What every etcd on its default flags calls itself and its cluster.
        let member = member_id(&["http://localhost:2380".to_owned()], "etcd-cluster", None);
        assert_eq!(member.to_string(), "8e9e05c52164694d");
        assert_eq!(cluster_id(&[member]).to_string(), "cdf818194e3a8c32");
    }

    #[test]
    fn a_member_that_comes_back_is_somebody_else() {
        let urls = ["http://10.0.0.1:2380".to_owned()];
        assert_ne!(
            member_id(&urls, "t", Some(1)),
            member_id(&urls, "t", Some(2))
        );
        assert_ne!(member_id(&urls, "t", None), member_id(&urls, "t", Some(1)));
    }

    #[test]
    fn only_urls_with_a_port_or_a_path_are_taken() {
        for (text, address) in [
            ("http://localhost:2379", Some("127.0.0.1:2379")),
            ("http://0.0.0.0:1/", Some("0.0.0.0:1")),
            ("http://[::1]:2379", Some("[::1]:2379")),
            ("http://n1.example:2379", None),
            ("https://10.0.0.1:2379", Some("10.0.0.1:2379")),
            ("https://[::1]:2379", Some("[::1]:2379")),
            ("unix://localhost:2379", Some("localhost:2379")),
            ("unixs:///run/q.sock", Some("/run/q.sock")),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!(url.to_string(), text.trim_end_matches('/'));
            let listen = url.listen_address().ok().map(|a| a.to_string());
            assert_eq!(listen.as_deref(), address);
        }
        for bad in [
            "",
            "localhost:2379",
            "https://a",
            "unix://",
            "ftp://a:1",
            "http://a",
            "http://:1",
            "http://a:b",
            "http://a:99999",
            "http://a:1/path",
            "http://::1:2379",
            "http://[x]:1",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }
}
