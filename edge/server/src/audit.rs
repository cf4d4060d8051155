//! The audit log: one line for each change and each refusal, in a chain that shows when a line is missing or changed.
//!
//! ```text
//!   front ── Record ──► bounded queue ──► one thread ──► chain.rs ──► FILE   one write and one sync for all that waits
//!                         │ full: dropped and counted, and the count is a line of the chain;
//!                         └ or, with `--audit-log-mode block`, the request waits
//! ```
//!
//! A line says who, from where, what, on which names, at which revision and with which outcome. Never a value, a password
//! or a token: `etcd::names` lists what may be said, and what is not listed is not. What a request that is refused
//! *would* have read or written is said too: that is what an auditor looks for.
//!
//! It is no part of the replicated state: each member writes down what its own clients ask. The format and what the
//! chain does and does not prove are in `docs/format/audit.md`.

mod chain;

pub(crate) use chain::TEXT_BYTES_MAX;
pub use chain::{Broken, Verified, verify};

use crate::config::AuditMode;
use crate::metrics::cells::Counter;
use base::Chain;
use chain::{Entry, HashChain};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tracing::error;

/// Lines that may wait for the disk.
const QUEUE_LINES_MAX: usize = 4096;

/// Lines that are written and synced at once.
const BATCH_LINES_MAX: usize = 512;

/// A disk that refuses lines is asked again after this time.
const AGAIN: Duration = Duration::from_millis(100);

/// At the end of the process the disk is asked so often to take what waits …
const LAST_LINES_TRIES: u32 = 20;

/// … and waited for so long.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(3);

/// What happened, for one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// The user or the name in the certificate; `anonymous` for nobody.
    pub(crate) who: String,
    /// From where.
    pub(crate) from: String,
    /// The method's path.
    pub(crate) method: &'static str,
    /// The names that the request says.
    pub(crate) names: Vec<String>,
    /// The store's revision in the answer.
    pub(crate) revision: Option<i64>,
    /// The code's name.
    pub(crate) code: &'static str,
    /// The refusal in words; empty for none.
    pub(crate) words: String,
    /// When, in milliseconds since 1970.
    pub(crate) wall_ms: u64,
}

/// The way to the audit log's thread.
pub(crate) struct Audit {
    queue: Sender<Record>,
    mode: AuditMode,
    /// Lines dropped since the last line that says so.
    lost: Arc<AtomicU64>,
    /// Lines taken.
    pub(crate) taken: Counter,
    /// Lines dropped.
    pub(crate) dropped: Counter,
}

/// The thread. Dropping it waits until it has written what it was given: drop the [`Audit`] first.
pub(crate) struct AuditThread(std::sync::mpsc::Receiver<()>);

impl Drop for AuditThread {
    fn drop(&mut self) {
        // Nothing is ever sent: the end of the thread closes the channel.
        let _ = self.0.recv_timeout(LAST_LINES_TIMEOUT);
    }
}

impl Audit {
    /// Opens `path`, goes on with the chain that is in it, and starts the thread.
    ///
    /// # Errors
    /// The file cannot be opened, or what is in it is no chain.
    pub(crate) fn start(path: &Path, mode: AuditMode) -> io::Result<(Audit, AuditThread)> {
        let (file, chain) = chain::open(path)?;
        let (queue, records) = channel(QUEUE_LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            file,
            chain,
            lost: lost.clone(),
            is_failing: false,
        };
        writer.chain.add(&Entry::Opened, crate::clock::wall_ms());
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || {
                writer.run(records);
                drop(ended);
            })?;
        let audit = Audit {
            queue,
            mode,
            lost,
            taken: Counter::default(),
            dropped: Counter::default(),
        };
        Ok((audit, AuditThread(end)))
    }

    /// Writes something down that cannot wait: without room it is dropped.
    pub(crate) fn note_at_once(&self, record: Record) {
        match self.queue.try_send(record) {
            Ok(()) => self.taken.inc(),
            Err(_) => self.lose(),
        }
    }

    fn lose(&self) {
        self.dropped.inc();
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes something down: waits for room, or drops it, as was chosen.
    pub(crate) async fn note(&self, record: Record) {
        match self.queue.try_send(record) {
            Ok(()) => self.taken.inc(),
            Err(TrySendError::Full(record)) if self.mode == AuditMode::Block => {
                // An error means that the thread has ended, and so does the process.
                if self.queue.send(record).await.is_ok() {
                    self.taken.inc();
                }
            }
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => self.lose(),
        }
    }
}

struct Writer {
    file: File,
    chain: HashChain,
    lost: Arc<AtomicU64>,
    is_failing: bool,
}

impl Writer {
    fn run(&mut self, mut records: Receiver<Record>) {
        self.write(u32::MAX);
        let mut batch = Vec::new();
        while records.blocking_recv_many(&mut batch, BATCH_LINES_MAX) > 0 {
            for record in batch.drain(..) {
                let wall_ms = record.wall_ms;
                self.chain.add(&Entry::Request(&record), wall_ms);
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                self.chain
                    .add(&Entry::Dropped(lost), crate::clock::wall_ms());
            }
            let tries = match records.is_closed() {
                true => LAST_LINES_TRIES,
                false => u32::MAX,
            };
            self.write(tries);
        }
    }

    /// Writes and syncs what the chain has ready. While the disk refuses, the queue fills, and then requests wait or
    /// lines are dropped: a chain has no holes that it does not name.
    fn write(&mut self, tries: u32) {
        for _ in 0..tries {
            let bytes = self.chain.ready();
            let written = match bytes.is_empty() {
                true => return,
                false => self.file.write(bytes),
            };
            let result = match written {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.chain.written(n);
                    match self.chain.ready().is_empty() {
                        true => self.file.sync_data(),
                        false => continue,
                    }
                }
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => {
                    self.is_failing = false;
                    return;
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.is_failing, true) {
                        error!(reason = %Chain(&error), "the audit log cannot be written");
                    }
                    std::thread::sleep(AGAIN);
                }
            }
        }
    }
}
