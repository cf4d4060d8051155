//! What the native front refuses, in one table: each with its number in the log and its code.

use api::Code;
use api::proto;
use bytes::Bytes;
use prost::Message;
use store::Outcome;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $number:literal $code:ident $text:literal,)*) => {
        /// A refusal. Nothing was changed. Numbers are for ever.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
        #[repr(u16)]
        pub enum Refusal { $($(#[$doc])* #[error($text)] $name = $number,)* }

        impl Refusal {
            /// All of them, ascending.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name,)*];

            /// What clients call it.
            pub fn code(self) -> Code {
                match self { $(Refusal::$name => Code::$code,)* }
            }
        }
    };
}

refusals! {
    /// The bytes are no request.
    Malformed = 1 Malformed "the request is malformed",
    /// A name or an owner is empty or too long.
    BadName = 2 BadName "a name has 1 to 1024 bytes",
    /// The lease is not granted.
    NoLease = 3 LeaseNotFound "there is no such lease",
    /// The line has as many places as it may have.
    QueueFull = 4 QueueFull "10,000 wait already",
    /// Permits are not those of the others in the line, or not between 1 and 1024.
    BadPermits = 5 BadPermits "permits are from 1 to 1024, and the same for all in the line",
    /// The token has no place in its line: it was given back, or its lease is over.
    StaleToken = 6 StaleToken "the token's place is gone",
    /// The token has a place, and it does not hold yet.
    NotHeld = 7 NotHeld "the token does not hold yet",
    /// Not exactly one of a key, a prefix, a range and all.
    BadKeys = 8 BadKeys "say exactly one of: a key, a prefix, a range that does not end before it begins, all",
    /// A key is not as the write demands.
    ConditionFailed = 9 ConditionFailed "a condition does not hold",
    /// The lease is granted already.
    LeaseExists = 10 LeaseExists "the lease is granted already",
    /// The revision is compacted.
    Compacted = 11 Compacted "the revision is compacted",
    /// The revision has not happened yet.
    Future = 12 Future "the revision has not happened yet",
    /// A transaction writes a key twice.
    WrittenTwice = 13 Malformed "a transaction writes each key at most once",
    /// A condition says nothing.
    EmptyCondition = 14 Malformed "a condition says nothing about its key",
    /// An operation is not exactly one of put, delete and range.
    BadOperation = 15 Malformed "an operation is exactly one of put, delete, range",
    /// The values that were there before are too many to be told.
    PreviousTooLarge = 16 TooLarge "the values before are more than 4 MiB: delete without `previous`, or fewer keys",
    /// Only locks are shared.
    NotShared = 17 Malformed "only a lock can be shared",
    /// A time to live is too long.
    TtlTooLong = 18 Malformed "a lease lives at most 9,000,000,000 seconds",
    /// Lines of etcd's clients are asked about in fences, and nowhere else.
    OnlyFences = 19 Malformed "lines of etcd's clients are asked about in fences only",
    /// More fences than a write can have.
    TooManyFences = 20 TooManyOperations "a write has at most 16 fences",
    /// A try gave its place up after another try had taken it over.
    EnteredAgain = 21 ConditionFailed "the place was entered again since: it is another try's",
    /// The owner has a place in the line that is not what it asks for now.
    OtherPlace = 22 ConditionFailed "the owner has another kind of place in this line already: leave it first",
    /// What a place says is too long.
    SaysTooMuch = 23 TooLarge "a place says at most 4096 bytes",
    /// Authentication is enabled, and nobody says who asks, or no longer rightly.
    Unauthenticated = 24 Unauthenticated "authentication is enabled: show the token of a user with the role root",
    /// Only root may.
    Denied = 25 Denied "only users with the role root may use this API while authentication is enabled",
    /// A member is out of space.
    NoSpace = 26 NoSpace "the alarm NOSPACE stands: delete and compact",
    /// Members differ.
    Corrupt = 27 Corrupt "the alarm CORRUPT stands: the members' data differ",
}

impl Refusal {
    /// The refusal with this number, if there is one.
    pub fn of_number(number: u16) -> Option<Refusal> {
        let mut all = Refusal::ALL.iter().copied();
        all.find(|refusal| *refusal as u16 == number)
    }
}

/// A refusal with what is to be said about it; the same on every member.
#[derive(Clone, PartialEq, Debug)]
pub struct Refused {
    /// Which.
    pub refusal: Refusal,
    /// Only `token`, `newest_token`, `revision` and `key` are ever filled: words are the answering member's.
    pub detail: Box<proto::Error>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused {
            refusal,
            detail: Box::default(),
        }
    }
}

impl Refused {
    /// As a command's outcome.
    pub fn outcome(&self) -> Outcome {
        Outcome::refused(self.refusal as u16, self.detail.encode_to_vec())
    }

    /// The inverse of [`Refused::outcome`]; nothing when the outcome is no refusal of this front.
    pub fn of_outcome(outcome: &Outcome) -> Option<Refused> {
        let refusal = Refusal::of_number(outcome.status)?;
        let detail = proto::Error::decode(outcome.body.clone()).unwrap_or_default();
        Some(Refused {
            refusal,
            detail: Box::new(detail),
        })
    }

    /// A condition that does not hold: which key, and the revision at which it was written last.
    pub(crate) fn condition(key: Bytes, revision: u64) -> Refused {
        let mut refused = Refused::from(Refusal::ConditionFailed);
        refused.detail.key = Some(key);
        refused.detail.revision = Some(revision);
        refused
    }

    /// A token that does not hold, and the newest that does, if any.
    pub(crate) fn token(refusal: Refusal, token: u64, newest: u64) -> Refused {
        let mut refused = Refused::from(refusal);
        refused.detail.token = Some(token);
        refused.detail.newest_token = (newest > 0).then_some(newest);
        refused
    }

    /// A revision that cannot be had, and the nearest that can.
    pub(crate) fn revision(refusal: Refusal, revision: u64) -> Refused {
        let mut refused = Refused::from(refusal);
        refused.detail.revision = Some(revision);
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_ever_and_none_is_0() {
        for (at, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(*refusal as usize, at + 1);
            assert_eq!(Refusal::of_number(*refusal as u16), Some(*refusal));
            let refused = Refused::token(*refusal, 7, 9);
            assert_eq!(Refused::of_outcome(&refused.outcome()), Some(refused));
        }
        assert_eq!(Refusal::of_number(0), None);
    }
}
