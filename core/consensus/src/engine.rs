//! The words of consensus: what goes into an engine and what comes out, as plain values, and the trait
//! that every engine speaks.
//!
//! There is one shipped engine, [`crate::Raft`]. The trait exists so that an executable specification
//! can stand in for it: a differential partner in the simulator and the readable Raft for newcomers.

use base::{
    Change, Entry, HardState, Index, LogPosition, MemberId, Membership, Message, MessageKind,
    Mutants, SnapshotMeta, Term,
};
use bytes::Bytes;
use thiserror::Error;

/// How one member's engine is set up. Ticks are of [`crate::TICK_MS`] (10 ms).
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this is. Never [`MemberId::NONE`].
    pub member: MemberId,
    /// Decides the jitter of election slots and nothing else.
    pub seed: u64,
    /// Ticks without a leader's word after which the first member campaigns. More than
    /// `heartbeat_ticks`; etcd's default is 100 (1 s).
    pub election_ticks: usize,
    /// Ticks between a leader's heartbeats. At least 1; etcd's default is 10 (100 ms).
    pub heartbeat_ticks: usize,
    /// Planted bugs: none, in every shipped build.
    pub mutants: Mutants,
}

/// What storage found, from which an engine goes on.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// Term, vote and a hint of what is committed.
    pub hard_state: HardState,
    /// The membership as of `applied`: later changes are in `entries` and will be committed again.
    pub membership: Membership,
    /// What the log begins after: the newest snapshot's position, or zero.
    pub snapshot: LogPosition,
    /// The log after `snapshot`, without a gap.
    pub entries: Vec<Entry>,
    /// What the restored state contains. Not before `snapshot`, not after the last entry.
    pub applied: Index,
    /// This member's log lost something that it had acknowledged; this is how far it had come: the
    /// highest index that it may have acknowledged and the highest term in which it may have acted.
    /// Until its own durable log passes that, by the hand of a leader of that term or a later one, the
    /// member neither votes nor campaigns (rule R6).
    pub recovering: Option<LogPosition>,
}

impl Restored {
    /// A member of a cluster that begins now. The cluster's first state counts as the entry 1@1, so
    /// that the log of everybody who has it begins behind it: a member that joins later has an empty
    /// log that fits nowhere, and gets a snapshot instead of entries on top of nothing.
    pub fn genesis(membership: Membership) -> Restored {
        let first = LogPosition {
            term: Term(1),
            index: Index(1),
        };
        Restored {
            hard_state: HardState {
                term: first.term,
                vote: MemberId::NONE,
                commit: first.index,
            },
            membership,
            snapshot: first,
            applied: first.index,
            ..Restored::default()
        }
    }

    /// A member that joins a cluster which exists: it knows nothing and nobody.
    pub fn joining() -> Restored {
        Restored::default()
    }
}

/// What a member is in its term.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// Follows whoever leads; learners are followers too.
    #[default]
    Follower,
    /// Asks whether it would win (Raft thesis §9.6). Its term has not risen.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// A new role, term or leader. Whoever waits for a leader's answer (a read round, a proposal) asked
/// somebody who is no longer in office.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RoleChange {
    /// The role now.
    pub role: Role,
    /// The term now.
    pub term: Term,
    /// The leader now, or nobody.
    pub leader: MemberId,
}

/// What must happen in the world, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ready {
    /// What [`Engine::persisted`] is told when everything below is durable. Numbers rise; one Ready
    /// that has nothing for the disk repeats the last one, or needs none (then it also has nothing in
    /// `send_after_persist`).
    pub number: u64,
    /// To be written, in the same record as `entries`.
    pub hard_state: Option<HardState>,
    /// To be appended. They replace whatever the log holds from the first one's index on.
    pub entries: Vec<Entry>,
    /// To be installed before `entries`: the state that has already come on its own connection.
    pub snapshot: Option<SnapshotMeta>,
    /// May be sent at once.
    pub send_now: Vec<Message>,
    /// May be sent when `persisted(n)` with `n >= number` has been called, and not before.
    pub send_after_persist: Vec<Message>,
    /// Decided entries, durable here, for the state machine in order. For each one of kind `Change`
    /// the caller calls [`Engine::apply_change`]; then [`Engine::applied`].
    pub committed: Vec<Entry>,
    /// Answered rounds of ReadIndex: the caller's number and the index to have applied.
    pub reads: Vec<(u64, Index)>,
    /// Whether there is anything to persist; all that is given to persist must be synced.
    pub must_sync: bool,
    /// Set when role, term or leader differ from what was last said.
    pub role: Option<RoleChange>,
}

