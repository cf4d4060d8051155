//! When revisions were written, as clients see it.

use crate::fault::Fault;
use api::Code;
use base::Revision;
use clock::HybridTime;
use store::{AsOfError, State};

/// When `revision` was written; nothing when that is not known any more. Genesis has no time.
pub(crate) fn time_of(state: &State, revision: Revision) -> Option<HybridTime> {
    state
        .time_of(revision)
        .filter(|time| *time != HybridTime::default())
}

/// The newest revision that was written at or before `time`.
///
/// # Errors
/// [`Code::NoSuchTime`].
pub(crate) fn revision_at(state: &State, time: HybridTime) -> Result<Revision, Fault> {
    state.revision_at(time).map_err(|error| {
        let mut fault = Fault::new(Code::NoSuchTime, error.to_string());
        if let AsOfError::Forgotten { oldest, .. } = error {
            fault.0.revision = state.revision_at(oldest).ok().map(|oldest| oldest.0);
        }
        fault
    })
}

/// As text; empty when it is not known.
pub(crate) fn text_of(state: &State, revision: Revision) -> String {
    time_of(state, revision).map_or_else(String::new, HybridTime::to_rfc3339)
}
