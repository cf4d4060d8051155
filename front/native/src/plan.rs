//! From a request's bytes to what is to be done about it.

use crate::answer::AnswerKind;
use crate::apply::{self, LEASE_TTL_MAX_S, RESULT_ROWS_MAX};
use crate::fault::Fault;
use crate::keys::range_of;
use crate::query::{At, Query, RangeQuery};
use crate::queue::QueueName;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::watch::WatchPlan;
use crate::{KEYS_ROOT, condition, fence};
use api::{Code, Method, SessionToken, proto};
use base::{ClusterId, LeaseId, Revision, Rng, limits};
use bytes::Bytes;
use clock::HybridTime;
use prost::Message;
use serde::de::DeserializeOwned;
use std::time::Duration;
use store::command::DialectId;
use store::hub::WatchSpec;
use store::{KeyRange, State};

/// How a client writes messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// As protobuf, over gRPC.
    Proto,
    /// As JSON, over HTTP.
    Json,
}

/// Limits that are configured. They are checked before a request enters the log, never after, because members may be
/// configured differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a request that goes through the log, as protobuf.
    pub request_bytes_max: usize,
    /// Operations of each list of a transaction, and conditions of a write.
    pub txn_ops_max: usize,
    /// Keys that one answer to a range holds at most.
    pub range_rows_max: u32,
    /// Bytes of keys and values behind which an answer to a range takes no more keys. It holds at least one.
    pub range_bytes_max: u64,
    /// The least time to live of a lease, in seconds: 1.5 times the election timeout, rounded up.
    pub lease_ttl_min_s: u64,
    /// Bytes that the store may take; 0 for no bound.
    pub quota_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            request_bytes_max: limits::REQUEST_BYTES_MAX,
            txn_ops_max: limits::TXN_OPS_MAX,
            range_rows_max: 10_000,
            range_bytes_max: 4 * 1024 * 1024,
            lease_ttl_min_s: 2,
            quota_bytes: 2 * 1024 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// Whether a request that costs `cost_bytes` would overflow the quota. If so the driver answers [`Code::NoSpace`].
    pub fn is_over_quota(&self, state: &State, cost_bytes: u64) -> bool {
        cost_bytes != 0
            && self.quota_bytes != 0
            && state.bytes_in_use().saturating_add(cost_bytes) > self.quota_bytes
    }

    /// Bytes of a body that are worth reading. JSON of binary values takes a third more than they do, and escapes
    /// take room, too.
    pub fn body_bytes_max(&self, encoding: Encoding) -> usize {
        match encoding {
            Encoding::Proto => self.request_bytes_max,
            Encoding::Json => self
                .request_bytes_max
                .saturating_mul(2)
                .saturating_add(4096),
        }
    }
}

/// How fresh a read must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Every write that was acknowledged before is in it: a majority is asked.
    Linearizable,
    /// The same promise, by the leader's lease; refused when there is none.
    Lease,
    /// At most so much behind.
    Bounded(Duration),
    /// Not before what the token has seen.
    Session(SessionToken),
    /// This member's state, now.
    Sequential,
}

impl Level {
    /// As it stands in headers.
    pub fn level(self) -> proto::Level {
        match self {
            Level::Linearizable => proto::Level::Linearizable,
            Level::Lease => proto::Level::Lease,
            Level::Bounded(_) => proto::Level::Bounded,
            Level::Session(_) => proto::Level::Session,
            Level::Sequential => proto::Level::Sequential,
        }
    }
}

