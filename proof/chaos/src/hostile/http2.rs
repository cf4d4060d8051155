//! HTTP/2 by hand, so that it can be spoken wrongly.
//!
//! ```text
//!   frame: length (24) type (8) flags (8) stream (32) payload          RFC 9113 §4.1
//!   header field: how (0x00 plain, 0x40 into the table) name value     RFC 7541 §6.2
//! ```

use super::arms::Arms;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio_rustls::client::TlsStream;

/// What a client says first (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frame (RFC 9113 §6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// Flags.
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// The setting of the window that streams begin with.
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;

type Sealed = TlsStream<TcpStream>;

/// One frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + payload.len());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A SETTINGS frame.
pub(super) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = values
        .iter()
        .flat_map(|(which, value)| {
            let mut one = which.to_be_bytes().to_vec();
            one.extend_from_slice(&value.to_be_bytes());
            one
        })
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// A string of HPACK, without Huffman.
fn string(out: &mut Vec<u8>, text: &[u8]) {
    const FULL: usize = 127;
    if text.len() < FULL {
        out.push(text.len() as u8);
    } else {
        out.push(FULL as u8);
        let mut rest = text.len() - FULL;
        while rest >= 128 {
            out.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        out.push(rest as u8);
    }
    out.extend_from_slice(text);
}

/// A header field that goes into no table.
pub(super) fn plain(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(0x00);
    string(out, name.as_bytes());
    string(out, value);
}

/// A header field that goes into the table.
pub(super) fn indexed(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(0x40);
    string(out, name.as_bytes());
    string(out, value);
}

/// The head of a gRPC call that reads, whose message is still to come.
pub(super) fn range_call(authority: &str) -> Vec<u8> {
    request(
        authority,
        "POST",
        "/etcdserverpb.KV/Range",
        "application/grpc",
    )
}

/// The headers of a request; `content_type` says whether it is gRPC.
pub(super) fn request(authority: &str, method: &str, path: &str, content_type: &str) -> Vec<u8> {
    let mut out = Vec::new();
    plain(&mut out, ":method", method.as_bytes());
    plain(&mut out, ":scheme", b"https");
    plain(&mut out, ":path", path.as_bytes());
    plain(&mut out, ":authority", authority.as_bytes());
    plain(&mut out, "content-type", content_type.as_bytes());
    plain(&mut out, "te", b"trailers");
    out
}

/// A connection whose preface was sent.
pub(super) struct Http2 {
    write: WriteHalf<Sealed>,
    read: Option<ReadHalf<Sealed>>,
    is_over: Rc<Cell<bool>>,
}

impl Http2 {
    /// Connects, says the preface and these settings.
    pub(super) async fn open(arms: &Arms, values: &[(u16, u32)]) -> io::Result<Http2> {
        let (read, write) = split(arms.sealed().await?);
        let mut opened = Http2 {
            write,
            read: Some(read),
            is_over: Rc::default(),
        };
        let first = [PREFACE, &settings(values)].concat();
        opened.send(&first).await?;
        Ok(opened)
    }

    /// From now on what the server says is read and thrown away.
    pub(super) fn listen(&mut self) {
        let Some(mut read) = self.read.take() else {
            return;
        };
        let is_over = self.is_over.clone();
        spawn_local(async move {
            let mut buffer = vec![0; 16 * 1024];
            while read.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
            is_over.set(true);
        });
    }

    /// Sends bytes, which may be frames.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_over.get() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.write.write_all(bytes).await?;
        self.write.flush().await
    }

    /// Does nothing until the end, or until the server closes the connection. Reads all that it says.
    pub(super) async fn sit(&mut self, arms: &Arms) -> io::Result<()> {
        match &mut self.read {
            Some(read) => arms.sit(read).await,
            None => loop {
                if self.is_over.get() {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                tokio::time::sleep(super::gauge::LOOK).await;
            },
        }
    }

    /// Does nothing until the end, and reads nothing. Whether the server has closed is not noticed.
    pub(super) async fn sulk(&mut self) -> io::Result<()> {
        std::future::pending().await
    }
}
