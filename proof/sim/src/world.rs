//! The world of one seed: members, network, clients, and everything that happens to them, in order.
//!
//! ```text
//!            Schedule (what happens next)
//!                │ event
//!    ┌───────────┼───────────────┬────────────────┬──────────────────┐
//!    ▼           ▼               ▼                ▼                  ▼
//!  ticks,      frames,         disk            requests,          misfortune
//!  pumps       states          operations      answers, watches   (misfortune.rs)
//!    │           │               │                │                  │
//!    └───────────┴── node::Node ─┴── etcd front ──┘                  │
//!                       │ effects: frames, records, events, answers  │
//!                       ▼                                            ▼
//!              chronicle, digests, history ──── judge.rs ──── violations
//! ```
//!
//! The world is one thread and one seed. Each concern draws from a generator of its own, forked at the
//! start, so that adding a draw to one does not shift the others.

use crate::asking::Asking;
use crate::governing::Governing;
use crate::member::{Condition, Member, Settings, Started};
use crate::misfortune::Misfortune;
use crate::natives::Natives;
use crate::network::Network;
use crate::schedule::Schedule;
use crate::spying::Spying;
use crate::stage::{ShellBug, law};
use crate::tape::{Kind, Tape, Who};
use crate::trace::Trace;
use crate::watching::Watching;
use base::{MemberId, Membership, Rng, SnapshotMeta};
use bytes::Bytes;
use checker::states::Digests;
use checker::{Chronicle, Time, Violation};
use clock::interval::UnixNanos;
use node::{NodeConfig, ReadGrant};
use spec::Observer;
use std::time::Duration;
use store::Genesis;

/// Everything that can happen next. Members and clients are named by their place; `life` says which
/// process it is meant for.
#[allow(missing_docs)] // The fields' names say what they are.
pub enum Event {
    /// Ten milliseconds have passed by this member's clock.
    Tick { member: usize, life: u32 },
    /// Its effects are carried out.
    Pump { member: usize, life: u32 },
    /// A frame arrives. Its number on the tape, if there is one.
    Frame {
        to: usize,
        from: MemberId,
        bytes: Bytes,
        number: u64,
    },
    /// A state arrives, as the bytes of its stream.
    State {
        to: usize,
        from: MemberId,
        meta: SnapshotMeta,
        bytes: Bytes,
    },
    /// A sender learns what became of a state that it sent.
    StateSent {
        member: usize,
        life: u32,
        to: MemberId,
        arrived: bool,
    },
    /// The disk finishes its operation.
    Disk { member: usize, life: u32 },
    /// A process starts.
    Start { member: usize },
    /// A paused member goes on.
    Resume { member: usize },
    /// Something of the clients.
    Client(crate::asking::ClientEvent),
    /// Something of the native front's clients.
    Native(crate::natives::NativeEvent),
    /// A read of the native front looks at the state that it was granted.
    NativeLook {
        member: usize,
        life: u32,
        call: u64,
        grant: ReadGrant,
    },
    /// Something of whoever makes the rules.
    Govern(crate::governing::GovernEvent),
    /// Spies of users look at what they are told.
    Spy,
    /// Something of the watchers.
    Watcher(crate::watching::WatcherEvent),
    /// Something of the trouble.
    Trouble(crate::misfortune::Trouble),
    /// Nothing but that time has come so far, for somebody who waits for it.
    Moment,
}

