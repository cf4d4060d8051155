//! A million keys: memory, restart, and the worst put while the server tidies up.

use crate::Failure;
use crate::keys::{key, mix, value};
use crate::load::{connect, fill};
use crate::machine::Machine;
use crate::side::{Side, Subject, until_serving, until_serving_serializable};
use crate::table::{Table, mib, time};
use crate::tally::Tally;
use clap::Args;
use cluster::{Server, TempDir};
use etcd_client::{CompactionOptions, Txn, TxnOp};
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

const PATIENCE: Duration = Duration::from_secs(120);
const SPACE: &str = "milli";

/// Command line of `million`.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// How many keys.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// Clients that put while the server tidies up.
    #[arg(long, default_value_t = 4)]
    writers: u64,
    /// The least time for which each phase is watched, in seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

pub(crate) async fn main(arguments: Arguments) -> Result<(), Failure> {
    LocalSet::new().run_until(run(arguments)).await
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let links = TempDir::under(&arguments.subject.disk)?;
    let server = Server::new("million", &arguments.subject.server, links.path())?;
    // The default quota of etcd, 2 GB, is enough for a million; more keys need more.
    let server = server.with(&["--quota-backend-bytes", "8589934592"]);
    let mut side = Side::start(&server, &arguments.subject.disk).await?;
    let outcome = fill_restart_tidy(&mut side, &arguments).await;
    outcome.map_err(|failure| format!("{failure}\n{}", side.cluster.last_words()).into())
}

async fn fill_restart_tidy(side: &mut Side, arguments: &Arguments) -> Result<(), Failure> {
    let empty = resident(side);
    let mut connections = Vec::new();
    for endpoint in side.cluster.endpoints() {
        connections.push(connect(&endpoint).await?);
    }
    let began = Instant::now();
    fill(&connections, SPACE, arguments.keys, arguments.value_bytes).await?;
    let took = began.elapsed();
    println!(
        "{} keys of {} B in {took:.1?} (100 in a transaction): {:.0}/s",
        arguments.keys,
        arguments.value_bytes,
        arguments.keys as f64 / took.as_secs_f64()
    );
    let full = resident(side);
    for (i, member) in side.cluster.members.iter().enumerate() {
        let per_key = full[i].saturating_sub(empty[i]) as f64 / arguments.keys as f64;
        println!(
            "{}: {} resident ({} before), {per_key:.0} B a key; {} on disk",
            member.name,
            mib(full[i]),
            mib(empty[i]),
            mib(on_disk(&member.data)),
        );
    }
    restart(side).await?;
    phases(side, arguments).await?;
    for member in &side.cluster.members {
        for line in member.said("slow fdatasync") {
            println!("{}: {line}", member.name);
        }
    }
    Ok(())
}

fn resident(side: &Side) -> Vec<u64> {
    let one = |member: &cluster::Member| member.usage().unwrap_or_default().resident_bytes;
    side.cluster.members.iter().map(one).collect()
}

/// The newest checkpoint of each member of ours, by its name; a server that writes none has none.
fn checkpoints(side: &Side) -> Vec<Option<u64>> {
    let newest = |member: &cluster::Member| {
        let files = std::fs::read_dir(member.data.join("member")).ok()?;
        let number = |file: std::fs::DirEntry| {
            let name = file.file_name().into_string().ok()?;
            name.strip_prefix("checkpoint-")?.parse().ok()
        };
        files.flatten().filter_map(number).max()
    };
    side.cluster.members.iter().map(newest).collect()
}

/// What a folder takes on disk: blocks, since logs are preallocated and may have holes.
fn on_disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let one = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => on_disk(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(one).sum()
}

/// From the start of the process to service: one member beside two, then all at once.
async fn restart(side: &mut Side) -> Result<(), Failure> {
    let one = (side.leader().await? + 1) % 3;
    side.cluster.members[one].kill();
    side.cluster.members[one].start()?;
    let began = Instant::now();
    let endpoint = side.cluster.members[one].client_url();
    let local = until_serving_serializable(&endpoint, PATIENCE)
        .await
        .ok_or("no service")?;
    until_serving(&endpoint, PATIENCE)
        .await
        .ok_or("no service")?;
    println!(
        "restart of one (kill -9): its own state after {local:.2?}, linearizable after {:.2?}",
        began.elapsed()
    );
    for member in &mut side.cluster.members {
        member.kill();
    }
    for member in &mut side.cluster.members {
        member.start()?;
    }
    let began = Instant::now();
    let (mut locals, mut all) = (Vec::new(), Vec::new());
    for endpoint in side.cluster.endpoints() {
        locals.push(
            until_serving_serializable(&endpoint, PATIENCE)
                .await
                .map(|_| began.elapsed()),
        );
    }
    for endpoint in side.cluster.endpoints() {
        until_serving(&endpoint, PATIENCE)
            .await
            .ok_or("no service")?;
        all.push(began.elapsed());
    }
    println!(
        "restart of all (kill -9): own state after at most {:.2?}, linearizable at all after {:.2?}",
        locals.into_iter().flatten().max().unwrap_or_default(),
        all.into_iter().max().unwrap_or_default()
    );
    Ok(())
}

