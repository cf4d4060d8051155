//! `quorate get KEY`.

use super::options::ReadOptions;
use crate::complaint::Complaint;
use crate::link::Link;
use crate::output::{self, Voice, shown};
use crate::parse;
use api::proto::{GetRequest, GetResponse};
use api::{Code, Method};
use bytes::Bytes;
use std::io::IsTerminal as _;

/// Read a key. Its value is printed as it is, byte for byte.
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate get greeting
  quorate get greeting -o json                          with its revisions, and how fresh that is
  quorate get greeting --consistency bounded:100ms      from any member that is not further behind
  quorate get greeting --revision 7                     as it was
  quorate get greeting --as-of 2026-11-29T08:00:00Z")]
pub(crate) struct Get {
    /// The key.
    #[arg(value_parser = parse::bytes())]
    key: Bytes,
    #[command(flatten)]
    read: ReadOptions,
}

/// Prints it.
pub(crate) async fn run(get: Get, link: &Link, voice: Voice) -> Result<u8, Complaint> {
    let name = shown(&get.key);
    let request = GetRequest {
        key: get.key,
        read: get.read.of(link),
    };
    let answer: GetResponse = link.read(Method::Get, &request).await?;
    if !voice.is_for_people() {
        voice.answer("GetResponse", &answer, String::new)?;
    }
    let Some(kv) = answer.kv else {
        return Err(Complaint::coded(
            Code::KeyNotFound,
            format!("there is no key \"{name}\""),
        ));
    };
    if voice.is_for_people() {
        output::raw(&kv.value)?;
        if std::io::stdout().is_terminal() && !kv.value.ends_with(b"\n") {
            output::raw(b"\n")?;
        }
    }
    Ok(0)
}
