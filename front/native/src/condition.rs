//! Conditions: what must be true of a key, as of the write.

use crate::refusal::{Refusal, Refused};
use api::proto::Condition;
use store::{Record, RootView};

/// Whether the conditions make sense.
///
/// # Errors
/// One has no key, or says nothing about it.
pub(crate) fn check_shape(conditions: &[Condition]) -> Result<(), Refusal> {
    for condition in conditions {
        if condition.key.is_empty() {
            return Err(Refusal::BadKeys);
        }
        let says = condition.mod_revision.is_some()
            || condition.create_revision.is_some()
            || condition.version.is_some()
            || condition.value.is_some()
            || condition.exists.is_some();
        if !says {
            return Err(Refusal::EmptyCondition);
        }
    }
    Ok(())
}

/// Whether all hold.
///
/// # Errors
/// The first that does not.
pub(crate) fn check(root: RootView<'_>, conditions: &[Condition]) -> Result<(), Refused> {
    for condition in conditions {
        let found = root.get(&condition.key, None).ok().flatten();
        if !holds(condition, found.as_ref()) {
            let revision = found.map_or(0, |record| record.mod_revision().0);
            return Err(Refused::condition(condition.key.clone(), revision));
        }
    }
    Ok(())
}

fn holds(condition: &Condition, found: Option<&Record>) -> bool {
    let modified = found.map_or(0, |record| record.mod_revision().0);
    let created = found.map_or(0, |record| record.create_revision().0);
    let version = found.map_or(0, Record::version);
    condition.mod_revision.is_none_or(|it| it == modified)
        && condition.create_revision.is_none_or(|it| it == created)
        && condition.version.is_none_or(|it| it == version)
        && condition.exists.is_none_or(|it| it == found.is_some())
        && condition
            .value
            .as_ref()
            .is_none_or(|value| found.is_some_and(|record| record.value() == &value[..]))
}
