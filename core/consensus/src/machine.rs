//! The shipped engine: the `raft` crate behind the gate, with its timers, its promises about what is
//! durable, and its recovering members.
//!
//! # Invariants ([`Engine::check`])
//!
//! - applied ≤ handed out ≤ committed ≤ last, and persisted ≤ last;
//! - a leader votes, is not recovering, and believes of each member `matched < next`;
//! - the engine's timeout is the one that [`crate::timer`] gives;
//! - the log in memory has no gap.
//!
//! Read on in `machine/calls.rs` (what can be asked) and `machine/durable.rs` (what waits for the disk).

mod calls;
mod durable;

use self::durable::UnderWay;
use crate::change;
use crate::convert;
use crate::engine::{Config, Engine, Misconfigured, Refused, Restored, Role, RoleChange};
use crate::memlog::MemLog;
use crate::timer::{self, Slot};
use base::limits::{APPEND_BYTES_MAX, APPENDS_IN_FLIGHT_MAX, PROPOSALS_WAITING_BYTES_MAX};
use base::{
    EntryKind, HardState, Index, LogPosition, MemberId, Membership, Mutant, Term, invariant,
};
use raft::eraftpb;
use raft::{INVALID_ID, RawNode, StateRole};
use std::collections::VecDeque;

/// Bytes of decided entries in one [`Ready`]; one entry may exceed it alone.
const COMMITTED_BYTES_MAX: u64 = 4 * APPEND_BYTES_MAX;

/// One member's consensus.
pub struct Raft {
    node: RawNode<MemLog>,
    config: Config,
    membership: Membership,
    /// All who vote, in either half of a joint membership, ascending.
    voters: Vec<MemberId>,
    ticks: u64,
    told: RoleChange,
    under_way: VecDeque<UnderWay>,
    last_number: u64,
    /// Durable term and vote.
    durable: (Term, MemberId),
    /// The last hard state that was given to the disk.
    given: HardState,
    /// The last decided entry, or snapshot, that was handed out.
    handed: Index,
    /// What the caller reported as applied; the engine is told when it may hear it.
    applied: Index,
    recovering: Option<LogPosition>,
    /// Whether any leader has been known since the start.
    has_met_leader: bool,
    /// Candidacies before any leader was known, and the term of the last one.
    candidacies: (u32, Term),
    /// The leader of this term has asked this member to campaign, and it could not yet.
    summoned: Option<Term>,
    read_rounds: u64,
    /// The commit index that the last broadcast append carried.
    told_commit: u64,
    /// A commit index is untold although there was nothing else to do: tell it the next time.
    is_nudge_due: bool,
    /// Answers of the planted bug [`Mutant::StaleReadIndex`].
    early_reads: Vec<(u64, Index)>,
}

/// Whoever lost the end of its log may have lost its vote with it. It has been in `term`, and from now
/// on acts as if it had voted there for itself: so it helps nobody to a second leader.
fn forget_votes(hard_state: &mut HardState, term: Term, member: MemberId) {
    if hard_state.term < term {
        hard_state.term = term;
        hard_state.vote = MemberId::NONE;
    }
    if hard_state.term == term && hard_state.vote.is_none() {
        hard_state.vote = member;
    }
}

