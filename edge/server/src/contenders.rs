//! Calls that wait for their turn at a lock or an election: how many, for the end of which keys, and what is
//! left to do for those that went away.
//!
//! ```text
//!   call ─ slot ─ its key is put ─ wait ─ its turn ─ answered: the key stays, the slot is free
//!                       │            │
//!                       └────────────┴─ dropped: leaving ─▶ the key is deleted ─▶ the slot is free
//! ```
//!
//! A call waits for the end of two keys: the one before its own, and its own. What was applied is looked up
//! among them, so the end of one key wakes who waits for that key and nobody else, however many wait.
//!
//! All of it is one thread; nothing here waits for anything but a [`Signal`].

use crate::grpc::limits::STREAMS_MAX;
use crate::signal::Signal;
use base::LeaseId;
use bytes::Bytes;
use etcd::recipes::Contender;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use store::{Event, RootId};

/// Calls of a member that may wait for a lock or an election, or observe one. Each keeps two keys of at most
/// about [`etcd::recipes::NAME_BYTES_MAX`]. One connection may have [`STREAMS_MAX`] of them.
pub(crate) const CONTENDERS_MAX: usize = 65_536;

const _: () = {
    // No connection alone can keep others from waiting.
    assert!(CONTENDERS_MAX >= 4 * STREAMS_MAX as usize);
};

/// What is left to do for a call that went away.
pub(crate) struct Leaving {
    /// Whose key is to be deleted.
    pub(crate) contender: Option<Contender>,
    /// The lease that was granted for it and goes, too.
    pub(crate) granted: Option<LeaseId>,
    /// Its slot, which is free when this is done.
    pub(crate) _slot: Slot,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Contenders {
    n: Cell<usize>,
    waiting: RefCell<BTreeMap<(Bytes, u64), Rc<Signal>>>,
    last_number: Cell<u64>,
    leaving: RefCell<Vec<Leaving>>,
    has_leaving: Signal,
}

impl Contenders {
    /// Room for one more call, if there is some.
    pub(crate) fn take_slot(self: &Rc<Self>) -> Option<Slot> {
        if self.n.get() >= CONTENDERS_MAX {
            return None;
        }
        self.n.set(self.n.get() + 1);
        Some(Slot(self.clone()))
    }

    /// Waits for the end of one of these keys, from now on.
    pub(crate) fn wait(self: &Rc<Self>, keys: [Bytes; 2]) -> Wait {
        let number = self.last_number.get() + 1;
        self.last_number.set(number);
        let signal = Rc::new(Signal::default());
        let mut waiting = self.waiting.borrow_mut();
        for key in &keys {
            waiting.insert((key.clone(), number), signal.clone());
        }
        Wait {
            contenders: self.clone(),
            keys,
            number,
            signal,
        }
    }

    /// Wakes who waits for the end of a key that is gone; answers how many.
    pub(crate) fn publish(&self, events: &[(RootId, Event)]) -> usize {
        let waiting = self.waiting.borrow();
        if waiting.is_empty() {
            return 0;
        }
        let mut n_woken = 0;
        for (root, event) in events {
            if *root != etcd::ROOT || !event.record.is_tombstone() {
                continue;
            }
            let key = event.record.key_bytes();
            for (_, signal) in waiting.range((key.clone(), 0)..=(key, u64::MAX)) {
                signal.set();
                n_woken += 1;
            }
        }
        n_woken
    }

    /// Wakes all: the state was replaced, and what happened to their keys is not known.
    pub(crate) fn restored(&self) {
        self.waiting
            .borrow()
            .values()
            .for_each(|signal| signal.set());
    }

    /// A call went away.
    pub(crate) fn leave(&self, leaving: Leaving) {
        self.leaving.borrow_mut().push(leaving);
        self.has_leaving.set();
    }

    /// Waits until calls have gone away.
    pub(crate) async fn left(&self) -> Vec<Leaving> {
        loop {
            self.has_leaving.wait().await;
            let left = self.leaving.take();
            if !left.is_empty() {
                return left;
            }
        }
    }
}

/// One of [`CONTENDERS_MAX`].
pub(crate) struct Slot(Rc<Contenders>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.n.set(self.0.n.get() - 1);
    }
}

/// Waits for the end of one of two keys. Dropping it gives that up.
pub(crate) struct Wait {
    contenders: Rc<Contenders>,
    keys: [Bytes; 2],
    number: u64,
    signal: Rc<Signal>,
}

impl Wait {
    /// Waits until one of the keys may be gone.
    pub(crate) async fn ended(&self) {
        self.signal.wait().await;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waiting = self.contenders.waiting.borrow_mut();
        for key in &self.keys {
            waiting.remove(&(key.clone(), self.number));
        }
    }
}

#[cfg(test)]
mod tests;
