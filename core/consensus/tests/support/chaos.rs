//! A world driven by chance: messages lost, doubled and reordered, disks that hang, crashes, cut links,
//! logs that lose their end, members that come and go. One seed is one run.

use super::{World, id, name};
use base::{Change, LogPosition, MemberId, Mutant, Mutants, Rng, rng};
use quorate_consensus::Engine;

pub struct Chaos {
    pub world: World,
    rng: Rng,
    n_commands: u64,
    mutants: Mutants,
    /// Everything that happened, folded.
    pub hash: u64,
    /// How often the rare things happened.
    pub marks: [(&'static str, u64); 6],
}

impl Chaos {
    pub fn new(n_members: u64, seed: u64, mutant: Option<Mutant>) -> Chaos {
        let voters: Vec<u64> = (1..=n_members).collect();
        let mut world = World::new(&voters, &[], seed);
        let mutants = mutant.map_or(Mutants::none(), Mutants::only);
        for member in world.members.keys().copied().collect::<Vec<_>>() {
            world.members.get_mut(&member).expect("it exists").mutants = mutants;
            world.crash(member);
            world.restart(member);
        }
        let mut chaos = Chaos {
            world,
            rng: Rng::new(seed),
            n_commands: 0,
            mutants,
            hash: 0,
            marks: [
                (" installs ", 0),
                (" outgoing ", 0),
                (" learners ", 0),
                (" lost ", 0),
                (" read ", 0),
                ("Leader in term", 0),
            ],
        };
        chaos.hold_disks(true);
        chaos
    }

    fn hold_disks(&mut self, is_held: bool) {
        for member in self.world.members.values_mut() {
            member.is_disk_held = is_held;
        }
    }

    fn any(&mut self) -> MemberId {
        let members: Vec<MemberId> = self.world.members.keys().copied().collect();
        *self.rng.pick(&members).expect("there are members")
    }

    fn any_up(&mut self) -> Option<MemberId> {
        let member = self.any();
        self.world.is_up(member).then_some(member)
    }

    /// Usually the leader, sometimes somebody who only thinks so.
    fn likely_leader(&mut self) -> Option<MemberId> {
        match self.rng.one_in(4) {
            true => self.any_up(),
            false => self.world.leader(),
        }
    }

    pub fn run(&mut self, n_steps: usize) {
        for _ in 0..n_steps {
            self.step();
            for event in self.world.events.drain(..) {
                for (what, n) in &mut self.marks {
                    *n += u64::from(event.contains(*what));
                }
                for byte in event.bytes() {
                    self.hash = rng::mix(self.hash ^ u64::from(byte));
                }
            }
            if !self.world.violations.is_empty() {
                return;
            }
        }
    }

    fn step(&mut self) {
        match self.rng.below(1000) {
            0..480 => self.deliver(),
            480..700 => {
                if let Some(member) = self.any_up() {
                    self.world.tick(member);
                }
            }
            700..900 => {
                let member = self.any();
                if self.world.is_up(member) {
                    self.world.flush_one(member);
                }
            }
            900..950 => {
                self.n_commands += 1;
                let command = format!("c{}", self.n_commands);
                if let Some(member) = self.likely_leader() {
                    let _ = self.world.propose(member, &command);
                }
            }
            950..970 => {
                if let Some(member) = self.likely_leader() {
                    let _ = self.world.read(member);
                }
            }
            970..980 => self.crash_or_restart(),
            980..985 => {
                let (a, b) = (self.any(), self.any());
                match self.rng.below(4) {
                    0 => self.world.isolate(a),
                    1 => self.world.cut_one_way(a, b),
                    _ => self.world.heal(),
                }
            }
            985..990 => self.change(),
            990..994 => {
                if let Some(member) = self.any_up() {
                    let applied = self.world.member(member).machine.at.index.0;
                    let to = applied.saturating_sub(self.rng.below(10));
                    self.world.compact(member, to);
                }
            }
            994..996 => {
                let to = self.any();
                if let Some(leader) = self.likely_leader() {
                    let _ = self.world.raft_mut(leader).transfer(to);
                    self.world.drain(leader);
                }
            }
            996..998 => {
                // Everything for a while at once: otherwise nobody is ever elected in peace.
                self.hold_disks(false);
                let n_ticks = self.rng.below(130) as usize;
                self.world.run(n_ticks);
                self.hold_disks(true);
            }
            998 => {
                if let Some(leader) = self.world.leader() {
                    let peer = self.any();
                    self.world.raft_mut(leader).report_unreachable(peer);
                    self.world.drain(leader);
                }
            }
            _ => {
                if let Some(leader) = self.world.leader() {
                    self.world.raft_mut(leader).step_down();
                    self.world.drain(leader);
                }
            }
        }
    }

    fn deliver(&mut self) {
        let n = self.world.wire.len() as u64;
        // Mostly in order of sending, sometimes any, so that reordering is common and chaos is not all.
        let at = match self.rng.one_in(3) {
            true => self.rng.below(n),
            false => self.rng.below(n.min(3)),
        };
        let Some(message) = self.world.wire.remove(at as usize) else {
            return;
        };
        match self.rng.below(100) {
            0..4 => self.world.lost(&message),
            4..8 => {
                self.world.wire.push_back(message.clone());
                self.world.deliver(message);
            }
            _ => self.world.deliver(message),
        }
    }

    fn crash_or_restart(&mut self) {
        let member = self.any();
        if !self.world.is_up(member) {
            self.world.restart(member);
            self.world
                .members
                .get_mut(&member)
                .expect("it exists")
                .is_disk_held = true;
            if self.rng.one_in(2) && self.world.raft(member).status().recovering.is_some() {
                self.world.plead(member);
            }
            return;
        }
        // What the sockets still hold of a crashed member arrives or not; half the time not.
        self.world.crash(member);
        if self.rng.one_in(2) {
            self.world.lose_sent_by(member);
        }
        if self.rng.one_in(3) {
            self.lose_tail(member);
        }
    }

    /// One member at a time may lose the end of its log, and storage knows how far it had come.
    fn lose_tail(&mut self, member: MemberId) {
        let is_alone = self.world.members.values().all(|other| {
            let recovering = match &other.raft {
                Some(raft) => raft.status().recovering,
                None => other.disk.recovering,
            };
            recovering.is_none()
        });
        let disk = &mut self.world.members.get_mut(&member).expect("it exists").disk;
        let Some(last) = disk.entries.last().map(|entry| entry.position) else {
            return;
        };
        if !is_alone {
            return;
        }
        disk.recovering = Some(LogPosition {
            term: disk.hard_state.term,
            index: last.index,
        });
        let n_lost = self.rng.between(1, disk.entries.len() as u64) as usize;
        disk.entries.truncate(disk.entries.len() - n_lost);
        // Nothing of the member's earlier life may still be under way, or it would vouch for what is
        // gone: the connection was closed, and a new one introduces itself first.
        self.world.lose_sent_by(member);
        self.world
            .note(format!("{} lost {n_lost} entries", name(member)));
    }

    fn change(&mut self) {
        let Some(leader) = self.world.leader() else {
            return;
        };
        let membership = self.world.raft(leader).membership().clone();
        let mut changes = Vec::new();
        for _ in 0..self.rng.between(1, 2) {
            let member = id(self.rng.between(1, 6));
            let change = match self.rng.below(4) {
                0 if membership.voters.len() > 2 => Change::Remove(member),
                1 => Change::AddLearner(member),
                _ => Change::AddVoter(member),
            };
            changes.push(change);
        }
        for change in &changes {
            let (Change::AddVoter(member) | Change::AddLearner(member)) = *change else {
                continue;
            };
            if !self.world.members.contains_key(&member) {
                self.world.join(member);
                let joined = self.world.members.get_mut(&member).expect("it joined");
                joined.is_disk_held = true;
                joined.mutants = self.mutants;
            }
        }
        let _ = self.world.change(leader, changes);
    }

    /// Whether, in the membership that some member believes in, those who remember are no majority:
    /// with two voters one that forgot is enough.
    fn is_majority_amnesiac(&self) -> bool {
        let remembers = |member: &MemberId| {
            let raft = self.world.raft(*member);
            raft.status().recovering.is_none()
        };
        self.world.members.keys().any(|member| {
            let membership = self.world.raft(*member).membership();
            [&membership.voters, &membership.voters_outgoing]
                .into_iter()
                .any(|voters| {
                    let n_intact = voters.iter().filter(|voter| remembers(voter)).count();
                    !voters.is_empty() && n_intact <= voters.len() / 2
                })
        })
    }

    /// The world becomes good, and the cluster must, too: a leader, and everybody equal.
    pub fn calm_down(&mut self) {
        self.world.heal();
        self.hold_disks(false);
        for member in self.world.members.keys().copied().collect::<Vec<_>>() {
            if !self.world.is_up(member) {
                self.world.restart(member);
            }
        }
        self.world.settle();
        self.world.run(700);
        if self.world.leader().is_none() && self.is_majority_amnesiac() {
            return; // nobody can know any more what was decided: the cluster rightly stands still
        }
        let leader = self.world.leader().expect("a calm cluster has a leader");
        self.world
            .propose(leader, "calm")
            .expect("a calm leader proposes");
        self.world.settle();
        self.world.run(30);
        let membership = self.world.raft(leader).membership().clone();
        let expected = self.world.member(leader).machine.clone();
        assert_eq!(
            expected.commands.last().map(|(_, command)| &command[..]),
            Some("calm")
        );
        assert_eq!(membership.voters_outgoing, [], "a joint membership is left");
        for member in membership.everyone() {
            let machine = &self.world.member(member).machine;
            assert_eq!(machine.at, expected.at, "{} lags", name(member));
            assert_eq!(
                machine.commands,
                expected.commands,
                "{} differs",
                name(member)
            );
        }
    }
}
