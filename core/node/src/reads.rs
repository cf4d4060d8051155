//! Why a read is fresh: rounds of ReadIndex (Raft thesis §6.4), batched.
//!
//! ```text
//!   waiting ──start──► asked (one round) ──index known──► indexed ──applied ≥ index──► ready
//!      ▲                    │
//!      └──── round lost ────┘      (leader changed, message lost: asked again under a NEW number)
//! ```
//!
//! A read may only join a round that *starts after* the read arrived: the round's index is the leader's
//! commit index at its start, and a write acknowledged between that start and the read's arrival could
//! lie behind it. So while a round is under way, reads wait for the next one; that is also what batches
//! them. A lost round is asked again under a fresh number, never the same one: an old answer to a
//! repeated number is how etcd once served stale reads (issue 20418).
//!
//! A round that has brought its index also says how fresh the state is once that is applied: as of the round's
//! start, by this member's own clock ([`Reads::fresh`]; see [`crate::levels`]). Two kinds of read wait without
//! a round: a leader's own read for an index, and a session's read for a revision.
//!
//! Lease renewals ride on the same rounds: a renewal counts only once a majority has confirmed that the
//! one who counts is still the leader.

use base::limits::READS_WAITING_MAX;
use base::{Index, Instant, LeaseId, MemberId, Revision};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::effects::Ticket;

/// Who waits for a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiter {
    /// A read of one of this member's clients.
    Local(Ticket),
    /// The same, of a leader that needs no round: it waits only for what was decided when it came.
    Alone {
        /// The asker's number.
        ticket: Ticket,
        /// When it came.
        since: Instant,
    },
    /// A lease renewal, local or from another member.
    Renewal {
        /// Who asks: `None` for a client of this member.
        from: Option<MemberId>,
        /// The asker's number.
        ticket: Ticket,
        /// Which lease.
        lease: LeaseId,
    },
    /// A question about a lease's remaining time.
    Remaining {
        /// Who asks: `None` for a client of this member.
        from: Option<MemberId>,
        /// The asker's number.
        ticket: Ticket,
        /// Which lease.
        lease: LeaseId,
    },
}

/// A round under way.
#[derive(Debug)]
struct Round {
    attempt: u64,
    since: Instant,
    waiters: Vec<Waiter>,
    remote: BTreeMap<MemberId, u64>,
}

impl Waiter {
    /// The number of a client's read.
    fn read(&self) -> Option<Ticket> {
        match self {
            Waiter::Local(ticket) | Waiter::Alone { ticket, .. } => Some(*ticket),
            Waiter::Renewal { .. } | Waiter::Remaining { .. } => None,
        }
    }
}

/// Who waits for an index, and how fresh the state is with it.
#[derive(Debug, Default)]
struct Indexed {
    fresh: Option<Instant>,
    waiters: Vec<Waiter>,
}

/// Reads that were given up before a full queue is looked through for their places.
const SWEEP_MIN: usize = READS_WAITING_MAX / 64;

/// Forgotten reads that are kept in their places before all places are swept.
const FORGOTTEN_MIN: usize = 64;

/// The reads of one member.
#[derive(Debug, Default)]
pub struct Reads {
    waiting: Vec<Waiter>,
    /// The newest attempt of each other member that asks: it has given up its older ones.
    remote: BTreeMap<MemberId, u64>,
    round: Option<Round>,
    indexed: BTreeMap<Index, Indexed>,
    n_indexed: usize,
    /// Reads that wait for a revision.
    sessions: BTreeSet<(Revision, Ticket)>,
    /// Reads that nobody waits for, and that may still be somewhere above.
    forgotten: BTreeSet<Ticket>,
    fresh: Option<Instant>,
    last_attempt: u64,
}

impl Reads {
    /// Whether one more fits. The places of reads that nobody waits for are taken back when there are enough of them:
    /// looking through a full queue for each of them alone would make every read as dear as all.
    pub fn has_room(&mut self) -> bool {
        if self.n_waiting() >= READS_WAITING_MAX && self.forgotten.len() >= SWEEP_MIN {
            self.sweep();
        }
        self.n_waiting() < READS_WAITING_MAX
    }

    fn n_waiting(&self) -> usize {
        let in_round = self.round.as_ref().map_or(0, |round| round.waiters.len());
        self.waiting.len() + in_round + self.n_indexed + self.sessions.len()
    }

