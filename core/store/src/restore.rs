//! A state from versions that somebody else kept: what restores from backups are made of.
//!
//! ```text
//!   a state that a stream held, or nothing ─► Restoration::beside
//!       lease … version … (in order, of one root) ─► finish ─► State ─► refound ─► a new cluster's first state
//! ```
//!
//! What is given comes from outside and is checked as it comes: versions ascend, numbers leave room to
//! count on, and nothing is larger than what the log and the streams can carry. The digest is folded over all
//! of it, so that members which were restored from different files, or in different ways, do not take each other for
//! equals.

use crate::lease::{Lease, lease_key};
use crate::members::{MEMBERS, REMOVED};
use crate::record::Place;
use crate::root::{Root, RootId};
use crate::state::{LEASE_KEY_BYTES, State, Table};
use crate::store::{Changed, Genesis, Stamp, Store};
use base::{Index, LeaseId, LogPosition, Membership, Revision, Term, limits};
use bytes::Bytes;
use clock::HybridTime;

/// The highest operation number within a revision: the bit above it means a tombstone.
const SUB_MAX: u32 = i32::MAX as u32;

/// One version of one key, as it was written elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Restored<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value; nothing for a tombstone, whose other numbers are 0 and whose lease is none.
    pub value: Option<&'a [u8]>,
    /// When it was written.
    pub place: Place,
    /// The revision that created the key's life.
    pub created: Revision,
    /// 1 when created, one more with each put.
    pub version: u64,
    /// The lease that it hangs on.
    pub lease: LeaseId,
}

/// Why something cannot be part of a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestoreError {
    /// Versions do not ascend.
    #[error("the version at revision {0} is not above the one before it")]
    Order(Place),
    /// Its numbers contradict each other.
    #[error("the version at revision {0} is none that was ever written")]
    Unsound(Place),
    /// It is larger than anything that a log can carry.
    #[error("the version at revision {at} has {bytes} bytes, and {most} are the most")]
    Large {
        /// Where.
        at: Place,
        /// Key and value.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// A number leaves no room to count on.
    #[error("revision {0} leaves no room to count on")]
    Number(u64),
    /// A lease that cannot be.
    #[error("lease {0} is not one that was ever granted")]
    Lease(LeaseId),
    /// The root that is restored is there already.
    #[error("the state holds root {} already", .0.0)]
    Root(RootId),
}

/// A state under way. See the module's documentation.
pub struct Restoration {
    state: State,
    root: Root,
    last: Place,
    scratch: Vec<u8>,
}

impl Restoration {
    /// Begins to restore one root, which is compacted up to `compacted`, beside what `base` holds.
    ///
    /// # Errors
    /// `base` has the root already, or the revision is too high.
    pub fn beside(
        base: Option<State>,
        root: RootId,
        compacted: Revision,
    ) -> Result<Restoration, RestoreError> {
        let mut state = base.unwrap_or_else(|| State::empty(Membership::default()));
        if state.roots.iter().any(|held| held.id == root) {
            return Err(RestoreError::Root(root));
        }
        check_number(compacted.0)?;
        state.fold(Changed::Compacted, root, &compacted.0.to_le_bytes());
        let mut root = Root::new(root);
        root.compacted = compacted;
        Ok(Restoration {
            state,
            root,
            last: Place::default(),
            scratch: Vec::new(),
        })
    }

