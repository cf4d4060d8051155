//! Who lets leases expire: the leader, and only by a replicated command.
//!
//! The state says which leases exist; only the leader keeps deadlines, in its own monotonic time. They
//! are never replicated: a new leader gives every lease its full time again, so a change of leader can
//! lengthen a lease and never shorten it. When a deadline passes, the leader *proposes* to revoke; the
//! keys go when that is applied, at one revision.
//!
//! A leader that stalled (stopped process, hung machine) must not expire in bulk what its clients could
//! not renew meanwhile: [`LeaseClock::tick`] notices the gap between two ticks and gives it back to
//! every lease. The same holds when the leader ran but could not have answered a renewal (its disk hangs, its
//! apply lags): then the node does not call it, and that looks like a stall. It also proposes at most
//! [`EXPIRIES_MAX`] at a time.
//!
//! Invariant: `deadlines` and `by_time` describe the same set.

use base::{Instant, LeaseId, Mark, invariant};
use clock::HybridTime;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::State;

/// Leases in one proposal to revoke.
pub const EXPIRIES_MAX: usize = 500;

/// A longer gap between two ticks than this is a stall, and is given back.
const STALL: Duration = Duration::from_millis(250);

/// Ask again for a revocation that was proposed and not applied for so long.
const PROPOSE_AGAIN: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    ttl: Duration,
    granted: HybridTime,
    /// When its revocation was proposed: it can no longer be renewed.
    proposed: Option<Instant>,
}

/// The deadlines of all leases, on the leader.
#[derive(Debug, Default)]
pub struct LeaseClock {
    deadlines: BTreeMap<LeaseId, Deadline>,
    by_time: BTreeSet<(Instant, LeaseId)>,
    last_tick: Option<Instant>,
}

impl LeaseClock {
    /// Starts an office: every lease of `state` gets its full time from now.
    pub fn promote(&mut self, state: &State, now: Instant, from_grant: bool, wall_ms: u64) {
        *self = LeaseClock {
            last_tick: Some(now),
            ..LeaseClock::default()
        };
        for lease in state.leases() {
            let ttl = Duration::from_secs(u64::try_from(lease.ttl_s).unwrap_or(0));
            // The planted bug counts from the grant: it shortens a lease that was renewed since.
            let spent = if from_grant {
                Duration::from_millis(wall_ms.saturating_sub(lease.granted.physical_ms()))
            } else {
                Duration::ZERO
            };
            self.set(
                lease.id,
                now + ttl.saturating_sub(spent),
                ttl,
                lease.granted,
            );
        }
    }

    /// Ends an office: nothing is known any more.
    pub fn demote(&mut self) {
        *self = LeaseClock::default();
    }

    /// A lease was granted.
    pub fn granted(&mut self, lease: LeaseId, ttl_s: i64, granted: HybridTime, now: Instant) {
        let ttl = Duration::from_secs(u64::try_from(ttl_s).unwrap_or(0));
        self.set(lease, now + ttl, ttl, granted);
    }

    /// A lease is gone.
    pub fn revoked(&mut self, lease: LeaseId) {
        if let Some(deadline) = self.deadlines.remove(&lease) {
            self.by_time.remove(&(deadline.at, lease));
        }
    }

    /// Renews a lease; returns its full time, or nothing when it is gone or its revocation is already
    /// proposed.
    pub fn renew(&mut self, lease: LeaseId, now: Instant) -> Option<Duration> {
        let deadline = *self.deadlines.get(&lease)?;
        if deadline.proposed.is_some() {
            return None;
        }
        self.set(lease, now + deadline.ttl, deadline.ttl, deadline.granted);
        Some(deadline.ttl)
    }

    /// How long a lease has left; nothing when it is gone or its time is over.
    pub fn remaining(&self, lease: LeaseId, now: Instant) -> Option<Duration> {
        let deadline = self.deadlines.get(&lease)?;
        let is_over = deadline.proposed.is_some() || deadline.at <= now;
        (!is_over).then(|| deadline.at.since(now))
    }

