//! HTTP on the clients' port: plain pages, JSON calls, and streams of server-sent events.
//!
//! ```text
//!   HTTP/1.1 ─ hyper ─┐                                               ┌─► Reply::Page     one answer
//!                     ├─► Exchange { parts, body } ─► Service::exchange ─► Reply::Events   data: …, one after another
//!   HTTP/2 ─── h2 ────┘   (what is no gRPC)                           └─► Reply::Http     anything with its own head
//! ```
//!
//! hyper and h2 read heads and frame bodies; what is bounded here, before memory is taken: the head (bytes and time), the
//! body (bytes and time), the events that wait for a client which does not read. A client that goes away drops its
//! exchange at an `.await`, and the producer of its events ends.

use super::connection::{Allowed, Guest, Lobby, Service, end_of};
use super::drain::Drain;
use super::http1::Page;
use super::limits::{
    DISCARD_TIMEOUT, EVENTS_WAITING_MAX, HANDSHAKE_TIMEOUT, HTTP1_BODY_TIMEOUT,
    HTTP1_HEAD_BYTES_MAX, Limits, PARTIAL_FREE_BYTES,
};
use super::message::{Budget, Claim};
use super::strangers::Stranger;
use super::turns::{Place, Turns};
use crate::entrance::Socket;
use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

/// By how much JSON may be longer than the message that it says: base64 takes a third more, and escapes take room.
const BODY_SHARE: usize = 2;

/// One request.
pub struct Exchange {
    /// Method, target and headers.
    pub parts: Parts,
    /// The common name in the certificate that the client has shown and that was believed; empty when that has none.
    pub common_name: Option<Rc<str>>,
    /// From where; nothing where that has no name.
    pub from: Option<SocketAddr>,
    /// Whether it came over TLS.
    pub is_secure: bool,
    /// What the client sends with it.
    pub body: RequestBody,
}

/// The body of a request, not read yet.
pub struct RequestBody {
    source: Source,
    /// By its `content-length`, if it has one.
    length: Option<u64>,
    bytes_max: usize,
    budget: Budget,
}

enum Source {
    Http1(Incoming),
    Http2(RecvStream),
}

/// Why a body was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyError {
    /// More bytes than a request may have.
    #[error("the body has more than {0} bytes")]
    TooLarge(usize),
    /// Too many bytes of other requests are under way.
    #[error("too many bytes in requests under way")]
    Busy,
    /// The client is gone, or too slow.
    #[error("the body did not come")]
    Gone,
}

impl Exchange {
    fn new(parts: Parts, source: Source, allowed: Allowed, guest: Guest) -> Exchange {
        let length = match &source {
            Source::Http1(body) => body.size_hint().exact(),
            Source::Http2(body) if body.is_end_stream() => Some(0),
            Source::Http2(_) => {
                let said = parts.headers.get(header::CONTENT_LENGTH);
                said.and_then(|said| said.to_str().ok()?.parse().ok())
            }
        };
        Exchange {
            parts,
            common_name: guest.common_name,
            from: guest.from,
            is_secure: guest.is_secure,
            body: RequestBody {
                source,
                length,
                bytes_max: BODY_SHARE * allowed.limits.message_bytes_max,
                budget: allowed.budget,
            },
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// It is too large, too slow, or the client is gone.
    pub async fn body(&mut self) -> Result<Bytes, BodyError> {
        self.body.whole().await
    }

    /// Lets what is left of the body come and go, for an answer that does not depend on it. Over HTTP/2 an answer may overtake
    /// the body, and some clients (curl) take that for a failure and show nothing. Not for long, and nothing is kept.
    pub async fn discard(&mut self) {
        let body = &mut self.body;
        let max = body.bytes_max as u64;
        let is_large = body.length.is_some_and(|length| length > max);
        if is_large || matches!(body.source, Source::Http1(_)) {
            return;
        }
        let discard = async {
            let mut n_bytes = 0;
            while let Ok(Some(chunk)) = poll_fn(|cx| body.poll_chunk(cx)).await {
                n_bytes += chunk.len() as u64;
                if n_bytes > max {
                    break;
                }
            }
        };
        // Whoever is slower is answered all the same.
        let _ = tokio::time::timeout(DISCARD_TIMEOUT, discard).await;
    }
}

impl RequestBody {
    /// All of it.
    ///
    /// # Errors
    /// It is too large, too slow, or the client is gone.
    pub async fn whole(&mut self) -> Result<Bytes, BodyError> {
        let max = self.bytes_max;
        if self.length.is_some_and(|length| length > max as u64) {
            return Err(BodyError::TooLarge(max));
        }
        let gather = async {
            let Some(first) = poll_fn(|cx| self.poll_chunk(cx)).await? else {
                return Ok(Bytes::new());
            };
            let mut whole = BytesMut::from(first);
            let mut _claim = self.claim(whole.len())?;
            while let Some(chunk) = poll_fn(|cx| self.poll_chunk(cx)).await? {
                if whole.len() + chunk.len() > max {
                    return Err(BodyError::TooLarge(max));
                }
                if whole.len() + chunk.len() > whole.capacity() {
                    // What came is counted and not what was announced: who sends slowly takes nothing from others.
                    _claim = None;
                    _claim = self.claim((whole.len() + chunk.len()).next_power_of_two())?;
                }
                whole.extend_from_slice(&chunk);
            }
            Ok(whole.freeze())
        };
        let gathered = tokio::time::timeout(HTTP1_BODY_TIMEOUT, gather).await;
        gathered.map_err(|_| BodyError::Gone)?
    }

    /// Bytes of a request, or of one message of a stream of them.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Room for so many bytes, out of what all requests under way may take together.
    pub(crate) fn claim(&self, bytes: usize) -> Result<Option<Claim>, BodyError> {
        match bytes > PARTIAL_FREE_BYTES {
            true => Ok(Some(self.budget.take(bytes).map_err(|_| BodyError::Busy)?)),
            false => Ok(None),
        }
    }

    /// What comes next; nothing when that was all. What was given out is no longer bounded here.
    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            let chunk = match &mut self.source {
                Source::Http1(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                    None => return Poll::Ready(Ok(None)),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(chunk) => chunk,
                        // Trailers: nobody reads them.
                        Err(_) => continue,
                    },
                    Some(Err(_)) => return Poll::Ready(Err(BodyError::Gone)),
                },
                Source::Http2(body) => match ready!(body.poll_data(cx)) {
                    None => return Poll::Ready(Ok(None)),
                    Some(Ok(chunk)) => {
                        // If the stream is gone, the next poll says so.
                        let _ = body.flow_control().release_capacity(chunk.len());
                        chunk
                    }
                    Some(Err(_)) => return Poll::Ready(Err(BodyError::Gone)),
                },
            };
            return Poll::Ready(Ok(Some(chunk)));
        }
    }
}

