//! One member: the replica and the machine, joined.
//!
//! Inputs are methods and change only this value; what the world should do comes out of
//! [`Node::take_effects`]. See the crate's story for what the caller promises.

use crate::config::{Boot, NodeConfig};
use crate::effects::{
    Effects, Leadership, LeaseAnswer, ReadFailed, Refused, Status, StopReason, Tag, Ticket,
};
use crate::leases::LeaseClock;
use crate::machine::{APPLY_VERSION, Applied, LeaseChange, Machine};
use crate::proposals::{Proposals, ROUNDS_MAX};
use crate::reads::{Reads, Waiter};
use crate::replica::{Replica, Turn, meta_of};
use crate::system::{MemberChange, SYSTEM, SystemCommand, SystemRefusal};
use base::limits::{
    APPLY_LAG_MAX, MEMBERS_MAX, PROPOSALS_WAITING_MAX, REQUEST_BYTES_MAX, REQUEST_OVERHEAD_BYTES,
};
use base::{Change, Index, Instant, LeaseId, MemberId, Mutant, PeerMessage, SnapshotMeta};
use bytes::Bytes;
use clock::HybridTime;
use consensus::Misconfigured;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use store::command::{Batch, Command, DialectId};
use store::{Dialect, State};

/// Commands applied in one call of [`Node::take_effects`]; then the caller looks at sockets again.
const APPLY_COMMANDS_MAX: usize = 4096;

/// A leader puts its digest into the log after so many entries …
const DIGEST_ENTRIES: u64 = 1000;

/// … or after this time, if anything was applied.
const DIGEST_EVERY: Duration = Duration::from_secs(1);

/// A round of reads without an answer is asked again after this time.
const READ_PATIENCE: Duration = Duration::from_millis(500);

/// A leader counts a learner as caught up when it has this share of the leader's log, in percent
/// (etcd's rule for promotion).
const PROMOTE_PERCENT: u64 = 90;

/// A lease question of one of this member's clients, on its way to the leader.
#[derive(Clone, Copy, Debug)]
struct Question {
    lease: LeaseId,
    renews: bool,
    asked: Instant,
}

/// One member of a cluster.
pub struct Node {
    config: NodeConfig,
    replica: Replica,
    machine: Machine,
    leases: LeaseClock,
    proposals: Proposals,
    rounds: VecDeque<Index>,
    reads: Reads,
    questions: BTreeMap<Ticket, Question>,
    forwarded: BTreeMap<MemberId, u64>,
    lease_answers: Vec<(Ticket, LeaseAnswer)>,
    send: Vec<(MemberId, PeerMessage)>,
    last_tag: u32,
    time: HybridTime,
    now: Instant,
    wall_ms: u64,
    leadership: Leadership,
    checkpoint: Checkpointing,
    digest: DigestTimer,
    removed_at: Option<Instant>,
    stopped: Option<StopReason>,
    stop_told: bool,
    booted: bool,
}

