//! Lines: places in the order in which they were taken, and which of them hold.
//!
//! A place is a versioned key on its owner's lease, so that it goes with the lease, at the same revision, however
//! the lease ends. Its token is the revision at which it was taken, and stands in the key:
//!
//! ```text
//!   p │ kind │ length of name │ name │ mode │ token, big endian   ──►  mode, permits, owner, value     on the lease
//!   o │ kind │ length of name │ name │ lease │ owner              ──►  token                           on the lease
//!   g │ kind │ length of name │ name                              ──►  the highest token let through   barriers
//! ```
//!
//! So a token never comes twice, and a holder's token is higher than those of all who held before it. Nothing says
//! who holds a lock: that is decided by the order alone, on every member alike, and nobody has to write when a holder
//! goes. The mode stands before the token, so that the first exclusive place of a lock is found without looking at
//! all that share before it; only locks have places of both modes.
//!
//! | kind | who holds |
//! | --- | --- |
//! | lock | the first place alone when it is exclusive; else all that share before the first exclusive one |
//! | semaphore | the first `permits` places |
//! | election | the first place |
//! | barrier | all places up to the gate, which opens when `permits` places stand behind it |
//!
//! In each, the holders are the beginning of the line: whoever holds, all before it do. [`crate::Desk`] lives on that.

use crate::LINES_ROOT;
use crate::refusal::Refusal;
use api::proto::{Mode, Queue, QueueKind, Standing};
use base::{LeaseId, Mutant, Mutants, Revision};
use bytes::{BufMut, Bytes};
use prost::Message;
use store::{KeyRange, Record, RootView, State};

/// Bytes of a line's name, and of an owner's.
pub const NAME_BYTES_MAX: usize = 1024;

/// Bytes of the name of a lock or an election of etcd's clients.
pub const ETCD_NAME_BYTES_MAX: usize = 4096;

/// Places in one line.
pub const PLACES_MAX: u64 = 10_000;

/// Holders of one semaphore, and places that a barrier waits for.
pub const PERMITS_MAX: u32 = 1024;

const PLACE: u8 = b'p';
const OWNER: u8 = b'o';
const GATE: u8 = b'g';

/// Where the length of the name ends.
const HEAD_BYTES: usize = 3;

/// A line's name, checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueName {
    /// Kind, length and name, as they stand in keys.
    key: Bytes,
}

impl std::fmt::Debug for QueueName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} \"{}\"", self.kind(), self.name().escape_ascii())
    }
}

/// A place in a line.
#[derive(Clone, PartialEq, Debug)]
pub struct Taken {
    /// Its token.
    pub token: Revision,
    /// The lease that it lives on.
    pub lease: LeaseId,
    /// When it was written last: later than the token when its leader proclaimed since.
    pub modified: Revision,
    /// What it wants: mode, permits, owner, value.
    pub place: Standing,
}

/// What happened to a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Touched<'a> {
    /// The line's name, as it stands in keys.
    pub(crate) line: &'a [u8],
    /// The token of the place that is meant, unless it was the gate.
    pub(crate) token: Option<Revision>,
}

impl QueueName {
    /// The name that `queue` says.
    ///
    /// # Errors
    /// It is empty or longer than [`NAME_BYTES_MAX`], or not of one of our kinds.
    pub fn of(queue: Option<&Queue>) -> Result<QueueName, Refusal> {
        let queue = queue.ok_or(Refusal::Malformed)?;
        match queue.kind() {
            QueueKind::Unspecified => return Err(Refusal::Malformed),
            QueueKind::Etcd => return Err(Refusal::OnlyFences),
            _ => {}
        }
        QueueName::new(queue.kind(), &queue.name)
    }

