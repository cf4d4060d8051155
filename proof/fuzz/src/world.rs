//! A member without a cluster: a store, etcd's rules, a session and a desk of watches, joined as the
//! server joins them.

use base::{ClusterId, Instant, LeaseId, MemberId, Membership, Mutants, Term};
use bytes::Bytes;
use clock::HybridTime;
use etcd::proto::etcdserverpb as pb;
use etcd::{
    EtcdDialect, HeaderParts, Limits, Method, Plan, RangeChunks, Reply, Session, SnapshotStream,
    Status, WatchDesk,
};
use prost::Message;
use store::{Dialect, Genesis, Member, Stamp, State, Store};

/// What answers say of themselves.
pub(crate) const HEADER: HeaderParts = HeaderParts {
    cluster: ClusterId(7),
    member: MemberId(1),
    term: Term(3),
};

/// The member.
pub(crate) struct World {
    /// What is applied.
    pub(crate) store: Store,
    /// As last published.
    pub(crate) state: State,
    /// The desk of watches.
    pub(crate) desk: WatchDesk,
    session: Session,
    wall_ms: u64,
}

/// Bytes as etcd has them: whole messages.
pub(crate) fn body(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

impl World {
    /// A member that has just begun.
    pub(crate) fn new() -> World {
        let member = Member {
            id: MemberId(1),
            name: "n1".into(),
            peer_urls: vec!["http://127.0.0.1:2380".into()],
            client_urls: vec!["http://127.0.0.1:2379".into()],
            is_learner: false,
        };
        let store = Store::new(Genesis {
            membership: Membership::of_voters(vec![MemberId(1)]),
            members: vec![member],
        });
        let limits = Limits::default();
        World {
            state: store.publish(),
            store,
            desk: WatchDesk::new(HEADER, limits.request_bytes_max, Mutants::none()),
            session: Session::new(limits, 1),
            wall_ms: 1000,
        }
    }

    /// A member with a few keys, versions, deletions, leases and a compaction behind it.
    pub(crate) fn lived_in() -> World {
        let mut world = World::new();
        for (id, ttl) in [(7, 10), (8, 60)] {
            world.must(Method::LeaseGrant, &pb::LeaseGrantRequest { id, ttl });
        }
        for (n, key) in ["a", "b", "c", "dir/x", "dir/y", "a", "b"]
            .iter()
            .enumerate()
        {
            let lease = if n % 3 == 0 { 7 } else { 0 };
            world.put(key, &format!("value {n}"), lease);
        }
        world.delete("c");
        let revision = world.state.revision().0 as i64 - 4;
        world.must(
            Method::Compact,
            &pb::CompactionRequest {
                revision,
                physical: false,
            },
        );
        world.put("c", "again", 8);
        world.store.sweep(2);
        world.state = world.store.publish();
        world
    }

    fn must(&mut self, method: Method, request: &impl Message) {
        let answer = self.call(method, body(request));
        assert!(answer.is_ok(), "{method:?}: {answer:?}");
    }

    /// Puts a key.
    pub(crate) fn put(&mut self, key: &str, value: &str, lease: i64) {
        let request = pb::PutRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
            lease,
            ..Default::default()
        };
        // Hostile requests before it may have taken the lease, or raised an alarm.
        let _ = self.call(Method::Put, body(&request));
    }

    /// Deletes a key.
    pub(crate) fn delete(&mut self, key: &str) {
        let request = pb::DeleteRangeRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            ..Default::default()
        };
        let _ = self.call(Method::DeleteRange, body(&request));
    }

    /// What a client gets for a single request: all messages of the answer.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn call(&mut self, method: Method, body: Bytes) -> Result<Vec<Bytes>, Status> {
        let one = |bytes| Ok(vec![bytes]);
        match self.session.plan(method, body)? {
            Plan::Propose { request, .. } => self.apply(&request).and_then(one),
            Plan::Read(read) => one(answer(&self.state, &read.query)?),
            Plan::ReadStream(read) => self.stream(&read.query),
            Plan::LeaseTimeToLive { lease, keys } => one(self.time_to_live(lease, keys)),
            Plan::Change(op) => {
                etcd::check_cluster_op(&self.state, &op, etcd::LEARNERS_MAX)?;
                one(etcd::answer_members(&self.state, &HEADER))
            }
            Plan::Status => {
                let status = etcd::MemberStatus::default();
                one(etcd::answer_status(&self.state, &status, &HEADER))
            }
            Plan::Health { .. } => one(etcd::answer_health(etcd::Health::Serving)),
            Plan::Snapshot => {
                let mut stream = SnapshotStream::new(self.state.clone());
                let next = || stream.next_message().expect("a state can be laid out");
                Ok(std::iter::from_fn(next).collect())
            }
            // Whatever the hash is, the request that has it goes through the log.
            Plan::Password(change) => self.apply(&change.hashed("$2a$04$hash")).and_then(one),
            Plan::MoveLeader(_)
            | Plan::Defragment
            | Plan::Downgrade
            | Plan::Authenticate(_)
            | Plan::Recipe(_) => one(Bytes::new()),
        }
    }

    fn time_to_live(&self, lease: LeaseId, keys: bool) -> Bytes {
        let left = self.state.lease(lease);
        let left = left.map(|lease| lease.ttl_s as u64 * 1000);
        etcd::answer_lease_time_to_live(&self.state, lease, keys, left, &HEADER)
    }

    fn stream(&self, query: &etcd::Query) -> Result<Vec<Bytes>, Status> {
        let etcd::Query::Range(range) = query else {
            return Ok(Vec::new());
        };
        let mut chunks = RangeChunks::begin(&self.state, range, &HEADER, 4096)?;
        let mut out = Vec::new();
        while let Some(chunk) = chunks.next_message() {
            out.push(chunk);
            assert!(out.len() < 10_000, "a range without an end");
        }
        Ok(out)
    }

    /// Decides a request from the log.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn apply(&mut self, request: &[u8]) -> Result<Bytes, Status> {
        self.wall_ms += 1;
        let stamp = Stamp {
            time: HybridTime::new(self.wall_ms, 0),
            apply_version: 1,
            origin: MemberId(1),
        };
        let before = self.state.revision();
        let mut txn = self.store.begin(etcd::ROOT, &stamp);
        let outcome = EtcdDialect.apply(&mut txn, request, &stamp);
        let effects = txn.finish();
        self.state = self.store.publish();
        let after = self.state.revision();
        assert!(
            after == before || after == before.next(),
            "{before} to {after}"
        );
        assert!(
            outcome.is_done() || after == before,
            "a refusal took {after}"
        );
        self.desk.publish(&self.state, &effects.events);
        etcd::answer_outcome(&outcome, after, &HEADER)
    }

    /// A moment later than all before.
    pub(crate) fn now(&mut self) -> Instant {
        self.wall_ms += 700_000;
        Instant(self.wall_ms * 1_000_000)
    }
}

fn answer(state: &State, query: &etcd::Query) -> Result<Bytes, Status> {
    let mut steps = match etcd::answer(state, query, &HEADER)? {
        Reply::Whole(bytes) => return Ok(bytes),
        Reply::Steps(steps) => steps,
    };
    for _ in 0..100_000 {
        if let Some(bytes) = steps.step(100) {
            return bytes;
        }
    }
    panic!("an answer without an end");
}
