//! The shipped engine: the `raft` crate behind the gate, with its timers, its promises about what is
//! durable, and its recovering members.
//!
//! # Invariants ([`Raft::check`])
//!
//! - applied ≤ handed out ≤ committed ≤ last, and persisted ≤ last;
//! - a leader votes, is not recovering, and believes of each member `matched < next`;
//! - the engine's timeout is the one that [`crate::timer`] gives;
//! - the log in memory has no gap.
//!
//! # What may be sent before the disk has answered
//!
//! | message | waits for |
//! | --- | --- |
//! | a leader's append, heartbeat, snapshot, "campaign now" | its own term and vote; not its entries (Raft thesis §10.2.1) |
//! | a follower's answer to a heartbeat, read rounds included | its own term and vote, and a disk that answers at all |
//! | acknowledgements, votes, requests for votes, everything else | everything that is under way to the disk |
//!
//! The first row matters to a lone voter with learners: it becomes leader before its term is durable,
//! and two entries of one place and one term would be the end of the log's truth.

use crate::change;
use crate::convert;
use crate::engine::{
    Config, Engine, Misconfigured, PeerProgress, Ready, Refused, Replication, Restored, Role,
    RoleChange, Status,
};
use crate::gate;
use crate::memlog::MemLog;
use crate::timer::{self, Slot};
use base::limits::{
    APPEND_BYTES_MAX, APPENDS_IN_FLIGHT_MAX, ENTRY_BYTES_MAX, PROPOSALS_WAITING_BYTES_MAX,
};
use base::{
    Change, Entry, EntryKind, HardState, Index, LogPosition, MemberId, Membership, Message,
    MessageKind, Mutant, SnapshotMeta, Term, invariant,
};
use bytes::Bytes;
use raft::eraftpb;
use raft::{INVALID_ID, ProgressState, RawNode, SnapshotStatus, StateRole};
use std::collections::VecDeque;

/// Bytes of decided entries in one [`Ready`]; one entry may exceed it alone.
const COMMITTED_BYTES_MAX: u64 = 4 * APPEND_BYTES_MAX;

/// Read rounds that wait for their quorum; the caller joins reads to rounds, so this is never near.
const READ_ROUNDS_MAX: usize = 1024;

