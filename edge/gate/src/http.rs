//! A gate for a service that speaks HTTP: a proxy in front of one upstream that refuses stale tokens.
//!
//! ```text
//!  a, token 33 (paused) ─┐            per resource, one at a time:
//!                        ├──► proxy   newest? ─► durable ─► forward ─► whole answer ──► upstream
//!  b, token 34 ──────────┘      │
//!                               └── 409 {"error":"stale-token","token":"33","newest":"34"}
//! ```
//!
//! A request carries `Fencing-Token: 34` and names its resource: with `Fencing-Resource`, or by the first segments
//! of its path ([`Naming`]). Without a token a method that may write is refused with 428, and a safe one (`GET`,
//! `HEAD`, `OPTIONS`) goes through unchecked. With a token every method is checked.
//!
//! # Why one at a time
//!
//! Check and write must be one atomic step, and the write happens in another process. If the proxy checked and
//! forwarded without more, then a request with token 33 could be admitted, be delayed on its way, and land after one
//! with 34. So a resource is *taken* from the check until the upstream's answer has ended: while 33 is under way, 34
//! waits. A client that goes away does not release the resource, since its request is still under way. Requests
//! without a token, and those of other resources, wait for nobody. The body is read before the resource is
//! taken, so that a slow client makes nobody wait either.
//!
//! A higher token is durable ([`crate::file`]) before the request leaves: after a restart the proxy still knows
//! it. The file is held by one proxy at a time; a second one with the same file does not start.
//!
//! # Limits
//!
//! [`Limits`] bounds heads, bodies, answers, connections, times and the number of resources. When there are
//! too many resources, a new one is refused with 507; an old one is never forgotten, since forgetting opens the gate.
//!
//! # What still can go wrong
//!
//! * A way to the upstream past the proxy, or a second proxy with a file of its own.
//! * An upstream that goes on working on a request after its connection broke or timed out: the answer is then 502 or
//!   504 with `"error":"unknown-outcome"`, the resource is released, and the old request may land late. Give the
//!   upstream a deadline that is shorter than [`Limits::upstream_time_max`]. The same holds for one that
//!   answers first and writes later, and for requests under way when the proxy is killed.
//! * With [`Naming::Header`] a client that names a resource that it does not write. By path it cannot.
//! * A client that sends a token that nobody gave it: the largest locks all others out. The proxy does not know
//!   who may hold a lock; keep strangers away from it. It speaks plain HTTP/1.1.

mod answer;
mod forward;
mod remember;
mod request;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::file::FileError;
use answer::Answer;
use forward::Upstream;
use remember::Newest;
use request::Checked;

/// The header with the token, in decimal.
pub const TOKEN_HEADER: &str = "fencing-token";

/// The header with the resource, for [`Naming::Header`].
pub const RESOURCE_HEADER: &str = "fencing-resource";

/// Bytes of a resource's name: visible ASCII. A name is a key, not a document.
pub const RESOURCE_BYTES_MAX: usize = 256;

/// How a request names its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// With the header `Fencing-Resource`. The client is believed.
    Header,
    /// By so many first segments of its path: with 2, `/jobs/7/log` is of `/jobs/7`. Paths that an upstream might
    /// read in two ways are refused: those segments may only have letters, digits and `-._~`, and no path
    /// may have empty or dot segments, or slashes in disguise.
    Path {
        /// How many segments, at least 1.
        n_segments: usize,
    },
}

/// Every limit of the proxy.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's line and headers; hyper refuses less than 8 KiB.
    pub head_bytes_max: usize,
    /// Headers of a request.
    pub headers_max: usize,
    /// Time for a request's head, and for its body.
    pub request_time_max: Duration,
    /// Bytes of a request's body: it is held in memory until the resource is free.
    pub body_bytes_max: usize,
    /// Bytes of the answer to a request with a token: it is held in memory until it has ended.
    pub answer_bytes_max: usize,
    /// Time for the upstream, from connecting to the answer's end (without a token: to its beginning).
    pub upstream_time_max: Duration,
    /// Connections at a time, each with one to the upstream; more wait in the system's queue. Twice as many file
    /// descriptors must be allowed.
    pub connections_max: usize,
    /// Resources that are remembered. The file is written as a whole for each higher token.
    pub resources_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes_max: 16 << 10,
            headers_max: 64,
            request_time_max: Duration::from_secs(30),
            body_bytes_max: 1 << 20,
            answer_bytes_max: 4 << 20,
            upstream_time_max: Duration::from_secs(30),
            connections_max: 256,
            resources_max: 10_000,
        }
    }
}

