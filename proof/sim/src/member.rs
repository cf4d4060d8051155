//! One member: a disk that outlives it, a clock of its own, and the process that runs, or not.
//!
//! The process is the shell around `node::Node`: what the server does with sockets and threads, done
//! with events. It keeps the node's contract to the letter (see `node`'s story): durable before
//! `persisted`; events to the hub, then the new root, then answers.

use crate::disk::SimDisk;
use crate::disk_work::DiskWork;
use crate::natives::NativeDoor;
use crate::plan::{Consensus, Plan};
use base::{Chain, ClusterId, Instant, MemberId, Mutants, Rng, SnapshotMeta};
use checker::Time;
use clock::guard::JumpDetector;
use consensus::Raft;
use etcd::{EtcdDialect, HeaderParts, Limits, Read, Session, StreamId, WatchDesk};
use node::{Boot, Health, Node, NodeConfig, Tag, Ticket};
use spec::SpecRaft;
use std::collections::BTreeMap;
use std::time::Duration;
use storage::{
    Catalog, CheckpointWriter, DiskError, DiskFault, Identity, Log, LogConfig, RecoverError, Step,
    execute, recover,
};
use store::{Genesis, State, Store};

/// The cluster of every world.
pub const CLUSTER: ClusterId = ClusterId(0x51);

/// Wall time at the beginning, milliseconds since 1970.
const WALL_START_MS: u64 = 1_700_000_000_000;

const MILLION: u64 = 1_000_000;

/// How a wall clock begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wall {
    /// Anywhere within some twenty minutes.
    Apart,
    /// So many milliseconds ahead of the truth, or behind it.
    Off(i64),
}

/// A member's clocks: they run at their own rate, and the wall clock jumps.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    since: Time,
    local: u64,
    rate_ppm: u64,
    /// How it runs when nobody disturbs it.
    natural_ppm: u64,
    wall_offset_ms: i64,
}

impl Clock {
    /// A clock that runs as fast as true time.
    pub fn new(rng: &mut Rng) -> Clock {
        Clock {
            since: Time(0),
            local: rng.below(1 << 40),
            rate_ppm: MILLION,
            natural_ppm: MILLION,
            wall_offset_ms: 0,
        }
    }

    /// From `now` on it runs at this rate, in millionths of true time, and its wall clock is so much off.
    pub fn settle(&mut self, now: Time, rate_ppm: u64, wall: Wall) {
        self.natural_ppm = rate_ppm;
        self.calm(now);
        self.wall_offset_ms = match wall {
            Wall::Apart => 0,
            Wall::Off(by_ms) => by_ms - (self.local / 1_000_000) as i64,
        };
    }

    /// It runs as it does by itself.
    pub fn calm(&mut self, now: Time) {
        self.set_rate_ppm(now, self.natural_ppm);
    }

    /// The true time at which it shows `instant`, if it is not disturbed.
    pub fn true_time(&self, instant: Instant) -> Time {
        let ahead = u128::from(instant.0.saturating_sub(self.local));
        Time(self.since.0 + (ahead * u128::from(MILLION) / u128::from(self.rate_ppm)) as u64)
    }

    /// The monotonic clock.
    pub fn instant(&self, now: Time) -> Instant {
        let passed = (now.0 - self.since.0) as u128 * self.rate_ppm as u128 / MILLION as u128;
        Instant(self.local + passed as u64)
    }

    /// The wall clock.
    pub fn wall_ms(&self, now: Time) -> u64 {
        WALL_START_MS.saturating_add_signed(self.wall_offset_ms) + self.instant(now).0 / 1_000_000
    }

    /// From now on it runs so much faster or slower.
    pub fn set_rate(&mut self, now: Time, rate_permille: u64) {
        self.set_rate_ppm(now, rate_permille * 1000);
    }

    fn set_rate_ppm(&mut self, now: Time, rate_ppm: u64) {
        self.local = self.instant(now).0;
        self.since = now;
        self.rate_ppm = rate_ppm;
    }

    /// The wall clock jumps.
    pub fn jump_wall(&mut self, by_ms: i64) {
        self.wall_offset_ms += by_ms;
    }

    /// How long `local` takes in true time.
    pub fn true_duration(&self, local: Duration) -> Duration {
        let nanos = local.as_nanos() * u128::from(MILLION) / u128::from(self.rate_ppm);
        Duration::from_nanos(nanos as u64)
    }
}

/// A wall clock that moves by less than this against the other one has not been set, as in the server.
const JUMP_MIN: Duration = Duration::from_millis(200);

/// Whether a member takes part in the run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// It runs, or can be started.
    Well,
    /// Its disk was hurt on purpose and it refused to start: as it should.
    Ruined(String),
    /// It has left the cluster.
    Left,
}

