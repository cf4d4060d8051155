//! Clients at work: requests travel to a member, through etcd's front, and answers travel back.
//!
//! A client that hears nothing gives up, and then the outcome is unknown; a connection that breaks is
//! unknown too. Only an answer, or a refusal in so many words, is certain.

use crate::client::{Client, asked};
use crate::governing::{Governing, User};
use crate::plan::Plan;
use crate::speak;
use crate::stage::ShellBug;
use crate::workload::Worker;
use crate::world::{Event, World};
use base::{LeaseId, Mutant, Rng};
use bytes::Bytes;
use checker::history::text;
use checker::{Answer, Level, Operation, Outcome, Request, Target, Violation};
use etcd::auth::Needs;
use etcd::{HeaderParts, Reply, Status};
use node::{LeaseAnswer, RetryRefusal, Ticket};
use std::collections::BTreeMap;
use std::time::Duration;
use store::command::Identity;

/// What can happen to clients.
#[allow(missing_docs)] // The fields' names say what they are.
pub enum ClientEvent {
    /// It asks its next request.
    Next { client: usize },
    /// A request reaches a member.
    Arrives {
        operation: u64,
        member: usize,
        life: u32,
    },
    /// An answer reaches its client. `is_decided`: the log has decided it, so it is the answer to all attempts.
    Returns {
        operation: u64,
        outcome: Outcome,
        is_decided: bool,
    },
    /// It waits no longer.
    GivesUp { operation: u64 },
    /// History is compacted.
    Compact,
}

struct Open {
    client: usize,
    member: usize,
    /// The session and number under which it may be asked again.
    once: Option<(LeaseId, u64)>,
    n_attempts: u32,
}

/// A client's session, in worlds that have them.
#[derive(Clone, Copy, Default)]
struct Session {
    lease: LeaseId,
    last: u64,
    n_opened: u64,
    /// The operation that opens it or ends it.
    changing: u64,
}

/// How often a write of a session is asked at most.
const ATTEMPTS_MAX: u32 = 8;

/// A session's time to live, in seconds: longer than most runs.
const SESSION_TTL_S: u64 = 60;

/// All clients.
pub struct Asking {
    clients: Vec<Client>,
    /// Those who work at the application; their places come after all of `clients`.
    workers: Vec<Worker>,
    /// Those who try what they may not; their places come after all others.
    pub users: Vec<User>,
    is_governed: bool,
    /// Which member each talks to.
    home: Vec<usize>,
    open: BTreeMap<u64, Open>,
    sessions: Vec<Session>,
    rng: Rng,
    /// All operations; the number of one is its place, from 1.
    pub history: Vec<Operation>,
    /// They ask nothing more by themselves.
    pub are_quiet: bool,
    /// For each member: the operation of the last write, and whether it was answered.
    pub last_writes: BTreeMap<usize, (u64, bool)>,
}

impl Asking {
    /// Clients as `plan` wants them.
    pub fn new(plan: &Plan, mut rng: Rng) -> Asking {
        let client = |number| Client::new(number, rng.fork(number));
        // One more for administration and one for the last writes.
        let clients: Vec<Client> = (1..=plan.n_clients + 2).map(client).collect();
        let workers: Vec<Worker> = plan
            .workload
            .iter()
            .flat_map(|it| (1..=it.n_workers).map(|n| it.worker(plan.seed, plan.n_clients + 2 + n)))
            .collect();
        let others = (clients.len() + workers.len()) as u64;
        let users = Governing::users(plan.rules, plan.seed, others);
        Asking {
            home: (1..=clients.len() + workers.len() + users.len())
                .map(|number| number % plan.n_members)
                .collect(),
            sessions: vec![Session::default(); clients.len()],
            clients,
            workers,
            users,
            is_governed: plan.rules.is_some(),
            open: BTreeMap::new(),
            rng,
            history: Vec::new(),
            are_quiet: false,
            last_writes: BTreeMap::new(),
        }
    }

