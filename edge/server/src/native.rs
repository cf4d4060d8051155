//! The native API over the transport: gRPC and JSON, one meaning.
//!
//! ```text
//!   gRPC   /quorate.v1.KV/Get ─┐                            ┌─ propose ─► answer_outcome ─┐
//!                              ├─► Session::plan ─► Plan ───┼─ fresh (a level) ─► answer ─┼─► Reply ─► protobuf, JSON
//!   HTTP   POST /v1/kv/get ────┘    (front/native, pure)    └─ desks: wait, watch ────────┘
//! ```
//!
//! The pure half in `front/native` decides what a request means and how its answer looks; this module waits. It shares
//! port, connections and limits with etcd's API: the path decides.
//!
//! | to understand | read |
//! | --- | --- |
//! | how a read gets its level | `reads` |
//! | who waits for a lock | `lines`, `desks` |
//! | watches and observers | `streams` |
//! | what a member says about itself | `status` |

mod desks;
mod lines;
mod reads;
mod status;
mod streams;

pub(crate) use desks::Desks;
pub(crate) use reads::{Granted, NotRead};

use crate::auth::Asking;
use crate::front::{Front, Room};
use crate::grpc::limits::UNDERSTOOD_AT_ONCE_BYTES_MAX;
use crate::grpc::{self, BodyError, Call, EventSender, Events, Exchange, Page};
use crate::member::{Member, NotAnswered};
use api::{Code, Method, Shape};
use base::{LeaseId, Revision};
use bytes::Bytes;
use etcd::Refusal;
use etcd::auth;
use lines::Acquire;
use native::{AnswerKind, Encoding, Fault, Freshness, Level, Plan, Renewed, Reply};
use node::{Dropped, LeaseAnswer};
use std::rc::Rc;
use std::time::Duration;
use store::Outcome;
use store::command::{DialectId, Identity};
use streams::{Ended, Out};

/// Of the time that a client gives, what is kept for the answer's way back: one part in so many.
const WAY_BACK_SHARE: u32 = 8;

/// How long a JSON call may last: a client of HTTP/1.1 that went away is not always noticed while its call waits.
const JSON_CALL_MAX: Duration = Duration::from_secs(60);

/// The native API of one member.
///
/// While authentication is enabled it is root's alone: its keys have no permissions yet. Who asks is looked at before
/// anything is done, by the state that is read, and in the log.
pub(crate) struct Native(pub(crate) Rc<Member>, pub(crate) Asking);

/// A write, planned.
struct Writing {
    dialect: DialectId,
    request: Bytes,
    cost_bytes: u64,
    retry: Option<(LeaseId, u64)>,
    commit_wait: bool,
    then: AnswerKind,
}

impl Native {
    // ---- gRPC ---------------------------------------------------------------------------------

    /// Serves one gRPC call.
    pub(crate) async fn serve(&self, method: Method, call: &mut Call) -> Result<(), grpc::Status> {
        let body = match call.requests.only().await {
            Ok(body) => body,
            Err(status) => return Err(transports(status)),
        };
        let given = call.head.timeout.map(|all| all - all / WAY_BACK_SHARE);
        let plan = self.plan(method, body, Encoding::Proto).await;
        if method.shape() == Shape::Stream {
            let plan = plan.map_err(status_of)?;
            call.replies.open()?;
            // In a box: it is large, and no other call should have to make room for it.
            let out = Out::Grpc(&mut call.replies);
            return match Box::pin(self.stream(&plan, out)).await {
                Ok(()) => Ok(()),
                Err(Ended::Gone) => Err(grpc::Status::gone()),
                Err(Ended::Fault(fault)) => Err(status_of(fault)),
            };
        }
        let answered = match plan {
            Ok(plan) => Box::pin(self.single(plan, given)).await,
            Err(fault) => Err(fault),
        };
        match answered {
            Ok(reply) => call.replies.reply(reply.encode(Encoding::Proto)).await,
            Err(fault) => Err(status_of(fault)),
        }
    }

    // ---- JSON ---------------------------------------------------------------------------------

