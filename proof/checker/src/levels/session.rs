//! The four session guarantees, each by itself (Terry et al., "Session Guarantees for Weakly Consistent Replicated
//! Data", 1994), in the form in which clients can observe them.
//!
//! | guarantee | a read must see |
//! | --- | --- |
//! | read your writes | what its own process wrote before |
//! | monotonic reads | what its own process read before |
//! | monotonic writes | what a writer wrote *before* a write that the process has read by now |
//! | writes follow reads | what a writer had *read* before a write that the process has read by now |
//!
//! To *see* a write is to return it, or one that is newer. The last two are promises of the writer's session, and it
//! takes an onlooker to see them broken: somebody who reads the later write first and then misses the earlier one.
//!
//! Here every read is judged, whatever its level: a history without tokens shows what they are for.

use super::{Access, Order, Sources, sources, told};
use crate::Violation;
use std::collections::BTreeSet;

/// One of the four.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guarantee {
    /// A process sees its own writes.
    ReadYourWrites,
    /// A process does not go back in time.
    MonotonicReads,
    /// Who sees a write sees the writer's earlier ones.
    MonotonicWrites,
    /// Who sees a write sees what its writer had seen.
    WritesFollowReads,
}

impl Guarantee {
    /// All four.
    pub const ALL: [Guarantee; 4] = [
        Guarantee::ReadYourWrites,
        Guarantee::MonotonicReads,
        Guarantee::MonotonicWrites,
        Guarantee::WritesFollowReads,
    ];

    /// The claim that a violation names.
    pub fn claim(self) -> &'static str {
        match self {
            Guarantee::ReadYourWrites => "own_writes_are_read",
            Guarantee::MonotonicReads => "reads_are_monotonic",
            Guarantee::MonotonicWrites => "writes_are_monotonic",
            Guarantee::WritesFollowReads => "writes_follow_reads",
        }
    }
}

/// Judges every read by one guarantee.
///
/// # Errors
/// It is broken: the read, and the write that it does not see.
pub fn check(history: &[Access], guarantee: Guarantee) -> Result<(), Violation> {
    let sources = sources(history)?;
    // Writes are ordered by their acknowledgements, and by what follows from the reads.
    let mut writes = Order::new(history.len());
    for (at, access) in history.iter().enumerate() {
        for (later, other) in history.iter().enumerate() {
            if access.is_write() && other.is_write() && access.is_before(other) {
                writes.put(at, later);
            }
        }
    }
    let mut demands = Vec::new();
    for (read, source) in &sources {
        for wanted in wanted(history, &sources, *read, guarantee) {
            if history[wanted].key != history[*read].key || Some(wanted) == *source {
                continue;
            }
            let Some(source) = *source else {
                return Err(told(guarantee.claim(), history, &[wanted, *read]));
            };
            writes.put(wanted, source);
            demands.push((wanted, source, *read));
        }
    }
    writes.close();
    match demands
        .iter()
        .find(|(wanted, source, _)| writes.has(*source, *wanted))
    {
        None => Ok(()),
        Some((wanted, source, read)) => {
            let guilty = [*wanted, *source, *read];
            Err(told(guarantee.claim(), history, &guilty))
        }
    }
}

/// The writes that a read must see by one guarantee.
fn wanted(
    history: &[Access],
    sources: &Sources,
    read: usize,
    guarantee: Guarantee,
) -> BTreeSet<usize> {
    match guarantee {
        Guarantee::ReadYourWrites => writes_before(history, read).collect(),
        Guarantee::MonotonicReads => read_before(history, sources, read).collect(),
        Guarantee::MonotonicWrites => seen(history, sources, read)
            .flat_map(|write| writes_before(history, write))
            .collect(),
        Guarantee::WritesFollowReads => seen(history, sources, read)
            .flat_map(|write| read_before(history, sources, write))
            .collect(),
    }
}

/// What a read returned, and what its process had read before.
fn seen<'a>(
    history: &'a [Access],
    sources: &'a Sources,
    read: usize,
) -> impl Iterator<Item = usize> + 'a {
    read_before(history, sources, read).chain(sources[&read])
}

/// The writes of the same process before an operation.
fn writes_before(history: &[Access], at: usize) -> impl Iterator<Item = usize> + '_ {
    let is_own = move |other: &usize| history[*other].is_write();
    before(history, at).filter(is_own)
}

/// The writes that the same process had read before an operation.
fn read_before<'a>(
    history: &'a [Access],
    sources: &'a Sources,
    at: usize,
) -> impl Iterator<Item = usize> + 'a {
    before(history, at).filter_map(|other| sources.get(&other).copied().flatten())
}

fn before(history: &[Access], at: usize) -> impl Iterator<Item = usize> + '_ {
    (0..history.len()).filter(move |other| history[*other].precedes(&history[at]))
}
