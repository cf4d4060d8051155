//! Scopes that are worth a name: those in which Raft holds, and for each rule the smallest in which its
//! absence shows.

use super::property::Property;
use super::rule::Rule;
use super::scope::{Heartbeats, Network, Refusals, Scope};
use super::state::{Set, Term, Who};

/// A rule, the property that it is for, and a scope in which breaking it shows.
#[derive(Clone, Debug)]
pub struct Case {
    /// The rule.
    pub rule: Rule,
    /// What does not hold without it.
    pub property: Property,
    /// Where that shows. With the rule kept, the scope is exhausted without a violation.
    pub scope: Scope,
}

const N1: Who = Who(0);
const N2: Who = Who(1);
const N3: Who = Who(2);

/// Unguided scopes: everything may happen that fits.
pub fn sound() -> Vec<Scope> {
    vec![
        Scope {
            network: Network::Again,
            refusals: Refusals::Answered,
            restarts_max: 1,
            ..Scope::elections("3 members, 2 terms", 3, 2)
        },
        Scope {
            network: Network::Again,
            heartbeats: Heartbeats::Always,
            refusals: Refusals::Answered,
            restarts_max: 1,
            ..Scope::logs("2 members, 2 terms, 2 entries", 2, 2, 2)
        },
        Scope {
            restarts_max: 1,
            ..Scope::logs("3 members, 2 terms, 1 entry, restart", 3, 2, 1)
        },
        Scope {
            network: Network::Again,
            restarts_max: 1,
            requests_max: 2,
            ..Scope::logs("3 members, 2 terms, 1 entry, duplicates", 3, 2, 1)
        },
        Scope {
            messages_max: 2,
            drops_max: 1,
            ..Scope::logs("3 members, 2 terms, 2 entries, losses", 3, 2, 2)
        },
        Scope {
            messages_max: 2,
            requests_max: 2,
            ..Scope::logs("3 members, 3 terms, 1 entry", 3, 3, 1)
        },
    ]
}

/// Unguided scopes that take too long for a test.
pub fn large() -> Vec<Scope> {
    vec![
        Scope {
            network: Network::Again,
            refusals: Refusals::Answered,
            ..Scope::logs("3 members, 2 terms, 1 entry, answered", 3, 2, 1)
        },
        Scope {
            network: Network::Again,
            ..Scope::logs("3 members, 2 terms, 2 entries", 3, 2, 2)
        },
    ]
}

/// For each rule a case.
pub fn broken() -> Vec<Case> {
    use Property::*;
    use Rule::*;
    let case = |rule, property, scope| Case {
        rule,
        property,
        scope,
    };
    let two_commands = |scope| Scope {
        requests_max: 2,
        ..scope
    };
    vec![
        case(
            OneVotePerTerm,
            ElectionSafety,
            Scope::elections("two votes", 3, 1),
        ),
        case(
            VoteIsDurable,
            ElectionSafety,
            Scope {
                restarts_max: 1,
                ..Scope::elections("forgotten vote", 3, 1)
            },
        ),
        case(
            HigherTermIsAdopted,
            ElectionSafety,
            Scope::elections("old term", 3, 1),
        ),
        case(
            HigherTermIsAdopted,
            LeaderAppendOnly,
            two_commands(Scope::logs("deaf leader", 3, 2, 1)),
        ),
        case(
            VoteForUpToDateLog,
            LeaderCompleteness,
            Scope::logs("short log", 3, 2, 1),
        ),
        case(
            ConflictIsTruncated,
            StateMachineSafety,
            two_commands(Scope::logs("conflict", 3, 2, 1)),
        ),
        case(
            CommitWithinMatch,
            StateMachineSafety,
            Scope {
                heartbeats: Heartbeats::Always,
                ..two_commands(Scope::logs("commit", 3, 2, 1))
            },
        ),
        case(
            PreviousEntryMatches,
            LogMatching,
            Scope {
                network: Network::Again,
                messages_max: 4,
                ..Scope::logs("previous", 3, 2, 2)
            },
        ),
        case(
            CommitOwnTermOnly,
            LeaderCompleteness,
            Scope {
                campaigns: &[N1, N2, N1, N2],
                network: Network::Again,
                ..two_commands(Scope::logs("figure 8", 3, 4, 1))
            },
        ),
        case(
            CommittedInTermBeforeChange,
            LeaderCompleteness,
            Scope {
                voters: Set::first(4),
                opening: &[N1],
                campaigns: &[N1, N2, N1],
                changes: &[(Term(1), N2), (Term(2), N1)],
                requests_max: 2,
                messages_max: 3,
                ..Scope::logs("change", 4, 3, 3)
            },
        ),
        case(
            OneChangeAtATime,
            LeaderCompleteness,
            Scope {
                opening: &[N1],
                campaigns: &[N1, N2],
                changes: &[(Term(1), N2), (Term(1), N3)],
                requests_max: 2,
                ..Scope::logs("two changes", 3, 2, 3)
            },
        ),
    ]
}
