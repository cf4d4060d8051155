//! One call: its head, the messages that come in, the messages that go out.
//!
//! The three parts are separate fields, so that a handler of a bidirectional stream can wait for a request
//! and send a reply at the same time.

use super::counts::Counted;
use super::limits::{REPLY_AT_ONCE_BYTES_MAX, REQUEST_TIMEOUT};
use super::message::{Assembler, Budget, check_sent, frame, prefix};
use super::status::{Code, Status, ok_trailers};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// One call.
pub struct Call {
    /// What is called, and what was said about it.
    pub head: Head,
    /// What the client says.
    pub requests: Requests,
    /// What we say.
    pub replies: Replies,
}

/// What is called.
pub struct Head {
    parts: http::request::Parts,
    /// The time that the client gives us, from its `grpc-timeout`.
    pub timeout: Option<Duration>,
    /// The common name in the certificate that the client has shown and that was believed; empty when that has none.
    pub common_name: Option<Rc<str>>,
    /// From where the call comes; nothing where that has no name.
    pub from: Option<SocketAddr>,
}

impl Head {
    /// `/package.Service/Method`.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The call's metadata.
    pub fn metadata(&self) -> &HeaderMap {
        &self.parts.headers
    }
}

impl Call {
    pub(super) fn new(
        request: http::Request<RecvStream>,
        respond: SendResponse<Bytes>,
        message_bytes_max: usize,
        budget: Budget,
    ) -> (Call, Shared) {
        let (parts, body) = request.into_parts();
        let shared = Shared(Rc::new(RefCell::new(Half::Waiting(
            respond,
            HeaderMap::new(),
        ))));
        let call = Call {
            head: Head {
                parts,
                timeout: None,
                common_name: None,
                from: None,
            },
            requests: Requests {
                source: Source::Http2 {
                    body,
                    assembler: Assembler::new(message_bytes_max, budget),
                },
                counted: Counted::default(),
            },
            replies: Replies {
                way: Way::Http2(shared.clone()),
                counted: Counted::default(),
            },
        };
        (call, shared)
    }

    /// Messages of this call are counted from now on.
    pub(crate) fn count(&mut self, counted: &Counted) {
        self.requests.counted = counted.clone();
        self.replies.counted = counted.clone();
    }

    /// A call that does not come as gRPC, but means the same: `parts` have the method's path and the metadata.
    pub(crate) fn from_elsewhere(
        parts: http::request::Parts,
        from: Option<SocketAddr>,
        requests: Box<dyn Messages>,
    ) -> (Call, Answers) {
        // One at a time: what is not taken holds up whoever answers.
        let (sender, messages) = mpsc::channel(1);
        let beside = Rc::new(RefCell::new(HeaderMap::new()));
        let call = Call {
            head: Head {
                parts,
                // A certificate speaks for who holds the connection, and not for whoever asks through it.
                common_name: None,
                timeout: None,
                from,
            },
            requests: Requests {
                source: Source::Elsewhere(requests),
                counted: Counted::default(),
            },
            replies: Replies {
                way: Way::Elsewhere {
                    sender,
                    beside: beside.clone(),
                },
                counted: Counted::default(),
            },
        };
        (call, Answers { messages, beside })
    }

    /// Checks what gRPC demands of a request's headers, and reads its timeout.
    pub(super) fn check_head(&mut self) -> Result<(), Refused> {
        let headers = &self.head.parts.headers;
        if self.head.parts.method != http::Method::POST {
            return Err(Refused::Http(StatusCode::METHOD_NOT_ALLOWED));
        }
        if let Some(encoding) = headers.get(GRPC_ENCODING)
            && encoding != "identity"
        {
            let encoding = String::from_utf8_lossy(encoding.as_bytes());
            let text =
                format!("grpc: Decompressor is not installed for grpc-encoding \"{encoding}\"");
            return Err(Refused::Grpc(Status::new(Code::Unimplemented, text)));
        }
        if let Some(timeout) = headers.get(GRPC_TIMEOUT) {
            let Some(timeout) = parse_timeout(timeout.as_bytes()) else {
                let status = Status::new(Code::Internal, "malformed grpc-timeout");
                return Err(Refused::Grpc(status));
            };
            self.head.timeout = Some(timeout);
        }
        Ok(())
    }
}

/// Why a call did not reach its handler.
pub(super) enum Refused {
    /// It is not gRPC.
    Http(StatusCode),
    /// It is, and its head is wrong.
    Grpc(Status),
}

/// `grpc-timeout`: at most eight digits and a unit.
pub(crate) fn parse_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// What the client says.
pub struct Requests {
    source: Source,
    counted: Counted,
}

