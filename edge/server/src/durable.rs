//! What must outlive the process: two threads between the member and its disk.
//!
//! ```text
//!   member ── Persist ──► log.rs (thread "log") ── one write, one sync ──► Event::Persisted
//!      │                      │ installs received states
//!      │                      ▼ asks for spare segments
//!      └─ a held state ──► checkpoint.rs (thread "checkpoint", patient) ──► Event::Checkpointed
//!   boot.rs: what is found at the start; restore.rs: a directory whose start goes on from a backup
//! ```
//!
//! The plans come from `storage`; these threads execute them. A sync that fails stops the process at once
//! (reliability rule R5): after it nobody knows what is on the disk, and trying again may succeed over lost
//! data. A full disk is waited out: whoever can free space still finds a member that serves reads.

mod boot;
mod checkpoint;
mod force;
mod log;
mod restore;

pub use boot::BootError;
pub(crate) use boot::boot;
pub(crate) use checkpoint::Checkpoints;
pub(crate) use force::dialects;
pub(crate) use log::LogThread;
pub use restore::FoundError;
pub(crate) use restore::found;

use crate::disk::FileDisk;
use base::Chain;
use std::time::Duration;
use storage::{DiskError, DiskFault, Op, execute};
use tracing::{error, warn};

/// The pause before a full disk is tried again.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(200);

/// Bytes of a checkpoint between two looks at what else is to be done.
const CHECKPOINT_STEP_BYTES: usize = 256 * 1024;

/// Bytes of one segment of the log. Small enough that a developer's three members do not fill a laptop, large
/// enough that a busy member begins a new one only every few seconds.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// The log's bounds.
fn log_config() -> storage::LogConfig {
    storage::LogConfig {
        segment_bytes: SEGMENT_BYTES,
        ..storage::LogConfig::default()
    }
}

/// Executes a plan whose failure the member cannot survive, and waits for space where there is none.
fn execute_or_stop(disk: &mut FileDisk, ops: &[Op]) {
    let mut told = false;
    for op in ops {
        loop {
            match execute(disk, std::slice::from_ref(op)) {
                Ok(()) => break,
                Err(error) if error.fault == DiskFault::NoSpace && error.action != "sync" => {
                    if !told {
                        told = true;
                        warn!(reason = %Chain(&error), "the disk is full: waiting for space");
                    }
                    std::thread::sleep(FULL_DISK_PAUSE);
                }
                Err(error) => stop(&error),
            }
        }
    }
}

/// Ends the process: what is durable is not known any more.
fn stop(failure: &DiskError) -> ! {
    let reason = Chain(failure).to_string();
    error!(%reason, "the log cannot be written; the member stops");
    // The log's own thread may not get to it.
    eprintln!(
        "fatal: {reason}: the member stops, because what it has acknowledged must be durable"
    );
    std::thread::sleep(Duration::from_millis(50));
    std::process::abort();
}
