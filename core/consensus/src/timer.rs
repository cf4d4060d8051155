//! When to campaign: one slot per member, as a pure function.
//!
//! The engine draws its election timeouts from the machine's random generator; a run could not be
//! replayed. Here the timeout is decided by (seed, member, term, role) and the membership, and it does
//! more than a draw: in one term no two members have the same slot, so votes do not split.
//!
//! ```text
//!   leader's last word                        election_ticks = 100 (1 s), as etcd's default
//!   │                                   1.02   1.05       1.32   1.35       1.62 s
//!   ├───────────────────────────────────┤ slot 0 ├──────────┤ slot 1 ├────────┤ slot 2 …
//!                                        jitter 0..=3 ticks
//! ```
//!
//! Slots are given by rank among the voters, rotated by a hash of the term so that it is not always
//! the same member's turn; the leader that has gone silent does not count, so the first slot is not
//! wasted on it. A member that knows no leader sits half a slot later, so that two members that know
//! different things do not meet either.
//!
//! A member that has just started and knows no leader waits only its short slot (50 ms times its
//! rank), so that a fresh cluster has a leader at once. It cannot disturb one that works: it asks
//! first (pre-vote), and whoever hears a leader does not answer.

use crate::engine::Role;
use base::{MemberId, Term, rng};

/// Ticks between the short slots of a cluster that has just started: 50 ms.
pub const START_SLOT_TICKS: usize = 5;

/// Ticks that members may see a leader's last word apart: a candidate that comes earlier is ignored by
/// those who still trust the leader.
const SKEW_TICKS: usize = 2;

/// What decides a member's slot.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    /// Decides the jitter.
    pub seed: u64,
    /// Whose slot.
    pub member: MemberId,
    /// The term that the member is in.
    pub term: Term,
    /// The role that the member has.
    pub role: Role,
    /// The leader that the member knows, or nobody.
    pub leader: MemberId,
    /// All voters, ascending, both halves of a joint membership.
    pub voters: &'a [MemberId],
    /// `Config::election_ticks`.
    pub election_ticks: usize,
}

impl Slot<'_> {
    /// Ticks from one slot to the next: 0.3 of the election timeout.
    fn width(&self) -> usize {
        (self.election_ticks * 3 / 10).max(2)
    }

    /// This member's rank in this term: 0 campaigns first.
    fn rank(&self) -> usize {
        let n = self.voters.len().max(1);
        let first = (rng::mix(self.term.0) % n as u64) as usize;
        let place = |member: MemberId| {
            let at = self.voters.iter().position(|voter| *voter == member)?;
            Some((at + n - first) % n)
        };
        let own = place(self.member).unwrap_or(n);
        // The leader that has gone silent leaves its place to those behind it.
        match place(self.leader) {
            Some(leader) if leader < own => own - 1,
            _ => own,
        }
    }

    /// Ticks of silence after which this member campaigns.
    pub fn ticks(&self) -> usize {
        let jitter_range = (self.election_ticks / 25).max(1) as u64;
        let salt = rng::mix(self.seed ^ rng::mix(self.member.0 ^ rng::mix(self.term.0)));
        let jitter = (rng::mix(salt ^ self.role as u64) % jitter_range) as usize;
        let half = if self.leader.is_none() {
            self.width() / 2
        } else {
            0
        };
        self.election_ticks + SKEW_TICKS + jitter + half + self.rank() * self.width()
    }

    /// Ticks after which this member campaigns when it has just started and has never known a leader.
    /// As a follower: its rank. When it has asked in vain: once per round of all ranks. When its
    /// candidacy comes to nothing (two had the same thought and split the votes): longer, so that
    /// votes which wait for a disk have time; the caller doubles it each time.
    pub fn start_ticks(&self) -> usize {
        let n = self.voters.len().max(1);
        START_SLOT_TICKS
            * match self.role {
                Role::Follower | Role::Leader => self.rank() + 1,
                Role::PreCandidate => n + 1 + self.rank(),
                Role::Candidate => 5 + 2 * self.rank(),
            }
    }
}

/// The longest timeout that [`Slot::ticks`] gives, plus one: the engine asks for a bound.
pub fn ticks_end(election_ticks: usize) -> usize {
    let width = (election_ticks * 3 / 10).max(2);
    election_ticks * 2 + SKEW_TICKS + width * (2 * base::limits::MEMBERS_MAX + 2)
}