    /// Nobody waits for this read any more. Its place is free soon: looking for each one alone would take too
    /// long when very many are given up at once.
    pub fn forget(&mut self, ticket: Ticket) {
        self.forgotten.insert(ticket);
        if self.forgotten.len() > FORGOTTEN_MIN + self.n_waiting() / 2 {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        let forgotten = std::mem::take(&mut self.forgotten);
        self.keep(|waiter| waiter.read().is_none_or(|read| !forgotten.contains(&read)));
        self.sessions.retain(|(_, read)| !forgotten.contains(read));
    }

    /// Keeps only those of whom `is_kept` says so.
    fn keep(&mut self, is_kept: impl Fn(&Waiter) -> bool) {
        self.waiting.retain(&is_kept);
        if let Some(round) = &mut self.round {
            round.waiters.retain(&is_kept);
        }
        for indexed in self.indexed.values_mut() {
            indexed.waiters.retain(&is_kept);
        }
        self.n_indexed = self.indexed.values().map(|it| it.waiters.len()).sum();
    }

    /// The instant as of which the state is fresh; nothing while no round was ever applied.
    pub fn fresh(&self) -> Option<Instant> {
        self.fresh
    }

    /// Queues a read that needs no round until `index` is applied.
    pub fn push_alone(&mut self, ticket: Ticket, since: Instant, index: Index) {
        self.n_indexed += 1;
        let here = self.indexed.entry(index).or_default();
        here.waiters.push(Waiter::Alone { ticket, since });
    }

    /// Queues a read until the state is at `revision`.
    pub fn push_session(&mut self, ticket: Ticket, revision: Revision) {
        self.sessions.insert((revision, ticket));
    }

    /// Takes those reads whose revision is here.
    pub fn take_sessions(&mut self, revision: Revision) -> Vec<Ticket> {
        let mut ready = Vec::new();
        while let Some((wanted, ticket)) = self.sessions.first().copied() {
            if wanted > revision {
                break;
            }
            self.sessions.pop_first();
            if !self.forgotten.remove(&ticket) {
                ready.push(ticket);
            }
        }
        ready
    }

    /// Takes the reads of a leader that is none any more.
    pub fn take_alone(&mut self) -> Vec<Ticket> {
        let is_alone = |waiter: &Waiter| matches!(waiter, Waiter::Alone { .. });
        let waiters = self.indexed.values().flat_map(|it| &it.waiters);
        let alone = waiters.filter(|waiter| is_alone(waiter));
        let alone: Vec<Ticket> = alone.filter_map(Waiter::read).collect();
        if alone.is_empty() {
            return alone;
        }
        self.keep(|waiter| !is_alone(waiter));
        let forgotten = &mut self.forgotten;
        alone
            .into_iter()
            .filter(|ticket| !forgotten.remove(ticket))
            .collect()
    }

    /// Queues a read for the next round.
    pub fn push(&mut self, waiter: Waiter) {
        self.waiting.push(waiter);
    }

    /// Queues the round of another member, which this leader's next round answers.
    pub fn push_remote(&mut self, from: MemberId, attempt: u64) {
        self.remote.insert(from, attempt);
    }

    /// Whether a round should start now.
    pub fn wants_round(&self) -> bool {
        self.round.is_none() && !(self.waiting.is_empty() && self.remote.is_empty())
    }

    /// A number that was never given before. Numbers carry the incarnation above, so that an answer to
    /// a former life is not taken for one to this.
    pub fn fresh_number(&mut self, incarnation: u32) -> u64 {
        self.last_attempt += 1;
        (u64::from(incarnation) << 32) + self.last_attempt
    }

    /// Starts a round with everything that waits and returns its fresh number.
    pub fn start(&mut self, incarnation: u32, now: Instant) -> u64 {
        let attempt = self.fresh_number(incarnation);
        self.round = Some(Round {
            attempt,
            since: now,
            waiters: std::mem::take(&mut self.waiting),
            remote: std::mem::take(&mut self.remote),
        });
        attempt
    }

    /// The round `attempt` got its index; nothing happens when it is not the one under way: that is an
    /// old answer. Returns the other members that asked for it: they wait for their own apply, so
    /// they are answered at once.
    ///
    /// The state will be fresh as of the round's start; of `answered` when a planted bug says so.
    pub fn indexed(
        &mut self,
        attempt: u64,
        index: Index,
        answered: Option<Instant>,
    ) -> Vec<(MemberId, u64)> {
        let Some(round) = self.round.take_if(|round| round.attempt == attempt) else {
            return Vec::new();
        };
        self.n_indexed += round.waiters.len();
        let here = self.indexed.entry(index).or_default();
        here.fresh = here.fresh.max(Some(answered.unwrap_or(round.since)));
        here.waiters.extend(round.waiters);
        round.remote.into_iter().collect()
    }

    /// The round under way is lost; its reads wait again, before those that came later.
    pub fn lost(&mut self) {
        if let Some(round) = self.round.take() {
            let mut again: Vec<Waiter> = round.waiters;
            again.append(&mut self.waiting);
            self.waiting = again;
            for (from, attempt) in round.remote {
                self.remote.entry(from).or_insert(attempt);
            }
        }
    }

    /// Whether the round under way has had no answer for `patience`.
    pub fn is_overdue(&self, now: Instant, patience: Duration) -> bool {
        self.round
            .as_ref()
            .is_some_and(|round| now.since(round.since) >= patience)
    }

    /// Forgets what other members asked of this one: it does not lead any more.
    pub fn forget_remote(&mut self) {
        self.keep(|waiter| match waiter {
            Waiter::Local(_) | Waiter::Alone { .. } => true,
            Waiter::Renewal { from, .. } | Waiter::Remaining { from, .. } => from.is_none(),
        });
        self.remote.clear();
        if let Some(round) = &mut self.round {
            round.remote.clear();
        }
    }

    /// Takes those whose index is applied, in order of their index.
    pub fn take_ready(&mut self, applied: Index) -> Vec<Waiter> {
        if self
            .indexed
            .first_key_value()
            .is_none_or(|(index, _)| *index > applied)
        {
            return Vec::new();
        }
        let later = self.indexed.split_off(&applied.next());
        let mut ready = Vec::new();
        for here in std::mem::replace(&mut self.indexed, later).into_values() {
            self.fresh = self.fresh.max(here.fresh);
            ready.extend(here.waiters);
        }
        self.n_indexed -= ready.len();
        self.drop_forgotten(&mut ready);
        ready
    }

    fn drop_forgotten(&mut self, waiters: &mut Vec<Waiter>) {
        if !self.forgotten.is_empty() {
            let forgotten = &mut self.forgotten;
            waiters.retain(|waiter| waiter.read().is_none_or(|read| !forgotten.remove(&read)));
        }
    }

    /// Takes everything, when the member stops.
    pub fn take_all(&mut self) -> Vec<Waiter> {
        self.lost();
        self.remote.clear();
        let mut all = std::mem::take(&mut self.waiting);
        let indexed = std::mem::take(&mut self.indexed).into_values();
        all.extend(indexed.flat_map(|here| here.waiters));
        self.n_indexed = 0;
        let sessions = std::mem::take(&mut self.sessions).into_iter();
        all.extend(sessions.map(|(_, ticket)| Waiter::Local(ticket)));
        self.drop_forgotten(&mut all);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(n: u64) -> Waiter {
        Waiter::Local(Ticket(n))
    }

    #[test]
    fn a_read_that_comes_during_a_round_waits_for_the_next() {
        let mut reads = Reads::default();
        reads.push(local(1));
        let first = reads.start(1, Instant(0));
        reads.push(local(2));
        assert!(!reads.wants_round(), "a round is under way");
        reads.indexed(first, Index(5), None);
        assert_eq!(reads.take_ready(Index(4)), []);
        assert_eq!(reads.take_ready(Index(5)), [local(1)]);
        assert!(reads.wants_round());
        let second = reads.start(1, Instant(0));
        assert_ne!(first, second);
        reads.indexed(second, Index(5), None);
        assert_eq!(reads.take_ready(Index(9)), [local(2)]);
    }

    #[test]
    fn an_answer_to_a_lost_round_is_not_taken() {
        let mut reads = Reads::default();
        reads.push(local(1));
        let lost = reads.start(1, Instant(0));
        reads.lost();
        let again = reads.start(1, Instant(0));
        reads.indexed(lost, Index(1), None);
        assert_eq!(
            reads.take_ready(Index(9)),
            [],
            "the index of a lost round may be old"
        );
        reads.indexed(again, Index(2), None);
        assert_eq!(reads.take_ready(Index(9)), [local(1)]);
    }

    #[test]
    fn another_member_is_answered_as_soon_as_the_index_is_known() {
        let mut reads = Reads::default();
        // It has given up its earlier attempt; however often it asks, it takes one place.
        reads.push_remote(MemberId(2), 76);
        reads.push_remote(MemberId(2), 77);
        reads.push(local(1));
        let attempt = reads.start(1, Instant(0));
        assert_eq!(reads.indexed(attempt, Index(5), None), [(MemberId(2), 77)]);
        assert_eq!(reads.take_ready(Index(5)), [local(1)]);
    }

    #[test]
    fn a_full_queue_is_looked_through_for_many_given_up_reads_and_not_for_each() {
        let mut reads = Reads::default();
        for n in 0..READS_WAITING_MAX as u64 {
            reads.push(local(n));
        }
        for n in 0..SWEEP_MIN as u64 {
            assert!(!reads.has_room(), "{n} given up");
            reads.forget(Ticket(n));
        }
        assert!(reads.has_room());
        assert_eq!(reads.n_waiting(), READS_WAITING_MAX - SWEEP_MIN);
    }

    #[test]
    fn room_is_counted_through_all_stages() {
        let mut reads = Reads::default();
        for n in 0..READS_WAITING_MAX as u64 {
            assert!(reads.has_room());
            reads.push(local(n));
        }
        assert!(!reads.has_room());
        let attempt = reads.start(1, Instant(0));
        assert!(!reads.has_room());
        reads.indexed(attempt, Index(1), None);
        assert!(!reads.has_room());
        reads.take_ready(Index(1));
        assert!(reads.has_room());
    }
}
