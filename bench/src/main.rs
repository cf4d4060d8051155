//! Load, comparison and chaos for any server that speaks the etcd v3 API, on the public `etcd-client` crate.
//!
//! ```text
//!   main.rs        the command line
//!   load.rs        one workload against given endpoints: put, get, range, mixed, watch
//!   keys.rs        which key and which value operation number n uses
//!   tally.rs       latencies, errors, the generator's own CPU; a summary of them
//!   table.rs       aligned columns for people
//!   side.rs        a server under test: three members started on a real disk, ready or not
//!   compare.rs     the same load on two servers in turn (A B B A): CPU per operation, ratios
//!   levels.rs      what each level of consistency costs, at the leader and at a follower (ours only)
//!   million.rs     a million keys: memory, restart, worst put while the server tidies up
//!   failover.rs    kill -9 under load: nothing acknowledged is lost, how long no write succeeds
//!   full.rs        full disks: refused clearly, nothing lost, all well again when there is room (root)
//!   grow.rs        membership under load: emptied and added again, three to five to three
//!   writers.rs     writers that never stop, remember every acknowledgement, and check it
//!   split.rs       split brain in network namespaces (root)
//!   register.rs    the clients of the split: one process on each side
//! ```
//!
//! It is a stranger to our code: it knows a server by its flags, its process and its answers, and every mode
//! but `levels` runs on the real etcd as well. It runs on one thread, so that it takes no more of the machine than it must;
//! its own CPU per operation is in every report.

mod compare;
mod failover;
mod full;
mod grow;
mod keys;
mod levels;
mod load;
mod machine;
mod million;
mod register;
mod side;
mod split;
mod table;
mod tally;
mod writers;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What went wrong, for a person to read.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Load, comparison and chaos for servers that speak the etcd v3 API.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// One workload against a cluster that runs.
    Load(load::Arguments),
    /// The same workloads on two servers in turn (A B B A), three members each.
    Compare(compare::Arguments),
    /// What a read of each level costs, at the leader and at a follower; for Quorate alone.
    Levels(levels::Arguments),
    /// A million keys: memory, restart, worst put while the server tidies up.
    Million(million::Arguments),
    /// kill -9 under load: of the leader, of a follower, of all.
    Failover(failover::Arguments),
    /// Disks that are really full: one member's, then all. Needs root, for small file systems of their own.
    FullDisk(full::Arguments),
    /// Members come and go under load: one emptied and added again, three to five, five to three.
    Grow(grow::Arguments),
    /// The leader cut off, with clients on both sides, in network namespaces. Needs root.
    SplitBrain(split::Arguments),
    /// One side's clients of `split-brain`; it starts them by itself.
    #[command(hide = true)]
    Register(register::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Err(err) => Err(err.into()),
        Ok(runtime) => runtime.block_on(async {
            match arguments.mode {
                Mode::Load(arguments) => load::main(arguments).await,
                Mode::Compare(arguments) => compare::main(arguments).await,
                Mode::Levels(arguments) => levels::main(arguments).await,
                Mode::Million(arguments) => million::main(arguments).await,
                Mode::Failover(arguments) => failover::main(arguments).await,
                Mode::FullDisk(arguments) => full::main(arguments).await,
                Mode::Grow(arguments) => grow::main(arguments).await,
                Mode::SplitBrain(arguments) => split::main(arguments).await,
                Mode::Register(arguments) => register::main(arguments).await,
            }
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("quorate-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
