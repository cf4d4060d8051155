//! Split brain: the old leader cut off, with clients on both sides.
//!
//! ```text
//!   namespace 1 [member, clients] ──┐
//!   namespace 2 [member, clients] ──┼── bridge in a namespace of its own ── this process
//!   namespace 3 [member, clients] ──┘        the leader's cable is pulled there
//! ```
//!
//! Each member's clients live in its namespace, so that they reach it, and only it, before, during and after.
//! While the leader is alone it must acknowledge no write that began after the cut and answer no linearizable
//! read; the other two must go on. After healing nothing acknowledged by either side is missing, nothing that
//! was overwritten comes back, and what was never acknowledged is there or not, but the same for ever and everywhere.
//!
//! Needs root and iproute2 (`apt-get install iproute2`).

use crate::Failure;
use crate::load::connect;
use crate::register::{Ended, SHARED, What, now_ns};
use crate::side::{Subject, status, until_serving};
use crate::table::Table;
use clap::Args;
use cluster::{Cluster, Net, Server, TempDir};
use etcd_client::{Client, GetOptions};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// Command line of `split-brain`.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// How often the leader is cut off.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long it is alone, in seconds.
    #[arg(long, default_value_t = 5.0)]
    alone: f64,
}

pub(crate) async fn main(arguments: Arguments) -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces need root".into());
    }
    let links = TempDir::under(&arguments.subject.disk)?;
    let folder = TempDir::under(&arguments.subject.disk)?;
    let server = Server::new("split", &arguments.subject.server, links.path())?;
    let net = Net::new(3)?;
    net.enter()?;
    let places = (1..=3).map(|member| net.place(member)).collect();
    let cluster = Cluster::start_at(&server, folder.path(), places)?;
    let outcome = rounds(&net, &cluster, &arguments).await;
    outcome.map_err(|failure| format!("{failure}\n{}", cluster.last_words()).into())
}

async fn rounds(net: &Net, cluster: &Cluster, arguments: &Arguments) -> Result<(), Failure> {
    let endpoints = cluster.endpoints();
    for endpoint in &endpoints {
        until_serving(endpoint, PATIENCE)
            .await
            .ok_or("the cluster does not serve")?;
    }
    let mut clients = Vec::new();
    for (i, endpoint) in endpoints.iter().enumerate() {
        clients.push(SideClients::start(
            &net.namespace(i + 1),
            endpoint,
            &format!("s{}", i + 1),
        )?);
    }
    let mut cuts = Vec::new();
    for round in 1..=arguments.rounds {
        let leader = leader(&endpoints).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        net.cable(leader + 1, "down")?;
        let began_ns = now_ns();
        tokio::time::sleep(Duration::from_secs_f64(arguments.alone)).await;
        let ended_ns = now_ns();
        net.cable(leader + 1, "up")?;
        eprintln!(
            "round {round}: n{} was alone for {} s",
            leader + 1,
            arguments.alone
        );
        until_serving(&endpoints[leader], PATIENCE)
            .await
            .ok_or("the old leader does not serve again")?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        cuts.push(Cut {
            leader,
            began_ns,
            ended_ns,
        });
    }
    let ended: Vec<Vec<Ended>> = clients.into_iter().map(SideClients::stop).collect();
    // What was still under way ends within a server's own patience.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let mut wrong = judge_minority(&cuts, &ended);
    wrong.extend(judge_healed(&endpoints, &ended).await?);
    if wrong.is_empty() {
        println!("no violation");
        return Ok(());
    }
    for one in wrong.iter().take(10) {
        println!("VIOLATION: {one}");
    }
    Err(format!("{} violations", wrong.len()).into())
}

/// A time in which a member was alone.
struct Cut {
    leader: usize,
    began_ns: u64,
    ended_ns: u64,
}

