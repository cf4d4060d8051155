//! Clients of the native front: their calls travel to a member, through the production front, and answers travel back.
//!
//! ```text
//!   contender.rs ─┐  Ask as protobuf      native::Session ─► log, lease, read of a level, desk      ┌─► facts ─► checker::line
//!                 ├───────────────────►   (NativeDoor, at each member)          ──► native::Reply ──┤
//!   reader.rs  ───┘                                                                                 └─► looks ─► checker::fresh
//! ```
//!
//! What is known for certain is an answer, or a refusal that the log or the front decided; all else is unknown. The
//! clients' minds are in `contender.rs` and `reader.rs`.

mod ask;

use ask::AWAIT_MS;
pub use ask::{Ask, Told, queue};

use crate::contender::Contender;
use crate::member::CLUSTER;
use crate::plan::Plan;
use crate::reader::Reader;
use crate::world::{Event, World};
use api::proto;
use base::{LeaseId, Revision, Rng, Term};
use checker::fresh::{Anomalies, Look};
use checker::line::{Change, Fact, Kind, Line, Lines, Place};
use checker::{Chronicle, Event as Happened, Operation, Time, Violation};
use native::{
    AnswerKind, Desk, Encoding, Freshness, HeaderParts, Level, Limits, ObserverId, Query,
    QueueName, Renewed, Reply, Session, Wait, WaitId, Woken,
};
use node::{How, LeaseAnswer, ReadFailed, ReadGrant, ReadLevel, ReadNow, Tag, Ticket};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::{RootId, State};

/// Waits at one member's desk.
const WAITS_MAX: usize = 1000;

/// What can happen to clients of the native front.
#[allow(missing_docs)] // The fields' names say what they are.
pub enum NativeEvent {
    /// A contender looks around.
    Contends { client: usize },
    /// A contender renews its lease, if it is still this one.
    Renews { client: usize, lease: LeaseId },
    /// A reader asks its next request.
    Reads { client: usize },
    /// A call reaches a member.
    Arrives { call: u64, member: usize, life: u32 },
    /// Its answer reaches the client.
    Returns { call: u64, told: Told },
    /// The client waits no longer.
    GivesUp { call: u64 },
    /// The time to wait at a desk is over.
    WaitIsOver {
        call: u64,
        member: usize,
        wait: WaitId,
    },
    /// A piece of work reaches what compares tokens.
    Works { line: Line, token: Revision },
    /// An observer looks for a member.
    Observes,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The contender with this place.
    Contender(usize),
    /// The reader with this place.
    Reader(usize),
}

/// One call that is under way.
pub struct Call {
    /// Whose.
    pub who: Who,
    /// What.
    pub ask: Ask,
    /// At which member, and in which of its lives.
    pub at: (usize, u32),
    /// When it was asked.
    pub call: Time,
    /// Its number in the history, if it belongs there.
    pub operation: Option<u64>,
    /// How often it was asked.
    pub n_attempts: u32,
}

/// What waits at a member for leave to go on.
pub enum Pending {
    /// A read.
    Read(Query, Level),
    /// A wait at the desk.
    Await(QueueName, Revision, Option<Duration>),
    /// A renewal's answer that waits for a state that knows the lease.
    Renewed(LeaseId, Renewed),
}

/// The native front of one process.
pub struct NativeDoor {
    /// The session half.
    pub session: Session,
    /// Waits and observers.
    pub desk: Desk,
    proposed: BTreeMap<Tag, (u64, AnswerKind)>,
    reading: BTreeMap<Ticket, u64>,
    renewing: BTreeMap<Ticket, (u64, LeaseId)>,
    pending: BTreeMap<u64, Pending>,
    waits: BTreeMap<WaitId, (u64, QueueName, Revision)>,
    observers: BTreeMap<ObserverId, (u64, Line)>,
}

