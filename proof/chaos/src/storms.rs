//! Storms: big values, small writes from many connections, thousands of watches. The leader stays.
//!
//! ```text
//!   an honest client    puts and reads a small key, one request at a time, all the while
//!   calm                alone: what it is used to
//!   big values          64 clients put 1 MB each, again and again
//!   small writes        1,000 connections, each with a put under way
//!   watches             10,000 are created, and nobody reads what they tell; then every put is told to all of them
//! ```
//!
//! What must hold: each storm got something done, or it was none; the term does not change, so nobody doubted the leader; the
//! honest client's requests succeed; members end with the same hash of all their keys. What the honest client waits (p50, p99, longest) is printed for each weather, and judged by nobody here: it
//! depends on the machine. The storm runs on a thread of its own.

use crate::Failure;
use crate::client::connect;
use crate::run::build;
use cluster::{Cluster, Server, TempDir};
use etcd_client::{Client, CompactionOptions, WatchOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);
/// The honest client waits so long, and then its request has failed.
const ANSWER: Duration = Duration::from_secs(7);
const LOOK: Duration = Duration::from_millis(20);
const BIG_BYTES: usize = 1_000_000;
/// Keys of big values: what is overwritten is compacted away, so the data stays small.
const BIG_KEYS: u64 = 16;
const BIG_CLIENTS: u64 = 64;
const CONNECTIONS: u64 = 1000;
/// Watches on one stream.
const WATCHES_PER_STREAM: u64 = 500;
const TOLD_BYTES: usize = 4096;

/// Command line of `storms`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The server: a program and flags. Without it, the one of this tree is built and used.
    #[arg(long)]
    server: Option<String>,
    /// A folder for the members' data.
    #[arg(long, default_value = "target")]
    disk: PathBuf,
    /// Seconds of each weather.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Watches.
    #[arg(long, default_value_t = 10_000)]
    watches: u64,
}

#[derive(Clone, Copy, Debug)]
enum Weather {
    Calm,
    BigValues,
    SmallWrites,
    Watches(u64),
}

/// What the storm did.
#[derive(Default)]
struct Storm {
    stop: AtomicBool,
    done: AtomicU64,
    refused: AtomicU64,
}

/// Runs, and fails when the leader did not stay.
pub(crate) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let command = match &arguments.server {
        Some(server) => server.clone(),
        None => build()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(story(arguments, &command))
}

async fn story(arguments: &Arguments, command: &str) -> Result<(), Failure> {
    let folder = TempDir::under(&arguments.disk)?;
    let server = Server::new("quorate", command, folder.path())?;
    let server = server.with(&["--quota-backend-bytes=8589934592"]);
    let cluster = Cluster::start(&server, &folder.path().join("data"), 3)?;
    let urls = cluster.endpoints();
    let mut clients = Vec::new();
    for url in &urls {
        clients.push(serving(url, &cluster).await?);
    }
    let before = office(&mut clients[0]).await?;
    println!("leader {:x}, term {}", before.0, before.1);
    for weather in [
        Weather::Calm,
        Weather::BigValues,
        Weather::SmallWrites,
        Weather::Watches(arguments.watches),
    ] {
        let storm = Arc::new(Storm::default());
        let thread = {
            let (urls, storm) = (urls.clone(), storm.clone());
            std::thread::spawn(move || rage(weather, urls, &storm))
        };
        let waits = honest(&mut clients, Duration::from_secs(arguments.seconds)).await;
        storm.stop.store(true, Ordering::Relaxed);
        thread.join().map_err(|_| "the storm's thread fell")?;
        let mut waits = waits.map_err(|why| format!("{why}\n{}", cluster.last_words()))?;
        waits.sort_unstable();
        let at = |share: usize| waits[(waits.len() - 1) * share / 100];
        let after = office(&mut clients[0]).await?;
        println!(
            "{weather:?}: an honest client's {} requests: p50 {:?}, p99 {:?}, longest {:?}; the storm: {} done, {} refused; term {}",
            waits.len(),
            at(50),
            at(99),
            at(100),
            storm.done.load(Ordering::Relaxed),
            storm.refused.load(Ordering::Relaxed),
            after.1
        );
        if after != before {
            let words = cluster.last_words();
            return Err(format!(
                "{weather:?} cost the leader its office: {before:?}, then {after:?}\n{words}"
            )
            .into());
        }
        if !matches!(weather, Weather::Calm) && storm.done.load(Ordering::Relaxed) == 0 {
            return Err(format!("{weather:?} was no storm: nothing of it was done").into());
        }
        forget_history(&mut clients[0]).await?;
    }
    let (revision, hash) = alike(&mut clients).await?;
    println!("the members end alike: hash {hash:08x} at revision {revision}");
    Ok(())
}

/// The hash of all keys at the newest revision, which must be every member's.
async fn alike(clients: &mut [Client]) -> Result<(i64, u32), Failure> {
    // Its header names a revision that is decided.
    let newest = timeout(PATIENCE, clients[0].get("honest", None)).await??;
    let revision = newest.header().map_or(0, |header| header.revision());
    let began = Instant::now();
    loop {
        let mut found = Vec::new();
        for client in clients.iter_mut() {
            // Whoever lags does not have the revision yet, or has not compacted yet.
            if let Ok(hash) = timeout(PATIENCE, client.hash_kv(revision)).await? {
                found.push((hash.hash(), hash.compact_version()));
            }
        }
        match found.first() {
            Some((hash, _))
                if found.len() == clients.len() && found.iter().all(|one| *one == found[0]) =>
            {
                return Ok((revision, *hash));
            }
            _ if began.elapsed() > PATIENCE => {
                return Err(format!("members differ at revision {revision}: {found:x?}").into());
            }
            _ => sleep(LOOK).await,
        }
    }
}