/// What the member that was alone answered, and when the others went on.
fn judge_minority(cuts: &[Cut], ended: &[Vec<Ended>]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut table = Table::new(&[
        "cut off",
        "asked alone",
        "acks alone",
        "reads alone",
        "refused alone",
        "others' first ack",
        "others' acks",
    ]);
    for cut in cuts {
        let during = |one: &&Ended| one.began_ns > cut.began_ns && one.ended_ns < cut.ended_ns;
        let alone: Vec<&Ended> = ended[cut.leader].iter().filter(during).collect();
        let answered = |what| move |one: &&&Ended| one.what == what && one.revision.is_some();
        let acks: Vec<_> = alone.iter().filter(answered(What::Put)).collect();
        let reads: Vec<_> = alone.iter().filter(answered(What::Get)).collect();
        wrong.extend(
            acks.iter()
                .map(|one| format!("acknowledged alone: {one:?}")),
        );
        wrong.extend(
            reads
                .iter()
                .map(|one| format!("linearizable read alone: {one:?}")),
        );
        let others: Vec<&Ended> = ended
            .iter()
            .enumerate()
            .filter(|(member, _)| *member != cut.leader)
            .flat_map(|(_, all)| all.iter().filter(during))
            .filter(|one| one.what == What::Put && one.revision.is_some())
            .collect();
        let first = others.iter().map(|one| one.ended_ns - cut.began_ns).min();
        if first.is_none() {
            wrong.push(format!(
                "the majority without n{} acknowledged nothing",
                cut.leader + 1
            ));
        }
        let asked = ended[cut.leader]
            .iter()
            .filter(|one| one.began_ns > cut.began_ns && one.began_ns < cut.ended_ns)
            .count();
        table.row(vec![
            format!("n{}", cut.leader + 1),
            asked.to_string(),
            acks.len().to_string(),
            reads.len().to_string(),
            alone
                .iter()
                .filter(|one| one.revision.is_none())
                .count()
                .to_string(),
            first.map_or("never".into(), |ns| format!("{:.2} s", ns as f64 / 1e9)),
            others.len().to_string(),
        ]);
    }
    println!("{table}");
    wrong
}

/// What all members hold after healing.
async fn judge_healed(endpoints: &[String], ended: &[Vec<Ended>]) -> Result<Vec<String>, Failure> {
    let mut wrong = Vec::new();
    let mut clients = Vec::new();
    for endpoint in endpoints {
        clients.push(connect(endpoint).await?);
    }
    let before = everything(&mut clients[0]).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (i, client) in clients.iter_mut().enumerate() {
        if everything(client).await? != before {
            wrong.push(format!(
                "n{} does not hold what n1 held three seconds before",
                i + 1
            ));
        }
    }
    let acked = ended
        .iter()
        .flatten()
        .filter(|one| one.what == What::Put && one.revision.is_some());
    let (mut n_acked, mut latest) = (0, (0, String::new()));
    for one in acked {
        n_acked += 1;
        let revision = one.revision.unwrap_or(0);
        if one.key == SHARED {
            latest = latest.max((revision, one.value.clone()));
        } else if before.get(&one.key).map(|(value, _)| value) != Some(&one.value) {
            wrong.push(format!("acknowledged and missing: {one:?}"));
        }
    }
    // An acknowledged overwrite is final: only a later one may stand in its place.
    match before.get(SHARED) {
        Some((_, revision)) if *revision > latest.0 => {}
        Some((value, revision)) if (*revision, value) == (latest.0, &latest.1) => {}
        other => wrong.push(format!(
            "the shared key holds {other:?}; acknowledged was {latest:?}"
        )),
    }
    // Reads in their own order never see the shared key go back.
    for all in ended {
        let mut reads: Vec<&Ended> = all
            .iter()
            .filter(|one| one.what == What::Get && one.revision.is_some())
            .collect();
        reads.sort_by_key(|one| one.began_ns);
        let mut newest_ended: Option<&Ended> = None;
        let mut behind = reads.clone();
        behind.sort_by_key(|one| one.ended_ns);
        let mut next = behind.into_iter().peekable();
        for read in reads {
            while let Some(done) = next.next_if(|done| done.ended_ns < read.began_ns) {
                newest_ended = newest_ended
                    .into_iter()
                    .chain([done])
                    .max_by_key(|one| one.revision);
            }
            if newest_ended.is_some_and(|older| older.revision > read.revision) {
                wrong.push(format!("went back: {read:?} after {newest_ended:?}"));
            }
        }
    }
    let unknown = ended
        .iter()
        .flatten()
        .filter(|one| one.what == What::Put && one.revision.is_none());
    let unknown: Vec<&Ended> = unknown.filter(|one| one.key != SHARED).collect();
    let there = unknown
        .iter()
        .filter(|one| before.contains_key(&one.key))
        .count();
    println!(
        "{n_acked} acknowledged, all checked at three members; {} without an acknowledgement, {there} of them took effect",
        unknown.len()
    );
    Ok(wrong)
}

