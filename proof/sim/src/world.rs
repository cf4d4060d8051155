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
use crate::member::{CLUSTER, Condition, Member, Settings, Started};
use crate::misfortune::Misfortune;
use crate::network::Network;
use crate::schedule::Schedule;
use crate::speak;
use crate::trace::Trace;
use crate::watching::Watching;
use base::{MemberId, Membership, Rng, SnapshotMeta};
use bytes::{Bytes, BytesMut};
use checker::{Chronicle, Event as Happened, Time, Violation};
use node::{Effects, NodeConfig, SnapshotSend, StopReason};
use std::collections::BTreeMap;
use std::time::Duration;
use store::{Genesis, RootId, State};
use wire::{Frame, FrameReader, Origin};

/// Everything that can happen next. Members and clients are named by their place; `life` says which
/// process it is meant for.
#[allow(missing_docs)] // The fields' names say what they are.
pub enum Event {
    /// Ten milliseconds have passed by this member's clock.
    Tick { member: usize, life: u32 },
    /// Its effects are carried out.
    Pump { member: usize, life: u32 },
    /// A frame arrives.
    Frame {
        to: usize,
        from: MemberId,
        bytes: Bytes,
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
    /// Something of the watchers.
    Watcher(crate::watching::WatcherEvent),
    /// Something of the trouble.
    Trouble(crate::misfortune::Trouble),
}

/// One seed's world.
pub struct World {
    /// What it was drawn as, and planted bugs.
    pub settings: Settings,
    /// What happens next.
    pub schedule: Schedule<Event>,
    /// What happened.
    pub trace: Trace,
    /// The links.
    pub network: Network,
    /// Everybody who ever was a member.
    pub members: Vec<Member>,
    /// What paused members will meet.
    pub deferred: Vec<Vec<Event>>,
    /// Who asks.
    pub asking: Asking,
    /// Who watches.
    pub watching: Watching,
    /// What goes wrong.
    pub misfortune: Misfortune,
    /// What members published.
    pub chronicle: Chronicle,
    /// The digest at each applied index, and who said it first.
    pub digests: BTreeMap<u64, (u64, MemberId)>,
    /// The newest membership that anybody applied, with its index.
    pub membership: (u64, Membership),
    /// What was broken.
    pub violations: Vec<Violation>,
    /// Pacing of pumps, disks and states.
    pub rng: Rng,
    pub(crate) member_rng: Rng,
    n_pumps: u64,
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
                    member_rng.fork(n as u64),
                )
            })
            .collect();
        let mut world = World {
            schedule: Schedule::default(),
            trace: Trace::new(records),
            network: Network::new(rng.fork(2)),
            deferred: members.iter().map(|_| Vec::new()).collect(),
            asking: Asking::new(&settings.plan, rng.fork(3)),
            watching: Watching::new(&settings.plan, rng.fork(4)),
            misfortune: Misfortune::new(rng.fork(5)),
            chronicle: Chronicle::default(),
            digests: BTreeMap::new(),
            membership: (1, genesis.membership.clone()),
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
        self.violations.push(violation);
    }

    /// Notes what happened to a member.
    pub fn note(&mut self, member: usize, kind: &'static str, text: impl FnOnce() -> String) {
        let now = self.now();
        let id = self.members[member].id;
        self.trace
            .note(now, kind, &[id.0], || format!("n{id}: {}", text()));
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
        match event {
            Event::Client(event) => return self.client_event(event),
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
            | Event::Start { member } => *member,
            Event::Frame { to, .. } | Event::State { to, .. } => *to,
            _ => return,
        };
        if self.members[member].is_paused {
            self.deferred[member].push(event);
            return;
        }
        match event {
            Event::Tick { member, life } if self.lives(member, life) => self.tick(member),
            Event::Pump { member, life } if self.lives(member, life) => self.pump(member),
            Event::Disk { member, life } if self.lives(member, life) => self.disk_done(member),
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
            Event::Frame { to, from, bytes } => self.frame(to, from, &bytes),
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
    }

    // ---- time -------------------------------------------------------------------------------

    fn tick(&mut self, member: usize) {
        let now = self.now();
        let it = &mut self.members[member];
        let (instant, wall_ms) = (it.clock.instant(now), it.clock.wall_ms(now));
        let (life, next) = (it.life, it.clock.true_duration(NodeConfig::TICK));
        if let Some(process) = &mut it.process {
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

    // ---- effects ----------------------------------------------------------------------------

    fn pump(&mut self, member: usize) {
        let now = self.now();
        let it = &mut self.members[member];
        let (instant, wall_ms) = (it.clock.instant(now), it.clock.wall_ms(now));
        let Some(process) = &mut it.process else {
            return;
        };
        process.pump_due = false;
        let effects = process.node.take_effects(instant, wall_ms);
        self.n_pumps += 1;
        if self.n_pumps.is_multiple_of(64)
            && let Some(process) = &self.members[member].process
        {
            process.node.check();
        }
        let more = effects.more;
        self.carry_out(member, effects);
        if more {
            self.pump_soon(member);
        }
    }

    fn carry_out(&mut self, member: usize, effects: Effects) {
        let from = self.members[member].id;
        for (to, message) in effects.send {
            let mut bytes = BytesMut::new();
            let origin = Origin {
                cluster: CLUSTER,
                member: from,
            };
            wire::encode_message(origin, &message, &mut bytes);
            self.send(from, to, bytes.freeze());
        }
        for snapshot in effects.send_snapshots {
            self.send_state(member, snapshot);
        }
        if let Some(process) = &mut self.members[member].process {
            if let Some(persist) = effects.persist {
                process.work.persist(persist);
            }
            if let Some((meta, state)) = effects.checkpoint {
                process.work.checkpoint(meta, state);
            }
        }
        if let Some(state) = &effects.published {
            self.published(member, state, &effects.events, effects.restored);
        }
        for answer in effects.answers {
            self.answered(member, answer);
        }
        for (ticket, result) in effects.reads {
            self.read_ready(member, ticket, result.is_ok());
        }
        for (ticket, answer) in effects.leases {
            self.lease_answered(member, ticket, answer);
        }
        if let Some(leadership) = effects.leadership {
            self.note(member, "leadership", || {
                format!("term {} leader n{}", leadership.term, leadership.leader)
            });
        }
        self.desk_ready(member);
        self.disk_begin(member);
        if let Some(reason) = effects.stop {
            self.stopped(member, &reason);
        }
    }

    fn stopped(&mut self, member: usize, reason: &StopReason) {
        self.note(member, "stop", || format!("{reason:?}"));
        match reason {
            StopReason::Removed => self.members[member].condition = Condition::Left,
            StopReason::Diverged { .. } | StopReason::TooOld { .. } => {
                let id = self.members[member].id;
                self.violate(Violation::new(
                    "members_have_equal_digests",
                    format!("member {id} stopped itself: {reason:?}"),
                ));
                self.members[member].condition = Condition::Ruined(format!("{reason:?}"));
            }
        }
        self.kill(member, "stopped");
    }

    fn published(
        &mut self,
        member: usize,
        state: &State,
        events: &[(RootId, store::Event)],
        restored: bool,
    ) {
        let now = self.now();
        let id = self.members[member].id;
        let position = state.applied();
        self.trace.note(
            now,
            "apply",
            &[id.0, position.index.0, state.digest()],
            || format!("n{id}: applied {position}, revision {}", state.revision()),
        );
        let (digest, first) = *self
            .digests
            .entry(position.index.0)
            .or_insert((state.digest(), id));
        if digest != state.digest() {
            self.violate(Violation::new(
                "members_have_equal_digests",
                format!(
                    "at {position} member {first} has {digest:016x}, member {id} has {:016x}",
                    state.digest()
                ),
            ));
        }
        if position.index.0 > self.membership.0 {
            self.membership = (position.index.0, state.membership().clone());
        }
        let mut at = 0;
        while at < events.len() {
            let revision = events[at].1.revision();
            let mut page = Vec::new();
            while let Some((root, event)) = events
                .get(at)
                .filter(|(_, event)| event.revision() == revision)
            {
                if *root == etcd::ROOT {
                    page.push(Happened {
                        row: speak::row_of_record(&event.record),
                    });
                }
                at += 1;
            }
            if let Err(violation) = self.chronicle.observe(id, now, revision, page) {
                self.violate(violation);
            }
        }
        let Some(process) = &mut self.members[member].process else {
            return;
        };
        if restored {
            process.desk.restored(state);
        }
        process.desk.publish(state, events);
        process.state = state.clone();
    }

    // ---- disk -------------------------------------------------------------------------------

    fn disk_begin(&mut self, member: usize) {
        let sync_us = self.settings.plan.sync.as_micros() as u64;
        let it = &mut self.members[member];
        let Some(process) = &mut it.process else {
            return;
        };
        let Some(op) = process.work.begin() else {
            return;
        };
        let mut after = match op {
            storage::Op::Sync { .. } => 30 + self.rng.below(sync_us),
            storage::Op::SyncDir => 20 + self.rng.below(sync_us / 4),
            storage::Op::Create { .. } => 20 + self.rng.below(100),
            _ => 1 + self.rng.below(15),
        };
        after *= it.disk_slowness;
        if matches!(op, storage::Op::Sync { .. }) {
            after += std::mem::take(&mut it.hang_us);
        }
        self.schedule.after_us(
            after,
            Event::Disk {
                member,
                life: it.life,
            },
        );
    }

    fn disk_done(&mut self, member: usize) {
        let now = self.now();
        let it = &mut self.members[member];
        let Some(process) = &mut it.process else {
            return;
        };
        let done = match process.work.finish(&mut it.disk) {
            Ok(done) => done,
            Err(error) => {
                // Rule R5: a failed sync ends the member; it is never tried again.
                let text = base::Chain(&error).to_string();
                self.note(member, "disk", || text);
                self.kill(member, "abort");
                let after = self.rng.between(10_000, 1_000_000);
                self.schedule.after_us(after, Event::Start { member });
                return;
            }
        };
        let mut full = false;
        for done in done {
            let id = self.members[member].id;
            let Some(process) = &mut self.members[member].process else {
                return;
            };
            match done {
                crate::disk_work::Done::Persisted(number) => {
                    process.node.persisted(number);
                    self.trace.note(now, "durable", &[id.0, number], || {
                        format!("n{id}: record {number}")
                    });
                }
                crate::disk_work::Done::Checkpointed(meta) => {
                    let floor = process.node.checkpointed(&meta);
                    process.work.free(floor);
                    self.trace
                        .note(now, "checkpoint", &[id.0, meta.position.index.0], || {
                            format!("n{id}: at {}", meta.position)
                        });
                }
                crate::disk_work::Done::CheckpointFailed => process.node.checkpoint_failed(),
                crate::disk_work::Done::Full => full = true,
            }
        }
        if full {
            // Nothing is begun until the next pump, a tick later at most.
            return;
        }
        self.disk_begin(member);
        self.pump_soon(member);
    }

    // ---- network ----------------------------------------------------------------------------

    fn send(&mut self, from: MemberId, to: MemberId, bytes: Bytes) {
        let Some(to_place) = self.place(to) else {
            return;
        };
        for copy in self.network.send(from, to, bytes.len()) {
            let mut bytes = bytes.clone();
            if let Some(draw) = copy.corrupt {
                let mut damaged = bytes.to_vec();
                let at = draw as usize % damaged.len();
                damaged[at] ^= 1 << (draw >> 61);
                bytes = damaged.into();
            }
            self.schedule.after_us(
                copy.after_us,
                Event::Frame {
                    to: to_place,
                    from,
                    bytes,
                },
            );
        }
    }

    fn frame(&mut self, to: usize, from: MemberId, bytes: &Bytes) {
        let now = self.now();
        let mut reader = FrameReader::of_stranger();
        reader.trust(Origin {
            cluster: CLUSTER,
            member: from,
        });
        let mut input = BytesMut::from(&bytes[..]);
        // Damage is caught by the checksums; then the connection ends and the frame is lost.
        let Ok(Some((_, Frame::Message(message)))) = reader.next(&mut input) else {
            return self.note(to, "damaged", || format!("a frame of n{from}"));
        };
        let id = self.members[to].id;
        let kind = message_kind(&message);
        self.trace.note(
            now,
            "frame",
            &[id.0, from.0, bytes.len() as u64, kind],
            || format!("n{from} -> n{id}: {message:?}"),
        );
        let it = &mut self.members[to];
        let instant = it.clock.instant(now);
        if let Some(process) = &mut it.process {
            process.node.receive(from, message, instant);
            self.pump_soon(to);
        }
    }

    fn send_state(&mut self, member: usize, snapshot: SnapshotSend) {
        let from = self.members[member].id;
        let life = self.members[member].life;
        let mut writer = store::stream::Writer::new(snapshot.state);
        let mut bytes = BytesMut::new();
        while let Some(chunk) = writer.next_chunk(16 * 1024) {
            bytes.extend_from_slice(&chunk);
        }
        let bytes = bytes.freeze();
        let to = snapshot.to;
        self.note(member, "send-state", || {
            format!("to n{to} at {}", snapshot.meta.position)
        });
        let copies = self.network.send(from, to, bytes.len());
        let arrived = self.place(to).zip(copies.first().copied());
        if let Some((to, copy)) = arrived {
            let event = Event::State {
                to,
                from,
                meta: snapshot.meta,
                bytes,
            };
            self.schedule.after_us(copy.after_us * 3, event);
        }
        let after = self.rng.between(500, 50_000);
        let arrived = arrived.is_some();
        self.schedule.after_us(
            after,
            Event::StateSent {
                member,
                life,
                to,
                arrived,
            },
        );
    }

    fn state(&mut self, to: usize, from: MemberId, meta: SnapshotMeta, bytes: &Bytes) {
        let Some(process) = &mut self.members[to].process else {
            return;
        };
        let mut reader = store::stream::Reader::new();
        let read = reader.push(bytes).and_then(|()| reader.finish());
        match read {
            Ok(state) => {
                process.node.snapshot_received(from, meta.clone(), state);
                self.note(to, "state", || format!("from n{from} at {}", meta.position));
                self.pump_soon(to);
            }
            Err(error) => self.violate(Violation::new(
                "a_state_reads_back",
                format!("from member {from}: {}", base::Chain(&error)),
            )),
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

fn message_kind(message: &base::PeerMessage) -> u64 {
    match message {
        base::PeerMessage::Raft(message) => message.kind as u64 ^ (message.term.0 << 8),
        base::PeerMessage::Forward { .. } => 100,
        base::PeerMessage::ReadIndexRequest { .. } => 101,
        base::PeerMessage::ReadIndexReply { .. } => 102,
        base::PeerMessage::LeaseRenewRequest { .. } => 103,
        base::PeerMessage::LeaseRemainingRequest { .. } => 104,
        base::PeerMessage::LeaseReply { .. } => 105,
        base::PeerMessage::Recovering { .. } => 106,
        base::PeerMessage::SnapshotOutcome { .. } => 107,
        base::PeerMessage::Removed => 108,
    }
}
