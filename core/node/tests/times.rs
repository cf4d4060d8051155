//! Times of revisions in a whole cluster whose wall clocks are set badly: minutes apart, jumping forwards and
//! back, while leaders are cut off, restarted and overtaken by snapshots.
//!
//! What the clock promises for itself (`core/clock/tests/hybrid.rs`) and the store for a given row of stamps
//! (`core/store/tests/times.rs`) must hold for what clients see of both.

mod support;

use base::{Instant, MemberId, PeerMessage, Revision, Rng};
use bytes::Bytes;
use clock::HybridTime;
use node::{Effects, Node, NodeConfig, Tag};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::{AsOfError, RootId, State, Store};
use support::{Disk, WORDS, Words, config, genesis, id};

const SEEDS: u64 = 6;
const MEMBERS: u64 = 3;
/// How far a wall clock may be set from the true time, either way.
const OFFSET_MS_MAX: i64 = 300_000;

struct Member {
    node: Node,
    disk: Disk,
    /// How far its wall clock is ahead of the true time.
    offset_ms: i64,
}

struct World {
    rng: Rng,
    now: Instant,
    members: BTreeMap<MemberId, Member>,
    cut: BTreeSet<MemberId>,
    answers: BTreeMap<(MemberId, Tag), Revision>,
    /// The highest that any wall clock ever was.
    wall_highest: u64,
    /// What any member ever said of the time of a revision, and of the revision at a time.
    times: BTreeMap<Revision, HybridTime>,
    revisions: BTreeMap<HybridTime, Revision>,
    leaders: BTreeSet<(u64, MemberId)>,
    n_snapshots: usize,
    n_set_back: usize,
    n_answered: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            rng: Rng::new(seed),
            now: Instant(1_000_000_000),
            members: BTreeMap::new(),
            cut: BTreeSet::new(),
            answers: BTreeMap::new(),
            wall_highest: 0,
            times: BTreeMap::new(),
            revisions: BTreeMap::new(),
            leaders: BTreeSet::new(),
            n_snapshots: 0,
            n_set_back: 0,
            n_answered: 0,
        };
        for n in 1..=MEMBERS {
            let mut disk = Disk {
                hard_state: base::HardState::default(),
                entries: Vec::new(),
                state: Store::new(genesis(MEMBERS)).publish(),
                lives: 0,
            };
            let node = boot(&mut disk, id(n), world.now);
            let member = Member {
                node,
                disk,
                offset_ms: 0,
            };
            world.members.insert(id(n), member);
            world.set_clock(id(n));
        }
        world
    }

    fn true_ms(&self) -> i64 {
        1_700_000_000_000 + (self.now.0 / 1_000_000) as i64
    }

    fn wall_ms(&self, member: MemberId) -> u64 {
        (self.true_ms() + self.members[&member].offset_ms) as u64
    }

    fn set_clock(&mut self, member: MemberId) {
        let offset_ms = self.rng.below(2 * OFFSET_MS_MAX as u64) as i64 - OFFSET_MS_MAX;
        let member = self.members.get_mut(&member).expect("listed");
        self.n_set_back += usize::from(offset_ms < member.offset_ms);
        member.offset_ms = offset_ms;
    }

    fn node(&mut self, member: MemberId) -> &mut Node {
        &mut self.members.get_mut(&member).expect("listed").node
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut moved = false;
            for member in self.members.keys().copied().collect::<Vec<_>>() {
                let (now, wall_ms) = (self.now, self.wall_ms(member));
                self.wall_highest = self.wall_highest.max(wall_ms);
                let effects = self.node(member).take_effects(now, wall_ms);
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
        assert_eq!(effects.stop, None, "{member} goes on");
        for (to, message) in effects.send {
            moved = true;
            self.deliver(member, to, message);
        }
        for snapshot in effects.send_snapshots {
            moved = true;
            let arrives = !self.cut.contains(&member) && !self.cut.contains(&snapshot.to);
            if arrives {
                self.n_snapshots += 1;
                let state = through_the_stream(&snapshot.state);
                self.node(snapshot.to)
                    .snapshot_received(member, snapshot.meta, state);
            }
            self.node(member).snapshot_sent(snapshot.to, arrives);
        }
        let Member { node, disk, .. } = self.members.get_mut(&member).expect("listed");
        if let Some(persist) = effects.persist {
            moved = true;
            let number = persist.number;
            disk.write(persist);
            node.persisted(number);
        }
        if let Some((meta, state)) = effects.checkpoint {
            disk.checkpoint(state);
            node.checkpointed(&meta);
        }
        for answer in effects.answers {
            if answer.outcome.is_ok() {
                self.answers.insert((member, answer.tag), answer.revision);
            }
        }
        moved
    }

    fn deliver(&mut self, from: MemberId, to: MemberId, message: PeerMessage) {
        if !self.cut.contains(&from) && !self.cut.contains(&to) {
            let now = self.now;
            self.node(to).receive(from, message, now);
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += NodeConfig::TICK;
            for member in self.members.keys().copied().collect::<Vec<_>>() {
                let (now, wall_ms) = (self.now, self.wall_ms(member));
                self.node(member).tick(now, wall_ms);
            }
            self.settle();
            self.look();
        }
    }

    fn elect(&mut self) -> MemberId {
        for _ in 0..1000 {
            self.run(NodeConfig::TICK);
            let connected = |id: &MemberId| !self.cut.contains(id);
            let leads = self.members.iter().filter(|(id, _)| connected(id));
            let leads = leads.filter(|(_, member)| member.node.is_leader());
            let leads: Vec<MemberId> = leads.map(|(id, _)| *id).collect();
            if let [leader] = leads[..] {
                self.run(Duration::from_millis(200));
                let term = self.node(leader).status().term.0;
                self.leaders.insert((term, leader));
                return leader;
            }
        }
        panic!("no leader in ten seconds");
    }

    /// What every member says now, against all that was ever said.
    fn look(&mut self) {
        let World {
            members,
            times,
            revisions,
            ..
        } = self;
        for (id, member) in members.iter() {
            let state = member.node.state();
            let newest = state.revision();
            let mut last = HybridTime::default();
            for at in 1..=newest.0 {
                let at = Revision(at);
                let Some(time) = state.time_of(at) else {
                    assert_eq!(last, HybridTime::default(), "{id} forgets from behind");
                    continue;
                };
                assert!(time >= last, "{id}: {at} has {time}, after {last}");
                last = time;
                let said = *times.entry(at).or_insert(time);
                assert_eq!(said, time, "{id}: the time of {at}");
            }
            for (time, said) in revisions.iter() {
                match state.revision_at(*time) {
                    Ok(at) => assert_eq!(at, *said, "{id}: as of {time}"),
                    Err(AsOfError::Future { .. }) => assert!(*time > state.time()),
                    Err(AsOfError::Forgotten { oldest, .. }) => assert!(*time < oldest),
                }
            }
            revisions.insert(state.time(), newest);
            assert_eq!(state.revision_at(state.time()), Ok(newest));
        }
    }

    /// A few puts at once at one member; what is acknowledged has a time that fits what was known before.
    fn put(&mut self, leader: MemberId, at: MemberId, round: u64) {
        let before = self.node(leader).state().time();
        let leaders_wall_ms = self.wall_ms(leader);
        let term = self.node(leader).status().term;
        let n_puts = self.rng.between(1, 3);
        let tags: Vec<Tag> = (0..n_puts)
            .map(|n| {
                let words = format!("k{}={round}", n % 2);
                self.node(at)
                    .propose(WORDS, Bytes::from(words))
                    .expect("admitted")
            })
            .collect();
        self.settle();
        // Some wait for the next round.
        for _ in 0..20 {
            self.run(NodeConfig::TICK);
            if tags
                .iter()
                .all(|tag| self.answers.contains_key(&(at, *tag)))
            {
                break;
            }
        }
        for tag in tags {
            // A member that a snapshot overtook does not know what came of its commands.
            let Some(revision) = self.answers.get(&(at, tag)).copied() else {
                continue;
            };
            self.n_answered += 1;
            let time = self.node(at).state().time_of(revision);
            let time = time.expect("nothing new is forgotten");
            assert!(
                time > before,
                "causality: {revision} at {time}, after {before}"
            );
            // As far from physical time as the wall clocks are from each other, and no farther.
            let still_leads = self.node(leader).status().term == term;
            assert!(
                !still_leads || time.physical_ms() >= leaders_wall_ms,
                "{time}"
            );
            assert!(time.physical_ms() <= self.wall_highest, "{time}");
        }
    }
}

