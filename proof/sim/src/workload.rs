//! Small applications beside the mix: clients of their own, on keys of their own, one application a world.
//!
//! One seed in three draws one, from a generator of its own, so that all other worlds stay what they were.
//! What must hold is in `checker::invariant`, which also says what the keys and values mean. A worker
//! knows what its last look showed, changes that in one transaction whose conditions name what it saw, and
//! is told the present in the other branch. It may ask with old knowledge: the conditions are there for that.

use crate::client::get_now;
use base::{LeaseId, Revision, Rng};
use checker::invariant::{self, bank, cycle, fence, sign_up, tellers};
use checker::{
    Answer, Compare, Invariant, Key, Level, Operation, Outcome, Relation, Request, Row, Span,
    Target, Value,
};
use std::collections::BTreeMap;

/// Nodes that may be in the cycle.
const N_NODES: u64 = 9;

/// After so many revisions all turn to the next e-mail: whoever knows as much wants the same one.
const REVISIONS_PER_EMAIL: u64 = 40;

/// How long a lock outlives its silent holder.
const LOCK_TTL_S: u64 = 2;

/// What one world has beside the mix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Workload {
    /// Which application, with what it promises.
    pub invariant: Invariant,
    /// How many clients work at it.
    pub n_workers: u64,
}

impl Workload {
    /// All kinds, with a name each.
    pub const NAMES: [&'static str; 5] = ["bank", "cycle", "sign-up", "tellers", "fence"];

    /// What `seed` draws, or nothing.
    pub fn draw(seed: u64) -> Option<Workload> {
        let mut rng = Workload::rng(seed);
        if !rng.one_in(3) {
            return None;
        }
        let name = rng.pick(&Workload::NAMES)?;
        Workload::named(name, seed)
    }

    /// The application with this name, as big as `seed` wants it.
    pub fn named(name: &str, seed: u64) -> Option<Workload> {
        let mut rng = Workload::rng(seed).fork(1);
        let n_accounts = rng.between(2, 6);
        let invariant = match name {
            "bank" => Invariant::Bank { n_accounts },
            "cycle" => Invariant::Cycle,
            "sign-up" => Invariant::SignUp,
            "tellers" => Invariant::Tellers,
            "fence" => Invariant::Fence,
            _ => return None,
        };
        Some(Workload {
            invariant,
            n_workers: match invariant {
                Invariant::Tellers => 2,
                _ => rng.between(2, 4),
            },
        })
    }

    /// The worker with this number among all clients.
    pub fn worker(self, seed: u64, number: u64) -> Worker {
        Worker {
            number,
            invariant: self.invariant,
            rng: Workload::rng(seed).fork(number),
            n_values: 0,
            known: BTreeMap::new(),
            newest: Revision(1),
            lease: None,
            token: None,
            n_leases: 0,
        }
    }

    fn rng(seed: u64) -> Rng {
        Rng::new(seed ^ 0x574f_524b_0000_0001)
    }
}

/// The mind of one client of an application.
pub struct Worker {
    number: u64,
    invariant: Invariant,
    rng: Rng,
    n_values: u64,
    /// What its last look showed, and what it changed since.
    known: BTreeMap<Key, Row>,
    newest: Revision,
    /// Its lease and its token, as far as it knows.
    lease: Option<LeaseId>,
    token: Option<Revision>,
    n_leases: u64,
}

impl Worker {
    /// What it asks next: a look at everything, or a change of what it knows.
    pub fn next_request(&mut self) -> Request {
        if self.rng.one_in(3) {
            return self.look();
        }
        let change = match self.invariant {
            Invariant::Bank { n_accounts } => self.transfer(n_accounts),
            Invariant::Cycle => self.splice(),
            Invariant::SignUp => Some(self.sign_up()),
            Invariant::Tellers => Some(self.pay()),
            Invariant::Fence => Some(self.work()),
        };
        change.unwrap_or_else(|| look_now(Level::Linearizable))
    }

