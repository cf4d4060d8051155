//! Users, roles and permissions, and everything else as somebody.

use crate::operation::Operation;
use base::Rng;

/// Who asks.
#[derive(Default)]
pub(super) struct Callers {}

impl Callers {
    /// Gives an operation somebody who asks for it, while authentication may be on.
    pub(super) fn see(&mut self, _rng: &mut Rng, _operation: &mut Operation) {}
}

/// The number of a user, by its name.
pub(crate) fn user_number(name: &str) -> Option<u8> {
    match name {
        "root" => Some(0),
        _ => name.strip_prefix("user-")?.parse().ok(),
    }
}

pub(super) fn operation(_rng: &mut Rng) -> Operation {
    Operation::Settle
}

pub(super) fn block(_rng: &mut Rng) -> Vec<Operation> {
    Vec::new()
}
