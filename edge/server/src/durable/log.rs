//! The thread that owns the log.
//!
//! One record at a time: the member gathers the next one while this one is synced, which is what makes
//! batches grow with load. When nothing comes for a while the log is sealed (see [`storage::Log::seal`]).

use super::{Checkpoints, Ending, GivenUp, execute_or_stop};
use crate::disk::FileDisk;
use crate::events::{Event, Reports};
use base::Index;
use node::Persist;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use storage::{Disk as _, Log, Op, Space};
use tracing::{error, info, warn};

/// After so long without a record the log is sealed.
const QUIET: Duration = Duration::from_millis(20);

/// How often the room on the disk is looked at.
const SPACE_EVERY: Duration = Duration::from_secs(1);

/// A sync that takes longer is worth a line: heartbeats may be late because of it.
const SLOW: Duration = Duration::from_millis(100);

enum Job {
    Persist(Box<Persist>),
    Free(Index),
    Prepared(bool),
    Stop,
}

/// The thread.
pub(crate) struct LogThread {
    jobs: Sender<Job>,
    ending: Ending,
    thread: Option<JoinHandle<()>>,
}

struct Writer {
    log: Log,
    disk: FileDisk,
    reports: Reports,
    checkpoints: Arc<Checkpoints>,
    jobs: Sender<Job>,
    ending: Ending,
    space: Space,
    looked: Instant,
    /// There was no room for a spare segment: not at once again.
    spare_not_before: Instant,
    /// The log is needed only after this.
    free_to: Index,
}

impl LogThread {
    /// Starts it.
    pub(crate) fn start(
        log: Log,
        disk: FileDisk,
        checkpoints: Arc<Checkpoints>,
        reports: Reports,
    ) -> std::io::Result<LogThread> {
        let (jobs, queue) = channel();
        let ending = Ending::default();
        let mut writer = Writer {
            log,
            disk,
            reports,
            checkpoints,
            jobs: jobs.clone(),
            ending: ending.clone(),
            space: Space::Normal,
            looked: Instant::now(),
            spare_not_before: Instant::now(),
            free_to: Index(0),
        };
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                if let Err(GivenUp) = writer.run(&queue) {
                    warn!(
                        "the member ends with a full disk: what nobody was told of is not written"
                    );
                }
            })?;
        Ok(LogThread {
            jobs,
            ending,
            thread: Some(thread),
        })
    }

    /// Writes and syncs; the answer is [`Event::Persisted`].
    pub(crate) fn persist(&self, persist: Persist) {
        // The thread ends only with the process.
        let _ = self.jobs.send(Job::Persist(Box::new(persist)));
    }

    /// Frees the log up to `to`.
    pub(crate) fn free(&self, to: Index) {
        let _ = self.jobs.send(Job::Free(to));
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        // Room may never come, and whoever ends the process waits for it.
        self.ending.begin();
        let _ = self.jobs.send(Job::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Writer {
    fn run(&mut self, queue: &Receiver<Job>) -> Result<(), GivenUp> {
        self.look_at_space();
        self.want_spare();
        let mut quiet = true;
        loop {
            let job = match quiet {
                true if self.space == Space::Normal => {
                    queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
                }
                // Nothing may be written any more, and somebody makes room.
                true => queue.recv_timeout(SPACE_EVERY),
                false => queue.recv_timeout(QUIET),
            };
            match job {
                Ok(Job::Persist(persist)) => {
                    self.persist(*persist)?;
                    self.free()?;
                    quiet = false;
                }
                Ok(Job::Free(to)) => {
                    self.free_to = self.free_to.max(to);
                    quiet = !self.free()? && quiet;
                }
                Ok(Job::Prepared(done)) => {
                    self.log.prepared(done);
                    self.look_at_space();
                    if !done {
                        self.spare_not_before = Instant::now() + SPACE_EVERY;
                    }
                    self.want_spare();
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.seal()?;
                    self.want_spare();
                    quiet = !self.free()?;
                }
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    return self.seal();
                }
            }
        }
    }

    fn persist(&mut self, persist: Persist) -> Result<(), GivenUp> {
        let began = Instant::now();
        if let Some((meta, state)) = persist.snapshot {
            self.checkpoints
                .install(&mut self.disk, &meta, state, &self.ending)?;
            let ops = self.log.install(&meta);
            self.execute(&ops)?;
            let took = began.elapsed();
            let _ = self.reports.send(Event::Installed { took });
            info!(position = %meta.position, "a received state is durable; the log begins after it");
        }
        let bytes = persist.entries.iter().map(|entry| entry.size() as u64);
        let bytes = bytes.sum();
        let ops = self.log.append(persist.hard_state, &persist.entries);
        // A received state has been timed already.
        let began = Instant::now();
        self.execute(&ops)?;
        let took = began.elapsed();
        if took > SLOW {
            let no_spare = ops.iter().any(|op| matches!(op, Op::Create { .. }));
            warn!(took = ?took, "expected-duration" = ?SLOW, no_spare, "slow fdatasync");
        }
        let number = persist.number;
        // If nobody listens, the member has stopped.
        let _ = self.reports.send(Event::Persisted {
            number,
            took,
            bytes,
        });
        self.want_spare();
        if self.looked.elapsed() >= SPACE_EVERY {
            self.look_at_space();
        }
        Ok(())
    }

    fn execute(&mut self, ops: &[Op]) -> Result<(), GivenUp> {
        execute_or_stop(&mut self.disk, ops, &self.ending)
    }

    /// Frees the oldest segment that is not needed; whether there was one. One at a time: it costs a sync,
    /// and records wait.
    fn free(&mut self) -> Result<bool, GivenUp> {
        let ops = self.log.truncate_prefix(self.free_to);
        if ops.is_empty() {
            return Ok(false);
        }
        self.execute(&ops)?;
        self.want_spare();
        Ok(true)
    }

    fn seal(&mut self) -> Result<(), GivenUp> {
        if let Some(ops) = self.log.seal() {
            self.execute(&ops)?;
        }
        if self.looked.elapsed() >= SPACE_EVERY {
            self.look_at_space();
        }
        Ok(())
    }

    /// Has the next spare segment made by the patient thread.
    fn want_spare(&mut self) {
        if self.space == Space::Full || Instant::now() < self.spare_not_before {
            return;
        }
        if let Some(ops) = self.log.prepare() {
            let jobs = self.jobs.clone();
            self.checkpoints.prepare(ops, move |done| {
                let _ = jobs.send(Job::Prepared(done));
            });
        }
    }

    fn look_at_space(&mut self) {
        self.looked = Instant::now();
        let Ok(left) = self.disk.space_left() else {
            return;
        };
        let space = self.log.space(left);
        if space == self.space {
            return;
        }
        match space {
            Space::Normal => info!(bytes_left = left, "the disk has room again"),
            Space::Low => warn!(
                bytes_left = left,
                "the disk is nearly full: writes that grow the data are refused"
            ),
            Space::Full => error!(bytes_left = left, "the disk is full: writes are refused"),
        }
        self.space = space;
        let _ = self.reports.send(Event::Space(space));
    }
}
