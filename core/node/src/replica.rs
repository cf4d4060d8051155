//! The agreeing half of a member: what goes to the engine, what comes out, and what must wait for the
//! disk in between.
//!
//! ```text
//!   ready ──► send now                    (a leader's appends: they need not wait for its own disk)
//!        ├──► persist ──► synced ──► send what was held back       (votes, acknowledgements: rule R2)
//!        └──► committed ──► Machine
//! ```
//!
//! At most one [`Persist`] is under way. What the engine produces meanwhile is merged into the next one,
//! so a slow disk makes bigger records and not a longer queue (group commit).
//!
//! A leader whose own disk hangs must not go on leading on the strength of its network alone: while a
//! record is overdue by an election timeout, the replica lets no time pass for its engine, so no
//! heartbeat leaves, and the others elect somebody whose disk works (rule R16).

use crate::config::{Boot, Health, NodeConfig};
use crate::effects::{Effects, Persist, SnapshotSend};
use crate::node::passes_promises;
use base::limits::LOG_TAIL_BYTES_MAX;
use base::{
    Change, Entry, HardState, Index, Instant, LogPosition, Mark, MemberId, Membership, Message,
    MessageKind, PeerMessage, SnapshotMeta, Term,
};
use bytes::Bytes;
use consensus::{
    Config, Engine, Misconfigured, Ready, Refused, Restored, Role, StartEngine, Status,
};
use std::collections::VecDeque;
use std::time::Duration;
use store::State;

/// Messages that wait for a record; beyond it new ones are dropped, as a network may. Only a disk that
/// has been hanging for minutes comes here.
const HELD_MESSAGES_MAX: usize = 10_000;

/// Messages that wait for a record to be durable.
#[derive(Debug)]
struct Held {
    number: u64,
    messages: Vec<Message>,
}

/// A record under way to the disk.
#[derive(Debug)]
struct UnderWay {
    number: u64,
    covers: u64,
    since: Instant,
}

/// What one round of the engine gave to the rest of the member.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) committed: Vec<Entry>,
    pub(crate) reads: Vec<(u64, Index)>,
    pub(crate) snapshot: Option<(SnapshotMeta, State)>,
}

/// The agreeing half of a member.
pub(crate) struct Replica {
    raft: Box<dyn Engine + Send>,
    member: MemberId,
    held: VecDeque<Held>,
    n_held: usize,
    pending: Option<Persist>,
    under_way: Option<UnderWay>,
    released: Vec<Message>,
    offered: Option<(SnapshotMeta, State)>,
    announced: Option<Message>,
    arrived: Option<(MemberId, SnapshotMeta, State)>,
    /// Given to the engine, which has not said yet whether it takes it.
    accepted: Option<(SnapshotMeta, State)>,
    /// The last snapshot that was installed, with the number of its record, until that is durable.
    installing: Option<(u64, Index)>,
    durable: u64,
    /// Up to here the log is decided, and that is to be durable, although nobody needs it for safety: a log
    /// that is read again need not know what was decided.
    want_decided: Option<Index>,
    /// Up to where it will be known, with this record.
    writing_decided: Option<(u64, Index)>,
    durably_decided: Index,
    disk_patience: Duration,
    log_tail_entries: u64,
    /// This member has promised not to campaign.
    is_bound: bool,
}

impl Replica {
    pub(crate) fn new(
        config: &NodeConfig,
        boot: &Boot,
        start: StartEngine,
    ) -> Result<Replica, Misconfigured> {
        let ticks = |time: Duration| (time.as_millis() / NodeConfig::TICK.as_millis()) as usize;
        let raft = start(
            Config {
                member: config.member,
                seed: config.seed,
                election_ticks: ticks(config.election),
                heartbeat_ticks: ticks(config.heartbeat),
                mutants: config.mutants,
            },
            Restored {
                hard_state: boot.hard_state,
                membership: boot.state.membership().clone(),
                snapshot: boot.state.applied(),
                entries: boot.entries.clone(),
                applied: boot.state.applied().index,
                recovering: match boot.health {
                    Health::Intact => None,
                    Health::Damaged { watermark } => Some(watermark),
                },
            },
        )?;
        Ok(Replica {
            raft,
            member: config.member,
            held: VecDeque::new(),
            n_held: 0,
            pending: None,
            under_way: None,
            released: Vec::new(),
            offered: None,
            announced: None,
            arrived: None,
            accepted: None,
            installing: None,
            durable: 0,
            want_decided: None,
            writing_decided: None,
            durably_decided: boot.hard_state.commit.max(boot.state.applied().index),
            disk_patience: config.election,
            log_tail_entries: config.log_tail_entries,
            is_bound: false,
        })
    }

