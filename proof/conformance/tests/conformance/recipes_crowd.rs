//! Locks and elections with many contenders: each end of a holder wakes one successor, and calls that go away
//! leave nothing behind.

use etcd_client::{Client, GetOptions, LeaseGrantOptions, LockOptions};
use quorate_conformance::{PATIENCE, Target, alone, eventually, is_ours};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

const CONTENDERS: usize = 1000;

/// Entries of the log that are not ours to count: of the cluster itself, and leases.
const OTHER_ENTRIES_MAX: u64 = 20;

#[tokio::test]
async fn a_thousand_wait_for_a_lock_and_each_end_wakes_one() {
    let target = alone(1).await;
    let (tell, told) = unbounded_channel();
    for _ in 0..CONTENDERS {
        let (mut client, tell) = (target.client.clone(), tell.clone());
        tokio::spawn(async move {
            let locked = client.lock("crowd", None).await;
            let key = locked.map(|answer| answer.key().to_vec());
            tell.send(key.map_err(|error| error.to_string()))
        });
    }
    drop(tell);
    in_turn(&target, told).await;
}

#[tokio::test]
async fn a_thousand_stand_for_election_and_each_end_makes_one_leader() {
    let target = alone(1).await;
    let (tell, told) = unbounded_channel();
    for _ in 0..CONTENDERS {
        let (mut client, tell) = (target.client.clone(), tell.clone());
        tokio::spawn(async move {
            let won = client.campaign("crowd", "", 0).await;
            let key = won.map(|answer| answer.leader().expect("a key").key().to_vec());
            tell.send(key.map_err(|error| error.to_string()))
        });
    }
    drop(tell);
    in_turn(&target, told).await;
}

type Turns = UnboundedReceiver<Result<Vec<u8>, String>>;

/// Ends one holder after the other, by its key or by its lease: the next in line is told, and nobody else.
async fn in_turn(target: &Target, mut turns: Turns) {
    line_of(target, CONTENDERS).await;
    let mut client = target.client.clone();
    let line = client.get("crowd/", Some(by_creation())).await;
    let line: Vec<Vec<u8>> = line
        .expect("get")
        .kvs()
        .iter()
        .map(|kv| kv.key().to_vec())
        .collect();
    let before = entries(&mut client).await;
    for (at, expected) in line.iter().enumerate() {
        let holder = timeout(PATIENCE, turns.recv()).await.expect("in time");
        let holder = holder.expect("one more").expect("it holds");
        assert_eq!(text(&holder), text(expected), "out of turn at {at}");
        // Whoever was woken beside it would be answered before this read is.
        client.get("crowd/", None).await.expect("get");
        assert!(turns.try_recv().is_err(), "two hold at {at}");
        if at % 2 == 0 {
            client.delete(holder, None).await.expect("delete");
        } else {
            let key = text(&holder);
            let (_, lease) = key.rsplit_once('/').expect("a lease");
            let lease = i64::from_str_radix(lease, 16).expect("a lease");
            client.lease_revoke(lease).await.expect("revoke");
        }
    }
    // One entry for each end, and none by those who went on waiting.
    let written = entries(&mut client).await - before;
    let most = CONTENDERS as u64 + OTHER_ENTRIES_MAX;
    assert!(written <= most, "{written} entries for {CONTENDERS} ends");
    assert_eq!(client.get("crowd/", None).await.expect("get").count(), 0);
}

