//! Durability: the write-ahead log and the checkpoints of one member, over a [`Disk`].
//!
//! A member may acknowledge what is durable here, and nothing else. After any crash it finds again all
//! that was durable; after damage it either still has everything, or it knows what it lost and says so.
//! It never guesses, and it never takes damage for the end of the log.
//!
//! ```text
//!   Raft's Ready                     plans, as values               one directory
//!   ────────────► Log::append ───────► Vec<Op> ──── execute ───────► Disk
//!                  one record, one sync                              ├─ identity      whose it is
//!   Snapshot ────► CheckpointWriter ─► Vec<Op> ──── execute ───────► ├─ watermark     how far it was durable
//!                  in bounded steps                                  ├─ manifest      which checkpoints
//!                                                                    ├─ checkpoint-9  a state
//!   start ───────► recover() ◄──────────────────────────────────────├─ wal-3.log     records, chained
//!                  Log, hard state, entries, state, health           └─ wal-4.log     prepared ahead
//! ```
//!
//! A record is one append: hard state and entries. It is told from everything else that may stand in its
//! place by four things, so that each kind of trouble shows its own face:
//!
//! ```text
//!   a seal on every 512-byte sector     torn?      a crash leaves whole sectors, of this record or older
//!   sums over label and body            damaged?   a flipped bit fits nothing
//!   the hash of the record before       followed?  old segments, lost and misdirected writes break the chain
//!   a label apart, in the slot table    missing?   an emptied record is missed; what it was is known
//! ```
//!
//! and a *watermark*, in every record and in a file of its own, says how far the log had been durable.
//!
//! Everything here is pure: [`Log`] plans operations and a shell executes them, so the server and the
//! simulator run the same code. What is deliberately absent: threads, caching of entries, compression,
//! and any retry of a failed sync (the shell stops the member, reliability rule R5).
//!
//! Read on: `disk.rs` (what is durable when), `log.rs` (planning), `format.rs` and `record.rs` (bytes), `segment.rs` and
//! `chain.rs` (reading and judging), `recover.rs` and `resume.rs` (start), `checkpoint.rs`; `docs/format/wal.md` and
//! `docs/format/checkpoint.md` draw every byte and argue every crash.
//!
//! ```
//! use base::{Entry, EntryKind, HardState, LogPosition, Mutants};
//! # use base::{ClusterId, MemberId, Index, Term};
//! # use quorate_storage as storage;
//! use storage::{Health, Identity, LogConfig, MemDisk, execute, recover};
//!
//! let mut disk = MemDisk::new();
//! let identity = Identity { cluster: ClusterId(1), member: MemberId(7) };
//! let config = LogConfig { segment_bytes: 1 << 16, ..LogConfig::default() };
//! let mut log = recover(&mut disk, &identity, &config, Mutants::none())?.log;
//!
//! let entry = Entry {
//!     position: LogPosition { term: Term(1), index: Index(1) },
//!     kind: EntryKind::Normal,
//!     data: "hello".into(),
//!     context: Default::default(),
//! };
//! let state = HardState { term: Term(1), vote: MemberId(7), commit: Index(0) };
//! execute(&mut disk, &log.append(Some(state), &[entry.clone()]))?;
//! // Only now may entry 1 be acknowledged.
//!
//! let found = recover(&mut disk, &identity, &config, Mutants::none())?;
//! assert_eq!((found.health, found.entries), (Health::Intact, vec![entry]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod chain;
mod checkpoint;
mod directory;
pub mod disk;
mod dump;
mod excess;
mod format;
mod log;
mod memory;
mod record;
mod recover;
mod resume;
mod segment;
mod state;

pub use checkpoint::{
    Catalog, CheckpointError, CheckpointInfo, CheckpointWriter, StateSink, StateSource, Step,
};
pub use disk::{Disk, DiskError, DiskFault, FileName, Op, execute};
pub use dump::dump;
pub use excess::Excess;
pub use format::{FORMAT_VERSION, Identity};
pub use log::{Log, LogConfig, Space, UNKNOWN};
pub use memory::MemDisk;
pub use recover::{Health, RecoverError, Recovered, recover, recover_with};
