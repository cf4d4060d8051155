//! etcd's messages as JSON, the way its gateway writes and reads them.
//!
//! ```text
//!   bytes as they come ─► JsonValues ─► one object ─► Schema::read ──► protobuf ─► Session::plan
//!                         (bounded)                                                     │
//!   bytes to send ◄──────────────────── JSON ◄────── Schema::write ◄── protobuf ◄───────┘
//! ```
//!
//! The mapping is protobuf's own for JSON with the options that etcd 3.6 sets: fields by their names in the `.proto`
//! file (both names are read), 64-bit integers as strings, bytes as base64 (any of its four alphabets and paddings is
//! read), enumerations by name (numbers are read), what has its default value left out, unknown fields ignored.
//!
//! There is no tree in between: JSON is read straight into protobuf and back, along tables that the build makes from
//! `proto/`, so what a hostile body costs is bounded by its own length. No message is written by hand here, and none
//! needs to be.
//!
//! What this is not: a parser of JSON (that is serde_json's part), nor anything of HTTP.

mod read;
mod schema;
mod split;
mod write;

use crate::status::Refusal;
pub use schema::Schema;
pub use split::JsonValues;

/// How deep objects and arrays may stand in each other. A transaction takes three for each one inside another.
pub const JSON_DEPTH_MAX: usize = 128;

/// Why JSON is not the message that was wanted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JsonError {
    /// It ends in the middle.
    #[error("unexpected EOF")]
    Truncated,
    /// Something else than an object.
    #[error("proto: syntax error (line 1:1): unexpected token {0}")]
    NoObject(char),
    /// Objects and arrays in each other, too many.
    #[error("exceeded max depth of {JSON_DEPTH_MAX}")]
    TooDeep,
    /// One message is too large.
    #[error("a message has more than {0} bytes")]
    TooLarge(usize),
    /// A list has more messages than it may: in etcd's words for the only ones that there are.
    #[error("{}", Refusal::TooManyOps.message())]
    TooManyOps,
    /// No JSON, or not of this message.
    #[error("proto: {0}")]
    Malformed(String),
    /// A message of ours cannot be told, which is a mistake of ours.
    #[error("proto: {0} cannot be told as JSON")]
    Untellable(&'static str),
}