enum Source {
    Http2 {
        body: RecvStream,
        assembler: Assembler,
    },
    Elsewhere(Box<dyn Messages>),
}

/// Requests that do not come as gRPC.
pub(crate) trait Messages {
    /// The next message, or nothing when the client has said all.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>>;
}

/// What is answered to a call that did not come as gRPC.
pub(crate) struct Answers {
    /// The messages. Dropping it tells the call that its client is gone.
    pub(crate) messages: mpsc::Receiver<Bytes>,
    /// What was said beside them.
    pub(crate) beside: Rc<RefCell<HeaderMap>>,
}

impl Requests {
    /// The next message, or nothing when the client has said all.
    ///
    /// # Errors
    /// The message is refused, or the client is gone.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`Requests::next`], for handlers that wait for several things.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        let (body, assembler) = match &mut self.source {
            Source::Http2 { body, assembler } => (body, assembler),
            Source::Elsewhere(messages) => {
                let next = messages.poll_next(cx);
                if let Poll::Ready(Ok(Some(message))) = &next {
                    self.counted.received(message.len());
                }
                return next;
            }
        };
        loop {
            if let Some(message) = assembler.next_message()? {
                self.counted.received(message.len());
                return Poll::Ready(Ok(Some(message)));
            }
            match ready!(body.poll_data(cx)) {
                Some(Ok(chunk)) => {
                    // What is kept is bounded by the assembler, so the window opens again at once. An
                    // error here means that the stream is gone, which the next poll will say.
                    let _ = body.flow_control().release_capacity(chunk.len());
                    assembler.push(chunk);
                }
                Some(Err(_)) => return Poll::Ready(Err(Status::gone())),
                None if assembler.is_empty() => return Poll::Ready(Ok(None)),
                None => {
                    let status = Status::new(Code::Internal, "unexpected EOF");
                    return Poll::Ready(Err(status));
                }
            }
        }
    }

    /// The one message of a unary call.
    ///
    /// # Errors
    /// There is none, it is refused or does not come in time, or the client is gone.
    pub async fn only(&mut self) -> Result<Bytes, Status> {
        let missing = || Status::new(Code::Internal, "the request has no message");
        // Most have it with them, and need no timer.
        let at_once = poll_fn(|cx| Poll::Ready(self.poll_next(cx))).await;
        if let Poll::Ready(message) = at_once {
            return message?.ok_or_else(missing);
        }
        let in_time = tokio::time::timeout(REQUEST_TIMEOUT, self.next()).await;
        let late = |_| Status::new(Code::DeadlineExceeded, "the request's message did not come");
        in_time.map_err(late)??.ok_or_else(missing)
    }
}

/// What we say.
pub struct Replies {
    way: Way,
    counted: Counted,
}

enum Way {
    Http2(Shared),
    Elsewhere {
        sender: mpsc::Sender<Bytes>,
        beside: Rc<RefCell<HeaderMap>>,
    },
}

impl Replies {
    /// The reply of a unary call.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn reply(&mut self, message: Bytes) -> Result<(), Status> {
        if let Way::Http2(shared) = &self.way
            && message.len() <= REPLY_AT_ONCE_BYTES_MAX
        {
            self.counted.sent(message.len());
            let framed = frame(&message);
            return shared.with(|half| half.send_now(framed));
        }
        self.send(message).await
    }

    /// One message of a stream. Waits until the client's window has room for it.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn send(&mut self, message: Bytes) -> Result<(), Status> {
        check_sent(message.len())?;
        self.counted.sent(message.len());
        let shared = match &self.way {
            Way::Http2(shared) => shared,
            Way::Elsewhere { sender, .. } => {
                return sender.send(message).await.map_err(|_| Status::gone());
            }
        };
        if message.len() <= 4096 {
            return shared.write(frame(&message)).await;
        }
        // Too large to copy for the sake of five bytes.
        let prefix = Bytes::copy_from_slice(&prefix(message.len()));
        shared.write(prefix).await?;
        shared.write(message).await
    }

    /// Says something beside the messages, in the answer's headers; nothing when those are sent already.
    pub fn tell(&mut self, words: HeaderMap) {
        match &self.way {
            Way::Http2(shared) => shared.with(|half| {
                if let Half::Waiting(_, beside) = half {
                    beside.extend(words);
                }
            }),
            Way::Elsewhere { beside, .. } => beside.borrow_mut().extend(words),
        }
    }

    /// Sends the headers, so that a client of a stream knows that it stands before the first message.
    ///
    /// # Errors
    /// The client is gone.
    pub fn open(&mut self) -> Result<(), Status> {
        match &self.way {
            Way::Http2(shared) => shared.with(|half| half.open().map(|_| ())),
            // Its head says whether the call works at all, so it waits for the first message.
            Way::Elsewhere { .. } => Ok(()),
        }
    }
}

