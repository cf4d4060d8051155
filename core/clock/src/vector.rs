//! Vector clocks: happens-before exactly, so that concurrency is visible.
//!
//! ```text
//!   a   {a:1} ── {a:2} ──────────────────────────
//!                    ╲ message {a:2}
//!   b   {b:1} ─────── {a:2, b:2} ── {a:2, b:3}
//!   c   {c:1} ── {c:2}                                {c:2} and {a:2, b:3}: concurrent
//! ```
//!
//! The law (Fidge 1988; Mattern, "Virtual Time and Global States of Distributed Systems", 1989): e
//! happened before f *if and only if* V(e) < V(f), which means that no count of V(e) is larger and the two
//! differ. Two times of which neither is smaller are concurrent: [`VectorTime`] is only partially ordered,
//! and `partial_cmp` answers `None`.
//!
//! The price: a time has one count for each node that it ever heard of. At most [`NODES_MAX`]: a cluster has
//! far fewer members, and one that counts its *clients* this way has chosen the wrong clock.
//!
//! Invariants: no count of zero is stored, so equal times have equal maps; a clock's own count is the
//! largest of its node anywhere.

use base::MemberId;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

/// Nodes that one time may name: 64 nodes, a KiB of numbers on every message.
pub const NODES_MAX: usize = 64;

/// The vector time of one event: how many events of each node it knows of, itself included.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct VectorTime(BTreeMap<MemberId, u64>);

/// The clock of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorClock {
    node: MemberId,
    time: VectorTime,
}

/// Why a vector time was not taken. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorRefusal {
    /// Together with what is known, it names more nodes than [`NODES_MAX`].
    TooManyNodes {
        /// So many.
        n_nodes: usize,
    },
    /// It knows of an event of a node that this node has not had: two nodes use one name, or a
    /// restarted node forgot its count.
    NamesOurFuture {
        /// The event that it knows of.
        claimed: u64,
        /// The last event that there was.
        last: u64,
    },
}

impl VectorTime {
    /// The time with these counts, of other nodes as well: how a time comes out of a message. Counts of
    /// zero say nothing and are left out; of a node that is named twice the larger count stays.
    ///
    /// # Errors
    ///
    /// [`VectorRefusal::TooManyNodes`] as soon as more than [`NODES_MAX`] are named.
    pub fn from_counts(
        counts: impl IntoIterator<Item = (MemberId, u64)>,
    ) -> Result<VectorTime, VectorRefusal> {
        let mut time = VectorTime::default();
        for (node, count) in counts {
            time.raise(node, count);
            time.check_size()?;
        }
        Ok(time)
    }

    /// The counts, by node.
    pub fn counts(&self) -> impl Iterator<Item = (MemberId, u64)> + '_ {
        self.0.iter().map(|(node, count)| (*node, *count))
    }

    /// How many events of `node` are known here.
    pub fn count(&self, node: MemberId) -> u64 {
        self.0.get(&node).copied().unwrap_or(0)
    }

    /// Whether the event of this time happened before that of `other`.
    pub fn happened_before(&self, other: &VectorTime) -> bool {
        self.partial_cmp(other) == Some(Ordering::Less)
    }

    /// Whether neither event can have known of the other.
    pub fn is_concurrent_with(&self, other: &VectorTime) -> bool {
        self.partial_cmp(other).is_none()
    }

    fn is_within(&self, other: &VectorTime) -> bool {
        self.0
            .iter()
            .all(|(node, count)| *count <= other.count(*node))
    }

    fn raise(&mut self, node: MemberId, count: u64) {
        if count > self.count(node) {
            self.0.insert(node, count);
        }
    }

    fn check_size(&self) -> Result<(), VectorRefusal> {
        let n_nodes = self.0.len();
        if n_nodes > NODES_MAX {
            return Err(VectorRefusal::TooManyNodes { n_nodes });
        }
        Ok(())
    }
}

impl PartialOrd for VectorTime {
    fn partial_cmp(&self, other: &VectorTime) -> Option<Ordering> {
        match (self.is_within(other), other.is_within(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (false, false) => None,
        }
    }
}

impl VectorClock {
    /// The clock of `node`, which has seen nothing yet. A node that restarts goes on with
    /// [`VectorClock::starting_after`], or takes a new name.
    pub fn new(node: MemberId) -> VectorClock {
        VectorClock::starting_after(node, VectorTime::default())
    }

    /// The clock of `node`, whose last event had the time `last`.
    pub fn starting_after(node: MemberId, last: VectorTime) -> VectorClock {
        VectorClock { node, time: last }
    }

    /// The time of the last event here.
    pub fn last(&self) -> &VectorTime {
        &self.time
    }

    /// The time of an event here, also of the sending of a message.
    ///
    /// # Errors
    ///
    /// [`VectorRefusal::TooManyNodes`] when the clock started after a time that names [`NODES_MAX`]
    /// others already.
    pub fn tick(&mut self) -> Result<VectorTime, VectorRefusal> {
        self.step(&VectorTime::default())
    }

    /// The time of the receipt of a message that was sent at `remote`.
    ///
    /// # Errors
    ///
    /// [`VectorRefusal`]; then nothing changes.
    pub fn receive(&mut self, remote: &VectorTime) -> Result<VectorTime, VectorRefusal> {
        let (claimed, last) = (remote.count(self.node), self.time.count(self.node));
        if claimed > last {
            return Err(VectorRefusal::NamesOurFuture { claimed, last });
        }
        self.step(remote)
    }

    fn step(&mut self, remote: &VectorTime) -> Result<VectorTime, VectorRefusal> {
        let mut time = self.time.clone();
        for (node, count) in remote.counts() {
            time.raise(node, count);
        }
        // Only this node raises this count, one event at a time: it ends with nobody's patience left.
        time.raise(self.node, self.time.count(self.node).saturating_add(1));
        time.check_size()?;
        self.time = time;
        Ok(self.time.clone())
    }
}

impl fmt::Display for VectorTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (place, (node, count)) in self.counts().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{node}:{count}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for VectorRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VectorRefusal::TooManyNodes { n_nodes } => {
                write!(f, "{n_nodes} nodes, the limit is {NODES_MAX}")
            }
            VectorRefusal::NamesOurFuture { claimed, last } => {
                write!(f, "knows of our event {claimed}, our last one is {last}")
            }
        }
    }
}

impl Error for VectorRefusal {}
