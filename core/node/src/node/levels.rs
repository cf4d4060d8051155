//! How reads of each level are answered, and how a leader comes to answer them on its own.

use super::Node;
use crate::clocks::ClockOffset;
use crate::effects::{Effects, ReadFailed, Refused, Ticket};
use crate::levels::{How, NoLease, ReadGrant, ReadLevel, ReadNow};
use crate::promises::{JUMP_REST, Needs};
use crate::reads::Waiter;
use base::{Instant, Mark, MemberId, Message, MessageKind, Mutant, PeerMessage, Term};
use clock::guard::DriftBound;
use consensus::Role;
use consensus::gate::TRANSFER_CONTEXT;
use std::collections::BTreeMap;
use std::time::Duration;

impl Node {
    /// A read of `level`. `now` is a reading of the monotonic clock that was taken when the read came. Tickets
    /// are never used twice.
    ///
    /// After the look at the published root that a lease read is granted, call [`Node::lease_holds`].
    ///
    /// # Errors
    /// A refusal is certain.
    pub fn read_at(
        &mut self,
        ticket: Ticket,
        level: ReadLevel,
        now: Instant,
    ) -> Result<ReadNow, Refused> {
        if !self.serves() {
            return Err(Refused::Stopped);
        }
        let now = self.now.max(now);
        match level {
            ReadLevel::Linearizable => {}
            ReadLevel::Lease => return self.read_alone(ticket, now),
            ReadLevel::Bounded(behind_max) => {
                let is_fresh = self
                    .reads
                    .fresh()
                    .is_some_and(|fresh| now.since(fresh) <= behind_max);
                if is_fresh || self.config.mutants.has(Mutant::BoundedNeverAsks) {
                    return Ok(ReadNow::Granted(self.grant(How::Local)));
                }
                Mark::BoundedReadAsks.reach();
            }
            ReadLevel::Session(revision) => {
                if self.machine.state().revision() >= revision
                    || self.config.mutants.has(Mutant::SessionDoesNotWait)
                {
                    return Ok(ReadNow::Granted(self.grant(How::Local)));
                }
                self.make_room()?;
                Mark::SessionReadWaits.reach();
                self.reads.push_session(ticket, revision);
                return Ok(ReadNow::Waits);
            }
            ReadLevel::Sequential => return Ok(ReadNow::Granted(self.grant(How::Local))),
        }
        self.make_room()?;
        self.reads.push(Waiter::Local(ticket));
        Ok(ReadNow::Waits)
    }

    fn make_room(&mut self) -> Result<(), Refused> {
        if self.reads.has_room() {
            Ok(())
        } else {
            Err(Refused::Busy)
        }
    }

    /// Nobody waits for this read any more: its deadline is over. A grant that is on its way may still come.
    pub fn forget_read(&mut self, ticket: Ticket) {
        Mark::ReadForgotten.reach();
        self.reads.forget(ticket);
    }

    /// Whether what was read under `grant` may be answered: to be asked after the look at the state, with a reading
    /// of the clock that was taken after it. Always so for a grant without a lease.
    pub fn lease_holds(&self, grant: &ReadGrant, now: Instant) -> bool {
        grant.how != How::Lease
            || self.config.mutants.has(Mutant::LeaseNotCheckedAgain)
            || self.serves()
                && grant.term == self.leadership.term
                && self.lease_at(self.now.max(now)).is_ok()
    }

    /// The driver saw the wall clock jump: for a while no clock here is good for a lease. To be called before anything
    /// else is done with a reading from after the jump.
    pub fn clock_jumped(&mut self, now: Instant) {
        Mark::ClockDistrusted.reach();
        self.now = self.now.max(now);
        self.jumped = Some(self.now);
        if self.config.read_lease.is_some() {
            // The monotonic clock may have leapt with it, over the end of a promise.
            self.promise.give(self.now, self.config.promise());
        }
    }

    /// How the other members' wall clocks differ from this member's, by the newest answer of each.
    pub fn clock_offsets(&self) -> BTreeMap<MemberId, ClockOffset> {
        self.clocks.offsets(self.now)
    }

    // ---- answers ----------------------------------------------------------------------------

    /// Leave to look at the state as it is.
    pub(super) fn grant(&self, how: How) -> ReadGrant {
        ReadGrant {
            how,
            fresh_as_of: self.reads.fresh(),
            valid_until: None,
            term: self.leadership.term,
        }
    }

