//! When revisions were written.
//!
//! The store does not tell yet: until it does, answers leave the time of a key out, and a read at a time is refused.

use base::Revision;
use clock::HybridTime;
use store::State;

/// No state of that time can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoTime {
    /// The oldest revision whose time is known, if any is.
    pub(crate) oldest: Option<Revision>,
}

/// When `revision` was written; nothing when that is not known any more.
pub(crate) fn time_of(state: &State, revision: Revision) -> Option<HybridTime> {
    let _ = (state, revision);
    None
}

/// The newest revision that was written at or before `time`.
pub(crate) fn revision_at(state: &State, time: HybridTime) -> Result<Revision, NoTime> {
    let _ = (state, time);
    Err(NoTime { oldest: None })
}

/// As text; empty when it is not known.
pub(crate) fn text_of(state: &State, revision: Revision) -> String {
    time_of(state, revision).map_or_else(String::new, HybridTime::to_rfc3339)
}
