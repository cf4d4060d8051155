//! etcd's API over the transport: which plan, what to wait for, what to answer.
//!
//! The pure half in `front/etcd` decides what a request means and how its answer looks; this file waits. A
//! handler holds nothing of the member across an `.await` but its own state, so a client that goes away
//! costs nothing.

mod audited;
mod backup;
mod health;
mod levels;
mod pages;
mod recipes;
mod reconfiguration;
mod retries;
mod slow;
mod streams;

pub(crate) use health::Probe;
pub(crate) use pages::cluster_version;

use crate::auth::{Admitted, Asking, Doorkeeper, refreshed};
use crate::grpc::limits::UNDERSTOOD_AT_ONCE_BYTES_MAX;
use crate::grpc::{self, Call};
use crate::member::{Member, outcome};
use crate::native::Native;
use audited::Noting;
pub(crate) use audited::NotingNative;
use base::{Chain, LeaseId, Revision};
use bytes::Bytes;
use etcd::auth::{self, Caller, Needs};
use etcd::{
    Alarm, AlarmKind, ClusterOp, Credentials, Method, Plan, Query, RangeChunks, Read, Refusal,
    Reply, Status,
};
use node::{LeaseAnswer, MemberChange, RetryRefusal, SystemRefusal};
use slow::Timed;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use storage::Space;
use store::Outcome;
use store::command::Identity;
use tracing::{info, warn};

/// Records written between two looks at other work: about 0.1 ms.
const ROWS_PER_STEP: usize = 1000;

/// How long a change of users or roles waits for a cluster that is new.
const UPGRADE_PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks whether it is there.
const UPGRADE_LOOK: Duration = Duration::from_millis(20);

/// Whether there is room for what a request would write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    There,
    /// The data would exceed the quota.
    OverQuota,
    /// The disk has none for the log.
    NoDisk,
}

/// etcd's API of one member.
pub(crate) struct Front(pub(crate) Rc<Member>);

impl Front {
    /// Serves one gRPC call.
    pub(crate) async fn serve(&self, call: &mut Call) -> Result<(), grpc::Status> {
        if let Some(method) = api::Method::of_grpc_path(call.head.path()) {
            let asking = asking(call);
            self.0.await_token(&asking).await;
            let note = self.0.audit.as_ref().map(|audit| {
                let user = self.0.user_of(&asking);
                let name = user.as_deref().or(call.head.common_name.as_deref());
                let who = (name, call.head.from);
                NotingNative::of(audit, method.grpc_path(), method, who)
            });
            let served = Native(self.0.clone(), asking).serve(method, call).await;
            if let Some(note) = note {
                let code = served.as_ref().err();
                note.end(code.map_or(grpc::Code::Ok, |status| status.code))
                    .await;
            }
            return served;
        }
        let Some(method) = Method::of_path(call.head.path()) else {
            return Err(unknown_path(call.head.path()));
        };
        let served = match method {
            Method::Watch => self.watch(call).await,
            Method::LeaseKeepAlive => self.lease_keep_alive(call).await,
            _ => self.single(method, call).await,
        };
        served.map_err(Into::into)
    }
}

/// What became of a request that was not refused.
struct Done {
    /// What to answer; nothing when that was sent already.
    answer: Option<Bytes>,
    /// Whether anything but an answer came of it.
    is_change: bool,
}

/// What clients call the version of etcd's API that they speak.
const CLIENT_API_VERSION: &str = "client-api-version";

impl Front {
    /// As [`Front::serve`], for a call that did not come as gRPC: no transport counts it.
    pub(crate) async fn serve_elsewhere(&self, call: &mut Call) -> Result<(), grpc::Status> {
        let counted = self.begun(&call.head);
        let counting = grpc::Counting::new(&counted);
        call.count(&counted);
        let served = self.serve(call).await;
        counting.end(
            served
                .as_ref()
                .err()
                .map_or(grpc::Code::Ok, |status| status.code),
        );
        served
    }