    /// The places of those who ask again and again.
    fn steady(&self, plan: &Plan) -> Vec<usize> {
        let all = self.clients.len() + self.workers.len() + self.users.len();
        (0..plan.n_clients as usize)
            .chain(self.clients.len()..all)
            .collect()
    }

    /// Whether `operation` still waits for its answer.
    pub(crate) fn is_open(&self, operation: u64) -> bool {
        self.open.contains_key(&operation)
    }

    /// The operation that `client` waits for, if any.
    pub(crate) fn waits_for(&self, client: usize) -> Option<u64> {
        let mut open = self.open.iter();
        open.find(|(_, it)| it.client == client).map(|(op, _)| *op)
    }

    fn next(&mut self, client: usize, plan: &Plan) -> Request {
        match client.checked_sub(self.clients.len()) {
            None => self.clients[client].next(plan),
            Some(worker) => match worker.checked_sub(self.workers.len()) {
                None => self.workers[worker].next_request(),
                Some(user) => self.users[user].next_request(),
            },
        }
    }

    /// Under which name `client` asks, in worlds where that counts.
    fn name(&self, client: usize) -> Option<Bytes> {
        let before = self.clients.len() + self.workers.len();
        let name = match client.checked_sub(before) {
            Some(user) => self.users[user].name(),
            None => etcd::auth::ROOT_USER.into(),
        };
        self.is_governed.then_some(name)
    }

    /// The request that opens a session, for a client that wants one and has none; now and then one that ends it.
    fn change_session(&mut self, client: usize, plan: &Plan) -> Option<Request> {
        let session = self.sessions.get_mut(client).filter(|_| plan.once)?;
        let lease = session.lease;
        if !lease.is_none() {
            return self.rng.one_in(60).then_some(Request::Revoke { lease });
        }
        session.n_opened += 1;
        let number = (client as u64 + 1) << 32 | 0x8000_0000 | session.n_opened;
        Some(Request::Grant {
            lease: LeaseId(number as i64),
            ttl: SESSION_TTL_S * 1_000_000_000,
        })
    }

    /// The session and number of a write, for a client that has a session.
    fn number(&mut self, client: usize, request: &Request) -> Option<(LeaseId, u64)> {
        let session = self.sessions.get_mut(client)?;
        let is_write = !matches!(request, Request::Range { .. } | Request::Renew { .. });
        if session.lease.is_none() || !is_write {
            return None;
        }
        session.last += 1;
        Some((session.lease, session.last))
    }

    fn learn(&mut self, client: usize, record: &Operation) {
        if let Some(session) = self.sessions.get_mut(client)
            && session.changing == record.number
        {
            if let (Request::Grant { lease, .. }, Outcome::Answered { .. }) =
                (&record.request, &record.outcome)
            {
                (session.lease, session.last) = (*lease, 0);
            }
            return;
        }
        match client.checked_sub(self.clients.len()) {
            None => self.clients[client].learn(record),
            // Users learn nothing from what they are told.
            Some(worker) if worker >= self.workers.len() => {}
            Some(worker) => self.workers[worker].learn(record),
        }
    }
}

impl World {
    /// Lets every client ask its first request soon.
    pub fn begin_asking(&mut self) {
        for client in self.asking.steady(&self.settings.plan) {
            let after = self.asking.rng.below(500_000);
            self.schedule
                .after_us(after, Event::Client(ClientEvent::Next { client }));
        }
        if let Some(every) = self.settings.plan.compaction {
            self.schedule
                .after(every, Event::Client(ClientEvent::Compact));
        }
    }

