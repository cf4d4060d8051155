//! What a caller can ask of the engine: [`Engine`] for [`Raft`].

use super::Raft;
use crate::change;
use crate::convert;
use crate::engine::{Engine, PeerProgress, Ready, Refused, Replication, RoleChange, Status};
use crate::gate;
use base::limits::ENTRY_BYTES_MAX;
use base::{
    Change, Entry, EntryKind, Index, LogPosition, Mark, MemberId, Membership, Message, MessageKind,
    Mutant, SnapshotMeta, Term, invariant,
};
use bytes::Bytes;
use raft::eraftpb;
use raft::{INVALID_ID, ProgressState, SnapshotStatus, StateRole};

/// Read rounds that wait for their quorum; the caller joins reads to rounds, so this is never near.
const READ_ROUNDS_MAX: usize = 1024;

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
            commit: LogPosition {
                term: self
                    .term_at(Index(raft.raft_log.committed))
                    .unwrap_or_default(),
                index: Index(raft.raft_log.committed),
            },
            is_blank: self.membership.voters.is_empty(),
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
            // There is a leader, and whatever this member was in its term, it is that no more.
            let (term, leader) = (message.term.0, message.from.0);
            self.node.raft.become_follower(term, leader);
            if self.node.raft.vote == INVALID_ID {
                // As for a restored member: the vote may be gone with the entries.
                self.node.raft.vote = self.config.member.0;
            }
            self.after();
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
            Mark::ChangePending.reach();
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
            Mark::Transfer.reach();
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
        if !self.node.has_ready() && self.early_reads.is_empty() && !self.nudge() {
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
        self.finish_writes(number);
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
        // The claim comes from outside. What stands there in this log may be another entry; then
        // nothing is known, and the place is only where to begin looking.
        let raft = &mut self.node.raft;
        let begin = intact.index.0.min(raft.raft_log.last_index());
        let agrees = begin == intact.index.0 && raft.raft_log.match_term(begin, intact.term.0);
        let Some(progress) = raft.mut_prs().get_mut(member.0) else {
            return;
        };
        let known = if agrees { begin } else { 0 };
        if known >= progress.matched && progress.state != ProgressState::Snapshot {
            return; // it has all that it is believed to have
        }
        Mark::ProgressLowered.reach();
        progress.matched = progress.matched.min(known);
        progress.pending_snapshot = 0;
        progress.become_probe();
        progress.next_idx = begin.max(progress.matched) + 1;
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
            snapshot_wanted: raft.raft_log.store.is_snapshot_wanted(),
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

    fn vote(&self) -> MemberId {
        MemberId(self.node.raft.vote)
    }

    fn term_at(&self, index: Index) -> Option<Term> {
        let log = &self.node.raft.raft_log;
        let is_here = index.0 + 1 >= log.first_index() && index.0 <= log.last_index();
        let term = is_here.then(|| log.term(index.0)).and_then(Result::ok);
        term.map(Term)
    }

    fn check(&self) {
        self.check_invariants();
    }
}

impl Raft {
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
        self.told_commit = self.node.raft.raft_log.committed;
        self.after();
        Ok(self.last())
    }

    /// Tells the followers how far the log is decided, when nothing else has told them. Under load the
    /// next append does it, and an append of its own would double the messages of every write; so this
    /// waits until the caller has come twice and found nothing to do.
    fn nudge(&mut self) -> bool {
        let committed = self.node.raft.raft_log.committed;
        if !self.is_leader() || committed <= self.told_commit {
            self.is_nudge_due = false;
            return false;
        }
        if !self.is_nudge_due {
            self.is_nudge_due = true;
            return false;
        }
        self.is_nudge_due = false;
        self.told_commit = committed;
        self.node.raft.bcast_append();
        self.node.has_ready()
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
}
