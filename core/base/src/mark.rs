//! Coverage marks: places that a simulated night must have been at, or it has proved less than it seems.
//!
//! A rare branch asks for a mark of its own, `Mark::RecordTorn.reach()`. Without the `marks` feature that is
//! nothing at all, so nothing of it is in a shipped build. With it, each thread counts what it reached, and the
//! simulator prints the counts: a mark at zero is a fault that never struck or a branch that nobody needs.
//! (The idea is rust-analyzer's and TigerBeetle's.)

macro_rules! marks {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One place in the code.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Mark { $($(#[$doc])* $name,)* }

        impl Mark {
            /// All of them, in the order of their definition.
            pub const ALL: &'static [Mark] = &[$(Mark::$name),*];

            /// How reports name it.
            pub fn name(self) -> &'static str {
                match self { $(Mark::$name => $text,)* }
            }
        }
    };
}

marks! {
    /// Recovery: the last record was being written, and is cut off.
    RecordTorn = "record-torn",
    /// Recovery: a record that was durable is damaged, and its slot tells which.
    RecordDamaged = "record-damaged",
    /// Recovery: a damaged record whose body nobody needs any more.
    DamageNotNeeded = "damage-not-needed",
    /// Recovery: record and slot are both lost.
    RecordAndSlotLost = "record-and-slot-lost",
    /// Recovery: the newest checkpoint cannot be used.
    CheckpointUnusable = "checkpoint-unusable",
    /// Recovery: the manifest is damaged.
    ManifestDamaged = "manifest-damaged",
    /// Log: entries replace others, which a former leader wrote and nobody decided.
    TailReplaced = "tail-replaced",
    /// Log: no spare segment was ready, so a record waits until one is made.
    NoSpare = "no-spare",
    /// Log: a segment that is not needed becomes a spare.
    SegmentRecycled = "segment-recycled",
    /// Log: a spare came when the log had gone past its number.
    SpareTooLate = "spare-too-late",
    /// Log: it begins anew behind a received state.
    LogRestarted = "log-restarted",
    /// Checkpoint: given up half-way.
    CheckpointAbandoned = "checkpoint-abandoned",
    /// Consensus: a member that had lost something has it again.
    Recovered = "recovered",
    /// Consensus: a leader learns that a member has less than it was believed to have.
    ProgressLowered = "progress-lowered",
    /// Consensus: a message of somebody who is no member.
    NotMember = "not-member",
    /// Consensus: a second change of the membership while one is under way.
    ChangePending = "change-pending",
    /// Consensus: leadership is handed on.
    Transfer = "transfer",
    /// A leader's disk hangs, and it lets no time pass.
    LeaderSilent = "leader-silent",
    /// Messages wait for the disk, and there are too many.
    HeldDropped = "held-dropped",
    /// A state is sent to a member that is too far behind.
    SnapshotSent = "snapshot-sent",
    /// A received state takes the place of the own one.
    SnapshotInstalled = "snapshot-installed",
    /// The log in memory is cut to its bounds.
    TailDropped = "tail-dropped",
    /// A removed member asks whether it may go.
    LeavingAsked = "leaving-asked",
    /// A member does not say yet that another one was removed: it is not durable.
    LeavingUnanswered = "leaving-unanswered",
    /// Somebody's commands are forwarded to the leader.
    Forwarded = "forwarded",
    /// A command comes for the second time and is dropped.
    ForwardedTwice = "forwarded-twice",
    /// A session's write came again and had its first outcome.
    RetryAnswered = "retry-answered",
    /// A session's write came too late, or the session was over.
    RetryRefused = "retry-refused",
    /// Commands waited for more of them.
    Gathered = "gathered",
    /// A round of reads had no answer and is asked again.
    ReadAskedAgain = "read-asked-again",
    /// A question about a lease goes to the next leader.
    LeaseAskedAgain = "lease-asked-again",
    /// A leader that stood still gives the time back to all leases.
    LeaseTimeGivenBack = "lease-time-given-back",
    /// An expiry comes for a lease that was renewed or granted again since.
    ExpiryOutdated = "expiry-outdated",
    /// An answer is lost in a received state: nobody knows what became of the command.
    PassedBySnapshot = "passed-by-snapshot",
    /// A compaction's next piece is put off, because the member is late.
    SweepPutOff = "sweep-put-off",
    /// A read that may be a little stale asks a majority all the same.
    BoundedReadAsks = "bounded-read-asks",
    /// A session's read waits for what the session has seen.
    SessionReadWaits = "session-read-waits",
    /// A leader's own read waits for what was decided when it came.
    LeaseReadWaits = "lease-read-waits",
    /// A leader may not answer on its own any more: its lease ran out.
    LeaseRanOut = "lease-ran-out",
    /// A leader gives its lease up, since it hands its office over.
    LeaseGivenUp = "lease-given-up",
    /// A leader or a follower trusts no clock for a while: one jumped.
    ClockDistrusted = "clock-distrusted",
    /// A member does not answer a candidate: it promised.
    PromiseKept = "promise-kept",
    /// A member does not campaign: it promised.
    CampaignWithheld = "campaign-withheld",
    /// A campaign passes a promise: the leader itself wants it.
    PromisePassed = "promise-passed",
    /// A stamp is not what the leader's wall clock says: most others say much less.
    StampHeldBack = "stamp-held-back",
    /// Nobody waits for a read any more.
    ReadForgotten = "read-forgotten",
    /// A watcher is too slow and reads from history.
    WatcherBehind = "watcher-behind",
    /// A watcher wants what is compacted.
    WatcherCompacted = "watcher-compacted",
    /// A command that was forwarded to a leader comes back: it leads no more.
    ForwardGivenBack = "forward-given-back",
    /// All members know the next apply version: the leader raises it.
    VersionRaised = "version-raised",
    /// A watcher goes on over a received state.
    WatcherRestored = "watcher-restored",
}

impl Mark {
    /// This place was reached.
    #[inline]
    pub fn reach(self) {
        #[cfg(feature = "marks")]
        counts::add(self);
    }

    /// Takes what this thread has reached since the last call: nothing, in a build without marks.
    pub fn take() -> std::collections::BTreeMap<Mark, u64> {
        #[cfg(feature = "marks")]
        return counts::take();
        #[cfg(not(feature = "marks"))]
        std::collections::BTreeMap::new()
    }
}

#[cfg(feature = "marks")]
mod counts {
    use super::Mark;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    thread_local! {
        static REACHED: RefCell<BTreeMap<Mark, u64>> = const { RefCell::new(BTreeMap::new()) };
    }

    pub(super) fn add(mark: Mark) {
        REACHED.with_borrow_mut(|reached| *reached.entry(mark).or_default() += 1);
    }

    pub(super) fn take() -> BTreeMap<Mark, u64> {
        REACHED.take()
    }
}

#[cfg(all(test, feature = "marks"))]
mod tests {
    use super::*;

    #[test]
    fn what_was_reached_is_counted_once() {
        Mark::take();
        Mark::NoSpare.reach();
        Mark::NoSpare.reach();
        Mark::Transfer.reach();
        let reached: Vec<_> = Mark::take().into_iter().collect();
        assert_eq!(reached, [(Mark::NoSpare, 2), (Mark::Transfer, 1)]);
        assert!(Mark::take().is_empty());
    }
}
