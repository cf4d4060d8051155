//! Writes that are asked again, by etcd's public client with two words of metadata. etcd knows no such thing, so these
//! run on ours alone.

use super::connect::etcd_client_updater::EndpointUpdater;
use etcd_client::{
    BalancedChannelBuilder, Channel, Client, Compare, CompareOp, ConnectOptions, Txn, TxnOp,
};
use quorate_conformance::{PATIENCE, alone, alone_with, code, is_ours, refusal, serves, shared};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderValue, Request};

/// What is said beside each request: the session and the number.
type Words = Arc<Mutex<Option<(i64, u64)>>>;

/// A channel that says it.
#[derive(Clone)]
struct Numbering {
    inner: tonic::transport::Channel,
    words: Words,
}

impl Service<Request<tonic::body::Body>> for Numbering {
    type Response = tonic::codegen::http::Response<tonic::body::Body>;
    type Error = tower::BoxError;
    type Future = std::pin::Pin<
        Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send + 'static>,
    >;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.inner, cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<tonic::body::Body>) -> Self::Future {
        if let Some((session, sequence)) = *self.words.lock().expect("no panic") {
            let headers = request.headers_mut();
            let word = |text: String| HeaderValue::from_str(&text).expect("ASCII");
            headers.insert("quorate-session", word(format!("{session:x}")));
            headers.insert("quorate-sequence", word(sequence.to_string()));
        }
        let answer = self.inner.call(request);
        Box::pin(async move { answer.await.map_err(Into::into) })
    }
}

/// Makes such channels.
struct Says(Words);

impl BalancedChannelBuilder for Says {
    type Error = tonic::transport::Error;

    fn balanced_channel(
        self,
        buffer: usize,
    ) -> Result<(Channel, EndpointUpdater), tonic::transport::Error> {
        let (inner, updater) = tonic::transport::Channel::balance_channel(buffer);
        let words = self.0;
        let service = tower::util::BoxCloneSyncService::new(Numbering { inner, words });
        Ok((Channel::Custom(service), updater))
    }
}

/// A client of one member, and what it says beside each request.
async fn numbering(endpoint: &str) -> (Client, Words) {
    let words = Words::default();
    let options = ConnectOptions::new().with_timeout(Duration::from_secs(5));
    let says = Says(words.clone());
    let client = Client::connect_with_balanced_channel([endpoint], Some(options), says).await;
    (client.expect("a client"), words)
}

fn say(words: &Words, numbered: Option<(i64, u64)>) {
    *words.lock().expect("no panic") = numbered;
}

/// A session that lasts as long as a test.
async fn session(client: &mut Client) -> i64 {
    let granted = client.lease_grant(600, None).await.expect("a lease");
    granted.id()
}

async fn version(client: &mut Client, key: &str) -> i64 {
    let got = client.get(key, None).await.expect("get");
    got.kvs().first().map_or(0, |kv| kv.version())
}

#[tokio::test]
async fn a_number_has_one_outcome_at_every_member() {
    if !is_ours() {
        return;
    }
    let mut target = shared().await;
    let session = session(&mut target.client).await;
    let (mut puts, mut swaps) = (Vec::new(), Vec::new());
    for endpoint in &target.endpoints {
        let (mut client, words) = numbering(endpoint).await;
        say(&words, Some((session, 1)));
        let put = client.put("retries/a", "1", None).await.expect("put");
        puts.push(put.header().expect("a header").revision());
    }
    for endpoint in &target.endpoints {
        let (mut client, words) = numbering(endpoint).await;
        say(&words, Some((session, 2)));
        // Its own success makes the condition false.
        let is_new = Compare::version("retries/a/once", CompareOp::Equal, 0);
        let put = TxnOp::put("retries/a/once", "1", None);
        let swap = Txn::new().when([is_new]).and_then([put]);
        let swap = client.txn(swap).await.expect("txn");
        swaps.push((
            swap.header().expect("a header").revision(),
            swap.succeeded(),
        ));
        // The first number is an echo now.
        say(&words, Some((session, 1)));
        let (code, message) = refusal(client.put("retries/a", "1", None).await);
        let echo = "quorate: the session has gone on to a later write";
        assert_eq!((code, &*message), (code::FAILED_PRECONDITION, echo));
    }
    assert_eq!(puts, [puts[0]; 3]);
    assert_eq!(swaps, [(swaps[0].0, true); 3]);
    assert_eq!(version(&mut target.client, "retries/a").await, 1);
}

