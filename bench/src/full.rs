//! Full disks, really full: each member has a small file system of its own, in a file, and it is filled.
//!
//! ```text
//!   a follower's, then the leader's    writes go on, nobody dies, the member catches up when there is room
//!   all of them, by a stranger's file  every put is refused in etcd's words; reads, deletes and compactions work;
//!                                      kill -9 of all: they start on full disks and serve reads
//!   all of them, by our own data       as above; then delete, compact, defragment: puts work again
//! ```
//!
//! In the end every acknowledged key is at every member, and all hash alike. Needs root (mount) and e2fsprogs.

use crate::Failure;
use crate::failover::verify;
use crate::keys::value;
use crate::load::connect;
use crate::side::{Side, Subject, status, until_serving};
use crate::writers::Writers;
use clap::Args;
use cluster::{Image, Member, Server, TempDir};
use etcd_client::{CompactionOptions, DeleteOptions, GetOptions};
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

const PATIENCE: Duration = Duration::from_secs(60);
const BALLAST: &str = "ballast";
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// Command line of `full-disk`.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// MiB of each member's file system.
    #[arg(long, default_value_t = 320)]
    mib: u64,
    /// Seconds for which writes must go on beside one full disk.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

pub(crate) async fn main(arguments: Arguments) -> Result<(), Failure> {
    LocalSet::new().run_until(run(arguments)).await
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let folder = TempDir::under(&arguments.subject.disk)?;
    let mut mounted = Vec::new();
    for name in ["n1", "n2", "n3"] {
        mounted.push(Image::new(folder.path(), name, arguments.mib)?);
    }
    let server = Server::new("full", &arguments.subject.server, folder.path())?;
    let mut side = Side::start_in(&server, folder).await?;
    let outcome = story(&mut side, &arguments).await;
    let outcome =
        outcome.map_err(|failure| format!("{failure}\n{}", side.cluster.last_words()).into());
    drop(side);
    outcome
}

