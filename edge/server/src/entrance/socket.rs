//! A connection, whatever it runs over: TCP or a unix socket, in the clear or under TLS.
//!
//! In the clear it is the socket and nothing else: one `match` before each system call. Under TLS the records are
//! opened and sealed here, on the thread that owns the connection, after the handshake was done elsewhere
//! (`porter.rs`). There is no buffer of ours but TLS's own: what is written is sealed at once and waits, bounded, until
//! the socket takes it.
//!
//! Invariant: [`Socket::try_write`] that returns `n` has taken all of `n`; under TLS the sealed bytes may still be here,
//! and [`Socket::poll_flush_sealed`] sends them before the task waits.

use crate::tls::Refused;
use rustls::Connection;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Bytes under TLS that wait for a socket which does not take them. One more record may be added to it.
pub(crate) const SEALED_BYTES_MAX: usize = 64 * 1024;

/// Bytes that one record holds (RFC 8446 §5.1).
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// A connection.
#[derive(Debug)]
pub enum Socket {
    /// In the clear.
    Plain(Raw),
    /// Under TLS.
    Tls(Box<Sealed>),
}

/// What bytes travel over.
#[derive(Debug)]
pub enum Raw {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Sealed {
    raw: Raw,
    session: Connection,
    /// The other side has said that it is done, or is gone.
    is_over: bool,
}

impl From<TcpStream> for Socket {
    fn from(tcp: TcpStream) -> Socket {
        Socket::Plain(Raw::Tcp(tcp))
    }
}

impl From<UnixStream> for Socket {
    fn from(unix: UnixStream) -> Socket {
        Socket::Plain(Raw::Unix(unix))
    }
}

impl Raw {
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Raw::Tcp(tcp) => tcp.try_read(buf),
            Raw::Unix(unix) => unix.try_read(buf),
        }
    }

    fn try_read_buf<B: bytes::BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        match self {
            Raw::Tcp(tcp) => tcp.try_read_buf(buf),
            Raw::Unix(unix) => unix.try_read_buf(buf),
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Raw::Tcp(tcp) => tcp.try_write(bytes),
            Raw::Unix(unix) => unix.try_write(bytes),
        }
    }

    fn try_write_vectored(&self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Raw::Tcp(tcp) => tcp.try_write_vectored(parts),
            Raw::Unix(unix) => unix.try_write_vectored(parts),
        }
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Raw::Tcp(tcp) => tcp.poll_read_ready(cx),
            Raw::Unix(unix) => unix.poll_read_ready(cx),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Raw::Tcp(tcp) => tcp.poll_write_ready(cx),
            Raw::Unix(unix) => unix.poll_write_ready(cx),
        }
    }

    /// tokio's own `poll_read` knows that a read which did not fill the buffer has emptied the socket, and spares the
    /// system call that would only say so.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Raw::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Raw::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
        }
    }

    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<()> {
        match self {
            Raw::Tcp(tcp) => tcp.ready(interest).await.map(drop),
            Raw::Unix(unix) => unix.ready(interest).await.map(drop),
        }
    }

    /// Waits until the other side has said something, or is gone. It is looked for the bytes themselves: that a socket is
    /// ready may be a guess of the event loop, which it makes of every connection that was accepted.
    pub(crate) async fn heard(&self) -> io::Result<()> {
        let look = || {
            let peeked = rustix::net::recv(self, &mut [0_u8; 1], rustix::net::RecvFlags::PEEK);
            peeked.map(drop).map_err(io::Error::from)
        };
        match self {
            Raw::Tcp(tcp) => tcp.async_io(Interest::READABLE, look).await,
            Raw::Unix(unix) => unix.async_io(Interest::READABLE, look).await,
        }
    }

    /// The descriptor alone, to be taken to another thread.
    pub(crate) fn into_std(self) -> io::Result<StdRaw> {
        Ok(match self {
            Raw::Tcp(tcp) => StdRaw::Tcp(tcp.into_std()?),
            Raw::Unix(unix) => StdRaw::Unix(unix.into_std()?),
        })
    }
}

impl AsFd for Raw {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Raw::Tcp(tcp) => tcp.as_fd(),
            Raw::Unix(unix) => unix.as_fd(),
        }
    }
}

