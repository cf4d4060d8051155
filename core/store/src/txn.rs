//! The write transaction: everything that one command changes, at one revision.
//!
//! **Validate, then write.** There is no rollback: an apply half reads (its own writes included),
//! decides, and only then writes. What it may not do (write under an unknown lease, compact the
//! future) is a broken invariant and stops the member, because a command that was refused half-way
//! would otherwise have taken effect by half on every member.
//!
//! A transaction takes the next revision when, and only when, it changed versioned keys: put
//! something, or deleted something that was there. Leases, unversioned records and compaction take
//! none.

use crate::command::Identity;
use crate::lease::{Lease, lease_key};
use crate::range::KeyRange;
use crate::record::{Place, Record};
use crate::root::{Event, Range, ReadError, Root, RootId, RootView};
use crate::state::{LEASE_KEY_BYTES, State, TABLE_RECORD_BYTES, Table, table_key};
use crate::store::{Changed, Stamp, Store};
use base::{LeaseId, Mutant, Revision, invariant};
use bytes::Bytes;

/// What a transaction did, for watches, lease keepers and the node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Effects {
    /// The revision taken; none when no versioned key changed.
    pub revision: Option<Revision>,
    /// What happened to versioned keys, in the order of operations.
    pub events: Vec<(RootId, Event)>,
    /// What happened to leases, in order.
    pub leases: Vec<LeaseChange>,
    /// The roots that were compacted, and to where.
    pub compacted: Vec<(RootId, Revision)>,
}

/// How much a transaction did so far, for whoever counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ops {
    /// Keys put.
    pub puts: u64,
    /// Bytes of their keys and values.
    pub put_bytes: u64,
    /// Ranges deleted, whether or not there was anything.
    pub deletes: u64,
    /// The time to live of the lease that was granted last, in seconds.
    pub granted_ttl_s: Option<i64>,
}

/// What happened to a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseChange {
    /// It was granted.
    Granted(Lease),
    /// It is gone, and its keys with it.
    Revoked(LeaseId),
}

/// A write transaction. See the module's documentation.
pub struct WriteTxn<'a> {
    store: &'a mut Store,
    root: RootId,
    stamp: Stamp,
    identity: Option<Identity>,
    /// The revision that this transaction takes if it takes one.
    revision: Revision,
    /// The next operation; above 0 once a versioned key was written.
    sub: u32,
    effects: Effects,
    /// Whether anything was changed at all.
    changed: bool,
    finished: bool,
    ops: Ops,
}

impl<'a> WriteTxn<'a> {
    pub(crate) fn new(store: &'a mut Store, root: RootId, stamp: Stamp) -> WriteTxn<'a> {
        WriteTxn {
            revision: store.next_revision(),
            store,
            root,
            stamp,
            identity: None,
            sub: 0,
            effects: Effects::default(),
            changed: false,
            finished: false,
            ops: Ops::default(),
        }
    }

    /// How much it did so far.
    pub fn ops(&self) -> Ops {
        self.ops
    }

    /// The stamp of the entry that this transaction is part of.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Says on whose behalf this transaction is; before that, nobody's.
    pub fn act_for(&mut self, identity: Option<Identity>) {
        self.identity = identity;
    }

    /// On whose behalf this transaction is, if anybody has said.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The root that this transaction writes.
    pub fn root(&self) -> RootId {
        self.root
    }

    /// The state with this transaction's own writes. Its `revision()` is still that of the last
    /// transaction; [`WriteTxn::revision`] knows better.
    pub fn state(&self) -> &State {
        &self.store.state
    }

    /// The revision that this transaction takes if it takes one: what it writes may say so.
    pub fn own_revision(&self) -> Revision {
        self.revision
    }

    /// The newest revision that a read in here sees: this transaction's own once it has written.
    pub fn revision(&self) -> Revision {
        if self.sub > 0 {
            self.revision
        } else {
            self.store.state.revision
        }
    }

    /// The root with this transaction's own writes. The present is what it is now; history can be read
    /// as ever.
    pub fn view(&self) -> RootView<'_> {
        RootView {
            revision: self.revision(),
            ..self.store.state.root(self.root)
        }
    }

    /// `key` with this transaction's own writes.
    pub fn get(&self, key: &[u8]) -> Option<Record> {
        let root = self.store.state.find_root(self.root)?;
        root.latest(key).filter(|r| !r.is_tombstone()).cloned()
    }

