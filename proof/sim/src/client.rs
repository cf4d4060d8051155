//! What clients ask: requests drawn from a mix, every value unique.
//!
//! A client has one request under way. It remembers the versions and leases that it met, so that its
//! conditions are sometimes true; it knows nothing of members. A retry is a new request.

use crate::plan::Plan;
use base::{LeaseId, Revision, Rng};
use checker::invariant::PREFIX;
use checker::{
    Answer, Compare, Key, Level, Operation, Outcome, Relation, Request, Row, Span, Target, Time,
};
use std::collections::BTreeMap;

/// The shortest time to live that clients ask for, in seconds.
const TTL_S_MIN: u64 = 2;

/// One client's mind.
pub struct Client {
    /// Its number, from 1.
    pub number: u64,
    rng: Rng,
    n_values: u64,
    n_leases: u64,
    seen: BTreeMap<Key, (Revision, u64)>,
    newest: Revision,
    lease: Option<LeaseId>,
    /// The last lease that was given up or lost.
    old_lease: Option<LeaseId>,
    /// What a curious client draws from: what else it asks is the same without.
    curiosity: Rng,
}

impl Client {
    /// A client that has met nothing yet.
    pub fn new(number: u64, rng: Rng) -> Client {
        Client {
            number,
            curiosity: rng.clone().fork(0x4355),
            old_lease: None,
            rng,
            n_values: 0,
            n_leases: 0,
            seen: BTreeMap::new(),
            newest: Revision(1),
            lease: None,
        }
    }

    /// What it asks next.
    pub fn next(&mut self, plan: &Plan) -> Request {
        let mix = &plan.mix;
        let mut draw = self.rng.below(mix.sum());
        let mut is = |part: u64| {
            let hit = draw < part;
            draw = draw.wrapping_sub(part);
            hit
        };
        if is(mix.put) {
            self.put(plan, LeaseId::NONE)
        } else if is(mix.get) {
            self.get(plan, Level::Linearizable)
        } else if is(mix.get_serializable) {
            self.get(plan, Level::Serializable)
        } else if is(mix.range) {
            let level = if self.rng.one_in(3) {
                Level::Serializable
            } else {
                Level::Linearizable
            };
            let at = self
                .rng
                .one_in(4)
                .then(|| Revision(self.newest.0.saturating_sub(self.rng.below(30)).max(1)));
            Request::Range {
                span: self.span(plan),
                at,
                level,
            }
        } else if is(mix.delete) {
            Request::Delete {
                span: self.doomed(plan),
            }
        } else if is(mix.swap) {
            self.swap(plan)
        } else if is(mix.txn) {
            self.txn(plan)
        } else {
            self.lease(plan)
        }
    }

    /// A linearizable get.
    pub fn fresh_get(&mut self, plan: &Plan) -> Request {
        self.get(plan, Level::Linearizable)
    }

    /// A write that nothing can refuse: the last proof that the cluster lives.
    pub fn last_write(&mut self) -> Request {
        self.n_values += 1;
        Request::Put {
            key: format!("last{}", self.number).into_bytes(),
            value: self.value(),
            lease: LeaseId::NONE,
        }
    }

    /// Remembers what an operation of its own taught it.
    pub fn learn(&mut self, operation: &Operation) {
        let before = self.lease;
        match (&operation.request, &operation.outcome) {
            (Request::Grant { lease, .. }, Outcome::Answered { .. }) => self.lease = Some(*lease),
            (Request::Revoke { .. }, _) => self.lease = None,
            (Request::Renew { .. }, Outcome::Refused { .. }) => self.lease = None,
            (_, Outcome::Refused { reason }) if reason.contains("lease") => self.lease = None,
            _ => {}
        }
        self.old_lease = before.filter(|_| self.lease != before).or(self.old_lease);
        if let Outcome::Answered { revision, answer } = &operation.outcome {
            self.newest = self.newest.max(*revision);
            self.learn_answer(answer);
        }
    }

