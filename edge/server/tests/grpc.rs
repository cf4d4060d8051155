//! The transport against a plain HTTP/2 client: what it accepts, what it refuses and in which words.
//!
//! No store and no member stands behind it, only a service that echoes, streams, waits or fails.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use quorate_server::grpc::{
    self, Call, Code, Drain, Events, Exchange, Limits, Page, Reply, Service, Status, frame,
};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Long enough for any machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

const CLIENT_WINDOW: u32 = 1 << 20;

const MESSAGE_BYTES_MAX: usize = 3_000_000;

#[derive(Default)]
struct Probe {
    sent: Cell<usize>,
    dropped: Cell<usize>,
    streams: Rc<Cell<usize>>,
    /// Whether only those are known who show a token.
    has_users: Cell<bool>,
    drain: Rc<Drain>,
}

struct CountsDrop<'a>(&'a Cell<usize>);

impl Drop for CountsDrop<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

impl Service for Probe {
    async fn serve(&self, call: &mut Call) -> Result<(), Status> {
        match call.head.path() {
            "/t/echo" => {
                let message = call.requests.only().await?;
                call.replies.reply(message).await
            }
            "/t/echoes" => {
                while let Some(message) = call.requests.next().await? {
                    call.replies.send(message).await?;
                }
                Ok(())
            }
            "/t/flood" => loop {
                call.replies.send(Bytes::from(vec![0; 10_000])).await?;
                self.sent.set(self.sent.get() + 1);
            },
            "/t/never" => {
                let _counted = CountsDrop(&self.dropped);
                std::future::pending().await
            }
            "/t/fails" => Err(Status::new(Code::NotFound, "no such thing: 100%")),
            _ => Err(Status::new(Code::Unimplemented, "unknown service t")),
        }
    }

    fn knows(&self, headers: &HeaderMap, _common_name: Option<&Rc<str>>) -> bool {
        !self.has_users.get() || headers.contains_key("token")
    }

    fn drain(&self) -> Option<Rc<Drain>> {
        Some(self.drain.clone())
    }

    async fn exchange(&self, mut exchange: Exchange) -> Reply {
        let keeps = exchange.parts.method == "POST";
        let path = exchange.parts.uri.path().to_owned();
        let page = match (exchange.parts.method.as_str(), path.as_str()) {
            ("GET", "/health") => Page::json(200, "{\"health\":\"true\"}"),
            ("POST", "/echo") => match exchange.body().await {
                Ok(body) => Page::text(200, String::from_utf8(body.to_vec()).unwrap()),
                Err(error) => Page::text(413, error.to_string()),
            },
            ("POST", "/flood") => {
                let (sender, events) = Events::new();
                let counted = self.streams.clone();
                tokio::task::spawn_local(async move {
                    let _counted = CountsDrop(&counted);
                    while sender.send(Some("n"), b"{}").await.is_ok() {}
                });
                return Reply::Events(events);
            }
            _ => Page::not_found(),
        };
        Reply::Page { page, keeps }
    }
}

/// Runs `test` against a fresh service on a port that the kernel chose.
fn with_server<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr, Rc<Probe>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let probe = Rc::new(Probe::default());
        let limits = Limits {
            message_bytes_max: MESSAGE_BYTES_MAX,
            ..Limits::default()
        };
        tokio::task::spawn_local(grpc::serve(listener, probe.clone(), limits));
        let ran = tokio::time::timeout(PATIENCE, test(address, probe)).await;
        ran.expect("in time");
    });
}

/// Waits until `condition` holds; the world's only clock here is the scheduler.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(address).await.unwrap();
    // The connection's window also decides how many small frames the client is willing to hold.
    let (client, connection) = h2::client::Builder::new()
        .initial_connection_window_size(CLIENT_WINDOW)
        .handshake(socket)
        .await
        .unwrap();
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    client
}

