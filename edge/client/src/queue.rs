//! Places in lines: what locks, semaphores, elections and barriers are made of.
//!
//! Each place has a lease of its own. So everything that can go wrong on the way ends in the same way: the lease is revoked,
//! and the place with it, whether the answer that told of it came or not.
//!
//! ```text
//!   grant ──► enter ──► await … await ──► held ──► released
//!     │         │          │                │
//!     └─────────┴──────────┴────────────────┴──► dropped: the lease is revoked in the background
//! ```
//!
//! To enter is idempotent (lease and owner have one place), so a lost answer is asked again; to wait changes nothing, so
//! any member may be asked.

use crate::client::Core;
use crate::error::{Code, Error, Result};
use crate::lease::{self, Lease, Lost, LostFuture};
use crate::read::Consistency;
use crate::transport::{Answered, Kind};
use crate::values::{Fence, FencingToken, Key};
use api::{Method, proto};
use base::LeaseId;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant as Timer;

/// A lock that nobody gave a time to live: long enough for a pause of a garbage collector, short enough to wait for.
pub(crate) const TTL: Duration = Duration::from_secs(10);
/// A member is asked to wait for so long; then it is asked again, so that a silent one is noticed.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What place is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) core: Arc<Core>,
    pub(crate) queue: proto::Queue,
    pub(crate) mode: proto::Mode,
    pub(crate) permits: u32,
    pub(crate) value: Bytes,
    pub(crate) ttl: Duration,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

/// For how long somebody wants to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    Endless,
    Until(Timer),
    None,
}

/// A place that holds.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) lease: Lease,
    pub(crate) queue: proto::Queue,
    pub(crate) token: FencingToken,
}

/// A place in a line, as others see it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Standing {
    /// Its token: where it stands.
    pub token: FencingToken,
    /// Whether it holds.
    pub is_held: bool,
    /// Whether it holds together with others that share.
    pub is_shared: bool,
    /// Semaphores: how many may hold at once.
    pub permits: u32,
    /// The lease that it goes with.
    pub lease: LeaseId,
    /// What its owner says: of an election, what the leader proclaims.
    pub value: Bytes,
    /// When it entered, RFC 3339.
    pub since: String,
}

impl Standing {
    pub(crate) fn of(standing: proto::Standing) -> Standing {
        Standing {
            token: FencingToken(standing.token),
            is_held: standing.is_held,
            is_shared: standing.mode() == proto::Mode::Shared,
            permits: standing.permits,
            lease: LeaseId(standing.lease),
            value: standing.value,
            since: standing.since,
        }
    }
}

pub(crate) fn queue(kind: proto::QueueKind, name: Key) -> proto::Queue {
    proto::Queue {
        kind: kind.into(),
        name: name.0,
    }
}

/// Who stands in a line.
pub(crate) async fn look(
    core: &Core,
    queue: proto::Queue,
    consistency: Option<Consistency>,
) -> Result<Vec<Standing>> {
    let request = proto::LookQueueRequest {
        queue: Some(queue),
        consistency: Some(core.consistency(consistency)),
    };
    let answer: proto::LookQueueResponse = core.read(Method::LookQueue, &request, None).await?;
    core.saw(answer.header);
    Ok(answer.standings.into_iter().map(Standing::of).collect())
}

impl Wanted {
    pub(crate) fn new(core: &Arc<Core>, queue: proto::Queue) -> Wanted {
        Wanted {
            core: core.clone(),
            queue,
            mode: proto::Mode::Exclusive,
            permits: 0,
            value: Bytes::new(),
            ttl: TTL,
        }
    }

    /// Takes a place and waits until it holds. Nothing when `patience` is none and it does not hold at once.
    ///
    /// # Errors
    /// Q4006 when patience is over; Q4005 when the lease was lost on the way; refusals.
    pub(crate) async fn acquire(&self, patience: Patience) -> Result<Option<Place>> {
        let core = &self.core;
        let until = match patience {
            Patience::Until(until) => until.min(core.until(None)),
            _ => core.until(None),
        };
        // From here on, whatever ends this future revokes the lease, and the place goes with it.
        let granted = lease::grant(core, self.ttl, until).await;
        let lease = granted.map_err(|error| match patience {
            Patience::Until(over) if over <= Timer::now() => {
                Error::definite(Code::WaitOver, error.message())
            }
            _ => lease::not_granted(error, "no place in the line"),
        })?;
        let lost = lease.lost();
        let standing = async {
            let (token, is_held) = self.enter(&lease, patience).await?;
            match is_held || patience == Patience::None {
                true => Ok(Some((token, is_held))),
                false => Ok(self.wait(token, patience).await?.then_some((token, true))),
            }
        };
        let stands: Result<_> = tokio::select! {
            biased;
            lost = lost => Err(lost.into()),
            stands = standing => stands,
        };
        match stands? {
            Some((token, true)) => match lease.lost_now() {
                Some(lost) => Err(lost.into()),
                None => Ok(Some(Place {
                    token,
                    queue: self.queue.clone(),
                    lease,
                })),
            },
            Some((_, false)) => {
                // It shall not stand in anybody's way: it is given back before that is told, if that can be.
                let _ = lease.revoke().await;
                Ok(None)
            }
            None => {
                let _ = lease.revoke().await;
                Err(Error::definite(Code::WaitOver, ""))
            }
        }
    }

