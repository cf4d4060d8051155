//! Requests that wait for an answer which comes by number: a window over rising numbers.
//!
//! ```text
//!     first                                   next
//!       ▼                                      ▼
//!     ┌────┬────┬────┬────┬────┬────┬────┬────┐
//!     │ ✓  │wait│ ✓  │ ✓  │wait│wait│    │wait│     answers come nearly in order; the front moves on
//!     └────┴────┴────┴────┴────┴────┴────┴────┘     over what is answered, expired or left
//! ```
//!
//! All waits of one window have the same patience, so the oldest expires first and no timer is needed for
//! each: whoever ticks calls [`Waits::expire`].

use base::Instant;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// How a wait ended without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Expired;

struct Slot<T> {
    answer: Cell<Option<Result<T, Expired>>>,
    waker: RefCell<Option<Waker>>,
}

struct Entry<T> {
    slot: Option<Rc<Slot<T>>>,
    deadline: Instant,
}

/// The window.
pub(crate) struct Waits<T> {
    first: Cell<u64>,
    entries: RefCell<VecDeque<Entry<T>>>,
    patience: Duration,
}

/// One wait. Dropping it gives it up.
pub(crate) struct Wait<T>(Rc<Slot<T>>);

impl<T> Waits<T> {
    /// A window whose waits expire after `patience`.
    pub(crate) fn new(patience: Duration) -> Waits<T> {
        Waits {
            first: Cell::new(0),
            entries: RefCell::default(),
            patience,
        }
    }

    /// How many numbers lie between the oldest wait and the newest: those that wait, and a few that were answered out
    /// of order.
    pub(crate) fn n_open(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Begins to wait for `number`, which must be larger than all before. Numbers may be left out.
    pub(crate) fn begin(&self, number: u64, now: Instant) -> Wait<T> {
        let mut entries = self.entries.borrow_mut();
        let deadline = now + self.patience;
        if entries.is_empty() {
            self.first.set(number);
        }
        while self.first.get() + (entries.len() as u64) < number {
            entries.push_back(Entry {
                slot: None,
                deadline,
            });
        }
        let slot = Rc::new(Slot {
            answer: Cell::new(None),
            waker: RefCell::new(None),
        });
        entries.push_back(Entry {
            slot: Some(slot.clone()),
            deadline,
        });
        Wait(slot)
    }

    /// Answers `number`; nothing happens when nobody waits for it any more.
    pub(crate) fn answer(&self, number: u64, answer: T) {
        let mut entries = self.entries.borrow_mut();
        let at = number.checked_sub(self.first.get()).map(|at| at as usize);
        if let Some(entry) = at.and_then(|at| entries.get_mut(at))
            && let Some(slot) = entry.slot.take()
        {
            slot.finish(Ok(answer));
        }
        self.advance(&mut entries);
    }

    /// Ends the waits whose patience is over.
    pub(crate) fn expire(&self, now: Instant) {
        let mut entries = self.entries.borrow_mut();
        while let Some(entry) = entries.front_mut() {
            if entry.slot.is_some() && entry.deadline > now {
                break;
            }
            if let Some(slot) = entry.slot.take() {
                slot.finish(Err(Expired));
            }
            entries.pop_front();
            self.first.set(self.first.get() + 1);
        }
    }

    /// Ends all waits.
    pub(crate) fn expire_all(&self) {
        for mut entry in self.entries.borrow_mut().drain(..) {
            if let Some(slot) = entry.slot.take() {
                slot.finish(Err(Expired));
            }
        }
    }

    fn advance(&self, entries: &mut VecDeque<Entry<T>>) {
        // An entry that only this window holds has nobody waiting.
        while entries.front().is_some_and(|entry| {
            entry
                .slot
                .as_ref()
                .is_none_or(|slot| Rc::strong_count(slot) == 1)
        }) {
            entries.pop_front();
            self.first.set(self.first.get() + 1);
        }
    }
}

impl<T> Slot<T> {
    fn finish(&self, answer: Result<T, Expired>) {
        self.answer.set(Some(answer));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl<T> Wait<T> {
    /// Waits for the answer.
    pub(crate) async fn answer(self) -> Result<T, Expired> {
        poll_fn(|cx| match self.0.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                *self.0.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(0) + Duration::from_secs(seconds)
    }

    fn taken<T>(wait: &Wait<T>) -> Option<Result<T, Expired>> {
        wait.0.answer.take()
    }

    #[test]
    fn answers_find_their_waits_in_any_order() {
        let waits = Waits::new(Duration::from_secs(7));
        let (a, b) = (waits.begin(100, at(0)), waits.begin(103, at(0)));
        waits.answer(103, "b");
        waits.answer(101, "nobody");
        waits.answer(5, "the past");
        waits.answer(999, "the future");
        assert_eq!(taken(&a), None);
        waits.answer(100, "a");
        assert_eq!((taken(&a), taken(&b)), (Some(Ok("a")), Some(Ok("b"))));
        assert_eq!(waits.entries.borrow().len(), 0);
        let c = waits.begin(200, at(0));
        waits.answer(200, "c");
        assert_eq!(taken(&c), Some(Ok("c")));
    }

    #[test]
    fn waits_expire_oldest_first() {
        let waits = Waits::<()>::new(Duration::from_secs(7));
        let (a, b) = (waits.begin(1, at(0)), waits.begin(2, at(5)));
        waits.expire(at(6));
        assert_eq!(taken(&a), None);
        waits.expire(at(7));
        assert_eq!((taken(&a), taken(&b)), (Some(Err(Expired)), None));
        waits.expire_all();
        assert_eq!(taken(&b), Some(Err(Expired)));
    }

    #[test]
    fn the_window_does_not_grow_with_requests_that_were_given_up() {
        let waits = Waits::<()>::new(Duration::from_secs(7));
        for number in 0..1000 {
            drop(waits.begin(number, at(0)));
        }
        waits.answer(999, ());
        assert_eq!(waits.entries.borrow().len(), 0);
    }
}
