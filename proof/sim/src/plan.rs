//! What one seed's world is like: every number that may vary, drawn before it begins.
//!
//! Swarm testing (Groce et al., ISSTA 2012): each seed leaves most things out. A world with every fault
//! at once rarely gets far enough to be interesting; many worlds with one to six kinds of fault each
//! meet more than any mixture.

use crate::governing::Rules;
use crate::member::Wall;
use crate::workload::Workload;
use base::Rng;
use checker::line::Kind;
use clock::guard::DriftBound;
use std::fmt;
use std::time::Duration;

const MILLION: u64 = 1_000_000;

/// One kind of misfortune.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// A member's process dies; its disk keeps everything.
    Kill,
    /// A member's power goes; its disk loses some of what was not synced.
    PowerCut,
    /// The power of all members goes at once.
    Blackout,
    /// The network falls apart in some shape.
    Split,
    /// Frames are lost, doubled, delayed, reordered, damaged.
    Weather,
    /// A member stands still while time goes on.
    Pause,
    /// Wall clocks jump and clocks run at different rates.
    Clock,
    /// A member's disk is slow, up to a sync that hangs for seconds.
    SlowDisk,
    /// A sync fails once, and what it covered is lost.
    FailedSync,
    /// A member's disk is full for a while.
    FullDisk,
    /// Bits flip, blocks are stale or were misdirected on one member's disk, while it is down.
    Corruption,
    /// Leadership is handed on by request.
    Transfer,
    /// Members join, are promoted, and leave.
    Membership,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Fault; 13] = [
        Fault::Kill,
        Fault::PowerCut,
        Fault::Blackout,
        Fault::Split,
        Fault::Weather,
        Fault::Pause,
        Fault::Clock,
        Fault::SlowDisk,
        Fault::FailedSync,
        Fault::FullDisk,
        Fault::Corruption,
        Fault::Transfer,
        Fault::Membership,
    ];

    /// Whether it makes sense with so many members.
    fn fits(self, n_members: usize) -> bool {
        match self {
            Fault::Split | Fault::Weather | Fault::Transfer => n_members > 1,
            // A damaged member waits for the others, and two do not decide without it.
            Fault::Corruption => n_members > 2,
            // One that is alone halts for ever when its only copy is hurt; that is not a world.
            Fault::FailedSync => n_members > 1,
            _ => true,
        }
    }
}

/// In which way [`Fault::Corruption`] hurts a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Corruption {
    /// Bits flip; a sector may become unreadable with them.
    Bits,
    /// Whole blocks are stale, or were written somewhere else.
    Blocks,
    /// Both.
    Both,
}

impl Corruption {
    /// Whether bits flip.
    pub fn has_bits(self) -> bool {
        self != Corruption::Blocks
    }

    /// Whether blocks are stale or misdirected.
    pub fn has_blocks(self) -> bool {
        self != Corruption::Bits
    }
}

/// Who decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consensus {
    /// The engine that ships.
    Shipped,
    /// The executable specification, in all members.
    Specification,
}

/// How often each kind of request is asked, in parts of their sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mix {
    /// Put one key.
    pub put: u64,
    /// Get one key, linearizable.
    pub get: u64,
    /// Get one key from the member itself.
    pub get_serializable: u64,
    /// Get all keys, now or in the past.
    pub range: u64,
    /// Delete one key or some.
    pub delete: u64,
    /// Compare and swap one key.
    pub swap: u64,
    /// Several keys in one transaction.
    pub txn: u64,
    /// Grant, renew and revoke leases, and hang keys on them.
    pub lease: u64,
}

impl Mix {
    /// Most mixes are of everything; some lean to one side.
    fn draw(rng: &mut Rng) -> Mix {
        let mut part = || *rng.pick(&[0, 1, 3, 10]).unwrap_or(&1);
        Mix {
            put: 2 + part(),
            get: 2 + part(),
            get_serializable: part(),
            range: part(),
            delete: part(),
            swap: part(),
            txn: part(),
            lease: part(),
        }
    }

    /// The sum of all parts.
    pub fn sum(&self) -> u64 {
        self.put
            + self.get
            + self.get_serializable
            + self.range
            + self.delete
            + self.swap
            + self.txn
            + self.lease
    }
}

