//! The client itself: how it is made, what it remembers, and how it asks.

use crate::error::{Code, Error, Result};
use crate::login::User;
use crate::read::{Consistency, Freshness};
use crate::sessions::Sessions;
use crate::tls::Tls;
use crate::transport::{Answered, Failure, Kind, Transport};
use api::{Method, SessionToken, proto};
use clock::guard::DriftBound;
use prost::Message;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant as Timer;

/// For how long a request is tried, unless it says otherwise.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long the leases of write sessions live without a sign of life.
const SESSION_TTL: Duration = Duration::from_secs(30);
/// By how much two clocks are believed to differ in speed, in millionths. One in a hundred is far more than quartz and
/// time daemons do, and costs a lock of 10 s only 0.2 s.
const DRIFT_PPM: u32 = 10_000;
/// Numbered writes of one client that may be under way at once; each needs a session of its own.
const WRITES_MAX: usize = 16;

/// A connection to a cluster. Cheap to clone; all clones share channels, sessions and what has been seen.
///
/// ```no_run
/// # async fn story() -> quorate::Result<()> {
/// let q = quorate::Client::builder()
///     .endpoints(["127.0.0.1:2379", "127.0.0.1:22379"])
///     .connect()
///     .await?;
/// q.put("/app/colour", "green").await?;
/// let got = q.get("/app/colour").await?;
/// println!("{:?}, read {}", got.kv, got.freshness);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    pub(crate) core: Arc<Core>,
    pub(crate) sessions: Arc<Sessions>,
}

/// What background tasks share with the client. It owns no task itself, so that nothing keeps itself alive.
pub(crate) struct Core {
    pub(crate) transport: Transport,
    pub(crate) runtime: Handle,
    pub(crate) drift: DriftBound,
    deadline: Duration,
    consistency: Consistency,
    seen: Mutex<Option<SessionToken>>,
}

/// How a client is to be.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    endpoints: Vec<String>,
    deadline: Duration,
    attempt: Option<Duration>,
    session_ttl: Duration,
    drift_ppm: u32,
    writes_max: usize,
    consistency: Consistency,
    tls: Option<Tls>,
    user: Option<User>,
}

impl Builder {
    /// Where members listen: `host:port`, `http://host:port` or `https://host:port`. Give several: each is asked in turn.
    /// `host:port` alone is TLS when [`Builder::tls`] is given.
    pub fn endpoints<E: Into<String>>(mut self, endpoints: impl IntoIterator<Item = E>) -> Builder {
        self.endpoints.extend(endpoints.into_iter().map(Into::into));
        self
    }

    /// For how long a request is tried before its error is given; 5 s unless said otherwise.
    pub fn deadline(mut self, deadline: Duration) -> Builder {
        self.deadline = deadline;
        self
    }

    /// How long one member may take before the next one is asked; a third of the deadline unless said otherwise.
    pub fn attempt(mut self, attempt: Duration) -> Builder {
        self.attempt = Some(attempt);
        self
    }

    /// How long the leases of write sessions live without a sign of life; 30 s unless said otherwise. After that long
    /// without contact a write of unknown outcome cannot be asked again.
    pub fn session_ttl(mut self, ttl: Duration) -> Builder {
        self.session_ttl = ttl;
        self
    }

    /// By how much clocks are trusted to differ in speed, in millionths; 10,000 unless said otherwise, at most 100,000.
    /// Holders of locks stop so much before the cluster lets go.
    pub fn drift_ppm(mut self, ppm: u32) -> Builder {
        self.drift_ppm = ppm;
        self
    }

    /// How many numbered writes may be under way at once; 16 unless said otherwise. More wait.
    pub fn writes_max(mut self, n_writes: usize) -> Builder {
        self.writes_max = n_writes.max(1);
        self
    }

    /// How fresh reads are that do not say it; linearizable unless said otherwise.
    pub fn consistency(mut self, consistency: Consistency) -> Builder {
        self.consistency = consistency;
        self
    }

    /// Whom to believe, and what to show, over TLS.
    pub fn tls(mut self, tls: Tls) -> Builder {
        self.tls = Some(tls);
        self
    }

