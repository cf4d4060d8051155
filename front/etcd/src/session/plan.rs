//! From a request's bytes to what is to be done about it.

use super::cluster::{self, ClusterOp};
use crate::apply::LEASE_TTL_MAX_S;
use crate::apply::alarms::{self, Alarm, AlarmView};
use crate::auth::{NAME_BYTES_MAX, PASSWORD_SHOWN_BYTES_MAX, PasswordChange, Secret, name_of};
use crate::check;
use crate::method::Method;
use crate::pb;
use crate::proto::etcdserverpb as pbs;
use crate::range::RangeQuery;
use crate::recipes::Recipe;
use crate::request::{
    DeleteView, Kind, OpView, PutView, RangeView, TxnView, envelope, no_fields, two_integers,
};
use crate::scan::Malformed;
use crate::status::{Code, Refusal, Status};
use base::{LeaseId, MemberId, Revision, Rng, limits};
use bytes::Bytes;
use prost::Message;
use store::State;

/// Limits that are configured. They are checked before a request enters the log, never after, because
/// members may be configured differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a request that goes through the log (`--max-request-bytes`).
    pub request_bytes_max: usize,
    /// Operations of a transaction, on each path through its levels (`--max-txn-ops`).
    pub txn_ops_max: usize,
    /// The least time to live of a lease, in seconds: 1.5 times the election timeout, rounded up. A
    /// shorter one could run out while no leader is there to hear of it.
    pub lease_ttl_min_s: i64,
    /// Bytes that the store may take (`--quota-backend-bytes`); 0 for no bound.
    pub quota_bytes: u64,
}

impl Default for Limits {
    /// etcd's defaults.
    fn default() -> Limits {
        Limits {
            request_bytes_max: limits::REQUEST_BYTES_MAX,
            txn_ops_max: limits::TXN_OPS_MAX,
            lease_ttl_min_s: 2,
            quota_bytes: 2 * 1024 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// The least time to live that goes with an election timeout.
    pub fn lease_ttl_min_s(election_ms: u64) -> i64 {
        i64::try_from((election_ms.saturating_mul(3)).div_ceil(2000)).unwrap_or(LEASE_TTL_MAX_S)
    }

    /// Whether a request that costs `cost_bytes` would overflow the quota. If so the driver raises the
    /// alarm with [`alarm_request`] and answers [`Refusal::NoSpace`].
    pub fn is_over_quota(&self, state: &State, cost_bytes: u64) -> bool {
        cost_bytes != 0
            && self.quota_bytes != 0
            && state.bytes_in_use().saturating_add(cost_bytes) > self.quota_bytes
    }
}

/// What is to be done about a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Plan {
    /// Put `request` into the log; answer with `answer_outcome`.
    Propose {
        /// In our envelope.
        request: Bytes,
        /// What it is estimated to add to the store, in bytes; 0 for what only frees or reads. See
        /// [`Limits::is_over_quota`].
        cost_bytes: u64,
    },
    /// Answer from a state with `answer`.
    Read(Read),
    /// As [`Plan::Read`] of a range, and the answer is a stream: `RangeChunks`.
    ReadStream(Read),
    /// Ask the leader how long a lease has left; answer with `answer_lease_time_to_live`.
    LeaseTimeToLive {
        /// Which lease.
        lease: LeaseId,
        /// Whether its keys are wanted.
        keys: bool,
    },
    /// Change the membership: the leader judges it; after: `answer_member_add` or `answer_members`.
    Change(ClusterOp),
    /// Hand the leadership over, if this member leads (else [`Refusal::NotLeader`]) and the other votes
    /// (else [`Refusal::BadLeaderTransferee`]). The answer is empty.
    MoveLeader(MemberId),
    /// Tell about this member: `answer_status`.
    Status,
    /// Free memory now, if the member has a way to. The answer is empty.
    Defragment,
    /// Stream the state: `SnapshotStream`.
    Snapshot,
    /// Check a name and a password, then put an [`crate::auth::IssueToken`] into the log or sign a token; answer with
    /// `answer_authenticate`.
    Authenticate(Credentials),
    /// Hash the password, then propose [`PasswordChange::hashed`]. Hashing is work: see that the caller may ask this first.
    Password(PasswordChange),
    /// Refuse: [`Refusal::DowngradeUnimplemented`], to whom it may be said.
    Downgrade,
    /// Locks and elections: several requests, and waiting between them.
    Recipe(Recipe),
    /// Tell that the server serves: `answer_health`. With `watch` the stream stays open.
    Health {
        /// Whether the service that is asked about is one that we know.
        known: bool,
    },
}

/// Who somebody says to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The user's name.
    pub name: String,
    /// And the proof.
    pub password: Secret,
}

