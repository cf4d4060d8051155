//! Sessions for writes: each numbers its writes, so that one may be asked again and takes effect once.
//!
//! A session allows one write at a time, so there is a small pool of them, opened when they are needed:
//!
//! ```text
//!            lend                     give back
//!   idle ───────────► one write ──────────────────► idle
//!     ▲                  │  outcome unknown
//!     │ granted          └──────────────────────► set aside: kept alive, numbered no more, so that the write may
//!   nothing                                       be asked again by its request id
//! ```
//!
//! A write whose future is dropped gives its session back: the next write's higher number makes sure that the dropped
//! one, should it still be under way, is not applied after it.

use crate::client::Core;
use crate::error::{Code, Error, RequestId, Result};
use crate::lease::{self, Lease};
use crate::transport::{Answered, Kind};
use api::{Method, proto};
use prost::Message;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant as Timer;

/// How many sessions with an unknown outcome are kept alive; the oldest is given up first.
const SET_ASIDE_MAX: usize = 64;

pub(crate) struct Sessions {
    core: Arc<Core>,
    ttl: Duration,
    /// One for each write that may be under way.
    turns: Semaphore,
    idle: Mutex<Vec<Session>>,
    set_aside: Mutex<VecDeque<Session>>,
}

struct Session {
    lease: Lease,
    /// The number of its last write.
    sequence: u64,
}

/// A session that one write has for itself.
struct Loan<'a> {
    sessions: &'a Sessions,
    session: Option<Session>,
    _turn: SemaphorePermit<'a>,
}

impl Loan<'_> {
    /// The session is over.
    fn forget(&mut self) {
        if let Some(session) = self.session.take() {
            session.lease.detach();
        }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            locked(&self.sessions.idle).push(session);
        }
    }
}

/// Under which number a write goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Numbering {
    /// The next one of a session of the pool.
    #[default]
    Next,
    /// One that was used before.
    Given(RequestId),
    /// None: it is not asked again.
    None,
}

impl Sessions {
    pub(crate) fn new(core: Arc<Core>, ttl: Duration, writes_max: usize) -> Sessions {
        Sessions {
            core,
            ttl,
            turns: Semaphore::new(writes_max),
            idle: Mutex::new(Vec::new()),
            set_aside: Mutex::new(VecDeque::new()),
        }
    }

