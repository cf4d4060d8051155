//! Locks and elections: etcd's recipes over keys, leases and transactions.
//!
//! ```text
//!   name + "/" + the lease in hexadecimal      one key for each contender
//!
//!     jobs/3a  created at 5   ◀─ first: it holds the lock, or leads
//!     jobs/77  created at 8        └─ waits for the end of jobs/3a
//!     jobs/12  created at 9             └─ waits for the end of jobs/77
//! ```
//!
//! A contender puts its key and waits for the end of the newest key that is older than its own: one ends, one
//! wakes. When none is older, it is the first. The revision at which its key was created only rises from holder
//! to holder: that is the *token* to fence with. etcd does the same in its server, with the client library that
//! users have (`clientv3/concurrency`), so contenders of both kinds stand in one line.
//!
//! This file knows what to write, who is first, and what to answer; it never waits. `edge/server` does, and
//! withdraws the key of whoever goes away while it waits.
//!
//! Invariants: no key can come before one that exists, because revisions only rise, so a contender that is
//! first in any state that has its key stays the first; whether its key still exists must be asked anew.

use crate::ROOT;
use crate::header::HeaderParts;
use crate::method::Method;
use crate::proto::etcdserverpb::{self as pbs, compare, request_op, response_op};
use crate::proto::mvccpb;
use crate::proto::{v3electionpb as elections, v3lockpb as locks};
use crate::scan::Malformed;
use crate::status::{Code, Refusal, Status};
use base::{LeaseId, Revision};
use bytes::Bytes;
use prost::Message;
use store::{KeyRange, Record, State};

/// Seconds that a lease lives which is granted for a contender that brings none: etcd's default of a session.
pub const SESSION_TTL_S: i64 = 60;

/// Bytes of the name of a lock or an election. A waiting call keeps its key and that of the one before it.
pub const NAME_BYTES_MAX: usize = 4096;

/// What a client asks of the lock or election service.
#[derive(Clone, PartialEq, Debug)]
pub enum Recipe {
    /// `Lock`, `Campaign`: stand in line, and answer when it is our turn.
    Contend(Entry),
    /// `Unlock`: delete the key, whoever's it is.
    Unlock(Bytes),
    /// `Proclaim`: a new value for the key of a leader.
    Proclaim(elections::LeaderKey, Bytes),
    /// `Resign`: delete the key of a leader.
    Resign(elections::LeaderKey),
    /// `Leader`: who leads now.
    Leader(Line),
    /// `Observe`: who leads, from now on.
    Observe(Line),
}

impl Recipe {
    /// Reads a request. What it keeps of `body` is copied, so a call that waits does not hold its request.
    ///
    /// # Errors
    /// Malformed bytes, a name that is too long, no leader or no key where one must be given.
    pub(crate) fn read(method: Method, body: &Bytes) -> Result<Recipe, Status> {
        Ok(match method {
            Method::Lock => {
                let request: locks::LockRequest = decode(body)?;
                let line = Line::of(&request.name)?;
                Recipe::Contend(Entry {
                    kind: Contest::Lock,
                    line,
                    value: Bytes::new(),
                    lease: LeaseId(request.lease),
                })
            }
            Method::Unlock => match decode::<locks::UnlockRequest>(body)?.key {
                // Nobody's key: said before it is asked who asks.
                key if key.is_empty() => return Err(told(Refusal::EmptyKey.into())),
                key => Recipe::Unlock(key),
            },
            Method::ElectionCampaign => {
                let request: elections::CampaignRequest = decode(body)?;
                let line = Line::of(&request.name)?;
                Recipe::Contend(Entry {
                    kind: Contest::Election,
                    line,
                    value: request.value,
                    lease: LeaseId(request.lease),
                })
            }
            Method::ElectionProclaim => {
                let request: elections::ProclaimRequest = decode(body)?;
                Recipe::Proclaim(leader(request.leader)?, request.value)
            }
            Method::ElectionResign => {
                let request: elections::ResignRequest = decode(body)?;
                Recipe::Resign(leader(request.leader)?)
            }
            Method::ElectionLeader => {
                Recipe::Leader(Line::of(&decode::<elections::LeaderRequest>(body)?.name)?)
            }
            Method::ElectionObserve => {
                Recipe::Observe(Line::of(&decode::<elections::LeaderRequest>(body)?.name)?)
            }
            _ => return Err(Refusal::Malformed.into()),
        })
    }
}

/// Whoever says to lead. That no key is named is said before it is asked who asks, unless there is no lease: whether
/// they may be granted one is asked first.
fn leader(leader: Option<elections::LeaderKey>) -> Result<elections::LeaderKey, Status> {
    let leader = leader.ok_or(Refusal::LeaderMissing)?;
    match leader.key.is_empty() && LeaseId(leader.lease) != LeaseId::NONE {
        true => Err(told(Refusal::EmptyKey.into())),
        false => Ok(leader),
    }
}

