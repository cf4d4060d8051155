//! `quorate status`: every member in one table.

use crate::complaint::Complaint;
use crate::global::Globals;
use crate::survey::{self, Word};
use crate::table::Table;
use serde::Serialize;

/// Show what each member says about itself and the cluster.
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate status
  quorate status -o json
  quorate status --endpoints 10.0.0.1:2379")]
pub(crate) struct Status {}

#[derive(Serialize)]
struct Answer {
    items: Vec<Word>,
}

/// Prints it.
pub(crate) async fn run(globals: &Globals) -> Result<u8, Complaint> {
    let answer = Answer {
        items: survey::ask(globals).await?,
    };
    globals
        .voice()
        .answer("Members", &answer, || table(&answer.items))?;
    Ok(0)
}

/// What a member is.
fn role(word: &Word) -> String {
    let Some(status) = &word.status else {
        return "silent".to_owned();
    };
    let role = match (status.is_leader, status.is_learner, status.is_recovering) {
        (true, ..) => "leader",
        (_, true, _) => "learner",
        (_, _, true) => "recovering",
        _ => "follower",
    };
    role.to_owned()
}

fn table(words: &[Word]) -> String {
    let mut table = Table::new([
        "NAME", "ID", "ENDPOINT", "ROLE", "TERM", "APPLIED", "REVISION", "DATA", "DISK", "VERSION",
    ]);
    for word in words {
        let status = word.status.clone().unwrap_or_default();
        let header = status.header.unwrap_or_default();
        let member = word.member.clone().unwrap_or_default();
        let id = if member.id == 0 {
            header.member
        } else {
            member.id
        };
        let name = if member.name.is_empty() {
            status.name
        } else {
            member.name
        };
        let said = |text: String| match word.status.is_some() {
            true => text,
            false => "-".to_owned(),
        };
        table.row([
            if name.is_empty() {
                "?".to_owned()
            } else {
                name
            },
            if id == 0 {
                "?".to_owned()
            } else {
                format!("{id:x}")
            },
            word.endpoint.clone().unwrap_or_else(|| "-".to_owned()),
            role(word),
            said(header.term.to_string()),
            said(status.applied_index.to_string()),
            said(header.revision.to_string()),
            said(bytes(status.bytes_in_use)),
            said(status.disk),
            said(status.version),
        ]);
    }
    let mut text = table.text();
    for word in words {
        if let (Some(error), Some(endpoint)) = (&word.error, &word.endpoint) {
            text.push_str(&format!("{endpoint}: {error}\n"));
        }
    }
    text
}

/// `1.5 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut size = n as f64;
    let mut unit = "";
    for next in UNITS {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    format!("{size:.1} {unit}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_people() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(100 * 1024 * 1024), "100.0 MiB");
    }
}
