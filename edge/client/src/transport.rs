//! Requests to members: one channel for each endpoint, another member when one does not answer.
//!
//! ```text
//!              ┌ answered ─────────────────────────────────────────────► Ok
//!   attempt ───┼ refused, for good ────────────────────────────────────► Failure
//!      ▲       ├ refused for now, or never sent ──┐
//!      │       └ lost: nobody knows ──────────────┤  a single-shot write ends here, maybe applied
//!      └──── another member, after a while ◄──────┘
//! ```
//!
//! Whether a lost attempt may be repeated is the caller's to say ([`Kind`]): reads, and requests that take effect once
//! however often they are asked. A failure remembers whether *any* attempt may have been applied.

use crate::error::{self, Code};
use crate::login::{self, Login, User};
use crate::tls::{self, Tls};
use crate::world;
use api::{Method, proto};
use base::{Instant, Rng};
use http::uri::PathAndQuery;
use prost::Message;
use std::error::Error as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant as Timer;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// For how long a connection may take: less than an attempt, so that "not connected" is told apart from "lost".
const CONNECT_MAX: Duration = Duration::from_millis(1000);
/// A member that did not answer is asked last for so long.
const REST: Duration = Duration::from_secs(1);
/// The first pause after all members have been asked, and the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// A stream that lived for so long was of use, whatever came of it.
const STEADY: Duration = Duration::from_secs(1);
/// A connection on which nothing comes back for so long is cut: a watch on it would be deaf.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_ANSWER_MAX: Duration = Duration::from_secs(3);
/// An answer may have so many bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// The trailer that carries a [`proto::Error`].
const ERROR_TRAILER: &str = "quorate-error-bin";

/// Whether a request may be asked again when its answer is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// It changes nothing.
    Read,
    /// It takes effect once, however often it is asked: it is numbered, or means the same the second time.
    Repeatable,
    /// It may take effect twice.
    Single,
}

/// An answer, and when the attempt that it answers was sent.
#[derive(Debug)]
pub(crate) struct Answered<A> {
    pub(crate) answer: A,
    pub(crate) sent: Instant,
    /// An attempt before this one may have been applied.
    pub(crate) is_repeated: bool,
}

/// No attempt was answered well.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the last one came to.
    pub(crate) error: proto::Error,
    /// An attempt may have been applied, or may still be.
    pub(crate) maybe_applied: bool,
    /// Which member was asked last.
    pub(crate) asked: Option<MemberIndex>,
}

/// What one attempt came to.
enum Attempt<A> {
    Answered(A),
    /// A member decided.
    Refused(proto::Error),
    /// Nothing left this process.
    Unsent(String),
    /// It may have arrived.
    Lost(String),
}

/// A member, by its place among the endpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MemberIndex(usize);

/// How a stream fares that is opened again whenever it ends.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// Where it was opened last.
    at: Option<MemberIndex>,
    began: Option<Timer>,
    /// Answers since it was opened.
    pub(crate) n_told: usize,
    /// How often in a row it ended without having been of use. One answer is none: a member that cannot serve a stream
    /// may say where it stands before it says so.
    n_failed: usize,
}

struct Member {
    name: String,
    channel: Channel,
    /// Asked last until then, in nanoseconds of [`world::now`].
    rests_until: AtomicU64,
}

/// The endpoints and their channels.
pub(crate) struct Transport {
    members: Vec<Member>,
    /// Whose turn it is.
    turn: AtomicUsize,
    rng: Mutex<Rng>,
    /// How long one attempt may take.
    attempt_max: Duration,
    login: Option<Login>,
}