    fn learn_answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Rows(rows) => rows.iter().for_each(|row| self.learn_row(row)),
            Answer::Put {
                previous: Some(Some(row)),
            } => self.learn_row(row),
            Answer::Txn { answers, .. } => answers.iter().for_each(|a| self.learn_answer(a)),
            _ => {}
        }
    }

    fn learn_row(&mut self, row: &Row) {
        self.seen
            .insert(row.key.clone(), (row.modified, row.version));
    }

    fn key(&mut self, plan: &Plan) -> Key {
        format!("k{}", self.rng.below(plan.n_keys)).into_bytes()
    }

    fn value(&mut self) -> Vec<u8> {
        self.n_values += 1;
        let mut value = format!("c{}v{}", self.number, self.n_values).into_bytes();
        // Some values are big enough to cross sectors and frames.
        if self.rng.one_in(20) {
            value.push(b'-');
            value.resize(self.rng.between(100, 5_000) as usize, b'x');
        }
        value
    }

    fn span(&mut self, plan: &Plan) -> Span {
        match self.rng.below(4) {
            0 => Span::all(),
            1 => {
                let end = self.rng.below(plan.n_keys + 1);
                Span::between("k0", format!("k{end}"))
            }
            _ => Span::single(self.key(plan)),
        }
    }

    /// What it deletes: the keys of an application are not everybody's.
    fn doomed(&mut self, plan: &Plan) -> Span {
        let span = self.span(plan);
        match plan.workload {
            Some(_) if span == Span::all() => Span::between("k", PREFIX),
            _ => span,
        }
    }

    fn put(&mut self, plan: &Plan, lease: LeaseId) -> Request {
        Request::Put {
            key: self.key(plan),
            value: self.value(),
            lease,
        }
    }

    fn get(&mut self, plan: &Plan, level: Level) -> Request {
        Request::Range {
            span: Span::single(self.key(plan)),
            at: None,
            level,
        }
    }

    fn swap(&mut self, plan: &Plan) -> Request {
        let key = self.key(plan);
        let compare = self.compare(key.clone());
        Request::Txn {
            compares: vec![compare],
            then: vec![Request::Put {
                key: key.clone(),
                value: self.value(),
                lease: LeaseId::NONE,
            }],
            otherwise: vec![get_now(key)],
        }
    }

    fn compare(&mut self, key: Key) -> Compare {
        let (modified, version) = self.seen.get(&key).copied().unwrap_or((Revision(0), 0));
        let (target, relation) = match self.rng.below(6) {
            0 => (Target::Version(version), Relation::Equal),
            1 => (Target::Modified(Revision(0)), Relation::Equal),
            2 => (Target::Modified(self.newest), Relation::Less),
            _ => (Target::Modified(modified), Relation::Equal),
        };
        Compare {
            key,
            target,
            relation,
        }
    }

    fn txn(&mut self, plan: &Plan) -> Request {
        let n_compares = self.rng.below(3);
        let compares = (0..n_compares)
            .map(|_| {
                let key = self.key(plan);
                self.compare(key)
            })
            .collect();
        // Each key once: etcd refuses a transaction that puts a key twice.
        let branch = |client: &mut Client| {
            let first = client.rng.below(plan.n_keys);
            let n = client.rng.between(1, plan.n_keys.min(3));
            let key = |at: u64| format!("k{}", (first + at) % plan.n_keys).into_bytes();
            let mut requests = Vec::new();
            for at in 0..n {
                requests.push(match client.rng.below(4) {
                    0 => Request::Delete {
                        span: Span::single(key(at)),
                    },
                    1 => get_now(key(at)),
                    _ => Request::Put {
                        key: key(at),
                        value: client.value(),
                        lease: LeaseId::NONE,
                    },
                });
            }
            requests
        };
        let then = branch(self);
        let otherwise = if self.rng.one_in(2) {
            Vec::new()
        } else {
            branch(self)
        };
        Request::Txn {
            compares,
            then,
            otherwise,
        }
    }

    fn lease(&mut self, plan: &Plan) -> Request {
        if plan.curious
            && let Some(lease) = self.old_lease
            && self.curiosity.one_in(4)
        {
            return Request::Renew { lease };
        }
        let Some(lease) = self.lease else {
            self.n_leases += 1;
            let ttl = self.rng.between(TTL_S_MIN, 5) * 1_000_000_000;
            return Request::Grant {
                lease: LeaseId((self.number << 32 | self.n_leases) as i64),
                ttl,
            };
        };
        match self.rng.below(10) {
            0 => Request::Revoke { lease },
            // Left to its own end.
            1 => {
                self.lease = None;
                self.put(plan, lease)
            }
            2..6 => Request::Renew { lease },
            _ => self.put(plan, lease),
        }
    }
}

/// One key, as it is now.
pub(crate) fn get_now(key: Key) -> Request {
    Request::Range {
        span: Span::single(key),
        at: None,
        level: Level::Linearizable,
    }
}

/// An operation without an outcome yet.
pub fn asked(number: u64, client: u64, call: Time, request: Request) -> Operation {
    Operation {
        number,
        client,
        call,
        returned: Time(u64::MAX),
        request,
        outcome: Outcome::Unknown,
    }
}