/// What is to be done about a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Plan {
    /// Put `request` into the log; answer with `answer_outcome`.
    Propose {
        /// Who decides it.
        dialect: DialectId,
        /// As it stands in the log.
        request: Bytes,
        /// What it is estimated to add to the store, in bytes; 0 for what only frees. See [`Limits::is_over_quota`].
        cost_bytes: u64,
        /// The client's session and the number of the write in it: it takes effect once.
        retry: Option<(LeaseId, u64)>,
        /// Answer when the write's time is surely in the past; refused when the error of the clock is not known.
        commit_wait: bool,
        /// What is answered.
        then: AnswerKind,
    },
    /// Answer from a state that is as fresh as this, with [`crate::answer`].
    Read {
        /// What is read, and as of when.
        query: Query,
        /// How fresh the state must be.
        level: Level,
    },
    /// Ask the leader to renew a lease; answer with `answer_renew`.
    Renew(LeaseId),
    /// Ask the leader how long a lease has left; answer with `answer_look_lease`.
    LookLease {
        /// Which.
        lease: LeaseId,
        /// Whether its keys are wanted.
        keys: bool,
    },
    /// Wait until a place holds ([`crate::Desk::wait`]), on a state of this level; answer with `answer_await`.
    Await {
        /// The line.
        queue: QueueName,
        /// The place.
        token: Revision,
        /// Answer after so long even if it does not hold; nothing: as long as the call may last.
        timeout: Option<Duration>,
        /// A token is the revision at which its place was taken, so a state that has seen it knows whether the place
        /// is there: [`Level::Session`].
        level: Level,
    },
    /// Put `request` into the log, read its outcome with `entered`, wait as for [`Plan::Await`], answer with
    /// `answer_acquired`. Whoever goes away or runs out of time leaves: [`crate::Entered::leave_request`].
    Acquire {
        /// Who decides it.
        dialect: DialectId,
        /// As it stands in the log.
        request: Bytes,
        /// As in [`Plan::Propose`].
        cost_bytes: u64,
        /// The line.
        queue: QueueName,
        /// [`Code::WaitOver`] after so long; nothing: as long as the call may last.
        timeout: Option<Duration>,
    },
    /// Open a watch: [`crate::WatchDesk::open`].
    Watch(WatchPlan),
    /// Tell who holds, from now on: [`crate::Desk::observe`].
    Observe(QueueName),
    /// Tell about this member.
    Status,
    /// Tell the time.
    Now,
}

/// Plans requests. One for each core; it draws ids for leases that come without one.
pub struct Session {
    limits: Limits,
    cluster: ClusterId,
    rng: Rng,
}

/// What is estimated that a version takes beside its key and value, a place beside its owner and value, and a lease.
const PUT_COST_BYTES: u64 = 256;
const PLACE_COST_BYTES: u64 = 1024;
const LEASE_COST_BYTES: u64 = 64;

