//! Leases: what their owner is alive for, and when it must stop believing so.
//!
//! The holder's deadline is counted from when the last acknowledged renewal was **sent**, on this machine's clock, less
//! a guard band (`clock::guard`): so it stops before the cluster lets go. Nothing but that comparison decides; timers only
//! say when to look again, because a timer that was set before the process was stopped, or the machine suspended, fires
//! too late.
//!
//! Invariants: a lease that was once lost stays lost, even when a late answer would have extended it; the deadline never
//! moves back.

use crate::client::{Client, Core};
use crate::error::{Code, Error, Result};
use crate::read::{Consistency, Freshness};
use crate::transport::{Answered, Failure, Kind};
use crate::world;
use api::{Method, proto};
use base::{Instant, LeaseId};
use bytes::Bytes;
use clock::guard::{DriftBound, holder_stops_at};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant as Timer, Sleep};

/// How often the clock is looked at while somebody waits to hear of a loss. Timers do not count suspended time.
const TICK: Duration = Duration::from_millis(100);
/// A lease is renewed when this part of its time is over.
const RENEWALS_PER_TTL: u32 = 3;
/// A time to live of no lease: the guard band eats it, or it cannot be renewed in time.
const TTL_MIN: Duration = Duration::from_secs(1);

/// Why a lease, a lock or an office is not held any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Lost {
    /// No renewal was acknowledged in time, as counted here: the cluster may not have let go yet.
    Expired,
    /// The cluster says that the lease is gone: it expired there, or somebody revoked it.
    Revoked,
    /// It was given back here.
    Released,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lost::Expired => "no renewal was acknowledged in time",
            Lost::Revoked => "the cluster has ended the lease",
            Lost::Released => "it was given back",
        })
    }
}

impl std::error::Error for Lost {}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Error {
        Error::definite(Code::LockLost, format!("the lock was lost: {lost}"))
    }
}

/// A lease that is kept alive until it is dropped, revoked or detached.
///
/// Dropping it revokes it in the background, and with it the keys and places that hang on it.
#[must_use = "a lease that is dropped is revoked"]
pub struct Lease {
    core: Arc<Core>,
    state: Arc<LeaseState>,
    keeper: tokio::task::AbortHandle,
    /// What [`Drop`] does.
    at_end: AtEnd,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AtEnd {
    Revoke,
    Leave,
}

/// What the holder, its keeper and all who wait for a loss share.
pub(crate) struct LeaseState {
    lease: LeaseId,
    ttl: Duration,
    /// Strictly before this, in nanoseconds of [`world::now`], the lease is held.
    stops_at: AtomicU64,
    epoch: AtomicU64,
    lost: OnceLock<Lost>,
    told: Notify,
}

impl LeaseState {
    /// Why it is lost, by the clock as of now.
    pub(crate) fn lost(&self) -> Option<Lost> {
        self.lost_at(world::now())
    }

    fn lost_at(&self, now: Instant) -> Option<Lost> {
        if let Some(lost) = self.lost.get() {
            return Some(*lost);
        }
        if now.0 < self.stops_at.load(Ordering::Acquire) {
            return None;
        }
        Some(self.lose(Lost::Expired))
    }

    /// Lost for ever; the first reason counts.
    fn lose(&self, why: Lost) -> Lost {
        let why = *self.lost.get_or_init(|| why);
        self.told.notify_waiters();
        why
    }

    /// A renewal sent at `sent` was acknowledged at `now`.
    fn extend(
        &self,
        (sent, now): (Instant, Instant),
        remaining: Duration,
        epoch: u64,
        drift: DriftBound,
    ) {
        if self.lost_at(now).is_some() {
            return;
        }
        if let Some(stops) = holder_stops_at(sent, remaining, Duration::ZERO, Some(drift)) {
            self.stops_at.fetch_max(stops.0, Ordering::AcqRel);
        }
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    pub(crate) fn remaining(&self) -> Duration {
        let now = world::now();
        match self.lost_at(now) {
            Some(_) => Duration::ZERO,
            None => Instant(self.stops_at.load(Ordering::Acquire)).since(now),
        }
    }
}

impl Client {
    /// A lease that lives `ttl`, in whole seconds rounded up, without a sign of life; it is kept alive from here. The
    /// cluster lengthens what is too short for it.
    ///
    /// # Errors
    /// Definite: it was not granted. Indeterminate: it may have been, and ends on its own.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease> {
        grant(&self.core, ttl, self.core.until(None)).await
    }

