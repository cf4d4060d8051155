//! The differential tester: the same random requests to a real etcd and to Quorate, every field of every answer
//! and of every event compared.
//!
//! ```text
//!   seed ─▶ generate ─▶ operation ─┬─▶ etcd ───▶ answer ─┬─▶ compare ─▶ the same, or
//!             (marks)     (pair)   └─▶ Quorate ▶ answer ─┘              a rule of differences.rs, or
//!                                                                       a failure, shrunk to what it needs
//! ```
//!
//! It is a stranger to our code: it starts both by etcd's flags and speaks etcd's protocol to both. What a server
//! may choose for itself is written by marks (`marks`); what else may differ stands with its reason in the reviewed
//! list (`differences`). One member each, or three of ours; one request after the other, so that both see one order.
//!
//! Read in this order: `operation`, `marks`, `generate`, `tree`, `differences`, `pair`, `watching`, `contest`, `shrink`.

mod contest;
mod differences;
mod generate;
mod marks;
mod operation;
mod pair;
mod proto;
mod report;
mod shrink;
mod side;
mod transport;
mod tree;
mod watching;

use crate::differences::Rules;
use crate::generate::{Generator, Scope};
use crate::operation::Operation;
use crate::pair::{Failure, Pair, Programs, Tally};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// The same random requests to a real etcd and to Quorate, every field of every answer compared.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Compare; ends at the first difference that no rule explains, with the shortest history that shows it.
    Run(Run),
    /// Print the rules: what may differ, and why.
    Rules,
}

#[derive(clap::Args)]
struct Run {
    /// Decides the whole history
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many operations
    #[arg(long, default_value_t = 2000)]
    operations: usize,
    /// Play only these of the seed's operations: `3,17-20`
    #[arg(long)]
    only: Option<String>,
    /// The real etcd; if not given the one that `proof/peers/build` builds
    #[arg(long)]
    etcd: Option<PathBuf>,
    /// The program to compare with it; if not given the `quorate` that this build made
    #[arg(long)]
    ours: Option<PathBuf>,
    /// How many members ours has
    #[arg(long, default_value_t = 1)]
    members: usize,
    /// Users, roles and permissions too
    #[arg(long)]
    auth: bool,
    /// How many fresh pairs of servers a failure may take to be shrunk
    #[arg(long, default_value_t = 120)]
    shrink: usize,
    /// Go on after differences that no rule explains, and print the first of each kind
    #[arg(long)]
    all: bool,
    /// Another list of what may differ than this build's
    #[arg(long)]
    differences: Option<PathBuf>,
    /// Print each operation before it is done
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.mode {
        Mode::Rules => match Rules::of_this_build() {
            Ok(rules) => {
                print!("{}", report::rules(&rules));
                ExitCode::SUCCESS
            }
            Err(error) => complain(&error),
        },
        Mode::Run(run) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(compare(&run)),
                Err(error) => complain(&error),
            }
        }
    }
}

fn complain(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("differential: {}", base::Chain(error));
    ExitCode::FAILURE
}

