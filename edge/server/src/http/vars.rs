//! `/debug/vars`: what a member knows of itself in the shape of Go's `expvar`, by etcd's names.
//!
//! Only what is true here: there is no `memstats` because there is no collector, and no `cmdline`, because a command
//! line may carry secrets.

use crate::grpc::Page;
use crate::member::Member;
use rustix::process::{Resource, getrlimit};
use serde_json::json;

pub(super) fn page(member: &Member) -> Page {
    let status = member.status();
    let role = match (status.is_leader, status.is_learner) {
        (true, _) => "StateLeader",
        // As in etcd, a learner is a follower to raft.
        (false, _) => "StateFollower",
    };
    let vars = json!({
        "file_descriptor_limit": getrlimit(Resource::Nofile).current,
        "raft.status": {
            "id": status.member.to_string(),
            "term": status.term.0,
            "commit": status.commit.0,
            "lead": status.leader.to_string(),
            "raftState": role,
            "applied": status.applied.index.0,
        },
    });
    let mut page = Page::json(200, format!("{vars}\n"));
    page.content_type = "application/json; charset=utf-8";
    page
}
