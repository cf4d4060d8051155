//! `quorate audit verify FILE`: whether an audit log is as it was written.

use crate::complaint::{Complaint, exit};
use crate::output::Voice;
use base::Chain;
use serde::Serialize;
use server::audit::{Broken, verify};
use std::fs::File;
use std::path::PathBuf;

/// Look at an audit log that a member wrote (--audit-log).
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate audit verify audit.log             does every line follow the one before?
  quorate audit verify audit.log -o json     … and the hash of the last one, to keep elsewhere")]
pub(crate) struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Check that no line was changed, removed or inserted.
    #[command(before_help = "\
Examples:
  quorate audit verify audit.log")]
    Verify {
        /// The log, or a part of it that begins with a whole line.
        file: PathBuf,
    },
}

#[derive(Serialize)]
struct Answer {
    lines: u64,
    dropped: u64,
    last: String,
}

/// Looks.
pub(crate) fn run(audit: &Audit, voice: Voice) -> Result<(), Complaint> {
    let Action::Verify { file } = &audit.action;
    let named = file.display();
    let log = File::open(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Complaint::not_found(format!("there is no file {named}")),
        _ => Complaint::unexpected(format!("cannot read {named}: {error}")),
    })?;
    let verified = verify(log).map_err(|broken| {
        let complaint = Complaint::unexpected(format!("{named}: {}", Chain(&broken)));
        match broken {
            Broken::Unreadable(_) => complaint,
            Broken::Changed { .. } | Broken::Torn { .. } => complaint.exits(exit::CONDITION).help(
                "what stands before that line is as it was written; nothing after it is proven",
            ),
        }
    })?;
    let answer = Answer {
        lines: verified.lines,
        dropped: verified.dropped,
        last: verified.last,
    };
    voice.answer("AuditLog", &answer, || {
        let dropped = match answer.dropped {
            0 => String::new(),
            n => format!("; {n} were dropped, as the log itself says"),
        };
        format!(
            "{} lines, each follows the one before{dropped}\nthe last one's hash: {}\n",
            answer.lines, answer.last
        )
    })
}