/// One seed's world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Members at the beginning.
    pub n_members: usize,
    /// The members' engine.
    pub consensus: Consensus,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// How a disk is hurt, if that is among them.
    pub corruption: Corruption,
    /// How long things go wrong.
    pub trouble: Duration,
    /// How long a quiet spell between two misfortunes is, at most.
    pub calm: Duration,
    /// How often a leader says that it lives.
    pub heartbeat: Duration,
    /// How long a follower waits for it.
    pub election: Duration,
    /// Entries between two checkpoints.
    pub snapshot_count: u64,
    /// Entries kept in memory for followers that lag.
    pub log_tail_entries: u64,
    /// Bytes that may wait for a watcher.
    pub watch_queue_bytes: u64,
    /// Bytes of a segment of the log.
    pub segment_bytes: u64,
    /// Clients that ask one request at a time each.
    pub n_clients: u64,
    /// Watchers.
    pub n_watchers: u64,
    /// Different keys.
    pub n_keys: u64,
    /// What clients ask.
    pub mix: Mix,
    /// An application beside it, with clients and keys of its own.
    pub workload: Option<Workload>,
    /// The longest pause of a client between an answer and its next request.
    pub think: Duration,
    /// When a client gives up waiting.
    pub patience: Duration,
    /// History is compacted about so often; nothing: never.
    pub compaction: Option<Duration>,
    /// How long a sync takes at most in good times.
    pub sync: Duration,
    /// Members are also killed, or cut from power, at moments that matter: just after a vote or an acknowledgement
    /// left; and they come back at once. Requests for a vote come twice.
    pub aimed: bool,
    /// Clients have sessions and number their writes: what is unknown is asked again, at other members.
    pub once: bool,
    /// Clients renew leases that may be over and ask members that have just woken up, and watchers ask where they are.
    pub curious: bool,
    /// How much faster or slower than true time clocks may run, in permille, while somebody disturbs them.
    pub clock_error_permille: u64,
    /// The bound on drift that members and holders are told, in millionths; nothing: nobody states one, and there are no
    /// reads by the lease. It may be a lie: see [`Plan::keeps_bound`].
    pub drift_ppm: Option<u32>,
    /// How clocks run by themselves.
    pub rates: Rates,
    /// How wall clocks begin.
    pub walls: Walls,
    /// Pauses of members last up to twenty seconds, and not five.
    pub long_pauses: bool,
    /// Clients of the native front.
    pub natives: Option<Natives>,
    /// Users, permissions and alarms; only where nobody comes by the native front, which knows no users.
    pub rules: Option<Rules>,
    /// Most members begin as a former build, and are upgraded one by one: see [`Plan::upgraded_ms`].
    pub upgrade: bool,
}

/// How clocks run by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rates {
    /// As fast as true time.
    True,
    /// Each somewhere within the stated bound.
    Spread,
    /// Each at one end of the stated bound.
    Extreme,
    /// Each a fifth too fast or too slow, whatever was stated.
    Broken,
}

/// How wall clocks begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Walls {
    /// Minutes apart.
    Apart,
    /// Right within fifty milliseconds.
    Right,
    /// So, and the first member's is years off.
    OneWild,
}

/// Who comes by the native front: holders of places in lines, and readers at every level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Natives {
    /// Lines: what for, permits, and whether some of a lock's places are shared.
    pub lines: Vec<(Kind, u32, bool)>,
    /// Clients that contend, in turn for each of the lines.
    pub n_contenders: u64,
    /// Clients that write keys and read at every level.
    pub n_readers: u64,
    /// The time to live of the contenders' leases, in seconds.
    pub ttl_s: u64,
    /// Readers are many times quicker, and mostly ask whoever believes to lead to answer by its lease.
    pub hasty: bool,
}

impl Natives {
    fn draw(seed: u64) -> Option<Natives> {
        let mut rng = Rng::new(seed ^ 0x4e41_5449_5645_0001);
        if rng.one_in(2) {
            return None;
        }
        let mut lines = Vec::new();
        for _ in 0..rng.between(1, 2) {
            lines.push(match rng.below(6) {
                0 => (Kind::Lock, 0, false),
                1 | 2 => (Kind::Lock, 0, true),
                3 => (Kind::Semaphore, rng.between(1, 2) as u32, false),
                4 => (Kind::Election, 0, false),
                _ => (Kind::Barrier, rng.between(2, 3) as u32, false),
            });
        }
        Some(Natives {
            n_contenders: rng.between(3, 5) * lines.len() as u64,
            lines,
            n_readers: rng.between(2, 3),
            ttl_s: rng.between(2, 3),
            hasty: rng.one_in(3),
        })
    }
}