fn request(path: &str) -> http::request::Builder {
    Request::post(format!("http://t{path}")).header("content-type", "application/grpc")
}

struct Answer {
    http: u16,
    body: Vec<u8>,
    trailers: HeaderMap,
}

impl Answer {
    fn status(&self) -> (&str, &str) {
        let text = |name| {
            let value = self.trailers.get(name);
            value.map_or("", |value| value.to_str().unwrap())
        };
        (text("grpc-status"), text("grpc-message"))
    }
}

async fn finish(response: h2::client::ResponseFuture) -> Answer {
    let (head, mut stream) = response.await.unwrap().into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.unwrap();
        stream.flow_control().release_capacity(chunk.len()).unwrap();
        body.extend_from_slice(&chunk);
    }
    let trailers = stream.trailers().await.unwrap().unwrap_or(head.headers);
    Answer {
        http: head.status.as_u16(),
        body,
        trailers,
    }
}

async fn call(client: &SendRequest<Bytes>, head: http::request::Builder, body: Bytes) -> Answer {
    let mut client = client.clone().ready().await.unwrap();
    let (response, mut stream) = client.send_request(head.body(()).unwrap(), false).unwrap();
    // A call that is refused early may be reset before all of its body is taken.
    let _ = stream.send_data(body, true);
    finish(response).await
}

#[test]
fn a_unary_call_gets_its_reply_and_a_status() {
    with_server(|address, _| async move {
        let client = connect(address).await;
        for size in [0, 1, 100, 70_000, 2_900_000] {
            let message = vec![b'x'; size];
            let answer = call(&client, request("/t/echo"), frame(&message)).await;
            assert_eq!(answer.http, 200);
            assert_eq!(answer.status(), ("0", ""));
            assert!(answer.body == frame(&message), "{size} bytes come back");
        }
    });
}

#[test]
fn many_calls_share_a_connection() {
    with_server(|address, _| async move {
        let client = connect(address).await;
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..500_u32 {
            let client = client.clone();
            calls.spawn_local(async move {
                let message = number.to_le_bytes();
                let answer = call(&client, request("/t/echo"), frame(&message)).await;
                assert_eq!(answer.body, frame(&message));
            });
        }
        while let Some(result) = calls.join_next().await {
            result.unwrap();
        }
    });
}

