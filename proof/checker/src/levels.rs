//! Is each read as fresh as its level promised? Over histories of registers, by values and times alone.
//!
//! ```text
//!   one order of all operations in which a read returns the newest write before it, and which keeps
//!
//!     linearizable, lease   what returned before the read was asked
//!     bounded(Δ)            each write that was acknowledged a Δ before the read was asked
//!     session               what the process did before: its token carries it
//!     sequential            the same, while the process stays at one member
//!     all                   writes in the order of their acknowledgements; nothing is read before it was asked for
//! ```
//!
//! [`check`] judges each read by its own level, all in one order: the levels share one history. The order is looked
//! for in [`order`]; the four session guarantees, each by itself, are in [`session`].
//!
//! No revision is believed. Values are unique and registers are never deleted. A process has one operation under way
//! at a time. A write whose outcome is unknown counts from when somebody reads it.

pub mod order;
pub mod session;

use crate::Violation;
use crate::history::{Key, Time, Value, text};
use order::Order;
use std::collections::BTreeMap;
use std::fmt;

/// What a read was promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promise {
    /// Everything that was acknowledged before it was asked.
    Linearizable,
    /// The same.
    Lease,
    /// Everything that was acknowledged so many nanoseconds before it was asked.
    Bounded(u64),
    /// Everything that its process has seen and written.
    Session,
    /// The order of its process, which stays at one member.
    Sequential,
}

/// What was done to a register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// This value was written: unique in the history.
    Write(Value),
    /// This value was there; nothing before the first write.
    Read(Option<Value>, Promise),
}

/// One operation on one register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// Unique in the history.
    pub number: u64,
    /// Who: one client, with one session token if it carries one.
    pub process: u64,
    /// When it was asked.
    pub call: Time,
    /// When it was answered; nothing for a write whose outcome is unknown.
    pub returned: Option<Time>,
    /// Which register.
    pub key: Key,
    /// What was done.
    pub deed: Deed,
}

impl Access {
    fn is_write(&self) -> bool {
        matches!(self.deed, Deed::Write(_))
    }

    /// Whether it was answered before `other` was asked.
    fn is_before(&self, other: &Access) -> bool {
        self.returned.is_some_and(|returned| returned < other.call)
    }

    /// Whether it came earlier in one process.
    fn precedes(&self, other: &Access) -> bool {
        self.process == other.process && self.is_before(other)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "#{} process {} {}..",
            self.number, self.process, self.call
        )?;
        match self.returned {
            Some(returned) => write!(f, "{returned} ")?,
            None => f.write_str("? ")?,
        }
        let key = text(&self.key);
        match &self.deed {
            Deed::Write(value) => write!(f, "{key}={}", text(value)),
            Deed::Read(Some(value), promise) => write!(f, "{key} is {} {promise:?}", text(value)),
            Deed::Read(None, promise) => write!(f, "{key} is absent {promise:?}"),
        }
    }
}

/// Which write each read returned, by place in the history; nothing for what was there before the first write.
type Sources = BTreeMap<usize, Option<usize>>;

/// Finds what each read returned.
///
/// # Errors
/// Somebody read what nobody wrote.
fn sources(history: &[Access]) -> Result<Sources, Violation> {
    let written: BTreeMap<(&Key, &Value), usize> = history
        .iter()
        .enumerate()
        .filter_map(|(at, access)| match &access.deed {
            Deed::Write(value) => Some(((&access.key, value), at)),
            Deed::Read(..) => None,
        })
        .collect();
    let mut sources = Sources::new();
    for (at, access) in history.iter().enumerate() {
        let source = match &access.deed {
            Deed::Write(_) => continue,
            Deed::Read(None, _) => None,
            Deed::Read(Some(value), _) => match written.get(&(&access.key, value)) {
                Some(write) => Some(*write),
                None => {
                    let violation = Violation::new("what_is_read_was_written", access.to_string());
                    return Err(violation.by([access.number]));
                }
            },
        };
        sources.insert(at, source);
    }
    Ok(sources)
}

/// The order that every level keeps: writes one after the other as they were acknowledged, and no read of the future.
fn common(history: &[Access], sources: &Sources) -> Order {
    let mut order = Order::new(history.len());
    for (at, access) in history.iter().enumerate() {
        for (later, other) in history.iter().enumerate() {
            if other.is_write() && access.is_before(other) {
                order.put(at, later);
            }
        }
    }
    for (read, source) in sources {
        if let Some(write) = source {
            order.put(*write, *read);
        }
    }
    order
}

/// Whether `read`, promised so much, must see what `access` did or saw.
fn must_see(access: &Access, read: &Access, promise: Promise) -> bool {
    match promise {
        Promise::Linearizable | Promise::Lease => access.is_before(read),
        Promise::Bounded(behind) => {
            access.is_write()
                && access
                    .returned
                    .is_some_and(|returned| returned.0.saturating_add(behind) < read.call.0)
        }
        Promise::Session | Promise::Sequential => access.precedes(read),
    }
}

/// Judges each read by its own level.
///
/// # Errors
/// No order explains it. The operations named are those of the shortest contradiction that was found.
pub fn check(history: &[Access]) -> Result<(), Violation> {
    let sources = sources(history)?;
    let mut order = common(history, &sources);
    for (at, read) in history.iter().enumerate() {
        let Deed::Read(_, promise) = read.deed else {
            continue;
        };
        for (earlier, access) in history.iter().enumerate() {
            if must_see(access, read, promise) {
                order.put(earlier, at);
            }
        }
    }
    order.settle(history, &sources);
    match order.contradiction() {
        None => Ok(()),
        Some(guilty) => Err(told("reads_are_as_fresh_as_promised", history, &guilty)),
    }
}

/// The violation of `claim` by operations of the history.
fn told(claim: &'static str, history: &[Access], guilty: &[usize]) -> Violation {
    let lines: Vec<String> = guilty.iter().map(|at| history[*at].to_string()).collect();
    let numbers = guilty.iter().map(|at| history[*at].number);
    Violation::new(claim, lines.join("\n")).by(numbers)
}