impl Plan {
    /// The bound on drift that everybody is told.
    pub fn drift(&self) -> Option<DriftBound> {
        self.drift_ppm.and_then(DriftBound::from_ppm)
    }

    /// How far from true time clocks may be in this world, in permille of what passes, either way.
    pub fn worst_permille(&self) -> u64 {
        let disturbed = self.clock_error_permille.min(500);
        let slow = (disturbed * 1000).div_ceil(1000 - disturbed);
        let natural = match self.rates {
            Rates::True => 0,
            Rates::Broken => 250,
            _ => u64::from(self.drift_ppm.unwrap_or(0)).div_ceil(1000),
        };
        slow.max(natural)
    }

    /// Whether a bound is stated, and no clock breaks it.
    pub fn keeps_bound(&self) -> bool {
        let is_stated = self.drift_ppm.filter(|_| self.rates != Rates::Broken);
        is_stated.is_some_and(|ppm| {
            let disturbed = self.clock_error_permille.min(500);
            u64::from(ppm) * (1000 - disturbed) >= disturbed * MILLION
        })
    }

    /// How fast the clock with this number runs by itself, in millionths of true time.
    pub fn rate_ppm(&self, number: u64) -> u64 {
        let drift = u64::from(self.drift_ppm.unwrap_or(0));
        let mut rng = Rng::new(self.seed ^ 0x5241_5445_0000_0001).fork(number);
        // Rounded towards true time: the bound is kept to the last nanosecond.
        let (slow, fast) = (
            (MILLION * MILLION).div_ceil(MILLION + drift),
            MILLION + drift,
        );
        match self.rates {
            Rates::True => MILLION,
            Rates::Spread => rng.between(slow, fast),
            Rates::Broken if rng.one_in(2) => MILLION * 4 / 5,
            Rates::Broken => MILLION * 6 / 5,
            Rates::Extreme if rng.one_in(2) => slow,
            Rates::Extreme => fast,
        }
    }

    /// How the wall clock of the member with this number begins.
    pub fn wall(&self, number: u64) -> Wall {
        let mut rng = Rng::new(self.seed ^ 0x5741_4c4c_0000_0001).fork(number);
        let off = rng.between(0, 100) as i64 - 50;
        match self.walls {
            Walls::Apart => Wall::Apart,
            Walls::OneWild if number == 1 && rng.one_in(2) => Wall::Off(100_000_000_000),
            Walls::OneWild if number == 1 => Wall::Off(-100_000_000_000),
            Walls::Right | Walls::OneWild => Wall::Off(off),
        }
    }

    /// When the member with this number, one of those that began the cluster, is stopped and started as this build, in
    /// milliseconds of the world's time: until then it is the build before. 0: it never was.
    pub fn upgraded_ms(&self, number: u64) -> u64 {
        let mut rng = Rng::new(self.seed ^ 0x5550_4752_0000_0002).fork(number);
        match self.upgrade && number <= self.n_members as u64 && !rng.one_in(4) {
            true => rng.between(500, self.trouble.as_millis() as u64 - 500),
            false => 0,
        }
    }

    /// The world of `seed`, with members that are upgraded one by one.
    pub fn upgrade(seed: u64) -> Plan {
        Plan {
            upgrade: true,
            rules: None,
            ..Plan::draw(seed)
        }
    }

