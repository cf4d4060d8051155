//! Locks, semaphores and barriers.
//!
//! A guard is a capability, not a promise: between looking at it and acting, the process may be stopped for longer than the
//! lease lives. What must not happen twice, or out of order, therefore carries the guard's token to where it happens, and
//! is refused there when a newer one has been seen: writes into Quorate by [`LockGuard::fence`], other resources by
//! [`LockGuard::token`].
//!
//! ```no_run
//! # async fn story(q: &quorate::Client) -> quorate::Result<()> {
//! use std::time::Duration;
//! let guard = q.lock("db").ttl(Duration::from_secs(10)).acquire().await?;
//! q.put("/db/state", "busy").fence(&guard.fence()).await?;
//! guard.release().await?;
//!
//! // Harder to misuse: the work is dropped as soon as the lock is lost.
//! q.lock("db")
//!     .run(|held| {
//!         let q = q.clone();
//!         async move { q.put("/db/state", "idle").fence(&held.fence()).await }
//!     })
//!     .await??;
//! # Ok(())
//! # }
//! ```

use crate::client::Client;
use crate::error::{Code, Error, Result};
use crate::lease::{Lost, LostFuture};
use crate::queue::{self, Held, Patience, Place, Standing, Wanted};
use crate::read::Consistency;
use crate::transport::Kind;
use crate::values::{Fence, FencingToken, Key, value};
use api::{Method, proto};
use base::LeaseId;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant as Timer;

/// A lock or a semaphore that is wanted.
#[derive(Clone, Debug)]
#[must_use = "a lock is taken by `acquire`"]
pub struct Lock {
    wanted: Wanted,
}

/// A barrier: all who wait there go on when the last one has come.
#[derive(Clone, Debug)]
#[must_use = "a barrier does nothing until it is waited at"]
pub struct Barrier {
    wanted: Wanted,
}

/// A lock that is held, or a permit of a semaphore. Dropping it gives it back in the background.
#[must_use = "a lock whose guard is dropped is given back"]
pub struct LockGuard {
    place: Place,
}

impl Client {
    /// The lock called `name`, alone unless [`Lock::shared`] says otherwise.
    pub fn lock(&self, name: impl Into<Key>) -> Lock {
        let queue = queue::queue(proto::QueueKind::Lock, name.into());
        Lock {
            wanted: Wanted::new(&self.core, queue),
        }
    }

    /// A permit of the semaphore called `name`, which so many may hold at once. All who use it must say the same number.
    pub fn semaphore(&self, name: impl Into<Key>, permits: u32) -> Lock {
        let queue = queue::queue(proto::QueueKind::Semaphore, name.into());
        let mut wanted = Wanted::new(&self.core, queue);
        wanted.permits = permits;
        Lock { wanted }
    }

    /// The barrier called `name`, which opens when `n` have come, and then begins anew.
    pub fn barrier(&self, name: impl Into<Key>, n: u32) -> Barrier {
        let queue = queue::queue(proto::QueueKind::Barrier, name.into());
        let mut wanted = Wanted::new(&self.core, queue);
        wanted.permits = n;
        Barrier { wanted }
    }
}

impl Lock {
    /// How long it stays taken when this process is silent, in whole seconds rounded up; 10 s unless said otherwise. The
    /// cluster lengthens what is too short for it.
    pub fn ttl(mut self, ttl: Duration) -> Lock {
        self.wanted.ttl = ttl;
        self
    }

    /// Together with others that share. A semaphore has no such difference.
    pub fn shared(mut self) -> Lock {
        self.wanted.mode = proto::Mode::Shared;
        self
    }

    /// A note for people who look who holds it.
    pub fn note(mut self, note: impl Into<Key>) -> Lock {
        self.wanted.value = value(note);
        self
    }

    /// Waits in line until it is held. Dropping this future leaves the line, in the background.
    ///
    /// # Errors
    /// Q4005 when the place was lost while waiting, Q4003 when too many wait, Q4004 when the number of permits is not
    /// that of the others.
    pub async fn acquire(self) -> Result<LockGuard> {
        let place = self.wanted.acquire(Patience::Endless).await?;
        guard(place).ok_or_else(|| Error::definite(Code::WaitOver, ""))
    }

    /// [`Lock::acquire`] for at most so long.
    ///
    /// # Errors
    /// Those, and Q4006 when the time is over; then the place is given back.
    pub async fn acquire_within(self, patience: Duration) -> Result<LockGuard> {
        let patience = Patience::Until(Timer::now() + patience);
        let place = self.wanted.acquire(patience).await?;
        guard(place).ok_or_else(|| Error::definite(Code::WaitOver, ""))
    }

