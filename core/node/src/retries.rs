//! A retry takes effect once.
//!
//! A client that hears nothing does not know whether its write happened, and asking again may do it twice.
//! So it may open a *session*, which is a lease that it keeps alive, and number its writes: then the outcome of
//! the newest number is part of the replicated state, and the same number again, at whichever member, gives the same
//! outcome at the same revision and writes nothing.
//!
//! ```text
//!   number               what happens
//!   ──────────────────   ───────────────────────────────────────────────────────────────
//!   above the newest     it is decided, and remembered with its outcome and revision
//!   the newest           the remembered outcome; another request under it is refused
//!   below the newest     refused: the client has gone on, and this is an echo of the past
//!   (session is over)    refused: nothing is remembered any more, and nothing is done
//! ```
//!
//! One write at a time: whoever sends the next number before it knows the outcome of this one gives up the right
//! to ask again. What is remembered goes with its lease, at the same entry.
//! (Ongaro's thesis §6.3; Lee et al., "Implementing Linearizability at Large Scale and Low Latency", 2015.)

use base::{LeaseId, Revision, limits};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use store::command::Identity;
use store::{Outcome, State, Table, WriteTxn};
use xxhash_rust::xxh3::xxh3_64;

/// The table of what sessions did last: lease id, big endian → [`Done`].
pub const SESSIONS: Table = Table(3);

/// The first status of this module. Dialects use lower ones.
const STATUS_FIRST: u16 = 60_001;

/// Why a numbered write is refused. Nothing was changed by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[repr(u16)]
pub enum RetryRefusal {
    /// There is no such session any more. Whether an earlier attempt took effect is not known here.
    #[error("the session is over")]
    SessionOver = STATUS_FIRST,
    /// The session has used a higher number since.
    #[error("the session has gone on to a later write")]
    Superseded = STATUS_FIRST + 1,
    /// The number stands for another request.
    #[error("the number was used for another write")]
    NumberReused = STATUS_FIRST + 2,
    /// It took effect before; its answer was too large to be kept.
    #[error("the write took effect before, and its answer is not kept")]
    AnswerNotKept = STATUS_FIRST + 3,
    /// Another user has numbered writes in it.
    #[error("the session is another user's")]
    AnothersSession = STATUS_FIRST + 4,
}

impl RetryRefusal {
    const ALL: [RetryRefusal; 5] = [
        RetryRefusal::SessionOver,
        RetryRefusal::Superseded,
        RetryRefusal::NumberReused,
        RetryRefusal::AnswerNotKept,
        RetryRefusal::AnothersSession,
    ];

    /// The refusal with this status, if it is one of these.
    pub fn from_status(status: u16) -> Option<RetryRefusal> {
        let mut all = RetryRefusal::ALL.into_iter();
        all.find(|refusal| *refusal as u16 == status)
    }

    pub(crate) fn outcome(self) -> Outcome {
        Outcome::refused(self as u16, Bytes::new())
    }
}

/// The newest write of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Done {
    sequence: u64,
    request: u64,
    revision: Revision,
    /// The body is missing when it was larger than `limits::RETRY_ANSWER_BYTES_MAX`.
    outcome: Result<Outcome, ()>,
    /// Whose it is: a hash of the user's name. Nobody's where users do not count, or did not when it was written.
    owner: Option<u64>,
}

const DONE_BYTES: usize = 8 + 8 + 8 + 2 + 1;

/// Bits of the byte before the owner and the body: whether the body is kept, and whether there is an owner.
const IS_KEPT: u8 = 1;
const HAS_OWNER: u8 = 2;

/// From this version on a session is of the user who was the first to number a write in it.
const OWNED_VERSION: u16 = 4;

impl Done {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(DONE_BYTES);
        out.put_u64_le(self.sequence);
        out.put_u64_le(self.request);
        out.put_u64_le(self.revision.0);
        let kept = self.outcome.as_ref().ok();
        out.put_u16_le(kept.map_or(0, |outcome| outcome.status));
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        out.put_u8(flag(kept.is_some(), IS_KEPT) | flag(self.owner.is_some(), HAS_OWNER));
        if let Some(owner) = self.owner {
            out.put_u64_le(owner);
        }
        if let Some(outcome) = kept {
            out.put_slice(&outcome.body);
        }
        out.freeze()
    }

    fn decode(mut bytes: Bytes) -> Option<Done> {
        if bytes.len() < DONE_BYTES {
            return None;
        }
        let (sequence, request) = (bytes.get_u64_le(), bytes.get_u64_le());
        let revision = Revision(bytes.get_u64_le());
        let (status, flags) = (bytes.get_u16_le(), bytes.get_u8());
        let owner = match flags & HAS_OWNER {
            0 => None,
            _ => Some(bytes.try_get_u64_le().ok()?),
        };
        let (is_kept, body) = (flags & IS_KEPT != 0, bytes);
        Some(Done {
            sequence,
            request,
            revision,
            outcome: is_kept.then_some(Outcome { status, body }).ok_or(()),
            owner,
        })
    }
}

/// What a numbered write comes to, before it is decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Numbered {
    /// It is new: decide it, then [`remember`] it.
    New,
    /// It was decided before, with this outcome at this revision.
    Before(Outcome, Revision),
    /// It is refused.
    Refused(RetryRefusal),
    /// Whoever asks may not ask for this, so nothing is told either; it takes no number.
    Barred(Outcome),
}

