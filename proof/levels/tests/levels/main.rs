//! Each level on real processes: what it promises is kept, and what it allows is seen, at a member that is cut off from
//! its peers and still has clients.

mod lease;
mod past;
mod sessions;
mod weak;