    /// The world of `seed`.
    pub fn draw(seed: u64) -> Plan {
        let mut rng = Rng::new(seed ^ 0x5157_4f52_4c44_0001);
        let n_members = *rng.pick(&[1, 2, 3, 3, 3, 3, 4, 5, 5, 7]).unwrap_or(&3);
        let mut kinds: Vec<Fault> = Fault::ALL
            .into_iter()
            .filter(|fault| fault.fits(n_members))
            .collect();
        let n_faults = rng.between(1, 6) as usize;
        let mut faults = Vec::new();
        for _ in 0..n_faults.min(kinds.len()) {
            let at = rng.below(kinds.len() as u64) as usize;
            faults.push(kinds.swap_remove(at));
        }
        // A member with a damaged log counts as failed until the others have mended it: two voters of
        // which one is damaged cannot go on, and no rule that is safe lets them.
        if faults.contains(&Fault::Corruption) {
            faults.retain(|fault| *fault != Fault::Membership);
        }
        faults.sort();
        let heartbeat_ms = *rng.pick(&[20, 50, 100]).unwrap_or(&100);
        let ms = Duration::from_millis;
        let mut plan = Plan {
            seed,
            n_members,
            // A draw of its own, so that the rest of the world is the same on both.
            consensus: match Rng::new(seed ^ 0x5350_4543_0000_0001).one_in(6) {
                true => Consensus::Specification,
                false => Consensus::Shipped,
            },
            // As above: worlds with flipped bits alone are what they were before there was more.
            corruption: {
                let mut rng = Rng::new(seed ^ 0x424c_4f43_4b53_0001);
                let kinds = [
                    Corruption::Bits,
                    Corruption::Blocks,
                    Corruption::Blocks,
                    Corruption::Both,
                ];
                *rng.pick(&kinds).unwrap_or(&Corruption::Bits)
            },
            trouble: ms(rng.between(4_000, 14_000)),
            calm: ms(*rng.pick(&[100, 500, 2_000]).unwrap_or(&500)),
            heartbeat: ms(heartbeat_ms),
            election: ms(heartbeat_ms * 10),
            snapshot_count: *rng.pick(&[10, 50, 300, 10_000]).unwrap_or(&300),
            segment_bytes: *rng
                .pick(&[16 * 1024, 64 * 1024, 256 * 1024])
                .unwrap_or(&65_536),
            log_tail_entries: *rng.pick(&[20, 200, 5_000]).unwrap_or(&200),
            watch_queue_bytes: *rng.pick(&[400, 4 << 20]).unwrap_or(&400),
            n_clients: rng.between(2, 6),
            n_watchers: rng.below(4),
            n_keys: *rng.pick(&[1, 3, 8]).unwrap_or(&3),
            mix: Mix::draw(&mut rng),
            workload: Workload::draw(seed),
            think: ms(*rng.pick(&[5, 20, 60]).unwrap_or(&20)),
            patience: ms(*rng.pick(&[400, 400, 1_500, 4_000]).unwrap_or(&1_500)),
            compaction: rng.one_in(2).then(|| ms(rng.between(200, 2_000))),
            sync: Duration::from_micros(*rng.pick(&[200, 1_000, 8_000]).unwrap_or(&1_000)),
            aimed: {
                let kills = faults.contains(&Fault::Kill) || faults.contains(&Fault::PowerCut);
                kills && Rng::new(seed ^ 0x4149_4d45_4400_0001).one_in(2)
            },
            once: Rng::new(seed ^ 0x4f4e_4345_0000_0001).one_in(3),
            curious: Rng::new(seed ^ 0x4355_5249_4f55_0001).one_in(3),
            clock_error_permille: if faults.contains(&Fault::Clock) {
                *rng.pick(&[1, 50, 200]).unwrap_or(&50)
            } else {
                0
            },
            drift_ppm: None,
            rates: Rates::True,
            walls: Walls::Apart,
            long_pauses: false,
            natives: Natives::draw(seed),
            rules: Rules::draw(seed).filter(|_| Natives::draw(seed).is_none()),
            upgrade: Rng::new(seed ^ 0x5550_4752_0000_0001).one_in(4),
            faults,
        };
        // Before the version has risen there are no users.
        plan.upgrade &= plan.rules.is_none();
        plan.draw_clocks();
        plan
    }