/// The outgoing half, shared by the handler and by the driver that watches for the client's reset.
#[derive(Clone)]
pub(super) struct Shared(Rc<RefCell<Half>>);

enum Half {
    /// No header was sent yet; these are to be sent beside our own.
    Waiting(SendResponse<Bytes>, HeaderMap),
    /// Headers were sent.
    Open(h2::SendStream<Bytes>),
    /// The end was sent.
    Closed,
}

impl Shared {
    fn with<T>(&self, action: impl FnOnce(&mut Half) -> T) -> T {
        action(&mut self.0.borrow_mut())
    }

    /// Writes as the client's window has room.
    async fn write(&self, mut bytes: Bytes) -> Result<(), Status> {
        self.with(|half| {
            half.open()
                .map(|stream| stream.reserve_capacity(bytes.len()))
        })?;
        while !bytes.is_empty() {
            let room = poll_fn(|cx| self.with(|half| half.poll_room(cx))).await?;
            let part = bytes.split_to(room.min(bytes.len()));
            self.with(|half| half.send_now(part))?;
        }
        Ok(())
    }

    /// Ready when the client has reset the stream or is gone.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|half| match half {
            Half::Waiting(respond, _) => respond.poll_reset(cx).map(|_| ()),
            Half::Open(stream) => stream.poll_reset(cx).map(|_| ()),
            Half::Closed => Poll::Ready(()),
        })
    }

    /// Ends the call.
    pub(super) fn finish(&self, result: Result<(), Status>) {
        self.with(|half| {
            if result.is_ok() && matches!(half, Half::Waiting(..)) {
                // A stream without a message is still a stream; an error here is the client's absence.
                let _ = half.open();
            }
            match std::mem::replace(half, Half::Closed) {
                Half::Waiting(mut respond, beside) => {
                    let mut response = Response::new(());
                    let headers = response.headers_mut();
                    headers.extend(beside);
                    headers.insert(header::CONTENT_TYPE, GRPC);
                    if let Err(status) = result {
                        status.write(headers);
                    }
                    let _ = respond.send_response(response, true);
                }
                Half::Open(mut stream) => {
                    let trailers = match result {
                        Ok(()) => ok_trailers(),
                        Err(status) => status.trailers(),
                    };
                    let _ = stream.send_trailers(trailers);
                }
                Half::Closed => {}
            }
        });
    }

    /// Ends a call that is not gRPC.
    pub(super) fn finish_http(&self, status: StatusCode) {
        self.with(|half| {
            if let Half::Waiting(mut respond, _) = std::mem::replace(half, Half::Closed) {
                let mut response = Response::new(());
                *response.status_mut() = status;
                let _ = respond.send_response(response, true);
            }
        });
    }
}

impl Half {
    fn open(&mut self) -> Result<&mut h2::SendStream<Bytes>, Status> {
        if let Half::Waiting(respond, beside) = self {
            let mut response = Response::new(());
            response.headers_mut().extend(std::mem::take(beside));
            response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
            let stream = respond
                .send_response(response, false)
                .map_err(|_| Status::gone())?;
            *self = Half::Open(stream);
        }
        match self {
            Half::Open(stream) => Ok(stream),
            _ => Err(Status::gone()),
        }
    }

    fn send_now(&mut self, bytes: Bytes) -> Result<(), Status> {
        self.open()?
            .send_data(bytes, false)
            .map_err(|_| Status::gone())
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Status>> {
        let stream = self.open()?;
        loop {
            let room = stream.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Status::gone())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that never says what it wants.
    struct Silence;

    impl Messages for Silence {
        fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_message_does_not_come_is_not_waited_for_for_ever() {
        let mut requests = Requests {
            source: Source::Elsewhere(Box::new(Silence)),
            counted: Counted::default(),
        };
        let late = requests.only().await.expect_err("nothing came");
        assert_eq!(late.code, Code::DeadlineExceeded);
    }

    #[test]
    fn a_timeout_has_at_most_eight_digits_and_a_unit() {
        assert_eq!(parse_timeout(b"5S"), Some(Duration::from_secs(5)));
        assert_eq!(
            parse_timeout(b"4999821u"),
            Some(Duration::from_micros(4_999_821))
        );
        assert_eq!(
            parse_timeout(b"99999999H").map(|d| d.as_secs()),
            Some(359_999_996_400)
        );
        for bad in [&b""[..], b"S", b"5", b"5s", b"123456789S", b"-1S", b"1.5S"] {
            assert_eq!(parse_timeout(bad), None, "{bad:?}");
        }
    }
}
