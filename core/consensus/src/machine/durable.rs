//! What is durable, what is on its way to the disk, and which messages wait for it.
//!
//! | message | waits for |
//! | --- | --- |
//! | a leader's append, heartbeat, snapshot, "campaign now" | its own term and vote; not its entries (Raft thesis §10.2.1) |
//! | a follower's answer to a heartbeat, read rounds included | its own term and vote, and a disk that answers at all |
//! | acknowledgements, votes, requests for votes, everything else | everything that is under way to the disk |
//!
//! The first row matters to a lone voter with learners: it becomes leader before its term is durable,
//! and two entries of one place and one term would be the end of the log's truth.

use super::Raft;
use crate::convert;
use crate::engine::Ready;
use base::{HardState, Index, Mark, MemberId, Message, MessageKind, Mutant, Term};
use raft::eraftpb;

/// Something is on its way to the disk.
#[derive(Debug)]
pub(super) struct UnderWay {
    /// Our number, as told in [`Ready::number`].
    pub(super) number: u64,
    /// The engine's number of this Ready or of a later one that had nothing for the disk.
    engine_number: u64,
    /// The tick of its beginning.
    since: u64,
    /// Whether it holds entries or a snapshot.
    has_log: bool,
    /// The term and vote that become durable with it.
    ballot: Option<(Term, MemberId)>,
    /// The furthest entry that is acknowledged when it is durable, and in which term.
    acknowledges: Option<(Term, Index)>,
}

impl Raft {
    /// Whether all that this member has is durable. The engine insists on it when an election is won.
    pub(super) fn is_settled(&self) -> bool {
        let log = &self.node.raft.raft_log;
        log.persisted == log.last_index()
            && log.unstable_entries().is_empty()
            && log.unstable_snapshot().is_none()
            && !self.under_way.iter().any(|under_way| under_way.has_log)
    }

    pub(super) fn is_ballot_durable(&self) -> bool {
        let raft = &self.node.raft;
        self.durable == (Term(raft.term), MemberId(raft.vote))
    }

    /// Whether `message` may leave before the disk has what is under way to it.
    pub(super) fn may_go_now(&self, message: &Message) -> bool {
        let mutants = self.config.mutants;
        match message.kind {
            MessageKind::Append
            | MessageKind::Heartbeat
            | MessageKind::Snapshot
            | MessageKind::TimeoutNow => self.is_leader() && self.is_ballot_durable(),
            // While the disk hangs, a follower must not prop up its leader with answers from memory.
            MessageKind::HeartbeatResponse => {
                self.is_ballot_durable()
                    && self.oldest_unpersisted_ticks() < self.config.election_ticks as u64
            }
            MessageKind::AppendResponse => mutants.has(Mutant::FollowerAcksEarly),
            MessageKind::VoteResponse => mutants.has(Mutant::VoteNotSynced),
            MessageKind::Vote | MessageKind::PreVote | MessageKind::PreVoteResponse => false,
        }
    }

    pub(super) fn oldest_unpersisted_ticks(&self) -> u64 {
        let oldest = self.under_way.front();
        oldest.map_or(0, |under_way| self.ticks - under_way.since)
    }

    /// The writes up to `number` are durable.
    pub(super) fn finish_writes(&mut self, number: u64) {
        let mut done = None;
        while let Some(first) = self.under_way.front()
            && first.number <= number
        {
            let first = self.under_way.pop_front().expect("it was just looked at");
            self.durable = first.ballot.unwrap_or(self.durable);
            done = Some(first.engine_number);
            if let Some((term, index)) = first.acknowledges {
                self.acknowledged(term, index);
            }
        }
        if let Some(engine_number) = done {
            self.node.on_persist_ready(engine_number);
            self.push_applied();
            self.after();
        }
    }

    /// Notes that this member has truthfully acknowledged `index` in `term`, and ends the recovery
    /// when nothing that it may have promised before is missing any more. Either the log reaches the
    /// watermark by the hand of a leader that had everything decided until then; or it ends with an
    /// entry of a later term, whose leader began with all of it.
    pub(super) fn acknowledged(&mut self, term: Term, index: Index) {
        let Some(watermark) = self.recovering else {
            return;
        };
        let log = &self.node.raft.raft_log;
        let entry_term = log.term(index.0).unwrap_or(0);
        let reaches = index >= watermark.index && term >= watermark.term;
        if reaches || Term(entry_term) > watermark.term {
            Mark::Recovered.reach();
            self.recovering = None;
        }
    }

    /// Decides what of `ready` goes to the disk and gives it its number. A commit index alone is not
    /// worth a write: it travels with the next one.
    pub(super) fn plan_persistence(&mut self, ready: &mut Ready, engine_number: u64) {
        let raft = &self.node.raft;
        let hard_state = HardState {
            term: Term(raft.term),
            vote: MemberId(raft.vote),
            commit: Index(raft.raft_log.committed),
        };
        let is_new_ballot =
            (hard_state.term, hard_state.vote) != (self.given.term, self.given.vote);
        let has_log = !ready.entries.is_empty() || ready.snapshot.is_some();
        ready.must_sync = is_new_ballot || has_log;
        if ready.must_sync {
            if hard_state != self.given {
                ready.hard_state = Some(hard_state);
                self.given = hard_state;
            }
            self.last_number += 1;
            self.under_way.push_back(UnderWay {
                number: self.last_number,
                engine_number,
                since: self.ticks,
                has_log,
                ballot: is_new_ballot.then_some((hard_state.term, hard_state.vote)),
                acknowledges: None,
            });
        } else if let Some(last) = self.under_way.back_mut() {
            last.engine_number = engine_number;
        } else {
            self.node.on_persist_ready(engine_number);
        }
        ready.number = self.last_number;
    }

    /// Sorts messages into those that may go at once and those that wait.
    pub(super) fn sort_messages(
        &mut self,
        ready: &mut Ready,
        messages: [Vec<eraftpb::Message>; 2],
    ) {
        for message in messages.into_iter().flatten() {
            let Some(message) = convert::message_from_engine(message) else {
                continue;
            };
            let is_now = self.under_way.is_empty() || self.may_go_now(&message);
            if message.kind == MessageKind::AppendResponse && !message.reject {
                let (term, index) = (message.term, message.position.index);
                match self.under_way.back_mut() {
                    Some(last) if !is_now => {
                        last.acknowledges = last.acknowledges.max(Some((term, index)));
                    }
                    _ => self.acknowledged(term, index),
                }
            }
            match is_now {
                true => ready.send_now.push(message),
                false => ready.send_after_persist.push(message),
            }
        }
    }
}
