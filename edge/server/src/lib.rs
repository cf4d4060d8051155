//! Sockets, disks, threads: the shell around the pure member. To be told in full when it is whole.

pub mod grpc;
