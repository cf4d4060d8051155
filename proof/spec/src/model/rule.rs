//! The rules of Raft that an exploration can break, to show what each of them is for.
//!
//! A rule that is broken must lead to a violated property; otherwise either the rule is superfluous or
//! the model is blind. `tests/explore.rs` breaks each of them.

use std::fmt;

/// One rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// A leader counts replicas only for entries of its own term (Raft §5.4.2, figure 8).
    CommitOwnTermOnly,
    /// The vote outlives a restart (Raft figure 2, "persistent state").
    VoteIsDurable,
    /// A member votes for at most one candidate in a term (Raft §5.2).
    OneVotePerTerm,
    /// A vote goes only to a candidate whose log is at least as up to date (Raft §5.4.1).
    VoteForUpToDateLog,
    /// An entry that conflicts with the leader's goes, with all after it (Raft §5.3).
    ConflictIsTruncated,
    /// An append is taken only behind the same previous entry (Raft §5.3, the consistency check).
    PreviousEntryMatches,
    /// A follower commits only up to the last new entry (Raft figure 2, AppendEntries, step 5).
    CommitWithinMatch,
    /// Who hears of a higher term adopts it and follows (Raft §5.1).
    HigherTermIsAdopted,
    /// A leader changes the membership only after it has committed an entry of its own term (Ongaro's
    /// correction of 2015 to thesis §4.1).
    CommittedInTermBeforeChange,
    /// A membership is changed only when the one before it is committed (thesis §4.1).
    OneChangeAtATime,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 10] = [
        Rule::CommitOwnTermOnly,
        Rule::VoteIsDurable,
        Rule::OneVotePerTerm,
        Rule::VoteForUpToDateLog,
        Rule::ConflictIsTruncated,
        Rule::PreviousEntryMatches,
        Rule::CommitWithinMatch,
        Rule::HigherTermIsAdopted,
        Rule::CommittedInTermBeforeChange,
        Rule::OneChangeAtATime,
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::CommitOwnTermOnly => "commit own term only",
            Rule::VoteIsDurable => "vote is durable",
            Rule::OneVotePerTerm => "one vote per term",
            Rule::VoteForUpToDateLog => "vote for up-to-date log",
            Rule::ConflictIsTruncated => "conflict is truncated",
            Rule::PreviousEntryMatches => "previous entry matches",
            Rule::CommitWithinMatch => "commit within match",
            Rule::HigherTermIsAdopted => "higher term is adopted",
            Rule::CommittedInTermBeforeChange => "committed in term before change",
            Rule::OneChangeAtATime => "one change at a time",
        })
    }
}