impl Session {
    /// A session with these limits. `seed` must differ between members and between runs of one member: lease ids are
    /// drawn from it.
    pub fn new(limits: Limits, cluster: ClusterId, seed: u64) -> Session {
        Session {
            limits,
            cluster,
            rng: Rng::new(seed),
        }
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is to be done about a request.
    ///
    /// # Errors
    /// Everything that can be refused without looking at a state.
    pub fn plan(&mut self, method: Method, body: Bytes, encoding: Encoding) -> Result<Plan, Fault> {
        let bytes_max = self.limits.body_bytes_max(encoding);
        if body.len() > bytes_max {
            let words = format!("the body has {} bytes, more than {bytes_max}", body.len());
            return Err(Fault::new(Code::TooLarge, words));
        }
        match method {
            Method::Get => self.get(decode(body, encoding)?),
            Method::Range => self.range(decode(body, encoding)?),
            Method::Put => self.put(decode(body, encoding)?),
            Method::Delete => self.delete(decode(body, encoding)?),
            Method::Txn => self.txn(decode(body, encoding)?),
            Method::Compact => self.compact(decode(body, encoding)?),
            Method::Watch => watch(decode(body, encoding)?),
            Method::Grant => self.grant(decode(body, encoding)?),
            Method::Renew => {
                let request: proto::RenewRequest = decode(body, encoding)?;
                Ok(Plan::Renew(lease(request.lease)?))
            }
            Method::Revoke => {
                let request: proto::RevokeRequest = decode(body, encoding)?;
                lease(request.lease)?;
                self.propose(Request::Revoke(request), 0, None, AnswerKind::Revoke)
            }
            Method::LookLease => {
                let request: proto::LookLeaseRequest = decode(body, encoding)?;
                Ok(Plan::LookLease {
                    lease: lease(request.lease)?,
                    keys: request.keys,
                })
            }
            Method::ListLeases => {
                let request: proto::ListLeasesRequest = decode(body, encoding)?;
                self.read(Query::Leases, request.consistency.as_ref())
            }
            Method::Enter => self.enter(decode(body, encoding)?),
            Method::Await => self.wait(decode(body, encoding)?),
            Method::Acquire => self.acquire(decode(body, encoding)?),
            Method::Leave => {
                let request: proto::LeaveRequest = decode(body, encoding)?;
                place(request.queue.as_ref(), request.token)?;
                self.propose(Request::Leave(request), 0, None, AnswerKind::Leave)
            }
            Method::Proclaim => self.proclaim(decode(body, encoding)?),
            Method::LookQueue => {
                let request: proto::LookQueueRequest = decode(body, encoding)?;
                let query = Query::Line(QueueName::of(request.queue.as_ref())?);
                self.read(query, request.consistency.as_ref())
            }
            Method::Check => {
                let request: proto::CheckRequest = decode(body, encoding)?;
                if request.fences.is_empty() {
                    return Err(Fault::new(Code::Malformed, "there is no fence to check"));
                }
                fence::check_shape(&request.fences)?;
                self.read(Query::Check(request.fences), request.consistency.as_ref())
            }
            Method::Observe => {
                let request: proto::ObserveRequest = decode(body, encoding)?;
                Ok(Plan::Observe(QueueName::of(request.queue.as_ref())?))
            }
            Method::Status => {
                decode::<proto::StatusRequest>(body, encoding)?;
                Ok(Plan::Status)
            }
            Method::Now => {
                decode::<proto::NowRequest>(body, encoding)?;
                Ok(Plan::Now)
            }
        }
    }

    fn get(&self, request: proto::GetRequest) -> Result<Plan, Fault> {
        if request.key.is_empty() {
            return Err(Refusal::BadKeys.into());
        }
        let (consistency, at) = read_at(request.read.as_ref())?;
        let query = Query::Get {
            key: request.key,
            at,
        };
        self.read(query, consistency)
    }

    fn range(&self, request: proto::RangeRequest) -> Result<Plan, Fault> {
        let (consistency, at) = read_at(request.read.as_ref())?;
        let rows_max = self.limits.range_rows_max.max(1);
        let query = Query::Range(RangeQuery {
            range: range_of(request.keys.as_ref())?,
            at,
            rows_max: match request.limit {
                0 => rows_max,
                limit => limit.min(rows_max),
            },
            bytes_max: self.limits.range_bytes_max,
            descending: request.descending,
            keys_only: request.keys_only,
            count_only: request.count_only,
        });
        self.read(query, consistency)
    }

    fn put(&self, request: proto::PutRequest) -> Result<Plan, Fault> {
        if request.key.is_empty() {
            return Err(Refusal::BadKeys.into());
        }
        let write = self.check_write(request.write.as_ref())?;
        let cost = put_cost(&request.key, &request.value);
        self.propose(Request::Put(request), cost, write, AnswerKind::Put)
    }

    fn delete(&self, request: proto::DeleteRequest) -> Result<Plan, Fault> {
        range_of(request.keys.as_ref())?;
        let write = self.check_write(request.write.as_ref())?;
        self.propose(Request::Delete(request), 0, write, AnswerKind::Delete)
    }

    fn txn(&self, mut request: proto::TxnRequest) -> Result<Plan, Fault> {
        let max = self.limits.txn_ops_max;
        if request.then.len().max(request.otherwise.len()) > max {
            let words = format!("a transaction has at most {max} operations in each list");
            return Err(Fault::new(Code::TooManyOperations, words));
        }
        apply::txn::check_shape(&request)?;
        let write = self.check_write(request.write.as_ref())?;
        let rows_max = self.limits.range_rows_max.clamp(1, RESULT_ROWS_MAX);
        for operation in request.then.iter_mut().chain(&mut request.otherwise) {
            if let Some(range) = &mut operation.range {
                range.limit = match range.limit {
                    0 => rows_max,
                    limit => limit.min(rows_max),
                };
            }
        }
        if apply::txn::is_read_only(&request) && write.is_none() {
            let query = Query::Txn(Box::new(request));
            return self.read(query, None);
        }
        let cost = |operations: &[proto::Operation]| {
            let puts = operations.iter().filter_map(|it| it.put.as_ref());
            puts.map(|put| put_cost(&put.key, &put.value))
                .fold(0, u64::saturating_add)
        };
        let cost = cost(&request.then).max(cost(&request.otherwise));
        self.propose(Request::Txn(request), cost, write, AnswerKind::Txn)
    }

    fn compact(&self, request: proto::CompactRequest) -> Result<Plan, Fault> {
        if request.revision == 0 {
            return Err(Fault::new(
                Code::Malformed,
                "say the revision to compact to",
            ));
        }
        self.propose(Request::Compact(request), 0, None, AnswerKind::Compact)
    }

    fn grant(&mut self, mut request: proto::GrantRequest) -> Result<Plan, Fault> {
        if request.ttl_s > LEASE_TTL_MAX_S {
            return Err(Refusal::TtlTooLong.into());
        }
        request.ttl_s = request.ttl_s.max(self.limits.lease_ttl_min_s).max(1);
        while request.lease == 0 {
            request.lease = (self.rng.next_u64() >> 1) as i64;
        }
        let request = Request::Grant(request);
        self.propose(request, LEASE_COST_BYTES, None, AnswerKind::Grant)
    }

    fn enter(&self, request: proto::EnterRequest) -> Result<Plan, Fault> {
        check_enter(&request)?;
        let cost = place_cost(&request);
        self.propose(Request::Enter(request), cost, None, AnswerKind::Enter)
    }

    fn wait(&self, request: proto::AwaitRequest) -> Result<Plan, Fault> {
        let (queue, token) = place(request.queue.as_ref(), request.token)?;
        Ok(Plan::Await {
            queue,
            token,
            timeout: timeout(request.timeout_ms),
            level: Level::Session(SessionToken::new(self.cluster, token)),
        })
    }

    fn acquire(&self, request: proto::AcquireRequest) -> Result<Plan, Fault> {
        let no_place = || Fault::new(Code::Malformed, "say which place to enter");
        let enter = request.enter.ok_or_else(no_place)?;
        let queue = check_enter(&enter)?;
        let cost_bytes = place_cost(&enter);
        let request_in_log = Request::Enter(enter);
        Ok(Plan::Acquire {
            dialect: request_in_log.dialect(),
            request: self.encode(&request_in_log)?,
            cost_bytes,
            queue,
            timeout: timeout(request.timeout_ms),
        })
    }

    fn proclaim(&self, request: proto::ProclaimRequest) -> Result<Plan, Fault> {
        QueueName::new(proto::QueueKind::Election, &request.name)?;
        token(request.token)?;
        let cost = PLACE_COST_BYTES + request.value.len() as u64;
        self.propose(Request::Proclaim(request), cost, None, AnswerKind::Proclaim)
    }

    fn read(&self, query: Query, consistency: Option<&proto::Consistency>) -> Result<Plan, Fault> {
        let level = self.level(consistency)?;
        Ok(Plan::Read { query, level })
    }

    fn level(&self, consistency: Option<&proto::Consistency>) -> Result<Level, Fault> {
        let Some(consistency) = consistency else {
            return Ok(Level::Linearizable);
        };
        let unclear = |words: &str| Err(Fault::new(Code::BadLevel, words));
        let Ok(level) = proto::Level::try_from(consistency.level) else {
            return unclear("the level is not known here");
        };
        if consistency.bound_ms != 0 && level != proto::Level::Bounded {
            return unclear("a bound goes with the level bounded only");
        }
        if !consistency.session.is_empty() && level != proto::Level::Session {
            return unclear("a session token goes with the level session only");
        }
        Ok(match level {
            proto::Level::Unspecified | proto::Level::Linearizable => Level::Linearizable,
            proto::Level::Lease => Level::Lease,
            proto::Level::Bounded if consistency.bound_ms == 0 => {
                return unclear("say by how much the state may be behind");
            }
            proto::Level::Bounded => Level::Bounded(Duration::from_millis(consistency.bound_ms)),
            proto::Level::Session if consistency.session.is_empty() => {
                return unclear("say the session token that an answer gave");
            }
            proto::Level::Session => Level::Session(self.token(&consistency.session)?),
            proto::Level::Sequential => Level::Sequential,
        })
    }

    fn token(&self, text: &str) -> Result<SessionToken, Fault> {
        let token: SessionToken = match text.parse() {
            Ok(token) => token,
            Err(error) => return Err(Fault::new(Code::BadToken, error.to_string())),
        };
        match token.is_of(self.cluster) {
            true => Ok(token),
            false => Err(Fault::new(
                Code::BadToken,
                "the session token is of another cluster",
            )),
        }
    }

    fn check_write(&self, write: Option<&proto::Write>) -> Result<Option<Writing>, Fault> {
        let Some(write) = write else {
            return Ok(None);
        };
        let max = self.limits.txn_ops_max;
        if write.conditions.len() > max {
            let words = format!("a write has at most {max} conditions");
            return Err(Fault::new(Code::TooManyOperations, words));
        }
        condition::check_shape(&write.conditions)?;
        fence::check_shape(&write.fences)?;
        let retry = match &write.retry {
            Some(retry) if retry.session == 0 || retry.sequence == 0 => {
                let words = "a write that may be asked again has a session and a number from 1";
                return Err(Fault::new(Code::Malformed, words));
            }
            Some(retry) => Some((LeaseId(retry.session), retry.sequence)),
            None => None,
        };
        let commit_wait = write.commit_wait;
        Ok((retry.is_some() || commit_wait).then_some(Writing { retry, commit_wait }))
    }

    fn propose(
        &self,
        request: Request,
        cost_bytes: u64,
        writing: Option<Writing>,
        then: AnswerKind,
    ) -> Result<Plan, Fault> {
        let writing = writing.unwrap_or_default();
        Ok(Plan::Propose {
            dialect: request.dialect(),
            request: self.encode(&request)?,
            cost_bytes,
            retry: writing.retry,
            commit_wait: writing.commit_wait,
            then,
        })
    }

    fn encode(&self, request: &Request) -> Result<Bytes, Fault> {
        let bytes = request.encode();
        let max = self.limits.request_bytes_max;
        if bytes.len() > max {
            let words = format!("the request has {} bytes, more than {max}", bytes.len());
            return Err(Fault::new(Code::TooLarge, words));
        }
        Ok(bytes)
    }
}

/// How a write is acknowledged, when something is said about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Writing {
    retry: Option<(LeaseId, u64)>,
    commit_wait: bool,
}

