//! Sockets, disks, threads: the shell around the pure member.
//!
//! ```text
//!      clients                                                     other members
//!         │ HTTP/2                                                     │ framed TCP
//!   grpc/ ▼  calls, streams, limits                             peers/ ▼  links, handshake, snapshots
//!   front/   etcd's API: plan, wait, answer                            │
//!   native/  our own, over gRPC and as JSON                            │
//!         └───────────────┐                      ┌─────────────────────┘
//!                         ▼                      ▼
//!             member.rs   inputs ─► node::Node ─► effects            one thread, no locks
//!                         ▲                      │
//!   durable/  ────────────┘ persisted …          ▼ persist, checkpoint
//!   log thread (one sync per record) · checkpoint thread (patient) · snapshot threads
//!                         │
//!   disk.rs, datadir.rs   files, really written; a directory, really ours
//! ```
//!
//! Everything that decides something is pure and lives in `core/` and `front/`; the simulator drives that same
//! code. Here it meets the world, under four rules:
//!
//! 1. **One thread** owns sockets and member. No handler holds a borrow across an `.await`. What takes long
//!    (a sync, a checkpoint, a whole state for a peer, a hash of everything) is a job of another thread, or is
//!    done in steps.
//! 2. **Everything that came in together goes out together**: one record of the log, one sync, one message
//!    for each peer, one write for each connection.
//! 3. **Every queue is bounded** and says what happens when it is full: refuse, drop as a network may, or
//!    stop reading.
//! 4. **A failed sync ends the process.** So does a state that differs from the others'. Nothing is saved at
//!    the end: what was acknowledged is durable already, and every start is a recovery.
//!
//! | to understand | read |
//! | --- | --- |
//! | how a member starts and ends | `run` |
//! | how a request travels | `grpc`, then `front`, then `member` |
//! | which HTTP path is whose, and who may ask | `http` |
//! | who a caller is: tokens, passwords, names of certificates | [`auth`] |
//! | etcd's API as JSON | `gateway`, and `json` in the crate `etcd` |
//! | the native API: levels of reads, waiting, JSON | `native` |
//! | who waits for a lock of etcd's, and who is woken | `contenders`, then `front/recipes` |
//! | what a member needs to know | [`config`], [`identity`] |
//! | what is on disk, and who writes it | `durable`, [`disk`], [`datadir`] |
//! | what a member does of itself: compaction, alarms, comparisons | `upkeep`, `corrupt` |
//! | what systemd is told | `supervisor` |
//! | backups: what is in a file, and a data directory from it | [`backup`], `durable/restore` |
//! | what only a few may do at a time | `few` |
//! | what `doctor` looks at | `vitals` |
//! | what members say to each other | `peers`, and the crate `wire` |
//! | ports, unix sockets, TLS: how anybody comes in | [`entrance`], then [`tls`] |

pub mod audit;
pub mod auth;
pub mod backup;
pub mod clock;
pub mod config;
mod contenders;
mod corrupt;
pub mod datadir;
pub mod disk;
mod durable;
pub mod entrance;
mod events;
mod few;
mod front;
mod gateway;
pub mod grpc;
mod http;
pub mod identity;
mod member;
mod metrics;
mod native;
mod peers;
mod run;
mod signal;
mod supervisor;
pub mod tls;
mod upkeep;
mod vitals;
mod waits;

/// Lines of the log that whoever writes them had to drop. The log is the process', and so is this number.
pub fn log_lines_dropped() -> &'static std::sync::atomic::AtomicU64 {
    static DROPPED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    &DROPPED
}

pub use durable::{BootError, FoundError};
pub use etcd::ETCD_VERSION;
pub use run::{RunError, run};