    fn read_alone(&mut self, ticket: Ticket, now: Instant) -> Result<ReadNow, Refused> {
        if let Err(reason) = self.lease_at(now) {
            return Ok(ReadNow::Failed(ReadFailed::NoLease(reason)));
        }
        // Whatever was acknowledged before now was decided by this leader or before its term, so it is at
        // or before this index: nobody hears of a decision before the one who counts.
        let decided = self.replica.status().commit;
        let is_applied = self.machine.state().applied().index >= decided;
        if is_applied || self.config.mutants.has(Mutant::LeaseReadBeforeApply) {
            return Ok(match self.grant_alone(now, now) {
                Ok(grant) => ReadNow::Granted(grant),
                Err(failed) => ReadNow::Failed(failed),
            });
        }
        self.make_room()?;
        Mark::LeaseReadWaits.reach();
        self.reads.push_alone(ticket, now, decided);
        Ok(ReadNow::Waits)
    }

    /// The answer to a lease read that came at `since`, when what was decided then is applied.
    pub(super) fn grant_alone(
        &self,
        since: Instant,
        now: Instant,
    ) -> Result<ReadGrant, ReadFailed> {
        let until = self.lease_at(now).map_err(ReadFailed::NoLease)?;
        Ok(ReadGrant {
            how: How::Lease,
            fresh_as_of: Some(since),
            valid_until: Some(until),
            term: self.leadership.term,
        })
    }

    /// Until when this member may answer reads on its own, or why not.
    fn lease_at(&self, now: Instant) -> Result<Instant, NoLease> {
        let mutants = self.config.mutants;
        if self.config.read_lease.is_none() {
            return Err(NoLease::NoBound);
        }
        // The engine may know already what has not been noted here.
        let raft = self.replica.status();
        let is_in_office = raft.role == Role::Leader && raft.term == self.leadership.term;
        if !self.leadership.is_self || !is_in_office {
            return Err(NoLease::NotLeader);
        }
        if self.distrusts_clocks(now) && !mutants.has(Mutant::LeaseIgnoresJump) {
            return Err(NoLease::ClockJumped);
        }
        let is_handing_over = self.read_lease.is_given_up() || raft.transferring.is_some();
        if is_handing_over && !mutants.has(Mutant::LeaseSurvivesTransfer) {
            return Err(NoLease::HandingOver);
        }
        if !self.may_lead() {
            return Err(NoLease::NotYet);
        }
        if self.replica.disk_hangs(now) {
            return Err(NoLease::Expired);
        }
        let needs = if mutants.has(Mutant::LeaseOfMinority) {
            Needs::Minority
        } else {
            Needs::Majority
        };
        let membership = self.replica.engine().membership();
        match self.read_lease.holds_until(membership, needs) {
            None => Err(NoLease::NotYet),
            Some(until) if now < until => Ok(until),
            Some(_) => {
                Mark::LeaseRanOut.reach();
                Err(NoLease::Expired)
            }
        }
    }

    fn distrusts_clocks(&self, now: Instant) -> bool {
        self.jumped
            .is_some_and(|jumped| now.since(jumped) < JUMP_REST)
    }

    /// Takes the reads that need no round and are ready.
    pub(super) fn answer_sessions(&mut self, out: &mut Effects) {
        let revision = self.machine.state().revision();
        for ticket in self.reads.take_sessions(revision) {
            out.reads.push((ticket, Ok(self.grant(How::Local))));
        }
    }

    // ---- promises ---------------------------------------------------------------------------

    /// An office begins or ends.
    pub(super) fn note_office(&mut self, out: &mut Effects) {
        if self.leadership.is_self {
            self.read_lease.begin(self.leadership.term);
            return;
        }
        self.read_lease.end();
        for ticket in self.reads.take_alone() {
            let failed = ReadFailed::NoLease(NoLease::NotLeader);
            out.reads.push((ticket, Err(failed)));
        }
    }

    /// This leader is about to ask somebody to take over. From now on, and for the rest of its term, it has no
    /// lease: the request may arrive at any time, and passes every promise.
    pub(super) fn give_lease_up(&mut self) {
        Mark::LeaseGivenUp.reach();
        self.read_lease.give_up();
    }

    /// Asks every voter for its promise. The time is noted before the request leaves.
    pub(super) fn ask_for_promises(&mut self) {
        let Some(drift) = self.counted_drift() else {
            return;
        };
        let now = self.now;
        // Whoever could not keep its disk going must not look alive to itself either.
        if !self.leadership.is_self || self.replica.disk_hangs(now) || !self.read_lease.is_due(now)
        {
            return;
        }
        let round = self.reads.fresh_number(self.config.incarnation);
        self.read_lease.ask(round, now, self.config.heartbeat);
        let membership = self.replica.engine().membership().clone();
        let term = self.leadership.term;
        for voter in members(&membership.voters, &membership.voters_outgoing) {
            if voter == self.config.member {
                // A leader votes for nobody in its own office.
                let lease = self.config.promise();
                self.read_lease.promised(voter, now, lease, drift);
            } else {
                let message = PeerMessage::PromiseRequest { round, term };
                self.send.push((voter, message));
            }
        }
    }

