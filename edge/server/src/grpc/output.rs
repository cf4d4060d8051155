//! The socket under HTTP/2: many frames out, one system call.
//!
//! The `h2` crate writes each data frame of more than a few hundred bytes by itself, and each write is a
//! system call, which is the most expensive thing in a small request. So frames are gathered here, and the
//! connection's task writes them when it has nothing left to do ([`Output::flush`]). Gathering is bounded:
//! past [`OUTPUT_BYTES_MAX`] a write waits for the socket.
//!
//! Invariant: whoever polls the connection calls [`Output::flush`] before it waits.

use super::limits::OUTPUT_BYTES_MAX;
use bytes::{Buf, Bytes};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket that first gives out what was already read from it, and gathers what is written.
#[derive(Clone)]
pub(super) struct Output(Rc<Shared>);

struct Shared {
    socket: TcpStream,
    replay: RefCell<Bytes>,
    out: RefCell<Gathered>,
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    pub(super) fn new(socket: TcpStream, replay: Bytes) -> Output {
        Output(Rc::new(Shared {
            socket,
            replay: RefCell::new(replay),
            out: RefCell::new(Gathered::default()),
        }))
    }

    /// Writes what was gathered.
    pub(super) fn flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = self.0.out.borrow_mut();
        while out.written < out.bytes.len() {
            match self.0.socket.try_write(&out.bytes[out.written..]) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => out.written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.0.socket.poll_write_ready(cx))?;
                }
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        out.bytes.clear();
        out.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Output {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut replay = self.0.replay.borrow_mut();
        if !replay.is_empty() {
            let n = replay.len().min(buf.remaining());
            buf.put_slice(&replay[..n]);
            replay.advance(n);
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.0.socket.poll_read_ready(cx))?;
            match self.0.socket.try_read(buf.initialize_unfilled()) {
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.0.out.borrow().bytes.len() >= OUTPUT_BYTES_MAX {
            ready!(self.flush(cx))?;
        }
        let mut out = self.0.out.borrow_mut();
        let n = bytes.len().min(OUTPUT_BYTES_MAX);
        out.bytes.extend_from_slice(&bytes[..n]);
        Poll::Ready(Ok(n))
    }

    /// Does nothing: the connection's task flushes once per turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.flush(cx))?;
        // The other side may be gone already; then there is nothing to say goodbye to.
        let _ = rustix::net::shutdown(&self.0.socket, rustix::net::Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
