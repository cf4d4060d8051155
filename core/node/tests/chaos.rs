//! Three members under a network that drops, repeats and reorders, disks that take their time, and
//! crashes; messages outlive the crash of whoever they are for. What must hold all the same:
//!
//! - an acknowledged write is never lost, and no write takes effect twice;
//! - a linearizable read sees every write acknowledged before it was asked;
//! - a lease lives for its full time after each renewal that was answered "alive";
//! - revisions and stamps never fall, and members that stand at one place are equal.
//!
//! The real worlds, with faults of many more kinds, are in `proof/sim`; this one is small enough to be
//! read, and its failures shrink to a seed.

mod support;

use base::{Instant, LeaseId, MemberId, Mutants, PeerMessage, Revision, Rng, SnapshotMeta};
use bytes::Bytes;
use clock::HybridTime;
use node::{LeaseAnswer, Node, NodeConfig, Persist, Tag, Ticket};
use std::collections::BTreeMap;
use std::time::Duration;
use store::{RootId, State, Store};
use support::{Disk, WORDS, Words, config, genesis, id};

const LEASE: LeaseId = LeaseId(5);
/// Worlds that are tried.
const SEEDS: u64 = 4;
const TTL: Duration = Duration::from_secs(2);

#[derive(Clone)]
enum Mail {
    Message(PeerMessage),
    Snapshot(SnapshotMeta, Box<State>),
    /// To the sender of a snapshot.
    Sent(bool),
}

struct Member {
    node: Node,
    disk: Disk,
    /// What is on its way to the disk, and when it arrives.
    writing: Option<(Persist, Instant)>,
    seen: (Revision, HybridTime),
    had_lease: bool,
    published: State,
}

struct Chaos {
    rng: Rng,
    mutants: Mutants,
    now: Instant,
    members: BTreeMap<MemberId, Member>,
    mail: Vec<(Instant, MemberId, MemberId, Mail)>,
    cut: Option<MemberId>,
    is_calm: bool,
    /// By key: who asked, under which tag, and whether it was acknowledged at which revision.
    writes: Vec<(MemberId, Tag, String, Option<Revision>)>,
    reads: BTreeMap<(MemberId, Ticket), Revision>,
    renewals: BTreeMap<(MemberId, Ticket), Instant>,
    acknowledged: Revision,
    lease_until: Instant,
    n_reads: usize,
    n_snapshots: usize,
    n_renewals: usize,
    next: u64,
}

fn boot(disk: &mut Disk, member: MemberId, mutants: Mutants, now: Instant) -> Node {
    disk.lives += 1;
    let config = NodeConfig {
        incarnation: disk.lives,
        snapshot_count: 20,
        mutants,
        ..config(member)
    };
    Node::new(config, disk.boot(), vec![Box::new(Words)], now).expect("the engine starts")
}

impl Chaos {
    fn new(seed: u64, mutants: Mutants) -> Chaos {
        let now = Instant(1_000_000_000);
        let member = |n| {
            let state = Store::new(genesis(3)).publish();
            let mut disk = Disk {
                hard_state: base::HardState::default(),
                entries: Vec::new(),
                state: state.clone(),
                lives: 0,
            };
            let member = Member {
                node: boot(&mut disk, id(n), mutants, now),
                disk,
                writing: None,
                seen: (Revision(0), HybridTime::default()),
                had_lease: false,
                published: state,
            };
            (id(n), member)
        };
        Chaos {
            rng: Rng::new(seed),
            mutants,
            now,
            members: (1..=3).map(member).collect(),
            mail: Vec::new(),
            cut: None,
            is_calm: false,
            writes: Vec::new(),
            reads: BTreeMap::new(),
            renewals: BTreeMap::new(),
            acknowledged: Revision(1),
            lease_until: Instant(0),
            n_reads: 0,
            n_snapshots: 0,
            n_renewals: 0,
            next: 0,
        }
    }

    fn some_member(&mut self) -> MemberId {
        id(self.rng.between(1, 3))
    }

