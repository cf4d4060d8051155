//! What goes wrong, and when it stops going wrong.
//!
//! One misfortune at a time is drawn from the seed's kinds; its consequences overlap with the next
//! ones. When the trouble is over everything heals: links, disks, clocks, processes.

use crate::disk::PowerCut;
use crate::member::{Condition, Member};
use crate::network::{Split, Weather};
use crate::plan::{Fault, Plan};
use crate::tape::{Kind, Who};
use crate::world::{Event, World};
use base::{MemberId, MessageKind, PeerMessage, Rng};
use node::{Effects, MemberChange};
use std::collections::BTreeMap;
use std::time::Duration;

/// Aimed strikes of one run, at most: it shall get somewhere, too.
const AIMED_MAX: u32 = 30;

/// By how much a repeated request for a vote comes later, at most.
const AIMED_LATE_US: u64 = 40_000;

/// How long a member that was struck so is away, at most.
const AIMED_DOWN_MS: u64 = 10;

/// How long a member is away while it is upgraded, at most.
const UPGRADE_DOWN_MS: u64 = 200;

/// What can happen to the world.
#[allow(missing_docs)] // The fields' names say what they are.
pub enum Trouble {
    /// The next misfortune.
    Next,
    /// Links are whole again.
    NetworkHeals,
    /// A disk is fast again.
    DiskSpeedsUp { member: usize },
    /// A disk has room again.
    DiskHasRoom { member: usize },
    /// The next step of a change of membership.
    Membership,
    /// A member is stopped and started as a newer build.
    Upgrade { member: usize },
    /// A process dies at a moment that matters.
    Aimed {
        member: usize,
        life: u32,
        fault: Fault,
    },
}

impl Misfortune {
    /// Whether the others have closed their connections to a member that stood still.
    pub fn is_cut_off_after_pause(&mut self) -> bool {
        self.rng.one_in(2)
    }

    /// By how many microseconds each copy of `message` comes later than others. In worlds with aim a request for a
    /// vote comes twice, and so late that somebody else may stand in the same term.
    pub fn lags_us(&mut self, plan: &Plan, message: &PeerMessage) -> Vec<u64> {
        let is_request =
            matches!(message, PeerMessage::Raft(message) if message.kind == MessageKind::Vote);
        if !plan.aimed || self.is_over || !is_request {
            return vec![0];
        }
        let first = self.aim.below(plan.election.as_micros() as u64);
        vec![first, first + self.aim.below(AIMED_LATE_US)]
    }

    /// After how many changes of the disk the power goes during a start, if it does.
    pub fn fuse(&mut self, plan: &Plan) -> Option<u64> {
        let may = plan.has(Fault::PowerCut) || plan.has(Fault::Blackout);
        (may && !self.is_over && self.rng.one_in(3)).then(|| self.rng.below(40))
    }
}

/// What goes wrong.
pub struct Misfortune {
    rng: Rng,
    /// Decides about wrong blocks: a generator of its own, so that what else a seed draws is the same
    /// with and without them.
    blocks: Rng,
    /// Decides about aimed strikes: a generator of its own, too.
    aim: Rng,
    n_aimed: u32,
    /// No more of it.
    pub is_over: bool,
    /// How often each kind struck.
    pub counts: BTreeMap<Fault, u64>,
    hurt: Option<usize>,
    n_joined: usize,
}

impl Misfortune {
    /// Nothing yet.
    pub fn new(rng: Rng, seed: u64) -> Misfortune {
        Misfortune {
            rng,
            blocks: Rng::new(seed ^ 0x424c_4f43_4b53_0002),
            aim: Rng::new(seed ^ 0x4149_4d45_4400_0002),
            n_aimed: 0,
            is_over: false,
            counts: BTreeMap::new(),
            hurt: None,
            n_joined: 0,
        }
    }
}

