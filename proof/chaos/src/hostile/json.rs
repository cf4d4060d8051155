//! JSON that is none, or that is hard to read.

use super::arms::Arms;
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Asks the gateway, and waits for the answer's beginning.
async fn ask(arms: &Arms, body: &[u8]) -> io::Result<()> {
    arms.pace(1).await;
    let mut line = arms.sealed().await?;
    let head = format!(
        "POST /v3/kv/txn HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        arms.authority(),
        body.len()
    );
    line.write_all(head.as_bytes()).await?;
    line.write_all(body).await?;
    line.flush().await?;
    line.read(&mut [0; 1024]).await.map(drop)
}

/// A hundred thousand arrays in each other.
pub(super) async fn deep(arms: &Arms) -> io::Result<()> {
    ask(arms, "[".repeat(100_000).as_bytes()).await?;
    let deep = r#"{"success":["#.to_owned() + &r#"{"requestTxn":{"success":["#.repeat(3000);
    ask(arms, deep.as_bytes()).await
}

/// A number of a million digits.
pub(super) async fn digits(arms: &Arms) -> io::Result<()> {
    let body = format!(r#"{{"compare":[{{"version":{}}}]}}"#, "9".repeat(1_000_000));
    ask(arms, body.as_bytes()).await
}

/// Bytes that are no text.
pub(super) async fn no_text(arms: &Arms) -> io::Result<()> {
    let mut body = br#"{"compare":[{"key":""#.to_vec();
    body.extend([0xff, 0xc0, 0x80, 0xed, 0xa0, 0x80].repeat(10_000));
    ask(arms, &body).await
}

/// A key of a megabyte and more.
pub(super) async fn base64(arms: &Arms) -> io::Result<()> {
    let body = format!(r#"{{"compare":[{{"key":"{}"}}]}}"#, "QUFB".repeat(400_000));
    ask(arms, body.as_bytes()).await
}
