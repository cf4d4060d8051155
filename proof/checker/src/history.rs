//! What clients asked and what they were told.
//!
//! An [`Operation`] is an interval of true time with a request and an outcome. An outcome is one of
//! three, never mixed: *answered*, *refused* (it never took and never will take effect), or *unknown*
//! (it may take effect at any time after the call, or never). A retry is a new operation.
//!
//! The judges rely on one habit of the recorders: every value that is ever put is unique.

use base::{LeaseId, Revision};
use std::fmt;

/// A moment of the run's one true clock, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000 / 1000
        )
    }
}

/// A key.
pub type Key = Vec<u8>;
/// A value.
pub type Value = Vec<u8>;

/// One version of a key as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Row {
    /// The key.
    pub key: Key,
    /// The value; empty for a tombstone.
    pub value: Value,
    /// The revision that created this life of the key; 0 for a tombstone.
    pub create: Revision,
    /// The revision that wrote this version.
    pub modified: Revision,
    /// 1 for the first version of a life; 0 for a tombstone.
    pub version: u64,
    /// The lease that the key hangs on, or none.
    pub lease: LeaseId,
}

/// An interval of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first key.
    pub first: Key,
    /// Where it ends.
    pub end: End,
}

/// Where a [`Span`] ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The first key is the only one.
    Single,
    /// Before this key.
    Before(Key),
    /// Nowhere.
    Unbounded,
}

impl Span {
    /// The one key.
    pub fn single(key: impl Into<Key>) -> Span {
        Span {
            first: key.into(),
            end: End::Single,
        }
    }

    /// All keys.
    pub fn all() -> Span {
        Span {
            first: Key::new(),
            end: End::Unbounded,
        }
    }

    /// Keys from `first` up to and without `end`.
    pub fn between(first: impl Into<Key>, end: impl Into<Key>) -> Span {
        Span {
            first: first.into(),
            end: End::Before(end.into()),
        }
    }

    /// Whether `key` lies in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => key == self.first,
            End::Before(end) => key >= &self.first[..] && key < &end[..],
            End::Unbounded => key >= &self.first[..],
        }
    }
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// At least as new as everything that anybody knew when it was called.
    Linearizable,
    /// True at its revision; may be old.
    Serializable,
}

/// What a client asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// All rows of a span, now or at a past revision.
    Range {
        /// Which keys.
        span: Span,
        /// As of which revision; nothing means now.
        at: Option<Revision>,
        /// How fresh.
        level: Level,
    },
    /// Write one key.
    Put {
        /// The key.
        key: Key,
        /// Its value: unique in the whole history.
        value: Value,
        /// The lease to hang it on, or none.
        lease: LeaseId,
    },
    /// Delete all keys of a span.
    Delete {
        /// Which keys.
        span: Span,
    },
    /// If all compares hold then `then`, otherwise `otherwise`; all at one revision.
    Txn {
        /// The conditions.
        compares: Vec<Compare>,
        /// Done when they hold.
        then: Vec<Request>,
        /// Done when one does not.
        otherwise: Vec<Request>,
    },
    /// Forget history before a revision.
    Compact {
        /// The oldest revision that stays readable.
        revision: Revision,
    },
    /// Begin a lease.
    Grant {
        /// Its id.
        lease: LeaseId,
        /// How long it lives without renewal, in nanoseconds.
        ttl: u64,
    },
    /// End a lease and delete its keys.
    Revoke {
        /// Its id.
        lease: LeaseId,
    },
    /// Keep a lease alive.
    Renew {
        /// Its id.
        lease: LeaseId,
    },
}

/// One condition of a transaction; a key that is absent compares as all zeros and never by value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: Key,
    /// What of it, and with what.
    pub target: Target,
    /// How.
    pub relation: Relation,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The value.
    Value(Value),
    /// The revision that wrote it; 0 when absent.
    Modified(Revision),
    /// The revision that created it; 0 when absent.
    Create(Revision),
    /// The version; 0 when absent.
    Version(u64),
}

/// How it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same.
    Equal,
    /// Not the same.
    NotEqual,
    /// The stored one is greater.
    Greater,
    /// The stored one is less.
    Less,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a range.
    Rows(Vec<Row>),
    /// To a put: the row before it, where the recorder asked for it.
    Put {
        /// `None`: not asked. `Some(None)`: there was no such key.
        previous: Option<Option<Row>>,
    },
    /// To a delete.
    Deleted {
        /// How many.
        count: u64,
        /// Their last rows, where the recorder asked for them.
        previous: Option<Vec<Row>>,
    },
    /// To a transaction.
    Txn {
        /// Whether all compares held.
        succeeded: bool,
        /// One for each operation of the branch.
        answers: Vec<Answer>,
    },
    /// To compact, grant and revoke.
    Done,
    /// To a renewal: the lease lives.
    Renewed,
}

