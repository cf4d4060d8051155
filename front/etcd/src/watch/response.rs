//! `WatchResponse`, written in place.

use super::event::{EventCache, Form};
use crate::header::{HEADER_BYTES_MAX, HeaderParts};
use crate::pb;
use base::Revision;
use bytes::Bytes;
use std::sync::Arc;
use store::Event;

/// "No such watch": clients tell by it that a watch never was, or that an answer is for all of them.
pub(crate) const NO_WATCH: i64 = -1;

/// Fields.
const WATCH_ID: u32 = 2;
const CREATED: u32 = 3;
const CANCELED: u32 = 4;
const COMPACT_REVISION: u32 = 5;
const CANCEL_REASON: u32 = 6;
const FRAGMENT: u32 = 7;

/// Everything of a response but its events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Notice<'a> {
    pub(crate) revision: Revision,
    pub(crate) watch_id: i64,
    pub(crate) created: bool,
    pub(crate) canceled: bool,
    pub(crate) compact_revision: Revision,
    pub(crate) cancel_reason: &'a str,
}

impl Notice<'_> {
    fn write(&self, out: &mut Vec<u8>, header: &HeaderParts) {
        header.write(out, self.revision);
        pb::uint(out, WATCH_ID, self.watch_id as u64);
        pb::uint(out, CREATED, u64::from(self.created));
        pb::uint(out, CANCELED, u64::from(self.canceled));
        pb::uint(out, COMPACT_REVISION, self.compact_revision.0);
        pb::bytes(out, CANCEL_REASON, self.cancel_reason.as_bytes());
    }

    pub(crate) fn encode(&self, header: &HeaderParts) -> Bytes {
        let mut out = Vec::with_capacity(HEADER_BYTES_MAX + 32 + self.cancel_reason.len());
        self.write(&mut out, header);
        Bytes::from(out)
    }
}

/// Events on their way into one response, or into several when fragments are allowed.
pub(crate) struct Events<'a> {
    pub(crate) watch_id: i64,
    pub(crate) events: &'a [Arc<Event>],
    pub(crate) form: Form,
    /// Bytes of one response at most, where it has more than one event; nothing when a response must not
    /// be split.
    pub(crate) fragment_bytes_max: Option<usize>,
}

impl Events<'_> {
    /// Appends the response or responses to `responses`.
    pub(crate) fn encode(
        &self,
        header: &HeaderParts,
        cache: &mut EventCache,
        responses: &mut Vec<Bytes>,
    ) {
        let Some(last) = self.events.last() else {
            return;
        };
        let notice = Notice {
            revision: last.revision(),
            watch_id: self.watch_id,
            ..Notice::default()
        };
        let begin = |out: &mut Vec<u8>| notice.write(out, header);
        let room = self
            .events
            .iter()
            .map(|event| event.size() as usize)
            .sum::<usize>();
        let mut out = Vec::with_capacity(HEADER_BYTES_MAX + 16 + room);
        begin(&mut out);
        let mut n_events = 0;
        for event in self.events {
            let before = out.len();
            cache.append(&mut out, event, self.form);
            n_events += 1;
            if n_events > 1
                && self
                    .fragment_bytes_max
                    .is_some_and(|max| out.len() + 2 > max)
            {
                // Too much: this event begins the next response, and the one before it is cut here.
                let rest = out.split_off(before);
                pb::uint(&mut out, FRAGMENT, 1);
                responses.push(Bytes::from(std::mem::take(&mut out)));
                begin(&mut out);
                out.extend_from_slice(&rest);
                n_events = 1;
            }
        }
        responses.push(Bytes::from(out));
    }
}
