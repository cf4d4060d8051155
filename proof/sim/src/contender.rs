//! Contenders: they want places in a line, work while they hold, and do not notice when they stand still.
//!
//! ```text
//!   no lease ─ grant ─► enter ─► wait ─► holds: works, with its token ─┬─ leaves, or ends its lease
//!                                  ▲        │ renews its lease         ├─ its time is over, by its own clock
//!                                  └────────┴── sleeps, is cut off ────┴─ is told that the place is gone
//! ```
//!
//! A holder *believes* to hold until [`clock::guard::holder_stops_at`], on a clock of its own. A client that sleeps in
//! the middle of a write wakes up and writes all the same: only the fence can stop that.

use crate::member::{Clock, Wall};
use crate::natives::{Ask, Call, NativeEvent, Told, Who, queue};
use crate::plan::{self, Plan};
use crate::world::{Event, World};
use api::{Code, proto};
use base::{Instant, LeaseId, Mutant, Revision, Rng};
use checker::line::{Fact, Line};
use checker::{Answer, Outcome, Request, Time, Violation};
use clock::guard::{DriftBound, holder_stops_at};
use native::Reply;
use std::time::Duration;

/// What it holds on.
#[derive(Clone, Copy)]
struct Hold {
    lease: LeaseId,
    ttl: Duration,
    /// When it must stop, on its own clock; nothing while nobody has granted the lease.
    stops: Option<Instant>,
}

/// What it believes.
struct Belief {
    token: Revision,
    from: Time,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has no place.
    Away,
    /// It has one, which does not hold yet.
    Waits(Revision),
    /// It holds, and wants to do so many things.
    Holds(Revision, u64),
}

/// The mind of one contender.
pub struct Contender {
    /// The line.
    pub line: Line,
    number: u64,
    permits: u32,
    shares: bool,
    ttl_s: u64,
    rng: Rng,
    clock: Clock,
    drift: Option<DriftBound>,
    home: usize,
    n_leases: u64,
    n_values: u64,
    hold: Option<Hold>,
    phase: Phase,
    belief: Option<Belief>,
    /// The request that it waits for.
    asking: bool,
    sleeps_until: Time,
    cut_off_until: Time,
    /// It was about to write when it fell asleep.
    is_blind: bool,
}

impl Contender {
    pub(crate) fn new(
        number: u64,
        place: usize,
        plan: &Plan,
        natives: &plan::Natives,
        mut rng: Rng,
    ) -> Contender {
        let (kind, permits, shared) = natives.lines[place];
        let mut clock = Clock::new(&mut rng);
        clock.settle(Time(0), plan.rate_ppm(1000 + number), Wall::Apart);
        Contender {
            line: Line {
                kind,
                name: format!("line {place}").into_bytes(),
            },
            number,
            permits,
            shares: shared && !number.is_multiple_of(3),
            ttl_s: natives.ttl_s,
            rng,
            clock,
            drift: plan.drift(),
            home: number as usize,
            n_leases: 0,
            n_values: 0,
            hold: None,
            phase: Phase::Away,
            belief: None,
            asking: false,
            sleeps_until: Time(0),
            cut_off_until: Time(0),
            is_blind: false,
        }
    }

    /// Nothing reaches it, and nothing of it reaches anybody.
    pub fn is_cut_off(&self, now: Time) -> bool {
        now < self.cut_off_until
    }

    /// When it wakes up, if it sleeps.
    pub fn sleeps_until(&self, now: Time) -> Option<Time> {
        (now < self.sleeps_until).then_some(self.sleeps_until)
    }

    fn is_over(&self, now: Time) -> bool {
        let stops = self.hold.and_then(|hold| hold.stops);
        stops.is_none_or(|stops| self.clock.instant(now) >= stops)
    }

    /// What it reckons when its lease, which it asked for at `sent`, was said to live for `ttl`.
    fn stops_at(&self, sent: Time, now: Time, ttl: Duration, is_careless: bool) -> Option<Instant> {
        if is_careless {
            return Some(self.clock.instant(now) + ttl);
        }
        // Without a bound it hopes for the best, and nobody judges it.
        let drift = self.drift.or(DriftBound::from_ppm(0));
        holder_stops_at(self.clock.instant(sent), ttl, Duration::ZERO, drift)
    }

    fn forget(&mut self) {
        self.hold = None;
        self.phase = Phase::Away;
        self.is_blind = false;
    }
}

impl World {
    fn contender_later(&mut self, client: usize, after_us: u64) {
        self.native_later(after_us, NativeEvent::Contends { client });
    }

