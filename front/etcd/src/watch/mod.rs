//! Watches: one gRPC stream carries many, and each is a cursor over the store's history.
//!
//! ```text
//!   WatchRequest ──▶ WatchStream::handle ──▶ created / canceled, in the order of the requests
//!                         │ hub.watch
//!   batch applied ──▶ Hub ─ ready ──▶ WatchStream::wake, then poll ──▶ events, whole revisions,
//!                                                                      then progress, if asked
//!   time ──────────▶ WatchStream::tick ──▶ progress of quiet watches
//! ```
//!
//! [`WatchDesk`] holds a core's hub and all of its streams together, for a driver that has many.
//!
//! What a client may rely on: a watch's `created` precedes its events; events come in the order of
//! revisions, each once, none missing, and those of one revision together (unless the client allows
//! fragments); a progress revision says that all events up to it have been sent before it. All answers of a
//! stream leave through one ordered list, so none overtakes another.
//!
//! ```text
//!   event.rs     an event's bytes, made once for all watchers
//!   request.rs   WatchRequest
//!   response.rs  WatchResponse, whole and in fragments
//!   stream.rs    the state of one stream
//!   desk.rs      a core's streams
//! ```

mod desk;
mod event;
mod request;
mod response;
mod stream;

pub use desk::{Lagging, StreamId, WatchDesk, WatchVitals};
pub use event::EventCache;
pub use stream::{Handled, WATCHES_PER_STREAM_MAX, WatchStream};