    /// Takes it if nobody stands in the way; nothing else.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    pub async fn try_acquire(self) -> Result<Option<LockGuard>> {
        Ok(guard(self.wanted.acquire(Patience::None).await?))
    }

    /// Acquires it, runs `work` and gives it back. The work is dropped, wherever it is, as soon as the lock is lost.
    ///
    /// # Errors
    /// As [`Lock::acquire`], and Q4005 when the lock was lost before the work was done.
    pub async fn run<T, F>(self, work: impl FnOnce(Held) -> F) -> Result<T>
    where
        F: Future<Output = T>,
    {
        let guard = self.acquire().await?;
        let done = guard.place.while_held(work(guard.held())).await?;
        match guard.release().await {
            // Somebody ended the lease before us: another may have held the lock meanwhile.
            Err(error) if error.is(Code::LockLost) => Err(error),
            // At worst it stays taken until its lease ends.
            _ => Ok(done),
        }
    }

    /// Who stands in line, holding or waiting.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn look(&self, consistency: Consistency) -> Result<Vec<Standing>> {
        let queue = self.wanted.queue.clone();
        queue::look(&self.wanted.core, queue, Some(consistency)).await
    }
}

fn guard(place: Option<Place>) -> Option<LockGuard> {
    place.map(|place| LockGuard { place })
}

impl LockGuard {
    /// The number to write beside everything that the lock protects: it only rises, so a resource that refuses an older
    /// one than it has seen is safe from whoever held the lock before.
    pub fn token(&self) -> FencingToken {
        self.place.token
    }

    /// For writes into Quorate: they are refused when the token does not hold any more.
    pub fn fence(&self) -> Fence {
        self.place.fence()
    }

    /// Whether it is surely held, as of now. It may be lost before the next line of the program.
    pub fn is_held(&self) -> bool {
        self.place.lost_now().is_none()
    }

    /// For how long it is surely held if no renewal comes any more.
    pub fn remaining(&self) -> Duration {
        self.place.lease.remaining()
    }

    /// Resolves when it is lost: before the cluster gives it to somebody else, as long as clocks keep the drift bound.
    pub fn lost(&self) -> LostFuture {
        self.place.lost()
    }

    /// An error when it is lost, as of now.
    ///
    /// # Errors
    /// Why it is lost.
    pub fn check(&self) -> Result<(), Lost> {
        self.place.check()
    }

    /// The lease that it lives on.
    pub fn lease(&self) -> LeaseId {
        self.place.lease.id()
    }

    /// The term whose leader renewed the lease last.
    pub fn epoch(&self) -> u64 {
        self.place.lease.epoch()
    }

    /// What work under the lock needs to know, to be passed on.
    pub fn held(&self) -> Held {
        self.place.held()
    }

    /// Gives it back.
    ///
    /// # Errors
    /// Q4005 when it was lost before; indeterminate when no answer came: then it is given back when its lease ends.
    pub async fn release(self) -> Result<()> {
        self.place.release().await
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("token", &self.token())
            .field("is_held", &self.is_held())
            .finish_non_exhaustive()
    }
}

impl Barrier {
    /// How long a place counts when this process is silent, in whole seconds rounded up; 10 s unless said otherwise.
    pub fn ttl(mut self, ttl: Duration) -> Barrier {
        self.wanted.ttl = ttl;
        self
    }

    /// Waits until all have come. Dropping this future takes the place back, in the background.
    ///
    /// # Errors
    /// Q4004 when the others wait for another number; Q4005 when the place was lost while waiting.
    pub async fn wait(self) -> Result<()> {
        let place = self.wanted.acquire(Patience::Endless).await?;
        if let Some(place) = place {
            leave_behind(place);
        }
        Ok(())
    }

    /// [`Barrier::wait`] for at most so long.
    ///
    /// # Errors
    /// Those, and Q4006 when the time is over.
    pub async fn wait_within(self, patience: Duration) -> Result<()> {
        let patience = Patience::Until(Timer::now() + patience);
        let place = self.wanted.acquire(patience).await?;
        if let Some(place) = place {
            leave_behind(place);
        }
        Ok(())
    }
}

/// Leaves in the background, by name: the last to leave takes the gate along.
fn leave_behind(place: Place) {
    let core = place.lease.core().clone();
    let runtime = core.runtime.clone();
    runtime.spawn(async move {
        let request = proto::LeaveRequest {
            queue: Some(place.queue.clone()),
            token: place.token.get(),
            claim: 0,
        };
        let until = Timer::now() + place.lease.ttl();
        let asked = core
            .transport
            .call(Method::Leave, &request, Kind::Repeatable, until);
        // Dropping the place does what this could not.
        let _: Result<_, _> = asked
            .await
            .map(|answered| -> proto::LeaveResponse { answered.answer });
        drop(place);
    });
}
