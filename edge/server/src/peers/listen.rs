//! Incoming connections: who may come in, and what they say.

use super::guest::{self, GuestError};
use super::transfer::{Busy, receive_snapshot};
use super::{CONNECTIONS_MAX, HANDSHAKE_TIMEOUT, Inbox, PAGE_TIMEOUT, STRANGERS_MAX, Spoken};
use crate::entrance::{Entrance, Socket, Visitor, name};
use crate::events::Reports;
use crate::grpc::{Page, answer_http1, prepare};
use crate::metrics::PeersCounts;
use crate::tls::{Certificate, Security};
use base::{Chain, MemberId};
use bytes::BytesMut;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::{debug, info, warn};
use wire::{Frame, FrameReader, HelloRefusal, HelloReply, Origin, Purpose};

/// Bytes read at a time at least, so that small frames come in few system calls.
const READ_BYTES: usize = 64 * 1024;

/// Why an incoming connection was closed.
#[derive(Debug, thiserror::Error)]
enum IncomingError {
    #[error("it said nothing for {0:?}")]
    Silent(Duration),
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    #[error("what it says is refused")]
    Wire(#[from] wire::WireError),
    #[error("it is refused: {0}")]
    Refused(HelloRefusal),
    #[error("it closed the connection")]
    Closed,
    #[error("it did not say hello")]
    NoHello,
    #[error("its certificate is not a member's")]
    Certificate(#[from] GuestError),
    #[error("it sends {0}, which does not belong on this connection")]
    Unexpected(&'static str),
}

/// Shared by all incoming connections.
struct Hall {
    own: Origin,
    spoken: Spoken,
    security: Option<Arc<Security>>,
    inbox: Rc<dyn Inbox>,
    reports: Reports,
    busy: Busy,
    strangers: Rc<Cell<usize>>,
    connections: Rc<Cell<usize>>,
    counts: PeersCounts,
}

/// Accepts connections of other members until it is dropped.
pub(crate) async fn listen(
    mut entrance: Entrance,
    security: Option<Arc<Security>>,
    own: Origin,
    spoken: Spoken,
    inbox: Rc<dyn Inbox>,
    reports: Reports,
    counts: PeersCounts,
) {
    let hall = Rc::new(Hall {
        own,
        spoken,
        security,
        inbox,
        reports,
        busy: Busy::default(),
        strangers: Rc::default(),
        connections: Rc::default(),
        counts,
    });
    loop {
        let visitor = match entrance.accept().await {
            Ok(visitor) => visitor,
            Err(error) => {
                warn!(error = %Chain(&error), "cannot accept a peer's connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if hall.strangers.get() >= STRANGERS_MAX || hall.connections.get() >= CONNECTIONS_MAX {
            debug!(
                address = name(visitor.from),
                "too many connections to the peer port: one refused"
            );
            continue;
        }
        tokio::task::spawn_local(hall.clone().admit(visitor));
    }
}

fn not_found() -> Page {
    Page::text(404, "404: this port is for members of the cluster\n")
}

/// Counts itself.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn one(counter: &Rc<Cell<usize>>) -> Counted {
        counter.set(counter.get() + 1);
        Counted(counter.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What a connection turned out to be.
enum Guest {
    /// A member that sends messages; the reader and the bytes that came with its hello.
    Messages(MemberId, FrameReader, BytesMut),
    /// A member that sends a snapshot.
    Snapshot(MemberId, FrameReader, BytesMut),
    /// A program that speaks HTTP/1: a member that joins, or a person with a browser.
    Http(BytesMut),
}

impl Hall {
    async fn admit(self: Rc<Self>, visitor: Visitor) {
        let _connection = Counted::one(&self.connections);
        let address = name(visitor.from);
        if let Err(error) = self.serve(visitor, &address).await {
            match error {
                IncomingError::Closed | IncomingError::Broken(_) => {
                    debug!(%address, reason = %Chain(&error), "a peer's connection ended");
                }
                _ => {
                    self.counts.of(MemberId::NONE).received_failures.inc();
                    warn!(%address, reason = %Chain(&error), "a connection to the peer port is closed")
                }
            }
        }
    }

    async fn serve(&self, mut visitor: Visitor, address: &str) -> Result<(), IncomingError> {
        if let Some(tcp) = visitor.socket.as_plain_tcp() {
            prepare(tcp)?;
        }
        let stranger = Counted::one(&self.strangers);
        let greeting = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.greet(&mut visitor));
        let guest = greeting
            .await
            .map_err(|_| IncomingError::Silent(HANDSHAKE_TIMEOUT))??;
        let socket = visitor.socket;
        match guest {
            Guest::Messages(from, reader, input) => {
                drop(stranger);
                info!(peer = %from, %address, "a peer connected");
                self.messages(socket, from, reader, input).await
            }
            Guest::Snapshot(from, reader, input) => {
                drop(stranger);
                info!(peer = %from, %address, "a peer sends a snapshot");
                let reports = self.reports.clone();
                receive_snapshot(socket, self.own, from, reader, input, reports, &self.busy);
                Ok(())
            }
            Guest::Http(head) => {
                let patience = match head.starts_with(b"GET /hashkv?") {
                    true => PAGE_TIMEOUT,
                    false => HANDSHAKE_TIMEOUT,
                };
                let answered = answer_http1(socket, head, |method, target| async move {
                    match (method.as_str(), target.as_str()) {
                        ("GET", "/members") => Page::text(200, self.inbox.members_page()),
                        ("GET", "/apply-version") => {
                            Page::text(200, format!("{}\n", self.inbox.apply_version()))
                        }
                        ("GET", page) => match self.inbox.page(page).await {
                            Some(text) => Page::text(200, text),
                            None => not_found(),
                        },
                        _ => not_found(),
                    }
                });
                let answered = tokio::time::timeout(patience, answered).await;
                answered
                    .map_err(|_| IncomingError::Silent(patience))?
                    .map_err(Into::into)
            }
        }
    }

    /// The certificate whose names are to be looked at; nothing where they say nothing.
    fn checked<'v>(&self, visitor: &'v Visitor) -> Result<Option<&'v Certificate>, GuestError> {
        let security = self.security.as_ref();
        let checks = security.is_some_and(|security| security.checks_callers_names());
        match &visitor.socket {
            Socket::Tls(_) if checks => guest::asked_for(visitor.certificate.as_deref()).map(Some),
            _ => Ok(None),
        }
    }

    /// etcd's rule: whoever calls from elsewhere than their certificate says is not let in.
    async fn check_address(&self, visitor: &Visitor) -> Result<(), GuestError> {
        match (self.checked(visitor)?, visitor.from) {
            (Some(shown), Some(from)) => {
                guest::check_address(shown, from.ip(), &self.inbox.members()).await
            }
            _ => Ok(()),
        }
    }

    /// Ours: a certificate is one member's, and a client's is nobody's.
    fn check_member(&self, visitor: &Visitor, from: MemberId) -> Result<(), GuestError> {
        let security = self.security.as_ref();
        match self.checked(visitor)? {
            Some(shown) if !security.is_some_and(|it| it.names_callers()) => {
                guest::check_member(shown, from, &self.inbox.members())
            }
            _ => Ok(()),
        }
    }

    /// Reads the first frame and answers it.
    async fn greet(&self, visitor: &mut Visitor) -> Result<Guest, IncomingError> {
        self.check_address(visitor).await?;
        let mut reader = FrameReader::of_stranger();
        let mut input = BytesMut::with_capacity(1024);
        let (origin, hello) = loop {
            if visitor.socket.read_buf(&mut input).await? == 0 {
                return Err(IncomingError::Closed);
            }
            if input
                .first()
                .is_some_and(|first| matches!(first, b'G' | b'H' | b'P'))
            {
                return Ok(Guest::Http(input));
            }
            match reader.next(&mut input)? {
                Some((origin, Frame::Hello(hello))) => break (origin, hello),
                Some(_) => return Err(IncomingError::NoHello),
                None => {}
            }
        };
        self.check_member(visitor, origin.member)?;
        let mut reply = hello.answer_within(origin, self.own, self.spoken.versions());
        if self.inbox.was_removed(origin.member) {
            reply = HelloReply::Refused(HelloRefusal::Removed);
        } else if hello.purpose == Purpose::Snapshot && self.busy.is_taken() {
            reply = HelloReply::Refused(HelloRefusal::Busy);
        }
        let mut out = BytesMut::new();
        wire::encode(self.own, &Frame::HelloReply(reply), &mut out);
        visitor.socket.write_all(&out).await?;
        visitor.socket.flush().await?;
        if let HelloReply::Refused(why) = reply {
            return Err(IncomingError::Refused(why));
        }
        reader.trust(origin);
        Ok(match hello.purpose {
            Purpose::Messages => Guest::Messages(origin.member, reader, input),
            Purpose::Snapshot => Guest::Snapshot(origin.member, reader, input),
        })
    }

    async fn messages(
        &self,
        mut socket: Socket,
        from: MemberId,
        mut reader: FrameReader,
        mut input: BytesMut,
    ) -> Result<(), IncomingError> {
        let counts = self.counts.of(from);
        counts.received_bytes.add(input.len() as u64);
        loop {
            while let Some((_, frame)) = reader
                .next(&mut input)
                .inspect_err(|_| counts.received_failures.inc())?
            {
                match frame {
                    // It connects again and is told then.
                    Frame::Message(_) if self.inbox.was_removed(from) => {
                        return Err(IncomingError::Refused(HelloRefusal::Removed));
                    }
                    Frame::Message(message) => self.inbox.receive(from, message),
                    Frame::Hello(_) | Frame::HelloReply(_) => {
                        return Err(IncomingError::Unexpected("a second hello"));
                    }
                    _ => return Err(IncomingError::Unexpected("a part of a snapshot")),
                }
            }
            input.reserve(reader.missing(input.len()).max(READ_BYTES));
            match socket.read_buf(&mut input).await? {
                0 => return Err(IncomingError::Closed),
                n => counts.received_bytes.add(n as u64),
            }
        }
    }
}
