//! Sockets, disks, threads: the shell around the pure member. To be told in full when it is whole.

pub mod clock;
pub mod config;
pub mod datadir;
pub mod disk;
mod durable;
mod events;
mod front;
pub mod grpc;
pub mod identity;
mod member;
mod peers;
mod run;
mod signal;
mod waits;

pub use etcd::ETCD_VERSION;
pub use run::{RunError, run};
