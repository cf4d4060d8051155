//! The way out: a connection to another member, in the clear or under TLS, and what a handshake is on either side.

use super::socket::{Blocking, Raw, Sealed, Socket, Trying};
use crate::grpc::prepare;
use crate::identity::Url;
use crate::tls::{Refused, Security};
use rustls::ConnectionCommon;
use rustls::client::ClientConnection;
use rustls::pki_types::ServerName;
use std::io;
use std::net::ToSocketAddrs as _;
use std::ops::DerefMut;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// How other members are reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way(Option<Arc<Security>>);

impl Way {
    /// With what is shown and believed under TLS; without it only `http://` works.
    pub(crate) fn new(security: Option<Arc<Security>>) -> Way {
        Way(security)
    }

    fn session(&self, url: &Url) -> io::Result<Option<ClientConnection>> {
        if !url.scheme().is_tls() {
            return Ok(None);
        }
        let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text.to_owned());
        let config = self.0.as_ref().and_then(|security| security.client());
        let config = config.ok_or_else(|| {
            invalid("it speaks TLS, and there is no --peer-trusted-ca-file to know it by")
        })?;
        let host = match url.scheme().is_unix() {
            true => "localhost",
            false => url.host(),
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| invalid("its host is no name that a certificate can be for"))?;
        let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Some(session))
    }

    /// A connection to `url`. Nothing bounds its time.
    ///
    /// # Errors
    /// Nobody is there, or is not who they should be.
    pub(crate) async fn connect(&self, url: &Url) -> io::Result<Socket> {
        let session = self.session(url)?;
        let mut raw = match url.scheme().is_unix() {
            true => Raw::Unix(UnixStream::connect(url.host()).await?),
            false => Raw::Tcp(TcpStream::connect((url.host(), url.port())).await?),
        };
        if let Raw::Tcp(tcp) = &raw {
            prepare(tcp)?;
        }
        let Some(mut session) = session else {
            return Ok(Socket::Plain(raw));
        };
        complete(&mut raw, &mut session).await?;
        Ok(Socket::Tls(Box::new(Sealed::new(raw, session.into()))))
    }

    /// A connection for a thread that waits: to connect and to shake hands may take `connect` each, every read and
    /// write after that `stall`.
    ///
    /// # Errors
    /// Nobody is there, or is not who they should be.
    pub(crate) fn connect_blocking(
        &self,
        url: &Url,
        connect: Duration,
        stall: Duration,
    ) -> io::Result<Blocking> {
        if url.scheme().is_unix() {
            let text = "snapshots do not go over unix sockets";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let mut session = self.session(url)?;
        let mut addresses = (url.host(), url.port()).to_socket_addrs()?;
        let address = addresses.next();
        let address = address.ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        let mut tcp = std::net::TcpStream::connect_timeout(&address, connect)?;
        tcp.set_nodelay(true)?;
        if let Some(session) = &mut session {
            tcp.set_read_timeout(Some(connect))?;
            tcp.set_write_timeout(Some(connect))?;
            while session.is_handshaking() {
                session.complete_io(&mut tcp)?;
            }
        }
        Blocking::new(tcp, session.map(Into::into), stall)
    }
}

/// Does a handshake. When it is refused, the other side is told why.
pub(super) async fn complete<C, D>(raw: &mut Raw, session: &mut C) -> io::Result<()>
where
    C: DerefMut<Target = ConnectionCommon<D>>,
    D: rustls::SideData,
{
    while session.is_handshaking() || session.wants_write() {
        let interest = match session.wants_write() {
            true => Interest::WRITABLE,
            false => Interest::READABLE,
        };
        raw.ready(interest).await?;
        let moved = match session.wants_write() {
            true => session.write_tls(&mut Trying(raw)),
            false => session.read_tls(&mut Trying(raw)).and_then(|n| match n {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                n => Ok(n),
            }),
        };
        match moved {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if let Err(error) = session.process_new_packets() {
            // One try: who does not take it need not know.
            let _ = session.write_tls(&mut Trying(raw));
            return Err(io::Error::new(io::ErrorKind::InvalidData, Refused(error)));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
#[path = "tests/way.rs"]
mod tests;
