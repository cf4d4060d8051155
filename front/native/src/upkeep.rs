//! The history of lines is forgotten by itself.
//!
//! Each place that is taken and given up leaves versions behind, a few hundred bytes, and nobody can ask how a line was:
//! locks that come and go would fill the store in hours. So whoever leads has it forgotten, whatever is configured for
//! keys: every minute, up to where the cluster was a minute ago. Places that stand stay, however old they are.

use crate::apply::COMPACT_LINES_VERSION;
use crate::{LINES_ROOT, Request};
use api::proto::CompactRequest;
use base::{Instant, Revision};
use bytes::Bytes;
use std::time::Duration;
use store::State;

/// How often. A place that comes and goes takes some 700 bytes, so a thousand of them a second leave 42 MB in between.
const EVERY: Duration = Duration::from_secs(60);

/// A request for the log, to [`crate::KEYS`], that forgets the history of keys up to `revision`.
pub fn compact_keys_request(revision: Revision) -> Bytes {
    let revision = revision.0;
    Request::Compact(CompactRequest { revision }).encode()
}

/// Decides when to forget how lines were.
#[derive(Debug, Default)]
pub struct LineUpkeep {
    /// When it was looked last, and the newest revision then.
    looked: Option<(Instant, Revision)>,
}

impl LineUpkeep {
    /// The request for the log, to [`crate::LINES`], if one is due. Each is harmless twice.
    pub fn due(&mut self, now: Instant, state: &State) -> Option<Bytes> {
        let newest = state.revision();
        let Some((looked, then)) = self.looked else {
            self.looked = Some((now, newest));
            return None;
        };
        if now.since(looked) < EVERY {
            return None;
        }
        self.looked = Some((now, newest));
        let root = state.root(LINES_ROOT);
        // An idle cluster writes nothing.
        let first = root.compacted().next();
        let has_news = root
            .events(first)
            .is_ok_and(|mut news| news.next().is_some_and(|event| event.revision() <= then));
        let is_known = state.apply_version() >= COMPACT_LINES_VERSION;
        (is_known && has_news).then(|| {
            let revision = then.0;
            Request::CompactLines(CompactRequest { revision }).encode()
        })
    }
}
