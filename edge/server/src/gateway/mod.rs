//! etcd's API as JSON over HTTP: `POST /v3/kv/put` and the other paths of etcd's gateway.
//!
//! ```text
//!   POST /v3/kv/range   {"key":"YQ=="}
//!      │ paths.rs  which method
//!      │ head.rs   headers → metadata, token, deadline
//!      ▼ requests.rs  JSON → protobuf (front/etcd's tables)
//!   Call ──► Front::serve: the very path of a gRPC call, with its limits, checks and answers
//!      │
//!      ▼ protobuf → JSON
//!   one answer      200 {"header":{…},"kvs":[…]}          or   400 {"code":3,"message":"…"}
//!   a stream        {"result":{…}}\n{"result":{…}}\n …    and  {"error":{"code":…,"message":"…"}}\n if it ends so
//! ```
//!
//! Nothing here knows what a method means. A client that goes away drops its call; one that does not read holds up its
//! own call alone, because an answer is made only when the one before it is on its way.

mod head;
mod paths;
mod requests;

use crate::auth::Asking;
use crate::front::{Ended, Front};
use crate::grpc::limits::UNDERSTOOD_AT_ONCE_BYTES_MAX;
use crate::grpc::{Answers, Call, Code, Content, Exchange, Reply, Status};
use crate::member::Member;
use bytes::Bytes;
use etcd::json::{JsonError, Schema};
use etcd::proto::etcdserverpb::AuthStatusResponse;
use etcd::{Method, Query, Shape};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use prost::Message as _;
use requests::{Bounds, Many, One};
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Streams of a member at a time, of all its clients.
const STREAMS_MAX: usize = 16_384;

/// Answers of one stream that wait for their client.
const LINES_WAITING_MAX: usize = 2;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The gateway of one listener.
#[derive(Default)]
pub(crate) struct Gateway {
    streams: Rc<Cell<usize>>,
}

