//! Clients at work: requests travel to a member, through etcd's front, and answers travel back.
//!
//! A client that hears nothing gives up, and then the outcome is unknown; a connection that breaks is
//! unknown too. Only an answer, or a refusal in so many words, is certain.

use crate::client::{Client, asked};
use crate::plan::Plan;
use crate::speak;
use crate::workload::Worker;
use crate::world::{Event, World};
use base::Rng;
use checker::{Answer, Operation, Outcome, Request, Violation};
use etcd::{HeaderParts, Reply, Status};
use node::{LeaseAnswer, Ticket};
use std::collections::BTreeMap;
use std::time::Duration;

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
    /// An answer reaches its client.
    Returns { operation: u64, outcome: Outcome },
    /// It waits no longer.
    GivesUp { operation: u64 },
    /// History is compacted.
    Compact,
}

struct Open {
    client: usize,
    member: usize,
}

/// All clients.
pub struct Asking {
    clients: Vec<Client>,
    /// Those who work at the application; their places come after all of `clients`.
    workers: Vec<Worker>,
    /// Which member each talks to.
    home: Vec<usize>,
    open: BTreeMap<u64, Open>,
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
        Asking {
            home: (1..=clients.len() + workers.len())
                .map(|number| number % plan.n_members)
                .collect(),
            clients,
            workers,
            open: BTreeMap::new(),
            rng,
            history: Vec::new(),
            are_quiet: false,
            last_writes: BTreeMap::new(),
        }
    }

    /// The places of those who ask again and again.
    fn steady(&self, plan: &Plan) -> Vec<usize> {
        let all = self.clients.len() + self.workers.len();
        (0..plan.n_clients as usize)
            .chain(self.clients.len()..all)
            .collect()
    }

    fn next(&mut self, client: usize, plan: &Plan) -> Request {
        match client.checked_sub(self.clients.len()) {
            None => self.clients[client].next(plan),
            Some(worker) => self.workers[worker].next_request(),
        }
    }

    fn learn(&mut self, client: usize, record: &Operation) {
        match client.checked_sub(self.clients.len()) {
            None => self.clients[client].learn(record),
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
                    let request = self.asking.next(client, &self.settings.plan);
                    let member = self.pick_home(client);
                    self.ask(client, member, request);
                }
            }
            ClientEvent::Arrives {
                operation,
                member,
                life,
            } => {
                self.arrives(operation, member, life);
            }
            ClientEvent::Returns { operation, outcome } => self.returns(operation, outcome),
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

    fn ask(&mut self, client: usize, member: usize, request: Request) -> u64 {
        let now = self.now();
        let number = self.asking.history.len() as u64 + 1;
        let who = client as u64 + 1;
        self.trace.note(now, "ask", &[number, who], || {
            format!("client {who} #{number}: {request}")
        });
        self.asking.history.push(asked(number, who, now, request));
        self.asking.open.insert(number, Open { client, member });
        let after = self.asking.rng.between(20, 400);
        let life = self.members[member].life;
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
        number
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
                match process.node.propose(etcd::DIALECT, request) {
                    Err(refused) => Some(refused.to_string()),
                    Ok(tag) => {
                        process.proposed.insert(tag, operation);
                        None
                    }
                }
            }
            Ok(etcd::Plan::Read(read)) if read.linearizable => {
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
        let answer = match etcd::answer(&process.state, &read.query, &header) {
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
            Ok(outcome) => {
                let bytes = etcd::answer_outcome(&outcome, answer.revision, &header);
                self.reply_bytes(operation, bytes);
            }
        }
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

    fn reply_bytes(&mut self, operation: u64, answer: Result<bytes::Bytes, Status>) {
        let request = &self.asking.history[operation as usize - 1].request;
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
        self.reply(operation, outcome);
    }

    fn reply(&mut self, operation: u64, outcome: Outcome) {
        let after = self.asking.rng.between(20, 400);
        let event = ClientEvent::Returns { operation, outcome };
        self.schedule.after_us(after, Event::Client(event));
    }

    fn returns(&mut self, operation: u64, outcome: Outcome) {
        let now = self.now();
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
        let Some(open) = self.asking.open.remove(&operation) else {
            return;
        };
        self.trace
            .note(now, "give-up", &[operation], || format!("#{operation}"));
        if let Some(process) = &mut self.members[open.member].process {
            let tag = process
                .proposed
                .iter()
                .find(|(_, op)| **op == operation)
                .map(|(tag, _)| *tag);
            if let Some(tag) = tag {
                process.proposed.remove(&tag);
                process.node.forget(tag);
            }
            process
                .reading
                .retain(|_, reading| reading.operation != operation);
            process.renewing.retain(|_, op| *op != operation);
        }
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
