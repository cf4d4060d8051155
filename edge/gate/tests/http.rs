//! The gate in front of an HTTP service, on loopback: a real proxy, a real upstream, bare sockets for clients.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Actor, ROLE, say};
use quorate_gate::http::{Config, Limits, Naming, Proxy, StartError};
use quorate_gate::{Stale, Token};

/// How long the upstream waits for a request that must not come. Not a time that anything must keep: with the gate
/// it only makes the test slow, without it the request comes at once.
const PATIENCE: Duration = Duration::from_millis(400);

/// An answer or a request: its first line, headers with lower-case names, body.
#[derive(Clone, Debug)]
struct Message {
    first: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Message {
    fn read(stream: &TcpStream) -> Option<Message> {
        let mut reader = BufReader::new(stream);
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            line.strip_suffix("\r\n").map(str::to_owned)
        };
        let first = line()?;
        let mut headers = BTreeMap::new();
        loop {
            let line = line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).unwrap();
        Some(Message {
            first,
            headers,
            body,
        })
    }

    fn status(&self) -> u16 {
        self.first.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// What the upstream keeps, and what it has been told, in the order in which it happened.
#[derive(Default)]
struct Kept {
    values: BTreeMap<String, String>,
    history: Vec<(Token, String)>,
}

/// A service without any idea of tokens: the last `PUT` wins. A body that begins with `slow` waits.
struct Upstream {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    /// Every body that has arrived, before anything is done with it.
    arrivals: Receiver<String>,
}

impl Upstream {
    fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (arrived, arrivals) = channel();
        // Shared by all: a slow request waits until another one arrives, or it has waited enough.
        let (other, others) = channel();
        let others = Arc::new(Mutex::new(others));
        let all = Arc::clone(&kept);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (kept, arrived) = (Arc::clone(&all), arrived.clone());
                let (other, others) = (other.clone(), Arc::clone(&others));
                std::thread::spawn(move || {
                    serve(stream.unwrap(), &kept, &arrived, &other, &others)
                });
            }
        });
        Upstream {
            address,
            kept,
            arrivals,
        }
    }

    fn value(&self, path: &str) -> Option<String> {
        self.kept.lock().unwrap().values.get(path).cloned()
    }
}

fn serve(
    mut stream: TcpStream,
    kept: &Mutex<Kept>,
    arrived: &Sender<String>,
    other: &Sender<()>,
    others: &Mutex<Receiver<()>>,
) {
    let Some(request) = Message::read(&stream) else {
        return;
    };
    let mut words = request.first.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let _ = arrived.send(request.body.clone());
    if request.body.starts_with("slow") {
        let _ = others.lock().unwrap().recv_timeout(PATIENCE);
    }
    let answer = match method {
        "PUT" => {
            let mut kept = kept.lock().unwrap();
            kept.values.insert(path.to_owned(), request.body.clone());
            if let Some(token) = request.headers.get("fencing-token") {
                kept.history
                    .push((token.parse().unwrap(), request.body.clone()));
            }
            "done".to_owned()
        }
        _ => kept
            .lock()
            .unwrap()
            .values
            .get(path)
            .cloned()
            .unwrap_or_default(),
    };
    if !request.body.starts_with("slow") {
        let _ = other.send(());
    }
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}",
        answer.len()
    );
}

