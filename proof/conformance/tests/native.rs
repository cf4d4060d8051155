//! The native API on real clusters of real processes, through the Rust client: crowds, retries under kills, time.

use client::raw::{
    AwaitRequest, AwaitResponse, EnterRequest, EnterResponse, LeaveRequest, LeaveResponse, Method,
    Queue, QueueKind, StatusRequest, StatusResponse,
};
use client::{Client, Code};
use quorate_conformance::{PATIENCE, Target, alone, alone_with, eventually};
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

/// Who wants the same thing at the same time.
const CONTENDERS: u64 = 1000;

/// Entries of the log that are not ours to count: of the cluster itself.
const OTHER_ENTRIES_MAX: u64 = 30;

async fn client_of(endpoints: &[String]) -> Client {
    let builder = Client::builder().endpoints(endpoints).deadline(PATIENCE);
    builder.connect().await.expect("a client")
}

/// A client of all members, and one of each.
async fn clients(target: &Target) -> (Client, Vec<Client>) {
    let mut each = Vec::new();
    for at in 0..target.endpoints.len() {
        each.push(client_of(&target.endpoints[at..=at]).await);
    }
    (client_of(&target.endpoints).await, each)
}

async fn applied(client: &Client) -> u64 {
    let status = client.raw(Method::Status, &StatusRequest {}).await;
    let status: StatusResponse = status.expect("status");
    status.applied_index
}

/// Takes a thousand places, lets each wait at one of the members, and ends the holders one after the other.
async fn in_turn(kind: QueueKind) {
    let target = alone(3).await;
    let (client, each) = clients(&target).await;
    let lease = client
        .grant(Duration::from_secs(600))
        .await
        .expect("a lease");
    let queue = Queue {
        kind: kind.into(),
        name: "crowd".into(),
    };
    let mut tokens = Vec::new();
    for owner in 0..CONTENDERS {
        let request = EnterRequest {
            queue: Some(queue.clone()),
            lease: lease.id().0,
            owner: owner.to_string().into(),
            ..EnterRequest::default()
        };
        let entered: EnterResponse = client.raw(Method::Enter, &request).await.expect("a place");
        tokens.push(entered.token);
    }
    assert!(tokens.is_sorted(), "tokens rise");
    let (tell, mut told) = unbounded_channel();
    for (at, token) in tokens.iter().copied().enumerate() {
        let (client, tell) = (each[at % each.len()].clone(), tell.clone());
        let queue = Some(queue.clone());
        tokio::spawn(async move {
            let request = AwaitRequest {
                queue,
                token,
                timeout_ms: 0,
            };
            loop {
                let waited = client
                    .raw::<_, AwaitResponse>(Method::Await, &request)
                    .await;
                // A wait may end with the call's time; it is asked again.
                if waited.is_ok_and(|it| it.is_held) {
                    return tell.send(token);
                }
            }
        });
    }
    let before = applied(&each[0]).await;
    for (at, token) in tokens.iter().copied().enumerate() {
        let holder = timeout(PATIENCE, told.recv()).await.expect("in time");
        assert_eq!(holder, Some(token), "out of turn at {at}");
        // Whoever was woken beside it would have told by the time that a majority has answered.
        client.get("crowd").await.expect("a read");
        assert!(told.try_recv().is_err(), "two hold at {at}");
        let request = LeaveRequest {
            queue: Some(queue.clone()),
            token,
            claim: 0,
        };
        let left = client
            .raw::<_, LeaveResponse>(Method::Leave, &request)
            .await;
        left.expect("it was there");
    }
    let written = applied(&each[0]).await - before;
    // One entry for each end, some for the cluster's own digests, and none by those who went on waiting.
    let most = CONTENDERS + CONTENDERS / 20 + OTHER_ENTRIES_MAX;
    assert!(written <= most, "{written} entries for {CONTENDERS} ends");
}

#[tokio::test]
async fn a_thousand_wait_for_a_lock_and_each_end_tells_one() {
    in_turn(QueueKind::Lock).await;
}

#[tokio::test]
async fn a_thousand_stand_for_election_and_each_end_makes_one_leader() {
    in_turn(QueueKind::Election).await;
}