    /// The keys in `range`: with this transaction's own writes, or at a past revision.
    pub fn range(&self, range: &KeyRange, at: Option<Revision>) -> Result<Range<'_>, ReadError> {
        self.view().range(range, at)
    }

    /// How many keys are in `range`: with this transaction's own writes, or at a past revision.
    pub fn count(&self, range: &KeyRange, at: Option<Revision>) -> Result<u64, ReadError> {
        self.view().count(range, at)
    }

    /// A lease, if it is granted.
    pub fn lease(&self, id: LeaseId) -> Option<Lease> {
        self.store.state.lease(id)
    }

    /// An unversioned record.
    pub fn record(&self, table: Table, key: &[u8]) -> Option<Bytes> {
        self.store.state.record(table, key)
    }

    /// Writes `value` at `key`, on `lease` or on none, and returns what was there. The key hangs on the
    /// new lease only: an old one lets go of it. The lease must be granted.
    pub fn put(&mut self, key: &[u8], value: &[u8], lease: LeaseId) -> Option<Record> {
        invariant!(
            lease.is_none() || self.lease(lease).is_some(),
            "put on lease {lease}, which is not granted"
        );
        self.ops.puts += 1;
        self.ops.put_bytes += (key.len() + value.len()) as u64;
        let root = self.root;
        let replaced = self.write(root, key, Some(value), lease);
        let old_lease = replaced.as_ref().map_or(LeaseId::NONE, Record::lease);
        if old_lease != lease {
            self.detach(old_lease, root, key);
            self.attach(lease, root, key);
        }
        replaced
    }

    /// Deletes the keys in `range` and returns what was there, in key order.
    pub fn delete(&mut self, range: &KeyRange) -> Vec<Record> {
        self.ops.deletes += 1;
        let doomed: Vec<Record> = match self.view().range(range, None) {
            Ok(range) => range.cloned().collect(),
            Err(_) => unreachable!("the present can always be read"),
        };
        for record in &doomed {
            self.delete_one(self.root, record);
        }
        doomed
    }

    fn delete_one(&mut self, root: RootId, record: &Record) {
        self.write(root, record.key(), None, LeaseId::NONE);
        self.detach(record.lease(), root, record.key());
    }

    /// Writes one version and notes the event.
    fn write(
        &mut self,
        root_id: RootId,
        key: &[u8],
        value: Option<&[u8]>,
        lease: LeaseId,
    ) -> Option<Record> {
        let place = Place {
            revision: self.revision,
            sub: self.sub,
        };
        self.sub += 1;
        self.changed = true;
        let Store { state, scratch, .. } = &mut *self.store;
        let root = state.root_mut(root_id);
        let written = root.write(place, key, value, lease, scratch);
        let previous = match &written.replaced {
            // Rare: written twice in one transaction. What was before it is what counts.
            Some(replaced) if replaced.mod_revision() == self.revision => {
                before(root, &written.record)
            }
            None if self.sub > 1 => before(root, &written.record),
            replaced => replaced.clone(),
        };
        let record = written.record;
        let previous = match self.store.mutants.has(Mutant::WatchPrevIsItself) {
            true => Some(record.clone()),
            false => previous,
        };
        self.store
            .fold(Changed::Version, root_id, record.logical_bytes());
        self.effects
            .events
            .push((root_id, Event { record, previous }));
        written.replaced
    }

    fn attach(&mut self, lease: LeaseId, root: RootId, key: &[u8]) {
        if !lease.is_none() {
            let state = &mut self.store.state;
            state.lease_keys.insert(&lease_key(lease, root, key), ());
            state.lease_key_bytes += key.len() as u64 + LEASE_KEY_BYTES;
        }
    }

    fn detach(&mut self, lease: LeaseId, root: RootId, key: &[u8]) {
        if !lease.is_none() {
            let state = &mut self.store.state;
            let held = state.lease_keys.remove(&lease_key(lease, root, key));
            invariant!(held.is_some(), "a key's lease holds the key");
            state.lease_key_bytes -= key.len() as u64 + LEASE_KEY_BYTES;
        }
    }

    /// Grants a lease, which must not be granted already. It counts from this entry's stamp.
    pub fn lease_grant(&mut self, id: LeaseId, ttl_s: i64) {
        self.ops.granted_ttl_s = Some(ttl_s);
        invariant!(!id.is_none(), "lease 0 means none");
        let granted = self.stamp.time;
        let lease = Lease { id, ttl_s, granted };
        let taken = self.store.state.leases.insert(&id, lease);
        invariant!(taken.is_none(), "lease {id} is granted already");
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&id.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&ttl_s.to_le_bytes());
        bytes[16..].copy_from_slice(&granted.0.to_le_bytes());
        self.store.fold(Changed::LeaseGranted, RootId(0), &bytes);
        self.effects.leases.push(LeaseChange::Granted(lease));
        self.changed = true;
    }

    /// Revokes a lease, which must be granted, and deletes its keys in all roots, ascending by root and
    /// key, at this transaction's one revision. Returns how many.
    pub fn lease_revoke(&mut self, id: LeaseId) -> usize {
        let gone = self.store.state.leases.remove(&id);
        invariant!(gone.is_some(), "lease {id} is not granted");
        let bytes = id.0.to_le_bytes();
        self.store.fold(Changed::LeaseRevoked, RootId(0), &bytes);
        self.changed = true;
        let mut held: Vec<(RootId, Bytes)> = self.store.state.lease_keys(id).collect();
        if self.store.mutants.has(Mutant::LeaseRevokeLeavesKey) {
            held.pop();
        }
        for (root, key) in &held {
            let latest = self
                .store
                .state
                .find_root(*root)
                .and_then(|r| r.latest(key));
            let latest = latest.filter(|r| r.lease() == id).cloned();
            invariant!(latest.is_some(), "a lease's key hangs on the lease");
            if let Some(record) = latest {
                self.delete_one(*root, &record);
            }
        }
        self.effects.leases.push(LeaseChange::Revoked(id));
        held.len()
    }

    /// Compacts this root: reads below `to` are refused from now on. `to` must lie between what is
    /// compacted already and the newest revision, both included. Memory is freed later, by
    /// [`Store::sweep`].
    pub fn compact(&mut self, to: Revision) {
        let newest = self.revision();
        let root_id = self.root;
        let root = self.store.state.root_mut(root_id);
        invariant!(
            to >= root.compacted && to <= newest,
            "compact to {to}, outside {}..={newest}",
            root.compacted
        );
        root.compacted = to;
        let bytes = to.0.to_le_bytes();
        self.store.fold(Changed::Compacted, root_id, &bytes);
        self.effects.compacted.push((root_id, to));
        self.changed = true;
    }

    /// Writes an unversioned record and returns what was there.
    pub fn record_put(&mut self, table: Table, key: &[u8], value: Bytes) -> Option<Bytes> {
        let tree_key = table_key(table, key);
        self.fold_record(Changed::RecordPut, &tree_key, &value);
        let size = (tree_key.len() + value.len()) as u64 + TABLE_RECORD_BYTES;
        let old = self.store.state.tables.insert(&tree_key, value);
        self.account_record(tree_key.len(), size, old.as_ref());
        old
    }

    /// Removes an unversioned record and returns it.
    pub fn record_delete(&mut self, table: Table, key: &[u8]) -> Option<Bytes> {
        let tree_key = table_key(table, key);
        let old = self.store.state.tables.remove(&tree_key)?;
        self.fold_record(Changed::RecordDeleted, &tree_key, &[]);
        self.account_record(tree_key.len(), 0, Some(&old));
        Some(old)
    }

    fn fold_record(&mut self, changed: Changed, tree_key: &[u8], value: &[u8]) {
        let mut bytes = std::mem::take(&mut self.store.scratch);
        bytes.clear();
        bytes.extend_from_slice(&(tree_key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(tree_key);
        bytes.extend_from_slice(value);
        self.store.fold(changed, RootId(0), &bytes);
        self.store.scratch = bytes;
        self.changed = true;
    }

    fn account_record(&mut self, key_len: usize, size: u64, old: Option<&Bytes>) {
        let freed = old.map_or(0, |old| (key_len + old.len()) as u64 + TABLE_RECORD_BYTES);
        let total = &mut self.store.state.table_bytes;
        *total = *total + size - freed;
    }

    /// Ends the transaction: takes the revision if it earned one, and says what was done.
    pub fn finish(mut self) -> Effects {
        self.finished = true;
        let mut effects = std::mem::take(&mut self.effects);
        if self.sub > 0 {
            let state = &mut self.store.state;
            state.revision = self.revision;
            state.times.note(self.revision, state.time);
            effects.revision = Some(self.revision);
        } else if !self.changed
            && self.store.member.0 % 2 == 1
            && self.store.mutants.has(Mutant::RevisionBurntByFailure)
        {
            self.store.state.revision = self.revision;
        }
        if !effects.compacted.is_empty() {
            self.store.state.forget_times();
        }
        effects
    }
}

/// What `record`'s key was at the revision before `record`'s, while `record` is being written.
fn before(root: &Root, record: &Record) -> Option<Record> {
    let revision = record.mod_revision();
    RootView { root, revision }.previous(record)
}

impl Drop for WriteTxn<'_> {
    fn drop(&mut self) {
        // Without `finish` the revision is not taken, and history would hold versions from the future.
        if !self.finished && !std::thread::panicking() {
            invariant!(self.sub == 0, "a transaction that wrote is finished");
        }
    }
}
