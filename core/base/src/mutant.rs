//! Planted bugs: each one must be caught by the simulator, or the simulator is worth nothing.
//!
//! The code that misbehaves asks `self.mutants.has(Mutant::X)`. Without the `mutants` feature the set
//! has no bits and the question is the constant `false`, so the branch is not in a shipped build.

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One planted bug.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Mutant { $($(#[$doc])* $name,)* }

        impl Mutant {
            /// All of them, in the order of their definition.
            pub const ALL: &'static [Mutant] = &[$(Mutant::$name),*];

            /// The name that the command line takes.
            pub fn name(self) -> &'static str {
                match self { $(Mutant::$name => $text,)* }
            }
        }
    };
}

mutants! {
    /// The log reports a write as durable before it is synced.
    AcknowledgeBeforeSync = "acknowledge-before-sync",
    /// A granted vote is sent before it is durable.
    VoteNotSynced = "vote-not-synced",
    /// Recovery takes damage in the middle of the log for its end, although the watermark says more.
    TruncateAtCorruption = "truncate-at-corruption",
    /// A linearizable read is answered without asking a majority.
    StaleReadIndex = "stale-read-index",
    /// A read is answered as soon as its index is known, before it is applied.
    ReadBeforeApply = "read-before-apply",
    /// A follower acknowledges entries that it has not appended durably.
    FollowerAcksEarly = "follower-acks-early",
    /// Applied position and effects are restored from different moments.
    AppliedApartFromEffects = "applied-apart-from-effects",
    /// A command that was proposed twice (forwarded again) is applied twice.
    DoubleApplyOnRetry = "double-apply-on-retry",
    /// A refused transaction takes a revision all the same, on one member only.
    RevisionBurntByFailure = "revision-burnt-by-failure",
    /// Compaction drops the delete event at the compacted revision.
    TombstoneLost = "tombstone-lost",
    /// A watch that falls behind continues at the present.
    WatchGapWhenSlow = "watch-gap-when-slow",
    /// A new leader counts lease deadlines from the grant and not from its election.
    LeaseExpiredByNewLeader = "lease-expired-by-new-leader",
    /// A snapshot carries a later position than its contents.
    SnapshotRace = "snapshot-race",
    /// A member whose log lost acknowledged entries votes all the same.
    AmnesiacVotes = "amnesiac-votes",
    /// What a new leader overwrote in the log is read again under the new entry's name.
    OverwrittenComesBack = "overwritten-comes-back",
    /// Revoking a lease leaves the last of its keys.
    LeaseRevokeLeavesKey = "lease-revoke-leaves-key",
    /// A lease that is gone is renewed all the same (etcd, 2025).
    LeaseRenewedWhenGone = "lease-renewed-when-gone",
    /// A watch hears an event twice (etcd #17247).
    WatchRepeatsEvent = "watch-repeats-event",
    /// After a received state a watch goes back in time (etcd #15271).
    WatchBackInTime = "watch-back-in-time",
    /// The row before an event is the row after it.
    WatchPrevIsItself = "watch-prev-is-itself",
    /// Compaction removes keys that live, if they were not written for long.
    CompactionTakesTheLiving = "compaction-takes-the-living",
    /// A session's write that comes again is decided again.
    RetryDecidedAgain = "retry-decided-again",
    /// A session's memory outlives its lease.
    RetrySessionOutlivesLease = "retry-session-outlives-lease",
    /// A leader counts a promise of D for all of D, whatever the clocks may drift.
    LeaseWithoutGuardBand = "lease-without-guard-band",
    /// A leader counts a promise from when it heard of it, and not from when it asked.
    LeaseFromAnswer = "lease-from-answer",
    /// A leader that hands its office over goes on answering reads on its own.
    LeaseSurvivesTransfer = "lease-survives-transfer",
    /// A leader's promises are counted against a minority.
    LeaseOfMinority = "lease-of-minority",
    /// A member that starts again does not think of what it promised before.
    PromiseForgottenAtRestart = "promise-forgotten-at-restart",
    /// A member votes although it promised not to.
    PromiseIgnored = "promise-ignored",
    /// A member campaigns although it promised not to.
    PromiseDoesNotBindOneself = "promise-does-not-bind-oneself",
    /// A leader answers a read on its own before it has applied what was decided when the read came.
    LeaseReadBeforeApply = "lease-read-before-apply",
    /// A leader trusts its clock although it has just jumped.
    LeaseIgnoresJump = "lease-ignores-jump",
    /// The check after a lease read always passes.
    LeaseNotCheckedAgain = "lease-not-checked-again",
    /// A bounded read never asks: any state is fresh enough.
    BoundedNeverAsks = "bounded-never-asks",
    /// A state is taken to be as fresh as the answer of its round, not as the question.
    FreshnessFromAnswer = "freshness-from-answer",
    /// A session's read does not wait for what the session has seen.
    SessionDoesNotWait = "session-does-not-wait",
    /// A leader that stood still expires at once what nobody could renew meanwhile.
    ExpiryInBulkAfterStall = "expiry-in-bulk-after-stall",
    /// A leader with a wildly wrong wall clock stamps with it all the same.
    StampOfWrongClock = "stamp-of-wrong-clock",
    /// A fence asks nothing.
    FenceNotChecked = "fence-not-checked",
    /// A fence compares a token with the newest that holds, and does not ask whether its place is there.
    FenceChecksNewestOnly = "fence-checks-newest-only",
    /// A token is not the revision of its own entry, but of the one before.
    TokenReused = "token-reused",
    /// One more than its permits holds a semaphore.
    SemaphoreOffByOne = "semaphore-off-by-one",
    /// Whoever is next in line is told that it holds when it comes to be next.
    WaiterWokenEarly = "waiter-woken-early",
    /// A place is on no lease.
    PlaceSurvivesLease = "place-survives-lease",
    /// Who shares holds beside others that share, although somebody waits in between who does not.
    SharedPassesExclusive = "shared-passes-exclusive",
    /// A barrier opens one too early.
    BarrierOpensEarly = "barrier-opens-early",
    /// A client counts its lease in full, from the answer, whatever the clocks may drift.
    HolderIgnoresGuard = "holder-ignores-guard",
    /// A leader raises the apply version when most members know the next.
    RaisesTooEarly = "raises-too-early",
    /// Specification: a leader takes entries of earlier terms for decided by counting copies (Raft figure 8).
    SpecFigure8 = "spec-figure-8",
    /// Specification: votes go to candidates with an older log (Raft §5.4.1).
    SpecVoteForOlderLog = "spec-vote-for-older-log",
    /// Specification: two votes in one term (Raft §5.2).
    SpecVoteTwice = "spec-vote-twice",
    /// Specification: the vote is not read again at a restart.
    SpecVoteForgotten = "spec-vote-forgotten",
    /// Whether a user may write is decided by the member that is asked, from its own state, and not where the write stands in
    /// the log (etcd #14571 was of this kind).
    AuthDecidedBeforeLog = "auth-decided-before-log",
    /// A read is answered without a look whether its user may read it.
    AuthReadNotChecked = "auth-read-not-checked",
    /// Watches go on when rules change, whether they may or not.
    WatchNotReauthorised = "watch-not-reauthorised",
    /// Specification: half of the votes elect.
    SpecMinorityElects = "spec-minority-elects",
    /// Specification: a new leader writes undecided entries again under its own term.
    SpecLeaderOverwrites = "spec-leader-overwrites",
    /// Specification: entries are appended without comparing the one before (Raft §5.3).
    SpecNoConsistencyCheck = "spec-no-consistency-check",
    /// Specification: an entry of another term stays where the leader's belongs (Raft §5.3).
    SpecKeepConflict = "spec-keep-conflict",
    /// Specification: a follower decides to the leader's index, beyond what it knows to be the leader's.
    SpecCommitPastMatch = "spec-commit-past-match",
    /// Specification: a change of membership begins before the last one is in force, or before the leader knows
    /// what is decided (Ongaro's bug of 2015).
    SpecTwoChanges = "spec-two-changes",
    /// Specification: reads are answered before the leader has decided an entry of its term.
    SpecReadBeforeOwnTerm = "spec-read-before-own-term",
}

