//! Readers of the native front: they write keys in sessions of their own and read them at every level.

use crate::natives::{Ask, Call, Told, Who};
use crate::plan;
use crate::world::World;
use api::{Code, SessionToken, proto};
use base::{LeaseId, Revision, Rng};
use checker::fresh::{Demand, Look};
use checker::{Answer, Level, Operation, Outcome, Request, Row, Span, Time, Violation};
use native::Reply;

/// Different keys.
const N_KEYS: u64 = 3;

/// A session's time to live: longer than most runs.
const SESSION_TTL_S: u64 = 60;

/// The mind of one reader.
pub struct Reader {
    number: u64,
    rng: Rng,
    hasty: bool,
    session: LeaseId,
    sequence: u64,
    n_values: u64,
    n_sessions: u64,
    home: usize,
    /// The member that answered by its lease last.
    office: Option<usize>,
    /// What is demanded of the read that is under way.
    demand: Demand,
}

impl Reader {
    pub(crate) fn new(number: u64, natives: &plan::Natives, rng: Rng) -> Reader {
        Reader {
            number,
            rng,
            hasty: natives.hasty,
            session: LeaseId::NONE,
            sequence: 0,
            n_values: 0,
            n_sessions: 0,
            home: number as usize,
            office: None,
            demand: Demand::Linearizable,
        }
    }
}

impl World {
    pub(crate) fn read_next(&mut self, client: usize) {
        if self.asking.are_quiet {
            return;
        }
        let running = self.running();
        let travelling = self.natives.token;
        let leaders: Vec<usize> = running
            .iter()
            .copied()
            .filter(|at| {
                let process = self.members[*at].process.as_ref();
                process.is_some_and(|process| process.node.is_leader())
            })
            .collect();
        let it = &mut self.natives.readers[client];
        if !running.contains(&it.home) || it.rng.one_in(6) {
            it.home = it.rng.pick(&running).copied().unwrap_or(0);
        }
        let mut member = it.home;
        if it.session.is_none() {
            it.n_sessions += 1;
            let number = 0x5e00_0000_0000 | it.number << 24 | it.n_sessions;
            let ask = Ask::Grant {
                lease: LeaseId(number as i64),
                ttl_s: SESSION_TTL_S,
            };
            self.native_ask(Who::Reader(client), member, ask, None);
            return;
        }
        if it.rng.one_in(3) {
            it.n_values += 1;
            it.sequence += 1;
            let key = format!("r{}", it.rng.below(N_KEYS)).into_bytes();
            let value = format!("{}.{}", it.number, it.n_values).into_bytes();
            let put = proto::PutRequest {
                key: key.clone().into(),
                value: value.clone().into(),
                write: Some(proto::Write {
                    retry: Some(proto::Retry {
                        session: it.session.0,
                        sequence: it.sequence,
                    }),
                    ..proto::Write::default()
                }),
                ..proto::PutRequest::default()
            };
            let request = Request::Put {
                key,
                value,
                lease: LeaseId::NONE,
            };
            let operation = self.native_operation(100 + client as u64, request);
            let ask = Ask::Put(Box::new(put));
            self.native_ask(Who::Reader(client), member, ask, Some(operation));
            return;
        }
        let by_lease = it.hasty && !it.rng.one_in(4);
        let (demand, consistency) = match it.rng.below(5) {
            1 if !by_lease => {
                let ms = *it.rng.pick(&[20, 100, 400, 1_500]).unwrap_or(&100);
                let said = proto::Consistency {
                    level: proto::Level::Bounded.into(),
                    bound_ms: ms,
                    ..proto::Consistency::default()
                };
                (Demand::Bounded(ms * 1_000_000), said)
            }
            2 if !by_lease => {
                let token = SessionToken::new(crate::member::CLUSTER, travelling);
                let said = proto::Consistency {
                    level: proto::Level::Session.into(),
                    session: token.to_string(),
                    ..proto::Consistency::default()
                };
                (Demand::Session(travelling), said)
            }
            3 if !by_lease => (Demand::Sequential, level(proto::Level::Sequential)),
            4 if !by_lease => (Demand::Linearizable, level(proto::Level::Linearizable)),
            _ => {
                let leader = it.rng.pick(&leaders).copied();
                member = it
                    .office
                    .filter(|at| running.contains(at))
                    .or(leader)
                    .unwrap_or(member);
                (Demand::Lease, level(proto::Level::Lease))
            }
        };
        it.demand = demand;
        let span = match it.rng.one_in(3) {
            true => Span::between("r", "s"),
            false => Span::single(format!("r{}", it.rng.below(N_KEYS))),
        };
        let (key, range_end) = crate::speak::interval(&span);
        let keys = match range_end.is_empty() {
            true => proto::Keys {
                key,
                ..proto::Keys::default()
            },
            false => proto::Keys {
                start: key,
                end: range_end,
                ..proto::Keys::default()
            },
        };
        let read = proto::RangeRequest {
            keys: Some(keys),
            read: Some(proto::Read {
                consistency: Some(consistency),
                ..proto::Read::default()
            }),
            ..proto::RangeRequest::default()
        };
        let promises = match demand {
            Demand::Linearizable => true,
            Demand::Lease => self.settings.plan.keeps_bound(),
            _ => false,
        };
        let request = Request::Range {
            span,
            at: None,
            level: match promises {
                true => Level::Linearizable,
                false => Level::Serializable,
            },
        };
        let operation = self.native_operation(100 + client as u64, request);
        let ask = Ask::Read(Box::new(read));
        self.native_ask(Who::Reader(client), member, ask, Some(operation));
    }