    /// Grants a lease, unless it is granted.
    ///
    /// # Errors
    /// It has no id, or no time to live.
    pub fn lease(&mut self, id: LeaseId, ttl_s: i64) -> Result<(), RestoreError> {
        if id.is_none() || ttl_s <= 0 {
            return Err(RestoreError::Lease(id));
        }
        if self.state.leases.get(&id).is_some() {
            return Ok(());
        }
        let granted = HybridTime::default();
        self.state.leases.insert(&id, Lease { id, ttl_s, granted });
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&id.0.to_le_bytes());
        bytes[8..].copy_from_slice(&ttl_s.to_le_bytes());
        self.state.fold(Changed::LeaseGranted, RootId(0), &bytes);
        Ok(())
    }

    /// Writes an unversioned record.
    pub fn record(&mut self, table: Table, key: &[u8], value: Bytes) {
        let state = std::mem::replace(&mut self.state, State::empty(Membership::default()));
        let mut store = Store::from_state(state);
        let mut txn = store.begin(RootId(0), &Stamp::default());
        txn.record_put(table, key, value);
        txn.finish();
        self.state = store.state;
    }

    /// What is restored is decided by this version of the rules, or a newer one. Builds that know less do not begin with
    /// such a state.
    pub fn needs_apply_version(&mut self, version: u16) {
        let state = std::mem::replace(&mut self.state, State::empty(Membership::default()));
        let mut store = Store::from_state(state);
        store.raise_apply_version(version);
        self.state = store.state;
    }

    /// Appends the next version.
    ///
    /// # Errors
    /// It does not follow, or is unsound or too large.
    pub fn version(&mut self, version: &Restored<'_>) -> Result<(), RestoreError> {
        let at = version.place;
        if at <= self.last {
            return Err(RestoreError::Order(at));
        }
        check_number(at.revision.0)?;
        check_number(version.version)?;
        let sound = match version.value {
            None => version.version == 0 && version.created.0 == 0 && version.lease.is_none(),
            Some(_) => version.version > 0 && (1..=at.revision.0).contains(&version.created.0),
        };
        if !sound || version.key.is_empty() || at.sub > SUB_MAX {
            return Err(RestoreError::Unsound(at));
        }
        let bytes = version.key.len() + version.value.map_or(0, <[u8]>::len);
        let most = limits::ENTRY_BYTES_MAX;
        if bytes > most {
            return Err(RestoreError::Large { at, bytes, most });
        }
        self.last = at;
        let record = self.root.restore(version, &mut self.scratch);
        self.state
            .fold(Changed::Version, self.root.id, record.logical_bytes());
        Ok(())
    }

    /// The newest revision so far.
    pub fn revision(&self) -> Revision {
        let newest = self.last.revision.max(self.root.compacted);
        self.state.revision.max(newest)
    }

    /// The whole state, whose revision is `revision` at least. A key whose lease is not granted hangs on none.
    ///
    /// # Errors
    /// The revision is too high.
    pub fn finish(mut self, revision: Revision) -> Result<State, RestoreError> {
        let revision = self.revision().max(revision);
        check_number(revision.0)?;
        let mut orphans = Vec::new();
        let state = &mut self.state;
        state.revision = revision;
        let mut keys = self.root.keys.cursor();
        while let Some((key, slot)) = keys.next() {
            let record = self.root.history.get(slot.ordinal());
            let lease = record.map_or(LeaseId::NONE, |record| record.lease());
            if lease.is_none() {
                continue;
            }
            if state.leases.get(&lease).is_none() {
                orphans.push(key.to_vec());
                continue;
            }
            let held = lease_key(lease, self.root.id, key);
            state.lease_keys.insert(&held, ());
            state.lease_key_bytes += key.len() as u64 + LEASE_KEY_BYTES;
        }
        for key in orphans {
            self.root.unlease(&key, &mut self.scratch);
        }
        let id = self.root.id;
        let bytes = revision.0.to_le_bytes();
        self.state.fold(Changed::Restored, id, &bytes);
        let at = self.state.roots.partition_point(|held| held.id < id);
        self.state.roots.insert(at, self.root);
        Ok(self.state)
    }
}

/// How a new cluster begins with an old state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refounding {
    /// The new cluster. Who was a member before is forgotten.
    pub genesis: Genesis,
    /// How far the revision goes up, so that it is above all that was ever given out after the backup.
    pub bump: u64,
    /// Whether everything up to the new revision counts as compacted, so that who watches from before hears of it.
    pub mark_compacted: bool,
    /// Records of fronts that mean nothing any more, such as what they noted about members that are forgotten.
    pub forget: Vec<(Table, Bytes)>,
}

/// The first state of a new cluster that goes on from `state`.
///
/// # Errors
/// The revision would be too high.
pub fn refound(mut state: State, how: Refounding) -> Result<State, RestoreError> {
    let revision = state.revision.0.saturating_add(how.bump);
    check_number(revision)?;
    state.revision = Revision(revision);
    state.fold(Changed::Restored, RootId(0), &revision.to_le_bytes());
    if how.mark_compacted {
        for root in state.roots.iter_mut().filter(|root| !root.is_unused()) {
            root.compacted = Revision(revision);
        }
        state.fold(Changed::Compacted, RootId(0), &revision.to_le_bytes());
        state.forget_times();
    }
    state.applied = LogPosition::default();
    let mut store = Store::from_state(state);
    store.set_membership(how.genesis.membership);
    let old: Vec<(Table, Bytes)> = [MEMBERS, REMOVED]
        .into_iter()
        .flat_map(|table| store.state.records(table).map(move |(key, _)| (table, key)))
        .collect();
    let old = old.into_iter().chain(how.forget);
    let mut members = how.genesis.members;
    members.sort_by_key(|member| member.id);
    let mut txn = store.begin(RootId(0), &Stamp::default());
    for (table, key) in old {
        txn.record_delete(table, &key);
    }
    for member in &members {
        txn.member_put(member);
    }
    txn.finish();
    store.set_applied(LogPosition {
        term: Term(1),
        index: Index(1),
    });
    Ok(store.publish())
}

fn check_number(number: u64) -> Result<(), RestoreError> {
    match number <= limits::NUMBER_MAX {
        true => Ok(()),
        false => Err(RestoreError::Number(number)),
    }
}