    /// A call begins: it is counted in its method's line.
    pub(crate) fn begun(&self, head: &grpc::Head) -> grpc::Counted {
        let metrics = &self.0.metrics;
        if let Some(method) = api::Method::of_grpc_path(head.path()) {
            return metrics.begun_native(method);
        }
        let Some(method) = Method::of_path(head.path()) else {
            return grpc::Counted::default();
        };
        let version = head.metadata().get(CLIENT_API_VERSION);
        let version = version.map(http::HeaderValue::as_bytes);
        metrics.client(version, method.shape() != etcd::Shape::Unary);
        metrics.begun(method)
    }
}

/// Why a call ended early: in etcd's words, or in the transport's.
pub(crate) enum Ended {
    /// etcd's API refuses.
    Etcd(Status),
    /// The client is gone, or does not keep to gRPC.
    Transport(grpc::Status),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Ended {
        Ended::Etcd(status)
    }
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Ended {
        Ended::Etcd(refusal.into())
    }
}

impl From<grpc::Status> for Ended {
    fn from(status: grpc::Status) -> Ended {
        Ended::Transport(status)
    }
}

impl From<Ended> for grpc::Status {
    fn from(ended: Ended) -> grpc::Status {
        match ended {
            Ended::Transport(status) => status,
            Ended::Etcd(status) => {
                let code = grpc::Code::from_number(status.code as u8);
                grpc::Status::new(code, status.message)
            }
        }
    }
}

fn unknown_path(path: &str) -> grpc::Status {
    let parts = path
        .strip_prefix('/')
        .and_then(|path| path.rsplit_once('/'));
    let text = match parts {
        None => format!("malformed method name: {path:?}"),
        Some((service, method)) => {
            let prefix = format!("/{service}/");
            match Method::ALL
                .iter()
                .any(|known| known.path().starts_with(&prefix))
            {
                true => format!("unknown method {method} for service {service}"),
                false => format!("unknown service {service}"),
            }
        }
    };
    grpc::Status::new(grpc::Code::Unimplemented, text)
}

impl Front {
    /// One request; one answer, or a stream of them.
    async fn single(&self, method: Method, call: &mut Call) -> Result<(), Ended> {
        let body = call.requests.only().await?;
        let timed = Timed::begin(method, &body, &call.head, self.0.config.warn_request);
        if self.0.with_state(auth::is_enabled) {
            self.0.await_token(&asking(call)).await;
        }
        let done = match &self.0.audit {
            None => self.answer(method, body, call).await,
            Some(audit) => {
                let note = Noting::of(
                    audit,
                    method,
                    &body,
                    &call.head,
                    self.0.user_of(&asking(call)),
                );
                let done = Box::pin(self.answer(method, body, call)).await;
                note.end(&done).await;
                done
            }
        };
        if let Some(timed) = timed {
            timed.end(&done);
        }
        let done = done?;
        match done.answer {
            Some(answer) => Ok(call.replies.reply(answer).await?),
            None => Ok(()),
        }
    }

