//! A member without a cluster, for tests: a store, the dialect and a session, joined as `node` and
//! `edge/server` join them.
#![allow(dead_code)] // each test uses its part

use base::{ClusterId, LeaseId, MemberId, Mutants, Term};
use bytes::Bytes;
use clock::HybridTime;
use etcd::auth::{self, Caller, Needs};
use etcd::proto::etcdserverpb as pb;
use etcd::{
    Credentials, EtcdDialect, HeaderParts, Limits, Method, Plan, Query, Refusal, Reply, Session,
    Status, StreamId, WatchDesk,
};
use prost::Message;
use store::{Dialect, Genesis, Member, Stamp, State, Store};

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) state: State,
    pub(crate) session: Session,
    pub(crate) desk: WatchDesk,
    pub(crate) header: HeaderParts,
    pub(crate) wall_ms: u64,
    /// Who asks from now on.
    pub(crate) caller: Caller,
}

pub(crate) const HEADER: HeaderParts = HeaderParts {
    cluster: ClusterId(7),
    member: MemberId(1),
    term: Term(3),
};

impl World {
    pub(crate) fn new() -> World {
        World::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> World {
        World::of_version(limits, 4)
    }

    /// One that decides by this version of the rules.
    pub(crate) fn of_version(limits: Limits, version: u16) -> World {
        let member = Member {
            id: MemberId(1),
            name: "n1".into(),
            peer_urls: vec!["http://127.0.0.1:2380".into()],
            client_urls: vec!["http://127.0.0.1:2379".into()],
            is_learner: false,
        };
        let mut store = Store::new(Genesis {
            membership: base::Membership::of_voters(vec![MemberId(1)]),
            members: vec![member],
        });
        store.raise_apply_version(version);
        let state = store.publish();
        World {
            store,
            state,
            session: Session::new(limits, 1),
            desk: WatchDesk::new(HEADER, limits.request_bytes_max, Mutants::none()),
            header: HEADER,
            wall_ms: 1000,
            caller: Ok(None),
        }
    }

    /// What a client gets for a unary request.
    pub(crate) fn call_bytes(&mut self, method: Method, body: Bytes) -> Result<Bytes, Status> {
        let plan = self.session.plan(method, body)?;
        // As the edge does, before anything is done about it.
        auth::permit_caller(&self.state, &self.caller, &Needs::of_plan(&plan)?)
            .map_err(|refusal| auth::told(&self.state, &plan, refusal))?;
        match plan {
            Plan::Propose { request, .. } => self.apply(&request),
            Plan::Read(read) => answer_as(&self.state, &self.caller, &read.query),
            // The hash of a test is the password behind a word.
            Plan::Password(change) => {
                let hash = format!("hash of {}", change.password().reveal());
                self.apply(&change.hashed(&hash))
            }
            Plan::Authenticate(credentials) => self.authenticate(&credentials),
            Plan::Downgrade => Err(Refusal::DowngradeUnimplemented.into()),
            Plan::LeaseTimeToLive { lease, keys } => {
                let left = self
                    .state
                    .lease(lease)
                    .map(|lease| lease.ttl_s as u64 * 1000);
                Ok(etcd::answer_lease_time_to_live(
                    &self.state,
                    lease,
                    keys,
                    left,
                    &self.header,
                ))
            }
            Plan::Change(op) => {
                etcd::check_cluster_op(&self.state, &op, etcd::LEARNERS_MAX)?;
                Ok(etcd::answer_members(&self.state, &self.header))
            }
            Plan::Status => {
                let status = etcd::MemberStatus::default();
                Ok(etcd::answer_status(&self.state, &status, &self.header))
            }
            Plan::Health { .. } => Ok(etcd::answer_health(etcd::Health::Serving)),
            Plan::ReadStream(_) | Plan::MoveLeader(_) | Plan::Defragment | Plan::Snapshot => {
                Ok(Bytes::new())
            }
            // `tests/recipes.rs` takes them step by step.
            Plan::Recipe(_) => Ok(Bytes::new()),
        }
    }

    pub(crate) fn apply(&mut self, request: &[u8]) -> Result<Bytes, Status> {
        self.wall_ms += 1;
        let stamp = Stamp {
            time: HybridTime::new(self.wall_ms, 0),
            apply_version: 1,
            origin: MemberId(1),
        };
        let mut txn = self.store.begin(etcd::ROOT, &stamp);
        txn.act_for(self.caller.clone().unwrap_or(None));
        let outcome = EtcdDialect.apply(&mut txn, request, &stamp);
        let effects = txn.finish();
        self.state = self.store.publish();
        self.desk.authorise(&self.state);
        self.desk.publish(&self.state, &effects.events);
        etcd::answer_outcome(&outcome, self.state.revision(), &self.header)
    }

    pub(crate) fn call<Q: Message, A: Message + Default>(
        &mut self,
        method: Method,
        request: &Q,
    ) -> Result<A, Status> {
        let bytes = self.call_bytes(method, request.encode_to_vec().into())?;
        Ok(A::decode(bytes).expect("answers decode"))
    }

    pub(crate) fn put(&mut self, key: &str, value: &str) {
        let request = pb::PutRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
            ..Default::default()
        };
        let _: pb::PutResponse = self.call(Method::Put, &request).unwrap();
    }