/// What is known about one member's log, by the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerProgress {
    /// Who.
    pub member: MemberId,
    /// Known to be durable there, up to here.
    pub matched: Index,
    /// The next entry to send.
    pub next: Index,
    /// How entries are being sent.
    pub state: Replication,
    /// Heard of since the last check of the quorum.
    pub active: bool,
}

/// How the leader sends entries to a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replication {
    /// One append at a time, looking for the place where the logs agree.
    Probing,
    /// Many appends under way.
    Streaming,
    /// Nothing, until the member has this snapshot.
    Snapshot(Index),
}

/// Where an engine stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// Who this is.
    pub member: MemberId,
    /// The role.
    pub role: Role,
    /// The term.
    pub term: Term,
    /// The leader of the term, or nobody that is known.
    pub leader: MemberId,
    /// Known to be decided.
    pub commit: Index,
    /// Reported as applied.
    pub applied: Index,
    /// Durable here.
    pub persisted: Index,
    /// The last entry of the log.
    pub last: LogPosition,
    /// The first entry that is still in memory.
    pub first: Index,
    /// Bytes of entries in memory.
    pub log_bytes: usize,
    /// A member needs a state, and the last that was provided is too old for it: the caller provides
    /// a newer one, by [`Engine::snapshot_provided`].
    pub snapshot_wanted: bool,
    /// Set while this member is recovering.
    pub recovering: Option<LogPosition>,
    /// To whom the office is being handed.
    pub transferring: Option<MemberId>,
    /// Ticks for which the oldest unfinished disk write has been waiting. A leader whose disk hangs
    /// still sends heartbeats, so nobody would replace it: the node steps down when this grows.
    pub oldest_unpersisted_ticks: u64,
}

