//! Three members whose clocks run as differently as was stated, under a network that delays and drops, with
//! pauses, restarts, transfers and clocks that jump. What must hold, of all levels of consistency:
//!
//! - while a leader's lease holds, nobody leads in a later term, and what it answers is the newest;
//! - every grant tells the truth about how fresh the state is;
//! - a bounded read is no staler than its bound, and a session's read has what the session has seen;
//! - a healthy leader answers alone.
//!
//! The test knows the true time, which the members do not.

mod support;

use base::{Instant, MemberId, Mutants, PeerMessage, Revision, Rng, SnapshotMeta};
use bytes::Bytes;
use clock::guard::DriftBound;
use node::{How, Node, NodeConfig, Persist, ReadGrant, ReadLevel, ReadNow, Tag, Ticket};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::{State, Store};
use support::{Disk, START, WORDS, Words, config, genesis, id};

/// Worlds that are tried.
const SEEDS: u64 = 12;
/// ρ in millionths, the largest that can be stated; and the slowest and fastest clock that it permits, in
/// microseconds for each true second.
const DRIFT_PPM: u32 = 100_000;
const RATES: [u64; 2] = [909_091, 1_100_000];
const BOUND: Duration = Duration::from_millis(300);

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
    writing: Option<(Persist, u64)>,
    published: State,
    /// The member's clock at the last step, in nanoseconds: only ever adds up.
    clock_ns: u64,
    rate: u64,
    ticks: u64,
    /// Until when, in true milliseconds, the process is stopped, or its clock is.
    paused_until: u64,
    stands_until: u64,
}

impl Member {
    fn now(&self) -> Instant {
        Instant(self.clock_ns)
    }
}

/// A read that has looked at the state and is checked before it is answered.
struct Look {
    member: MemberId,
    grant: ReadGrant,
    seen: Revision,
    /// What was acknowledged when the read was asked.
    acknowledged: Revision,
    check_at: u64,
}

#[derive(Clone, Copy)]
struct Asked {
    level: ReadLevel,
    acknowledged: Revision,
    /// True milliseconds.
    at: u64,
}

/// See [`Drift::go_on`].
#[derive(Clone, Copy)]
enum Plot {
    Quiet,
    Parted(MemberId),
    Over,
}

struct Drift {
    rng: Rng,
    mutants: Mutants,
    /// True milliseconds since the beginning.
    ms: u64,
    members: BTreeMap<MemberId, Member>,
    mail: Vec<(u64, MemberId, MemberId, Mail)>,
    /// Links that carry nothing.
    cut: BTreeSet<(MemberId, MemberId)>,
    /// What happens to this leader at this true millisecond.
    plot: Option<(u64, Plot, MemberId)>,
    is_calm: bool,
    tags: BTreeSet<(MemberId, Tag)>,
    reads: BTreeMap<(MemberId, Ticket), Asked>,
    looks: Vec<Look>,
    /// By true millisecond: the newest revision that was acknowledged until then.
    acknowledged: Vec<Revision>,
    /// For each member, its clock in nanoseconds at each true millisecond.
    histories: BTreeMap<MemberId, Vec<u64>>,
    next: u64,
    n_alone: usize,
    n_refused: usize,
    n_caught: usize,
    n_by_how: [usize; 3],
}

fn boot(disk: &mut Disk, member: MemberId, mutants: Mutants, now: Instant) -> Node {
    disk.lives += 1;
    let config = NodeConfig {
        incarnation: disk.lives,
        snapshot_count: 50,
        read_lease: DriftBound::from_ppm(DRIFT_PPM),
        mutants,
        ..config(member)
    };
    Node::new(config, disk.boot(), vec![Box::new(Words)], now).expect("the engine starts")
}

