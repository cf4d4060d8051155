//! The waiting desk: who waits for a place to hold, and who looks on.
//!
//! ```text
//!   line "jobs"   #5 holds   #8 waits ◄─ w1   #9 waits ◄─ w2, w3          observers o1
//!                  │ ends
//!   publish ───────┘────────► (w1, Held), and no other; o1 is among the ready ones
//! ```
//!
//! The holders of a line are its beginning (`queue`), so those that come to hold are the first that wait: each batch
//! asks the first waiting place of each line that it touched, and goes on to the next only when that one holds. So
//! one end in a line of a thousand costs one look-up and one notice, and the end of a writer before five hundred
//! readers wakes these five hundred.
//!
//! Invariants: a waiting place stands in its line and does not hold, in the state that was published last; each wait
//! is told once.

use crate::LINES_ROOT;
use crate::query::standing;
use crate::queue::{QueueName, touched};
use crate::reply::{Freshness, HeaderParts, Reply, header};
use api::proto;
use base::{Mutant, Revision};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use store::{Event, RootId, State};

/// One wait at one desk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WaitId(pub u64);

/// One observer at one desk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObserverId(pub u64);

/// How a wait ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// The place holds.
    Held,
    /// The place is gone, and never comes back.
    Gone,
}

/// What comes of the wish to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Nothing to wait for.
    Over(Woken),
    /// [`Desk::publish`] will tell.
    Waits(WaitId),
}

/// The desk takes no more: [`api::Code::Busy`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many wait at this member")]
pub struct DeskFull;

/// The waits and observers of one core. See the module's documentation.
pub struct Desk {
    lines: BTreeMap<Bytes, Line>,
    waits: BTreeMap<WaitId, (Bytes, Revision)>,
    observers: BTreeMap<ObserverId, Observer>,
    /// Observers that may have something.
    ready: BTreeSet<ObserverId>,
    last: u64,
    waits_max: usize,
}

#[derive(Default)]
struct Line {
    waiting: BTreeMap<Revision, BTreeSet<WaitId>>,
    observers: BTreeSet<ObserverId>,
}

struct Observer {
    queue: QueueName,
    /// Who held when it was told last, and when they said what they say; nothing before the first time.
    told: Option<Vec<(Revision, Revision)>>,
}

impl Desk {
    /// A desk at which at most `waits_max` wait, and as many look on.
    pub fn new(waits_max: usize) -> Desk {
        Desk {
            lines: BTreeMap::new(),
            waits: BTreeMap::new(),
            observers: BTreeMap::new(),
            ready: BTreeSet::new(),
            last: 0,
            waits_max,
        }
    }

    /// Waits until the place with this token holds or is gone. `state` must be the last one that was published, and
    /// not older than the token.
    ///
    /// # Errors
    /// Too many wait.
    pub fn wait(
        &mut self,
        queue: &QueueName,
        token: Revision,
        state: &State,
    ) -> Result<Wait, DeskFull> {
        if let Some(woken) = look(queue, token, state) {
            return Ok(Wait::Over(woken));
        }
        if self.waits.len() >= self.waits_max {
            return Err(DeskFull);
        }
        self.last += 1;
        let id = WaitId(self.last);
        let line = self.lines.entry(queue.key().clone()).or_default();
        line.waiting.entry(token).or_default().insert(id);
        self.waits.insert(id, (queue.key().clone(), token));
        Ok(Wait::Waits(id))
    }

    /// Whoever waited has gone away. A wait that is over is ignored.
    pub fn cancel(&mut self, id: WaitId) {
        let Some((key, token)) = self.waits.remove(&id) else {
            return;
        };
        if let Some(line) = self.lines.get_mut(&key) {
            if let Some(ids) = line.waiting.get_mut(&token) {
                ids.remove(&id);
                if ids.is_empty() {
                    line.waiting.remove(&token);
                }
            }
            self.drop_line(&key);
        }
    }

    /// Tells who holds in a line, from now on: the first [`Desk::look`] tells who holds now.
    ///
    /// # Errors
    /// Too many look on.
    pub fn observe(&mut self, queue: &QueueName) -> Result<ObserverId, DeskFull> {
        if self.observers.len() >= self.waits_max {
            return Err(DeskFull);
        }
        self.last += 1;
        let id = ObserverId(self.last);
        let line = self.lines.entry(queue.key().clone()).or_default();
        line.observers.insert(id);
        let observer = Observer {
            queue: queue.clone(),
            told: None,
        };
        self.observers.insert(id, observer);
        self.ready.insert(id);
        Ok(id)
    }

    /// An observer has gone away.
    pub fn close(&mut self, id: ObserverId) {
        let Some(observer) = self.observers.remove(&id) else {
            return;
        };
        self.ready.remove(&id);
        if let Some(line) = self.lines.get_mut(observer.queue.key()) {
            line.observers.remove(&id);
            self.drop_line(observer.queue.key());
        }
    }

    fn drop_line(&mut self, key: &Bytes) {
        let is_empty = |line: &Line| line.waiting.is_empty() && line.observers.is_empty();
        if self.lines.get(key).is_some_and(is_empty) {
            self.lines.remove(key);
        }
    }