/// Looks `sequence` of `session` up.
pub(crate) fn look(state: &State, session: LeaseId, sequence: u64, request: &[u8]) -> Numbered {
    if state.lease(session).is_none() {
        return Numbered::Refused(RetryRefusal::SessionOver);
    }
    let Some(done) = state.record(SESSIONS, &key(session)).and_then(Done::decode) else {
        return Numbered::New;
    };
    match sequence.cmp(&done.sequence) {
        std::cmp::Ordering::Greater => Numbered::New,
        std::cmp::Ordering::Less => Numbered::Refused(RetryRefusal::Superseded),
        std::cmp::Ordering::Equal if done.request != xxh3_64(request) => {
            Numbered::Refused(RetryRefusal::NumberReused)
        }
        std::cmp::Ordering::Equal => match done.outcome {
            Ok(outcome) => Numbered::Before(outcome, done.revision),
            Err(()) => Numbered::Refused(RetryRefusal::AnswerNotKept),
        },
    }
}

/// Whose a session is that `identity` numbers a write in, as of `state`.
pub(crate) fn owner_of(state: &State, identity: Option<&Identity>) -> Option<u64> {
    match identity {
        Some(Identity::User { name, .. }) if state.apply_version() >= OWNED_VERSION => {
            Some(xxh3_64(name))
        }
        _ => None,
    }
}

/// Whether a session is another's than `owner`'s: what it did is none of their business, and its numbers are not theirs to
/// use up.
pub(crate) fn is_anothers(state: &State, session: LeaseId, owner: Option<u64>) -> bool {
    let Some(owner) = owner else { return false };
    let done = state.record(SESSIONS, &key(session)).and_then(Done::decode);
    done.and_then(|done| done.owner)
        .is_some_and(|of| of != owner)
}

/// Remembers what `sequence` of `session` came to. A session that its own write has ended remembers nothing.
pub(crate) fn remember(
    txn: &mut WriteTxn<'_>,
    session: LeaseId,
    sequence: u64,
    request: &[u8],
    (outcome, revision): (&Outcome, Revision),
    owner: Option<u64>,
) {
    if txn.lease(session).is_none() {
        return;
    }
    let is_small = outcome.body.len() <= limits::RETRY_ANSWER_BYTES_MAX;
    // A refusal stays one, whatever it said: nobody must hear "it took effect" of it.
    let refused = (!outcome.is_done()).then(|| Outcome::refused(outcome.status, Bytes::new()));
    let done = Done {
        sequence,
        request: xxh3_64(request),
        revision,
        outcome: match is_small {
            true => Ok(outcome.clone()),
            false => refused.ok_or(()),
        },
        owner,
    };
    txn.record_put(SESSIONS, &key(session), done.encode());
}

/// Forgets a session whose lease is gone.
pub(crate) fn forget(txn: &mut WriteTxn<'_>, session: LeaseId) {
    txn.record_delete(SESSIONS, &key(session));
}

/// All sessions of which something is remembered.
pub(crate) fn sessions(state: &State) -> impl Iterator<Item = LeaseId> + '_ {
    let keys = state.records(SESSIONS).map(|(key, _)| key);
    keys.filter_map(|key| Some(LeaseId(i64::from_be_bytes(key[..].try_into().ok()?))))
}

fn key(session: LeaseId) -> [u8; 8] {
    session.0.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_reads_back() {
        let outcome = Outcome {
            status: 7,
            body: Bytes::from_static(b"an answer"),
        };
        for (outcome, owner) in [
            (Ok(outcome.clone()), None),
            (Ok(outcome), Some(7)),
            (Err(()), None),
            (Err(()), Some(u64::MAX)),
        ] {
            let done = Done {
                sequence: 3,
                request: 99,
                revision: Revision(12),
                outcome,
                owner,
            };
            let bytes = done.encode();
            assert_eq!(Done::decode(bytes.clone()), Some(done));
            let fixed = DONE_BYTES + owner.map_or(0, |_| 8);
            for short in 0..fixed {
                assert_eq!(Done::decode(bytes.slice(..short)), None);
            }
        }
    }

    #[test]
    fn a_session_is_of_its_first_user_from_version_four_on() {
        let user = |name: &'static str| {
            let name = Bytes::from_static(name.as_bytes());
            Some(Identity::User { name, revision: 1 })
        };
        for version in [3, 4] {
            let mut store = store::Store::blank();
            store.raise_apply_version(version);
            let stamp = store::Stamp {
                time: clock::HybridTime::new(1000, 0),
                apply_version: version,
                origin: base::MemberId(1),
            };
            let mut txn = store.begin(store::RootId(0), &stamp);
            txn.lease_grant(LeaseId(7), 10);
            let owner = owner_of(txn.state(), user("ann").as_ref());
            let outcome = Outcome::done(Bytes::new());
            remember(&mut txn, LeaseId(7), 1, b"", (&outcome, Revision(1)), owner);
            txn.finish();
            let state = store.publish();
            let is_anothers = |identity: Option<Identity>| {
                let owner = owner_of(&state, identity.as_ref());
                is_anothers(&state, LeaseId(7), owner)
            };
            assert!(!is_anothers(user("ann")));
            assert_eq!(is_anothers(user("eve")), version == 4);
            // Where users do not count, nobody has a name; and of another session nothing is known.
            assert!(!is_anothers(None) && !is_anothers(Some(Identity::Member)));
            let owner = owner_of(&state, user("eve").as_ref());
            assert!(!super::is_anothers(&state, LeaseId(8), owner));
        }
    }

    #[test]
    fn every_refusal_has_its_status() {
        for refusal in RetryRefusal::ALL {
            assert_eq!(RetryRefusal::from_status(refusal as u16), Some(refusal));
        }
        assert_eq!(RetryRefusal::from_status(10), None);
    }
}
