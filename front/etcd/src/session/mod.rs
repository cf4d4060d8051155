//! The session half: what a client's request means for the member, and what it is answered.
//!
//! ```text
//!   path, bytes ──▶ Session::plan ──▶ Plan::Propose  ──▶ log ──▶ Outcome ──▶ answer_outcome ──▶ bytes
//!                        │            Plan::Read     ──▶ ReadIndex, or none ──▶ answer ──────▶ bytes
//!                        │            Plan::Change … ──▶ the member          ──▶ answer_… ───▶ bytes
//!                        └─▶ Status (refused at once)
//! ```
//!
//! Everything that can be refused without looking at state is refused here: limits, malformed bytes,
//! wrong arguments. The driver (`edge/server`) moves bytes and waits; it decides nothing.

mod answer;
mod cluster;
mod plan;

pub use answer::{
    Health, MemberStatus, Reply, Steps, answer, answer_as, answer_authenticate, answer_health,
    answer_lease_time_to_live, answer_member_add, answer_members, answer_outcome, answer_status,
    unknown_service,
};
pub use cluster::{ClusterOp, LEARNERS_MAX, check_cluster_op};
pub use plan::{
    Credentials, Limits, Plan, Query, Read, Session, alarm_request, compaction_request,
    disarm_request, is_unnamed_grant,
};