fn boot(disk: &mut Disk, member: MemberId, now: Instant) -> Node {
    disk.lives += 1;
    let config = NodeConfig {
        incarnation: disk.lives,
        // Here every clock is believed, however wrong it is; that wild ones are not is another test's matter.
        clock_ahead_max: Duration::from_secs(1 << 40),
        snapshot_count: 20,
        ..config(member)
    };
    Node::new(config, disk.boot(), vec![Box::new(Words)], now).expect("the engine starts")
}

/// A state as it arrives at another member.
fn through_the_stream(state: &State) -> State {
    let mut writer = store::stream::Writer::new(state.clone());
    let mut reader = store::stream::Reader::new();
    while let Some(chunk) = writer.next_chunk(1000) {
        reader.push(&chunk).expect("what was written is read");
    }
    reader.finish().expect("the whole stream")
}

fn story(seed: u64) -> World {
    let mut world = World::new(seed);
    for round in 0..25 {
        let leader = world.elect();
        let members: Vec<MemberId> = world.members.keys().copied().collect();
        let connected = members.iter().filter(|id| !world.cut.contains(id));
        let connected: Vec<MemberId> = connected.copied().collect();
        for _ in 0..world.rng.between(1, 12) {
            let at = connected[world.rng.below(connected.len() as u64) as usize];
            world.put(leader, at, round);
            world.now += Duration::from_micros(world.rng.below(3000));
        }
        for member in &members {
            if world.rng.one_in(2) {
                world.set_clock(*member);
            }
        }
        match world.rng.below(4) {
            0 => world.cut.clear(),
            1 => {
                let Member { node, disk, .. } = world.members.get_mut(&leader).expect("listed");
                *node = boot(disk, leader, world.now);
            }
            2 => {
                let now = world.now;
                let tag = world.node(leader).propose(WORDS, Bytes::from_static(b"~"));
                tag.expect("admitted");
                world.now = now + NodeConfig::TICK;
                world.settle();
            }
            _ => world.cut = BTreeSet::from([leader]),
        }
    }
    world.cut.clear();
    world.elect();
    world.run(Duration::from_secs(2));
    world
}

