//! Rolling upgrade and rolling restart under load: no linearizable request fails.
//!
//! ```text
//!   three members of the build before ── one by one: SIGTERM, the new build on the same data ──► the version rises
//!                                     ── one by one: SIGTERM, started again ──► done
//! ```
//!
//! Each client writes and reads a key of its own, linearizable. It does what every client library does by itself: a
//! request that a member refuses or that its connection lost goes to the next member, at once. What counts as *failed* is
//! a request that got no answer in [`ANSWER`], or that no member took. Everything that is read must be what was
//! acknowledged last. The build before is another program (`--old`), or this one told to behave as it
//! (`--quorate-apply-version-max 2`).

use crate::Failure;
use crate::client::connect;
use crate::run::build;
use cluster::{Cluster, Server, TempDir};
use etcd_client::Client;
use rustix::process::{Pid, Signal, kill_process};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

/// A request without an answer for so long has failed.
const ANSWER: Duration = Duration::from_secs(4);
/// In this time a member must end, serve, or have said something.
const PATIENCE: Duration = Duration::from_secs(60);
/// Load between two steps.
const BETWEEN: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);
/// What a member says when the version rose.
const RAISED: &str = "apply version is raised";

/// Command line of `roll`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The server: a program and flags. Without it, the one of this tree is built and used.
    #[arg(long)]
    server: Option<String>,
    /// The build before: a program and flags. Without it, the server itself behaves as that.
    #[arg(long)]
    old: Option<String>,
    /// A folder for the members' data.
    #[arg(long, default_value = "target")]
    disk: PathBuf,
    /// Clients.
    #[arg(long, default_value_t = 24)]
    clients: u64,
}

/// What all clients came to.
#[derive(Default)]
struct Tally {
    requests: Cell<u64>,
    retried: Cell<u64>,
    longest: Cell<Duration>,
    failed: RefCell<Vec<String>>,
    stop: Cell<bool>,
}

/// Runs, and fails when a request did.
pub(crate) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let command = match &arguments.server {
        Some(server) => server.clone(),
        None => build()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(LocalSet::new().run_until(story(arguments, &command)))
}

async fn story(arguments: &Arguments, command: &str) -> Result<(), Failure> {
    let folder = TempDir::under(&arguments.disk)?;
    let new = Server::new("new", command, folder.path())?;
    let old = match &arguments.old {
        Some(old) => Server::new("old", old, folder.path())?,
        None => {
            Server::new("old", command, folder.path())?.with(&["--quorate-apply-version-max=2"])
        }
    };
    let mut cluster = Cluster::start(&old, &folder.path().join("data"), 3)?;
    for member in 0..3 {
        serves(&cluster, member).await?;
    }
    let tally = Rc::new(Tally::default());
    let urls = cluster.endpoints();
    let clients: Vec<_> = (0..arguments.clients)
        .map(|n| tokio::task::spawn_local(run(n, urls.clone(), tally.clone())))
        .collect();
    sleep(BETWEEN).await;
    roll(&mut cluster, &new, "upgraded").await?;
    let began = Instant::now();
    while !cluster.members.iter().all(|it| !it.said(RAISED).is_empty()) {
        if began.elapsed() > PATIENCE {
            return Err(format!("the version did not rise:\n{}", cluster.last_words()).into());
        }
        sleep(LOOK).await;
    }
    println!(
        "all members know the next version: it rose after {:?}",
        began.elapsed()
    );
    roll(&mut cluster, &new, "restarted").await?;
    tally.stop.set(true);
    for client in clients {
        client.await?;
    }
    let failed = tally.failed.borrow();
    println!(
        "{} linearizable requests, {} of them sent to another member by the client itself, {} failed; the longest took {:?}",
        tally.requests.get(),
        tally.retried.get(),
        failed.len(),
        tally.longest.get()
    );
    match failed.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "{} requests failed; the first: {first}\n{}",
            failed.len(),
            cluster.last_words()
        )
        .into()),
    }
}