    async fn answer(&self, method: Method, body: Bytes, call: &mut Call) -> Result<Done, Ended> {
        self.check_leader(call)?;
        if body.len() > UNDERSTOOD_AT_ONCE_BYTES_MAX {
            self.check_known(method, &asking(call))?;
            self.0.turns.enter().await;
        }
        // Its id is drawn when it is planned, so asked again it would be another request.
        let is_unnamed_grant = method == Method::LeaseGrant && etcd::is_unnamed_grant(&body);
        let plan = self.0.session.borrow_mut().plan(method, body)?;
        let asking = asking(call);
        let needs = Needs::of_plan(&plan)?;
        let who = match self.admit(&asking, &needs, is_local(&plan)).await {
            Ok(who) => who,
            Err(refusal) => {
                let told = self.0.with_state(|state| auth::told(state, &plan, refusal));
                return Err(told.into());
            }
        };
        self.check_learner(&plan)?;
        if !self.0.is_ready() && !is_local(&plan) {
            self.0.ready().await?;
        }
        let wanted = levels::wanted(call.head.metadata(), self.0.identity.cluster)?;
        if auth::changes_users(&plan) {
            self.upgraded().await?;
        }
        let mut fresh = None;
        let is_change = !matches!(
            plan,
            Plan::Read(_)
                | Plan::ReadStream(_)
                | Plan::LeaseTimeToLive { .. }
                | Plan::Status
                | Plan::Health { .. }
                | Plan::Authenticate(_)
                | Plan::Downgrade
        );
        let streamed = Done {
            answer: None,
            is_change,
        };
        let answer = match plan {
            Plan::Propose {
                request,
                cost_bytes,
            } => {
                let numbered = retries::numbered(call.head.metadata())?;
                if numbered.is_some() && is_unnamed_grant {
                    return Err(retries::unnamed_grant().into());
                }
                let who = who.unwrap_or(None);
                let done = self
                    .propose(request.clone(), cost_bytes, numbered, who)
                    .await;
                match done {
                    // A numbered write has had its one outcome.
                    Err(status) if numbered.is_none() && is_outdated(&status) => {
                        // Users changed on its way, and nothing was done. This member has seen that by now.
                        let who = self.admit(&asking, &needs, false).await?.unwrap_or(None);
                        self.propose(request, cost_bytes, None, who).await?
                    }
                    done => done?,
                }
            }
            Plan::Read(read) => match wanted {
                None => self.read(&read, &asking, who).await?,
                Some(level) => {
                    let (answer, told) = self.read_at(&read, level, &who).await?;
                    fresh = Some(told);
                    answer
                }
            },
            Plan::ReadStream(read) => {
                self.read_stream(&read, wanted, &who, call).await?;
                return Ok(streamed);
            }
            Plan::LeaseTimeToLive { lease, keys } => {
                let left = match self.0.lease(lease, false).await? {
                    LeaseAnswer::Alive { remaining_ms, .. } => Some(remaining_ms),
                    LeaseAnswer::Gone => None,
                    LeaseAnswer::Stopped => return Err(Refusal::Stopped.into()),
                };
                let is_unknown = self.0.with_state(|state| state.lease(lease).is_none());
                if left.is_some() && (keys || is_unknown) {
                    // Not here yet is not gone, and a key that was put elsewhere hangs on it already.
                    self.0.read_index().await?;
                }
                let header = self.0.header();
                let needs = Needs::of_plan(&Plan::LeaseTimeToLive { lease, keys })?;
                self.0.with_state(|state| {
                    auth::permit_caller(state, &who, &needs)?;
                    let answer = etcd::answer_lease_time_to_live(state, lease, keys, left, &header);
                    Ok::<_, Refusal>(answer)
                })?
            }
            Plan::Change(op) => {
                if self.0.with_state(auth::is_enabled) {
                    // It is no command of etcd's dialect: decided here, as freshly as a read is.
                    self.0.read_index().await?;
                    self.permit(&who, &Needs::default())?;
                }
                self.change(op).await?
            }
            Plan::Authenticate(credentials) => {
                self.authenticate(&credentials, call.head.from).await?
            }
            Plan::Password(change) => {
                let hash = self.0.doorkeeper.hash(change.password()).await?;
                let request = change.hashed(&hash);
                let cost_bytes = request.len() as u64;
                self.propose(request, cost_bytes, None, who.unwrap_or(None))
                    .await?
            }
            Plan::Downgrade => return Err(Refusal::DowngradeUnimplemented.into()),
            Plan::MoveLeader(to) => {
                self.0.move_leader(to).await?;
                Bytes::new()
            }
            Plan::Status => {
                fresh = Some(native::Freshness::LOCAL);
                self.status()
            }
            Plan::Defragment => {
                self.0.defragment().await?;
                Bytes::new()
            }
            Plan::Snapshot => {
                self.snapshot(&who, call).await?;
                return Ok(streamed);
            }
            // In a box: it is large, and no other call should have to make room for it.
            Plan::Recipe(recipe) => {
                Box::pin(self.recipe(recipe, &who, call)).await?;
                return Ok(streamed);
            }
            Plan::Health { known } => {
                self.health(method, known, call).await?;
                return Ok(streamed);
            }
        };
        if wanted.is_some() {
            call.replies.tell(self.told(fresh));
        }
        Ok(Done {
            answer: Some(answer),
            is_change,
        })
    }

