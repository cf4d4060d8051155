//! How a member tells what it knows, and how a leader raises the apply version. See [`crate::versions`].

use super::Node;
use crate::system::SystemCommand;
use crate::versions::APPLY_VERSION_FIRST;
use base::{Mark, MemberId, Mutant, PeerMessage};

impl Node {
    /// The version that decides what is proposed now, as far as is applied here.
    pub fn apply_version(&self) -> u16 {
        self.machine
            .state()
            .apply_version()
            .max(APPLY_VERSION_FIRST)
    }

    /// A member that knows more than is in force says so to whoever leads.
    pub(super) fn tell_version(&mut self) {
        let apply_version = self.config.apply_version_max;
        let leader = self.leadership.leader;
        let has_news = apply_version > self.apply_version();
        if has_news
            && !leader.is_none()
            && !self.leadership.is_self
            && self.versions.tell(apply_version, self.now)
        {
            self.send
                .push((leader, PeerMessage::Knows { apply_version }));
        }
    }

    pub(super) fn hear_version(&mut self, from: MemberId, version: u16) {
        if self.leadership.is_self && self.is_member(from) {
            self.versions.hear(from, version, self.now);
        }
    }

    /// Whether every member, learners among them, knows `version`.
    pub(super) fn all_know(&self, version: u16) -> bool {
        let own = (self.config.member, self.config.apply_version_max);
        let membership = self.machine.state().membership();
        let known = self.versions.common(membership, own, self.now);
        let n_know = known.iter().flatten().filter(|it| **it >= version).count();
        if self.config.mutants.has(Mutant::RaisesTooEarly) {
            return n_know > known.len() / 2;
        }
        n_know == known.len()
    }

    /// Proposes the next version once all members know it.
    pub(super) fn propose_raise(&mut self) {
        let next = self.apply_version() + 1;
        if next <= self.config.apply_version_max
            && self.all_know(next)
            && self.versions.propose(self.now)
        {
            Mark::VersionRaised.reach();
            self.propose_system(&SystemCommand::Raise(next));
        }
    }
}