impl Raft {
    /// An engine that goes on from `restored`.
    ///
    /// # Errors
    /// When the configuration or the restored log makes no sense.
    pub fn new(config: Config, restored: Restored) -> Result<Raft, Misconfigured> {
        let Restored {
            mut hard_state,
            membership,
            snapshot,
            entries,
            applied,
            recovering,
        } = restored;
        let refuse = |reason: String| Err(Misconfigured(reason));
        let mut last = snapshot;
        for entry in &entries {
            if entry.position.index != last.index.next() || entry.position.term < last.term {
                return refuse(format!("entry {} follows {last}", entry.position));
            }
            last = entry.position;
        }
        if applied < snapshot.index || applied > last.index {
            return refuse(format!("applied {applied} is not in {snapshot}..={last}"));
        }
        // A member that is yet to be added starts with nobody in its membership.
        if membership != Membership::default()
            && let Err(reason) = change::validate(&membership)
        {
            return refuse(reason.to_owned());
        }
        // The commit index on disk is a hint: what is applied was decided, and nothing can be beyond
        // the log's end. The term cannot be below that of an entry.
        hard_state.commit = hard_state.commit.max(applied).min(last.index);
        if hard_state.term < last.term {
            hard_state.term = last.term;
            hard_state.vote = MemberId::NONE;
        }
        let on_disk = hard_state;
        if let Some(watermark) = recovering {
            forget_votes(&mut hard_state, watermark.term, config.member);
        }
        let engine_config = raft::Config {
            id: config.member.0,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            min_election_tick: config.election_ticks,
            max_election_tick: timer::ticks_end(config.election_ticks),
            applied: applied.0,
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: APPENDS_IN_FLIGHT_MAX,
            max_uncommitted_size: PROPOSALS_WAITING_BYTES_MAX as u64,
            max_committed_size_per_ready: COMMITTED_BYTES_MAX,
            check_quorum: true,
            pre_vote: true,
            // See `Raft::nudge`.
            skip_bcast_commit: true,
            ..raft::Config::default()
        };
        if let Err(error) = engine_config.validate() {
            return refuse(error.to_string());
        }
        let log = MemLog::new(snapshot, entries, hard_state, membership.clone());
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = match RawNode::new(&engine_config, log, &logger) {
            Ok(node) => node,
            Err(error) => return refuse(error.to_string()),
        };
        let mut raft = Raft {
            node,
            config,
            voters: Vec::new(),
            membership,
            ticks: 0,
            told: RoleChange {
                term: hard_state.term,
                ..RoleChange::default()
            },
            under_way: VecDeque::new(),
            last_number: 0,
            durable: (on_disk.term, on_disk.vote),
            given: on_disk,
            handed: applied,
            applied,
            recovering,
            has_met_leader: false,
            candidacies: (0, Term(0)),
            summoned: None,
            read_rounds: 0,
            told_commit: 0,
            is_nudge_due: false,
            early_reads: Vec::new(),
        };
        raft.membership_changed();
        raft.arm(true);
        Ok(raft)
    }

    /// The same, boxed: what a node takes for its engine.
    ///
    /// # Errors
    /// When the configuration or the restored log makes no sense.
    pub fn start(
        config: Config,
        restored: Restored,
    ) -> Result<Box<dyn Engine + Send>, Misconfigured> {
        Ok(Box::new(Raft::new(config, restored)?))
    }

    fn role(&self) -> Role {
        convert::role(self.node.raft.state)
    }

    fn term(&self) -> Term {
        Term(self.node.raft.term)
    }

    fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    fn last(&self) -> LogPosition {
        let log = &self.node.raft.raft_log;
        convert::position(log.last_term(), log.last_index())
    }

