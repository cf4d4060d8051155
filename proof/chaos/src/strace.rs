//! Syncs that fail or take long, by a tracer that is put on a running member.
//!
//! The tracer counts for each thread: `when=3` fails the third sync of each. It writes what it saw to a file,
//! so that a member which merely did not sync is not taken for one that survived a failed sync. When the
//! tracer goes, the member runs on as if nothing had been.

use crate::Failure;
use crate::field::{needs_root, version};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A tracer at work; it is taken off on drop.
pub(crate) struct Tracer {
    child: Child,
    saw: PathBuf,
}

/// Whether there is one that may trace.
pub(crate) fn is_there() -> Result<(), Failure> {
    needs_root("strace")?;
    version("strace", "-V").ok_or("strace is not installed")?;
    Ok(())
}

impl Tracer {
    /// Injects into the syncs of process `pid`: `error=EIO:when=3`, `delay_enter=50000`.
    pub(crate) fn inject(pid: u32, what: &str, saw: &Path) -> Result<Tracer, Failure> {
        let inject = format!("inject=fdatasync,fsync:{what}");
        let arguments = ["-f", "-qq", "-e", "trace=fdatasync,fsync", "-e", &inject];
        Tracer::start(&arguments, pid, saw)
    }

    /// Writes down every write and sync of process `pid` with its time and duration, whole buffers included: a
    /// file for each thread, whose name begins with `saw`.
    pub(crate) fn completions(pid: u32, saw: &Path) -> Result<Tracer, Failure> {
        let arguments = [
            "-ff",
            "-qq",
            "-ttt",
            "-T",
            "-y",
            "-s",
            "4000000",
            "-e",
            "trace=pwrite64,pwritev,write,fdatasync",
        ];
        Tracer::start(&arguments, pid, saw)
    }

    fn start(arguments: &[&str], pid: u32, saw: &Path) -> Result<Tracer, Failure> {
        let child = Command::new("strace")
            .args(arguments)
            .args(["-p", &pid.to_string(), "-o"])
            .arg(saw)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Tracer {
            child,
            saw: saw.to_owned(),
        })
    }

    /// Whether something was injected by now.
    pub(crate) fn has_injected(&self) -> bool {
        let saw = std::fs::read(&self.saw).unwrap_or_default();
        String::from_utf8_lossy(&saw).contains("(INJECTED)")
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            // Asked, not killed: it lets go of the threads in order. It may have ended with its member.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
