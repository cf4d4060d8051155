//! What the threads beside the member's own tell it.
//!
//! The member's thread never waits for a disk, for a large state to be encoded, or for a slow receiver of
//! one; other threads do, and report here. The channel is unbounded, but what it holds is bounded by what
//! was asked: one record, one checkpoint, a few snapshots.

use base::{Index, MemberId, SnapshotMeta};
use std::time::Duration;
use store::State;
use tokio::sync::mpsc::UnboundedSender;

/// One report.
pub(crate) enum Event {
    /// A record is durable.
    Persisted {
        /// Its number.
        number: u64,
        /// How long that took.
        took: Duration,
        /// Bytes of its entries.
        bytes: u64,
    },
    /// A piece of a checkpoint is durable.
    Committed {
        /// How long that took.
        took: Duration,
    },
    /// A received state is durable.
    Installed {
        /// How long that took.
        took: Duration,
    },
    /// A checkpoint is durable, or was given up.
    Checkpointed {
        /// Which.
        meta: SnapshotMeta,
        /// How far the log may be freed; nothing when the checkpoint was given up.
        log_floor: Option<Index>,
        /// How long it took.
        took: Duration,
    },
    /// The older checkpoint was given up, or could not be.
    Trimmed {
        /// How far the log may be freed; nothing when it could not be.
        log_floor: Option<Index>,
    },
    /// A state was streamed to a member, or could not be.
    SnapshotSent {
        /// To whom.
        to: MemberId,
        /// Whether it has it.
        sent: bool,
    },
    /// A state arrived.
    SnapshotReceived {
        /// From whom.
        from: MemberId,
        /// What it stands for.
        meta: SnapshotMeta,
        /// The state.
        state: Box<State>,
    },
    /// The disk's room changed its class.
    Space(storage::Space),
}

/// Where threads report to.
pub(crate) type Reports = UnboundedSender<Event>;