impl Transport {
    /// Channels to `endpoints`, opened when they are needed. Must run within a runtime.
    ///
    /// # Errors
    /// One is no address, or there is none.
    pub(crate) fn new(
        endpoints: &[String],
        tls: Option<&Tls>,
        attempt_max: Duration,
        user: Option<User>,
    ) -> Result<Transport, String> {
        // What cannot be used is better said now than at each attempt.
        tls.map(Tls::config).transpose()?;

        let mut members = Vec::new();
        for name in endpoints {
            let url = match name.contains("://") {
                true => name.clone(),
                false if tls.is_some() => format!("https://{name}"),
                false => format!("http://{name}"),
            };
            let is_tls = url.starts_with("https://");
            if !is_tls && !url.starts_with("http://") {
                return Err(format!("{name}: only http:// and https:// are known"));
            }
            // tonic is told of a plain address, whose connections happen to be TLS ones (`tls.rs`): where another crate of a
            // build asks for tonic's own TLS, it would refuse ours.
            let plain = match url.strip_prefix("https://") {
                Some(rest) => format!("http://{rest}"),
                None => url.clone(),
            };
            let endpoint = Endpoint::from_shared(plain).map_err(|bad| format!("{name}: {bad}"))?;
            let origin = url
                .parse::<http::Uri>()
                .map_err(|bad| format!("{name}: {bad}"))?;
            let endpoint = endpoint.origin(origin);
            if endpoint.uri().port().is_none() {
                return Err(format!("{name}: a port is missing"));
            }
            let endpoint = endpoint
                .connect_timeout(CONNECT_MAX)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_ANSWER_MAX)
                .keep_alive_while_idle(true);
            let channel = match tls.filter(|_| is_tls) {
                Some(tls) => endpoint.connect_with_connector_lazy(tls::connector(tls.clone())),
                None if is_tls => {
                    return Err(format!(
                        "{name}: for https:// the certificate of an authority is needed"
                    ));
                }
                None => endpoint.connect_lazy(),
            };
            members.push(Member {
                name: name.clone(),
                channel,
                rests_until: AtomicU64::new(0),
            });
        }
        if members.is_empty() {
            return Err("there is no endpoint".to_owned());
        }
        let mut rng = Rng::new(world::random());
        let first = rng.below(members.len() as u64) as usize;
        Ok(Transport {
            members,
            turn: AtomicUsize::new(first),
            rng: Mutex::new(rng),
            attempt_max,
            login: user.map(Login::new),
        })
    }

    /// The endpoints as they were given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| &*member.name)
    }

    /// How long one attempt may take.
    pub(crate) fn attempt_max(&self) -> Duration {
        self.attempt_max
    }

    /// Asks until it is answered, refused for good, or `until`.
    pub(crate) async fn call<Q, A>(
        &self,
        method: Method,
        request: &Q,
        kind: Kind,
        until: Timer,
    ) -> Result<Answered<A>, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.call_each(method, request, kind, until, self.attempt_max, None)
            .await
    }

    /// [`Transport::call`] with attempts that may take `attempt_max` each. `avoid` is asked last.
    pub(crate) async fn call_each<Q, A>(
        &self,
        method: Method,
        request: &Q,
        kind: Kind,
        until: Timer,
        attempt_max: Duration,
        avoid: Option<MemberIndex>,
    ) -> Result<Answered<A>, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut maybe_applied = false;
        let mut error = Code::NoAnswer.error("there was no time to ask");
        let mut asked = None;
        for n_asked in 0.. {
            let left = until.saturating_duration_since(Timer::now());
            if left.is_zero() {
                break;
            }
            let index = self.choose(first.wrapping_add(n_asked), avoid);
            let member = &self.members[index.0];
            asked = Some(index);
            let sent = world::now();
            let attempt = self.attempt(member, method, request, left.min(attempt_max));
            let mut is_busy = false;
            match attempt.await {
                Attempt::Answered(answer) => {
                    member.rests_until.store(0, Ordering::Relaxed);
                    return Ok(Answered {
                        answer,
                        sent,
                        is_repeated: maybe_applied,
                    });
                }
                Attempt::Unsent(why) => {
                    member.rest();
                    error = Code::NotConnected.error(format!("{}: {why}", member.name));
                }
                Attempt::Lost(why) => {
                    member.rest();
                    error = Code::NoAnswer.error(format!("{}: {why}", member.name));
                    maybe_applied = true;
                    if kind == Kind::Single {
                        break;
                    }
                }
                Attempt::Refused(refused) => {
                    let code = refused.known();
                    let is_unknown = error::may_be_applied(&refused);
                    let is_passing = error::is_passing(&refused);
                    is_busy = code == Some(Code::Busy);
                    error = refused;
                    // A session that is over stays over; what that means is for the one who numbered the write.
                    if code == Some(Code::SessionOver) {
                        break;
                    }
                    maybe_applied |= is_unknown;
                    let may_repeat = is_passing || is_unknown && kind != Kind::Single;
                    if !may_repeat {
                        break;
                    }
                    if !is_busy {
                        member.rest();
                    }
                }
            }
            tracing::debug!(
                member = member.name,
                method = method.grpc_path(),
                code = error.code,
                why = error.message,
                "not answered; asked again"
            );
            let n_rounds = match is_busy {
                true => n_asked + 1,
                false => (n_asked + 1) / self.members.len(),
            };
            self.pause(n_rounds, until).await;
        }
        let maybe_applied = maybe_applied && kind != Kind::Read;
        Err(Failure {
            error,
            maybe_applied,
            asked,
        })
    }

    /// Opens a stream of answers at another member than the last time, if there is one.
    pub(crate) async fn stream<Q, A>(
        &self,
        trial: &mut Trial,
        method: Method,
        request: Q,
    ) -> Result<tonic::Streaming<A>, proto::Error>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let n = self.turn.fetch_add(1, Ordering::Relaxed);
        let index = self.choose(n, trial.at);
        *trial = Trial {
            at: Some(index),
            began: Some(Timer::now()),
            n_told: 0,
            n_failed: trial.n_failed,
        };
        self.open(index, method.grpc_path(), request).await
    }

    /// Opens a stream of answers at the first member that takes it; each is asked once. The member's name comes
    /// with it.
    pub(crate) async fn stream_once<Q, A>(
        &self,
        path: &'static str,
        request: &Q,
    ) -> Result<(tonic::Streaming<A>, String), proto::Error>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut last = Code::NotConnected.error("there is no member");
        for ahead in 0..self.members.len() {
            let index = MemberIndex(first.wrapping_add(ahead) % self.members.len());
            match self.open(index, path, request.clone()).await {
                Ok(stream) => return Ok((stream, self.members[index.0].name.clone())),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn open<Q, A>(
        &self,
        index: MemberIndex,
        path: &'static str,
        request: Q,
    ) -> Result<tonic::Streaming<A>, proto::Error>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let member = &self.members[index.0];
        let opened = async {
            let mut is_again = false;
            loop {
                let mut grpc = self.enter(member).await?;
                let path = PathAndQuery::from_static(path);
                let codec = ProstCodec::<Q, A>::default();
                let asked = grpc.server_streaming(self.signed(request.clone()), path, codec);
                match asked.await {
                    Err(status) if !is_again && self.is_stranger(&status) => is_again = true,
                    answered => return answered.map_err(Unanswered::Lost),
                }
            }
        };
        let late = || {
            Err(Unanswered::Lost(tonic::Status::deadline_exceeded(
                "no answer in time",
            )))
        };
        let opened = tokio::time::timeout(self.attempt_max, opened).await;
        match opened.unwrap_or_else(|_| late()) {
            Ok(answers) => Ok(answers.into_inner()),
            Err(why) => {
                member.rest();
                Err(error_of(&why.into_status(), &member.name))
            }
        }
    }

    /// Sleeps after a stream has ended, before it is opened again.
    pub(crate) async fn pause_stream(&self, trial: &mut Trial) {
        let is_steady = trial.began.is_some_and(|began| began.elapsed() >= STEADY);
        trial.n_failed = match is_steady || trial.n_told > 1 {
            true => 0,
            false => trial.n_failed + 1,
        };
        let n_rounds = trial.n_failed / self.members.len();
        self.pause(n_rounds, Timer::now() + BACKOFF_MAX).await;
    }

    /// Sleeps after all members were asked `n_rounds` times, but not beyond `until`.
    pub(crate) async fn pause(&self, n_rounds: usize, until: Timer) {
        if n_rounds == 0 {
            return;
        }
        let doublings = n_rounds.min(10) as u32 - 1;
        let most = BACKOFF_MAX.min(BACKOFF_MIN * 2u32.pow(doublings));
        let jitter = {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            rng.between(500, 1000)
        };
        let pause = most.mul_f64(jitter as f64 / 1000.0);
        tokio::time::sleep_until(until.min(Timer::now() + pause)).await;
    }

    /// The member whose turn is `n`, or the next one that does not rest. `avoid` comes last.
    fn choose(&self, n: usize, avoid: Option<MemberIndex>) -> MemberIndex {
        let n_members = self.members.len();
        let now = world::now().0;
        let in_order =
            || (0..n_members).map(|ahead| MemberIndex(n.wrapping_add(ahead) % n_members));
        let is_awake =
            |it: &MemberIndex| self.members[it.0].rests_until.load(Ordering::Relaxed) <= now;
        let others = in_order().filter(|it| Some(*it) != avoid);
        let awake = others.chain(avoid).find(is_awake);
        awake.unwrap_or(MemberIndex(n % n_members))
    }

    /// Asks the member at `index` once, for tools that look at members one by one.
    pub(crate) async fn ask_one<Q, A>(
        &self,
        index: usize,
        method: Method,
        request: &Q,
    ) -> Result<A, proto::Error>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let member = &self.members[index];
        let attempt = self.attempt(member, method, request, self.attempt_max);
        match attempt.await {
            Attempt::Answered(answer) => Ok(answer),
            Attempt::Refused(error) => Err(error),
            Attempt::Unsent(why) => Err(Code::NotConnected.error(why)),
            Attempt::Lost(why) => Err(Code::NoAnswer.error(why)),
        }
    }

    async fn attempt<Q, A>(
        &self,
        member: &Member,
        method: Method,
        request: &Q,
        within: Duration,
    ) -> Attempt<A>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let asked = async {
            let mut is_again = false;
            loop {
                let mut grpc = self.enter(member).await?;
                let mut message = self.signed(request.clone());
                message.set_timeout(within);
                let path = PathAndQuery::from_static(method.grpc_path());
                let asked = grpc.unary(message, path, ProstCodec::<Q, A>::default());
                match asked.await {
                    Err(status) if !is_again && self.is_stranger(&status) => is_again = true,
                    answered => return answered.map_err(Unanswered::Lost),
                }
            }
        };
        let Ok(answered) = tokio::time::timeout(within, asked).await else {
            return Attempt::Lost(format!("no answer within {} ms", within.as_millis()));
        };
        match answered {
            Ok(answer) => Attempt::Answered(answer.into_inner()),
            Err(why) => {
                let is_sent = matches!(why, Unanswered::Lost(_));
                let status = why.into_status();
                match told(&status) {
                    Some(error) => Attempt::Refused(error),
                    None if !is_sent || is_unsent(&status) => {
                        Attempt::Unsent(status.message().to_owned())
                    }
                    None => Attempt::Lost(status.message().to_owned()),
                }
            }
        }
    }

    /// A connection to `member`, and a token of its if one is needed.
    async fn enter(&self, member: &Member) -> Result<tonic::client::Grpc<Channel>, Unanswered> {
        let mut grpc = grpc(&member.channel);
        ready(&mut grpc).await?;
        if let Some(login) = self.login.as_ref().filter(|login| login.is_unknown()) {
            let path = PathAndQuery::from_static(login::PATH);
            let ask = tonic::Request::new(login.ask());
            let asked = grpc.unary(ask, path, ProstCodec::default()).await;
            let answer = asked.map(tonic::Response::into_inner);
            login.take(answer).map_err(Unanswered::Unsent)?;
            ready(&mut grpc).await?;
        }
        Ok(grpc)
    }

    /// A request with what shows who asks.
    fn signed<Q>(&self, request: Q) -> tonic::Request<Q> {
        let mut request = tonic::Request::new(request);
        if let Some(login) = &self.login {
            login.show(&mut request);
        }
        request
    }

    /// Whether a member does not know who asked, although it could: what was shown is forgotten.
    fn is_stranger(&self, status: &tonic::Status) -> bool {
        let login = self.login.as_ref();
        let Some(login) = login.filter(|_| login::is_stranger(status)) else {
            return false;
        };
        login.forget();
        true
    }
}