async fn story(side: &mut Side, arguments: &Arguments) -> Result<(), Failure> {
    let mut writers = Writers::start(&side.cluster.endpoints(), 4).await?;
    writers
        .until_acks_after(writers.now(), 100, PATIENCE)
        .await?;

    for who in ["a follower", "the leader"] {
        let leader = side.leader().await?;
        let victim = if who == "the leader" {
            leader
        } else {
            (leader + 1) % 3
        };
        let (before, at) = (writers.n_acks(), writers.now());
        fill(&side.cluster.members[victim])?;
        tokio::time::sleep(Duration::from_secs_f64(arguments.seconds)).await;
        writers
            .until_acks_after(writers.now(), 100, PATIENCE)
            .await?;
        alive(side).await?;
        println!(
            "{who} with a full disk: {} writes in {:.1?}, longest pause {:.2?}",
            writers.n_acks() - before,
            writers.now() - at,
            writers.longest_gap_since(at)
        );
        empty(&side.cluster.members[victim])?;
        has_room_again(&side.cluster.members[victim]).await?;
    }

    for member in &side.cluster.members {
        fill(member)?;
    }
    refused_at_all(side, "by a stranger").await?;
    still_serves(side).await?;
    for member in &mut side.cluster.members {
        member.kill();
    }
    for member in &mut side.cluster.members {
        member.start()?;
    }
    side.serves().await?;
    refused_at_all(side, "after kill -9").await?;
    still_serves(side).await?;
    for member in &side.cluster.members {
        empty(member)?;
    }
    let began = Instant::now();
    writers
        .until_acks_after(writers.now(), 100, PATIENCE)
        .await?;
    println!("room again: writes after {:.1?}", began.elapsed());
    writers.stop().await;

    let big = big_puts(side).await?;
    println!("our own data: refused after {big} puts of 64 KiB");
    refused_at_all(side, "by our own data").await?;
    still_serves(side).await?;
    let mut client = connect(&side.cluster.endpoints()[0]).await?;
    let deleted = client
        .delete("big/", Some(DeleteOptions::new().with_prefix()))
        .await?;
    let revision = deleted
        .header()
        .map_or(0, etcd_client::ResponseHeader::revision);
    let physical = CompactionOptions::new().with_physical();
    client.compact(revision, Some(physical)).await?;
    for endpoint in side.cluster.endpoints() {
        connect(&endpoint).await?.defragment().await?;
    }
    let began = Instant::now();
    for endpoint in side.cluster.endpoints() {
        let mut client = connect(&endpoint).await?;
        while client.put("room", "again", None).await.is_err() {
            if began.elapsed() > PATIENCE {
                return Err(format!("{endpoint} refuses puts after delete and compaction").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    println!(
        "{} of {big} deleted, compacted, defragmented: puts at all members after {:.1?}",
        deleted.deleted(),
        began.elapsed()
    );
    alive(side).await?;
    verify(side, &writers).await
}

/// Writes a stranger's file until nothing more fits.
fn fill(member: &Member) -> Result<(), Failure> {
    let mut ballast = File::create(member.data.join(BALLAST))?;
    for bytes in [1 << 20, 4096, 1] {
        let block = vec![7; bytes];
        while ballast.write_all(&block).is_ok() {}
    }
    // What the file system had promised and cannot keep is found out here.
    let _ = ballast.sync_all();
    Ok(())
}

fn empty(member: &Member) -> Result<(), Failure> {
    Ok(std::fs::remove_file(member.data.join(BALLAST))?)
}

/// Waits until a member has seen that its disk was emptied, and with it has its reserve again: a member that alone
/// is full goes on with the others at the cost of its reserve, and must not be tried without one.
async fn has_room_again(member: &Member) -> Result<(), Failure> {
    let began = Instant::now();
    let newest = |words: &str| member.said(words).pop().map(time);
    let is_tight = || {
        let tight = newest("the disk is nearly full").max(newest("the disk is full"));
        tight > newest("the disk has room again")
    };
    while is_tight() {
        if began.elapsed() > PATIENCE {
            return Err(format!("{} does not see that its disk has room", member.name).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// When a line of a member's log was written: text that sorts by time.
fn time(line: String) -> String {
    // Each line is one JSON object.
    line.split("\"ts\":").nth(1).unwrap_or_default().to_owned()
}

/// Every process lives and answers.
async fn alive(side: &mut Side) -> Result<(), Failure> {
    for member in &mut side.cluster.members {
        let ended = member.ends_within(Duration::from_millis(1));
        if ended || status(&member.client_url()).await.is_none() {
            return Err(format!("{} has ended or does not answer", member.name).into());
        }
    }
    Ok(())
}

/// Waits until every member refuses a put in the words of etcd.
async fn refused_at_all(side: &mut Side, how: &str) -> Result<(), Failure> {
    for endpoint in side.cluster.endpoints() {
        let mut client = connect(&endpoint).await?;
        let until = Instant::now() + PATIENCE;
        loop {
            let put = client.put("too much", value(1, 1000), None).await;
            match put {
                Err(etcd_client::Error::GRpcStatus(status)) if status.message() == NO_SPACE => {
                    break;
                }
                other if Instant::now() > until => {
                    return Err(format!(
                        "disk full {how}: {endpoint} answers a put with {other:?}"
                    )
                    .into());
                }
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
    alive(side).await?;
    println!("all disks full {how}: every member refuses puts with {NO_SPACE:?}");
    Ok(())
}

/// What must go on with full disks: linearizable reads, deletes, compaction.
async fn still_serves(side: &Side) -> Result<(), Failure> {
    for endpoint in side.cluster.endpoints() {
        until_serving(&endpoint, PATIENCE).await.ok_or("no reads")?;
        let mut client = connect(&endpoint).await?;
        let keys = GetOptions::new()
            .with_prefix()
            .with_limit(1)
            .with_keys_only();
        client.get("wr", Some(keys)).await?;
        client.delete("too much", None).await?;
    }
    let mut client = connect(&side.cluster.endpoints()[0]).await?;
    let now = client.get("no-such-key", None).await?;
    let revision = now
        .header()
        .map_or(0, etcd_client::ResponseHeader::revision);
    match client.compact(revision, None).await {
        // Nothing was deleted since the last one.
        Err(etcd_client::Error::GRpcStatus(status))
            if status.message().contains("has been compacted") => {}
        other => {
            other?;
        }
    }
    println!("... while reads, deletes and a compaction work");
    Ok(())
}

/// Puts large values, at the members in turn, until all of them have refused for seconds: at first they make
/// room by themselves.
async fn big_puts(side: &Side) -> Result<u64, Failure> {
    let mut clients = Vec::new();
    for endpoint in side.cluster.endpoints() {
        clients.push(connect(&endpoint).await?);
    }
    let (mut n, mut refused) = (0, 0);
    while refused < 90 {
        let client = &mut clients[(n + refused) as usize % 3];
        let put = client.put(format!("big/{n:06}"), value(n, 64 * 1024), None);
        match put.await {
            Ok(_) => (n, refused) = (n + 1, 0),
            Err(etcd_client::Error::GRpcStatus(status)) if status.message() == NO_SPACE => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(err) => return Err(err.into()),
        }
    }
    Ok(n)
}
