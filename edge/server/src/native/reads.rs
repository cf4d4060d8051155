//! Reads of every level, and how fresh they were: for the native API and, by metadata, for etcd's.

use super::{Native, refused};
use crate::clock;
use crate::member::{Member, NotAnswered};
use api::{Code, proto};
use native::{Fault, Freshness, Level};
use node::{How, ReadFailed, ReadGrant, ReadLevel};
use std::time::Duration;

/// A read that may look at the published state now.
pub(crate) struct Granted {
    grant: ReadGrant,
    level: proto::Level,
}

impl Member {
    /// Waits until the published state is as fresh as `level` wants it; at most so long.
    pub(crate) async fn fresh(&self, level: Level, patience: Duration) -> Result<Granted, Fault> {
        let wanted = match level {
            Level::Linearizable => ReadLevel::Linearizable,
            Level::Lease => ReadLevel::Lease,
            Level::Bounded(behind) => ReadLevel::Bounded(behind),
            Level::Session(token) => ReadLevel::Session(token.revision()),
            Level::Sequential => ReadLevel::Sequential,
        };
        let granted = tokio::time::timeout(patience, self.read_at(wanted)).await;
        let grant = match granted {
            Ok(Ok(grant)) => grant,
            Ok(Err(NotRead::Refused(why))) => return Err(refused(why)),
            Ok(Err(NotRead::Failed(ReadFailed::Stopped))) => return Err(Code::Stopped.into()),
            Ok(Err(NotRead::Failed(ReadFailed::NoLease(why)))) => return Err(no_lease(why)),
            Ok(Err(NotRead::Expired)) | Err(_) => return Err(self.too_late(level)),
        };
        let level = level.level();
        Ok(Granted { grant, level })
    }

    fn too_late(&self, level: Level) -> Fault {
        match level {
            Level::Session(token) => {
                let have = self.with_state(store::State::revision);
                let words = format!(
                    "the session has seen revision {}, and this member is at {have}",
                    token.revision()
                );
                let mut fault = Fault::new(Code::Behind, words);
                fault.0.revision = Some(have.0);
                fault
            }
            Level::Bounded(_) => Code::BoundNotMet.into(),
            _ => Code::NoAnswer.into(),
        }
    }

    /// Whether what was read may still be said, to be asked after the answer is made; and how fresh it was.
    pub(crate) fn vouch(&self, granted: &Granted) -> Result<Freshness, Fault> {
        let now = self.looked();
        let Granted { grant, level } = granted;
        if !self.lease_holds(grant, now) {
            let words = "the lease ran out while the answer was made";
            return Err(Fault::new(Code::NoLease, words));
        }
        Ok(Freshness {
            level: *level,
            how: match grant.how {
                How::Quorum => proto::How::Quorum,
                How::Lease => proto::How::Lease,
                How::Local => proto::How::Local,
            },
            staleness: grant.fresh_as_of.map(|fresh| now.since(fresh)),
        })
    }
}

/// Why a read was not granted.
pub(crate) enum NotRead {
    /// At once.
    Refused(node::Refused),
    /// Certainly.
    Failed(ReadFailed),
    /// Nobody answered in time.
    Expired,
}

/// Whether a read of this level may have others do something for it.
fn asks_a_majority(level: Level) -> bool {
    matches!(level, Level::Linearizable | Level::Lease)
}

fn no_lease(why: node::NoLease) -> Fault {
    Fault::new(Code::NoLease, format!("no read by the lease: {why}"))
}

impl Native {
    /// Has the leader stamp an entry, so that the state's time is about now although nobody writes.
    async fn let_time_pass(&self) -> Result<(), Fault> {
        let touch = native::touch_request();
        let identity = self.identity()?;
        let touched = self.0.propose_to(native::KEYS, touch, None, identity).await;
        // It is no write: that its outcome is not known is of no consequence.
        touched.map(drop).map_err(|why| match why {
            NotAnswered::Refused(why) => refused(why),
            NotAnswered::Unknown => Code::NoAnswer.into(),
        })
    }

    pub(super) async fn read(
        &self,
        query: &native::Query,
        level: Level,
        patience: Duration,
    ) -> Result<native::Reply, Fault> {
        let granted = self.0.fresh(level, patience).await?;
        let granted = match self.0.with_state(|state| query.is_ahead_of(state)) {
            Some(time) if asks_a_majority(level) && time.physical_ms() <= clock::wall_ms() => {
                let again = async {
                    self.let_time_pass().await?;
                    self.0.fresh(level, patience).await
                };
                let again = tokio::time::timeout(patience, again).await;
                again.unwrap_or_else(|_| Err(Code::NoAnswer.into()))?
            }
            // Of the future nobody knows, and a weak read asks nobody.
            _ => granted,
        };
        let parts = self.0.native_header();
        // The bound is asked before, for the answer, and after, since the answer took time to make.
        let fresh = self.0.vouch(&granted)?;
        let reply = self.0.with_state(|state| {
            self.identity_in(state)?;
            native::answer(state, query, &parts, &fresh)
        });
        self.0.vouch(&granted)?;
        reply
    }
}
