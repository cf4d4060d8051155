//! How a member that joins a running cluster learns who it is.
//!
//! Its id was made by whoever added it (the time is in it), so it cannot be computed from flags. It asks the
//! others on their peer ports and finds itself by its peer URLs. The answer is text, for people too:
//!
//! ```text
//!   cluster cdf818194e3a8c32
//!   member 8e9e05c52164694d voter http://10.0.0.1:2380 n1
//!   member 91bc3c398fb3c146 learner http://10.0.0.2:2380,http://10.1.0.2:2380
//! ```

use super::HANDSHAKE_TIMEOUT;
use crate::entrance::Way;
use crate::identity::Url;
use base::{ClusterId, MemberId};
use std::fmt::Write as _;
use std::io;
use std::time::Duration;
use store::Member;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes of an answer: 64 members with all their URLs.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What a running cluster says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// Its members and their peer URLs.
    pub(crate) members: Vec<(MemberId, Vec<String>)>,
}

/// Why nobody told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    /// No connection, or it broke.
    #[error("cannot ask {url} who is in the cluster")]
    Io {
        /// Whom.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// It is not a member of ours that answers there.
    #[error("what {url} says about the cluster is not understood")]
    NotUnderstood {
        /// Who.
        url: String,
    },
}

/// The members, for one that joins.
pub(crate) fn render_members(cluster: ClusterId, members: &[Member]) -> String {
    let mut text = format!("cluster {cluster}\n");
    for member in members {
        let role = if member.is_learner {
            "learner"
        } else {
            "voter"
        };
        let urls = member.peer_urls.join(",");
        // A String takes everything.
        let _ = writeln!(text, "member {} {role} {urls} {}", member.id, member.name);
    }
    text
}

fn parse_members(text: &str) -> Option<Known> {
    let mut lines = text.lines();
    let cluster = lines.next()?.strip_prefix("cluster ")?;
    let cluster = ClusterId(u64::from_str_radix(cluster, 16).ok()?);
    let mut members = Vec::new();
    for line in lines {
        let mut words = line.strip_prefix("member ")?.splitn(4, ' ');
        let id = MemberId(u64::from_str_radix(words.next()?, 16).ok()?);
        let _role = words.next()?;
        let urls = words.next()?.split(',').map(str::to_owned).collect();
        members.push((id, urls));
    }
    Some(Known { cluster, members })
}

/// Asks the member at `url`.
pub(crate) async fn ask_members(url: &Url, way: &Way) -> Result<Known, JoinError> {
    let failed = |source| JoinError::Io {
        url: url.to_string(),
        source,
    };
    let asked = tokio::time::timeout(HANDSHAKE_TIMEOUT, ask(url, way, "/members")).await;
    let text = asked
        .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
        .map_err(failed)?;
    let not_understood = || JoinError::NotUnderstood {
        url: url.to_string(),
    };
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(not_understood)?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(not_understood());
    }
    parse_members(body).ok_or_else(not_understood)
}

/// Asks the member at `url` for the cluster's apply version: 0 where there is no such page, since former builds have none.
/// Nothing when no answer comes: then nothing is known.
pub(crate) async fn ask_apply_version(url: &Url, way: &Way) -> Option<u16> {
    match fetch(url, way, "/apply-version", HANDSHAKE_TIMEOUT).await? {
        (200, body) => body.trim_end().parse().ok(),
        (404, _) => Some(0),
        _ => None,
    }
}

/// Asks the member at `url` for a page of its peer port. Nothing when it does not answer, or has no such page.
pub(crate) async fn ask_page(
    url: &Url,
    way: &Way,
    page: &str,
    patience: Duration,
) -> Option<String> {
    match fetch(url, way, page, patience).await? {
        (200, body) => Some(body),
        _ => None,
    }
}

/// The status and the body of a page.
async fn fetch(url: &Url, way: &Way, page: &str, patience: Duration) -> Option<(u16, String)> {
    let asked = tokio::time::timeout(patience, ask(url, way, page)).await;
    read_page(&asked.ok()?.ok()?)
}

fn read_page(text: &str) -> Option<(u16, String)> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    Some((status.parse().ok()?, body.to_owned()))
}

async fn ask(url: &Url, way: &Way, page: &str) -> io::Result<String> {
    let mut socket = way.connect(url).await?;
    let request = format!("GET {page} HTTP/1.1\r\nHost: {}\r\n\r\n", url.host());
    socket.write_all(request.as_bytes()).await?;
    socket.flush().await?;
    let mut text = String::new();
    socket
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut text)
        .await?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_is_another_thing_than_no_answer() {
        let page = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n4\n");
        assert_eq!(read_page(&page("200 OK")), Some((200, "4\n".to_owned())));
        assert_eq!(read_page(&page("404 Not Found")).map(|it| it.0), Some(404));
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 2\r\n\r\n",
            "ICY 200\r\n\r\n",
        ] {
            assert_eq!(read_page(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_said_about_the_members_is_understood() {
        let member = |id, name: &str, urls: &[&str]| Member {
            id: MemberId(id),
            name: name.to_owned(),
            peer_urls: urls.iter().map(|url| url.to_string()).collect(),
            client_urls: Vec::new(),
            is_learner: id == 2,
        };
        let members = [
            member(1, "a name", &["http://a:1"]),
            member(2, "", &["http://b:1", "http://b:2"]),
        ];
        let text = render_members(ClusterId(0xabc), &members);
        let start = "cluster abc\nmember 1 voter http://a:1 a name\nmember 2 learner http://b:1,";
        assert!(text.starts_with(start), "{text}");
        let known = parse_members(&text).expect("our own words");
        assert_eq!(known.cluster, ClusterId(0xabc));
        assert_eq!(known.members[1].1, ["http://b:1", "http://b:2"]);
        for bad in [
            "",
            "cluster x",
            "cluster 1\nmember",
            "cluster 1\nmember 1 voter",
        ] {
            assert_eq!(parse_members(bad), None, "{bad:?}");
        }
    }
}
