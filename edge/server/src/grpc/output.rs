//! The socket under HTTP/2: many frames out, one system call.
//!
//! The `h2` crate writes each data frame of more than a few hundred bytes by itself, and each write is a
//! system call, which is the most expensive thing in a small request. So frames are gathered here, and the
//! connection's task writes them when it has nothing left to do ([`Output::flush`]). Gathering is bounded:
//! past [`OUTPUT_BYTES_MAX`] a write waits for the socket.
//!
//! Invariant: whoever polls the connection calls [`Output::flush`] before it waits.

use super::authority::AuthorityMend;
use super::limits::OUTPUT_BYTES_MAX;
use crate::entrance::Socket;
use bytes::{Buf, BytesMut};
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket that first gives out what was already read from it, and gathers what is written.
#[derive(Clone)]
pub(super) struct Output(Rc<Shared>);

struct Shared {
    /// Read and written by one task; a cell only because both halves are reached through one handle.
    socket: RefCell<Socket>,
    input: RefCell<Input>,
    out: RefCell<Gathered>,
    /// Bytes that may still be read in this turn.
    allowance: Cell<usize>,
}

/// What was read and not given out yet.
struct Input {
    bytes: BytesMut,
    /// How many of `bytes` may be given out.
    looked_at: usize,
    mend: AuthorityMend,
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    /// `first` was read from `socket` already.
    pub(super) fn new(socket: Socket, first: BytesMut) -> Output {
        let mut input = Input {
            bytes: first,
            looked_at: 0,
            mend: AuthorityMend::new(),
        };
        input.look();
        Output(Rc::new(Shared {
            socket: RefCell::new(socket),
            input: RefCell::new(input),
            out: RefCell::new(Gathered::default()),
            allowance: Cell::new(usize::MAX),
        }))
    }

    /// A turn begins, in which so many bytes may be read; nothing: as many as there are.
    pub(super) fn begin_turn(&self, bytes_max: Option<usize>) {
        self.0.allowance.set(bytes_max.unwrap_or(usize::MAX));
    }

    /// Writes what was gathered.
    pub(super) fn flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut socket = self.0.socket.borrow_mut();
        let mut out = self.0.out.borrow_mut();
        while out.written < out.bytes.len() {
            match socket.try_write(&out.bytes[out.written..]) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => out.written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_write_ready(cx))?;
                }
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        out.bytes.clear();
        out.written = 0;
        socket.poll_flush_sealed(cx)
    }
}

impl AsyncRead for Output {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.allowance.get() == 0 {
            // There is more, and it waits for the next turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = self.read(cx, buf);
        let n = buf.filled().len() - before;
        let left = self.0.allowance.get().saturating_sub(n);
        self.0.allowance.set(left);
        read
    }
}

impl Output {
    fn read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut input = self.0.input.borrow_mut();
        while input.looked_at == 0 {
            if input.mend.is_off() && input.bytes.is_empty() {
                return self.read_straight(cx, buf);
            }
            let mut socket = self.0.socket.borrow_mut();
            match ready!(socket.poll_read_buf(cx, &mut input.bytes))? {
                0 => return Poll::Ready(Ok(())),
                _ => input.look(),
            }
        }
        let n = input.looked_at.min(buf.remaining());
        buf.put_slice(&input.bytes[..n]);
        input.bytes.advance(n);
        input.looked_at -= n;
        Poll::Ready(Ok(()))
    }
}

impl Input {
    fn look(&mut self) {
        let looked_at = self.looked_at;
        self.looked_at += self.mend.look(&mut self.bytes[looked_at..]);
    }
}

impl Output {
    /// Reads where nothing needs to be looked at: all of a connection but its beginning. tokio's own
    /// `poll_read` knows that a read which did not fill the buffer has emptied the socket, and spares the
    /// system call that would only say so.
    fn read_straight(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.socket.borrow_mut()).poll_read(cx, buf)
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
        self.0.socket.borrow_mut().say_goodbye();
        Poll::Ready(Ok(()))
    }
}
