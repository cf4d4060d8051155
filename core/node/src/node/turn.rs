//! What comes out of the engine goes to the machine, and what comes out of the machine to the world.

use super::{CHECKPOINT_TIGHT, Node};
use crate::config::NodeConfig;
use crate::effects::{Effects, Leadership, LeaseAnswer, ReadFailed, StopReason};
use crate::gathering::Gathering;
use crate::levels::How;
use crate::machine::Applied;
use crate::reads::Waiter;
use crate::replica::{Turn, meta_of};
use base::{Mark, Mutant};
use store::LeaseChange;

impl Node {
    pub(super) fn take_turn(&mut self, turn: Turn, applied: &mut Applied, out: &mut Effects) {
        if let Some((meta, state)) = turn.snapshot {
            Mark::SnapshotInstalled.reach();
            // Everything in it is committed, so readers may see it before it is durable here.
            self.machine.install(state, &self.config, applied);
            self.replica.applied(meta.position.index);
            self.note_removal(&meta.membership, meta.position.index);
            self.checkpoint.entries = 0;
            self.checkpoint.bytes = 0;
            out.restored = true;
            out.events.clear();
            applied.events.clear();
            applied.entries += 1;
            out.membership = Some(meta.membership);
        }
        for (attempt, index) in turn.reads {
            self.indexed(attempt, index);
        }
        self.machine.push(turn.committed);
    }

    /// Applies what is committed, as far as `left` commands go.
    pub(super) fn apply(&mut self, applied: &mut Applied, left: &mut usize, out: &mut Effects) {
        let before = applied.entries;
        while *left > 0 && applied.stop.is_none() {
            if let Some(entry) = self.machine.next_change() {
                let entry = entry.clone();
                let membership = self.replica.apply_change(&entry);
                if let Some(membership) = &membership {
                    out.membership = Some(membership.clone());
                    self.note_removal(membership, entry.position.index);
                }
                self.machine.apply_change(membership, applied);
                *left -= 1;
                continue;
            }
            let done = self.machine.step(*left, applied);
            if done == 0 {
                break;
            }
            *left = left.saturating_sub(done);
        }
        if applied.entries > before {
            self.replica.applied(self.machine.state().applied().index);
        }
        for change in applied.leases.drain(..) {
            match change {
                LeaseChange::Granted(_) => self.counts.leases_granted += 1,
                LeaseChange::Revoked(_) => self.counts.leases_revoked += 1,
            }
            match change {
                LeaseChange::Granted(lease) if self.leadership.is_self => {
                    self.leases
                        .granted(lease.id, lease.ttl_s, lease.granted, self.now);
                }
                LeaseChange::Granted(_) => {}
                LeaseChange::Revoked(lease) => self.leases.revoked(lease),
            }
        }
    }

    pub(super) fn note_leadership(&mut self, out: &mut Effects) {
        let raft = self.replica.status();
        let now = Leadership {
            term: raft.term,
            leader: raft.leader,
            is_self: raft.leader == self.config.member && self.replica.leads(),
        };
        if now == self.leadership {
            return;
        }
        let before = std::mem::replace(&mut self.leadership, now);
        out.leadership = Some(now);
        self.rounds.clear();
        self.gathering = Gathering::default();
        self.reads.lost();
        self.questions_lost();
        self.note_office(out);
        if before.is_self {
            self.reads.forget_remote();
            self.drop_office();
            self.leases.demote();
            self.replica.withdraw_snapshot();
        }
        if now.is_self {
            self.led = Some(now.term);
            let from_grant = self.config.mutants.has(Mutant::LeaseExpiredByNewLeader);
            self.leases
                .promote(self.machine.state(), self.now, from_grant, self.wall_ms);
        }
    }