#[tokio::test]
async fn words_that_make_no_sense_are_refused() {
    if !is_ours() {
        return;
    }
    let mut target = shared().await;
    let session = session(&mut target.client).await;
    let (mut client, words) = numbering(&target.endpoints[0]).await;
    say(&words, Some((session, 0)));
    let (code, message) = refusal(client.put("retries/b", "1", None).await);
    assert_eq!(code, code::INVALID_ARGUMENT, "{message}");
    say(&words, Some((session, 1)));
    client.put("retries/b", "1", None).await.expect("put");
    let (code, message) = refusal(client.put("retries/b", "2", None).await);
    assert_eq!(code, code::INVALID_ARGUMENT, "{message}");
    target.client.lease_revoke(session).await.expect("revoked");
    let (code, message) = refusal(client.put("retries/b", "1", None).await);
    let over = "quorate: the session is over";
    assert_eq!((code, &*message), (code::FAILED_PRECONDITION, over));
    assert_eq!(version(&mut target.client, "retries/b").await, 1);
}

#[tokio::test]
async fn a_write_that_took_effect_says_so_though_there_is_no_room_left() {
    if !is_ours() {
        return;
    }
    let mut target = alone_with(1, &["--quota-backend-bytes", "1000000"]).await;
    let session = session(&mut target.client).await;
    let (mut client, words) = numbering(&target.endpoints[0]).await;
    say(&words, Some((session, 1)));
    let big = "x".repeat(50_000);
    // As large as what finds no room.
    let first = client.put("retries/d", big.clone(), None).await;
    let first = first.expect("put");
    let mut n = 0;
    while target
        .client
        .put(format!("big/{n}"), big.clone(), None)
        .await
        .is_ok()
    {
        n += 1;
        assert!(n < 100, "the quota does not hold");
    }
    let again = client.put("retries/d", big.clone(), None).await;
    let again = again.expect("put");
    let revision = |put: &etcd_client::PutResponse| put.header().map(|it| it.revision());
    assert_eq!(revision(&again), revision(&first));
    // What is new has no place.
    say(&words, Some((session, 2)));
    let (code, message) = refusal(client.put("retries/d", big, None).await);
    let full = "etcdserver: mvcc: database space exceeded";
    assert_eq!((code, &*message), (code::RESOURCE_EXHAUSTED, full));
}

#[tokio::test]
async fn every_write_is_done_once_though_members_die_and_clients_ask_again() {
    if !is_ours() {
        return;
    }
    const WRITES: u64 = 60;
    let mut target = alone(3).await;
    let session = session(&mut target.client).await;
    let mut clients = Vec::new();
    for endpoint in &target.endpoints {
        clients.push(numbering(endpoint).await);
    }
    let cluster = target.own.as_mut().expect("a cluster of its own");
    let (mut n_asked, mut last) = (0, 0);
    for sequence in 1..=WRITES {
        // Each member dies once in the middle of it, the leader among them.
        let victim = (sequence % 20 == 10).then_some(sequence as usize / 20);
        if let Some(victim) = victim {
            cluster.members[victim].kill();
        }
        let until = Instant::now() + PATIENCE;
        for member in (0..3).cycle() {
            let (client, words) = &mut clients[member];
            say(words, Some((session, sequence)));
            n_asked += 1;
            // Impatience: many answers are lost although the write takes effect.
            let patience = Duration::from_millis(if n_asked % 3 == 0 { 300 } else { 2 });
            let put = client.put("retries/c", sequence.to_string(), None);
            if let Ok(Ok(put)) = tokio::time::timeout(patience, put).await {
                let revision = put.header().expect("a header").revision();
                assert!(revision > last, "{revision} after {last}");
                last = revision;
                break;
            }
            assert!(Instant::now() < until, "write {sequence} is not answered");
        }
        if let Some(victim) = victim {
            cluster.members[victim].start().expect("it starts again");
        }
    }
    assert!(n_asked > WRITES, "nothing was asked twice");
    assert!(serves(&target.endpoints[0]).await);
    let mut client = target.at(0).await;
    assert_eq!(version(&mut client, "retries/c").await, WRITES as i64);
    let got = client.get("retries/c", None).await.expect("get");
    assert_eq!(got.kvs()[0].value(), WRITES.to_string().as_bytes());
}