impl Mutant {
    /// Whether it is planted in the executable specification, which is then the engine that runs.
    pub fn is_of_specification(self) -> bool {
        self.name().starts_with("spec-")
    }
}

/// The set below has one bit for each.
const _: () = assert!(Mutant::ALL.len() <= u128::BITS as usize);

/// The bugs planted in one member: none, in every shipped build.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mutants {
    #[cfg(feature = "mutants")]
    bits: u128,
}

impl Mutants {
    /// No bug planted.
    pub fn none() -> Mutants {
        Mutants::default()
    }

    /// One bug planted.
    #[cfg(feature = "mutants")]
    pub fn only(mutant: Mutant) -> Mutants {
        Mutants {
            bits: 1 << mutant as u64,
        }
    }

    /// One bug planted, or nothing where the build has none to plant.
    pub fn plant(mutant: Mutant) -> Option<Mutants> {
        #[cfg(feature = "mutants")]
        return Some(Mutants::only(mutant));
        #[cfg(not(feature = "mutants"))]
        {
            let _ = mutant;
            None
        }
    }

    /// Whether `mutant` is planted.
    #[cfg(feature = "mutants")]
    pub fn has(self, mutant: Mutant) -> bool {
        self.bits & (1 << mutant as u64) != 0
    }

    /// Whether `mutant` is planted: never, in this build.
    #[cfg(not(feature = "mutants"))]
    #[inline(always)]
    pub fn has(self, _: Mutant) -> bool {
        false
    }
}
