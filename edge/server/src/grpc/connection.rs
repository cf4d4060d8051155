//! Accepting connections, and one task per connection that drives HTTP/2.
//!
//! Each call gets a task of its own, on the same thread. Nothing here knows what a call means: that is the
//! [`Service`]'s business.

use super::call::{Call, Head, Refused, Shared};
use super::counts::Counted;
use super::drain::Drain;
use super::limits::{self, Limits};
use super::message::Budget;
use super::output::Output;
use super::status::{Code, Status};
use super::strangers::{self, Held, Stranger, Strangers};
use super::turns::{Place, Turns};
use super::web::{self, Exchange, Reply};
use crate::entrance::{Entrance, Socket, Visitor};
use base::Chain;
use bytes::{Bytes, BytesMut};
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tracing::{debug, warn};

/// The first bytes of an HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What happens to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It begins.
    Begun,
    /// It is over.
    Ended,
    /// There are too many: it is refused.
    Refused,
}

/// What answers the calls.
pub trait Service: 'static {
    /// Serves one call. The transport ends it with the returned status; a call that is dropped because
    /// its client is gone or its time is over is dropped at an `.await`.
    fn serve(&self, call: &mut Call) -> impl Future<Output = Result<(), Status>>;

    /// Which line of a table this call is counted in; it begins now.
    fn begun(&self, head: &Head) -> Counted {
        let _ = head;
        Counted::default()
    }

    /// A connection begins, or ends; or it is one too many.
    fn connected(&self, change: Change) {
        let _ = change;
    }

    /// Answers one request that is no gRPC.
    fn exchange(&self, exchange: Exchange) -> impl Future<Output = Reply>;

    /// When service ends in peace; nothing: it never does.
    fn drain(&self) -> Option<Rc<Drain>> {
        None
    }

    /// Whose turn it is; nothing: everybody's, always.
    fn turns(&self) -> Option<Rc<Turns>> {
        None
    }

    /// Whether it is known who asks, by what stands in a request's head and in the certificate that was shown. Whoever
    /// is not known has to make do with less.
    fn knows(&self, _headers: &http::HeaderMap, _common_name: Option<&Rc<str>>) -> bool {
        true
    }

    /// Whether a call of this path ends only when its client wants, so that nobody can wait for its end.
    fn is_endless(&self, _path: &str) -> bool {
        false
    }
}

/// Waits until service ends, for ever if it never does.
pub(super) async fn end_of<S: Service>(service: &S) {
    match service.drain() {
        Some(drain) => drain.begun().await,
        None => std::future::pending().await,
    }
}

