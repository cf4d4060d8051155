//! A process for each member. None outlives this one.

use super::plan::{Member, Plan};
use super::{DevError, Heard, Signals};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long members may take to stop by themselves.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a log that are shown when its member ended.
const LOG_TAIL_BYTES: u64 = 2000;

/// One member's process.
pub(super) struct Child {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) log: PathBuf,
    pub(super) ended: Option<ExitStatus>,
    process: std::process::Child,
}

impl Child {
    /// The end of its log.
    pub(super) fn log_tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = std::fs::File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|error| format!("(it cannot be read: {error})"))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid as i32) {
            // It may have ended by itself in this moment.
            let _ = kill_process(pid, signal);
        }
    }
}

/// All members' processes.
pub(super) struct Children {
    running: Vec<Child>,
}

/// The command line of a member, without the program.
pub(super) fn arguments(plan: &Plan, member: &Member) -> Vec<String> {
    let (client, peer) = (member.client_address(), member.peer_address());
    let flags = [
        ("name", member.name.clone()),
        ("data-dir", plan.data_dir(member).display().to_string()),
        ("listen-client-urls", format!("http://{client}")),
        ("advertise-client-urls", format!("http://{client}")),
        ("listen-peer-urls", format!("http://{peer}")),
        ("initial-advertise-peer-urls", format!("http://{peer}")),
        ("initial-cluster", plan.initial_cluster()),
        ("initial-cluster-token", plan.token.clone()),
    ];
    let mut arguments = vec!["server".to_owned()];
    for (flag, value) in flags {
        arguments.extend([format!("--{flag}"), value]);
    }
    arguments.extend(plan.flags.iter().cloned());
    arguments
}

impl Children {
    /// Starts them all.
    pub(super) fn start(plan: &Plan) -> Result<Children, DevError> {
        let mut children = Children {
            running: Vec::new(),
        };
        for member in &plan.members {
            let start = |source| DevError::Start {
                name: member.name.clone(),
                source,
            };
            children.running.push(spawn(plan, member).map_err(start)?);
        }
        Ok(children)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Child> {
        self.running.iter()
    }

    /// Takes those that have ended since the last call.
    pub(super) fn ended(&mut self) -> Vec<Child> {
        for child in &mut self.running {
            child.ended = child.process.try_wait().ok().flatten();
        }
        let (ended, running) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|child| child.ended.is_some());
        self.running = running;
        ended
    }

    /// Asks all to stop and waits; whoever does not, or a user who asks twice, makes it a kill.
    pub(super) async fn stop(&mut self, signals: &mut Signals) {
        self.running
            .iter()
            .for_each(|child| child.signal(Signal::TERM));
        let deadline = tokio::time::Instant::now() + STOP_PATIENCE;
        loop {
            self.ended();
            if self.is_empty() {
                return;
            }
            tokio::select! {
                heard = signals.next() => {
                    if heard == Heard::Asked {
                        return;
                    }
                }
                () = tokio::time::sleep_until(deadline) => return,
            }
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.running {
            child.signal(Signal::KILL);
            // Its end is certain now; collecting it leaves no zombie.
            let _ = child.process.wait();
        }
    }
}

fn spawn(plan: &Plan, member: &Member) -> std::io::Result<Child> {
    let log = plan.log(member);
    let out = OpenOptions::new().create(true).append(true).open(&log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(arguments(plan, member))
        .args(["--quorate-parent", &std::process::id().to_string()])
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out);
    // Variables of etcd's in the user's shell are meant for another server.
    for (key, _) in std::env::vars_os() {
        if key.to_str().is_some_and(|key| key.starts_with("ETCD_")) {
            command.env_remove(key);
        }
    }
    let process = command.spawn()?;
    Ok(Child {
        name: member.name.clone(),
        pid: process.id(),
        log,
        ended: None,
        process,
    })
}
