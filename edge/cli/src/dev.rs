//! `quorate dev`: a whole cluster on this machine, in one command.
//!
//! ```text
//!   plan.rs      which members, ports and directories; remembered in DIR/cluster.json
//!   children.rs  a process for each member, watched, and ended with this one
//!   probe.rs     asks a member how it is, over plain HTTP
//!   report.rs    the table, the commands, the ready file
//!   context.rs   the context by which the other commands find it
//! ```
//!
//! Each member is `quorate server` in a process of its own, so that killing one is as real as it gets. What is
//! printed is true when it is printed: the cluster has acknowledged every member by then.

mod children;
mod context;
mod plan;
mod probe;
mod report;

use crate::complaint::Complaint;
use crate::output::Voice;
use base::Chain;
use children::Children;
use context::Claim;
use plan::Plan;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The time in which the cluster must serve.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The pause between two looks at members that are starting.
const PROBE_PAUSE: Duration = Duration::from_millis(5);

/// Run a whole cluster on this machine, to try things out.
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate dev                        three members, gone without a trace at the end
  quorate dev --data-dir ./data      the data stays: the next run continues it
  quorate dev --members 1            a member alone
  quorate dev -- --read-lease-drift-ppm 500      with flags of `quorate server` for each member")]
pub(crate) struct Dev {
    /// Members of a new cluster, 1 to 5 (default: 3).
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=5))]
    members: Option<u8>,
    /// Where the data stays; without it a temporary directory that is removed at the end.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Written as JSON once the cluster serves: {"members":[{"name","pid","etcd","native","peer"},…]}; etcd's API and
    /// the native one share an address.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Flags of `quorate server` for each member, behind --.
    #[arg(last = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevError {
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: String,
        source: io::Error,
    },
    #[error("another quorate dev uses {0}")]
    InUse(String),
    #[error("{path} is not a file of quorate dev's: {reason}")]
    Plan { path: String, reason: String },
    #[error(
        "the cluster in {dir} has {has} members and not {asked}; \
         leave --members out, or choose another --data-dir"
    )]
    OtherSize { dir: String, has: usize, asked: u8 },
    #[error(
        "port {port} belongs to {name} of this cluster and is in use by another program; \
         the members know each other by these ports, so stop that program first"
    )]
    PortTaken { name: String, port: u16 },
    #[error("no free ports for {0}")]
    NoPorts(String),
    #[error("cannot start {name}")]
    Start { name: String, source: io::Error },
    #[error("{name} ended at its start; the end of its log, {log}:\n{tail}")]
    Ended {
        name: String,
        log: String,
        tail: String,
    },
    #[error("the cluster does not serve after {0:?}; its logs are in {1}")]
    NotReady(Duration, String),
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    #[error("nobody reads what is printed")]
    Unread(Complaint),
}

impl From<Complaint> for DevError {
    fn from(complaint: Complaint) -> DevError {
        DevError::Unread(complaint)
    }
}

impl From<DevError> for Complaint {
    fn from(error: DevError) -> Complaint {
        match error {
            DevError::Unread(complaint) => complaint,
            other => Complaint::unexpected(Chain(&other).to_string()),
        }
    }
}

/// Runs the command.
pub(crate) fn main(arguments: &Dev, voice: Voice) -> Result<ExitCode, DevError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DevError::Signals)?;
    runtime.block_on(run(arguments, voice))
}

async fn run(arguments: &Dev, voice: Voice) -> Result<ExitCode, DevError> {
    let began = Instant::now();
    let mut signals = Signals::listen().map_err(DevError::Signals)?;
    if let Some(file) = &arguments.ready_file {
        report::remove_stale(file)?;
    }
    let mut plan = Plan::make(arguments.data_dir.as_deref(), arguments.members)?;
    plan.flags.clone_from(&arguments.flags);
    plan.held.clear();
    let mut children = Children::start(&plan)?;
    tokio::select! {
        ready = wait_until_ready(&plan, &mut children) => ready?,
        () = signals.asked() => {
            children.stop(&mut signals).await;
            return Ok(ExitCode::SUCCESS);
        }
    }
    plan.choosing = None;
    let (claim, context) = Claim::make(&plan).await;
    if let Some(file) = &arguments.ready_file {
        report::write_ready_file(file, &plan, &children)?;
    }
    if voice.is_for_people() {
        let took = began.elapsed();
        print!(
            "{}",
            report::table(&plan, &children, took, &claim, &context).await
        );
    } else {
        let ready = report::ready(&plan, &children);
        voice.answer("Cluster", &ready, String::new)?;
    }

    while signals.next().await == Heard::ChildEnded {
        for child in children.ended() {
            eprint!("{}", report::ended(&child, &plan));
        }
        if children.is_empty() {
            eprintln!("all members have ended");
            return Ok(ExitCode::FAILURE);
        }
    }
    if voice.is_for_people() {
        println!("\nstopping …");
    }
    drop(claim);
    children.stop(&mut signals).await;
    if voice.is_for_people() {
        println!("stopped; {}", report::what_remains(&plan));
    }
    Ok(ExitCode::SUCCESS)
}

async fn wait_until_ready(plan: &Plan, children: &mut Children) -> Result<(), DevError> {
    let began = Instant::now();
    let mut waiting: Vec<usize> = (0..plan.members.len()).collect();
    while !waiting.is_empty() {
        if let Some(child) = children.ended().into_iter().next() {
            return Err(DevError::Ended {
                name: child.name.clone(),
                log: child.log.display().to_string(),
                tail: child.log_tail(),
            });
        }
        if began.elapsed() > READY_TIMEOUT {
            let dir = plan.dir.path().display().to_string();
            return Err(DevError::NotReady(READY_TIMEOUT, dir));
        }
        let mut still = Vec::new();
        for at in waiting {
            let status = probe::status(plan.members[at].client_address()).await;
            if !status.is_ok_and(|status| status.ready) {
                still.push(at);
            }
        }
        waiting = still;
        if !waiting.is_empty() {
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }
    Ok(())
}

/// The signals that matter here.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    child: Signal,
}

/// Which of them came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heard {
    /// Somebody wants the end.
    Asked,
    /// Perhaps a member's process has ended.
    ChildEnded,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            child: signal(SignalKind::child())?,
        })
    }

    /// Waits until somebody asks for the end.
    async fn asked(&mut self) {
        while self.next().await == Heard::ChildEnded {}
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.interrupt.recv() => Heard::Asked,
            _ = self.terminate.recv() => Heard::Asked,
            _ = self.hangup.recv() => Heard::Asked,
            _ = self.child.recv() => Heard::ChildEnded,
        }
    }
}

fn failed<'a>(
    action: &'static str,
    path: &'a std::path::Path,
) -> impl FnOnce(io::Error) -> DevError + 'a {
    move |source| DevError::Io {
        action,
        path: path.display().to_string(),
        source,
    }
}

/// Prints a fault that does not end the command.
fn complain(error: &DevError) {
    eprintln!("warning: {}", Chain(error));
}
