//! What a member does of itself while it runs: the driver of `etcd::upkeep`.
//!
//! Everything goes through the log as a client's request would, so members decide alike, and a member that has just lost
//! its office only proposes what is harmless twice.

use crate::clock;
use crate::config::AutoCompaction;
use crate::corrupt::{Compared, Doubt};
use crate::front::Front;
use crate::member::{NotAnswered, outcome};
use base::{Chain, Instant, MemberId, Revision};
use bytes::Bytes;
use etcd::upkeep::{By, Compactor, Due, Retention};
use etcd::{Refusal, Status};
use native::LineUpkeep;
use node::StopReason;
use std::time::Duration;
use store::command::DialectId;
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
        let mut compactors = self.compactors();
        let mut lines = LineUpkeep::default();
        let mut doubt = Doubt::default();
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
            if self.is_corrupt(&mut doubt).await {
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
            for compactor in &mut compactors {
                // Samples are taken by those that do not lead, too.
                let now = clock::now();
                self.0.with_state(|state| compactor.note(now, state));
                if self.leads() {
                    self.compact_if_due(compactor).await;
                }
            }
            if self.leads() {
                self.forget_lines(&mut lines).await;
            }
        }
    }

    pub(crate) fn leads(&self) -> bool {
        self.0.leader() == self.0.identity.member
    }

    /// One for etcd's keys and one for the native API's: by the same rule, since there is one store, and one quota.
    fn compactors(&self) -> Vec<Compactor> {
        let retention = match self.0.config.auto_compaction {
            AutoCompaction::Off => return Vec::new(),
            AutoCompaction::Periodic(period) => Retention::Period(period),
            AutoCompaction::Revisions(kept) => {
                Retention::Revisions(u64::try_from(kept).unwrap_or(0))
            }
        };
        let of = |root| Compactor::new(root, retention, clock::now());
        vec![of(etcd::ROOT), of(native::KEYS_ROOT)]
    }

    async fn compact_if_due(&self, compactor: &mut Compactor) {
        let is_etcds = compactor.root() == etcd::ROOT;
        let wall_ms = self.0.stamp_wall_ms();
        let due = self.0.with_state(|state| {
            // Where nobody uses the native API, nothing is written for its sake.
            let is_used = is_etcds || state.root(compactor.root()).versions() > 0;
            match is_used {
                true => compactor.due(clock::now(), wall_ms, state),
                false => None,
            }
        });
        let Some(Due { revision, by }) = due else {
            return;
        };
        if by == By::Samples {
            warn!(
                %revision,
                "the times of revisions do not tell what is old enough: compacting by what this member saw itself"
            );
        }
        if !is_etcds {
            match self.compact_native(revision).await {
                Ok(()) => {
                    compactor.done(revision, clock::now());
                    info!(%revision, "compacted the keys of the native API");
                }
                Err(reason) => {
                    warn!(%revision, reason, retry = ?compactor.retry(), "the keys of the native API cannot be compacted now");
                }
            }
            return;
        }
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

    /// Compacts the native API's keys. That somebody was quicker is as good.
    async fn compact_native(&self, revision: Revision) -> Result<(), String> {
        let request = native::compact_keys_request(revision);
        self.propose_native(native::KEYS, request).await
    }

    /// Forgets how lines were.
    async fn forget_lines(&self, lines: &mut LineUpkeep) {
        let due = self.0.with_state(|state| lines.due(clock::now(), state));
        let Some(request) = due else {
            return;
        };
        if let Err(reason) = self.propose_native(native::LINES, request).await {
            warn!(reason, "the history of lines cannot be forgotten now");
        }
    }

    async fn propose_native(&self, dialect: DialectId, request: Bytes) -> Result<(), String> {
        let own = self.0.own_word();
        let proposed = self.0.propose_to(dialect, request, None, own).await;
        let answer = proposed.map_err(|why| match why {
            NotAnswered::Refused(why) => why.to_string(),
            NotAnswered::Unknown => "no answer".to_owned(),
        })?;
        let outcome = outcome(&answer).map_err(|status| status.to_string())?;
        match native::Refused::of_outcome(outcome) {
            None => Ok(()),
            Some(refused) if refused.refusal == native::Refusal::Compacted => Ok(()),
            Some(refused) => Err(refused.refusal.to_string()),
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
