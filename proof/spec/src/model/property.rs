//! The five properties of Raft's figure 3, by their names. All of them hold at all times.
//!
//! Four judge one state, with the history that it carries; Leader Append-Only judges a step. This file
//! knows nothing of actions or rules: it says what must be true, not how it comes about.

use super::state::{Role, State, Who};
use std::fmt;

/// A property of Raft's figure 3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Property {
    /// At most one leader can be elected in a given term (§5.2).
    ElectionSafety,
    /// A leader never overwrites or deletes entries in its log (§5.3).
    LeaderAppendOnly,
    /// Logs that contain an entry with the same index and term are identical up to it (§5.3).
    LogMatching,
    /// A committed entry is in the logs of the leaders of all higher terms (§5.4).
    LeaderCompleteness,
    /// No two members apply different entries at one index (§5.4.3).
    StateMachineSafety,
}

impl Property {
    /// All of them, in the order of figure 3.
    pub const ALL: [Property; 5] = [
        Property::ElectionSafety,
        Property::LeaderAppendOnly,
        Property::LogMatching,
        Property::LeaderCompleteness,
        Property::StateMachineSafety,
    ];

    /// Whether it holds after the step from `before` to `after`, in a cluster of `n` members.
    pub fn holds(self, n: u8, before: &State, after: &State) -> bool {
        match self {
            Property::ElectionSafety => election_safety(after),
            Property::LeaderAppendOnly => leader_append_only(n, before, after),
            Property::LogMatching => log_matching(n, after),
            Property::LeaderCompleteness => leader_completeness(n, after),
            Property::StateMachineSafety => state_machine_safety(n, after),
        }
    }
}

/// The first of `properties` that the step from `before` to `after` violates.
pub fn violated(properties: &[Property], n: u8, before: &State, after: &State) -> Option<Property> {
    let mut all = properties.iter().copied();
    all.find(|property| !property.holds(n, before, after))
}

/// Election Safety: among all elections so far, one term has one winner.
pub fn election_safety(state: &State) -> bool {
    let won = &state.elections;
    won.iter()
        .all(|(term, who)| won.iter().all(|(t, w)| t != term || w == who))
}

/// Leader Append-Only: who led before the step and leads the same term after it still has every entry
/// that it had.
pub fn leader_append_only(n: u8, before: &State, after: &State) -> bool {
    names(n).all(|who| {
        let (was, is) = (before.member(who), after.member(who));
        let leads = was.role == Role::Leader && is.role == Role::Leader && was.term == is.term;
        !leads || is.log.entries().starts_with(was.log.entries())
    })
}

/// Log Matching: from the last place where two logs agree on the term, backwards, they agree on
/// everything.
pub fn log_matching(n: u8, state: &State) -> bool {
    names(n).all(|one| {
        let left = state.member(one).log.entries();
        names(one.0).all(|other| {
            let right = state.member(other).log.entries();
            let mut pairs = left.iter().zip(right);
            let meet = pairs.rposition(|(l, r)| l.term == r.term);
            meet.is_none_or(|last| left[..=last] == right[..=last])
        })
    })
}

/// Leader Completeness: whoever leads has every entry that was committed in an earlier term.
///
/// Leaders of the past are not asked again. Whether one of them lacked an entry that was committed
/// after it had stopped to lead is not seen here, but by State Machine Safety once it matters.
pub fn leader_completeness(n: u8, state: &State) -> bool {
    names(n).map(|who| state.member(who)).all(|member| {
        member.role != Role::Leader
            || state.committed.iter().enumerate().all(|(place, done)| {
                done.term >= member.term || member.log.entries().get(place) == Some(&done.entry)
            })
    })
}

/// State Machine Safety: what a member has committed is what was committed first at that index.
/// Members apply what they have committed, in order, so commit stands for apply.
pub fn state_machine_safety(n: u8, state: &State) -> bool {
    names(n).map(|who| state.member(who)).all(|member| {
        let applied = &member.log.entries()[..usize::from(member.commit.0)];
        let decided = &state.committed;
        applied.len() <= decided.len() && applied.iter().zip(decided).all(|(a, d)| *a == d.entry)
    })
}

fn names(n: u8) -> impl DoubleEndedIterator<Item = Who> {
    (0..n).map(Who)
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Property::ElectionSafety => "Election Safety",
            Property::LeaderAppendOnly => "Leader Append-Only",
            Property::LogMatching => "Log Matching",
            Property::LeaderCompleteness => "Leader Completeness",
            Property::StateMachineSafety => "State Machine Safety",
        })
    }
}
