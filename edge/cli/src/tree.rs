//! The command line as one tree: what there is, with an example first.
//!
//! Each command's arguments and what it does are in its file under `cmd/`; here is only how they hang
//! together. `server` takes etcd's flags as they are (`flags.rs`), so its part of the tree is one raw list.

use crate::cmd;
use crate::dev;
use crate::global::{Globals, Takes};
use clap::{Parser, Subcommand};

/// Quorate: coordination for a team's services, over the etcd v3 API and its own.
#[derive(Parser, Debug)]
#[command(
    name = "quorate",
    version,
    disable_help_subcommand = true,
    before_help = "\
Examples:
  quorate dev                              three members on this machine, in one command
  quorate put greeting hello               write a key
  quorate get greeting                     read it
  quorate lock nightly --ttl 5s -- ./job   run a command under a lock
  quorate explain Q2104                    what an error means, and what to do
  quorate lab run paxos                    how it works, and what breaks without it
  ln -s quorate etcd && ./etcd --name n1   a member, called as etcd is"
)]
pub(crate) struct Tree {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What `quorate` can be asked for.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Get(cmd::get::Get),
    Put(cmd::put::Put),
    Del(cmd::del::Del),
    Range(cmd::range::Range),
    Txn(cmd::txn::Txn),
    Watch(cmd::watch::Watch),
    Lock(cmd::lock::Lock),
    Elect(cmd::elect::Elect),
    Lease(cmd::lease::Lease),
    Status(cmd::status::Status),
    Doctor(cmd::doctor::Doctor),
    Snapshot(cmd::snapshot::Snapshot),
    Explain(cmd::explain::Explain),
    Quorum(cmd::quorum::Quorum),
    Lab(lab::command::Lab),
    Audit(cmd::audit::Audit),
    Context(cmd::context::Context),
    Dev(dev::Dev),
    Server(cmd::server::Server),
    Completion(cmd::completion::Completion),
    Version(cmd::version::Version),
    Help(cmd::help::Help),
}

impl Command {
    /// Whether it changes something at the cluster, so that its interruption leaves a doubt.
    pub(crate) fn is_write(&self) -> bool {
        match self {
            Command::Put(_) | Command::Del(_) | Command::Txn(_) => true,
            Command::Lease(lease) => lease.is_write(),
            _ => false,
        }
    }

    /// Its name, and which of the global flags mean something to it.
    pub(crate) fn takes(&self) -> (&'static str, Takes) {
        let reads = Takes {
            consistency: true,
            ..Takes::default()
        };
        let looks = |looks| Takes {
            consistency: looks,
            ..Takes::default()
        };
        let destroys = Takes {
            dry_run: true,
            ..Takes::default()
        };
        match self {
            Command::Get(_) => ("get", reads),
            Command::Put(_) => ("put", Takes::default()),
            Command::Del(_) => ("del", destroys),
            Command::Range(_) => ("range", reads),
            Command::Txn(_) => ("txn", Takes::default()),
            Command::Watch(_) => ("watch", Takes::default()),
            Command::Lock(lock) => ("lock", looks(lock.looks())),
            Command::Elect(elect) => ("elect", looks(elect.looks())),
            Command::Lease(lease) => ("lease", lease.takes()),
            Command::Status(_) => ("status", Takes::default()),
            Command::Doctor(_) => ("doctor", Takes::default()),
            Command::Snapshot(_) => ("snapshot", Takes::default()),
            Command::Explain(_) => ("explain", Takes::default()),
            Command::Quorum(_) => ("quorum", Takes::default()),
            Command::Lab(_) => ("lab", Takes::default()),
            Command::Audit(_) => ("audit", Takes::default()),
            Command::Context(context) => ("context", context.takes()),
            Command::Dev(_) => ("dev", Takes::default()),
            Command::Server(_) => ("server", Takes::default()),
            Command::Completion(_) => ("completion", Takes::default()),
            Command::Version(_) => ("version", Takes::default()),
            Command::Help(_) => ("help", Takes::default()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
#[path = "tree/tests.rs"]
mod tests;