/// Each member is stopped in peace and started as `server`, with load all the while.
async fn roll(cluster: &mut Cluster, server: &Server, what: &str) -> Result<(), Failure> {
    for n in 0..cluster.members.len() {
        let began = Instant::now();
        let member = &mut cluster.members[n];
        let pid = member.pid().and_then(|pid| Pid::from_raw(pid as i32));
        kill_process(pid.ok_or("a member does not run")?, Signal::TERM)?;
        // Not a wait that would hold up the clients, which share this thread.
        while !member.ends_within(Duration::ZERO) {
            if began.elapsed() > PATIENCE {
                return Err(
                    format!("{} does not end:\n{}", member.name, member.last_words(20)).into(),
                );
            }
            sleep(LOOK).await;
        }
        let down = began.elapsed();
        member.become_of(server);
        member.start()?;
        serves(cluster, n).await?;
        let name = &cluster.members[n].name;
        println!(
            "{name} {what}: ended after {down:?}, served again after {:?}",
            began.elapsed()
        );
        sleep(BETWEEN).await;
    }
    Ok(())
}

/// Waits until a member answers a linearizable read.
async fn serves(cluster: &Cluster, member: usize) -> Result<(), Failure> {
    let url = cluster.members[member].client_url();
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(mut client) = connect(&url).await
            && let Ok(Ok(_)) = timeout(ANSWER, client.get("x", None)).await
        {
            return Ok(());
        }
        sleep(LOOK).await;
    }
    Err(format!("{url} does not serve:\n{}", cluster.last_words()).into())
}

/// One client's request.
enum Ask {
    Put(u64),
    Get,
}

/// One client: puts rising numbers into its key, and reads each back.
async fn run(n: u64, urls: Vec<String>, tally: Rc<Tally>) {
    let key = format!("roll/{n}");
    let mut doors: Vec<Option<Client>> = urls.iter().map(|_| None).collect();
    let mut at = n as usize % urls.len();
    let mut written = 0;
    while !tally.stop.get() {
        written += 1;
        for ask in [Ask::Put(written), Ask::Get] {
            let began = Instant::now();
            let answered = ask_all(&key, &ask, &urls, &mut doors, &mut at, &tally).await;
            tally.requests.set(tally.requests.get() + 1);
            tally.longest.set(tally.longest.get().max(began.elapsed()));
            let complaint = match (&ask, answered) {
                (_, Err(why)) => Some(why),
                (Ask::Get, Ok(value)) if value != Some(written) => {
                    Some(format!("{key} is {value:?} and {written} was acknowledged"))
                }
                _ => None,
            };
            if let Some(why) = complaint {
                tally.failed.borrow_mut().push(why);
            }
        }
    }
}

/// Asks one member after the other until one answers, as client libraries do.
async fn ask_all(
    key: &str,
    ask: &Ask,
    urls: &[String],
    doors: &mut [Option<Client>],
    at: &mut usize,
    tally: &Tally,
) -> Result<Option<u64>, String> {
    let mut why = String::new();
    for attempt in 0..2 * urls.len() {
        if attempt > 0 {
            tally
                .retried
                .set(tally.retried.get() + u64::from(attempt == 1));
            *at = (*at + 1) % urls.len();
        }
        if doors[*at].is_none() {
            doors[*at] = connect(&urls[*at]).await;
        }
        let Some(client) = &mut doors[*at] else {
            why = format!("{} cannot be reached", urls[*at]);
            continue;
        };
        let asked = async {
            match ask {
                Ask::Put(value) => {
                    client.put(key, value.to_string(), None).await?;
                    Ok(None)
                }
                Ask::Get => {
                    let answer = client.get(key, None).await?;
                    let value = answer
                        .kvs()
                        .first()
                        .map(|row| row.value_str().map(str::parse));
                    Ok::<_, etcd_client::Error>(value.and_then(|it| it.ok()?.ok()))
                }
            }
        };
        match timeout(ANSWER, asked).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => {
                why = format!("{}: {error}", urls[*at]);
                doors[*at] = None;
            }
            Err(_) => {
                let what = if matches!(ask, Ask::Get) {
                    "get"
                } else {
                    "put"
                };
                return Err(format!(
                    "{}: no answer to a {what} in {ANSWER:?}",
                    urls[*at]
                ));
            }
        }
    }
    Err(format!("no member took it; the last: {why}"))
}