/// When the next checkpoint is due.
#[derive(Debug)]
struct Checkpointing {
    entries: u64,
    bytes: u64,
    durable: Index,
    under_way: bool,
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
        let replica = Replica::new(&config, &boot)?;
        let durable = boot.state.applied().index;
        let time = boot.state.time();
        let machine = Machine::new(&config, boot.state, dialects);
        Ok(Node {
            replica,
            machine,
            leases: LeaseClock::default(),
            proposals: Proposals::default(),
            rounds: VecDeque::new(),
            reads: Reads::default(),
            questions: BTreeMap::new(),
            forwarded: BTreeMap::new(),
            lease_answers: Vec::new(),
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
            },
            digest: DigestTimer {
                entries: 0,
                last: now,
            },
            removed_at: None,
            stopped: None,
            stop_told: false,
            booted: false,
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
            stopped: self.stopped.clone(),
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
        self.replica.tick(now);
        if self.reads.is_overdue(now, READ_PATIENCE) {
            self.reads.lost();
        }
        self.ask_again();
        if !self.leadership.is_self {
            self.replica.withdraw_snapshot();
            return;
        }
        if self.replica.offered() != self.machine.state().applied() {
            let state = self.machine.publish();
            self.replica.offer_snapshot(state);
        }
        if self.may_lead() {
            let due = self.leases.tick(now);
            if !due.is_empty() {
                self.propose_system(&SystemCommand::Expire(due));
            }
            self.propose_digest();
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
                if message.from == from
                    && let Some(plea) = self.replica.receive(*message)
                {
                    self.send.push(plea);
                }
            }
            PeerMessage::Forward { batch } => self.receive_forward(from, &batch),
            PeerMessage::ReadIndexRequest { attempt } => {
                if self.leadership.is_self && self.reads.has_room() {
                    self.reads.push(Waiter::Remote { from, attempt });
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
            } => {
                let ticket = Ticket(ticket);
                if !retry && self.questions.remove(&ticket).is_some() {
                    let answer = remaining_ms.map_or(LeaseAnswer::Gone, |ms| LeaseAnswer::Alive {
                        remaining_ms: ms,
                    });
                    self.lease_answers.push((ticket, answer));
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
        }
    }

    /// A command of a client. The answer comes with this tag, unless leadership is lost on the way: then
    /// nobody knows, and the client's own timeout speaks.
    ///
    /// # Errors
    /// A refusal is certain: the command will not take effect.
    pub fn propose(&mut self, dialect: DialectId, request: Bytes) -> Result<Tag, Refused> {
        self.admit(request.len())?;
        let tag = self.next_tag();
        self.machine.expect(tag);
        self.proposals.push(Command {
            dialect,
            origin: self.config.member,
            tag: tag.0,
            client: None,
            request,
        });
        Ok(tag)
    }

    /// A wish to change the membership. Refusals of the leader come as an outcome whose status is a
    /// [`SystemRefusal`].
    ///
    /// # Errors
    /// As [`Node::propose`].
    pub fn change_members(&mut self, change: MemberChange) -> Result<Tag, Refused> {
        self.propose(SYSTEM, SystemCommand::Member(change).encode())
    }

    /// Nobody waits for `tag` any more.
    pub fn forget(&mut self, tag: Tag) {
        self.machine.forget(tag);
    }

    /// A linearizable read: the caller may look at the published root once `ticket` comes back.
    ///
    /// # Errors
    /// A refusal is certain.
    pub fn read(&mut self, ticket: Ticket) -> Result<(), Refused> {
        if self.is_out() {
            return Err(Refused::Stopped);
        }
        if !self.reads.has_room() {
            return Err(Refused::Busy);
        }
        self.reads.push(Waiter::Local(ticket));
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
        if to != self.config.member && !self.replica.transfer(to) {
            return Err(Refused::BadTransferee);
        }
        Ok(())
    }

    /// The record `number` is durable, and with it all before.
    pub fn persisted(&mut self, number: u64) {
        self.replica.persisted(number);
    }

    /// The checkpoint that was asked for is durable. Returns the index up to which the log may be
    /// forgotten: the previous checkpoint, which stays usable until the next one.
    pub fn checkpointed(&mut self, meta: &SnapshotMeta) -> Index {
        let previous = self.checkpoint.durable;
        self.checkpoint.under_way = false;
        self.checkpoint.durable = self.checkpoint.durable.max(meta.position.index);
        previous
    }

    /// The checkpoint that was asked for could not be written; it will be asked for again.
    pub fn checkpoint_failed(&mut self) {
        self.checkpoint.under_way = false;
    }

    /// A state arrived from `from` on a connection of its own.
    pub fn snapshot_received(&mut self, from: MemberId, meta: SnapshotMeta, state: State) {
        if !self.is_out() {
            self.replica.snapshot_received(from, meta, state);
        }
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
        self.flush_proposals();
        self.start_read_round();
        let mut applied = Applied::default();
        if !self.booted {
            self.booted = true;
            out.published = Some(self.machine.publish());
        }
        for _ in 0..4 {
            let turn = self.replica.turn(now, &mut out);
            let quiet =
                turn.committed.is_empty() && turn.reads.is_empty() && turn.snapshot.is_none();
            self.take_turn(turn, &mut applied, &mut out);
            self.apply(&mut applied, &mut out);
            self.note_leadership(&mut out);
            if quiet {
                break;
            }
            self.flush_proposals();
            self.start_read_round();
        }
        self.finish(applied, &mut out);
        out
    }

    /// Checks the invariants of all parts. Costly: for the simulator and tests.
    pub fn check(&self) {
        self.machine.check();
        self.proposals.check();
        self.leases.check();
    }
}

// ---- writes ---------------------------------------------------------------------------------

impl Node {
    fn admit(&self, bytes: usize) -> Result<(), Refused> {
        if self.is_out() {
            return Err(Refused::Stopped);
        }
        if bytes > REQUEST_BYTES_MAX + REQUEST_OVERHEAD_BYTES {
            return Err(Refused::TooLarge);
        }
        if !self.proposals.has_room(bytes)
            || self.machine.n_outstanding() >= PROPOSALS_WAITING_MAX
            || self.machine.lag() > APPLY_LAG_MAX
        {
            return Err(Refused::Busy);
        }
        Ok(())
    }

    fn next_tag(&mut self) -> Tag {
        self.last_tag = self.last_tag.wrapping_add(1);
        Tag((u64::from(self.config.incarnation) << 32) | u64::from(self.last_tag))
    }

    /// Whether this leader may write: it has applied the first entry of its term, and with it every
    /// entry of its predecessors, so its stamps are later than all of theirs.
    fn may_lead(&self) -> bool {
        self.leadership.is_self && self.machine.state().applied().term == self.leadership.term
    }

    fn flush_proposals(&mut self) {
        if self.proposals.is_empty() {
            return;
        }
        if self.leadership.is_self {
            self.propose_round();
        } else if !self.leadership.leader.is_none() {
            self.forward_all();
        }
    }

    fn propose_round(&mut self) {
        let commit = self.replica.status().commit;
        while self.rounds.front().is_some_and(|last| *last <= commit) {
            self.rounds.pop_front();
        }
        while self.may_lead() && self.rounds.len() < ROUNDS_MAX && !self.proposals.is_empty() {
            let commands = self.proposals.take_batch(stands_alone);
            if let [command] = &commands[..]
                && let Some(change) = configuration_change(command)
            {
                self.propose_change(change, commands);
                continue;
            }
            let batch = self.stamp(commands);
            let Some(index) = self.replica.propose(batch.encode()) else {
                // The engine takes none now (leadership is being handed over): keep them.
                self.proposals.put_back(batch.commands);
                return;
            };
            self.rounds.push_back(index);
        }
    }

    /// Gives a batch its version and the leader's time, which is later than every stamp before it.
    fn stamp(&mut self, commands: Vec<Command>) -> Batch {
        self.time = self
            .time
            .max(self.machine.state().time())
            .next(self.wall_ms);
        Batch {
            apply_version: APPLY_VERSION,
            time: self.time,
            commands,
        }
    }

    fn forward_all(&mut self) {
        while !self.proposals.is_empty() {
            let commands = self.proposals.take_batch(|_| false);
            let batch = Batch {
                apply_version: APPLY_VERSION,
                time: HybridTime::default(),
                commands,
            };
            let message = PeerMessage::Forward {
                batch: batch.encode(),
            };
            self.send.push((self.leadership.leader, message));
        }
    }

    /// Commands that landed on a follower. Each follower's tags rise, so a batch that comes twice is
    /// known by its first tag and not taken again. A member that does not lead drops them: their origin
    /// cannot know, and its clients time out.
    fn receive_forward(&mut self, from: MemberId, batch: &Bytes) {
        if !self.leadership.is_self || !self.machine.state().membership().contains(from) {
            return;
        }
        let Ok(batch) = Batch::decode(batch) else {
            return;
        };
        let Some(first) = batch.commands.first().map(|command| command.tag) else {
            return;
        };
        let last = self.forwarded.get(&from).copied().unwrap_or(0);
        if first <= last && !self.config.mutants.has(Mutant::DoubleApplyOnRetry) {
            return;
        }
        for command in batch.commands {
            let size = command.request.len();
            if command.origin != from
                || !self.proposals.has_room(size)
                || !may_come_from_outside(&command)
            {
                continue;
            }
            self.forwarded.insert(from, command.tag);
            self.proposals.push(command);
        }
    }

    fn propose_system(&mut self, command: &SystemCommand) {
        let request = command.encode();
        if self.proposals.has_room(request.len()) {
            let tag = self.next_tag();
            let origin = self.config.member;
            self.proposals.push(Command {
                dialect: SYSTEM,
                origin,
                tag: tag.0,
                client: None,
                request,
            });
        }
    }

    fn propose_digest(&mut self) {
        let due = self.digest.entries >= DIGEST_ENTRIES
            || (self.digest.entries > 0 && self.now.since(self.digest.last) >= DIGEST_EVERY);
        if due {
            let state = self.machine.state();
            let (index, digest) = (state.applied().index, state.digest());
            self.propose_system(&SystemCommand::Digest { index, digest });
            // The digest's own entry must not ask for another one.
            self.digest = DigestTimer {
                entries: 0,
                last: self.now,
            };
        }
    }

    /// Puts a change of the configuration to the engine, or its refusal into the log.
    fn propose_change(&mut self, change: MemberChange, mut commands: Vec<Command>) {
        let refusal = match self.validate(&change) {
            Err(refusal) => refusal,
            Ok(step) => {
                let batch = self.stamp(commands);
                if let Some(index) = self.replica.propose_change(vec![step], batch.encode()) {
                    self.rounds.push_back(index);
                    return;
                }
                commands = batch.commands;
                SystemRefusal::Unhealthy
            }
        };
        for mut command in commands {
            command.request = SystemCommand::Refuse(refusal).encode();
            self.proposals.push(command);
        }
    }

    /// Decides a change of the configuration against what is applied. Only one change is ever under
    /// way (the engine sees to that), so what is applied is what it will meet.
    fn validate(&self, change: &MemberChange) -> Result<Change, SystemRefusal> {
        let state = self.machine.state();
        let members = state.members();
        let known = members.iter().find(|member| member.id == change.member());
        match change {
            MemberChange::Add {
                member,
                peer_urls,
                is_learner,
            } => {
                if known.is_some() {
                    return Err(SystemRefusal::MemberExists);
                }
                if members
                    .iter()
                    .any(|m| m.peer_urls.iter().any(|url| peer_urls.contains(url)))
                {
                    return Err(SystemRefusal::PeerUrlExists);
                }
                if members.len() >= MEMBERS_MAX {
                    return Err(SystemRefusal::TooManyMembers);
                }
                let learners = members.iter().filter(|member| member.is_learner).count();
                if *is_learner {
                    if learners >= self.config.learners_max {
                        return Err(SystemRefusal::TooManyLearners);
                    }
                    return Ok(Change::AddLearner(*member));
                }
                let voters: Vec<_> = members.iter().filter(|m| !m.is_learner).collect();
                let started = voters.iter().filter(|m| !m.name.is_empty()).count();
                // A lone member may always get a second one.
                if voters.len() > 1 && started < (voters.len() + 1) / 2 + 1 {
                    return Err(SystemRefusal::NotEnoughStarted);
                }
                Ok(Change::AddVoter(*member))
            }
            MemberChange::Promote { member } => {
                let Some(known) = known else {
                    return Err(SystemRefusal::MemberNotFound);
                };
                if !known.is_learner {
                    return Err(SystemRefusal::NotLearner);
                }
                let matched = self.replica.matched(*member);
                let last = self.replica.status().last.index;
                if matched.0 * 100 < last.0 * PROMOTE_PERCENT {
                    return Err(SystemRefusal::LearnerNotReady);
                }
                Ok(Change::AddVoter(*member))
            }
            MemberChange::Remove { member } => {
                let Some(known) = known else {
                    return Err(SystemRefusal::MemberNotFound);
                };
                let rest = members.iter().filter(|m| !m.is_learner && m.id != *member);
                let (mut voters, mut started) = (0, 0);
                for other in rest {
                    voters += 1;
                    started += usize::from(!other.name.is_empty());
                }
                if !known.is_learner && (voters == 0 || started < voters / 2 + 1) {
                    return Err(SystemRefusal::NotEnoughStarted);
                }
                Ok(Change::Remove(*member))
            }
            MemberChange::Update { .. } | MemberChange::Publish { .. } => {
                Err(SystemRefusal::Malformed)
            }
        }
    }
}

/// Whether a command must be an entry of its own: a change of the configuration is the engine's business.
fn stands_alone(command: &Command) -> bool {
    configuration_change(command).is_some()
}

/// The change of the configuration that a command asks for, if it does.
fn configuration_change(command: &Command) -> Option<MemberChange> {
    if command.dialect != SYSTEM {
        return None;
    }
    match SystemCommand::decode(&command.request) {
        Some(SystemCommand::Member(change)) if change.is_configuration() => Some(change),
        _ => None,
    }
}

/// Whether a follower may ask for this: anything of a front, and membership, but not what is only ever
/// a leader's own word.
fn may_come_from_outside(command: &Command) -> bool {
    command.dialect != SYSTEM
        || SystemCommand::decode(&command.request).is_some_and(|c| c.may_be_forwarded())
}

// ---- reads and leases -----------------------------------------------------------------------

impl Node {
    fn start_read_round(&mut self) {
        if !self.reads.wants_round() || self.replica.disk_hangs(self.now) {
            return;
        }
        if self.leadership.is_self {
            let attempt = self.reads.start(self.config.incarnation, self.now);
            if !self.replica.read_index(attempt) {
                self.reads.lost();
            }
        } else if !self.leadership.leader.is_none() {
            let attempt = self.reads.start(self.config.incarnation, self.now);
            let request = PeerMessage::ReadIndexRequest { attempt };
            self.send.push((self.leadership.leader, request));
        }
    }

    fn indexed(&mut self, attempt: u64, index: Index) {
        let index = if self.config.mutants.has(Mutant::ReadBeforeApply) {
            Index(0)
        } else {
            index
        };
        for (to, attempt) in self.reads.indexed(attempt, index) {
            self.send
                .push((to, PeerMessage::ReadIndexReply { attempt, index }));
        }
    }

    fn ask(&mut self, ticket: Ticket, lease: LeaseId, renews: bool) -> Result<(), Refused> {
        if self.is_out() {
            return Err(Refused::Stopped);
        }
        if !self.reads.has_room() || self.questions.len() >= base::limits::READS_WAITING_MAX {
            return Err(Refused::Busy);
        }
        if self.leadership.is_self {
            self.reads.push(lease_waiter(None, ticket, lease, renews));
        } else {
            self.questions.insert(
                ticket,
                Question {
                    lease,
                    renews,
                    asked: self.now,
                },
            );
            self.send_question(ticket, lease, renews);
        }
        Ok(())
    }

    fn send_question(&mut self, ticket: Ticket, lease: LeaseId, renews: bool) {
        if self.leadership.leader.is_none() {
            return;
        }
        let ticket = ticket.0;
        let message = if renews {
            PeerMessage::LeaseRenewRequest { ticket, lease }
        } else {
            PeerMessage::LeaseRemainingRequest { ticket, lease }
        };
        self.send.push((self.leadership.leader, message));
    }

    /// Questions without an answer go to the leader again, which may be another one by now, or this
    /// member itself.
    fn ask_again(&mut self) {
        let now = self.now;
        let due: Vec<(Ticket, Question)> = self
            .questions
            .iter_mut()
            .filter(|(_, question)| now.since(question.asked) >= READ_PATIENCE)
            .map(|(ticket, question)| {
                question.asked = now;
                (*ticket, *question)
            })
            .collect();
        for (ticket, question) in due {
            if self.leadership.is_self {
                self.questions.remove(&ticket);
                self.reads
                    .push(lease_waiter(None, ticket, question.lease, question.renews));
            } else {
                self.send_question(ticket, question.lease, question.renews);
            }
        }
    }

    fn receive_question(&mut self, from: MemberId, ticket: Ticket, lease: LeaseId, renews: bool) {
        if self.leadership.is_self && self.reads.has_room() {
            self.reads
                .push(lease_waiter(Some(from), ticket, lease, renews));
        } else {
            let reply = PeerMessage::LeaseReply {
                ticket: ticket.0,
                remaining_ms: None,
                retry: true,
            };
            self.send.push((from, reply));
        }
    }

    /// Answers a lease question that a majority has confirmed to be this leader's to answer.
    fn answer_question(
        &mut self,
        from: Option<MemberId>,
        ticket: Ticket,
        lease: LeaseId,
        renews: bool,
    ) {
        if !self.may_lead() {
            // Lost the office since: ask the next leader.
            match from {
                None => {
                    let asked = Instant(0);
                    self.questions.insert(
                        ticket,
                        Question {
                            lease,
                            renews,
                            asked,
                        },
                    );
                }
                Some(to) => {
                    let ticket = ticket.0;
                    let reply = PeerMessage::LeaseReply {
                        ticket,
                        remaining_ms: None,
                        retry: true,
                    };
                    self.send.push((to, reply));
                }
            }
            return;
        }
        let left = if renews {
            self.leases.renew(lease, self.now)
        } else {
            self.leases.remaining(lease, self.now)
        };
        let remaining_ms = left.map(|left| left.as_millis() as u64);
        match from {
            None => {
                let answer = remaining_ms.map_or(LeaseAnswer::Gone, |ms| LeaseAnswer::Alive {
                    remaining_ms: ms,
                });
                self.lease_answers.push((ticket, answer));
            }
            Some(to) => {
                let ticket = ticket.0;
                self.send.push((
                    to,
                    PeerMessage::LeaseReply {
                        ticket,
                        remaining_ms,
                        retry: false,
                    },
                ));
            }
        }
    }
}

fn lease_waiter(from: Option<MemberId>, ticket: Ticket, lease: LeaseId, renews: bool) -> Waiter {
    if renews {
        Waiter::Renewal {
            from,
            ticket,
            lease,
        }
    } else {
        Waiter::Remaining {
            from,
            ticket,
            lease,
        }
    }
}

// ---- what comes out of the engine -----------------------------------------------------------

impl Node {
    fn take_turn(&mut self, turn: Turn, applied: &mut Applied, out: &mut Effects) {
        if let Some((meta, state)) = turn.snapshot {
            // Everything in it is committed, so readers may see it before it is durable here.
            self.machine.install(state, &self.config, applied);
            self.replica.applied(meta.position.index);
            self.checkpoint.durable = meta.position.index;
            self.checkpoint.entries = 0;
            self.checkpoint.bytes = 0;
            out.restored = true;
            out.events.clear();
            applied.events.clear();
            applied.entries += 1;
            out.membership = Some(meta.membership);
        }
        for (attempt, index) in turn.reads {
            self.indexed(attempt, index);
        }
        self.machine.push(turn.committed);
    }

    fn apply(&mut self, applied: &mut Applied, out: &mut Effects) {
        let before = applied.entries;
        let mut left = APPLY_COMMANDS_MAX;
        while left > 0 && applied.stop.is_none() {
            if let Some(entry) = self.machine.next_change() {
                let entry = entry.clone();
                let membership = match self.replica.apply_change(&entry) {
                    Some(membership) => membership,
                    None => self.machine.state().membership().clone(),
                };
                out.membership = Some(membership.clone());
                self.note_removal(&membership);
                self.machine.apply_change(membership, applied);
                left -= 1;
                continue;
            }
            let entries = applied.entries;
            self.machine.step(left, applied);
            let done = (applied.entries - entries) as usize;
            if done == 0 {
                break;
            }
            left = left.saturating_sub(done);
        }
        if applied.entries > before {
            self.replica.applied(self.machine.state().applied().index);
        }
        for change in applied.leases.drain(..) {
            match change {
                LeaseChange::Granted(lease, ttl_s, granted) if self.leadership.is_self => {
                    self.leases.granted(lease, ttl_s, granted, self.now);
                }
                LeaseChange::Granted(..) => {}
                LeaseChange::Revoked(lease) => self.leases.revoked(lease),
            }
        }
    }

    fn note_removal(&mut self, membership: &base::Membership) {
        if membership.contains(self.config.member) {
            self.removed_at = None;
        } else if self.removed_at.is_none() {
            // It goes on for a while, so that the others learn what it knows to be committed.
            self.removed_at = Some(self.now);
        }
    }

    fn note_leadership(&mut self, out: &mut Effects) {
        let raft = self.replica.status();
        let now = Leadership {
            term: raft.term,
            leader: raft.leader,
            is_self: raft.leader == self.config.member && self.replica.leads(),
        };
        if now == self.leadership {
            return;
        }
        let before = std::mem::replace(&mut self.leadership, now);
        out.leadership = Some(now);
        self.rounds.clear();
        self.reads.lost();
        if before.is_self {
            self.reads.forget_remote();
            self.leases.demote();
            self.replica.withdraw_snapshot();
        }
        if now.is_self {
            let from_grant = self.config.mutants.has(Mutant::LeaseExpiredByNewLeader);
            self.leases
                .promote(self.machine.state(), self.now, from_grant, self.wall_ms);
        }
    }

    fn finish(&mut self, applied: Applied, out: &mut Effects) {
        if applied.entries > 0 {
            out.published = Some(self.machine.publish());
        }
        self.digest.entries += applied.entries;
        self.checkpoint.entries += applied.entries;
        self.checkpoint.bytes += applied.bytes;
        out.events.extend(applied.events);
        out.answers.extend(applied.answers);
        for waiter in self.reads.take_ready(self.machine.state().applied().index) {
            match waiter {
                Waiter::Local(ticket) => out.reads.push((ticket, Ok(()))),
                Waiter::Remote { .. } => {}
                Waiter::Renewal {
                    from,
                    ticket,
                    lease,
                } => {
                    self.answer_question(from, ticket, lease, true);
                }
                Waiter::Remaining {
                    from,
                    ticket,
                    lease,
                } => {
                    self.answer_question(from, ticket, lease, false);
                }
            }
        }
        out.leases.append(&mut self.lease_answers);
        out.send.append(&mut self.send);
        self.want_checkpoint(out);
        self.replica.drop_tail(self.machine.state());
        if self.stopped.is_none() {
            self.stopped = applied.stop;
        }
        if self
            .removed_at
            .is_some_and(|then| self.now.since(then) >= self.config.election)
        {
            self.stopped.get_or_insert(StopReason::Removed);
        }
        if self.is_out() {
            self.give_up(out);
        }
        out.more = self.machine.lag() > 0;
    }

    fn want_checkpoint(&mut self, out: &mut Effects) {
        let due = self.checkpoint.entries >= self.config.snapshot_count
            || self.checkpoint.bytes >= self.config.snapshot_bytes;
        if due && !self.checkpoint.under_way {
            let state = self.machine.publish();
            let meta = meta_of(&state);
            self.checkpoint.entries = 0;
            self.checkpoint.bytes = 0;
            self.checkpoint.under_way = true;
            out.checkpoint = Some((meta, state));
        }
    }

    fn is_out(&self) -> bool {
        self.stopped.is_some()
    }

    /// Answers everybody who waits, once: this member knows nothing any more.
    fn give_up(&mut self, out: &mut Effects) {
        for waiter in self.reads.take_all() {
            match waiter {
                Waiter::Local(ticket) => out.reads.push((ticket, Err(ReadFailed::Stopped))),
                Waiter::Renewal {
                    from: None, ticket, ..
                }
                | Waiter::Remaining {
                    from: None, ticket, ..
                } => {
                    out.leases.push((ticket, LeaseAnswer::Stopped));
                }
                _ => {}
            }
        }
        for (ticket, _) in std::mem::take(&mut self.questions) {
            out.leases.push((ticket, LeaseAnswer::Stopped));
        }
        if !self.stop_told {
            self.stop_told = true;
            out.stop = self.stopped.clone();
        }
    }
}