fn decode<M: Message + Default>(body: &Bytes) -> Result<M, Refusal> {
    M::decode(body.clone()).map_err(|_| Refusal::from(Malformed))
}

/// What is contended for. It decides only how the answers look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contest {
    /// A lock.
    Lock,
    /// An election.
    Election,
}

/// All contenders of one name: the keys that begin with the name and a slash.
///
/// So the contenders of `a/b` stand in the line of `a` as well, as in etcd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    prefix: Bytes,
}

impl Line {
    fn of(name: &[u8]) -> Result<Line, Refusal> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Refusal::NameTooLong);
        }
        let prefix = [name, b"/"].concat().into();
        Ok(Line { prefix })
    }

    /// Their keys.
    pub fn range(&self) -> KeyRange {
        KeyRange::prefix(self.prefix.clone())
    }

    fn name(&self) -> Bytes {
        self.prefix.slice(..self.prefix.len() - 1)
    }

    /// The key of the first in line: the leader of an election.
    pub fn first(&self, state: &State) -> Option<Record> {
        let line = state.root(ROOT).range(&self.range(), None).ok()?;
        line.min_by_key(|record| record.create_revision()).cloned()
    }

    /// The `WatchRequest` for what happens in the line after `revision`.
    pub fn watch_request(&self, revision: Revision) -> Bytes {
        let range = self.range();
        let end = match range.end {
            store::RangeEnd::Before(end) => end,
            store::RangeEnd::Single => Bytes::new(),
            store::RangeEnd::Unbounded => Bytes::from_static(&[0]),
        };
        watch_request(range.start, end, revision)
    }
}

/// A wish to stand in a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    kind: Contest,
    line: Line,
    value: Bytes,
    /// The lease that the contender brings, or none.
    pub lease: LeaseId,
}

impl Entry {
    /// Where it wants to stand.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The `TxnRequest` that puts the contender's key, or finds it there. `lease` is the one it brought, or
    /// one that was granted for it.
    pub fn join(&self, lease: LeaseId) -> Bytes {
        let key = self.key(lease);
        let found = pbs::RangeRequest {
            key: key.clone(),
            ..Default::default()
        };
        txn(
            created(&key, 0),
            put(&key, &self.value, lease),
            Some(request_op::Request::RequestRange(found)),
        )
    }

    /// Reads the answer to [`Entry::join`].
    ///
    /// # Errors
    /// It is not an answer to that.
    pub fn joined(&self, lease: LeaseId, answer: Bytes) -> Result<Joined, Status> {
        let odd = || {
            Status::new(
                Code::Internal,
                "quorate: an answer of another kind to a contender",
            )
        };
        let answer = pbs::TxnResponse::decode(answer).map_err(|_| odd())?;
        let header = answer.header.ok_or_else(odd)?;
        let mut revision = header.revision;
        let mut is_outdated = false;
        if !answer.succeeded {
            let found = answer
                .responses
                .into_iter()
                .next()
                .and_then(|op| op.response);
            let Some(response_op::Response::ResponseRange(found)) = found else {
                return Err(odd());
            };
            let found = found.kvs.into_iter().next().ok_or_else(odd)?;
            revision = found.create_revision;
            is_outdated = self.kind == Contest::Election && found.value != self.value;
        }
        Ok(Joined {
            contender: Contender {
                kind: self.kind,
                line: self.line.clone(),
                key: self.key(lease),
                created: Revision(revision as u64),
                lease,
            },
            header,
            is_new: answer.succeeded,
            is_outdated,
        })
    }

    /// The `TxnRequest` that gives a candidate which was there already the value of this entry.
    pub fn proclaim(&self, contender: &Contender) -> Bytes {
        let key = &contender.key;
        let put = put(key, &self.value, contender.lease);
        txn(created(key, contender.created.0 as i64), put, None)
    }

    /// The key of a contender with this lease.
    pub(crate) fn key(&self, lease: LeaseId) -> Bytes {
        let hexadecimal = match lease.0 {
            lease @ 0.. => format!("{lease:x}"),
            lease => format!("-{:x}", lease.unsigned_abs()),
        };
        [&self.line.prefix[..], hexadecimal.as_bytes()]
            .concat()
            .into()
    }
}

/// What came of an [`Entry`].
#[derive(Clone, PartialEq, Debug)]
pub struct Joined {
    /// The contender.
    pub contender: Contender,
    /// The header of the answer.
    pub header: pbs::ResponseHeader,
    /// Whether this entry made the key; else it was there.
    pub is_new: bool,
    /// Whether the key has another value than the entry: [`Entry::proclaim`].
    pub is_outdated: bool,
}

