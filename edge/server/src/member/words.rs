//! What a member says in its log about what happens to it, in the words that etcd's users look for.
//!
//! Looks are taken at every tick and compare with what was said last; nothing here decides anything.

use super::{LEAVING_LONG, Member};
use crate::clock;
use base::{Instant, MemberId, Membership};
use node::Leadership;
use std::collections::BTreeSet;
use tracing::{info, warn};

impl Member {
    /// A leader that is held up for two heartbeats sends them late.
    pub(super) fn look_at_heartbeats(&self, now: Instant) {
        let Some(before) = self.ticked.replace(Some(now)) else {
            return;
        };
        let (passed, expected) = (now.since(before), 2 * self.config.heartbeat);
        if passed <= expected || !self.node.borrow().is_leader() {
            return;
        }
        self.metrics.heartbeats_late.inc();
        warn!(
            "heartbeat-interval" = ?self.config.heartbeat, "expected-duration" = ?expected,
            "exceeded-duration" = ?(passed - expected),
            "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk"
        );
    }

    /// Says when history was compacted, and when the last of it is gone.
    pub(super) fn look_at_compaction(&self, now: Instant) {
        let compacted = self.with_state(|state| state.root(etcd::ROOT).compacted());
        if self.compacted_to.replace(compacted) != compacted {
            info!("compact-revision" = compacted.0, "compacted");
            self.compacting.set(Some((compacted, now)));
        }
        let Some((compacted, began)) = self.compacting.get() else {
            return;
        };
        if self.node.borrow().is_sweeping() {
            return;
        }
        self.compacting.set(None);
        let took = now.since(began);
        self.metrics.compactions.observe(took);
        let at_s = i64::try_from(clock::wall_ms() / 1000).unwrap_or(0);
        self.metrics.compacted_at_s.set(at_s);
        info!("compact-revision" = compacted.0, took = ?took, "finished scheduled compaction");
    }

    /// Says which alarms were raised and which are gone.
    pub(super) fn look_at_alarms(&self) {
        let raised: Vec<etcd::Alarm> = self.with_state(|state| etcd::alarms(state).collect());
        let mut before = self.alarms.borrow_mut();
        if raised == *before {
            return;
        }
        for alarm in raised.iter().filter(|alarm| !before.contains(alarm)) {
            warn!(alarm = alarm.kind.name(), "from" = %alarm.member, "alarm raised");
        }
        for alarm in before.iter().filter(|alarm| !raised.contains(alarm)) {
            warn!(alarm = alarm.kind.name(), "from" = %alarm.member, "alarm disarmed");
        }
        *before = raised;
    }

    /// Who came and who went.
    pub(super) fn tell_membership(&self, before: &Membership, now: &Membership) {
        let (own, cluster) = (self.identity.member, self.identity.cluster);
        let all = |it: &Membership| -> BTreeSet<MemberId> {
            it.voters.iter().chain(&it.learners).copied().collect()
        };
        let (were, are) = (all(before), all(now));
        for id in are.difference(&were) {
            let is_learner = now.learners.contains(id);
            let urls = self.with_state(|state| state.member(*id).map(|it| it.peer_urls));
            info!(
                "cluster-id" = %cluster, "local-member-id" = %own, "added-peer-id" = %id,
                "added-peer-peer-urls" = ?urls.unwrap_or_default(), "added-peer-is-learner" = is_learner,
                "added member"
            );
        }
        for id in were.difference(&are) {
            info!("cluster-id" = %cluster, "local-member-id" = %own, "removed-remote-peer-id" = %id, "removed member");
        }
        for id in now.voters.iter().filter(|id| before.learners.contains(id)) {
            info!("cluster-id" = %cluster, "local-member-id" = %own, "promoted-member-id" = %id, "promote member");
        }
        info!(voters = ?now.voters, learners = ?now.learners, "the membership changed");
    }

    /// Who leads, in the words that etcd's users look for.
    pub(super) fn tell_leadership(&self, leadership: &Leadership) {
        let (own, term, leader) = (self.identity.member, leadership.term, leadership.leader);
        let before = self.led_by.get();
        if leader.is_none() {
            if !before.is_none() {
                info!(%term, "raft.node: {own} lost leader {before} at term {term}");
                self.led_by.set(leader);
            }
            return;
        }
        if leadership.is_self {
            info!(%term, "{own} became leader at term {term}");
        }
        if leader == before {
            return;
        }
        self.metrics.leader_changes.inc();
        match before.is_none() {
            true => info!(%term, "raft.node: {own} elected leader {leader} at term {term}"),
            false => {
                info!(%term, "raft.node: {own} changed leader from {before} to {leader} at term {term}");
            }
        }
        self.led_by.set(leader);
    }

    /// Says once why a member that was removed is still there.
    pub(super) fn tell_leaving(&self, now: Instant) {
        let leaving = self.node.borrow().is_leaving();
        let Some((_, waits_for)) = leaving.filter(|(since, _)| now.since(*since) >= LEAVING_LONG)
        else {
            return;
        };
        if !self.leaving_told.replace(true) {
            warn!(
                ?waits_for,
                "this member was removed, and those that stay do not know yet that this is decided: they may need \
                 its vote, so it goes on"
            );
        }
    }
}
