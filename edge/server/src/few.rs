//! Work that is large: a few at a time, some wait, and further ones are refused.
//!
//! A [`Turn`] goes with the work and not with who asked for it: given to the thread that does it, it is held for as long
//! as that takes, also when the client has gone away meanwhile.

use etcd::Refusal;
use std::cell::Cell;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hashes over all there is, for clients, at a time.
pub(crate) const HASHES_AT_ONCE: usize = 1;

/// Clients that wait for one.
pub(crate) const HASHES_WAITING_MAX: usize = 16;

/// Comparisons with other members that wait for each other.
pub(crate) const COMPARISONS_WAITING_MAX: usize = 4;

/// Snapshots that clients are sent at a time: each holds the state that it began with.
pub(crate) const SNAPSHOTS_MAX: usize = 16;

/// Threads that make parts of them.
pub(crate) const SNAPSHOTS_AT_ONCE: usize = 2;

/// Who may begin.
#[derive(Debug)]
pub(crate) struct Few {
    slots: Arc<Semaphore>,
    waiting: Cell<usize>,
    waiting_max: usize,
}

/// Leave to work, until it is dropped.
pub(crate) type Turn = OwnedSemaphorePermit;

impl Few {
    pub(crate) fn new(at_once: usize, waiting_max: usize) -> Few {
        Few {
            slots: Arc::new(Semaphore::new(at_once)),
            waiting: Cell::new(0),
            waiting_max,
        }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// Too many wait.
    pub(crate) async fn enter(&self) -> Result<Turn, Refusal> {
        if let Ok(turn) = self.slots.clone().try_acquire_owned() {
            return Ok(turn);
        }
        if self.waiting.get() >= self.waiting_max {
            return Err(Refusal::TooManyRequests);
        }
        let _waits = Waits::begin(&self.waiting);
        let turn = self.slots.clone().acquire_owned().await;
        turn.map_err(|_| Refusal::Stopped)
    }
}

/// One that waits.
struct Waits<'a>(&'a Cell<usize>);

impl Waits<'_> {
    fn begin(waiting: &Cell<usize>) -> Waits<'_> {
        waiting.set(waiting.get() + 1);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn a_few_work_some_wait_and_the_rest_is_refused() {
        let few = Few::new(1, 1);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(working)) = pin!(few.enter()).poll(&mut cx) else {
            panic!("nobody else works");
        };
        let mut waiting = Box::pin(few.enter());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        let refused = pin!(few.enter()).poll(&mut cx).map(|it| it.map(drop));
        assert_eq!(refused, Poll::Ready(Err(Refusal::TooManyRequests)));
        // Who goes away makes room for another to wait.
        drop(waiting);
        let mut waiting = Box::pin(few.enter());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        drop(working);
        assert!(waiting.as_mut().poll(&mut cx).is_ready());
    }
}
