//! The same at the door of members.

use super::arms::Arms;
use super::idle::half_a_hello;
use std::io;
use tokio::io::AsyncWriteExt as _;

/// Nothing at all after TCP's handshake.
pub(super) async fn silent(arms: &Arms) -> io::Result<()> {
    arms.pace(1).await;
    let mut tcp = arms.peer_tcp().await?;
    arms.sit(&mut tcp).await
}

/// Half a ClientHello.
pub(super) async fn half_hello(arms: &Arms) -> io::Result<()> {
    arms.pace(1).await;
    let mut tcp = arms.peer_tcp().await?;
    tcp.write_all(&half_a_hello()).await?;
    arms.sit(&mut tcp).await
}

/// Bytes that are no TLS.
pub(super) async fn garbage(arms: &Arms) -> io::Result<()> {
    arms.pace(1).await;
    let mut tcp = arms.peer_tcp().await?;
    tcp.write_all(&[b'G'; 4096]).await?;
    arms.sit(&mut tcp).await
}
