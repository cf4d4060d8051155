//! HTTP/1.1 on the clients' port: plain pages, JSON calls, and streams of server-sent events.
//!
//! ```text
//!   socket ─ hyper ─► Exchange { parts, body } ─► Service::exchange ─► Reply::Page     one answer
//!                                                                  └─► Reply::Events   data: …, one after another
//! ```
//!
//! hyper reads heads and frames bodies; what is bounded here, before memory is taken: the head (bytes and time), the
//! body (bytes and time), the events that wait for a client which does not read. A client that goes away drops its
//! exchange at an `.await`, and the producer of its events ends.

use super::connection::{Guest, Service};
use super::http1::Page;
use super::limits::{
    EVENTS_WAITING_MAX, HANDSHAKE_TIMEOUT, HTTP1_BODY_TIMEOUT, HTTP1_HEAD_BYTES_MAX, Limits,
    PARTIAL_FREE_BYTES,
};
use super::message::Budget;
use crate::door::Socket;
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
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
    /// The common name in the certificate that the client has shown and that was believed.
    pub common_name: Option<Rc<str>>,
    body: Incoming,
    body_bytes_max: usize,
    budget: Budget,
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
    /// The whole body.
    ///
    /// # Errors
    /// It is too large, too slow, or the client is gone.
    pub async fn body(&mut self) -> Result<Bytes, BodyError> {
        let max = self.body_bytes_max;
        if self.body.size_hint().lower() > max as u64 {
            return Err(BodyError::TooLarge(max));
        }
        // A body that does not say its length may be as long as any.
        let expected = self
            .body
            .size_hint()
            .exact()
            .map_or(max, |exact| exact as usize);
        let _claim = match expected > PARTIAL_FREE_BYTES {
            true => Some(self.budget.take(expected).map_err(|_| BodyError::Busy)?),
            false => None,
        };
        let read = Limited::new(&mut self.body, max).collect();
        match tokio::time::timeout(HTTP1_BODY_TIMEOUT, read).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Err(BodyError::TooLarge(max))
            }
            _ => Err(BodyError::Gone),
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

/// What hyper writes.
enum Out {
    Whole(Option<Bytes>),
    Events(mpsc::Receiver<Bytes>),
}

impl Body for Out {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Out::Whole(body) => body.take(),
            Out::Events(events) => ready!(events.poll_recv(cx)),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Out::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Out::Events(_) => SizeHint::default(),
        }
    }
}

/// Serves one connection whose first bytes, `first`, were read already.
pub(super) async fn serve<S: Service>(
    socket: Socket,
    first: BytesMut,
    service: Rc<S>,
    limits: Limits,
    budget: Budget,
    guest: Guest,
) -> io::Result<()> {
    let io = TokioIo::new(Prefixed { first, socket });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT)
        .max_buf_size(HTTP1_HEAD_BYTES_MAX)
        .serve_connection(
            io,
            service_fn(|request: Request<Incoming>| {
                let (service, budget) = (service.clone(), budget.clone());
                let common_name = guest.common_name.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let exchange = Exchange {
                        parts,
                        common_name,
                        body,
                        body_bytes_max: BODY_SHARE * limits.message_bytes_max,
                        budget,
                    };
                    Ok::<_, Infallible>(rendered(service.exchange(exchange).await))
                }
            }),
        )
        .await;
    served.map_err(io::Error::other)
}

fn rendered(reply: Reply) -> Response<Out> {
    const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
    let (status, content_type, keeps, out) = match reply {
        Reply::Page { page, keeps } => {
            let status = StatusCode::from_u16(page.status).unwrap_or(StatusCode::OK);
            let body = Some(Bytes::from(page.body));
            (status, page.content_type, keeps, Out::Whole(body))
        }
        Reply::Events(events) => {
            let out = Out::Events(events.0);
            (StatusCode::OK, "text/event-stream", true, out)
        }
    };
    let is_events = matches!(out, Out::Events(_));
    let mut response = Response::new(out);
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

/// A socket of which something was read already.
struct Prefixed {
    first: BytesMut,
    socket: Socket,
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
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
