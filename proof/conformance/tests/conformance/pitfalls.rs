//! The pitfalls that the field warns of, each as a run: what goes wrong, and what does not when it is done right.
//!
//! All of it is asked of etcd as well, but for what only we have.

use etcd_client::{Client, Compare, CompareOp, ConnectOptions, LockOptions, Txn, TxnOp};
use quorate_conformance::{PATIENCE, Target, alone, eventually, shared};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read as _, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Tells a child which endpoint to use, and so that it is one.
const ROLE: &str = "QUORATE_CONFORMANCE_CONTROLLER";

/// A controller in a process of its own, so that it can really be paused.
struct Controller {
    child: Child,
    orders: ChildStdin,
    words: BufReader<ChildStdout>,
}

impl Controller {
    fn start(endpoint: &str) -> Controller {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "pitfalls::a_controller", "--nocapture"])
            .env(ROLE, endpoint)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test once more");
        Controller {
            orders: child.stdin.take().expect("a pipe"),
            words: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
        }
    }

    fn order(&mut self, word: &str) {
        writeln!(self.orders, "{word}").expect("the controller lives");
    }

    fn hear(&mut self) -> String {
        for line in self.words.by_ref().lines() {
            if let Some((_, word)) = line.expect("text").split_once('@') {
                return word.to_owned();
            }
        }
        panic!("the controller is gone");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it is ours");
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads how many replicas are wanted, and on the word "go" writes one more, if nobody has written since.
#[tokio::test]
async fn a_controller() {
    let Ok(endpoint) = std::env::var(ROLE) else {
        return; // It is the actor of another test.
    };
    let mut client = Client::connect([endpoint], None).await.expect("a client");
    let say = |word: String| {
        println!("@{word}");
        std::io::stdout().flush().expect("heard");
    };
    let mut orders = std::io::stdin().lines();
    while let Some(Ok(order)) = orders.next() {
        let seen = client.get("pitfalls/replicas", None).await.expect("get");
        let seen = &seen.kvs()[0];
        let (revision, replicas) = (seen.mod_revision(), seen.value_str().expect("text"));
        let more: u64 = replicas.parse::<u64>().expect("a number") + 1;
        say(format!("read {replicas}"));
        if order == "read, then wait" {
            let _ = orders.next();
        }
        let is_unchanged = Compare::mod_revision("pitfalls/replicas", CompareOp::Equal, revision);
        let put = TxnOp::put("pitfalls/replicas", more.to_string(), None);
        let swap = Txn::new().when([is_unchanged]).and_then([put]);
        let swap = client.txn(swap).await.expect("txn");
        say(format!("wrote {more}: {}", swap.succeeded()));
    }
}

/// Optimistic concurrency with a number that only rises is fencing: who sleeps over a change writes nothing.
#[tokio::test]
async fn a_paused_controller_loses_its_compare_and_swap() {
    let target = shared().await;
    let mut client = target.client.clone();
    client
        .put("pitfalls/replicas", "3", None)
        .await
        .expect("put");
    let mut controller = Controller::start(&target.endpoints[0]);
    controller.order("read, then wait");
    assert_eq!(controller.hear(), "read 3");
    controller.signal(Signal::STOP);
    // Meanwhile another one takes over and goes on.
    client
        .put("pitfalls/replicas", "7", None)
        .await
        .expect("put");
    controller.signal(Signal::CONT);
    controller.order("go");
    assert_eq!(controller.hear(), "wrote 4: false");
    let got = client.get("pitfalls/replicas", None).await.expect("get");
    assert_eq!(got.kvs()[0].value(), b"7");
    // It looks again, and then its word counts.
    controller.order("again");
    assert_eq!(controller.hear(), "read 7");
    assert_eq!(controller.hear(), "wrote 8: true");
}

/// A lock whose lease is over does not stop its old holder. Without a fence the late write wins; with one it is refused.
#[tokio::test]
async fn a_lock_alone_is_no_protection_and_a_fence_is() {
    let target = shared().await;
    let mut client = target.client.clone();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let lease = client.lease_grant(600, None).await.expect("grant").id();
        let options = LockOptions::new().with_lease(lease);
        let held = client.lock("pitfalls/lock", Some(options)).await;
        let key = held.expect("lock").key().to_vec();
        let got = client.get(key.clone(), None).await.expect("get");
        tokens.push((key, got.kvs()[0].create_revision()));
        if tokens.len() == 1 {
            // The holder was paused for longer than its lease lives.
            client.lease_revoke(lease).await.expect("revoke");
        }
    }
    assert!(tokens[0].1 < tokens[1].1, "tokens rise");
    client
        .put("pitfalls/data", "the second's", None)
        .await
        .expect("put");
    client
        .put("pitfalls/data", "the first's", None)
        .await
        .expect("put");
    let got = client.get("pitfalls/data", None).await.expect("get");
    assert_eq!(
        got.kvs()[0].value(),
        b"the first's",
        "the second's write is lost"
    );

    let mut outcomes = Vec::new();
    for (holder, who) in [(1, "the second's"), (0, "the first's")] {
        let (key, token) = tokens[holder].clone();
        let holds = Compare::create_revision(key, CompareOp::Equal, token);
        let put = TxnOp::put("pitfalls/data", who, None);
        let fenced = Txn::new().when([holds]).and_then([put]);
        outcomes.push(client.txn(fenced).await.expect("txn").succeeded());
    }
    assert_eq!(outcomes, [true, false]);
    let got = client.get("pitfalls/data", None).await.expect("get");
    assert_eq!(got.kvs()[0].value(), b"the second's");
}

