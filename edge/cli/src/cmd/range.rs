//! `quorate range PREFIX`.

use super::options::ReadOptions;
use crate::complaint::Complaint;
use crate::link::Link;
use crate::output::{Format, Voice, shown};
use crate::parse;
use crate::table::Table;
use api::Method;
use api::proto::{Consistency, Keys, Level, RangeRequest, RangeResponse, Read};
use bytes::Bytes;

/// List keys and values, in order.
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate range job/                     all keys that begin with job/
  quorate range                          all keys
  quorate range job/ --keys-only
  quorate range job/ --count
  quorate range job/ --limit 10 -o jsonl | jq -r .key")]
pub(crate) struct Range {
    /// How the keys begin; without it: all keys.
    #[arg(value_parser = parse::bytes(), default_value = "")]
    prefix: Bytes,
    /// At most so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Without the values.
    #[arg(long)]
    keys_only: bool,
    /// Only how many there are.
    #[arg(long, conflicts_with_all = ["limit", "keys_only", "descending"])]
    count: bool,
    /// The last first.
    #[arg(long)]
    descending: bool,
    #[command(flatten)]
    read: ReadOptions,
}

/// All keys that begin so.
pub(crate) fn prefix(prefix: &Bytes) -> Keys {
    Keys {
        prefix: prefix.clone(),
        all: prefix.is_empty(),
        ..Keys::default()
    }
}

/// The first key behind all that begin with `prefix`; empty when there is none.
fn end_of_prefix(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff);
    let mut end = kept.map_or(Vec::new(), |last| prefix[..=last].to_vec());
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// Prints them.
pub(crate) async fn run(range: Range, link: &Link, voice: Voice) -> Result<u8, Complaint> {
    let first = RangeRequest {
        keys: Some(prefix(&range.prefix)),
        limit: range.limit.unwrap_or(0),
        descending: range.descending,
        keys_only: range.keys_only,
        count_only: range.count,
        read: range.read.of(link),
    };
    let answer = all(link, first, &range).await?;
    if range.count {
        voice.answer("RangeResponse", &answer, || format!("{}\n", answer.count))?;
        return Ok(0);
    }
    if voice.format == Format::Jsonl {
        for kv in &answer.kvs {
            voice.element("KeyValue", kv, String::new)?;
        }
        return Ok(0);
    }
    voice.answer("RangeResponse", &answer, || match range.keys_only {
        true => answer.kvs.iter().map(|kv| shown(&kv.key) + "\n").collect(),
        false => table(&answer),
    })?;
    Ok(0)
}

/// Page by page, all of one state, as one answer.
async fn all(
    link: &Link,
    mut request: RangeRequest,
    range: &Range,
) -> Result<RangeResponse, Complaint> {
    let mut whole: RangeResponse = link.read(Method::Range, &request).await?;
    let mut next = std::mem::take(&mut whole.next);
    let mut more = whole.more;
    while more && range.limit.is_none() {
        // One state for all pages, read where it is already there.
        let header = whole.header.clone().unwrap_or_default();
        request.read = Some(Read {
            consistency: Some(Consistency {
                level: Level::Session.into(),
                session: header.session,
                ..Consistency::default()
            }),
            revision: header.revision,
            as_of: String::new(),
        });
        request.keys = Some(rest(&range.prefix, next, range.descending));
        let page: RangeResponse = link.read(Method::Range, &request).await?;
        whole.kvs.extend(page.kvs);
        (next, more) = (page.next, page.more);
    }
    whole.next = next;
    whole.more = more;
    Ok(whole)
}

/// What is left from `next` on, or up to it.
fn rest(prefix: &Bytes, next: Bytes, is_descending: bool) -> Keys {
    let (start, end) = match is_descending {
        true => (prefix.clone(), next),
        false => (next, end_of_prefix(prefix)),
    };
    Keys {
        start,
        end,
        ..Keys::default()
    }
}

fn table(answer: &RangeResponse) -> String {
    let mut table = Table::new(["KEY", "REVISION", "VALUE"]);
    for kv in &answer.kvs {
        table.row([
            shown(&kv.key),
            kv.mod_revision.to_string(),
            shown(&kv.value),
        ]);
    }
    let mut text = table.text();
    if answer.more {
        text.push_str(&format!("… and more: {} in all\n", answer.count));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_that_does_not_begin_so() {
        assert_eq!(end_of_prefix(b"job/"), &b"job0"[..]);
        assert_eq!(end_of_prefix(b"a\xff\xff"), &b"b"[..]);
        assert_eq!(end_of_prefix(b"\xff"), &b""[..]);
        assert_eq!(end_of_prefix(b""), &b""[..]);
    }
}
