//! What a read of each level costs, at the leader and at a follower of three healthy members.
//!
//! One key, read by one client and by fifty, as JSON over kept-alive connections, without writes meanwhile. Each answer says how it
//! was reached; *asked a majority* is the share of reads that waited for a round of their own or shared one. The servers' CPU is that
//! of all three members, with fifty clients.

use crate::Failure;
use crate::side::{Side, Subject};
use crate::table::{Table, time};
use crate::tally::{Summary, Tally, per};
use clap::Args;
use cluster::Server;
use levels::Native;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// Command line of `levels`.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// Seconds for each line with one client, and again with many.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// How many are many.
    #[arg(long, default_value_t = 50)]
    clients: usize,
    /// How far the clocks may drift, in parts per million: lease reads need it.
    #[arg(long, default_value_t = 500)]
    drift_ppm: u32,
}

/// The key that is read.
const KEY: &str = "levels/x";
const VALUE_BYTES: usize = 256;

/// What a load came to, and how many of its reads asked a majority.
struct Measured {
    summary: Summary,
    by_quorum: u64,
    refused: Option<String>,
}

pub(crate) async fn main(arguments: Arguments) -> Result<(), Failure> {
    let links = cluster::TempDir::under(&arguments.subject.disk)?;
    let server = Server::new("quorate", &arguments.subject.server, links.path())?;
    let drift = arguments.drift_ppm.to_string();
    let server = server.with(&["--read-lease-drift-ppm", &drift]);
    let side = Side::start(&server, &arguments.subject.disk).await?;
    let leader = side.leader().await?;
    let follower = (leader + 1) % side.cluster.members.len();
    let put = door(&side, leader).put(KEY, &"x".repeat(VALUE_BYTES)).await;
    let token = put.map_err(|why| why.message)?.token;

    let mut table = Table::new(&[
        "level",
        "at",
        "1 client p50",
        "p99",
        &format!("{} clients p50", arguments.clients),
        "p99",
        "reads/s",
        "server CPU/read",
        "asked a majority",
    ]);
    for level in [
        "linearizable",
        "lease",
        "bounded:100ms",
        "session",
        "sequential",
    ] {
        for (place, member) in [("leader", leader), ("follower", follower)] {
            eprintln!("{level} at the {place}");
            let wanted = match level {
                "session" => format!("session:{token}"),
                other => other.to_owned(),
            };
            let line = [level, place];
            let row = measured(&side, member, &wanted, &arguments).await?;
            table.row(line.map(str::to_owned).into_iter().chain(row).collect());
        }
    }
    println!("{table}");
    Ok(())
}

/// The cells of one line.
async fn measured(
    side: &Side,
    member: usize,
    level: &str,
    arguments: &Arguments,
) -> Result<Vec<String>, Failure> {
    let long = Duration::from_secs_f64(arguments.seconds);
    // Not measured: connections are made, and promises of a lease may be on their way.
    load(side, member, level, arguments.clients, long / 4).await?;
    let one = load(side, member, level, 1, long).await?;
    if let Some(code) = one.refused {
        return Ok(vec![format!("refused, {code}")]);
    }
    let before = side.cluster.usage();
    let many = load(side, member, level, arguments.clients, long).await?;
    let used = side.cluster.usage() - before;
    let share = |it: &Measured| it.by_quorum as f64 * 100.0 / it.summary.operations as f64;
    Ok(vec![
        time(one.summary.p50_us as f64),
        time(one.summary.p99_us as f64),
        time(many.summary.p50_us as f64),
        time(many.summary.p99_us as f64),
        format!("{:.0}", many.summary.per_second),
        format!("{:.1} µs", per(used.cpu, many.summary.operations)),
        format!("{:.2} %", share(&many)),
    ])
}

/// Reads for a while; each client asks again when it was answered.
async fn load(
    side: &Side,
    member: usize,
    level: &str,
    clients: usize,
    long: Duration,
) -> Result<Measured, Failure> {
    let tally = Rc::new(RefCell::new(Tally::new()));
    let by_quorum = Rc::new(Cell::new(0));
    let refused = Rc::new(RefCell::new(None));
    let tasks = LocalSet::new();
    let until = Instant::now() + long;
    for _ in 0..clients {
        let (tally, by_quorum, refused) = (tally.clone(), by_quorum.clone(), refused.clone());
        let (mut door, level) = (door(side, member), level.to_owned());
        tasks.spawn_local(async move {
            while Instant::now() < until {
                let began = Instant::now();
                match door.get(KEY, &level).await {
                    Ok(seen) => {
                        tally.borrow_mut().done(began.elapsed());
                        if seen.how == "quorum" {
                            by_quorum.set(by_quorum.get() + 1);
                        }
                    }
                    Err(why) => {
                        tally.borrow_mut().failed(&why.message);
                        *refused.borrow_mut() = Some(why.code);
                        // A server that refuses everything must not be asked a million times a second.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
        });
    }
    tasks.await;
    let summary = tally.borrow().summary();
    let refused = refused.take().filter(|_| summary.operations == 0);
    if summary.operations == 0 && refused.is_none() {
        return Err("no read ended in time".into());
    }
    Ok(Measured {
        summary,
        by_quorum: by_quorum.get(),
        refused,
    })
}

fn door(side: &Side, member: usize) -> Native {
    let place = &side.cluster.members[member].place;
    Native::new(&place.host, place.client_port)
}
