//! Waiting for a place to hold, and what becomes of places whose calls go away.

use super::Native;
use crate::member::Member;
use api::Code;
use base::Revision;
use bytes::Bytes;
use native::{Entered, Fault, Freshness, Level, QueueName, Reply, Woken};
use std::rc::Rc;
use std::time::Duration;
use store::command::DialectId;
use tokio::sync::oneshot;

/// Between two tries to withdraw a place.
const WITHDRAW_AGAIN: Duration = Duration::from_millis(250);

/// Withdrawals are tried so often; then the lease's end does it.
const WITHDRAW_TRIES: u32 = 40;

/// A place that goes when this is dropped.
struct Withdraw {
    member: Rc<Member>,
    queue: QueueName,
    entered: Entered,
    is_kept: bool,
}

impl Drop for Withdraw {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        let (member, request) = (self.member.clone(), self.entered.leave_request(&self.queue));
        tokio::task::spawn_local(async move {
            for _ in 0..WITHDRAW_TRIES {
                // Refused or done, it is gone; only when nobody knows it is asked again.
                let own = member.own_word();
                if member
                    .propose_to(native::LINES, request.clone(), None, own)
                    .await
                    .is_ok()
                {
                    return;
                }
                tokio::time::sleep(WITHDRAW_AGAIN).await;
            }
        });
    }
}

/// What an `Acquire` asks for.
pub(super) struct Acquire {
    pub(super) dialect: DialectId,
    pub(super) request: Bytes,
    pub(super) cost_bytes: u64,
    pub(super) queue: QueueName,
    pub(super) timeout: Option<Duration>,
}

impl Native {
    /// Waits until a place holds, or for `timeout`.
    pub(super) async fn wait(
        &self,
        queue: &QueueName,
        token: Revision,
        timeout: Option<Duration>,
        level: Level,
        patience: Duration,
    ) -> Result<Reply, Fault> {
        // A place is known only where its revision is.
        self.0.fresh(level, patience).await?;
        let woken = match timeout {
            None => Some(self.held(queue, token).await?),
            Some(timeout) => match tokio::time::timeout(timeout, self.held(queue, token)).await {
                Ok(woken) => Some(woken?),
                Err(_) => None,
            },
        };
        let parts = self.0.native_header();
        let fresh = match woken {
            Some(_) => super::LEADERS_WORD,
            // That it does not hold yet is only this member's word.
            None => Freshness {
                level: api::proto::Level::Session,
                ..Freshness::LOCAL
            },
        };
        self.0
            .with_state(|state| native::answer_await(state, queue, token, woken, &parts, &fresh))
    }

    /// Waits until a place holds, as surely as a linearizable read can say, or is gone.
    async fn held(&self, queue: &QueueName, token: Revision) -> Result<Woken, Fault> {
        loop {
            let state = self.0.state();
            let woken = self.0.desks.until_held(queue, token, &state).await?;
            if woken == Woken::Gone {
                return Ok(woken);
            }
            // It is the first here; whether its lease has run out elsewhere must be as fresh as any read.
            let patience = self.0.config.request_timeout();
            self.0.fresh(Level::Linearizable, patience).await?;
            self.identity()?;
            let state = self.0.state();
            let root = state.root(native::LINES_ROOT);
            if queue.is_held(root, token) {
                return Ok(Woken::Held);
            }
            if queue.find(root, token).is_none() {
                return Ok(Woken::Gone);
            }
        }
    }

    /// Takes a place and waits until it holds. Whoever goes away, or runs out of time, leaves nothing behind.
    pub(super) async fn acquire(&self, asked: Acquire) -> Result<Reply, Fault> {
        self.check_room(asked.cost_bytes).await?;
        let (tell, told) = oneshot::channel();
        let native = Native(self.0.clone(), self.1.clone());
        let queue = asked.queue.clone();
        // On its own, so that a call which goes away in the middle still knows its place and withdraws it.
        tokio::task::spawn_local(async move {
            let (dialect, request) = (asked.dialect, asked.request);
            let entered = native.enter(dialect, request.clone(), &queue).await;
            let is_unknown = matches!(&entered, Err(fault) if fault.code() == Code::OutcomeUnknown);
            let _ = tell.send(entered);
            if is_unknown {
                native.settle(dialect, request, &queue).await;
            }
        });
        let entered = told.await.map_err(|_| Fault::from(Code::Stopped))?;
        let mut place = entered?;
        let held = self.held(&asked.queue, place.entered.token);
        let woken = match asked.timeout {
            None => held.await?,
            Some(timeout) => match tokio::time::timeout(timeout, held).await {
                Ok(woken) => woken?,
                Err(_) => return Err(Code::WaitOver.into()),
            },
        };
        place.is_kept = true;
        let parts = self.0.native_header();
        self.0.with_state(|state| {
            native::answer_acquired(state, &asked.queue, place.entered.token, woken, &parts)
        })
    }

    /// A place that was asked for, and nobody knows whether it was taken: asks for it again, which changes nothing
    /// where it was, until that is known; and gives it back.
    async fn settle(&self, dialect: DialectId, request: Bytes, queue: &QueueName) {
        for _ in 0..WITHDRAW_TRIES {
            match self.enter(dialect, request.clone(), queue).await {
                Err(fault) if fault.code() == Code::OutcomeUnknown => {}
                // Refused, or dropped here and withdrawn by that.
                _ => return,
            }
            tokio::time::sleep(WITHDRAW_AGAIN).await;
        }
    }

    async fn enter(
        &self,
        dialect: DialectId,
        request: Bytes,
        queue: &QueueName,
    ) -> Result<Withdraw, Fault> {
        let identity = self.identity()?;
        let answer = self.0.propose_to(dialect, request, None, identity).await;
        let answer = answer.map_err(super::unanswered)?;
        let outcome = answer
            .outcome
            .map_err(|_| Fault::from(Code::OutcomeUnknown))?;
        Ok(Withdraw {
            member: self.0.clone(),
            queue: queue.clone(),
            entered: native::entered(&outcome)?,
            is_kept: false,
        })
    }
}
