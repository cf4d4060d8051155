//! What a member is told at birth: plain values, complete and checked by whoever made them.

use base::{ClusterId, Entry, HardState, LogPosition, MemberId, Mutants};
use clock::guard::DriftBound;
use std::time::Duration;
use store::State;

/// How one member behaves. Built by the edge from what was typed, or by the simulator from a seed.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The cluster, for status and logs.
    pub cluster: ClusterId,
    /// This member.
    pub member: MemberId,
    /// Decides election slots. All members of a cluster get the same seed, so that their slots differ
    /// by rank and never by luck.
    pub seed: u64,
    /// Rises with every start of this member: it is the upper half of every [`crate::Tag`], so an answer
    /// to a former life is never taken for one's own. Seconds since 1970 will do.
    pub incarnation: u32,
    /// How often a leader says that it lives.
    pub heartbeat: Duration,
    /// How long a follower waits before it doubts. At least five heartbeats.
    pub election: Duration,
    /// Entries between two checkpoints, etcd's `--snapshot-count`. More of them when they are less than
    /// an eighth of what a checkpoint has to write: see [`NodeConfig::CHECKPOINT_SHARE`].
    pub snapshot_count: u64,
    /// Bytes of entries between two checkpoints, whichever comes first: bounds the replay after a
    /// restart when entries are big batches.
    pub snapshot_bytes: u64,
    /// Entries kept in memory behind the applied index; a follower that lags more gets a snapshot.
    pub log_tail_entries: u64,
    /// Learners that may be members at once, etcd's `--max-learners`.
    pub learners_max: usize,
    /// Whether a change of the membership is refused that would leave less than a majority of *started* voters, etcd's
    /// `--strict-reconfig-check`.
    pub strict_reconfig: bool,
    /// How far the members' clocks may drift; the same at every member. With it a leader that a majority
    /// has promised to elect nobody else answers reads of [`crate::ReadLevel::Lease`] on its own. Nothing, which
    /// is the default, when nobody stated it: then there are no lease reads and no promises.
    ///
    /// A member that is started again with another value here or a shorter `election` than before must have
    /// been down for its former `election`: it does not know any more what it promised.
    pub read_lease: Option<DriftBound>,
    /// A leader whose wall clock is ahead of most others' by more than this does not stamp with it.
    pub clock_ahead_max: Duration,
    /// The newest apply version that this member knows: [`crate::APPLY_VERSION`], or less for a test of rolling
    /// upgrades, where it behaves as an older build.
    pub apply_version_max: u16,
    /// Planted bugs: none outside the simulator.
    pub mutants: Mutants,
}

impl NodeConfig {
    /// The length of a tick: all time in consensus is counted in these.
    pub const TICK: Duration = Duration::from_millis(10);

    /// A checkpoint writes the whole state, so it waits until the log has grown by one part in so many
    /// of it: what checkpoints write stays below eight times what the log does, however large the state,
    /// and what a restart replays below an eighth of what it loads (docs/adr/0004).
    pub const CHECKPOINT_SHARE: u64 = 8;

    /// The default of [`NodeConfig::clock_ahead_max`].
    pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(10);

    /// For how long a member that promises neither votes nor campaigns, by its own clock.
    ///
    /// Two ticks less than the shortest time after which a follower doubts: when a leader dies, promises are
    /// over before anybody would campaign, so they cost nothing.
    pub fn promise(&self) -> Duration {
        self.election.saturating_sub(2 * NodeConfig::TICK)
    }

    /// etcd's default timers for `member` of `cluster`.
    pub fn new(cluster: ClusterId, member: MemberId) -> NodeConfig {
        NodeConfig {
            cluster,
            member,
            seed: cluster.0,
            incarnation: 1,
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(1000),
            snapshot_count: 10_000,
            snapshot_bytes: 256 * 1024 * 1024,
            log_tail_entries: base::limits::LOG_TAIL_ENTRIES_MAX,
            learners_max: 1,
            strict_reconfig: true,
            read_lease: None,
            clock_ahead_max: NodeConfig::CLOCK_AHEAD_MAX,
            apply_version_max: crate::APPLY_VERSION,
            mutants: Mutants::none(),
        }
    }
}

/// What recovery found out about the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Health {
    /// Everything that was ever acknowledged is here.
    Intact,
    /// Something at or below `watermark` is missing or damaged. The member neither votes nor campaigns
    /// until the others have brought its log past the watermark.
    Damaged {
        /// The last place that this member had acknowledged.
        watermark: LogPosition,
    },
}

/// What a member knows when it starts.
#[derive(Clone)]
pub struct Boot {
    /// From the log.
    pub hard_state: HardState,
    /// Entries after `state.applied()`, from the log, without a gap.
    pub entries: Vec<Entry>,
    /// From the newest checkpoint, or the genesis of the cluster.
    pub state: State,
    /// What recovery found.
    pub health: Health,
}