    pub(crate) fn stops_believing(&mut self, client: usize, now: Time) {
        let it = &mut self.natives.contenders[client];
        let Some(belief) = it.belief.take() else {
            return;
        };
        let stops = it.hold.and_then(|hold| hold.stops);
        let until = stops.map_or(belief.from, |stops| it.clock.true_time(stops).min(now));
        let fact = Fact::Believed {
            line: it.line.clone(),
            token: belief.token,
            from: belief.from,
            until,
        };
        self.natives.facts.push(fact);
    }

    pub(crate) fn contend(&mut self, client: usize) {
        let now = self.now();
        if self.asking.are_quiet {
            return;
        }
        let it = &self.natives.contenders[client];
        if let Some(wakes) = it.sleeps_until(now) {
            let event = Event::Native(NativeEvent::Contends { client });
            return self
                .schedule
                .after(Duration::from_nanos(wakes.0 - now.0 + 1), event);
        }
        if it.asking {
            return;
        }
        let running = self.running();
        let it = &mut self.natives.contenders[client];
        if !running.contains(&it.home) || it.rng.one_in(10) {
            it.home = it.rng.pick(&running).copied().unwrap_or(0);
        }
        let ask = match (it.hold, it.phase) {
            (None, _) => {
                it.n_leases += 1;
                let number = 0x1e00_0000_0000 | it.number << 24 | it.n_leases;
                Some(Ask::Grant {
                    lease: LeaseId(number as i64),
                    ttl_s: it.ttl_s,
                })
            }
            (Some(_), _) if it.is_over(now) && !it.is_blind => self.gives_lease_up(client),
            (Some(hold), Phase::Away) => Some(Ask::Enter(Box::new(proto::EnterRequest {
                queue: Some(queue(&it.line)),
                mode: match it.shares {
                    true => proto::Mode::Shared.into(),
                    false => proto::Mode::Exclusive.into(),
                },
                permits: it.permits,
                lease: hold.lease.0,
                owner: format!("c{}", it.number).into_bytes().into(),
                ..proto::EnterRequest::default()
            }))),
            (Some(_), Phase::Waits(token)) => Some(Ask::Await {
                line: it.line.clone(),
                token,
            }),
            (Some(_), Phase::Holds(token, left)) => self.works(client, token, left),
        };
        let it = &mut self.natives.contenders[client];
        let Some(ask) = ask else {
            let after = it.rng.between(1_000, 60_000);
            return self.contender_later(client, after);
        };
        it.asking = true;
        let home = it.home;
        let operation = match &ask {
            Ask::Put(put) => {
                let request = Request::Put {
                    key: put.key.to_vec(),
                    value: put.value.to_vec(),
                    lease: LeaseId::NONE,
                };
                Some(self.native_operation(200 + client as u64, request))
            }
            _ => None,
        };
        self.native_ask(Who::Contender(client), home, ask, operation);
    }

    /// Its time is over: the lease is left to end, or ended.
    fn gives_lease_up(&mut self, client: usize) -> Option<Ask> {
        let now = self.now();
        self.stops_believing(client, now);
        let it = &mut self.natives.contenders[client];
        let hold = it.hold?;
        let is_asked = it.rng.one_in(2);
        it.forget();
        is_asked.then(|| {
            self.natives.facts.push(Fact::Revoked {
                lease: hold.lease,
                call: now,
                revision: None,
            });
            Ask::Revoke { lease: hold.lease }
        })
    }

    fn works(&mut self, client: usize, token: Revision, left: u64) -> Option<Ask> {
        let now = self.now();
        let it = &mut self.natives.contenders[client];
        if it.is_blind {
            it.is_blind = false;
            return Some(self.fenced_write(client, token));
        }
        if left == 0 {
            self.stops_believing(client, now);
            let it = &mut self.natives.contenders[client];
            if it.rng.one_in(4) {
                return self.gives_lease_up(client);
            }
            it.phase = Phase::Away;
            let line = it.line.clone();
            self.natives.facts.push(Fact::Left {
                line: line.clone(),
                token,
            });
            return Some(Ask::Leave { line, token });
        }
        it.phase = Phase::Holds(token, left - 1);
        let ttl_us = it.ttl_s * 1_000_000;
        match it.rng.below(12) {
            0 => {
                // It has looked at its clock, and falls asleep before it writes.
                let asleep = it.rng.between(100_000, ttl_us * 2);
                it.sleeps_until = Time(now.0 + asleep * 1000);
                it.is_blind = true;
                None
            }
            1 => {
                // Nothing gets through, and it goes on until its own clock says stop.
                let cut_off = it.rng.between(ttl_us / 2, ttl_us * 3 / 2);
                it.cut_off_until = Time(now.0 + cut_off * 1000);
                None
            }
            2 | 3 => {
                // Work on something outside may be long on its way.
                let after = match it.rng.one_in(4) {
                    true => it.rng.between(1_000, ttl_us * 2),
                    false => it.rng.between(20, 400),
                };
                let line = it.line.clone();
                self.native_later(after, NativeEvent::Works { line, token });
                None
            }
            4..=6 => None,
            _ => Some(self.fenced_write(client, token)),
        }
    }