/// An answer.
pub enum Reply {
    /// One document. The connection is closed after it when `keeps` is false.
    Page {
        /// What.
        page: Page,
        /// Whether the connection may be used again.
        keeps: bool,
    },
    /// Server-sent events, as long as there are any.
    Events(Events),
    /// Anything else, with its head.
    Http(Response<Content>),
}

impl From<Page> for Reply {
    fn from(page: Page) -> Reply {
        Reply::Page { page, keeps: true }
    }
}

impl Reply {
    /// The same with these headers beside its own.
    pub(crate) fn with(self, beside: HeaderMap) -> Reply {
        let mut response = rendered(self);
        response.headers_mut().extend(beside);
        Reply::Http(response)
    }
}

/// The reading end of a stream of events.
pub struct Events(mpsc::Receiver<Bytes>);

/// The writing end.
pub struct EventSender(mpsc::Sender<Bytes>);

/// The client reads no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

impl Events {
    /// Both ends.
    pub fn new() -> (EventSender, Events) {
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        (EventSender(sender), Events(receiver))
    }
}

impl EventSender {
    /// One event: `data: ` and one line of JSON. Waits while the client does not read.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn send(&self, name: Option<&str>, json: &[u8]) -> Result<(), Closed> {
        let mut event = BytesMut::with_capacity(json.len() + 32);
        if let Some(name) = name {
            event.extend_from_slice(b"event: ");
            event.extend_from_slice(name.as_bytes());
            event.extend_from_slice(b"\n");
        }
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(json);
        event.extend_from_slice(b"\n\n");
        self.0.send(event.freeze()).await.map_err(|_| Closed)
    }

    /// Waits until the client is gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// What is written behind an answer's head.
pub struct Content(Writing);

enum Writing {
    Whole(Option<Bytes>),
    Chunks(mpsc::Receiver<Bytes>),
}

impl Content {
    /// All of it at once.
    pub fn whole(bytes: impl Into<Bytes>) -> Content {
        Content(Writing::Whole(Some(bytes.into())))
    }

    /// What comes through `chunks`, each sent when it comes.
    pub fn chunks(chunks: mpsc::Receiver<Bytes>) -> Content {
        Content(Writing::Chunks(chunks))
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut self.get_mut().0 {
            Writing::Whole(body) => body.take(),
            Writing::Chunks(chunks) => ready!(chunks.poll_recv(cx)),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Writing::Whole(body) => {
                SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64)
            }
            Writing::Chunks(_) => SizeHint::default(),
        }
    }
}

