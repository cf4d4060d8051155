//! Everything replicated, at one moment, for ever unchanged.
//!
//! A [`State`] is a handful of pointers: cloning it costs a few reference counts, and the clone can be
//! read, streamed or hashed for as long as anybody likes while the store goes on. Whoever lets go of a
//! clone last frees what only it still held; after a long hold that is work for a thread that has time.

use crate::lease::{Lease, lease_key_prefix, split_lease_key};
use crate::root::{Root, RootId, RootView};
use crate::times::{AsOfError, Times};
use crate::tree::{Packed, Plain, Tree, Weighted};
use base::{LeaseId, LogPosition, Membership, Mutants, Revision};
use bytes::Bytes;
use clock::HybridTime;
use std::sync::Arc;

/// A family of unversioned records. 0 to 15 belong to the store and the node, 16 and above to fronts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Table(pub u16);

/// Everything replicated, at one moment. See the module's documentation.
#[derive(Clone)]
pub struct State {
    pub(crate) revision: Revision,
    pub(crate) applied: LogPosition,
    pub(crate) time: HybridTime,
    /// When each revision happened.
    pub(crate) times: Times,
    pub(crate) digest: u64,
    pub(crate) apply_version: u16,
    pub(crate) membership: Arc<Membership>,
    /// Ascending by id; roots that were never written are absent.
    pub(crate) roots: Vec<Root>,
    /// (table, key) → value.
    pub(crate) tables: Tree<Packed, Bytes>,
    pub(crate) table_bytes: u64,
    pub(crate) leases: Tree<Plain<LeaseId>, Lease>,
    /// (lease, root, key): which keys hang on a lease.
    pub(crate) lease_keys: Tree<Packed, ()>,
    pub(crate) lease_key_bytes: u64,
    pub(crate) mutants: Mutants,
}

impl Weighted for Bytes {
    fn weight(&self) -> u64 {
        1
    }
}

static UNUSED_ROOT: Root = Root::new(RootId(0));

/// Bytes that an unversioned record takes beside its own.
pub(crate) const TABLE_RECORD_BYTES: u64 = 96;
/// Bytes that a lease takes.
pub(crate) const LEASE_BYTES: u64 = 48;
/// Bytes that a lease's hold on a key takes beside the key.
pub(crate) const LEASE_KEY_BYTES: u64 = 24;

impl State {
    /// The bugs planted in the store of this state, for whoever decides with it.
    pub fn mutants(&self) -> Mutants {
        self.mutants
    }

    pub(crate) fn empty(membership: Membership) -> State {
        State {
            revision: Revision(1),
            applied: LogPosition::default(),
            time: HybridTime::default(),
            times: Times::since(Revision(1), HybridTime::default()),
            digest: 0,
            apply_version: 0,
            membership: Arc::new(membership),
            roots: Vec::new(),
            tables: Tree::new(),
            table_bytes: 0,
            leases: Tree::new(),
            lease_keys: Tree::new(),
            lease_key_bytes: 0,
            mutants: Mutants::none(),
        }
    }

    /// The newest revision: that of the last effective write transaction of any front.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The last log entry whose effects are in here.
    pub fn applied(&self) -> LogPosition {
        self.applied
    }

    /// The stamp of the last applied batch.
    pub fn time(&self) -> HybridTime {
        self.time
    }

    /// The hybrid time of `revision`: the stamp of the batch that took it, never earlier than that of the
    /// revision before. Genesis, revision 1, has time 0. None when `revision` has not happened, or when its
    /// time is forgotten: as a rule because every root is compacted past it.
    ///
    /// A state that comes from a stream of format version 1 knows no times before its own revision, and for
    /// that one the time of the last batch that had been applied.
    pub fn time_of(&self, revision: Revision) -> Option<HybridTime> {
        (revision <= self.revision)
            .then(|| self.times.time_of(revision))
            .flatten()
    }

    /// The newest revision whose time is not after `time`: a read at that revision is a read "as of"
    /// `time`, and a read that is repeated gives the same, here and at every other member. Whether a root
    /// still has that revision is for the read to say.
    ///
    /// # Errors
    ///
    /// [`AsOfError::Future`] when `time` is after [`State::time`]: more may still be written at it.
    /// [`AsOfError::Forgotten`] when it is before the oldest time that is known.
    pub fn revision_at(&self, time: HybridTime) -> Result<Revision, AsOfError> {
        if time > self.time {
            return Err(AsOfError::Future {
                requested: time,
                current: self.time,
            });
        }
        let found = self.times.revision_at(time, self.revision);
        found.ok_or(AsOfError::Forgotten {
            requested: time,
            oldest: self.times.oldest(),
        })
    }