/// One seed's world.
pub struct World {
    /// What it was drawn as, and planted bugs.
    pub settings: Settings,
    /// What happens next.
    pub schedule: Schedule<Event>,
    /// What happened.
    pub trace: Trace,
    /// The same as events that can be drawn, where somebody wants to draw them.
    pub tape: Option<Box<Tape>>,
    /// A bug of the shell around the production core, where somebody planted one.
    pub shell_bug: Option<ShellBug>,
    /// The member whose event it is that happens.
    pub(crate) acting: Option<usize>,
    /// The links.
    pub network: Network,
    /// Everybody who ever was a member.
    pub members: Vec<Member>,
    /// What paused members will meet.
    pub deferred: Vec<Vec<Event>>,
    /// Who asks.
    pub asking: Asking,
    /// Who comes by the native front.
    pub natives: Natives,
    /// Who makes the rules, in worlds that have any.
    pub governing: Governing,
    /// Users who watch what they might not be told.
    pub spying: Spying,
    /// Who watches.
    pub watching: Watching,
    /// What goes wrong.
    pub misfortune: Misfortune,
    /// What members published.
    pub chronicle: Chronicle,
    /// The digest at each applied index, and who said it first.
    pub digests: Digests,
    /// The newest membership that anybody applied, with its index.
    pub membership: (u64, Membership),
    /// Every member's every step against the specification.
    pub observer: Observer,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// Pacing of pumps, disks and states.
    pub rng: Rng,
    pub(crate) member_rng: Rng,
    pub(crate) n_pumps: u64,
}

/// Who is who at the beginning.
pub fn member_id(number: usize) -> MemberId {
    MemberId(number as u64 + 1)
}

fn genesis(n_members: usize) -> Genesis {
    let members = (0..n_members).map(|n| store::Member {
        id: member_id(n),
        name: format!("n{}", n + 1),
        peer_urls: vec![format!("http://n{}:2380", n + 1)],
        client_urls: vec![format!("http://n{}:2379", n + 1)],
        is_learner: false,
    });
    Genesis {
        membership: Membership::of_voters((0..n_members).map(member_id).collect()),
        members: members.collect(),
    }
}

impl World {
    /// The world at its beginning: everybody is about to start.
    pub fn new(settings: Settings, records: bool) -> World {
        let mut rng = Rng::new(settings.plan.seed);
        let genesis = genesis(settings.plan.n_members);
        let mut member_rng = rng.fork(1);
        let members: Vec<Member> = (0..settings.plan.n_members)
            .map(|n| {
                Member::new(
                    member_id(n),
                    Some(genesis.clone()),
                    &settings.plan,
                    member_rng.fork(n as u64),
                )
            })
            .collect();
        let mut world = World {
            schedule: Schedule::default(),
            trace: Trace::new(records),
            tape: None,
            shell_bug: None,
            acting: None,
            network: Network::new(rng.fork(2)),
            deferred: members.iter().map(|_| Vec::new()).collect(),
            asking: Asking::new(&settings.plan, rng.fork(3)),
            natives: Natives::new(&settings.plan),
            governing: Governing::new(settings.plan.rules, settings.plan.seed),
            spying: Spying::new(settings.plan.seed),
            watching: Watching::new(&settings.plan, rng.fork(4)),
            misfortune: Misfortune::new(rng.fork(5), settings.plan.seed),
            chronicle: Chronicle::default(),
            digests: Digests::default(),
            membership: (1, genesis.membership.clone()),
            observer: Observer::default(),
            violations: Vec::new(),
            rng: rng.fork(6),
            member_rng,
            n_pumps: 0,
            members,
            settings,
        };
        for member in 0..world.members.len() {
            let after = world.rng.below(20_000);
            world.schedule.after_us(after, Event::Start { member });
        }
        world.begin_asking();
        world.begin_watching();
        world.begin_trouble();
        world.begin_natives();
        world.begin_governing();
        world.begin_spying();
        world
    }

    /// The true time.
    pub fn now(&self) -> Time {
        self.schedule.now()
    }

    /// Notes a violation.
    pub fn violate(&mut self, violation: Violation) {
        let now = self.now();
        self.trace
            .note(now, "violation", &[], || violation.to_string());
        if let Some(tape) = &mut self.tape {
            tape.happened(now, Who::World, Kind::Broken, law(violation.claim));
        }
        self.violations.push(violation);
    }

    /// Notes what happened to a member.
    pub fn note(&mut self, member: usize, kind: &'static str, text: impl FnOnce() -> String) {
        let now = self.now();
        let id = self.members[member].id;
        let Some(tape) = &mut self.tape else {
            return self
                .trace
                .note(now, kind, &[id.0], || format!("n{id}: {}", text()));
        };
        let text = text();
        tape.noted(now, id, kind, &text);
        self.trace
            .note(now, kind, &[id.0], || format!("n{id}: {text}"));
    }

