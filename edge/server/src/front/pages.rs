//! The plain pages: `/health`, `/version` and `/status`. Which path is which page: `crate::http::routes`.

use super::Front;
use crate::grpc::Page;
use etcd::AlarmKind;
use std::time::Duration;

/// How long `/health` waits for a read.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

impl Front {
    pub(crate) fn version_page(&self) -> Page {
        Page::json(
            200,
            format!(
                "{{\"etcdserver\":\"{}\",\"etcdcluster\":\"{}\",\"storage\":\"{}\"}}",
                etcd::ETCD_VERSION,
                cluster_version(),
                etcd::STORAGE_VERSION
            ),
        )
    }

    /// Whether a client would be served: no alarm, and a read of a majority (or, with
    /// `serializable=true`, of this member) works.
    pub(crate) async fn health_page(&self, query: &str) -> Page {
        let asks = |wanted: &str| query.split('&').any(|part| part == wanted);
        let alarms: Vec<AlarmKind> = self
            .0
            .with_state(|state| etcd::alarms(state).map(|alarm| alarm.kind).collect());
        for kind in alarms {
            if !asks(&format!("exclude={}", kind.name())) {
                return unhealthy(&format!("ALARM {}", kind.name()));
            }
        }
        if self.0.leader().is_none() && !asks("serializable=true") {
            return unhealthy("RAFT NO LEADER");
        }
        if !asks("serializable=true") {
            let read = tokio::time::timeout(HEALTH_TIMEOUT, self.0.read_index()).await;
            match read {
                Ok(Ok(())) => {}
                Ok(Err(status)) => return unhealthy(&format!("RANGE ERROR:{}", status.message)),
                Err(_) => return unhealthy("RANGE ERROR:context deadline exceeded"),
            }
        }
        Page::json(200, "{\"health\":\"true\",\"reason\":\"\"}")
    }

    /// What this member says about itself; `quorate dev` reads it.
    pub(crate) fn status_page(&self) -> Page {
        let status = self.0.status();
        let role = match (status.is_leader, status.is_learner) {
            (true, _) => "leader",
            (_, true) => "learner",
            _ => "follower",
        };
        let body = format!(
            "{{\"member\":\"{}\",\"cluster\":\"{}\",\"role\":\"{role}\",\"leader\":\"{}\",\"term\":{},\
             \"commit\":{},\"applied\":{},\"digest\":\"{:016x}\",\"ready\":{},\"recovering\":{},\
             \"connected_voters\":{}}}",
            status.member,
            self.0.identity.cluster,
            status.leader,
            status.term,
            status.commit,
            status.applied.index,
            status.digest,
            self.0.is_ready(),
            status.is_recovering,
            self.0.connected_voters().len(),
        );
        Page::json(200, body)
    }
}

fn unhealthy(reason: &str) -> Page {
    let reason = reason.replace(['"', '\\'], "'");
    Page::json(
        503,
        format!("{{\"health\":\"false\",\"reason\":\"{reason}\"}}"),
    )
}

/// `3.6.0` of `3.6.16`.
fn cluster_version() -> String {
    let mut parts = etcd::ETCD_VERSION.split('.');
    let (major, minor) = (parts.next().unwrap_or("3"), parts.next().unwrap_or("0"));
    format!("{major}.{minor}.0")
}