    /// The engine itself.
    pub(crate) fn engine(&self) -> &dyn Engine {
        &*self.raft
    }

    /// Where the engine stands. Cheap.
    pub(crate) fn status(&self) -> Status {
        self.raft.status()
    }

    /// Whether the engine leads.
    pub(crate) fn leads(&self) -> bool {
        self.raft.status().role == Role::Leader
    }

    /// How much of the leader's log `member` is known to have.
    pub(crate) fn matched(&self, member: MemberId) -> Index {
        let peers = self.raft.peers();
        peers
            .iter()
            .find(|peer| peer.member == member)
            .map_or(Index(0), |peer| peer.matched)
    }

    /// Has it written that the log is decided up to `index`.
    pub(crate) fn want_durably_decided(&mut self, index: Index) {
        if index > self.durably_decided {
            self.want_decided = Some(index);
        }
    }

    /// Up to where this member knows the log to be decided, and still will after a crash.
    pub(crate) fn durably_decided(&self) -> Index {
        self.durably_decided
    }

    /// Lets a tick pass, unless this is a leader whose disk hangs. A follower's engine must go on
    /// counting: that is how it knows not to answer heartbeats from memory for ever.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.leads() && self.disk_hangs(now) {
            Mark::LeaderSilent.reach();
            return;
        }
        self.raft.tick();
    }

    /// Whether a record has been under way for longer than an election takes.
    pub(crate) fn disk_hangs(&self, now: Instant) -> bool {
        self.under_way
            .as_ref()
            .is_some_and(|record| now.since(record.since) > self.disk_patience)
    }

    /// Takes a message of another member. Refusals are the sender's problem, but one: a message that
    /// takes this log to be longer than it is. The sender is told where it really ends.
    pub(crate) fn receive(&mut self, message: Message) -> Option<(MemberId, PeerMessage)> {
        if message.kind == MessageKind::Snapshot {
            self.announced = Some(message);
            self.join_snapshot();
            return None;
        }
        let from = message.from;
        match self.raft.step(message) {
            Err(Refused::LogShort { .. }) => {
                let intact = self.raft.status().last;
                Some((from, PeerMessage::Recovering { intact }))
            }
            _ => None,
        }
    }

    /// A state arrived on a connection of its own. One that is not what `meta` says is dropped: the
    /// leader will offer another.
    pub(crate) fn snapshot_received(&mut self, from: MemberId, meta: SnapshotMeta, state: State) {
        if is_same(&meta_of(&state), &meta) {
            self.arrived = Some((from, meta, state));
            self.join_snapshot();
        }
    }

    /// Once both the announcement and the state are here, the engine decides whether it wants them.
    /// One at a time: until the engine has been asked about the last one, the next one waits.
    fn join_snapshot(&mut self) {
        if self.accepted.is_some() {
            return;
        }
        let (Some(message), Some((from, meta, _))) = (&self.announced, &self.arrived) else {
            return;
        };
        let announced = message.snapshot.as_ref();
        if message.from != *from || announced.is_none_or(|announced| !is_same(announced, meta)) {
            return;
        }
        let (Some(message), Some((_, meta, state))) = (self.announced.take(), self.arrived.take())
        else {
            return;
        };
        self.accepted = Some((meta, state));
        // Refused or ignored when it is older than what is committed here: then nothing comes out.
        let _ = self.raft.step(message);
    }

    /// Appends a batch, unless the engine takes none now.
    pub(crate) fn propose(&mut self, batch: Bytes) -> Result<Index, Refused> {
        self.raft.propose(batch).map(|at| at.index)
    }

    /// Appends a change of the membership, unless another one is under way or it makes no sense.
    pub(crate) fn propose_change(
        &mut self,
        changes: Vec<Change>,
        batch: Bytes,
    ) -> Result<Index, Refused> {
        self.raft.propose_change(changes, batch).map(|at| at.index)
    }

    /// Asks for a ReadIndex. False: not now (no entry of this term is committed yet).
    pub(crate) fn read_index(&mut self, attempt: u64) -> bool {
        self.raft.read_index(attempt).is_ok()
    }

    pub(crate) fn transfer(&mut self, to: MemberId) -> bool {
        self.raft.transfer(to).is_ok()
    }

    /// `peer` says that its log is intact only up to `intact`. A place that this log cannot have is
    /// not believed.
    pub(crate) fn reset_progress(&mut self, peer: MemberId, intact: LogPosition) {
        let is_zero = (intact.term == Term(0), intact.index == Index(0));
        if is_zero.0 == is_zero.1 && intact.index <= self.raft.status().last.index {
            self.raft.reset_progress(peer, intact);
        }
    }

    pub(crate) fn report_snapshot(&mut self, to: MemberId, sent: bool) {
        self.raft.report_snapshot(to, sent);
    }

    pub(crate) fn report_unreachable(&mut self, to: MemberId) {
        self.raft.report_unreachable(to);
    }

    pub(crate) fn apply_change(&mut self, entry: &Entry) -> Option<Membership> {
        self.raft.apply_change(entry).ok()
    }

    pub(crate) fn applied(&mut self, index: Index) {
        self.raft.applied(index);
    }

    /// Offers a root to followers that are too far behind. It is replaced as the leader applies more.
    pub(crate) fn offer_snapshot(&mut self, state: State) {
        let meta = meta_of(&state);
        self.raft.snapshot_provided(meta.clone());
        self.offered = Some((meta, state));
    }

    /// What is offered.
    pub(crate) fn offered(&self) -> LogPosition {
        self.offered
            .as_ref()
            .map_or(LogPosition::default(), |(meta, _)| meta.position)
    }

    /// Withdraws the offer, so that its root does not pin memory.
    pub(crate) fn withdraw_snapshot(&mut self) {
        self.offered = None;
    }

    /// Keeps the log's tail in memory within its bounds, oldest entries first. Only what `state`
    /// contains goes: whoever needs it gets a snapshot of this state or a later one.
    pub(crate) fn drop_tail(&mut self, state: &State) {
        let status = self.raft.status();
        let (first, last) = (status.first.0, status.last.index.0);
        let n_entries = (last + 1).saturating_sub(first);
        if status.log_bytes <= LOG_TAIL_BYTES_MAX && n_entries <= self.log_tail_entries {
            return;
        }
        // Half of it at once, so that this is rare.
        let to = (first + n_entries / 2).min(state.applied().index.0);
        if to >= first {
            Mark::TailDropped.reach();
            self.raft.snapshot_provided(meta_of(state));
            // The offered root no longer is what the engine would announce.
            self.offered = None;
            self.raft.compact(Index(to));
        }
    }

    /// The record `number` is durable, and with it all before. Returns the index of the snapshot that
    /// has become durable with it, if there is one.
    pub(crate) fn persisted(&mut self, number: u64) -> Option<Index> {
        let finished = self.under_way.take_if(|record| record.number <= number);
        let number = finished.map_or(number, |record| record.covers.max(number));
        self.durable = self.durable.max(number);
        self.raft.persisted(number);
        while self.held.front().is_some_and(|held| held.number <= number) {
            if let Some(held) = self.held.pop_front() {
                self.n_held -= held.messages.len();
                self.released.extend(held.messages);
            }
        }
        let decided = self
            .writing_decided
            .take_if(|(record, _)| *record <= number);
        let installed = self.installing.take_if(|(record, _)| *record <= number);
        for (_, index) in decided.into_iter().chain(installed) {
            self.durably_decided = self.durably_decided.max(index);
        }
        installed.map(|(_, index)| index)
    }

    /// Takes everything that the engine has to say.
    /// While it `is_bound` it does not ask for votes.
    pub(crate) fn turn(&mut self, now: Instant, is_bound: bool, out: &mut Effects) -> Turn {
        self.is_bound = is_bound;
        let mut turn = Turn::default();
        loop {
            let released = std::mem::take(&mut self.released);
            self.send(released, out);
            if let Some(ready) = self.raft.ready() {
                self.take(ready, &mut turn, out);
                continue;
            }
            // What the engine has not taken by now, it did not want. Perhaps it wants the next one.
            self.accepted = None;
            self.join_snapshot();
            if self.accepted.is_none() {
                break;
            }
        }
        if self.under_way.is_none()
            && let Some(persist) = self.pending.take()
        {
            let number = persist.number;
            self.under_way = Some(UnderWay {
                number,
                covers: number,
                since: now,
            });
            out.persist = Some(persist);
        }
        turn
    }

    fn take(&mut self, ready: Ready, turn: &mut Turn, out: &mut Effects) {
        let number = ready.number;
        self.send(ready.send_now, out);
        turn.committed.extend(ready.committed);
        turn.reads.extend(ready.reads);
        let snapshot = ready.snapshot.and_then(|meta| {
            let accepted = self
                .accepted
                .take_if(|(accepted, _)| accepted.position == meta.position);
            base::invariant!(
                accepted.is_some(),
                "a snapshot at {} without a state",
                meta.position
            );
            self.installing = Some((number, meta.position.index));
            turn.committed.clear();
            turn.snapshot.clone_from(&accepted);
            accepted
        });
        let decided = self.decided(number);
        let writes =
            ready.must_sync || !ready.entries.is_empty() || snapshot.is_some() || decided.is_some();
        let hard_state = decided.or(ready.hard_state);
        if writes {
            let pending = self.pending.take();
            self.pending = Some(merge(pending, number, hard_state, ready.entries, snapshot));
        }
        if number > self.durable && (self.pending.is_some() || self.under_way.is_some()) {
            let mut messages = ready.send_after_persist;
            let room = HELD_MESSAGES_MAX.saturating_sub(self.n_held);
            if messages.len() > room {
                Mark::HeldDropped.reach();
                messages.truncate(room);
            }
            if !messages.is_empty() {
                self.n_held += messages.len();
                self.held.push_back(Held { number, messages });
            }
            if let Some(pending) = &mut self.pending {
                pending.number = pending.number.max(number);
            } else if let Some(under_way) = &mut self.under_way {
                // Nothing new to write: what is under way covers it.
                under_way.covers = under_way.covers.max(number);
            }
        } else {
            if number > self.durable {
                self.persisted(number);
            }
            self.send(ready.send_after_persist, out);
        }
    }

    /// What the record of `number` is to say about what is decided, if somebody wants that durable.
    fn decided(&mut self, number: u64) -> Option<HardState> {
        let status = self.raft.status();
        self.want_decided
            .take_if(|wanted| *wanted <= status.commit)?;
        self.writing_decided = Some((number, status.commit));
        Some(HardState {
            term: status.term,
            vote: self.raft.vote(),
            commit: status.commit,
        })
    }

    /// Checks the invariants, the engine's included.
    pub(crate) fn check(&self) {
        self.raft.check();
        let n_held: usize = self.held.iter().map(|held| held.messages.len()).sum();
        base::invariant!(n_held == self.n_held, "{n_held} messages wait");
        for held in &self.held {
            base::invariant!(
                held.number > self.durable,
                "messages wait for record {}, which is durable",
                held.number
            );
        }
    }

    fn send(&mut self, messages: Vec<Message>, out: &mut Effects) {
        for message in messages {
            if message.to == self.member {
                continue;
            }
            let campaigns = matches!(message.kind, MessageKind::Vote | MessageKind::PreVote);
            if campaigns && self.is_bound && !passes_promises(&message) {
                Mark::CampaignWithheld.reach();
                continue;
            }
            if message.kind == MessageKind::Snapshot {
                let offered = self
                    .offered
                    .as_ref()
                    .filter(|(m, _)| message.snapshot.as_ref() == Some(m));
                match offered {
                    Some((meta, state)) => {
                        Mark::SnapshotSent.reach();
                        out.send_snapshots.push(SnapshotSend {
                            to: message.to,
                            meta: meta.clone(),
                            state: state.clone(),
                        });
                    }
                    None => {
                        // The offer has moved on since the engine looked: let it look again.
                        self.raft.report_snapshot(message.to, false);
                        continue;
                    }
                }
            }
            out.send
                .push((message.to, PeerMessage::Raft(Box::new(message))));
        }
    }
}

