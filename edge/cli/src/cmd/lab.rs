//! `quorate lab …`: the lab is a crate of its own; here its words and its exit codes become the binary's.

use crate::complaint::Complaint;
use crate::output::{Format, Voice};
use lab::command::{Form, Lab};
use std::io::{stdin, stdout};
use std::process::ExitCode;

/// Runs it, at the terminal.
pub(crate) fn run(lab: Lab, voice: Voice) -> Result<ExitCode, Complaint> {
    let form = match voice.format {
        Format::Table => Form::Text,
        Format::Json => Form::Json,
        Format::Jsonl | Format::Yaml => {
            return Err(Complaint::usage("the lab prints tables or json"));
        }
    };
    let done = lab.run(form, &mut stdin().lock(), &mut stdout().lock());
    done.map_err(Complaint::usage)
}
