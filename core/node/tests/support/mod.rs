//! A small world for whole nodes: instant lossless network with cuts, disks that answer when told, and a
//! dialect of a few verbs. Each member may have clocks of its own. The real worlds are in `proof/sim`; this one is for stories.
#![allow(unreachable_pub, dead_code)]

use base::{Instant, LeaseId, MemberId, Membership, Mutants, PeerMessage, Revision};
use bytes::Bytes;
use clock::guard::DriftBound;
use node::{
    Answer, Boot, Effects, Health, How, LeaseAnswer, MemberChange, Node, NodeConfig, Persist,
    ReadFailed, ReadGrant, Tag, Ticket,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::command::{DialectId, Identity};
use store::members::Member;
use store::{Dialect, Genesis, KeyRange, Outcome, RootId, Stamp, State, Store, WriteTxn};

/// `key=value` puts, `key=value@lease` attaches, `-key` deletes, `?` refuses, `+lease:ttl` grants, `~` compacts
/// all that is old, `!n` writes nothing and answers with n bytes, `*lease` revokes.
pub struct Words;

pub const WORDS: DialectId = DialectId(7);

impl Dialect for Words {
    fn id(&self) -> DialectId {
        WORDS
    }

    fn root(&self) -> RootId {
        RootId(0)
    }

    fn apply(&self, txn: &mut WriteTxn<'_>, request: &[u8], _: &Stamp) -> Outcome {
        let text = String::from_utf8_lossy(request).into_owned();
        if text == "?" {
            return Outcome::refused(1, Bytes::new());
        }
        if let Some(n) = text.strip_prefix('!') {
            return Outcome::done(vec![b'!'; n.parse().expect("a number")]);
        }
        if text == "~" {
            txn.compact(txn.revision());
        } else if let Some(lease) = text.strip_prefix('*') {
            txn.lease_revoke(LeaseId(lease.parse().expect("a lease")));
        } else if let Some(key) = text.strip_prefix('-') {
            txn.delete(&KeyRange::single(key.as_bytes().to_vec()));
        } else if let Some((lease, ttl)) = text.strip_prefix('+').and_then(|t| t.split_once(':')) {
            txn.lease_grant(
                LeaseId(lease.parse().expect("a lease")),
                ttl.parse().expect("a ttl"),
            );
        } else if let Some((key, value)) = text.split_once('=') {
            let (value, lease) = value.split_once('@').unwrap_or((value, "0"));
            let lease = LeaseId(lease.parse().expect("a lease"));
            txn.put(key.as_bytes(), value.as_bytes(), lease);
        }
        Outcome::done(Bytes::new())
    }

    fn admit(&self, _: &State, _: Option<&Identity>, _: &[u8]) -> Result<(), Outcome> {
        Ok(())
    }
}

/// What one member had to say since it was last asked.
#[derive(Default)]
pub struct Said {
    pub answers: Vec<Answer>,
    pub reads: Vec<(Ticket, Result<ReadGrant, ReadFailed>)>,
    pub leases: Vec<(Ticket, LeaseAnswer)>,
}

/// What survives a restart of one member.
pub struct Disk {
    pub hard_state: base::HardState,
    pub entries: Vec<base::Entry>,
    pub state: State,
    pub lives: u32,
}

impl Disk {
    pub fn write(&mut self, persist: Persist) {
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
        if let Some((_, state)) = persist.snapshot {
            self.entries.clear();
            self.state = state;
        }
        if let Some(first) = persist.entries.first().map(|e| e.position.index) {
            self.entries.retain(|e| e.position.index < first);
        }
        self.entries.extend(persist.entries);
    }

    pub fn checkpoint(&mut self, state: State) {
        let applied = state.applied().index;
        if applied > self.state.applied().index {
            self.entries.retain(|e| e.position.index > applied);
            self.state = state;
        }
    }

    pub fn boot(&self) -> Boot {
        Boot {
            hard_state: self.hard_state,
            entries: self.entries.clone(),
            state: self.state.clone(),
            health: Health::Intact,
        }
    }
}

pub struct World {
    pub now: Instant,
    pub nodes: BTreeMap<MemberId, Node>,
    pub said: BTreeMap<MemberId, Said>,
    pub cut: BTreeSet<MemberId>,
    pub slow_disks: BTreeSet<MemberId>,
    waiting_disks: Vec<(MemberId, Persist)>,
    pub disks: BTreeMap<MemberId, Disk>,
    /// Messages to these members are kept in `mail` instead of being delivered.
    pub held: BTreeSet<MemberId>,
    pub mail: Vec<(MemberId, MemberId, PeerMessage)>,
    pub stopped: BTreeMap<MemberId, node::StopReason>,
    pub snapshots_sent: usize,
    pub clocks: BTreeMap<MemberId, Clock>,
    pub read_lease: Option<DriftBound>,
    pub mutants: Mutants,
    /// Members of former builds: the newest apply version that they know.
    pub former: BTreeMap<MemberId, u16>,
}

/// The clocks of one member.
#[derive(Clone, Copy)]
pub struct Clock {
    /// How many microseconds the monotonic clock counts in a true second.
    pub us_per_second: u64,
    /// By how much the wall clock is ahead of the true time.
    pub wall_ahead_ms: i64,
    /// Ticks since the start, by the member's own clock, as far as they were had.
    pub ticks: Option<u64>,
}

impl Clock {
    pub fn of_rate(us_per_second: u64) -> Clock {
        Clock {
            us_per_second,
            wall_ahead_ms: 0,
            ticks: None,
        }
    }
}

/// When all clocks begin.
pub const START: Instant = Instant(1_000_000_000);

pub fn id(n: u64) -> MemberId {
    MemberId(n)
}

pub fn config(member: MemberId) -> NodeConfig {
    NodeConfig {
        snapshot_count: 50,
        ..NodeConfig::new(base::ClusterId(0xc1), member)
    }
}

pub fn genesis(members: u64) -> Genesis {
    Genesis {
        membership: Membership::of_voters((1..=members).map(id).collect()),
        members: (1..=members)
            .map(|n| Member {
                id: id(n),
                name: format!("n{n}"),
                peer_urls: vec![format!("http://n{n}:2380")],
                client_urls: Vec::new(),
                is_learner: false,
            })
            .collect(),
    }
}

impl World {
    pub fn new(members: u64) -> World {
        let mut world = World {
            now: START,
            nodes: BTreeMap::new(),
            said: BTreeMap::new(),
            cut: BTreeSet::new(),
            slow_disks: BTreeSet::new(),
            waiting_disks: Vec::new(),
            disks: BTreeMap::new(),
            held: BTreeSet::new(),
            mail: Vec::new(),
            stopped: BTreeMap::new(),
            snapshots_sent: 0,
            clocks: BTreeMap::new(),
            read_lease: None,
            mutants: Mutants::none(),
            former: BTreeMap::new(),
        };
        for n in 1..=members {
            world.add(id(n), genesis(members));
        }
        world
    }

    /// A world whose members were told that clocks drift by at most `drift`, with a planted bug.
    pub fn with_leases(members: u64, drift: DriftBound, mutants: Mutants) -> World {
        let mut world = World::new(members);
        world.read_lease = Some(drift);
        world.mutants = mutants;
        (1..=members).for_each(|n| world.restart(id(n)));
        world
    }

    /// What the monotonic clock of `member` says now.
    pub fn instant(&self, member: MemberId) -> Instant {
        let Some(clock) = self.clocks.get(&member) else {
            return self.now;
        };
        let passed = u128::from(self.now.0 - START.0) * u128::from(clock.us_per_second);
        Instant(START.0 + (passed / 1_000_000) as u64)
    }

    /// What the wall clock of `member` says now.
    pub fn wall_ms(&self, member: MemberId) -> u64 {
        let ahead = self.clocks.get(&member).map_or(0, |it| it.wall_ahead_ms);
        (self.now.0 / 1_000_000).saturating_add_signed(ahead)
    }

    /// How many ticks `member` has not had yet, by its own clock.
    fn ticks_due(&mut self, member: MemberId) -> u64 {
        let passed = self.instant(member).since(START);
        let Some(clock) = self.clocks.get_mut(&member) else {
            return 1;
        };
        let ticks = (passed.as_nanos() / NodeConfig::TICK.as_nanos()) as u64;
        let had = clock.ticks.replace(ticks);
        had.map_or(1, |had| ticks - had)
    }

    /// Starts a member with nothing but `genesis`.
    pub fn add(&mut self, member: MemberId, genesis: Genesis) {
        self.start(member, Store::new(genesis));
    }

    /// Starts a member that joins.
    pub fn join(&mut self, member: MemberId) {
        self.start(member, Store::blank());
    }

    fn start(&mut self, member: MemberId, store: Store) {
        let disk = Disk {
            hard_state: base::HardState::default(),
            entries: Vec::new(),
            state: store.publish(),
            lives: 0,
        };
        self.disks.insert(member, disk);
        self.restart(member);
    }

    /// Kills a member and starts it with what its disk holds.
    pub fn restart(&mut self, member: MemberId) {
        self.waiting_disks.retain(|(of, _)| *of != member);
        let disk = self.disks.get_mut(&member).expect("listed");
        disk.lives += 1;
        let config = NodeConfig {
            incarnation: disk.lives,
            read_lease: self.read_lease,
            mutants: self.mutants,
            apply_version_max: self
                .former
                .get(&member)
                .copied()
                .unwrap_or(node::APPLY_VERSION),
            ..config(member)
        };
        let boot = disk.boot();
        let node = Node::new(config, boot, vec![Box::new(Words)], self.instant(member))
            .expect("the engine starts");
        self.nodes.insert(member, node);
        self.said.insert(member, Said::default());
    }

    pub fn node(&mut self, n: u64) -> &mut Node {
        self.nodes.get_mut(&id(n)).expect("the member runs")
    }

    /// Carries out effects until all is quiet.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut moved = false;
            for member in self.nodes.keys().copied().collect::<Vec<_>>() {
                let effects = {
                    let (now, wall_ms) = (self.instant(member), self.wall_ms(member));
                    let node = self.nodes.get_mut(&member).expect("listed");
                    node.take_effects(now, wall_ms)
                };
                moved |= self.carry_out(member, effects);
            }
            if !moved {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    fn carry_out(&mut self, member: MemberId, effects: Effects) -> bool {
        let mut moved = effects.more;
        let sends: Vec<(MemberId, PeerMessage)> = effects.send;
        for (to, message) in sends {
            moved = true;
            self.deliver(member, to, message);
        }
        for snapshot in effects.send_snapshots {
            self.snapshots_sent += 1;
            if !self.cut.contains(&member) && !self.cut.contains(&snapshot.to) {
                if let Some(node) = self.nodes.get_mut(&snapshot.to) {
                    node.snapshot_received(member, snapshot.meta, snapshot.state);
                }
                self.nodes
                    .get_mut(&member)
                    .expect("listed")
                    .snapshot_sent(snapshot.to, true);
            } else {
                self.nodes
                    .get_mut(&member)
                    .expect("listed")
                    .snapshot_sent(snapshot.to, false);
            }
            moved = true;
        }
        if let Some(persist) = effects.persist {
            moved = true;
            if self.slow_disks.contains(&member) {
                self.waiting_disks.push((member, persist));
            } else {
                self.write(member, persist);
            }
        }
        if let Some((meta, state)) = effects.checkpoint {
            self.disks
                .get_mut(&member)
                .expect("listed")
                .checkpoint(state);
            self.nodes
                .get_mut(&member)
                .expect("listed")
                .checkpointed(&meta);
        }
        if let Some(reason) = effects.stop {
            self.stopped.insert(member, reason);
        }
        let said = self.said.get_mut(&member).expect("listed");
        said.answers.extend(effects.answers);
        said.reads.extend(effects.reads);
        said.leases.extend(effects.leases);
        moved
    }

    fn write(&mut self, member: MemberId, persist: Persist) {
        let number = persist.number;
        self.disks.get_mut(&member).expect("listed").write(persist);
        self.nodes
            .get_mut(&member)
            .expect("listed")
            .persisted(number);
    }

    fn deliver(&mut self, from: MemberId, to: MemberId, message: PeerMessage) {
        if self.cut.contains(&from) || self.cut.contains(&to) {
            return;
        }
        if self.held.contains(&to) {
            self.mail.push((from, to, message));
            return;
        }
        // A former build speaks a former protocol, which has no such message.
        let is_new = matches!(
            message,
            PeerMessage::Knows { .. } | PeerMessage::Bounce { .. }
        );
        if is_new && self.former.contains_key(&to) {
            return;
        }
        let now = self.instant(to);
        if let Some(node) = self.nodes.get_mut(&to) {
            node.receive(from, message, now);
        }
    }

    /// Lets slow disks finish.
    pub fn finish_disks(&mut self) {
        for (member, persist) in std::mem::take(&mut self.waiting_disks) {
            self.write(member, persist);
        }
        self.settle();
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += NodeConfig::TICK;
            for member in self.nodes.keys().copied().collect::<Vec<_>>() {
                for _ in 0..self.ticks_due(member) {
                    let (now, wall_ms) = (self.instant(member), self.wall_ms(member));
                    self.node(member.0).tick(now, wall_ms);
                }
            }
            self.settle();
            self.nodes.values().for_each(Node::check);
        }
    }

    /// Runs until somebody who is not cut off leads, and returns who.
    pub fn elect(&mut self) -> u64 {
        for _ in 0..1000 {
            self.run(NodeConfig::TICK);
            let leads = |(member, node): (&MemberId, &Node)| {
                (node.is_leader() && !self.cut.contains(member)).then_some(member.0)
            };
            let leaders: Vec<u64> = self.nodes.iter().filter_map(leads).collect();
            if let [leader] = leaders[..] {
                self.run(Duration::from_millis(200));
                return leader;
            }
        }
        panic!("no leader in ten seconds");
    }

    pub fn propose(&mut self, n: u64, words: &str) -> Tag {
        let tag = self
            .node(n)
            .propose(WORDS, Bytes::from(words.to_string()))
            .expect("admitted");
        self.settle();
        tag
    }

    /// Proposes at member `n` as number `sequence` of a session.
    pub fn propose_once(&mut self, n: u64, session: i64, sequence: u64, words: &str) -> Tag {
        let request = Bytes::from(words.to_string());
        let tag = self
            .node(n)
            .propose_once(WORDS, request, LeaseId(session), sequence)
            .expect("admitted");
        self.settle();
        tag
    }

    pub fn change(&mut self, n: u64, change: MemberChange) -> Tag {
        let tag = self.node(n).change_members(change).expect("admitted");
        self.settle();
        tag
    }

    /// The status of the outcome of `tag` at member `n`, if it has come.
    pub fn outcome(&self, n: u64, tag: Tag) -> Option<(Revision, u16)> {
        let said = &self.said[&id(n)];
        let answer = said.answers.iter().find(|answer| answer.tag == tag)?;
        Some((
            answer.revision,
            answer
                .outcome
                .as_ref()
                .map_or(u16::MAX, |outcome| outcome.status),
        ))
    }

    pub fn value(&mut self, n: u64, key: &str) -> Option<String> {
        let state = self.node(n).state().clone();
        let record = state
            .root(RootId(0))
            .get(key.as_bytes(), None)
            .expect("the present");
        record.map(|record| String::from_utf8_lossy(record.value()).into_owned())
    }

    pub fn assert_equal(&self) {
        let digests: BTreeSet<(u64, u64)> = self
            .nodes
            .values()
            .map(|node| (node.status().applied.index.0, node.status().digest))
            .collect();
        assert_eq!(digests.len(), 1, "members differ: {digests:?}");
    }
}

/// The only read that was answered is `ticket`'s, and a majority was asked for it.
pub fn assert_granted(reads: &[(Ticket, Result<ReadGrant, ReadFailed>)], ticket: u64) {
    let [(Ticket(answered), Ok(grant))] = reads else {
        panic!("not one read that was granted: {reads:?}");
    };
    assert_eq!((*answered, grant.how), (ticket, How::Quorum));
    assert!(grant.fresh_as_of.is_some());
}
