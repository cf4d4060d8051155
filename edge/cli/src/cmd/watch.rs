//! `quorate watch KEY`.

use crate::complaint::Complaint;
use crate::link::Link;
use crate::output::{Voice, shown};
use crate::parse;
use api::Code;
use api::proto::{Event, EventKind, KeyValue, WatchResponse};
use bytes::Bytes;
use client::{Keys, WatchError, WatchKind};

/// Print what happens to keys, as it happens, until it is interrupted. It goes on through cuts and misses nothing.
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate watch greeting
  quorate watch job/ --prefix -o jsonl
  quorate watch job/ --prefix --from 7 --limit 3      three events from revision 7 on, then the end")]
pub(crate) struct Watch {
    /// The key, or the beginning of keys.
    #[arg(value_parser = parse::bytes())]
    key: Bytes,
    /// All keys that begin so.
    #[arg(long)]
    prefix: bool,
    /// The first revision of interest; without it: from now on.
    #[arg(long, value_name = "REVISION")]
    from: Option<u64>,
    /// Print what was there before, too.
    #[arg(long)]
    previous: bool,
    /// End after so many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// Prints them.
pub(crate) async fn run(watch: Watch, link: &Link, voice: Voice) -> Result<u8, Complaint> {
    let keys = match watch.prefix {
        true => Keys::prefix(watch.key),
        false => Keys::from(watch.key),
    };
    let mut builder = link.client.watch(keys).from(watch.from.unwrap_or(0));
    if watch.previous {
        builder = builder.previous();
    }
    let mut stream = builder.stream();
    let stands = stream.started().await.map_err(|error| complaint(&error))?;
    voice.remark(format_args!(
        "watching from revision {} on",
        stands.max(watch.from.unwrap_or(0))
    ));
    let mut left = watch.limit;
    while left != Some(0) {
        let Some(event) = stream.next().await else {
            return Err(Complaint::bug("the watch ended without a reason"));
        };
        let event = event.map_err(|error| complaint(&error))?;
        let event = Event {
            kind: match event.kind {
                WatchKind::Delete => EventKind::Delete.into(),
                _ => EventKind::Put.into(),
            },
            kv: Some(key_value(event.kv)),
            previous: event.previous.map(key_value),
        };
        // As the API tells it; an event alone has a kind of its own.
        let answer = WatchResponse {
            header: None,
            synced_revision: stream.synced(),
            events: vec![event],
        };
        voice.element("WatchResponse", &answer, || {
            answer.events.iter().map(line).collect()
        })?;
        left = left.map(|n| n - 1);
    }
    Ok(0)
}

fn key_value(kv: client::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key.0,
        value: kv.value,
        create_revision: kv.create_revision,
        mod_revision: kv.revision,
        version: kv.version,
        lease: kv.lease.0,
        time: kv.time,
    }
}

fn line(event: &Event) -> String {
    let kv = event.kv.clone().unwrap_or_default();
    let before = match &event.previous {
        Some(kv) => format!("   (before: {})", shown(&kv.value)),
        None => String::new(),
    };
    match event.kind() {
        EventKind::Put => {
            format!(
                "{}  put  {}  {}{before}\n",
                kv.mod_revision,
                shown(&kv.key),
                shown(&kv.value)
            )
        }
        EventKind::Delete => format!("{}  del  {}{before}\n", kv.mod_revision, shown(&kv.key)),
    }
}

fn complaint(error: &WatchError) -> Complaint {
    match error {
        WatchError::Refused(error) => Complaint::from(error),
        other => Complaint::coded(Code::Compacted, other.to_string()),
    }
}