/// Something is on its way to the disk.
#[derive(Debug)]
struct UnderWay {
    /// Our number, as told in [`Ready::number`].
    number: u64,
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
    /// The leader of this term has asked this member to campaign, and it could not yet.
    summoned: Option<Term>,
    read_rounds: u64,
    /// Answers of the planted bug [`Mutant::StaleReadIndex`].
    early_reads: Vec<(u64, Index)>,
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
            durable: (hard_state.term, hard_state.vote),
            given: hard_state,
            handed: applied,
            applied,
            recovering,
            has_met_leader: false,
            summoned: None,
            read_rounds: 0,
            early_reads: Vec::new(),
        };
        raft.membership_changed();
        raft.arm(true);
        Ok(raft)
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
        // Before any leader is known: a short first slot, and short rounds of asking. Only asking: a
        // vote that was given or asked for in earnest gets all the time it needs.
        let is_asking = self.role() == Role::PreCandidate && self.node.raft.election_elapsed == 0;
        if !self.has_met_leader && (is_start || is_asking) {
            let wait = self.slot().start_ticks().min(ticks);
            self.node.raft.election_elapsed = ticks - wait;
        }
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

    /// Whether all that this member has is durable. The engine insists on it when an election is won.
    fn is_settled(&self) -> bool {
        let log = &self.node.raft.raft_log;
        log.persisted == log.last_index()
            && log.unstable_entries().is_empty()
            && log.unstable_snapshot().is_none()
            && !self.under_way.iter().any(|under_way| under_way.has_log)
    }

    fn is_ballot_durable(&self) -> bool {
        let raft = &self.node.raft;
        self.durable == (Term(raft.term), MemberId(raft.vote))
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

    /// Notes that this member has truthfully acknowledged `index` in `term`, and ends the recovery
    /// when nothing that it may have promised before is missing any more. Either the log reaches the
    /// watermark by the hand of a leader that had everything decided until then; or it ends with an
    /// entry of a later term, whose leader began with all of it.
    fn acknowledged(&mut self, term: Term, index: Index) {
        let Some(watermark) = self.recovering else {
            return;
        };
        let log = &self.node.raft.raft_log;
        let entry_term = log.term(index.0).unwrap_or(0);
        let reaches = index >= watermark.index && term >= watermark.term;
        if reaches || Term(entry_term) > watermark.term {
            self.recovering = None;
        }
    }

    /// Cleans what is known to be wrong with the engine's handling of a refused append: it may set the
    /// next index to send at or below what is known to match (fixed after 0.7.0), and would then send
    /// what the member has, or a whole snapshot.
    fn mend_rejection(&self, message: &mut Message) -> Result<(), Refused> {
        let Some(progress) = self.node.raft.prs().get(message.from.0) else {
            return Ok(());
        };
        if progress.state == ProgressState::Replicate {
            return Ok(());
        }
        let matched = progress.matched;
        if message.position.index.0 <= matched {
            return Err(Refused::Stale(message.kind));
        }
        let hint = (message.reject_hint.0, message.position.term.0);
        let probe = match hint {
            (index, 0) => index,
            (index, term) => self.node.raft.raft_log.find_conflict_by_term(index, term).0,
        };
        if probe < matched {
            message.reject_hint = Index(matched);
            message.position.term = Term(0);
        }
        Ok(())
    }

    /// Appends one entry as the leader.
    fn append(
        &mut self,
        data: Bytes,
        context: Bytes,
        is_change: bool,
    ) -> Result<LogPosition, Refused> {
        let raft = &mut self.node.raft;
        if raft.state != StateRole::Leader || raft.prs().get(raft.id).is_none() {
            return Err(Refused::NotLeader);
        }
        if raft.lead_transferee.is_some() {
            return Err(Refused::Transferring);
        }
        let bytes = data.len() + context.len();
        if bytes > ENTRY_BYTES_MAX {
            return Err(Refused::TooLarge { bytes });
        }
        let mut entry = eraftpb::Entry {
            data,
            context,
            ..eraftpb::Entry::default()
        };
        if is_change {
            entry.set_entry_type(eraftpb::EntryType::EntryConfChangeV2);
        }
        if !raft.append_entry(&mut [entry]) {
            return Err(Refused::Busy);
        }
        if is_change {
            raft.pending_conf_index = raft.raft_log.last_index();
        }
        raft.bcast_append();
        self.after();
        Ok(self.last())
    }

    /// Whether `message` may leave before the disk has what is under way to it.
    fn may_go_now(&self, message: &Message) -> bool {
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

    fn oldest_unpersisted_ticks(&self) -> u64 {
        let oldest = self.under_way.front();
        oldest.map_or(0, |under_way| self.ticks - under_way.since)
    }

    /// Stops when an invariant of this type does not hold: for the simulator, after every step.
    pub fn check(&self) {
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

impl Engine for Raft {
    fn tick(&mut self) {
        self.ticks += 1;
        let raft = &mut self.node.raft;
        let is_due = raft.election_elapsed + 1 >= raft.randomized_election_timeout();
        if self.is_leader() || !is_due || self.may_campaign().is_ok() {
            self.node.tick();
        } else {
            // Time passes all the same, so that the campaign begins as soon as it may.
            self.node.raft.election_elapsed += 1;
        }
        self.after();
    }

    fn step(&mut self, mut message: Message) -> Result<(), Refused> {
        let raft = &self.node.raft;
        let standing = gate::Standing {
            member: self.config.member,
            role: self.role(),
            term: self.term(),
            leader: MemberId(raft.leader_id),
            last: self.last(),
            is_from_member: raft.prs().get(message.from.0).is_some(),
            is_settled: self.is_settled(),
        };
        let passed = gate::check(&message, &standing);
        if let Err(Refused::LogShort { commit, .. }) = passed {
            // Acknowledged in this term and gone: the log lost its end and nobody noticed.
            let lost = LogPosition {
                term: message.term,
                index: commit,
            };
            let known = self.recovering.unwrap_or_default();
            self.recovering = Some(LogPosition {
                term: lost.term.max(known.term),
                index: lost.index.max(known.index),
            });
        }
        passed?;
        match message.kind {
            MessageKind::Vote | MessageKind::PreVote => {
                if let Some(watermark) = self.recovering
                    && !self.config.mutants.has(Mutant::AmnesiacVotes)
                {
                    return Err(Refused::Recovering(watermark));
                }
            }
            MessageKind::TimeoutNow => {
                if let Err(refused) = self.may_campaign() {
                    if refused == Refused::NotSettled {
                        self.summoned = Some(message.term);
                    }
                    return Err(refused);
                }
            }
            MessageKind::AppendResponse
                if message.reject && message.term == standing.term && self.is_leader() =>
            {
                self.mend_rejection(&mut message)?;
            }
            _ => {}
        }
        let is_snapshot = message.kind == MessageKind::Snapshot;
        let from = message.from;
        let stepped = self.node.step(convert::message_to_engine(message));
        if is_snapshot {
            let state = self.node.raft.prs().conf().to_conf_state();
            self.membership = convert::membership_from_engine(&state);
            self.membership_changed();
        }
        self.after();
        // The only refusal that is left after the gate.
        stepped.map_err(|_| Refused::NotMember(from))
    }

    fn propose(&mut self, data: Bytes) -> Result<LogPosition, Refused> {
        self.append(data, Bytes::new(), false)
    }

    fn propose_change(
        &mut self,
        changes: Vec<Change>,
        context: Bytes,
    ) -> Result<LogPosition, Refused> {
        if !self.is_leader() {
            return Err(Refused::NotLeader);
        }
        if changes.is_empty() || changes.len() > base::limits::MEMBERS_MAX {
            return Err(Refused::InvalidChange("no step, or too many"));
        }
        // The engine would replace a second change by an empty entry and say nothing.
        if self.node.raft.has_pending_conf() || !self.membership.voters_outgoing.is_empty() {
            return Err(Refused::ChangePending);
        }
        let change = convert::change_to_engine(&changes);
        let mut changer = raft::Changer::new(self.node.raft.prs());
        let outcome = match change.enter_joint() {
            Some(auto_leave) => changer.enter_joint(auto_leave, &change.changes),
            None => changer.simple(&change.changes),
        };
        let Ok((configuration, _)) = outcome else {
            return Err(Refused::InvalidChange("it leaves nobody who votes"));
        };
        let membership = convert::membership_from_engine(&configuration.to_conf_state());
        change::validate(&membership).map_err(Refused::InvalidChange)?;
        if membership == self.membership {
            return Err(Refused::InvalidChange("it changes nothing"));
        }
        self.append(change::encode(&changes), context, true)
    }

    fn read_index(&mut self, context: u64) -> Result<(), Refused> {
        if !self.is_leader() {
            return Err(Refused::NotLeader);
        }
        // The engine drops such a request in silence.
        if !self.node.raft.commit_to_current_term() {
            return Err(Refused::NotYet);
        }
        if self.config.mutants.has(Mutant::StaleReadIndex) {
            let commit = Index(self.node.raft.raft_log.committed);
            self.early_reads.push((context, commit));
            return Ok(());
        }
        if self.node.raft.pending_read_count() >= READ_ROUNDS_MAX {
            return Err(Refused::Busy);
        }
        // A number of our own beside the caller's: two rounds are never taken for one another.
        self.read_rounds += 1;
        let round = [self.read_rounds.to_le_bytes(), context.to_le_bytes()].concat();
        self.node.read_index(round);
        self.after();
        Ok(())
    }

    fn transfer(&mut self, to: MemberId) -> Result<(), Refused> {
        if !self.is_leader() {
            return Err(Refused::NotLeader);
        }
        if !self.membership.voters.contains(&to) {
            return Err(Refused::NotVoter(to));
        }
        if to != self.config.member {
            self.node.transfer_leader(to.0);
            self.after();
        }
        Ok(())
    }

    fn campaign(&mut self) -> Result<(), Refused> {
        if self.is_leader() {
            return Ok(());
        }
        self.may_campaign()?;
        // The engine has no refusal for this.
        let _ = self.node.campaign();
        self.after();
        Ok(())
    }

    fn step_down(&mut self) {
        if self.is_leader() {
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, INVALID_ID);
            self.after();
        }
    }

    fn ready(&mut self) -> Option<Ready> {
        if !self.node.has_ready() && self.early_reads.is_empty() {
            return None;
        }
        let mut engine_ready = self.node.ready();
        let mut ready = Ready::default();

        // Into memory first: the engine forgets its own copy when it is advanced.
        if !engine_ready.snapshot().is_empty() {
            let meta = convert::snapshot_from_engine(engine_ready.snapshot());
            self.node.mut_store().install(&meta);
            self.handed = meta.position.index;
            ready.snapshot = Some(meta);
        }
        let entries = engine_ready.take_entries();
        ready.entries = entries
            .into_iter()
            .map(convert::entry_from_engine)
            .collect();
        self.node.mut_store().append(&ready.entries);

        let messages = [
            engine_ready.take_messages(),
            engine_ready.take_persisted_messages(),
        ];
        let committed = engine_ready.take_committed_entries();
        ready.committed = committed
            .into_iter()
            .map(convert::entry_from_engine)
            .collect();
        if let Some(entry) = ready.committed.last() {
            self.handed = entry.position.index;
        }
        ready.reads = std::mem::take(&mut self.early_reads);
        for read in engine_ready.take_read_states() {
            if let Some((_, context)) = read.request_ctx.split_last_chunk::<8>() {
                ready
                    .reads
                    .push((u64::from_le_bytes(*context), Index(read.index)));
            }
        }
        let engine_number = engine_ready.number();
        self.node.advance_append_async(engine_ready);

        self.plan_persistence(&mut ready, engine_number);
        self.sort_messages(&mut ready, messages);

        let now = RoleChange {
            role: self.role(),
            term: self.term(),
            leader: MemberId(self.node.raft.leader_id),
        };
        if now != self.told {
            self.told = now;
            ready.role = Some(now);
        }
        self.after();
        Some(ready)
    }

    fn persisted(&mut self, number: u64) {
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

    fn applied(&mut self, index: Index) {
        invariant!(
            index <= self.handed,
            "applied {index} of {} that were handed out",
            self.handed
        );
        self.applied = self.applied.max(index);
        self.push_applied();
        self.after();
    }

    fn apply_change(&mut self, entry: &Entry) -> Result<Membership, Refused> {
        invariant!(
            entry.kind == EntryKind::Change,
            "entry {} is not a change of membership",
            entry.position
        );
        let changes = change::decode(&entry.data).map_err(|_| Refused::Misfit)?;
        let state = self
            .node
            .apply_conf_change(&convert::change_to_engine(&changes))
            .map_err(|_| Refused::Misfit)?;
        self.membership = convert::membership_from_engine(&state);
        self.membership_changed();
        self.retire();
        self.after();
        Ok(self.membership.clone())
    }

    fn compact(&mut self, to: Index) -> Index {
        let applied = self.node.raft.raft_log.applied;
        let store = self.node.mut_store();
        let covered = store.provided().map_or(0, |meta| meta.position.index.0);
        store.compact(to.0.min(applied).min(covered));
        store.base().index.next()
    }

    fn snapshot_provided(&mut self, meta: SnapshotMeta) {
        invariant!(
            meta.position.index <= self.handed,
            "a snapshot of {} before it was decided",
            meta.position
        );
        self.node.mut_store().provide(meta);
    }

    fn report_unreachable(&mut self, member: MemberId) {
        self.node.report_unreachable(member.0);
        self.after();
    }

    fn report_snapshot(&mut self, member: MemberId, installed: bool) {
        let status = match installed {
            true => SnapshotStatus::Finish,
            false => SnapshotStatus::Failure,
        };
        self.node.report_snapshot(member.0, status);
        self.after();
    }

    fn reset_progress(&mut self, member: MemberId, intact: LogPosition) {
        if !self.is_leader() || member == self.config.member {
            return;
        }
        // What stands at `intact` here may be another entry; then nothing of the claim is known.
        let raft = &mut self.node.raft;
        let agrees = raft.raft_log.match_term(intact.index.0, intact.term.0);
        let Some(progress) = raft.mut_prs().get_mut(member.0) else {
            return;
        };
        let known = if agrees { intact.index.0 } else { 0 };
        if known >= progress.matched && progress.state != ProgressState::Snapshot {
            return; // it has all that it is believed to have
        }
        progress.matched = progress.matched.min(known);
        progress.pending_snapshot = 0;
        progress.become_probe();
        if agrees {
            progress.next_idx = known + 1;
        }
        progress.recent_active = true;
        raft.send_append(member.0);
        self.after();
    }

    fn status(&self) -> Status {
        let raft = &self.node.raft;
        Status {
            member: self.config.member,
            role: self.role(),
            term: self.term(),
            leader: MemberId(raft.leader_id),
            commit: Index(raft.raft_log.committed),
            applied: self.applied,
            persisted: Index(raft.raft_log.persisted),
            last: self.last(),
            first: Index(raft.raft_log.first_index()),
            log_bytes: raft.raft_log.store.bytes(),
            recovering: self.recovering,
            transferring: raft.lead_transferee.map(MemberId),
            oldest_unpersisted_ticks: self.oldest_unpersisted_ticks(),
        }
    }

    fn membership(&self) -> &Membership {
        &self.membership
    }

    fn peers(&self) -> Vec<PeerProgress> {
        if !self.is_leader() {
            return Vec::new();
        }
        let mut peers: Vec<PeerProgress> = self
            .node
            .raft
            .prs()
            .iter()
            .map(|(id, progress)| PeerProgress {
                member: MemberId(*id),
                matched: Index(progress.matched),
                next: Index(progress.next_idx),
                state: match progress.state {
                    ProgressState::Probe => Replication::Probing,
                    ProgressState::Replicate => Replication::Streaming,
                    ProgressState::Snapshot => {
                        Replication::Snapshot(Index(progress.pending_snapshot))
                    }
                },
                active: progress.recent_active,
            })
            .collect();
        peers.sort_unstable_by_key(|peer| peer.member);
        peers
    }
}

impl Raft {
    /// Decides what of `ready` goes to the disk and gives it its number. A commit index alone is not
    /// worth a write: it travels with the next one.
    fn plan_persistence(&mut self, ready: &mut Ready, engine_number: u64) {
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
    fn sort_messages(&mut self, ready: &mut Ready, messages: [Vec<eraftpb::Message>; 2]) {
        for message in messages.into_iter().flatten() {
            let Some(message) = convert::message_from_engine(message) else {
                continue;
            };
            let is_now = self.under_way.is_empty() || self.may_go_now(&message);
            if message.kind == MessageKind::AppendResponse && !message.reject {
                let (term, index) = (message.term, message.position.index);
                match self.under_way.back_mut() {
                    Some(last) if !is_now => last.acknowledges = Some((term, index)),
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
