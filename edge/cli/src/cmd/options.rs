//! Flags that several commands share.

use crate::complaint::Complaint;
use crate::link::Link;
use crate::parse;
use api::proto::{Condition, Fence, Read, Retry, Write};
use clap::Args;
use std::io::{IsTerminal as _, Read as _};

/// Which state is read.
#[derive(Args, Debug)]
pub(crate) struct ReadOptions {
    /// As it was at this revision.
    #[arg(long, value_name = "REVISION", conflicts_with = "as_of")]
    pub(crate) revision: Option<u64>,
    /// As it was at this time: RFC 3339, with a counter behind it or not.
    #[arg(long, value_name = "TIME")]
    pub(crate) as_of: Option<String>,
}

impl ReadOptions {
    /// As the messages have it.
    pub(crate) fn of(&self, link: &Link) -> Option<Read> {
        link.at(
            self.revision.unwrap_or(0),
            self.as_of.clone().unwrap_or_default(),
        )
    }
}

/// Under which conditions a write takes effect.
#[derive(Args, Debug)]
pub(crate) struct WriteOptions {
    /// Refuse the write unless this token holds: NAME=TOKEN, where NAME is lock/x, sem/x, elect/x, etcd/x, or x for
    /// lock/x.
    #[arg(long = "fence", value_name = "NAME=TOKEN", value_parser = parse::fence)]
    pub(crate) fences: Vec<Fence>,
    /// Repeat the write that an error named so; it takes effect at most once.
    #[arg(long, value_name = "ID", value_parser = parse::request_id)]
    pub(crate) request_id: Option<Retry>,
    /// Answer when the write's time is surely in the past, by every clock that keeps its bound.
    #[arg(long)]
    pub(crate) commit_wait: bool,
}

impl WriteOptions {
    /// As the messages have it.
    pub(crate) fn of(&self, conditions: Vec<Condition>, retry: Retry) -> Option<Write> {
        Some(Write {
            conditions,
            fences: self.fences.clone(),
            retry: Some(retry),
            commit_wait: self.commit_wait,
        })
    }
}

/// Everything on standard input.
pub(crate) fn standard_input() -> Result<Vec<u8>, Complaint> {
    let mut bytes = Vec::new();
    match std::io::stdin().lock().read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Complaint::unexpected(format!(
            "cannot read standard input: {error}"
        ))),
    }
}

/// Whether the user means it: `--yes`, or a word at the terminal.
pub(crate) fn confirm(yes: bool, question: &str) -> Result<(), Complaint> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(
            Complaint::usage(format!("{question} Nobody can answer here: say --yes"))
                .help("--dry-run only counts"),
        );
    }
    eprint!("{question} [y/N] ");
    let mut word = String::new();
    let read = std::io::stdin().read_line(&mut word);
    match read.is_ok() && matches!(word.trim(), "y" | "Y" | "yes") {
        true => Ok(()),
        false => Err(Complaint::usage("nothing was done")),
    }
}