    pub(super) fn finish(&mut self, applied: Applied, out: &mut Effects) {
        if self.stopped.is_none() {
            self.stopped = applied.stop;
        }
        if matches!(self.stopped, Some(StopReason::Diverged { .. })) {
            // What this call computed is not what the others have: nobody may see it.
            self.give_up(out);
            return;
        }
        if applied.entries > 0 {
            out.published = Some(self.machine.publish());
        }
        // A digest must not ask for the next one, or an idle cluster would write for ever.
        self.digest.entries += applied.entries - applied.digests;
        self.checkpoint.entries += applied.entries;
        self.checkpoint.bytes += applied.bytes;
        out.events.extend(applied.events);
        out.answers.extend(applied.answers);
        for answer in &mut out.answers {
            answer.tag = self.bounced.take_name(answer.tag);
        }
        for waiter in self.reads.take_ready(self.machine.state().applied().index) {
            match waiter {
                Waiter::Local(ticket) => {
                    out.reads.push((ticket, Ok(self.grant(How::Quorum))));
                }
                Waiter::Alone { ticket, since } => {
                    out.reads.push((ticket, self.grant_alone(since, self.now)));
                }
                Waiter::Renewal {
                    from,
                    ticket,
                    lease,
                } => {
                    self.answer_question(from, ticket, lease, true);
                }
                Waiter::Remaining {
                    from,
                    ticket,
                    lease,
                } => {
                    self.answer_question(from, ticket, lease, false);
                }
            }
        }
        self.answer_sessions(out);
        out.leases.append(&mut self.lease_answers);
        out.send.append(&mut self.send);
        self.replica.drop_tail(self.machine.state());
        self.leave_if_due();
        if self.is_out() {
            self.give_up(out);
        } else {
            self.want_checkpoint(out);
            out.more |= self.machine.lag() > 0;
        }
    }

    pub(super) fn want_checkpoint(&mut self, out: &mut Effects) {
        let grown = self
            .checkpoint
            .bytes
            .saturating_mul(NodeConfig::CHECKPOINT_SHARE);
        let grew = self.checkpoint.bytes >= self.config.snapshot_bytes
            || self.checkpoint.entries >= self.config.snapshot_count
                && grown >= self.machine.state().bytes_in_use();
        // Whoever wants the room wants it of what compaction hides as well.
        let sweeping = self.machine.is_sweeping();
        self.checkpoint.swept |= sweeping;
        let is_news = self.checkpoint.entries > 0 || self.checkpoint.swept;
        let by_itself = grew || self.checkpoint.tight && is_news && !sweeping;
        let due = by_itself && self.now >= self.checkpoint.not_before
            || self.checkpoint.wanted && !sweeping;
        if due && !self.checkpoint.under_way {
            let state = self.machine.publish();
            let meta = meta_of(&state);
            self.checkpoint.asked = (self.checkpoint.entries, self.checkpoint.bytes);
            self.checkpoint.entries = 0;
            self.checkpoint.bytes = 0;
            self.checkpoint.under_way = true;
            self.checkpoint.wanted = false;
            self.checkpoint.swept = sweeping;
            if self.checkpoint.tight {
                self.checkpoint.not_before = self.now + CHECKPOINT_TIGHT;
            }
            out.checkpoint = Some((meta, state));
        }
    }

    pub(super) fn is_out(&self) -> bool {
        self.stopped.is_some()
    }

    /// Answers everybody who waits, once: this member knows nothing any more.
    pub(super) fn give_up(&mut self, out: &mut Effects) {
        out.more = false;
        for waiter in self.reads.take_all() {
            match waiter {
                Waiter::Local(ticket) | Waiter::Alone { ticket, .. } => {
                    out.reads.push((ticket, Err(ReadFailed::Stopped)));
                }
                Waiter::Renewal {
                    from: None, ticket, ..
                }
                | Waiter::Remaining {
                    from: None, ticket, ..
                } => {
                    out.leases.push((ticket, LeaseAnswer::Stopped));
                }
                _ => {}
            }
        }
        for question in std::mem::take(&mut self.questions).into_values() {
            out.leases.push((question.ticket, LeaseAnswer::Stopped));
        }
        if !self.stop_told {
            self.stop_told = true;
            out.stop = self.stopped.clone();
        }
    }
}
