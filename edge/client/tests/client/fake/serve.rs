//! The sockets of the fake cluster: gRPC by hand on HTTP/2, so that every way to lose an answer can be had.

use super::model::is_in;
use super::{Fault, Shared};
use api::{Code, Method, proto};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, Request, Response};
use prost::Message;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub(crate) async fn listen(member: usize, listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("it listens");
        connections.spawn(connection(member, stream, shared.clone()));
    }
}

async fn connection(member: usize, stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).expect("a socket");
    let cut = Arc::new(Notify::new());
    let (mine, all) = (cut.clone(), shared.clone());
    let serve = async move {
        let mut h2 = h2::server::handshake(stream).await.ok()?;
        let mut requests = tokio::task::JoinSet::new();
        while let Some(Ok((request, respond))) = h2.accept().await {
            requests.spawn(answer(
                member,
                request,
                respond,
                shared.clone(),
                mine.clone(),
            ));
        }
        Some(())
    };
    tokio::select! {
        _ = serve => {}
        () = cut.notified() => {}
        () = all.cut.notified() => {}
    }
}

async fn answer(
    member: usize,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: Arc<Shared>,
    cut: Arc<Notify>,
) {
    let method = Method::of_grpc_path(request.uri().path()).expect("a call of the API");
    let Some(body) = body_of(request.into_body()).await else {
        return;
    };
    shared
        .asked
        .lock()
        .expect("no panic")
        .push((member, method));
    let fault = (shared.script.lock().expect("no panic"))(member, method);
    let mut ends = None;
    match fault {
        Fault::None => {}
        Fault::EndSoon(code) => ends = Some(code),
        Fault::Refuse(code) => return say(&mut respond, Err(code.error("as told"))),
        Fault::LoseRequest => return respond.send_reset(Reason::INTERNAL_ERROR),
        Fault::CutBefore => return cut.notify_waiters(),
        Fault::Stall => return std::future::pending().await,
        Fault::Slow(by) => tokio::time::sleep(by).await,
        Fault::Late(after) => {
            respond.send_reset(Reason::INTERNAL_ERROR);
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                _ = shared.change(|model| model.apply(method, body));
            });
            return;
        }
        Fault::LoseAnswer | Fault::CutAfter | Fault::StallAfter => {
            _ = shared.change(|model| model.apply(method, body));
            match fault {
                Fault::LoseAnswer => respond.send_reset(Reason::INTERNAL_ERROR),
                Fault::CutAfter => cut.notify_waiters(),
                _ => std::future::pending().await,
            }
            return;
        }
    }
    match method {
        Method::Await => {
            let answered = wait(&shared, &body).await;
            say(&mut respond, answered);
        }
        Method::Watch => {
            let request = proto::WatchRequest::decode(body).expect("the client encodes well");
            watch(&shared, &request, &mut respond, ends).await;
        }
        Method::Observe => {
            let request = proto::ObserveRequest::decode(body).expect("the client encodes well");
            observe(&shared, &request, &mut respond, ends).await;
        }
        _ => {
            if let Some(code) = ends {
                return say(&mut respond, Err(code.error("as told")));
            }
            let answered = shared.change(|model| model.apply(method, body));
            say(&mut respond, answered);
        }
    }
}

async fn wait(shared: &Shared, body: &Bytes) -> Result<Bytes, proto::Error> {
    let request = proto::AwaitRequest::decode(&body[..]).expect("the client encodes well");
    let queue = request.queue.unwrap_or_default();
    let until = Instant::now() + Duration::from_millis(request.timeout_ms);
    let mut changed = shared.changed.subscribe();
    loop {
        let (held, header) = {
            let model = shared.model.lock().expect("no panic");
            (model.is_held(&queue, request.token), model.header())
        };
        let is_held = held.ok_or_else(|| Code::StaleToken.error(""))?;
        let left = until.saturating_duration_since(Instant::now());
        if is_held || left.is_zero() {
            let header = Some(header);
            return Ok(proto::AwaitResponse { header, is_held }
                .encode_to_vec()
                .into());
        }
        let _ = tokio::time::timeout(left, changed.changed()).await;
    }
}