impl World {
    /// The first misfortune comes soon.
    pub fn begin_trouble(&mut self) {
        self.next_trouble();
        for member in 0..self.members.len() {
            let at_ms = self.members[member].upgraded_ms;
            if at_ms > 0 {
                let upgrade = Event::Trouble(Trouble::Upgrade { member });
                self.schedule.after_us(at_ms * 1000, upgrade);
            }
        }
    }

    fn next_trouble(&mut self) {
        let calm = self.settings.plan.calm;
        let after = self
            .misfortune
            .rng
            .between(10_000, calm.as_micros() as u64 * 2);
        self.schedule.after_us(after, Event::Trouble(Trouble::Next));
    }

    fn later(&mut self, from_ms: u64, to_ms: u64, trouble: Trouble) {
        let after = self.misfortune.rng.between(from_ms * 1000, to_ms * 1000);
        self.schedule.after_us(after, Event::Trouble(trouble));
    }

    /// Something goes wrong, or ends.
    pub fn trouble(&mut self, trouble: Trouble) {
        if self.misfortune.is_over {
            return;
        }
        match trouble {
            Trouble::Next => {
                let faults = self.settings.plan.faults.clone();
                if let Some(fault) = self.misfortune.rng.pick(&faults).copied() {
                    self.strike(fault);
                }
                self.next_trouble();
            }
            Trouble::NetworkHeals => {
                self.network.heal();
                self.network.set_weather(Weather::FAIR);
                let now = self.now();
                self.trace.note(now, "network", &[0], || "heals".to_owned());
                self.tell("the network heals".to_owned());
            }
            Trouble::DiskSpeedsUp { member } => self.members[member].disk_slowness = 1,
            Trouble::DiskHasRoom { member } => self.members[member].disk.set_capacity(u64::MAX / 2),
            Trouble::Membership => self.change_membership(),
            Trouble::Upgrade { member } => {
                if self.members[member].process.is_some() {
                    self.kill(member, "upgrade");
                    self.start_later(member, UPGRADE_DOWN_MS);
                }
            }
            Trouble::Aimed {
                member,
                life,
                fault,
            } => {
                let it = &self.members[member];
                if it.process.is_none() || it.life != life || it.is_paused {
                    return;
                }
                *self.misfortune.counts.entry(fault).or_default() += 1;
                if fault == Fault::PowerCut {
                    self.cut_power(member, AIMED_DOWN_MS);
                } else {
                    self.kill(member, "kill");
                    self.start_later(member, AIMED_DOWN_MS);
                }
            }
        }
    }

    /// Puts what happened to the world, and to nobody in particular, on the tape.
    pub(crate) fn tell(&mut self, text: String) {
        let now = self.now();
        if let Some(tape) = &mut self.tape {
            tape.happened(now, Who::World, Kind::Fault, text);
        }
    }

    /// A member sends `effects`: a moment to strike it, if it has promised something with them.
    pub fn aim(&mut self, member: usize, effects: &Effects) {
        let plan = &self.settings.plan;
        let misfortune = &mut self.misfortune;
        if !plan.aimed || misfortune.is_over || misfortune.n_aimed == AIMED_MAX {
            return;
        }
        let sends = |kind| {
            effects.send.iter().any(|(_, message)| match message {
                PeerMessage::Raft(message) => message.kind == kind && !message.reject,
                _ => false,
            })
        };
        let strikes = sends(MessageKind::VoteResponse) && misfortune.aim.one_in(2)
            || sends(MessageKind::AppendResponse) && misfortune.aim.one_in(100);
        if !strikes {
            return;
        }
        misfortune.n_aimed += 1;
        let kinds: Vec<Fault> = [Fault::Kill, Fault::PowerCut]
            .into_iter()
            .filter(|fault| plan.has(*fault))
            .collect();
        let Some(fault) = misfortune.aim.pick(&kinds).copied() else {
            return;
        };
        let aimed = Trouble::Aimed {
            member,
            life: self.members[member].life,
            fault,
        };
        let after = misfortune.aim.below(300);
        self.schedule.after_us(after, Event::Trouble(aimed));
    }