/// One of the allowed streams.
struct Slot(Rc<Cell<usize>>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Whether a path is the gateway's.
pub(crate) fn is_gateways(path: &str) -> bool {
    path.starts_with("/v3/") || path.starts_with("/v3beta/")
}

/// Who a request to the gateway says that it comes from.
pub(crate) fn asking(headers: &HeaderMap) -> Asking {
    Asking::of_call(&head::metadata(headers), None)
}

/// Whether users and roles count.
pub(crate) fn is_auth_enabled(member: &Member) -> bool {
    let header = member.header();
    let answer = member.with_state(|state| etcd::answer(state, &Query::AuthStatus, &header));
    match answer {
        Ok(etcd::Reply::Whole(answer)) => {
            AuthStatusResponse::decode(answer).is_ok_and(|status| status.enabled)
        }
        _ => false,
    }
}

impl Gateway {
    /// Answers a request to one of the gateway's paths.
    pub(crate) async fn exchange(&self, front: &Front, exchange: Exchange) -> Reply {
        match self.answer(front, exchange).await {
            Ok(response) => Reply::Http(response),
            Err(status) => refusal(&status, HeaderMap::new()),
        }
    }

    async fn answer(&self, front: &Front, exchange: Exchange) -> Result<Response<Content>, Status> {
        let Some(method) = paths::method_at(exchange.parts.uri.path()) else {
            return Err(Status::new(Code::NotFound, "Not Found"));
        };
        if exchange.parts.method != http::Method::POST {
            return Err(Status::new(Code::Unimplemented, "Method Not Allowed"));
        }
        let deadline = head::timeout(&exchange.parts.headers)?;
        let front = Front(front.0.clone());
        if method.shape() == Shape::Unary {
            return single(&front, method, exchange, deadline).await;
        }
        let slot = self.slot()?;
        let (call, answers) = call(&front, method, exchange).await?;
        let (tell, told) = oneshot::channel();
        let stream = Stream {
            front,
            schema: Schema::response(method),
            head: Some(tell),
            _slot: slot,
        };
        tokio::task::spawn_local(stream.run(call, answers, deadline));
        told.await.unwrap_or_else(|_| Err(Status::gone()))
    }

    fn slot(&self) -> Result<Slot, Status> {
        let open = self.streams.get();
        if open >= STREAMS_MAX {
            let text = "quorate: too many streams over HTTP";
            return Err(Status::new(Code::ResourceExhausted, text));
        }
        self.streams.set(open + 1);
        Ok(Slot(self.streams.clone()))
    }
}

/// The call that a request means. One that asks once is read whole first.
async fn call(
    front: &Front,
    method: Method,
    mut exchange: Exchange,
) -> Result<(Call, Answers), Status> {
    let bounds = Bounds {
        message_bytes_max: front.0.config.request_bytes_max + base::limits::REQUEST_OVERHEAD_BYTES,
        list_max: front.0.session.borrow().limits().txn_ops_max,
    };
    let schema = Schema::request(method);
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = http::Method::POST;
    parts.uri = http::Uri::from_static(method.path());
    parts.headers = head::metadata(&exchange.parts.headers);
    let from = exchange.from;
    if method.shape() == Shape::Bidirectional {
        let requests = Many::new(exchange.body, schema, bounds, front.0.turns.clone());
        return Ok(Call::from_elsewhere(parts, from, Box::new(requests)));
    }
    let body = exchange.body().await.map_err(requests::unread)?;
    let bytes_max = exchange.body.bytes_max();
    if body.len() > UNDERSTOOD_AT_ONCE_BYTES_MAX {
        let asking = Asking::of_http(&exchange.parts.headers);
        front.0.await_token(&asking).await;
        let known = front.check_known(method, &asking);
        known.map_err(|refusal| Status::from(Ended::from(refusal)))?;
        front.0.turns.enter().await;
    }
    let message = requests::first(schema, &body, bytes_max, bounds)?;
    Ok(Call::from_elsewhere(
        parts,
        from,
        Box::new(One(Some(message))),
    ))
}

/// One answer. It is no task of its own: a client that goes away drops it.
async fn single(
    front: &Front,
    method: Method,
    exchange: Exchange,
    deadline: Option<Duration>,
) -> Result<Response<Content>, Status> {
    let (mut call, mut answers) = call(front, method, exchange).await?;
    within(deadline, front.serve_elsewhere(&mut call)).await?;
    let message = answers.messages.try_recv();
    let message = message.map_err(|_| Status::new(Code::Internal, "the call has no answer"))?;
    let mut json = Vec::with_capacity(2 * message.len() + 64);
    let schema = Schema::response(method);
    schema.write(&message, &mut json).map_err(untold)?;
    let beside = head::told(&answers.beside.borrow());
    Ok(response(StatusCode::OK, beside, Content::whole(json)))
}

async fn within(
    deadline: Option<Duration>,
    serving: impl Future<Output = Result<(), Status>>,
) -> Result<(), Status> {
    let Some(deadline) = deadline else {
        return serving.await;
    };
    let served = tokio::time::timeout(deadline, serving).await;
    let over = || Status::new(Code::DeadlineExceeded, "context deadline exceeded");
    served.unwrap_or_else(|_| Err(over()))
}

/// The head of a stream's answer, or why there is none.
type Opened = Result<Response<Content>, Status>;

/// A call with many answers.
struct Stream {
    front: Front,
    schema: Schema,
    /// Where the answer's head goes; taken when it went.
    head: Option<oneshot::Sender<Opened>>,
    _slot: Slot,
}

impl Stream {
    /// Serves the call until it ends or its client is gone.
    async fn run(mut self, mut call: Call, mut answers: Answers, deadline: Option<Duration>) {
        let (out, lines) = mpsc::channel(LINES_WAITING_MAX);
        let mut lines = Some(lines);
        let front = Front(self.front.0.clone());
        let mut serving = pin!(within(deadline, front.serve_elsewhere(&mut call)));
        let ended = loop {
            // What was answered goes before the end is looked at.
            let message = tokio::select! {
                biased;
                Some(message) = answers.messages.recv() => message,
                ended = &mut serving => break ended,
                () = self.gone(&out) => return,
            };
            let sent = self.send(&message, &answers, &out, &mut lines).await;
            match sent {
                Ok(true) => {}
                Ok(false) => return,
                Err(status) => break Err(status),
            }
        };
        while let Ok(message) = answers.messages.try_recv() {
            if let Ok(false) | Err(_) = self.send(&message, &answers, &out, &mut lines).await {
                return;
            }
        }
        match (ended, self.head.take()) {
            (Ok(()), None) => {}
            (Err(status), None) => {
                // Whoever is gone does not hear why it ended.
                let _ = out.send(error_line(&status)).await;
            }
            (ended, Some(head)) => {
                let beside = answers.beside.borrow();
                let opened = ended.map(|()| {
                    response(
                        StatusCode::OK,
                        head::told(&beside),
                        Content::whole(Bytes::new()),
                    )
                });
                // The same.
                let _ = head.send(opened.or_else(|status| Ok(early(&status))));
            }
        }
    }

    /// Sends one answer as a line, behind the head if it is the first. Whether somebody listens.
    async fn send(
        &mut self,
        message: &[u8],
        answers: &Answers,
        out: &mpsc::Sender<Bytes>,
        lines: &mut Option<mpsc::Receiver<Bytes>>,
    ) -> Result<bool, Status> {
        let mut line = Vec::with_capacity(2 * message.len() + 64);
        line.extend_from_slice(b"{\"result\":");
        self.schema.write(message, &mut line).map_err(untold)?;
        line.extend_from_slice(b"}\n");
        if let (Some(head), Some(lines)) = (self.head.take(), lines.take()) {
            let beside = head::told(&answers.beside.borrow());
            let response = response(StatusCode::OK, beside, Content::chunks(lines));
            if head.send(Ok(response)).is_err() {
                return Ok(false);
            }
        }
        Ok(out.send(line.into()).await.is_ok())
    }

    /// Waits until nobody listens any more.
    async fn gone(&mut self, out: &mpsc::Sender<Bytes>) {
        match &mut self.head {
            Some(head) => head.closed().await,
            None => out.closed().await,
        }
    }
}

fn response(status: StatusCode, mut headers: HeaderMap, content: Content) -> Response<Content> {
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    let mut response = Response::new(content);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A stream that ended before it began: the same line as later, and a status that says so.
fn early(status: &Status) -> Response<Content> {
    let content = Content::whole(error_line(status));
    response(http_status(status.code), HeaderMap::new(), content)
}

/// The answer that says why there is none.
pub(crate) fn refusal(status: &Status, mut headers: HeaderMap) -> Reply {
    if status.code == Code::Unauthenticated
        && let Ok(challenge) = HeaderValue::from_str(&status.message)
    {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if status.code == Code::Cancelled {
        // What is left of its body will not be read.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let content = Content::whole(error_json(status));
    Reply::Http(response(http_status(status.code), headers, content))
}

fn error_json(status: &Status) -> Vec<u8> {
    let mut json = format!("{{\"code\":{},\"message\":", status.code as u8).into_bytes();
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(&mut json, &status.message);
    json.push(b'}');
    json
}

fn error_line(status: &Status) -> Bytes {
    let line = [b"{\"error\":", &error_json(status)[..], b"}\n"];
    line.concat().into()
}

fn malformed(error: &JsonError) -> Status {
    let code = match error {
        JsonError::TooLarge(_) => Code::ResourceExhausted,
        _ => Code::InvalidArgument,
    };
    Status::new(code, error.to_string())
}

fn untold(error: JsonError) -> Status {
    Status::new(Code::Internal, error.to_string())
}

/// The HTTP status of a code, by gRPC's own map.
fn http_status(code: Code) -> StatusCode {
    let number = match code {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::DeadlineExceeded => 504,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::PermissionDenied => 403,
        Code::Unauthenticated => 401,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    };
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
