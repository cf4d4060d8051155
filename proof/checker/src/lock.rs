//! Locks: tokens only rise, and whoever holds an older one writes nothing any more.
//!
//! A lock is a key that is created if it is absent; its token is the revision that created it. A fenced
//! write is a transaction whose condition names that revision. What is judged is what a user may rely on:
//! not that two never believe to hold the lock (nobody can promise that), but that the work of the one who
//! held it earlier has no effect once somebody holds it anew.

use crate::history::{Answer, Key, Operation, Outcome, Relation, Request, Target, text};
use crate::verdict::Violation;
use base::Revision;
use std::collections::BTreeMap;

/// One acknowledged step with a token.
struct Step<'a> {
    token: Revision,
    at: Revision,
    operation: &'a Operation,
}

#[derive(Default)]
struct Lock<'a> {
    grants: Vec<Step<'a>>,
    writes: Vec<Step<'a>>,
}

/// Judges every key that was created if it was absent, and every write that was fenced with one.
pub fn check(history: &[Operation]) -> Vec<Violation> {
    let mut locks: BTreeMap<&Key, Lock<'_>> = BTreeMap::new();
    for operation in history {
        gather(operation, &mut locks);
    }
    let mut violations = Vec::new();
    for (key, lock) in &locks {
        violations.extend(rises(key, &lock.grants));
        violations.extend(fences(key, lock));
    }
    violations
}

fn gather<'a>(operation: &'a Operation, locks: &mut BTreeMap<&'a Key, Lock<'a>>) {
    let (
        Request::Txn { compares, then, .. },
        Outcome::Answered {
            revision,
            answer: Answer::Txn {
                succeeded: true, ..
            },
        },
    ) = (&operation.request, &operation.outcome)
    else {
        return;
    };
    let writes = |request: &Request| matches!(request, Request::Put { .. });
    for compare in compares {
        let (Target::Create(token), Relation::Equal) = (&compare.target, compare.relation) else {
            continue;
        };
        let creates =
            |request: &Request| matches!(request, Request::Put { key, .. } if *key == compare.key);
        let lock = locks.entry(&compare.key).or_default();
        if *token == Revision(0) && then.iter().any(creates) {
            lock.grants.push(Step {
                token: *revision,
                at: *revision,
                operation,
            });
        } else if *token != Revision(0) && then.iter().any(writes) {
            lock.writes.push(Step {
                token: *token,
                at: *revision,
                operation,
            });
        }
    }
}

/// Of two grants that did not overlap the later one has the greater token; no two have the same.
fn rises(key: &Key, grants: &[Step<'_>]) -> Option<Violation> {
    for (at, first) in grants.iter().enumerate() {
        for second in &grants[at + 1..] {
            let (earlier, later) = match first.operation.call <= second.operation.call {
                true => (first, second),
                false => (second, first),
            };
            let in_order = earlier.operation.returned < later.operation.call;
            if earlier.token == later.token || (in_order && earlier.token > later.token) {
                let broken = Violation::new(
                    "tokens_only_rise",
                    format!(
                        "lock {}: token {}, then token {}\n  {}\n  {}",
                        text(key),
                        earlier.token,
                        later.token,
                        earlier.operation,
                        later.operation
                    ),
                );
                return Some(broken.by([earlier.operation.number, later.operation.number]));
            }
        }
    }
    None
}

/// A write with an older token has no effect behind a newer one, neither in time nor in the history.
fn fences(key: &Key, lock: &Lock<'_>) -> Option<Violation> {
    for write in &lock.writes {
        for newer in lock.grants.iter().filter(|grant| grant.token > write.token) {
            let is_late = newer.operation.returned < write.operation.call || newer.at <= write.at;
            if is_late {
                let broken = Violation::new(
                    "an_older_token_writes_nothing",
                    format!(
                        "lock {}: token {} wrote after token {} was given\n  {}\n  {}",
                        text(key),
                        write.token,
                        newer.token,
                        newer.operation,
                        write.operation
                    ),
                );
                return Some(broken.by([newer.operation.number, write.operation.number]));
            }
        }
    }
    None
}
