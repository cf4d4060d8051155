//! When a change of the membership is too dangerous: etcd's `--strict-reconfig-check`.
//!
//! A voter that is added or removed moves the majority. As in etcd the member that is asked looks at its own connections
//! before it asks the leader, and counts a voter as alive when the connection to it has stood for five seconds:
//!
//! ```text
//!   a member is added        every voter must be alive, also where it is a learner
//!   a voter is removed       if it is not connected: no more is asked, it is no part of the active quorum
//!                            else the others alive must be a majority of what is left, and one more for an even number
//! ```
//!
//! What is counted by names that were published, `not enough started members`, is the leader's business: `node::writes`.

use super::Front;
use base::{Instant, MemberId};
use etcd::Refusal;
use node::{MemberChange, SystemRefusal};
use std::time::Duration;

/// A voter whose connection is younger may be about to go again (etcd's `HealthInterval`).
const ALIVE_AFTER: Duration = Duration::from_secs(5);

/// A voter, as the member that is asked sees it.
#[derive(Clone, Copy)]
struct Voter {
    member: MemberId,
    is_connected: bool,
    is_alive: bool,
}

impl Front {
    /// Refuses a change that could cost the cluster its majority.
    pub(super) fn check_majority(&self, change: &MemberChange) -> Result<(), Refusal> {
        let member = &self.0;
        if !member.config.strict_reconfig {
            return Ok(());
        }
        let (own, now) = (member.identity.member, crate::clock::now());
        let voters = member.with_state(|state| state.membership().voters.clone());
        let seen = |voter: MemberId| {
            let since = member.connected_since(voter);
            Voter {
                member: voter,
                is_connected: voter == own || since.is_some(),
                is_alive: voter == own || since.is_some_and(|since| is_old(since, now)),
            }
        };
        let voters: Vec<Voter> = voters.into_iter().map(seen).collect();
        if is_safe(change, &voters) {
            return Ok(());
        }
        // Which members have started is looked at first, as in etcd.
        Err(match member.would_refuse(change) {
            Some(SystemRefusal::NotEnoughStarted) => Refusal::NotEnoughStartedMembers,
            _ => Refusal::UnhealthyCluster,
        })
    }
}

fn is_old(since: Instant, now: Instant) -> bool {
    now.since(since) >= ALIVE_AFTER
}

/// Whether the majority outlives `change`.
fn is_safe(change: &MemberChange, voters: &[Voter]) -> bool {
    let n_alive = voters.iter().filter(|voter| voter.is_alive).count();
    match change {
        MemberChange::Add { .. } => n_alive == voters.len(),
        MemberChange::Remove { member } => {
            let mut connected = voters.iter().filter(|voter| voter.is_connected);
            let costs_one = connected.any(|voter| voter.member == *member);
            !costs_one || n_alive > 1 + voters.len().saturating_sub(1) / 2
        }
        MemberChange::Promote { .. }
        | MemberChange::Update { .. }
        | MemberChange::Publish { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` is alive, `y` is connected since just now, `-` is down.
    fn voters(seen: &str) -> Vec<Voter> {
        let voter = |(at, seen): (usize, char)| Voter {
            member: MemberId(at as u64),
            is_connected: seen != '-',
            is_alive: seen == 'a',
        };
        seen.chars().enumerate().map(voter).collect()
    }

    fn removed(at: u64, seen: &str) -> bool {
        let member = MemberId(at);
        is_safe(&MemberChange::Remove { member }, &voters(seen))
    }

    #[test]
    fn a_member_is_added_while_all_voters_are_alive() {
        for (seen, is_taken) in [("a", true), ("aaa", true), ("aa-", false), ("aay", false)] {
            for is_learner in [false, true] {
                let change = MemberChange::Add {
                    member: MemberId(9),
                    peer_urls: Vec::new(),
                    is_learner,
                };
                assert_eq!(is_safe(&change, &voters(seen)), is_taken, "{seen}");
            }
        }
    }

    #[test]
    fn a_voter_goes_when_the_rest_is_a_majority_without_it() {
        assert!(removed(1, "aaa") && removed(1, "aa"));
        assert!(!removed(1, "aa-"), "one of two would be left");
        assert!(removed(2, "aa-"), "who is down costs nothing");
        assert!(!removed(2, "aay"), "it may be alive");
        assert!(removed(1, "aaaa-") && !removed(1, "aaa--"));
        assert!(removed(9, "aa-"), "a learner, or nobody");
    }
}
