//! Histories by chance: from a seed alone, without a look at any answer, so that the n-th operation of a seed is
//! always the same one and any part of a history can be played again by its numbers.
//!
//! The world is small (a dozen keys, a few leases, four streams), so that operations meet. What depends on the
//! moment is a mark (`marks`): *three revisions ago*, *one before the compaction*.
//!
//! ```text
//!   generate/kv.rs       ranges, puts, deletes, compactions
//!   generate/txn.rs      transactions, nested
//!   generate/lease.rs    leases and renewals
//!   generate/watch.rs    messages on watch streams
//!   generate/cluster.rs  members, alarms, maintenance
//!   generate/recipe.rs   contests for locks and elections
//!   generate/auth.rs     users, roles, permissions, and everything above as somebody
//!   generate/raw.rs      bytes that no client of etcd's would send
//! ```

mod auth;
mod cluster;
mod filled;
mod kv;
mod lease;
mod raw;
mod recipe;
mod txn;
mod watch;

pub(crate) use auth::{root_token, user_number};
pub(crate) use lease::SHORT_LEASES;
pub(crate) use raw::is_odd;

use crate::marks::{COMPACTED, NOW};
use crate::operation::{Operation, Which};
use crate::watching::BARRIER_KEY;
use base::Rng;
use std::collections::VecDeque;

/// For so many operations no key hangs on a lease that a server named itself: such a lease is part of the hash, and
/// hashes can only be compared before.
const UNNAMED: u64 = 10_000;

/// What a history may contain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// Users, roles and permissions.
    pub(crate) has_auth: bool,
    /// Reads of a member's own state: not where several members answer.
    pub(crate) has_serializable: bool,
    /// Members, alarms and maintenance: where both have as many members.
    pub(crate) has_members: bool,
    /// What only etcd 3.7 has; and its library for protobuf takes other damaged bytes than ours and 3.6's.
    pub(crate) is_next: bool,
}

/// The operations of a seed, one after the other.
pub(crate) struct Generator {
    rng: Rng,
    scope: Scope,
    n_done: u64,
    /// Operations that stand together.
    block: VecDeque<Operation>,
    /// Who asks, while authentication is on.
    callers: auth::Callers,
}

impl Generator {
    /// The history of a seed.
    pub(crate) fn new(seed: u64, scope: Scope) -> Generator {
        Generator {
            rng: Rng::new(seed),
            scope,
            n_done: 0,
            block: VecDeque::new(),
            callers: auth::Callers::default(),
        }
    }

    fn next_operation(&mut self) -> Operation {
        if let Some(next) = self.block.pop_front() {
            return next;
        }
        let rng = &mut self.rng;
        match rng.below(1000) {
            0..300 => kv::operation(rng),
            300..560 => txn::operation(rng),
            560..680 => lease::operation(rng),
            680..760 => watch::operation(rng),
            760..850 => kv::operation(rng),
            850..890 if self.scope.has_members => cluster::operation(rng),
            890..940 => raw::operation(rng, self.scope.is_next),
            940..970 if self.scope.has_auth => auth::operation(rng),
            970..980 if self.scope.has_members => {
                self.block.extend(cluster::block(rng));
                Operation::Settle
            }
            980..982 => recipe::operation(rng),
            982 if self.scope.has_auth => {
                self.block.extend(auth::block(rng));
                Operation::Settle
            }
            983 if rng.one_in(10) => lease::expiry(rng),
            984 if rng.one_in(10) => {
                let which = [Which::Peer, Which::Ours, Which::Both];
                Operation::Restart(which[rng.below(3) as usize])
            }
            984 if rng.one_in(3) => {
                self.block.extend(watch::large(rng));
                Operation::Settle
            }
            985..990 => Operation::Settle,
            990..994 => recipe::ask(rng),
            994..1000 if self.scope.is_next => kv::stream(rng),
            _ => kv::operation(rng),
        }
    }
}

impl Iterator for Generator {
    type Item = Operation;

    fn next(&mut self) -> Option<Operation> {
        let mut operation = self.next_operation();
        self.callers.see(&mut self.rng, &mut operation);
        self.n_done += 1;
        if self.n_done <= UNNAMED {
            kv::leave_named_leases(&mut operation);
        }
        if !self.scope.has_serializable {
            kv::make_linearizable(&mut operation);
        }
        Some(operation)
    }
}

