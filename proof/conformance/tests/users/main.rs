//! Users on whole servers: who somebody is and what they may is the same at every door, on every member, at every time.
//!
//! ```text
//!   names.rs    users whom a certificate names, by etcd's own tool and by curl
//!   joins.rs    members that come by a received state, or from a backup, decide as the others do
//!   watches.rs  watches that run while the rules change
//! ```
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod joins;
mod names;
mod watches;
