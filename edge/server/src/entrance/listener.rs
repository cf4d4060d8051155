//! Binding a port or a unix socket, and accepting from it.

use super::porter::{Porter, Shown};
use super::socket::{Raw, Socket};
use crate::identity::{Listen, ListenAt};
use crate::tls::{Certificate, Security};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

/// Connections that the kernel has accepted and we have not; tokio's own choice.
const BACKLOG: u32 = 1024;

/// Where a member lets visitors in.
#[derive(Debug)]
pub struct Entrance(Kind);

#[derive(Debug)]
enum Kind {
    Plain(Bound),
    Tls(Shown),
}

/// Who came in.
#[derive(Debug)]
pub struct Visitor {
    /// The connection; its handshake is done.
    pub socket: Socket,
    /// From where; nothing for a unix socket.
    pub from: Option<SocketAddr>,
    /// What was shown and believed.
    pub certificate: Option<Arc<Certificate>>,
}

/// A port or a file that is listened on.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a unix socket; it goes with the listener.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Without it the next start finds a stale one and removes it.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Bound {
    fn new(at: &ListenAt) -> io::Result<(Bound, ListenAt)> {
        match at {
            ListenAt::Tcp(address) => {
                let socket = match address.is_ipv4() {
                    true => TcpSocket::new_v4()?,
                    false => TcpSocket::new_v6()?,
                };
                // A member that starts again finds its old connections waiting for their end.
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                let listener = socket.listen(BACKLOG)?;
                let address = listener.local_addr()?;
                Ok((Bound::Tcp(listener), ListenAt::Tcp(address)))
            }
            ListenAt::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                let bound = Bound::Unix(listener, SocketFile(path.clone()));
                Ok((bound, at.clone()))
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Raw, Option<SocketAddr>)> {
        match self {
            Bound::Tcp(listener) => {
                let (socket, from) = listener.accept().await?;
                Ok((Raw::Tcp(socket), Some(from)))
            }
            Bound::Unix(listener, _) => {
                let (socket, _) = listener.accept().await?;
                Ok((Raw::Unix(socket), None))
            }
        }
    }

    /// Without an event loop, to be taken to another thread.
    pub(super) fn into_std(self) -> io::Result<StdBound> {
        Ok(match self {
            Bound::Tcp(listener) => StdBound::Tcp(listener.into_std()?),
            Bound::Unix(listener, file) => StdBound::Unix(listener.into_std()?, file),
        })
    }
}

/// A listener that belongs to no event loop.
pub(super) enum StdBound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

impl StdBound {
    /// Gives it to the event loop of the calling thread.
    pub(super) fn into_tokio(self) -> io::Result<Bound> {
        Ok(match self {
            StdBound::Tcp(listener) => Bound::Tcp(TcpListener::from_std(listener)?),
            StdBound::Unix(listener, file) => Bound::Unix(UnixListener::from_std(listener)?, file),
        })
    }
}

/// Removes the file of a unix socket that nobody listens on.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        let text = "there is a file of that name, and it is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}

impl Entrance {
    /// Listens. `security` and its `porter` are needed where TLS is spoken. Returns where it listens really: port 0 is
    /// a port by now. Must run within a runtime.
    ///
    /// # Errors
    /// The port or the file cannot be had, or TLS is asked for and there is no certificate.
    pub(crate) fn bind(
        listen: &Listen,
        security: Option<&Arc<Security>>,
        porter: &Porter,
    ) -> io::Result<(Entrance, Listen)> {
        let security = match (listen.is_tls, security) {
            (false, _) => None,
            (true, Some(security)) => Some(security.clone()),
            (true, None) => {
                let text = "there is no certificate for TLS";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        let (bound, at) = Bound::new(&listen.at)?;
        let is_tls = listen.is_tls;
        let kind = match security {
            None => Kind::Plain(bound),
            Some(security) => Kind::Tls(porter.watch(bound, security)?),
        };
        Ok((Entrance(kind), Listen { at, is_tls }))
    }

    /// The next visitor. Under TLS the handshake is done.
    ///
    /// # Errors
    /// Out of descriptors, or the visitor went away first.
    pub async fn accept(&mut self) -> io::Result<Visitor> {
        match &mut self.0 {
            Kind::Plain(bound) => {
                let (raw, from) = bound.accept().await?;
                Ok(Visitor {
                    socket: Socket::Plain(raw),
                    from,
                    certificate: None,
                })
            }
            Kind::Tls(shown) => shown.next().await,
        }
    }
}

impl From<TcpListener> for Entrance {
    fn from(listener: TcpListener) -> Entrance {
        Entrance(Kind::Plain(Bound::Tcp(listener)))
    }
}

/// Who came, for the log.
pub(crate) fn name(from: Option<SocketAddr>) -> String {
    from.map_or_else(|| "a unix socket".to_owned(), |from| from.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
#[path = "tests/listener.rs"]
mod tests;
