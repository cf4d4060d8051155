//! Keys, values, conditions and fences, as one writes them in a program.

use api::proto;
use base::LeaseId;
use bytes::Bytes;
use std::fmt;

/// The name of a value: bytes, often text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(pub Bytes);

/// Which keys.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Keys {
    /// This one.
    Key(Key),
    /// All that begin so.
    Prefix(Key),
    /// From `start`, included, to `end`, excluded; an empty `end` is no end.
    Range {
        /// The first.
        start: Key,
        /// Behind the last.
        end: Key,
    },
    /// All.
    All,
}

/// A key with its value, and when it was written.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyValue {
    /// Its name.
    pub key: Key,
    /// What it says.
    pub value: Bytes,
    /// The revision at which it came into being.
    pub create_revision: u64,
    /// The revision of its last write; give it to `if_revision` for compare-and-swap.
    pub revision: u64,
    /// How often it was written since it came into being.
    pub version: u64,
    /// The lease that it goes with; none: it stays.
    pub lease: LeaseId,
    /// When it was written, as the leader stamped it, RFC 3339; empty when that is forgotten.
    pub time: String,
}

impl KeyValue {
    /// The value as text, where it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }

    pub(crate) fn of(kv: proto::KeyValue) -> KeyValue {
        KeyValue {
            key: Key(kv.key),
            value: kv.value,
            create_revision: kv.create_revision,
            revision: kv.mod_revision,
            version: kv.version,
            lease: LeaseId(kv.lease),
            time: kv.time,
        }
    }

    pub(crate) fn all(kvs: Vec<proto::KeyValue>) -> Vec<KeyValue> {
        kvs.into_iter().map(KeyValue::of).collect()
    }
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} = {:?} at {}",
            self.key,
            Key(self.value.clone()),
            self.revision
        )
    }
}

impl Keys {
    /// All that begin with `prefix`; an empty one: all.
    pub fn prefix(prefix: impl Into<Key>) -> Keys {
        let prefix = prefix.into();
        match prefix.0.is_empty() {
            true => Keys::All,
            false => Keys::Prefix(prefix),
        }
    }

    /// From `start`, included, to `end`, excluded; an empty `end` is no end.
    pub fn range(start: impl Into<Key>, end: impl Into<Key>) -> Keys {
        Keys::Range {
            start: start.into(),
            end: end.into(),
        }
    }

    /// Those of these that are not before `from`; when `is_descending`, those that are before it.
    pub(crate) fn rest(&self, from: Key, is_descending: bool) -> Keys {
        let (start, end) = match self {
            Keys::Key(key) => (key.clone(), Key([&key.0[..], &[0]].concat().into())),
            Keys::Prefix(prefix) => (prefix.clone(), prefix.end_of_prefix()),
            Keys::Range { start, end } => (start.clone(), end.clone()),
            Keys::All => (Key::default(), Key::default()),
        };
        match is_descending {
            true => Keys::Range { start, end: from },
            false => Keys::Range { start: from, end },
        }
    }

    pub(crate) fn message(self) -> proto::Keys {
        let mut keys = proto::Keys::default();
        match self {
            Keys::Key(key) => keys.key = key.0,
            Keys::Prefix(prefix) => keys.prefix = prefix.0,
            Keys::Range { start, end } => {
                keys.start = start.0;
                keys.end = end.0;
                // A range of everything is no range to the messages.
                keys.all = keys.start.is_empty() && keys.end.is_empty();
            }
            Keys::All => keys.all = true,
        }
        keys
    }
}

impl Key {
    /// The first key behind all that begin with this one; empty when there is none.
    fn end_of_prefix(&self) -> Key {
        let mut end = self.0.to_vec();
        while let Some(last) = end.last_mut() {
            match last.checked_add(1) {
                Some(next) => {
                    *last = next;
                    break;
                }
                None => _ = end.pop(),
            }
        }
        Key(end.into())
    }

    /// As text, where it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => fmt::Debug::fmt(text, f),
            None => fmt::Debug::fmt(&self.0, f),
        }
    }
}

