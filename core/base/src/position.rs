//! Where: positions in the replicated log and in the store's history.
//!
//! A log has an *index*, an election a *term*, the store a *revision*. They are all plain counters and
//! are never interchangeable, so each is a type.

use std::fmt;

/// The number of an election (Raft §5.1). Starts at 0, only rises.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

/// The place of an entry in the log (Raft §5.3). The first entry is 1; 0 is "before the log".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Index(pub u64);

impl Index {
    /// The place after this one.
    pub fn next(self) -> Index {
        Index(self.0 + 1)
    }
}

/// A place in the log together with the term that wrote it: the identity of an entry.
///
/// The order is Raft's "more up to date": by term, then by index (Raft §5.4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogPosition {
    /// The term of the leader that wrote the entry.
    pub term: Term,
    /// The entry's place.
    pub index: Index,
}

/// A place in the store's history, shared by all protocols (etcd's `revision`, ZooKeeper's `zxid`,
/// Consul's `ModifyIndex`). A fresh store is at 1; each effective write transaction takes the next.
/// Fits in 63 bits, since etcd's field is signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// The place after this one.
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }

    /// The place before this one; 0 stays 0.
    pub fn previous(self) -> Revision {
        Revision(self.0.saturating_sub(1))
    }
}

macro_rules! decimal {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    )*};
}
decimal!(Term Index Revision);

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

impl fmt::Debug for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