/// Puts go on all the while; each phase has its own tally.
async fn phases(side: &Side, arguments: &Arguments) -> Result<(), Failure> {
    let tally = Rc::new(RefCell::new(Tally::new()));
    let puts = Rc::new(RefCell::new(Vec::new()));
    let stop = Rc::new(Cell::new(false));
    let next = Rc::new(Cell::new(0_u64));
    let endpoints = side.cluster.endpoints();
    let mut tasks = Vec::new();
    for writer in 0..arguments.writers {
        let endpoint = &endpoints[usize::try_from(writer)? % endpoints.len()];
        let mut client = connect(endpoint).await?;
        let (tally, stop, next) = (tally.clone(), stop.clone(), next.clone());
        let puts = puts.clone();
        let (keys, bytes) = (arguments.keys, arguments.value_bytes);
        tasks.push(tokio::task::spawn_local(async move {
            while !stop.get() {
                let n = next.get();
                next.set(n + 1);
                let began = Instant::now();
                let put = client
                    .put(key(SPACE, mix(n) % keys), value(n, bytes), None)
                    .await;
                match put {
                    Ok(_) => {
                        let ended = Instant::now();
                        tally.borrow_mut().done(ended - began);
                        puts.borrow_mut().push((began, ended));
                    }
                    Err(err) => tally.borrow_mut().failed(&err),
                }
            }
        }));
    }
    let mut table = Table::new(&[
        "while",
        "took",
        "puts",
        "p50",
        "p99",
        "worst put",
        "errors",
        "less halts",
        "worst halt",
        "bare sync",
        "CPU stolen",
        "RSS of three",
    ]);
    let machine = Machine::watch(&arguments.subject.disk)?;
    for phase in [
        "nothing",
        "checkpoints",
        "compaction",
        "defragment",
        "snapshot save",
    ] {
        tally.replace(Tally::new());
        puts.take();
        machine.take();
        let began = Instant::now();
        tidy(phase, side, arguments, &tally).await?;
        let took = began.elapsed();
        let least = Duration::from_secs_f64(arguments.seconds);
        // A sweep in the background goes on after the answer.
        tokio::time::sleep(least.saturating_sub(took)).await;
        let s = tally.borrow().summary();
        let halts = machine.take();
        let less_halts = puts
            .take()
            .into_iter()
            .map(|(began, ended)| (ended - began).saturating_sub(halts.within(began, ended)))
            .max()
            .unwrap_or_default();
        table.row(vec![
            phase.to_owned(),
            format!("{took:.2?}"),
            s.operations.to_string(),
            time(s.p50_us as f64),
            time(s.p99_us as f64),
            time(s.max_us as f64),
            s.errors.to_string(),
            time(less_halts.as_micros() as f64),
            time(halts.worst().as_micros() as f64),
            time(halts.slowest_sync.as_micros() as f64),
            format!("{:.0} %", halts.stolen * 100.0),
            mib(side.cluster.usage().resident_bytes),
        ]);
    }
    stop.set(true);
    for task in tasks {
        task.await?;
    }
    println!(
        "\n{} clients put all the while:\n\n{table}",
        arguments.writers
    );
    Ok(())
}

async fn tidy(
    phase: &str,
    side: &Side,
    arguments: &Arguments,
    tally: &RefCell<Tally>,
) -> Result<(), Failure> {
    let endpoints = &side.cluster.endpoints();
    match phase {
        "nothing" => {}
        // Ours writes one when the log has grown by an eighth of the state; etcd writes what it writes
        // at 10,000 entries, several times over.
        "checkpoints" => {
            let before = checkpoints(side);
            let mut client = connect(&endpoints[0]).await?;
            let mut n = 0;
            loop {
                // Puts of the measured size; a batch is one entry, as large as ten of them.
                let puts = (n..n + 10).map(|n| {
                    let at = key(SPACE, mix(n) % arguments.keys);
                    TxnOp::put(at, value(n, arguments.value_bytes), None)
                });
                client
                    .txn(Txn::new().and_then(puts.collect::<Vec<_>>()))
                    .await?;
                n += 10;
                let enough = tally.borrow().done_so_far() >= 10_000;
                let now = checkpoints(side);
                let all_wrote = before.iter().zip(&now).all(|(before, now)| before != now);
                if enough && (all_wrote || before.iter().all(Option::is_none)) {
                    break;
                }
            }
        }
        "compaction" => {
            let mut client = connect(&endpoints[0]).await?;
            let now = client.get("no-such-key", None).await?;
            let revision = now
                .header()
                .map_or(0, etcd_client::ResponseHeader::revision);
            let physical = CompactionOptions::new().with_physical();
            client.compact(revision, Some(physical)).await?;
        }
        "defragment" => {
            for endpoint in endpoints {
                connect(endpoint).await?.defragment().await?;
            }
        }
        "snapshot save" => {
            for endpoint in endpoints {
                let mut stream = connect(endpoint).await?.snapshot().await?;
                let mut bytes = 0;
                while let Some(part) = stream.message().await? {
                    bytes += part.blob().len() as u64;
                }
                eprintln!("snapshot of {endpoint}: {}", mib(bytes));
            }
        }
        other => return Err(format!("no phase is called {other}").into()),
    }
    Ok(())
}