    /// Answers one HTTP request under `/v1/`.
    pub(crate) async fn exchange(&self, mut exchange: Exchange) -> grpc::Reply {
        let Some(method) = Method::of_json_path(exchange.parts.uri.path()) else {
            let path = exchange.parts.uri.path().escape_debug();
            return page_of(&Fault::new(
                Code::NotBuilt,
                format!("there is no call at {path}"),
            ));
        };
        if exchange.parts.method != http::Method::POST {
            let words = format!("{} is asked by POST", method.json_path());
            let mut page = Page::json(405, json_of(&Fault::new(Code::Malformed, words)));
            page.status = 405;
            return grpc::Reply::Page { page, keeps: true };
        }
        let body = match exchange.body().await {
            Ok(body) => body,
            Err(BodyError::Busy) => return page_of(&Code::Busy.into()),
            Err(BodyError::Gone) => return page_of(&Code::Malformed.into()),
            Err(error @ BodyError::TooLarge(_)) => {
                let fault = Fault::new(Code::TooLarge, error.to_string());
                let page = Page::json(fault.code().http(), json_of(&fault));
                // What is left of the body is not worth reading.
                return grpc::Reply::Page { page, keeps: false };
            }
        };
        let plan = match self.plan(method, body, Encoding::Json).await {
            Ok(plan) => plan,
            Err(fault) => return page_of(&fault),
        };
        if method.shape() == Shape::Stream {
            return self.events(plan);
        }
        match self.single(plan, Some(JSON_CALL_MAX)).await {
            Ok(reply) => {
                let json = text(&reply.encode(Encoding::Json));
                let page = Page::json(200, json);
                grpc::Reply::Page { page, keeps: true }
            }
            Err(fault) => page_of(&fault),
        }
    }

    /// A stream as server-sent events, made by a task of its own until the client is gone.
    fn events(&self, plan: Plan) -> grpc::Reply {
        let (sender, events) = Events::new();
        let native = Native(self.0.clone(), self.1.clone());
        tokio::task::spawn_local(async move {
            let streamed = native.stream(&plan, Out::Events(&sender)).await;
            if let Err(Ended::Fault(fault)) = streamed {
                tell_end(&sender, &fault).await;
            }
        });
        grpc::Reply::Events(events)
    }

    // ---- both ---------------------------------------------------------------------------------

    async fn plan(&self, method: Method, body: Bytes, encoding: Encoding) -> Result<Plan, Fault> {
        // Strangers hear nothing, not even what is wrong with their request.
        self.identity()?;
        if body.len() > UNDERSTOOD_AT_ONCE_BYTES_MAX {
            self.0.turns.enter().await;
        }
        let plan = self.0.planner.borrow_mut().plan(method, body, encoding)?;
        let is_local = matches!(plan, Plan::Status | Plan::Now);
        if !is_local && self.is_learner() {
            return Err(Code::Learner.into());
        }
        if !is_local && !self.0.is_ready() {
            self.0
                .ready()
                .await
                .map_err(|_| Fault::from(Code::NoAnswer))?;
        }
        Ok(plan)
    }

    /// Who asks, if that is root or nobody need say.
    pub(super) fn identity(&self) -> Result<Option<Identity>, Fault> {
        self.0.with_state(|state| self.identity_in(state))
    }

    /// As [`Native::identity`], as of `state`.
    fn identity_in(&self, state: &store::State) -> Result<Option<Identity>, Fault> {
        let who = self.0.doorkeeper.identify(&self.1, state);
        let who = who.map_err(|refusal| refusal_of(refusal).code())?;
        auth::permit_root(state, who.as_ref()).map_err(|it| refusal_of(it).code())?;
        Ok(who)
    }

    fn is_learner(&self) -> bool {
        let id = self.0.identity.member;
        self.0
            .with_state(|state| state.membership().learners.contains(&id))
    }