    /// Who asks, if they may. Users, rights and tokens may have been given at another member a moment ago, so a
    /// member that would refuse catches up first, and decides anew; one that cannot refuses by what it knows, and so
    /// does one whose own state is what is asked for.
    async fn admit(
        &self,
        asking: &Asking,
        needs: &Needs,
        is_local: bool,
    ) -> Result<Caller, Refusal> {
        let who = self.0.identify(asking);
        let Err(refusal) = self.permit(&who, needs) else {
            return Ok(who);
        };
        if is_local || self.0.read_index().await.is_err() {
            return Err(refusal);
        }
        let who = self.0.identify(asking);
        self.permit(&who, needs)?;
        Ok(who)
    }

    /// Whether a caller may, as of the published state.
    fn permit(&self, who: &Caller, needs: &Needs) -> Result<(), Refusal> {
        self.0
            .with_state(|state| auth::permit_caller(state, who, needs))
    }

    /// Refuses those who have no name, where names count, before much is done for them. etcd would look at what they ask
    /// first.
    pub(crate) fn check_known(&self, method: Method, asking: &Asking) -> Result<(), Refusal> {
        let is_open = matches!(
            method,
            Method::Authenticate | Method::AuthStatus | Method::HealthCheck | Method::HealthWatch
        );
        match is_open {
            true => Ok(()),
            false => self.permit(&self.0.identify(asking), &Needs::user()),
        }
    }

    /// Waits until the cluster understands users and roles: a new one does within a moment, one that is not upgraded
    /// does not.
    async fn upgraded(&self) -> Result<(), Refusal> {
        let until = Instant::now() + UPGRADE_PATIENCE;
        loop {
            match self.0.with_state(auth::check_gate) {
                Ok(()) => return Ok(()),
                Err(refusal) if Instant::now() >= until => return Err(refusal),
                Err(_) => tokio::time::sleep(UPGRADE_LOOK).await,
            }
        }
    }

    /// A token for a name and a password. Users may change while the password is checked: then it is checked again.
    async fn authenticate(
        &self,
        credentials: &Credentials,
        from: Option<SocketAddr>,
    ) -> Result<Bytes, Status> {
        for _ in 0..Doorkeeper::TRIES {
            self.0.read_index().await?;
            let state = self.0.state();
            let (admitted, checked) = self.0.doorkeeper.admit(credentials, from, &state).await?;
            drop(state);
            let header = self.0.header();
            match admitted {
                Admitted::Issue(issue, letters) => {
                    let answer = self.0.propose(issue.request(), None, None).await?;
                    let outcome = outcome(&answer)?;
                    if outcome.status == Refusal::AuthOldRevision as u16 {
                        continue;
                    }
                    // Who is refused hears why.
                    etcd::answer_outcome(outcome, answer.revision, &header)?;
                    let number = auth::token_number(&outcome.body);
                    let token = format!("{letters}.{number}");
                    return Ok(etcd::answer_authenticate(&token, answer.revision, &header));
                }
                Admitted::Signed(token) => {
                    self.0.read_index().await?;
                    let (now, revision) = self
                        .0
                        .with_state(|state| (auth::revision(state), state.revision()));
                    if now == checked {
                        return Ok(etcd::answer_authenticate(&token, revision, &header));
                    }
                }
            }
        }
        Err(Refusal::AuthOldRevision.into())
    }

    /// A client may ask not to be served by a member that knows no leader.
    fn check_leader(&self, call: &Call) -> Result<(), Refusal> {
        match wants_leader(call) && self.0.leader().is_none() {
            true => Err(Refusal::NoLeader),
            false => Ok(()),
        }
    }

    /// A learner answers only what needs nobody else.
    fn check_learner(&self, plan: &Plan) -> Result<(), Refusal> {
        let id = self.0.identity.member;
        let is_learner = !is_local(plan)
            && self
                .0
                .with_state(|state| state.membership().learners.contains(&id));
        match is_learner {
            true => Err(Refusal::NotSupportedForLearner),
            false => Ok(()),
        }
    }