    /// Writes what `request` makes of a number, once.
    pub(crate) async fn write<Q, A>(
        &self,
        method: Method,
        numbering: Numbering,
        until: Timer,
        request: impl Fn(Option<proto::Retry>) -> Q,
    ) -> Result<A>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let floor = self.core.revision_floor();
        match numbering {
            Numbering::None => {
                let request = request(None);
                let transport = &self.core.transport;
                let asked = transport.call(method, &request, Kind::Single, until).await;
                let answered: Answered<A> = asked.map_err(|failure| failure.into_error(floor))?;
                Ok(answered.answer)
            }
            Numbering::Given(id) => {
                let request = request(Some(retry(id)));
                let written = self.attempt(method, &request, id, until, true);
                written.await.map_err(|failed| failed.error)
            }
            Numbering::Next => self.write_next(method, until, request).await,
        }
    }

    async fn write_next<Q, A>(
        &self,
        method: Method,
        until: Timer,
        request: impl Fn(Option<proto::Retry>) -> Q,
    ) -> Result<A>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        loop {
            let mut loan = self.lend(until).await?;
            let session = loan.session.as_mut().expect("a loan has a session");
            session.sequence += 1;
            let id = RequestId {
                session: session.lease.id().0,
                sequence: session.sequence,
            };
            let request = request(Some(retry(id)));
            let failed = match self.attempt(method, &request, id, until, false).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            match failed.session {
                After::GoesOn => return Err(failed.error),
                After::IsOver { is_written: false } => {
                    // Nothing was sent that could count: the same write in a new session.
                    loan.forget();
                }
                After::IsOver { is_written: true } => {
                    loan.forget();
                    return Err(failed.error);
                }
                After::SetAside => {
                    if let Some(session) = loan.session.take() {
                        self.set_aside(session);
                    }
                    return Err(failed.error);
                }
            }
        }
    }

    /// Asks under one number until there is an answer. `was_asked`: an earlier attempt may have been applied.
    pub(crate) async fn attempt<Q, A>(
        &self,
        method: Method,
        request: &Q,
        id: RequestId,
        until: Timer,
        was_asked: bool,
    ) -> Result<A, Failed>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let floor = self.core.revision_floor();
        let asked = self
            .core
            .transport
            .call(method, request, Kind::Repeatable, until);
        let failure = match asked.await {
            Ok(Answered { answer, .. }) => return Ok(answer),
            Err(failure) => failure,
        };
        let code = failure.error.known();
        let is_maybe = failure.maybe_applied || was_asked;
        if code == Some(Code::SessionOver) {
            let message = failure.error.message;
            return Err(Failed {
                error: Error::indeterminate(Code::SessionOver, message, Some(id), floor),
                session: After::IsOver {
                    is_written: is_maybe,
                },
            });
        }
        if let Some(passed @ (Code::Superseded | Code::NumberReused)) = code
            && is_maybe
        {
            // This attempt does nothing, nor will one after it; an attempt before it may have been what used the number.
            let message = failure.error.message;
            return Err(Failed {
                error: Error::indeterminate(passed, message, None, floor),
                session: After::SetAside,
            });
        }
        if !is_maybe || crate::error::is_decided(code) {
            return Err(Failed {
                error: Error::refused(failure.error),
                session: After::GoesOn,
            });
        }
        Err(Failed {
            error: Error::indeterminate(
                Code::OutcomeUnknown,
                failure.error.message,
                Some(id),
                floor,
            ),
            session: After::SetAside,
        })
    }

    async fn lend(&self, until: Timer) -> Result<Loan<'_>> {
        let turn = tokio::time::timeout_at(until, self.turns.acquire()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Error::definite(
                Code::Busy,
                "too many writes of this client are under way",
            ));
        };
        let idle = || {
            let mut idle = locked(&self.idle);
            // The youngest first, so that what is not needed goes unused; what was lost is forgotten.
            while let Some(session) = idle.pop() {
                if session.lease.is_held() {
                    return Some(session);
                }
                session.lease.detach();
            }
            None
        };
        let session = match idle() {
            Some(session) => session,
            None => Session {
                lease: self.open(until).await?,
                sequence: 0,
            },
        };
        Ok(Loan {
            sessions: self,
            session: Some(session),
            _turn: turn,
        })
    }

    /// Whatever goes wrong here, the write was not sent.
    async fn open(&self, until: Timer) -> Result<Lease> {
        let granted = lease::grant(&self.core, self.ttl, until).await;
        granted.map_err(|error| lease::not_granted(error, "no session for the write"))
    }

    fn set_aside(&self, session: Session) {
        let mut set_aside = locked(&self.set_aside);
        set_aside.push_back(session);
        if set_aside.len() > SET_ASIDE_MAX
            && let Some(oldest) = set_aside.pop_front()
        {
            oldest.lease.detach();
        }
    }

    /// Ends the idle sessions.
    pub(crate) async fn close(&self) {
        let idle = std::mem::take(&mut *locked(&self.idle));
        let ended: Vec<_> = idle
            .into_iter()
            .map(|session| self.core.runtime.spawn(session.lease.revoke()))
            .collect();
        for ended in ended {
            // What is not revoked ends on its own.
            let _ = ended.await;
        }
        for session in std::mem::take(&mut *locked(&self.set_aside)) {
            session.lease.detach();
        }
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        // Not revoked: their writes may still be asked again by hand.
        for session in std::mem::take(&mut *locked(&self.set_aside)) {
            session.lease.detach();
        }
    }
}

/// What became of a numbered write that was not answered well, and of its session.
pub(crate) struct Failed {
    pub(crate) error: Error,
    session: After,
}

enum After {
    GoesOn,
    IsOver { is_written: bool },
    SetAside,
}

fn retry(id: RequestId) -> proto::Retry {
    proto::Retry {
        session: id.session,
        sequence: id.sequence,
    }
}

fn locked<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