/// A read and how fresh it must be.
#[derive(Clone, PartialEq, Debug)]
pub struct Read {
    /// What is read.
    pub query: Query,
    /// Whether a majority must be asked first; otherwise this member's own state will do.
    pub linearizable: bool,
}

/// What can be answered from a state alone.
#[derive(Clone, PartialEq, Debug)]
pub enum Query {
    /// Keys.
    Range(RangeQuery),
    /// A transaction that only reads, in the client's bytes.
    Txn(Bytes),
    /// All leases.
    Leases,
    /// The alarms that are raised; nothing for all kinds.
    Alarms(Option<alarms::AlarmKind>),
    /// The members.
    Members,
    /// A hash of all keys at the present.
    Hash,
    /// A hash of all keys at a revision; 0 or less for the present.
    HashKv(i64),
    /// Whether authentication is enabled.
    AuthStatus,
    /// The roles of a user.
    User(Bytes),
    /// The users.
    Users,
    /// The permissions of a role.
    Role(Bytes),
    /// The roles.
    Roles,
}

/// Plans requests. One for each core; it draws ids for leases that come without one.
pub struct Session {
    limits: Limits,
    rng: Rng,
}

impl Session {
    /// A session with these limits. `seed` must differ between members and between runs of one member:
    /// lease ids are drawn from it.
    pub fn new(limits: Limits, seed: u64) -> Session {
        Session {
            limits,
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
    /// Everything that etcd refuses without looking at its state, and methods that are not offered. The
    /// two streams that clients speak on, `Watch` and `LeaseKeepAlive`, are not planned: they have
    /// [`crate::WatchStream`] and [`crate::LeaseStream`].
    pub fn plan(&mut self, method: Method, body: Bytes) -> Result<Plan, Status> {
        // Methods that ask for nothing do not look at their bytes below, but those must be a message, too.
        no_fields(&body).map_err(Refusal::from)?;
        match method {
            Method::Put => self.put(&body),
            Method::Range => self.range(&body),
            Method::Txn => self.txn(body),
            Method::DeleteRange => self.delete_range(&body),
            Method::RangeStream => self.range_stream(&body),
            Method::Compact => {
                two_integers(&body).map_err(Refusal::from)?;
                self.propose(Kind::Compact, &body, 0)
            }
            Method::LeaseGrant => self.lease_grant(&body),
            Method::LeaseRevoke => {
                two_integers(&body).map_err(Refusal::from)?;
                self.propose(Kind::LeaseRevoke, &body, 0)
            }
            Method::LeaseTimeToLive => {
                let (lease, keys) = two_integers(&body).map_err(Refusal::from)?;
                Ok(Plan::LeaseTimeToLive {
                    lease: LeaseId(lease),
                    keys: keys != 0,
                })
            }
            Method::LeaseLeases => read(Query::Leases, true),
            Method::MemberList => {
                let (linearizable, _) = two_integers(&body).map_err(Refusal::from)?;
                read(Query::Members, linearizable != 0)
            }
            Method::MemberAdd
            | Method::MemberRemove
            | Method::MemberUpdate
            | Method::MemberPromote => Ok(Plan::Change(cluster::plan(method, body)?)),
            Method::Alarm => self.alarm(&body),
            Method::Status => Ok(Plan::Status),
            Method::Defragment => Ok(Plan::Defragment),
            Method::Hash => read(Query::Hash, false),
            Method::HashKv => {
                let (revision, _) = two_integers(&body).map_err(Refusal::from)?;
                read(Query::HashKv(revision), false)
            }
            Method::Snapshot => Ok(Plan::Snapshot),
            Method::MoveLeader => {
                let (target, _) = two_integers(&body).map_err(Refusal::from)?;
                Ok(Plan::MoveLeader(MemberId(target as u64)))
            }
            Method::HealthCheck | Method::HealthWatch => health(body),
            Method::Downgrade => Ok(Plan::Downgrade),
            Method::Lock
            | Method::Unlock
            | Method::ElectionCampaign
            | Method::ElectionProclaim
            | Method::ElectionLeader
            | Method::ElectionObserve
            | Method::ElectionResign => Ok(Plan::Recipe(Recipe::read(method, &body)?)),
            Method::AuthStatus => read(Query::AuthStatus, false),
            Method::Authenticate => {
                let request: pbs::AuthenticateRequest = decode(body)?;
                // Nobody has such a name, and what is remembered of those who try must stay small.
                if request.name.len() > NAME_BYTES_MAX
                    || request.password.len() > PASSWORD_SHOWN_BYTES_MAX
                {
                    return Err(Refusal::AuthFailed.into());
                }
                Ok(Plan::Authenticate(Credentials {
                    name: request.name,
                    password: Secret::new(request.password),
                }))
            }
            Method::UserGet => read(Query::User(name_of(&body)?), true),
            Method::UserList => read(Query::Users, true),
            Method::RoleGet => read(Query::Role(name_of(&body)?), true),
            Method::RoleList => read(Query::Roles, true),
            Method::UserAdd => self.user_add(body),
            Method::UserChangePassword => self.user_change_password(body),
            Method::AuthEnable => self.propose(Kind::AuthEnable, &body, 0),
            Method::AuthDisable => self.propose(Kind::AuthDisable, &body, 0),
            Method::UserDelete => self.propose(Kind::UserDelete, &body, 0),
            Method::UserGrantRole => self.propose(Kind::UserGrantRole, &body, auth_cost(&body)),
            Method::UserRevokeRole => self.propose(Kind::UserRevokeRole, &body, 0),
            Method::RoleAdd => self.propose(Kind::RoleAdd, &body, auth_cost(&body)),
            Method::RoleDelete => self.propose(Kind::RoleDelete, &body, 0),
            Method::RoleGrantPermission => {
                self.propose(Kind::RoleGrantPermission, &body, auth_cost(&body))
            }
            Method::RoleRevokePermission => self.propose(Kind::RoleRevokePermission, &body, 0),
            Method::Watch | Method::LeaseKeepAlive => Err(Status::new(
                Code::Internal,
                "quorate: a stream was taken for a single request",
            )),
        }
    }

    fn user_add(&self, body: Bytes) -> Result<Plan, Status> {
        let mut request: pbs::AuthUserAddRequest = decode(body)?;
        let has_password = !request.options.is_some_and(|options| options.no_password);
        if has_password {
            return Ok(Plan::Password(PasswordChange::add(request)?));
        }
        // Whatever password was sent is not wanted, and must not be kept.
        request.password.clear();
        request.hashed_password.clear();
        let body = request.encode_to_vec();
        self.propose(Kind::UserAdd, &body, auth_cost(&body))
    }

    fn user_change_password(&self, body: Bytes) -> Result<Plan, Status> {
        let mut request: pbs::AuthUserChangePasswordRequest = decode(body)?;
        if !request.password.is_empty() {
            return Ok(Plan::Password(PasswordChange::change(request)?));
        }
        // As in etcd there is no hash then, and no password is right, the empty one neither.
        request.hashed_password.clear();
        self.propose(Kind::UserChangePassword, &request.encode_to_vec(), 0)
    }

    fn propose(&self, kind: Kind, body: &[u8], cost_bytes: u64) -> Result<Plan, Status> {
        // etcd measures the entry, envelope included.
        if body.len() >= self.limits.request_bytes_max {
            return Err(Refusal::RequestTooLarge.into());
        }
        Ok(Plan::Propose {
            request: envelope(kind, body),
            cost_bytes,
        })
    }

    fn put(&self, body: &Bytes) -> Result<Plan, Status> {
        let view = PutView::read(body).map_err(Refusal::from)?;
        check::put(&view)?;
        self.propose(Kind::Put, body, put_cost(&view))
    }

    fn delete_range(&self, body: &Bytes) -> Result<Plan, Status> {
        check::delete(&DeleteView::read(body).map_err(Refusal::from)?)?;
        self.propose(Kind::DeleteRange, body, 0)
    }

    fn range(&self, body: &Bytes) -> Result<Plan, Status> {
        let view = RangeView::read(body).map_err(Refusal::from)?;
        check::range(&view)?;
        let query = Query::Range(RangeQuery::of(body, &view));
        read(query, !view.options.serializable)
    }

    fn range_stream(&self, body: &Bytes) -> Result<Plan, Status> {
        let mut view = RangeView::read(body).map_err(Refusal::from)?;
        check::range(&view)?;
        // Ascending by key is the natural order, and so is no order, whatever it would be of.
        match (view.options.sort_order, view.options.sort_target) {
            (0, _) | (1, 0) => view.options.sort_target = 0,
            // Of two things wrong etcd 3.7 names the order.
            _ => return Err(Refusal::RangeStreamSort.into()),
        }
        if view.options.is_filtered() {
            return Err(Refusal::RangeStreamFilter.into());
        }
        Ok(Plan::ReadStream(Read {
            query: Query::Range(RangeQuery::of(body, &view)),
            linearizable: !view.options.serializable,
        }))
    }

    fn txn(&self, body: Bytes) -> Result<Plan, Status> {
        let view = TxnView::read_bounded(&body, self.limits.txn_ops_max)?;
        check::txn(&view, self.limits.txn_ops_max)?;
        if view.is_read_only() {
            let linearizable = !view.is_serializable();
            return read(Query::Txn(body), linearizable);
        }
        self.propose(Kind::Txn, &body, txn_cost(&view))
    }

    fn lease_grant(&mut self, body: &[u8]) -> Result<Plan, Status> {
        let (ttl_s, mut id) = two_integers(body).map_err(Refusal::from)?;
        if ttl_s > LEASE_TTL_MAX_S {
            return Err(Refusal::LeaseTtlTooLarge.into());
        }
        while id == 0 {
            id = (self.rng.next_u64() >> 1) as i64;
        }
        let mut settled = Vec::new();
        pb::uint(
            &mut settled,
            1,
            ttl_s.max(self.limits.lease_ttl_min_s) as u64,
        );
        pb::uint(&mut settled, 2, id as u64);
        self.propose(Kind::LeaseGrant, &settled, LEASE_COST_BYTES)
    }

    fn alarm(&self, body: &[u8]) -> Result<Plan, Status> {
        let view = AlarmView::read(body).map_err(Refusal::from)?;
        match view.action {
            alarms::ACTIVATE | alarms::DEACTIVATE => self.propose(Kind::Alarm, body, 0),
            _ => read(
                Query::Alarms(alarms::AlarmKind::of_number(view.alarm)),
                true,
            ),
        }
    }
}

fn decode<M: Message + Default>(body: Bytes) -> Result<M, Refusal> {
    M::decode(body).map_err(|_| Refusal::from(Malformed))
}

fn read(query: Query, linearizable: bool) -> Result<Plan, Status> {
    Ok(Plan::Read(Read {
        query,
        linearizable,
    }))
}

fn health(body: Bytes) -> Result<Plan, Status> {
    let request = crate::proto::health::HealthCheckRequest::decode(body)
        .map_err(|_| Refusal::from(Malformed))?;
    Ok(Plan::Health {
        known: request.service.is_empty(),
    })
}

/// Whether a `LeaseGrant` leaves the choice of its id to the server. Bytes that make no sense do not: they are refused
/// anyway.
pub fn is_unnamed_grant(request: &[u8]) -> bool {
    pbs::LeaseGrantRequest::decode(request).is_ok_and(|request| request.id == 0)
}

/// The request that compacts up to `revision`, for the log.
pub fn compaction_request(revision: Revision) -> Bytes {
    let message = pbs::CompactionRequest {
        revision: i64::try_from(revision.0).unwrap_or(i64::MAX),
        physical: false,
    };
    envelope(Kind::Compact, &message.encode_to_vec())
}

/// The request that takes `alarm` back, for the log.
pub fn disarm_request(alarm: Alarm) -> Bytes {
    let message = pbs::AlarmRequest {
        action: alarms::DEACTIVATE,
        member_id: alarm.member.0,
        alarm: alarm.kind as i32,
    };
    envelope(Kind::Alarm, &message.encode_to_vec())
}

/// The request that raises `alarm`, for the log.
pub fn alarm_request(alarm: Alarm) -> Bytes {
    let message = pbs::AlarmRequest {
        action: alarms::ACTIVATE,
        member_id: alarm.member.0,
        alarm: alarm.kind as i32,
    };
    envelope(Kind::Alarm, &message.encode_to_vec())
}

/// etcd's estimate of what a version costs beside its key and value.
const PUT_COST_BYTES: u64 = 256;
/// etcd's estimate of what a lease costs.
const LEASE_COST_BYTES: u64 = 64;

fn put_cost(view: &PutView<'_>) -> u64 {
    PUT_COST_BYTES + view.key.len() as u64 + view.value.len() as u64
}

/// A user, a role, or more of one.
fn auth_cost(body: &[u8]) -> u64 {
    PUT_COST_BYTES + body.len() as u64
}

/// The dearer of the two branches.
fn txn_cost(view: &TxnView<'_>) -> u64 {
    let branch = |ops: &[OpView<'_>]| {
        ops.iter()
            .map(|op| match op {
                OpView::Put(put) => put_cost(put),
                OpView::Txn(inner) => txn_cost(inner),
                _ => 0,
            })
            .fold(0, u64::saturating_add)
    };
    branch(&view.success).max(branch(&view.failure))
}