    async fn propose(
        &self,
        request: Bytes,
        cost_bytes: u64,
        numbered: Option<(LeaseId, u64)>,
        identity: Option<Identity>,
    ) -> Result<Bytes, Status> {
        match (self.room(cost_bytes), numbered) {
            (Room::There, _) => {}
            (Room::OverQuota, None) => {
                self.raise_no_space().await?;
                return Err(Refusal::NoSpace.into());
            }
            (Room::NoDisk, None) => return Err(Refusal::NoSpace.into()),
            (room, Some(numbered)) => {
                // What was decided before needs no room.
                let (asked, who) = (request.clone(), identity.clone());
                let before = self.0.decided(etcd::DIALECT, asked, numbered, who).await?;
                if let Some((outcome, revision)) = before {
                    return self.numbered(&outcome, revision);
                }
                if room == Room::NoDisk {
                    return Err(Refusal::NoSpace.into());
                }
                // The alarm refuses it in the log, so that an attempt which is still on its way is refused alike.
                self.raise_no_space().await?;
            }
        }
        let answer = self.0.propose(request, numbered, identity).await?;
        self.numbered(outcome(&answer)?, answer.revision)
    }

    fn numbered(&self, outcome: &Outcome, revision: Revision) -> Result<Bytes, Status> {
        if let Some(refusal) = RetryRefusal::from_status(outcome.status) {
            return Err(retries::refused(refusal));
        }
        etcd::answer_outcome(outcome, revision, &self.0.header())
    }

    /// Whether what is estimated to cost so many bytes may be written.
    pub(crate) fn room(&self, cost_bytes: u64) -> Room {
        if self.0.space() == Space::Full || (cost_bytes > 0 && self.0.space() == Space::Low) {
            return Room::NoDisk;
        }
        let limits = *self.0.session.borrow().limits();
        match self
            .0
            .with_state(|state| limits.is_over_quota(state, cost_bytes))
        {
            true => Room::OverQuota,
            false => Room::There,
        }
    }

    /// Raises the alarm, if it is not raised.
    pub(crate) async fn raise_no_space(&self) -> Result<(), Status> {
        let alarm = Alarm {
            member: self.0.identity.member,
            kind: AlarmKind::NoSpace,
        };
        let is_raised = self
            .0
            .with_state(|state| etcd::alarms(state).any(|a| a == alarm));
        if !is_raised {
            warn!(
                quota_bytes = self.0.session.borrow().limits().quota_bytes,
                "the data would exceed the quota: alarm NOSPACE"
            );
            // Before the answer, which may not come although the alarm does.
            self.0.vigil.borrow_mut().raises(alarm.member);
            let request = etcd::alarm_request(alarm);
            self.0.propose(request, None, self.0.own_word()).await?;
        }
        Ok(())
    }

    async fn read(&self, read: &Read, asking: &Asking, who: Caller) -> Result<Bytes, Status> {
        if !read.linearizable {
            return self.look(read, &who).await;
        }
        self.0.read_index().await?;
        // Who asks is as fresh as what is read: users may have changed since the first look.
        self.look(read, &self.0.identify(asking)).await
    }

    /// Answers from the published state, whatever its age, to whom that state allows it.
    async fn look(&self, read: &Read, who: &Caller) -> Result<Bytes, Status> {
        let header = self.0.header();
        let metrics = &self.0.metrics;
        let began = Instant::now();
        if matches!(read.query, Query::Hash | Query::HashKv(_)) {
            // Reads every version there is: not on the thread that everybody waits for.
            let (query, who) = (read.query.clone(), who.clone());
            // Nobody waits in line for what is refused.
            self.permit(&who, &Needs::of_query(&query)?)?;
            let turn = self.0.hashes.enter().await?;
            let state = self.0.state();
            let hashing = tokio::task::spawn_blocking(move || {
                let hashed = whole(&state, &who, &query, &header);
                drop(turn);
                hashed
            });
            let hashed = hashing.await.map_err(|_| Status::from(Refusal::Stopped))?;
            match read.query {
                Query::Hash => metrics.hash.observe(began.elapsed()),
                _ => metrics.hash_kv.observe(began.elapsed()),
            }
            return hashed;
        }
        let answered = self
            .0
            .with_state(|state| etcd::answer_as(state, who, &read.query, &header));
        let answered = match answered {
            Ok(Reply::Whole(answer)) => Ok(answer),
            Ok(Reply::Steps(mut steps)) => loop {
                if let Some(answer) = steps.step(ROWS_PER_STEP) {
                    break answer;
                }
                tokio::task::yield_now().await;
            },
            Err(refusal) => Err(refusal),
        };
        match &read.query {
            Query::Range(_) => metrics.ranged(began, answered.is_ok()),
            Query::Txn(_) => metrics.txn_ranges.inc(),
            _ => {}
        }
        self.warn_slow(read, began.elapsed(), answered.as_ref());
        answered
    }

