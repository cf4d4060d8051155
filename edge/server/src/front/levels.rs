//! Levels of consistency through etcd's door: a word of metadata names one, and words beside the answer say what it was.
//!
//! ```text
//!   quorate-consistency: session:s1-9f3a02c1-1f4    →    quorate-level: session
//!                        bounded:100ms                   quorate-how: local
//!                        lease · sequential              quorate-staleness-ms: 12
//!                        linearizable                    quorate-revision: 501
//!                                                        quorate-time: 2026-11-29T08:00:00.123Z
//!                                                        quorate-token: s1-9f3a02c1-1f5
//! ```
//!
//! Without the word etcd's own flags mean what they mean in etcd, and nothing is said beside the answer. With it, it
//! decides. A write that brings the word is answered with its token.

use super::Front;
use crate::native::Granted;
use api::{Names as _, SessionToken};
use base::ClusterId;
use bytes::Bytes;
use etcd::auth::Caller;
use etcd::{Code, Read, Status};
use http::{HeaderMap, HeaderName, HeaderValue};
use native::{Fault, Freshness, Level, header};
use std::time::Duration;

const CONSISTENCY: &str = "quorate-consistency";

/// Bytes of what a client said that it is told again: enough to see its mistake.
const ECHO_BYTES_MAX: usize = 64;

/// The level that the client names, if it names one.
pub(super) fn wanted(metadata: &HeaderMap, cluster: ClusterId) -> Result<Option<Level>, Status> {
    let Some(text) = metadata.get(CONSISTENCY) else {
        return Ok(None);
    };
    let level = level(text.to_str().unwrap_or(""), cluster);
    level.map(Some).map_err(|words| {
        let text = format!("quorate: {CONSISTENCY}: {words}");
        Status::new(Code::InvalidArgument, text)
    })
}

fn level(text: &str, cluster: ClusterId) -> Result<Level, String> {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    match (name, value) {
        ("linearizable", "") => Ok(Level::Linearizable),
        ("lease", "") => Ok(Level::Lease),
        ("sequential", "") => Ok(Level::Sequential),
        ("bounded", value) => {
            let ms = value.strip_suffix("ms").and_then(|ms| ms.parse().ok());
            let ms = ms.filter(|ms| *ms > 0);
            let ms = ms.ok_or("a bound is said in milliseconds, bounded:100ms")?;
            Ok(Level::Bounded(Duration::from_millis(ms)))
        }
        ("session", token) => {
            let token: SessionToken = match token.parse() {
                Ok(token) => token,
                Err(error) => return Err(error.to_string()),
            };
            match token.is_of(cluster) {
                true => Ok(Level::Session(token)),
                false => Err("the session token is of another cluster".to_owned()),
            }
        }
        _ => Err(format!(
            "\"{}\" is none of linearizable, lease, bounded:…ms, session:TOKEN, sequential",
            text[..text.floor_char_boundary(ECHO_BYTES_MAX)].escape_debug()
        )),
    }
}

impl Front {
    /// Reads at the level that the client named.
    pub(super) async fn read_at(
        &self,
        read: &Read,
        level: Level,
        who: &Caller,
    ) -> Result<(Bytes, Freshness), Status> {
        let granted = self.grant_at(level).await?;
        let answer = self.look(read, who).await?;
        let fresh = self.worth(&granted)?;
        Ok((answer, fresh))
    }

    /// Waits until the published state may be read at the level that the client named.
    pub(super) async fn grant_at(&self, level: Level) -> Result<Granted, Status> {
        let patience = self.0.config.request_timeout();
        let granted = self.0.fresh(level, patience).await;
        granted.map_err(in_etcds_words)
    }

    /// Whether what was read may be said, and how fresh it is.
    pub(super) fn worth(&self, granted: &Granted) -> Result<Freshness, Status> {
        self.0.vouch(granted).map_err(in_etcds_words)
    }

    /// What is said beside the answer. What is no read went through the log.
    pub(super) fn told(&self, fresh: Option<Freshness>) -> HeaderMap {
        let fresh = fresh.unwrap_or(Freshness::LOG);
        let parts = self.0.native_header();
        let told = self
            .0
            .with_state(|state| header(&parts, &fresh, state, state.revision()));
        let mut words = HeaderMap::with_capacity(6);
        let mut say = |name, text: String| {
            if let Ok(value) = HeaderValue::try_from(text) {
                words.insert(HeaderName::from_static(name), value);
            }
        };
        say("quorate-level", fresh.level.name());
        say("quorate-how", fresh.how.name());
        if let Some(ms) = told.staleness_ms {
            say("quorate-staleness-ms", ms.to_string());
        }
        say("quorate-revision", told.revision.to_string());
        say("quorate-time", told.time);
        say("quorate-token", told.session);
        words
    }
}

/// The native API's error through etcd's door: gRPC's code and the words.
fn in_etcds_words(fault: Fault) -> Status {
    let code = match fault.code().grpc() {
        api::Grpc::ResourceExhausted => Code::ResourceExhausted,
        api::Grpc::FailedPrecondition => Code::FailedPrecondition,
        api::Grpc::InvalidArgument => Code::InvalidArgument,
        api::Grpc::OutOfRange => Code::OutOfRange,
        api::Grpc::PermissionDenied => Code::PermissionDenied,
        api::Grpc::Unauthenticated => Code::Unauthenticated,
        _ => Code::Unavailable,
    };
    let text = format!("quorate: {}: {}", fault.0.code, fault.0.message);
    Status::new(code, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_named_and_nothing_else_is_taken() {
        let cluster = ClusterId(0x9f3a_02c1);
        let token = SessionToken::new(cluster, base::Revision(500));
        for (text, expected) in [
            ("linearizable", Level::Linearizable),
            ("lease", Level::Lease),
            ("sequential", Level::Sequential),
            ("bounded:100ms", Level::Bounded(Duration::from_millis(100))),
            ("session:s1-9f3a02c1-1f4", Level::Session(token)),
        ] {
            assert_eq!(level(text, cluster), Ok(expected));
        }
        for wrong in [
            "",
            "Lease",
            "lease:1",
            "bounded",
            "bounded:0ms",
            "bounded:1s",
            "bounded:-1ms",
            "session",
            "session:s1-00000001-1f4",
            "eventual",
        ] {
            assert!(level(wrong, cluster).is_err(), "{wrong}");
        }
        for long in [
            "x".repeat(10_000),
            format!("session:{}", "x".repeat(10_000)),
        ] {
            let told = level(&long, cluster).expect_err("no level");
            assert!(told.len() < 300, "{told}");
        }
    }
}