impl Drift {
    fn new(seed: u64, mutants: Mutants) -> Drift {
        let mut rng = Rng::new(seed);
        // Every other world has one clock that is slow, and all others are fast.
        let slow = seed.is_multiple_of(2).then(|| id(1 + seed / 2 % 3));
        let mut members = BTreeMap::new();
        for n in 1..=3 {
            let state = Store::new(genesis(3)).publish();
            let mut disk = Disk {
                hard_state: base::HardState::default(),
                entries: Vec::new(),
                state: state.clone(),
                lives: 0,
            };
            let member = Member {
                node: boot(&mut disk, id(n), mutants, START),
                disk,
                writing: None,
                published: state,
                clock_ns: START.0,
                rate: match slow {
                    Some(slow) => RATES[usize::from(slow != id(n))],
                    None => RATES[rng.below(2) as usize],
                },
                ticks: 0,
                paused_until: 0,
                stands_until: 0,
            };
            members.insert(id(n), member);
        }
        Drift {
            rng,
            mutants,
            ms: 0,
            members,
            mail: Vec::new(),
            cut: BTreeSet::new(),
            plot: None,
            is_calm: false,
            tags: BTreeSet::new(),
            reads: BTreeMap::new(),
            looks: Vec::new(),
            acknowledged: vec![Revision(1)],
            histories: (1..=3).map(|n| (id(n), vec![START.0])).collect(),
            next: 0,
            n_alone: 0,
            n_refused: 0,
            n_caught: 0,
            n_by_how: [0; 3],
        }
    }

    fn newest(&self) -> Revision {
        *self.acknowledged.last().expect("one for each millisecond")
    }

    fn some_member(&mut self) -> MemberId {
        id(self.rng.between(1, 3))
    }

    /// Often the leader: that is where it hurts.
    fn victim(&mut self) -> MemberId {
        let leader = self.members.iter().find(|(_, m)| m.node.is_leader());
        match leader.map(|(member, _)| *member) {
            Some(leader) if self.rng.one_in(2) => leader,
            _ => self.some_member(),
        }
    }

    fn post(&mut self, from: MemberId, to: MemberId, mail: Mail) {
        if self.cut.contains(&(from, to)) || (!self.is_calm && self.rng.permille(20)) {
            if matches!(mail, Mail::Snapshot(..)) {
                self.mail.push((self.ms, to, from, Mail::Sent(false)));
            }
            return;
        }
        let late = match self.rng.below(100) {
            n if n < 6 && !self.is_calm => self.rng.between(100, 700),
            n if n < 30 => self.rng.between(1, 20),
            _ => self.rng.below(3),
        };
        self.mail.push((self.ms + late, from, to, mail));
    }

    fn restart(&mut self, member: MemberId) {
        let mutants = self.mutants;
        let here = self.members.get_mut(&member).expect("listed");
        here.writing = None;
        let now = here.now();
        here.node = boot(&mut here.disk, member, mutants, now);
        here.published = here.node.state().clone();
        self.reads.retain(|(of, _), _| *of != member);
        self.looks.retain(|look| look.member != member);
        self.tags.retain(|(of, _)| *of != member);
    }

    /// Cuts both ways.
    fn part(&mut self, one: MemberId, other: MemberId) {
        self.cut.extend([(one, other), (other, one)]);
    }

    /// What a plot has come to. Clients write nothing meanwhile, so all logs are equal. The leader loses one
    /// follower, and later the one that has promised, which starts anew in the same moment: whoever forgets or
    /// ignores its promise then elects somebody with the follower that heard nothing for long.
    fn go_on(&mut self, plot: Plot, leader: MemberId) {
        match plot {
            Plot::Quiet => {
                let others: Vec<MemberId> = (1..=3).map(id).filter(|it| *it != leader).collect();
                let kept = self.rng.below(2) as usize;
                self.cut.clear();
                self.part(leader, others[1 - kept]);
                let wait = self.rng.between(1500, 3500);
                self.plot = Some((self.ms + wait, Plot::Parted(others[kept]), leader));
            }
            Plot::Parted(kept) => {
                self.part(leader, kept);
                self.restart(kept);
                self.plot = Some((self.ms + 1500, Plot::Over, leader));
            }
            Plot::Over => self.plot = None,
        }
    }

