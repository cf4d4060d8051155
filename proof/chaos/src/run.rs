//! A run from its start to its report.

use crate::Failure;
use crate::ask::Memory;
use crate::client::{self, Crowd, Door};
use crate::field::{Field, version};
use crate::journal::{Journal, Signals};
use crate::judge::{self, Evidence};
use crate::nemesis::{Done, Nemesis};
use crate::plan::Plan;
use crate::report::{self, Report};
use crate::settle;
use crate::watcher::{self, Told};
use base::Revision;
use checker::Violation;
use clap::Args;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;
use tokio::time::sleep;

/// Small watches at a time.
const WANDERERS: u64 = 6;
/// A short run spreads its operations over about so much time without trouble, which is a round of all kinds with it.
const ROUND: Duration = Duration::from_secs(40);
/// Below this a rest between two operations is not worth its timer.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const LOOK: Duration = Duration::from_millis(100);

/// What is judged, and where: the same for every mode.
#[derive(Args)]
pub(crate) struct Target {
    /// The server: a program and flags. Without it, the one of this tree is built and used.
    #[arg(long)]
    pub(crate) server: Option<String>,
    /// A folder on a real disk for the members' data.
    #[arg(long, default_value = "target")]
    pub(crate) disk: PathBuf,
    /// Members: 3 or 5.
    #[arg(long, default_value_t = 3)]
    pub(crate) members: usize,
    /// MiB of each member's file system.
    #[arg(long, default_value_t = 512)]
    pub(crate) mib: u64,
}

/// Command line of `run`.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Operations that must have ended, at least.
    #[arg(long, default_value_t = 20_000)]
    operations: u64,
    /// Rounds of all kinds of fault, at least.
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// What decides the faults and what clients ask.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Clients.
    #[arg(long, default_value_t = 36)]
    clients: usize,
    /// Where the report goes, beside standard output.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// Builds the server where none was named, runs, judges, reports.
pub(crate) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let target = &arguments.target;
    let server = match &target.server {
        Some(server) => server.clone(),
        None => build()?,
    };
    let field = Field::start(&server, &target.disk, target.members, target.mib)?;
    for (_, why) in &field.missing {
        eprintln!("skipped: {why}");
    }
    // Begun after the field: this thread, and all that it starts, is among the clients by then.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(LocalSet::new().run_until(story(arguments, versions(&server), field)))
}

async fn story(arguments: &Arguments, versions: Vec<String>, field: Field) -> Result<(), Failure> {
    let n = field.n();
    let began = Instant::now();
    let signals = Arc::new(Signals::new(n));
    let rest = ROUND * u32::try_from(arguments.clients)?
        / u32::try_from(arguments.operations.max(1)).unwrap_or(u32::MAX);
    let places = field.cluster.members.iter().map(|member| &member.place);
    let crowd = Rc::new(Crowd {
        journal: Journal::new(began),
        signals: signals.clone(),
        memory: RefCell::new(Memory::new(n)),
        doors: places
            .map(|place| Door::new(&place.host, place.client_port))
            .collect(),
        stop: Cell::new(false),
        pause: if rest < PAUSE_MIN {
            Duration::ZERO
        } else {
            rest
        },
    });
    let told = Rc::new(Told::default());
    let observers: Vec<_> = (0..n)
        .map(|member| {
            let observe = watcher::observe(member, Revision(2), None, crowd.clone(), told.clone());
            tokio::task::spawn_local(observe)
        })
        .collect();
    let mut tasks = Vec::new();
    for slot in 0..arguments.clients {
        let run = client::run(slot, arguments.clients, arguments.seed, crowd.clone());
        tasks.push(tokio::task::spawn_local(run));
    }
    for slot in 0..WANDERERS {
        let wander = watcher::wander(slot, arguments.seed, crowd.clone(), told.clone());
        tasks.push(tokio::task::spawn_local(wander));
    }

    let missing = field.missing.clone();
    let plan = Plan::new(arguments.seed, &field.kinds());
    let trace = arguments
        .target
        .disk
        .join(format!("chaos-trace-{}", std::process::id()));
    let nemesis = Nemesis::new(field, signals.clone(), began, trace.clone())?;
    let rounds = arguments.rounds;
    let nemesis = std::thread::spawn(move || nemesis.run(plan, rounds));
    let (field, mut done) = until_enough(&signals, arguments.operations, nemesis).await?;
    let _ = std::fs::remove_file(trace);
    let lasted = began.elapsed();

    crowd.stop.set(true);
    for task in tasks {
        task.await?;
    }
    let mut evidence = Evidence::default();
    if let Err(failure) = read_back(&crowd, &told, &field, &mut evidence).await {
        let words = format!("{failure}\n{}", field.cluster.last_words());
        done.violations
            .push(Violation::new("all_is_well_in_the_end", words));
    }
    for observer in observers {
        observer.abort();
    }
    done.violations.extend(panics(&field));

    let mut written = crowd.journal.take();
    evidence.history = std::mem::take(&mut written.history);
    evidence.chronicle = told.chronicle.take();
    evidence.seen = told.seen.take();
    evidence.watches = told.watches.take();
    eprintln!("{:>8.1?}  judging", began.elapsed());
    let judging = Instant::now();
    let mut verdict = judge::judge(&mut evidence);
    verdict.violations.splice(0..0, told.violations.take());
    verdict.violations.splice(0..0, done.violations.drain(..));
    written.history = evidence.history;

    let text = report::write(&Report {
        command: command(),
        versions,
        seed: arguments.seed,
        n_members: n,
        n_clients: arguments.clients,
        acknowledgements: &written.acknowledgements(),
        written: &written,
        done: &done,
        verdict: &verdict,
        missing: &missing,
        n_watches: evidence.watches.len(),
        lasted,
        judged_in: judging.elapsed(),
    });
    println!("{text}");
    if let Some(path) = &arguments.report {
        std::fs::write(path, &text)?;
    }
    match verdict.violations.len() {
        0 if signals.broken_off.load(Ordering::Relaxed) => Err("broken off".into()),
        0 => Ok(()),
        n => Err(format!("{n} violations, seed {}", arguments.seed).into()),
    }
}

