//! One outgoing connection: a bounded queue of encoded messages and the task that writes it.
//!
//! Messages are encoded as they are queued, so the queue is one buffer and everything that gathered since
//! the last write leaves in one system call.

use super::spoken::{Spoken, hello};
use super::{HANDSHAKE_TIMEOUT, Inbox};
use crate::entrance::{Socket, Way};
use crate::identity::Url;
use crate::metrics::{PeerCounts, PeersCounts};
use crate::signal::Signal;
use base::limits::PEER_QUEUE_BYTES_MAX;
use base::{Chain, Instant, MemberId, PeerMessage, Rng};
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use store::Member;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::{debug, info, warn};
use wire::{Frame, FrameReader, Hello, HelloReply, Origin, Purpose};

/// The first pause before a connection is tried again …
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// … and the longest.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The time in which a connection must be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A queue's buffer that grew beyond this is given back after it was written.
const BUFFER_KEPT_BYTES: usize = 1024 * 1024;

/// Why a connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("cannot connect to {url}")]
    Connect { url: String, source: io::Error },
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    #[error("what it says is not understood")]
    Wire(#[from] wire::WireError),
    #[error("it refuses: {0}")]
    Refused(wire::HelloRefusal),
    #[error("it closed the connection")]
    Closed,
    #[error("none of its peer URLs can be used")]
    NoUrl,
}

/// One outgoing connection.
pub(super) struct Link {
    own: Origin,
    to: MemberId,
    queue: RefCell<BytesMut>,
    work: Signal,
    /// Since when the connection stands, if it does.
    connected: Cell<Option<Instant>>,
    /// What both ends speak on the connection that stands.
    version: Cell<u16>,
    closed: Cell<bool>,
    dropping: Cell<bool>,
    counts: Rc<PeerCounts>,
}

impl Link {
    /// Begins to connect to `member`.
    pub(super) fn open(
        own: Origin,
        (name, way): (&Rc<str>, &Way),
        member: &Member,
        spoken: &Spoken,
        inbox: Rc<dyn Inbox>,
        counts: &PeersCounts,
    ) -> Rc<Link> {
        let link = Rc::new(Link {
            own,
            to: member.id,
            queue: RefCell::default(),
            work: Signal::default(),
            connected: Cell::new(None),
            version: Cell::new(0),
            closed: Cell::new(false),
            dropping: Cell::new(false),
            counts: counts.of(member.id),
        });
        let urls = member
            .peer_urls
            .iter()
            .filter_map(|url| Url::parse(url).ok());
        let task = Dialler {
            link: link.clone(),
            urls: urls.collect(),
            name: name.clone(),
            spoken: spoken.clone(),
            way: way.clone(),
            inbox,
            // Pauses of members that lost each other must not fall together.
            rng: Rng::new(own.member.0 ^ member.id.0.rotate_left(32) ^ crate::clock::now().0),
        };
        tokio::task::spawn_local(task.run());
        link
    }

    /// Ends it.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.work.set();
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.get().is_some()
    }

    /// Since when the connection stands, if it does.
    pub(super) fn connected_since(&self) -> Option<Instant> {
        self.connected.get()
    }

    /// Queues a message, or drops it when there is no connection, no room, or no such message in the protocol that the
    /// other side speaks.
    pub(super) fn send(&self, message: &PeerMessage) {
        if !self.is_connected() || wire::protocol_of(message) > self.version.get() {
            return;
        }
        let mut queue = self.queue.borrow_mut();
        if queue.len() > PEER_QUEUE_BYTES_MAX {
            self.counts.sent_failures.inc();
            if !self.dropping.replace(true) {
                warn!(peer = %self.to, bytes = queue.len(), "the queue to a peer is full: messages are dropped");
            }
            return;
        }
        wire::encode_message(self.own, message, &mut queue);
        self.work.set();
    }
}

struct Dialler {
    link: Rc<Link>,
    urls: Vec<Url>,
    name: Rc<str>,
    spoken: Spoken,
    way: Way,
    inbox: Rc<dyn Inbox>,
    rng: Rng,
}

