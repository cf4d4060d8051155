//! Whether this member is well: `/health`, and the probes `/livez` and `/readyz`, in etcd's words.
//!
//! ```text
//!   /health                no alarm, a leader, and a read of a majority     {"health":"true","reason":""}
//!   /livez                 serializable_read                                ok
//!   /readyz                data_corruption, serializable_read,              ok
//!                          linearizable_read, non_learner
//!   /readyz/non_learner    one of them alone
//! ```
//!
//! `?verbose` tells every look, `?exclude=NAME` leaves one out. A look that fails answers 503 and tells them all. What
//! was looked at is never kept: each question is asked anew, and a read waits as long as a client's would.

use super::Front;
use crate::grpc::Page;
use etcd::{AlarmKind, Refusal, Status};
use std::fmt::Write as _;
use tracing::{debug, error, warn};

/// One look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Check {
    /// Nobody has found that the data cannot be trusted.
    DataCorruption,
    /// This member answers from what it has.
    SerializableRead,
    /// A majority vouches for what it answers.
    LinearizableRead,
    /// It votes.
    NonLearner,
}

/// Whether this process is to be started anew.
const LIVEZ: &[Check] = &[Check::SerializableRead];

/// Whether clients are to be sent here.
const READYZ: &[Check] = &[
    Check::DataCorruption,
    Check::SerializableRead,
    Check::LinearizableRead,
    Check::NonLearner,
];

impl Check {
    const fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }
}

/// A probe: all its looks, or the one that the path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Probe {
    /// `livez` or `readyz`.
    page: &'static str,
    checks: &'static [Check],
}

impl Probe {
    /// The probe that a path names.
    pub(crate) fn of_path(path: &str) -> Option<Probe> {
        for (page, checks) in [("livez", LIVEZ), ("readyz", READYZ)] {
            let Some(rest) = path.strip_prefix('/').and_then(|it| it.strip_prefix(page)) else {
                continue;
            };
            if rest.is_empty() {
                return Some(Probe { page, checks });
            }
            let name = rest.strip_prefix('/')?;
            let at = checks.iter().position(|check| check.name() == name)?;
            let checks = &checks[at..=at];
            return Some(Probe { page, checks });
        }
        None
    }
}

/// What a query says about `name`: every value, in order.
fn asked<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = query
        .split('&')
        .map(|part| part.split_once('=').unwrap_or((part, "")));
    parts
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| value)
}

impl Front {
    /// Whether a client would be served: no alarm, a leader, and a read of a majority (or, with `serializable=true`, of
    /// this member) works.
    pub(crate) async fn health_page(&self, query: &str) -> Page {
        let reason = self.unwell(query).await;
        let metrics = &self.0.metrics;
        let Some(reason) = reason else {
            metrics.healthy.inc();
            debug!("status-code" = 200, "/health OK");
            return Page::text(200, "{\"health\":\"true\",\"reason\":\"\"}");
        };
        metrics.unhealthy.inc();
        let reason = serde_json::Value::from(reason);
        let body = format!("{{\"health\":\"false\",\"reason\":{reason}}}");
        warn!(output = body, "status-code" = 503, "/health error");
        Page::text(503, body + "\n")
    }

    async fn unwell(&self, query: &str) -> Option<String> {
        let excludes = |name: &str| asked(query, "exclude").any(|it| it == name);
        let alarms: Vec<etcd::Alarm> = self.0.with_state(|state| etcd::alarms(state).collect());
        let mut counted = alarms.iter().filter(|alarm| !excludes(alarm.kind.name()));
        if let Some(alarm) = counted.next() {
            warn!(alarm = alarm.kind.name(), member = %alarm.member, "serving /health false due to an alarm");
            return Some(format!("ALARM {}", alarm.kind.name()));
        }
        let is_local = asked(query, "serializable").last() == Some("true");
        if !is_local && self.0.leader().is_none() {
            warn!("serving /health false; no leader");
            return Some("RAFT NO LEADER".to_owned());
        }
        let read = match is_local {
            true => self.local_read(),
            false => self.0.read_index().await,
        };
        let status = read.err()?;
        warn!(reason = %status.message, "serving /health false; read fails");
        Some(format!("RANGE ERROR:{}", status.message))
    }

    fn local_read(&self) -> Result<(), Status> {
        match self.0.is_stopped() {
            true => Err(Refusal::Stopped.into()),
            false => Ok(()),
        }
    }

    /// The answer of a probe.
    pub(crate) async fn probe_page(&self, probe: Probe, query: &str) -> Page {
        let excludes = |check: Check| asked(query, "exclude").any(|it| it == check.name());
        let (mut told, mut is_well) = (String::new(), true);
        for check in probe
            .checks
            .iter()
            .copied()
            .filter(|check| !excludes(*check))
        {
            let found = self.look_at(check).await;
            let name = check.name();
            self.0.metrics.checked(probe.page, name, found.is_ok());
            // Into a string nothing can fail.
            let _ = match found {
                Ok(()) => writeln!(told, "[+]{name} ok"),
                Err(why) => {
                    is_well = false;
                    writeln!(told, "[-]{name} failed: {why}")
                }
            };
        }
        if !is_well {
            error!(
                path = probe.page,
                reason = told,
                "status-code" = 503,
                "Health check error"
            );
            return Page::text(503, told + "\n");
        }
        let is_verbose = asked(query, "verbose").next().is_some();
        Page::text(
            200,
            if is_verbose {
                told + "ok\n"
            } else {
                "ok\n".to_owned()
            },
        )
    }

    async fn look_at(&self, check: Check) -> Result<(), String> {
        let words = |status: Status| status.message.to_string();
        match check {
            Check::DataCorruption => {
                let is_corrupt = self.0.with_state(|state| {
                    etcd::alarms(state).any(|alarm| alarm.kind == AlarmKind::Corrupt)
                });
                match is_corrupt {
                    true => Err("alarm activated: CORRUPT".to_owned()),
                    false => Ok(()),
                }
            }
            Check::SerializableRead => self.local_read().map_err(words),
            Check::LinearizableRead => self.0.read_index().await.map_err(words),
            Check::NonLearner => match self.0.status().is_learner {
                true => Err("not supported for learner".to_owned()),
                false => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_probe_or_one_of_its_looks() {
        let checks =
            |path: &str| Probe::of_path(path).map(|probe| (probe.page, probe.checks.len()));
        assert_eq!(checks("/livez"), Some(("livez", 1)));
        assert_eq!(checks("/readyz"), Some(("readyz", 4)));
        assert_eq!(checks("/livez/serializable_read"), Some(("livez", 1)));
        let one = Probe::of_path("/readyz/non_learner").map(|probe| probe.checks);
        assert_eq!(one, Some(&[Check::NonLearner][..]));
        for path in [
            "/livez/",
            "/readyz/",
            "/livez/non_learner",
            "/readyz/nope",
            "/readyzz",
            "/",
            "",
            "/readyz/non_learner/x",
        ] {
            assert_eq!(checks(path), None, "{path}");
        }
    }

    #[test]
    fn a_query_may_say_a_name_several_times() {
        let values = |query, name| asked(query, name).collect::<Vec<_>>();
        assert_eq!(values("exclude=A&verbose&exclude=B", "exclude"), ["A", "B"]);
        assert_eq!(values("exclude=A&verbose&exclude=B", "verbose"), [""]);
        assert!(values("", "verbose").is_empty());
    }
}
