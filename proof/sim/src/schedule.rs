//! What happens next: a heap of events in the order of true time.
//!
//! Ties are broken by the order of scheduling, so a run is decided by its seed alone.

use checker::Time;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

struct Entry<E> {
    time: Time,
    number: u64,
    event: E,
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Reversed: the heap gives its greatest first.
        (other.time, other.number).cmp(&(self.time, self.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

/// The future.
pub struct Schedule<E> {
    now: Time,
    heap: BinaryHeap<Entry<E>>,
    n_scheduled: u64,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Schedule {
            now: Time(0),
            heap: BinaryHeap::new(),
            n_scheduled: 0,
        }
    }
}

impl<E> Schedule<E> {
    /// The true time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lets `event` happen `after` from now.
    pub fn after(&mut self, after: Duration, event: E) {
        self.n_scheduled += 1;
        let time = Time(self.now.0 + after.as_nanos() as u64);
        self.heap.push(Entry {
            time,
            number: self.n_scheduled,
            event,
        });
    }

    /// Lets `event` happen `micros` microseconds from now.
    pub fn after_us(&mut self, micros: u64, event: E) {
        self.after(Duration::from_micros(micros), event);
    }

    /// Goes to the next event.
    pub fn pop(&mut self) -> Option<E> {
        let entry = self.heap.pop()?;
        self.now = entry.time;
        Some(entry.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_happen_in_order_of_time_and_then_of_scheduling() {
        let mut schedule = Schedule::default();
        for (after, name) in [(5, "c"), (1, "a"), (5, "d"), (2, "b")] {
            schedule.after_us(after, name);
        }
        let order: Vec<_> = std::iter::from_fn(|| schedule.pop()).collect();
        assert_eq!(order, ["a", "b", "c", "d"]);
        assert_eq!(schedule.now(), Time(5000));
    }
}