/// A proxy in a thread of its own, until it is dropped.
struct Running {
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

fn config(upstream: SocketAddr, state: &Path) -> Config {
    Config {
        upstream,
        state: state.to_path_buf(),
        naming: Naming::Header,
        limits: Limits::default(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

impl Running {
    fn start(config: Config) -> Running {
        let (told, address) = channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                let proxy = Proxy::open(config).unwrap();
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    served = proxy.serve(listener) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        let address = address.recv().unwrap();
        Running {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().unwrap().join();
    }
}

fn send(to: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    let length = body.len();
    // The proxy may refuse, and close, before it has read everything.
    let _ = write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream
}

fn ask(to: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Message {
    Message::read(&send(to, method, path, headers, body)).unwrap()
}

fn fence(resource: &str, token: u64) -> String {
    format!("Fencing-Resource: {resource}\r\nFencing-Token: {token}\r\n")
}

fn put(to: SocketAddr, resource: &str, token: u64, value: &str) -> Message {
    ask(
        to,
        "PUT",
        &format!("/{resource}"),
        &fence(resource, token),
        value,
    )
}

const STALE: &str = "{\"error\":\"stale-token\",\"token\":\"33\",\"newest\":\"34\"}\n";

#[test]
fn a_late_writer_overwrites_without_the_gate_and_not_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();

    // Without: the holder of 33 wakes up after 34 has written, and b's data is gone.
    put(upstream.address, "plain", 34, "b");
    put(upstream.address, "plain", 33, "a, late");
    assert_eq!(upstream.value("/plain").unwrap(), "a, late");

    // With.
    let proxy = Running::start(config(upstream.address, &directory.path().join("newest")));
    assert_eq!(put(proxy.address, "jobs", 33, "a").status(), 200);
    let answer = put(proxy.address, "jobs", 34, "b");
    assert_eq!((answer.status(), answer.body.as_str()), (200, "done"));
    let late = put(proxy.address, "jobs", 33, "a, late");
    assert_eq!((late.status(), late.body.as_str()), (409, STALE));
    assert_eq!(late.headers["content-type"], "application/json");
    assert_eq!(upstream.value("/jobs").unwrap(), "b");
    assert_eq!(put(proxy.address, "jobs", 34, "b again").status(), 200);
    assert_eq!(upstream.value("/jobs").unwrap(), "b again");
    // Another resource has seen nothing, and a read without a token is nobody's business.
    assert_eq!(put(proxy.address, "other", 1, "c").status(), 200);
    assert_eq!(ask(proxy.address, "GET", "/jobs", "", "").body, "b again");
    // A read with a stale token says that the lock is lost.
    assert_eq!(
        ask(proxy.address, "GET", "/jobs", &fence("jobs", 33), "").status(),
        409
    );
}

/// Sends an old request that takes its time at the upstream, then a new one: what is left?
fn an_old_request_under_way(to: SocketAddr, upstream: &Upstream, is_client_gone: bool) -> String {
    let old = send(to, "PUT", "/jobs", &fence("jobs", 33), "slow, old");
    assert_eq!(upstream.arrivals.recv().unwrap(), "slow, old");
    let old = if is_client_gone {
        drop(old);
        None
    } else {
        Some(old)
    };
    assert_eq!(put(to, "jobs", 34, "new").status(), 200);
    if let Some(old) = old {
        assert_eq!(Message::read(&old).unwrap().status(), 200);
    }
    upstream.value("/jobs").unwrap()
}

#[test]
fn an_admitted_request_cannot_land_after_a_newer_one() {
    for is_client_gone in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let upstream = Upstream::start();
        let proxy = Running::start(config(upstream.address, &directory.path().join("newest")));
        let left = an_old_request_under_way(proxy.address, &upstream, is_client_gone);
        assert_eq!(left, "new", "client gone: {is_client_gone}");
    }
    // Without the gate it lands late.
    let upstream = Upstream::start();
    assert_eq!(
        an_old_request_under_way(upstream.address, &upstream, false),
        "slow, old"
    );
}

#[test]
fn a_restart_remembers_and_a_second_proxy_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("newest");
    let upstream = Upstream::start();
    let proxy = Running::start(config(upstream.address, &state));
    assert_eq!(put(proxy.address, "jobs", 34, "b").status(), 200);
    let second = Proxy::open(config(upstream.address, &state)).unwrap_err();
    assert!(matches!(second, StartError::State(_)), "{second}");
    drop(proxy);
    let proxy = Running::start(config(upstream.address, &state));
    assert_eq!(put(proxy.address, "jobs", 33, "a, late").body, STALE);
    assert_eq!(upstream.value("/jobs").unwrap(), "b");
}

/// Not a test of its own: a proxy to kill.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let (upstream, state) = role.split_once(' ').unwrap();
    let proxy = Running::start(config(upstream.parse().unwrap(), Path::new(state)));
    say(&proxy.address.to_string());
    // Until the parent ends this.
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_proxy_remembers_what_it_has_forwarded() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let role = format!(
        "{} {}",
        upstream.address,
        directory.path().join("newest").display()
    );
    for round in 0..8 {
        let mut actor = Actor::start("child", &role);
        let address = actor.hear().unwrap().parse().unwrap();
        let token = 33 + round;
        assert_eq!(put(address, "jobs", token, "b").status(), 200);
        actor.kill();
        let mut actor = Actor::start("child", &role);
        let address = actor.hear().unwrap().parse().unwrap();
        assert_eq!(
            put(address, "jobs", token - 1, "a, late").status(),
            409,
            "round {round}"
        );
        assert_eq!(upstream.value("/jobs").unwrap(), "b");
    }
}

#[test]
fn what_is_missing_or_doubtful_is_refused_and_nothing_is_forwarded() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let proxy = Running::start(config(upstream.address, &directory.path().join("newest")));
    let refused = |headers: &str, status: u16, word: &str| {
        for method in ["PUT", "POST", "PATCH", "DELETE", "FROBNICATE"] {
            let answer = ask(proxy.address, method, "/jobs", headers, "x");
            assert_eq!(
                answer.status(),
                status,
                "{method} {headers:?}: {}",
                answer.body
            );
            let word = format!("\"error\":\"{word}\"");
            assert!(answer.body.contains(&word), "{}", answer.body);
        }
    };
    refused("", 428, "token-required");
    refused("Fencing-Resource: jobs\r\n", 428, "token-required");
    refused("Fencing-Token: 34\r\n", 400, "resource-required");
    refused(
        "Fencing-Resource: a b\r\nFencing-Token: 34\r\n",
        400,
        "resource-malformed",
    );
    refused(
        "Fencing-Resource: jobs\r\nFencing-Token: +34\r\n",
        400,
        "token-malformed",
    );
    let twice = format!("{}Fencing-Token: 35\r\n", fence("jobs", 34));
    refused(&twice, 400, "token-malformed");
    assert_eq!(upstream.value("/jobs"), None);
}

#[test]
fn every_limit_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut config = config(upstream.address, &directory.path().join("newest"));
    config.limits.body_bytes_max = 1000;
    config.limits.answer_bytes_max = 1000;
    config.limits.resources_max = 2;
    let proxy = Running::start(config.clone());
    assert_eq!(put(proxy.address, "a", 1, &"x".repeat(1000)).status(), 200);
    assert_eq!(put(proxy.address, "a", 1, &"y".repeat(1001)).status(), 413);
    assert_eq!(upstream.value("/a").unwrap(), "x".repeat(1000));
    let long = format!("X-Long: {}\r\n", "x".repeat(100_000));
    assert_eq!(ask(proxy.address, "GET", "/a", &long, "").status(), 431);
    let many = "X-Many: 1\r\n".repeat(200);
    assert_eq!(ask(proxy.address, "GET", "/a", &many, "").status(), 431);
    // A third resource is refused, also after a restart; those that are known are not forgotten for it.
    assert_eq!(put(proxy.address, "b", 34, "b").status(), 200);
    assert_eq!(put(proxy.address, "c", 1, "c").status(), 507);
    drop(proxy);
    let proxy = Running::start(config);
    assert_eq!(put(proxy.address, "c", 1, "c").status(), 507);
    assert_eq!(put(proxy.address, "b", 33, "late").status(), 409);
    assert_eq!(upstream.value("/c"), None);
}