/// Why there is no answer.
enum Unanswered {
    /// The request was not sent: there is no connection, or no token.
    Unsent(tonic::Status),
    Lost(tonic::Status),
}

impl Unanswered {
    fn into_status(self) -> tonic::Status {
        match self {
            Unanswered::Unsent(status) | Unanswered::Lost(status) => status,
        }
    }
}

async fn ready(grpc: &mut tonic::client::Grpc<Channel>) -> Result<(), Unanswered> {
    let ready = grpc.ready().await;
    ready.map_err(|cause| Unanswered::Unsent(tonic::Status::from_error(cause.into())))
}

impl Member {
    fn rest(&self) {
        let until = world::now() + REST;
        self.rests_until.store(until.0, Ordering::Relaxed);
    }
}

fn grpc(channel: &Channel) -> tonic::client::Grpc<Channel> {
    tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// The error that a member told, if it is one.
fn told(status: &tonic::Status) -> Option<proto::Error> {
    if let Some(trailer) = status.metadata().get_bin(ERROR_TRAILER) {
        let bytes = trailer.to_bytes().ok()?;
        return proto::Error::decode(bytes).ok();
    }
    let code = match status.code() {
        // A server that does not know the path does not know our trailer either.
        tonic::Code::Unimplemented => Code::NotBuilt,
        // What is asked in etcd's API is refused in its words.
        tonic::Code::Unauthenticated => Code::Unauthenticated,
        tonic::Code::PermissionDenied => Code::Denied,
        tonic::Code::InvalidArgument if login::is_refusal(status) => Code::Unauthenticated,
        _ => return None,
    };
    Some(code.error(status.message()))
}

/// The error of a stream that ended with `status` at the member called `name`.
pub(crate) fn error_of(status: &tonic::Status, name: &str) -> proto::Error {
    let lost = || match is_unsent(status) {
        true => Code::NotConnected.error(format!("{name}: {}", status.message())),
        false => Code::NoAnswer.error(format!("{name}: {}", status.message())),
    };
    told(status).unwrap_or_else(lost)
}

/// Whether no connection was there to send on.
fn is_unsent(status: &tonic::Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
