//! What one member's disk does, one operation at a time.
//!
//! There are two lanes. The log's lane makes records durable and reports them; a plan is asked of the
//! log only when all earlier ones are done, as `storage::Log` demands. The other lane writes
//! checkpoints in small steps and gives way. A received state becomes a durable checkpoint before the
//! log starts anew behind it. Every operation is an event of its own, so a crash can come between any
//! two, and before the sync that would have made them durable.

use crate::disk::SimDisk;
use base::{Index, Rng, SnapshotMeta};
use node::Persist;
use std::collections::VecDeque;
use storage::{Catalog, CheckpointWriter, DiskError, DiskFault, Identity, Log, Op, Step, execute};
use store::State;

/// Bytes of a checkpoint's step: small, so that there are many places to crash.
const STEP_BYTES: usize = 4096;

enum LogJob {
    Persist(Box<Persist>),
    /// Begin the log anew after a received state, whose checkpoint is durable.
    Install(SnapshotMeta),
    Free(Index),
    Prepare,
    Seal,
}

enum Purpose {
    Own(SnapshotMeta),
    Received(Box<Persist>),
}

struct Writing {
    writer: CheckpointWriter<store::stream::Writer>,
    purpose: Purpose,
    /// Set once the last operations are planned.
    catalog: Option<Catalog>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Log,
    Checkpoint,
}

/// What the member must be told.
pub enum Done {
    /// A record is durable, says the log.
    Persisted(Box<Persist>),
    /// The checkpoint that was asked for is durable.
    Checkpointed(SnapshotMeta),
    /// It could not be written.
    CheckpointFailed,
    /// The disk is full; what was tried is tried again.
    Full,
}

/// The disk's work of one process.
pub struct DiskWork {
    /// The log.
    pub log: Log,
    catalog: Catalog,
    identity: Identity,
    rng: Rng,
    log_jobs: VecDeque<LogJob>,
    job: Option<LogJob>,
    log_ops: VecDeque<Op>,
    writing: Option<Writing>,
    waiting: VecDeque<(SnapshotMeta, State, Purpose)>,
    checkpoint_ops: VecDeque<Op>,
    busy: Option<(Lane, Op)>,
    idle: bool,
}

impl DiskWork {
    /// Nothing to do yet.
    pub fn new(log: Log, catalog: Catalog, identity: Identity, rng: Rng) -> DiskWork {
        DiskWork {
            log,
            catalog,
            identity,
            rng,
            log_jobs: VecDeque::new(),
            job: None,
            log_ops: VecDeque::new(),
            writing: None,
            waiting: VecDeque::new(),
            checkpoint_ops: VecDeque::new(),
            busy: None,
            idle: false,
        }
    }

    /// A record to make durable.
    pub fn persist(&mut self, mut persist: Persist) {
        self.idle = false;
        match persist.snapshot.take() {
            None => self.log_jobs.push_back(LogJob::Persist(Box::new(persist))),
            Some((meta, state)) => {
                persist.snapshot = Some((meta.clone(), state.clone()));
                self.waiting
                    .push_back((meta, state, Purpose::Received(Box::new(persist))));
            }
        }
    }

    /// A checkpoint to write.
    pub fn checkpoint(&mut self, meta: SnapshotMeta, state: State) {
        self.waiting
            .push_back((meta.clone(), state, Purpose::Own(meta)));
    }

    /// The log up to `to` is not needed any more.
    pub fn free(&mut self, to: Index) {
        self.log_jobs.push_back(LogJob::Free(to));
    }

    /// Whether an operation is under way.
    pub fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Begins the next operation, if there is one, and shows it.
    pub fn begin(&mut self) -> Option<&Op> {
        if self.busy.is_none() {
            self.plan_log();
            self.plan_checkpoint();
            let log_first = self.checkpoint_ops.is_empty() || !self.rng.one_in(4);
            let (lane, op) = if let (true, Some(op)) = (log_first, self.log_ops.front()) {
                (Lane::Log, op)
            } else if let Some(op) = self.checkpoint_ops.front() {
                (Lane::Checkpoint, op)
            } else {
                return None;
            };
            self.busy = Some((lane, op.clone()));
            return self.busy.as_ref().map(|(_, op)| op);
        }
        None
    }

    /// Carries out the operation under way and tells what is done by it.
    ///
    /// # Errors
    /// The disk's, when the member cannot go on. A full disk is not such an error: the operation is
    /// tried again later.
    pub fn finish(&mut self, disk: &mut SimDisk) -> Result<Vec<Done>, DiskError> {
        let Some((lane, op)) = self.busy.take() else {
            return Ok(Vec::new());
        };
        let mut done = Vec::new();
        match execute(disk, std::slice::from_ref(&op)) {
            Ok(()) => match lane {
                Lane::Log => {
                    self.log_ops.pop_front();
                    if self.log_ops.is_empty() {
                        self.log_plan_done(true, &mut done);
                    }
                }
                Lane::Checkpoint => {
                    self.checkpoint_ops.pop_front();
                    if self.checkpoint_ops.is_empty() {
                        self.checkpoint_step_done(&mut done);
                    }
                }
            },
            Err(error) if error.fault == DiskFault::NoSpace => match lane {
                Lane::Log if matches!(self.job, Some(LogJob::Prepare)) => {
                    self.log_ops.clear();
                    self.log_plan_done(false, &mut done);
                }
                Lane::Log => done.push(Done::Full),
                Lane::Checkpoint => {
                    self.give_checkpoint_up(&mut done);
                    done.push(Done::Full);
                }
            },
            Err(error) => return Err(error),
        }
        Ok(done)
    }

