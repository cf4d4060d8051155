//! An event's bytes, made once and shared by all watchers that see it.
//!
//! An event looks the same to every watcher, but for whether it wants the version before. So there are two
//! forms of each, kept while somebody else still waits for the event (the hub shares events by
//! reference count, so that is known), and dropped oldest first beyond a budget.

use crate::pb;
use crate::record::{self, Values};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Event, Place};

/// Field of `WatchResponse` and of `Event`.
const EVENTS: u32 = 11;
const TYPE: u32 = 1;
const KV: u32 = 2;
const PREV_KV: u32 = 3;
const DELETE: u64 = 1;

/// Whether the version before is wanted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Form {
    Plain,
    WithPrevious,
}

/// Writes an event as the field of a `WatchResponse`.
pub(crate) fn write(out: &mut Vec<u8>, event: &Event, form: Form) {
    let field = pb::open(out, EVENTS);
    if event.record.is_tombstone() {
        pb::uint(out, TYPE, DELETE);
        record::write_tombstone(out, KV, &event.record);
    } else {
        record::write(out, KV, &event.record, Values::Keep);
    }
    if let (Form::WithPrevious, Some(previous)) = (form, previous(event)) {
        record::write(out, PREV_KV, previous, Values::Keep);
    }
    pb::close(out, field);
}

/// The version before; none for a creation, as in etcd.
fn previous(event: &Event) -> Option<&store::Record> {
    let record = &event.record;
    let is_creation = record.create_revision() == record.mod_revision();
    if is_creation {
        None
    } else {
        event.previous.as_ref()
    }
}

/// Bytes of encoded events that are kept for others.
const CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Encoded events of one core. See the module's documentation.
#[derive(Default)]
pub struct EventCache {
    encoded: BTreeMap<(Place, Form), Bytes>,
    bytes: usize,
}

impl EventCache {
    /// An empty cache.
    pub fn new() -> EventCache {
        EventCache::default()
    }

    /// Appends an event to a response.
    pub(crate) fn append(&mut self, out: &mut Vec<u8>, event: &Arc<Event>, form: Form) {
        // Without a version before both forms are the same. What is read from history may have lost it to a compaction,
        // and must not be taken for the live event, which had one.
        let form = match previous(event) {
            Some(_) => form,
            None => Form::Plain,
        };
        let key = (event.record.place(), form);
        if let Some(encoded) = self.encoded.get(&key) {
            out.extend_from_slice(encoded);
            return;
        }
        let start = out.len();
        write(out, event, form);
        // Nobody else holds it: nobody else will ask.
        if Arc::strong_count(event) > 1 {
            self.keep(key, Bytes::copy_from_slice(&out[start..]));
        }
    }

    fn keep(&mut self, key: (Place, Form), encoded: Bytes) {
        self.bytes += encoded.len();
        self.encoded.insert(key, encoded);
        while self.bytes > CACHE_BYTES_MAX {
            let Some((_, oldest)) = self.encoded.pop_first() else {
                return;
            };
            self.bytes -= oldest.len();
        }
    }

    /// Forgets everything: the history was replaced, and places may mean other events now.
    pub fn clear(&mut self) {
        *self = EventCache::default();
    }
}