#[test]
fn a_refusal_is_a_status_without_a_body() {
    with_server(|address, _| async move {
        let client = connect(address).await;
        let answer = call(&client, request("/t/fails"), frame(b"")).await;
        assert_eq!(answer.status(), ("5", "no such thing: 100%25"));
        assert!(answer.body.is_empty());
        let answer = call(&client, request("/t/unheard-of"), frame(b"")).await;
        assert_eq!(answer.status(), ("12", "unknown service t"));
    });
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_length_alone() {
    with_server(|address, _| async move {
        let client = connect(address).await;
        let prefix = Bytes::from_static(&[0, 0, 0x2d, 0xc6, 0xc1]); // 3,000,001
        let answer = call(&client, request("/t/echo"), prefix).await;
        let text = "grpc: received message larger than max (3000001 vs. 3000000)";
        assert_eq!(answer.status(), ("8", text));
    });
}

#[test]
fn what_is_not_plain_grpc_is_refused_clearly() {
    with_server(|address, _| async move {
        let client = connect(address).await;
        let gzip = request("/t/echo").header("grpc-encoding", "gzip");
        let answer = call(&client, gzip, frame(b"")).await;
        let text = "grpc: Decompressor is not installed for grpc-encoding \"gzip\"";
        assert_eq!(answer.status(), ("12", text));
        let answer = call(
            &client,
            request("/t/echo"),
            Bytes::from_static(&[1, 0, 0, 0, 0]),
        )
        .await;
        assert_eq!(answer.status().0, "13");
        let answer = call(&client, request("/t/echo"), Bytes::from_static(&[0, 0, 0])).await;
        assert_eq!(answer.status(), ("13", "unexpected EOF"));
        let get = Request::get("http://t/t/echo").header("content-type", "application/grpc");
        assert_eq!(call(&client, get, Bytes::new()).await.http, 405);
    });
}

#[test]
fn what_is_no_grpc_is_http_over_http2_as_well() {
    with_server(|address, probe| async move {
        let client = connect(address).await;
        let post = || Request::post("http://t/echo").header("content-type", "application/json");
        for size in [0, 1, 100_000, 2 * MESSAGE_BYTES_MAX] {
            let answer = call(&client, post(), Bytes::from(vec![b'x'; size])).await;
            assert_eq!((answer.http, answer.body.len()), (200, size));
            assert_eq!(answer.trailers["content-length"], size.to_string());
        }
        let large = call(
            &client,
            post(),
            vec![b'x'; 2 * MESSAGE_BYTES_MAX + 1].into(),
        )
        .await;
        assert_eq!(large.http, 413);
        let get = call(&client, Request::get("http://t/health"), Bytes::new()).await;
        assert_eq!(
            (get.http, &get.body[..]),
            (200, &b"{\"health\":\"true\"}"[..])
        );
        let head = call(&client, Request::head("http://t/nothing"), Bytes::new()).await;
        assert_eq!((head.http, &head.body[..]), (404, &b""[..]));

        // A stream of events costs no more than its client reads, and ends with it.
        let mut other = client.clone().ready().await.unwrap();
        let flood = Request::post("http://t/flood").body(()).unwrap();
        let (response, _) = other.send_request(flood, true).unwrap();
        let (head, mut stream) = response.await.unwrap().into_parts();
        assert_eq!(head.headers["content-type"], "text/event-stream");
        let first = stream.data().await.unwrap().unwrap();
        assert!(first.starts_with(b"event: n\ndata: {}\n\n"));
        assert_eq!(probe.streams.get(), 0);
        drop(stream);
        until(|| probe.streams.get() == 1).await;
        let answer = call(&client, request("/t/echo"), frame(b"me")).await;
        assert_eq!(answer.body, frame(b"me"));
    });
}

#[test]
fn a_deadline_ends_the_call_and_drops_its_handler() {
    with_server(|address, probe| async move {
        let client = connect(address).await;
        let head = request("/t/never").header("grpc-timeout", "20m");
        let answer = call(&client, head, frame(b"")).await;
        assert_eq!(answer.status(), ("4", "context deadline exceeded"));
        assert_eq!(probe.dropped.get(), 1);
    });
}

#[test]
fn a_client_that_cancels_or_leaves_drops_its_handlers() {
    with_server(|address, probe| async move {
        let client = connect(address).await;
        let mut ready = client.clone().ready().await.unwrap();
        let head = || request("/t/never").body(()).unwrap();
        let (_response, mut stream) = ready.send_request(head(), false).unwrap();
        stream.send_data(frame(b""), true).unwrap();
        call(&client, request("/t/echo"), frame(b"")).await; // the server has seen the first by now
        stream.send_reset(h2::Reason::CANCEL);
        until(|| probe.dropped.get() == 1).await;

        let socket = TcpStream::connect(address).await.unwrap();
        let (mut other, connection) = h2::client::handshake(socket).await.unwrap();
        let driver = tokio::task::spawn_local(connection);
        let (response, _stream) = other.send_request(head(), true).unwrap();
        call(&other, request("/t/echo"), frame(b"")).await;
        driver.abort();
        drop(response);
        until(|| probe.dropped.get() == 2).await;
    });
}

#[test]
fn a_bidirectional_stream_answers_while_it_is_asked() {
    with_server(|address, _| async move {
        let mut client = connect(address).await.ready().await.unwrap();
        let head = request("/t/echoes").body(()).unwrap();
        let (response, mut stream) = client.send_request(head, false).unwrap();
        stream.send_data(frame(b"first"), false).unwrap();
        let mut replies = response.await.unwrap().into_body();
        assert_eq!(replies.data().await.unwrap().unwrap(), frame(b"first"));
        stream.send_data(frame(b"second"), true).unwrap();
        assert_eq!(replies.data().await.unwrap().unwrap(), frame(b"second"));
        assert!(replies.data().await.is_none());
        assert_eq!(
            replies.trailers().await.unwrap().unwrap()["grpc-status"],
            "0"
        );
    });
}

#[test]
fn a_client_that_does_not_read_stops_its_stream_and_no_other() {
    with_server(|address, probe| async move {
        let client = connect(address).await;
        let mut ready = client.clone().ready().await.unwrap();
        let head = request("/t/flood").body(()).unwrap();
        let (response, _stream) = ready.send_request(head, true).unwrap();
        let unread = response.await.unwrap();
        // The window of one stream (64 KiB) is what the stream may take, and our buffer.
        let mut before = usize::MAX;
        while before != probe.sent.get() {
            before = probe.sent.get();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let sent = probe.sent.get() * 10_000;
        let bound = 65_535 + grpc::limits::SEND_BUFFER_BYTES_MAX + 20_000;
        assert!(sent <= bound, "{sent} bytes were produced for nobody");
        let other = connect(address).await;
        let answer = call(&other, request("/t/echo"), frame(b"me")).await;
        assert_eq!(answer.body, frame(b"me"));
        drop(unread);
    });
}

#[test]
fn a_stranger_has_few_calls_at_a_time_until_it_is_known() {
    const AT_ONCE: usize = 32;
    with_server(|address, probe| async move {
        probe.has_users.set(true);
        let client = connect(address).await;
        let mut under_way = Vec::new();
        for _ in 0..AT_ONCE {
            let mut ready = client.clone().ready().await.unwrap();
            let head = request("/t/never").body(()).unwrap();
            under_way.push(ready.send_request(head, true).unwrap());
        }
        let mut ready = client.clone().ready().await.unwrap();
        let head = || request("/t/echo").body(()).unwrap();
        let (refused, _stream) = ready.send_request(head(), false).unwrap();
        let refused = refused.await.expect_err("one too many");
        assert_eq!(refused.reason(), Some(h2::Reason::REFUSED_STREAM));
        // Others do not suffer for it, and who says who it is may have as many as anybody.
        let other = connect(address).await;
        call(&other, request("/t/echo"), frame(b"me")).await;
        for _ in 0..2 {
            let known = request("/t/echo").header("token", "mine");
            let answer = call(&client, known, frame(b"me")).await;
            assert_eq!(answer.status().0, "0");
        }
        let answer = call(&client, request("/t/echo"), frame(b"still known")).await;
        assert_eq!(answer.status().0, "0");
        drop(under_way);
    });
}

#[test]
fn a_strangers_message_is_small_and_that_of_one_who_is_known_is_not() {
    with_server(|address, probe| async move {
        probe.has_users.set(true);
        let client = connect(address).await;
        let small = call(&client, request("/t/echo"), frame(&[7; 60_000])).await;
        assert_eq!((small.status().0, small.body.len()), ("0", 60_005));
        let large = call(&client, request("/t/echo"), frame(&[7; 100_000])).await;
        let text = "grpc: received message larger than max (100000 vs. 65536)";
        assert_eq!(large.status(), ("8", text));
        let known = request("/t/echo").header("token", "mine");
        let large = call(&client, known, frame(&[7; 2_900_000])).await;
        assert_eq!((large.status().0, large.body.len()), ("0", 2_900_005));

        let length = "a".repeat(200_000);
        let post = |token: &str| {
            format!(
                "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}Content-Length: 200000\r\n\r\n{length}"
            )
        };
        let refused = spoken(address, post("").as_bytes()).await;
        assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
        let taken = spoken(address, post("Token: mine\r\n").as_bytes()).await;
        assert!(taken.starts_with("HTTP/1.1 200"), "{}", &taken[..200]);
    });
}

#[test]
fn a_stranger_that_asks_and_asks_is_told_to_go() {
    with_server(|address, probe| async move {
        probe.has_users.set(true);
        let mut client = connect(address).await;
        let mut n = 0_u32;
        // The end of the connection is announced, so no call is lost by it.
        while let Ok(ready) = client.clone().ready().await {
            let answer = call(&ready, request("/t/fails"), frame(b"")).await;
            assert_eq!(answer.status().0, "5");
            n += 1;
            assert!(n < 5000, "it may ask for ever");
            client = ready;
        }
        assert!(n >= 1000, "{n} calls are few");
    });
}

#[test]
fn a_kept_connection_of_http1_ends_with_the_service() {
    with_server(|address, probe| async move {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let post = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nme";
        socket.write_all(post).await.unwrap();
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        probe.drain.begin();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        assert!(rest.ends_with(b"me"));
        probe.drain.emptied().await;
    });
}

async fn spoken(address: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A refused client may be cut off with a reset once it has its answer.
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn http1_gets_the_pages_and_a_clear_word_otherwise() {
    with_server(|address, _| async move {
        let health = spoken(
            address,
            b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert!(health.starts_with("HTTP/1.1 200 OK\r\n"), "{health}");
        assert!(health.ends_with("{\"health\":\"true\"}"), "{health}");
        let none = spoken(address, b"GET /nothing HTTP/1.1\r\n\r\n").await;
        assert!(
            none.starts_with("HTTP/1.1 404 ") && none.contains("gRPC"),
            "{none}"
        );
        let garbage = spoken(address, b"\x16\x03\x01 hello\r\n\r\n").await;
        assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
        let endless = [b"GET /".to_vec(), vec![b'a'; 10_000]].concat();
        let endless = spoken(address, &endless).await;
        assert!(endless.starts_with("HTTP/1.1 4"), "{endless}");
    });
}

#[test]
fn http1_bodies_are_bounded_however_they_come_and_connections_are_kept() {
    with_server(|address, _| async move {
        let post = |length: usize, body: &str| {
            let head =
                format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
            [head.as_bytes(), body.as_bytes()].concat()
        };
        let twice = [post(5, "hello"), post(3, "you")].concat();
        let twice = [&twice[..], b"GET /health HTTP/1.1\r\n\r\n"].concat();
        let twice = spoken(address, &twice).await;
        for part in ["hello", "you", "{\"health\""] {
            assert!(twice.contains(part), "{twice}");
        }
        // Its length alone is enough to be refused; nothing of it was sent.
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(&post(1 << 40, "")).await.unwrap();
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413");
        let chunk = format!("{:x}\r\n{}\r\n", 60_000, "a".repeat(60_000));
        let chunked = format!(
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
            chunk.repeat(2 * MESSAGE_BYTES_MAX / 60_000 + 1)
        );
        let mut socket = TcpStream::connect(address).await.unwrap();
        let (mut reading, mut writing) = socket.split();
        let write = async {
            // It is cut off on the way.
            let _ = writing.write_all(chunked.as_bytes()).await;
        };
        let read = async {
            reading.read_exact(&mut answer).await.unwrap();
        };
        tokio::join!(write, read);
        assert_eq!(&answer, b"HTTP/1.1 413");
    });
}

#[test]
fn events_wait_for_a_client_that_does_not_read_and_end_when_it_is_gone() {
    with_server(|address, probe| async move {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = b"POST /flood HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
        socket.write_all(head).await.unwrap();
        let mut answer = vec![0; 4096];
        socket.read_exact(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.contains("text/event-stream") && text.contains("event: n\ndata: {}\n\n"));
        assert_eq!(probe.streams.get(), 0);
        drop(socket);
        while probe.streams.get() == 0 {
            tokio::task::yield_now().await;
        }
    });
}