/// A body without bytes is a message without fields, in both encodings.
fn decode<M>(body: Bytes, encoding: Encoding) -> Result<M, Fault>
where
    M: Message + Default + DeserializeOwned,
{
    match encoding {
        Encoding::Json if body.is_empty() => Ok(M::default()),
        Encoding::Json => serde_json::from_slice(&body).map_err(|error| {
            Fault::new(
                Code::Malformed,
                format!("the JSON is not understood: {error}"),
            )
        }),
        Encoding::Proto => M::decode(body).map_err(|error| {
            Fault::new(
                Code::Malformed,
                format!("the bytes are not understood: {error}"),
            )
        }),
    }
}

fn read_at(read: Option<&proto::Read>) -> Result<(Option<&proto::Consistency>, At), Fault> {
    let Some(read) = read else {
        return Ok((None, At::Now));
    };
    let at = match (read.revision, read.as_of.as_str()) {
        (0, "") => At::Now,
        (revision, "") => At::Revision(Revision(revision)),
        (0, text) => match HybridTime::from_rfc3339(text) {
            Ok(time) => At::Time(time),
            Err(error) => return Err(Fault::new(Code::BadTime, error.to_string())),
        },
        _ => {
            let words = "history is read by a revision or by a time, not by both";
            return Err(Fault::new(Code::BadLevel, words));
        }
    };
    Ok((read.consistency.as_ref(), at))
}