/// How an operation ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer that is true at `revision`.
    Answered {
        /// The header's revision.
        revision: Revision,
        /// The answer.
        answer: Answer,
    },
    /// With a definite refusal: it has no effect, ever.
    Refused {
        /// In the server's words.
        reason: String,
    },
    /// The client does not know.
    Unknown,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Unique in the history.
    pub number: u64,
    /// Which client; it has at most one operation under way.
    pub client: u64,
    /// When it was asked.
    pub call: Time,
    /// When the outcome was known. Meaningless for [`Outcome::Unknown`].
    pub returned: Time,
    /// What was asked.
    pub request: Request,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// The revision of its answer.
    pub fn revision(&self) -> Option<Revision> {
        match &self.outcome {
            Outcome::Answered { revision, .. } => Some(*revision),
            _ => None,
        }
    }
}

/// Bytes as text that is safe to print.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_default().to_string()
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}={} @{}",
            text(&self.key),
            text(&self.value),
            self.modified
        )?;
        if self.version == 0 {
            return f.write_str(" tombstone");
        }
        write!(f, " created {} version {}", self.create, self.version)?;
        if self.lease.is_none() {
            Ok(())
        } else {
            write!(f, " lease {}", self.lease)
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            End::Single => f.write_str(&text(&self.first)),
            End::Before(end) => write!(f, "[{}, {})", text(&self.first), text(end)),
            End::Unbounded => write!(f, "[{}, ...)", text(&self.first)),
        }
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match self.relation {
            Relation::Equal => "==",
            Relation::NotEqual => "!=",
            Relation::Greater => ">",
            Relation::Less => "<",
        };
        let key = text(&self.key);
        match &self.target {
            Target::Value(v) => write!(f, "value({key}) {relation} {}", text(v)),
            Target::Modified(r) => write!(f, "mod({key}) {relation} {r}"),
            Target::Create(r) => write!(f, "create({key}) {relation} {r}"),
            Target::Version(n) => write!(f, "version({key}) {relation} {n}"),
        }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Range { span, at, level } => {
                write!(f, "get {span}")?;
                if let Some(at) = at {
                    write!(f, " at {at}")?;
                }
                if *level == Level::Serializable {
                    f.write_str(" serializable")?;
                }
                Ok(())
            }
            Request::Put { key, value, lease } => {
                write!(f, "put {}={}", text(key), text(value))?;
                if lease.is_none() {
                    Ok(())
                } else {
                    write!(f, " lease {lease}")
                }
            }
            Request::Delete { span } => write!(f, "delete {span}"),
            Request::Txn {
                compares,
                then,
                otherwise,
            } => write!(
                f,
                "txn if {} then {} else {}",
                list(compares),
                list(then),
                list(otherwise)
            ),
            Request::Compact { revision } => write!(f, "compact {revision}"),
            Request::Grant { lease, ttl } => write!(f, "grant {lease} ttl {}", Time(*ttl)),
            Request::Revoke { lease } => write!(f, "revoke {lease}"),
            Request::Renew { lease } => write!(f, "renew {lease}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Rows(rows) if rows.is_empty() => f.write_str("nothing"),
            Answer::Rows(rows) => f.write_str(&list(rows)),
            Answer::Put {
                previous: Some(Some(row)),
            } => write!(f, "ok (was {row})"),
            Answer::Put {
                previous: Some(None),
            } => f.write_str("ok (was absent)"),
            Answer::Deleted { count, .. } => write!(f, "deleted {count}"),
            Answer::Txn { succeeded, answers } => {
                write!(
                    f,
                    "{}: {}",
                    if *succeeded { "then" } else { "else" },
                    list(answers)
                )
            }
            Answer::Put { previous: None } | Answer::Done => f.write_str("ok"),
            Answer::Renewed => f.write_str("alive"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:<4} client {:<3} ", self.number, self.client)?;
        match &self.outcome {
            Outcome::Answered { revision, answer } => write!(
                f,
                "{}..{}  {} -> {answer}  revision {revision}",
                self.call, self.returned, self.request
            ),
            Outcome::Refused { reason } => write!(
                f,
                "{}..{}  {} -> refused: {reason}",
                self.call, self.returned, self.request
            ),
            Outcome::Unknown => write!(f, "{}..          {} -> unknown", self.call, self.request),
        }
    }
}