    /// The bound that a lease is counted with.
    fn counted_drift(&self) -> Option<DriftBound> {
        let stated = self.config.read_lease?;
        if self.config.mutants.has(Mutant::LeaseWithoutGuardBand) {
            return DriftBound::from_ppm(0);
        }
        Some(stated)
    }

    /// A leader wants a promise. Only its followers of this very term give one: whoever is in a later term may
    /// have voted in it.
    pub(super) fn promise(&mut self, from: MemberId, round: u64, term: Term) {
        let raft = self.replica.status();
        let follows = raft.role == Role::Follower && raft.leader == from && raft.term == term;
        if self.config.read_lease.is_none() || !follows {
            return;
        }
        if self.distrusts_clocks(self.now) {
            return;
        }
        let promised = self.config.promise();
        self.promise.give(self.now, promised);
        let message = PeerMessage::PromiseReply { round, promised };
        self.send.push((from, message));
    }

    /// A voter has promised.
    pub(super) fn hear_promise(&mut self, from: MemberId, round: u64, promised: Duration) {
        let (Some(drift), Some(sent)) = (self.counted_drift(), self.read_lease.asked_at(round))
        else {
            return;
        };
        let sent = if self.config.mutants.has(Mutant::LeaseFromAnswer) {
            self.now
        } else {
            sent
        };
        if self.is_member(from) {
            // Nobody's promise is worth more than one's own: a number from outside is not believed.
            let lease = promised.min(self.config.promise());
            self.read_lease.promised(from, sent, lease, drift);
        }
    }

    /// Whether `message` asks for something that this member promised not to do.
    pub(super) fn is_promised_away(&self, message: &Message) -> bool {
        let asks = matches!(message.kind, MessageKind::Vote | MessageKind::PreVote);
        if !asks || !self.promise.binds(self.now) {
            return false;
        }
        if passes_promises(message) {
            Mark::PromisePassed.reach();
            return false;
        }
        Mark::PromiseKept.reach();
        !self.config.mutants.has(Mutant::PromiseIgnored)
    }

    /// Whether this member may not campaign now, unless the leader asks it to.
    pub(super) fn is_bound(&self) -> bool {
        self.promise.binds(self.now) && !self.config.mutants.has(Mutant::PromiseDoesNotBindOneself)
    }

    /// Whether this member could elect itself without asking anybody.
    pub(super) fn is_only_voter(&self) -> bool {
        let membership = self.replica.engine().membership();
        members(&membership.voters, &membership.voters_outgoing) == [self.config.member]
    }

    // ---- wall clocks ------------------------------------------------------------------------

    /// Asks the others for their wall clocks, now and then.
    pub(super) fn ask_for_clocks(&mut self) {
        let Some(asked) = self.clocks.ask(self.now) else {
            return;
        };
        let membership = self.machine.state().membership().clone();
        self.clocks.keep(|member| membership.contains(member));
        let voters = members(&membership.voters, &membership.voters_outgoing);
        for member in members(&voters, &membership.learners) {
            if member != self.config.member {
                let message = PeerMessage::ClockRequest { asked };
                self.send.push((member, message));
            }
        }
    }

    pub(super) fn answer_clock(&mut self, from: MemberId, asked: u64) {
        if let Some(wall_ms) = self.clocks.own_ms(self.now)
            && self.is_member(from)
        {
            let message = PeerMessage::ClockReply { asked, wall_ms };
            self.send.push((from, message));
        }
    }

    pub(super) fn hear_clock(&mut self, from: MemberId, asked: u64, wall_ms: u64) {
        if self.is_member(from) {
            self.clocks.answered(from, asked, wall_ms, self.now);
        }
    }

    /// The wall clock that a stamp is made with: the own one, unless most of the voters' say much less.
    pub fn stamp_wall_ms(&self) -> u64 {
        let own = self.wall_ms;
        let latest = self.clocks.latest_stamp_ms(
            self.config.member,
            own,
            self.replica.engine().membership(),
            self.now,
            self.config.clock_ahead_max,
        );
        match latest {
            Some(latest) if latest < own && !self.config.mutants.has(Mutant::StampOfWrongClock) => {
                Mark::StampHeldBack.reach();
                latest
            }
            _ => own,
        }
    }
}

/// Whether a campaign passes promises: the leader itself has asked for it.
pub(crate) fn passes_promises(message: &Message) -> bool {
    message.kind == MessageKind::Vote && message.context == TRANSFER_CONTEXT
}

/// All of two lists, each once, ascending.
fn members(some: &[MemberId], others: &[MemberId]) -> Vec<MemberId> {
    let mut all = [some, others].concat();
    all.sort_unstable();
    all.dedup();
    all
}
