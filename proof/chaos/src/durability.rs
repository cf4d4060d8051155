//! Acknowledged means durable on a majority: shown by the completions of the members' own log writes.
//!
//! Every member runs under a tracer that writes down each `pwrite64` and `fdatasync` with its time; clients put
//! values that carry a token each, and note when the acknowledgement came. The value stands in the log as it
//! was put, so a token is found in the write that holds its entry; it is durable there when a sync of the same file that
//! began after that write has returned 0.
//!
//! ```text
//!   n1   pwrite64(wal, …token…)   fdatasync(wal) = 0 ─┐
//!   n2        pwrite64(wal, …token…)   fdatasync ─────┼─ the second of three ≤ acknowledgement
//!   n3             (asleep)                           ┘
//! ```
//!
//! Halfway the leader is stopped for a while, so that there are acknowledgements of two leaders, and of two members alone.
//! The tracers and the clients read the same clock of the machine. A tracer is slower than what it
//! traces: a sync is written down when it has returned and before the member goes on, so nothing is dated too early that
//! could hide an acknowledgement that came too soon.

use crate::Failure;
use crate::client::connect;
use crate::field::Field;
use crate::run::{Target, build};
use crate::strace::Tracer;
use cluster::TempDir;
use etcd_client::Client;
use rustix::process::Signal;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(3);
/// How long the leader is stopped. Well above an election.
const STOPPED: Duration = Duration::from_secs(3);
/// Digits of a token: all have the same length, so none is part of another.
const DIGITS: usize = 9;

/// Command line of `durability`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Acknowledged puts, at least.
    #[arg(long, default_value_t = 5000)]
    puts: u64,
    /// Clients.
    #[arg(long, default_value_t = 20)]
    clients: u64,
}

/// When something happened, in microseconds of the machine's clock: what a tracer can tell.
type Micros = u64;

/// One call of a member's log, as its tracer saw it end.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    /// These tokens were written to `file`.
    Write {
        file: String,
        began: Micros,
        ended: Micros,
        tokens: Vec<u64>,
    },
    /// What was written to `file` before is durable.
    Sync {
        file: String,
        began: Micros,
        ended: Micros,
    },
}

/// Runs, and compares acknowledgements with syncs.
pub(crate) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let server = match &arguments.target.server {
        Some(server) => server.clone(),
        None => build()?,
    };
    let target = &arguments.target;
    let field = Field::start(&server, &target.disk, target.members, target.mib)?;
    if let Err(why) = crate::strace::is_there() {
        println!("skipped: the syncs of members cannot be traced here ({why})");
        return Ok(());
    }
    let traces = TempDir::under(&target.disk)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let acknowledged =
        runtime.block_on(LocalSet::new().run_until(puts(arguments, &field, traces.path())))?;
    let mut members = Vec::new();
    for member in 0..field.n() {
        members.push(durable(calls(traces.path(), member)?));
    }
    let verdict = compare(&acknowledged, &members);
    let seen: Vec<usize> = members.iter().map(BTreeMap::len).collect();
    println!(
        "{} acknowledged puts; tokens synced by the members' logs: {seen:?}; when they were acknowledged, {} were durable on \
         all {} members, {} on a majority alone, {} on fewer",
        acknowledged.len(),
        verdict.on_all,
        members.len(),
        verdict.on_majority,
        verdict.too_early.len()
    );
    for one in verdict.too_early.iter().take(10) {
        println!("VIOLATION acknowledged_means_durable_on_a_majority: {one}");
    }
    if verdict.too_early.is_empty() {
        return Ok(());
    }
    // The evidence stays.
    let kept = traces.path().display().to_string();
    std::mem::forget(traces);
    Err(
        format!("acknowledged before it was durable on a majority; the traces are in {kept}")
            .into(),
    )
}