    fn plan_log(&mut self) {
        while self.log_ops.is_empty() {
            let job = match self.log_jobs.pop_front() {
                Some(job) => job,
                None if self.idle => return,
                None => {
                    // Nothing else to do: make a spare, then note how far the log is durable.
                    self.idle = true;
                    if self.rng.one_in(3) {
                        self.log_jobs.push_back(LogJob::Seal);
                    }
                    LogJob::Prepare
                }
            };
            let ops = match &job {
                LogJob::Persist(persist) => self.log.append(persist.hard_state, &persist.entries),
                LogJob::Install(meta) => self.log.install(meta),
                LogJob::Free(to) => self
                    .log
                    .truncate_prefix((*to).min(self.catalog.log_floor())),
                LogJob::Prepare => self.log.prepare().unwrap_or_default(),
                LogJob::Seal => self.log.seal().unwrap_or_default(),
            };
            let nothing_to_do = ops.is_empty();
            if nothing_to_do && !matches!(job, LogJob::Persist(_)) {
                continue;
            }
            if let LogJob::Free(to) = job {
                // One segment at a time; records that came meanwhile go first.
                self.log_jobs.push_back(LogJob::Free(to));
            }
            self.log_ops = ops.into();
            self.job = Some(job);
            if nothing_to_do {
                // A record without contents is durable as it is; an operation must say so.
                self.log_ops.push_back(Op::SyncDir);
            }
        }
    }

    fn log_plan_done(&mut self, done: bool, out: &mut Vec<Done>) {
        match self.job.take() {
            Some(LogJob::Persist(persist)) => out.push(Done::Persisted(persist)),
            Some(LogJob::Prepare) => self.log.prepared(done),
            Some(LogJob::Install(_) | LogJob::Free(_) | LogJob::Seal) | None => {}
        }
    }

    fn plan_checkpoint(&mut self) {
        if !self.checkpoint_ops.is_empty() {
            return;
        }
        if self.writing.is_none() {
            let Some((meta, state, purpose)) = self.waiting.pop_front() else {
                return;
            };
            let writer = CheckpointWriter::new(&self.identity, &self.catalog, &meta, state);
            self.writing = Some(Writing {
                writer,
                purpose,
                catalog: None,
            });
        }
        if let Some(writing) = &mut self.writing
            && writing.catalog.is_none()
        {
            match writing.writer.step(STEP_BYTES) {
                Step::More(ops) => self.checkpoint_ops.extend(ops),
                Step::Done { ops, catalog } => {
                    self.checkpoint_ops.extend(ops);
                    writing.catalog = Some(catalog);
                }
            }
        }
    }

    fn checkpoint_step_done(&mut self, done: &mut Vec<Done>) {
        let Some(writing) = self.writing.take_if(|writing| writing.catalog.is_some()) else {
            // The older checkpoint is forgotten: the log need not reach back to it.
            self.free(self.catalog.log_floor());
            return;
        };
        self.catalog = writing.catalog.unwrap_or_default();
        match writing.purpose {
            Purpose::Own(meta) => {
                done.push(Done::Checkpointed(meta));
                // What a member does whose disk is nearly full, or who is asked for the room.
                if self.rng.one_in(6) {
                    self.checkpoint_ops.extend(self.catalog.forget_older());
                }
            }
            Purpose::Received(persist) => {
                let Some((meta, _)) = &persist.snapshot else {
                    return;
                };
                let meta = meta.clone();
                self.log_jobs.push_back(LogJob::Install(meta.clone()));
                self.log_jobs.push_back(LogJob::Persist(persist));
                self.log_jobs.push_back(LogJob::Free(meta.position.index));
            }
        }
    }

    fn give_checkpoint_up(&mut self, done: &mut Vec<Done>) {
        // Once the manifest may be half written only trying again is safe.
        let Some(writing) = self.writing.take_if(|writing| writing.catalog.is_none()) else {
            return;
        };
        self.checkpoint_ops.clear();
        match writing.purpose {
            Purpose::Own(_) => done.push(Done::CheckpointFailed),
            Purpose::Received(persist) => {
                // There is no going on without it: try again from the start.
                if let Some((meta, state)) = persist.snapshot.clone() {
                    self.waiting
                        .push_back((meta, state, Purpose::Received(persist)));
                }
            }
        }
        self.checkpoint_ops.extend(writing.writer.abandon());
    }
}