async fn compare(run: &Run) -> ExitCode {
    let programs = match programs(run) {
        Ok(programs) => programs,
        Err(error) => return complain(&error),
    };
    let history = match history(run, programs.is_next) {
        Ok(history) => history,
        Err(problem) => {
            eprintln!("differential: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let started = Instant::now();
    let (outcome, tally) = play(&programs, &history, run.verbose, run.all).await;
    print!("{}", report::tables(&tally, &programs.rules));
    match outcome {
        Ok(()) if !tally.unexplained.is_empty() => ExitCode::FAILURE,
        Ok(()) => {
            let n = history.len();
            let seconds = started.elapsed().as_secs_f64();
            println!("{n} operations in {seconds:.0} s: no difference outside the list");
            ExitCode::SUCCESS
        }
        Err((at, Failure::Server(error))) => {
            eprintln!("at operation {}", history[at].0);
            complain(&error)
        }
        Err((at, Failure::Differs(finding))) => {
            println!(
                "DIFFERENCE after {at} operations, at number {}",
                history[at].0
            );
            println!("{finding}");
            let again = command(run);
            let short = shrink::shrink(&programs, &history[..=at], &finding, run.shrink).await;
            print!("{}", report::history(&short, &finding, &again));
            ExitCode::FAILURE
        }
    }
}

/// Plays a history on a fresh pair; where it failed, if it did.
async fn play(
    programs: &Programs,
    history: &[(usize, Operation)],
    is_verbose: bool,
    is_lenient: bool,
) -> (Result<(), (usize, Failure)>, Tally) {
    let mut pair = match Pair::start(programs).await {
        Ok(pair) => pair,
        Err(error) => return (Err((0, error.into())), Tally::default()),
    };
    pair.is_lenient = is_lenient;
    for (at, (number, operation)) in history.iter().enumerate() {
        if is_verbose {
            println!("{number}: {operation}");
        }
        if let Err(failure) = pair.perform(operation).await {
            return (Err((at, failure)), pair.tally);
        }
    }
    let last = history.len().saturating_sub(1);
    let settled = pair.settle().await.map_err(|failure| (last, failure));
    (settled, pair.tally)
}

fn programs(run: &Run) -> std::io::Result<Programs> {
    // target/debug/differential → target/debug/quorate
    let beside = std::env::current_exe()?.with_file_name("quorate");
    let ours = run.ours.clone().unwrap_or(beside);
    if !ours.exists() {
        let problem = format!("no {}: `cargo build -p quorate-cli` first", ours.display());
        return Err(std::io::Error::other(problem));
    }
    let peer = match &run.etcd {
        Some(peer) => peer.clone(),
        None => built_peer()?,
    };
    let rules = match &run.differences {
        Some(path) => Rules::read(&std::fs::read_to_string(path)?),
        None => Rules::of_this_build(),
    };
    let version = version_of(&peer)?;
    let rules = rules.map_err(std::io::Error::other)?;
    Ok(Programs {
        is_next: version.starts_with("3.7"),
        peer,
        ours,
        n_members: run.members,
        rules: rules.for_release(&version),
    })
}

/// What a server says about itself: `etcd Version: 3.6.16`.
fn version_of(program: &PathBuf) -> std::io::Result<String> {
    let told = Command::new(program).arg("--version").output()?;
    let told = String::from_utf8_lossy(&told.stdout);
    let version = told
        .lines()
        .find_map(|line| line.strip_prefix("etcd Version:"));
    Ok(version.unwrap_or_default().trim().to_owned())
}

/// The real etcd, built if it is not there.
fn built_peer() -> std::io::Result<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let status = Command::new(root.join("proof/peers/build")).status()?;
    if !status.success() {
        return Err(std::io::Error::other("proof/peers/build failed"));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(target.join("peers/etcd"))
}

/// The seed's operations by their numbers, or those of them that were asked for.
fn history(run: &Run, is_next: bool) -> Result<Vec<(usize, Operation)>, String> {
    let scope = Scope {
        has_auth: run.auth,
        has_serializable: run.members == 1,
        has_members: run.members == 1,
        is_next,
    };
    let all = Generator::new(run.seed, scope)
        .take(run.operations)
        .enumerate();
    let Some(only) = &run.only else {
        return Ok(all.collect());
    };
    let wanted = report::numbers(only)?;
    Ok(all.filter(|(number, _)| wanted.contains(number)).collect())
}

/// The command that plays this seed again.
fn command(run: &Run) -> String {
    let mut words = format!(
        "cargo run -p quorate-differential -- run --seed {} --operations {}",
        run.seed, run.operations
    );
    if run.members != 1 {
        words.push_str(&format!(" --members {}", run.members));
    }
    if run.auth {
        words.push_str(" --auth");
    }
    if let Some(etcd) = &run.etcd {
        words.push_str(&format!(" --etcd {}", etcd.display()));
    }
    words
}
