//! A world of a few members in one process: engines, disks that can hang, links that can be cut.
//!
//! Every delivery, write and tick is chosen by the test, so a story plays the same each time. After
//! every step the world checks what must hold in any world: one leader per term, one decided entry
//! per index, every engine's own invariants, and that a read sees all that was decided before it.
#![allow(dead_code, unreachable_pub)] // each test file is a crate that uses its part

pub mod chaos;

use base::{
    Change, Entry, EntryKind, HardState, Index, LogPosition, MemberId, Membership, Message,
    MessageKind, Mutants, SnapshotMeta, Term,
};
use bytes::Bytes;
use quorate_consensus::{Config, Engine, Raft, Ready, Refused, Restored, Role};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;

pub fn id(n: u64) -> MemberId {
    MemberId(n)
}

/// What a state machine holds: here, every command.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Machine {
    pub at: LogPosition,
    pub membership: Membership,
    pub commands: Vec<(LogPosition, String)>,
}

/// What survives a crash.
#[derive(Clone, Default)]
pub struct Disk {
    pub hard_state: HardState,
    pub entries: Vec<Entry>,
    /// The checkpoint that the log begins after.
    pub checkpoint: Machine,
    pub recovering: Option<LogPosition>,
}

/// One write under way, with the messages that wait for it.
struct Write_ {
    number: u64,
    ready: Ready,
    state: Option<Machine>,
}

pub struct Member {
    pub raft: Option<Raft>,
    pub disk: Disk,
    pub machine: Machine,
    writes: VecDeque<Write_>,
    pub is_disk_held: bool,
    /// States that came on the snapshot connection, by position.
    arrived: BTreeMap<Index, Machine>,
    /// Read rounds under way: what was decided anywhere when they began.
    reads: BTreeMap<u64, Index>,
    pub mutants: Mutants,
}

pub struct World {
    pub members: BTreeMap<MemberId, Member>,
    /// Messages on their way, oldest first.
    pub wire: VecDeque<Message>,
    cut: BTreeSet<(MemberId, MemberId)>,
    pub events: Vec<String>,
    pub show_messages: bool,
    pub seed: u64,
    leaders: BTreeMap<Term, MemberId>,
    decided: BTreeMap<Index, Entry>,
    next_read: u64,
    pub genesis: Membership,
    /// Violations are collected instead of stopping the test: for planted bugs.
    pub violations: Vec<String>,
}