    fn victim(&mut self) -> Option<usize> {
        let running = self.running();
        // Leaders are more interesting.
        let leaders: Vec<usize> = running
            .iter()
            .copied()
            .filter(|at| {
                self.members[*at]
                    .process
                    .as_ref()
                    .is_some_and(|p| p.node.is_leader())
            })
            .collect();
        if self.misfortune.rng.one_in(2)
            && let Some(leader) = self.misfortune.rng.pick(&leaders)
        {
            return Some(*leader);
        }
        self.misfortune.rng.pick(&running).copied()
    }

    fn strike(&mut self, fault: Fault) {
        let now = self.now();
        *self.misfortune.counts.entry(fault).or_default() += 1;
        self.trace
            .note(now, "fault", &[fault as u64], || format!("{fault:?}"));
        let Some(victim) = self.victim() else { return };
        match fault {
            Fault::Kill => {
                self.kill(victim, "kill");
                self.start_later(victim, 3_000);
            }
            Fault::PowerCut => self.cut_power(victim, 3_000),
            Fault::Blackout => {
                for member in self.running() {
                    self.cut_power(member, 1_500);
                }
            }
            Fault::Split => {
                let members: Vec<MemberId> = self.members.iter().map(|member| member.id).collect();
                let split = Split::draw(&mut self.misfortune.rng);
                if self.misfortune.rng.one_in(2) {
                    self.network.heal();
                }
                split.apply(&members, &mut self.network, &mut self.misfortune.rng);
                self.trace
                    .note(now, "network", &[1], || format!("{split:?}"));
                self.tell(format!("the network splits: {split:?}"));
                self.later(100, 6_000, Trouble::NetworkHeals);
            }
            Fault::Weather => {
                let weather = Weather::foul(&mut self.misfortune.rng);
                self.network.set_weather(weather);
                self.trace
                    .note(now, "network", &[2], || format!("{weather:?}"));
                self.tell(format!("foul weather: {weather:?}"));
                self.later(500, 6_000, Trouble::NetworkHeals);
            }
            Fault::Pause => {
                if !self.members[victim].is_paused {
                    self.members[victim].is_paused = true;
                    self.note(victim, "pause", String::new);
                    let longest = match self.settings.plan.long_pauses {
                        true => 20_000_000,
                        false => 5_000_000,
                    };
                    let after = self.misfortune.rng.between(10_000, longest);
                    self.schedule
                        .after_us(after, Event::Resume { member: victim });
                }
            }
            Fault::Clock => self.disturb_clock(victim),
            Fault::SlowDisk => {
                let rng = &mut self.misfortune.rng;
                if rng.one_in(2) {
                    self.members[victim].hang_us = rng.between(100_000, 6_000_000);
                } else {
                    self.members[victim].disk_slowness = *rng.pick(&[5, 50, 300]).unwrap_or(&5);
                    self.later(500, 5_000, Trouble::DiskSpeedsUp { member: victim });
                }
            }
            Fault::FailedSync => self.members[victim].disk.fail_syncs(1),
            Fault::FullDisk => {
                let more = self.misfortune.rng.below(20_000);
                let disk = &mut self.members[victim].disk;
                disk.set_capacity(disk.used_bytes() + more);
                self.later(200, 4_000, Trouble::DiskHasRoom { member: victim });
            }
            Fault::Corruption => self.corrupt(victim),
            Fault::Transfer => self.transfer(victim),
            Fault::Membership => self.change_membership(),
        }
    }

    fn start_later(&mut self, member: usize, ms_max: u64) {
        let after = self.misfortune.rng.between(1_000, ms_max * 1000);
        self.schedule.after_us(after, Event::Start { member });
    }

    /// The power goes; it comes back after at most so many milliseconds.
    pub fn cut_power(&mut self, member: usize, ms_max: u64) {
        self.kill(member, "power-cut");
        let cut = PowerCut::draw(&mut self.misfortune.rng);
        self.members[member].disk.cut_power(cut);
        self.start_later(member, ms_max);
    }

