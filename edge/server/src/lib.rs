//! Sockets, disks, threads: the shell around the pure member. To be told in full when it is whole.

pub mod clock;
pub mod config;
pub mod datadir;
pub mod disk;
pub mod grpc;
pub mod identity;