pub fn name(member: MemberId) -> String {
    match member.is_none() {
        true => "nobody".to_owned(),
        false => format!("n{}", member.0),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Entries as `3@2 4@2`, with what they hold.
pub fn entries(entries: &[Entry]) -> String {
    let mut out = String::new();
    for entry in entries {
        let _ = write!(out, " {}", entry.position);
        match entry.kind {
            EntryKind::Change => out.push('*'),
            EntryKind::Normal if entry.data.is_empty() => {}
            EntryKind::Normal => {
                let _ = write!(out, "={}", text(&entry.data));
            }
        }
    }
    out
}

pub fn describe(message: &Message) -> String {
    let mut out = format!(
        "{} → {} {:?} t{}",
        name(message.from),
        name(message.to),
        message.kind,
        message.term
    );
    match message.kind {
        MessageKind::Append => {
            let _ = write!(out, " after {}", message.position);
            out.push_str(&entries(&message.entries));
            let _ = write!(out, " commit {}", message.commit);
        }
        MessageKind::AppendResponse if message.reject => {
            let _ = write!(
                out,
                " no {}, mine ends {}@{}",
                message.position.index, message.reject_hint, message.position.term
            );
        }
        MessageKind::AppendResponse => {
            let _ = write!(out, " has {}", message.position.index);
        }
        MessageKind::Heartbeat => {
            let _ = write!(out, " commit {}", message.commit);
        }
        MessageKind::Vote | MessageKind::PreVote => {
            let _ = write!(out, " log ends {}", message.position);
        }
        MessageKind::VoteResponse | MessageKind::PreVoteResponse => {
            out.push_str(if message.reject { " no" } else { " yes" });
        }
        MessageKind::Snapshot => {
            let meta = message.snapshot.as_ref().expect("a snapshot says of what");
            let _ = write!(out, " of {}", meta.position);
        }
        MessageKind::HeartbeatResponse | MessageKind::TimeoutNow => {}
    }
    out
}

pub fn membership(membership: &Membership) -> String {
    let list = |members: &[MemberId]| {
        let names: Vec<String> = members.iter().map(|member| name(*member)).collect();
        names.join(" ")
    };
    let mut out = format!("voters {}", list(&membership.voters));
    for (what, members) in [
        ("outgoing", &membership.voters_outgoing),
        ("learners", &membership.learners),
        ("learners next", &membership.learners_next),
    ] {
        if !members.is_empty() {
            let _ = write!(out, " {what} {}", list(members));
        }
    }
    out
}

impl World {
    pub fn new(voters: &[u64], learners: &[u64], seed: u64) -> World {
        let mut genesis = Membership::of_voters(voters.iter().map(|n| id(*n)).collect());
        genesis.learners = learners.iter().map(|n| id(*n)).collect();
        let mut world = World {
            members: BTreeMap::new(),
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            events: Vec::new(),
            show_messages: false,
            seed,
            leaders: BTreeMap::new(),
            decided: BTreeMap::new(),
            next_read: 0,
            genesis: genesis.clone(),
            violations: Vec::new(),
        };
        for member in genesis.everyone() {
            world.begin(member, Restored::genesis(genesis.clone()), Mutants::none());
        }
        world
    }

    /// A member joins with an empty disk.
    pub fn join(&mut self, member: MemberId) {
        self.begin(member, Restored::joining(), Mutants::none());
    }

    /// A member begins from `restored`.
    pub fn begin(&mut self, member: MemberId, restored: Restored, mutants: Mutants) {
        let machine = Machine {
            at: restored.snapshot,
            membership: restored.membership,
            commands: Vec::new(),
        };
        self.members.insert(
            member,
            Member {
                raft: None,
                disk: Disk {
                    hard_state: restored.hard_state,
                    checkpoint: machine.clone(),
                    ..Disk::default()
                },
                machine,
                writes: VecDeque::new(),
                is_disk_held: false,
                arrived: BTreeMap::new(),
                reads: BTreeMap::new(),
                mutants,
            },
        );
        self.restart(member);
    }

    pub fn member(&self, member: MemberId) -> &Member {
        &self.members[&member]
    }

    pub fn raft(&self, member: MemberId) -> &Raft {
        self.members[&member].raft.as_ref().expect("it runs")
    }

    pub fn raft_mut(&mut self, member: MemberId) -> &mut Raft {
        let member = self.members.get_mut(&member).expect("it exists");
        member.raft.as_mut().expect("it runs")
    }

    pub fn is_up(&self, member: MemberId) -> bool {
        self.members.get(&member).is_some_and(|m| m.raft.is_some())
    }

    pub fn crash(&mut self, member: MemberId) {
        let state = self.members.get_mut(&member).expect("it exists");
        state.raft = None;
        state.writes.clear();
        state.arrived.clear();
        state.reads.clear();
        state.is_disk_held = false;
        self.note(format!("{} crashed", name(member)));
    }

    pub fn restart(&mut self, member: MemberId) {
        let seed = self.seed;
        let state = self.members.get_mut(&member).expect("it exists");
        let disk = &state.disk;
        state.machine = disk.checkpoint.clone();
        let config = Config {
            member,
            seed,
            election_ticks: 100,
            heartbeat_ticks: 10,
            mutants: state.mutants,
        };
        let restored = Restored {
            hard_state: disk.hard_state,
            membership: disk.checkpoint.membership.clone(),
            snapshot: disk.checkpoint.at,
            entries: disk.entries.clone(),
            applied: disk.checkpoint.at.index,
            recovering: disk.recovering,
        };
        let mut raft = Raft::new(config, restored).expect("what was written can be read");
        if disk.checkpoint.at.index > Index(0) {
            raft.snapshot_provided(SnapshotMeta {
                position: disk.checkpoint.at,
                membership: disk.checkpoint.membership.clone(),
            });
        }
        state.raft = Some(raft);
    }

    /// Cuts the link in one direction.
    pub fn cut_one_way(&mut self, from: MemberId, to: MemberId) {
        self.cut.insert((from, to));
    }

    pub fn cut(&mut self, a: MemberId, b: MemberId) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Cuts `member` off from everybody.
    pub fn isolate(&mut self, member: MemberId) {
        for other in self.members.keys().copied().collect::<Vec<_>>() {
            self.cut(member, other);
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    pub fn note(&mut self, event: String) {
        self.events.push(event);
    }

    fn violate(&mut self, what: String) {
        self.note(format!("VIOLATION: {what}"));
        self.violations.push(what);
    }

    pub fn leader(&self) -> Option<MemberId> {
        let leads = |(member, state): (&MemberId, &Member)| {
            let status = state.raft.as_ref()?.status();
            (status.role == Role::Leader).then_some((status.term, *member))
        };
        let newest = self.members.iter().filter_map(leads).max();
        newest.map(|(_, member)| member)
    }

    /// The highest index that any member has seen decided.
    pub fn decided(&self) -> Index {
        self.decided.keys().next_back().copied().unwrap_or_default()
    }

    // ---- inputs -------------------------------------------------------------------------------

    pub fn tick(&mut self, member: MemberId) {
        if self.is_up(member) {
            self.raft_mut(member).tick();
            self.drain(member);
        }
    }

    /// Ticks everybody `n` times and lets everything settle after each.
    pub fn run(&mut self, n: usize) {
        for _ in 0..n {
            for member in self.members.keys().copied().collect::<Vec<_>>() {
                self.tick(member);
            }
            self.settle();
        }
    }

    /// Runs until some member leads; the ticks that it took.
    pub fn elect(&mut self) -> usize {
        for ticks in 0..2000 {
            if self.leader().is_some() {
                return ticks;
            }
            self.run(1);
        }
        panic!("no leader after 20 s\n{}", self.events.join("\n"));
    }

    pub fn campaign(&mut self, member: MemberId) -> Result<(), Refused> {
        let done = self.raft_mut(member).campaign();
        self.drain(member);
        done
    }

    pub fn propose(&mut self, member: MemberId, command: &str) -> Result<LogPosition, Refused> {
        let data = Bytes::copy_from_slice(command.as_bytes());
        let done = self.raft_mut(member).propose(data);
        self.drain(member);
        done
    }

    pub fn change(
        &mut self,
        member: MemberId,
        changes: Vec<Change>,
    ) -> Result<LogPosition, Refused> {
        let done = self.raft_mut(member).propose_change(changes, Bytes::new());
        self.drain(member);
        done
    }

    pub fn read(&mut self, member: MemberId) -> Result<u64, Refused> {
        self.next_read += 1;
        let round = self.next_read;
        let decided = self.decided();
        let state = self.members.get_mut(&member).expect("it exists");
        state.reads.insert(round, decided);
        let done = self.raft_mut(member).read_index(round);
        self.drain(member);
        done.map(|()| round)
    }

    pub fn step(&mut self, message: Message) -> Result<(), Refused> {
        let to = message.to;
        let done = self.raft_mut(to).step(message);
        if let Err(Refused::LogShort { .. }) = done {
            self.plead(to);
        }
        self.drain(to);
        done
    }

    /// What the node does for a member whose log is short: asks the leader to send again.
    pub fn plead(&mut self, member: MemberId) {
        let intact = self.raft(member).status().last;
        self.note(format!("{} pleads: intact up to {intact}", name(member)));
        let Some(leader) = self.leader() else { return };
        if leader != member && !self.cut.contains(&(member, leader)) {
            self.raft_mut(leader).reset_progress(member, intact);
            self.drain(leader);
        }
    }

    /// Drops the log in memory up to `to`, with a snapshot to cover it.
    pub fn compact(&mut self, member: MemberId, to: u64) {
        let state = self.members.get_mut(&member).expect("it exists");
        let at = state.machine.at;
        let raft = state.raft.as_mut().expect("it runs");
        raft.snapshot_provided(SnapshotMeta {
            position: at,
            membership: state.machine.membership.clone(),
        });
        let first = raft.compact(Index(to));
        state.disk.checkpoint = state.machine.clone();
        state
            .disk
            .entries
            .retain(|entry| entry.position.index > at.index);
        self.note(format!("{} log begins at {first}", name(member)));
    }

    // ---- the world's part ---------------------------------------------------------------------

    /// Delivers everything, and what that leads to, in order, until nothing moves.
    pub fn settle(&mut self) {
        let mut n_delivered = 0;
        loop {
            self.flush_all();
            let Some(message) = self.wire.pop_front() else {
                // Nothing to do: now a leader tells how far the log is decided.
                self.drain_all();
                if self.wire.is_empty() {
                    break;
                }
                continue;
            };
            self.deliver(message);
            n_delivered += 1;
            assert!(n_delivered < 100_000, "messages without end");
        }
    }

    pub fn deliver(&mut self, message: Message) {
        let (from, to) = (message.from, message.to);
        if self.cut.contains(&(from, to)) || !self.is_up(to) {
            if self.show_messages {
                self.note(format!("  {} (lost)", describe(&message)));
            }
            self.lost(&message);
            return;
        }
        if self.show_messages {
            self.note(format!("  {}", describe(&message)));
        }
        let mut snapshot_from = None;
        if let Some(meta) = &message.snapshot {
            // The state comes on its own connection, before the message is stepped.
            let index = meta.position.index;
            if let Some(state) = self.state_at(from, meta) {
                let receiver = self.members.get_mut(&to).expect("it exists");
                receiver.arrived.insert(index, state);
                snapshot_from = Some(from);
            } else {
                self.lost(&message);
                return;
            }
        }
        if let Err(refused) = self.step(message)
            && !matches!(refused, Refused::Stale(_))
        {
            self.note(format!("{} refuses {}: {refused}", name(to), name(from)));
        }
        if let Some(from) = snapshot_from
            && self.is_up(from)
        {
            self.raft_mut(from).report_snapshot(to, true);
            self.drain(from);
        }
    }

    /// A message is lost. Of a snapshot the sender's transport notices.
    pub fn lost(&mut self, message: &Message) {
        if message.kind == MessageKind::Snapshot && self.is_up(message.from) {
            self.raft_mut(message.from)
                .report_snapshot(message.to, false);
            self.drain(message.from);
        }
    }

    /// Everything that is on its way from `member` is lost.
    pub fn lose_sent_by(&mut self, member: MemberId) {
        self.wire.retain(|message| message.from != member);
    }

    /// What `member` can stream: its state cut back to `meta`.
    fn state_at(&self, member: MemberId, meta: &SnapshotMeta) -> Option<Machine> {
        let machine = &self.members[&member].machine;
        let end = meta.position.index;
        let before = machine.commands.iter().filter(|(at, _)| at.index <= end);
        (machine.at.index >= end).then(|| Machine {
            at: meta.position,
            membership: meta.membership.clone(),
            commands: before.cloned().collect(),
        })
    }

    pub fn flush_all(&mut self) {
        for member in self.members.keys().copied().collect::<Vec<_>>() {
            if !self.members[&member].is_disk_held {
                while self.flush_one(member) {}
            }
        }
    }

    /// The disk finishes its oldest write.
    pub fn flush_one(&mut self, member: MemberId) -> bool {
        let state = self.members.get_mut(&member).expect("it exists");
        let Some(write) = state.writes.pop_front() else {
            return false;
        };
        let disk = &mut state.disk;
        let ready = write.ready;
        if let Some(hard_state) = ready.hard_state {
            disk.hard_state = hard_state;
        }
        if let Some(installed) = write.state {
            disk.checkpoint = installed.clone();
            disk.entries.clear();
            state.machine = installed;
        }
        if let Some(first) = ready.entries.first() {
            let from = first.position.index;
            disk.entries.retain(|entry| entry.position.index < from);
            disk.entries.extend(ready.entries.iter().cloned());
        }
        let at = state.machine.at.index;
        let raft = state.raft.as_mut().expect("a crash forgets writes");
        raft.persisted(write.number);
        raft.applied(at);
        disk.recovering = raft.status().recovering;
        self.wire.extend(ready.send_after_persist);
        self.drain(member);
        true
    }

    pub fn writes_under_way(&self, member: MemberId) -> usize {
        self.members[&member].writes.len()
    }

    pub fn drain_all(&mut self) {
        for member in self.members.keys().copied().collect::<Vec<_>>() {
            if self.is_up(member) {
                self.drain(member);
            }
        }
    }

    /// Takes all Readys of `member` and carries out what does not wait for its disk.
    pub fn drain(&mut self, member: MemberId) {
        while let Some(mut ready) = self.raft_mut(member).ready() {
            if let Some(role) = ready.role {
                if role.role == Role::Leader {
                    let known = *self.leaders.entry(role.term).or_insert(member);
                    if known != member {
                        let (a, b) = (name(known), name(member));
                        self.violate(format!("term {} has leaders {a} and {b}", role.term));
                    }
                }
                self.note(format!(
                    "{} {:?} in term {}, leader {}",
                    name(member),
                    role.role,
                    role.term,
                    name(role.leader)
                ));
            }
            self.wire.extend(std::mem::take(&mut ready.send_now));
            let committed = std::mem::take(&mut ready.committed);
            for (round, index) in std::mem::take(&mut ready.reads) {
                let state = self.members.get_mut(&member).expect("it exists");
                let began = state.reads.remove(&round);
                self.note(format!("{} read {round}: as of {index}", name(member)));
                match began {
                    Some(decided) if decided > index => self.violate(format!(
                        "read {round} sees {index} although {decided} was decided"
                    )),
                    Some(_) => {}
                    None => self.violate(format!("read {round} answered twice")),
                }
            }
            let state = self.members.get_mut(&member).expect("it exists");
            if ready.must_sync || !ready.send_after_persist.is_empty() {
                let installed = ready.snapshot.as_ref().map(|meta| {
                    let arrived = state.arrived.remove(&meta.position.index);
                    arrived.expect("its state has arrived")
                });
                if let Some(installed) = &installed {
                    let at = installed.at;
                    self.events.push(format!("{} installs {at}", name(member)));
                }
                state.writes.push_back(Write_ {
                    number: ready.number,
                    ready,
                    state: installed,
                });
            }
            self.apply(member, committed);
        }
        let state = self.members.get_mut(&member).expect("it exists");
        let raft = state.raft.as_mut().expect("it runs");
        if raft.status().snapshot_wanted {
            raft.snapshot_provided(SnapshotMeta {
                position: state.machine.at,
                membership: state.machine.membership.clone(),
            });
        }
        raft.check();
    }

    fn apply(&mut self, member: MemberId, committed: Vec<Entry>) {
        for entry in committed {
            let position = entry.position;
            let known = self.decided.entry(position.index).or_insert(entry.clone());
            if *known != entry {
                let other = known.position;
                self.violate(format!(
                    "{} applies {position}, decided was {other}",
                    name(member)
                ));
            }
            let state = self.members.get_mut(&member).expect("it exists");
            let before = state.machine.at.index;
            assert_eq!(
                before.next(),
                position.index,
                "entries are applied in order"
            );
            state.machine.at = position;
            let raft = state.raft.as_mut().expect("it runs");
            match entry.kind {
                EntryKind::Normal => {
                    let command = text(&entry.data);
                    if !command.is_empty() {
                        self.events
                            .push(format!("{} applies {position} {command}", name(member)));
                        state.machine.commands.push((position, command));
                    }
                }
                EntryKind::Change => {
                    let outcome = raft.apply_change(&entry);
                    let what = match &outcome {
                        Ok(now) => membership(now),
                        Err(refused) => refused.to_string(),
                    };
                    if let Ok(now) = outcome {
                        state.machine.membership = now;
                    }
                    self.events
                        .push(format!("{} applies {position} {what}", name(member)));
                }
            }
            raft.applied(position.index);
        }
    }

    /// One line per member: what it is, its log, what it knows to be decided.
    pub fn table(&self) -> String {
        let mut out = String::new();
        for (member, state) in &self.members {
            let Some(raft) = &state.raft else {
                let _ = writeln!(out, "{} down", name(*member));
                continue;
            };
            let status = raft.status();
            let role = format!("{:?}", status.role).to_lowercase();
            let _ = write!(out, "{} {role} t{} log", name(*member), status.term);
            if state.disk.checkpoint.at.index > Index(1) {
                let _ = write!(out, " …{}", state.disk.checkpoint.at);
            }
            out.push_str(&entries(&state.disk.entries));
            let _ = write!(out, " | commit {}", status.commit);
            if let Some(watermark) = status.recovering {
                let _ = write!(out, " | recovering to {watermark}");
            }
            out.push('\n');
        }
        out
    }
}