    fn misfortune(&mut self) {
        if self.is_calm {
            return;
        }
        if let Some((at, plot, leader)) = self.plot {
            if at <= self.ms {
                self.go_on(plot, leader);
            }
            return;
        }
        let (ms, member) = (self.ms, self.victim());
        match self.rng.below(10_000) {
            0..4 => {
                self.cut.clear();
                // Nobody hears it, or it hears nobody, or neither.
                let kind = self.rng.below(4);
                for other in (1..=3).map(id).filter(|other| *other != member) {
                    if kind != 0 {
                        self.cut.insert((member, other));
                    }
                    if kind != 1 {
                        self.cut.insert((other, member));
                    }
                }
            }
            4..8 => self.cut.clear(),
            8..11 => self.restart(member),
            11 => (1..=3).for_each(|n| self.restart(id(n))),
            12..15 => {
                let pause = self.rng.between(20, 1500);
                let here = self.members.get_mut(&member).expect("listed");
                here.paused_until = ms + pause;
            }
            15..18 => {
                let to = self.some_member();
                let here = self.members.get_mut(&member).expect("listed");
                let _ = here.node.transfer_leader(to);
            }
            18 => {
                // A clock that stands still drifts more than anybody stated. The driver notices.
                let here = self.members.get_mut(&member).expect("listed");
                here.stands_until = ms + 2000;
                here.node.clock_jumped(here.now());
            }
            19 => {
                let here = self.members.get_mut(&member).expect("listed");
                here.clock_ns += 1_500_000_000;
                here.node.clock_jumped(here.now());
            }
            20..22 => self.plot = Some((ms + 1500, Plot::Quiet, member)),
            _ => {}
        }
    }

    /// Whoever takes itself for the leader is asked all the time.
    fn probe(&mut self) {
        for member in (1..=3).map(id) {
            self.next += 1;
            let (ms, ticket, acknowledged) = (self.ms, Ticket(self.next), self.newest());
            let here = self.members.get_mut(&member).expect("listed");
            if here.paused_until > ms || !here.node.is_leader() {
                continue;
            }
            let now = here.now();
            match here.node.read_at(ticket, ReadLevel::Lease, now) {
                Ok(ReadNow::Granted(grant)) => {
                    let seen = here.published.revision();
                    assert!(
                        seen >= acknowledged,
                        "a stale lease read: {seen}, acknowledged was {acknowledged}"
                    );
                    self.assert_newest(member, &grant);
                }
                Ok(ReadNow::Waits) => here.node.forget_read(ticket),
                _ => {}
            }
        }
    }

    /// Nobody leads in a later term than the one of this grant.
    fn assert_newest(&self, member: MemberId, grant: &ReadGrant) {
        let term = grant.term;
        for (other, there) in &self.members {
            let status = there.node.status();
            assert!(
                !(status.is_leader && status.term > term),
                "{member} has the lease of term {term}, and {other} leads in {}",
                status.term
            );
        }
    }

    fn client(&mut self) {
        let member = self.some_member();
        self.next += 1;
        let ticket = Ticket(self.next);
        let acknowledged = self.newest();
        let kind = self.rng.below(100);
        let (ms, next) = (self.ms, self.next);
        let here = self.members.get_mut(&member).expect("listed");
        if here.paused_until > ms {
            return;
        }
        if kind < 15 && self.plot.is_some() {
            return;
        }
        if kind < 15 {
            let request = Bytes::from(format!("k{}={next}", next % 7));
            if let Ok(tag) = here.node.propose(WORDS, request) {
                self.tags.insert((member, tag));
            }
            return;
        }
        let level = match kind {
            15..55 => ReadLevel::Lease,
            55..65 => ReadLevel::Bounded(BOUND),
            65..75 => ReadLevel::Session(acknowledged),
            75..80 => ReadLevel::Linearizable,
            80..83 => ReadLevel::Sequential,
            _ => return,
        };
        let leads = here.node.is_leader();
        let asked = Asked {
            level,
            acknowledged,
            at: ms,
        };
        match here.node.read_at(ticket, level, here.now()) {
            Ok(ReadNow::Granted(grant)) => self.look(member, asked, grant),
            Ok(ReadNow::Waits) => {
                self.reads.insert((member, ticket), asked);
            }
            Ok(ReadNow::Failed(_)) => self.n_refused += usize::from(leads),
            Err(_) => {}
        }
    }

    /// The true millisecond at which the clock of `member` first showed `instant`.
    fn true_ms(&self, member: MemberId, instant: Instant) -> u64 {
        let history = &self.histories[&member];
        history.partition_point(|shown| *shown < instant.0) as u64
    }

