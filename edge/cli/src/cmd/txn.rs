//! `quorate txn`: a transaction as JSON.

use super::options::standard_input;
use crate::complaint::Complaint;
use crate::link::Link;
use crate::output::{Voice, shown};
use crate::parse;
use api::proto::{Retry, TxnRequest, TxnResponse};
use api::{Code, Method};
use std::path::PathBuf;

/// What the shell is told when the conditions did not hold.
const OTHERWISE: u8 = 4;

/// Run a transaction: several steps at one revision, when all conditions hold, else others.
#[derive(clap::Args, Debug)]
#[command(before_help = r#"Examples:
  quorate txn move.json
  quorate txn - < move.json
  where move.json is
      {"write": {"conditions": [{"key": "from", "value": "10"}],
                 "fences": [{"queue": {"kind": "lock", "name": "nightly"}, "token": "33"}]},
       "then": [{"delete": {"keys": {"key": "from"}}}, {"put": {"key": "to", "value": "10"}}],
       "otherwise": [{"range": {"keys": {"key": "from"}}}]}
  exit 0: the conditions held; exit 4: they did not, and "otherwise" was done"#)]
pub(crate) struct Txn {
    /// A file with the transaction; - for standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Repeat the transaction that an error named so; it takes effect at most once.
    #[arg(long, value_name = "ID", value_parser = parse::request_id)]
    request_id: Option<Retry>,
}

/// Runs it.
pub(crate) async fn run(txn: Txn, link: &Link, voice: Voice) -> Result<u8, Complaint> {
    let mut request = read(&txn)?;
    let own = request.write.as_ref().and_then(|write| write.retry);
    let given = txn.request_id.or(own);
    let asked = link.write(Method::Txn, "the transaction", given, |retry| {
        request.write.get_or_insert_default().retry = Some(retry);
        request
    });
    let answer: TxnResponse = asked.await?;
    voice.answer("TxnResponse", &answer, || table(&answer))?;
    Ok(if answer.succeeded { 0 } else { OTHERWISE })
}

fn read(txn: &Txn) -> Result<TxnRequest, Complaint> {
    let bytes = match txn.file.as_os_str() == "-" {
        true => standard_input()?,
        false => std::fs::read(&txn.file).map_err(|error| {
            Complaint::usage(format!("cannot read {}: {error}", txn.file.display()))
        })?,
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| Complaint::coded(Code::Malformed, format!("the transaction: {error}")))
}

fn table(answer: &TxnResponse) -> String {
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    let mut text = match answer.succeeded {
        true => format!("the conditions held; revision {revision}\n"),
        false => format!("the conditions did not hold; revision {revision}\n"),
    };
    for (result, step) in answer.results.iter().zip(1..) {
        text.push_str(&format!("step {step}: {}\n", result.count));
        for kv in &result.kvs {
            text.push_str(&format!("  {} = {}\n", shown(&kv.key), shown(&kv.value)));
        }
    }
    text
}