impl fmt::Display for Key {
    /// As text; what is no UTF-8 is replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

macro_rules! into_key {
    ($($from:ty => $how:expr,)*) => {$(
        impl From<$from> for Key {
            fn from(it: $from) -> Key {
                let how: fn($from) -> Bytes = $how;
                Key(how(it))
            }
        }

        impl From<$from> for Keys {
            /// This one key.
            fn from(it: $from) -> Keys {
                Keys::Key(it.into())
            }
        }
    )*};
}

into_key! {
    &str => |it| Bytes::copy_from_slice(it.as_bytes()),
    &String => |it| Bytes::copy_from_slice(it.as_bytes()),
    &[u8] => Bytes::copy_from_slice,
    String => Bytes::from,
    Vec<u8> => Bytes::from,
    Bytes => |it| it,
    &Key => |it| it.0.clone(),
}

impl From<Key> for Keys {
    fn from(key: Key) -> Keys {
        Keys::Key(key)
    }
}

/// A value to write: whatever a key can be made of.
pub(crate) fn value(value: impl Into<Key>) -> Bytes {
    value.into().0
}

/// What must be true of a key at the moment of a write. All that is said must hold; a key that is not there has revision
/// and version 0.
#[derive(Clone, PartialEq, Debug)]
#[must_use]
pub struct Condition(pub(crate) proto::Condition);

impl Condition {
    /// Nothing yet about `key`.
    pub fn of(key: impl Into<Key>) -> Condition {
        Condition(proto::Condition {
            key: key.into().0,
            ..proto::Condition::default()
        })
    }

    /// It was written last at this revision.
    pub fn revision(mut self, revision: u64) -> Condition {
        self.0.mod_revision = Some(revision);
        self
    }

    /// It came into being at this revision.
    pub fn create_revision(mut self, revision: u64) -> Condition {
        self.0.create_revision = Some(revision);
        self
    }

    /// It was written so often since.
    pub fn version(mut self, version: u64) -> Condition {
        self.0.version = Some(version);
        self
    }

    /// It has this value.
    pub fn value(mut self, is: impl Into<Key>) -> Condition {
        self.0.value = Some(value(is));
        self
    }

    /// It is there.
    pub fn exists(mut self) -> Condition {
        self.0.exists = Some(true);
        self
    }

    /// It is not there.
    pub fn is_absent(mut self) -> Condition {
        self.0.exists = Some(false);
        self
    }
}

/// Demands of a write that a token holds at that moment: a write by somebody who lost the lock is refused.
#[derive(Clone, PartialEq, Debug)]
pub struct Fence(pub(crate) proto::Fence);

/// The number that a lock hands out with every grant; it only rises, so that a resource can refuse an older one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FencingToken(pub u64);

impl FencingToken {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Fence {
    pub(crate) fn new(queue: proto::Queue, token: FencingToken) -> Fence {
        Fence(proto::Fence {
            queue: Some(queue),
            token: token.0,
        })
    }

    fn named(kind: proto::QueueKind, name: impl Into<Key>, token: FencingToken) -> Fence {
        let queue = proto::Queue {
            kind: kind.into(),
            name: name.into().0,
        };
        Fence::new(queue, token)
    }

    /// `token` holds the lock called `name`.
    pub fn lock(name: impl Into<Key>, token: FencingToken) -> Fence {
        Fence::named(proto::QueueKind::Lock, name, token)
    }

    /// `token` holds a permit of the semaphore called `name`.
    pub fn semaphore(name: impl Into<Key>, token: FencingToken) -> Fence {
        Fence::named(proto::QueueKind::Semaphore, name, token)
    }

    /// `token` leads the election called `name`.
    pub fn election(name: impl Into<Key>, token: FencingToken) -> Fence {
        Fence::named(proto::QueueKind::Election, name, token)
    }

    /// `token` holds a lock or an election of an etcd client: the creation revision of its key. `name` is its prefix
    /// without the last slash.
    pub fn etcd(name: impl Into<Key>, token: FencingToken) -> Fence {
        Fence::named(proto::QueueKind::Etcd, name, token)
    }

    /// The token that must hold.
    pub fn token(&self) -> FencingToken {
        FencingToken(self.0.token)
    }
}