    fn look(&mut self, member: MemberId, asked: Asked, grant: ReadGrant) {
        let seen = self.members[&member].published.revision();
        self.n_by_how[grant.how as usize] += 1;
        if let Some(fresh) = grant.fresh_as_of {
            let fresh_ms = self.true_ms(member, fresh).saturating_sub(1);
            let then = self.acknowledged[fresh_ms as usize];
            let is_true = seen >= then || grant.how == How::Lease;
            assert!(
                is_true,
                "not as fresh as it says: {seen}, at {fresh} it was {then}"
            );
        }
        match asked.level {
            ReadLevel::Session(revision) => assert!(seen >= revision, "{seen} < {revision}"),
            ReadLevel::Bounded(bound) => {
                // A slow clock counts less than the true time: the bound is one of the member's own.
                let bound = bound.as_millis() as u64 * 11 / 10 + 2;
                let stood = self.members[&member].stands_until + bound >= asked.at;
                let then = self.acknowledged[asked.at.saturating_sub(bound) as usize];
                assert!(
                    stood || seen >= then,
                    "staler than its bound: {seen}, it was {then}"
                );
            }
            ReadLevel::Linearizable => {
                assert!(seen >= asked.acknowledged, "a stale linearizable read");
            }
            ReadLevel::Lease => {
                let check_at = match self.rng.below(10) {
                    0 => self.ms + self.rng.between(100, 1500),
                    _ => self.ms + self.rng.below(4),
                };
                self.looks.push(Look {
                    member,
                    grant,
                    seen,
                    acknowledged: asked.acknowledged,
                    check_at,
                });
            }
            ReadLevel::Sequential => {}
        }
    }

    /// What lease reads have seen is checked once more and answered.
    fn check_looks(&mut self) {
        let ms = self.ms;
        let members = &self.members;
        let (due, later): (Vec<Look>, Vec<Look>) = std::mem::take(&mut self.looks)
            .into_iter()
            .partition(|look| look.check_at <= ms && members[&look.member].paused_until <= ms);
        self.looks = later;
        for look in due {
            let here = &self.members[&look.member];
            if !here.node.lease_holds(&look.grant, here.now()) {
                self.n_caught += 1;
                continue;
            }
            self.n_alone += 1;
            self.assert_newest(look.member, &look.grant);
            assert!(
                look.seen >= look.acknowledged,
                "a stale lease read: {}, acknowledged was {}",
                look.seen,
                look.acknowledged
            );
        }
    }

    fn deliver(&mut self) {
        let ms = self.ms;
        let members = &self.members;
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.mail)
            .into_iter()
            .partition(|(at, _, to, _)| *at <= ms && members[to].paused_until <= ms);
        self.mail = later;
        for (_, from, to, mail) in due {
            let here = self.members.get_mut(&to).expect("listed");
            let now = here.now();
            match mail {
                Mail::Message(message) => here.node.receive(from, message, now),
                Mail::Snapshot(meta, state) => {
                    here.node.snapshot_received(from, meta, *state);
                    self.mail.push((ms, to, from, Mail::Sent(true)));
                }
                Mail::Sent(sent) => here.node.snapshot_sent(from, sent),
            }
        }
    }

    fn effects(&mut self, member: MemberId) {
        let ms = self.ms;
        let slow = if self.is_calm {
            2
        } else {
            1 + self.rng.below(30)
        };
        let done_at = ms + self.rng.below(slow);
        let is_busy = self.rng.one_in(3);
        let here = self.members.get_mut(&member).expect("listed");
        if here.writing.as_ref().is_some_and(|(_, at)| *at <= ms)
            && let Some((persist, _)) = here.writing.take()
        {
            let number = persist.number;
            here.disk.write(persist);
            here.node.persisted(number);
        }
        if is_busy {
            return;
        }
        let effects = here.node.take_effects(here.now(), ms);
        if let Some(persist) = effects.persist {
            here.writing = Some((persist, done_at));
        }
        if let Some((meta, state)) = effects.checkpoint {
            here.disk.checkpoint(state);
            here.node.checkpointed(&meta);
        }
        if let Some(state) = effects.published {
            here.published = state;
        }
        for answer in effects.answers {
            if answer.outcome.is_ok() && self.tags.remove(&(member, answer.tag)) {
                let newest = self.acknowledged.last_mut().expect("never empty");
                *newest = answer.revision.max(*newest);
            }
        }
        for (ticket, result) in effects.reads {
            let asked = self.reads.remove(&(member, ticket)).expect("it was asked");
            if let Ok(grant) = result {
                self.look(member, asked, grant);
            }
        }
        for (to, message) in effects.send {
            self.post(member, to, Mail::Message(message));
        }
        for send in effects.send_snapshots {
            let mail = Mail::Snapshot(send.meta, Box::new(send.state));
            self.post(member, send.to, mail);
        }
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.ms += 1;
            self.acknowledged.push(self.newest());
            for (member, here) in &mut self.members {
                if here.stands_until <= self.ms {
                    here.clock_ns += here.rate;
                }
                let history = self.histories.get_mut(member).expect("listed");
                history.push(here.clock_ns);
            }
            self.misfortune();
            self.deliver();
            self.client();
            for member in (1..=3).map(id) {
                let ms = self.ms;
                let here = self.members.get_mut(&member).expect("listed");
                if here.paused_until > ms {
                    continue;
                }
                let ticks = (here.clock_ns - START.0) / NodeConfig::TICK.as_nanos() as u64;
                if ticks > here.ticks {
                    here.ticks = ticks;
                    here.node.tick(here.now(), ms);
                }
                self.effects(member);
            }
            self.check_looks();
            self.probe();
        }
        self.members.values().for_each(|member| member.node.check());
    }
}