#[test]
fn an_upstream_that_is_gone_or_silent_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    // Bound and dropped: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let proxy = Running::start(config(nobody, &directory.path().join("a")));
    let answer = put(proxy.address, "jobs", 34, "x");
    assert_eq!(answer.status(), 502);
    assert!(
        answer.body.contains("upstream-unreachable"),
        "{}",
        answer.body
    );

    // It takes the request and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(silent.local_addr().unwrap(), &directory.path().join("b"));
    config.limits.upstream_time_max = PATIENCE;
    let proxy = Running::start(config);
    let answer = put(proxy.address, "jobs", 34, "x");
    assert_eq!(answer.status(), 504);
    assert!(answer.body.contains("unknown-outcome"), "{}", answer.body);
}

#[test]
fn by_path_the_client_has_no_say_in_the_name() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut config = config(upstream.address, &directory.path().join("newest"));
    config.naming = Naming::Path { n_segments: 2 };
    let proxy = Running::start(config);
    let put = |path: &str, token: u64| {
        ask(
            proxy.address,
            "PUT",
            path,
            &fence("mine", token),
            &token.to_string(),
        )
        .status()
    };
    assert_eq!(put("/jobs/7/state?x=1", 34), 200);
    assert_eq!(put("/jobs/7/log", 33), 409);
    assert_eq!(put("/jobs/8/log", 33), 200);
    for path in [
        "/jobs",
        "/jobs/8/../7/state",
        "/jobs/%37/state",
        "//jobs/7",
        "/jobs/8/%2e%2e/7",
    ] {
        assert_eq!(put(path, 33), 400, "{path}");
    }
    assert_eq!(upstream.value("/jobs/7/state?x=1").unwrap(), "34");
}

