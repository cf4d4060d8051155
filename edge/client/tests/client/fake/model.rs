//! What the fake cluster knows: a map with history, leases, sessions and lines. Naive on purpose.

use api::proto::{self, Mode, QueueKind};
use api::{Code, Method};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(crate) struct Lease {
    pub(crate) ttl: Duration,
    pub(crate) ends: Instant,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) revision: u64,
    pub(crate) kvs: BTreeMap<Bytes, proto::KeyValue>,
    pub(crate) history: Vec<(u64, proto::Event)>,
    pub(crate) compacted: u64,
    pub(crate) leases: BTreeMap<i64, Lease>,
    /// Session → number, request, outcome.
    pub(crate) sessions: BTreeMap<i64, (u64, Bytes, Result<Bytes, proto::Error>)>,
    pub(crate) queues: BTreeMap<(i32, Bytes), Vec<proto::Standing>>,
    gates: BTreeMap<Bytes, u64>,
    /// Token → the revision of its newest enter.
    claims: BTreeMap<u64, u64>,
    /// The values of all puts, in the order in which they took effect.
    pub(crate) puts: Vec<Bytes>,
    pub(crate) epoch: u64,
    /// Renewals tell this instead of what is left.
    pub(crate) remaining_ms: Option<u64>,
    /// Leases never end by time.
    pub(crate) is_timeless: bool,
}

type Answer = Result<Bytes, proto::Error>;

fn bad(code: Code) -> proto::Error {
    code.error("")
}

impl Model {
    pub(crate) fn header(&self) -> proto::Header {
        let token = api::SessionToken::new(base::ClusterId(7), base::Revision(self.revision));
        proto::Header {
            cluster: 7,
            member: 1,
            term: self.epoch,
            revision: self.revision,
            time: "2026-01-01T00:00:00.000Z".to_owned(),
            level: proto::Level::Linearizable.into(),
            how: proto::How::Quorum.into(),
            staleness_ms: Some(0),
            session: token.to_string(),
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        let now = Instant::now();
        !self.is_timeless && self.leases.values().any(|lease| lease.ends <= now)
    }

    pub(crate) fn expire(&mut self) {
        let now = Instant::now();
        let due = self.leases.iter().filter(|(_, lease)| lease.ends <= now);
        for lease in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end_lease(lease);
        }
    }

    pub(crate) fn end_lease(&mut self, lease: i64) -> bool {
        if self.leases.remove(&lease).is_none() {
            return false;
        }
        self.sessions.remove(&lease);
        for line in self.queues.values_mut() {
            line.retain(|standing| standing.lease != lease);
        }
        let keys = self.kvs.values().filter(|kv| kv.lease == lease);
        let keys: Vec<_> = keys.map(|kv| kv.key.clone()).collect();
        if !keys.is_empty() {
            self.revision += 1;
            for key in keys {
                self.delete(&key);
            }
        }
        true
    }

    pub(crate) fn line(&self, kind: QueueKind, name: &str) -> &[proto::Standing] {
        let key = (kind as i32, Bytes::copy_from_slice(name.as_bytes()));
        self.queues.get(&key).map_or(&[], Vec::as_slice)
    }

    /// All places in all lines.
    pub(crate) fn n_places(&self) -> usize {
        self.queues.values().map(Vec::len).sum()
    }

    /// Decides a request with one answer.
    pub(crate) fn apply(&mut self, method: Method, body: Bytes) -> Answer {
        self.expire_unless_timeless();
        match method {
            Method::Put => self.numbered::<proto::PutRequest>(body, |it| &it.write, Model::put),
            Method::Delete => self.numbered(
                body,
                |it: &proto::DeleteRequest| &it.write,
                |m, it| m.delete_keys(it),
            ),
            Method::Txn => {
                self.numbered(body, |it: &proto::TxnRequest| &it.write, |m, it| m.txn(it))
            }
            _ => self.plain(method, body),
        }
    }

    fn expire_unless_timeless(&mut self) {
        if !self.is_timeless {
            self.expire();
        }
    }