#[test]
fn times_of_revisions_never_fall_across_leaders_whose_clocks_are_wrong() {
    let (mut n_leaders, mut n_snapshots, mut n_set_back, mut n_answered) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let world = story(seed);
        n_leaders += world.leaders.len();
        n_snapshots += world.n_snapshots;
        n_set_back += world.n_set_back;
        n_answered += world.n_answered;
        // In the end all members stand at one place and answer alike.
        let mut states = world.members.values().map(|member| member.node.state());
        let first = states.next().expect("three");
        for state in states {
            assert_eq!(state.digest(), first.digest(), "seed {seed}");
            for at in 0..=first.revision().0 {
                assert_eq!(state.time_of(Revision(at)), first.time_of(Revision(at)));
            }
            for time in world.revisions.keys() {
                let answer = state.revision_at(*time);
                assert_eq!(answer, first.revision_at(*time), "seed {seed}");
                // A read as of that time finds what it found at every member that answers.
                if let Ok(at) = answer {
                    let [ours, theirs] = [state, first].map(|state| {
                        let found = state.root(RootId(0)).get(b"k0", Some(at));
                        found.map(|found| found.map(|record| record.value().to_vec()))
                    });
                    assert_eq!(ours, theirs);
                }
            }
        }
    }
    // Or the story proves little.
    assert!(n_leaders > 30, "{n_leaders} terms");
    assert!(n_snapshots > 2, "{n_snapshots} snapshots");
    assert!(n_set_back > 50, "{n_set_back} clocks set back");
    assert!(n_answered > 1000, "{n_answered} puts");
}
