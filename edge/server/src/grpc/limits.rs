//! How much one connection may ask of a member before anything about it is known.
//!
//! All of these hold before a request is understood, so none of them depends on who asks.

use base::limits::{REQUEST_BYTES_MAX, REQUEST_OVERHEAD_BYTES};
use std::time::Duration;

/// Calls under way on one connection. A client's watches share few streams, so this is room for a busy
/// proxy and no more.
pub const STREAMS_MAX: u32 = 16_384;

/// Bytes of one call's decoded headers. Tokens and tracing fit easily.
pub const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;

/// Bytes of one HTTP/2 frame that we accept. Larger frames save headers and cost latency to others.
pub const FRAME_BYTES_MAX: u32 = 64 * 1024;

/// Bytes that a client may send on one call before we have read them.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes that a client may send on all calls of a connection before we have read them.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Overhead in bytes of small frames that a client may send before we have read them, as `h2` counts it:
/// room for one on every call.
pub const SMALL_FRAMES_BUDGET: usize = STREAMS_MAX as usize * 256;

/// Bytes of replies that one call may have buffered behind a full window.
pub const SEND_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// A unary reply up to this many bytes is handed over at once; a larger one waits for the window in
/// pieces, so that a client which does not read costs itself alone.
pub const REPLY_AT_ONCE_BYTES_MAX: usize = 64 * 1024;

/// Calls that were reset by the client before we looked at them (CVE-2023-44487, "rapid reset").
pub const PENDING_RESET_STREAMS_MAX: usize = 32;

/// Resets that we had to send for a client's errors before the connection is closed.
pub const LOCAL_RESETS_MAX: usize = 256;

/// Connections at a time. Each costs a descriptor and a few tens of KiB.
pub const CONNECTIONS_MAX: usize = 16_384;

/// The time in which a new connection must say what it speaks.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an HTTP/1 request's head.
pub const HTTP1_HEAD_BYTES_MAX: usize = 8 * 1024;

/// The time in which an HTTP/1 request's body must have come.
pub const HTTP1_BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a body may still come that nobody wants: a moment, so that a client which is sending hears its answer.
pub const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// The time in which the one message of a gRPC call must have come.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Server-sent events that wait for a client which does not read; then their producer waits.
pub const EVENTS_WAITING_MAX: usize = 4;

/// Bytes in messages of more than [`PARTIAL_FREE_BYTES`] that have not arrived whole, of all calls of a
/// member. Without it, clients that each send all but the last byte of a large request would fill memory.
pub const PARTIAL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Messages up to this size are not counted against [`PARTIAL_BYTES_MAX`]: the connection's window and the
/// number of streams bound them well enough, and counting costs every small call.
pub const PARTIAL_FREE_BYTES: usize = 16 * 1024;

/// Bytes of a request that is understood at once, whoever sends it. Megabytes take tens of milliseconds: they take turns,
/// and where users and roles count they are understood only for those who have a name.
pub const UNDERSTOOD_AT_ONCE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of outgoing frames gathered into one write.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// The time after which a peer that does not acknowledge bytes at all is given up (`TCP_USER_TIMEOUT`).
pub const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(30);

/// What a user can change.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one request message, prefix not counted.
    pub message_bytes_max: usize,
    /// Connections at a time.
    pub connections_max: usize,
    /// Calls that one connection may have under way; at most [`STREAMS_MAX`].
    pub streams_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes_max: REQUEST_BYTES_MAX + REQUEST_OVERHEAD_BYTES,
            connections_max: CONNECTIONS_MAX,
            streams_max: STREAMS_MAX,
        }
    }
}

const _: () = {
    // HTTP/2's own bounds (RFC 9113 §6.5.2), and a window that holds several frames.
    assert!(FRAME_BYTES_MAX >= 16_384 && FRAME_BYTES_MAX < 1 << 24);
    assert!(STREAM_WINDOW_BYTES >= 4 * FRAME_BYTES_MAX);
    assert!(CONNECTION_WINDOW_BYTES >= STREAM_WINDOW_BYTES);
    // A reply that is handed over at once fits in the buffer of its call.
    assert!(REPLY_AT_ONCE_BYTES_MAX <= SEND_BUFFER_BYTES_MAX);
};