    /// Grants a lease that nobody keeps alive from here: renew it, or let it end. `lease` 0: an id is drawn.
    ///
    /// # Errors
    /// As [`Client::grant`]; Q5004 when somebody has this lease.
    pub async fn grant_unattended(&self, ttl: Duration, lease: LeaseId) -> Result<LeaseLook> {
        let until = self.core.until(None);
        let (lease, granted) = match lease.is_none() {
            true => grant_any(&self.core, ttl, until).await?,
            false => (lease, grant_this(&self.core, ttl, lease, until).await?),
        };
        Ok(LeaseLook {
            lease,
            ttl: Duration::from_secs(granted.answer.ttl_s),
            remaining: Duration::from_millis(granted.answer.remaining_ms),
            epoch: granted.answer.epoch,
            ..LeaseLook::default()
        })
    }

    /// Renews a lease that is not kept alive from here.
    ///
    /// # Errors
    /// Q5003 when there is no such lease.
    pub async fn renew(&self, lease: LeaseId) -> Result<LeaseLook> {
        let answered = renew(&self.core, lease, self.core.until(None)).await?;
        Ok(LeaseLook {
            lease,
            ttl: Duration::from_secs(answered.answer.ttl_s),
            remaining: Duration::from_millis(answered.answer.remaining_ms),
            epoch: answered.answer.epoch,
            ..LeaseLook::default()
        })
    }

    /// Ends a lease, and with it the keys and places that hang on it.
    ///
    /// # Errors
    /// Q5003 when there is no such lease.
    pub async fn revoke(&self, lease: LeaseId) -> Result<Freshness> {
        match revoke(&self.core, lease, self.core.until(None)).await? {
            Revoked::Now(freshness) => Ok(freshness),
            Revoked::Before(error) => Err(error),
        }
    }

    /// How long a lease has left and, on demand, which keys hang on it.
    ///
    /// # Errors
    /// Q5003 when there is no such lease.
    pub async fn look_at_lease(&self, lease: LeaseId, with_keys: bool) -> Result<LeaseLook> {
        let request = proto::LookLeaseRequest {
            lease: lease.0,
            keys: with_keys,
        };
        let asked = self.core.read(Method::LookLease, &request, None);
        let answer: proto::LookLeaseResponse = asked.await?;
        self.core.saw(answer.header);
        Ok(LeaseLook {
            lease: LeaseId(answer.lease),
            ttl: Duration::from_secs(answer.ttl_s),
            remaining: Duration::from_millis(answer.remaining_ms),
            epoch: 0,
            granted: answer.granted,
            keys: answer.keys,
        })
    }

    /// All leases, and how long each lives without a sign of life.
    ///
    /// # Errors
    /// No member answered.
    pub async fn leases(&self, consistency: Consistency) -> Result<Vec<(LeaseId, Duration)>> {
        let request = proto::ListLeasesRequest {
            consistency: Some(self.core.consistency(Some(consistency))),
        };
        let asked = self.core.read(Method::ListLeases, &request, None);
        let answer: proto::ListLeasesResponse = asked.await?;
        self.core.saw(answer.header);
        let line = |line: proto::LeaseLine| (LeaseId(line.lease), Duration::from_secs(line.ttl_s));
        Ok(answer.leases.into_iter().map(line).collect())
    }
}

/// What is known of a lease.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct LeaseLook {
    /// Which.
    pub lease: LeaseId,
    /// How long it lives without a sign of life.
    pub ttl: Duration,
    /// How long it has left, as the leader counts.
    pub remaining: Duration,
    /// The term whose leader counts; 0 when that was not asked.
    pub epoch: u64,
    /// When it was granted, RFC 3339; empty when that was not asked.
    pub granted: String,
    /// The keys of the native root that hang on it.
    pub keys: Vec<Bytes>,
}

impl Lease {
    /// Its id: write it beside keys that shall go with it.
    pub fn id(&self) -> LeaseId {
        self.state.lease
    }

    /// How long it lives without a sign of life, as the cluster decided.
    pub fn ttl(&self) -> Duration {
        self.state.ttl
    }

    /// The term whose leader renewed it last. Another one than before: another leader, which gave all leases their full
    /// time.
    pub fn epoch(&self) -> u64 {
        self.state.epoch.load(Ordering::Relaxed)
    }