    /// Remembers what an operation of its own taught it.
    pub fn learn(&mut self, operation: &Operation) {
        self.learn_lock(operation);
        let Outcome::Answered { revision, answer } = &operation.outcome else {
            return;
        };
        self.newest = self.newest.max(*revision);
        match (&operation.request, answer) {
            (_, Answer::Rows(rows)) => self.learn_rows(rows),
            (Request::Txn { then, .. }, Answer::Txn { succeeded, answers }) => {
                if *succeeded {
                    then.iter().for_each(|done| self.did(done, *revision));
                }
                for answer in answers {
                    if let Answer::Rows(rows) = answer {
                        self.learn_rows(rows);
                    }
                }
            }
            _ => {}
        }
    }

    fn learn_rows(&mut self, rows: &[Row]) {
        let rows = rows.iter().map(|row| (row.key.clone(), row.clone()));
        self.known = rows.collect();
    }

    fn did(&mut self, request: &Request, revision: Revision) {
        match request {
            Request::Put { key, value, .. } => {
                let row = self.known.entry(key.clone()).or_default();
                row.key = key.clone();
                row.value = value.clone();
                row.modified = revision;
            }
            Request::Delete { span } => self.known.retain(|key, _| !span.contains(key)),
            _ => {}
        }
    }

    fn look(&mut self) -> Request {
        match self.rng.below(6) {
            0 | 1 => look_now(Level::Serializable),
            2 => {
                let back = self.rng.below(30);
                Request::Range {
                    span: invariant::span(),
                    at: Some(Revision(self.newest.0.saturating_sub(back).max(1))),
                    level: Level::Linearizable,
                }
            }
            _ => look_now(Level::Linearizable),
        }
    }

    /// What makes a value unique.
    fn tag(&mut self) -> String {
        self.n_values += 1;
        format!("c{}v{}", self.number, self.n_values)
    }

    fn pick(&mut self) -> Option<Row> {
        let at = self.rng.below(self.known.len() as u64) as usize;
        self.known.values().nth(at).cloned()
    }

    // ---- bank -------------------------------------------------------------------------------

    fn transfer(&mut self, n_accounts: u64) -> Option<Request> {
        if self.known.is_empty() {
            let opened = (0..n_accounts)
                .map(|n| put(bank::account(n), bank::value(bank::DEPOSIT, &self.tag())));
            return Some(open(opened.collect()));
        }
        let (from, to) = (self.pick()?, self.pick()?);
        let (has, had) = (bank::balance(&from)?, bank::balance(&to)?);
        if from.key == to.key || has == 0 {
            return None;
        }
        let amount = self.rng.between(1, has);
        Some(Request::Txn {
            compares: vec![unchanged(&from), unchanged(&to)],
            then: vec![
                put(from.key, bank::value(has - amount, &self.tag())),
                put(to.key, bank::value(had + amount, &self.tag())),
            ],
            otherwise: vec![look_now(Level::Linearizable)],
        })
    }

    // ---- cycle ------------------------------------------------------------------------------

    fn splice(&mut self) -> Option<Request> {
        if self.known.is_empty() {
            let n = self.rng.between(2, N_NODES - 2);
            let opened = (0..n)
                .map(|at| put(cycle::node(at), cycle::value((at + 1) % n, &self.tag())))
                .collect();
            return Some(open(opened));
        }
        let (before, other) = (self.pick()?, self.pick()?);
        let node = self.follower(&before)?;
        match self.rng.below(4) {
            0 if self.known.len() > 2 => self.take_out(before, node),
            1 => self.put_in(before),
            _ => self.move_behind(before, node, other),
        }
    }

    fn follower(&self, row: &Row) -> Option<Row> {
        self.known.get(&cycle::node(cycle::next(row)?)).cloned()
    }

