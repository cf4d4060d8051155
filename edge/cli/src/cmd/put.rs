//! `quorate put KEY VALUE`.

use super::options::{WriteOptions, standard_input};
use crate::complaint::Complaint;
use crate::link::Link;
use crate::output::{Voice, shown};
use crate::parse;
use api::Method;
use api::proto::{Condition, PutRequest, PutResponse};
use bytes::Bytes;

/// Write a key.
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate put greeting hello
  quorate put config - < config.json                 the value is what stands on standard input
  quorate put greeting hi --if-revision 7            only if nobody wrote it since: compare and swap
  quorate put greeting hi --if-absent
  quorate put report done --fence nightly=33         only if token 33 still holds the lock \"nightly\"
  quorate put worker/1 here --lease 694d7a           the key goes with the lease")]
pub(crate) struct Put {
    /// The key.
    #[arg(value_parser = parse::bytes())]
    key: Bytes,
    /// The value; - for standard input.
    #[arg(value_parser = parse::bytes())]
    value: Bytes,
    /// The key goes with this lease.
    #[arg(long, value_name = "ID", value_parser = parse::lease)]
    lease: Option<i64>,
    /// Only if the key was written last at this revision; 0: only if it is not there.
    #[arg(long, value_name = "REVISION", conflicts_with = "if_absent")]
    if_revision: Option<u64>,
    /// Only if the key is not there.
    #[arg(long)]
    if_absent: bool,
    /// Print what was there before, too.
    #[arg(long)]
    previous: bool,
    #[command(flatten)]
    write: WriteOptions,
}

/// Writes it.
pub(crate) async fn run(put: Put, link: &Link, voice: Voice) -> Result<u8, Complaint> {
    let value = match &put.value[..] {
        b"-" => standard_input()?.into(),
        _ => put.value.clone(),
    };
    let mut conditions = Vec::new();
    if put.if_revision.is_some() || put.if_absent {
        conditions.push(Condition {
            key: put.key.clone(),
            mod_revision: put.if_revision,
            exists: put.if_absent.then_some(false),
            ..Condition::default()
        });
    }
    let what = format!("the write to \"{}\"", shown(&put.key));
    let request = |retry| PutRequest {
        key: put.key.clone(),
        value,
        lease: put.lease.unwrap_or(0),
        write: put.write.of(conditions, retry),
        previous: put.previous,
    };
    let asked = link.write(Method::Put, &what, put.write.request_id, request);
    let answer: PutResponse = asked.await?;
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    voice.answer("PutResponse", &answer, || {
        let mut text = format!("written at revision {revision}\n");
        if put.previous {
            text.push_str(&match &answer.previous {
                Some(kv) => format!("before: {}\n", shown(&kv.value)),
                None => "before: nothing\n".to_owned(),
            });
        }
        text
    })?;
    Ok(0)
}