    /// Who asks, where members want to know. The password is sent to members alone; over TLS, nobody else can read it.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Builder {
        self.user = Some(User {
            name: name.into(),
            password: password.into(),
        });
        self
    }

    /// A client that opens connections when they are needed. Must be called within a tokio runtime, on which
    /// leases are kept alive and guards that are dropped give back what they held.
    ///
    /// # Errors
    /// Q1001: an endpoint is no address, a file of [`Builder::tls`] cannot be used, the drift bound is beyond belief, or this is no runtime.
    pub fn connect_lazily(self) -> Result<Client> {
        let malformed = |why: String| Error::definite(Code::Malformed, why);
        let runtime = Handle::try_current().map_err(|error| malformed(error.to_string()))?;
        let drift = DriftBound::from_ppm(self.drift_ppm)
            .ok_or_else(|| malformed(format!("a drift of {} ppm", self.drift_ppm)))?;
        let attempt = self.attempt.unwrap_or(self.deadline / 3);
        let transport = Transport::new(&self.endpoints, self.tls.as_ref(), attempt, self.user)
            .map_err(malformed)?;
        let core = Core {
            transport,
            runtime,
            drift,
            deadline: self.deadline,
            consistency: self.consistency,
            seen: Mutex::new(None),
        };
        let core = Arc::new(core);
        let sessions = Sessions::new(core.clone(), self.session_ttl, self.writes_max);
        Ok(Client {
            core,
            sessions: Arc::new(sessions),
        })
    }

    /// A client that has reached a member.
    ///
    /// # Errors
    /// As [`Builder::connect_lazily`], and Q7001 when no member could be reached within the deadline.
    pub async fn connect(self) -> Result<Client> {
        let client = self.connect_lazily()?;
        match client.now().await {
            Err(error) if error.is(Code::NotConnected) => Err(error),
            // Somebody took the connection: what they say is for the first request to hear.
            _ => Ok(client),
        }
    }
}

impl Client {
    /// How a client is to be; begin here.
    pub fn builder() -> Builder {
        Builder {
            endpoints: Vec::new(),
            deadline: DEADLINE,
            attempt: None,
            session_ttl: SESSION_TTL,
            drift_ppm: DRIFT_PPM,
            writes_max: WRITES_MAX,
            consistency: Consistency::Linearizable,
            tls: None,
            user: None,
        }
    }

    /// The endpoints as they were given.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.core.transport.names()
    }

    /// How far this client has seen, over all its answers. Give it to whoever must see at least as much: they
    /// [`observe`](Client::observe) it, and read with [`Consistency::Session`].
    pub fn token(&self) -> Option<SessionToken> {
        self.core.token()
    }

    /// From now on, [`Consistency::Session`] sees at least what `token` has seen.
    pub fn observe(&self, token: SessionToken) {
        self.core.observe(token);
    }

    /// Ends the sessions of this client, so that they need not be waited for. Without it they end on their own, after
    /// their time to live. Sessions of writes with an unknown outcome are left, so that the writes can be asked again.
    pub async fn close(self) {
        self.sessions.close().await;
    }
}

impl Core {
    pub(crate) fn token(&self) -> Option<SessionToken> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn observe(&self, token: SessionToken) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some(seen.map_or(token, |before| before.join(token)));
    }

    /// The newest revision that this client knows.
    pub(crate) fn revision_floor(&self) -> u64 {
        self.token().map_or(0, |token| token.revision().0)
    }

    /// What can be said without an answer: no level, and how far this client has seen.
    pub(crate) fn freshness_seen(&self) -> Freshness {
        Freshness {
            revision: self.revision_floor(),
            token: self.token(),
            ..Freshness::of(proto::Header::default())
        }
    }

    /// What an answer's header says, remembered.
    pub(crate) fn saw(&self, header: Option<proto::Header>) -> Freshness {
        let header = header.unwrap_or_default();
        if let Ok(token) = header.session.parse() {
            self.observe(token);
        }
        Freshness::of(header)
    }

    /// When a request that begins now must have its answer.
    pub(crate) fn until(&self, timeout: Option<Duration>) -> Timer {
        Timer::now() + timeout.unwrap_or(self.deadline)
    }

    /// The consistency of a read as the messages say it.
    pub(crate) fn consistency(&self, wanted: Option<Consistency>) -> proto::Consistency {
        wanted.unwrap_or(self.consistency).message(self.token())
    }

    /// A read, or something that changes nothing.
    pub(crate) async fn read<Q, A>(
        &self,
        method: Method,
        request: &Q,
        timeout: Option<Duration>,
    ) -> Result<A>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let asked = self
            .transport
            .call(method, request, Kind::Read, self.until(timeout));
        match asked.await {
            Ok(answered) => Ok(answered.answer),
            Err(failure) => Err(Error::refused(failure.error)),
        }
    }

    /// A write that means the same the second time.
    pub(crate) async fn repeat<Q, A>(
        &self,
        method: Method,
        request: &Q,
        until: Timer,
    ) -> Result<Answered<A>>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let floor = self.revision_floor();
        let asked = self
            .transport
            .call(method, request, Kind::Repeatable, until);
        asked.await.map_err(|mut failure| {
            // To renew what is not there does nothing, whatever became of the attempts before.
            let is_nothing = failure.error.known() == Some(Code::LeaseNotFound);
            failure.maybe_applied &= !(method == Method::Renew && is_nothing);
            failure.into_error(floor)
        })
    }
}

impl Failure {
    /// The error of a request without a number. A refusal answers its own attempt only: one before it may have been
    /// applied, and be the very reason of the refusal.
    pub(crate) fn into_error(self, revision_floor: u64) -> Error {
        match self.maybe_applied {
            true => Error::indeterminate(
                Code::OutcomeUnknown,
                self.error.message,
                None,
                revision_floor,
            ),
            false => Error::refused(self.error),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<&str> = self.endpoints().collect();
        f.debug_struct("Client")
            .field("endpoints", &endpoints)
            .finish_non_exhaustive()
    }
}
