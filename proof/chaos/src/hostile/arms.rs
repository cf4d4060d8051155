//! What attackers of one process share: where the doors are, how fast they may go, and what became of it.
//!
//! Attackers are bounded in their rate: what is tested is the server, and not how much of this machine's two processors
//! an attacker can take away from it.

use super::house::client_config;
use crate::Failure;
use rustls::pki_types::ServerName;
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Rates are kept over so long: shorter pauses than a timer's tick cannot be slept.
const BATCH: Duration = Duration::from_millis(5);

/// What became of an attack.
#[derive(Default)]
pub(super) struct Tally {
    /// Connections that came to stand.
    pub(super) accepted: Cell<u64>,
    /// Connections that did not, or that the server ended.
    pub(super) refused: Cell<u64>,
    /// Hostile acts.
    pub(super) acts: Cell<u64>,
}

/// One more.
pub(super) fn count(cell: &Cell<u64>, n: u64) {
    cell.set(cell.get() + n);
}

/// Shared by all attackers of a process.
pub(super) struct Arms {
    client: SocketAddr,
    peer: SocketAddr,
    /// The whole attack ends then.
    pub(super) until: Instant,
    tls: TlsConnector,
    per_second: u32,
    due: Cell<Instant>,
    pub(super) tally: Tally,
}

impl Arms {
    /// Against these doors for so long, with so many acts a second together.
    pub(super) fn new(
        client: SocketAddr,
        peer: SocketAddr,
        ca: &Path,
        time: Duration,
        per_second: u32,
    ) -> Result<Arms, Failure> {
        let now = Instant::now();
        Ok(Arms {
            client,
            peer,
            until: now + time,
            tls: TlsConnector::from(client_config(ca, &[])?),
            per_second: per_second.max(1),
            due: Cell::new(now),
            tally: Tally::default(),
        })
    }

    /// Waits until `n` more acts are within the rate.
    pub(super) async fn pace(&self, n: u32) {
        let due = self.due.get().max(Instant::now() - BATCH);
        self.due
            .set(due + Duration::from_secs(1) * n / self.per_second);
        sleep_until(due).await;
        count(&self.tally.acts, u64::from(n));
    }

    async fn connect(&self, at: SocketAddr) -> io::Result<TcpStream> {
        let tcp = TcpStream::connect(at).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    /// A connection to the clients' door, in the clear.
    pub(super) async fn tcp(&self) -> io::Result<TcpStream> {
        let tcp = self.connect(self.client).await?;
        count(&self.tally.accepted, 1);
        Ok(tcp)
    }

    /// A connection to the members' door, in the clear.
    pub(super) async fn peer_tcp(&self) -> io::Result<TcpStream> {
        let tcp = self.connect(self.peer).await?;
        count(&self.tally.accepted, 1);
        Ok(tcp)
    }

    /// A connection to the clients' door under TLS.
    pub(super) async fn sealed(&self) -> io::Result<TlsStream<TcpStream>> {
        let tcp = self.connect(self.client).await?;
        let sealed = self
            .tls
            .connect(ServerName::from(self.client.ip()), tcp)
            .await?;
        count(&self.tally.accepted, 1);
        Ok(sealed)
    }

    /// How one calls the host.
    pub(super) fn authority(&self) -> String {
        self.client.to_string()
    }

    /// Does nothing until the end, or until the server closes the connection.
    pub(super) async fn sit(&self, line: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while line.read(&mut buffer).await? > 0 {}
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