/// Serves everybody who comes in by `entrance`, until this future is dropped. Must run where `spawn_local` works.
pub async fn serve<S: Service>(entrance: impl Into<Entrance>, service: Rc<S>, limits: Limits) {
    let mut entrance = entrance.into();
    let open = Rc::new(Cell::new(0_usize));
    let lobby = Lobby::default();
    loop {
        let visitor = match entrance.accept().await {
            Ok(visitor) => visitor,
            Err(error) => {
                // Out of descriptors, or the client went away first. The former does not pass by itself
                // in an instant, and spinning would not help anybody.
                warn!(error = %Chain(&error), "cannot accept a client's connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // One that is told to go is still counted for a moment.
        if open.get() >= limits.connections_max && !lobby.strangers.close_oldest() {
            warn!(
                limit = limits.connections_max,
                "too many client connections: one refused"
            );
            service.connected(Change::Refused);
            continue;
        }
        let (service, lobby_here) = (service.clone(), lobby.clone());
        let counted = Connected::new(&service, &open);
        let stranger = lobby.strangers.enter();
        let number = stranger.number;
        let task = tokio::task::spawn_local(async move {
            if let Err(error) = connection(visitor, service, limits, lobby_here, stranger).await {
                debug!(error = %Chain(&error), "a client's connection ended");
            }
            drop(counted);
        });
        lobby.strangers.runs(number, task.abort_handle());
    }
}

/// What all connections of a listener share.
#[derive(Clone)]
pub(super) struct Lobby {
    /// Messages of those who are known that have not arrived whole.
    budget: Budget,
    /// The same of strangers: they take nothing from the others.
    strangers_budget: Budget,
    strangers: Strangers,
}

impl Default for Lobby {
    fn default() -> Lobby {
        Lobby {
            budget: Budget::default(),
            strangers_budget: Budget::of(strangers::PARTIAL_BYTES_MAX),
            strangers: Strangers::default(),
        }
    }
}

/// One of the allowed connections, however it ends.
struct Connected<S: Service>(Rc<S>, Rc<Cell<usize>>);

impl<S: Service> Connected<S> {
    fn new(service: &Rc<S>, open: &Rc<Cell<usize>>) -> Connected<S> {
        open.set(open.get() + 1);
        service.connected(Change::Begun);
        Connected(service.clone(), open.clone())
    }
}

impl<S: Service> Drop for Connected<S> {
    fn drop(&mut self) {
        self.1.set(self.1.get() - 1);
        self.0.connected(Change::Ended);
    }
}

/// Prepares an accepted or made connection: small writes leave at once (44 ms stalls without it), and a
/// peer that vanished without a word is noticed.
pub(crate) fn prepare(socket: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, limits::UNACKNOWLEDGED_TIMEOUT)?;
    sockopt::set_tcp_keepintvl(socket, limits::UNACKNOWLEDGED_TIMEOUT / 3)?;
    let timeout_ms = limits::UNACKNOWLEDGED_TIMEOUT.as_millis() as u32;
    sockopt::set_tcp_user_timeout(socket, timeout_ms)?;
    Ok(())
}

async fn connection<S: Service>(
    visitor: Visitor,
    service: Rc<S>,
    limits: Limits,
    lobby: Lobby,
    stranger: Stranger,
) -> io::Result<()> {
    let mut socket = visitor.socket;
    if let Some(tcp) = socket.as_plain_tcp() {
        // Under TLS it was done before the handshake.
        prepare(tcp)?;
    }
    let shown = visitor.certificate;
    let name = shown.map(|it| it.common_name.clone().unwrap_or_default());
    let guest = Guest {
        common_name: name.map(Rc::from),
        is_secure: socket.is_secure(),
        from: visitor.from,
    };
    let hello = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, sniff(&mut socket)).await;
    let (first, is_http2) = hello.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if is_http2 {
        let output = Output::new(socket, first);
        return http2(output, service, limits, lobby, guest, stranger).await;
    }
    web::serve(socket, first, service, limits, lobby, guest, stranger).await
}

/// Who is on a connection, as far as the transport knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Guest {
    /// The common name in the certificate that was shown and believed; empty when that has none.
    pub(super) common_name: Option<Rc<str>>,
    /// Whether it is TLS.
    pub(super) is_secure: bool,
    /// From where; nothing where that has no name.
    pub(super) from: Option<SocketAddr>,
}

/// Reads until it is clear whether the client speaks HTTP/2.
async fn sniff(socket: &mut Socket) -> io::Result<(BytesMut, bool)> {
    let mut first = BytesMut::with_capacity(1024);
    loop {
        if socket.read_buf(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let known = first.len().min(PREFACE.len());
        if first[..known] != PREFACE[..known] {
            return Ok((first, false));
        }
        if known == PREFACE.len() {
            return Ok((first, true));
        }
    }
}

async fn http2<S: Service>(
    output: Output,
    service: Rc<S>,
    limits: Limits,
    lobby: Lobby,
    guest: Guest,
    stranger: Stranger,
) -> io::Result<()> {
    let mut stranger = Some(stranger);
    let mut handshake = pin!(
        h2::server::Builder::new()
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(limits::HEADER_LIST_BYTES_MAX)
            .max_frame_size(limits::FRAME_BYTES_MAX)
            .initial_window_size(limits::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(strangers::WINDOW_BYTES)
            .data_frame_budget(limits::SMALL_FRAMES_BUDGET)
            .max_send_buffer_size(limits::SEND_BUFFER_BYTES_MAX)
            .max_pending_accept_reset_streams(limits::PENDING_RESET_STREAMS_MAX)
            .max_local_error_reset_streams(Some(limits::LOCAL_RESETS_MAX))
            .handshake::<_, Bytes>(output.clone())
    );
    let flushed_handshake = poll_fn(|cx| {
        let polled = handshake.as_mut().poll(cx);
        if let Poll::Ready(Err(error)) = output.flush(cx) {
            return Poll::Ready(Err(error));
        }
        polled.map(|result| result.map_err(io::Error::other))
    });
    let mut connection = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, flushed_handshake)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let _guest = service.drain().as_ref().map(Drain::enter);
    let mut ending = pin!(end_of(&*service));
    let mut is_ending = false;
    let (turns, place) = (service.turns(), Place::of_stranger());
    let mut patience: Option<Pin<Box<Sleep>>> = None;
    loop {
        let accepted = poll_fn(|cx| {
            if let Some(patience) = &mut patience
                && patience.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Some(Err(h2::Reason::ENHANCE_YOUR_CALM.into())));
            }
            if !is_ending && ending.as_mut().poll(cx).is_ready() {
                is_ending = true;
                connection.graceful_shutdown();
            }
            if let Some(turns) = &turns
                && turns.poll_enter(&place, cx).is_pending()
            {
                return Poll::Pending;
            }
            let is_bounded = stranger.is_some().then_some(strangers::TURN_BYTES_MAX);
            output.begin_turn(is_bounded);
            let polled = connection.poll_accept(cx);
            if polled.is_pending()
                && let Poll::Ready(Err(error)) = output.flush(cx)
            {
                return Poll::Ready(Some(Err(h2_error(error))));
            }
            polled
        });
        let (request, mut respond) = match accepted.await {
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => {
                // What the error made h2 say (GOAWAY and why) leaves before the socket closes.
                let _ = poll_fn(|cx| output.flush(cx)).await;
                return Err(io::Error::other(error));
            }
            None => return poll_fn(|cx| output.flush(cx)).await,
        };
        if stranger.is_some() && service.knows(request.headers(), guest.common_name.as_ref()) {
            stranger = None;
            place.becomes_known();
            connection.set_target_window_size(limits::CONNECTION_WINDOW_BYTES);
        }
        let allowed = Allowed::to(stranger.is_some(), limits, &lobby);
        let mut held = None;
        if let Some(stranger) = &stranger {
            if stranger.is_tiresome() && patience.is_none() {
                connection.graceful_shutdown();
                patience = Some(Box::pin(tokio::time::sleep(limits::HANDSHAKE_TIMEOUT)));
            }
            let head = strangers::head_bytes(request.headers(), request.uri());
            held = match is_grpc(request.headers()) {
                true => stranger.begin(head),
                false => stranger.begin_page(head),
            };
            if held.is_none() {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
                continue;
            }
        }
        if !is_grpc(request.headers()) {
            let service = service.clone();
            let serving = web::serve_http2(request, respond, service, allowed, guest.clone());
            tokio::task::spawn_local(while_held(serving, held));
            continue;
        }
        let Allowed { limits, budget } = allowed;
        let (mut call, shared) = Call::new(request, respond, limits.message_bytes_max, budget);
        call.head.common_name.clone_from(&guest.common_name);
        call.head.from = guest.from;
        let driven = drive(service.clone(), call, shared);
        tokio::task::spawn_local(while_held(driven, held));
    }
}

