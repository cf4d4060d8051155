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

use base::Chain;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use storage::{Disk, DiskError, DiskFault, Op, execute};
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

/// Whether the member ends: then nobody waits any longer for room on its disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending(Arc<AtomicBool>);

impl Ending {
    /// It ends.
    fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// There was no room for it, and the member ends: what was to be written is not. Nothing may be written after it, and
/// nobody may be told that it is durable.
#[derive(Debug)]
struct GivenUp;

/// Executes a plan whose failure the member cannot survive, and waits for space where there is none, but not beyond the
/// member's own end.
fn execute_or_stop(disk: &mut dyn Disk, ops: &[Op], ending: &Ending) -> Result<(), GivenUp> {
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
                    if ending.has_begun() {
                        return Err(GivenUp);
                    }
                    std::thread::sleep(FULL_DISK_PAUSE);
                }
                Err(error) => stop(&error),
            }
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use storage::FileName;

    /// A disk without room, for so many tries.
    struct Full {
        tries: usize,
        until: usize,
        ending: Ending,
    }

    impl Full {
        fn refuse(&mut self) -> Result<(), DiskError> {
            self.tries += 1;
            match self.tries > self.until {
                true => Ok(()),
                false => Err(DiskError::new("write", "wal-1.log", DiskFault::NoSpace)),
            }
        }
    }

    impl Disk for Full {
        fn list(&self) -> Result<Vec<FileName>, DiskError> {
            Ok(Vec::new())
        }
        fn len(&self, _: &FileName) -> Result<u64, DiskError> {
            Ok(0)
        }
        fn read_at(&self, _: &FileName, _: u64, _: &mut [u8]) -> Result<usize, DiskError> {
            Ok(0)
        }
        fn write_at(&mut self, _: &FileName, _: u64, _: &[u8]) -> Result<(), DiskError> {
            self.refuse()
        }
        fn create(&mut self, _: &FileName, _: u64) -> Result<(), DiskError> {
            self.refuse()
        }
        fn sync(&mut self, _: &FileName) -> Result<(), DiskError> {
            Ok(())
        }
        fn sync_dir(&mut self) -> Result<(), DiskError> {
            // The signal comes while the next one waits.
            self.ending.begin();
            Ok(())
        }
        fn rename(&mut self, _: &FileName, _: &FileName) -> Result<(), DiskError> {
            Ok(())
        }
        fn remove(&mut self, _: &FileName) -> Result<(), DiskError> {
            Ok(())
        }
        fn space_left(&self) -> Result<u64, DiskError> {
            Ok(0)
        }
    }

    #[test]
    fn a_full_disk_is_waited_out_but_not_beyond_the_members_end() {
        let file = FileName::parse("wal-1.log").expect("a name");
        let create = || Op::Create {
            file: file.clone(),
            length: 1,
        };
        let ending = Ending::default();
        let disk = |until| Full {
            tries: 0,
            until,
            ending: ending.clone(),
        };
        let mut soon = disk(2);
        assert!(execute_or_stop(&mut soon, &[create()], &ending).is_ok());
        assert_eq!(soon.tries, 3);
        let mut never = disk(usize::MAX);
        let ops = [Op::SyncDir, create(), create()];
        assert!(execute_or_stop(&mut never, &ops, &ending).is_err());
        assert_eq!(never.tries, 1, "and nothing is written after it");
        // A disk with room is written to the end.
        let mut roomy = disk(0);
        assert!(execute_or_stop(&mut roomy, &ops, &ending).is_ok());
        assert_eq!(roomy.tries, 2);
    }
}
