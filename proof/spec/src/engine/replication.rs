//! Replication: how logs come to agree and what is decided (§5.3, §5.4.2), and states for those too far behind (§7).

use super::quorum::{is_quorum, quorum_index};
use super::{SpecRaft, round_bytes};
use base::limits::{APPEND_BYTES_MAX, APPEND_ENTRIES_MAX};
use base::{
    Entry, EntryKind, Index, LogPosition, MemberId, Message, MessageKind, Mutant, SnapshotMeta,
    Term, invariant,
};
use bytes::Bytes;
use consensus::Replication;

impl SpecRaft {
    /// The leader's own next entry, and word of it to everybody.
    pub(super) fn append_own(&mut self, kind: EntryKind, data: Bytes, context: Bytes) {
        let index = self.log.last().index.next();
        self.log.push(Entry {
            position: LogPosition {
                term: self.term,
                index,
            },
            kind,
            data,
            context,
        });
        self.disk.unwritten = self.disk.unwritten.min(index);
        self.broadcast();
    }

    /// Sends everybody what is missing.
    pub(super) fn broadcast(&mut self) {
        for to in self.peers.keys().copied().collect::<Vec<_>>() {
            self.send_append(to);
        }
    }

    /// §5.3: what `to` lacks, behind an entry on which both must agree.
    pub(super) fn send_append(&mut self, to: MemberId) {
        let Some(peer) = self.peers.get(&to).copied() else {
            return;
        };
        let before = Index(peer.next.0 - 1);
        if peer.waits || matches!(peer.state, Replication::Snapshot(_)) {
            return;
        }
        let Some(term) = self.log.term_at(before) else {
            return self.send_snapshot(to);
        };
        let mut bytes = 0;
        let entries: Vec<Entry> = self
            .log
            .between(before, self.log.last().index)
            .iter()
            .take(APPEND_ENTRIES_MAX)
            .take_while(|entry| {
                let is_first = bytes == 0;
                bytes += entry.size() as u64;
                is_first || bytes <= APPEND_BYTES_MAX
            })
            .cloned()
            .collect();
        let end = Index(before.0 + entries.len() as u64);
        let mut append = self.message(MessageKind::Append, to);
        append.position = LogPosition {
            term,
            index: before,
        };
        append.entries = entries;
        append.commit = self.commit;
        self.send(append);
        if let Some(peer) = self.peers.get_mut(&to) {
            match peer.state {
                // All goes well: what was sent is taken to have arrived.
                Replication::Streaming => peer.next = end.next(),
                _ => peer.waits = true,
            }
        }
    }

    fn send_snapshot(&mut self, to: MemberId) {
        let usable = self
            .provided
            .clone()
            .filter(|meta| meta.position.index >= self.log.base.index);
        let Some(meta) = usable else {
            self.snapshot_wanted = true;
            return;
        };
        // Who does not answer at all would only lose it.
        if let Some(peer) = self.peers.get_mut(&to).filter(|peer| peer.active) {
            peer.state = Replication::Snapshot(meta.position.index);
            let mut message = self.message(MessageKind::Snapshot, to);
            message.snapshot = Some(meta);
            self.send(message);
        }
    }

    /// "I lead", with how far this follower may decide, and the newest round of reads.
    pub(super) fn heartbeat(&mut self) {
        let context = self
            .reads
            .back()
            .map_or(Bytes::new(), |read| round_bytes(read.round));
        for (to, peer) in self.peers.clone() {
            let mut beat = self.message(MessageKind::Heartbeat, to);
            beat.commit = match self.config.mutants.has(Mutant::SpecCommitPastMatch) {
                true => self.commit,
                false => self.commit.min(peer.matched),
            };
            beat.context = context.clone();
            self.send(beat);
        }
    }

    /// A follower's half of [`SpecRaft::send_append`].
    pub(super) fn append(&mut self, append: Message) {
        let before = append.position;
        let mut answer = self.message(MessageKind::AppendResponse, append.from);
        if before.index < self.commit {
            // Decided here already: the leader may go on from there.
            answer.position.index = self.commit;
            return self.send(answer);
        }
        let agrees = self.log.term_at(before.index) == Some(before.term)
            || self.config.mutants.has(Mutant::SpecNoConsistencyCheck)
                && before.index <= self.log.last().index;
        if !agrees {
            answer.reject = true;
            answer.position.index = before.index;
            answer.reject_hint = self.log.last().index.min(before.index);
            return self.send(answer);
        }
        let end = Index(before.index.0 + append.entries.len() as u64);
        for entry in append.entries {
            let at = entry.position;
            match self.log.term_at(at.index) {
                Some(term) if term == at.term => continue,
                Some(_) if self.config.mutants.has(Mutant::SpecKeepConflict) => continue,
                Some(_) => {
                    // §5.3: another leader's, never decided. It and all behind it go.
                    invariant!(
                        at.index > self.commit,
                        "{at} contradicts what is decided here"
                    );
                    self.log.truncate(at.index);
                    self.disk.persisted = self.disk.persisted.min(self.log.last().index);
                }
                None => {}
            }
            self.disk.unwritten = self.disk.unwritten.min(at.index);
            self.log.push(entry);
        }
        // Only up to here is the log known to be the leader's.
        let known = match self.config.mutants.has(Mutant::SpecCommitPastMatch) {
            true => self.log.last().index,
            false => end,
        };
        self.commit = self.commit.max(append.commit.min(known));
        answer.position.index = end;
        self.send(answer);
    }