async fn while_held(serving: impl Future<Output = ()>, held: Option<Held>) {
    serving.await;
    drop(held);
}

/// What somebody may send.
pub(super) struct Allowed {
    pub(super) limits: Limits,
    pub(super) budget: Budget,
}

impl Allowed {
    pub(super) fn to(is_stranger: bool, mut limits: Limits, lobby: &Lobby) -> Allowed {
        let budget = match is_stranger {
            false => lobby.budget.clone(),
            true => {
                let max = limits.message_bytes_max;
                limits.message_bytes_max = max.min(strangers::MESSAGE_BYTES_MAX);
                lobby.strangers_budget.clone()
            }
        };
        Allowed { limits, budget }
    }
}

/// Whether a request is gRPC by what it says of itself; anything else is HTTP.
fn is_grpc(headers: &http::HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE);
    content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"))
}

fn h2_error(error: io::Error) -> h2::Error {
    debug!(error = %Chain(&error), "cannot write to a client");
    h2::Reason::CONNECT_ERROR.into()
}

/// Runs one call to its end: its handler, or the client's reset, or its deadline, whichever is first.
async fn drive<S: Service>(service: Rc<S>, mut call: Call, shared: Shared) {
    match call.check_head() {
        Ok(()) => {}
        Err(Refused::Http(status)) => return shared.finish_http(status),
        Err(Refused::Grpc(status)) => return shared.finish(Err(status)),
    }
    let counted = service.begun(&call.head);
    let began = counted.clock();
    call.count(&counted);
    let mut deadline = call
        .head
        .timeout
        .map(|timeout| Box::pin(tokio::time::sleep(timeout)));
    let is_endless = service.is_endless(call.head.path());
    let result = {
        let mut ending = pin!(end_of(&*service));
        let mut serving = pin!(service.serve(&mut call));
        poll_fn(|cx| {
            if let Poll::Ready(result) = serving.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            if is_endless && ending.as_mut().poll(cx).is_ready() {
                let status = Status::new(Code::Unavailable, "etcdserver: server stopped");
                return Poll::Ready(Err(status));
            }
            if shared.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Status::gone()));
            }
            if let Some(deadline) = &mut deadline
                && deadline.as_mut().poll(cx).is_ready()
            {
                let status = Status::new(Code::DeadlineExceeded, "context deadline exceeded");
                return Poll::Ready(Err(status));
            }
            Poll::Pending
        })
        .await
    };
    counted.ended(
        result.as_ref().err().map_or(Code::Ok, |status| status.code),
        began,
    );
    shared.finish(result);
}
