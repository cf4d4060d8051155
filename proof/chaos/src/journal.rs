//! The history as it is written, and the few figures of it that other threads look at while it is.
//!
//! Reads without an answer say nothing and are counted, not kept. A client that does not know the
//! outcome of its operation goes on as a new client: that operation may still be under way.

use checker::{Answer, Operation, Outcome, Request, Time};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// What etcd says when there is no room.
pub(crate) const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// What the nemesis sees of the clients, and they of it.
pub(crate) struct Signals {
    /// Operations that have ended.
    pub(crate) n_ended: AtomicU64,
    /// By member: acknowledged changes.
    pub(crate) acknowledged: Vec<AtomicU64>,
    /// By member: changes refused because there is no room.
    pub(crate) without_room: Vec<AtomicU64>,
    /// No new episodes, once there were rounds enough.
    pub(crate) enough: AtomicBool,
    /// No new episodes at all: somebody wants it to end.
    pub(crate) broken_off: AtomicBool,
}

impl Signals {
    /// For `n` members.
    pub(crate) fn new(n: usize) -> Signals {
        Signals {
            n_ended: AtomicU64::new(0),
            acknowledged: (0..n).map(|_| AtomicU64::new(0)).collect(),
            without_room: (0..n).map(|_| AtomicU64::new(0)).collect(),
            enough: AtomicBool::new(false),
            broken_off: AtomicBool::new(false),
        }
    }

    /// Acknowledged changes at all members.
    pub(crate) fn n_acknowledged(&self) -> u64 {
        let one = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.acknowledged.iter().map(one).sum()
    }
}

/// Kinds of request, as reports call them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum What {
    Put,
    Get,
    Serializable,
    Past,
    Range,
    Delete,
    DeleteRange,
    Swap,
    Txn,
    Compact,
}

impl What {
    /// What `request` is.
    pub(crate) fn of(request: &Request) -> What {
        use checker::{End, Level};
        match request {
            Request::Put { .. } => What::Put,
            Request::Range { at: Some(_), .. } => What::Past,
            Request::Range {
                level: Level::Serializable,
                ..
            } => What::Serializable,
            Request::Range { span, .. } if span.end == End::Single => What::Get,
            Request::Range { .. } => What::Range,
            Request::Delete { span } if span.end == End::Single => What::Delete,
            Request::Delete { .. } => What::DeleteRange,
            Request::Txn { then, .. } if then.len() == 1 => What::Swap,
            Request::Txn { .. } => What::Txn,
            _ => What::Compact,
        }
    }

    /// Its name in a report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            What::Put => "put",
            What::Get => "get, linearizable",
            What::Serializable => "get, serializable",
            What::Past => "range at a past revision",
            What::Range => "range, linearizable",
            What::Delete => "delete",
            What::DeleteRange => "delete of a range",
            What::Swap => "compare and swap",
            What::Txn => "transaction over several keys",
            What::Compact => "compaction",
        }
    }
}

/// How many operations ended how.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
}

/// The history under way. On the clients' thread alone.
pub(crate) struct Journal {
    began: Instant,
    next: Cell<u64>,
    history: RefCell<Vec<Operation>>,
    tallies: RefCell<BTreeMap<What, Tally>>,
    refusals: RefCell<BTreeMap<String, u64>>,
}

impl Journal {
    /// An empty history; its clock begins now.
    pub(crate) fn new(began: Instant) -> Journal {
        Journal {
            began,
            next: Cell::new(0),
            history: RefCell::default(),
            tallies: RefCell::default(),
            refusals: RefCell::default(),
        }
    }

