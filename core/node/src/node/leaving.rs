//! The removal of a member: how the one that goes asks, and what the others answer.

use super::Node;
use crate::effects::StopReason;
use crate::parting::Parting;
use base::{Index, Instant, Mark, MemberId, Membership, PeerMessage};

impl Node {
    /// Whether `member` was removed and this member knows it for good, whatever happens to it: nothing that
    /// `member` says matters here any more.
    pub fn has_seen_off(&self, member: MemberId) -> bool {
        self.machine.state().was_removed(member)
            && self.replica.durably_decided() >= self.membership_at
    }

    /// Since when this member has been about to leave, because it was removed, and for whose word it waits.
    pub fn is_leaving(&self) -> Option<(Instant, Vec<MemberId>)> {
        let membership = self.machine.state().membership();
        self.parting.as_ref().map(|parting| {
            let waits_for = parting.waits_for(self.config.member, membership);
            (parting.since, waits_for)
        })
    }

    /// Whether this member takes requests: one that leaves does not.
    pub(super) fn serves(&self) -> bool {
        !self.is_out() && !self.parting.as_ref().is_some_and(|it| it.is_applied)
    }

    /// The membership changed at `index`.
    pub(super) fn note_removal(&mut self, membership: &Membership, index: Index) {
        self.membership_at = index;
        // It is bounded: whoever is gone must not keep out whoever came.
        self.forwarded.retain(membership);
        self.replica.want_durably_decided(index);
        if membership.contains(self.config.member) {
            self.parting = None;
        } else if !self.parting.as_ref().is_some_and(|it| it.is_applied) {
            self.parting = Some(Parting::new(self.now, true));
        }
    }

    /// `by` says that this member was removed.
    pub(super) fn hear_of_removal(&mut self, by: MemberId) {
        let now = self.now;
        self.parting
            .get_or_insert_with(|| Parting::new(now, false))
            .told(by);
    }

    /// Asks those that stay whether they know.
    pub(super) fn ask_to_leave(&mut self) {
        let membership = self.machine.state().membership();
        let Some(parting) = &mut self.parting else {
            return;
        };
        let pause = self.config.heartbeat;
        for member in parting.asks(self.now, pause, self.config.member, membership) {
            Mark::LeavingAsked.reach();
            self.send.push((member, PeerMessage::Leaving));
        }
    }

    /// `from` wants to know whether it was removed, or speaks although it was.
    pub(super) fn answer_leaving(&mut self, from: MemberId) {
        if self.has_seen_off(from) {
            self.send.push((from, PeerMessage::Removed));
        } else {
            Mark::LeavingUnanswered.reach();
        }
    }

    /// Stops when the others can do without this member.
    pub(super) fn leave_if_due(&mut self) {
        let membership = self.machine.state().membership();
        let (own, election) = (self.config.member, self.config.election);
        let is_due = self
            .parting
            .as_ref()
            .is_some_and(|parting| parting.may_leave(self.now, election, own, membership));
        if is_due {
            self.stopped.get_or_insert(StopReason::Removed);
        }
    }
}
