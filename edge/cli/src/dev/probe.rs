//! Asks a member how it is: `GET /status` over plain HTTP/1.1.

use serde::Deserialize;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The time in which a member of this machine answers, if it does.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What a member says about itself.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) role: String,
    pub(super) ready: bool,
}

/// Asks.
pub(super) async fn status(address: SocketAddr) -> io::Result<Status> {
    let asked = tokio::time::timeout(TIMEOUT, ask(address)).await;
    let text = asked.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).map_err(io::Error::other)
}

async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    socket
        .write_all(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut text = String::new();
    socket
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut text)
        .await?;
    Ok(text)
}