    /// `before` → `node` → c becomes `before` → c.
    fn take_out(&mut self, before: Row, node: Row) -> Option<Request> {
        let after = cycle::next(&node)?;
        // That node 0 is there says that the cycle was opened: without it somebody might open it again.
        if node.key == cycle::node(0) {
            return None;
        }
        Some(Request::Txn {
            compares: vec![unchanged(&before), unchanged(&node)],
            then: vec![
                put(before.key, cycle::value(after, &self.tag())),
                Request::Delete {
                    span: Span::single(node.key),
                },
            ],
            otherwise: vec![look_now(Level::Linearizable)],
        })
    }

    /// `before` → c becomes `before` → a new node → c.
    fn put_in(&mut self, before: Row) -> Option<Request> {
        let new = self.rng.below(N_NODES);
        let key = cycle::node(new);
        if self.known.contains_key(&key) {
            return None;
        }
        let after = cycle::next(&before)?;
        Some(Request::Txn {
            compares: vec![unchanged(&before), absent(key.clone())],
            then: vec![
                put(before.key, cycle::value(new, &self.tag())),
                put(key, cycle::value(after, &self.tag())),
            ],
            otherwise: vec![look_now(Level::Linearizable)],
        })
    }

    /// `before` → `node` → c and `other` → e become `before` → c and `other` → `node` → e.
    fn move_behind(&mut self, before: Row, node: Row, other: Row) -> Option<Request> {
        if other.key == before.key || other.key == node.key || before.key == node.key {
            return None;
        }
        let (moved, c, e) = (
            cycle::number(&node)?,
            cycle::next(&node)?,
            cycle::next(&other)?,
        );
        Some(Request::Txn {
            compares: vec![unchanged(&before), unchanged(&node), unchanged(&other)],
            then: vec![
                put(before.key, cycle::value(c, &self.tag())),
                put(other.key, cycle::value(moved, &self.tag())),
                put(node.key, cycle::value(e, &self.tag())),
            ],
            otherwise: vec![look_now(Level::Linearizable)],
        })
    }

    // ---- one e-mail, two sign-ups -----------------------------------------------------------

    fn sign_up(&mut self) -> Request {
        let wanted = self.newest.0 / REVISIONS_PER_EMAIL;
        let (mail, user) = (sign_up::mail(wanted), sign_up::user(wanted, self.number));
        Request::Txn {
            compares: vec![absent(mail.clone())],
            then: vec![
                put(mail.clone(), sign_up::owned_by(&user, &self.tag())),
                put(user, sign_up::owner_of(&mail, &self.tag())),
            ],
            otherwise: vec![get_now(mail)],
        }
    }

    // ---- two tellers ------------------------------------------------------------------------

    /// Pays out of the newest till that it knows, or opens the next one when that is empty.
    fn pay(&mut self) -> Request {
        let till = self.known.values().next_back().cloned();
        let left = till.as_ref().and_then(tellers::left).unwrap_or(0);
        match till {
            Some(till) if left > 0 => {
                let amount = self.rng.between(1, 30).min(left as u64);
                let paid = tellers::value(left - amount as i64, amount, &self.tag());
                Request::Txn {
                    compares: vec![Compare {
                        key: till.key.clone(),
                        target: Target::Value(till.value),
                        relation: Relation::Equal,
                    }],
                    then: vec![put(till.key, paid)],
                    otherwise: vec![look_now(Level::Linearizable)],
                }
            }
            till => {
                let next = till
                    .as_ref()
                    .and_then(tellers::number)
                    .map_or(0, |number| number + 1);
                let float = tellers::value(tellers::FLOAT as i64, 0, &self.tag());
                open(vec![put(tellers::till(next), float)])
            }
        }
    }

    // ---- work under a lock ------------------------------------------------------------------

