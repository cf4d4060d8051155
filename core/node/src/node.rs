//! One member: the replica and the machine, joined.
//!
//! Inputs are methods and change only this value; what the world should do comes out of
//! [`Node::take_effects`]. See the crate's story for what the caller promises.
//!
//! The inputs and the order of the output stand here; how writes go is in `writes.rs`, reads and lease
//! questions in `questions.rs` and `levels.rs`, how a removed member goes in `leaving.rs`, and what comes out of the engine in `turn.rs`.

mod bounced;
mod leaving;
mod levels;
mod questions;
mod turn;
mod versions;
mod writes;

pub(crate) use levels::passes_promises;

use bounced::Bounced;

use crate::clocks::Clocks;
use crate::config::{Boot, NodeConfig};
use crate::counts::Counts;
use crate::effects::{Effects, Leadership, LeaseAnswer, Refused, Status, StopReason, Tag, Ticket};
use crate::gathering::Gathering;
use crate::leases::{EXPIRIES_MAX, LeaseClock};
use crate::levels::ReadLevel;
use crate::machine::{Applied, Machine};
use crate::parting::Parting;
use crate::promises::{Promise, ReadLease};
use crate::proposals::{Proposals, Tags};
use crate::reads::Reads;
use crate::replica::Replica;
use crate::system::{MemberChange, SYSTEM, SystemCommand, SystemRefusal};
use crate::versions::IDENTITY_VERSION;
use crate::versions::Versions;
use base::{
    Index, Instant, LeaseId, Mark, MemberId, Mutant, PeerMessage, Revision, SnapshotMeta, Term,
};
use bytes::Bytes;
use clock::HybridTime;
use consensus::{Engine, Misconfigured, Raft, StartEngine};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use store::command::{Command, DialectId, Identity};
use store::{Dialect, State};

/// Commands applied in one call of [`Node::take_effects`]; then the caller looks at sockets again.
const APPLY_COMMANDS_MAX: usize = 4096;

/// Versions that a physical compaction looks at in one go: a fifth of a millisecond or so …
const SWEEP_STEPS: usize = 256;

/// … and the rest after it. A million versions take ten seconds, and whoever puts meanwhile has nine tenths
/// of the core; without rests the sweep took all of it for a second (p99 of puts 20 ms instead of 8).
pub const SWEEP_REST: Duration = Duration::from_millis(2);

/// Whoever is called late has no time to spare: the next piece is then put off once more, by as much as it is
/// late, but never longer than this.
const SWEEP_PUT_OFF_MAX: Duration = Duration::from_millis(20);

/// Turns of the engine in one call of [`Node::take_effects`]: what one turn commits lets the next round of
/// proposals begin.
const TURNS_MAX: usize = 4;

/// A leader puts its digest into the log after so many entries …
const DIGEST_ENTRIES: u64 = 1000;

/// … or after this time, if anything was applied.
const DIGEST_EVERY: Duration = Duration::from_secs(1);

/// A round of reads without an answer is asked again after this time, or after half an election where
/// that is longer: a slow network must not make every answer come too late.
const READ_PATIENCE: Duration = Duration::from_millis(500);

/// A leader counts a learner as caught up when it has this share of the leader's log, in percent
/// (etcd's rule for promotion).
const PROMOTE_PERCENT: u64 = 90;

/// After a checkpoint that could not be written, the next try waits so long.
const CHECKPOINT_AGAIN: Duration = Duration::from_secs(10);

/// On a disk that is nearly full, checkpoints are so far apart at least.
const CHECKPOINT_TIGHT: Duration = Duration::from_secs(2);

/// Bytes of the longest expiry that a leader proposes.
const EXPIRY_BYTES_MAX: usize = 16 + 16 * EXPIRIES_MAX;

/// A lease question of one of this member's clients, on its way to the leader. It is known there by a
/// number that is fresh for each attempt, so an answer to a former attempt, or to a former life of this
/// member, answers nothing.
#[derive(Clone, Copy, Debug)]
struct Question {
    ticket: Ticket,
    lease: LeaseId,
    renews: bool,
    /// When the leader was asked; nothing when it is to be asked now.
    asked: Option<Instant>,
}