    /// Something happens to a client.
    pub fn client_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Next { client } => {
                if !self.asking.are_quiet {
                    let plan = &self.settings.plan;
                    let change = self.asking.change_session(client, plan);
                    let is_change = change.is_some();
                    let request = change.unwrap_or_else(|| self.asking.next(client, plan));
                    let member = self.pick_home(client);
                    let number = self.ask(client, member, request);
                    if is_change {
                        let session = &mut self.asking.sessions[client];
                        session.changing = number;
                        session.lease = LeaseId::NONE;
                    }
                }
            }
            ClientEvent::Arrives {
                operation,
                member,
                life,
            } => {
                self.arrives(operation, member, life);
            }
            ClientEvent::Returns {
                operation,
                outcome,
                is_decided,
            } => self.returns(operation, outcome, is_decided),
            ClientEvent::GivesUp { operation } => self.gives_up(operation),
            ClientEvent::Compact => self.ask_compaction(),
        }
    }

    fn pick_home(&mut self, client: usize) -> usize {
        let running = self.running();
        let home = self.asking.home[client];
        if !running.contains(&home) || self.asking.rng.one_in(40) {
            self.asking.home[client] = self.asking.rng.pick(&running).copied().unwrap_or(home);
        }
        self.asking.home[client]
    }

    /// `client` asks `member`; returns the operation's number.
    pub(crate) fn ask(&mut self, client: usize, member: usize, request: Request) -> u64 {
        let now = self.now();
        let number = self.asking.history.len() as u64 + 1;
        let who = client as u64 + 1;
        self.trace.note(now, "ask", &[number, who], || {
            format!("client {who} #{number}: {request}")
        });
        let once = self.asking.number(client, &request);
        self.asking.history.push(asked(number, who, now, request));
        let open = Open {
            client,
            member,
            once,
            n_attempts: 1,
        };
        self.asking.open.insert(number, open);
        self.send_request(number, member);
        number
    }

    fn send_request(&mut self, number: u64, member: usize) {
        let after = self.asking.rng.between(20, 400);
        let life = self.members[member].life;
        let now = self.now();
        if let Some(tape) = &mut self.tape {
            let asked = &self.asking.history[number as usize - 1];
            let text = format!("#{number} {}", plain(&asked.request));
            tape.asks(now, asked.client, self.members[member].id, number, text);
        }
        let event = ClientEvent::Arrives {
            operation: number,
            member,
            life,
        };
        self.schedule.after_us(after, Event::Client(event));
        let patience = self.settings.plan.patience;
        self.schedule.after(
            patience,
            Event::Client(ClientEvent::GivesUp { operation: number }),
        );
    }

    /// Asks a session's write again, at any member that runs. False when it may not be, or was often enough.
    fn ask_again(&mut self, operation: u64) -> bool {
        let running = self.running();
        let Some(member) = self.asking.rng.pick(&running).copied() else {
            return false;
        };
        let Some(open) = self.asking.open.get_mut(&operation) else {
            return false;
        };
        if open.once.is_none() || open.n_attempts == ATTEMPTS_MAX {
            return false;
        }
        open.n_attempts += 1;
        open.member = member;
        self.note(member, "ask-again", || format!("#{operation}"));
        self.send_request(operation, member);
        true
    }

    fn ask_compaction(&mut self) {
        if let Some(every) = self.settings.plan.compaction {
            self.schedule
                .after(every, Event::Client(ClientEvent::Compact));
        }
        let administrator = self.settings.plan.n_clients as usize;
        if self.asking.are_quiet
            || self
                .asking
                .open
                .values()
                .any(|open| open.client == administrator)
        {
            return;
        }
        let back = self.asking.rng.below(40);
        let last = self.chronicle.last();
        let revision = base::Revision(last.0.saturating_sub(back).max(1));
        self.watching.compacted = self.watching.compacted.max(revision);
        let member = self.pick_home(administrator);
        self.ask(administrator, member, Request::Compact { revision });
    }

    /// Asks a member that stood still for a key, at once: it may not know yet what happened meanwhile.
    pub fn ask_the_woken(&mut self, member: usize) {
        let plan = &self.settings.plan;
        let administrator = plan.n_clients as usize;
        let mut open = self.asking.open.values();
        let is_busy = open.any(|open| open.client == administrator);
        if !plan.curious || self.asking.are_quiet || is_busy {
            return;
        }
        let request = self.asking.clients[administrator].fresh_get(plan);
        self.ask(administrator, member, request);
    }

    /// Asks a last write of `member`, as often as it takes.
    pub fn ask_last_write(&mut self, member: usize) {
        let client = self.settings.plan.n_clients as usize + 1;
        let request = self.asking.clients[client].last_write();
        let number = self.ask(client, member, request);
        self.asking.last_writes.insert(member, (number, false));
    }

    fn arrives(&mut self, operation: u64, member: usize, life: u32) {
        if !self.asking.open.contains_key(&operation) {
            return;
        }
        let it = &mut self.members[member];
        if it.is_paused {
            // It waits in the socket.
            let event = ClientEvent::Arrives {
                operation,
                member,
                life,
            };
            return self.schedule.after_us(5_000, Event::Client(event));
        }
        let request = self.asking.history[operation as usize - 1].request.clone();
        if let Some(tape) = self.tape.as_mut().filter(|_| it.process.is_some()) {
            let now = self.schedule.now();
            let text = format!("#{operation} {}", plain(&request));
            tape.is_asked(now, it.id, operation, text);
        }
        let Some(process) = it.process.as_mut().filter(|_| it.life == life) else {
            let reason = "connection refused".to_owned();
            return self.reply(operation, Outcome::Refused { reason });
        };
        if let Request::Renew { lease } = request {
            let ticket = process.ticket();
            process.renewing.insert(ticket, operation);
            if let Err(refused) = process.node.lease_renew(ticket, lease) {
                process.renewing.remove(&ticket);
                return self.reply(
                    operation,
                    Outcome::Refused {
                        reason: refused.to_string(),
                    },
                );
            }
            return self.pump_soon(member);
        }
        let Some((method, body)) = speak::encode(&request) else {
            return;
        };
        let refused = match process.session.plan(method, body) {
            Err(status) => Some(status.message.to_string()),
            Ok(etcd::Plan::Propose { request, .. }) => {
                let open = self.asking.open.get(&operation);
                let once = open.and_then(|open| open.once);
                let name = open.and_then(|open| self.asking.name(open.client));
                let mut identity = name.map(|name| etcd::auth::user_identity(&process.state, name));
                if self.settings.mutants.has(Mutant::AuthDecidedBeforeLog) && identity.is_some() {
                    let version = process.state.apply_version();
                    let needs = Needs::of_request(&request, version).unwrap_or_default();
                    let may = etcd::auth::permit(&process.state, identity.as_ref(), &needs);
                    if let Err(refusal) = may {
                        let reason = Status::from(refusal).message.to_string();
                        return self.reply(operation, Outcome::Refused { reason });
                    }
                    identity = Some(Identity::Member);
                }
                let proposed = process
                    .node
                    .propose_as(etcd::DIALECT, request, once, identity);
                match proposed {
                    Err(refused) => Some(refused.to_string()),
                    Ok(tag) => {
                        process.proposed.insert(tag, operation);
                        let leads = process.node.is_leader();
                        if self.shell_bug == Some(ShellBug::AnswerEarly) && leads {
                            self.answer_early(member, operation);
                        }
                        None
                    }
                }
            }
            Ok(etcd::Plan::Read(read))
                if read.linearizable && self.shell_bug != Some(ShellBug::ReadLocally) =>
            {
                let ticket = process.ticket();
                match process.node.read(ticket) {
                    Err(refused) => Some(refused.to_string()),
                    Ok(()) => {
                        process
                            .reading
                            .insert(ticket, crate::member::Reading { operation, read });
                        None
                    }
                }
            }
            Ok(etcd::Plan::Read(read)) => return self.answer_read(member, operation, &read),
            Ok(other) => Some(format!("unexpected plan {other:?}")),
        };
        match refused {
            Some(reason) => self.reply(operation, Outcome::Refused { reason }),
            None => self.pump_soon(member),
        }
    }

    /// The planted bug: a put is answered as if nothing could keep it from being decided.
    fn answer_early(&mut self, member: usize, operation: u64) {
        let request = &self.asking.history[operation as usize - 1].request;
        let Some(process) = &self.members[member].process else {
            return;
        };
        if matches!(request, Request::Put { .. }) {
            let outcome = Outcome::Answered {
                revision: process.state.revision().next(),
                answer: Answer::Put { previous: None },
            };
            self.reply(operation, outcome);
        }
    }

    fn header(&self, member: usize) -> HeaderParts {
        HeaderParts {
            cluster: crate::member::CLUSTER,
            member: self.members[member].id,
            term: base::Term(1),
        }
    }

    fn answer_read(&mut self, member: usize, operation: u64, read: &etcd::Read) {
        let header = self.header(member);
        let Some(process) = &self.members[member].process else {
            return;
        };
        let open = self.asking.open.get(&operation);
        let name = open.and_then(|open| self.asking.name(open.client));
        let mut caller = Ok(name.map(|name| etcd::auth::user_identity(&process.state, name)));
        if self.settings.mutants.has(Mutant::AuthReadNotChecked) {
            caller = caller.map(|known| known.map(|_| Identity::Member));
        }
        let answer = match etcd::answer_as(&process.state, &caller, &read.query, &header) {
            Ok(Reply::Whole(bytes)) => Ok(bytes),
            Ok(Reply::Steps(_)) => return,
            Err(status) => Err(status),
        };
        self.reply_bytes(operation, answer);
    }

    /// A command was decided.
    pub fn answered(&mut self, member: usize, answer: node::Answer) {
        let header = self.header(member);
        let Some(process) = &mut self.members[member].process else {
            return;
        };
        let Some(operation) = process.proposed.remove(&answer.tag) else {
            return;
        };
        match answer.outcome {
            // The outcome is in the state and not known here: the client hears nothing.
            Err(_) => self.reply(operation, Outcome::Unknown),
            Ok(outcome) => match RetryRefusal::from_status(outcome.status) {
                Some(refusal) => self.retry_refused(operation, refusal),
                None => {
                    let bytes = etcd::answer_outcome(&outcome, answer.revision, &header);
                    self.reply_bytes(operation, bytes);
                }
            },
        }
    }

    /// The log says that a session's write cannot be asked like this.
    fn retry_refused(&mut self, operation: u64, refusal: RetryRefusal) {
        let Some(open) = self.asking.open.get(&operation) else {
            return;
        };
        if refusal != RetryRefusal::SessionOver {
            // Each client asks one thing at a time, and small things only.
            let what = format!("#{operation} is refused: {refusal}");
            return self.violate(Violation::new("a_session_is_its_clients_own", what));
        }
        self.asking.sessions[open.client].lease = LeaseId::NONE;
        let outcome = match open.n_attempts {
            1 => Outcome::Refused {
                reason: refusal.to_string(),
            },
            _ => Outcome::Unknown,
        };
        self.reply_with(operation, outcome, true);
    }

    /// A linearizable read may look.
    pub fn read_ready(&mut self, member: usize, ticket: Ticket, may: bool) {
        let Some(process) = &mut self.members[member].process else {
            return;
        };
        let Some(reading) = process.reading.remove(&ticket) else {
            return;
        };
        if may {
            self.answer_read(member, reading.operation, &reading.read);
        }
    }

    /// The leader answered a renewal.
    pub fn lease_answered(&mut self, member: usize, ticket: Ticket, answer: LeaseAnswer) {
        let Some(process) = &mut self.members[member].process else {
            return;
        };
        let Some(operation) = process.renewing.remove(&ticket) else {
            return;
        };
        let outcome = match answer {
            LeaseAnswer::Alive { .. } => Outcome::Answered {
                revision: process.state.revision(),
                answer: Answer::Renewed,
            },
            LeaseAnswer::Gone => Outcome::Refused {
                reason: "lease is gone".to_owned(),
            },
            LeaseAnswer::Stopped => Outcome::Unknown,
        };
        self.reply(operation, outcome);
    }

    fn reply_bytes(&mut self, operation: u64, answer: Result<Bytes, Status>) {
        let request = &self.asking.history[operation as usize - 1].request;
        let is_decided = !answer.as_ref().is_err_and(is_about_who_asks);
        let outcome = match answer {
            Err(status) => Outcome::Refused {
                reason: status.message.to_string(),
            },
            Ok(bytes) => match speak::decode(request, &bytes) {
                Ok((revision, answer)) => Outcome::Answered { revision, answer },
                Err(what) => {
                    return self.violate(Violation::new("the_front_speaks_etcd", what));
                }
            },
        };
        self.reply_with(operation, outcome, is_decided);
    }

    fn reply(&mut self, operation: u64, outcome: Outcome) {
        self.reply_with(operation, outcome, false);
    }

    fn reply_with(&mut self, operation: u64, outcome: Outcome, is_decided: bool) {
        let after = self.asking.rng.between(20, 400);
        let now = self.now();
        if let Some(tape) = &mut self.tape
            && let Some(open) = self.asking.open.get(&operation)
            && outcome != Outcome::Unknown
            && self.members[open.member].process.is_some()
        {
            let (from, client) = (self.members[open.member].id, open.client as u64 + 1);
            let text = format!("#{operation} {}", brief(&outcome));
            tape.answers(now, from, client, operation, text);
        }
        let event = ClientEvent::Returns {
            operation,
            outcome,
            is_decided,
        };
        self.schedule.after_us(after, Event::Client(event));
    }

    fn returns(&mut self, operation: u64, mut outcome: Outcome, is_decided: bool) {
        let now = self.now();
        let Some(open) = self.asking.open.get(&operation) else {
            return;
        };
        // What one attempt comes to says nothing of the others, unless the log has decided.
        let is_open = open.once.is_some() && !is_decided;
        if is_open && (open.n_attempts > 1 || outcome == Outcome::Unknown) {
            if self.ask_again(operation) {
                return;
            }
            outcome = Outcome::Unknown;
        }
        let Some(open) = self.asking.open.remove(&operation) else {
            return;
        };
        let record = &mut self.asking.history[operation as usize - 1];
        record.returned = now;
        record.outcome = outcome;
        let numbers = [
            operation,
            record.revision().map_or(0, |revision| revision.0),
        ];
        let text = record.to_string();
        if let Some(tape) = &mut self.tape {
            let text = format!("#{operation} {}", brief(&record.outcome));
            tape.is_answered(now, record.client, operation, text);
        }
        self.trace.note(now, "answer", &numbers, || text);
        let record = self.asking.history[operation as usize - 1].clone();
        self.asking.learn(open.client, &record);
        if let Some((last, answered)) = self.asking.last_writes.get_mut(&open.member)
            && *last == operation
        {
            *answered = matches!(record.outcome, Outcome::Answered { .. });
            if !*answered {
                self.ask_last_write(open.member);
            }
            return;
        }
        self.next_later(open.client);
    }

    fn gives_up(&mut self, operation: u64) {
        let now = self.now();
        let Some(member) = self.asking.open.get(&operation).map(|open| open.member) else {
            return;
        };
        self.trace
            .note(now, "give-up", &[operation], || format!("#{operation}"));
        if let Some(tape) = &mut self.tape {
            let client = self.asking.history[operation as usize - 1].client;
            tape.gives_up(now, client, operation);
        }
        self.stop_waiting(operation, member);
        if self.ask_again(operation) {
            return;
        }
        let Some(open) = self.asking.open.remove(&operation) else {
            return;
        };
        let record = self.asking.history[operation as usize - 1].clone();
        self.asking.learn(open.client, &record);
        if self
            .asking
            .last_writes
            .get(&open.member)
            .is_some_and(|(last, _)| *last == operation)
        {
            return self.ask_last_write(open.member);
        }
        let running = self.running();
        if let Some(other) = self.asking.rng.pick(&running) {
            self.asking.home[open.client] = *other;
        }
        self.next_later(open.client);
    }

    /// The connection to `member` is closed before the answer.
    fn stop_waiting(&mut self, operation: u64, member: usize) {
        let Some(process) = &mut self.members[member].process else {
            return;
        };
        let mut proposed = process.proposed.iter();
        let tag = proposed.find(|(_, op)| **op == operation);
        if let Some(tag) = tag.map(|(tag, _)| *tag) {
            process.proposed.remove(&tag);
            process.node.forget(tag);
        }
        process
            .reading
            .retain(|_, reading| reading.operation != operation);
        process.renewing.retain(|_, op| *op != operation);
    }

    fn next_later(&mut self, client: usize) {
        if !self.asking.steady(&self.settings.plan).contains(&client) {
            return;
        }
        let think = self.settings.plan.think;
        let after = Duration::from_micros(self.asking.rng.below(think.as_micros() as u64));
        self.schedule
            .after(after, Event::Client(ClientEvent::Next { client }));
    }

    /// Connections to a member broke.
    pub fn asking_lost_member(&mut self, member: usize) {
        let lost: Vec<u64> = self
            .asking
            .open
            .iter()
            .filter(|(_, open)| open.member == member)
            .map(|(operation, _)| *operation)
            .collect();
        for operation in lost {
            self.reply(operation, Outcome::Unknown);
        }
    }
}