    /// One request, one answer. `given` is what the client's deadline leaves for it.
    async fn single(&self, plan: Plan, given: Option<Duration>) -> Result<Reply, Fault> {
        let own = self.0.config.request_timeout();
        let patience = given.unwrap_or(own).min(own);
        match plan {
            Plan::Propose {
                dialect,
                request,
                cost_bytes,
                retry,
                commit_wait,
                then,
            } => {
                self.write(Writing {
                    dialect,
                    request,
                    cost_bytes,
                    retry,
                    commit_wait,
                    then,
                })
                .await
            }
            Plan::Read { query, level } => self.read(&query, level, patience).await,
            Plan::Renew(lease) => {
                let answer = self.lease(lease, true).await?;
                if answer.is_some() && self.0.with_state(|state| state.lease(lease).is_none()) {
                    // Not here yet is not gone.
                    self.0.fresh(Level::Linearizable, patience).await?;
                }
                let fresh = LEADERS_WORD;
                let parts = self.0.native_header();
                self.0
                    .with_state(|state| native::answer_renew(state, lease, answer, &parts, &fresh))
            }
            Plan::LookLease { lease, keys } => {
                let left = self.lease(lease, false).await?.map(|it| it.remaining);
                self.0.fresh(Level::Linearizable, patience).await?;
                let fresh = LEADERS_WORD;
                let parts = self.0.native_header();
                self.0.with_state(|state| {
                    native::answer_look_lease(state, lease, keys, left, &parts, &fresh)
                })
            }
            Plan::Await {
                queue,
                token,
                timeout,
                level,
            } => {
                self.wait(&queue, token, shorter(timeout, given), level, patience)
                    .await
            }
            Plan::Acquire {
                dialect,
                request,
                cost_bytes,
                queue,
                timeout,
            } => {
                let timeout = shorter(timeout, given);
                self.acquire(Acquire {
                    dialect,
                    request,
                    cost_bytes,
                    queue,
                    timeout,
                })
                .await
            }
            Plan::Status => Ok(self.status().await),
            Plan::Now => Ok(self.now()),
            Plan::Watch(_) | Plan::Observe(_) => Err(Fault::new(
                Code::Internal,
                "a stream where one answer is due",
            )),
        }
    }

    async fn stream(&self, plan: &Plan, out: Out<'_>) -> Result<(), Ended> {
        match plan {
            Plan::Watch(plan) => self.watch(plan, out).await,
            Plan::Observe(queue) => self.observe(queue, out).await,
            _ => Err(Fault::new(Code::Internal, "one answer where a stream is due").into()),
        }
    }

    async fn write(&self, writing: Writing) -> Result<Reply, Fault> {
        if writing.commit_wait {
            self.check_clock()?;
        }
        let identity = self.identity()?;
        let (outcome, revision) = match self.check_room(writing.cost_bytes).await {
            Ok(()) => self.propose(&writing, identity).await?,
            Err(fault) => self.decided(&writing, identity).await.ok_or(fault)?,
        };
        let parts = self.0.native_header();
        let (reply, stamp) = self.0.with_state(|state| {
            let reply = native::answer_outcome(writing.then, &outcome, revision, state, &parts);
            let stamp = state.time_of(revision);
            (reply, stamp.unwrap_or_else(|| state.time()))
        });
        let took_effect = match &reply {
            Ok(_) => true,
            Err(fault) => fault.code().effect() == api::proto::Effect::Done,
        };
        if writing.commit_wait && took_effect {
            self.commit_wait(stamp).await;
        }
        reply
    }

    /// Asks the leader about a lease; nothing when it knows no such lease.
    async fn lease(&self, lease: LeaseId, renews: bool) -> Result<Option<Renewed>, Fault> {
        match self.0.lease(lease, renews).await {
            Ok(LeaseAnswer::Alive {
                remaining_ms,
                epoch,
            }) => Ok(Some(Renewed {
                remaining: Duration::from_millis(remaining_ms),
                epoch,
            })),
            Ok(LeaseAnswer::Gone) => Ok(None),
            Ok(LeaseAnswer::Stopped) => Err(Code::Stopped.into()),
            // A renewal whose answer did not come has at worst lengthened the lease.
            Err(_) => Err(Code::NoAnswer.into()),
        }
    }

    async fn propose(
        &self,
        writing: &Writing,
        identity: Option<Identity>,
    ) -> Result<(Outcome, Revision), Fault> {
        let (dialect, request) = (writing.dialect, writing.request.clone());
        let proposed = self.0.propose_to(dialect, request, writing.retry, identity);
        let answer = proposed.await.map_err(unanswered)?;
        match answer.outcome {
            Ok(outcome) => Ok((outcome, answer.revision)),
            Err(Dropped::PassedBySnapshot) => Err(Code::OutcomeUnknown.into()),
        }
    }

    /// What became of a numbered write before, where there is no room to ask the log.
    async fn decided(
        &self,
        writing: &Writing,
        identity: Option<Identity>,
    ) -> Option<(Outcome, Revision)> {
        let (dialect, request) = (writing.dialect, writing.request.clone());
        let decided = self.0.decided(dialect, request, writing.retry?, identity);
        decided.await.ok().flatten()
    }