    fn post(&mut self, from: MemberId, to: MemberId, mail: Mail) {
        let is_cut = self.cut == Some(from) || self.cut == Some(to);
        if is_cut || (!self.is_calm && self.rng.permille(20)) {
            if matches!(mail, Mail::Snapshot(..)) {
                self.mail.push((self.now, to, from, Mail::Sent(false)));
            }
            return;
        }
        let copies = if !self.is_calm && self.rng.permille(30) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let late_ms = match self.rng.below(100) {
                0 if !self.is_calm => self.rng.between(100, 4000),
                n if n < 20 => self.rng.between(1, 30),
                _ => self.rng.below(3),
            };
            let at = self.now + Duration::from_millis(late_ms);
            self.mail.push((at, from, to, mail.clone()));
        }
    }

    fn crash(&mut self, member: MemberId) {
        let now = self.now;
        let is_written = self.rng.one_in(2);
        let lost = self.members.get_mut(&member).expect("listed");
        if let Some((persist, _)) = lost.writing.take()
            && is_written
        {
            lost.disk.write(persist);
        }
        lost.node = boot(&mut lost.disk, member, self.mutants, now);
        lost.published = lost.disk.state.clone();
        lost.seen = (Revision(0), HybridTime::default());
        lost.had_lease = false;
        self.reads.retain(|(of, _), _| *of != member);
        self.renewals.retain(|(of, _), _| *of != member);
    }

    /// What clients and fate do in this millisecond.
    fn events(&mut self) {
        let member = self.some_member();
        self.next += 1;
        let (now, ticket) = (self.now, Ticket(self.next));
        let acknowledged = self.acknowledged;
        let node = &mut self.members.get_mut(&member).expect("listed").node;
        match self.rng.below(400) {
            0..60 => {
                let key = format!("k{}", self.next);
                let words = match self.rng.below(40) {
                    0 => format!("+{}:{}", LEASE.0, TTL.as_secs()),
                    _ => format!("{key}={}", "v".repeat(self.rng.below(20_000) as usize)),
                };
                // A lease may be granted once only: the dialect here does not ask.
                if words.starts_with('+') {
                    if self.lease_until != Instant(0) {
                        return;
                    }
                    self.lease_until = Instant(1);
                }
                let key = if words.starts_with('+') {
                    String::new()
                } else {
                    key
                };
                if let Ok(tag) = node.propose(WORDS, Bytes::from(words)) {
                    self.writes.push((member, tag, key, None));
                }
            }
            60..90 if node.read(ticket).is_ok() => {
                self.reads.insert((member, ticket), acknowledged);
            }
            90..100 if node.lease_renew(ticket, LEASE).is_ok() => {
                self.renewals.insert((member, ticket), now);
            }
            100 if !self.is_calm && self.rng.one_in(8) => self.crash(member),
            101 if !self.is_calm && self.rng.one_in(8) => {
                self.cut = self.rng.one_in(2).then_some(member);
            }
            102 if !self.is_calm && self.rng.one_in(30) => {
                // A power cut for all of them.
                (1..=3).for_each(|n| self.crash(id(n)));
            }
            103 if self.rng.one_in(10) => drop(node.transfer_leader(id(1 + ticket.0 % 3))),
            _ => {}
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.mail)
            .into_iter()
            .partition(|(at, ..)| *at <= now);
        self.mail = later;
        for (_, from, to, mail) in due {
            let node = &mut self.members.get_mut(&to).expect("listed").node;
            match mail {
                Mail::Message(message) => node.receive(from, message, now),
                Mail::Snapshot(meta, state) => {
                    node.snapshot_received(from, meta, *state);
                    self.mail.push((now, to, from, Mail::Sent(true)));
                }
                Mail::Sent(sent) => node.snapshot_sent(from, sent),
            }
        }
    }

    fn effects(&mut self, member: MemberId) {
        let wall_ms = (self.now.0 / 1_000_000) + 1000 * (member.0 % 2);
        let slow = if self.is_calm {
            2
        } else {
            1 + self.rng.below(40)
        };
        let at = self.now + Duration::from_millis(self.rng.below(slow));
        let is_busy = self.rng.one_in(3);
        let here = self.members.get_mut(&member).expect("listed");
        if here.writing.as_ref().is_some_and(|(_, at)| *at <= self.now)
            && let Some((persist, _)) = here.writing.take()
        {
            let number = persist.number;
            here.disk.write(persist);
            here.node.persisted(number);
        }
        if is_busy {
            return;
        }
        let effects = here.node.take_effects(self.now, wall_ms);
        assert_eq!(effects.stop, None);
        if let Some(persist) = effects.persist {
            assert!(here.writing.is_none(), "two records under way");
            here.writing = Some((persist, at));
        }
        if let Some((meta, state)) = effects.checkpoint {
            here.disk.checkpoint(state);
            here.node.checkpointed(&meta);
        }
        if let Some(state) = effects.published {
            let seen = (state.revision(), state.time());
            assert!(
                here.seen.0 <= seen.0 && here.seen.1 <= seen.1,
                "time runs backwards"
            );
            here.seen = seen;
            let has_lease = state.lease(LEASE).is_some();
            if here.had_lease && !has_lease {
                assert!(
                    self.now >= self.lease_until,
                    "gone at {}, promised until {}",
                    self.now,
                    self.lease_until
                );
            }
            here.had_lease |= has_lease;
            here.published = state;
        }
        for answer in effects.answers {
            if answer.outcome.is_ok() {
                let mut writes = self.writes.iter_mut();
                let write = writes.find(|(of, tag, ..)| *of == member && *tag == answer.tag);
                write.expect("it was asked").3 = Some(answer.revision);
                assert!(
                    here.published.revision() >= answer.revision,
                    "answered unseen"
                );
                self.acknowledged = self.acknowledged.max(answer.revision);
            }
        }
        for (ticket, result) in effects.reads {
            let asked = self.reads.remove(&(member, ticket)).expect("it was asked");
            assert!(result.is_ok(), "{result:?}");
            let seen = here.published.revision();
            assert!(
                seen >= asked,
                "a stale read: {seen}, acknowledged was {asked}"
            );
            self.n_reads += 1;
        }
        for (ticket, answer) in effects.leases {
            let asked = self
                .renewals
                .remove(&(member, ticket))
                .expect("it was asked");
            if let LeaseAnswer::Alive { .. } = answer {
                self.lease_until = self.lease_until.max(asked + TTL);
                self.n_renewals += 1;
            }
        }
        for (to, message) in effects.send {
            self.post(member, to, Mail::Message(message));
        }
        for send in effects.send_snapshots {
            self.n_snapshots += 1;
            let mail = Mail::Snapshot(send.meta, Box::new(send.state));
            self.post(member, send.to, mail);
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(1);
            self.deliver();
            self.events();
            let is_tick = (self.now.0 / 1_000_000).is_multiple_of(10);
            for member in [id(1), id(2), id(3)] {
                if is_tick {
                    let wall_ms = self.now.0 / 1_000_000;
                    let here = self.members.get_mut(&member).expect("listed");
                    here.node.tick(self.now, wall_ms);
                }
                self.effects(member);
            }
        }
        self.members.values().for_each(|member| member.node.check());
    }

    fn judge(&mut self) {
        self.is_calm = true;
        self.cut = None;
        self.run(Duration::from_secs(8));
        // No more clients: everybody comes to the same place.
        let before = self.writes.len();
        for _ in 0..3000 {
            self.now += Duration::from_millis(1);
            self.deliver();
            for member in [id(1), id(2), id(3)] {
                let here = self.members.get_mut(&member).expect("listed");
                if (self.now.0 / 1_000_000).is_multiple_of(10) {
                    here.node.tick(self.now, self.now.0 / 1_000_000);
                }
                self.effects(member);
            }
        }
        assert_eq!(before, self.writes.len());
        let states: Vec<State> = self.members.values().map(|m| m.published.clone()).collect();
        for state in &states {
            assert_eq!(state.applied(), states[0].applied());
            assert_eq!(state.digest(), states[0].digest());
        }
        let root = states[0].root(RootId(0));
        let mut n_acknowledged = 0;
        for (_, _, key, acknowledged) in &self.writes {
            let version = root
                .get(key.as_bytes(), None)
                .expect("the present")
                .map_or(0, |record| record.version());
            assert!(version <= 1, "{key} was written {version} times");
            if acknowledged.is_some() {
                n_acknowledged += 1;
            }
            let is_grant = key.is_empty();
            assert!(
                is_grant || acknowledged.is_none() || version == 1,
                "{key} is lost"
            );
        }
        assert!(n_acknowledged > 50, "only {n_acknowledged} writes");
        assert!(self.n_reads > 10, "only {} reads", self.n_reads);
    }
}

fn live(seed: u64, mutants: Mutants) {
    println!("seed {seed}");
    let mut chaos = Chaos::new(seed, mutants);
    chaos.run(Duration::from_secs(20));
    chaos.judge();
    println!(
        "{} writes, {} reads, {} renewals, {} snapshots",
        chaos.writes.len(),
        chaos.n_reads,
        chaos.n_renewals,
        chaos.n_snapshots
    );
}

#[test]
fn what_was_promised_holds_in_chaos() {
    (0..SEEDS).for_each(|seed| live(seed, Mutants::none()));
}

#[cfg(feature = "mutants")]
#[test]
fn chaos_finds_planted_bugs() {
    use base::Mutant;
    let planted = [
        Mutant::DoubleApplyOnRetry,
        Mutant::StaleReadIndex,
        Mutant::ReadBeforeApply,
        Mutant::LeaseExpiredByNewLeader,
    ];
    for mutant in planted {
        let is_found = (0..10)
            .any(|seed| std::panic::catch_unwind(|| live(seed, Mutants::only(mutant))).is_err());
        assert!(is_found, "{mutant:?} does not show");
    }
}