    pub(crate) fn new(kind: QueueKind, name: &[u8]) -> Result<QueueName, Refusal> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Refusal::BadName);
        }
        let mut key = Vec::with_capacity(HEAD_BYTES + name.len());
        key.push(kind as u8);
        key.put_u16(name.len() as u16);
        key.extend_from_slice(name);
        Ok(QueueName { key: key.into() })
    }

    /// The name that [`QueueName::key`] gave.
    pub(crate) fn of_key(key: Bytes) -> QueueName {
        QueueName { key }
    }

    /// What it is for.
    pub fn kind(&self) -> QueueKind {
        let kind = self.key.first().copied().unwrap_or(0);
        QueueKind::try_from(i32::from(kind)).unwrap_or(QueueKind::Unspecified)
    }

    /// What it is called.
    pub fn name(&self) -> &[u8] {
        self.key.get(HEAD_BYTES..).unwrap_or_default()
    }

    /// As it stands in messages.
    pub fn queue(&self) -> Queue {
        Queue {
            kind: self.kind().into(),
            name: self.key.slice(HEAD_BYTES..),
        }
    }

    /// Kind, length and name, as they stand in keys.
    pub(crate) fn key(&self) -> &Bytes {
        &self.key
    }

    fn with(&self, first: u8, rest: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + self.key.len() + rest.len());
        key.push(first);
        key.extend_from_slice(&self.key);
        key.extend_from_slice(rest);
        key
    }

    /// All places of one mode.
    fn of_mode(&self, mode: Mode) -> KeyRange {
        KeyRange::prefix(self.with(PLACE, &[mode as u8]))
    }

    /// The places of one mode before `token`.
    fn before(&self, mode: Mode, token: Revision) -> KeyRange {
        KeyRange::between(self.with(PLACE, &[mode as u8]), self.place_key(mode, token))
    }

    /// The key of a place.
    pub(crate) fn place_key(&self, mode: Mode, token: Revision) -> Vec<u8> {
        let mut rest = [mode as u8; 9];
        rest[1..].copy_from_slice(&token.0.to_be_bytes());
        self.with(PLACE, &rest)
    }

    /// The key under which an owner's place is found.
    pub(crate) fn owner_key(&self, lease: LeaseId, owner: &[u8]) -> Vec<u8> {
        let mut rest = lease.0.to_be_bytes().to_vec();
        rest.extend_from_slice(owner);
        self.with(OWNER, &rest)
    }

    /// The key of a barrier's gate.
    pub(crate) fn gate_key(&self) -> Vec<u8> {
        self.with(GATE, &[])
    }

    /// The modes that places of this line can have.
    fn modes(&self) -> &'static [Mode] {
        match self.kind() {
            QueueKind::Lock => &[Mode::Exclusive, Mode::Shared],
            _ => &[Mode::Exclusive],
        }
    }

    /// The place with this token.
    pub fn find(&self, root: RootView<'_>, token: Revision) -> Option<Taken> {
        let mut modes = self.modes().iter();
        modes.find_map(|mode| {
            let record = root.get(&self.place_key(*mode, token), None).ok()??;
            read(&record)
        })
    }

    /// The first place.
    pub fn head(&self, root: RootView<'_>) -> Option<Taken> {
        self.places(root).next()
    }

    /// All places, in order.
    pub fn places<'a>(&self, root: RootView<'a>) -> impl Iterator<Item = Taken> + use<'a> {
        let of = |mode| {
            let found = root.range(&self.of_mode(mode), None).ok();
            found.into_iter().flatten().filter_map(read).peekable()
        };
        let mut exclusive = of(Mode::Exclusive);
        let mut shared = match self.kind() {
            QueueKind::Lock => Some(of(Mode::Shared)),
            _ => None,
        };
        std::iter::from_fn(move || {
            let shares = shared.as_mut().and_then(|it| it.peek()).map(|it| it.token);
            match (exclusive.peek().map(|it| it.token), shares) {
                (Some(alone), Some(shares)) if shares < alone => shared.as_mut()?.next(),
                (None, Some(_)) => shared.as_mut()?.next(),
                _ => exclusive.next(),
            }
        })
    }

    /// How many places are taken.
    pub fn len(&self, root: RootView<'_>) -> u64 {
        let count = |mode: &Mode| root.count(&self.of_mode(*mode), None).unwrap_or(0);
        self.modes().iter().map(count).sum()
    }

    /// Whether no place is taken.
    pub fn is_empty(&self, root: RootView<'_>) -> bool {
        self.len(root) == 0
    }

    /// How many places of one mode stand before `token`.
    fn n_before(&self, root: RootView<'_>, mode: Mode, token: Revision) -> u64 {
        let range = self.before(mode, token);
        root.count(&range, None).unwrap_or(u64::MAX)
    }

    /// The places that hold, in order.
    pub fn holders<'a>(&self, root: RootView<'a>) -> impl Iterator<Item = Taken> + use<'a> {
        let newest = self.newest_holder(root);
        self.places(root)
            .take_while(move |taken| taken.token <= newest)
    }

    /// Whether the place with this token holds.
    pub fn is_held(&self, root: RootView<'_>, token: Revision) -> bool {
        self.find(root, token)
            .is_some_and(|taken| self.holds(root, &taken))
    }

    /// Whether a place of this line holds.
    pub(crate) fn holds(&self, root: RootView<'_>, taken: &Taken) -> bool {
        let token = taken.token;
        match self.kind() {
            QueueKind::Semaphore => {
                self.n_before(root, Mode::Exclusive, token) < u64::from(taken.place.permits)
            }
            QueueKind::Barrier => token <= self.gate(root),
            QueueKind::Lock if taken.place.mode() == Mode::Shared => {
                self.n_before(root, Mode::Exclusive, token) == 0
            }
            QueueKind::Lock => {
                self.n_before(root, Mode::Exclusive, token) == 0
                    && self.n_before(root, Mode::Shared, token) == 0
            }
            _ => self.n_before(root, Mode::Exclusive, token) == 0,
        }
    }

    /// Whether the place with this token holds in `state`.
    pub(crate) fn is_held_in(&self, state: &State, token: Revision) -> bool {
        let taken = self.find(state.root(LINES_ROOT), token);
        taken.is_some_and(|taken| self.holds_in(state, &taken))
    }

    /// Whether a place of this line holds in `state`.
    pub(crate) fn holds_in(&self, state: &State, taken: &Taken) -> bool {
        let root = state.root(LINES_ROOT);
        self.holds(root, taken) || self.is_let_through(state.mutants(), root, taken)
    }

    /// Planted bugs.
    fn is_let_through(&self, mutants: Mutants, root: RootView<'_>, taken: &Taken) -> bool {
        let n_before = |mode| self.n_before(root, mode, taken.token);
        let shares = |taken: &Taken| taken.place.mode() == Mode::Shared;
        match self.kind() {
            QueueKind::Semaphore if mutants.has(Mutant::SemaphoreOffByOne) => {
                n_before(Mode::Exclusive) == u64::from(taken.place.permits)
            }
            QueueKind::Lock if mutants.has(Mutant::SharedPassesExclusive) => {
                shares(taken) && self.head(root).is_some_and(|head| shares(&head))
            }
            _ => false,
        }
    }

    /// The highest token that holds; 0 when none does.
    pub fn newest_holder(&self, root: RootView<'_>) -> Revision {
        let newest = match self.kind() {
            QueueKind::Lock => {
                let alone = self.first(root, Mode::Exclusive);
                let last = alone.unwrap_or(Revision(u64::MAX));
                self.last(root, self.before(Mode::Shared, last)).or(alone)
            }
            QueueKind::Semaphore => {
                let permits = self.head(root).map_or(0, |head| head.place.permits);
                self.places(root)
                    .take(permits as usize)
                    .last()
                    .map(|taken| taken.token)
            }
            QueueKind::Barrier => {
                let end = Revision(self.gate(root).0.saturating_add(1));
                self.last(root, self.before(Mode::Exclusive, end))
            }
            _ => self.first(root, Mode::Exclusive),
        };
        newest.unwrap_or(Revision(0))
    }

    fn first(&self, root: RootView<'_>, mode: Mode) -> Option<Revision> {
        let mut found = root.range(&self.of_mode(mode), None).ok()?;
        found.find_map(|record| token_of(record.key()))
    }

    fn last(&self, root: RootView<'_>, range: KeyRange) -> Option<Revision> {
        let mut found = root.range_descending(&range, None).ok()?;
        found.find_map(|record| token_of(record.key()))
    }

    /// The highest token that the gate of this barrier has let through; 0 for none.
    pub(crate) fn gate(&self, root: RootView<'_>) -> Revision {
        let record = root.get(&self.gate_key(), None).ok().flatten();
        let gate = record.and_then(|record| token_of(record.value()));
        gate.unwrap_or(Revision(0))
    }

    /// How many places stand behind the gate.
    pub(crate) fn n_behind_gate(&self, root: RootView<'_>) -> u64 {
        let end = Revision(self.gate(root).0.saturating_add(1));
        let through = self.n_before(root, Mode::Exclusive, end);
        self.len(root).saturating_sub(through)
    }
}

/// The token at the end of a key, or of a value.
fn token_of(bytes: &[u8]) -> Option<Revision> {
    let token = bytes.last_chunk::<8>()?;
    Some(Revision(u64::from_be_bytes(*token)))
}

/// Which line a key of this front's root belongs to; nothing for owners, who never hold.
pub(crate) fn touched(key: &[u8]) -> Option<Touched<'_>> {
    let (first, rest) = key.split_first()?;
    let length = u16::from_be_bytes([*rest.get(1)?, *rest.get(2)?]);
    let line = rest.get(..HEAD_BYTES + usize::from(length))?;
    let token = match *first {
        PLACE => Some(token_of(key)?),
        GATE => None,
        _ => return None,
    };
    Some(Touched { line, token })
}

fn read(record: &Record) -> Option<Taken> {
    Some(Taken {
        token: token_of(record.key())?,
        lease: record.lease(),
        modified: record.mod_revision(),
        place: Standing::decode(record.value()).ok()?,
    })
}
