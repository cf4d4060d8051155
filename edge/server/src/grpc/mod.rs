//! gRPC over bare HTTP/2: the one transport of every RPC that a member serves.
//!
//! ```text
//!   socket ── connection.rs ── HTTP/2? ──► h2 ── one task per call ── gRPC? ── call.rs ──► Service::serve
//!                   │                                                   │
//!                   └─ HTTP/1 ─────────────────────────────────────── web.rs ──► Service::exchange
//!                                                                     (pages, JSON, server-sent events)
//!
//!   message.rs   five bytes of prefix + a message, bounded before memory is taken
//!   status.rs    the end of a call: a code and a text, percent-encoded
//!   drain.rs     the end of service in peace
//!   strangers.rs less for those who have not said who they are
//!   turns.rs     connections take turns, so that members' own business is never held up
//!   output.rs    the socket's outgoing side: many frames, one system call
//!   counts.rs    what is counted of calls
//!   authority.rs a mend for old clients that say their URL wrongly
//!   limits.rs    every bound of this module
//! ```
//!
//! It is not a framework: no code is generated, a call is a path and a stream of byte messages, and the
//! answer is bytes again (docs/adr/0003-one-grpc-transport.md says why this is not tonic). Everything
//! runs on the thread of its runtime, so there are no locks of ours and handlers may hold `Rc`s.
//!
//! Invariants: a message is checked against its limit before it is buffered; a reply that is streamed
//! waits for the client's window before it is written; a call whose client is gone is dropped.

mod authority;
mod call;
mod connection;
mod counts;
mod drain;
mod http1;
pub mod limits;
mod message;
mod output;
mod status;
mod strangers;
mod turns;
mod web;

pub(crate) use call::{Answers, Messages, parse_timeout};
pub use call::{Call, Head, Replies, Requests};
pub(crate) use connection::prepare;
pub use connection::{Change, Service, serve};
pub use counts::Counted;
pub(crate) use counts::{CODE_NAMES, CallCounts, Counting};
pub use drain::Drain;
pub use http1::Page;
pub(crate) use http1::answer as answer_http1;
pub use limits::Limits;
pub(crate) use message::Claim;
pub use message::{Assembler, Budget, frame};
pub use status::{Code, Status};
pub use turns::{Place, Turns};
pub use web::{BodyError, Closed, Content, EventSender, Events, Exchange, Reply, RequestBody};