#[tokio::test]
async fn calls_that_are_dropped_at_any_moment_leave_no_key() {
    if !is_ours() {
        return; // etcd leaves the key of a call that is cancelled before it knows its key.
    }
    let target = alone(1).await;
    let mut client = target.client.clone();
    let holder = client.lock("crowd", None).await.expect("lock");
    for moment in 0..200 {
        let mut client = target.client.clone();
        // Half of them bring a lease.
        let lease = match moment % 2 {
            0 => 0,
            _ => client.lease_grant(60, None).await.expect("grant").id(),
        };
        let options = LockOptions::new().with_lease(lease);
        let call = client.lock("crowd", Some(options));
        let waited = timeout(Duration::from_micros(moment * 40), call).await;
        assert!(waited.is_err(), "two hold");
    }
    line_of(&target, 1).await;
    client.unlock(holder.key()).await.expect("unlock");
    let next = timeout(PATIENCE, client.lock("crowd", None)).await;
    next.expect("the lock is free").expect("lock");
    // What the server granted for them is gone, too: what is left was asked for.
    eventually("the leases are gone", || async {
        let leases = target.client.clone().leases().await.expect("leases");
        (leases.leases().len() <= 100 + 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn names_that_are_too_long_are_refused() {
    if !is_ours() {
        return; // etcd bounds only the whole request.
    }
    let mut client = quorate_conformance::shared().await.client;
    let (longest, longer) = (vec![b'n'; 4096], vec![b'n'; 4097]);
    let locked = client.lock(longest, None).await.expect("lock");
    client.unlock(locked.key()).await.expect("unlock");
    let refusals = [
        quorate_conformance::refusal(client.lock(longer.clone(), None).await),
        quorate_conformance::refusal(client.campaign(longer.clone(), "", 0).await),
        quorate_conformance::refusal(client.leader(longer).await),
    ];
    for (code, message) in refusals {
        assert_eq!(code, quorate_conformance::code::INVALID_ARGUMENT);
        assert!(message.contains("longer than 4096 bytes"), "{message}");
    }
}

/// A candidate whose lease is over hears that it does not lead; etcd tells it that it does.
#[tokio::test]
async fn a_candidate_without_a_lease_is_not_told_that_it_leads() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    let leases = [
        client.lease_grant(60, None).await,
        client.lease_grant(60, None).await,
    ];
    let [leader, candidate] = leases.map(|lease| lease.expect("grant").id());
    client.campaign("crowd", "", leader).await.expect("won");
    let mut other = target.client.clone();
    let waiting = tokio::spawn(async move { other.campaign("crowd", "", candidate).await });
    line_of(&target, 2).await;
    client.lease_revoke(candidate).await.expect("revoke");
    client.lease_revoke(leader).await.expect("revoke");
    let answer = timeout(PATIENCE, waiting).await.expect("in time");
    let answer = answer.expect("no panic");
    if is_ours() {
        let (_, message) = quorate_conformance::refusal(answer);
        assert_eq!(message, "election: not leader");
    } else {
        answer.expect("etcd says that it leads");
    }
}

/// etcd has looked for the key only since 3.5, and tells when it is the contender's turn.
#[tokio::test]
async fn a_contender_without_a_lease_is_not_told_that_it_holds_the_lock() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    let holder = client.lock("crowd", None).await.expect("lock");
    let lease = client.lease_grant(60, None).await.expect("grant").id();
    let mut other = target.client.clone();
    let options = LockOptions::new().with_lease(lease);
    let waiting = tokio::spawn(async move { other.lock("crowd", Some(options)).await });
    line_of(&target, 2).await;
    client.lease_revoke(lease).await.expect("revoke");
    if !is_ours() {
        client.unlock(holder.key()).await.expect("unlock");
    }
    let answer = timeout(PATIENCE, waiting).await.expect("in time");
    let answer = answer.expect("no panic");
    if is_ours() || answer.is_err() {
        let (_, message) = quorate_conformance::refusal(answer);
        assert_eq!(message, "mutex: session is expired");
    }
}

/// A key that is deleted and put again stands behind those that came meanwhile. etcd 3.4 tells both that they
/// hold the lock.
#[tokio::test]
async fn a_contender_whose_key_was_put_again_has_lost_its_place() {
    if !is_ours() {
        return;
    }
    let target = alone(1).await;
    let mut client = target.client.clone();
    let holder = client.lock("crowd", None).await.expect("lock");
    let mut waiting = Vec::new();
    for lease in [0xa, 0xb] {
        let with_id = LeaseGrantOptions::new().with_id(lease);
        client.lease_grant(60, Some(with_id)).await.expect("grant");
        let mut other = target.client.clone();
        let options = LockOptions::new().with_lease(lease);
        let call = async move { other.lock("crowd", Some(options)).await };
        waiting.push(tokio::spawn(call));
        line_of(&target, waiting.len() + 1).await;
    }
    client.delete("crowd/a", None).await.expect("delete");
    client.put("crowd/a", "", None).await.expect("put");
    client.unlock(holder.key()).await.expect("unlock");
    let mut answers = Vec::new();
    for call in waiting {
        let answer = timeout(PATIENCE, call).await.expect("in time");
        answers.push(answer.expect("no panic").map(|answer| text(answer.key())));
    }
    assert_eq!(answers.pop().expect("two").expect("lock"), "crowd/b");
    let (_, message) = quorate_conformance::refusal(answers.remove(0));
    assert_eq!(message, "mutex: session is expired");
}

async fn line_of(target: &Target, n: usize) {
    eventually("all stand in line", || async {
        let options = GetOptions::new().with_prefix().with_count_only();
        let line = target.client.clone().get("crowd/", Some(options)).await;
        (line.expect("get").count() == n as i64).then_some(())
    })
    .await;
}

fn by_creation() -> GetOptions {
    use etcd_client::{SortOrder, SortTarget};
    let options = GetOptions::new().with_prefix();
    options.with_sort(SortTarget::Create, SortOrder::Ascend)
}

async fn entries(client: &mut Client) -> u64 {
    client.status().await.expect("status").raft_applied_index()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
