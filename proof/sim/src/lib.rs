//! Seeded worlds of whole clusters: the production member, log and etcd front, in a world of our own.
//!
//! ```text
//!   seed ─► Plan (what this world is like) ─► World ─► trouble ─► healing ─► judgement ─► Report
//!                                              │
//!     Member = node::Node + storage::Log over SimDisk + etcd::{Session, WatchDesk}
//!     Network of frames (wire's bytes)    Clients and watchers (etcd's bytes)    Misfortune
//! ```
//!
//! One seed replays one run exactly, in any process: there is one thread, one heap of events, and a
//! generator of its own for each concern. What is simulated: disks that lose, tear and reorder what was
//! not synced, links, clocks, pauses, processes. What is *not* simulated: the server's sockets and
//! threads (chaos on real processes does that), and the kernel.
//!
//! Read in this order: `plan` (what varies), `schedule`, `world` (the loop), `member` and `disk_work`
//! (the shell around the production core), `disk`, `network`, `client` and `asking`, `watching`,
//! `natives` with `contender` and `reader`, `governing`, `workload`, `misfortune`, `effects`, then `run` and `judge`. `docs/testing.md` says how to use it.
#![forbid(unsafe_code)]

pub mod asking;
pub mod client;
pub mod contender;
pub mod disk;
pub mod disk_work;
pub mod effects;
pub mod governing;
pub mod judge;
pub mod member;
pub mod misfortune;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod natives;
pub mod network;
pub mod night;
pub mod plan;
#[cfg(feature = "mutants")]
pub mod plant;
pub mod reader;
pub mod report;
pub mod run;
pub mod schedule;
pub mod speak;
pub mod spying;
pub mod stage;
pub mod tape;
pub mod trace;
pub mod watching;
pub mod workload;
pub mod world;

pub use plan::{Consensus, Corruption, Fault, Plan};
pub use run::{Report, run, run_plan};
pub use workload::Workload;