/// Why something was not done. Refusals are cheap and expected; nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Refused {
    /// A proposal, a read or a transfer on a member that does not lead.
    #[error("not the leader")]
    NotLeader,
    /// The leader has not yet committed an entry of its own term, so it does not know what is decided
    /// (Raft §8). Ask again soon.
    #[error("the leader has not committed an entry of its term yet")]
    NotYet,
    /// The office is being handed over.
    #[error("leadership is being transferred")]
    Transferring,
    /// Too many bytes are proposed and not committed.
    #[error("too many uncommitted bytes")]
    Busy,
    /// One entry larger than [`base::limits::ENTRY_BYTES_MAX`].
    #[error(
        "an entry of {bytes} bytes is larger than {} bytes",
        base::limits::ENTRY_BYTES_MAX
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Another change of membership is not applied yet, or a joint one is not left yet.
    #[error("another change of membership is under way")]
    ChangePending,
    /// The change makes no sense: nobody would vote, or nothing would change.
    #[error("invalid change of membership: {0}")]
    InvalidChange(&'static str),
    /// This member may not be handed the office, or asked.
    #[error("member {0} does not vote")]
    NotVoter(MemberId),
    /// A recovering member neither votes nor campaigns.
    #[error("recovering: the log has not passed {0} yet")]
    Recovering(LogPosition),
    /// Own entries are not durable yet, or decided changes not applied yet: no campaign now.
    #[error("own log is not settled yet")]
    NotSettled,
    /// The leader believes that this member has `commit`, but the log ends at `last`: acknowledged
    /// entries are gone. The member is recovering from now on and should plead
    /// ([`base::PeerMessage::Recovering`]).
    #[error("the leader takes the log to reach {commit}, and it ends at {last}")]
    LogShort {
        /// What the leader takes for granted.
        commit: Index,
        /// Where the log ends.
        last: LogPosition,
    },
    /// A message that no correct member sends: malformed, out of bounds or not for us.
    #[error("{kind:?} message refused: {reason}")]
    Invalid {
        /// Its kind.
        kind: MessageKind,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A message that came too late to mean anything. Harmless.
    #[error("stale {0:?} message")]
    Stale(MessageKind),
    /// An answer from somebody who is not a member.
    #[error("{0} is not a member")]
    NotMember(MemberId),
    /// A change of membership in the log that cannot be carried out; every member finds the same.
    #[error("the change of membership does not fit the membership")]
    Misfit,
}

/// A configuration or a restored log that no engine can start from.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("cannot start consensus: {0}")]
pub struct Misconfigured(pub String);

/// Starts an engine on what storage found.
pub type StartEngine = fn(Config, Restored) -> Result<Box<dyn Engine + Send>, Misconfigured>;

/// Consensus as its caller sees it.
pub trait Engine {
    /// One tick of 10 ms has passed.
    fn tick(&mut self);

    /// A message has come from another member. A refusal has no effect but the ones that its
    /// documentation names, and is no reason to stop: bytes from outside are never a bug.
    fn step(&mut self, message: Message) -> Result<(), Refused>;

    /// Appends `data` as one entry, on the leader. It may still be lost: it is decided when it comes
    /// back in [`Ready::committed`]. Returns where it stands in this leader's log.
    fn propose(&mut self, data: Bytes) -> Result<LogPosition, Refused>;

    /// Proposes a change of membership. More than one step goes through a joint configuration, which
    /// is left without further ado. `context` comes back in the committed entry.
    fn propose_change(
        &mut self,
        changes: Vec<Change>,
        context: Bytes,
    ) -> Result<LogPosition, Refused>;

    /// Begins a round of ReadIndex (Raft thesis §6.4). The answer comes in [`Ready::reads`], unless
    /// the office is lost first: then there is no answer but [`Ready::role`].
    fn read_index(&mut self, context: u64) -> Result<(), Refused>;

    /// Hands the office to a voter, on the leader. Given up after one election timeout.
    fn transfer(&mut self, to: MemberId) -> Result<(), Refused>;

    /// Asks for the office now instead of waiting for the slot.
    fn campaign(&mut self) -> Result<(), Refused>;

    /// Lays the office down without a successor; for a leader that cannot do its work.
    fn step_down(&mut self);

    /// What must happen next, or nothing. To be called again after every other call.
    fn ready(&mut self) -> Option<Ready>;

    /// The disk has everything of all Readys up to `number`.
    fn persisted(&mut self, number: u64);

    /// The state machine has applied everything up to `index`, membership changes included.
    fn applied(&mut self, index: Index);

    /// Carries out a committed change and returns the membership from then on.
    fn apply_change(&mut self, entry: &Entry) -> Result<Membership, Refused>;

    /// Forgets entries up to `to`, as far as they are applied and covered by a provided snapshot.
    /// Returns the new first index.
    fn compact(&mut self, to: Index) -> Index;

    /// The caller can stream the state as of `meta.position` to whoever needs it.
    fn snapshot_provided(&mut self, meta: SnapshotMeta);

    /// A message to this member was lost.
    fn report_unreachable(&mut self, member: MemberId);

    /// A snapshot was delivered to and installed by this member, or not. Must be called for each
    /// message of kind [`MessageKind::Snapshot`] sooner or later: until then nothing else is sent.
    fn report_snapshot(&mut self, member: MemberId, installed: bool);

    /// A member says that its log is intact only up to `intact`: the leader believes no more than
    /// that and sends again from there.
    fn reset_progress(&mut self, member: MemberId, intact: LogPosition);

    /// Where the engine stands. Cheap.
    fn status(&self) -> Status;

    /// The membership in force.
    fn membership(&self) -> &Membership;

    /// What the leader knows about everybody, in ascending order; empty on others.
    fn peers(&self) -> Vec<PeerProgress>;

    /// Who has this member's vote in its term, or nobody.
    fn vote(&self) -> MemberId;

    /// The term of the entry at `index`, or of the state that the log begins behind; nothing where the log in
    /// memory does not reach.
    fn term_at(&self, index: Index) -> Option<Term>;

    /// Stops when an invariant of the engine does not hold. Costly: for the simulator and tests.
    fn check(&self);
}