    fn disturb_clock(&mut self, victim: usize) {
        let now = self.now();
        let error = self.settings.plan.clock_error_permille;
        let rng = &mut self.misfortune.rng;
        let clock = &mut self.members[victim].clock;
        if rng.one_in(2) {
            let by_ms = rng.between(0, 200_000_000) as i64 - 100_000_000;
            clock.jump_wall(by_ms);
            self.note(victim, "clock", || format!("wall jumps by {by_ms} ms"));
        } else {
            let rate = rng.between(1000 - error.min(500), 1000 + error);
            clock.set_rate(now, rate);
            self.note(victim, "clock", || format!("rate {rate} permille"));
        }
    }

    /// Hurts the disk of one member only, the same one for the whole run, while it is down.
    fn corrupt(&mut self, victim: usize) {
        let victim = *self.misfortune.hurt.get_or_insert(victim);
        let kind = self.settings.plan.corruption;
        // A start that died half-way may not have noted again what the log holds: see `disk/blocks.rs`.
        let has_blocks = kind.has_blocks() && self.members[victim].process.is_some();
        self.kill(victim, "kill");
        let rng = &mut self.misfortune.rng;
        if rng.one_in(3) {
            let cut = PowerCut::draw(rng);
            self.members[victim].disk.cut_power(cut);
        }
        if kind.has_bits() {
            self.flip_bits(victim);
        }
        if has_blocks {
            self.misplace_blocks(victim);
        }
        self.start_later(victim, 2_000);
    }

    fn flip_bits(&mut self, victim: usize) {
        // Where blocks go wrong, too, the watermark may be all that still says how much was durable (`disk/blocks.rs`).
        let has_blocks = self.settings.plan.corruption.has_blocks();
        let spared = has_blocks.then_some("watermark");
        let n_flips = *self.misfortune.rng.pick(&[1, 1, 3]).unwrap_or(&1);
        for _ in 0..n_flips {
            let rng = &mut self.misfortune.rng;
            let prefix = *rng
                .pick(&["wal", "wal", "checkpoint", ""])
                .unwrap_or(&"wal");
            let member = &mut self.members[victim];
            if let Some((file, at)) = member.disk.flip_bit(prefix, spared, rng) {
                member.was_hurt = true;
                if rng.one_in(6) {
                    member.disk.spoil(&file, at);
                }
                self.note(victim, "corrupt", || format!("{file} at {at}"));
            }
        }
    }

    fn misplace_blocks(&mut self, victim: usize) {
        let n_blocks = *self.misfortune.blocks.pick(&[1, 1, 3]).unwrap_or(&1);
        for _ in 0..n_blocks {
            let rng = &mut self.misfortune.blocks;
            let member = &mut self.members[victim];
            let wrong = match rng.one_in(2) {
                true => member.disk.make_stale(rng),
                false => member.disk.misdirect(rng),
            };
            if let Some(wrong) = wrong {
                member.was_hurt = true;
                self.note(victim, "corrupt", || wrong.to_string());
            }
        }
    }

    fn transfer(&mut self, victim: usize) {
        let to: Vec<MemberId> = self.membership.1.voters.clone();
        let Some(to) = self.misfortune.rng.pick(&to).copied() else {
            return;
        };
        if let Some(process) = &mut self.members[victim].process {
            // Refused unless it leads: that is fine.
            let _ = process.node.transfer_leader(to);
            self.note(victim, "transfer", || format!("to n{to}"));
            self.pump_soon(victim);
        }
    }