    /// Takes a lease, then the lock, then works; now and then it renews, or gives the lock back.
    fn work(&mut self) -> Request {
        match (self.lease, self.token) {
            (_, Some(token)) => self.work_with(token),
            (Some(lease), None) => {
                let tag = self.tag();
                open(vec![Request::Put {
                    key: fence::lock(),
                    value: tag.into_bytes(),
                    lease,
                }])
            }
            (None, None) => {
                self.n_leases += 1;
                Request::Grant {
                    lease: LeaseId((self.number << 32 | self.n_leases) as i64),
                    ttl: LOCK_TTL_S * 1_000_000_000,
                }
            }
        }
    }

    fn work_with(&mut self, token: Revision) -> Request {
        let then = match (self.rng.below(60), self.lease) {
            (0, _) => Request::Delete {
                span: Span::single(fence::lock()),
            },
            (1..9, Some(lease)) => return Request::Renew { lease },
            _ => {
                let key = fence::work(self.rng.below(3));
                put(key, fence::value(token, &self.tag()))
            }
        };
        Request::Txn {
            compares: vec![Compare {
                key: fence::lock(),
                target: Target::Create(token),
                relation: Relation::Equal,
            }],
            then: vec![then],
            otherwise: vec![look_now(Level::Linearizable)],
        }
    }

    /// What an operation told of the lease and the lock. Who lost the lock does not always believe it.
    fn learn_lock(&mut self, operation: &Operation) {
        match (&operation.request, &operation.outcome) {
            (Request::Grant { lease, .. }, Outcome::Answered { .. }) => self.lease = Some(*lease),
            (Request::Renew { .. }, Outcome::Refused { .. }) => self.lease = None,
            (_, Outcome::Refused { reason }) if reason.contains("lease") => self.lease = None,
            (
                Request::Txn { compares, then, .. },
                Outcome::Answered {
                    revision,
                    answer: Answer::Txn { succeeded, .. },
                },
            ) if compares.iter().any(|compare| compare.key == fence::lock()) => {
                let is_grant = compares
                    .iter()
                    .any(|it| it.target == Target::Create(Revision(0)));
                let gives_back = matches!(then.first(), Some(Request::Delete { .. }));
                if is_grant {
                    self.token = succeeded.then_some(*revision);
                    // Some fall asleep: they renew no more, and work on when the lock is gone.
                    if *succeeded && self.rng.one_in(2) {
                        self.lease = None;
                    }
                } else if gives_back || (!succeeded && self.rng.one_in(3)) {
                    self.token = None;
                }
            }
            _ => {}
        }
    }
}

/// Everything at once, as it is now.
fn look_now(level: Level) -> Request {
    Request::Range {
        span: invariant::span(),
        at: None,
        level,
    }
}

fn put(key: Key, value: Value) -> Request {
    Request::Put {
        key,
        value,
        lease: LeaseId::NONE,
    }
}

/// All of `puts`, unless the first key is there already.
fn open(puts: Vec<Request>) -> Request {
    let first = puts.iter().find_map(|put| match put {
        Request::Put { key, .. } => Some(key.clone()),
        _ => None,
    });
    Request::Txn {
        compares: first.map(absent).into_iter().collect(),
        then: puts,
        otherwise: vec![look_now(Level::Linearizable)],
    }
}

fn unchanged(row: &Row) -> Compare {
    Compare {
        key: row.key.clone(),
        target: Target::Modified(row.modified),
        relation: Relation::Equal,
    }
}

fn absent(key: Key) -> Compare {
    Compare {
        key,
        target: Target::Create(Revision(0)),
        relation: Relation::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_seeds_draw_each_application_and_most_draw_none() {
        let drawn: Vec<Workload> = (0..300).filter_map(Workload::draw).collect();
        assert!((70..130).contains(&drawn.len()), "{}", drawn.len());
        for name in Workload::NAMES {
            let n = drawn.iter().filter(|it| it.invariant.name() == name);
            assert!(n.count() > 10, "{name}");
            assert_eq!(
                Workload::named(name, 5).map(|it| it.invariant.name()),
                Some(name)
            );
        }
    }
}