    fn numbered<Q: Message + Default>(
        &mut self,
        body: Bytes,
        write: impl Fn(&Q) -> &Option<proto::Write>,
        decide: impl Fn(&mut Model, &Q) -> Answer,
    ) -> Answer {
        let request = Q::decode(body.clone()).expect("the client encodes well");
        let retry = write(&request).as_ref().and_then(|it| it.retry);
        let Some(retry) = retry else {
            return decide(self, &request);
        };
        if !self.leases.contains_key(&retry.session) {
            return Err(bad(Code::SessionOver));
        }
        if let Some((sequence, before, outcome)) = self.sessions.get(&retry.session) {
            match retry.sequence.cmp(sequence) {
                std::cmp::Ordering::Less => return Err(bad(Code::Superseded)),
                std::cmp::Ordering::Equal if *before == body => return outcome.clone(),
                std::cmp::Ordering::Equal => return Err(bad(Code::NumberReused)),
                std::cmp::Ordering::Greater => {}
            }
        }
        let outcome = decide(self, &request);
        let done = (retry.sequence, body, outcome.clone());
        self.sessions.insert(retry.session, done);
        outcome
    }

    fn plain(&mut self, method: Method, body: Bytes) -> Answer {
        fn of<Q: Message + Default>(body: Bytes) -> Q {
            Q::decode(body).expect("the client encodes well")
        }
        match method {
            Method::Get => self.get(&of(body)),
            Method::Range => self.range(&of(body)),
            Method::Compact => {
                let request: proto::CompactRequest = of(body);
                self.compacted = self.compacted.max(request.revision);
                self.say(|header| proto::CompactResponse { header })
            }
            Method::Grant => self.grant(&of(body)),
            Method::Renew => self.renew(&of(body)),
            Method::Revoke => {
                let request: proto::RevokeRequest = of(body);
                match self.end_lease(request.lease) {
                    true => self.say(|header| proto::RevokeResponse { header }),
                    false => Err(bad(Code::LeaseNotFound)),
                }
            }
            Method::LookLease => self.look_lease(&of(body)),
            Method::ListLeases => {
                let line = |(lease, it): (&i64, &Lease)| proto::LeaseLine {
                    lease: *lease,
                    ttl_s: it.ttl.as_secs(),
                    granted: String::new(),
                };
                let leases = self.leases.iter().map(line).collect();
                self.say(|header| proto::ListLeasesResponse { header, leases })
            }
            Method::Enter => self.enter(&of(body)),
            Method::Leave => self.leave(&of(body)),
            Method::Proclaim => self.proclaim(&of(body)),
            Method::LookQueue => {
                let request: proto::LookQueueRequest = of(body);
                let standings = self.standings(&request.queue.unwrap_or_default());
                self.say(|header| proto::LookQueueResponse { header, standings })
            }
            Method::Check => {
                let request: proto::CheckRequest = of(body);
                self.fences(&request.fences)?;
                self.say(|header| proto::CheckResponse { header })
            }
            Method::Status => self.say(|header| proto::StatusResponse {
                header,
                name: "fake".to_owned(),
                ..proto::StatusResponse::default()
            }),
            Method::Now => self.say(|header| proto::NowResponse {
                header,
                clock: None,
            }),
            Method::Put | Method::Delete | Method::Txn => unreachable!("numbered"),
            Method::Acquire | Method::Await | Method::Watch | Method::Observe => {
                Err(bad(Code::NotBuilt))
            }
        }
    }

    fn say<A: Message>(&self, answer: impl FnOnce(Option<proto::Header>) -> A) -> Answer {
        Ok(answer(Some(self.header())).encode_to_vec().into())
    }

    fn get(&self, request: &proto::GetRequest) -> Answer {
        let read = request.read.clone().unwrap_or_default();
        let kv = self.at(read.revision)?.get(&request.key).cloned();
        self.say(|header| proto::GetResponse { header, kv })
    }