    /// Refuses what would grow the data beyond the quota or the disk: one store, one quota, one alarm.
    async fn check_room(&self, cost_bytes: u64) -> Result<(), Fault> {
        if cost_bytes > 0 {
            // Those of other members too: what came this far would only be refused after a turn through the log.
            let forbidden = self.0.with_state(|state| etcd::forbids(state, || true));
            forbidden.map_err(|refusal| Fault::from(refusal_of(refusal)))?;
        }
        let front = Front(self.0.clone());
        match front.room(cost_bytes) {
            Room::There => return Ok(()),
            Room::NoDisk => {}
            // Whatever becomes of the alarm: there is no room.
            Room::OverQuota => drop(front.raise_no_space().await),
        }
        Err(Code::NoSpace.into())
    }
}

/// What a lease question's answer is worth: a majority confirmed the leader's office.
const LEADERS_WORD: Freshness = Freshness {
    level: api::proto::Level::Linearizable,
    how: api::proto::How::Quorum,
    staleness: None,
};

fn shorter(timeout: Option<Duration>, given: Option<Duration>) -> Option<Duration> {
    match (timeout, given) {
        (Some(timeout), Some(given)) => Some(timeout.min(given)),
        (one, other) => one.or(other),
    }
}

/// A request that the transport refuses, with our own words beside gRPC's: nothing of it was done.
fn transports(status: grpc::Status) -> grpc::Status {
    let code = match status.code {
        grpc::Code::ResourceExhausted if status.message.contains("larger than max") => {
            Code::TooLarge
        }
        grpc::Code::ResourceExhausted => Code::Busy,
        grpc::Code::Internal => Code::Malformed,
        _ => return status,
    };
    status_of(Fault::new(code, status.message))
}

/// etcd's refusal of a caller in our own words.
fn refusal_of(refusal: Refusal) -> native::Refusal {
    match refusal {
        Refusal::PermissionDenied => native::Refusal::Denied,
        Refusal::NoSpace => native::Refusal::NoSpace,
        Refusal::Corrupt => native::Refusal::Corrupt,
        _ => native::Refusal::Unauthenticated,
    }
}

/// The outcome of a command in the log that its sender may not give.
pub(crate) fn locked(refusal: Refusal) -> Outcome {
    native::Refused::from(refusal_of(refusal)).outcome()
}

/// Whether a request in the log may make the data larger.
pub(crate) fn grows(request: &[u8]) -> bool {
    native::Request::decode(request).is_ok_and(|request| request.grows())
}

/// What the client hears when its write was not answered.
fn unanswered(why: NotAnswered) -> Fault {
    match why {
        NotAnswered::Refused(why) => refused(why),
        NotAnswered::Unknown => Code::OutcomeUnknown.into(),
    }
}

/// A refusal of the node: certainly nothing happened.
fn refused(why: node::Refused) -> Fault {
    match why {
        node::Refused::Busy => Code::Busy.into(),
        node::Refused::TooLarge => Code::TooLarge.into(),
        node::Refused::Stopped => Code::Stopped.into(),
        node::Refused::NotLeader | node::Refused::BadTransferee => Code::Internal.into(),
    }
}

fn status_of(fault: Fault) -> grpc::Status {
    let code = grpc::Code::from_number(fault.code().grpc() as u8);
    let message = format!("{}: {}", fault.0.code, fault.0.message);
    grpc::Status::new(code, message).with_detail(fault.encode(Encoding::Proto))
}

fn page_of(fault: &Fault) -> grpc::Reply {
    let page = Page::json(fault.code().http(), json_of(fault));
    grpc::Reply::Page { page, keeps: true }
}

/// `{"error": …}`.
fn json_of(fault: &Fault) -> String {
    format!("{{\"error\":{}}}", text(&fault.encode(Encoding::Json)))
}

/// JSON is text.
fn text(json: &Bytes) -> String {
    String::from_utf8_lossy(json).into_owned()
}

async fn tell_end(sender: &EventSender, fault: &Fault) {
    // Whoever is gone does not hear why it ended.
    let _ = sender.send(Some("error"), json_of(fault).as_bytes()).await;
}