/// Puts under tracers; when each token was acknowledged.
async fn puts(
    arguments: &Arguments,
    field: &Field,
    traces: &Path,
) -> Result<BTreeMap<u64, Micros>, Failure> {
    let urls = field.cluster.endpoints();
    for url in &urls {
        serves(url).await?;
    }
    let mut tracers = Vec::new();
    for (member, process) in field.cluster.members.iter().enumerate() {
        let pid = process.pid().ok_or("a member does not run")?;
        tracers.push(Tracer::completions(pid, &prefix(traces, member))?);
    }
    // A tracer that has seen a sync of each member is on all threads that sync.
    for (member, url) in urls.iter().enumerate() {
        let until = Instant::now() + PATIENCE;
        while calls(traces, member)?.is_empty() {
            if Instant::now() > until {
                return Err("a tracer sees nothing".into());
            }
            let mut client = connect(url).await.ok_or("no connection")?;
            let _ = timeout(ANSWER, client.put("warm", "up", None)).await;
        }
    }
    let crowd = Rc::new(Crowd {
        urls,
        next: Cell::new(0),
        stop: Cell::new(false),
        acknowledged: RefCell::default(),
    });
    let clients: Vec<_> = (0..arguments.clients)
        .map(|slot| tokio::task::spawn_local(client(slot as usize, crowd.clone())))
        .collect();
    let until = |n: u64| {
        let crowd = crowd.clone();
        async move {
            let patience = Instant::now() + PATIENCE * 5;
            while (crowd.acknowledged.borrow().len() as u64) < n {
                if Instant::now() > patience {
                    return Err("the puts do not go on");
                }
                sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        }
    };
    until(arguments.puts / 2).await?;
    let leader = leader(&crowd.urls).await.unwrap_or(0);
    field.signal(leader, Signal::STOP);
    sleep(STOPPED).await;
    field.signal(leader, Signal::CONT);
    until(arguments.puts).await?;
    crowd.stop.set(true);
    for client in clients {
        client.await?;
    }
    drop(tracers);
    Ok(crowd.acknowledged.take())
}

/// What the clients share.
struct Crowd {
    urls: Vec<String>,
    next: Cell<u64>,
    stop: Cell<bool>,
    acknowledged: RefCell<BTreeMap<u64, Micros>>,
}

/// Puts one token after the other; another member after a failure.
async fn client(slot: usize, crowd: Rc<Crowd>) {
    let mut member = slot % crowd.urls.len();
    let mut connection: Option<Client> = None;
    while !crowd.stop.get() {
        let Some(client) = &mut connection else {
            connection = connect(&crowd.urls[member]).await;
            continue;
        };
        let number = crowd.next.get();
        crowd.next.set(number + 1);
        let put = client.put(format!("durable/{slot}"), value(number), None);
        if let Ok(Ok(_)) = timeout(ANSWER, put).await {
            crowd.acknowledged.borrow_mut().insert(number, now());
        } else {
            member = (member + 1) % crowd.urls.len();
            connection = None;
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn serves(url: &str) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let read = async { connect(url).await?.get("no-such-key", None).await.ok() };
        if let Ok(Some(_)) = timeout(Duration::from_secs(1), read).await {
            return Ok(());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Err(format!("{url} does not serve").into())
}

async fn leader(urls: &[String]) -> Option<usize> {
    for (member, url) in urls.iter().enumerate() {
        let status = timeout(ANSWER, async { connect(url).await?.status().await.ok() });
        if let Ok(Some(status)) = status.await
            && status.header().map(|header| header.member_id()) == Some(status.leader())
        {
            return Some(member);
        }
    }
    None
}

fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

/// What is put: the token twice. A log cuts what it writes into sectors with a head each, which may fall into one
/// of the two, never into both.
fn value(number: u64) -> String {
    token(number).repeat(2)
}

/// How a number is found again in a log.
fn token(number: u64) -> String {
    format!("<{number:0DIGITS$}>")
}

/// The tokens in what a tracer prints of a buffer.
fn tokens(text: &str) -> Vec<u64> {
    let ends = text.match_indices('<').filter_map(|(at, _)| {
        let rest = text.get(at + 1..at + 2 + DIGITS)?;
        rest.strip_suffix('>')?.parse().ok()
    });
    ends.collect()
}

fn prefix(traces: &Path, member: usize) -> std::path::PathBuf {
    traces.join(format!("n{}", member + 1))
}

/// What the tracer of a member saw its log do: one file for each thread.
fn calls(traces: &Path, member: usize) -> Result<Vec<Call>, Failure> {
    let name = format!("n{}.", member + 1);
    let mut calls = Vec::new();
    for entry in std::fs::read_dir(traces)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&name) {
            let text = std::fs::read(entry.path())?;
            let text = String::from_utf8_lossy(&text);
            calls.extend(text.lines().filter_map(call));
        }
    }
    Ok(calls)
}

/// One line of a tracer: `1763700000.000001 fdatasync(9</d/wal-1.log>) = 0 <0.000800>`. Other calls, other files,
/// and calls that failed are nothing.
fn call(line: &str) -> Option<Call> {
    let (time, rest) = line.split_once(' ')?;
    let began = micros(time)?;
    let (name, rest) = rest.split_once('(')?;
    let (_, rest) = rest.split_once('<')?;
    let (file, rest) = rest.split_once('>')?;
    let (arguments, end) = rest.rsplit_once(" = ")?;
    let (result, lasted) = end.split_once(" <")?;
    let result: i64 = result.parse().ok()?;
    let ended = began + micros(lasted.strip_suffix('>')?)?;
    let is_log = file.rsplit('/').next()?.starts_with("wal-");
    let file = file.to_owned();
    match name {
        _ if !is_log || result < 0 => None,
        "fdatasync" => Some(Call::Sync { file, began, ended }),
        _ => Some(Call::Write {
            file,
            began,
            ended,
            tokens: tokens(arguments),
        }),
    }
}

/// `12.000345` as 12,000,345.
fn micros(text: &str) -> Option<Micros> {
    let (seconds, rest) = text.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    let rest: u64 = (rest.len() == 6).then(|| rest.parse().ok())??;
    Some(seconds * 1_000_000 + rest)
}

/// When each token was first durable at a member.
fn durable(calls: Vec<Call>) -> BTreeMap<u64, Micros> {
    let mut syncs: BTreeMap<String, Vec<(Micros, Micros)>> = BTreeMap::new();
    for call in &calls {
        if let Call::Sync { file, began, ended } = call {
            syncs
                .entry(file.clone())
                .or_default()
                .push((*began, *ended));
        }
    }
    syncs.values_mut().for_each(|syncs| syncs.sort_unstable());
    let mut durable = BTreeMap::new();
    for call in &calls {
        let Call::Write {
            file,
            ended: written,
            tokens,
            ..
        } = call
        else {
            continue;
        };
        let of_file = syncs.get(file).map_or(&[][..], Vec::as_slice);
        let next = of_file.partition_point(|(began, _)| began < written);
        let Some((_, synced)) = of_file.get(next) else {
            continue;
        };
        for token in tokens {
            let first = durable.entry(*token).or_insert(*synced);
            *first = (*first).min(*synced);
        }
    }
    durable
}

/// What acknowledgements were worth.
#[derive(Default, Debug)]
struct Verdict {
    on_all: usize,
    on_majority: usize,
    too_early: Vec<String>,
}

/// Each acknowledgement against the syncs that had returned by then.
fn compare(acknowledged: &BTreeMap<u64, Micros>, members: &[BTreeMap<u64, Micros>]) -> Verdict {
    let mut verdict = Verdict::default();
    for (number, at) in acknowledged {
        let synced: Vec<Option<&Micros>> = members.iter().map(|m| m.get(number)).collect();
        let n = synced
            .iter()
            .flatten()
            .filter(|synced| **synced <= at)
            .count();
        if n == members.len() {
            verdict.on_all += 1;
        } else if n > members.len() / 2 {
            verdict.on_majority += 1;
        } else {
            let token = token(*number);
            let evidence = format!("{token} acknowledged at {at}, synced at {synced:?}");
            verdict.too_early.push(evidence);
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: &str = r#"100.000010 pwrite64(9</d/n1/member/wal-1.log>, "\1\0k<000000007>\0<000000008>\0", 4096, 8192) = 4096 <0.000040>"#;
    const SYNC: &str = "100.000060 fdatasync(9</d/n1/member/wal-1.log>) = 0 <0.000800>";

    fn durable_of(lines: &[&str]) -> BTreeMap<u64, Micros> {
        durable(lines.iter().filter_map(|line| call(line)).collect())
    }

    #[test]
    fn a_token_is_durable_when_the_next_sync_of_its_file_returns() {
        let found = durable_of(&[WRITE, SYNC]);
        let expected = [(7, 100_000_860), (8, 100_000_860)];
        assert_eq!(found, BTreeMap::from(expected));
    }

    #[test]
    fn a_value_that_a_sector_head_cuts_is_found() {
        let whole = value(18);
        for at in 0..whole.len() {
            let cut = format!("{}\\0\\16{}", &whole[..at], &whole[at..]);
            assert!(tokens(&cut).contains(&18), "{cut}");
        }
    }

    #[test]
    fn a_sync_that_began_before_failed_or_was_of_another_file_makes_nothing_durable() {
        let early = SYNC.replace("100.000060", "100.000049");
        let failed = SYNC.replace("= 0 <", "= -1 EIO (Input/output error) <");
        let other = SYNC.replace("wal-1", "wal-2");
        for sync in [early, failed, other] {
            assert_eq!(durable_of(&[WRITE, &sync]), BTreeMap::new(), "{sync}");
        }
    }

    #[test]
    fn an_acknowledgement_before_the_second_of_three_syncs_is_found() {
        let member = |at: Micros| BTreeMap::from([(7, at)]);
        let members = [member(10), member(20), BTreeMap::new()];
        let judge = |at: Micros| compare(&BTreeMap::from([(7, at)]), &members);
        assert_eq!(judge(19).too_early.len(), 1);
        assert_eq!(judge(20).on_majority, 1);
        let all = [member(10), member(20), member(30)];
        assert_eq!(compare(&BTreeMap::from([(7, 30)]), &all).on_all, 1);
    }
}
