//! What the caller may ask: [`Engine`] for [`SpecRaft`].

use super::quorum::{changed, is_quorum};
use super::{ReadRound, SpecRaft, Transfer, peers};
use base::limits::{ENTRY_BYTES_MAX, MEMBERS_MAX, PROPOSALS_WAITING_BYTES_MAX};
use base::{
    Change, Entry, EntryKind, Index, LogPosition, MemberId, Membership, Message, MessageKind,
    Mutant, SnapshotMeta, Term,
};
use bytes::Bytes;
use consensus::gate::{self, Standing, TRANSFER_CONTEXT};
use consensus::{Engine, PeerProgress, Ready, Refused, Replication, Role, Status, change};

impl Engine for SpecRaft {
    fn tick(&mut self) {
        self.ticks += 1;
        self.elapsed += 1;
        if !self.is_leader() {
            if self.elapsed >= self.patience() && self.may_campaign().is_ok() {
                self.ask_first();
            }
            return;
        }
        self.unchecked += 1;
        if self.unchecked >= self.config.election_ticks {
            self.unchecked = 0;
            let own = self.own();
            let answers =
                |member| member == own || self.peers.get(&member).is_some_and(|p| p.active);
            // Thesis §6.2: whoever cannot reach a quorum does not lead.
            if !is_quorum(&self.membership, answers) {
                return self.follow(self.term, MemberId::NONE);
            }
            self.peers.values_mut().for_each(|peer| peer.active = false);
        }
        self.transfer = self.transfer.and_then(|transfer| {
            let ticks_left = transfer.ticks_left.checked_sub(1)?;
            Some(Transfer {
                ticks_left,
                ..transfer
            })
        });
        if self.elapsed >= self.config.heartbeat_ticks {
            self.elapsed = 0;
            self.heartbeat();
        }
    }

    fn step(&mut self, message: Message) -> Result<(), Refused> {
        self.admit(&message)?;
        use MessageKind as Kind;
        let from = message.from;
        let is_from_leader = matches!(
            message.kind,
            Kind::Append | Kind::Heartbeat | Kind::Snapshot
        );
        let asks = matches!(message.kind, Kind::Vote | Kind::PreVote);
        if asks && let Some(lost) = self.recovering {
            return Err(Refused::Recovering(lost));
        }
        // Thesis §4.2.3: who hears a leader does not let others disturb it.
        let is_loyal = !self.leader.is_none()
            && (self.is_leader() || self.elapsed < self.config.election_ticks);
        if asks && message.term > self.term && is_loyal && message.context != TRANSFER_CONTEXT {
            return Ok(());
        }
        if message.term < self.term {
            match message.kind {
                Kind::Append | Kind::Heartbeat => {
                    // A leader of the past learns that it is.
                    let answer = self.message(Kind::AppendResponse, from);
                    self.send(answer);
                }
                Kind::PreVote => self.pre_vote(&message),
                _ => {}
            }
            return Ok(());
        }
        let is_only_asking = match message.kind {
            Kind::PreVote => true,
            Kind::PreVoteResponse => !message.reject,
            _ => false,
        };
        if message.term > self.term && !is_only_asking {
            let leader = if is_from_leader { from } else { MemberId::NONE };
            self.follow(message.term, leader);
        } else if is_from_leader {
            if self.is_leader() {
                return Err(Refused::Invalid {
                    kind: message.kind,
                    reason: "a second leader in one term",
                });
            }
            if self.role != Role::Follower {
                self.follow(self.term, from);
            }
            self.leader = from;
            self.has_met_leader = true;
            self.elapsed = 0;
        }
        match message.kind {
            Kind::Append => self.append(message),
            Kind::Heartbeat => self.heard_heartbeat(&message),
            Kind::Snapshot => {
                if let Some(meta) = message.snapshot {
                    self.install(from, meta);
                }
            }
            Kind::Vote => self.vote(&message),
            Kind::PreVote => self.pre_vote(&message),
            Kind::VoteResponse | Kind::PreVoteResponse => self.voted(&message),
            Kind::AppendResponse if self.is_leader() => self.appended(&message),
            Kind::HeartbeatResponse if self.is_leader() => self.heartbeat_answered(&message),
            Kind::AppendResponse | Kind::HeartbeatResponse => {}
            Kind::TimeoutNow => {
                self.may_campaign()?;
                self.stand(true);
            }
        }
        Ok(())
    }

    fn propose(&mut self, data: Bytes) -> Result<LogPosition, Refused> {
        self.may_append(data.len())?;
        self.append_own(EntryKind::Normal, data, Bytes::new());
        self.advance_commit();
        Ok(self.log.last())
    }