impl NativeDoor {
    /// The door of a new process.
    pub fn new(seed: u64) -> NativeDoor {
        NativeDoor {
            session: Session::new(Limits::default(), CLUSTER, seed),
            desk: Desk::new(WAITS_MAX),
            proposed: BTreeMap::new(),
            reading: BTreeMap::new(),
            renewing: BTreeMap::new(),
            pending: BTreeMap::new(),
            waits: BTreeMap::new(),
            observers: BTreeMap::new(),
        }
    }
}

/// All clients of the native front, and what is known of them.
pub struct Natives {
    /// Who wants places.
    pub contenders: Vec<Contender>,
    /// Who writes and reads.
    pub readers: Vec<Reader>,
    /// Calls under way.
    pub calls: BTreeMap<u64, Call>,
    n_calls: u64,
    n_streams: u64,
    pub(crate) rng: Rng,
    /// What happened to keys, as the judges know it.
    pub history: Vec<Operation>,
    /// Keys by revision.
    pub chronicle: Chronicle,
    /// Lines by revision.
    pub lines: Lines,
    /// What clients were told of places and leases, and did.
    pub facts: Vec<Fact>,
    /// Reads that were answered.
    pub looks: Vec<Look>,
    /// Permitted anomalies that were seen, once the run was judged.
    pub anomalies: Anomalies,
    /// The newest session token of all readers: it travels.
    pub token: Revision,
    /// Writes that were fenced: by value.
    pub fenced: BTreeMap<Vec<u8>, (Line, Revision)>,
    /// The newest token that the outside has seen, by line.
    gates: BTreeMap<Line, Revision>,
    /// Late work that the outside refused.
    pub n_late_works: u64,
    /// The line that is observed.
    observed: Option<Line>,
}

impl Natives {
    /// Clients as `plan` wants them.
    pub fn new(plan: &Plan) -> Natives {
        let mut rng = Rng::new(plan.seed ^ 0x4e41_5449_5645_0002);
        let (mut contenders, mut readers) = (Vec::new(), Vec::new());
        let mut observed = None;
        if let Some(natives) = &plan.natives {
            for n in 0..natives.n_contenders {
                let place = n as usize % natives.lines.len();
                contenders.push(Contender::new(n, place, plan, natives, rng.fork(n)));
            }
            for n in 0..natives.n_readers {
                readers.push(Reader::new(n, natives, rng.fork(100 + n)));
            }
            observed = contenders.first().map(|contender| contender.line.clone());
        }
        Natives {
            contenders,
            readers,
            calls: BTreeMap::new(),
            n_calls: 0,
            n_streams: 0,
            rng,
            history: Vec::new(),
            chronicle: Chronicle::default(),
            lines: Lines::default(),
            facts: Vec::new(),
            looks: Vec::new(),
            anomalies: Anomalies::default(),
            token: Revision(0),
            fenced: BTreeMap::new(),
            gates: BTreeMap::new(),
            n_late_works: 0,
            observed,
        }
    }
}

fn parts(term: Term, member: base::MemberId) -> HeaderParts {
    HeaderParts {
        cluster: CLUSTER,
        member,
        term,
    }
}

/// What a record of the lines' root says, if it is a place: key and value as `docs/format/native.md` has them.
fn change_of(record: &store::Record) -> Option<(Line, Change)> {
    let key = record.key();
    let (kind, rest) = (key.get(1)?, key.get(4..)?);
    let n_name = usize::from(u16::from_be_bytes([*key.get(2)?, *key.get(3)?]));
    let kind = match (key.first()?, kind) {
        (b'p', 1) => Kind::Lock,
        (b'p', 2) => Kind::Semaphore,
        (b'p', 3) => Kind::Election,
        (b'p', 4) => Kind::Barrier,
        _ => return None,
    };
    let line = Line {
        kind,
        name: rest.get(..n_name)?.to_vec(),
    };
    let token = Revision(u64::from_be_bytes(*key.last_chunk()?));
    if record.is_tombstone() {
        return Some((line, Change::Gone(token)));
    }
    let standing = proto::Standing::decode(record.value()).ok()?;
    let place = Place {
        token,
        shares: standing.mode() == proto::Mode::Shared,
        permits: u64::from(standing.permits),
        lease: record.lease(),
    };
    Some((line, Change::Taken(place)))
}