fn live(seed: u64, mutants: Mutants) -> Drift {
    let mut world = Drift::new(seed, mutants);
    world.run(40_000);
    // Rest: nothing is wrong any more, and a minute after the last jump clocks are believed again.
    world.is_calm = true;
    world.plot = None;
    world.cut.clear();
    for member in world.members.values_mut() {
        member.paused_until = 0;
        member.stands_until = member.stands_until.min(world.ms);
    }
    world
}

#[test]
fn no_level_breaks_its_word_whatever_the_clocks() {
    let (mut n_alone, mut n_caught) = (0, 0);
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let mut world = live(seed, Mutants::none());
        let by_how = world.n_by_how;
        assert!(by_how.iter().all(|n| *n > 50), "{by_how:?}");
        n_alone += world.n_alone;
        n_caught += world.n_caught;
        world.run(65_000);
        // A new office, since one that was ever handed over has no lease. Nothing is wrong: it needs no round.
        let leader = world.members.values_mut().find(|m| m.node.is_leader());
        let leader = leader.expect("a minute of rest");
        let to = id(leader.node.status().member.0 % 3 + 1);
        leader.node.transfer_leader(to).expect("it votes");
        world.run(2000);
        (world.n_alone, world.n_refused) = (0, 0);
        world.run(5_000);
        let (alone, refused) = (world.n_alone, world.n_refused);
        assert!(
            alone > 300 && refused == 0,
            "{alone} alone, {refused} refused"
        );
    }
    println!("{n_alone} lease reads answered, {n_caught} caught by the second check");
    assert!(n_alone > 1000 && n_caught > 20);
}

#[cfg(feature = "mutants")]
#[test]
fn drift_finds_planted_bugs() {
    use base::Mutant;
    let planted = [
        Mutant::LeaseWithoutGuardBand,
        Mutant::LeaseFromAnswer,
        Mutant::LeaseSurvivesTransfer,
        Mutant::LeaseOfMinority,
        Mutant::PromiseForgottenAtRestart,
        Mutant::PromiseIgnored,
        Mutant::LeaseReadBeforeApply,
        Mutant::LeaseIgnoresJump,
        Mutant::LeaseNotCheckedAgain,
        Mutant::BoundedNeverAsks,
        Mutant::FreshnessFromAnswer,
        Mutant::SessionDoesNotWait,
    ];
    let mut missed = Vec::new();
    for mutant in planted {
        let found = (0..100)
            .find(|seed| std::panic::catch_unwind(|| live(*seed, Mutants::only(mutant))).is_err());
        println!("{}: {found:?}", mutant.name());
        if found.is_none() {
            missed.push(mutant);
        }
    }
    assert_eq!(missed, [], "these do not show");
}