/// A socket that belongs to no event loop.
#[derive(Debug)]
pub(crate) enum StdRaw {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl StdRaw {
    /// Gives it to the event loop of the calling thread.
    pub(crate) fn into_tokio(self) -> io::Result<Raw> {
        Ok(match self {
            StdRaw::Tcp(tcp) => Raw::Tcp(TcpStream::from_std(tcp)?),
            StdRaw::Unix(unix) => Raw::Unix(UnixStream::from_std(unix)?),
        })
    }

    fn set_blocking(&self, timeout: Duration) -> io::Result<()> {
        match self {
            StdRaw::Tcp(tcp) => {
                tcp.set_nonblocking(false)?;
                tcp.set_write_timeout(Some(timeout))?;
            }
            StdRaw::Unix(unix) => {
                unix.set_nonblocking(false)?;
                unix.set_write_timeout(Some(timeout))?;
            }
        }
        self.set_read_timeout(timeout)
    }

    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            StdRaw::Tcp(tcp) => tcp.set_read_timeout(Some(timeout)),
            StdRaw::Unix(unix) => unix.set_read_timeout(Some(timeout)),
        }
    }
}

impl Read for StdRaw {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            StdRaw::Tcp(tcp) => tcp.read(buf),
            StdRaw::Unix(unix) => unix.read(buf),
        }
    }
}

impl Write for StdRaw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            StdRaw::Tcp(tcp) => tcp.write(bytes),
            StdRaw::Unix(unix) => unix.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets TLS read from a socket of the event loop: "not now" is an error of that name.
