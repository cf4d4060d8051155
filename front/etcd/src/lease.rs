//! `LeaseKeepAlive`: a stream of renewals, answered in the order in which they were asked.
//!
//! The leader keeps the deadlines, so a renewal is a question to the member, which may take its time (on a
//! follower it travels). Several may be under way; the answers leave in order. A lease that nobody knows
//! is no error: its answer has time to live 0, and the client ends its keeping.
//!
//! The time to live is the leader's word and not this member's. A member that is behind does not know a lease
//! that was just granted elsewhere, and one that has just started may know none at all; to say 0 then would end
//! a session, and with it every lock, that the leader has just renewed.

use crate::header::HeaderParts;
use crate::pb;
use crate::request::two_integers;
use crate::status::{Refusal, Status};
use base::{LeaseId, Revision};
use bytes::Bytes;
use std::collections::VecDeque;

/// Renewals under way on one stream. A client has a stream for all its leases and renews each about
/// three times in its life; beyond this many the driver stops reading the stream.
pub const RENEWALS_MAX: usize = 1024;

/// One renewal that the member is to be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Renewal {
    /// The stream's number for it, from 0.
    pub number: u64,
    /// Which lease.
    pub lease: LeaseId,
}

/// The state of one stream.
#[derive(Debug, Default)]
pub struct LeaseStream {
    /// Oldest first; nothing while the member has not said.
    waiting: VecDeque<(LeaseId, Option<Found>)>,
    /// The number of the first in `waiting`.
    first: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// For so many seconds.
    Renewed(u64),
    Unknown,
}

impl LeaseStream {
    /// A stream on which nothing was said yet.
    pub fn new() -> LeaseStream {
        LeaseStream::default()
    }

    /// Whether the driver should stop reading until answers have left.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= RENEWALS_MAX
    }

    /// Takes a `LeaseKeepAliveRequest`; the member is to be asked to renew the lease.
    ///
    /// # Errors
    /// Malformed bytes end the stream.
    pub fn handle(&mut self, request: &[u8]) -> Result<Renewal, Status> {
        let (id, _) = two_integers(request).map_err(Refusal::from)?;
        let lease = LeaseId(id);
        self.waiting.push_back((lease, None));
        Ok(Renewal {
            number: self.first + self.waiting.len() as u64 - 1,
            lease,
        })
    }

    /// The leader has renewed the lease, which lives `ttl_s` seconds from now, or knows none such.
    pub fn renewed(&mut self, number: u64, ttl_s: Option<u64>) {
        let at = number
            .checked_sub(self.first)
            .and_then(|at| usize::try_from(at).ok());
        if let Some((_, found)) = at.and_then(|at| self.waiting.get_mut(at)) {
            *found = Some(ttl_s.map_or(Found::Unknown, Found::Renewed));
        }
    }

    /// The next answer, when it is its turn. `revision` is this member's.
    pub fn next_answer(&mut self, revision: Revision, header: &HeaderParts) -> Option<Bytes> {
        let (lease, Some(found)) = *self.waiting.front()? else {
            return None;
        };
        self.waiting.pop_front();
        self.first += 1;
        let ttl_s = match found {
            Found::Renewed(ttl_s) => ttl_s,
            Found::Unknown => 0,
        };
        let mut body = Vec::new();
        pb::uint(&mut body, 2, lease.0 as u64);
        pb::uint(&mut body, 3, ttl_s);
        Some(header.before(revision, &body))
    }
}
