//! `quorate del KEY`.

use super::options::{WriteOptions, confirm};
use crate::complaint::Complaint;
use crate::global::Globals;
use crate::link::Link;
use crate::output::shown;
use crate::parse;
use api::Method;
use api::proto::{Condition, DeleteRequest, DeleteResponse, Keys, RangeRequest, RangeResponse};
use bytes::Bytes;

/// Delete a key, or all keys that begin so.
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate del greeting
  quorate del job/ --prefix --dry-run      how many keys would go
  quorate del job/ --prefix --yes          without a question
  quorate del greeting --if-revision 7     only if nobody wrote it since")]
pub(crate) struct Del {
    /// The key, or the beginning of keys.
    #[arg(value_parser = parse::bytes())]
    key: Bytes,
    /// All keys that begin so; asks before it deletes, unless --yes says so.
    #[arg(long)]
    prefix: bool,
    /// Only if the key was written last at this revision.
    #[arg(long, value_name = "REVISION", conflicts_with = "prefix")]
    if_revision: Option<u64>,
    /// Print what was there, too.
    #[arg(long)]
    previous: bool,
    #[command(flatten)]
    write: WriteOptions,
}

/// Deletes it, or says what would be deleted.
pub(crate) async fn run(del: Del, link: &Link, globals: &Globals) -> Result<u8, Complaint> {
    let voice = globals.voice();
    let (keys, name) = match del.prefix {
        true => (
            super::range::prefix(&del.key),
            format!("\"{}\"…", shown(&del.key)),
        ),
        false => (
            Keys {
                key: del.key.clone(),
                ..Keys::default()
            },
            format!("\"{}\"", shown(&del.key)),
        ),
    };
    if globals.dry_run || (del.prefix && !globals.yes) {
        let count = count(link, keys.clone()).await?;
        if globals.dry_run {
            let answer = DeleteResponse {
                header: count.header,
                deleted: count.count,
                previous: Vec::new(),
            };
            voice.answer("WouldDelete", &answer, || {
                format!("would delete {}\n", n_keys(answer.deleted))
            })?;
            return Ok(0);
        }
        confirm(
            globals.yes,
            &format!("Delete {} under {name}?", n_keys(count.count)),
        )?;
    }
    let conditions = del.if_revision.map(|revision| Condition {
        key: del.key.clone(),
        mod_revision: Some(revision),
        ..Condition::default()
    });
    let what = format!("the deletion of {name}");
    let request = |retry| DeleteRequest {
        keys: Some(keys),
        write: del.write.of(conditions.into_iter().collect(), retry),
        previous: del.previous,
    };
    let asked = link.write(Method::Delete, &what, del.write.request_id, request);
    let answer: DeleteResponse = asked.await?;
    voice.answer("DeleteResponse", &answer, || {
        let mut text = format!("deleted {}\n", n_keys(answer.deleted));
        for kv in &answer.previous {
            text.push_str(&format!(
                "before: {} = {}\n",
                shown(&kv.key),
                shown(&kv.value)
            ));
        }
        text
    })?;
    Ok(0)
}

/// How many keys there are.
async fn count(link: &Link, keys: Keys) -> Result<RangeResponse, Complaint> {
    let request = RangeRequest {
        keys: Some(keys),
        count_only: true,
        ..RangeRequest::default()
    };
    link.read(Method::Range, &request).await
}

/// How many, in words.
pub(crate) fn n_keys(n: u64) -> String {
    match n {
        1 => "1 key".to_owned(),
        n => format!("{n} keys"),
    }
}
