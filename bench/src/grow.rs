//! Membership under load, with real processes: a member emptied and added again, three become five, five become three.
//!
//! Writers put unique keys all the while. A member comes as a learner, catches up (by snapshot: the others have cut their
//! logs by then) and is promoted; members go by being removed, the leader among them, and their
//! processes must end by themselves. In the end every acknowledged key is at every member, and all hash alike.

use crate::Failure;
use crate::failover::{hashes, verify};
use crate::load::{Load, Order, Shape, Workload, connect};
use crate::side::{Side, Subject, until_serving};
use crate::table::Table;
use crate::writers::Writers;
use clap::Args;
use cluster::{Place, Server, TempDir};
use etcd_client::MemberAddOptions;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

const PATIENCE: Duration = Duration::from_secs(60);

/// Command line of `grow`.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// Writers.
    #[arg(long, default_value_t = 4)]
    writers: u64,
    /// Puts before the first change, so that the log is cut and a new member needs a snapshot.
    #[arg(long, default_value_t = 12_000)]
    puts: u64,
}

pub(crate) async fn main(arguments: Arguments) -> Result<(), Failure> {
    LocalSet::new().run_until(run(arguments)).await
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let links = TempDir::under(&arguments.subject.disk)?;
    let server = Server::new("grow", &arguments.subject.server, links.path())?;
    let server = server.with(&["--snapshot-count", "2000"]);
    let mut side = Side::start(&server, &arguments.subject.disk).await?;
    burst(&side, arguments.puts).await?;
    let mut writers = Writers::start(&side.cluster.endpoints(), arguments.writers).await?;
    writers
        .until_acks_after(writers.now(), 100, PATIENCE)
        .await?;

    let mut table = Table::new(&["step", "took", "longest pause of writes"]);
    for step in [
        "empty a follower",
        "add n4",
        "add n5",
        "remove a follower",
        "remove the leader",
    ] {
        let (began, at) = (Instant::now(), writers.now());
        let done = change(step, &mut side).await;
        done.map_err(|failure| format!("{step}: {failure}\n{}", side.cluster.last_words()))?;
        let took = began.elapsed();
        writers
            .until_acks_after(writers.now(), 100, PATIENCE)
            .await?;
        let pause = writers.longest_gap_since(at);
        eprintln!("{step}: {took:.2?}, writes paused {pause:.2?}");
        table.row(vec![
            step.to_owned(),
            format!("{took:.2?}"),
            format!("{pause:.2?}"),
        ]);
    }
    writers.stop().await;
    println!("{table}");
    verify(&side, &writers).await?;
    let all = hashes(&side).await?;
    println!("{} members at the end", all.len());
    Ok(())
}

async fn burst(side: &Side, puts: u64) -> Result<(), Failure> {
    let shape = Shape {
        clients: 100,
        connections: None,
        keys: 10_000,
        order: Order::Random,
        value_bytes: 256,
        read_percent: 0,
        watchers: 0,
        operations: Some(puts),
        seconds: 0.0,
        warm_up: 0.0,
    };
    Load::prepare(&side.cluster.endpoints(), Workload::Put, &shape)
        .await?
        .measure()
        .await?;
    Ok(())
}

async fn change(step: &str, side: &mut Side) -> Result<(), Failure> {
    match step {
        "empty a follower" => {
            let victim = (side.leader().await? + 1) % side.cluster.members.len();
            let mut member = side.cluster.members.remove(victim);
            member.kill();
            remove(side, &member.place).await?;
            std::fs::remove_dir_all(&member.data)?;
            add(side, &member.name, member.place.clone()).await
        }
        "add n4" => add(side, "n4", Place::loopback()?).await,
        "add n5" => add(side, "n5", Place::loopback()?).await,
        "remove a follower" | "remove the leader" => {
            let leader = side.leader().await?;
            let n = side.cluster.members.len();
            let victim = if step == "remove the leader" {
                leader
            } else {
                (leader + 1) % n
            };
            let mut member = side.cluster.members.remove(victim);
            remove(side, &member.place).await?;
            let name = member.name.clone();
            // Elsewhere: the writers live on this thread, and their pauses are measured.
            let ends = tokio::task::spawn_blocking(move || member.ends_within(PATIENCE));
            match ends.await? {
                true => Ok(()),
                false => Err(format!("{name} was removed and goes on").into()),
            }
        }
        other => Err(format!("no step is called {other}").into()),
    }
}

/// Asks the members in turn until one has done it: the one that was asked may be the one that goes.
async fn remove(side: &Side, place: &Place) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    let mut last = "nobody answered".to_owned();
    while Instant::now() < until {
        for member in &side.cluster.members {
            let mut client = connect(&member.client_url()).await?;
            let Ok(list) = client.member_list().await else {
                continue;
            };
            let found = list
                .members()
                .iter()
                .find(|one| one.peer_urls() == [place.peer_url()]);
            // Gone, by this request or by one whose answer was lost.
            let Some(found) = found else { return Ok(()) };
            if let Err(err) = client.member_remove(found.id()).await {
                last = err.to_string();
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("cannot remove: {last}").into())
}

/// A learner that comes, catches up and is promoted.
async fn add(side: &mut Side, name: &str, place: Place) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    let options = MemberAddOptions::new().with_is_learner();
    let mut client = connect(&side.cluster.members[0].client_url()).await?;
    // etcd refuses while it has not seen all its members for five seconds.
    let id = loop {
        match client
            .member_add([place.peer_url()], Some(options.clone()))
            .await
        {
            Ok(added) => break added.member().map_or(0, etcd_client::Member::id),
            Err(err) if Instant::now() > until => return Err(err.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    let mut initial: Vec<String> = side
        .cluster
        .members
        .iter()
        .map(|m| format!("{}={}", m.name, m.place.peer_url()))
        .collect();
    initial.push(format!("{name}={}", place.peer_url()));
    let mut member = side
        .cluster
        .member(name, place, &initial.join(","), "existing");
    member.start()?;
    let endpoint = member.client_url();
    side.cluster.members.push(member);
    loop {
        match client.member_promote(id).await {
            Ok(_) => break,
            Err(err) if Instant::now() > until => return Err(err.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    until_serving(&endpoint, PATIENCE)
        .await
        .ok_or("promoted, and does not serve")?;
    Ok(())
}
