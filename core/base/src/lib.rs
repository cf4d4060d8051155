//! The vocabulary of Quorate: the numbers and the small values that every other crate speaks in.
//!
//! ```text
//!   ids.rs       who: MemberId, ClusterId, LeaseId
//!   position.rs  where: Term, Index, LogPosition, Revision
//!   time.rs      when: Instant, a number that the caller brings
//!   rng.rs       chance: a seeded generator that the caller brings
//!   log.rs       what members agree on: Entry, HardState, Membership, Change
//!   message.rs   what members say to each other: Message, PeerMessage
//!   limits.rs    how much: every bound with its name, unit and reason
//!   quorum.rs    how many: N members, W of them for a write, R for a read
//!   error.rs     Chain: an error and its causes on one line; invariant!
//!   mutant.rs    planted bugs, compiled out unless the `mutants` feature is on
//!   mark.rs      places that the simulator must have been at, compiled out unless the `marks` feature is on
//! ```
//!
//! There is no behaviour here beyond arithmetic: no clock, no chance of its own, no I/O, and no word
//! of etcd, ZooKeeper or Consul. Each number has its own type, because two `u64` side by side are a
//! bug that waits for its day.
#![forbid(unsafe_code)]

pub mod error;
pub mod ids;
pub mod limits;
pub mod log;
pub mod mark;
pub mod message;
pub mod mutant;
pub mod position;
pub mod quorum;
pub mod rng;
pub mod time;

pub use error::Chain;
pub use ids::{ClusterId, LeaseId, MemberId};
pub use log::{Change, Entry, EntryKind, HardState, Membership, SnapshotMeta};
pub use mark::Mark;
pub use message::{Message, MessageKind, PeerMessage};
pub use mutant::{Mutant, Mutants};
pub use position::{Index, LogPosition, Revision, Term};
pub use rng::Rng;
pub use time::Instant;
