//! A leader with a hot standby: who takes over has the state in memory, and no step is lost or done twice.
//!
//! Two processes campaign. Who leads counts, from the number in its memory, without reading it again; who does not follows
//! the number by a watch. The first process kills the leader three times. Whoever takes over first waits until its memory has
//! come as far as the cluster was when it was elected: then nothing of its predecessor can be missing, because an old leader's
//! write is refused by its fence from then on.
//!
//! Success only when the number and the version of its key are the same: then every write added one, and none was repeated.
//!
//! ```sh
//! quorate dev &
//! cargo run -p quorate --example hot_standby -- --endpoints 127.0.0.1:2379
//! ```

mod common;

use common::{Arguments, Ended};
use quorate::{Client, Held, WatchEvent};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const N_TAKEOVERS: usize = 3;
/// Short, so that the example is: a leader that is gone is missed for so long.
const TTL: Duration = Duration::from_secs(2);
/// How often the leader counts, and how far each leader comes before it is killed.
const PACE: Duration = Duration::from_millis(5);
const STEPS_PER_LEADER: u64 = 40;

/// What a standby has in memory: the number, and up to which revision that is known.
type Memory = (u64, u64);

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    common::run(disturb, node).await
}

/// One node: follows always, counts while it leads.
async fn node(q: Client, run: String, name: String) -> Ended {
    let (tx, rx) = watch::channel((0, 0));
    let following = tokio::spawn(follow(q.clone(), run.clone(), tx));
    let election = q.election(run.clone()).ttl(TTL);
    let leading = async {
        loop {
            let work = |held| {
                let (q, run, name, rx) = (q.clone(), run.clone(), name.clone(), rx.clone());
                async move { count(&q, &run, &name, &held, rx).await }
            };
            // It ends only with an error: a fence that does not hold, or no answer for too long.
            if let Err(error) = election.lead(name.clone(), work).await? {
                println!("{name}: {error}");
            }
        }
    };
    tokio::select! {
        followed = following => followed?,
        led = leading => led,
    }
}

async fn follow(q: Client, run: String, tx: watch::Sender<Memory>) -> Ended {
    let key = format!("/{run}/number");
    let got = q.get(&key).await?;
    let revision = got.freshness.revision;
    tx.send_replace((number(got.kv.as_ref()), revision));
    let mut changes = q.watch(&key).from(revision + 1).stream();
    while let Some(change) = changes.next().await {
        let change: WatchEvent = change?;
        tx.send_replace((number(Some(&change.kv)), change.revision()));
    }
    Err("the watch ended".into())
}

async fn count(
    q: &Client,
    run: &str,
    name: &str,
    held: &Held,
    mut memory: watch::Receiver<Memory>,
) -> Ended {
    let key = format!("/{run}/number");
    // Elected: no write of a predecessor can come any more. What is the newest one?
    let newest = q.get(&key).await?.kv.map_or(0, |kv| kv.revision);
    let hot = *memory.wait_for(|(_, known)| *known >= newest).await?;
    println!("{name} leads with token {}, from {}", held.token(), hot.0);
    let mut number = hot.0;
    loop {
        number += 1;
        let put = q.put(&key, number.to_string()).fence(&held.fence());
        put.await?;
        tokio::time::sleep(PACE).await;
    }
}

fn number(kv: Option<&quorate::KeyValue>) -> u64 {
    let text = kv.and_then(|kv| kv.text());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The first process: kills whoever leads, and checks.
async fn disturb(q: Client, arguments: Arguments, run: String) -> Ended {
    let key = format!("/{run}/number");
    let now = q.get(&key).await?.freshness.revision;
    let mut changes = q.watch(&key).from(now + 1).stream();
    let mut nodes = BTreeMap::new();
    for name in ["n1", "n2"] {
        nodes.insert(name.to_owned(), arguments.spawn(&run, name)?);
    }
    let mut reached = 0;
    for takeover in 0..=N_TAKEOVERS {
        let goal = reached + STEPS_PER_LEADER;
        let mut gap = None;
        let began = Instant::now();
        while reached < goal {
            let change = changes.next().await.ok_or("the watch ended")??;
            gap.get_or_insert_with(|| began.elapsed());
            let next = number(Some(&change.kv));
            if next != reached + 1 {
                return Err(format!("{next} follows {reached}").into());
            }
            reached = next;
        }
        if takeover == N_TAKEOVERS {
            break;
        }
        let leader = q.election(run.clone()).leader().await?;
        let leader = leader.ok_or("it counts, but nobody leads")?;
        let name = String::from_utf8_lossy(&leader.value).into_owned();
        println!("killing {name}, which has led to {reached}");
        let node = nodes.get_mut(&name).ok_or(format!("{name} leads?"))?;
        node.kill();
        *node = arguments.spawn(&run, &name)?;
        if takeover > 0 {
            println!("the takeover took {:?}", gap.unwrap_or_default());
        }
        // What the killed leader still had under way.
        while let Ok(Some(change)) = tokio::time::timeout(PACE * 20, changes.next()).await {
            reached = number(Some(&change?.kv));
        }
    }
    drop(nodes);
    let kv = q.get(&key).await?.kv.ok_or("the number is gone")?;
    if number(Some(&kv)) != kv.version {
        return Err(format!("{kv:?} was written {} times", kv.version).into());
    }
    println!(
        "counted to {} in as many writes, over {N_TAKEOVERS} takeovers",
        kv.version
    );
    q.delete(key).await?;
    Ok(())
}
