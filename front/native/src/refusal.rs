//! What the native front refuses, in one table: each with its number in the log and its words.

/// A refusal. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[repr(u16)]
pub enum Refusal {
    /// The bytes are no request.
    #[error("the request is malformed")]
    Malformed = 1,
    /// A name or an owner is empty or too long.
    #[error("a name has 1 to 1024 bytes")]
    BadName = 2,
    /// The lease is not granted.
    #[error("there is no such lease")]
    NoLease = 3,
    /// The queue has as many places as it may have.
    #[error("10,000 wait already")]
    QueueFull = 4,
    /// A semaphore's permits are not those of the others in its queue, or not between 1 and 1024.
    #[error("the number of permits is not that of the others")]
    BadPermits = 5,
    /// The token has no place in the queue: it was given back, or its lease is over.
    #[error("the token is old: its place is gone")]
    StaleToken = 6,
    /// The token has a place, and it does not hold yet.
    #[error("the token does not hold yet")]
    NotHeld = 7,
}

impl Refusal {
    const ALL: [Refusal; 7] = [
        Refusal::Malformed,
        Refusal::BadName,
        Refusal::NoLease,
        Refusal::QueueFull,
        Refusal::BadPermits,
        Refusal::StaleToken,
        Refusal::NotHeld,
    ];

    /// The refusal with this number, if there is one.
    pub fn of_number(number: u16) -> Option<Refusal> {
        Refusal::ALL
            .into_iter()
            .find(|refusal| *refusal as u16 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_ever_and_none_is_0() {
        for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, at + 1);
            assert_eq!(Refusal::of_number(refusal as u16), Some(refusal));
        }
        assert_eq!(Refusal::of_number(0), None);
    }
}