    /// Whether it is surely alive, as of now.
    pub fn is_held(&self) -> bool {
        self.state.lost().is_none()
    }

    /// For how long it is surely alive if no renewal comes any more.
    pub fn remaining(&self) -> Duration {
        self.state.remaining()
    }

    /// Resolves when it is lost, before the cluster lets go of it.
    pub fn lost(&self) -> LostFuture {
        LostFuture::new(self.state.clone(), &self.core)
    }

    /// Ends it, and with it the keys and places that hang on it.
    ///
    /// # Errors
    /// Q4005 when it was lost before; indeterminate when no answer came: then it ends on its own.
    pub async fn revoke(mut self) -> Result<()> {
        let lost = self.state.lost();
        // Before anything is sent: the cluster passes on what hangs on it before its answer is here.
        self.keeper.abort();
        self.state.lose(Lost::Released);
        let core = self.core.clone();
        let lease = self.id();
        // Whoever drops this future has it revoked by `Drop`.
        let done = revoke(&core, lease, core.until(None)).await;
        if done.is_ok() {
            self.at_end = AtEnd::Leave;
        }
        match (lost, done) {
            (Some(lost), _) => Err(lost.into()),
            (None, Ok(Revoked::Now(_))) => Ok(()),
            (None, Ok(Revoked::Before(_))) => Err(Lost::Revoked.into()),
            (None, Err(error)) => Err(error),
        }
    }

    /// Stops to keep it alive and leaves it: it ends on its own unless somebody else renews it.
    pub fn detach(mut self) -> LeaseId {
        self.at_end = AtEnd::Leave;
        self.id()
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn state(&self) -> &Arc<LeaseState> {
        &self.state
    }

    pub(crate) fn lost_now(&self) -> Option<Lost> {
        self.state.lost()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keeper.abort();
        self.state.lose(Lost::Released);
        if self.at_end == AtEnd::Revoke {
            revoke_behind(&self.core, self.id(), self.state.ttl);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("lease", &self.id())
            .field("lost", &self.state.lost())
            .finish_non_exhaustive()
    }
}

/// Resolves when a lease is lost. It looks at the clock whenever it is polled, and never later than a tick (100 ms) after
/// the deadline or after the process runs again.
#[must_use = "a loss is heard only by those who wait for it"]
pub struct LostFuture {
    state: Arc<LeaseState>,
    told: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    tick: Pin<Box<Sleep>>,
}

impl LostFuture {
    pub(crate) fn new(state: Arc<LeaseState>, core: &Core) -> LostFuture {
        let _runtime = core.runtime.enter();
        let heard = state.clone();
        let told = async move { heard.told.notified().await };
        LostFuture {
            told: Box::pin(told),
            tick: Box::pin(tokio::time::sleep(TICK.min(state.remaining()))),
            state,
        }
    }
}

impl Future for LostFuture {
    type Output = Lost;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Lost> {
        // Whoever asks again hears it again.
        if let Some(lost) = self.state.lost.get() {
            return Poll::Ready(*lost);
        }
        // Listening comes before looking: what happens in between is heard.
        let _ = self.told.as_mut().poll(cx);
        loop {
            if let Some(lost) = self.state.lost() {
                return Poll::Ready(lost);
            }
            if self.tick.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let next = TICK.min(self.state.remaining()) + Duration::from_millis(1);
            self.tick.as_mut().reset(Timer::now() + next);
        }
    }
}

impl fmt::Debug for LostFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LostFuture")
            .field(&self.state.lease)
            .finish()
    }
}

/// What granting told.
struct Granted {
    ttl_s: u64,
    remaining_ms: u64,
    epoch: u64,
}

/// A new lease with a keeper. Whoever drops this future before its end leaves a lease that nobody renews.
pub(crate) async fn grant(core: &Arc<Core>, ttl: Duration, until: Timer) -> Result<Lease> {
    let (lease, granted) = grant_any(core, ttl, until).await?;
    let Answered { answer, sent, .. } = granted;
    let remaining = Duration::from_millis(answer.remaining_ms);
    let stops = holder_stops_at(sent, remaining, Duration::ZERO, Some(core.drift));
    let state = Arc::new(LeaseState {
        lease,
        ttl: Duration::from_secs(answer.ttl_s),
        stops_at: AtomicU64::new(stops.unwrap_or(sent).0),
        epoch: AtomicU64::new(answer.epoch),
        lost: OnceLock::new(),
        told: Notify::new(),
    });
    let keeping = keep(core.clone(), state.clone(), sent);
    Ok(Lease {
        core: core.clone(),
        keeper: core.runtime.spawn(keeping).abort_handle(),
        state,
        at_end: AtEnd::Revoke,
    })
}