    /// A batch was applied: `state` is the state right after it. Tells whose waiting is over, in the order of their
    /// lines.
    pub fn publish(&mut self, state: &State, events: &[(RootId, Event)]) -> Vec<(WaitId, Woken)> {
        let mut woken = Vec::new();
        if self.lines.is_empty() {
            return woken;
        }
        let mut lines: BTreeSet<Bytes> = BTreeSet::new();
        for (root, event) in events {
            if *root != LINES_ROOT {
                continue;
            }
            let Some(hit) = touched(event.record.key()) else {
                continue;
            };
            let Some((key, line)) = self.lines.get_key_value(hit.line) else {
                continue;
            };
            let key = key.clone();
            self.ready.extend(&line.observers);
            if let (true, Some(token)) = (event.record.is_tombstone(), hit.token) {
                self.tell(&key, token, Woken::Gone, &mut woken);
            }
            lines.insert(key);
        }
        for key in lines {
            self.advance(&key, state, &mut woken);
        }
        woken
    }

    /// Wakes those at the beginning of a line that hold now.
    fn advance(&mut self, key: &Bytes, state: &State, woken: &mut Vec<(WaitId, Woken)>) {
        let queue = QueueName::of_key(key.clone());
        while let Some(line) = self.lines.get(key)
            && let Some((first, _)) = line.waiting.first_key_value()
        {
            let first = *first;
            let is_early = state.mutants().has(Mutant::WaiterWokenEarly);
            match look(&queue, first, state).or(is_early.then_some(Woken::Held)) {
                Some(how) => self.tell(key, first, how, woken),
                None => break,
            }
        }
        self.drop_line(key);
    }

    /// Ends the waits for one place.
    fn tell(&mut self, key: &Bytes, token: Revision, how: Woken, woken: &mut Vec<(WaitId, Woken)>) {
        let waiting = self.lines.get_mut(key);
        let ids = waiting.and_then(|line| line.waiting.remove(&token));
        for id in ids.into_iter().flatten() {
            self.waits.remove(&id);
            woken.push((id, how));
        }
    }

    /// The state was replaced by a snapshot: every place is looked at anew.
    pub fn restored(&mut self, state: &State) -> Vec<(WaitId, Woken)> {
        let mut woken = Vec::new();
        self.ready.extend(self.observers.keys());
        let keys: Vec<Bytes> = self.lines.keys().cloned().collect();
        for key in keys {
            let queue = QueueName::of_key(key.clone());
            let tokens: Vec<Revision> = match self.lines.get(&key) {
                Some(line) => line.waiting.keys().copied().collect(),
                None => continue,
            };
            for token in tokens {
                if let Some(how) = look(&queue, token, state) {
                    self.tell(&key, token, how, &mut woken);
                }
            }
            self.drop_line(&key);
        }
        woken
    }

    /// Takes the observers that may have something to tell.
    pub fn ready(&mut self) -> Vec<ObserverId> {
        std::mem::take(&mut self.ready).into_iter().collect()
    }

    /// What an observer has to tell: who holds in `state`, the last one that was published, unless it told that
    /// already. Looking seldom leaves out what was in between, never what is last.
    pub fn look(&mut self, id: ObserverId, state: &State, parts: &HeaderParts) -> Option<Reply> {
        self.ready.remove(&id);
        let observer = self.observers.get_mut(&id)?;
        let root = state.root(LINES_ROOT);
        let mut now = Vec::new();
        let mut holders = Vec::new();
        for taken in observer.queue.holders(root) {
            now.push((taken.token, taken.modified));
            holders.push(standing(state, taken, true));
        }
        if observer.told.as_ref() == Some(&now) {
            return None;
        }
        observer.told = Some(now);
        let header = header(parts, &Freshness::LOCAL, state, state.revision());
        Some(
            proto::ObserveResponse {
                header: Some(header),
                holders,
            }
            .into(),
        )
    }

    /// How many wait.
    pub fn n_waits(&self) -> usize {
        self.waits.len()
    }

    /// How many look on.
    pub fn n_observers(&self) -> usize {
        self.observers.len()
    }

    /// Checks the invariants against the state that was published last.
    pub fn check(&self, state: &State) {
        let mut n_waits = 0;
        for (key, line) in &self.lines {
            let queue = QueueName::of_key(key.clone());
            base::invariant!(
                !line.waiting.is_empty() || !line.observers.is_empty(),
                "a line has somebody"
            );
            for (token, ids) in &line.waiting {
                base::invariant!(
                    look(&queue, *token, state).is_none(),
                    "{token} of {queue:?} waits for nothing"
                );
                for id in ids {
                    base::invariant!(
                        self.waits.get(id) == Some(&(key.clone(), *token)),
                        "a wait is where it says"
                    );
                    n_waits += 1;
                }
            }
        }
        base::invariant!(n_waits == self.waits.len(), "every wait is in its line");
    }
}

/// How a wait for this place would end at once.
fn look(queue: &QueueName, token: Revision, state: &State) -> Option<Woken> {
    let root = state.root(LINES_ROOT);
    match queue.find(root, token) {
        None => Some(Woken::Gone),
        Some(taken) => queue.holds_in(state, &taken).then_some(Woken::Held),
    }
}
