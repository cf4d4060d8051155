//! What a member does of itself while it runs: the driver of `etcd::upkeep`.
//!
//! Everything goes through the log as a client's request would, so members decide alike, and a member that has just lost
//! its office only proposes what is harmless twice.

use crate::clock;
use crate::config::AutoCompaction;
use crate::corrupt::Compared;
use crate::front::Front;
use crate::member::outcome;
use base::{Chain, Instant, MemberId, Revision};
use etcd::upkeep::{Compactor, Due, Retention};
use etcd::{Refusal, Status};
use node::StopReason;
use std::time::Duration;
use tracing::{info, warn};

/// How often to look whether something is due.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Something that is done now and then, or never.
struct Timer {
    every: Option<Duration>,
    last: Instant,
}

impl Timer {
    fn new(every: Option<Duration>) -> Timer {
        let last = clock::now();
        Timer { every, last }
    }

    fn is_due(&mut self) -> bool {
        let now = clock::now();
        let is_due = self
            .every
            .is_some_and(|every| now.since(self.last) >= every);
        if is_due {
            self.last = now;
        }
        is_due
    }
}

impl Front {
    /// Compacts and takes alarms back, until this future is dropped.
    pub(crate) async fn upkeep(self) {
        let mut compactor = self.compactor();
        let config = &self.0.config;
        let mut compared = Timer::new(config.corrupt_check_every);
        let mut recalled = Timer::new(config.compact_hash_check_every);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if self.0.is_stopped() || !self.0.is_ready() {
                continue;
            }
            if self.is_corrupt().await {
                return self.0.stop(StopReason::Corrupt);
            }
            self.take_alarms_back().await;
            if self.0.config.compact_hash_check_every.is_some() {
                self.note_compaction().await;
            }
            if self.leads() && compared.is_due() {
                self.check_members(Compared::Now).await;
            }
            if self.leads() && recalled.is_due() {
                self.check_members(Compared::Compaction).await;
            }
            if self.leads()
                && let Some(compactor) = &mut compactor
            {
                self.compact_if_due(compactor).await;
            }
        }
    }

    pub(crate) fn leads(&self) -> bool {
        self.0.leader() == self.0.identity.member
    }

    fn compactor(&self) -> Option<Compactor> {
        let retention = match self.0.config.auto_compaction {
            AutoCompaction::Off => return None,
            AutoCompaction::Periodic(period) => Retention::Period(period),
            AutoCompaction::Revisions(kept) => {
                Retention::Revisions(u64::try_from(kept).unwrap_or(0))
            }
        };
        Some(Compactor::new(retention, clock::now()))
    }

    async fn compact_if_due(&self, compactor: &mut Compactor) {
        let due = self
            .0
            .with_state(|state| compactor.due(clock::now(), clock::wall_ms(), state));
        let Some(Due { revision }) = due else {
            return;
        };
        // The words are etcd's: people search for them.
        match compactor.retention() {
            Retention::Period(period) => {
                info!(%revision, compact_period = ?period, "starting auto periodic compaction");
            }
            Retention::Revisions(kept) => {
                info!(%revision, revision_compaction_retention = kept, "starting auto revision compaction");
            }
        }
        let began = clock::now();
        let compacted = self.compact(revision).await;
        let took = clock::now().since(began);
        let is_periodic = matches!(compactor.retention(), Retention::Period(_));
        match compacted {
            Ok(()) => {
                compactor.done(revision, clock::now());
                match is_periodic {
                    true => info!(%revision, ?took, "completed auto periodic compaction"),
                    false => info!(%revision, ?took, "completed auto revision compaction"),
                }
            }
            Err(status) => {
                let (reason, retry) = (Chain(&status).to_string(), compactor.retry());
                match is_periodic {
                    true => {
                        warn!(%revision, ?retry, reason, "failed auto periodic compaction")
                    }
                    false => {
                        warn!(%revision, ?retry, reason, "failed auto revision compaction")
                    }
                }
            }
        }
    }

    /// Compacts etcd's keys. That somebody was quicker is as good.
    async fn compact(&self, revision: Revision) -> Result<(), Status> {
        let answer = self
            .0
            .propose(etcd::compaction_request(revision), None, self.0.own_word())
            .await?;
        let answered = etcd::answer_outcome(outcome(&answer)?, answer.revision, &self.0.header());
        match answered {
            Ok(_) => Ok(()),
            Err(status) if status == Status::from(Refusal::Compacted) => Ok(()),
            Err(status) => Err(status),
        }
    }

    async fn take_alarms_back(&self) {
        let limits = *self.0.session.borrow().limits();
        let own = self.0.identity.member;
        let reached = match self.leads() {
            true => Some(self.0.connected_members()),
            false => None,
        };
        // A member answers for its own alarm; the leader for those of members that cannot.
        let answers_for = |member: MemberId| match &reached {
            Some(reached) => member == own || !reached.contains(&member),
            None => member == own,
        };
        let over = self.0.with_state(|state| {
            let mut vigil = self.0.vigil.borrow_mut();
            vigil.look(state, &limits, answers_for)
        });
        for alarm in over {
            info!(
                member = %alarm.member, quota_bytes = limits.quota_bytes,
                "there is room again: alarm NOSPACE is taken back"
            );
            if let Err(status) = self
                .0
                .propose(etcd::disarm_request(alarm), None, self.0.own_word())
                .await
            {
                warn!(reason = %Chain(&status), "the alarm cannot be taken back now");
            }
        }
    }
}