    pub(super) fn heard_heartbeat(&mut self, beat: &Message) {
        self.commit = self.commit.max(beat.commit.min(self.log.last().index));
        let mut answer = self.message(MessageKind::HeartbeatResponse, beat.from);
        answer.context = beat.context.clone();
        self.send(answer);
    }

    pub(super) fn appended(&mut self, answer: &Message) {
        let last = self.log.last().index;
        let Some(peer) = self.peers.get_mut(&answer.from) else {
            return;
        };
        peer.active = true;
        if answer.reject {
            if answer.position.index > peer.matched
                && !matches!(peer.state, Replication::Snapshot(_))
            {
                let hint = Index(answer.reject_hint.0 + 1);
                peer.probe(hint.min(answer.position.index));
                self.send_append(answer.from);
            }
            return;
        }
        let has = answer.position.index;
        peer.matched = peer.matched.max(has);
        peer.next = peer.next.max(peer.matched.next());
        peer.waits = false;
        match peer.state {
            Replication::Snapshot(index) if peer.matched < index => {}
            _ => peer.state = Replication::Streaming,
        }
        let is_behind = peer.next <= last;
        let has_all = peer.matched == last;
        self.advance_commit();
        if is_behind {
            self.send_append(answer.from);
        }
        if has_all
            && self
                .transfer
                .is_some_and(|transfer| transfer.to == answer.from)
        {
            let summons = self.message(MessageKind::TimeoutNow, answer.from);
            self.send(summons);
        }
    }

    pub(super) fn heartbeat_answered(&mut self, answer: &Message) {
        let last = self.log.last().index;
        let Some(peer) = self.peers.get_mut(&answer.from) else {
            return;
        };
        peer.active = true;
        peer.waits = false;
        if peer.matched < last {
            // What was under way may be lost: look again from what is known.
            if peer.state == Replication::Streaming {
                peer.probe(peer.matched.next());
            }
            self.send_append(answer.from);
        }
        if let Ok(round) = <[u8; 8]>::try_from(&answer.context[..]) {
            let round = u64::from_le_bytes(round);
            // Who answers a round answers all before it.
            for read in self.reads.iter_mut().filter(|read| read.round <= round) {
                read.acknowledged.insert(answer.from);
            }
            self.finish_reads();
        }
    }

    /// Thesis §6.4: a quorum has said after the question that this member leads.
    pub(super) fn finish_reads(&mut self) {
        while let Some(read) = self.reads.front() {
            let own = self.own();
            let said = |member| member == own || read.acknowledged.contains(&member);
            if !is_quorum(&self.membership, said) {
                return;
            }
            self.out.reads.push((read.context, read.index));
            self.reads.pop_front();
        }
    }

    /// §5.4.2: decided is what a quorum has durably, *if it is of the leader's own term*; all before it is decided
    /// with it. Counting copies of older entries is figure 8.
    pub(super) fn advance_commit(&mut self) {
        if !self.is_leader() {
            return;
        }
        let matched = |member: MemberId| {
            if member == self.own() {
                return self.disk.persisted;
            }
            self.peers
                .get(&member)
                .map_or(Index(0), |peer| peer.matched)
        };
        let index = quorum_index(&self.membership, matched);
        let is_own = self.log.term_at(index) == Some(self.term)
            || self.config.mutants.has(Mutant::SpecFigure8);
        if index > self.commit && is_own {
            self.commit = index;
            // They may act on it without waiting for the next entry.
            for peer in self.peers.values_mut() {
                peer.waits = false;
            }
            self.broadcast();
        }
    }

    /// §7: a state instead of entries. What came on its own connection is already here.
    pub(super) fn install(&mut self, from: MemberId, meta: SnapshotMeta) {
        let LogPosition { term, index } = meta.position;
        let mut answer = self.message(MessageKind::AppendResponse, from);
        if index <= self.commit {
            answer.position.index = self.commit;
            return self.send(answer);
        }
        if self.log.term_at(index) == Some(term) && self.recovering.is_none() {
            // The entries are here; now it is known that they are decided.
            self.commit = index;
            answer.position.index = index;
            return self.send(answer);
        }
        self.log.begin_after(meta.position);
        self.commit = index;
        self.handed = index;
        self.disk.unwritten = index.next();
        self.disk.persisted = Index(0);
        self.membership = meta.membership.clone();
        self.out.committed.clear();
        self.out.snapshot = Some(meta);
        answer.position.index = index;
        self.send(answer);
    }

    /// The term of the newest decided entry is the leader's own: it knows what is decided.
    pub(super) fn knows_commit(&self) -> bool {
        self.log.term_at(self.commit) == Some(self.term) && self.term != Term(0)
    }
}