/// What a proxy needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the upstream listens.
    pub upstream: SocketAddr,
    /// The file with the newest tokens. Its directory must exist.
    pub state: PathBuf,
    /// How a request names its resource.
    pub naming: Naming,
    /// Every limit.
    pub limits: Limits,
}

/// Why a proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file with the newest tokens cannot be held, read or written.
    #[error("cannot take over the newest tokens")]
    State(#[from] FileError),
    /// The file is one of ours, but not of a proxy.
    #[error("{} does not hold a proxy's tokens: line {line}", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The line of its data, counted from 1.
        line: usize,
    },
    /// A limit or a number of segments that cannot be kept.
    #[error("{name} must be at least {least}")]
    TooSmall {
        /// Which.
        name: &'static str,
        /// The least that works.
        least: usize,
    },
}

/// A proxy in front of one upstream.
#[derive(Clone, Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    naming: Naming,
    limits: Limits,
    upstream: Upstream,
    newest: Newest,
}

impl Proxy {
    /// Takes over the newest tokens from the file, and holds it until the proxy is dropped.
    ///
    /// # Errors
    /// When another proxy holds the file, or it cannot be read or written.
    pub fn open(config: Config) -> Result<Proxy, StartError> {
        let Config {
            upstream,
            state,
            naming,
            limits,
        } = config;
        if limits.head_bytes_max < 8 << 10 {
            let (name, least) = ("head_bytes_max", 8 << 10);
            return Err(StartError::TooSmall { name, least });
        }
        if naming == (Naming::Path { n_segments: 0 }) {
            let (name, least) = ("n_segments", 1);
            return Err(StartError::TooSmall { name, least });
        }
        let newest = Newest::open(state, limits.resources_max)?;
        let upstream = Upstream::new(upstream, limits);
        Ok(Proxy {
            shared: Arc::new(Shared {
                naming,
                limits,
                upstream,
                newest,
            }),
        })
    }

    /// Serves the connections of `listener` until the future is dropped or accepting fails for good. Requests
    /// that are already on their way to the upstream then still go there as long as the runtime lives.
    ///
    /// # Errors
    /// What accepting says, unless it is about one connection alone.
    pub async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        let limits = self.shared.limits;
        let slots = Arc::new(Semaphore::new(limits.connections_max));
        // Dropping the set with this future ends the connections.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await;
            let (stream, _) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => return Err(error),
            };
            while connections.try_join_next().is_some() {}
            let shared = Arc::clone(&self.shared);
            connections.spawn(async move {
                let _slot = slot;
                let service = service_fn(move |request| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, std::convert::Infallible>(shared.answer(request).await) }
                });
                // What a client does wrong on its connection is its own affair; hyper has answered it.
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(limits.request_time_max)
                    .max_headers(limits.headers_max)
                    .max_buf_size(limits.head_bytes_max)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }
}

impl Shared {
    async fn answer(self: Arc<Shared>, request: request::Incoming) -> http::Response<answer::Body> {
        match self.filter(request).await {
            Ok(response) => response,
            Err(answer) => answer.into_response(),
        }
    }

    async fn filter(
        self: Arc<Shared>,
        request: request::Incoming,
    ) -> Result<http::Response<answer::Body>, Answer> {
        let checked = request::check(request, self.naming, &self.limits).await?;
        let (gated, request) = match checked {
            Checked::Ungated(request) => return self.upstream.stream(request).await,
            Checked::Gated(gated, request) => (gated, request),
        };
        // Here a client that goes away leaves the queue: nothing of its request has happened yet.
        let taken = self.newest.take(&gated.resource).await?;
        // From here on it has, perhaps. A task of its own keeps the resource until the upstream is done, even
        // if the client does not wait for it.
        let task = tokio::spawn(async move {
            let _taken = self.newest.admit(taken, gated).await?;
            self.upstream.whole(request).await
        });
        task.await.unwrap_or(Err(Answer::UnknownOutcome))
    }
}

/// Errors of `accept` that say that a connection died in the queue. Others (no file descriptors: `connections_max`
/// is too high for this process) are for whoever started us to decide.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