/// One member of a cluster.
pub struct Node {
    config: NodeConfig,
    replica: Replica,
    machine: Machine,
    leases: LeaseClock,
    proposals: Proposals,
    rounds: VecDeque<Index>,
    gathering: Gathering,
    sweep_due: Instant,
    sweep_put_off: bool,
    reads: Reads,
    questions: BTreeMap<u64, Question>,
    forwarded: Tags,
    bounced: Bounced,
    /// The term that this member led last, in this life.
    led: Option<Term>,
    lease_answers: Vec<(Ticket, LeaseAnswer)>,
    /// What was promised to this leader, and what by this follower.
    read_lease: ReadLease,
    promise: Promise,
    /// When the wall clock jumped last.
    jumped: Option<Instant>,
    clocks: Clocks,
    versions: Versions,
    send: Vec<(MemberId, PeerMessage)>,
    last_tag: u64,
    time: HybridTime,
    now: Instant,
    wall_ms: u64,
    leadership: Leadership,
    checkpoint: Checkpointing,
    digest: DigestTimer,
    parting: Option<Parting>,
    /// Where the membership changed last.
    membership_at: Index,
    stopped: Option<StopReason>,
    stop_told: bool,
    booted: bool,
    counts: Counts,
}

/// When the next checkpoint is due.
#[derive(Debug)]
struct Checkpointing {
    entries: u64,
    bytes: u64,
    durable: Index,
    under_way: bool,
    /// What the one under way counted, in case it fails.
    asked: (u64, u64),
    not_before: Instant,
    /// Since the last one, compaction has made the state smaller.
    swept: bool,
    /// Somebody wants one now, however little there is to write.
    wanted: bool,
    /// The disk is nearly full.
    tight: bool,
}

/// When the leader's next digest is due.
#[derive(Debug)]
struct DigestTimer {
    entries: u64,
    last: Instant,
}

impl Node {
    /// A member that starts with what recovery found.
    ///
    /// # Errors
    /// When no engine can start from it: a gap in the log, timers that contradict each other.
    pub fn new(
        config: NodeConfig,
        boot: Boot,
        dialects: Vec<Box<dyn Dialect + Send>>,
        now: Instant,
    ) -> Result<Node, Misconfigured> {
        Node::with_engine(config, boot, dialects, now, Raft::start)
    }

    /// The same on another engine: the executable specification in `proof/` stands in for the shipped one.
    ///
    /// # Errors
    /// When the engine cannot start from it.
    pub fn with_engine(
        config: NodeConfig,
        boot: Boot,
        dialects: Vec<Box<dyn Dialect + Send>>,
        now: Instant,
        engine: StartEngine,
    ) -> Result<Node, Misconfigured> {
        let replica = Replica::new(&config, &boot, engine)?;
        let durable = boot.state.applied().index;
        let time = boot.state.time();
        // A member that has been removed and starts again has no more business here than before. One
        // that is yet to join knows no membership at all.
        let membership = boot.state.membership();
        let is_removed = !membership.voters.is_empty() && !membership.contains(config.member);
        // It may have promised something just before it was started anew.
        let is_silent =
            config.read_lease.is_some() && !config.mutants.has(Mutant::PromiseForgottenAtRestart);
        let promise = Promise::at_start(now, is_silent.then(|| config.promise()));
        let machine = Machine::new(&config, boot.state, dialects);
        Ok(Node {
            replica,
            machine,
            leases: LeaseClock::default(),
            proposals: Proposals::default(),
            rounds: VecDeque::new(),
            gathering: Gathering::default(),
            sweep_due: Instant(0),
            sweep_put_off: false,
            reads: Reads::default(),
            questions: BTreeMap::new(),
            forwarded: Tags::default(),
            bounced: Bounced::default(),
            led: None,
            lease_answers: Vec::new(),
            read_lease: ReadLease::default(),
            promise,
            jumped: None,
            clocks: Clocks::default(),
            versions: Versions::default(),
            send: Vec::new(),
            last_tag: 0,
            time,
            now,
            wall_ms: 0,
            leadership: Leadership {
                term: base::Term(0),
                leader: MemberId::NONE,
                is_self: false,
            },
            checkpoint: Checkpointing {
                entries: 0,
                bytes: 0,
                durable,
                under_way: false,
                asked: (0, 0),
                not_before: now,
                swept: false,
                wanted: false,
                tight: false,
            },
            digest: DigestTimer {
                entries: 0,
                last: now,
            },
            parting: is_removed.then(|| Parting::new(now, true)),
            membership_at: Index(0),
            stopped: None,
            stop_told: false,
            booted: false,
            counts: Counts::default(),
            config,
        })
    }

