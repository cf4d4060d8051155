//! The end of service in peace: nobody new, and whoever is being served is served to the end.
//!
//! ```text
//!   begin ──► GOAWAY on every connection ──► the last call ends ──► the connection closes ──► emptied
//!        └──► endless calls (watches) end with "unavailable": their clients go on elsewhere
//! ```
//!
//! A client that was told GOAWAY knows which of its calls were taken and asks another member for the rest, so a member
//! that is stopped in peace fails nobody. How long it waits is its owner's decision.

use std::cell::Cell;
use std::rc::Rc;
use tokio::sync::Notify;

/// Shared by the listeners of one member and whoever ends it.
#[derive(Default)]
pub struct Drain {
    is_on: Cell<bool>,
    begun: Notify,
    connections: Cell<usize>,
    left: Notify,
}

impl Drain {
    /// From now on there is nobody new.
    pub fn begin(&self) {
        self.is_on.set(true);
        self.begun.notify_waiters();
    }

    /// Whether it has begun.
    pub fn is_on(&self) -> bool {
        self.is_on.get()
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        let begun = self.begun.notified();
        if !self.is_on.get() {
            begun.await;
        }
    }

    /// Waits until every connection is closed.
    pub async fn emptied(&self) {
        while self.connections.get() > 0 {
            self.left.notified().await;
        }
    }

    /// Counts a connection for as long as what is returned lives.
    pub(super) fn enter(self: &Rc<Self>) -> Guest {
        self.connections.set(self.connections.get() + 1);
        Guest(self.clone())
    }
}

/// A connection that is waited for.
pub(super) struct Guest(Rc<Drain>);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
        self.0.left.notify_waiters();
    }
}