/// Serves one connection whose first bytes, `first`, were read already.
pub(super) async fn serve<S: Service>(
    socket: Socket,
    first: BytesMut,
    service: Rc<S>,
    limits: Limits,
    lobby: Lobby,
    guest: Guest,
    stranger: Stranger,
) -> io::Result<()> {
    let _guest = service.drain().as_ref().map(Drain::enter);
    let place = Place::of_stranger();
    let io = TokioIo::new(Prefixed {
        first,
        socket,
        turns: service.turns(),
        place: place.clone(),
    });
    let stranger = RefCell::new(Some(stranger));
    let answer = service_fn(|request: Request<Incoming>| {
        let service = service.clone();
        let guest = guest.clone();
        let (parts, body) = request.into_parts();
        let is_known = service.knows(&parts.headers, guest.common_name.as_ref());
        if is_known {
            stranger.take();
            place.becomes_known();
        }
        let allowed = Allowed::to(!is_known, limits, &lobby);
        async move {
            let exchange = Exchange::new(parts, Source::Http1(body), allowed, guest);
            Ok::<_, Infallible>(rendered(service.exchange(exchange).await))
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT)
        .max_buf_size(HTTP1_HEAD_BYTES_MAX)
        .serve_connection(io, answer);
    let (mut serving, mut ending) = (pin!(serving), pin!(end_of(&*service)));
    let mut is_ending = false;
    let served = poll_fn(|cx| {
        if !is_ending && ending.as_mut().poll(cx).is_ready() {
            is_ending = true;
            serving.as_mut().graceful_shutdown();
        }
        serving.as_mut().poll(cx)
    });
    served.await.map_err(io::Error::other)
}

/// Serves one request that came over HTTP/2 and is no gRPC.
pub(super) async fn serve_http2<S: Service>(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    service: Rc<S>,
    allowed: Allowed,
    guest: Guest,
) {
    let (parts, body) = request.into_parts();
    let is_head = parts.method == http::Method::HEAD;
    let exchange = Exchange::new(parts, Source::Http2(body), allowed, guest);
    let reply = {
        let mut serving = pin!(service.exchange(exchange));
        poll_fn(|cx| match serving.as_mut().poll(cx) {
            Poll::Ready(reply) => Poll::Ready(Some(reply)),
            Poll::Pending => respond.poll_reset(cx).map(|_| None),
        })
        .await
    };
    let Some(reply) = reply else { return };
    let (mut head, content) = rendered(reply).into_parts();
    // What belongs to a connection has no place on a stream (RFC 9113 §8.2.2).
    head.headers.remove(header::CONNECTION);
    if let Some(length) = content.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let ends = is_head || content.size_hint().exact() == Some(0);
    let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), ends) else {
        return;
    };
    if !ends {
        // An error is the client's absence, and whoever made the content learns of it when that is dropped.
        let _ = write_http2(&mut stream, content.0).await;
    }
}

async fn write_http2(
    stream: &mut SendStream<Bytes>,
    mut content: Writing,
) -> Result<(), h2::Error> {
    loop {
        let next = poll_fn(|cx| match &mut content {
            Writing::Whole(body) => Poll::Ready(Ok(body.take())),
            Writing::Chunks(chunks) => match chunks.poll_recv(cx) {
                Poll::Ready(chunk) => Poll::Ready(Ok(chunk)),
                Poll::Pending => stream
                    .poll_reset(cx)
                    .map(|reset| Err(reset.map_or_else(|e| e, Into::into))),
            },
        });
        let Some(mut bytes) = next.await? else {
            return stream.send_data(Bytes::new(), true);
        };
        stream.reserve_capacity(bytes.len());
        while !bytes.is_empty() {
            let room = match stream.capacity() {
                0 => {
                    let room = poll_fn(|cx| stream.poll_capacity(cx));
                    // Whoever takes nothing for so long does not want it.
                    match tokio::time::timeout(HTTP1_BODY_TIMEOUT, room).await {
                        Ok(Some(room)) => room?,
                        Ok(None) => return Ok(()),
                        Err(_) => {
                            stream.send_reset(h2::Reason::CANCEL);
                            return Ok(());
                        }
                    }
                }
                room => room,
            };
            stream.send_data(bytes.split_to(room.min(bytes.len())), false)?;
        }
    }
}

fn rendered(reply: Reply) -> Response<Content> {
    const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
    let (status, content_type, keeps, content) = match reply {
        Reply::Page { page, keeps } => {
            let status = StatusCode::from_u16(page.status).unwrap_or(StatusCode::OK);
            (status, page.content_type, keeps, Content::whole(page.body))
        }
        Reply::Events(events) => {
            let content = Content::chunks(events.0);
            (StatusCode::OK, "text/event-stream", true, content)
        }
        Reply::Http(response) => return response,
    };
    let is_events = matches!(content.0, Writing::Chunks(_));
    let mut response = Response::new(content);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if is_events {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if !keeps {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A socket of which something was read already. It waits for its turn before it reads more.
struct Prefixed {
    first: BytesMut,
    socket: Socket,
    turns: Option<Rc<Turns>>,
    place: Place,
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(turns) = &self.turns {
            ready!(turns.poll_enter(&self.place, cx));
        }
        if self.first.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let n = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
