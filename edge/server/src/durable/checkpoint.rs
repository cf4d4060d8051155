//! The patient thread: writes checkpoints and makes spare segments, while others do what is urgent.
//!
//! One checkpoint at a time is written in a directory, by whoever holds the catalog: this thread for the
//! member's own, the log's thread for a received one, which makes an own one under way pointless.

use super::{CHECKPOINT_STEP_BYTES, Ending, GivenUp, execute_or_stop};
use crate::disk::{FileDisk, Undertaker, free_a_piece, rest};
use crate::events::{Event, Reports};
use base::{Chain, Index, SnapshotMeta};
use std::collections::VecDeque;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use storage::{Catalog, CheckpointWriter, DiskError, Identity, Op, Step, execute};
use store::State;
use tracing::{debug, info, warn};

/// How much less important than serving clients this thread is (`nice`).
const NICE: i32 = 10;

type Done = Box<dyn FnOnce(bool) + Send>;

enum Job {
    Checkpoint(SnapshotMeta, Box<State>),
    Prepare(Vec<Op>, Done),
    Free(File),
    Trim,
}

/// The thread, and the catalog of checkpoints that it shares with the log's.
pub(crate) struct Checkpoints {
    identity: Identity,
    catalog: Mutex<Catalog>,
    /// A received state is waiting for the catalog.
    superseded: AtomicBool,
    jobs: Sender<Job>,
}

impl Checkpoints {
    /// Starts it. It ends when all its handles are dropped.
    pub(crate) fn start(
        identity: Identity,
        catalog: Catalog,
        disk: FileDisk,
        reports: Reports,
    ) -> std::io::Result<Arc<Checkpoints>> {
        let (jobs, queue) = channel();
        let checkpoints = Arc::new(Checkpoints {
            identity,
            catalog: Mutex::new(catalog),
            superseded: AtomicBool::new(false),
            jobs,
        });
        let patient = Patient {
            queue,
            backlog: VecDeque::new(),
            disk: disk.patient(),
            shared: Arc::downgrade(&checkpoints),
            reports,
            no_spare: false,
        };
        std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || {
                // Without the permission it is merely less patient.
                let _ = rustix::process::setpriority_process(None, NICE);
                patient.run();
            })?;
        Ok(checkpoints)
    }

    /// Writes the member's own state; the answer is [`Event::Checkpointed`].
    pub(crate) fn write(&self, meta: SnapshotMeta, state: State) {
        // The thread lives as long as this handle.
        let _ = self.jobs.send(Job::Checkpoint(meta, Box::new(state)));
    }

    /// Gives up the older of the two checkpoints; the answer is [`Event::Trimmed`].
    pub(crate) fn trim(&self) {
        let _ = self.jobs.send(Job::Trim);
    }

    /// Executes a plan of [`storage::Log::prepare`] and says whether it was.
    pub(crate) fn prepare(&self, ops: Vec<Op>, done: impl FnOnce(bool) + Send + 'static) {
        let _ = self.jobs.send(Job::Prepare(ops, Box::new(done)));
    }

    /// Who gives back the blocks of the files that another thread removes: this one.
    pub(crate) fn undertaker(&self) -> Undertaker {
        let jobs = self.jobs.clone();
        Box::new(move |file| {
            // After the end of the thread the file system does it when the process ends.
            let _ = jobs.send(Job::Free(file));
        })
    }

    /// Writes a received state, on the caller's thread and disk.
    pub(super) fn install(
        &self,
        disk: &mut FileDisk,
        meta: &SnapshotMeta,
        state: State,
        ending: &Ending,
    ) -> Result<(), GivenUp> {
        self.superseded.store(true, Ordering::Release);
        let mut catalog = self.catalog();
        self.superseded.store(false, Ordering::Release);
        let mut writer = CheckpointWriter::new(&self.identity, &catalog, meta, state);
        loop {
            match writer.step(CHECKPOINT_STEP_BYTES) {
                Step::More(ops) => execute_or_stop(disk, &ops, ending)?,
                Step::Done { ops, catalog: new } => {
                    execute_or_stop(disk, &ops, ending)?;
                    *catalog = new;
                    return Ok(());
                }
            }
        }
    }

    fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread itself.
struct Patient {
    queue: Receiver<Job>,
    /// What came while something longer was under way.
    backlog: VecDeque<Job>,
    disk: FileDisk,
    shared: Weak<Checkpoints>,
    reports: Reports,
    /// A spare could not be made. Said once, not at every try.
    no_spare: bool,
}

