//! Running one member, under either name, and what is printed about it.

use crate::flags::{self, Asked, Run};
use crate::log;
use base::Chain;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::process::ExitCode;
use tracing::{error, warn};

/// A member's flags, for people.
pub(crate) fn server_help(program: &str) -> String {
    format!(
        "\
Examples:
  {program} --name n1 --data-dir ./n1      a member alone
  {program} --name n1 --data-dir ./n1 --initial-cluster n1=http://10.0.0.1:2380,... \\
      --initial-advertise-peer-urls http://10.0.0.1:2380 --listen-peer-urls http://10.0.0.1:2380 \\
      --listen-client-urls http://10.0.0.1:2379 --advertise-client-urls http://10.0.0.1:2379

Run one member, by etcd's flags.

Usage: {program} [flags]

Flags (each also as ETCD_..., in capitals):
{}",
        flags::help()
    )
}

/// The version as etcd prints it, for scripts that read it.
fn etcd_version() -> String {
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    let arch = if arch == "x86_64" { "amd64" } else { arch };
    format!(
        "etcd Version: {}\nGit SHA: quorate-{}\nGo Version: none (quorate {} is written in Rust)\n\
         Go OS/Arch: {os}/{arch}\n",
        server::ETCD_VERSION,
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_VERSION"),
    )
}

/// Runs a member by etcd's flags.
pub(crate) fn member(program: &str, arguments: Vec<String>) -> ExitCode {
    match flags::parse(arguments, std::env::vars()) {
        Ok(Asked::Version) => {
            print!("{}", etcd_version());
            ExitCode::SUCCESS
        }
        Ok(Asked::Help) => {
            print!("{}", server_help(program));
            ExitCode::SUCCESS
        }
        Ok(Asked::Run(run)) => run_member(*run),
        Err(error) => {
            eprintln!("error: {}", Chain(&error));
            ExitCode::from(2)
        }
    }
}

fn run_member(run: Run) -> ExitCode {
    if let Some(parent) = run.parent
        && !tie_to(parent)
    {
        return ExitCode::FAILURE;
    }
    let guard = match log::start(&run.log) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("error: {}", Chain(&error));
            return ExitCode::from(2);
        }
    };
    for note in &run.notes {
        warn!("{note}");
    }
    let ended = server::run(run.config);
    if let Err(error) = &ended {
        let reason = Chain(error).to_string();
        error!(reason, "the member ends");
        drop(guard);
        eprintln!("error: {reason}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Ends this process when `parent` ends; whether `parent` is still there.
fn tie_to(parent: u32) -> bool {
    let tied = set_parent_process_death_signal(Some(Signal::TERM));
    let is_there = getppid().is_some_and(|pid| pid.as_raw_nonzero().get() as u32 == parent);
    tied.is_ok() && is_there
}
