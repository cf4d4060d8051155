//! Honest clients: requests at a fixed rate, whatever the answers take, and now and then somebody new.
//!
//! ```text
//!   every 5 ms     a put or a get, on one of four connections that stand      measured from when it was due
//!   every 250 ms   a new connection: TLS, HTTP/2, a get                       measured from its first packet
//! ```
//!
//! A client that waits for one answer before it asks again would ask less of a slow server and so flatter it; these do
//! not. Everything is spoken by hand over `h2`: what is measured is the server and not a client library.

use super::house::{HONEST, PASSWORD, PREFIX};
use bytes::Bytes;
use h2::client::SendRequest;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;

/// Connections that stand.
const LINES: usize = 4;
/// Between two requests: 200 a second.
const EVERY: Duration = Duration::from_millis(5);
/// Between two newcomers.
const NEW_EVERY: Duration = Duration::from_millis(250);
/// A request without an answer for so long has failed.
const ANSWER: Duration = Duration::from_secs(5);
/// Keys that are written, again and again: history stays small.
const KEYS: u64 = 64;

/// A field of protobuf's with bytes, shorter than 128.
pub(super) fn field(number: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut out = vec![number << 3 | 2, value.len() as u8];
    out.extend_from_slice(value);
    out
}

/// One connection.
#[derive(Clone)]
pub(super) struct Line {
    send: SendRequest<Bytes>,
    authority: String,
}

impl Line {
    /// Connects: TCP, TLS, HTTP/2.
    pub(super) async fn open(at: SocketAddr, tls: &Arc<ClientConfig>) -> Result<Line, String> {
        let opened = async {
            let tcp = TcpStream::connect(at).await.map_err(|e| e.to_string())?;
            tcp.set_nodelay(true).map_err(|e| e.to_string())?;
            let name = ServerName::from(at.ip());
            let sealed = TlsConnector::from(tls.clone())
                .connect(name, tcp)
                .await
                .map_err(|e| format!("TLS: {e}"))?;
            let (send, connection) = h2::client::handshake(sealed)
                .await
                .map_err(|e| format!("HTTP/2: {e}"))?;
            spawn_local(async move {
                // Whoever asks on it hears of its end.
                let _ = connection.await;
            });
            Ok(Line {
                send,
                authority: at.to_string(),
            })
        };
        timeout(ANSWER, opened)
            .await
            .unwrap_or_else(|_| Err(format!("no connection in {ANSWER:?}")))
    }

    /// One unary call.
    pub(super) async fn ask(
        &self,
        path: &str,
        token: Option<&str>,
        message: &[u8],
    ) -> Result<Bytes, String> {
        timeout(ANSWER, self.call(path, token, message))
            .await
            .unwrap_or_else(|_| Err(format!("no answer in {ANSWER:?}")))
    }

    async fn call(&self, path: &str, token: Option<&str>, message: &[u8]) -> Result<Bytes, String> {
        let mut request = http::Request::post(format!("https://{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(token) = token {
            request = request.header("token", token);
        }
        let request = request.body(()).map_err(|e| e.to_string())?;
        let mut send = self.send.clone().ready().await.map_err(|e| e.to_string())?;
        let (answer, mut body) = send
            .send_request(request, false)
            .map_err(|e| e.to_string())?;
        let mut framed = vec![0];
        framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
        framed.extend_from_slice(message);
        body.send_data(framed.into(), true)
            .map_err(|e| e.to_string())?;
        let answer = answer.await.map_err(|e| e.to_string())?;
        let (head, mut body) = answer.into_parts();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(|e| e.to_string())?;
            // If the stream is gone, the next piece says so.
            let _ = body.flow_control().release_capacity(chunk.len());
            bytes.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await.map_err(|e| e.to_string())?;
        let end = trailers.as_ref().unwrap_or(&head.headers);
        let said = |name| end.get(name).and_then(|value| value.to_str().ok());
        match said("grpc-status") {
            Some("0") => Ok(Bytes::from(bytes.split_off(bytes.len().min(5)))),
            status => Err(format!(
                "{} status {status:?}: {}",
                head.status,
                said("grpc-message").unwrap_or_default()
            )),
        }
    }
}

/// What honest clients met.
#[derive(Clone, Debug, Default)]
pub(super) struct Met {
    /// How long requests took, sorted.
    pub(super) waits: Vec<Duration>,
    /// How long it took newcomers to be served, sorted.
    pub(super) newcomers: Vec<Duration>,
    /// Why requests failed.
    pub(super) failed: Vec<String>,
}

impl Met {
    /// The wait that `share` per cent of requests did not exceed.
    pub(super) fn percentile(&self, share: usize) -> Duration {
        let at = self.waits.len().saturating_sub(1) * share / 100;
        self.waits.get(at).copied().unwrap_or_default()
    }