    /// A world in which two may believe to lead, both are asked, and clocks are as far apart as is permitted: for bugs
    /// of leases and levels, which hide where hardly anybody asks.
    pub fn duel(seed: u64) -> Plan {
        let mut rng = Rng::new(seed ^ 0x4455_454c_0000_0001);
        let mut faults = vec![Fault::Split];
        faults.extend(rng.pick(&[Fault::Transfer, Fault::Pause, Fault::Kill]));
        faults.sort();
        let heartbeat_ms = *rng.pick(&[50, 100]).unwrap_or(&100);
        let ms = Duration::from_millis;
        Plan {
            n_members: *rng.pick(&[3, 5]).unwrap_or(&3),
            consensus: Consensus::Shipped,
            faults,
            trouble: ms(12_000),
            calm: ms(500),
            heartbeat: ms(heartbeat_ms),
            election: ms(heartbeat_ms * 10),
            n_clients: 1,
            n_watchers: 0,
            workload: None,
            think: ms(20),
            patience: ms(400),
            compaction: None,
            sync: Duration::from_micros(200),
            aimed: false,
            once: false,
            curious: false,
            clock_error_permille: 0,
            drift_ppm: Some(50_000),
            rates: Rates::Extreme,
            walls: Walls::Right,
            long_pauses: false,
            upgrade: false,
            natives: Some(Natives {
                lines: vec![(Kind::Election, 0, false)],
                n_contenders: 3,
                n_readers: 5,
                ttl_s: 2,
                hasty: rng.one_in(2),
            }),
            rules: None,
            ..Plan::draw(seed)
        }
    }

    /// What is said of clocks, and what is true: a draw of its own, so that the rest of the world is the same.
    fn draw_clocks(&mut self) {
        let mut rng = Rng::new(self.seed ^ 0x434c_4f43_4b00_0001);
        self.walls = *rng
            .pick(&[Walls::Apart, Walls::Right, Walls::OneWild])
            .unwrap_or(&Walls::Apart);
        self.long_pauses = rng.one_in(4);
        let is_stated = !rng.one_in(5);
        let is_broken = rng.one_in(8);
        let rates = [Rates::True, Rates::Spread, Rates::Extreme, Rates::Extreme];
        let rates = *rng.pick(&rates).unwrap_or(&Rates::True);
        let drift_ppm = match self.clock_error_permille {
            0 if is_broken => 100,
            0 => *rng.pick(&[100, 10_000, 50_000, 50_000]).unwrap_or(&100),
            1 => *rng.pick(&[2_000, 50_000]).unwrap_or(&2_000),
            50 => 53_000,
            // No bound that can be stated holds here: it is a lie.
            _ => 1_000,
        };
        self.drift_ppm = is_stated.then_some(drift_ppm);
        self.rates = match self.clock_error_permille {
            0 if is_broken => Rates::Broken,
            0 => rates,
            // A clock that is also disturbed would be outside.
            _ => Rates::True,
        };
    }

    /// Whether `fault` is in it.
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} members on the {:?} engine, {} clients, {} keys, {:?}{}, {} s of trouble, election {} ms, checkpoint \
             every {} entries",
            self.n_members,
            self.consensus,
            self.n_clients,
            self.n_keys,
            self.faults,
            match self.has(Fault::Corruption) {
                true => format!(" ({:?})", self.corruption),
                false => String::new(),
            },
            self.trouble.as_secs(),
            self.election.as_millis(),
            self.snapshot_count
        )?;
        if let Some(it) = self.workload {
            write!(f, ", {} at the {}", it.n_workers, it.invariant)?;
        }
        if let Some(ppm) = self.drift_ppm {
            let truth = if self.keeps_bound() { "" } else { ", a lie" };
            write!(f, ", drift {ppm} ppm{truth}, {:?} rates", self.rates)?;
        }
        if self.upgrade {
            write!(f, ", upgraded one by one")?;
        }
        if let Some(it) = &self.natives {
            let (n, readers) = (it.n_contenders, it.n_readers);
            write!(f, ", {n} contend for {:?}, {readers} read", it.lines)?;
        }
        if let Some(it) = &self.rules {
            let alarms = if it.alarms { " and alarms" } else { "" };
            write!(f, ", {} users under rules{alarms}", it.n_users)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_its_world_and_every_fault_is_drawn() {
        assert_eq!(Plan::draw(7), Plan::draw(7));
        let plans: Vec<Plan> = (0..500).map(Plan::draw).collect();
        for fault in Fault::ALL {
            assert!(
                plans.iter().filter(|plan| plan.has(fault)).count() > 20,
                "{fault:?}"
            );
        }
        assert!(
            plans
                .iter()
                .all(|plan| (1..=6).contains(&plan.faults.len()))
        );
        assert!(
            [1, 2, 3, 4, 5, 7]
                .iter()
                .all(|n| plans.iter().any(|plan| plan.n_members == *n))
        );
    }
}