    /// One step towards another membership: add, promote or remove. What is refused is tried again in
    /// another way by the next step. Two never become one: the engine counts a change from its
    /// application on, so the one that stays, crashing before it hears that the change is decided,
    /// needs the vote of the one that left (as in etcd).
    fn change_membership(&mut self) {
        let Some(victim) = self.victim() else { return };
        let membership = self.membership.1.clone();
        let rng = &mut self.misfortune.rng;
        let change = if let Some(learner) = membership.learners.first() {
            if rng.one_in(5) {
                MemberChange::Remove { member: *learner }
            } else {
                MemberChange::Promote { member: *learner }
            }
        } else if membership.voters.len() > 2 && (rng.one_in(3) || membership.voters.len() >= 5) {
            match rng.pick(&membership.voters) {
                Some(member) => MemberChange::Remove { member: *member },
                None => return,
            }
        } else {
            let member = self.invite();
            MemberChange::Add {
                member,
                peer_urls: vec![format!("http://n{member}:2380")],
                is_learner: true,
            }
        };
        self.note(victim, "membership", || format!("{change:?}"));
        if let Some(process) = &mut self.members[victim].process {
            let _ = process.node.change_members(change);
            self.pump_soon(victim);
        }
        if !self.misfortune.rng.one_in(3) {
            self.later(200, 1_500, Trouble::Membership);
        }
    }

    /// Somebody who has been invited and is not in yet, or a new one, which starts soon.
    fn invite(&mut self) -> MemberId {
        let in_it = self.membership.1.everyone();
        let waiting = self.members.iter().find(|member| {
            member.condition == Condition::Well
                && member.genesis.is_none()
                && !in_it.contains(&member.id)
        });
        if let Some(member) = waiting {
            return member.id;
        }
        self.misfortune.n_joined += 1;
        let id = MemberId(100 + self.misfortune.n_joined as u64);
        let rng = self.member_rng.fork(id.0);
        let member = Member::new(id, None, &self.settings.plan, rng);
        self.members.push(member);
        self.deferred.push(Vec::new());
        self.start_later(self.members.len() - 1, 1_000);
        id
    }

    /// Whoever does not belong to the cluster and is not needed any more is shut down, as its operator would: it
    /// may never hear that it was removed.
    pub fn retire_strangers(&mut self) {
        let in_it = self.membership.1.everyone();
        for member in 0..self.members.len() {
            let it = &self.members[member];
            let has_state = it
                .process
                .as_ref()
                .is_some_and(|process| !process.state.membership().voters.is_empty());
            let is_needed = has_state && !self.is_seen_off(it.id);
            if !in_it.contains(&it.id) && !is_needed && it.process.is_some() {
                self.kill(member, "retire");
                self.members[member].condition = Condition::Left;
            }
        }
    }

    /// Whether a majority of those that stay knows for good that `id` was removed. Until then it may be needed: it
    /// goes by itself when it is not.
    fn is_seen_off(&self, id: base::MemberId) -> bool {
        let voters = &self.membership.1.voters;
        let knows = |voter: &&base::MemberId| {
            let place = self.place(**voter);
            let process = place.and_then(|at| self.members[at].process.as_ref());
            process.is_some_and(|process| process.node.has_seen_off(id))
        };
        voters.iter().filter(knows).count() > voters.len() / 2
    }

    /// Everything is whole again, and everybody who belongs to the cluster runs.
    pub fn heal(&mut self) {
        self.misfortune.is_over = true;
        let now = self.now();
        self.trace.note(now, "heal", &[], String::new);
        self.tell("everything heals".to_owned());
        self.network.heal();
        self.network.set_weather(Weather::FAIR);
        self.retire_strangers();
        for member in 0..self.members.len() {
            let it = &mut self.members[member];
            it.disk_slowness = 1;
            it.hang_us = 0;
            it.disk.set_capacity(u64::MAX / 2);
            it.disk.fail_syncs(0);
            it.clock.calm(now);
            if it.is_paused {
                self.schedule.after_us(1, Event::Resume { member });
            }
            if self.members[member].process.is_none() {
                self.schedule
                    .after(Duration::from_millis(5), Event::Start { member });
            }
        }
    }
}