async fn serving(url: &str, cluster: &Cluster) -> Result<Client, Failure> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(mut client) = connect(url).await
            && let Ok(Ok(_)) = timeout(ANSWER, client.get("x", None)).await
        {
            return Ok(client);
        }
        sleep(LOOK).await;
    }
    Err(format!("{url} does not serve:\n{}", cluster.last_words()).into())
}

/// Who leads, in which term.
async fn office(client: &mut Client) -> Result<(u64, u64), Failure> {
    let status = timeout(PATIENCE, client.status()).await??;
    Ok((status.leader(), status.raft_term()))
}

async fn forget_history(client: &mut Client) -> Result<(), Failure> {
    let revision = client
        .status()
        .await?
        .header()
        .map_or(0, |it| it.revision());
    let physical = Some(CompactionOptions::new());
    match timeout(PATIENCE, client.compact(revision, physical)).await? {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("compaction: {error}").into()),
    }
}

/// One request at a time, at each member in turn; how long each took.
async fn honest(clients: &mut [Client], time: Duration) -> Result<Vec<Duration>, String> {
    let began = Instant::now();
    let mut waits = Vec::new();
    let mut n = 0_usize;
    while began.elapsed() < time {
        let client = &mut clients[n % 3];
        let asked = Instant::now();
        let answered = timeout(ANSWER, async {
            match n % 2 {
                0 => client.put("honest", n.to_string(), None).await.map(drop),
                _ => client.get("honest", None).await.map(drop),
            }
        })
        .await;
        match answered {
            Ok(Ok(())) => waits.push(asked.elapsed()),
            Ok(Err(error)) => return Err(format!("request {n} of the honest client: {error}")),
            Err(_) => {
                return Err(format!(
                    "request {n} of the honest client: no answer in {ANSWER:?}"
                ));
            }
        }
        n += 1;
        sleep(Duration::from_millis(5)).await;
    }
    Ok(waits)
}

fn rage(weather: Weather, urls: Vec<String>, storm: &Arc<Storm>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    let storm = storm.clone();
    LocalSet::new().block_on(&runtime, async move {
        match weather {
            Weather::Calm => {}
            Weather::BigValues => {
                let putters = (0..BIG_CLIENTS).map(|n| {
                    let key = format!("big/{}", n % BIG_KEYS);
                    put_on(urls[n as usize % 3].clone(), key, BIG_BYTES, storm.clone())
                });
                all(putters).await;
            }
            Weather::SmallWrites => {
                let putters = (0..CONNECTIONS).map(|n| {
                    let key = format!("small/{n}");
                    put_on(urls[n as usize % 3].clone(), key, 16, storm.clone())
                });
                all(putters).await;
            }
            Weather::Watches(n) => watch_all(n, &urls, &storm).await,
        }
    });
}

async fn all(tasks: impl Iterator<Item = impl Future<Output = ()> + 'static>) {
    let tasks: Vec<_> = tasks.map(tokio::task::spawn_local).collect();
    for task in tasks {
        // One that fell has nothing to say here; the honest client is the judge.
        let _ = task.await;
    }
}

/// Puts on a connection of its own until the storm is over.
async fn put_on(url: String, key: String, bytes: usize, storm: Arc<Storm>) {
    let value = vec![b'x'; bytes];
    while !storm.stop.load(Ordering::Relaxed) {
        let Some(mut client) = connect(&url).await else {
            sleep(LOOK).await;
            continue;
        };
        while !storm.stop.load(Ordering::Relaxed) {
            match timeout(ANSWER, client.put(key.clone(), value.clone(), None)).await {
                Ok(Ok(_)) => storm.done.fetch_add(1, Ordering::Relaxed),
                _ => {
                    storm.refused.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            };
        }
    }
}

/// Opens `n` watches of one prefix and reads nothing of them; then puts keys of it.
async fn watch_all(n: u64, urls: &[String], storm: &Arc<Storm>) {
    let mut streams = Vec::new();
    for number in 0..n / WATCHES_PER_STREAM {
        let Some(mut client) = connect(&urls[number as usize % 3]).await else {
            storm
                .refused
                .fetch_add(WATCHES_PER_STREAM, Ordering::Relaxed);
            continue;
        };
        let prefix = || Some(WatchOptions::new().with_prefix());
        let Ok(mut stream) = client.watch("told/", prefix()).await else {
            storm
                .refused
                .fetch_add(WATCHES_PER_STREAM, Ordering::Relaxed);
            continue;
        };
        for _ in 1..WATCHES_PER_STREAM {
            // Answers are read while watches are created: the client's own queue is short.
            let _ = timeout(Duration::from_secs(1), stream.message()).await;
            if stream.watch("told/", prefix()).await.is_err() {
                break;
            }
            storm.done.fetch_add(1, Ordering::Relaxed);
        }
        streams.push((client, stream));
    }
    let putters = (0..8_u64).map(|n| {
        let key = format!("told/{n}");
        put_on(urls[n as usize % 3].clone(), key, TOLD_BYTES, storm.clone())
    });
    all(putters).await;
}