/// Lets the nemesis work until there are enough operations and it has come to an end.
async fn until_enough(
    signals: &Signals,
    operations: u64,
    nemesis: JoinHandle<Result<(Field, Done), Failure>>,
) -> Result<(Field, Done), Failure> {
    while !nemesis.is_finished() {
        if signals.n_ended.load(Ordering::Relaxed) >= operations {
            signals.enough.store(true, Ordering::Relaxed);
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            // What was set up goes away in order, and what was done is judged.
            _ = tokio::signal::ctrl_c() => signals.broken_off.store(true, Ordering::Relaxed),
        }
    }
    nemesis.join().map_err(|_| "the nemesis panicked")?
}

/// Progress, then everything once more from every member.
async fn read_back(
    crowd: &Rc<Crowd>,
    told: &Rc<Told>,
    field: &Field,
    evidence: &mut Evidence,
) -> Result<(), Failure> {
    let last = settle::progress(crowd).await?;
    for watch in told.watches.borrow_mut().iter_mut().take(field.n()) {
        watch.complete_to = Some(last);
    }
    settle::retell(crowd, told, last).await?;
    for (member, url) in field.cluster.endpoints().iter().enumerate() {
        evidence.finals.push(settle::hold(member, url, last).await?);
    }
    Ok(())
}

/// Lines of the members' logs that no member may ever write.
fn panics(field: &Field) -> Vec<Violation> {
    let mut found = Vec::new();
    for member in &field.cluster.members {
        for words in ["panicked at", "must not go on"] {
            for line in member.said(words) {
                let evidence = format!("{}: {line}", member.name);
                found.push(Violation::new("no_invariant_breaks", evidence));
            }
        }
    }
    found
}

/// Builds this tree's server with the cargo that runs us, so that it is never an old one.
pub(crate) fn build() -> Result<String, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "quorate-cli"])
        .status()?;
    match built.success() {
        true => Ok("target/release/quorate".to_owned()),
        false => Err("the server does not build; name one with --server".into()),
    }
}

/// The command that was given, as a person would type it.
fn command() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    format!(
        "cargo run --release -p quorate-chaos -- {}",
        words.join(" ")
    )
}

fn versions(server: &str) -> Vec<String> {
    let program = server.split_whitespace().next().unwrap_or(server);
    let commit = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|run| run.status.success())
        .map(|run| format!("commit {}", String::from_utf8_lossy(&run.stdout).trim()));
    [
        version(program, "--version"),
        commit,
        version("iptables", "--version"),
        version("strace", "-V"),
    ]
    .into_iter()
    .flatten()
    .collect()
}
