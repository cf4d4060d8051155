//! The invariants of a state, checked all at once.
//!
//! Tests and the simulator call [`State::check`] after every step; production does not, since it walks
//! everything.

use crate::lease::{lease_key, split_lease_key};
use crate::root::Root;
use crate::state::{LEASE_KEY_BYTES, State, TABLE_RECORD_BYTES};
use base::{LeaseId, Revision, invariant};

impl State {
    /// Stops the member when an invariant does not hold:
    ///
    /// - the trees are sound;
    /// - each slot names the newest version of its key, and each retained version is reached from its
    ///   key's slot over the links, newest first;
    /// - nothing is newer than `revision`, and nothing hidden is left behind a finished sweep;
    /// - a lease holds exactly the live keys whose latest version names it;
    /// - the times of revisions ascend, and none is after the state's own;
    /// - the accounts of bytes are exact.
    pub fn check(&self) {
        self.tables.check();
        self.leases.check();
        self.lease_keys.check();
        let mut n_leased = 0;
        let mut ids = self.roots.windows(2);
        invariant!(ids.all(|pair| pair[0].id < pair[1].id), "roots ascend");
        for root in &self.roots {
            root.check(self.revision);
            n_leased += self.check_leases(root);
        }
        invariant!(
            n_leased == self.lease_keys.weight(),
            "leases hold live keys only"
        );
        self.times.check(self.revision, self.time);
        self.check_accounts();
    }

    /// Checks that the keys of `root` hang where they say; returns how many hang on a lease.
    fn check_leases(&self, root: &Root) -> u64 {
        let mut n_leased = 0;
        let mut keys = root.keys.cursor();
        while let Some((key, _)) = keys.next() {
            let lease = root
                .latest(key)
                .map_or(LeaseId::NONE, |record| record.lease());
            if !lease.is_none() {
                let held = lease_key(lease, root.id, key);
                invariant!(
                    self.lease(lease).is_some(),
                    "key {key:?} hangs on a granted lease"
                );
                invariant!(
                    self.lease_keys.get(&held).is_some(),
                    "the lease holds {key:?}"
                );
                n_leased += 1;
            }
        }
        n_leased
    }

    fn check_accounts(&self) {
        let mut tables = self.tables.cursor();
        let mut table_bytes = 0;
        while let Some((key, value)) = tables.next() {
            table_bytes += (key.len() + value.len()) as u64 + TABLE_RECORD_BYTES;
        }
        invariant!(table_bytes == self.table_bytes, "tables are accounted for");
        let mut held = self.lease_keys.cursor();
        let mut held_bytes = 0;
        while let Some((key, ())) = held.next() {
            let key_len = split_lease_key(key).map_or(0, |(_, _, key)| key.len());
            held_bytes += key_len as u64 + LEASE_KEY_BYTES;
        }
        invariant!(
            held_bytes == self.lease_key_bytes,
            "leases are accounted for"
        );
    }
}

impl Root {
    fn check(&self, newest: Revision) {
        self.keys.check();
        self.history.check();
        invariant!(self.compacted <= newest, "nobody compacts the future");
        invariant!(
            self.swept <= self.compacted,
            "only what is compacted is swept"
        );
        let mut n_reached = 0;
        let mut keys = self.keys.cursor();
        while let Some((key, slot)) = keys.next() {
            let mut ordinal = slot.ordinal();
            let latest = self.history.get(ordinal);
            invariant!(
                latest.is_some(),
                "the latest version of {key:?} is retained"
            );
            invariant!(
                latest.is_some_and(|record| slot.is_live() != record.is_tombstone()
                    && slot.revision == record.mod_revision()),
                "the slot of {key:?} agrees with its version"
            );
            // A swept version ends the chain, and nothing older is retained either.
            while let Some(record) = self.history.get(ordinal) {
                invariant!(record.key() == key, "{record:?} is a version of {key:?}");
                let links = record.links();
                invariant!(
                    links.are_sound(ordinal, record.mod_revision()),
                    "links of {record:?} go back"
                );
                n_reached += 1;
                if links.previous.is_none() {
                    break;
                }
                ordinal = links.previous.ordinal;
            }
        }
        invariant!(
            n_reached == self.history.len(),
            "{} versions are retained, {n_reached} of them reached from their keys",
            self.history.len()
        );
        for (_, record) in self.history.iter() {
            let revision = record.mod_revision();
            invariant!(revision <= newest, "{record:?} is not from the future");
            let kept = self.swept < self.compacted
                || revision >= self.compacted
                || self.is_retained(record);
            invariant!(
                kept,
                "{record:?} is hidden below {} and left behind",
                self.compacted
            );
        }
        let mut recounted = self.clone();
        recounted.recount();
        invariant!(recounted.bytes == self.bytes, "versions are accounted for");
    }
}
