//! Another front's rules, for root alone while authentication is enabled.
//!
//! Keys of other fronts have no permissions of their own yet, so whoever is not root is refused: default deny.

use super::rights::permit_root;
use crate::status::Refusal;
use store::command::{DialectId, Identity};
use store::{Dialect, Outcome, RootId, Stamp, State, WriteTxn};

/// A dialect whose requests need root. The refusal is in the dialect's own words.
pub struct RootOnly<D> {
    dialect: D,
    refuse: fn(Refusal) -> Outcome,
}

impl<D: Dialect> RootOnly<D> {
    /// Guards `dialect`.
    pub fn new(dialect: D, refuse: fn(Refusal) -> Outcome) -> RootOnly<D> {
        RootOnly { dialect, refuse }
    }
}

impl<D: Dialect> Dialect for RootOnly<D> {
    fn id(&self) -> DialectId {
        self.dialect.id()
    }

    fn root(&self) -> RootId {
        self.dialect.root()
    }

    fn apply(&self, txn: &mut WriteTxn<'_>, request: &[u8], stamp: &Stamp) -> Outcome {
        match permit_root(txn.state(), txn.identity()) {
            Ok(()) => self.dialect.apply(txn, request, stamp),
            Err(refusal) => (self.refuse)(refusal),
        }
    }

    fn admit(
        &self,
        state: &State,
        identity: Option<&Identity>,
        request: &[u8],
    ) -> Result<(), Outcome> {
        permit_root(state, identity).map_err(self.refuse)?;
        self.dialect.admit(state, identity, request)
    }
}