/// A lease that was not granted, for those to whom it is only a means: if it was granted all the same, it ends on its own,
/// and nothing hangs on it. So what it was meant for has certainly not happened.
pub(crate) fn not_granted(error: Error, what: &str) -> Error {
    match error {
        Error::Indeterminate { message, .. } => {
            Error::definite(Code::NoAnswer, format!("{what}: {message}"))
        }
        definite => definite,
    }
}

/// A lease with an id of its own. Each attempt that may have been applied has its own, too: a late echo of one, after
/// the lease was revoked, would bring it back, and the writes of its session would be new again. What such an attempt
/// grants is known to nobody, and ends on its own.
async fn grant_any(
    core: &Core,
    ttl: Duration,
    until: Timer,
) -> Result<(LeaseId, Answered<Granted>)> {
    let mut maybe_applied = false;
    let mut n_lost = 0;
    loop {
        let lease = draw();
        let mut failure = match grant_once(core, ttl, lease, Kind::Single, until).await {
            Ok(granted) => return Ok((lease, granted)),
            // Somebody else drew it.
            Err(failure) if failure.error.known() == Some(Code::LeaseExists) => continue,
            Err(failure) => failure,
        };
        let is_lost = failure.maybe_applied;
        maybe_applied |= is_lost;
        n_lost += 1;
        if is_lost {
            let n_rounds = n_lost / core.transport.names().count();
            core.transport.pause(n_rounds, until).await;
        }
        if !is_lost || until <= Timer::now() {
            failure.maybe_applied = maybe_applied;
            return Err(failure.into_error(core.revision_floor()));
        }
    }
}

/// The lease with this id, which somebody chose.
async fn grant_this(
    core: &Core,
    ttl: Duration,
    lease: LeaseId,
    until: Timer,
) -> Result<Answered<Granted>> {
    let floor = core.revision_floor();
    let failure = match grant_once(core, ttl, lease, Kind::Repeatable, until).await {
        Ok(granted) => return Ok(granted),
        Err(failure) => failure,
    };
    if !failure.maybe_applied || failure.error.known() != Some(Code::LeaseExists) {
        return Err(failure.into_error(floor));
    }
    // It is ours: an attempt whose answer was lost has granted it.
    let Answered { answer, sent, .. } = renew(core, lease, until).await?;
    Ok(Answered {
        answer: Granted {
            ttl_s: answer.ttl_s,
            remaining_ms: answer.remaining_ms,
            epoch: answer.epoch,
        },
        sent,
        is_repeated: true,
    })
}

async fn grant_once(
    core: &Core,
    ttl: Duration,
    lease: LeaseId,
    kind: Kind,
    until: Timer,
) -> Result<Answered<Granted>, Failure> {
    let request = proto::GrantRequest {
        lease: lease.0,
        ttl_s: ttl.max(TTL_MIN).as_millis().div_ceil(1000) as u64,
    };
    let asked = core.transport.call(Method::Grant, &request, kind, until);
    let Answered {
        answer,
        sent,
        is_repeated,
    } = asked.await?;
    let answer: proto::GrantResponse = answer;
    core.saw(answer.header);
    Ok(Answered {
        answer: Granted {
            ttl_s: answer.ttl_s,
            remaining_ms: answer.ttl_s * 1000,
            epoch: answer.epoch,
        },
        sent,
        is_repeated,
    })
}

async fn renew(
    core: &Core,
    lease: LeaseId,
    until: Timer,
) -> Result<Answered<proto::RenewResponse>> {
    let request = proto::RenewRequest { lease: lease.0 };
    let answered: Answered<proto::RenewResponse> =
        core.repeat(Method::Renew, &request, until).await?;
    core.saw(answered.answer.header.clone());
    Ok(answered)
}

/// How a revoke went well.
enum Revoked {
    Now(Freshness),
    /// It was gone before this client asked.
    Before(Error),
}

