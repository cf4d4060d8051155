//! `kill -9` under load: of the leader, of a follower, of all members at once.
//!
//! Four writers put unique keys all the while. After each death the time without an acknowledged write is taken (the
//! longest pause between two acknowledgements from the kill on), the dead are started again, and
//! at the end every acknowledged key must be at every member and all members must hash alike.

use crate::Failure;
use crate::load::connect;
use crate::side::{Side, Subject, until_serving};
use crate::table::{Table, time};
use crate::writers::Writers;
use clap::Args;
use cluster::{Server, TempDir};
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

const PATIENCE: Duration = Duration::from_secs(60);

/// Command line of `failover`.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// Writers.
    #[arg(long, default_value_t = 4)]
    writers: u64,
    /// Deaths of each kind.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Kinds of death, by commas: leader, follower, all.
    #[arg(long, value_delimiter = ',', default_value = "leader,follower,all")]
    kinds: Vec<String>,
    /// Fail when the median or the worst time without writes after a leader's death is above, in seconds.
    #[arg(long, num_args = 2, value_names = ["MEDIAN", "WORST"])]
    at_most: Option<Vec<f64>>,
    /// Delete one acknowledged key before checking: shows that the check can fail.
    #[arg(long, hide = true)]
    sabotage: bool,
}

pub(crate) async fn main(arguments: Arguments) -> Result<(), Failure> {
    LocalSet::new().run_until(run(arguments)).await
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let links = TempDir::under(&arguments.subject.disk)?;
    let server = Server::new("failover", &arguments.subject.server, links.path())?;
    let mut side = Side::start(&server, &arguments.subject.disk).await?;
    let mut writers = Writers::start(&side.cluster.endpoints(), arguments.writers).await?;
    let mut table = Table::new(&[
        "killed",
        "times",
        "min",
        "median",
        "p90",
        "max",
        "without writes: all",
    ]);
    let mut of_leaders = Vec::new();
    for kind in &arguments.kinds {
        let mut pauses = Vec::new();
        for round in 1..=arguments.rounds {
            let pause = one_death(kind, &mut side, &writers)
                .await
                .map_err(|failure| {
                    format!(
                        "{kind}, round {round}: {failure}\n{}",
                        side.cluster.last_words()
                    )
                })?;
            eprintln!(
                "{kind}, round {round}: {pause:.3?} without writes, {} acks",
                writers.n_acks()
            );
            pauses.push(pause.as_secs_f64());
        }
        pauses.sort_by(f64::total_cmp);
        let at = |quantile: f64| pauses[((pauses.len() - 1) as f64 * quantile).round() as usize];
        let all: Vec<String> = pauses.iter().map(|pause| format!("{pause:.2}")).collect();
        let mut row = vec![kind.clone(), pauses.len().to_string()];
        row.extend([0.0, 0.5, 0.9, 1.0].map(|quantile| time(at(quantile) * 1e6)));
        row.push(all.join(" "));
        table.row(row);
        if kind == "leader" {
            of_leaders = vec![at(0.5), at(1.0)];
        }
    }
    writers.stop().await;
    println!(
        "\n{} writers, default timers, kill -9\n\n{table}",
        arguments.writers
    );
    if arguments.sabotage {
        let mut client = connect(&side.cluster.members[0].client_url()).await?;
        client.delete(crate::keys::key("wr000", 0), None).await?;
    }
    verify(&side, &writers).await?;
    if let (Some(limits), [median, worst]) = (arguments.at_most, &of_leaders[..])
        && (*median > limits[0] || *worst > limits[1])
    {
        return Err(
            format!("time without writes: {median:.2} s, {worst:.2} s; limits {limits:?}").into(),
        );
    }
    Ok(())
}

/// Kills, sees writes again, starts the dead again. Answers the time without writes.
async fn one_death(kind: &str, side: &mut Side, writers: &Writers) -> Result<Duration, Failure> {
    writers
        .until_acks_after(writers.now(), 50, PATIENCE)
        .await?;
    let leader = side.leader().await?;
    let victims: Vec<usize> = match kind {
        "leader" => vec![leader],
        "follower" => vec![(leader + 1) % 3],
        "all" => vec![0, 1, 2],
        other => return Err(format!("no kind of death is called {other}").into()),
    };
    let killed_at = writers.now();
    for victim in &victims {
        side.cluster.members[*victim].kill();
    }
    if kind == "all" {
        for victim in &victims {
            side.cluster.members[*victim].start()?;
        }
    }
    // A single acknowledgement may have been on its way: fifty, and not all in the first instant.
    writers
        .until_acks_after(killed_at + Duration::from_millis(50), 50, PATIENCE)
        .await?;
    if kind != "all" {
        for victim in &victims {
            side.cluster.members[*victim].start()?;
        }
    }
    for victim in &victims {
        let endpoint = side.cluster.members[*victim].client_url();
        let patience = PATIENCE;
        until_serving(&endpoint, patience)
            .await
            .ok_or("a member does not serve after its restart")?;
    }
    let settled = writers.now();
    writers.until_acks_after(settled, 50, PATIENCE).await?;
    // Half a second of peace, so that one pause does not run into the next.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(writers.longest_gap_since(killed_at))
}

/// Every acknowledged key at every member, and equal hashes.
pub(crate) async fn verify(side: &Side, writers: &Writers) -> Result<(), Failure> {
    let mut right = true;
    for member in &side.cluster.members {
        let found = writers.check(&member.client_url()).await?;
        println!(
            "{}: {} acknowledged, {} present, {} lost, {} with a wrong value, {} never asked for",
            member.name,
            found.acknowledged,
            found.present,
            found.lost.len(),
            found.wrong_value,
            found.never_asked,
        );
        if let Some(one) = found.lost.first() {
            println!("  lost, for example: {one}");
        }
        right &= found.is_right();
    }
    let hashes = hashes(side).await?;
    println!(
        "hashes at one revision: {hashes:?}; {} requests ended in an error",
        writers.refused()
    );
    right &= hashes.iter().all(|hash| *hash == hashes[0]);
    if right {
        Ok(())
    } else {
        Err("the cluster lost or changed what it acknowledged".into())
    }
}

/// HashKV of each member, all at one revision.
pub(crate) async fn hashes(side: &Side) -> Result<Vec<(u32, i64)>, Failure> {
    let mut clients = Vec::new();
    for member in &side.cluster.members {
        clients.push(connect(&member.client_url()).await?);
    }
    let now = clients[0].get("no-such-key", None).await?;
    let revision = now
        .header()
        .map_or(0, etcd_client::ResponseHeader::revision);
    let until = Instant::now() + PATIENCE;
    loop {
        let mut hashes = Vec::new();
        for client in &mut clients {
            // A member that is behind calls the revision a future one: ask again.
            let Ok(answer) = client.hash_kv(revision).await else {
                continue;
            };
            hashes.push((answer.hash(), answer.compact_version()));
        }
        if hashes.len() == clients.len() {
            return Ok(hashes);
        }
        if Instant::now() > until {
            return Err("a member does not reach the others' revision".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