/// Tells at most two changes at once, so that a revision may be told in halves.
async fn watch(
    shared: &Shared,
    request: &proto::WatchRequest,
    respond: &mut SendResponse<Bytes>,
    ends: Option<Code>,
) {
    let mut changed = shared.changed.subscribe();
    let keys = request.keys.clone().unwrap_or_default();
    let mut next = {
        let model = shared.model.lock().expect("no panic");
        let start = match request.start_revision {
            0 => model.revision + 1,
            start => start,
        };
        if start < model.compacted {
            let mut error = Code::Compacted.error("");
            error.revision = Some(model.compacted);
            drop(model);
            return say(respond, Err(error));
        }
        model.history.partition_point(|(at, _)| *at < start)
    };
    let Some(mut stream) = open(respond) else {
        return;
    };
    let mut is_first = true;
    loop {
        let answer = {
            let model = shared.model.lock().expect("no panic");
            let mut answer = proto::WatchResponse {
                header: Some(model.header()),
                ..proto::WatchResponse::default()
            };
            while !is_first && answer.events.len() < 2 && next < model.history.len() {
                let (_, event) = &model.history[next];
                next += 1;
                if event.kv.as_ref().is_some_and(|kv| is_in(&keys, &kv.key)) {
                    answer.events.push(event.clone());
                }
            }
            answer.synced_revision = match model.history.get(next) {
                Some((at, _)) => at - 1,
                None => model.revision,
            };
            answer
        };
        if is_first || !answer.events.is_empty() {
            is_first = false;
            if stream
                .send_data(framed(&answer.encode_to_vec()), false)
                .is_err()
            {
                return;
            }
            if let Some(code) = ends {
                _ = stream.send_trailers(trailers_of(&code.error("as told")));
                return;
            }
            // One answer at a time, so that a cut may come between any two.
            tokio::task::yield_now().await;
        } else if wait_for(&mut changed, &mut stream).await.is_none() {
            return;
        }
    }
}

async fn observe(
    shared: &Shared,
    request: &proto::ObserveRequest,
    respond: &mut SendResponse<Bytes>,
    ends: Option<Code>,
) {
    let mut changed = shared.changed.subscribe();
    let queue = request.queue.clone().unwrap_or_default();
    let Some(mut stream) = open(respond) else {
        return;
    };
    loop {
        let answer = {
            let model = shared.model.lock().expect("no panic");
            let standings = model.standings(&queue).into_iter();
            proto::ObserveResponse {
                header: Some(model.header()),
                holders: standings.filter(|it| it.is_held).collect(),
            }
        };
        if stream
            .send_data(framed(&answer.encode_to_vec()), false)
            .is_err()
        {
            return;
        }
        if let Some(code) = ends {
            _ = stream.send_trailers(trailers_of(&code.error("as told")));
            return;
        }
        if wait_for(&mut changed, &mut stream).await.is_none() {
            return;
        }
    }
}

/// Waits for a change, as long as somebody listens.
async fn wait_for(
    changed: &mut tokio::sync::watch::Receiver<u64>,
    stream: &mut SendStream<Bytes>,
) -> Option<()> {
    tokio::select! {
        changed = changed.changed() => changed.ok(),
        _ = poll_fn(|cx| stream.poll_reset(cx)) => None,
    }
}

async fn body_of(mut stream: RecvStream) -> Option<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.ok()?;
        stream.flow_control().release_capacity(chunk.len()).ok()?;
        bytes.extend_from_slice(&chunk);
    }
    (bytes.len() >= 5).then(|| bytes.freeze().slice(5..))
}

fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.len() as u32);
    bytes.extend_from_slice(message);
    bytes.freeze()
}

fn open(respond: &mut SendResponse<Bytes>) -> Option<SendStream<Bytes>> {
    let head = Response::builder().header("content-type", "application/grpc");
    respond
        .send_response(head.body(()).expect("a head"), false)
        .ok()
}

fn say(respond: &mut SendResponse<Bytes>, answered: Result<Bytes, proto::Error>) {
    let Some(mut stream) = open(respond) else {
        return;
    };
    let trailers = match answered {
        Ok(message) => {
            // Whoever asked may be gone.
            let _ = stream.send_data(framed(&message), false);
            HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), 0.into())])
        }
        Err(error) => trailers_of(&error),
    };
    let _ = stream.send_trailers(trailers);
}

fn trailers_of(error: &proto::Error) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let status = error.known().map_or(2, |code| code.grpc() as u8);
    trailers.insert("grpc-status", u16::from(status).into());
    let message = error.message.parse().expect("plain text");
    trailers.insert("grpc-message", message);
    let bytes = STANDARD_NO_PAD.encode(error.encode_to_vec());
    trailers.insert("quorate-error-bin", bytes.parse().expect("base64"));
    trailers
}