async fn revoke(core: &Core, lease: LeaseId, until: Timer) -> Result<Revoked> {
    let request = proto::RevokeRequest { lease: lease.0 };
    let floor = core.revision_floor();
    let asked = core
        .transport
        .call(Method::Revoke, &request, Kind::Repeatable, until);
    match asked.await {
        Ok(Answered { answer, .. }) => {
            let answer: proto::RevokeResponse = answer;
            Ok(Revoked::Now(core.saw(answer.header)))
        }
        Err(failure) if failure.error.known() == Some(Code::LeaseNotFound) => {
            // An attempt whose answer was lost may have been the one that ended it. When that was went with the answer:
            // what this client has seen so far is all that can be said.
            Ok(match failure.maybe_applied {
                true => Revoked::Now(core.freshness_seen()),
                false => Revoked::Before(Error::refused(failure.error)),
            })
        }
        Err(failure) => Err(failure.into_error(floor)),
    }
}

/// Revokes in the background, as well as it goes, for as long as the lease could live.
pub(crate) fn revoke_behind(core: &Arc<Core>, lease: LeaseId, ttl: Duration) {
    let core = core.clone();
    let runtime = core.runtime.clone();
    runtime.spawn(async move {
        // On failure the lease ends on its own.
        let _ = revoke(&core, lease, Timer::now() + ttl).await;
    });
}

/// Renews until the lease is lost.
async fn keep(core: Arc<Core>, state: Arc<LeaseState>, mut sent: Instant) {
    let every = state.ttl / RENEWALS_PER_TTL;
    let attempt_max = core.transport.attempt_max().min(every);
    // Who said that the lease is not there: a member that lags may say so of a healthy one.
    let mut denied = None;
    while state.lost().is_none() {
        let due = sent + every;
        let wait = due.since(world::now()).min(state.remaining());
        tokio::time::sleep(wait).await;
        let until = Timer::now() + state.remaining();
        let request = proto::RenewRequest {
            lease: state.lease.0,
        };
        let asked = core.transport.call_each(
            Method::Renew,
            &request,
            Kind::Repeatable,
            until,
            attempt_max,
            denied,
        );
        match asked.await {
            Ok(answered) => {
                denied = None;
                let answer: proto::RenewResponse = answered.answer;
                sent = answered.sent;
                let remaining = Duration::from_millis(answer.remaining_ms);
                let times = (sent, world::now());
                state.extend(times, remaining, answer.epoch, core.drift);
                core.saw(answer.header);
            }
            Err(failure) if failure.error.known() == Some(Code::LeaseNotFound) => {
                match denied {
                    // It is asked once more, at once, and elsewhere if that can be.
                    None => denied = failure.asked,
                    Some(_) => _ = state.lose(Lost::Revoked),
                }
            }
            // Something that does not pass by asking again at once; and the time may be over.
            Err(_) => tokio::time::sleep(TICK.min(state.remaining())).await,
        }
    }
}

fn draw() -> LeaseId {
    // Positive, and 0 is no lease.
    LeaseId(((world::random() >> 1) | 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(stops: Instant) -> LeaseState {
        LeaseState {
            lease: LeaseId(1),
            ttl: SECOND,
            stops_at: AtomicU64::new(stops.0),
            epoch: AtomicU64::new(1),
            lost: OnceLock::new(),
            told: Notify::new(),
        }
    }

    fn exact() -> DriftBound {
        DriftBound::from_ppm(0).expect("small")
    }

    /// Even when nobody looked at the clock between the deadline and the late answer.
    #[test]
    fn a_late_answer_does_not_revive_a_lease() {
        let stops = Instant(0) + SECOND * 100;
        let lease = lease(stops);
        let (sent, came) = (stops - SECOND / 2, stops + SECOND / 4);
        lease.extend((sent, came), SECOND, 2, exact());
        assert_eq!(lease.lost_at(came), Some(Lost::Expired));
        assert_eq!(lease.lost_at(sent), Some(Lost::Expired), "for ever");
    }

    #[test]
    fn a_deadline_moves_forwards_only() {
        let stops = Instant(0) + SECOND * 100;
        let lease = lease(stops);
        let now = stops - SECOND / 2;
        lease.extend((now, now), SECOND / 4, 2, exact());
        assert_eq!(lease.lost_at(stops - SECOND / 8), None);
        lease.extend((now, now), SECOND, 3, exact());
        assert_eq!(lease.lost_at(stops + SECOND / 4), None);
        assert_eq!(lease.lost_at(stops + SECOND / 2), Some(Lost::Expired));
    }
}