    /// The place of a member.
    pub fn place(&self, id: MemberId) -> Option<usize> {
        self.members.iter().position(|member| member.id == id)
    }

    /// Everybody whose process runs.
    pub fn running(&self) -> Vec<usize> {
        (0..self.members.len())
            .filter(|at| self.members[*at].process.is_some())
            .collect()
    }

    /// Lets one thing happen. False when nothing is left, which never is.
    pub fn step(&mut self) -> bool {
        let Some(event) = self.schedule.pop() else {
            return false;
        };
        self.happen(event);
        true
    }

    fn happen(&mut self, event: Event) {
        self.acting = None;
        match event {
            Event::Client(event) => return self.client_event(event),
            Event::Native(event) => return self.native_event(event),
            Event::Govern(event) => return self.govern_event(event),
            Event::Spy => return self.spy(),
            Event::Watcher(event) => return self.watcher_event(event),
            Event::Trouble(trouble) => return self.trouble(trouble),
            Event::Resume { member } => return self.resume(member),
            _ => {}
        }
        let member = match &event {
            Event::Tick { member, .. }
            | Event::Pump { member, .. }
            | Event::StateSent { member, .. }
            | Event::Disk { member, .. }
            | Event::NativeLook { member, .. }
            | Event::Start { member } => *member,
            Event::Frame { to, .. } | Event::State { to, .. } => *to,
            _ => return,
        };
        self.acting = Some(member);
        if self.members[member].is_paused {
            self.deferred[member].push(event);
            return;
        }
        match event {
            Event::Tick { member, life } if self.lives(member, life) => self.tick(member),
            Event::Pump { member, life } if self.lives(member, life) => self.pump(member),
            Event::Disk { member, life } if self.lives(member, life) => self.disk_done(member),
            Event::NativeLook {
                member,
                life,
                call,
                grant,
            } if self.lives(member, life) => self.native_look(member, call, &grant),
            Event::StateSent {
                member,
                life,
                to,
                arrived,
            } if self.lives(member, life) => {
                if let Some(process) = &mut self.members[member].process {
                    process.node.snapshot_sent(to, arrived);
                }
                self.pump_soon(member);
            }
            Event::Frame {
                to,
                from,
                bytes,
                number,
            } => self.frame(to, from, &bytes, number),
            Event::State {
                to,
                from,
                meta,
                bytes,
            } => self.state(to, from, meta, &bytes),
            Event::Start { member } => self.start(member),
            _ => {}
        }
    }

    fn lives(&self, member: usize, life: u32) -> bool {
        let member = &self.members[member];
        member.process.is_some() && member.life == life
    }

    // ---- life and death ---------------------------------------------------------------------

    fn start(&mut self, member: usize) {
        let now = self.now();
        let it = &mut self.members[member];
        if it.process.is_some() || it.condition != Condition::Well {
            return;
        }
        let fuse = self.misfortune.fuse(&self.settings.plan);
        let it = &mut self.members[member];
        it.disk.set_fuse(fuse);
        let started = it.start(&self.settings, now);
        if it.process.is_some() {
            it.disk.set_fuse(None);
        }
        let alone = self.membership.1.everyone().len() == 1;
        match started {
            Started::Runs => self.note(member, "start", || "runs".to_owned()),
            Started::RunsDamaged(report) if !alone => {
                self.note(member, "start", || format!("recovers: {report}"));
            }
            Started::Died(report) => {
                self.note(member, "start", || format!("dies: {report}"));
                return self.cut_power(member, 500);
            }
            Started::RunsDamaged(report) | Started::Refused(report) => {
                self.members[member].process = None;
                self.note(member, "start", || format!("refuses to start: {report}"));
                if self.members[member].was_hurt {
                    self.members[member].condition = Condition::Ruined(report);
                } else {
                    let id = self.members[member].id;
                    self.violate(Violation::new(
                        "a_disk_that_kept_its_promise_starts",
                        format!("member {id} refuses to start: {report}"),
                    ));
                    self.members[member].condition = Condition::Ruined(report);
                }
                return;
            }
        }
        let it = &self.members[member];
        let files = it
            .process
            .iter()
            .flat_map(|process| process.work.log.files());
        let dirty = it.disk.dirty_of(files);
        let broken = it.process.as_ref().and_then(|process| {
            let engine = process.node.engine();
            self.observer.started(it.id, engine, dirty.is_empty())
        });
        if let Some(broken) = broken {
            self.violate(Violation::new(
                broken.claim,
                format!("{}: {dirty:?}", broken.what),
            ));
        }
        let life = self.members[member].life;
        self.schedule
            .after(NodeConfig::TICK, Event::Tick { member, life });
        self.pump_soon(member);
    }

