//! Which meaning of commands the members know, and when all of them know the next one.
//!
//! Each entry of the log says by which version of the rules it is decided. A build that does not know a version
//! stops before the first entry of it, so the version rises only when everybody is ready:
//!
//! ```text
//!   member (new build)   ── Knows { 3 } ──►  leader      now and then, while the cluster's version is lower
//!   leader, all know 3   ── Raise(3) in a batch of version 3 ──► the log
//!   applied              every entry behind it is decided by version 3 or later, whatever its stamp
//! ```
//!
//! A member of a former build says nothing, so nothing rises while there is one. What the leader heard is worth a few
//! seconds and one office: a member may be started again as a former build. Whoever goes back to such a build *after*
//! the raise stops at the raised entry with a clear word; there is no way down.

use base::{Instant, MemberId, Membership};
use std::collections::BTreeMap;
use std::time::Duration;

/// The newest meaning of commands that this build knows; what each version changed stands in
/// `docs/format/command.md`.
pub const APPLY_VERSION: u16 = 4;

/// The version that a cluster has before any was raised.
pub const APPLY_VERSION_FIRST: u16 = 2;

/// From this version on commands say on whose behalf they are.
pub(crate) const IDENTITY_VERSION: u16 = 3;

/// The first version whose builds say what they know.
const APPLY_VERSION_TOLD: u16 = 3;

/// How often a member says what it knows, and how often a leader proposes a raise that did not come about. A new cluster
/// is without the newest rules for as long, so it is short.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// What a member said longer ago is not believed: it may be another build by now.
const BELIEVED_FOR: Duration = Duration::from_secs(5);

/// What one member has said to whom, and heard of whom.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    told: Option<Instant>,
    raised: Option<Instant>,
    heard: BTreeMap<MemberId, (u16, Instant)>,
}

impl Versions {
    /// Whether it is time to say what one knows, or what one would propose.
    pub(crate) fn is_due(last: Option<Instant>, now: Instant) -> bool {
        last.is_none_or(|last| now.since(last) >= TELL_EVERY)
    }

    /// Whether to tell the leader now that this member knows `version`.
    pub(crate) fn tell(&mut self, version: u16, now: Instant) -> bool {
        let is_due = version >= APPLY_VERSION_TOLD && Versions::is_due(self.told, now);
        if is_due {
            self.told = Some(now);
        }
        is_due
    }

    /// Whether to propose a raise now.
    pub(crate) fn propose(&mut self, now: Instant) -> bool {
        let is_due = Versions::is_due(self.raised, now);
        if is_due {
            self.raised = Some(now);
        }
        is_due
    }

    /// `member` says what it knows.
    pub(crate) fn hear(&mut self, member: MemberId, version: u16, now: Instant) {
        self.heard.insert(member, (version, now));
    }

    /// The newest version that `member` is known to know.
    pub(crate) fn of(&self, member: MemberId, now: Instant) -> Option<u16> {
        let (version, at) = *self.heard.get(&member)?;
        (now.since(at) < BELIEVED_FOR).then_some(version)
    }

    /// What each member of `membership` knows, where that is known; `own` is this one, and what it knows.
    pub(crate) fn common(
        &self,
        membership: &Membership,
        own: (MemberId, u16),
        now: Instant,
    ) -> Vec<Option<u16>> {
        let mut members: Vec<MemberId> = [
            &membership.voters,
            &membership.voters_outgoing,
            &membership.learners,
            &membership.learners_next,
        ]
        .into_iter()
        .flatten()
        .copied()
        .collect();
        members.sort_unstable();
        members.dedup();
        let known = |member: &MemberId| match *member == own.0 {
            true => Some(own.1),
            false => self.of(*member, now),
        };
        members.iter().map(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    #[test]
    fn what_was_said_long_ago_is_not_believed() {
        let mut versions = Versions::default();
        let mut membership = Membership::of_voters(vec![MemberId(1), MemberId(2)]);
        membership.learners = vec![MemberId(3)];
        let own = (MemberId(1), 3);
        let common = |versions: &Versions, now| versions.common(&membership, own, now);
        assert_eq!(common(&versions, at(0)), [Some(3), None, None]);
        versions.hear(MemberId(2), 4, at(0));
        versions.hear(MemberId(3), 3, at(1));
        assert_eq!(common(&versions, at(1)), [Some(3), Some(4), Some(3)]);
        assert_eq!(common(&versions, at(5)), [Some(3), None, Some(3)]);
    }

    #[test]
    fn a_former_build_says_nothing_and_others_say_it_now_and_then() {
        let mut versions = Versions::default();
        assert!(!versions.tell(2, at(1)));
        assert!(versions.tell(3, at(1)));
        assert!(!versions.tell(3, at(1)));
        assert!(versions.tell(3, at(2)));
        assert!(versions.propose(at(2)) && !versions.propose(at(2)));
    }
}
