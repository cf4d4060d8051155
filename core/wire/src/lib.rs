//! Every byte that crosses a socket between members.
//!
//! ```text
//!   ┌──────────────────────── frame ────────────────────────┐
//!   │ header, 36 bytes: what, how long, whose, two checksums │ body │      frame.rs
//!   └────────────────────────────────────────────────────────┴──────┘
//!      body of a  Hello / HelloReply      who is there, which version      hello.rs
//!                 Message                 a base::PeerMessage              message.rs
//!                 SnapshotHeader, SnapshotChunk, SnapshotEnd               snapshot.rs
//! ```
//!
//! A connection begins with one `Hello` and its reply and then carries either messages, in both
//! directions, or one snapshot. `docs/format/peer.md` draws every byte.
//!
//! Decoders are total: any bytes give a value or a [`WireError`], never a panic, and no count is
//! believed before it has been compared with the bytes that are left. Everything is little endian and
//! written by hand, because a format is a promise to strangers. What this crate does *not* decide is
//! whether a message makes sense: that is the gate of `consensus`. It knows no socket either: bytes
//! come in and go out.
#![forbid(unsafe_code)]

pub mod frame;
pub mod hello;
pub mod message;
pub mod snapshot;
mod take;

pub use frame::{Frame, FrameReader, HEADER_BYTES, HELLO_BYTES_MAX, Origin, WireError, encode};
pub use hello::{
    Hello, HelloRefusal, HelloReply, Purpose, VERSION_MAX, VERSION_MIN, VERSION_OF_KNOWS,
};
pub use message::{encode_message, protocol_of};
pub use snapshot::{SNAPSHOT_CHUNK_BYTES_MAX, SnapshotEnd, SnapshotHeader};