    async fn enter(&self, lease: &Lease, patience: Patience) -> Result<(FencingToken, bool)> {
        let core = &self.core;
        let request = proto::EnterRequest {
            queue: Some(self.queue.clone()),
            mode: self.mode.into(),
            permits: self.permits,
            lease: lease.id().0,
            owner: Bytes::new(),
            value: self.value.clone(),
        };
        loop {
            // Without this, no time left would be no reason to stop, nor to let anybody else run.
            if let Some(lost) = lease.lost_now() {
                return Err(lost.into());
            }
            let until = match patience {
                Patience::Endless => Timer::now() + lease.remaining(),
                Patience::Until(until) => until,
                Patience::None => core.until(None),
            };
            let asked = core
                .transport
                .call(Method::Enter, &request, Kind::Repeatable, until);
            match asked.await {
                Ok(Answered { answer, .. }) => {
                    let answer: proto::EnterResponse = answer;
                    core.saw(answer.header);
                    return Ok((FencingToken(answer.token), answer.is_held));
                }
                Err(failure) if failure.error.known() == Some(Code::LeaseNotFound) => {
                    return Err(Lost::Revoked.into());
                }
                Err(failure) if crate::error::is_decided(failure.error.known()) => {
                    return Err(Error::refused(failure.error));
                }
                // While the lease lives there is hope.
                Err(failure) => match patience {
                    Patience::Endless if crate::error::is_passing(&failure.error) => {}
                    Patience::Until(_) if failure.maybe_applied => {
                        return Err(Error::definite(Code::WaitOver, failure.error.message));
                    }
                    // Whether or not it has entered: the lease is revoked, so it does not stay.
                    _ => return Err(Error::refused(failure.error)),
                },
            }
        }
    }

    /// Waits until the place holds; false when patience is over.
    async fn wait(&self, token: FencingToken, patience: Patience) -> Result<bool> {
        let core = &self.core;
        loop {
            let left = match patience {
                Patience::Until(until) => until.saturating_duration_since(Timer::now()),
                _ => WAIT_MAX,
            };
            if left.is_zero() {
                return Ok(false);
            }
            let wait = left.min(WAIT_MAX);
            let request = proto::AwaitRequest {
                queue: Some(self.queue.clone()),
                token: token.0,
                timeout_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1),
            };
            let attempt_max = wait + core.transport.attempt_max();
            let until = match patience {
                Patience::Until(until) => until,
                _ => Timer::now() + attempt_max * 2,
            };
            let asked = core.transport.call_each(
                Method::Await,
                &request,
                Kind::Read,
                until,
                attempt_max,
                None,
            );
            match asked.await {
                Ok(Answered { answer, .. }) => {
                    let answer: proto::AwaitResponse = answer;
                    core.saw(answer.header);
                    if answer.is_held {
                        return Ok(true);
                    }
                }
                Err(failure) if failure.error.known() == Some(Code::StaleToken) => {
                    return Err(Lost::Revoked.into());
                }
                Err(failure) if crate::error::is_passing(&failure.error) => {}
                Err(failure) if failure.error.known() == Some(Code::WaitOver) => {}
                Err(failure) => return Err(Error::refused(failure.error)),
            }
        }
    }
}

impl Place {
    pub(crate) fn fence(&self) -> Fence {
        Fence::new(self.queue.clone(), self.token)
    }

    pub(crate) fn lost(&self) -> LostFuture {
        self.lease.lost()
    }

    pub(crate) fn lost_now(&self) -> Option<Lost> {
        self.lease.lost_now()
    }

    /// An error when the place is lost, as of now.
    pub(crate) fn check(&self) -> Result<(), Lost> {
        self.lost_now().map_or(Ok(()), Err)
    }

    pub(crate) fn held(&self) -> Held {
        Held {
            fence: self.fence(),
            state: self.lease.state().clone(),
            core: self.lease.core().clone(),
        }
    }

    /// Gives it back.
    pub(crate) async fn release(self) -> Result<()> {
        self.lease.revoke().await
    }

    /// Runs `work` until it is done or the place is lost, whichever comes first.
    pub(crate) async fn while_held<T>(&self, work: impl Future<Output = T>) -> Result<T, Lost> {
        let held_until_now = |done| self.check().map(|()| done);
        tokio::select! {
            biased;
            lost = self.lost() => Err(lost),
            done = work => held_until_now(done),
        }
    }
}

/// What may be done with something that is held, and what happens when it is not held any more.
#[derive(Clone)]
pub struct Held {
    fence: Fence,
    state: Arc<lease::LeaseState>,
    core: Arc<Core>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("token", &self.token())
            .field("is_held", &self.is_held())
            .finish_non_exhaustive()
    }
}

impl Held {
    /// The number to write beside everything that the lock protects.
    pub fn token(&self) -> FencingToken {
        self.fence.token()
    }

    /// For writes into Quorate: they are refused when the token does not hold any more.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Whether it is surely held, as of now. It may be lost before the next line of the program.
    pub fn is_held(&self) -> bool {
        self.state.lost().is_none()
    }

    /// For how long it is surely held if no renewal comes any more.
    pub fn remaining(&self) -> Duration {
        self.state.remaining()
    }

    /// Resolves when it is lost.
    pub fn lost(&self) -> LostFuture {
        LostFuture::new(self.state.clone(), &self.core)
    }

    /// An error when it is lost, as of now.
    ///
    /// # Errors
    /// Why it is lost.
    pub fn check(&self) -> Result<(), Lost> {
        match self.state.lost() {
            Some(lost) => Err(lost),
            None => Ok(()),
        }
    }
}