    fn fenced_write(&mut self, client: usize, token: Revision) -> Ask {
        let it = &mut self.natives.contenders[client];
        it.n_values += 1;
        let value = format!("c{}.{}", it.number, it.n_values).into_bytes();
        let line = it.line.clone();
        self.natives
            .fenced
            .insert(value.clone(), (line.clone(), token));
        let fence = proto::Fence {
            queue: Some(queue(&line)),
            token: token.0,
        };
        Ask::Put(Box::new(proto::PutRequest {
            key: [b"work of ", &line.name[..]].concat().into(),
            value: value.into(),
            write: Some(proto::Write {
                fences: vec![fence],
                ..proto::Write::default()
            }),
            ..proto::PutRequest::default()
        }))
    }

    pub(crate) fn renew(&mut self, client: usize, lease: LeaseId) {
        let now = self.now();
        let it = &self.natives.contenders[client];
        let Some(hold) = it.hold.filter(|hold| hold.lease == lease) else {
            return;
        };
        if let Some(wakes) = it.sleeps_until(now) {
            let event = Event::Native(NativeEvent::Renews { client, lease });
            return self
                .schedule
                .after(Duration::from_nanos(wakes.0 - now.0 + 1), event);
        }
        if self.asking.are_quiet {
            return;
        }
        let home = it.home;
        let event = Event::Native(NativeEvent::Renews { client, lease });
        self.schedule.after(hold.ttl / 3, event);
        self.native_ask(Who::Contender(client), home, Ask::Renew { lease }, None);
    }

    pub(crate) fn contender_hears(&mut self, client: usize, call: &Call, told: Told) {
        let now = self.now();
        let is_renewal = matches!(call.ask, Ask::Renew { .. });
        if !is_renewal {
            let it = &mut self.natives.contenders[client];
            it.asking = false;
            let after = match told {
                Told::Reply(_) => it.rng.between(500, 20_000),
                _ => it.rng.between(10_000, 100_000),
            };
            self.contender_later(client, after);
        }
        match told {
            Told::Reply(reply) => self.contender_is_answered(client, call, *reply),
            Told::Fault(code) => self.contender_is_refused(client, call, code),
            Told::NotTaken | Told::Unknown => {
                let is_unknown = matches!(told, Told::Unknown);
                let running = self.running();
                let it = &mut self.natives.contenders[client];
                it.home = it.rng.pick(&running).copied().unwrap_or(0);
                match (&call.ask, call.operation) {
                    (Ask::Put(_), Some(number)) if !is_unknown => {
                        let reason = "not taken".to_owned();
                        self.native_outcome(number, Outcome::Refused { reason });
                    }
                    // What became of it nobody knows: another lease, another place.
                    (Ask::Grant { .. } | Ask::Leave { .. }, _) => {
                        self.natives.contenders[client].forget();
                    }
                    _ => {}
                }
            }
        }
        let it = &self.natives.contenders[client];
        if it.belief.is_some() && it.is_over(now) {
            self.stops_believing(client, now);
        }
    }