/// No more than these, a long one, and the barrier's: among more than 12 rows etcd's sort leaves equals in any order
/// (Go's `sort.Sort` is not stable), and nobody else can do the same.
const KEYS: &[&[u8]] = &[b"a", b"b", b"c", b"a/1", b"a\0", b"\0", b"\xff", b"dir/one"];

fn key(rng: &mut Rng) -> Vec<u8> {
    match rng.below(60) {
        0 => Vec::new(),
        1 => vec![b'k'; 300],
        _ => one_of(rng, KEYS).to_vec(),
    }
}

/// A key and the end of its range, in every shape that there is.
fn range(rng: &mut Rng) -> (Vec<u8>, Vec<u8>) {
    let first = key(rng);
    match rng.below(20) {
        0..9 => (first, Vec::new()),
        9..12 => (first, vec![0]),
        12 => (vec![0], vec![0]),
        13..16 => {
            let mut end = first.clone();
            if let Some(last) = end.last_mut() {
                *last = last.wrapping_add(1);
            }
            (first, end)
        }
        16 => (Vec::new(), vec![0]),
        _ => (first, key(rng)),
    }
}

fn value(rng: &mut Rng) -> Vec<u8> {
    match rng.below(400) {
        0 => vec![b'v'; 70_000],
        1..20 => vec![b'x'; 150],
        20..60 => Vec::new(),
        n => format!("{}", n % 4).into_bytes(),
    }
}

/// A revision as clients ask for one: mostly none, often near the present or the last compaction.
fn revision(rng: &mut Rng) -> i64 {
    match rng.below(20) {
        0..9 => 0,
        9..13 => NOW - small(rng, 12),
        13 => NOW,
        14 => NOW + small(rng, 3),
        15..18 => COMPACTED + small(rng, 4) - 1,
        18 => -small(rng, 3),
        _ => extreme(rng),
    }
}

/// Numbers at which programs break.
fn extreme(rng: &mut Rng) -> i64 {
    one_of(
        rng,
        &[i64::MIN, i64::MIN + 1, -1, 1, 2, i64::MAX - 1, i64::MAX],
    )
}

fn small(rng: &mut Rng, end: u64) -> i64 {
    i64::try_from(rng.below(end)).unwrap_or(0)
}

fn one_of<T: Copy>(rng: &mut Rng, items: &[T]) -> T {
    items[rng.below(items.len() as u64) as usize]
}

/// A member of an enumeration with `n` of them, and rarely none of it.
fn choice(rng: &mut Rng, n: u64) -> i32 {
    match rng.below(150) {
        0 => 77,
        1 => -1,
        _ => i32::try_from(rng.below(n)).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn history(seed: u64, n: usize) -> Vec<String> {
        let scope = Scope {
            has_auth: true,
            has_serializable: true,
            has_members: true,
            is_next: false,
        };
        let operations = Generator::new(seed, scope).take(n);
        operations.map(|operation| operation.to_string()).collect()
    }

    #[test]
    fn a_seed_has_one_history_and_a_shorter_one_is_its_beginning() {
        let long = history(7, 3000);
        assert_eq!(long, history(7, 3000));
        assert_eq!(long[..500], history(7, 500));
        assert_ne!(long, history(8, 3000));
    }

    #[test]
    fn every_kind_of_operation_comes() {
        let scope = Scope {
            has_auth: true,
            has_serializable: true,
            has_members: true,
            is_next: false,
        };
        let operations = Generator::new(1, scope).take(60_000);
        let kinds: BTreeSet<&str> = operations.map(|operation| operation.kind()).collect();
        // Nothing else is in the protocol but streams of answers, and what would end the cluster.
        let services = kinds.iter().filter(|kind| kind.contains('/')).count();
        assert!(services >= 45, "{kinds:?}");
        for kind in [
            "Lock contest",
            "Election contest",
            "lease expiry",
            "kill -9",
            "learner",
        ] {
            assert!(kinds.contains(kind), "{kind}");
        }
    }

    #[test]
    fn several_members_are_not_asked_for_their_own_state() {
        let scope = Scope {
            has_auth: false,
            has_serializable: false,
            has_members: false,
            is_next: false,
        };
        for operation in Generator::new(3, scope).take(5000) {
            let Operation::Ask(ask) = &operation else {
                continue;
            };
            let is_raw = matches!(ask.body, crate::operation::Body::Raw(_));
            assert!(
                is_raw || !operation.to_string().contains("serializable"),
                "{operation}"
            );
        }
    }
}
