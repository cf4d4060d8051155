//! When revisions were written, as answers and reads "as of" a time have it.

use base::Revision;
use clock::HybridTime;
use store::{AsOfError, State};

/// When `revision` was written; nothing when that is not known any more, and for the beginning of the cluster, which
/// nobody wrote.
pub(crate) fn time_of(state: &State, revision: Revision) -> Option<HybridTime> {
    let time = state.time_of(revision)?;
    (time > HybridTime::default()).then_some(time)
}

/// The newest revision that was written at or before `time`.
pub(crate) fn revision_at(state: &State, time: HybridTime) -> Result<Revision, AsOfError> {
    state.revision_at(time)
}

/// As text; empty when it is not known.
pub(crate) fn text_of(state: &State, revision: Revision) -> String {
    time_of(state, revision).map_or_else(String::new, HybridTime::to_rfc3339)
}