impl World {
    /// Lets everybody begin soon.
    pub fn begin_natives(&mut self) {
        for client in 0..self.natives.contenders.len() {
            let after = self.natives.rng.below(600_000);
            self.native_later(after, NativeEvent::Contends { client });
        }
        for client in 0..self.natives.readers.len() {
            let after = self.natives.rng.below(600_000);
            self.native_later(after, NativeEvent::Reads { client });
        }
        if self.natives.observed.is_some() {
            self.native_later(300_000, NativeEvent::Observes);
        }
    }

    pub(crate) fn native_later(&mut self, after_us: u64, event: NativeEvent) {
        self.schedule.after_us(after_us, Event::Native(event));
    }

    /// Something happens to a client of the native front.
    pub fn native_event(&mut self, event: NativeEvent) {
        match event {
            NativeEvent::Contends { client } => self.contend(client),
            NativeEvent::Renews { client, lease } => self.renew(client, lease),
            NativeEvent::Reads { client } => self.read_next(client),
            NativeEvent::Arrives { call, member, life } => self.native_arrives(call, member, life),
            NativeEvent::Returns { call, told } => self.native_returns(call, told),
            NativeEvent::GivesUp { call } => self.native_gives_up(call),
            NativeEvent::WaitIsOver { call, member, wait } => self.wait_is_over(call, member, wait),
            NativeEvent::Works { line, token } => self.works_outside(line, token),
            NativeEvent::Observes => self.observe_lines(),
        }
    }

    // ---- to a member ------------------------------------------------------------------------

    /// Asks `member`.
    pub(crate) fn native_ask(
        &mut self,
        who: Who,
        member: usize,
        ask: Ask,
        operation: Option<u64>,
    ) -> u64 {
        let now = self.now();
        self.natives.n_calls += 1;
        let number = self.natives.n_calls;
        self.trace.note(now, "call", &[number], || {
            format!("{who:?} call {number} at member place {member}: {ask:?}")
        });
        let call = Call {
            who,
            ask,
            at: (member, self.members[member].life),
            call: now,
            operation,
            n_attempts: 1,
        };
        self.natives.calls.insert(number, call);
        self.native_send(number);
        number
    }

    fn native_send(&mut self, number: u64) {
        let Some(call) = self.natives.calls.get(&number) else {
            return;
        };
        let (member, life) = call.at;
        let is_cut = match call.who {
            Who::Contender(client) => self.natives.contenders[client].is_cut_off(self.now()),
            Who::Reader(_) => false,
        };
        let after = self.natives.rng.between(20, 400);
        if !is_cut {
            let event = NativeEvent::Arrives {
                call: number,
                member,
                life,
            };
            self.native_later(after, event);
        }
        let patience = self.settings.plan.patience + Duration::from_millis(AWAIT_MS);
        let event = Event::Native(NativeEvent::GivesUp { call: number });
        self.schedule.after(patience, event);
    }