/// Who stands in a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contender {
    kind: Contest,
    line: Line,
    key: Bytes,
    created: Revision,
    lease: LeaseId,
}

/// Where a contender stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nobody is before it.
    First,
    /// It waits for the end of this key, and of no other.
    Behind(Bytes),
    /// Its key is gone: its lease is over, or somebody deleted the key.
    Gone,
}

impl Contender {
    /// Where it stands.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Its key.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// Its lease.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Where it stands in `state`, which must not be older than the answer that made it.
    pub fn standing(&self, state: &State) -> Standing {
        let view = state.root(ROOT);
        let own = view.get(&self.key, None).ok().flatten();
        // A key of the same name that was created later is somebody else's, or a later try.
        if own.is_none_or(|own| own.create_revision() != self.created) {
            return Standing::Gone;
        }
        let Ok(line) = view.range(&self.line.range(), None) else {
            return Standing::Gone;
        };
        let before = line
            .filter(|record| record.create_revision() < self.created)
            .max_by_key(|record| record.create_revision());
        match before {
            None => Standing::First,
            // A copy: the record has the value as well.
            Some(record) => Standing::Behind(Bytes::copy_from_slice(record.key())),
        }
    }

    /// What it is told when its key is gone: etcd's words for a lock. etcd tells a candidate that it leads;
    /// its first `Proclaim` is then refused with these words.
    pub fn gone(&self) -> Refusal {
        match self.kind {
            Contest::Lock => Refusal::SessionExpired,
            Contest::Election => Refusal::ElectionNotLeader,
        }
    }

    /// The `TxnRequest` that takes its key away, unless the key is a later one.
    pub fn withdraw(&self) -> Bytes {
        resign(&self.key, self.created.0 as i64)
    }

    /// Answers a contender whose turn it is. `joined` is the header of the answer to its entry, `now` that of
    /// the moment in which it was seen to be the first, if it had to wait.
    pub fn answer(
        &self,
        joined: pbs::ResponseHeader,
        now: Option<(HeaderParts, Revision)>,
    ) -> Bytes {
        match self.kind {
            Contest::Lock => {
                let header = now.map_or(joined, |(parts, revision)| header(&parts, revision));
                let answer = locks::LockResponse {
                    header: Some(header),
                    key: self.key.clone(),
                };
                answer.encode_to_vec().into()
            }
            // A candidate hears the header of its entry, however long it waited, as from etcd.
            Contest::Election => {
                let leader = elections::LeaderKey {
                    name: self.line.name(),
                    key: self.key.clone(),
                    rev: self.created.0 as i64,
                    lease: self.lease.0,
                };
                let answer = elections::CampaignResponse {
                    header: Some(joined),
                    leader: Some(leader),
                };
                answer.encode_to_vec().into()
            }
        }
    }
}

// ---- the short requests --------------------------------------------------------------------------

/// The `LeaseGrantRequest` for a contender that brings no lease.
pub fn grant() -> Bytes {
    let request = pbs::LeaseGrantRequest {
        ttl: SESSION_TTL_S,
        id: 0,
    };
    request.encode_to_vec().into()
}

/// Reads the answer to [`grant`].
///
/// # Errors
/// It is not an answer to that.
pub fn granted(answer: Bytes) -> Result<LeaseId, Refusal> {
    decode::<pbs::LeaseGrantResponse>(&answer).map(|answer| LeaseId(answer.id))
}

/// The `LeaseRevokeRequest` for a lease that was granted for nothing.
pub fn revoke(lease: LeaseId) -> Bytes {
    let request = pbs::LeaseRevokeRequest { id: lease.0 };
    request.encode_to_vec().into()
}

/// The `DeleteRangeRequest` of an `Unlock`.
pub fn unlock(key: Bytes) -> Bytes {
    let request = pbs::DeleteRangeRequest {
        key,
        ..Default::default()
    };
    request.encode_to_vec().into()
}

/// Answers an `Unlock` with the header of the answer to its delete.
///
/// # Errors
/// It is not an answer to that.
pub fn answer_unlock(answer: Bytes) -> Result<Bytes, Refusal> {
    let header = decode::<pbs::DeleteRangeResponse>(&answer)?.header;
    Ok(locks::UnlockResponse { header }.encode_to_vec().into())
}

/// The `TxnRequest` of a `Proclaim`. `lease` is the leader's, or one that was granted because it named none.
pub fn proclaim(leader: &elections::LeaderKey, value: &Bytes, lease: LeaseId) -> Bytes {
    let put = put(&leader.key, value, lease);
    txn(created(&leader.key, leader.rev), put, None)
}

