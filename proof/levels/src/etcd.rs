//! etcd's door: its public client, with a word of metadata that names the level, and the words beside the answer.

use crate::{Refused, Seen};
use etcd_client::{BalancedChannelBuilder, Channel, Client, ConnectOptions, Error};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};

/// What is said beside each request, and what was said beside the last answer.
#[derive(Default)]
struct Words {
    asked: Option<HeaderValue>,
    told: HeaderMap,
}

type Shared = Arc<Mutex<Words>>;

/// A channel that says and hears it.
#[derive(Clone)]
struct Speaking {
    inner: tonic::transport::Channel,
    words: Shared,
}

impl Service<Request<tonic::body::Body>> for Speaking {
    type Response = Response<tonic::body::Body>;
    type Error = tower::BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.inner, cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<tonic::body::Body>) -> Self::Future {
        let words = self.words.clone();
        if let Some(asked) = &lock(&words).asked {
            let name = "quorate-consistency";
            request.headers_mut().insert(name, asked.clone());
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            lock(&words).told = answer.headers().clone();
            Ok(answer)
        })
    }
}

fn lock(words: &Shared) -> std::sync::MutexGuard<'_, Words> {
    words.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Says(Shared);

impl BalancedChannelBuilder for Says {
    type Error = tonic::transport::Error;

    fn balanced_channel(
        self,
        buffer: usize,
    ) -> Result<(Channel, Updater), tonic::transport::Error> {
        let (inner, updater) = tonic::transport::Channel::balance_channel(buffer);
        let words = self.0;
        let service = tower::util::BoxCloneSyncService::new(Speaking { inner, words });
        Ok((Channel::Custom(service), updater))
    }
}

type Updater = tokio::sync::mpsc::Sender<
    tonic::transport::channel::Change<tonic::codegen::http::Uri, tonic::transport::Endpoint>,
>;

/// A client of one member.
pub(crate) struct Etcd {
    client: Client,
    words: Shared,
}

impl Etcd {
    /// Connects.
    pub(crate) async fn connect(endpoint: &str) -> Etcd {
        let words = Shared::default();
        let options = ConnectOptions::new().with_timeout(crate::PATIENCE);
        let says = Says(words.clone());
        let client = Client::connect_with_balanced_channel([endpoint], Some(options), says).await;
        let client = client.expect("a client");
        Etcd { client, words }
    }

    fn say(&self, level: &str) {
        let mut words = lock(&self.words);
        words.asked = Some(HeaderValue::from_str(level).expect("ASCII"));
        words.told = HeaderMap::new();
    }

    pub(crate) async fn get(&mut self, key: &str, level: &str) -> Result<Seen, Refused> {
        self.say(level);
        let got = self.client.get(key, None).await.map_err(refused)?;
        let mut seen = self.seen();
        let value = got.kvs().first().map(|kv| kv.value());
        seen.value = value.map(|value| String::from_utf8_lossy(value).into_owned());
        Ok(seen)
    }

    pub(crate) async fn put(&mut self, key: &str, value: &str) -> Result<Seen, Refused> {
        self.say("linearizable");
        self.client.put(key, value, None).await.map_err(refused)?;
        Ok(self.seen())
    }

    fn seen(&self) -> Seen {
        let words = lock(&self.words);
        let text = |name: &str| {
            let word = words.told.get(name).and_then(|word| word.to_str().ok());
            word.unwrap_or_default().to_owned()
        };
        Seen {
            value: None,
            revision: text("quorate-revision").parse().unwrap_or_default(),
            time: text("quorate-time"),
            level: text("quorate-level"),
            how: text("quorate-how"),
            staleness_ms: text("quorate-staleness-ms").parse().ok(),
            token: text("quorate-token"),
        }
    }
}

/// `quorate: Q3103: the session has …`.
fn refused(error: Error) -> Refused {
    let message = match error {
        Error::GRpcStatus(status) => status.message().to_owned(),
        other => other.to_string(),
    };
    let code = message
        .split([' ', ':'])
        .find(|word| word.len() == 5 && word.starts_with('Q') && word[1..].parse::<u16>().is_ok());
    Refused {
        code: code.unwrap_or_default().to_owned(),
        message,
    }
}