    fn native_arrives(&mut self, number: u64, member: usize, life: u32) {
        let now = self.now();
        let Some(call) = self.natives.calls.get(&number) else {
            return;
        };
        let it = &mut self.members[member];
        if it.is_paused {
            let event = NativeEvent::Arrives {
                call: number,
                member,
                life,
            };
            return self.native_later(5_000, event);
        }
        let instant = it.clock.instant(now);
        let Some(process) = it.process.as_mut().filter(|_| it.life == life) else {
            return self.native_reply(number, Told::NotTaken);
        };
        let (method, body) = call.ask.encode();
        let plan = match process.natives.session.plan(method, body, Encoding::Proto) {
            Ok(plan) => plan,
            Err(fault) => return self.native_reply(number, Told::Fault(fault.code())),
        };
        match plan {
            native::Plan::Propose {
                dialect,
                request,
                retry,
                then,
                ..
            } => {
                let proposed = match retry {
                    Some((session, sequence)) => {
                        let node = &mut process.node;
                        node.propose_once(dialect, request, session, sequence)
                    }
                    None => process.node.propose(dialect, request),
                };
                match proposed {
                    Ok(tag) => {
                        process.natives.proposed.insert(tag, (number, then));
                    }
                    Err(_) => return self.native_reply(number, Told::NotTaken),
                }
            }
            native::Plan::Read { query, level } => {
                let wanted = match level {
                    Level::Linearizable => ReadLevel::Linearizable,
                    Level::Lease => ReadLevel::Lease,
                    Level::Bounded(behind) => ReadLevel::Bounded(behind),
                    Level::Session(token) => ReadLevel::Session(token.revision()),
                    Level::Sequential => ReadLevel::Sequential,
                };
                process
                    .natives
                    .pending
                    .insert(number, Pending::Read(query, level));
                return self.native_read(member, number, wanted, instant);
            }
            native::Plan::Renew(lease) => {
                let ticket = process.ticket();
                process.natives.renewing.insert(ticket, (number, lease));
                if process.node.lease_renew(ticket, lease).is_err() {
                    process.natives.renewing.remove(&ticket);
                    return self.native_reply(number, Told::NotTaken);
                }
            }
            native::Plan::Await {
                queue,
                token,
                timeout,
                ..
            } => {
                let pending = Pending::Await(queue, token, timeout);
                process.natives.pending.insert(number, pending);
                return self.native_read(member, number, ReadLevel::Session(token), instant);
            }
            other => {
                let what = format!("unexpected plan {other:?}");
                return self.violate(Violation::new("the_native_front_plans", what));
            }
        }
        self.pump_soon(member);
    }

    fn native_read(
        &mut self,
        member: usize,
        number: u64,
        level: ReadLevel,
        instant: base::Instant,
    ) {
        let Some(process) = &mut self.members[member].process else {
            return;
        };
        let ticket = process.ticket();
        match process.node.read_at(ticket, level, instant) {
            Ok(ReadNow::Granted(grant)) => {
                // The thread may be put aside between the leave and the look.
                let life = self.members[member].life;
                let after = match self.natives.rng.one_in(3) {
                    true => self.natives.rng.below(200),
                    false => 0,
                };
                let event = Event::NativeLook {
                    member,
                    life,
                    call: number,
                    grant,
                };
                self.schedule.after_us(after, event);
            }
            Ok(ReadNow::Waits) => {
                process.natives.reading.insert(ticket, number);
                self.pump_soon(member);
            }
            Ok(ReadNow::Failed(_)) | Err(_) => self.native_reply(number, Told::NotTaken),
        }
    }

    /// A native read may look, or never will. False when the ticket is nobody's here.
    pub fn native_read_ready(
        &mut self,
        member: usize,
        ticket: Ticket,
        result: &Result<ReadGrant, ReadFailed>,
    ) -> bool {
        let Some(process) = &mut self.members[member].process else {
            return false;
        };
        let Some(number) = process.natives.reading.remove(&ticket) else {
            return false;
        };
        match result {
            Ok(grant) => self.native_look(member, number, grant),
            Err(_) => self.native_reply(number, Told::NotTaken),
        }
        true
    }

