//! Clusters under TLS, from outside.
//!
//! ```text
//!   files.rs      a configuration that people copy, on three hosts of their own, judged by a script that people copy
//!   rotation.rs   certificates and authorities replaced while clients write
//!   storm.rs      ten thousand connections that say nothing
//!   rig.rs        members on loopback with certificates
//! ```
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod files;
mod rig;
mod rotation;
mod storm;