    /// The keys as they were at `revision`; 0 for now.
    fn at(&self, revision: u64) -> Result<BTreeMap<Bytes, proto::KeyValue>, proto::Error> {
        if revision == 0 {
            return Ok(self.kvs.clone());
        }
        if revision > self.revision {
            return Err(bad(Code::Future));
        }
        if revision < self.compacted {
            let mut error = bad(Code::Compacted);
            error.revision = Some(self.compacted);
            return Err(error);
        }
        let mut kvs = BTreeMap::new();
        for (_, event) in self.history.iter().filter(|(at, _)| *at <= revision) {
            let kv = event.kv.clone().expect("events have keys");
            match event.kind() {
                proto::EventKind::Put => _ = kvs.insert(kv.key.clone(), kv),
                proto::EventKind::Delete => _ = kvs.remove(&kv.key),
            }
        }
        Ok(kvs)
    }

    fn range(&self, request: &proto::RangeRequest) -> Answer {
        let read = request.read.clone().unwrap_or_default();
        let keys = request.keys.clone().unwrap_or_default();
        let found = self.at(read.revision)?;
        let mut found: Vec<_> = found
            .into_values()
            .filter(|kv| is_in(&keys, &kv.key))
            .collect();
        if request.descending {
            found.reverse();
        }
        let count = found.len() as u64;
        let limit = match request.limit {
            0 => 1000,
            limit => limit as usize,
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().map(|kv| kv.key.clone()).unwrap_or_default();
        let next = match (more, request.descending) {
            (false, _) => Bytes::new(),
            (true, true) => last,
            (true, false) => [&last[..], &[0]].concat().into(),
        };
        if request.count_only {
            found.clear();
        }
        self.say(|header| proto::RangeResponse {
            header,
            kvs: found,
            count,
            more: more && !request.count_only,
            next,
        })
    }

    fn put(&mut self, request: &proto::PutRequest) -> Answer {
        let write = request.write.clone().unwrap_or_default();
        self.conditions(&write)?;
        self.fences(&write.fences)?;
        if request.lease != 0 && !self.leases.contains_key(&request.lease) {
            return Err(bad(Code::LeaseNotFound));
        }
        self.revision += 1;
        let previous = self.write(&request.key, &request.value, request.lease);
        let previous = previous.filter(|_| request.previous);
        self.say(|header| proto::PutResponse { header, previous })
    }

    fn write(&mut self, key: &Bytes, value: &Bytes, lease: i64) -> Option<proto::KeyValue> {
        let before = self.kvs.get(key).cloned();
        let kv = proto::KeyValue {
            key: key.clone(),
            value: value.clone(),
            create_revision: before
                .as_ref()
                .map_or(self.revision, |kv| kv.create_revision),
            mod_revision: self.revision,
            version: before.as_ref().map_or(1, |kv| kv.version + 1),
            lease,
            time: String::new(),
        };
        self.kvs.insert(key.clone(), kv.clone());
        self.puts.push(value.clone());
        let event = proto::Event {
            kind: proto::EventKind::Put.into(),
            kv: Some(kv),
            previous: before.clone(),
        };
        self.history.push((self.revision, event));
        before
    }

    fn delete(&mut self, key: &Bytes) -> Option<proto::KeyValue> {
        let before = self.kvs.remove(key)?;
        let event = proto::Event {
            kind: proto::EventKind::Delete.into(),
            kv: Some(proto::KeyValue {
                key: key.clone(),
                mod_revision: self.revision,
                ..proto::KeyValue::default()
            }),
            previous: Some(before.clone()),
        };
        self.history.push((self.revision, event));
        Some(before)
    }

    fn delete_keys(&mut self, request: &proto::DeleteRequest) -> Answer {
        let write = request.write.clone().unwrap_or_default();
        self.conditions(&write)?;
        self.fences(&write.fences)?;
        self.revision += 1;
        let previous = self.delete_in(&request.keys.clone().unwrap_or_default());
        self.say(|header| proto::DeleteResponse {
            header,
            deleted: previous.len() as u64,
            previous: match request.previous {
                true => previous,
                false => Vec::new(),
            },
        })
    }

    fn delete_in(&mut self, keys: &proto::Keys) -> Vec<proto::KeyValue> {
        let found: Vec<_> = self
            .kvs
            .keys()
            .filter(|key| is_in(keys, key))
            .cloned()
            .collect();
        found.iter().filter_map(|key| self.delete(key)).collect()
    }

    fn txn(&mut self, request: &proto::TxnRequest) -> Answer {
        let write = request.write.clone().unwrap_or_default();
        self.fences(&write.fences)?;
        let succeeded = self.conditions(&write).is_ok();
        let operations = match succeeded {
            true => &request.then,
            false => &request.otherwise,
        };
        if operations.iter().any(|it| it.range.is_none()) {
            self.revision += 1;
        }
        let mut results = Vec::new();
        for operation in operations {
            let mut result = proto::OperationResult::default();
            if let Some(put) = &operation.put {
                result
                    .kvs
                    .extend(self.write(&put.key, &put.value, put.lease));
                result.count = 1;
            }
            if let Some(delete) = &operation.delete {
                result.kvs = self.delete_in(&delete.keys.clone().unwrap_or_default());
                result.count = result.kvs.len() as u64;
            }
            if let Some(range) = &operation.range {
                let keys = range.keys.clone().unwrap_or_default();
                let found = self.kvs.values().filter(|kv| is_in(&keys, &kv.key));
                result.kvs = found.cloned().collect();
                result.count = result.kvs.len() as u64;
            }
            results.push(result);
        }
        self.say(|header| proto::TxnResponse {
            header,
            succeeded,
            results,
        })
    }

    fn conditions(&self, write: &proto::Write) -> Result<(), proto::Error> {
        for condition in &write.conditions {
            let kv = self.kvs.get(&condition.key);
            let revision = kv.map_or(0, |kv| kv.mod_revision);
            let holds = condition.mod_revision.is_none_or(|it| it == revision)
                && condition
                    .version
                    .is_none_or(|it| it == kv.map_or(0, |kv| kv.version))
                && condition.exists.is_none_or(|it| it == kv.is_some())
                && condition
                    .value
                    .as_ref()
                    .is_none_or(|it| kv.is_some_and(|kv| kv.value == *it))
                && condition
                    .create_revision
                    .is_none_or(|it| it == kv.map_or(0, |kv| kv.create_revision));
            if !holds {
                let mut error = bad(Code::ConditionFailed);
                error.revision = Some(revision);
                error.key = Some(condition.key.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    fn fences(&self, fences: &[proto::Fence]) -> Result<(), proto::Error> {
        for fence in fences {
            let queue = fence.queue.clone().unwrap_or_default();
            let standings = self.standings(&queue);
            let newest = standings
                .iter()
                .filter(|it| it.is_held)
                .map(|it| it.token)
                .max();
            let code = match standings.iter().find(|it| it.token == fence.token) {
                Some(standing) if standing.is_held => continue,
                Some(_) => Code::NotHeld,
                None => Code::StaleToken,
            };
            let mut error = bad(code);
            error.token = Some(fence.token);
            error.newest_token = newest;
            return Err(error);
        }
        Ok(())
    }

    fn grant(&mut self, request: &proto::GrantRequest) -> Answer {
        if self.leases.contains_key(&request.lease) {
            return Err(bad(Code::LeaseExists));
        }
        let ttl = Duration::from_secs(request.ttl_s);
        let ends = Instant::now() + ttl;
        self.leases.insert(request.lease, Lease { ttl, ends });
        self.say(|header| proto::GrantResponse {
            header,
            lease: request.lease,
            ttl_s: request.ttl_s,
            epoch: self.epoch,
        })
    }

    fn renew(&mut self, request: &proto::RenewRequest) -> Answer {
        let lease = self.leases.get_mut(&request.lease);
        let lease = lease.ok_or_else(|| bad(Code::LeaseNotFound))?;
        lease.ends = Instant::now() + lease.ttl;
        let ttl_s = lease.ttl.as_secs();
        self.say(|header| proto::RenewResponse {
            header,
            lease: request.lease,
            ttl_s,
            remaining_ms: self.remaining_ms.unwrap_or(ttl_s * 1000),
            epoch: self.epoch,
        })
    }

    fn look_lease(&self, request: &proto::LookLeaseRequest) -> Answer {
        let lease = self.leases.get(&request.lease);
        let lease = lease.ok_or_else(|| bad(Code::LeaseNotFound))?;
        let keys = self.kvs.values().filter(|kv| kv.lease == request.lease);
        self.say(|header| proto::LookLeaseResponse {
            header,
            lease: request.lease,
            ttl_s: lease.ttl.as_secs(),
            remaining_ms: lease
                .ends
                .saturating_duration_since(Instant::now())
                .as_millis() as u64,
            granted: String::new(),
            keys: keys.map(|kv| kv.key.clone()).collect(),
        })
    }

    fn enter(&mut self, request: &proto::EnterRequest) -> Answer {
        if !self.leases.contains_key(&request.lease) {
            return Err(bad(Code::LeaseNotFound));
        }
        let queue = request.queue.clone().unwrap_or_default();
        let key = (queue.kind, queue.name.clone());
        self.revision += 1;
        let line = self.queues.entry(key).or_default();
        let mine = |it: &&proto::Standing| it.lease == request.lease && it.owner == request.owner;
        let token = match line.iter().find(mine) {
            Some(standing) => standing.token,
            None if line.first().is_some_and(|it| it.permits != request.permits) => {
                return Err(bad(Code::BadPermits));
            }
            None => {
                line.push(proto::Standing {
                    token: self.revision,
                    mode: request.mode,
                    permits: request.permits,
                    lease: request.lease,
                    owner: request.owner.clone(),
                    value: request.value.clone(),
                    ..proto::Standing::default()
                });
                if queue.kind() == QueueKind::Barrier {
                    let gate = self.gates.entry(queue.name.clone()).or_default();
                    let behind = line.iter().filter(|it| it.token > *gate).count();
                    if behind >= request.permits as usize {
                        *gate = self.revision;
                    }
                }
                self.revision
            }
        };
        let is_held = self.is_held(&queue, token) == Some(true);
        self.claims.insert(token, self.revision);
        self.say(|header| proto::EnterResponse {
            header,
            token,
            is_held,
            claim: self.revision,
        })
    }

    fn leave(&mut self, request: &proto::LeaveRequest) -> Answer {
        let queue = request.queue.clone().unwrap_or_default();
        let line = self.queues.entry((queue.kind, queue.name)).or_default();
        let n_before = line.len();
        let claim = self.claims.get(&request.token).copied().unwrap_or(0);
        if request.claim == 0 || request.claim == claim {
            line.retain(|standing| standing.token != request.token);
        }
        match line.len() < n_before {
            true => self.say(|header| proto::LeaveResponse { header }),
            false => Err(bad(Code::StaleToken)),
        }
    }

    fn proclaim(&mut self, request: &proto::ProclaimRequest) -> Answer {
        let key = (QueueKind::Election as i32, request.name.clone());
        let line = self.queues.entry(key).or_default();
        match line.first_mut() {
            Some(leader) if leader.token == request.token => leader.value = request.value.clone(),
            _ => return Err(bad(Code::StaleToken)),
        }
        self.say(|header| proto::ProclaimResponse { header })
    }

    /// Whether a place holds; nothing when there is no such place.
    pub(crate) fn is_held(&self, queue: &proto::Queue, token: u64) -> Option<bool> {
        let standings = self.standings(queue);
        let standing = standings.into_iter().find(|it| it.token == token);
        standing.map(|standing| standing.is_held)
    }

    pub(crate) fn standings(&self, queue: &proto::Queue) -> Vec<proto::Standing> {
        let key = (queue.kind, queue.name.clone());
        let mut line = self.queues.get(&key).cloned().unwrap_or_default();
        let gate = self.gates.get(&queue.name).copied().unwrap_or(0);
        let mut alone_before = false;
        for (index, standing) in line.iter_mut().enumerate() {
            let shares = standing.mode() == Mode::Shared;
            standing.is_held = match queue.kind() {
                QueueKind::Semaphore => index < standing.permits as usize,
                QueueKind::Barrier => standing.token <= gate,
                QueueKind::Lock if shares => !alone_before,
                _ => index == 0,
            };
            alone_before |= !shares;
        }
        line
    }
}

pub(crate) fn is_in(keys: &proto::Keys, key: &[u8]) -> bool {
    if keys.all {
        return true;
    }
    if !keys.key.is_empty() {
        return keys.key == key;
    }
    if !keys.prefix.is_empty() {
        return key.starts_with(&keys.prefix);
    }
    key >= &keys.start[..] && (keys.end.is_empty() || key < &keys.end[..])
}