/// What is asked, in a few words.
pub fn plain(request: &Request) -> String {
    let (compares, then) = match request {
        Request::Txn { compares, then, .. } => (&compares[..], &then[..]),
        Request::Range {
            level: Level::Serializable,
            span,
            at: None,
        } => return format!("get {span} stale"),
        Request::Grant { lease, ttl } => {
            return format!("grant {lease} {}", ttl / 1_000_000_000);
        }
        other => return other.to_string(),
    };
    let ([compare], [Request::Put { key, value, .. }]) = (compares, then) else {
        return format!("txn of {} compares, {} writes", compares.len(), then.len());
    };
    let old = match &compare.target {
        Target::Value(value) => text(value),
        Target::Version(0) => "-".to_owned(),
        _ => return format!("txn on {}", text(key)),
    };
    format!("cas {} {old} {}", text(key), text(value))
}

/// How an operation ended, in a few words.
pub fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered {
            answer: Answer::Rows(rows),
            ..
        } => match &rows[..] {
            [] => "nothing".to_owned(),
            [row] => text(&row.value),
            rows => format!("{} rows", rows.len()),
        },
        Outcome::Answered {
            answer: Answer::Put { .. },
            revision,
        } => format!("ok, revision {revision}"),
        Outcome::Answered {
            answer: Answer::Txn { succeeded, .. },
            ..
        } => (if *succeeded { "swapped" } else { "not swapped" }).to_owned(),
        Outcome::Answered { answer, .. } => answer.to_string(),
        Outcome::Refused { reason } => format!("refused: {reason}"),
        Outcome::Unknown => "unknown".to_owned(),
    }
}

/// Whether a refusal is about who asks, as of now: of an attempt before, what became of it is not told then.
fn is_about_who_asks(refused: &Status) -> bool {
    use etcd::Refusal::{AuthOldRevision, PermissionDenied, UserEmpty};
    let about = [AuthOldRevision, PermissionDenied, UserEmpty];
    about
        .iter()
        .any(|refusal| refusal.message() == refused.message)
}