    fn propose_change(
        &mut self,
        changes: Vec<Change>,
        context: Bytes,
    ) -> Result<LogPosition, Refused> {
        let data = change::encode(&changes);
        self.may_append(data.len() + context.len())?;
        if changes.is_empty() || changes.len() > MEMBERS_MAX {
            return Err(Refused::InvalidChange("no step, or too many"));
        }
        // One at a time, and (Ongaro, 2015) not before this leader knows what is decided.
        let is_pending = self.log.has_change(self.applied, self.log.last().index)
            || !self.membership.voters_outgoing.is_empty();
        if is_pending && !self.config.mutants.has(Mutant::SpecTwoChanges) {
            return Err(Refused::ChangePending);
        }
        if !self.knows_commit() && !self.config.mutants.has(Mutant::SpecTwoChanges) {
            return Err(Refused::ChangePending);
        }
        let next = changed(&self.membership, &changes);
        change::validate(&next).map_err(Refused::InvalidChange)?;
        if next == self.membership {
            return Err(Refused::InvalidChange("it changes nothing"));
        }
        self.append_own(EntryKind::Change, data, context);
        self.advance_commit();
        Ok(self.log.last())
    }

    fn read_index(&mut self, context: u64) -> Result<(), Refused> {
        if !self.is_leader() {
            return Err(Refused::NotLeader);
        }
        if !self.knows_commit() && !self.config.mutants.has(Mutant::SpecReadBeforeOwnTerm) {
            return Err(Refused::NotYet);
        }
        self.last_round += 1;
        self.reads.push_back(ReadRound {
            round: self.last_round,
            context,
            index: self.commit,
            acknowledged: Default::default(),
        });
        self.heartbeat();
        self.finish_reads();
        Ok(())
    }

    fn transfer(&mut self, to: MemberId) -> Result<(), Refused> {
        if !self.is_leader() {
            return Err(Refused::NotLeader);
        }
        if !self.membership.voters.contains(&to) {
            return Err(Refused::NotVoter(to));
        }
        if to == self.own() {
            return Ok(());
        }
        self.transfer = Some(Transfer {
            to,
            ticks_left: self.config.election_ticks,
        });
        let has_all = self
            .peers
            .get(&to)
            .is_some_and(|peer| peer.matched == self.log.last().index);
        if has_all {
            let summons = self.message(MessageKind::TimeoutNow, to);
            self.send(summons);
        } else {
            self.send_append(to);
        }
        Ok(())
    }

    fn campaign(&mut self) -> Result<(), Refused> {
        if !self.is_leader() {
            self.may_campaign()?;
            self.ask_first();
        }
        Ok(())
    }

    fn step_down(&mut self) {
        if self.is_leader() {
            self.follow(self.term, MemberId::NONE);
        }
    }

    fn ready(&mut self) -> Option<Ready> {
        self.take_ready()
    }

    fn persisted(&mut self, number: u64) {
        self.finish_writes(number);
    }

    fn applied(&mut self, index: Index) {
        self.applied = self.applied.max(index);
        let may_leave = self.is_leader()
            && self.membership.auto_leave
            && !self.log.has_change(self.applied, self.log.last().index);
        if may_leave {
            self.append_own(EntryKind::Change, Bytes::new(), Bytes::new());
            self.advance_commit();
        }
    }

    fn apply_change(&mut self, entry: &Entry) -> Result<Membership, Refused> {
        let changes = change::decode(&entry.data).map_err(|_| Refused::Misfit)?;
        let is_leaving = changes.is_empty();
        let is_joint = !self.membership.voters_outgoing.is_empty();
        let next = changed(&self.membership, &changes);
        if is_leaving != is_joint || change::validate(&next).is_err() {
            return Err(Refused::Misfit);
        }
        self.membership = next;
        if self.is_leader() {
            let next = self.log.last().index.next();
            self.peers = peers::peers_of(&self.membership, self.own(), &self.peers, next);
            if self.membership.is_voter(self.own()) {
                self.advance_commit();
                self.broadcast();
                self.finish_reads();
            } else {
                self.retire();
            }
        } else if self.role != Role::Follower && !self.membership.is_voter(self.own()) {
            self.follow(self.term, MemberId::NONE);
        }
        Ok(self.membership.clone())
    }

    fn compact(&mut self, to: Index) -> Index {
        let covered = self
            .provided
            .as_ref()
            .map_or(Index(0), |meta| meta.position.index);
        let to = to.min(self.applied).min(covered).min(self.disk.persisted);
        if to > self.log.base.index {
            self.log.compact(to);
        }
        self.log.first()
    }

    fn snapshot_provided(&mut self, meta: SnapshotMeta) {
        let known = self
            .provided
            .as_ref()
            .map_or(Index(0), |meta| meta.position.index);
        if meta.position.index >= known {
            self.provided = Some(meta);
            self.snapshot_wanted = false;
        }
        if self.is_leader() {
            self.broadcast();
        }
    }

