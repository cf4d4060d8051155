//! Strangers: connections on which nobody has said yet who they are.
//!
//! ```text
//!   a new connection ──► stranger ── a call with a token or a certificate that counts ──► known
//!                           │        (without users and roles: any call)
//!                           ├─ few calls at a time, small messages, a small window
//!                           ├─ after CALLS_PER_CONNECTION calls it is told to go
//!                           └─ when strangers hold too much, the one that holds most is closed;
//!                              when they are too many, the oldest
//! ```
//!
//! All bounds of `limits.rs` hold for everybody; they are made for busy proxies, and sixteen thousand calls with heads of
//! 16 KiB each are no small gift. Whoever is known may have it. What strangers hold is bounded for each, so that an
//! attacker costs little, and together, so that many attackers do not cost more; and whoever comes honestly holds least,
//! and so is closed last.
//!
//! Invariants: `held_bytes` is the sum of what the strangers hold; a connection that is known is not in the table.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::task::AbortHandle;

/// Connections of strangers.
pub(super) const STRANGERS_MAX: usize = 4096;

/// Calls under way on a stranger's connection: the first calls of any client.
pub(super) const CALLS_AT_ONCE: usize = 32;

/// The same of requests that are no gRPC: their answers are large, pages of metrics among them.
pub(super) const PAGES_AT_ONCE: usize = 8;

/// Calls after which a stranger's connection is told to end (GOAWAY). What HTTP/2 remembers of each ends with it.
pub(super) const CALLS_PER_CONNECTION: usize = 1024;

/// Bytes of a stranger's message: a name and a password have room in it.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Bytes that a stranger may send before we have read them, on all calls of a connection: what HTTP/2 begins with.
pub(super) const WINDOW_BYTES: u32 = 65_535;

/// Bytes that are read from a stranger's connection before others have a say: thousands of small frames are work.
pub(super) const TURN_BYTES_MAX: usize = 16 * 1024;

/// Bytes that all strangers' calls hold together.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes in messages of all strangers that have not arrived whole, as [`super::limits::PARTIAL_BYTES_MAX`] is for the
/// others.
pub(super) const PARTIAL_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a call costs beside its head: its tasks, its place in HTTP/2's tables.
const CALL_BYTES: usize = 8 * 1024;

/// What a field of a head costs beside its name and its value: a place in the map, and two allocations.
const FIELD_BYTES: usize = 200;

/// What a head costs at most: all that HTTP/2 lets through, in fields of nothing.
const HEAD_BYTES_MAX: usize = super::limits::HEADER_LIST_BYTES_MAX as usize / 32 * FIELD_BYTES;

/// What the answer to a request that is no gRPC may hold until it is taken.
const PAGE_BYTES: usize = 256 * 1024;

const _: () = {
    // One connection alone is closed for its number of calls, and not for what it holds.
    assert!(
        CALLS_AT_ONCE * (CALL_BYTES + HEAD_BYTES_MAX) + PAGES_AT_ONCE * PAGE_BYTES < HELD_BYTES_MAX
    );
};

/// The table of all strangers of a listener.
#[derive(Clone, Default)]
pub(super) struct Strangers(Rc<Table>);

#[derive(Default)]
struct Table {
    entries: RefCell<BTreeMap<u64, Entry>>,
    next: Cell<u64>,
    held_bytes: Cell<usize>,
}

struct Entry {
    holds: Rc<Holds>,
    task: Option<AbortHandle>,
}

/// What one connection holds.
#[derive(Default)]
struct Holds {
    calls: Cell<usize>,
    calls_ever: Cell<usize>,
    bytes: Cell<usize>,
}

impl Strangers {
    /// Somebody comes. The oldest goes if there are too many.
    pub(super) fn enter(&self) -> Stranger {
        if self.0.entries.borrow().len() >= STRANGERS_MAX {
            self.close_oldest();
        }
        let number = self.0.next.get();
        self.0.next.set(number + 1);
        let holds = Rc::new(Holds::default());
        let entry = Entry {
            holds: holds.clone(),
            task: None,
        };
        self.0.entries.borrow_mut().insert(number, entry);
        Stranger {
            number,
            holds,
            all: self.clone(),
        }
    }

    /// `task` is what is ended when the stranger `number` must go.
    pub(super) fn runs(&self, number: u64, task: AbortHandle) {
        if let Some(entry) = self.0.entries.borrow_mut().get_mut(&number) {
            entry.task = Some(task);
        }
    }

    /// Closes the oldest stranger's connection; whether there was one.
    pub(super) fn close_oldest(&self) -> bool {
        let oldest = self.0.entries.borrow_mut().pop_first();
        oldest.map(|(_, entry)| entry.close()).is_some()
    }

    /// Closes the connection that holds most; the older one of two alike.
    fn close_heaviest(&self) {
        let mut entries = self.0.entries.borrow_mut();
        let by_weight = |(number, entry): &(&u64, &Entry)| {
            (entry.holds.bytes.get(), std::cmp::Reverse(**number))
        };
        let heaviest = entries
            .iter()
            .max_by_key(by_weight)
            .map(|(number, _)| *number);
        if let Some(entry) = heaviest.and_then(|number| entries.remove(&number)) {
            entry.close();
        }
    }
}

