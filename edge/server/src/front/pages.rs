//! The plain pages: `/version` and `/status`; `health` has the others. Which path is which page: `crate::http::routes`.

use super::Front;
use crate::grpc::Page;

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

/// `3.6.0` of `3.6.16`.
pub(crate) fn cluster_version() -> String {
    let mut parts = etcd::ETCD_VERSION.split('.');
    let (major, minor) = (parts.next().unwrap_or("3"), parts.next().unwrap_or("0"));
    format!("{major}.{minor}.0")
}