    /// The run's one clock.
    pub(crate) fn now(&self) -> Time {
        Time(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// A number for a new operation.
    pub(crate) fn number(&self) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        number
    }

    /// The newest number that was given.
    pub(crate) fn last(&self) -> u64 {
        self.next.get().saturating_sub(1)
    }

    /// Writes an operation down that has ended at `member`.
    pub(crate) fn write(&self, operation: Operation, member: usize, signals: &Signals) {
        signals.n_ended.fetch_add(1, Ordering::Relaxed);
        let is_read = matches!(operation.request, Request::Range { .. });
        let mut tallies = self.tallies.borrow_mut();
        let tally = tallies.entry(What::of(&operation.request)).or_default();
        match &operation.outcome {
            Outcome::Answered { answer, .. } => {
                tally.answered += 1;
                if changes(answer) {
                    signals.acknowledged[member].fetch_add(1, Ordering::Relaxed);
                }
            }
            Outcome::Refused { reason } => {
                tally.refused += 1;
                *self
                    .refusals
                    .borrow_mut()
                    .entry(reason.clone())
                    .or_default() += 1;
                if reason == NO_SPACE {
                    signals.without_room[member].fetch_add(1, Ordering::Relaxed);
                }
            }
            Outcome::Unknown => tally.unknown += 1,
        }
        if !is_read || matches!(operation.outcome, Outcome::Answered { .. }) {
            self.history.borrow_mut().push(operation);
        }
    }

    /// All of it, for the judges.
    pub(crate) fn take(&self) -> Written {
        Written {
            history: self.history.take(),
            tallies: self.tallies.take(),
            refusals: self.refusals.take(),
        }
    }
}

/// A history that has ended.
#[derive(Default)]
pub(crate) struct Written {
    /// What is kept of it.
    pub(crate) history: Vec<Operation>,
    /// By kind of request.
    pub(crate) tallies: BTreeMap<What, Tally>,
    /// By the server's words.
    pub(crate) refusals: BTreeMap<String, u64>,
}

impl Written {
    /// How many operations ended, and how.
    pub(crate) fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in self.tallies.values() {
            total.answered += tally.answered;
            total.refused += tally.refused;
            total.unknown += tally.unknown;
        }
        total
    }

    /// When changes were acknowledged, in order.
    pub(crate) fn acknowledgements(&self) -> Vec<Time> {
        let mut times: Vec<Time> = self
            .history
            .iter()
            .filter(|op| matches!(&op.outcome, Outcome::Answered { answer, .. } if changes(answer)))
            .map(|op| op.returned)
            .collect();
        times.sort_unstable();
        times
    }
}

/// Whether an answer tells of a change.
fn changes(answer: &Answer) -> bool {
    match answer {
        Answer::Put { .. } => true,
        Answer::Deleted { count, .. } => *count > 0,
        Answer::Txn { answers, .. } => answers.iter().any(changes),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{LeaseId, Revision};
    use checker::{Level, Span};

    fn operation(journal: &Journal, request: Request, outcome: Outcome) -> Operation {
        Operation {
            number: journal.number(),
            client: 0,
            call: journal.now(),
            returned: journal.now(),
            request,
            outcome,
        }
    }

    fn put() -> Request {
        Request::Put {
            key: b"k".to_vec(),
            value: b"v".to_vec(),
            lease: LeaseId::NONE,
        }
    }

    fn answered(answer: Answer) -> Outcome {
        Outcome::Answered {
            revision: Revision(2),
            answer,
        }
    }

    #[test]
    fn every_operation_is_counted_by_its_outcome() {
        let (journal, signals) = (Journal::new(Instant::now()), Signals::new(2));
        let refused = Outcome::Refused {
            reason: NO_SPACE.to_owned(),
        };
        let done = answered(Answer::Put { previous: None });
        for outcome in [done, refused, Outcome::Unknown] {
            journal.write(operation(&journal, put(), outcome), 1, &signals);
        }
        let written = journal.take();
        assert_eq!(
            written.tallies[&What::Put],
            Tally {
                answered: 1,
                refused: 1,
                unknown: 1
            }
        );
        assert_eq!(written.history.len(), 3);
        assert_eq!(signals.n_ended.load(Ordering::Relaxed), 3);
        assert_eq!(signals.acknowledged[1].load(Ordering::Relaxed), 1);
        assert_eq!(signals.without_room[1].load(Ordering::Relaxed), 1);
        assert_eq!(written.acknowledgements().len(), 1);
    }

    #[test]
    fn a_read_without_an_answer_is_counted_and_not_kept() {
        let (journal, signals) = (Journal::new(Instant::now()), Signals::new(1));
        let read = Request::Range {
            span: Span::single(b"k"),
            at: None,
            level: Level::Linearizable,
        };
        let lost = operation(&journal, read.clone(), Outcome::Unknown);
        journal.write(lost, 0, &signals);
        let found = answered(Answer::Rows(Vec::new()));
        journal.write(operation(&journal, read, found), 0, &signals);
        let written = journal.take();
        assert_eq!(written.total().unknown, 1);
        assert_eq!(written.history.len(), 1);
    }
}