    /// The process is gone at once; the disk stays as it is.
    pub fn kill(&mut self, member: usize, why: &'static str) {
        if self.members[member].process.take().is_none() {
            return;
        }
        self.members[member].is_paused = false;
        self.deferred[member].clear();
        self.note(member, why, String::new);
        self.asking_lost_member(member);
        self.watching_lost_member(member);
        self.natives_lost_member(member);
    }

    fn resume(&mut self, member: usize) {
        if !self.members[member].is_paused {
            return;
        }
        self.members[member].is_paused = false;
        self.note(member, "resume", String::new);
        // One tick stands for all that were missed. Its connections may be gone, and with them all
        // that the others said meanwhile: then it does not know yet that time has passed.
        let connections_are_gone = self.misfortune.is_cut_off_after_pause();
        let mut missed = std::mem::take(&mut self.deferred[member]);
        let mut n_ticks = 0;
        missed.retain(|event| match event {
            Event::Tick { .. } => {
                n_ticks += 1;
                n_ticks == 1
            }
            Event::Frame { .. } | Event::State { .. } => !connections_are_gone,
            _ => true,
        });
        for event in missed {
            self.schedule.after_us(1, event);
        }
        self.ask_the_woken(member);
    }

    // ---- time -------------------------------------------------------------------------------

    fn tick(&mut self, member: usize) {
        let now = self.now();
        let it = &mut self.members[member];
        let (instant, wall_ms) = (it.clock.instant(now), it.clock.wall_ms(now));
        let (life, next) = (it.life, it.clock.true_duration(NodeConfig::TICK));
        if let Some(process) = &mut it.process {
            let wall = UnixNanos(wall_ms.saturating_mul(1_000_000));
            if process.jumps.observe(instant, wall).is_some() {
                process.node.clock_jumped(instant);
            }
            process.node.tick(instant, wall_ms);
        }
        self.schedule.after(next, Event::Tick { member, life });
        if self.watching.is_wanted() && self.rng.one_in(20) {
            self.desk_tick(member);
        }
        self.pump_soon(member);
    }

    /// Effects are carried out a little later; inputs that come meanwhile are handled together.
    pub fn pump_soon(&mut self, member: usize) {
        let after = if self.rng.one_in(4) {
            self.rng.below(300)
        } else {
            5
        };
        let it = &mut self.members[member];
        if let Some(process) = &mut it.process
            && !process.pump_due
        {
            process.pump_due = true;
            self.schedule.after_us(
                after,
                Event::Pump {
                    member,
                    life: it.life,
                },
            );
        }
    }

    /// Waits so long at most for something that is then checked.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&World) -> bool) -> bool {
        let end = Time(self.now().0 + limit.as_nanos() as u64);
        while self.now() < end {
            if done(self) {
                return true;
            }
            // Look at the world in small steps of time, not after every event.
            let next = Time(self.now().0 + 20_000_000);
            while self.now() < next {
                if !self.step() {
                    return done(self);
                }
            }
            if !self.violations.is_empty() {
                return false;
            }
        }
        done(self)
    }
}