    /// A read that takes long is worth a line, as a command that is applied is.
    fn warn_slow(&self, read: &Read, took: Duration, answered: Result<&Bytes, &Status>) {
        let expected = self.0.config.warn_apply;
        if took < expected {
            return;
        }
        self.0.metrics.applied.slow.inc();
        let response = match answered {
            Ok(answer) => format!("size:{}", answer.len()),
            Err(status) => status.message.to_string(),
        };
        let prefix = match read.query {
            Query::Range(_) => "read-only range ",
            _ => "read-only txn ",
        };
        warn!(
            took = ?took, "expected-duration" = ?expected, prefix,
            request = etcd::describe_query(&read.query), response,
            "apply request took too long"
        );
    }

    async fn read_stream(
        &self,
        read: &Read,
        wanted: Option<native::Level>,
        who: &Caller,
        call: &mut Call,
    ) -> Result<(), Ended> {
        let granted = match wanted {
            Some(level) => Some(self.grant_at(level).await?),
            None if read.linearizable => {
                self.0.read_index().await?;
                None
            }
            None => None,
        };
        let Query::Range(range) = &read.query else {
            return Err(Refusal::Malformed.into());
        };
        let target = self.0.config.request_bytes_max;
        let header = self.0.header();
        let mut chunks = RangeChunks::begin_as(&self.0.state(), who, range, &header, target)?;
        if let Some(granted) = granted {
            // The state is held from here on: what it is worth does not change any more.
            let fresh = self.worth(&granted)?;
            call.replies.tell(self.told(Some(fresh)));
        }
        let needs = Needs::of_query(&read.query)?;
        while let Some(message) = chunks.next_message() {
            // Whoever may read it no more gets no more of it.
            let now = self.0.with_state(|state| refreshed(who, state));
            self.permit(&now, &needs)?;
            call.replies.send(message).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    // ---- the cluster ------------------------------------------------------------------------

    async fn change(&self, op: ClusterOp) -> Result<Bytes, Status> {
        // Not judged by what this member has applied, which may be less than its client has heard: the leader judges,
        // and for `Update` whoever applies it.
        let (mut added, mut is_promotion) = (None, false);
        let change = match op {
            ClusterOp::Add {
                peer_urls,
                is_learner,
            } => {
                let now_s = crate::clock::wall_ms() / 1000;
                let member = crate::identity::member_id(&peer_urls, "", Some(now_s));
                added = Some(member);
                MemberChange::Add {
                    member,
                    peer_urls,
                    is_learner,
                }
            }
            ClusterOp::Remove(member) => MemberChange::Remove { member },
            ClusterOp::Update { member, peer_urls } => MemberChange::Update { member, peer_urls },
            op @ ClusterOp::UpdateNowhere(_) => {
                // Nothing for the log: told from what a read would see.
                self.0.read_index().await?;
                let n_learners_max = etcd::LEARNERS_MAX;
                let check =
                    |state: &store::State| etcd::check_cluster_op(state, &op, n_learners_max);
                return Err(self
                    .0
                    .with_state(check)
                    .err()
                    .unwrap_or(Refusal::BadMemberUrls)
                    .into());
            }
            ClusterOp::Promote(member) => {
                is_promotion = true;
                MemberChange::Promote { member }
            }
        };
        self.check_majority(&change)?;
        let answer = self.0.change_members(change).await?;
        check_change(outcome(&answer)?.status)?;
        if is_promotion {
            self.0.metrics.learners_promoted.inc();
        }
        let header = self.0.header();
        Ok(self.0.with_state(|state| match added {
            Some(added) => etcd::answer_member_add(state, added, &header),
            None => etcd::answer_members(state, &header),
        }))
    }

    fn status(&self) -> Bytes {
        let status = self.0.status();
        let mut errors = Vec::new();
        if status.is_recovering {
            errors
                .push("quorate: the log is damaged and is being brought back by the others".into());
        }
        let limits = *self.0.session.borrow().limits();
        let told = etcd::MemberStatus {
            leader: status.leader,
            committed: status.commit,
            applied: status.applied.index,
            is_learner: status.is_learner,
            quota_bytes: limits.quota_bytes,
            errors,
        };
        self.0
            .with_state(|state| etcd::answer_status(state, &told, &self.0.header()))
    }

    /// Tells the cluster this member's name and where its clients reach it, until it is heard.
    pub(crate) async fn publish(self) {
        let member = &self.0;
        let change = || MemberChange::Publish {
            member: member.identity.member,
            name: member.config.name.clone(),
            client_urls: member.config.advertise_client.clone(),
        };
        loop {
            member.leader_known().await;
            let told = match member.change_members(change()).await {
                Ok(answer) => outcome(&answer).and_then(|outcome| check_change(outcome.status)),
                Err(status) => Err(status),
            };
            match told {
                Ok(()) => break,
                Err(status) => {
                    warn!(reason = %Chain(&status), "cannot publish this member's name; trying again");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
        member.set_ready();
        crate::supervisor::ready();
        let urls = member.config.advertise_client.join(",");
        info!(member = %member.identity.member, urls, "ready to serve client requests");
    }
}

/// What a call's client shows to say who it is.
pub(crate) fn asking(call: &Call) -> Asking {
    Asking::of_call(call.head.metadata(), call.head.common_name.clone())
}

/// Whether a request was refused only because users changed after it was established who asks.
fn is_outdated(refused: &Status) -> bool {
    [Refusal::UserEmpty, Refusal::AuthOldRevision]
        .iter()
        .any(|refusal| *refused == Status::from(*refusal))
}

/// Whether the client wants to be served by a member that knows a leader, or not at all.
fn wants_leader(call: &Call) -> bool {
    call.head
        .metadata()
        .get("hasleader")
        .is_some_and(|value| value == "true")
}

/// Whether a member answers this without any other.
fn is_local(plan: &Plan) -> bool {
    match plan {
        Plan::Read(read) => !read.linearizable || matches!(read.query, Query::Members),
        Plan::Status | Plan::Snapshot | Plan::Health { .. } | Plan::Defragment => true,
        _ => false,
    }
}

fn whole(
    state: &store::State,
    who: &Caller,
    query: &Query,
    header: &etcd::HeaderParts,
) -> Result<Bytes, Status> {
    match etcd::answer_as(state, who, query, header)? {
        Reply::Whole(answer) => Ok(answer),
        Reply::Steps(mut steps) => loop {
            if let Some(answer) = steps.step(usize::MAX) {
                return answer;
            }
        },
    }
}

/// A refusal of the membership's rules in etcd's words.
fn check_change(status: u16) -> Result<(), Status> {
    if status == 0 {
        return Ok(());
    }
    let refusal = match SystemRefusal::from_status(status) {
        Some(SystemRefusal::MemberNotFound) => Refusal::MemberNotFound,
        Some(SystemRefusal::MemberExists) => Refusal::MemberExists,
        Some(SystemRefusal::PeerUrlExists) => Refusal::PeerUrlExists,
        Some(SystemRefusal::TooManyLearners) => Refusal::TooManyLearners,
        Some(SystemRefusal::NotLearner) => Refusal::MemberNotLearner,
        Some(SystemRefusal::LearnerNotReady) => Refusal::LearnerNotReady,
        Some(SystemRefusal::NotEnoughStarted) => Refusal::NotEnoughStartedMembers,
        Some(SystemRefusal::Unhealthy) => Refusal::UnhealthyCluster,
        Some(SystemRefusal::Malformed) => Refusal::BadMemberUrls,
        other => {
            let text = match other {
                Some(refusal) => format!("quorate: {refusal}"),
                None => format!("quorate: refused with {status}"),
            };
            return Err(Status::new(etcd::Code::Unknown, text));
        }
    };
    Err(refusal.into())
}
