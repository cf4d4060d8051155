//! The reviewed list: every way in which an answer of ours may differ from etcd's, and why.
//!
//! A rule names one place in one kind of answer and is as narrow as can be. A rule that no difference needed is
//! reported at the end of a run: either the seed never came there, or the rule should go.

use crate::tree::{Difference, Tree};

/// A difference that was looked at and is meant.
pub(crate) struct Rule {
    /// What it is called in reports.
    pub(crate) name: &'static str,
    /// Why it is no mistake.
    pub(crate) reason: &'static str,
    matches: fn(&Seen<'_>) -> bool,
}

/// A difference where it was seen.
pub(crate) struct Seen<'a> {
    /// `KV/Range`, `Watch/Watch`, …
    pub(crate) call: &'a str,
    /// The request, if there was one.
    pub(crate) request: Option<&'a Tree>,
    pub(crate) difference: &'a Difference,
}

impl Seen<'_> {
    fn is_at(&self, call: &str, path: &str) -> bool {
        self.call == call && self.difference.path == path
    }

    /// The numbers of both, where both have one.
    fn numbers(&self) -> Option<(i128, i128)> {
        match (&self.difference.peer, &self.difference.ours) {
            (Some(Tree::Number(peer)), Some(Tree::Number(ours))) => Some((*peer, *ours)),
            _ => None,
        }
    }

    fn both_above_zero(&self) -> bool {
        self.numbers()
            .is_some_and(|(peer, ours)| peer > 0 && ours > 0)
    }
}

/// Where a stream has something that the other has not: the place of differences in number.
pub(crate) const MISSING: &str = "missing";

/// The list.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "raft term",
        reason: "each cluster holds its own elections",
        matches: |seen| {
            let path = &seen.difference.path;
            (path == "raftTerm" || path.ends_with("header.raft_term")) && seen.both_above_zero()
        },
    },
    Rule {
        name: "raft index",
        reason: "each cluster's log has entries of its own (elections, versions, ticks of its clock)",
        matches: |seen| {
            (seen.is_at("Maintenance/Status", "raftIndex")
                || seen.is_at("Maintenance/Status", "raftAppliedIndex"))
                && seen.both_above_zero()
        },
    },
    Rule {
        name: "size of the data",
        reason: "etcd tells the length of its file, ours the memory that all retained versions take",
        matches: |seen| {
            (seen.is_at("Maintenance/Status", "dbSize")
                || seen.is_at("Maintenance/Status", "dbSizeInUse"))
                && seen.both_above_zero()
        },
    },
    Rule {
        name: "hash of everything",
        reason: "etcd hashes its whole file, with members and log positions in it",
        matches: |seen| seen.is_at("Maintenance/Hash", "hash") && seen.both_above_zero(),
    },
    Rule {
        name: "rest of a lease's time",
        reason: "seconds pass between two answers; what was granted is compared exactly",
        matches: |seen| {
            let close =
                |(peer, ours): (i128, i128)| peer > 0 && ours > 0 && (peer - ours).abs() < 300;
            seen.is_at("Lease/LeaseTimeToLive", "TTL") && seen.numbers().is_some_and(close)
        },
    },
    Rule {
        name: "token of a user",
        reason: "made by chance",
        matches: |seen| {
            let both = (&seen.difference.peer, &seen.difference.ours);
            seen.is_at("Auth/Authenticate", "token")
                && matches!(both, (Some(Tree::Text(_)), Some(Tree::Text(_))))
        },
    },
];

/// The rule for a difference, by its place in the list.
pub(crate) fn rule_for(seen: &Seen<'_>) -> Option<usize> {
    RULES.iter().position(|rule| (rule.matches)(seen))
}