impl Dialler {
    async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        let mut told = String::new();
        let mut turn = 0;
        let peer = self.link.to;
        while !self.link.closed.get() {
            let lost = match self.connect(turn).await {
                Ok(socket) => {
                    info!("remote-peer-id" = %peer, "established TCP streaming connection with remote peer");
                    (pause, told) = (PAUSE_MIN, String::new());
                    self.link.connected.set(Some(crate::clock::now()));
                    let lost = self.write(socket).await;
                    self.link.connected.set(None);
                    self.link.counts.lost.inc();
                    if !self.link.closed.get() {
                        warn!("remote-peer-id" = %peer, reason = %Chain(&lost), "lost TCP streaming connection with remote peer");
                    }
                    self.link.dropping.set(false);
                    self.link.queue.replace(BytesMut::new());
                    lost
                }
                Err(error) => error,
            };
            if self.link.closed.get() {
                break;
            }
            if let LinkError::Refused(wire::HelloRefusal::Removed) = lost {
                self.inbox.receive(peer, PeerMessage::Removed);
            }
            self.inbox.unreachable(peer);
            self.link.counts.sent_failures.inc();
            turn += 1;
            let reason = Chain(&lost).to_string();
            // A peer that is down is news once, not every second.
            if reason == told {
                debug!(%peer, %reason, "a peer cannot be reached");
            } else {
                warn!(%peer, %reason, "a peer cannot be reached; trying again");
                told = reason;
            }
            let nanos = pause.as_nanos() as u64;
            let jittered = Duration::from_nanos(self.rng.between(nanos / 2, nanos));
            tokio::time::sleep(jittered).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn connect(&self, turn: usize) -> Result<Socket, LinkError> {
        let url = self
            .urls
            .get(turn % self.urls.len().max(1))
            .ok_or(LinkError::NoUrl)?;
        let failed = |source| LinkError::Connect {
            url: url.to_string(),
            source,
        };
        let connecting = self.way.connect(url);
        let mut socket = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
            .map_err(failed)?;
        let versions = self.spoken.versions();
        let hello = hello(&versions, Purpose::Messages, self.link.to, &self.name);
        let introduced = introduce(&mut socket, self.link.own, hello);
        let version = tokio::time::timeout(HANDSHAKE_TIMEOUT, introduced)
            .await
            .map_err(|_| LinkError::Silent(HANDSHAKE_TIMEOUT))??;
        self.link.version.set(version);
        Ok(socket)
    }

    /// Writes what is queued until the connection breaks.
    async fn write(&self, mut socket: Socket) -> LinkError {
        let mut buffer = BytesMut::new();
        let mut heard = [0; 64];
        loop {
            {
                let mut hearing = std::pin::pin!(socket.read(&mut heard));
                let woken = poll_fn(|cx| {
                    // The other side never speaks here: what comes is its end.
                    if let Poll::Ready(result) = hearing.as_mut().poll(cx) {
                        return Poll::Ready(Some(result));
                    }
                    self.link.work.poll_wait(cx).map(|()| None)
                });
                match woken.await {
                    Some(Err(error)) => return error.into(),
                    Some(Ok(_)) => return LinkError::Closed,
                    None => {}
                }
            }
            if self.link.closed.get() {
                return LinkError::Closed;
            }
            std::mem::swap(&mut buffer, &mut *self.link.queue.borrow_mut());
            if let Err(error) = socket.write_all(&buffer).await {
                return error.into();
            }
            if let Err(error) = socket.flush().await {
                return error.into();
            }
            self.link.counts.sent_bytes.add(buffer.len() as u64);
            self.link.dropping.set(false);
            buffer.clear();
            if buffer.capacity() > BUFFER_KEPT_BYTES {
                buffer = BytesMut::new();
            }
        }
    }
}

/// Says hello and reads the answer: the protocol that both speak.
async fn introduce(socket: &mut Socket, own: Origin, hello: Hello) -> Result<u16, LinkError> {
    let mut out = BytesMut::new();
    wire::encode(own, &Frame::Hello(hello), &mut out);
    socket.write_all(&out).await?;
    socket.flush().await?;
    let mut reader = FrameReader::of_stranger();
    let mut input = BytesMut::new();
    loop {
        match reader.next(&mut input)? {
            Some((_, Frame::HelloReply(HelloReply::Welcome { version }))) => return Ok(version),
            Some((_, Frame::HelloReply(HelloReply::Refused(why)))) => {
                return Err(LinkError::Refused(why));
            }
            Some(_) => return Err(wire::WireError::Malformed("not an answer to a hello").into()),
            None => {}
        }
        if socket.read_buf(&mut input).await? == 0 {
            return Err(LinkError::Closed);
        }
    }
}