/// Who hears nothing knows nothing: the write may take effect all the same, and asking again does it twice.
#[tokio::test]
async fn a_timeout_is_not_a_failure() {
    let target = shared().await;
    let mut client = target.client.clone();
    let mut n_lost = 0_i64;
    // The time to answer differs; somewhere in between the write is taken and the answer is not heard.
    for patience_us in (0..4000).step_by(40) {
        let put = client.put("pitfalls/timeout", "1", None);
        let heard = tokio::time::timeout(Duration::from_micros(patience_us), put).await;
        n_lost += i64::from(heard.is_err());
        let others = Client::connect([&target.endpoints[0]], None).await;
        client = others.expect("a client");
    }
    let n_heard = 100 - n_lost;
    let version = version_of(&mut client, "pitfalls/timeout").await;
    assert!(n_lost > 0, "no answer was lost");
    assert!(
        version > n_heard,
        "{version} writes took effect, {n_heard} were heard of"
    );
}

async fn version_of(client: &mut Client, key: &str) -> i64 {
    let got = client.get(key, None).await.expect("get");
    got.kvs().first().map_or(0, |kv| kv.version())
}

/// A fourth member makes writes slower and bears not one failure more than three do.
#[tokio::test]
async fn four_members_bear_no_more_than_three() {
    for (n_members, n_dead, goes_on) in [(3, 1, true), (4, 1, true), (4, 2, false)] {
        let mut target = alone(n_members).await;
        let Target { own, endpoints, .. } = &mut target;
        let Some(cluster) = own else {
            return; // A given cluster keeps its members.
        };
        for member in &mut cluster.members[..n_dead] {
            member.kill();
        }
        let options = || ConnectOptions::new().with_timeout(Duration::from_secs(3));
        let rest = endpoints.split_off(n_dead);
        if goes_on {
            eventually("the rest has a leader", || async {
                let mut client = Client::connect(&rest, Some(options())).await.ok()?;
                client.put("k", "v", None).await.ok()
            })
            .await;
        } else {
            let mut client = Client::connect(&rest, Some(options()))
                .await
                .expect("a client");
            for _ in 0..2 {
                let put = tokio::time::timeout(PATIENCE, client.put("k", "v", None)).await;
                let put = put.expect("it is told so in time");
                assert!(put.is_err(), "two of four are no majority");
            }
        }
    }
}
