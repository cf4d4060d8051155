//! Which keys a message names, and records as clients see them.

use crate::refusal::Refusal;
use crate::times;
use api::proto::{KeyValue, Keys};
use store::{KeyRange, Record, State};

/// The range that `keys` names.
///
/// # Errors
/// [`Refusal::BadKeys`].
pub(crate) fn range_of(keys: Option<&Keys>) -> Result<KeyRange, Refusal> {
    let keys = keys.ok_or(Refusal::BadKeys)?;
    let is_range = !keys.start.is_empty() || !keys.end.is_empty();
    let n = [
        !keys.key.is_empty(),
        !keys.prefix.is_empty(),
        is_range,
        keys.all,
    ];
    if n.iter().filter(|is_said| **is_said).count() != 1 {
        return Err(Refusal::BadKeys);
    }
    let range = if keys.all {
        KeyRange::all()
    } else if !keys.key.is_empty() {
        KeyRange::single(keys.key.clone())
    } else if !keys.prefix.is_empty() {
        KeyRange::prefix(keys.prefix.clone())
    } else if keys.end.is_empty() {
        KeyRange::from(keys.start.clone())
    } else {
        KeyRange::between(keys.start.clone(), keys.end.clone())
    };
    match range.is_empty() {
        true => Err(Refusal::BadKeys),
        false => Ok(range),
    }
}

/// Whether a record's value is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    Keep,
    Drop,
}

/// A record as it goes into an outcome: without its time, which the answering member knows.
pub(crate) fn key_value(record: &Record, values: Values) -> KeyValue {
    KeyValue {
        key: record.key_bytes(),
        value: match values {
            Values::Keep => record.value_bytes(),
            Values::Drop => Default::default(),
        },
        create_revision: record.create_revision().0,
        mod_revision: record.mod_revision().0,
        version: record.version(),
        lease: record.lease().0,
        time: String::new(),
    }
}

/// The same with its time.
pub(crate) fn timed(state: &State, mut kv: KeyValue) -> KeyValue {
    kv.time = times::text_of(state, base::Revision(kv.mod_revision));
    kv
}
