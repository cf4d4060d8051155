//! Turns: clients' connections work for a few milliseconds together, then everybody else has a say.
//!
//! All of a member is one thread, and its runtime runs ready tasks one after the other. A thousand connections that each
//! bring a megabyte would make one round of that queue last a second, and a leader that does not get to its heartbeats
//! for a second is a leader no more. So a connection *enters* before it reads:
//!
//! ```text
//!   connection ─ enter ─┬─ the round is young: go on
//!                       └─ it is over: wait in line ─► a new round begins behind everything that is ready now:
//!                                                      peers' messages, ticks, the pump; then the first in line
//! ```
//!
//! The line is first come, first served, so no connection starves another; one whose turn comes too late in a round
//! keeps its place.

use crate::clock;
use base::Instant;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How long connections work before others have a say: well below a tick.
const ROUND: Duration = Duration::from_millis(4);

/// Connections that are called at the beginning of a round. Others that are ready come in as well.
const CALLED_MAX: usize = 32;

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Standing {
    #[default]
    Outside,
    InLine,
    /// Its turn came, and it has not been there yet.
    Called,
}

/// One connection's place.
#[derive(Clone, Default)]
pub struct Place(Rc<Cell<Standing>>);

/// Shared by all connections of a member.
#[derive(Default)]
pub struct Turns {
    began: Cell<Option<Instant>>,
    line: RefCell<VecDeque<(Waker, Place)>>,
    is_turning: Cell<bool>,
}

impl Turns {
    /// Ready when this connection may work now.
    pub fn poll_enter(self: &Rc<Self>, place: &Place, cx: &mut Context<'_>) -> Poll<()> {
        let now = clock::now();
        let is_over = self.began.get().is_none_or(|it| now.since(it) >= ROUND);
        if !is_over {
            if place.0.get() == Standing::InLine {
                // Something else woke it, and others may have waited longer; but there is time now.
                self.leave(place);
            }
            place.0.set(Standing::Outside);
            return Poll::Ready(());
        }
        let entry = || (cx.waker().clone(), place.clone());
        match place.0.replace(Standing::InLine) {
            Standing::Outside => self.line.borrow_mut().push_back(entry()),
            Standing::Called => self.line.borrow_mut().push_front(entry()),
            Standing::InLine => {}
        }
        if !self.is_turning.replace(true) {
            tokio::task::spawn_local(self.clone().turn());
        }
        Poll::Pending
    }

    /// Waits until one piece of work that is large may be done: such pieces take turns as connections do, so that many
    /// of them do not keep others from a say for longer than one takes.
    pub async fn enter(self: &Rc<Self>) {
        let place = Place::default();
        poll_fn(|cx| self.poll_enter(&place, cx)).await;
    }

    /// Begins rounds until nobody waits.
    async fn turn(self: Rc<Self>) {
        loop {
            // Behind all that is ready, what has come from sockets meanwhile among it.
            tokio::task::yield_now().await;
            self.began.set(Some(clock::now()));
            let mut line = self.line.borrow_mut();
            for _ in 0..CALLED_MAX {
                let Some((waker, place)) = line.pop_front() else {
                    break;
                };
                place.0.set(Standing::Called);
                waker.wake();
            }
            if line.is_empty() {
                self.is_turning.set(false);
                return;
            }
        }
    }

    fn leave(&self, place: &Place) {
        let mut line = self.line.borrow_mut();
        line.retain(|(_, other)| !Rc::ptr_eq(&other.0, &place.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Works for one millisecond of the processor at a time.
    async fn work(turns: Rc<Turns>, n: usize, pieces: usize, order: Rc<RefCell<Vec<usize>>>) {
        let place = Place::default();
        for _ in 0..pieces {
            poll_fn(|cx| turns.poll_enter(&place, cx)).await;
            let began = clock::now();
            while clock::now().since(began) < Duration::from_millis(1) {
                std::hint::spin_loop();
            }
            order.borrow_mut().push(n);
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn others_have_a_say_between_rounds_and_everybody_has_a_turn() {
        let local = tokio::task::LocalSet::new();
        let turns = Rc::new(Turns::default());
        let order = Rc::new(RefCell::new(Vec::new()));
        let says = Rc::new(Cell::new(0));
        for n in 0..100 {
            local.spawn_local(work(turns.clone(), n, 2, order.clone()));
        }
        let (said, said_order) = (says.clone(), order.clone());
        let other = local.spawn_local(async move {
            while said_order.borrow().len() < 200 {
                said.set(said.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        local.run_until(other).await.expect("it ends");
        // Without turns it would be asked about twice: once in each round of the queue.
        assert!(says.get() >= 20, "{} says in 200 ms", says.get());
        let mut seen = order.borrow().clone();
        seen.sort_unstable();
        let all: Vec<usize> = (0..100).flat_map(|n| [n, n]).collect();
        assert_eq!(seen, all);
    }
}