impl Entry {
    fn close(self) {
        if let Some(task) = self.task {
            task.abort();
        }
    }
}

/// One of them, for as long as it is one.
pub(super) struct Stranger {
    /// Its place in the table.
    pub(super) number: u64,
    holds: Rc<Holds>,
    all: Strangers,
}

/// A call of a stranger's, for as long as it is under way.
pub(super) struct Held {
    holds: Rc<Holds>,
    all: Strangers,
    bytes: usize,
}

impl Stranger {
    /// A call with a head of so many bytes begins; nothing if there are too many.
    pub(super) fn begin(&self, head_bytes: usize) -> Option<Held> {
        self.take(CALL_BYTES + head_bytes, CALLS_AT_ONCE)
    }

    /// The same for a request that is no gRPC.
    pub(super) fn begin_page(&self, head_bytes: usize) -> Option<Held> {
        self.take(CALL_BYTES + PAGE_BYTES + head_bytes, PAGES_AT_ONCE)
    }

    fn take(&self, bytes: usize, calls_max: usize) -> Option<Held> {
        let holds = &self.holds;
        holds.calls_ever.set(holds.calls_ever.get() + 1);
        if holds.calls.get() >= calls_max {
            return None;
        }
        let held = Held {
            holds: holds.clone(),
            all: self.all.clone(),
            bytes,
        };
        holds.calls.set(holds.calls.get() + 1);
        holds.bytes.set(holds.bytes.get() + bytes);
        let total = &self.all.0.held_bytes;
        total.set(total.get() + bytes);
        if total.get() > HELD_BYTES_MAX {
            self.all.close_heaviest();
        }
        Some(held)
    }

    /// Whether it has asked often enough.
    pub(super) fn is_tiresome(&self) -> bool {
        self.holds.calls_ever.get() >= CALLS_PER_CONNECTION
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.all.0.entries.borrow_mut().remove(&self.number);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (holds, total) = (&self.holds, &self.all.0.held_bytes);
        holds.calls.set(holds.calls.get() - 1);
        holds.bytes.set(holds.bytes.get() - self.bytes);
        total.set(total.get() - self.bytes);
    }
}

/// Bytes of memory that a head takes. HTTP/2 counts 32 for each field (RFC 9113 §6.5.2), and that is not what hundreds of
/// tiny ones cost.
pub(super) fn head_bytes(fields: &http::HeaderMap, uri: &http::Uri) -> usize {
    let fields = fields
        .iter()
        .map(|(name, value)| FIELD_BYTES + name.as_str().len() + value.len());
    let target = uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    fields.sum::<usize>() + target
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::{JoinHandle, LocalSet, spawn_local};

    fn come(strangers: &Strangers) -> (Stranger, JoinHandle<()>) {
        let stranger = strangers.enter();
        let task = spawn_local(std::future::pending());
        strangers.runs(stranger.number, task.abort_handle());
        (stranger, task)
    }

    async fn was_closed(task: JoinHandle<()>) -> bool {
        task.await.is_err_and(|error| error.is_cancelled())
    }

    #[tokio::test]
    async fn when_strangers_hold_too_much_the_heaviest_is_closed() {
        LocalSet::new()
            .run_until(async {
                let strangers = Strangers::default();
                let (honest, honest_task) = come(&strangers);
                let first = honest.begin(100);
                assert!(first.is_some());
                let (greedy, greedy_task) = come(&strangers);
                let one = HELD_BYTES_MAX / CALLS_AT_ONCE;
                let held: Vec<_> = (0..CALLS_AT_ONCE).map(|_| greedy.begin(one)).collect();
                assert!(was_closed(greedy_task).await);
                assert!(!honest_task.is_finished());
                drop((held, first));
                assert_eq!(strangers.0.held_bytes.get(), 0);
            })
            .await;
    }

    #[tokio::test]
    async fn the_oldest_stranger_makes_room_and_one_who_is_known_is_no_stranger() {
        LocalSet::new()
            .run_until(async {
                let strangers = Strangers::default();
                let (known, known_task) = come(&strangers);
                drop(known);
                let (_oldest, oldest_task) = come(&strangers);
                let _others: Vec<_> = (0..STRANGERS_MAX).map(|_| come(&strangers)).collect();
                assert!(was_closed(oldest_task).await);
                assert!(!known_task.is_finished());
                assert!(strangers.0.entries.borrow().len() <= STRANGERS_MAX);
            })
            .await;
    }

    #[test]
    fn a_stranger_has_few_calls_at_a_time_and_gets_tiresome() {
        let strangers = Strangers::default();
        let stranger = strangers.enter();
        let mut held: Vec<_> = (0..CALLS_AT_ONCE).map(|_| stranger.begin(0)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(stranger.begin(0).is_none());
        held.pop();
        assert!(stranger.begin(0).is_some() && !stranger.is_tiresome());
        for _ in 0..CALLS_PER_CONNECTION {
            stranger.begin(0);
        }
        assert!(stranger.is_tiresome());
    }
}
