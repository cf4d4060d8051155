//! `quorate version`.

use crate::complaint::Complaint;
use crate::output::Voice;
use serde::Serialize;

/// Print the version.
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate version
  quorate version -o json")]
pub(crate) struct Version {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    version: &'static str,
    etcd_version: &'static str,
}

/// Prints it.
pub(crate) fn run(voice: Voice) -> Result<(), Complaint> {
    let answer = Answer {
        version: env!("CARGO_PKG_VERSION"),
        etcd_version: server::ETCD_VERSION,
    };
    let line = format!("quorate {}\n", answer.version);
    voice.answer("Version", &answer, || line)
}
