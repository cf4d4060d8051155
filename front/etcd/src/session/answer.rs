//! From what the member found out to the bytes that the client gets.

use super::plan::Query;
use crate::apply::alarms;
use crate::auth::{self, Caller, Needs, Verb};
use crate::backup::hash_kv;
use crate::header::HeaderParts;
use crate::pb;
use crate::proto::etcdserverpb as pbs;
use crate::range::{self, RangeAnswer};
use crate::read_only::TxnAnswer;
use crate::status::{Code, Refusal, Status};
use base::{Index, LeaseId, MemberId, Revision};
use bytes::Bytes;
use prost::Message;
use store::{KeyRange, Outcome, RangeEnd, State};

/// Keys up to which a range is answered at once. A thousand records of 256 B take about 0.1 ms; beyond
/// that the answer is made in steps, so that others get their turn.
const ROWS_AT_ONCE_MAX: u64 = 1000;

/// An answer, or the way to one.
pub enum Reply {
    /// The whole answer.
    Whole(Bytes),
    /// A long one: ask it for its steps, and do other work in between.
    Steps(Box<Steps>),
}

/// A long answer.
pub enum Steps {
    /// A range.
    Range(RangeAnswer),
    /// A transaction that reads.
    Txn(TxnAnswer),
}

impl Steps {
    /// Goes on for at most `rows` records (at least one); the answer when it is complete, or why there is none. After that
    /// there is nothing left to ask for.
    pub fn step(&mut self, rows: usize) -> Option<Result<Bytes, Status>> {
        match self {
            Steps::Range(range) => range.step(rows).map(Ok),
            Steps::Txn(txn) => txn.step(rows),
        }
    }
}

/// Answers a read from `state` to whoever asks: [`answer_as`], where nobody has said who they are.
///
/// # Errors
/// As [`answer_as`].
pub fn answer(state: &State, query: &Query, header: &HeaderParts) -> Result<Reply, Status> {
    answer_as(state, &Ok(None), query, header)
}

/// Answers a read from `state`, if `caller` may read it in that very state.
///
/// The two hashes read every retained version; a driver that has other work gives them (with a clone of
/// the state) to a thread that has time.
///
/// # Errors
/// The caller may not read it, or the revision is compacted or in the future.
pub fn answer_as(
    state: &State,
    caller: &Caller,
    query: &Query,
    header: &HeaderParts,
) -> Result<Reply, Status> {
    if auth::is_enabled(state) {
        let mut needs = Needs::of_query(query)?;
        if *query == Query::Leases {
            // Which leases there are is told to whoever may read all that hangs on them, as in etcd.
            needs
                .leases
                .extend(state.leases().map(|lease| (lease.id, Verb::Read)));
        }
        auth::permit_caller(state, caller, &needs)?;
    }
    let revision = state.revision();
    let body = match query {
        Query::Range(range) => {
            if is_long(state, &range.range, range.options.limit) {
                let steps = RangeAnswer::begin(state, range, header)?;
                return Ok(Reply::Steps(Box::new(Steps::Range(steps))));
            }
            return range::answer(state, range, header).map(Reply::Whole);
        }
        Query::Txn(message) => {
            let mut steps = TxnAnswer::begin(state, message, header)?;
            if steps
                .ranges()
                .any(|range| is_long(state, &range.range, range.options.limit))
            {
                return Ok(Reply::Steps(Box::new(Steps::Txn(steps))));
            }
            loop {
                if let Some(answer) = steps.step(usize::MAX) {
                    return answer.map(Reply::Whole);
                }
            }
        }
        Query::Leases => leases(state),
        Query::Alarms(kind) => {
            let mut body = Vec::new();
            let wanted = alarms::alarms(state).filter(|a| kind.is_none_or(|kind| a.kind == kind));
            wanted.for_each(|alarm| alarm.write(&mut body, 2));
            body
        }
        Query::Members => return Ok(Reply::Whole(answer_members(state, header))),
        Query::Hash => {
            let hash = hash_kv(state, Revision(0)).map_err(Refusal::from)?;
            let mut body = Vec::new();
            pb::uint(&mut body, 2, u64::from(hash.hash));
            body
        }
        Query::HashKv(at) => {
            let at = Revision(u64::try_from(*at).unwrap_or(0));
            let hash = hash_kv(state, at).map_err(Refusal::from)?;
            let mut body = Vec::new();
            pb::uint(&mut body, 2, u64::from(hash.hash));
            pb::uint(&mut body, 3, hash.compact_revision as u64);
            pb::uint(&mut body, 4, hash.hash_revision.0);
            body
        }
        Query::AuthStatus => auth::answer_status(state),
        Query::User(name) => auth::answer_user(state, name)?,
        Query::Users => auth::answer_users(state),
        Query::Role(name) => auth::answer_role(state, name)?,
        Query::Roles => auth::answer_roles(state),
    };
    Ok(Reply::Whole(header.before(revision, &body)))
}

fn is_long(state: &State, range: &KeyRange, limit: i64) -> bool {
    if range.end == RangeEnd::Single || (1..=ROWS_AT_ONCE_MAX as i64).contains(&limit) {
        return false;
    }
    let count = state.root(crate::ROOT).count(range, None);
    count.is_ok_and(|count| count > ROWS_AT_ONCE_MAX)
}

fn leases(state: &State) -> Vec<u8> {
    let mut body = Vec::new();
    for lease in state.leases() {
        pb::nested(&mut body, 2, |out| pb::uint(out, 1, lease.id.0 as u64));
    }
    body
}

