//! Chaos on real processes: faults on members of their own, under clients whose every answer is judged.
//!
//! ```text
//!   plan.rs      which faults, when: from the seed alone
//!   field.rs     the members: processes in network namespaces, on small file systems of their own
//!   nemesis.rs   does what the plan says: kill -9, SIGSTOP, iptables, power cuts, failed syncs, full disks
//!   strace.rs    syncs that fail or take long
//!
//!   ask.rs       what clients ask
//!   client.rs    asks it, by the public `etcd-client`, and knows refused from unknown
//!   watcher.rs   watches: of everything at each member, and small ones that wander
//!   journal.rs   the history as it is written
//!
//!   settle.rs    afterwards: progress on every member, everything read back
//!   judge.rs     the judges of `checker` on all of it
//!   report.rs    what is left of a run
//!   run.rs       the whole story in order
//!
//!   roll.rs         another story: members upgraded and restarted one by one, and nobody notices
//!   storms.rs       another story: big values, many writers, ten thousand watches; the leader stays
//!   hostile/        another story: strangers that attack, and honest clients that must not notice
//!   durability.rs   another story: acknowledged puts against the syncs of the members' logs, by trace
//! ```
//!
//! It is a stranger to our code: it knows the server by its flags, its process and its answers, and what was
//! acknowledged is judged by `checker`, which never imports the store. Namespaces, images and tracers
//! need root; what cannot be done is skipped, and the report says so.
//!
//! Two threads: the clients' and the nemesis'. The history lives on the clients' thread alone.

mod ask;
mod client;
mod durability;
mod field;
mod hostile;
mod journal;
mod judge;
mod nemesis;
mod plan;
mod report;
mod roll;
mod run;
mod settle;
mod storms;
mod strace;
mod watcher;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What went wrong, for a person to read.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Faults on real processes, under clients whose history is judged.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// All kinds of fault that this machine can do, until there are enough operations; then judge.
    Run(run::Arguments),
    /// Acknowledged puts against a trace of the members' log syncs: each was durable on a majority before.
    Durability(durability::Arguments),
    /// Members are upgraded, then restarted, one by one under load: no request fails.
    Roll(roll::Arguments),
    /// Storms of big values, of writes and of watches: the leader stays.
    Storms(storms::Arguments),
    /// Attacks by strangers on a member under TLS: what each costs it, and what honest clients notice.
    Hostile(hostile::Arguments),
    /// One attack, which `hostile` starts as a process of its own.
    Attack(hostile::AttackArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.mode {
        Mode::Run(arguments) => run::main(&arguments),
        Mode::Durability(arguments) => durability::main(&arguments),
        Mode::Roll(arguments) => roll::main(&arguments),
        Mode::Storms(arguments) => storms::main(&arguments),
        Mode::Hostile(arguments) => hostile::main(&arguments),
        Mode::Attack(arguments) => hostile::attack(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("chaos: {failure}");
            ExitCode::FAILURE
        }
    }
}