/// Answers a `Proclaim` with the answer to its transaction.
///
/// # Errors
/// The key is not there any more, or is a later one.
pub fn answer_proclaim(answer: Bytes) -> Result<Bytes, Refusal> {
    let answer: pbs::TxnResponse = decode(&answer)?;
    if !answer.succeeded {
        return Err(Refusal::ElectionNotLeader);
    }
    let header = answer.header;
    Ok(elections::ProclaimResponse { header }
        .encode_to_vec()
        .into())
}

/// The `TxnRequest` of a `Resign`: it deletes the key that was created at this revision, and no later one.
pub fn resign(key: &Bytes, created_at: i64) -> Bytes {
    let delete = pbs::DeleteRangeRequest {
        key: key.clone(),
        ..Default::default()
    };
    let delete = request_op::Request::RequestDeleteRange(delete);
    txn(created(key, created_at), delete, None)
}

/// Answers a `Resign`. One that was late is no error.
///
/// # Errors
/// `answer` is not the answer to its transaction.
pub fn answer_resign(answer: Bytes) -> Result<Bytes, Refusal> {
    let header = decode::<pbs::TxnResponse>(&answer)?.header;
    Ok(elections::ResignResponse { header }.encode_to_vec().into())
}

/// Answers `Leader`, and each change to an `Observe`: the leader's key as of `revision`.
pub fn answer_leader(kv: mvccpb::KeyValue, parts: &HeaderParts, revision: Revision) -> Bytes {
    let answer = elections::LeaderResponse {
        header: Some(header(parts, revision)),
        kv: Some(kv),
    };
    answer.encode_to_vec().into()
}

/// A record as clients see it.
pub fn key_value(record: &Record) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: record.key_bytes(),
        create_revision: record.create_revision().0 as i64,
        mod_revision: record.mod_revision().0 as i64,
        version: record.version() as i64,
        value: record.value_bytes(),
        lease: record.lease().0,
    }
}

/// The `WatchRequest` for what happens to one key after `revision`.
pub fn watch_key(key: Bytes, revision: Revision) -> Bytes {
    watch_request(key, Bytes::new(), revision)
}

/// What a message of such a watch tells.
#[derive(Clone, PartialEq, Debug)]
pub enum Seen {
    /// The key was put.
    Put(mvccpb::KeyValue),
    /// The key is gone, or the watch is: look anew.
    Over,
}

/// Reads a `WatchResponse`: what it tells, in order.
pub fn seen(message: Bytes) -> Vec<Seen> {
    let Ok(message) = pbs::WatchResponse::decode(message) else {
        return vec![Seen::Over];
    };
    let event = |event: mvccpb::Event| match event.kv {
        Some(kv) if event.r#type == mvccpb::event::EventType::Put as i32 => Seen::Put(kv),
        _ => Seen::Over,
    };
    let mut seen: Vec<Seen> = message.events.into_iter().map(event).collect();
    if message.canceled {
        seen.push(Seen::Over);
    }
    seen
}

/// A refusal as it leaves these services: etcd's server asks itself as a client would, and what a client
/// library makes of an error has lost its code. That there is no leader is said before that.
pub fn told(status: Status) -> Status {
    if status == Refusal::NoLeader.into() {
        return status;
    }
    Status {
        code: Code::Unknown,
        ..status
    }
}

// ---- helpers ---------------------------------------------------------------------------------------

fn header(parts: &HeaderParts, revision: Revision) -> pbs::ResponseHeader {
    pbs::ResponseHeader {
        cluster_id: parts.cluster.0,
        member_id: parts.member.0,
        revision: revision.0 as i64,
        raft_term: parts.term.0,
    }
}

fn created(key: &Bytes, revision: i64) -> pbs::Compare {
    pbs::Compare {
        result: compare::CompareResult::Equal as i32,
        target: compare::CompareTarget::Create as i32,
        key: key.clone(),
        target_union: Some(compare::TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

fn put(key: &Bytes, value: &Bytes, lease: LeaseId) -> request_op::Request {
    request_op::Request::RequestPut(pbs::PutRequest {
        key: key.clone(),
        value: value.clone(),
        lease: lease.0,
        ..Default::default()
    })
}

fn txn(
    condition: pbs::Compare,
    then: request_op::Request,
    otherwise: Option<request_op::Request>,
) -> Bytes {
    let op = |request| pbs::RequestOp {
        request: Some(request),
    };
    let request = pbs::TxnRequest {
        compare: vec![condition],
        success: vec![op(then)],
        failure: otherwise.map(op).into_iter().collect(),
    };
    request.encode_to_vec().into()
}

fn watch_request(key: Bytes, range_end: Bytes, revision: Revision) -> Bytes {
    let create = pbs::WatchCreateRequest {
        key,
        range_end,
        start_revision: revision.next().0 as i64,
        ..Default::default()
    };
    let request = pbs::WatchRequest {
        request_union: Some(pbs::watch_request::RequestUnion::CreateRequest(create)),
    };
    request.encode_to_vec().into()
}