#[test]
fn of_concurrent_writers_the_newest_token_wins() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let proxy = Running::start(config(upstream.address, &directory.path().join("newest")));
    let address = proxy.address;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            std::thread::spawn(move || {
                for (n, token) in common::tokens(writer, 25).into_iter().enumerate() {
                    let status =
                        put(address, "jobs", token.get(), &format!("{writer}.{n}")).status();
                    assert!(matches!(status, 200 | 409), "{status}");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let all: Vec<Token> = (0..4)
        .flat_map(|writer| common::tokens(writer, 25))
        .collect();
    let history = upstream.kept.lock().unwrap().history.clone();
    let newest = history.iter().map(|(token, _)| *token).max().unwrap();
    common::judge(&history, &all, &(newest, upstream.value("/jobs").unwrap()));
}

struct Service {
    upstream: Upstream,
    state: PathBuf,
    proxy: Option<Running>,
    newest: BTreeMap<String, Token>,
}

impl common::Resource for Service {
    fn write(&mut self, resource: &str, token: Token, value: &str) -> Result<(), Stale> {
        let proxy = self.proxy.as_ref().unwrap().address;
        let answer = put(proxy, resource, token.get(), value);
        if answer.status() == 200 {
            self.newest.insert(resource.to_owned(), token);
            return Ok(());
        }
        assert_eq!(answer.status(), 409);
        let words: Vec<&str> = answer.body.split('"').collect();
        let (token, newest) = (words[7].parse().unwrap(), words[11].parse().unwrap());
        Err(Stale { token, newest })
    }

    fn look(&mut self, resource: &str) -> Option<(Token, String)> {
        let value = self.upstream.value(&format!("/{resource}"))?;
        Some((self.newest[resource], value))
    }

    fn reopen(&mut self) {
        self.proxy = None;
        self.proxy = Some(Running::start(config(self.upstream.address, &self.state)));
    }
}

#[test]
fn it_agrees_with_the_model() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let state = directory.path().join("newest");
    let proxy = Some(Running::start(config(upstream.address, &state)));
    let newest = BTreeMap::new();
    common::agrees_with_the_model(&mut Service {
        upstream,
        state,
        proxy,
        newest,
    });
}
