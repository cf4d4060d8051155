//! One member without a network: a store, the desks, and the session half before them.
#![allow(dead_code, unreachable_pub)] // each test uses a part of it

use api::{Method, proto};
use base::{ClusterId, LeaseId, MemberId, Mutants, Revision, Term};
use bytes::Bytes;
use clock::HybridTime;
use native::{
    AnswerKind, Desk, Encoding, Fault, Freshness, HeaderParts, KeyDialect, LINES, Limits,
    LineDialect, Plan, Query, Reply, Session, WaitId, WatchDesk, Woken,
};
use std::time::Duration;
use store::command::DialectId;
use store::{Dialect, Event, Genesis, Outcome, RootId, Stamp, State, Store};

pub const CLUSTER: ClusterId = ClusterId(0xc1);

pub const PARTS: HeaderParts = HeaderParts {
    cluster: CLUSTER,
    member: MemberId(0xa),
    term: Term(3),
};

pub const FRESH: Freshness = Freshness {
    level: proto::Level::Linearizable,
    how: proto::How::Quorum,
    staleness: None,
};

pub struct Member {
    pub store: Store,
    pub session: Session,
    pub desk: Desk,
    pub watches: WatchDesk,
    pub woken: Vec<(WaitId, Woken)>,
    /// What the last command did.
    pub events: Vec<(RootId, Event)>,
    now_ms: u64,
}

impl Member {
    pub fn new() -> Member {
        Member::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Member {
        Member {
            store: Store::new(Genesis::default()),
            session: Session::new(limits, CLUSTER, 7),
            desk: Desk::new(20_000),
            watches: WatchDesk::new(PARTS, 1000, Duration::from_secs(10), Mutants::none()),
            woken: Vec::new(),
            events: Vec::new(),
            now_ms: 1_795_939_200_000,
        }
    }

    pub fn state(&self) -> State {
        self.store.publish()
    }

    /// Applies one command and tells the desks.
    pub fn apply(&mut self, dialect: DialectId, request: &[u8]) -> Outcome {
        let stamp = self.stamp();
        let decider: &dyn Dialect = match dialect {
            LINES => &LineDialect,
            _ => &KeyDialect,
        };
        let mut txn = self.store.begin(decider.root(), &stamp);
        let outcome = decider.apply(&mut txn, request, &stamp);
        let effects = txn.finish();
        self.tell(effects.events);
        outcome
    }

    fn stamp(&mut self) -> Stamp {
        self.now_ms += 1000;
        Stamp {
            time: HybridTime::new(self.now_ms, 0),
            ..Stamp::default()
        }
    }

    pub fn tell(&mut self, events: Vec<(RootId, Event)>) {
        let state = self.state();
        self.woken.extend(self.desk.publish(&state, &events));
        self.watches.publish(&state, &events);
        self.events = events;
    }

    /// Writes a key of another front.
    pub fn put_in(&mut self, root: RootId, key: &[u8], lease: i64) -> Revision {
        let stamp = self.stamp();
        let mut txn = self.store.begin(root, &stamp);
        txn.put(key, b"", LeaseId(lease));
        let effects = txn.finish();
        self.tell(effects.events);
        self.store.state().revision()
    }

    /// Ends a lease, as its expiry would.
    pub fn expire(&mut self, lease: i64) {
        let stamp = self.stamp();
        let mut txn = self.store.begin(RootId(0), &stamp);
        txn.lease_revoke(LeaseId(lease));
        let effects = txn.finish();
        self.tell(effects.events);
    }

    pub fn grant(&mut self, lease: i64) {
        let request = proto::GrantRequest { lease, ttl_s: 10 };
        let request = native::Request::Grant(request).encode();
        assert!(self.apply(native::KEYS, &request).is_done());
    }

    pub fn plan(&mut self, method: Method, json: &str) -> Result<Plan, Fault> {
        let body = Bytes::copy_from_slice(json.as_bytes());
        self.session.plan(method, body, Encoding::Json)
    }

    pub fn propose(
        &mut self,
        dialect: DialectId,
        request: &[u8],
        then: AnswerKind,
    ) -> Result<Reply, Fault> {
        let outcome = self.apply(dialect, request);
        let state = self.state();
        native::answer_outcome(then, &outcome, state.revision(), &state, &PARTS)
    }

    pub fn read(&self, query: &Query) -> Result<Reply, Fault> {
        native::answer(&self.state(), query, &PARTS, &FRESH)
    }

    /// Asks what needs no waiting.
    pub fn ask(&mut self, method: Method, json: &str) -> Result<Reply, Fault> {
        match self.plan(method, json)? {
            Plan::Propose {
                dialect,
                request,
                then,
                ..
            } => self.propose(dialect, &request, then),
            Plan::Read { query, .. } => self.read(&query),
            plan => panic!("{plan:?} is not asked like this"),
        }
    }
}