    /// Looks at the state that a read was granted, as the server does.
    pub fn native_look(&mut self, member: usize, number: u64, grant: &ReadGrant) {
        let now = self.now();
        let it = &mut self.members[member];
        let (instant, id) = (it.clock.instant(now), it.id);
        let Some(process) = &mut it.process else {
            return;
        };
        let Some(pending) = process.natives.pending.remove(&number) else {
            return;
        };
        let state = process.state.clone();
        let parts = parts(grant.term, id);
        let mut fresh = Freshness {
            level: proto::Level::Session,
            how: match grant.how {
                How::Quorum => proto::How::Quorum,
                How::Lease => proto::How::Lease,
                How::Local => proto::How::Local,
            },
            staleness: grant.fresh_as_of.map(|fresh| instant.since(fresh)),
        };
        let reply = match pending {
            Pending::Read(query, level) => {
                fresh.level = level.level();
                let reply = native::answer(&state, &query, &parts, &fresh);
                if !process.node.lease_holds(grant, instant) {
                    return self.native_reply(number, Told::NotTaken);
                }
                reply
            }
            Pending::Renewed(lease, renewed) => {
                native::answer_renew(&state, lease, Some(renewed), &parts, &fresh)
            }
            Pending::Await(queue, token, timeout) => {
                match process.natives.desk.wait(&queue, token, &state) {
                    Ok(Wait::Over(woken)) => {
                        native::answer_await(&state, &queue, token, Some(woken), &parts, &fresh)
                    }
                    Ok(Wait::Waits(wait)) => {
                        let waits = (number, queue, token);
                        process.natives.waits.insert(wait, waits);
                        let event = NativeEvent::WaitIsOver {
                            call: number,
                            member,
                            wait,
                        };
                        let after = timeout.unwrap_or(Duration::from_millis(AWAIT_MS));
                        return self.schedule.after(after, Event::Native(event));
                    }
                    Err(_) => return self.native_reply(number, Told::NotTaken),
                }
            }
        };
        self.native_reply_with(number, reply);
    }

    fn native_reply_with(&mut self, number: u64, reply: Result<Reply, native::Fault>) {
        let told = match reply {
            Ok(reply) => Told::Reply(Box::new(reply)),
            Err(fault) => Told::Fault(fault.code()),
        };
        self.native_reply(number, told);
    }

    fn native_reply(&mut self, call: u64, told: Told) {
        let after = self.natives.rng.between(20, 400);
        self.native_later(after, NativeEvent::Returns { call, told });
    }

    // ---- from a member ----------------------------------------------------------------------

    /// A command was decided. False when it is nobody's here.
    pub fn native_answered(&mut self, member: usize, answer: &node::Answer) -> bool {
        let id = self.members[member].id;
        let Some(process) = &mut self.members[member].process else {
            return false;
        };
        let Some((number, kind)) = process.natives.proposed.remove(&answer.tag) else {
            return false;
        };
        let parts = parts(process.node.status().term, id);
        match &answer.outcome {
            Err(_) => self.native_reply(number, Told::Unknown),
            Ok(outcome) => {
                let state = &process.state;
                let reply = native::answer_outcome(kind, outcome, answer.revision, state, &parts);
                self.native_reply_with(number, reply);
            }
        }
        true
    }

    /// The leader answered a renewal. False when it is nobody's here.
    pub fn native_lease_answered(
        &mut self,
        member: usize,
        ticket: Ticket,
        answer: LeaseAnswer,
    ) -> bool {
        let now = self.now();
        let it = &mut self.members[member];
        let (instant, id) = (it.clock.instant(now), it.id);
        let Some(process) = &mut it.process else {
            return false;
        };
        let Some((number, lease)) = process.natives.renewing.remove(&ticket) else {
            return false;
        };
        let renewed = match answer {
            LeaseAnswer::Stopped => {
                self.native_reply(number, Told::NotTaken);
                return true;
            }
            LeaseAnswer::Gone => None,
            LeaseAnswer::Alive {
                remaining_ms,
                epoch,
            } => Some(Renewed {
                remaining: Duration::from_millis(remaining_ms),
                epoch,
            }),
        };
        if let Some(renewed) = renewed.filter(|_| process.state.lease(lease).is_none()) {
            // The grant may not be applied here yet.
            let pending = Pending::Renewed(lease, renewed);
            process.natives.pending.insert(number, pending);
            self.native_read(member, number, ReadLevel::Linearizable, instant);
            return true;
        }
        let parts = parts(process.node.status().term, id);
        let fresh = Freshness::LOCAL;
        let reply = native::answer_renew(&process.state, lease, renewed, &parts, &fresh);
        self.native_reply_with(number, reply);
        true
    }