    /// Forgets the times of revisions that no root has any more. Unused roots do not count: they are not
    /// part of a stream either.
    pub(crate) fn forget_times(&mut self) {
        let used = self.roots.iter().filter(|root| !root.is_unused());
        if let Some(compacted) = used.map(|root| root.compacted).min() {
            self.times.forget_before(compacted);
        }
    }

    /// The rolling digest: folded over every change since genesis, so members that applied the same
    /// entries have the same, and members that differ once differ for ever (R12).
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Who votes and who listens.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Which rules apply: rises once all members know the next.
    pub fn apply_version(&self) -> u16 {
        self.apply_version
    }

    /// The keys of one front. A root that was never written is empty.
    pub fn root(&self, id: RootId) -> RootView<'_> {
        RootView {
            root: self.find_root(id).unwrap_or(&UNUSED_ROOT),
            revision: self.revision,
        }
    }

    pub(crate) fn find_root(&self, id: RootId) -> Option<&Root> {
        let at = self.roots.binary_search_by_key(&id, |root| root.id).ok()?;
        Some(&self.roots[at])
    }

    pub(crate) fn root_mut(&mut self, id: RootId) -> &mut Root {
        let at = match self.roots.binary_search_by_key(&id, |root| root.id) {
            Ok(at) => at,
            Err(at) => {
                self.roots.insert(at, Root::new(id));
                at
            }
        };
        &mut self.roots[at]
    }

    /// The roots that were ever written, in ascending order.
    pub fn roots(&self) -> impl Iterator<Item = RootId> + '_ {
        self.roots.iter().map(|root| root.id)
    }

    /// An unversioned record.
    pub fn record(&self, table: Table, key: &[u8]) -> Option<Bytes> {
        self.tables.get(&table_key(table, key)).cloned()
    }

    /// The unversioned records of `table`, as (key, value) in key order.
    pub fn records(&self, table: Table) -> impl Iterator<Item = (Bytes, Bytes)> + '_ {
        let prefix = table.0.to_be_bytes();
        let mut cursor = self.tables.cursor_at(&prefix);
        std::iter::from_fn(move || {
            let (key, value) = cursor.next()?;
            let key = key.strip_prefix(&prefix)?;
            Some((Bytes::copy_from_slice(key), value.clone()))
        })
    }

    /// A lease, if it is granted.
    pub fn lease(&self, id: LeaseId) -> Option<Lease> {
        self.leases.get(&id).copied()
    }

    /// All granted leases, ascending by id.
    pub fn leases(&self) -> impl Iterator<Item = Lease> + '_ {
        self.leases_from(LeaseId(i64::MIN))
    }

    /// The granted leases from this id on, ascending.
    pub fn leases_from(&self, first: LeaseId) -> impl Iterator<Item = Lease> + '_ {
        let mut cursor = self.leases.cursor_at(&first);
        std::iter::from_fn(move || cursor.next().map(|(_, lease)| *lease))
    }

    /// How many leases are granted.
    pub fn n_leases(&self) -> u64 {
        self.leases.weight()
    }

    /// The keys that hang on `lease`, ascending by root and key.
    pub fn lease_keys(&self, lease: LeaseId) -> impl Iterator<Item = (RootId, Bytes)> + '_ {
        let prefix = lease_key_prefix(lease);
        let mut cursor = self.lease_keys.cursor_at(&prefix);
        std::iter::from_fn(move || {
            let (found, root, key) = split_lease_key(cursor.next()?.0)?;
            (found == lease).then(|| (root, Bytes::copy_from_slice(key)))
        })
    }

    /// Bytes of memory that all that is retained takes, by account: every version in every root, keys,
    /// leases, records and times. Members may differ in it, since each sweeps at its own pace: never decide by
    /// it in an apply half.
    pub fn bytes_in_use(&self) -> u64 {
        let roots: u64 = self.roots.iter().map(|root| root.bytes).sum();
        let leases = self.lease_key_bytes + self.leases.weight() * LEASE_BYTES;
        roots + self.table_bytes + leases + self.times.bytes()
    }

    /// Bytes that the store holds altogether. There is no slack that compaction leaves behind, so this
    /// is [`State::bytes_in_use`].
    pub fn bytes_total(&self) -> u64 {
        self.bytes_in_use()
    }
}

/// Where an unversioned record lies in the tree of all tables.
pub(crate) fn table_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + key.len());
    out.extend_from_slice(&table.0.to_be_bytes());
    out.extend_from_slice(key);
    out
}