impl Patient {
    fn run(mut self) {
        while let Some(job) = self.next() {
            match job {
                Job::Prepare(ops, done) => self.prepare(&ops, done),
                Job::Free(file) => self.free(&file),
                Job::Trim => self.trim(),
                Job::Checkpoint(meta, state) => self.checkpoint(meta, *state),
            }
        }
    }

    fn next(&mut self) -> Option<Job> {
        self.spares_first();
        self.backlog.pop_front().or_else(|| self.queue.recv().ok())
    }

    /// Makes the spare segments that the log asked for meanwhile. A checkpoint takes seconds, and a log that
    /// runs out of spares makes them itself while everybody waits.
    fn spares_first(&mut self) {
        while let Ok(job) = self.queue.try_recv() {
            match job {
                Job::Prepare(ops, done) => self.prepare(&ops, done),
                later => self.backlog.push_back(later),
            }
        }
    }

    fn prepare(&mut self, ops: &[Op], done: Done) {
        let result = execute(&mut self.disk, ops);
        let is_known = std::mem::replace(&mut self.no_spare, result.is_err());
        if let Err(error) = &result
            && !is_known
        {
            warn!(reason = %Chain(error), "cannot make a spare segment of the log");
        }
        done(result.is_ok());
    }

    /// Gives back the blocks of a removed file, in pieces.
    fn free(&mut self, file: &File) {
        loop {
            let began = Instant::now();
            match free_a_piece(file) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    warn!(reason = %Chain(&error), "cannot free a removed file in pieces");
                    return;
                }
            }
            rest(began);
            self.spares_first();
        }
    }

    fn trim(&mut self) {
        let Some(checkpoints) = self.shared.upgrade() else {
            return;
        };
        let mut catalog = checkpoints.catalog();
        let log_floor = match execute(&mut self.disk, &catalog.forget_older()) {
            Ok(()) => Some(catalog.log_floor()),
            Err(error) => {
                warn!(reason = %Chain(&error), "cannot give up the older checkpoint");
                None
            }
        };
        drop(catalog);
        let _ = self.reports.send(Event::Trimmed { log_floor });
    }

    fn checkpoint(&mut self, meta: SnapshotMeta, state: State) {
        let Some(checkpoints) = self.shared.upgrade() else {
            return;
        };
        let began = Instant::now();
        let written = self.write_own(&checkpoints, &meta, state);
        let took = began.elapsed();
        let ms = took.as_millis() as u64;
        let log_floor = match written {
            Ok(floor @ Some(_)) => {
                info!(position = %meta.position, ms, "a checkpoint is durable");
                floor
            }
            Ok(None) => {
                debug!(position = %meta.position, "a checkpoint was given up for a newer state");
                None
            }
            Err(error) => {
                warn!(reason = %Chain(&error), "cannot write a checkpoint; the log grows until the next one");
                None
            }
        };
        let _ = self.reports.send(Event::Checkpointed {
            meta,
            log_floor,
            took,
        });
    }

    /// A piece of a checkpoint is durable.
    fn committed(&self, began: Instant) {
        let took = began.elapsed();
        let _ = self.reports.send(Event::Committed { took });
    }

    /// Writes an own state; how far the log may then be freed, or nothing when it was given up.
    fn write_own(
        &mut self,
        checkpoints: &Checkpoints,
        meta: &SnapshotMeta,
        state: State,
    ) -> Result<Option<Index>, DiskError> {
        let mut catalog = checkpoints.catalog();
        let newest = catalog.newest.map_or(Index(0), |info| info.position.index);
        // The same entry again may be smaller: compaction is swept away between entries.
        if newest > meta.position.index {
            return Ok(None);
        }
        let mut writer = CheckpointWriter::new(&checkpoints.identity, &catalog, meta, state);
        loop {
            if checkpoints.superseded.load(Ordering::Acquire) {
                execute(&mut self.disk, &writer.abandon())?;
                return Ok(None);
            }
            let began = Instant::now();
            match writer.step(CHECKPOINT_STEP_BYTES) {
                Step::More(ops) => {
                    if let Err(error) = execute(&mut self.disk, &ops) {
                        // What cannot be removed now is removed at the next start.
                        let _ = execute(&mut self.disk, &writer.abandon());
                        return Err(error);
                    }
                    self.committed(began);
                    rest(began);
                    self.spares_first();
                }
                Step::Done { ops, catalog: new } => {
                    execute(&mut self.disk, &ops)?;
                    self.committed(began);
                    *catalog = new;
                    return Ok(Some(catalog.log_floor()));
                }
            }
        }
    }
}