/// Every member is killed once, the leader among them, while writes are asked with so little patience that many answers
/// are lost. Each takes effect once.
#[tokio::test]
async fn every_write_is_applied_once_whatever_dies() {
    const WRITES: u64 = 60;
    let mut target = alone(3).await;
    let client = Client::builder()
        .endpoints(&target.endpoints)
        .deadline(PATIENCE)
        .attempt(Duration::from_millis(4))
        .session_ttl(Duration::from_secs(600))
        .connect()
        .await
        .expect("a client");
    let cluster = target.own.as_mut().expect("a cluster of its own");
    let mut last = 0;
    for n in 1..=WRITES {
        let victim = (n % 20 == 10).then_some(n as usize / 20);
        if let Some(victim) = victim {
            cluster.members[victim].kill();
        }
        let written = client.put("once", n.to_string()).await.expect("a write");
        assert!(written.revision() > last, "it has a revision of its own");
        last = written.revision();
        if let Some(victim) = victim {
            cluster.members[victim].start().expect("it starts again");
        }
    }
    let patient = client_of(&target.endpoints).await;
    let got = patient
        .get("once")
        .await
        .expect("a read")
        .kv
        .expect("a key");
    assert_eq!(got.version, WRITES, "each took effect once");
    assert_eq!(&got.value[..], WRITES.to_string().as_bytes());
}

/// Time passes for reads although nobody writes, and what was true then stays true.
#[tokio::test]
async fn a_quiet_cluster_tells_what_was_true_a_moment_ago() {
    let target = alone(1).await;
    let client = client_of(&target.endpoints).await;
    client.put("k", "old").await.expect("a write");
    let then = client
        .now()
        .await
        .expect("the time")
        .clock
        .expect("a clock")
        .hybrid;
    // The next stamp is later than that one, as soon as a millisecond has passed.
    let old = eventually("that time is over", || async {
        let got = client.get("k").as_of(then.clone()).await;
        got.ok().and_then(|got| got.kv)
    })
    .await;
    assert_eq!(&old.value[..], b"old");
    client.put("k", "new").await.expect("a write");
    let got = client.get("k").as_of(then).await.expect("history");
    assert_eq!(&got.kv.expect("it was there").value[..], b"old");
    let future = client.get("k").as_of("2999-01-01T00:00:00Z").await;
    assert!(future.expect_err("nobody knows").is(Code::NoSuchTime));
    let past = client.get("k").as_of("1999-01-01T00:00:00Z").await;
    let past = past.map(|got| got.kv);
    assert!(matches!(past, Ok(None)) || past.is_err_and(|e| e.is(Code::NoSuchTime)));
}

/// A write that waits is in the past for everybody when it is acknowledged; without a bound of the clock's error it is
/// refused before anything happens.
#[tokio::test]
async fn a_commit_waits_for_its_time_to_be_over() {
    let target = alone_with(1, &["--clock-error-max", "60"]).await;
    let client = client_of(&target.endpoints).await;
    client.put("k", "1").await.expect("a write");
    let began = std::time::Instant::now();
    let waited = client.put("k", "2").commit_wait().await.expect("a write");
    // The kernel may know better than 60 ms; on machines without a time daemon it does not know at all.
    let now = client
        .now()
        .await
        .expect("the time")
        .clock
        .expect("a clock");
    let error = Duration::from_micros(now.error_us.expect("a bound"));
    assert!(
        began.elapsed() >= 2 * error,
        "{:?} of {error:?}",
        began.elapsed()
    );
    let got = client.get("k").await.expect("a read").kv.expect("a key");
    assert_eq!(got.revision, waited.revision());
    assert!(
        got.time.as_str() < now.earliest.as_str(),
        "{} < {}",
        got.time,
        now.earliest
    );

    let target = alone(1).await;
    let client = client_of(&target.endpoints).await;
    let clock = client
        .now()
        .await
        .expect("the time")
        .clock
        .expect("a clock");
    if clock.source == "unknown" {
        let refused = client.put("k", "1").commit_wait().await;
        let refused = refused.expect_err("nobody knows the error");
        assert!(refused.is(Code::NoClockBound) && refused.took_effect() == Some(false));
        assert!(client.get("k").await.expect("a read").kv.is_none());
    }
}