fn watch(request: proto::WatchRequest) -> Result<Plan, Fault> {
    let range: KeyRange = range_of(request.keys.as_ref())?;
    if request.no_put && request.no_delete {
        return Err(Fault::new(
            Code::Malformed,
            "a watch without puts and deletes sees nothing",
        ));
    }
    if request.start_revision > limits::NUMBER_MAX {
        return Err(Fault::from(Code::Future));
    }
    Ok(Plan::Watch(WatchPlan {
        spec: WatchSpec {
            root: KEYS_ROOT,
            range,
            start: Revision(request.start_revision),
            no_put: request.no_put,
            no_delete: request.no_delete,
        },
        previous: request.previous,
        progress: request.progress,
    }))
}

fn lease(id: i64) -> Result<LeaseId, Fault> {
    match id {
        0 => Err(Fault::new(Code::Malformed, "say which lease")),
        id => Ok(LeaseId(id)),
    }
}

fn token(token: u64) -> Result<Revision, Fault> {
    match token {
        0 => Err(Fault::new(Code::Malformed, "say which token")),
        token => Ok(Revision(token)),
    }
}

fn place(queue: Option<&proto::Queue>, number: u64) -> Result<(QueueName, Revision), Fault> {
    Ok((QueueName::of(queue)?, token(number)?))
}

fn check_enter(request: &proto::EnterRequest) -> Result<QueueName, Fault> {
    let (queue, ..) = apply::check_enter(request)?;
    lease(request.lease)?;
    Ok(queue)
}

fn timeout(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}

fn put_cost(key: &[u8], value: &[u8]) -> u64 {
    PUT_COST_BYTES + key.len() as u64 + value.len() as u64
}

fn place_cost(request: &proto::EnterRequest) -> u64 {
    PLACE_COST_BYTES + 2 * request.owner.len() as u64 + request.value.len() as u64
}
