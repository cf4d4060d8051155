//! Session tokens: how far somebody has seen, as a short text that travels.
//!
//! ```text
//!   s1-9f3a02c1-1f4
//!   │      │     └── the newest revision that was seen, hexadecimal
//!   │      └──────── which cluster: the lower half of its id
//!   └─────────────── the version of this text
//! ```
//!
//! A read at a member that has applied less waits, or says so. Since all writes of all fronts share one counter of
//! revisions, one number is enough, and the token is the same through every door. It is no secret and no proof: whoever
//! makes one up only waits for nothing. (Terry et al., "Session Guarantees for Weakly Consistent Replicated Data", 1994.)

use base::{ClusterId, Revision};
use std::fmt;
use std::str::FromStr;

/// How far somebody has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionToken {
    cluster: u32,
    revision: Revision,
}

/// The text is no session token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a session token looks like s1-9f3a02c1-1f4")]
pub struct NoToken;

impl SessionToken {
    /// The token of whoever has seen `revision` of `cluster`.
    pub fn new(cluster: ClusterId, revision: Revision) -> SessionToken {
        SessionToken {
            cluster: cluster.0 as u32,
            revision,
        }
    }

    /// Whether it is of this cluster.
    pub fn is_of(self, cluster: ClusterId) -> bool {
        self.cluster == cluster.0 as u32
    }

    /// What was seen.
    pub fn revision(self) -> Revision {
        self.revision
    }

    /// What has been seen by whoever holds both: the later of two tokens of one cluster.
    pub fn join(self, other: SessionToken) -> SessionToken {
        match other.cluster == self.cluster && other.revision > self.revision {
            true => other,
            false => self,
        }
    }
}

impl fmt::Display for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s1-{:08x}-{:x}", self.cluster, self.revision.0)
    }
}

impl FromStr for SessionToken {
    type Err = NoToken;

    /// Reads what `Display` writes and nothing else.
    fn from_str(text: &str) -> Result<SessionToken, NoToken> {
        let mut parts = text.split('-');
        let (version, cluster, revision) = (parts.next(), parts.next(), parts.next());
        if version != Some("s1") || parts.next().is_some() {
            return Err(NoToken);
        }
        let number =
            |part: Option<&str>| u64::from_str_radix(part.ok_or(NoToken)?, 16).map_err(|_| NoToken);
        let token = SessionToken {
            cluster: u32::try_from(number(cluster)?).map_err(|_| NoToken)?,
            revision: Revision(number(revision)?),
        };
        (token.to_string() == text).then_some(token).ok_or(NoToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_has_one_text() {
        let token = SessionToken::new(ClusterId(0xabcd_9f3a_02c1), Revision(500));
        assert_eq!(token.to_string(), "s1-9f3a02c1-1f4");
        assert_eq!("s1-9f3a02c1-1f4".parse(), Ok(token));
        for bad in [
            "",
            "s1",
            "s2-9f3a02c1-1f4",
            "s1-9f3a02c1-01f4",
            "s1-9F3A02C1-1f4",
            "s1-9f3a02c1-1f4-",
            "s1-9f3a02c1-+1",
        ] {
            assert_eq!(bad.parse::<SessionToken>(), Err(NoToken), "{bad}");
        }
    }

    #[test]
    fn the_later_of_two_is_kept() {
        let cluster = ClusterId(7);
        let [one, two] = [1, 2].map(|n| SessionToken::new(cluster, Revision(n)));
        assert_eq!(one.join(two), two);
        assert_eq!(two.join(one), two);
        assert_eq!(one.join(SessionToken::new(ClusterId(8), Revision(9))), one);
    }
}
