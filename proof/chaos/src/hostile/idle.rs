//! Attackers that come and then do nothing.

use super::arms::Arms;
use super::http2::Http2;
use std::io;
use tokio::io::AsyncWriteExt as _;

/// Nothing at all after TCP's handshake.
pub(super) async fn silent_tcp(arms: &Arms) -> io::Result<()> {
    arms.pace(1).await;
    let mut tcp = arms.tcp().await?;
    arms.sit(&mut tcp).await
}

/// The beginning of a TLS record that says it has 512 bytes of a ClientHello, and 200 of them.
pub(super) fn half_a_hello() -> Vec<u8> {
    let mut out = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    out.resize(200, 7);
    out
}

/// Half a ClientHello.
pub(super) async fn half_hello(arms: &Arms) -> io::Result<()> {
    arms.pace(1).await;
    let mut tcp = arms.tcp().await?;
    tcp.write_all(&half_a_hello()).await?;
    arms.sit(&mut tcp).await
}

/// TLS's handshake, and nothing after it.
pub(super) async fn silent_tls(arms: &Arms) -> io::Result<()> {
    arms.pace(1).await;
    let mut sealed = arms.sealed().await?;
    arms.sit(&mut sealed).await
}

/// HTTP/2's preface, and no request.
pub(super) async fn silent_http2(arms: &Arms) -> io::Result<()> {
    arms.pace(1).await;
    let mut line = Http2::open(arms, &[]).await?;
    line.sit(arms).await
}

/// TLS's handshake, and goodbye.
pub(super) async fn handshakes(arms: &Arms) -> io::Result<()> {
    arms.pace(1).await;
    arms.sealed().await.map(drop)
}