struct Reading<'a, 'b>(&'a mut Raw, &'a mut Context<'b>);

impl Read for Reading<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        match self.0.poll_read(self.1, &mut buf) {
            Poll::Ready(read) => read.map(|()| buf.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Lets TLS read and write without a task to wake.
pub(super) struct Trying<'a>(pub(super) &'a Raw);

impl Read for Trying<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl Write for Trying<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

impl Sealed {
    /// Continues where a handshake ended.
    pub(crate) fn new(raw: Raw, mut session: Connection) -> Sealed {
        session.set_buffer_limit(Some(SEALED_BYTES_MAX));
        let is_over = false;
        Sealed {
            raw,
            session,
            is_over,
        }
    }

    /// Sends sealed bytes as long as the socket takes them; whether all are gone.
    fn try_send(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Trying(&self.raw)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if is_would_block(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.try_send()? {
            ready!(self.raw.poll_write_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Opens what came; what TLS itself has to say about it is sent if the socket takes it now.
    fn open(&mut self) -> io::Result<()> {
        let opened = self.session.process_new_packets();
        // An alert that says why is worth a try, also when this is the end.
        let sent = self.try_send();
        let state =
            opened.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, Refused(error)))?;
        self.is_over |= state.peer_has_closed();
        sent.map(drop)
    }

    /// Bytes that are open already.
    fn read_open(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        match self.session.reader().read(buf) {
            Ok(n) => Ok(Some(n)),
            Err(error) if is_would_block(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            // Not more than a record: what is not filled would be cleared for nothing, each time.
            let room = buf.remaining().min(RECORD_BYTES_MAX);
            if let Some(n) = self.read_open(buf.initialize_unfilled_to(room))? {
                buf.advance(n);
                return Poll::Ready(Ok(()));
            }
            match self.session.read_tls(&mut Reading(&mut self.raw, cx)) {
                Ok(0) if self.is_over => return Poll::Ready(Ok(())),
                Ok(_) => self.open()?,
                Err(error) if is_would_block(&error) => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(n) = self.read_open(buf)? {
                return Ok(n);
            }
            match self.session.read_tls(&mut Trying(&self.raw)) {
                Ok(0) if self.is_over => return Ok(0),
                Ok(_) => self.open()?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Seals as much as there is room for.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            let taken = self.session.writer().write(&bytes[written..])?;
            written += taken;
            if !self.try_send()? && taken == 0 {
                break;
            }
        }
        match written {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Socket {
    /// Whether it is under TLS.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self, Socket::Tls(_))
    }

    /// The TCP socket of a connection in the clear.
    pub(crate) fn as_plain_tcp(&self) -> Option<&TcpStream> {
        match self {
            Socket::Plain(Raw::Tcp(tcp)) => Some(tcp),
            _ => None,
        }
    }

    fn try_read_buf(&mut self, buf: &mut bytes::BytesMut) -> io::Result<usize> {
        use bytes::BufMut as _;
        match self {
            Socket::Plain(raw) => raw.try_read_buf(buf),
            Socket::Tls(sealed) => {
                let filled = buf.len();
                let room = buf.chunk_mut().len().max(1024);
                buf.resize(filled + room, 0);
                let read = sealed.try_read(&mut buf[filled..]);
                buf.truncate(filled + *read.as_ref().unwrap_or(&0));
                read
            }
        }
    }

    /// Writes what the socket takes.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing, and what the socket or TLS says.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(raw) => raw.try_write(bytes),
            Socket::Tls(sealed) => sealed.try_write(bytes),
        }
    }

    /// Reads some bytes behind those in `buf`; none at the end.
    pub(crate) fn poll_read_buf(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut bytes::BytesMut,
    ) -> Poll<io::Result<usize>> {
        loop {
            // Under TLS there may be bytes that are open already, and those wake nobody.
            if let Socket::Plain(raw) = self {
                ready!(raw.poll_read_ready(cx))?;
            }
            match self.try_read_buf(buf) {
                Err(error) if is_would_block(&error) => {}
                read => return Poll::Ready(read),
            }
            if let Socket::Tls(sealed) = self {
                ready!(sealed.raw.poll_read_ready(cx))?;
            }
        }
    }

    /// Ready when the socket may take more. Sends sealed bytes that wait.
    pub(crate) fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Plain(raw) => raw.poll_write_ready(cx),
            Socket::Tls(sealed) => sealed.poll_send(cx),
        }
    }

    /// Sends sealed bytes that wait; nothing in the clear.
    pub(crate) fn poll_flush_sealed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Plain(_) => Poll::Ready(Ok(())),
            Socket::Tls(sealed) => sealed.poll_send(cx),
        }
    }

    /// Says that nothing more comes.
    pub(crate) fn say_goodbye(&mut self) {
        // The other side may be gone already; then there is nobody to say it to.
        let raw = match self {
            Socket::Plain(raw) => raw,
            Socket::Tls(sealed) => {
                sealed.session.send_close_notify();
                let _ = sealed.try_send();
                &mut sealed.raw
            }
        };
        let _ = rustix::net::shutdown(&*raw, rustix::net::Shutdown::Write);
    }

    /// For a thread that waits: reads and writes block, for `timeout` at most.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn into_blocking(self, timeout: Duration) -> io::Result<Blocking> {
        let (raw, session) = match self {
            Socket::Plain(raw) => (raw, None),
            Socket::Tls(sealed) => (sealed.raw, Some(sealed.session)),
        };
        let raw = raw.into_std()?;
        raw.set_blocking(timeout)?;
        Ok(Blocking { raw, session })
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(raw) => raw.poll_read(cx, buf),
            Socket::Tls(sealed) => sealed.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(Raw::Tcp(tcp)) => Pin::new(tcp).poll_write(cx, bytes),
            Socket::Plain(Raw::Unix(unix)) => Pin::new(unix).poll_write(cx, bytes),
            Socket::Tls(sealed) => loop {
                match sealed.try_write(bytes) {
                    Err(error) if is_would_block(&error) => {
                        ready!(sealed.raw.poll_write_ready(cx))?;
                    }
                    written => return Poll::Ready(written),
                }
            },
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush_sealed(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        ready!(socket.poll_flush_sealed(cx))?;
        socket.say_goodbye();
        Poll::Ready(Ok(()))
    }
}

/// A connection whose reads and writes block the thread.
#[derive(Debug)]
pub(crate) struct Blocking {
    raw: StdRaw,
    session: Option<Connection>,
}

impl Blocking {
    /// In the clear, or under TLS; the handshake is done by the first read or write.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn new(
        tcp: std::net::TcpStream,
        session: Option<Connection>,
        timeout: Duration,
    ) -> io::Result<Blocking> {
        let raw = StdRaw::Tcp(tcp);
        raw.set_blocking(timeout)?;
        Ok(Blocking { raw, session })
    }

    /// How long a read may take.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.raw.set_read_timeout(timeout)
    }
}

impl Read for Blocking {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else {
            return self.raw.read(buf);
        };
        loop {
            match session.reader().read(buf) {
                Err(error) if is_would_block(&error) => {}
                read => return read,
            }
            session.complete_io(&mut self.raw)?;
        }
    }
}

impl Write for Blocking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else {
            return self.raw.write(bytes);
        };
        if session.is_handshaking() {
            session.complete_io(&mut self.raw)?;
        }
        let taken = session.writer().write(bytes)?;
        while session.wants_write() {
            session.write_tls(&mut self.raw)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