/// Joins what is to be written with what waits to be written.
fn merge(
    pending: Option<Persist>,
    number: u64,
    hard_state: Option<base::HardState>,
    entries: Vec<Entry>,
    snapshot: Option<(SnapshotMeta, State)>,
) -> Persist {
    let mut joined = pending.unwrap_or(Persist {
        number,
        hard_state: None,
        entries: Vec::new(),
        snapshot: None,
        must_sync: true,
    });
    joined.number = number;
    joined.hard_state = hard_state.or(joined.hard_state);
    if let Some((meta, state)) = snapshot {
        // The log starts anew after a snapshot; what waited before it is inside it.
        joined.entries.clear();
        joined.snapshot = Some((meta, state));
    }
    if let Some(first) = entries.first().map(|entry| entry.position.index) {
        joined.entries.retain(|entry| entry.position.index < first);
    }
    joined.entries.extend(entries);
    joined
}

/// Whether two snapshots stand for the same: members may be listed in any order.
fn is_same(one: &SnapshotMeta, other: &SnapshotMeta) -> bool {
    let sorted = |membership: &Membership| {
        let mut sorted = membership.clone();
        sorted.voters.sort_unstable();
        sorted.voters_outgoing.sort_unstable();
        sorted.learners.sort_unstable();
        sorted.learners_next.sort_unstable();
        sorted
    };
    one.position == other.position && sorted(&one.membership) == sorted(&other.membership)
}

/// What a snapshot of `state` stands for.
pub(crate) fn meta_of(state: &State) -> SnapshotMeta {
    SnapshotMeta {
        position: state.applied(),
        membership: state.membership().clone(),
    }
}