    pub(crate) fn delete(&mut self, key: &str) {
        let request = pb::DeleteRangeRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            ..Default::default()
        };
        let _: pb::DeleteRangeResponse = self.call(Method::DeleteRange, &request).unwrap();
    }

    pub(crate) fn compact(&mut self, revision: i64) {
        let request = pb::CompactionRequest {
            revision,
            physical: false,
        };
        let _: pb::CompactionResponse = self.call(Method::Compact, &request).unwrap();
    }

    /// Removes what compaction has hidden.
    pub(crate) fn sweep(&mut self) {
        while self.store.is_sweeping() {
            self.store.sweep(1000);
        }
        self.state = self.store.publish();
    }

    /// Hands a watch request in; what is sent at once.
    pub(crate) fn watch(
        &mut self,
        stream: StreamId,
        request: pb::WatchRequest,
    ) -> Vec<pb::WatchResponse> {
        let bytes = request.encode_to_vec().into();
        let handled = self
            .desk
            .handle_as(stream, &bytes, &self.state, &self.caller);
        decode(handled.unwrap())
    }

    /// As the edge does it, but for bcrypt.
    fn authenticate(&mut self, credentials: &Credentials) -> Result<Bytes, Status> {
        if !auth::is_enabled(&self.state) {
            return Err(Refusal::AuthNotEnabled.into());
        }
        let user = auth::user(&self.state, credentials.name.as_bytes());
        let given = format!("hash of {}", credentials.password.reveal());
        let user = user.filter(|user| user.password == given);
        if user.is_none() {
            return Err(Refusal::AuthFailed.into());
        }
        let letters = "abcdefghijklmnop";
        let issue = auth::IssueToken {
            user: credentials.name.clone(),
            checked: auth::revision(&self.state),
            digest: auth::Token::digest(letters),
        };
        let answer = self.apply(&issue.request())?;
        // The header, then the number.
        let number = auth::last_token(&self.state);
        assert!(answer.ends_with(&[16, number as u8]));
        let token = format!("{letters}.{number}");
        let revision = self.state.revision();
        Ok(etcd::answer_authenticate(&token, revision, &self.header))
    }

    /// From now on, `name` asks, whose name is established as of now; or nobody.
    pub(crate) fn ask_as(&mut self, name: Option<&str>) {
        let name = name.map(|name| Bytes::copy_from_slice(name.as_bytes()));
        self.caller = Ok(name.map(|name| auth::user_identity(&self.state, name)));
    }

    /// Everything that a stream has to say.
    pub(crate) fn drain(&mut self, stream: StreamId) -> Vec<pb::WatchResponse> {
        let mut all = Vec::new();
        while self.desk.is_ready(stream) {
            all.extend(decode(self.desk.poll(stream, &self.state, 1 << 20)));
        }
        all
    }
}

pub(crate) fn decode(messages: Vec<Bytes>) -> Vec<pb::WatchResponse> {
    let decode = |bytes| pb::WatchResponse::decode(bytes).expect("responses decode");
    messages.into_iter().map(decode).collect()
}

pub(crate) fn answer(state: &State, query: &Query) -> Result<Bytes, Status> {
    answer_as(state, &Ok(None), query)
}

pub(crate) fn answer_as(state: &State, caller: &Caller, query: &Query) -> Result<Bytes, Status> {
    match etcd::answer_as(state, caller, query, &HEADER)? {
        Reply::Whole(bytes) => Ok(bytes),
        Reply::Steps(mut steps) => loop {
            if let Some(bytes) = steps.step(100) {
                return bytes;
            }
        },
    }
}

pub(crate) fn lease(id: i64) -> LeaseId {
    LeaseId(id)
}

/// So many cases, and no files left behind: a failure prints its smallest input.
pub(crate) fn cases(cases: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        cases,
        failure_persistence: None,
        ..Default::default()
    }
}