    // ---- what readers see -------------------------------------------------------------------

    /// The state as of the last applied entry. Readers use the root that `take_effects` published.
    pub fn state(&self) -> &State {
        self.machine.state()
    }

    /// What this member says about itself.
    pub fn status(&self) -> Status {
        let raft = self.replica.status();
        let state = self.machine.state();
        Status {
            member: self.config.member,
            leader: self.leadership.leader,
            is_leader: self.leadership.is_self,
            is_learner: state.membership().learners.contains(&self.config.member),
            is_recovering: raft.recovering.is_some(),
            term: raft.term,
            last: raft.last,
            commit: raft.commit,
            applied: state.applied(),
            digest: state.digest(),
            apply_version: self.apply_version(),
            stopped: self.stopped.clone(),
        }
    }

    /// What it has done in this life.
    pub fn counts(&self) -> Counts {
        Counts {
            versions_swept: self.machine.versions_swept(),
            ..self.counts
        }
    }

    /// Whether this member leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.leadership.is_self
    }

    /// The leader, or nobody.
    pub fn leader(&self) -> MemberId {
        self.leadership.leader
    }

    // ---- inputs -----------------------------------------------------------------------------

    /// Ten milliseconds have passed. `wall_ms` is the wall clock, for stamps only.
    pub fn tick(&mut self, now: Instant, wall_ms: u64) {
        self.now = now;
        self.wall_ms = wall_ms;
        if self.is_out() {
            return;
        }
        self.clocks.read_own(now, wall_ms);
        // Others are not asked by whoever is the only one who votes; so its own time must stand still.
        let is_held = self.is_bound() && !self.replica.leads() && self.is_only_voter();
        if !is_held {
            self.replica.tick(now);
        }
        if self.reads.is_overdue(now, self.read_patience()) {
            Mark::ReadAskedAgain.reach();
            self.reads.lost();
        }
        self.ask_again();
        self.try_bounced();
        self.ask_to_leave();
        self.ask_for_clocks();
        self.ask_for_promises();
        self.tell_version();
        if !self.leadership.is_self {
            self.replica.withdraw_snapshot();
            return;
        }
        if self.replica.offered() != self.machine.state().applied() {
            let state = self.machine.publish();
            self.replica.offer_snapshot(state);
        }
        if self.may_lead() {
            // While renewals could not be answered, or an expiry not be proposed, no time passes for
            // leases: to their clock it is a stall, which it gives back.
            if !self.replica.disk_hangs(now)
                && self.machine.lag() == 0
                && self.proposals.has_room(EXPIRY_BYTES_MAX)
            {
                let is_unforgiving = self.config.mutants.has(Mutant::ExpiryInBulkAfterStall);
                let due = self.leases.tick(now, is_unforgiving);
                if !due.is_empty() {
                    self.counts.leases_expired += due.len() as u64;
                    self.propose_system(&SystemCommand::Expire(due));
                }
            }
            self.propose_digest();
            self.propose_raise();
        }
    }

    /// A message of another member.
    pub fn receive(&mut self, from: MemberId, message: PeerMessage, now: Instant) {
        self.now = self.now.max(now);
        if self.is_out() {
            return;
        }
        match message {
            PeerMessage::Raft(message) => {
                if self.machine.state().was_removed(from) {
                    self.answer_leaving(from);
                } else if message.from == from
                    && !self.is_promised_away(&message)
                    && let Some(plea) = self.replica.receive(*message)
                {
                    self.send.push(plea);
                }
            }
            PeerMessage::Forward { batch } => self.receive_forward(from, &batch),
            PeerMessage::ReadIndexRequest { attempt } => {
                if self.leadership.is_self && self.is_member(from) {
                    self.reads.push_remote(from, attempt);
                }
            }
            PeerMessage::ReadIndexReply { attempt, index } => {
                if from == self.leadership.leader {
                    self.indexed(attempt, index);
                }
            }
            PeerMessage::LeaseRenewRequest { ticket, lease } => {
                self.receive_question(from, Ticket(ticket), lease, true);
            }
            PeerMessage::LeaseRemainingRequest { ticket, lease } => {
                self.receive_question(from, Ticket(ticket), lease, false);
            }
            PeerMessage::LeaseReply {
                ticket,
                remaining_ms,
                retry,
                epoch,
            } => {
                if from == self.leadership.leader
                    && !retry
                    && let Some(question) = self.questions.remove(&ticket)
                {
                    let answer = remaining_ms.map_or(LeaseAnswer::Gone, |ms| LeaseAnswer::Alive {
                        remaining_ms: ms,
                        epoch,
                    });
                    self.lease_answers.push((question.ticket, answer));
                }
            }
            PeerMessage::Recovering { intact } => {
                if self.leadership.is_self {
                    self.replica.reset_progress(from, intact);
                }
            }
            PeerMessage::SnapshotOutcome { installed } => {
                self.replica.report_snapshot(from, installed);
            }
            PeerMessage::Removed => {
                if self.is_member(from) {
                    self.hear_of_removal(from);
                }
            }
            PeerMessage::Leaving => self.answer_leaving(from),
            PeerMessage::PromiseRequest { round, term } => self.promise(from, round, term),
            PeerMessage::PromiseReply { round, promised } => {
                self.hear_promise(from, round, promised);
            }
            PeerMessage::ClockRequest { asked } => self.answer_clock(from, asked),
            PeerMessage::ClockReply { asked, wall_ms } => self.hear_clock(from, asked, wall_ms),
            PeerMessage::Bounce { batch } => self.receive_bounce(from, &batch),
            PeerMessage::Knows { apply_version } => self.hear_version(from, apply_version),
        }
    }

    /// A command of a client. The answer comes with this tag, unless leadership is lost on the way: then
    /// nobody knows, and the client's own timeout speaks.
    ///
    /// # Errors
    /// A refusal is certain: the command will not take effect.
    pub fn propose(&mut self, dialect: DialectId, request: Bytes) -> Result<Tag, Refused> {
        self.propose_for(dialect, request, None, None)
    }

    /// As [`Node::propose`], or [`Node::propose_once`] where `numbered` says a session and a number, on behalf of
    /// `identity`, who is established: it travels with the command, and the dialect decides by it.
    ///
    /// # Errors
    /// As [`Node::propose`].
    pub fn propose_as(
        &mut self,
        dialect: DialectId,
        request: Bytes,
        numbered: Option<(LeaseId, u64)>,
        identity: Option<Identity>,
    ) -> Result<Tag, Refused> {
        let client = numbered.map(|(session, sequence)| (session.0 as u64, sequence));
        self.propose_for(dialect, request, client, identity)
    }

    /// As [`Node::propose`], by a session that numbers its writes: the same number again, here or at another member,
    /// takes effect once and has the same outcome. Besides the dialect's outcomes there are those of
    /// [`crate::RetryRefusal`]. See [`crate::retries`].
    ///
    /// # Errors
    /// As [`Node::propose`].
    pub fn propose_once(
        &mut self,
        dialect: DialectId,
        request: Bytes,
        session: LeaseId,
        sequence: u64,
    ) -> Result<Tag, Refused> {
        self.propose_for(dialect, request, Some((session.0 as u64, sequence)), None)
    }

    /// What a numbered write would answer without the log, because its session has used the number, is over, or may not
    /// ask: for who cannot put it there. Nothing when it would be decided, as far as this member has applied: an
    /// attempt of before may still be on its way. Ask after a linearizable read.
    pub fn decided(
        &self,
        dialect: DialectId,
        request: Bytes,
        (session, sequence): (LeaseId, u64),
        identity: Option<Identity>,
    ) -> Option<(store::Outcome, Revision)> {
        self.machine.decided(&Command {
            origin: self.config.member,
            tag: 0,
            dialect,
            client: Some((session.0 as u64, sequence)),
            identity,
            request,
        })
    }

    fn propose_for(
        &mut self,
        dialect: DialectId,
        request: Bytes,
        client: Option<(u64, u64)>,
        identity: Option<Identity>,
    ) -> Result<Tag, Refused> {
        // A former build could not read it, and before that version nothing is decided by it.
        let identity = identity.filter(|_| self.state().apply_version() >= IDENTITY_VERSION);
        let bytes = request.len() + identity.as_ref().map_or(0, Identity::encoded_len);
        self.admit(bytes)?;
        let tag = self.next_tag();
        self.machine.expect(tag);
        self.proposals.push(Command {
            dialect,
            origin: self.config.member,
            tag: tag.0,
            client,
            identity,
            request,
        });
        Ok(tag)
    }

    /// A wish to change the membership. Refusals of the leader come as an outcome whose status is a
    /// [`SystemRefusal`].
    ///
    /// # Errors
    /// As [`Node::propose`]; [`Refused::TooLarge`] also when a text or a list is longer than a member's
    /// record may hold.
    pub fn change_members(&mut self, change: MemberChange) -> Result<Tag, Refused> {
        if !change.fits() {
            return Err(Refused::TooLarge);
        }
        self.propose(SYSTEM, SystemCommand::Member(change).encode())
    }

    /// Why this member would refuse a change if it led, by what it has applied. Of its own connections it knows nothing here.
    pub fn would_refuse(&self, change: &MemberChange) -> Option<SystemRefusal> {
        self.validate(change).err()
    }

    /// Nobody waits for `tag` any more. If the command has not left this member yet, it never will.
    pub fn forget(&mut self, tag: Tag) {
        self.machine.forget(self.bounced.give_up(tag));
    }

    /// A linearizable read: the caller may look at the published root once `ticket` comes back.
    ///
    /// # Errors
    /// A refusal is certain.
    pub fn read(&mut self, ticket: Ticket) -> Result<(), Refused> {
        self.read_at(ticket, ReadLevel::Linearizable, self.now)?;
        Ok(())
    }

    /// The owner of a lease is alive.
    ///
    /// # Errors
    /// A refusal is certain.
    pub fn lease_renew(&mut self, ticket: Ticket, lease: LeaseId) -> Result<(), Refused> {
        self.ask(ticket, lease, true)
    }

    /// How long does a lease have left?
    ///
    /// # Errors
    /// A refusal is certain.
    pub fn lease_remaining(&mut self, ticket: Ticket, lease: LeaseId) -> Result<(), Refused> {
        self.ask(ticket, lease, false)
    }

    /// Hands leadership to `to`, which must vote.
    ///
    /// # Errors
    /// [`Refused::NotLeader`], [`Refused::BadTransferee`].
    pub fn transfer_leader(&mut self, to: MemberId) -> Result<(), Refused> {
        if self.is_out() {
            return Err(Refused::Stopped);
        }
        if !self.leadership.is_self {
            return Err(Refused::NotLeader);
        }
        if !self.machine.state().membership().is_voter(to) {
            return Err(Refused::BadTransferee);
        }
        if to != self.config.member {
            if !self.replica.transfer(to) {
                return Err(Refused::BadTransferee);
            }
            // Nothing has left this member yet.
            self.give_lease_up();
        }
        Ok(())
    }

    /// The record `number` is durable, and with it all before.
    pub fn persisted(&mut self, number: u64) {
        if let Some(installed) = self.replica.persisted(number) {
            self.checkpoint.durable = self.checkpoint.durable.max(installed);
        }
    }

    /// The checkpoint that was asked for is durable. Returns the index up to which the log may be
    /// forgotten: the previous checkpoint, which stays usable until the next one.
    pub fn checkpointed(&mut self, meta: &SnapshotMeta) -> Index {
        let previous = self.checkpoint.durable;
        self.checkpoint.under_way = false;
        self.checkpoint.durable = self.checkpoint.durable.max(meta.position.index);
        previous
    }

    /// Asks for a checkpoint of what is applied now, however little that is, without what compaction has
    /// hidden. Whether one will come, or the newest one is just that.
    pub fn checkpoint_now(&mut self) -> bool {
        let swept = self.checkpoint.swept || self.machine.is_sweeping();
        self.checkpoint.wanted = self.checkpoint.entries > 0 || swept;
        self.checkpoint.wanted || self.checkpoint.under_way
    }

    /// Whether [`Node::checkpoint_now`] asked for a checkpoint that has not begun yet.
    pub fn checkpoint_is_wanted(&self) -> bool {
        self.checkpoint.wanted
    }

    /// The disk is nearly full, or is so no longer. While it is, everything that is applied is soon
    /// followed by a checkpoint, since after it the log before can go: deletes make room by that alone.
    pub fn disk_is_tight(&mut self, tight: bool) {
        if !tight {
            // What failed for want of room need not be waited for.
            self.checkpoint.not_before = self.now;
        }
        self.checkpoint.tight = tight;
    }

    /// The checkpoint that was asked for could not be written; it will be asked for again after a while.
    pub fn checkpoint_failed(&mut self) {
        let (entries, bytes) = std::mem::take(&mut self.checkpoint.asked);
        self.checkpoint.under_way = false;
        self.checkpoint.entries += entries;
        self.checkpoint.bytes += bytes;
        self.checkpoint.not_before = self.now + CHECKPOINT_AGAIN;
    }

    /// A state arrived from `from` on a connection of its own. One of a newer build's rules stops this member before
    /// anything of it is taken, as an entry does.
    pub fn snapshot_received(&mut self, from: MemberId, meta: SnapshotMeta, state: State) {
        if self.is_out() {
            return;
        }
        let needs = state.apply_version();
        if needs > self.config.apply_version_max {
            self.stopped = Some(StopReason::TooOld { needs });
            return;
        }
        self.replica.snapshot_received(from, meta, state);
    }

    /// A state was streamed to `to`, or could not be.
    pub fn snapshot_sent(&mut self, to: MemberId, sent: bool) {
        self.replica.report_snapshot(to, sent);
    }

    /// The connection to `to` is down: the engine probes before it sends more.
    pub fn unreachable(&mut self, to: MemberId) {
        self.replica.report_unreachable(to);
    }

    // ---- output -----------------------------------------------------------------------------

    /// Everything that the world should do now. Call it after inputs, and again soon while
    /// [`Effects::more`] is set.
    pub fn take_effects(&mut self, now: Instant, wall_ms: u64) -> Effects {
        self.now = self.now.max(now);
        self.wall_ms = wall_ms;
        let mut out = Effects::default();
        if self.is_out() {
            self.give_up(&mut out);
            return out;
        }
        // Messages since the last call may have deposed this leader.
        self.note_leadership(&mut out);
        self.flush_proposals();
        self.start_read_round();
        let mut applied = Applied::default();
        let mut commands_left = APPLY_COMMANDS_MAX;
        if !self.booted {
            self.booted = true;
            out.published = Some(self.machine.publish());
        }
        out.more = true;
        for _ in 0..TURNS_MAX {
            let turn = self.replica.turn(now, self.is_bound(), &mut out);
            let quiet =
                turn.committed.is_empty() && turn.reads.is_empty() && turn.snapshot.is_none();
            self.take_turn(turn, &mut applied, &mut out);
            self.apply(&mut applied, &mut commands_left, &mut out);
            self.note_leadership(&mut out);
            if quiet || applied.stop.is_some() {
                out.more = false;
                break;
            }
            self.flush_proposals();
            self.start_read_round();
        }
        self.sweep();
        self.finish(applied, &mut out);
        out
    }

    /// A piece of a physical compaction, if one is due and there is time for it.
    fn sweep(&mut self) {
        if !self.machine.is_sweeping() || self.now < self.sweep_due {
            return;
        }
        let late = self.now.since(self.sweep_due);
        if late > SWEEP_REST && !self.sweep_put_off {
            Mark::SweepPutOff.reach();
            self.sweep_put_off = true;
            self.sweep_due = self.now + late.min(SWEEP_PUT_OFF_MAX);
            return;
        }
        self.sweep_put_off = false;
        self.machine.sweep(SWEEP_STEPS);
        self.sweep_due = self.now + SWEEP_REST;
    }

    /// Whether the next batch waits a moment for more commands. While it does, [`Node::take_effects`] must be
    /// called again within [`GATHER_MAX`](crate::GATHER_MAX), input or not.
    pub fn is_gathering(&self) -> bool {
        self.gathering.is_waiting() && !self.proposals.is_empty()
    }

    /// Whether versions that compaction has hidden are still to be removed. While they are, call
    /// [`Node::take_effects`] about every [`SWEEP_REST`], input or not; less often only takes longer.
    pub fn is_sweeping(&self) -> bool {
        self.machine.is_sweeping()
    }

    /// The engine, to look at: for the simulator, which holds every step of it against the specification.
    pub fn engine(&self) -> &dyn Engine {
        self.replica.engine()
    }

    /// Checks the invariants of all parts. Costly: for the simulator and tests.
    pub fn check(&self) {
        self.replica.check();
        self.machine.check();
        self.proposals.check();
        if !self.is_out() {
            self.bounced.check(|number| self.machine.expects(number));
        }
        self.leases.check();
        let office = self.leadership.is_self.then_some(self.leadership.term);
        self.read_lease.check(office);
    }
}