    /// Lets time pass; returns leases whose revocation is to be proposed, each with the time of its
    /// grant, so that a later lease of the same number is not revoked by mistake. `is_unforgiving` is a planted
    /// bug.
    pub fn tick(&mut self, now: Instant, is_unforgiving: bool) -> Vec<(LeaseId, HybridTime)> {
        let gap = self
            .last_tick
            .map_or(Duration::ZERO, |last| now.since(last));
        self.last_tick = Some(now);
        if gap > STALL && !is_unforgiving {
            Mark::LeaseTimeGivenBack.reach();
            self.give_back(gap);
            return Vec::new();
        }
        let mut due = Vec::new();
        for (at, lease) in &self.by_time {
            if *at > now || due.len() == EXPIRIES_MAX {
                break;
            }
            let Some(deadline) = self.deadlines.get_mut(lease) else {
                continue;
            };
            if deadline
                .proposed
                .is_none_or(|then| now.since(then) >= PROPOSE_AGAIN)
            {
                deadline.proposed = Some(now);
                due.push((*lease, deadline.granted));
            }
        }
        due
    }

    /// Lengthens every lease by `gap`.
    fn give_back(&mut self, gap: Duration) {
        self.by_time.clear();
        for (lease, deadline) in &mut self.deadlines {
            deadline.at += gap;
            self.by_time.insert((deadline.at, *lease));
        }
    }

    fn set(&mut self, lease: LeaseId, at: Instant, ttl: Duration, granted: HybridTime) {
        self.revoked(lease);
        self.deadlines.insert(
            lease,
            Deadline {
                at,
                ttl,
                granted,
                proposed: None,
            },
        );
        self.by_time.insert((at, lease));
    }

    /// Checks the invariant.
    pub fn check(&self) {
        invariant!(
            self.deadlines.len() == self.by_time.len(),
            "deadlines and their order differ"
        );
        for (lease, deadline) in &self.deadlines {
            invariant!(
                self.by_time.contains(&(deadline.at, *lease)),
                "lease {lease} has no place"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    fn clock_with(leases: u64) -> LeaseClock {
        let mut clock = LeaseClock::default();
        clock.tick(at(0), false);
        for n in 1..=leases {
            clock.granted(LeaseId(n as i64), 2, HybridTime(n), at(0));
        }
        clock
    }

    /// Ticks every 10 ms from `from` to `to` and returns the leases that came due.
    fn run(clock: &mut LeaseClock, from: u64, to: u64) -> Vec<LeaseId> {
        let mut due = Vec::new();
        for ms in (from..=to).step_by(10) {
            due.extend(
                clock
                    .tick(at(ms), false)
                    .into_iter()
                    .map(|(lease, _)| lease),
            );
            clock.check();
        }
        due
    }

    #[test]
    fn a_lease_comes_due_once_and_not_early() {
        let mut clock = clock_with(1);
        assert_eq!(run(&mut clock, 10, 1990), []);
        assert_eq!(run(&mut clock, 2000, 3000), [LeaseId(1)]);
        assert_eq!(
            clock.renew(LeaseId(1), at(3000)),
            None,
            "its end is already proposed"
        );
    }

    #[test]
    fn a_renewed_lease_lives_on() {
        let mut clock = clock_with(1);
        run(&mut clock, 10, 1500);
        assert_eq!(
            clock.renew(LeaseId(1), at(1500)),
            Some(Duration::from_secs(2))
        );
        assert_eq!(run(&mut clock, 1510, 3490), []);
        assert_eq!(run(&mut clock, 3500, 3600), [LeaseId(1)]);
    }

    #[test]
    fn a_stalled_leader_expires_nothing_in_bulk() {
        let mut clock = clock_with(100);
        run(&mut clock, 10, 1000);
        // Stopped for ten seconds: nobody could renew meanwhile.
        assert_eq!(clock.tick(at(11_000), false), []);
        assert_eq!(run(&mut clock, 11_010, 11_980), []);
        assert_eq!(run(&mut clock, 11_990, 12_100).len(), 100);
    }

    #[test]
    fn a_revocation_that_is_lost_is_proposed_again() {
        let mut clock = clock_with(1);
        assert_eq!(run(&mut clock, 10, 3990), [LeaseId(1)]);
        assert_eq!(run(&mut clock, 4000, 4100), [LeaseId(1)]);
    }
}