    fn contender_is_answered(&mut self, client: usize, call: &Call, reply: Reply) {
        let now = self.now();
        let is_careless = self.settings.mutants.has(Mutant::HolderIgnoresGuard);
        let at = |header: Option<proto::Header>| Revision(header.map_or(0, |it| it.revision));
        let it = &mut self.natives.contenders[client];
        match (&call.ask, reply) {
            (Ask::Grant { lease, .. }, Reply::Grant(granted)) => {
                let ttl = Duration::from_secs(granted.ttl_s);
                let stops = it.stops_at(call.call, now, ttl, is_careless);
                it.hold = Some(Hold {
                    lease: *lease,
                    ttl,
                    stops,
                });
                it.phase = Phase::Away;
                let event = NativeEvent::Renews {
                    client,
                    lease: *lease,
                };
                self.natives.facts.push(Fact::Lives {
                    lease: *lease,
                    call: call.call,
                    returned: now,
                    revision: at(granted.header),
                    ttl: ttl.as_nanos() as u64,
                });
                self.native_later(100_000, event);
            }
            (Ask::Renew { lease }, Reply::Renew(renewed)) => {
                let left = Duration::from_millis(renewed.remaining_ms);
                let stops = it.stops_at(call.call, now, left, is_careless);
                let is_over = it.is_over(now);
                if let Some(hold) = it
                    .hold
                    .as_mut()
                    .filter(|hold| hold.lease == *lease && !is_over)
                {
                    hold.stops = hold.stops.max(stops);
                }
                self.natives.facts.push(Fact::Lives {
                    lease: *lease,
                    call: call.call,
                    returned: now,
                    revision: at(renewed.header),
                    ttl: left.as_nanos() as u64,
                });
            }
            (Ask::Revoke { lease }, Reply::Revoke(revoked)) => {
                self.natives.facts.push(Fact::Revoked {
                    lease: *lease,
                    call: call.call,
                    revision: Some(at(revoked.header)),
                });
            }
            (Ask::Enter(_), Reply::Enter(entered)) => {
                let (token, is_held) = (Revision(entered.token), entered.is_held);
                let revision = at(entered.header);
                self.is_placed(client, token, is_held, revision);
            }
            (Ask::Await { token, .. }, Reply::Await(waited)) => {
                if waited.is_held {
                    let (token, revision) = (*token, at(waited.header));
                    self.is_placed(client, token, true, revision);
                }
            }
            (Ask::Leave { .. }, Reply::Leave(_)) => {}
            (Ask::Put(_), Reply::Put(put)) => {
                if let Some(number) = call.operation {
                    let outcome = Outcome::Answered {
                        revision: at(put.header),
                        answer: Answer::Put { previous: None },
                    };
                    self.native_outcome(number, outcome);
                }
            }
            (ask, other) => {
                let what = format!("{ask:?} was answered {other:?}");
                self.violate(Violation::new("the_native_front_answers", what));
            }
        }
    }

    /// It was told that it has a place, and whether that holds.
    fn is_placed(&mut self, client: usize, token: Revision, is_held: bool, revision: Revision) {
        let now = self.now();
        let it = &mut self.natives.contenders[client];
        let line = it.line.clone();
        self.natives.facts.push(Fact::Told {
            line,
            token,
            revision,
            is_held,
        });
        it.phase = match is_held {
            true => Phase::Holds(token, it.rng.between(2, 12)),
            false => Phase::Waits(token),
        };
        if is_held && !it.is_over(now) && it.belief.is_none() {
            it.belief = Some(Belief { token, from: now });
        }
    }

    fn contender_is_refused(&mut self, client: usize, call: &Call, code: Code) {
        let now = self.now();
        if let Some(number) = call.operation {
            let reason = code.title().to_owned();
            self.native_outcome(number, Outcome::Refused { reason });
        }
        let it = &mut self.natives.contenders[client];
        match (&call.ask, code) {
            (Ask::Put(put), Code::StaleToken | Code::NotHeld) => {
                let fences = put.write.iter().flat_map(|write| &write.fences);
                let token = Revision(fences.map(|fence| fence.token).next().unwrap_or(0));
                let fact = Fact::NotLet {
                    line: it.line.clone(),
                    token,
                    call: call.call,
                    returned: now,
                };
                self.natives.facts.push(fact);
                self.stops_believing(client, now);
                self.natives.contenders[client].forget();
            }
            (Ask::Renew { lease }, Code::LeaseNotFound) => {
                self.natives.facts.push(Fact::CalledGone {
                    lease: *lease,
                    call: call.call,
                    returned: now,
                });
                if it.hold.is_some_and(|hold| hold.lease == *lease) {
                    self.stops_believing(client, now);
                    self.natives.contenders[client].forget();
                }
            }
            (Ask::Revoke { .. }, Code::LeaseNotFound) => {}
            (
                Ask::Enter(_) | Ask::Await { .. } | Ask::Leave { .. },
                Code::LeaseNotFound | Code::StaleToken,
            ) => {
                self.stops_believing(client, now);
                self.natives.contenders[client].forget();
            }
            // Others came to this line with other permits, or it is another life of the cluster.
            (ask, code) => {
                let what = format!("{ask:?} was refused: {code:?}");
                self.violate(Violation::new("the_native_front_answers", what));
            }
        }
    }
}
