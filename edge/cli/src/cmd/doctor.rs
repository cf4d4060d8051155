//! `quorate doctor`: what is wrong, or soon will be.

use crate::complaint::{Complaint, exit};
use crate::diagnosis::{self, Finding, Severity};
use crate::global::Globals;
use crate::survey;
use serde::Serialize;
use std::fmt::Write as _;

/// Look for what is wrong, or soon will be: even sizes, no margin, large values, clocks, slow disks, missing backups.
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate doctor                exit 0: nothing was found; exit 1: something was
  quorate doctor -o json")]
pub(crate) struct Doctor {}

#[derive(Serialize)]
struct Answer {
    members: usize,
    items: Vec<Finding>,
}

/// Prints what was found.
pub(crate) async fn run(globals: &Globals) -> Result<u8, Complaint> {
    let words = survey::ask(globals).await?;
    let answer = Answer {
        members: words.len(),
        items: diagnosis::of(&words),
    };
    globals
        .voice()
        .answer("Findings", &answer, || text(&answer))?;
    Ok(if answer.items.is_empty() {
        0
    } else {
        exit::UNEXPECTED
    })
}

fn text(answer: &Answer) -> String {
    if answer.items.is_empty() {
        return format!("nothing was found at {} members\n", answer.members);
    }
    let mut text = String::new();
    for finding in &answer.items {
        let severity = match finding.severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
        };
        let members = match finding.members.is_empty() {
            true => String::new(),
            false => format!("{}: ", finding.members.join(", ")),
        };
        // A String takes everything.
        let _ = writeln!(
            text,
            "{severity} [{}] {members}{}",
            finding.check, finding.what
        );
        let _ = writeln!(text, "  help: {}", finding.help);
    }
    text
}