/// A read that waits for its round.
pub struct Reading {
    /// Which operation.
    pub operation: u64,
    /// What it asks.
    pub read: Read,
}

/// One member.
pub struct Member {
    /// Who it is.
    pub id: MemberId,
    /// Its disk.
    pub disk: SimDisk,
    /// Its clocks.
    pub clock: Clock,
    /// How often it was started.
    pub life: u32,
    /// What runs, if anything.
    pub process: Option<Process>,
    /// What the cluster began with; nothing for a member that joins.
    pub genesis: Option<Genesis>,
    /// Whether it takes part.
    pub condition: Condition,
    /// Until when it is a former build, in milliseconds of the world's time.
    pub upgraded_ms: u64,
    /// Whether what runs, or ran last, is a former build.
    pub is_former: bool,
    /// Whether bits of its disk were flipped.
    pub was_hurt: bool,
    /// It stands still.
    pub is_paused: bool,
    /// How many times longer its disk takes.
    pub disk_slowness: u64,
    /// The next sync takes so much longer, in microseconds.
    pub hang_us: u64,
    rng: Rng,
}

/// The process of one life.
pub struct Process {
    /// The production core.
    pub node: Node,
    /// Its watches.
    pub desk: WatchDesk,
    /// The root that readers see.
    pub state: State,
    /// The front.
    pub session: Session,
    /// Its disk's work.
    pub work: DiskWork,
    /// Who waits for which command: operations.
    pub proposed: BTreeMap<Tag, u64>,
    /// Attempts of the administrator's that are in the log's hands.
    pub governing: BTreeMap<Tag, u64>,
    /// Who waits for which read.
    pub reading: BTreeMap<Ticket, Reading>,
    /// Who waits for which renewal: operations.
    pub renewing: BTreeMap<Ticket, u64>,
    /// Which watch stream is whose: numbers of watchers.
    pub streams: BTreeMap<StreamId, usize>,
    /// The native front.
    pub natives: NativeDoor,
    /// Notices when the wall clock is set.
    pub jumps: JumpDetector,
    /// A pump is scheduled.
    pub pump_due: bool,
    next_ticket: u64,
    life: u32,
}

impl Process {
    /// Who asks where everybody may do everything: root in a world with users, nobody in particular in another.
    pub fn root_if(&self, is_governed: bool) -> etcd::auth::Caller {
        let root = etcd::auth::ROOT_USER.into();
        Ok(is_governed.then(|| etcd::auth::user_identity(&self.state, root)))
    }

    /// A ticket that no life of this member has used.
    pub fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(u64::from(self.life) << 32 | self.next_ticket)
    }
}

/// What a start gave.
pub enum Started {
    /// It runs.
    Runs,
    /// It runs and waits for the others: its log is damaged.
    RunsDamaged(String),
    /// The power went before it ran.
    Died(String),
    /// It does not: the words are for people.
    Refused(String),
}

/// How members of a run are configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Timers and counts, as drawn.
    pub plan: Plan,
    /// Planted bugs.
    pub mutants: Mutants,
}

impl Member {
    /// A member that has never run.
    pub fn new(id: MemberId, genesis: Option<Genesis>, plan: &Plan, mut rng: Rng) -> Member {
        let mut it = Member {
            id,
            disk: SimDisk::new(u64::MAX / 2, rng.fork(1)),
            clock: Clock::new(&mut rng),
            life: 0,
            process: None,
            // Who joins is of the newest build: a former one is turned away once the version has risen.
            upgraded_ms: genesis.as_ref().map_or(0, |_| plan.upgraded_ms(id.0)),
            is_former: false,
            genesis,
            condition: Condition::Well,
            was_hurt: false,
            is_paused: false,
            disk_slowness: 1,
            hang_us: 0,
            rng,
        };
        let (rate_ppm, wall) = (plan.rate_ppm(id.0), plan.wall(id.0));
        it.clock.settle(Time(0), rate_ppm, wall);
        it
    }