    /// A batch was published: who waits and who looks on is told, and the judges are.
    pub fn native_published(
        &mut self,
        member: usize,
        state: &State,
        events: &[(RootId, store::Event)],
        restored: bool,
    ) {
        let now = self.now();
        let id = self.members[member].id;
        let mut at = 0;
        while at < events.len() {
            let revision = events[at].1.revision();
            let (mut keys, mut changes) = (Vec::new(), Vec::new());
            let mut is_etcd = false;
            while let Some((root, event)) = events
                .get(at)
                .filter(|(_, event)| event.revision() == revision)
            {
                match *root {
                    etcd::ROOT => is_etcd = true,
                    native::KEYS_ROOT => keys.push(Happened {
                        row: crate::speak::row_of_record(&event.record),
                    }),
                    _ => changes.extend(change_of(&event.record)),
                }
                at += 1;
            }
            let natives = &mut self.natives;
            let mut broken = None;
            if !is_etcd {
                broken = self.chronicle.observe_elsewhere(id, now, revision).err();
            }
            let seen = match keys.is_empty() {
                true => natives.chronicle.observe_elsewhere(id, now, revision),
                false => natives.chronicle.observe(id, now, revision, keys),
            };
            let told = match changes.is_empty() {
                true => Ok(()),
                false => natives.lines.observe(id, now, revision, changes),
            };
            for violation in broken.into_iter().chain(seen.err()).chain(told.err()) {
                self.violate(violation);
            }
        }
        let Some(process) = &mut self.members[member].process else {
            return;
        };
        let parts = parts(process.node.status().term, id);
        let mut woken = match restored {
            true => process.natives.desk.restored(state),
            false => Vec::new(),
        };
        woken.extend(process.natives.desk.publish(state, events));
        let mut replies = Vec::new();
        let mut held: BTreeMap<(Kind, Vec<u8>), BTreeSet<Revision>> = BTreeMap::new();
        for (wait, how) in woken {
            let Some((number, queue, token)) = process.natives.waits.remove(&wait) else {
                continue;
            };
            if how == Woken::Held && queue.kind() == proto::QueueKind::Election {
                let line = (Kind::Election, queue.name().to_vec());
                held.entry(line).or_default().insert(token);
            }
            let fresh = Freshness::LOCAL;
            let reply = native::answer_await(state, &queue, token, Some(how), &parts, &fresh);
            replies.push((number, reply));
        }
        let mut observed = Vec::new();
        for observer in process.natives.desk.ready() {
            let Some((stream, line)) = process.natives.observers.get(&observer).cloned() else {
                continue;
            };
            if let Some(Reply::Observe(told)) = process.natives.desk.look(observer, state, &parts) {
                observed.push(Fact::Observed {
                    stream,
                    line,
                    tokens: told.holders.iter().map(|it| Revision(it.token)).collect(),
                    revision: Revision(told.header.map_or(0, |header| header.revision)),
                });
            }
        }
        self.natives.facts.extend(observed);
        if let Some((line, tokens)) = held.iter().find(|(_, tokens)| tokens.len() > 1) {
            let what = format!(
                "{line:?}: {tokens:?} at once, at revision {}",
                state.revision()
            );
            self.violate(Violation::new("one_end_wakes_one", what));
        }
        for (number, reply) in replies {
            self.native_reply_with(number, reply);
        }
    }

    fn wait_is_over(&mut self, call: u64, member: usize, wait: WaitId) {
        let it = &mut self.members[member];
        let id = it.id;
        let Some(process) = &mut it.process else {
            return;
        };
        let is_it = process
            .natives
            .waits
            .get(&wait)
            .is_some_and(|it| it.0 == call);
        let Some((_, queue, token)) = process.natives.waits.remove(&wait).filter(|_| is_it) else {
            return;
        };
        process.natives.desk.cancel(wait);
        let parts = parts(process.node.status().term, id);
        let fresh = Freshness::LOCAL;
        let reply = native::answer_await(&process.state, &queue, token, None, &parts, &fresh);
        self.native_reply_with(call, reply);
    }

