//! Queues: places in the order in which they were taken, and which of them hold.
//!
//! A place is a versioned key on its owner's lease, so that it goes with the lease, at the same revision, however
//! the lease ends. Its token is the revision at which it was taken, and stands in the key:
//!
//! ```text
//!   p │ kind │ length of name │ name │ token, big endian   ──►  mode, permits, owner, value     on the lease
//!   o │ kind │ length of name │ name │ lease │ owner       ──►  token                           on the lease
//! ```
//!
//! So the head of a queue is the first key of its range, a token never comes twice, and a holder's token is higher
//! than those of all who held before it. Nothing says who holds: that is decided by the order alone, on every member
//! alike, and nobody has to write when a holder goes.
//!
//! | kind | who holds |
//! | --- | --- |
//! | lock | the first place alone when it is exclusive; else all that share before the first exclusive one |
//! | semaphore | the first `permits` places |
//! | election | the first place |

use crate::proto::{Mode, Place, Queue, QueueKind};
use crate::refusal::Refusal;
use base::{LeaseId, Revision};
use bytes::{BufMut, Bytes};
use prost::Message;
use store::{KeyRange, Record, RootView};

/// Bytes of a queue's name, and of an owner's.
pub const NAME_BYTES_MAX: usize = 1024;

/// Places in one queue.
pub const PLACES_MAX: u64 = 10_000;

/// Holders of one semaphore.
pub const PERMITS_MAX: u32 = 1024;

const PLACE: u8 = b'p';
const OWNER: u8 = b'o';

/// A queue's name, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueName {
    kind: QueueKind,
    /// Kind, length and name, as they stand in keys.
    key: Vec<u8>,
}

/// A place in a queue.
#[derive(Clone, PartialEq, Debug)]
pub struct Taken {
    /// Its token.
    pub token: Revision,
    /// The lease that it lives on.
    pub lease: LeaseId,
    /// What it wants.
    pub place: Place,
}

impl QueueName {
    /// The name that `queue` says.
    ///
    /// # Errors
    /// It is empty or longer than [`NAME_BYTES_MAX`], or of no kind.
    pub fn of(queue: Option<&Queue>) -> Result<QueueName, Refusal> {
        let queue = queue.ok_or(Refusal::Malformed)?;
        let kind = match queue.kind() {
            QueueKind::Unspecified => return Err(Refusal::Malformed),
            kind => kind,
        };
        if queue.name.is_empty() || queue.name.len() > NAME_BYTES_MAX {
            return Err(Refusal::BadName);
        }
        let mut key = Vec::with_capacity(3 + queue.name.len());
        key.push(kind as u8);
        key.put_u16(queue.name.len() as u16);
        key.extend_from_slice(&queue.name);
        Ok(QueueName { kind, key })
    }

    /// What it is for.
    pub fn kind(&self) -> QueueKind {
        self.kind
    }

    /// All places.
    pub fn range(&self) -> KeyRange {
        KeyRange::prefix(self.with(PLACE, &[]))
    }

    fn with(&self, first: u8, rest: &[u8]) -> Vec<u8> {
        let mut key = vec![first];
        key.extend_from_slice(&self.key);
        key.extend_from_slice(rest);
        key
    }

    /// The key of a place.
    pub fn place_key(&self, token: Revision) -> Vec<u8> {
        self.with(PLACE, &token.0.to_be_bytes())
    }

    /// The key under which an owner's place is found.
    pub fn owner_key(&self, lease: LeaseId, owner: &[u8]) -> Vec<u8> {
        let mut rest = lease.0.to_be_bytes().to_vec();
        rest.extend_from_slice(owner);
        self.with(OWNER, &rest)
    }

    /// The place with this token.
    pub fn find(&self, root: RootView<'_>, token: Revision) -> Option<Taken> {
        let record = root.get(&self.place_key(token), None).ok()??;
        read(&record)
    }

    /// The first place.
    pub fn head(&self, root: RootView<'_>) -> Option<Taken> {
        self.places(root).next()
    }

    /// All places, in order.
    pub fn places<'a>(&self, root: RootView<'a>) -> impl Iterator<Item = Taken> + use<'a> {
        let found = root.range(&self.range(), None).ok();
        found.into_iter().flatten().filter_map(read)
    }

    /// How many places are taken.
    pub fn len(&self, root: RootView<'_>) -> u64 {
        root.count(&self.range(), None).unwrap_or(0)
    }

    /// The places that hold, in order.
    pub fn holders<'a>(&self, root: RootView<'a>) -> impl Iterator<Item = Taken> + use<'a> {
        let kind = self.kind;
        let mut n_before = 0;
        let mut is_shared = true;
        self.places(root).take_while(move |taken| {
            let shares = kind == QueueKind::Lock && taken.place.mode() == Mode::Shared;
            let holds = match kind {
                QueueKind::Semaphore => n_before < taken.place.permits,
                _ => n_before == 0 || is_shared && shares,
            };
            is_shared &= shares;
            n_before += 1;
            holds
        })
    }

    /// Whether the place with this token holds.
    pub fn is_held(&self, root: RootView<'_>, token: Revision) -> bool {
        let Some(taken) = self.find(root, token) else {
            return false;
        };
        let before = KeyRange::between(self.place_key(Revision(0)), self.place_key(token));
        let n_before = root.count(&before, None).unwrap_or(u64::MAX);
        match self.kind {
            QueueKind::Semaphore => n_before < u64::from(taken.place.permits),
            QueueKind::Lock if taken.place.mode() == Mode::Shared => {
                let places = root.range(&before, None).ok();
                let mut places = places.into_iter().flatten().filter_map(read);
                places.all(|place| place.place.mode() == Mode::Shared)
            }
            _ => n_before == 0,
        }
    }

    /// The highest token that holds; 0 when none does.
    pub fn newest_holder(&self, root: RootView<'_>) -> Revision {
        let newest = self.holders(root).last();
        newest.map_or(Revision(0), |taken| taken.token)
    }
}

fn read(record: &Record) -> Option<Taken> {
    let token = record.key().last_chunk::<8>()?;
    Some(Taken {
        token: Revision(u64::from_be_bytes(*token)),
        lease: record.lease(),
        place: Place::decode(Bytes::copy_from_slice(record.value())).ok()?,
    })
}