    /// Enters a request into the native history.
    pub(crate) fn native_operation(&mut self, client: u64, request: Request) -> u64 {
        let call = self.now();
        let number = self.natives.history.len() as u64 + 1;
        let operation = crate::client::asked(number, client, call, request);
        self.natives.history.push(operation);
        number
    }

    /// Enters what came of it; gives it back.
    pub(crate) fn native_outcome(&mut self, number: u64, outcome: Outcome) -> &Operation {
        let returned = self.now();
        let operation = &mut self.natives.history[number as usize - 1];
        operation.returned = returned;
        operation.outcome = outcome;
        operation
    }

    pub(crate) fn reader_hears(&mut self, client: usize, call: &Call, told: Told) {
        let think = match self.natives.readers[client].hasty {
            true => 3_000,
            false => self.settings.plan.think.as_micros() as u64,
        };
        let after = self.natives.readers[client].rng.below(think);
        let next = crate::natives::NativeEvent::Reads { client };
        self.native_later(after, next);
        let outcome = match told {
            Told::Reply(reply) => match (&call.ask, *reply) {
                (Ask::Grant { lease, .. }, Reply::Grant(_)) => {
                    let it = &mut self.natives.readers[client];
                    (it.session, it.sequence) = (*lease, 0);
                    return;
                }
                (Ask::Put(_), Reply::Put(put)) => {
                    let revision = Revision(put.header.map_or(0, |header| header.revision));
                    self.natives.token = self.natives.token.max(revision);
                    Outcome::Answered {
                        revision,
                        answer: Answer::Put { previous: None },
                    }
                }
                (Ask::Read(_), Reply::Range(read)) => self.hears_rows(client, call, *read),
                (_, other) => {
                    let what = format!("{:?} was answered {other:?}", call.ask);
                    return self.violate(Violation::new("the_native_front_answers", what));
                }
            },
            Told::Fault(Code::SessionOver) => {
                self.natives.readers[client].session = LeaseId::NONE;
                match call.n_attempts {
                    1 => refused("the session is over"),
                    _ => Outcome::Unknown,
                }
            }
            Told::Fault(code @ (Code::Superseded | Code::NumberReused | Code::AnswerNotKept)) => {
                let what = format!("{:?} was answered {code:?}", call.ask);
                return self.violate(Violation::new("a_session_is_its_clients_own", what));
            }
            Told::Fault(code) => refused(code.title()),
            Told::NotTaken => {
                self.natives.readers[client].office = None;
                refused("not taken")
            }
            Told::Unknown => {
                self.natives.readers[client].office = None;
                Outcome::Unknown
            }
        };
        if let Some(number) = call.operation {
            self.native_outcome(number, outcome);
        }
    }

    fn hears_rows(&mut self, client: usize, call: &Call, read: proto::RangeResponse) -> Outcome {
        let returned = self.now();
        let it = &mut self.natives.readers[client];
        let header = read.header.unwrap_or_default();
        let revision = Revision(header.revision);
        let demand = it.demand;
        it.office = (demand == Demand::Lease).then_some(call.at.0);
        let wanted = match demand {
            Demand::Linearizable => (proto::Level::Linearizable, Some(proto::How::Quorum)),
            Demand::Lease => (proto::Level::Lease, Some(proto::How::Lease)),
            Demand::Bounded(_) => (proto::Level::Bounded, None),
            Demand::Session(_) => (proto::Level::Session, Some(proto::How::Local)),
            Demand::Sequential => (proto::Level::Sequential, Some(proto::How::Local)),
        };
        let says_so = header.level() == wanted.0 && wanted.1.is_none_or(|how| header.how() == how);
        let token: Option<SessionToken> = header.session.parse().ok();
        if !says_so || token.is_none_or(|token| token.revision() != revision) {
            let what = format!("{demand:?} was answered {header:?}");
            self.violate(Violation::new("an_answer_says_its_level", what));
        }
        let (member, life) = call.at;
        self.natives.looks.push(Look {
            number: call.operation.unwrap_or(0),
            demand,
            member: (member as u64, life),
            call: call.call,
            returned,
            revision,
            age: header.staleness_ms.map(|ms| ms * 1_000_000),
        });
        // Now and then a reader tells the others what it has seen.
        if self.natives.rng.one_in(4) {
            self.natives.token = self.natives.token.max(revision);
        }
        let rows = read.kvs.into_iter().map(|kv| Row {
            key: kv.key.to_vec(),
            value: kv.value.to_vec(),
            create: Revision(kv.create_revision),
            modified: Revision(kv.mod_revision),
            version: kv.version,
            lease: LeaseId(kv.lease),
        });
        Outcome::Answered {
            revision,
            answer: Answer::Rows(rows.collect()),
        }
    }
}

/// When everything that is acknowledged was, with its revision.
pub fn acknowledged(history: &[Operation]) -> Vec<(Time, Revision)> {
    let writes = history
        .iter()
        .filter(|operation| matches!(operation.request, Request::Put { .. }));
    writes
        .filter_map(|operation| Some((operation.returned, operation.revision()?)))
        .collect()
}

fn level(level: proto::Level) -> proto::Consistency {
    proto::Consistency {
        level: level.into(),
        ..proto::Consistency::default()
    }
}

fn refused(reason: &str) -> Outcome {
    Outcome::Refused {
        reason: reason.to_owned(),
    }
}