    /// The slowest newcomer.
    pub(super) fn slowest_newcomer(&self) -> Duration {
        self.newcomers.last().copied().unwrap_or_default()
    }
}

/// Honest clients of one member.
pub(super) struct Honest {
    lines: Vec<Line>,
    at: SocketAddr,
    tls: Arc<ClientConfig>,
    token: Rc<str>,
}

impl Honest {
    /// They connect and say who they are.
    pub(super) async fn come(at: SocketAddr, tls: &Arc<ClientConfig>) -> Result<Honest, String> {
        let mut lines = Vec::new();
        for _ in 0..LINES {
            lines.push(Line::open(at, tls).await?);
        }
        let credentials = [field(1, HONEST), field(2, PASSWORD)].concat();
        let path = "/etcdserverpb.Auth/Authenticate";
        let answer = lines[0].ask(path, None, &credentials).await?;
        Ok(Honest {
            lines,
            at,
            tls: tls.clone(),
            token: token_of(&answer).ok_or("no token")?.into(),
        })
    }

    /// Asks for so long.
    pub(super) async fn ask(&self, time: Duration) -> Met {
        let met = Rc::new(RefCell::new(Met::default()));
        let began = Instant::now();
        let mut asked = Vec::new();
        for n in 0_u32.. {
            let due = began + EVERY * n;
            if due - began >= time {
                break;
            }
            sleep_until(due).await;
            let line = self.lines[n as usize % LINES].clone();
            let (token, met_here) = (self.token.clone(), met.clone());
            asked.push(spawn_local(async move {
                let answered = one(&line, &token, u64::from(n)).await;
                let mut met = met_here.borrow_mut();
                match answered {
                    Ok(()) => met.waits.push(due.elapsed()),
                    Err(why) => met.failed.push(why),
                }
            }));
            if n.is_multiple_of((NEW_EVERY.as_millis() / EVERY.as_millis()) as u32) {
                let (at, tls, token, met) =
                    (self.at, self.tls.clone(), self.token.clone(), met.clone());
                asked.push(spawn_local(async move {
                    let served = async { one(&Line::open(at, &tls).await?, &token, 1).await };
                    let served = served.await;
                    let mut met = met.borrow_mut();
                    match served {
                        Ok(()) => met.newcomers.push(due.elapsed()),
                        Err(why) => met.failed.push(format!("a newcomer: {why}")),
                    }
                }));
            }
        }
        for one in asked {
            // It has written down how it ended.
            let _ = one.await;
        }
        let mut met = met.take();
        met.waits.sort_unstable();
        met.newcomers.sort_unstable();
        met
    }
}

/// An even number puts, an odd one gets.
async fn one(line: &Line, token: &str, n: u64) -> Result<(), String> {
    let key = field(1, format!("{PREFIX}{}", n / 2 % KEYS));
    let (path, message) = match n % 2 {
        0 => {
            let value = field(2, n.to_string());
            ("/etcdserverpb.KV/Put", [key, value].concat())
        }
        _ => ("/etcdserverpb.KV/Range", key),
    };
    line.ask(path, Some(token), &message).await.map(drop)
}

/// The second field of an answer whose first is a header.
fn token_of(answer: &[u8]) -> Option<String> {
    let header_bytes = usize::from(*answer.get(1)?);
    let rest = answer.get(2 + header_bytes..)?;
    let token = rest.get(2..2 + usize::from(*rest.get(1)?))?;
    String::from_utf8(token.to_vec()).ok()
}
