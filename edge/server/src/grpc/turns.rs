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
//! keeps its place. Strangers have a line of their own, and few of them work in one round: a thousand of them make each
//! other wait, and nobody else. When there is nothing else to do, one round follows the other at once.

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

/// Connections of strangers that work in one round.
const STRANGERS_MAX: usize = 4;

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
pub struct Place(Rc<Stands>);

#[derive(Default)]
struct Stands {
    standing: Cell<Standing>,
    is_strangers: Cell<bool>,
}

impl Place {
    /// That of a stranger, until it is known.
    pub(super) fn of_stranger() -> Place {
        let place = Place::default();
        place.0.is_strangers.set(true);
        place
    }

    /// Whoever has it is known from now on.
    pub(super) fn becomes_known(&self) {
        self.0.is_strangers.set(false);
    }

    fn is_strangers(&self) -> bool {
        self.0.is_strangers.get()
    }
}

type Line = VecDeque<(Waker, Place)>;

/// Shared by all connections of a member.
#[derive(Default)]
pub struct Turns {
    began: Cell<Option<Instant>>,
    line: RefCell<Line>,
    strangers: RefCell<Line>,
    /// Strangers that have worked in this round.
    n_strangers: Cell<usize>,
    is_turning: Cell<bool>,
}

impl Turns {
    /// Ready when this connection may work now.
    pub fn poll_enter(self: &Rc<Self>, place: &Place, cx: &mut Context<'_>) -> Poll<()> {
        let now = clock::now();
        let is_over = self.began.get().is_none_or(|it| now.since(it) >= ROUND);
        let is_strangers = place.is_strangers();
        let n_strangers = self.n_strangers.get();
        if !is_over && (!is_strangers || n_strangers < STRANGERS_MAX) {
            if place.0.standing.get() == Standing::InLine {
                // Something else woke it, and others may have waited longer; but there is time now.
                self.leave(place);
            }
            place.0.standing.set(Standing::Outside);
            self.n_strangers
                .set(n_strangers + usize::from(is_strangers));
            return Poll::Ready(());
        }
        let entry = || (cx.waker().clone(), place.clone());
        let line = match is_strangers {
            false => &self.line,
            true => &self.strangers,
        };
        match place.0.standing.replace(Standing::InLine) {
            Standing::Outside => line.borrow_mut().push_back(entry()),
            Standing::Called => line.borrow_mut().push_front(entry()),
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
            self.n_strangers.set(0);
            let mut line = self.line.borrow_mut();
            let mut strangers = self.strangers.borrow_mut();
            call(&mut line, CALLED_MAX);
            call(&mut strangers, STRANGERS_MAX);
            if line.is_empty() && strangers.is_empty() {
                self.is_turning.set(false);
                return;
            }
        }
    }

    fn leave(&self, place: &Place) {
        // It may have become known while it waited, so it may stand in either.
        for line in [&self.line, &self.strangers] {
            line.borrow_mut()
                .retain(|(_, other)| !Rc::ptr_eq(&other.0, &place.0));
        }
    }
}

/// Calls the first ones in line.
fn call(line: &mut Line, n_max: usize) {
    for _ in 0..n_max {
        let Some((waker, place)) = line.pop_front() else {
            return;
        };
        place.0.standing.set(Standing::Called);
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Works for one millisecond of the processor at a time.
    async fn work(turns: Rc<Turns>, n: usize, pieces: usize, order: Rc<RefCell<Vec<usize>>>) {
        work_at(turns, Place::default(), n, pieces, order).await;
    }

    async fn work_at(
        turns: Rc<Turns>,
        place: Place,
        n: usize,
        pieces: usize,
        order: Rc<RefCell<Vec<usize>>>,
    ) {
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

    #[tokio::test]
    async fn a_crowd_of_strangers_makes_nobody_else_wait() {
        let local = tokio::task::LocalSet::new();
        let turns = Rc::new(Turns::default());
        let order = Rc::new(RefCell::new(Vec::new()));
        for n in 1..=100 {
            let place = Place::of_stranger();
            local.spawn_local(work_at(turns.clone(), place, n, 1, order.clone()));
        }
        let known = local.spawn_local(work(turns.clone(), 0, 10, order.clone()));
        let said = order.clone();
        let all = local.spawn_local(async move {
            while said.borrow().len() < 110 {
                tokio::task::yield_now().await;
            }
        });
        local.run_until(all).await.expect("it ends");
        known.await.expect("it ended");
        let order = order.borrow();
        let last = order.iter().rposition(|n| *n == 0).expect("it worked");
        // Ten pieces of work, and at most a round of strangers before each.
        assert!(last <= 10 * (STRANGERS_MAX + 1), "it ended behind {last}");
    }
}