/// Answers what went through the log. `revision` is the store's right behind the command.
///
/// # Errors
/// The refusal that the apply half decided.
pub fn answer_outcome(
    outcome: &Outcome,
    revision: Revision,
    header: &HeaderParts,
) -> Result<Bytes, Status> {
    if outcome.is_done() {
        return Ok(header.before(revision, &outcome.body));
    }
    match Refusal::of_number(outcome.status) {
        Some(refusal) => Err(refusal.into()),
        None => Err(Status::new(
            Code::Unknown,
            format!(
                "quorate: refused with {}, which this member does not know",
                outcome.status
            ),
        )),
    }
}

/// Answers `LeaseTimeToLive`. `remaining_ms` is what the leader says is left; nothing when it knows no
/// such lease, which is no error: the time left is then −1.
pub fn answer_lease_time_to_live(
    state: &State,
    lease: LeaseId,
    keys: bool,
    remaining_ms: Option<u64>,
    header: &HeaderParts,
) -> Bytes {
    let mut body = Vec::new();
    pb::uint(&mut body, 2, lease.0 as u64);
    match (remaining_ms, state.lease(lease)) {
        (Some(remaining_ms), Some(granted)) => {
            pb::uint(&mut body, 3, remaining_ms / 1000);
            pb::uint(&mut body, 4, granted.ttl_s as u64);
            if keys {
                for (root, key) in state.lease_keys(lease) {
                    if root == crate::ROOT {
                        pb::message(&mut body, 5, key.len());
                        body.extend_from_slice(&key);
                    }
                }
            }
        }
        _ => pb::uint(&mut body, 3, -1i64 as u64),
    }
    header.before(state.revision(), &body)
}

/// Answers `Authenticate`: the token that the client shows from now on.
pub fn answer_authenticate(token: &str, revision: Revision, header: &HeaderParts) -> Bytes {
    let mut body = Vec::new();
    pb::bytes(&mut body, 2, token.as_bytes());
    header.before(revision, &body)
}

/// What a member knows of itself, for `Status`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemberStatus {
    /// The leader, or nobody.
    pub leader: MemberId,
    /// The last index known to be committed.
    pub committed: Index,
    /// The last index applied.
    pub applied: Index,
    /// Whether this member only listens.
    pub is_learner: bool,
    /// Bytes that the store may take; 0 for no bound.
    pub quota_bytes: u64,
    /// What else is wrong, in words for people.
    pub errors: Vec<String>,
}

/// Answers `Status`.
pub fn answer_status(state: &State, status: &MemberStatus, header: &HeaderParts) -> Bytes {
    let mut errors = Vec::new();
    if status.leader.is_none() {
        errors.push(Refusal::NoLeader.message().to_owned());
    }
    // The text is that of etcd's protobuf printer, trailing blank and all.
    errors.extend(alarms::alarms(state).map(|alarm| alarm_words(&alarm)));
    errors.extend(status.errors.iter().cloned());
    let body = pbs::StatusResponse {
        header: None,
        version: crate::ETCD_VERSION.to_owned(),
        db_size: state.bytes_total() as i64,
        leader: status.leader.0,
        raft_index: status.committed.0,
        raft_term: header.term.0,
        raft_applied_index: status.applied.0,
        errors,
        db_size_in_use: state.bytes_in_use() as i64,
        is_learner: status.is_learner,
        storage_version: crate::STORAGE_VERSION.to_owned(),
        db_size_quota: status.quota_bytes as i64,
        downgrade_info: Some(pbs::DowngradeInfo::default()),
    };
    header.before(state.revision(), &body.encode_to_vec())
}

fn write_members(out: &mut Vec<u8>, field: u32, members: &[store::Member]) {
    for member in members {
        let message = wire_member(member).encode_to_vec();
        pb::message(out, field, message.len());
        out.extend_from_slice(&message);
    }
}

fn wire_member(member: &store::Member) -> pbs::Member {
    pbs::Member {
        id: member.id.0,
        name: member.name.clone(),
        peer_ur_ls: member.peer_urls.clone(),
        client_ur_ls: member.client_urls.clone(),
        is_learner: member.is_learner,
    }
}

/// Answers `MemberList`, `MemberRemove`, `MemberUpdate` and `MemberPromote`: all members as of `state`, and
/// no revision.
pub fn answer_members(state: &State, header: &HeaderParts) -> Bytes {
    let mut body = Vec::new();
    write_members(&mut body, 2, &state.members());
    header.before(Revision(0), &body)
}

/// Answers `MemberAdd`: the member that was added, and all of them.
pub fn answer_member_add(state: &State, added: MemberId, header: &HeaderParts) -> Bytes {
    let mut body = Vec::new();
    if let Some(member) = state.member(added) {
        write_members(&mut body, 2, &[member]);
    }
    write_members(&mut body, 3, &state.members());
    header.before(Revision(0), &body)
}

/// What the health service says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// The member answers.
    Serving,
    /// It does not, for now.
    NotServing,
    /// Nobody knows the service that was asked about (in a `Watch`; a `Check` is answered `NotFound`).
    ServiceUnknown,
}

/// Answers the health service's `Check`, and each change to its `Watch`.
pub fn answer_health(health: Health) -> Bytes {
    let status: u8 = match health {
        Health::Serving => 1,
        Health::NotServing => 2,
        Health::ServiceUnknown => 3,
    };
    Bytes::copy_from_slice(&[0x08, status])
}

/// What `Check` answers about a service that nobody knows.
pub fn unknown_service() -> Status {
    Status::new(Code::NotFound, "unknown service")
}

/// An alarm as Go prints its message: without the number that is 0.
fn alarm_words(alarm: &alarms::Alarm) -> String {
    match alarm.member.0 {
        0 => format!("alarm:{} ", alarm.kind.name()),
        member => format!("memberID:{member} alarm:{} ", alarm.kind.name()),
    }
}
