//! Another front's rules, behind what holds for everybody: alarms forbid, and while authentication is enabled only root may.
//!
//! Keys of other fronts have no permissions of their own yet, so whoever is not root is refused: default deny. Their data
//! lies in the same store under the same quota, so an alarm that forbids etcd's clients to write forbids it to them too.

use super::rights::permit_root;
use crate::apply::alarms::forbids;
use crate::status::Refusal;
use store::command::{DialectId, Identity};
use store::{Dialect, Outcome, RootId, Stamp, State, WriteTxn};

/// From this apply version on alarms hold for other fronts.
const ALARMS_VERSION: u16 = 4;

/// A dialect whose requests need root. The refusal is in the dialect's own words.
pub struct RootOnly<D> {
    dialect: D,
    refuse: fn(Refusal) -> Outcome,
    /// Whether a request may make the data larger.
    grows: fn(&[u8]) -> bool,
}

impl<D: Dialect> RootOnly<D> {
    /// Guards `dialect`; `grows` tells of a request whether it may make the data larger.
    pub fn new(
        dialect: D,
        refuse: fn(Refusal) -> Outcome,
        grows: fn(&[u8]) -> bool,
    ) -> RootOnly<D> {
        RootOnly {
            dialect,
            refuse,
            grows,
        }
    }

    fn check(&self, txn: &WriteTxn<'_>, request: &[u8]) -> Result<(), Refusal> {
        permit_root(txn.state(), txn.identity())?;
        match txn.state().apply_version() >= ALARMS_VERSION {
            true => forbids(txn.state(), || (self.grows)(request)),
            false => Ok(()),
        }
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
        match self.check(txn, request) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alarm, AlarmKind, EtcdDialect, alarm_request, disarm_request};
    use base::{LeaseId, MemberId};
    use bytes::Bytes;
    use store::{Genesis, Store};

    /// `+` puts, everything else does nothing.
    struct Other;

    impl Dialect for Other {
        fn id(&self) -> DialectId {
            DialectId(9)
        }

        fn root(&self) -> RootId {
            RootId(9)
        }

        fn apply(&self, txn: &mut WriteTxn<'_>, request: &[u8], _: &Stamp) -> Outcome {
            if request == b"+" {
                txn.put(b"k", b"v", LeaseId::NONE);
            }
            Outcome::done(Bytes::new())
        }

        fn admit(&self, _: &State, _: Option<&Identity>, _: &[u8]) -> Result<(), Outcome> {
            Ok(())
        }
    }

    fn apply(store: &mut Store, dialect: &impl Dialect, request: &[u8]) -> u16 {
        let stamp = Stamp::default();
        let mut txn = store.begin(dialect.root(), &stamp);
        let outcome = dialect.apply(&mut txn, request, &stamp);
        txn.finish();
        outcome.status
    }

    #[test]
    fn alarms_hold_for_other_fronts_from_version_4_on() {
        let refuse = |refusal: Refusal| Outcome::refused(refusal as u16, Bytes::new());
        let other = RootOnly::new(Other, refuse, |request| request == b"+");
        let (full, corrupt) = (Refusal::NoSpace as u16, Refusal::Corrupt as u16);
        for (version, holds) in [(3, false), (4, true)] {
            let status = |refusal: u16| if holds { refusal } else { 0 };
            let mut store = Store::new(Genesis::default());
            store.raise_apply_version(version);
            let alarm = |kind| Alarm {
                kind,
                member: MemberId(7),
            };
            let change = |store: &mut Store, request: Bytes| {
                assert_eq!(apply(store, &EtcdDialect, &request), 0);
            };
            assert_eq!(apply(&mut store, &other, b"+"), 0);
            change(&mut store, alarm_request(alarm(AlarmKind::NoSpace)));
            assert_eq!(apply(&mut store, &other, b"+"), status(full));
            assert_eq!(apply(&mut store, &other, b"-"), 0, "it makes room");
            change(&mut store, alarm_request(alarm(AlarmKind::Corrupt)));
            assert_eq!(apply(&mut store, &other, b"+"), status(corrupt));
            assert_eq!(apply(&mut store, &other, b"-"), status(corrupt));
            for kind in [AlarmKind::Corrupt, AlarmKind::NoSpace] {
                change(&mut store, disarm_request(alarm(kind)));
            }
            assert_eq!(apply(&mut store, &other, b"+"), 0);
        }
    }
}