    fn report_unreachable(&mut self, member: MemberId) {
        if let Some(peer) = self.peers.get_mut(&member)
            && peer.state == Replication::Streaming
        {
            peer.probe(peer.matched.next());
        }
    }

    fn report_snapshot(&mut self, member: MemberId, installed: bool) {
        if let Some(peer) = self.peers.get_mut(&member)
            && let Replication::Snapshot(index) = peer.state
        {
            peer.probe(if installed {
                index.next()
            } else {
                peer.matched.next()
            });
            // The next word is the member's.
            peer.waits = true;
        }
    }

    fn reset_progress(&mut self, member: MemberId, intact: LogPosition) {
        let begin = intact.index.min(self.log.last().index);
        let agrees = begin == intact.index && self.log.term_at(begin) == Some(intact.term);
        let known = if agrees { begin } else { Index(0) };
        let Some(peer) = self.peers.get_mut(&member) else {
            return;
        };
        if known >= peer.matched && !matches!(peer.state, Replication::Snapshot(_)) {
            return; // it has all that it is believed to have
        }
        peer.matched = peer.matched.min(known);
        peer.active = true;
        peer.probe(begin.next());
        self.send_append(member);
    }

    fn status(&self) -> Status {
        let oldest = self.disk.under_way.front();
        Status {
            member: self.own(),
            role: self.role,
            term: self.term,
            leader: self.leader,
            commit: self.commit,
            applied: self.applied,
            persisted: self.disk.persisted,
            last: self.log.last(),
            first: self.log.first(),
            log_bytes: self.log.bytes(),
            snapshot_wanted: self.snapshot_wanted,
            recovering: self.recovering,
            transferring: self.transfer.map(|transfer| transfer.to),
            oldest_unpersisted_ticks: oldest.map_or(0, |write| self.ticks - write.since),
        }
    }

    fn membership(&self) -> &Membership {
        &self.membership
    }

    fn peers(&self) -> Vec<PeerProgress> {
        let mut all: Vec<PeerProgress> = self
            .peers
            .iter()
            .map(|(member, peer)| PeerProgress {
                member: *member,
                matched: peer.matched,
                next: peer.next,
                state: peer.state,
                active: peer.active,
            })
            .collect();
        if self.is_leader() && self.membership.contains(self.own()) {
            all.push(PeerProgress {
                member: self.own(),
                matched: self.disk.persisted,
                next: self.log.last().index.next(),
                state: Replication::Streaming,
                active: true,
            });
        }
        all.sort_unstable_by_key(|peer| peer.member);
        all
    }

    fn vote(&self) -> MemberId {
        self.vote
    }

    fn term_at(&self, index: Index) -> Option<Term> {
        self.log.term_at(index)
    }

    fn check(&self) {
        self.check_invariants();
    }
}

impl SpecRaft {
    /// The shipped engine's gate: what is malformed, not for us, or takes this log for longer than it is.
    fn admit(&mut self, message: &Message) -> Result<(), Refused> {
        let standing = Standing {
            member: self.own(),
            role: self.role,
            term: self.term,
            leader: self.leader,
            last: self.log.last(),
            commit: LogPosition {
                term: self.log.term_at(self.commit).unwrap_or_default(),
                index: self.commit,
            },
            is_blank: self.membership.voters.is_empty(),
            is_from_member: self.membership.contains(message.from),
            is_settled: true,
        };
        let passed = gate::check(message, &standing);
        if let Err(Refused::LogShort { commit, .. }) = passed {
            let known = self.recovering.unwrap_or_default();
            self.recovering = Some(LogPosition {
                term: message.term.max(known.term),
                index: commit.max(known.index),
            });
            self.follow(message.term, message.from);
            if self.vote.is_none() {
                self.vote = self.own();
            }
        }
        passed
    }

    fn may_append(&self, bytes: usize) -> Result<(), Refused> {
        if !self.is_leader() || !self.membership.contains(self.own()) {
            return Err(Refused::NotLeader);
        }
        if self.transfer.is_some() {
            return Err(Refused::Transferring);
        }
        if bytes > ENTRY_BYTES_MAX {
            return Err(Refused::TooLarge { bytes });
        }
        let undecided = self.log.between(self.commit, self.log.last().index);
        let waiting: usize = undecided.iter().map(Entry::size).sum();
        if waiting > 0 && waiting + bytes > PROPOSALS_WAITING_BYTES_MAX {
            return Err(Refused::Busy);
        }
        Ok(())
    }

    /// A leader that votes no more lays its office down, and asks one that has everything to take over.
    fn retire(&mut self) {
        let last = self.log.last().index;
        let successor = self.membership.voters.iter().copied().find(|voter| {
            self.peers
                .get(voter)
                .is_some_and(|peer| peer.matched == last)
        });
        if let Some(to) = successor {
            let summons = self.message(MessageKind::TimeoutNow, to);
            self.send(summons);
        }
        self.follow(self.term, MemberId::NONE);
    }
}