    /// Starts the process from what the disk holds.
    pub fn start(&mut self, settings: &Settings, now: Time) -> Started {
        self.life += 1;
        self.is_paused = false;
        self.is_former = now.0 < self.upgraded_ms * MILLION;
        let identity = Identity {
            cluster: CLUSTER,
            member: self.id,
        };
        let log_config = LogConfig {
            segment_bytes: settings.plan.segment_bytes,
            spares: 2,
            space_low_bytes: 0,
        };
        let mutants = settings.mutants;
        let recovered = match recover(&mut self.disk, &identity, &log_config, mutants) {
            Ok(recovered) => recovered,
            // A disk that fails now is given another chance; a person would look at it.
            Err(error) if self.disk.is_dead() || is_fault(&error) => {
                return Started::Died(Chain(&error).to_string());
            }
            Err(error) => return Started::Refused(Chain(&error).to_string()),
        };
        let storage::Recovered {
            mut log,
            mut catalog,
            ..
        } = recovered;
        let state = match (recovered.checkpoint, &self.genesis) {
            (Some((_, state)), _) => state,
            (None, None) => Store::blank().publish(),
            (None, Some(genesis)) => {
                let state = Store::new(genesis.clone()).publish();
                if log.end() == base::LogPosition::default() {
                    match begin(&mut self.disk, &identity, &catalog, &mut log, &state) {
                        Ok(begun) => catalog = begun,
                        Err(error) => return Started::Died(Chain(&error).to_string()),
                    }
                }
                state
            }
        };
        // What the first state contains is committed by definition.
        let mut hard_state = recovered.hard_state;
        hard_state.term = hard_state.term.max(state.applied().term);
        hard_state.commit = hard_state.commit.max(state.applied().index);
        let (health, damage) = match recovered.health {
            storage::Health::Intact => (Health::Intact, None),
            // Nobody can say what it promised: it must leave and join anew (reliability, J24).
            storage::Health::Damaged {
                watermark, report, ..
            } if watermark == storage::UNKNOWN => {
                return Started::Refused(report);
            }
            storage::Health::Damaged {
                watermark, report, ..
            } => (Health::Damaged { watermark }, Some(report)),
        };
        let config = NodeConfig {
            seed: settings.plan.seed,
            incarnation: self.life,
            heartbeat: settings.plan.heartbeat,
            election: settings.plan.election,
            snapshot_count: settings.plan.snapshot_count,
            log_tail_entries: settings.plan.log_tail_entries,
            read_lease: settings.plan.drift(),
            apply_version_max: match self.is_former {
                true => node::APPLY_VERSION_FIRST,
                false => node::APPLY_VERSION,
            },
            mutants,
            ..NodeConfig::new(CLUSTER, self.id)
        };
        let boot = Boot {
            hard_state,
            entries: recovered.entries,
            state: state.clone(),
            health,
        };
        let engine = match settings.plan.consensus {
            Consensus::Shipped => Raft::start,
            Consensus::Specification => SpecRaft::start,
        };
        let dialects: Vec<Box<dyn store::Dialect + Send>> = vec![
            Box::new(EtcdDialect),
            Box::new(native::KeyDialect),
            Box::new(native::LineDialect),
        ];
        let node = match Node::with_engine(config, boot, dialects, self.clock.instant(now), engine)
        {
            Ok(node) => node,
            Err(error) => return Started::Refused(Chain(&error).to_string()),
        };
        let header = HeaderParts {
            cluster: CLUSTER,
            member: self.id,
            term: base::Term(1),
        };
        let mut desk = WatchDesk::new(header, base::limits::REQUEST_BYTES_MAX, mutants);
        desk.bound_queues(settings.plan.watch_queue_bytes);
        desk.set_progress_interval(Duration::from_millis(700));
        self.process = Some(Process {
            node,
            desk,
            state,
            session: Session::new(Limits::default(), self.rng.next_u64()),
            work: DiskWork::new(log, catalog, identity, self.rng.fork(2)),
            proposed: BTreeMap::new(),
            governing: BTreeMap::new(),
            reading: BTreeMap::new(),
            renewing: BTreeMap::new(),
            streams: BTreeMap::new(),
            natives: NativeDoor::new(u64::from(self.life) << 32 | self.id.0),
            jumps: JumpDetector::new(JUMP_MIN),
            pump_due: false,
            next_ticket: 0,
            life: self.life,
        });
        match damage {
            Some(report) => Started::RunsDamaged(report),
            None => Started::Runs,
        }
    }
}

/// Makes the first state durable and begins the log behind it, as the server does.
fn begin(
    disk: &mut SimDisk,
    identity: &Identity,
    catalog: &Catalog,
    log: &mut Log,
    state: &State,
) -> Result<Catalog, DiskError> {
    let meta = SnapshotMeta {
        position: state.applied(),
        membership: state.membership().clone(),
    };
    let mut writer = CheckpointWriter::new(identity, catalog, &meta, state.clone());
    loop {
        match writer.step(4096) {
            Step::More(ops) => execute(disk, &ops)?,
            Step::Done { ops, catalog } => {
                execute(disk, &ops)?;
                execute(disk, &log.install(&meta))?;
                return Ok(catalog);
            }
        }
    }
}

fn is_fault(error: &RecoverError) -> bool {
    matches!(error, RecoverError::Disk(error) if error.fault == DiskFault::Other)
}
