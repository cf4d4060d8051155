//! The clients that etcd's users have, each used as its users do, on a cluster of three members.
//!
//! ```text
//!   cargo run -p quorate-clients                    all clients, on the `quorate` that this build made
//!   … -- --only go,python                           some of them: nothing is left out unless you say so
//!   … -- --against etcd                             on the real etcd (proof/peers builds it): shows that the
//!                                                   programs ask for etcd's behaviour and not for ours
//!   … -- --tls                                      the client port with TLS, certificates on both sides
//!
//!   programs.rs   the clients: what makes each ready (go build, npm ci, pip, mvn), what runs it
//!   certificates.rs   an authority, and certificates of both sides
//!   field.rs      three members for one client, and the line by which it may kill and start them
//!   report.rs     what a program prints, read and judged
//! ```
//!
//! A program is told its cluster by the environment (`CLIENTS_…`, see `field.rs`) and prints one line for each check:
//! `ok NAME`, `FAILED NAME: why`, `not yet NAME`. The names that it must print stand in `<client>/checks.txt`: a check that
//! is not reported is a failure, and so is a toolchain or a package that is not there. Nothing is skipped silently.
//!
//! It knows nothing of our code; `cluster` starts any server that takes etcd's flags.

mod certificates;
mod field;
mod programs;
mod report;

use clap::Parser;
use cluster::{Server, TempDir};
use field::Field;
use programs::{PROGRAMS, Program};
use report::Report;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// What went wrong, for a person to read.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The clients that etcd's users have, on a cluster of three members.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// `ours`, `etcd` or `etcd-3.7` (the real ones, which proof/peers builds), or a program with etcd's flags
    #[arg(long, default_value = "ours")]
    against: String,
    /// Only these clients, by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Certificates on both sides of the client port
    #[arg(long)]
    tls: bool,
    /// Write what a client reports into its checks.txt, if all of it holds
    #[arg(long)]
    update: bool,
    /// Show every check, not only those that fail
    #[arg(long, short)]
    verbose: bool,
}

/// The real etcd of the next release, as proof/peers calls it.
const NEXT: &str = "etcd-3.7";

/// Where things are.
pub(crate) struct Places {
    /// The folder of this crate, with a folder for each client.
    pub(crate) sources: PathBuf,
    /// What the toolchains make: `target/clients`.
    pub(crate) made: PathBuf,
    /// The programs of this build: `target/debug`.
    pub(crate) built: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("quorate-clients: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every check of every client held.
fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let places = places()?;
    let chosen = chosen(&arguments.only)?;
    let program = server_program(&arguments.against, &places)?;
    let is_ours = arguments.against == "ours";
    let mut table = Vec::new();
    let mut all_held = true;
    for client in &chosen {
        let begin = Instant::now();
        let prepared = client.prepare(&places);
        let preparing = begin.elapsed();
        let mut report = match prepared {
            Ok(command) => play(client, command, &program, is_ours, arguments, &places)?,
            Err(failure) => Report::broken(&format!("cannot be made ready: {failure}")),
        };
        report.judge(
            &places.sources.join(client.folder),
            client,
            arguments.update,
        )?;
        report.print(client.name, arguments.verbose);
        all_held &= report.holds();
        table.push(format!(
            "{:<16} {:<28} ready in {:>3}s, ran {:>3}s",
            client.name,
            report.counts(),
            preparing.as_secs(),
            (begin.elapsed() - preparing).as_secs(),
        ));
    }
    let face = if arguments.tls { "TLS" } else { "no TLS" };
    println!("\nagainst {} ({face}):", program.display());
    for line in table {
        println!("  {line}");
    }
    if !arguments.only.is_empty() {
        println!("  only {}, as asked", arguments.only.join(", "));
    }
    Ok(all_held)
}

/// One client on a new cluster.
fn play(
    client: &Program,
    mut command: Command,
    program: &Path,
    is_ours: bool,
    arguments: &Arguments,
    places: &Places,
) -> Result<Report, Failure> {
    let folder = TempDir::under(&places.made)?;
    let server = Server::new("tested", &program.display().to_string(), folder.path())?;
    let field = Field::start(&server, folder.path(), arguments.tls)?;
    field.tell(&mut command);
    let not_yet = if is_ours {
        client.not_yet_of_ours()
    } else {
        String::new()
    };
    command.env("CLIENTS_NOT_YET", not_yet);
    // Ours has what etcd has from 3.7 on.
    let streams = is_ours || arguments.against == NEXT;
    command.env("CLIENTS_RANGE_STREAM", if streams { "yes" } else { "no" });
    let mut report = report::watch(command, &places.made.join(format!("{}.log", client.name)))?;
    if !report.holds() {
        report.last_words = field.last_words();
    }
    Ok(report)
}

fn chosen(only: &[String]) -> Result<Vec<&'static Program>, Failure> {
    if only.is_empty() {
        return Ok(PROGRAMS.iter().collect());
    }
    let find = |name: &String| {
        let known: Vec<_> = PROGRAMS.iter().map(|client| client.name).collect();
        let found = PROGRAMS.iter().find(|client| client.name == *name);
        found.ok_or_else(|| format!("no client {name}; there are {}", known.join(", ")).into())
    };
    only.iter().map(find).collect()
}

/// The server's program, absolute.
fn server_program(against: &str, places: &Places) -> Result<PathBuf, Failure> {
    let path = match against {
        "ours" => {
            let ours = places.built.join("quorate");
            if !ours.exists() {
                return Err("no server to test: `cargo build -p quorate-cli` first".into());
            }
            ours
        }
        "etcd" | NEXT => {
            let built = Command::new(places.sources.join("../peers/build")).status()?;
            if !built.success() {
                return Err("proof/peers/build failed, so there is no real etcd".into());
            }
            places.made.join("../peers").join(against)
        }
        path => PathBuf::from(path),
    };
    Ok(std::fs::canonicalize(&path).map_err(|err| format!("{}: {err}", path.display()))?)
}

fn places() -> Result<Places, Failure> {
    // target/debug/quorate-clients
    let own = std::env::current_exe()?;
    let built = own.parent().ok_or("no folder of this program")?;
    let target = built.parent().ok_or("no target folder")?;
    let made = target.join("clients");
    std::fs::create_dir_all(&made)?;
    Ok(Places {
        sources: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
        made,
        built: built.to_owned(),
    })
}
