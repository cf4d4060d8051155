//! The single writer.
//!
//! A [`Store`] owns the working state and changes it, in place wherever nobody else looks. All writes
//! go through [`Store::begin`]; what is decided by the log itself (membership, apply version, applied
//! position) is set here. [`Store::publish`] hands out an immutable [`State`].
//!
//! Everything here is a pure function of the commands given: two stores that are given the same are
//! equal, but for how far each has swept.

use crate::members::Member;
use crate::root::RootId;
use crate::state::State;
use crate::txn::WriteTxn;
use base::{Index, LogPosition, MemberId, Membership, Mutant, Mutants, Revision, Term};
use clock::HybridTime;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a cluster begins with. The same on all members, so their states begin equal.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Genesis {
    /// Who votes.
    pub membership: Membership,
    /// Who the members are and where they listen.
    pub members: Vec<Member>,
}

/// What the leader says about a batch: the same on every member that applies it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp {
    /// The hybrid time of the entry.
    pub time: HybridTime,
    /// Which rules apply.
    pub apply_version: u16,
    /// The member that took the command from its client.
    pub origin: MemberId,
}

/// What was changed, for the rolling digest.
#[derive(Clone, Copy)]
pub(crate) enum Changed {
    Version = 1,
    Compacted = 2,
    LeaseGranted = 3,
    LeaseRevoked = 4,
    RecordPut = 5,
    RecordDeleted = 6,
    Membership = 7,
    ApplyVersion = 8,
    Applied = 9,
    Time = 10,
    /// A restore, which decides the revision.
    Restored = 11,
}

/// From this apply version on, stamps are part of the rolling digest, so that members which differ in the times of
/// their revisions are found. Before, only what a stamp was kept in was.
const TIME_IN_DIGEST: u16 = 2;

/// The single writer. See the module's documentation.
pub struct Store {
    pub(crate) state: State,
    pub(crate) mutants: Mutants,
    /// Who we are, for bugs that are planted in one member only.
    pub(crate) member: MemberId,
    pub(crate) scratch: Vec<u8>,
    /// With [`Mutant::AppliedApartFromEffects`]: the position that should have been recorded.
    late_applied: Option<LogPosition>,
    pub(crate) sweep: crate::sweep::Progress,
    /// Versions that the sweep has removed.
    pub(crate) n_swept: u64,
}

impl Store {
    /// The state that every member of a new cluster begins with: revision 1, applied entry 1 of term
    /// 1, so that the log of a new cluster begins behind it.
    pub fn new(genesis: Genesis) -> Store {
        let mut store = Store::from_state(State::empty(Membership::default()));
        store.set_membership(genesis.membership);
        let mut members = genesis.members;
        members.sort_by_key(|member| member.id);
        let mut txn = store.begin(RootId(0), &Stamp::default());
        for member in &members {
            txn.member_put(member);
        }
        txn.finish();
        store.set_applied(LogPosition {
            term: Term(1),
            index: Index(1),
        });
        store
    }

    /// What a member begins with that joins an existing cluster: nothing, not even a membership. It
    /// stands before the first entry, so that it gets everything from the others.
    pub fn blank() -> Store {
        Store::from_state(State::empty(Membership::default()))
    }

    /// Goes on from a state that was published, loaded or received.
    pub fn from_state(state: State) -> Store {
        Store {
            state,
            mutants: Mutants::none(),
            member: MemberId::NONE,
            scratch: Vec::new(),
            late_applied: None,
            sweep: Default::default(),
            n_swept: 0,
        }
    }

    /// Plants bugs, for the simulator to find. `member` is who we are.
    pub fn plant(&mut self, mutants: Mutants, member: MemberId) {
        self.mutants = mutants;
        self.state.mutants = mutants;
        self.member = member;
    }

    /// Whether this bug is planted here.
    pub fn has_mutant(&self, mutant: Mutant) -> bool {
        self.mutants.has(mutant)
    }

    /// The working state, with everything that was applied so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// An immutable state. Each publication makes the next change of each node copy it once, so publish
    /// once for each batch, or when somebody wants to hold one.
    pub fn publish(&self) -> State {
        self.state.clone()
    }

    /// Begins a write transaction on `root`. At most one revision comes of it.
    pub fn begin(&mut self, root: RootId, stamp: &Stamp) -> WriteTxn<'_> {
        if stamp.time > self.state.time {
            self.state.time = stamp.time;
            if stamp.apply_version >= TIME_IN_DIGEST {
                self.fold(Changed::Time, RootId(0), &stamp.time.0.to_le_bytes());
            }
        }
        WriteTxn::new(self, root, *stamp)
    }

    /// Records that everything up to `position` has been applied. Call it when a log entry is done, in
    /// the same step as its effects and before the state is published (R1).
    pub fn set_applied(&mut self, position: LogPosition) {
        base::invariant!(
            position.index > self.state.applied.index,
            "applied {position} after {}",
            self.state.applied
        );
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&position.term.0.to_le_bytes());
        bytes[8..].copy_from_slice(&position.index.0.to_le_bytes());
        self.fold(Changed::Applied, RootId(0), &bytes);
        if self.mutants.has(Mutant::AppliedApartFromEffects) {
            if let Some(late) = self.late_applied.replace(position) {
                self.state.applied = late;
            }
            return;
        }
        self.state.applied = position;
    }

    /// Records the membership that a log entry decided.
    pub fn set_membership(&mut self, membership: Membership) {
        let mut bytes = Vec::new();
        crate::members::encode_membership(&membership, &mut bytes);
        self.fold(Changed::Membership, RootId(0), &bytes);
        self.state.membership = Arc::new(membership);
    }

    /// Raises the apply version; lower ones are ignored.
    pub fn raise_apply_version(&mut self, version: u16) {
        if version > self.state.apply_version {
            self.fold(Changed::ApplyVersion, RootId(0), &version.to_le_bytes());
            self.state.apply_version = version;
        }
    }

    /// Folds a change into the rolling digest.
    pub(crate) fn fold(&mut self, changed: Changed, root: RootId, bytes: &[u8]) {
        self.state.fold(changed, root, bytes);
    }

    pub(crate) fn next_revision(&self) -> Revision {
        self.state.revision.next()
    }
}

impl State {
    /// Folds a change into the rolling digest.
    pub(crate) fn fold(&mut self, changed: Changed, root: RootId, bytes: &[u8]) {
        let kind = (changed as u64) << 8 | u64::from(root.0);
        self.digest = xxh3_64_with_seed(bytes, self.digest ^ base::rng::mix(kind));
    }
}