/// Every key with its value and revision, by a linearizable read at one revision.
async fn everything(client: &mut Client) -> Result<BTreeMap<String, (String, i64)>, Failure> {
    let mut all = BTreeMap::new();
    let (mut from, mut revision) = ("\0".to_owned(), 0);
    loop {
        let options = GetOptions::new()
            .with_from_key()
            .with_limit(5000)
            .with_revision(revision);
        let page = client.get(from.clone(), Some(options)).await?;
        if revision == 0 {
            revision = page
                .header()
                .map_or(0, etcd_client::ResponseHeader::revision);
        }
        for kv in page.kvs() {
            let value = (kv.value_str()?.to_owned(), kv.mod_revision());
            all.insert(kv.key_str()?.to_owned(), value);
        }
        match page.kvs().last() {
            Some(last) if page.more() => from = format!("{}\0", last.key_str()?),
            _ => return Ok(all),
        }
    }
}

async fn leader(endpoints: &[String]) -> Result<usize, Failure> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        for (i, endpoint) in endpoints.iter().enumerate() {
            let Some(status) = status(endpoint).await else {
                continue;
            };
            let own = status
                .header()
                .map_or(0, etcd_client::ResponseHeader::member_id);
            if own == status.leader() {
                return Ok(i);
            }
        }
    }
    Err("no leader".into())
}

/// The clients of one side: a process in that member's namespace.
struct SideClients {
    child: Child,
    ended: Arc<Mutex<Vec<Ended>>>,
    reader: std::thread::JoinHandle<()>,
}

impl SideClients {
    fn start(namespace: &str, endpoint: &str, side: &str) -> Result<SideClients, Failure> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(std::env::current_exe()?)
            .args(["register", "--endpoint", endpoint, "--side", side])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let ended = Arc::new(Mutex::new(Vec::new()));
        let into = ended.clone();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Ok(one) = serde_json::from_str(&line) {
                    into.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(one);
                }
            }
        });
        Ok(SideClients {
            child,
            ended,
            reader,
        })
    }

    fn stop(mut self) -> Vec<Ended> {
        drop(self.child.stdin.take());
        self.child.wait().ok();
        self.reader.join().ok();
        std::mem::take(&mut self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Cut = Cut {
        leader: 0,
        began_ns: 100,
        ended_ns: 200,
    };

    fn ended(what: What, began_ns: u64, ended_ns: u64, revision: Option<i64>) -> Ended {
        let (key, value, error) = ("k".to_owned(), "v".to_owned(), String::new());
        Ended {
            what,
            key,
            value,
            began_ns,
            ended_ns,
            revision,
            error,
        }
    }

    /// The majority acknowledges at 150.
    fn judge(alone: Ended) -> usize {
        let others = vec![ended(What::Put, 140, 150, Some(7))];
        judge_minority(&[CUT], &[vec![alone], others, Vec::new()]).len()
    }

    #[test]
    fn an_acknowledgement_alone_is_a_violation() {
        assert_eq!(judge(ended(What::Put, 110, 120, Some(5))), 1);
    }

    #[test]
    fn a_linearizable_read_alone_is_a_violation() {
        assert_eq!(judge(ended(What::Get, 110, 120, Some(5))), 1);
    }

    #[test]
    fn a_refusal_alone_or_an_answer_from_before_or_after_is_none() {
        assert_eq!(judge(ended(What::Put, 110, 120, None)), 0);
        assert_eq!(judge(ended(What::Put, 90, 110, Some(5))), 0);
        assert_eq!(judge(ended(What::Put, 190, 210, Some(5))), 0);
    }

    #[test]
    fn a_majority_that_stands_still_is_a_violation() {
        assert_eq!(
            judge_minority(&[CUT], &[Vec::new(), Vec::new(), Vec::new()]).len(),
            1
        );
    }
}