    fn observe_lines(&mut self) {
        let Some(line) = self.natives.observed.clone() else {
            return;
        };
        self.native_later(300_000, NativeEvent::Observes);
        let is_attached = self.members.iter().any(|member| {
            let process = member.process.as_ref();
            process.is_some_and(|process| !process.natives.observers.is_empty())
        });
        let running = self.running();
        let Some(member) = self.natives.rng.pick(&running).copied() else {
            return;
        };
        if let Some(process) = &mut self.members[member].process
            && !is_attached
            && let Ok(name) = QueueName::of(Some(&queue(&line)))
            && let Ok(observer) = process.natives.desk.observe(&name)
        {
            self.natives.n_streams += 1;
            let stream = (self.natives.n_streams, line);
            process.natives.observers.insert(observer, stream);
        }
    }

    fn works_outside(&mut self, line: Line, token: Revision) {
        let at = self.now();
        let gate = self.natives.gates.entry(line.clone()).or_default();
        if token < *gate {
            self.natives.n_late_works += 1;
            return;
        }
        *gate = token;
        let fact = Fact::WorkedOutside { line, token, at };
        self.natives.facts.push(fact);
    }

    // ---- to the client ----------------------------------------------------------------------

    fn native_returns(&mut self, number: u64, told: Told) {
        let now = self.now();
        let Some(call) = self.natives.calls.get(&number) else {
            return;
        };
        if let Who::Contender(client) = call.who {
            let contender = &self.natives.contenders[client];
            if contender.is_cut_off(now) {
                return;
            }
            if let Some(wakes) = contender.sleeps_until(now) {
                // It lies in the client's socket until it wakes up.
                let event = Event::Native(NativeEvent::Returns { call: number, told });
                return self
                    .schedule
                    .after(Duration::from_nanos(wakes.0 - now.0 + 1), event);
            }
        }
        let is_certain = matches!(told, Told::Reply(_) | Told::Fault(_));
        if !is_certain && call.ask.may_come_again() {
            let is_unknown = matches!(told, Told::Unknown) || call.n_attempts > 1;
            if is_unknown && self.native_ask_again(number) {
                return;
            }
            if is_unknown {
                return self.native_ends(number, Told::Unknown);
            }
        }
        self.native_ends(number, told);
    }

    /// Asks a write that may come again at any member that runs.
    fn native_ask_again(&mut self, number: u64) -> bool {
        let running = self.running();
        let Some(member) = self.natives.rng.pick(&running).copied() else {
            return false;
        };
        let life = self.members[member].life;
        let Some(call) = self.natives.calls.get_mut(&number) else {
            return false;
        };
        if call.n_attempts == 8 {
            return false;
        }
        call.n_attempts += 1;
        call.at = (member, life);
        self.native_send(number);
        true
    }

    fn native_gives_up(&mut self, number: u64) {
        let Some(call) = self.natives.calls.get(&number) else {
            return;
        };
        if call.ask.may_come_again() && self.native_ask_again(number) {
            return;
        }
        self.native_ends(number, Told::Unknown);
    }

    fn native_ends(&mut self, number: u64, told: Told) {
        let now = self.now();
        let Some(call) = self.natives.calls.remove(&number) else {
            return;
        };
        self.trace.note(now, "told", &[number], || match &told {
            Told::Reply(reply) => format!("call {number}: {reply:?}"),
            Told::Fault(code) => format!("call {number}: {code:?}"),
            Told::NotTaken => format!("call {number}: not taken"),
            Told::Unknown => format!("call {number}: unknown"),
        });
        match call.who {
            Who::Contender(client) => self.contender_hears(client, &call, told),
            Who::Reader(client) => self.reader_hears(client, &call, told),
        }
    }

    /// Connections to a member broke.
    pub fn natives_lost_member(&mut self, member: usize) {
        let calls = self.natives.calls.iter();
        let lost: Vec<u64> = calls
            .filter(|(_, call)| call.at.0 == member)
            .map(|(number, _)| *number)
            .collect();
        for number in lost {
            self.native_reply(number, Told::Unknown);
        }
    }
}