    fn slot(&self) -> Slot<'_> {
        Slot {
            seed: self.config.seed,
            member: self.config.member,
            term: self.term(),
            role: self.role(),
            leader: MemberId(self.node.raft.leader_id),
            voters: &self.voters,
            election_ticks: self.config.election_ticks,
        }
    }

    /// Sets the engine's timer, after every call that may have changed role, term or leader, or
    /// restarted the timer. `is_start` when this is the first time.
    fn arm(&mut self, is_start: bool) {
        if self.node.raft.leader_id != INVALID_ID {
            self.has_met_leader = true;
        }
        let ticks = self.slot().ticks();
        self.node.raft.set_randomized_election_timeout(ticks);
        // Before any leader is known: a short first slot, short rounds of asking, and no long wait
        // after split votes. A vote that was given to somebody else gets all the time it needs.
        let is_restarted = is_start || self.node.raft.election_elapsed == 0;
        let is_early = match self.role() {
            Role::PreCandidate | Role::Candidate => is_restarted,
            Role::Follower => is_start,
            Role::Leader => false,
        };
        if self.has_met_leader || !is_early {
            return;
        }
        let mut wait = self.slot().start_ticks();
        if self.role() == Role::Candidate {
            if self.candidacies.1 != self.term() {
                self.candidacies = (self.candidacies.0 + 1, self.term());
            }
            wait <<= (self.candidacies.0 - 1).min(5);
        }
        self.node.raft.election_elapsed = ticks - wait.min(ticks);
    }

    /// After every call into the engine.
    fn after(&mut self) {
        self.arm(false);
        match self.summoned {
            Some(term) if term != self.term() || self.role() != Role::Follower => {
                self.summoned = None;
            }
            Some(_) if self.may_campaign().is_ok() => {
                self.summoned = None;
                let mut message = eraftpb::Message::default();
                message.set_msg_type(eraftpb::MessageType::MsgTimeoutNow);
                message.to = self.config.member.0;
                message.from = self.node.raft.leader_id;
                message.term = self.node.raft.term;
                // Campaigning refuses nothing; `step` has no other error for this kind.
                let _ = self.node.raft.step(message);
                self.arm(false);
            }
            _ => {}
        }
    }

    fn membership_changed(&mut self) {
        self.voters = [
            &self.membership.voters[..],
            &self.membership.voters_outgoing[..],
        ]
        .concat();
        self.voters.sort_unstable();
        self.voters.dedup();
    }

    /// Whether this member may ask for votes now.
    fn may_campaign(&self) -> Result<(), Refused> {
        if let Some(watermark) = self.recovering
            && !self.config.mutants.has(Mutant::AmnesiacVotes)
        {
            return Err(Refused::Recovering(watermark));
        }
        if !self.node.raft.promotable() {
            return Err(Refused::NotVoter(self.config.member));
        }
        if !self.is_settled() || self.has_unapplied_change() {
            return Err(Refused::NotSettled);
        }
        Ok(())
    }

    /// Whether a change of membership is decided and not yet in force here: a candidate would count
    /// the wrong votes. The engine looks too, but copies every entry to do it.
    fn has_unapplied_change(&self) -> bool {
        let log = &self.node.raft.raft_log;
        if log.applied < log.store.base().index.0 {
            return true; // a snapshot is installed and not applied yet
        }
        let mut unapplied = log.store.range(log.applied + 1, log.committed + 1);
        unapplied.any(|entry| entry.kind == EntryKind::Change)
    }

    /// A member that leads or campaigns and is no voter any more must stop at once: the engine itself
    /// would go on and, with the first acknowledgement, look for a progress of its own that is gone.
    fn retire(&mut self) {
        if self.node.raft.promotable() || self.node.raft.state == StateRole::Follower {
            return;
        }
        if self.is_leader() {
            // Ask a member that has everything to take over now instead of after a timeout.
            let last = self.node.raft.raft_log.last_index();
            let successor = self.voters.iter().copied().find(|voter| {
                let progress = self.node.raft.prs().get(voter.0);
                progress.is_some_and(|progress| progress.matched == last)
            });
            if let Some(successor) = successor {
                self.node.raft.send_timeout_now(successor.0);
            }
        }
        let term = self.node.raft.term;
        self.node.raft.become_follower(term, INVALID_ID);
    }

    /// Tells the engine what is applied, as far as it accepts it: not beyond what is durable.
    fn push_applied(&mut self) {
        let log = &self.node.raft.raft_log;
        let index = self.applied.0.min(log.committed).min(log.persisted);
        if index <= log.applied {
            return;
        }
        let last_before = log.last_index();
        self.node.advance_apply_to(index);
        // Leaving a joint membership appends an entry and tells nobody until the next heartbeat.
        if self.is_leader() && self.node.raft.raft_log.last_index() > last_before {
            self.node.raft.bcast_append();
        }
    }

    /// See [`Engine::check`].
    fn check_invariants(&self) {
        let log = &self.node.raft.raft_log;
        let (commit, last) = (log.committed, log.last_index());
        invariant!(
            log.applied <= self.handed.0 && self.handed.0 <= commit && commit <= last,
            "applied {} handed out {} committed {commit} last {last}",
            log.applied,
            self.handed
        );
        invariant!(
            log.persisted <= last,
            "persisted {} last {last}",
            log.persisted
        );
        if self.is_leader() {
            invariant!(self.node.raft.promotable(), "a leader that does not vote");
            let is_amnesiac = self.config.mutants.has(Mutant::AmnesiacVotes);
            invariant!(
                self.recovering.is_none() || is_amnesiac,
                "a leader that is recovering"
            );
            for peer in self.peers() {
                invariant!(peer.matched < peer.next, "{peer:?}");
            }
        }
        let ticks = self.node.raft.randomized_election_timeout();
        invariant!(ticks == self.slot().ticks(), "a timeout of {ticks} ticks");
        log.store.check();
    }
}
